//! Items as clients write them, scanned where they lie: JSON without escapes, with numbers for values and times.

use memchr::memchr2;
use metricsd_model::Millis;

use super::memory::{Key, mix};

/// An item of which all but its value and its time is known by a key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Usual {
    pub(super) key: Key,
    pub(super) value: f64,
    pub(super) timestamp: Option<Millis>,
    /// Bytes that it takes.
    pub(super) length: usize,
}

/// Reads one object at the start of `bytes`. `None`: it is to be read field by field. What has a key is an item only if
/// one of that key was read before: texts were not looked into.
#[inline]
pub(super) fn usual(bytes: &[u8], key: Key) -> Option<Usual> {
    let mut cursor = Cursor { bytes, at: 0 };
    cursor.expect(b'{')?;
    let (mut key, mut seen) = (key, 0u8);
    let (mut value, mut timestamp) = (0.0, None);
    loop {
        cursor.blanks();
        let field = Field::of(cursor.text()?)?;
        let bit = 1 << field as u8;
        if seen & bit != 0 {
            return None;
        }
        seen |= bit;
        cursor.blanks();
        cursor.expect(b':')?;
        cursor.blanks();
        match field {
            Field::Value => value = cursor.number()?,
            Field::Timestamp => timestamp = Some(cursor.whole()?),
            Field::Labels => key = mix(key, field as u64, cursor.object()?),
            _ => key = mix(key, field as u64, cursor.text()?),
        }
        cursor.blanks();
        match cursor.take()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    let needed = 1 << Field::Name as u8 | 1 << Field::Value as u8;
    (seen & needed == needed).then_some(Usual { key, value, timestamp, length: cursor.at })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Name,
    Type,
    Source,
    Help,
    Unit,
    Labels,
    Value,
    Timestamp,
}

impl Field {
    #[inline]
    fn of(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"name" => Self::Name,
            b"value" => Self::Value,
            b"labels" => Self::Labels,
            b"timestamp" => Self::Timestamp,
            b"metric_type" => Self::Type,
            b"source" => Self::Source,
            b"help_text" => Self::Help,
            b"unit" => Self::Unit,
            _ => return None,
        })
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.take()? == byte).then_some(())
    }

    #[inline]
    fn blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    #[inline]
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// A text without escapes, its quotes left out.
    #[inline]
    fn text(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let rest = self.rest();
        // Most are short.
        let near = rest.iter().take(16).position(|byte| matches!(byte, b'"' | b'\\'));
        let end = match near {
            Some(end) => end,
            None => memchr2(b'"', b'\\', rest)?,
        };
        self.at += end + 1;
        if *rest.get(end)? == b'\\' {
            return None;
        }
        rest.get(..end)
    }

    /// An object of texts without escapes, as it stands.
    #[inline]
    fn object(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        self.expect(b'{')?;
        loop {
            match self.peek()? {
                b'"' => drop(self.text()?),
                b'}' => break,
                b'{' | b'[' => return None,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        self.bytes.get(start..self.at)
    }

    /// A number as JSON has it, of those that a float can hold.
    #[inline]
    fn number(&mut self) -> Option<f64> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let first = self.at;
        let whole = self.digits();
        if whole == 0 || whole > 1 && self.bytes.get(first) == Some(&b'0') {
            return None;
        }
        let mut plain = true;
        if self.peek() == Some(b'.') {
            plain = false;
            self.at += 1;
            if self.digits() == 0 {
                return None;
            }
        }
        if let Some(b'e' | b'E') = self.peek() {
            plain = false;
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            if self.digits() == 0 {
                return None;
            }
        }
        let text = self.bytes.get(start..self.at)?;
        if plain && whole <= 15 && text != b"-0" {
            return Some(small(text) as f64);
        }
        let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
        number.is_finite().then_some(number)
    }

    #[inline]
    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    /// A whole number of at most 15 digits.
    #[inline]
    fn whole(&mut self) -> Option<i64> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let first = self.at;
        let digits = self.digits();
        let leading = digits > 1 && self.bytes.get(first) == Some(&b'0');
        if digits == 0 || digits > 15 || leading || matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
            return None;
        }
        self.bytes.get(start..self.at).map(small)
    }
}

/// At most 15 digits, perhaps with a sign.
#[inline]
fn small(text: &[u8]) -> i64 {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let number = digits.iter().fold(0i64, |number, digit| number * 10 + i64::from(digit.wrapping_sub(b'0')));
    if negative { -number } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_items_are_scanned() {
        let item =
            br#"{"name":"a","labels":{"x":"}","y":"z"},"value":-1.25e1,"timestamp":1750500000000} tail"#;
        let found = usual(item, 7).unwrap();
        assert_eq!(
            (found.value, found.timestamp, found.length),
            (-12.5, Some(1_750_500_000_000), item.len() - 5)
        );
        let same = usual(br#"{ "name" : "a", "labels":{"x":"}","y":"z"}, "value" : 3 }"#, 7).unwrap();
        assert_eq!((same.key, same.value, same.timestamp), (found.key, 3.0, None));
        let other = usual(br#"{"name":"a","labels":{"x":"}","y":"z "},"value":3}"#, 7).unwrap();
        assert_ne!(other.key, found.key);
        let swapped = usual(br#"{"unit":"a","name":"b","value":3}"#, 7).unwrap();
        assert_ne!(swapped.key, usual(br#"{"unit":"b","name":"a","value":3}"#, 7).unwrap().key);
        assert!(usual(br#"{"name":"a","value":-0}"#, 7).unwrap().value == 0.0);
    }

    #[test]
    fn anything_else_is_left_to_those_who_find_faults() {
        for item in [
            r#"{"name":"a"}"#,
            r#"{"value":1}"#,
            r#"{"name":"a","value":01}"#,
            r#"{"name":"a","value":1.}"#,
            r#"{"name":"a","value":.5}"#,
            r#"{"name":"a","value":+1}"#,
            r#"{"name":"a","value":1e}"#,
            r#"{"name":"a","value":1e999}"#,
            r#"{"name":"a","value":"NaN"}"#,
            r#"{"name":"a","value":1,"value":1}"#,
            r#"{"name":"a","value":1,"timestamp":1.5}"#,
            r#"{"name":"a","value":1,"timestamp":"2025-06-21T10:00:00Z"}"#,
            r#"{"name":"a\n","value":1}"#,
            r#"{"name":"a","value":1,"other":2}"#,
            r#"{"name":"a","value":1,"labels":{"a":{}}}"#,
            r#"{"name":"a","value":1,}"#,
            r#"{"name":"a","value":1"#,
            "7",
            "",
        ] {
            assert_eq!(usual(item.as_bytes(), 7), None, "{item}");
        }
    }
}
