//! The grammar of series: names, label sets, quoted strings. One scanner serves the pass over the page, which only
//! checks, and the parser of single series, which also collects.

use std::borrow::Cow;
use std::ops::Range;

use super::entry::Fault;

/// Bits of [`CLASS`].
const LABEL: u8 = 1;
const METRIC: u8 = 2;
const DIGIT: u8 = 4;

/// What each byte may be part of.
static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let byte = index as u8;
        table[index] = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => LABEL | METRIC,
            b'0'..=b'9' => LABEL | METRIC | DIGIT,
            b':' => METRIC,
            _ => 0,
        };
        index += 1;
    }
    table
}

/// Hears what the scanner finds; ranges are of the scanned bytes, quotes left out, escapes still in.
pub(super) trait Sink {
    /// The metric's name.
    fn name(&mut self, range: Range<usize>);
    /// One label.
    fn label(&mut self, name: Range<usize>, value: Range<usize>);
}

/// Hears nothing: syntax only.
impl Sink for () {
    #[inline]
    fn name(&mut self, _: Range<usize>) {}
    #[inline]
    fn label(&mut self, _: Range<usize>, _: Range<usize>) {}
}

/// First byte from `at` that is neither blank nor tab.
#[inline]
pub(super) fn skip_blanks(line: &[u8], mut at: usize) -> usize {
    while matches!(line.get(at), Some(b' ' | b'\t')) {
        at += 1;
    }
    at
}

/// End of the token that starts at `at`.
#[inline]
pub(super) fn token_end(line: &[u8], at: usize) -> usize {
    line[at..].iter().position(|byte| matches!(byte, b' ' | b'\t')).map_or(line.len(), |length| at + length)
}

/// Scans a series from `at` and returns its end. `STRICT` is OpenMetrics: no blanks inside, no comma before `}`.
#[inline]
pub(super) fn series<S: Sink, const STRICT: bool>(
    line: &[u8],
    at: usize,
    sink: &mut S,
) -> Result<usize, Fault> {
    if line.get(at) == Some(&b'{') {
        return labels::<S, STRICT>(line, at + 1, true, sink);
    }
    let end = metric_name(line, at)?;
    sink.name(at..end);
    let open = if STRICT { end } else { skip_blanks(line, end) };
    if line.get(open) == Some(&b'{') { labels::<S, STRICT>(line, open + 1, false, sink) } else { Ok(end) }
}

/// End of the unquoted metric name at `at`.
#[inline]
pub(super) fn metric_name(line: &[u8], at: usize) -> Result<usize, Fault> {
    let end = name_end(line, at, METRIC);
    if end == at { Err(Fault::new(at, "expected a metric name")) } else { Ok(end) }
}

#[inline]
fn name_end(line: &[u8], at: usize, class: u8) -> usize {
    let is = |byte: &u8, mask: u8| CLASS[usize::from(*byte)] & mask != 0;
    if line.get(at).is_none_or(|byte| !is(byte, class) || is(byte, DIGIT)) {
        return at;
    }
    let rest = &line[at + 1..];
    at + 1 + rest.iter().position(|byte| !is(byte, class)).unwrap_or(rest.len())
}

/// Scans what follows `{` and returns the end of `}`. With `named`, one quoted metric name must be among the labels.
#[inline]
pub(super) fn labels<S: Sink, const STRICT: bool>(
    line: &[u8],
    at: usize,
    named: bool,
    sink: &mut S,
) -> Result<usize, Fault> {
    let blanks = |at| if STRICT { at } else { skip_blanks(line, at) };
    let start = blanks(at);
    if line.get(start) == Some(&b'}') && !named {
        return Ok(start + 1);
    }
    let (mut at, mut unnamed) = (start, named);
    loop {
        let name = if named { metric_name_among_labels(line, at, blanks)? } else { None };
        if let Some((range, end)) = name {
            if !std::mem::take(&mut unnamed) {
                return Err(Fault::new(at, "expected one metric name"));
            }
            sink.name(range);
            at = blanks(end);
        } else {
            at = blanks(label::<S, STRICT>(line, at, sink)?);
        }
        match line.get(at) {
            Some(b'}') => break,
            Some(b',') => at = blanks(at + 1),
            _ => return Err(Fault::new(at, "expected \",\" or \"}\" after a name or a label value")),
        }
        if !STRICT && line.get(at) == Some(&b'}') {
            break;
        }
    }
    if unnamed { Err(Fault::new(start, "expected a metric name")) } else { Ok(at + 1) }
}

/// A quoted name at `at` that is not a label's, and its end.
fn metric_name_among_labels(
    line: &[u8],
    at: usize,
    blanks: impl Fn(usize) -> usize,
) -> Result<Option<(Range<usize>, usize)>, Fault> {
    match line.get(at) {
        Some(b'"') => {
            let (range, end) = quoted_name(line, at)?;
            Ok((line.get(blanks(end)) != Some(&b'=')).then_some((range, end)))
        }
        Some(b'}') => Err(Fault::new(at, "expected a metric name or a label name")),
        _ => Ok(None),
    }
}

/// Scans `name="value"` and returns its end.
#[inline]
fn label<S: Sink, const STRICT: bool>(line: &[u8], at: usize, sink: &mut S) -> Result<usize, Fault> {
    let blanks = |at| if STRICT { at } else { skip_blanks(line, at) };
    let end = name_end(line, at, LABEL);
    let (name, end) = if end > at {
        (at..end, end)
    } else if line.get(at) == Some(&b'"') {
        quoted_name(line, at)?
    } else {
        return Err(Fault::new(at, "expected a label name"));
    };
    let equals = blanks(end);
    if line.get(equals) != Some(&b'=') {
        return Err(Fault::new(equals, "expected \"=\" after a label name"));
    }
    let open = blanks(equals + 1);
    if line.get(open) != Some(&b'"') {
        return Err(Fault::new(open, "expected a label value in double quotes"));
    }
    let close = closing_quote(line, open + 1)?;
    sink.label(name, open + 1..close);
    Ok(close + 1)
}

/// A name in double quotes at `at`: its range and the end of the closing quote.
pub(super) fn quoted_name(line: &[u8], at: usize) -> Result<(Range<usize>, usize), Fault> {
    if line.get(at) != Some(&b'"') {
        return Err(Fault::new(at, "expected a metric name"));
    }
    let close = closing_quote(line, at + 1)?;
    if close == at + 1 {
        return Err(Fault::new(at, "expected a name that is not empty"));
    }
    Ok((at + 1..close, close + 1))
}

/// The quote that ends the string whose first byte is at `at`.
#[inline]
fn closing_quote(line: &[u8], mut at: usize) -> Result<usize, Fault> {
    let start = at;
    loop {
        match line.get(at) {
            Some(b'"') => return Ok(at),
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => {
                return Err(Fault::new(start.saturating_sub(1), "expected a closing double quote"));
            }
        }
    }
}

/// Resolves `\\`, `\"` and `\n`; any other backslash stands for itself, as in OpenMetrics and in Prometheus.
pub(super) fn unescape(text: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\\', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            out.push(char);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some(escaped @ ('\\' | '"')) => out.push(escaped),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    Cow::Owned(out)
}
