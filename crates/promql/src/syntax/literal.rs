//! Numbers, durations and texts as the language writes them.

use std::fmt::Write;

/// Units from the largest to the smallest, in milliseconds; a duration names each at most once and in this order.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// The longest duration: what fits into 63 bits of nanoseconds, some 292 years.
pub(super) const MAX_DURATION_MILLIS: u64 = 9_223_372_036_854;

/// Reads a number that the lexer has cut out: `1_000`, `0x1F`, `017` (octal), `1.5e-3`. Whole numbers are read before
/// fractions, so that a leading zero means octal where all digits allow it.
pub(super) fn number(written: &str) -> Option<f64> {
    if !underscores_separate_digits(written) {
        return None;
    }
    let plain = written.replace('_', "");
    let hex = plain.strip_prefix("0x").or_else(|| plain.strip_prefix("0X"));
    if let Some(digits) = hex {
        return i64::from_str_radix(digits, 16).ok().map(|whole| whole as f64);
    }
    let octal = plain.len() > 1 && plain.starts_with('0') && !plain.contains(|c| !matches!(c, '0'..='7'));
    if octal && let Ok(whole) = i64::from_str_radix(&plain, 8) {
        return Some(whole as f64);
    }
    let value: f64 = plain.parse().ok()?;
    value.is_finite().then_some(value)
}

fn underscores_separate_digits(written: &str) -> bool {
    let bytes = written.as_bytes();
    let hex = matches!(bytes.get(1), Some(b'x' | b'X'));
    let is_digit = |byte: &u8| if hex { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
    let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(is_digit);
    let base = |at: usize| at == 2 && hex;
    (0..bytes.len())
        .filter(|at| bytes.get(*at) == Some(&b'_'))
        .all(|at| (digit(at.checked_sub(1)) || base(at)) && digit(Some(at + 1)))
}

/// Why a text is no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DurationFault {
    /// Units are missing, unknown, repeated or out of order.
    Syntax,
    /// Longer than [`MAX_DURATION_MILLIS`].
    Range,
}

/// Reads a duration such as `1h30m`, in milliseconds.
pub(super) fn duration(written: &str) -> Result<u64, DurationFault> {
    let mut rest = written;
    let mut units = UNITS.iter();
    let mut total = 0u64;
    if rest.is_empty() {
        return Err(DurationFault::Syntax);
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(DurationFault::Syntax)?;
        let (count, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let (_, millis) = units.find(|(name, _)| *name == unit).ok_or(DurationFault::Syntax)?;
        if count.is_empty() {
            return Err(DurationFault::Syntax);
        }
        let count: u64 = count.parse().map_err(|_| DurationFault::Range)?;
        total = count
            .checked_mul(*millis)
            .and_then(|part| total.checked_add(part))
            .filter(|total| *total <= MAX_DURATION_MILLIS)
            .ok_or(DurationFault::Range)?;
        rest = tail;
    }
    Ok(total)
}

/// Seconds as a duration, to the millisecond: years and weeks only where they are all there is to say.
pub(super) fn write_duration(seconds: f64) -> String {
    let mut millis = (seconds.abs() * 1_000.0).round() as u64;
    if millis == 0 {
        return "0s".to_owned();
    }
    let mut out = if seconds < 0.0 { "-".to_owned() } else { String::new() };
    for (unit, size) in UNITS {
        let whole_only = matches!(unit, "y" | "w");
        if millis < size || (whole_only && !millis.is_multiple_of(size)) {
            continue;
        }
        let _ = write!(out, "{}{unit}", millis / size);
        millis %= size;
    }
    out
}

/// Reads what stands between single or double quotes. A failure is an offset into `inner` and what is wrong there.
pub(super) fn unescape(inner: &str, quote: char) -> Result<String, (usize, String)> {
    if !inner.contains('\\') {
        return Ok(inner.to_owned());
    }
    let mut out: Vec<u8> = Vec::with_capacity(inner.len());
    let mut rest = inner;
    let mut last_escape = 0;
    while let Some(at) = rest.find('\\') {
        let offset = inner.len() - rest.len() + at;
        let (before, escape) = rest.split_at(at);
        out.extend_from_slice(before.as_bytes());
        let used = one_escape(&escape[1..], quote, &mut out).map_err(|message| (offset, message))?;
        rest = &escape[1 + used..];
        last_escape = offset;
    }
    out.extend_from_slice(rest.as_bytes());
    String::from_utf8(out).map_err(|_| (last_escape, "escapes in a string must yield valid UTF-8".to_owned()))
}

/// Reads what follows a backslash; answers how many bytes that were.
fn one_escape(after: &str, quote: char, out: &mut Vec<u8>) -> Result<usize, String> {
    let Some(sign) = after.chars().next() else {
        return Err("escape sequence not terminated".to_owned());
    };
    let simple = match sign {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        '"' if quote == '"' => b'"',
        '\'' if quote == '\'' => b'\'',
        '0'..='7' => return code_escape(after, 3, 8, out),
        'x' => return code_escape(&after[1..], 2, 16, out).map(|used| used + 1),
        'u' => return code_escape(&after[1..], 4, 16, out).map(|used| used + 1),
        'U' => return code_escape(&after[1..], 8, 16, out).map(|used| used + 1),
        other => {
            return Err(format!("unknown escape sequence U+{:04X} {}", u32::from(other), quote_sign(other)));
        }
    };
    out.push(simple);
    Ok(1)
}

/// Reads exactly `digits` digits: a byte where they are octal or two, a character where they are more.
fn code_escape(written: &str, digits: usize, base: u32, out: &mut Vec<u8>) -> Result<usize, String> {
    let code = written
        .get(..digits)
        .filter(|code| code.chars().all(|digit| digit.is_digit(base)))
        .and_then(|code| u32::from_str_radix(code, base).ok())
        .ok_or_else(|| format!("escape sequence needs {digits} digits of base {base}"))?;
    if digits <= 3 {
        let byte = u8::try_from(code).map_err(|_| format!("octal escape value {code} > 255"))?;
        out.push(byte);
    } else {
        let character = char::from_u32(code).ok_or("escape sequence is an invalid Unicode code point")?;
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Ok(digits)
}

/// One character between single quotes, for messages.
pub(super) fn quote_sign(sign: char) -> String {
    match sign {
        '\'' => r"'\''".to_owned(),
        sign if is_printable(sign) => format!("'{sign}'"),
        sign => format!("'\\u{:04x}'", u32::from(sign)),
    }
}

/// A text between double quotes, with the escapes that Go writes.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for sign in text.chars() {
        push_escaped(&mut out, sign);
    }
    out.push('"');
    out
}

fn push_escaped(out: &mut String, sign: char) {
    let short = match sign {
        '\u{07}' => "\\a",
        '\u{08}' => "\\b",
        '\u{0c}' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\u{0b}' => "\\v",
        '\\' => "\\\\",
        '"' => "\\\"",
        sign if is_printable(sign) => return out.push(sign),
        _ => {
            let code = u32::from(sign);
            let _ = match code {
                0..=0x7f => write!(out, "\\x{code:02x}"),
                0x80..=0xffff => write!(out, "\\u{code:04x}"),
                _ => write!(out, "\\U{code:08x}"),
            };
            return;
        }
    };
    out.push_str(short);
}

fn is_printable(sign: char) -> bool {
    if sign.is_ascii() {
        return sign == ' ' || sign.is_ascii_graphic();
    }
    !sign.is_whitespace() && !matches!(sign.escape_debug().next(), Some('\\'))
}

/// Whether a name can stand as a label without quotes.
pub(super) fn is_plain_label(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether a name can stand before the braces of a selector.
pub(super) fn is_plain_metric(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b':'))
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'))
        && !is_special_number(name)
        && super::token::Keyword::find(name).is_none_or(|keyword| !keyword.is_reserved())
}

/// `Inf` and `NaN`, which are numbers in any case of letters.
pub(super) fn is_special_number(word: &str) -> bool {
    word.eq_ignore_ascii_case("inf") || word.eq_ignore_ascii_case("nan")
}
