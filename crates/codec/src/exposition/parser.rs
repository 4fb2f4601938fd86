//! The pass over a page.

use super::entry::{Entry, Exemplar, Fault, ParseError, SampleLine};
use super::{Format, meta, number, scan};

/// Reads a page entry by entry.
///
/// An error concerns one line. By both formats it spoils the page; a caller that wants the rest none the less can go
/// on, and gets the lines after it.
#[derive(Debug, Clone)]
pub struct Parser<'a> {
    /// A part of the page that is UTF-8.
    text: &'a str,
    /// What follows it: nothing, or bytes of which the first are not UTF-8.
    rest: &'a [u8],
    format: Format,
    /// Where the next line starts.
    at: usize,
    /// Number of the last line read, from 1.
    line: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    /// After `# EOF`.
    Closed,
    /// Nothing more to say.
    Done,
}

impl<'a> Parser<'a> {
    /// Starts at the beginning of a page. Its size is the caller's to limit.
    pub fn new(page: &'a [u8], format: Format) -> Self {
        let (text, rest) = readable(page);
        Self { text, rest, format, at: 0, line: 0, state: State::Reading }
    }

    /// The next line that says something; `None` at the end of the page.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        while self.state != State::Done {
            let Some(line) = self.next_line()? else {
                return self.end();
            };
            let entry = match self.format {
                Format::Text => text_line(line, self.line),
                Format::OpenMetrics => self.open_metrics_line(line),
                Format::Protobuf => {
                    self.state = State::Done;
                    Err(Fault::new(0, "expected text, not protobuf"))
                }
            };
            match entry {
                Ok(Some(entry)) => return Ok(Some(entry)),
                Ok(None) => {}
                Err(fault) => return Err(ParseError::at(self.line, line, fault)),
            }
        }
        Ok(None)
    }

    #[inline]
    fn next_line(&mut self) -> Result<Option<&'a str>, ParseError> {
        let rest = &self.text[self.at..];
        match memchr::memchr(b'\n', rest.as_bytes()) {
            Some(length) => {
                self.at += length + 1;
                self.line += 1;
                Ok(Some(&rest[..length]))
            }
            None if !self.rest.is_empty() => self.damaged_line(),
            None if rest.is_empty() => Ok(None),
            None => {
                self.at = self.text.len();
                self.line += 1;
                Ok(Some(rest))
            }
        }
    }

    /// A line that is not all UTF-8: a comment of Prometheus text is passed over, anything else spoils the page.
    #[cold]
    fn damaged_line(&mut self) -> Result<Option<&'a str>, ParseError> {
        let begun = &self.text[self.at..];
        self.line += 1;
        if self.format != Format::Text || !meta::is_comment(begun) {
            self.state = State::Done;
            return Err(ParseError { line: self.line, message: "invalid UTF-8".to_owned() });
        }
        let end = memchr::memchr(b'\n', self.rest).map_or(self.rest.len(), |length| length + 1);
        let (text, rest) = readable(self.rest.get(end..).unwrap_or_default());
        (self.text, self.rest, self.at) = (text, rest, 0);
        Ok(Some(""))
    }

    fn end(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        let complete = self.format != Format::OpenMetrics || self.state == State::Closed;
        self.state = State::Done;
        if complete {
            return Ok(None);
        }
        Err(ParseError {
            line: self.line.max(1),
            message: "expected \"# EOF\" at the end of the page".to_owned(),
        })
    }

    fn open_metrics_line(&mut self, line: &'a str) -> Result<Option<Entry<'a>>, Fault> {
        let bytes = line.as_bytes();
        if self.state == State::Closed {
            self.state = State::Done;
            return Err(Fault::new(0, "expected nothing after \"# EOF\""));
        }
        if bytes.last() == Some(&b'\r') {
            return Err(Fault::new(bytes.len() - 1, "expected a line feed alone as the line's end"));
        }
        match bytes.first() {
            None => Err(Fault::new(0, "expected no empty line")),
            Some(b'#') if line == "# EOF" => {
                self.state = State::Closed;
                Ok(None)
            }
            Some(b'#') => meta::open_metrics(line).map(Some),
            Some(_) => open_metrics_sample(line, self.line).map(Some),
        }
    }
}

/// The text at the beginning of some bytes, and the bytes from the first on that are not text.
fn readable(bytes: &[u8]) -> (&str, &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text, &[]),
        Err(error) => {
            let (valid, rest) = bytes.split_at(error.valid_up_to());
            (std::str::from_utf8(valid).unwrap_or(""), rest)
        }
    }
}

#[inline]
fn text_line(line: &str, number: usize) -> Result<Option<Entry<'_>>, Fault> {
    let start = scan::skip_blanks(line.as_bytes(), 0);
    match line.as_bytes().get(start) {
        None => Ok(None),
        Some(b'#') => meta::text(line, start),
        Some(_) => text_sample(line, start, number).map(Some),
    }
}

/// `series value [timestamp]`, blanks and tabs at will.
#[inline]
fn text_sample(line: &str, start: usize, number: usize) -> Result<Entry<'_>, Fault> {
    let bytes = line.as_bytes();
    let end = scan::series::<_, false>(bytes, start, &mut ())?;
    let at = scan::skip_blanks(bytes, end);
    if at == end && bytes[end - 1] != b'}' {
        return Err(Fault::new(at, "expected a blank and a value after the name"));
    }
    let (value, timestamp) = text_tail(line, at)?;
    Ok(Entry::Sample(SampleLine {
        series: &line[start..end],
        value,
        timestamp,
        exemplar: None,
        line: number,
    }))
}

/// `value [timestamp]` from `at` to the end of the line.
#[inline]
pub(super) fn text_tail(line: &str, at: usize) -> Result<(f64, Option<i64>), Fault> {
    let bytes = line.as_bytes();
    let (value, at) = value(line, at)?;
    let at = scan::skip_blanks(bytes, at);
    if at == bytes.len() {
        return Ok((value, None));
    }
    let stop = scan::token_end(bytes, at);
    let millis = number::millis(&line[at..stop]);
    let timestamp = millis.ok_or(Fault { at, what: "expected a timestamp in whole milliseconds" })?;
    let rest = scan::skip_blanks(bytes, stop);
    if rest < bytes.len() {
        return Err(Fault::new(rest, "expected nothing after the timestamp"));
    }
    Ok((value, Some(timestamp)))
}

/// `series value[ timestamp][ # labels value[ timestamp]]`, one space each.
#[inline]
fn open_metrics_sample(line: &str, number: usize) -> Result<Entry<'_>, Fault> {
    let bytes = line.as_bytes();
    let end = scan::series::<_, true>(bytes, 0, &mut ())?;
    let (value, timestamp, exemplar) = open_metrics_tail(line, end)?;
    Ok(Entry::Sample(SampleLine { series: &line[..end], value, timestamp, exemplar, line: number }))
}

/// ` value[ timestamp][ # labels value[ timestamp]]` from `at` to the end of the line.
#[inline]
pub(super) fn open_metrics_tail(
    line: &str,
    at: usize,
) -> Result<(f64, Option<i64>, Option<Exemplar<'_>>), Fault> {
    let bytes = line.as_bytes();
    let (value, at) = value(line, space(bytes, at, "expected a space and a value after the series")?)?;
    let (timestamp, at) = match bytes.get(at..at + 2) {
        Some([b' ', b'#']) => (None, at),
        _ => seconds(line, at)?,
    };
    let exemplar = if at < bytes.len() { Some(exemplar(line, at)?) } else { None };
    Ok((value, timestamp, exemplar))
}

fn exemplar(line: &str, at: usize) -> Result<Exemplar<'_>, Fault> {
    let bytes = line.as_bytes();
    if bytes.get(at..at + 4) != Some(b" # {") {
        return Err(Fault::new(at, "expected an exemplar, \" # {\", or the end of the line"));
    }
    let start = at + 3;
    let end = scan::labels::<_, true>(bytes, start + 1, false, &mut ())?;
    let (value, at) =
        value(line, space(bytes, end, "expected a space and a value after the exemplar's labels")?)?;
    let (timestamp, at) = seconds(line, at)?;
    if at < bytes.len() {
        return Err(Fault::new(at, "expected nothing after the exemplar"));
    }
    Ok(Exemplar { labels: &line[start..end], value, timestamp })
}

#[inline]
fn space(line: &[u8], at: usize, what: &'static str) -> Result<usize, Fault> {
    if line.get(at) == Some(&b' ') { Ok(at + 1) } else { Err(Fault::new(at, what)) }
}

/// The value at `at` and its end.
#[inline]
fn value(line: &str, at: usize) -> Result<(f64, usize), Fault> {
    let end = scan::token_end(line.as_bytes(), at);
    let value = number::float(&line[at..end]).ok_or(Fault { at, what: "expected a value" })?;
    Ok((value, end))
}

/// The timestamp behind a space at `at`, if the line goes on, and its end.
#[inline]
fn seconds(line: &str, at: usize) -> Result<(Option<i64>, usize), Fault> {
    if at == line.len() {
        return Ok((None, at));
    }
    let start = space(line.as_bytes(), at, "expected a space")?;
    let end = scan::token_end(line.as_bytes(), start);
    let millis = number::seconds_as_millis(&line[start..end]);
    Ok((Some(millis.ok_or(Fault { at: start, what: "expected a timestamp in seconds" })?), end))
}
