//! Lines of a body.

/// A name or value as it stands in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<'a> {
    raw: &'a str,
    escaped: bool,
}

impl<'a> Text<'a> {
    /// Appends it without its escapes.
    pub fn push_to(self, out: &mut String) {
        if !self.escaped {
            out.push_str(self.raw);
            return;
        }
        let mut chars = self.raw.chars().peekable();
        while let Some(c) = chars.next() {
            match chars.peek() {
                Some(next @ (',' | '=' | ' ')) if c == '\\' => {
                    out.push(*next);
                    chars.next();
                }
                _ => out.push(c),
            }
        }
    }

    /// The text itself where nothing in it is escaped.
    pub fn plain(self) -> Option<&'a str> {
        (!self.escaped).then_some(self.raw)
    }
}

/// What a field says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FieldValue {
    /// A number, as a float; integers beyond 2^53 lose their last digits.
    Number(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// A quoted text, of which there is no sample.
    Text,
}

/// A line that reads.
#[derive(Debug, PartialEq)]
pub struct Line<'s, 'a> {
    /// Its number in the body, from 1.
    pub number: usize,
    /// What was measured.
    pub measurement: Text<'a>,
    /// Names and values in the order of the line.
    pub tags: &'s [(Text<'a>, Text<'a>)],
    /// At least one.
    pub fields: &'s [(Text<'a>, FieldValue)],
    /// In the precision of the request.
    pub timestamp: Option<i64>,
}

/// Why a line does not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: unable to parse '{text}': {problem}")]
pub struct LineError {
    /// Its number in the body, from 1.
    pub line: usize,
    /// Its beginning.
    pub text: String,
    /// What is wrong.
    pub problem: &'static str,
}

/// Characters of a line that an error shows.
const SHOWN: usize = 80;

/// Tags of a line; no series has as many labels.
const MAX_TAGS: usize = 1_024;

/// Walks the lines of a body. Its size is the caller's to limit.
#[derive(Debug)]
pub struct LineParser<'a> {
    body: &'a [u8],
    at: usize,
    line: usize,
    tags: Vec<(Text<'a>, Text<'a>)>,
    fields: Vec<(Text<'a>, FieldValue)>,
}

impl<'a> LineParser<'a> {
    /// At the start of a body.
    pub fn new(body: &'a [u8]) -> Self {
        Self { body, at: 0, line: 1, tags: Vec::new(), fields: Vec::new() }
    }

    /// The next line that says something; `None` at the end. After an error the next line can be read.
    pub fn next_line(&mut self) -> Option<Result<Line<'_, 'a>, LineError>> {
        self.skip_silent();
        let start = self.at;
        if start >= self.body.len() {
            return None;
        }
        let number = self.line;
        match self.read_line() {
            Ok((measurement, timestamp)) => {
                Some(Ok(Line { number, measurement, tags: &self.tags, fields: &self.fields, timestamp }))
            }
            Err(problem) => {
                self.skip_line();
                let text = self.body.get(start..self.at).unwrap_or_default();
                let text = String::from_utf8_lossy(text.trim_ascii_end()).chars().take(SHOWN).collect();
                Some(Err(LineError { line: number, text, problem }))
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.body.get(self.at..).unwrap_or_default()
    }

    /// Passes blanks, empty lines and comments.
    fn skip_silent(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b'\n' => {
                    self.line += 1;
                    self.at += 1;
                }
                b' ' | b'\t' | b'\r' | 0 => self.at += 1,
                b'#' => self.skip_line(),
                _ => return,
            }
        }
    }

    /// Up to the line feed.
    fn skip_line(&mut self) {
        self.at += memchr::memchr(b'\n', self.rest()).unwrap_or(self.rest().len());
    }

    fn read_line(&mut self) -> Result<(Text<'a>, Option<i64>), &'static str> {
        self.tags.clear();
        self.fields.clear();
        let measurement = self.name(|byte| matches!(byte, b',' | b' '))?;
        if measurement.raw.is_empty() {
            return Err("missing measurement");
        }
        while self.peek() == Some(b',') {
            self.at += 1;
            let name = self.name(|byte| matches!(byte, b',' | b'=' | b' '))?;
            if self.peek() != Some(b'=') {
                return Err("missing tag value");
            }
            if name.raw.is_empty() {
                return Err("missing tag key");
            }
            self.at += 1;
            let value = self.name(|byte| matches!(byte, b',' | b'=' | b' '))?;
            if self.peek() == Some(b'=') {
                return Err("invalid tag format");
            }
            if self.tags.iter().any(|(known, _)| *known == name) {
                return Err("duplicate tags");
            }
            if !value.raw.is_empty() {
                if self.tags.len() == MAX_TAGS {
                    return Err("more than 1024 tags");
                }
                self.tags.push((name, value));
            }
        }
        if !self.skip_blanks() {
            return Err("missing fields");
        }
        self.read_fields()?;
        let timestamp = self.read_timestamp()?;
        Ok((measurement, timestamp))
    }

    /// A name or a tag's value, up to what ends it.
    fn name(&mut self, ends: impl Fn(u8) -> bool) -> Result<Text<'a>, &'static str> {
        let start = self.at;
        let mut escaped = false;
        while let Some(byte) = self.peek() {
            if byte == b'\n' || ends(byte) {
                break;
            }
            if byte == b'\\' && matches!(self.body.get(self.at + 1), Some(b',' | b'=' | b' ')) {
                escaped = true;
                self.at += 1;
            }
            self.at += 1;
        }
        let raw = self.body.get(start..self.at).unwrap_or_default();
        // The end of a line may be written as CR LF.
        let raw = if self.peek() == Some(b'\n') { raw.strip_suffix(b"\r").unwrap_or(raw) } else { raw };
        let raw = std::str::from_utf8(raw).map_err(|_| "a name is not UTF-8")?;
        Ok(Text { raw, escaped })
    }

    /// Answers whether there was one, and more than the line's end after it.
    fn skip_blanks(&mut self) -> bool {
        let start = self.at;
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
        self.at > start && !matches!(self.peek(), None | Some(b'\n' | b'\r'))
    }

    fn read_fields(&mut self) -> Result<(), &'static str> {
        loop {
            let name = self.name(|byte| matches!(byte, b',' | b'=' | b' '))?;
            if name.raw.is_empty() {
                return Err("missing field key");
            }
            if self.peek() != Some(b'=') {
                return Err("missing field value");
            }
            self.at += 1;
            let value = self.field_value()?;
            self.fields.push((name, value));
            match self.peek() {
                Some(b',') => self.at += 1,
                None | Some(b' ' | b'\t' | b'\n' | b'\r') => return Ok(()),
                Some(_) => return Err("expected a comma or a blank after a field"),
            }
        }
    }

    fn field_value(&mut self) -> Result<FieldValue, &'static str> {
        if self.peek() == Some(b'"') {
            return self.quoted();
        }
        let end = |byte: &u8| matches!(byte, b',' | b' ' | b'\t' | b'\n' | b'\r');
        let length = self.rest().iter().position(end).unwrap_or(self.rest().len());
        let text = self.rest().get(..length).unwrap_or_default();
        let text = std::str::from_utf8(text).map_err(|_| "invalid field format")?;
        self.at += length;
        number(text)
    }

    fn quoted(&mut self) -> Result<FieldValue, &'static str> {
        self.at += 1;
        loop {
            match self.peek() {
                None => return Err("unbalanced quotes"),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(FieldValue::Text);
                }
                Some(b'\\') if matches!(self.body.get(self.at + 1), Some(b'"' | b'\\')) => self.at += 2,
                Some(byte) => {
                    self.line += usize::from(byte == b'\n');
                    self.at += 1;
                }
            }
        }
    }

    fn read_timestamp(&mut self) -> Result<Option<i64>, &'static str> {
        let length = memchr::memchr(b'\n', self.rest()).unwrap_or(self.rest().len());
        let text = self.rest().get(..length).unwrap_or_default().trim_ascii();
        if text.is_empty() {
            self.at += length;
            return Ok(None);
        }
        let timestamp = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        let timestamp = timestamp.ok_or("bad timestamp")?;
        self.at += length;
        Ok(Some(timestamp))
    }
}

/// Anything but a quoted text.
fn number(text: &str) -> Result<FieldValue, &'static str> {
    match text {
        "" => return Err("missing field value"),
        "t" | "T" | "true" | "True" | "TRUE" => return Ok(FieldValue::Boolean(true)),
        "f" | "F" | "false" | "False" | "FALSE" => return Ok(FieldValue::Boolean(false)),
        _ => {}
    }
    if let Some(digits) = text.strip_suffix('i') {
        let number: Result<i64, _> = digits.parse();
        return number.map(|number| FieldValue::Number(number as f64)).map_err(|_| "invalid integer");
    }
    if let Some(digits) = text.strip_suffix('u') {
        let number: Result<u64, _> = digits.parse();
        return number
            .map(|number| FieldValue::Number(number as f64))
            .map_err(|_| "invalid unsigned integer");
    }
    // Words such as `nan` and `infinity` are no numbers here.
    let numeric = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && text.bytes().all(numeric) => Ok(FieldValue::Number(number)),
        _ => Err("invalid number"),
    }
}
