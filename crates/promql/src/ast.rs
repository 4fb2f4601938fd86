//! What a query says, once it is read.

use std::fmt;

use metricsd_model::labels::{is_classic_label_name, is_classic_metric_name};
use metricsd_model::{METRIC_NAME, MatchOp, Matcher};

/// A choice of series: `name{label="value",…}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Selector {
    /// All must match; a metric name is an ordinary matcher on `__name__`, and stands first.
    pub matchers: Vec<Matcher>,
}

impl Selector {
    /// The metric's name where it can stand before the braces: given once, by equality, and nothing else said of it.
    fn plain_name(&self) -> Option<&str> {
        let mut names = self.matchers.iter().filter(|matcher| matcher.name == METRIC_NAME);
        let first = names.next()?;
        let alone = names.next().is_none() && self.matchers.first() == Some(first);
        let plain = first.op == MatchOp::Equal && is_plain_metric_name(&first.value);
        (alone && plain).then_some(first.value.as_str())
    }
}

/// Whether a name reads back as a metric name without quotes: `inf` and `nan` are numbers.
fn is_plain_metric_name(name: &str) -> bool {
    is_classic_metric_name(name) && !is_number_word(name)
}

/// The words that the language reads as numbers.
pub(crate) fn is_number_word(word: &str) -> bool {
    word.eq_ignore_ascii_case("inf") || word.eq_ignore_ascii_case("nan")
}

impl fmt::Display for Selector {
    /// A text that reads back as the same selector.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.plain_name();
        f.write_str(name.unwrap_or(""))?;
        let rest = &self.matchers[usize::from(name.is_some())..];
        if rest.is_empty() && name.is_some() {
            return Ok(());
        }
        f.write_str("{")?;
        for (place, matcher) in rest.iter().enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            if is_classic_label_name(&matcher.name) {
                f.write_str(&matcher.name)?;
            } else {
                write_quoted(f, &matcher.name)?;
            }
            f.write_str(matcher.op.as_str())?;
            write_quoted(f, &matcher.value)?;
        }
        f.write_str("}")
    }
}

/// Writes a string literal that the lexer reads back.
fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    use fmt::Write;
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c.is_control() => write!(f, "\\U{:08x}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}
