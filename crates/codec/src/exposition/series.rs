//! Taking the raw text of a series apart; for series that nobody has seen before.

use std::borrow::Cow;
use std::ops::Range;

use metricsd_model::METRIC_NAME;

use super::entry::Fault;
use super::scan::{self, Sink};

/// Name and value of a label, unescaped.
pub type Label<'a> = (Cow<'a, str>, Cow<'a, str>);

/// A series as a page writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesText<'a> {
    /// The metric's name, unescaped.
    pub name: Cow<'a, str>,
    /// All other labels in the order of the page; no name twice. Values may be empty.
    pub labels: Vec<Label<'a>>,
}

/// Why the text of a series does not make labels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeriesError {
    /// Not a series at all. Does not happen to what [`super::Parser`] let pass.
    #[error("{0}")]
    Syntax(String),
    /// A label name twice in one set.
    #[error("label {0:?} is given more than once")]
    Duplicate(String),
    /// `__name__` as an ordinary label.
    #[error("label \"__name__\" is reserved for the metric name")]
    Reserved,
    /// More characters than an exemplar may have.
    #[error("an exemplar may have {max} characters in its labels, this one has {0}", max = super::Exemplar::MAX_CHARS)]
    ExemplarTooLong(usize),
}

impl From<Fault> for SeriesError {
    fn from(fault: Fault) -> Self {
        Self::Syntax(fault.to_string())
    }
}

/// Takes apart what [`super::SampleLine::series`] holds: `name`, `name{a="b"}`, or `{"any name", "any label"="b"}`.
pub fn parse_series(raw: &str) -> Result<SeriesText<'_>, SeriesError> {
    let mut found = Collect { raw, name: Cow::Borrowed(""), labels: Vec::new() };
    let end = scan::series::<_, false>(raw.as_bytes(), 0, &mut found)?;
    if end != raw.len() {
        return Err(Fault::new(end, "expected nothing after the series").into());
    }
    check_unique(&found.labels)?;
    Ok(SeriesText { name: found.name, labels: found.labels })
}

/// Takes apart a label set in braces without a metric name.
pub(super) fn parse_labels(raw: &str) -> Result<Vec<Label<'_>>, SeriesError> {
    let mut found = Collect { raw, name: Cow::Borrowed(""), labels: Vec::new() };
    if !raw.starts_with('{') {
        return Err(Fault::new(0, "expected \"{\"").into());
    }
    scan::labels::<_, false>(raw.as_bytes(), 1, false, &mut found)?;
    check_unique(&found.labels)?;
    Ok(found.labels)
}

struct Collect<'a> {
    raw: &'a str,
    name: Cow<'a, str>,
    labels: Vec<Label<'a>>,
}

impl<'a> Collect<'a> {
    fn text(&self, range: Range<usize>) -> Cow<'a, str> {
        scan::unescape(&self.raw[range])
    }
}

impl Sink for Collect<'_> {
    fn name(&mut self, range: Range<usize>) {
        self.name = self.text(range);
    }

    fn label(&mut self, name: Range<usize>, value: Range<usize>) {
        let label = (self.text(name), self.text(value));
        self.labels.push(label);
    }
}

/// Most sets are small enough to compare every pair; a page that tries to make that expensive gets a sort.
const FEW: usize = 16;

fn check_unique(labels: &[Label<'_>]) -> Result<(), SeriesError> {
    if labels.iter().any(|(name, _)| name == METRIC_NAME) {
        return Err(SeriesError::Reserved);
    }
    let duplicate = if labels.len() <= FEW {
        (1..labels.len())
            .find(|at| labels[..*at].iter().any(|(name, _)| *name == labels[*at].0))
            .map(|at| &labels[at].0)
    } else {
        let mut names: Vec<_> = labels.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
    };
    duplicate.map_or(Ok(()), |name| Err(SeriesError::Duplicate(name.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_comes_apart() {
        let check = |raw: &str, name: &str, labels: &[(&str, &str)]| {
            let series = parse_series(raw).unwrap_or_else(|error| panic!("{raw}: {error}"));
            let found: Vec<(&str, &str)> =
                series.labels.iter().map(|(n, v)| (n.as_ref(), v.as_ref())).collect();
            assert_eq!((series.name.as_ref(), found.as_slice()), (name, labels), "{raw}");
        };
        check("up", "up", &[]);
        check("up{}", "up", &[]);
        check(":rule:rate5m", ":rule:rate5m", &[]);
        check(r#"a{b="c",d=""}"#, "a", &[("b", "c"), ("d", "")]);
        check(r#"a { b = "c" , d = "e" , }"#, "a", &[("b", "c"), ("d", "e")]);
        check(r#"a{b="C:\\D\nE\"F\x"}"#, "a", &[("b", "C:\\D\nE\"F\\x")]);
        check(r#"{"a.b"}"#, "a.b", &[]);
        check(r#"{"a.b",}"#, "a.b", &[]);
        check(r#"{"a\"\\\n", "läbel.x"="v", y="w"}"#, "a\"\\\n", &[("läbel.x", "v"), ("y", "w")]);
        check(r#"{a="b","c d"="e","f.g"}"#, "f.g", &[("a", "b"), ("c d", "e")]);
        check(r#"a{"b.c"="d"}"#, "a", &[("b.c", "d")]);
        check(r#"a{b="},{\\"}"#, "a", &[("b", "},{\\")]);
    }

    #[test]
    fn what_is_no_series_is_refused() {
        let check = |raw: &str, part: &str| {
            let error = parse_series(raw).unwrap_err().to_string();
            assert!(error.contains(part), "{raw}: {error}");
        };
        check("", "expected a metric name");
        check("{}", "expected a metric name");
        check("1a", "expected a metric name");
        check(r#"{a="b"}"#, "expected a metric name");
        check(r#"{"a"="b"}"#, "expected a metric name");
        check(r#"{"a","b"}"#, "expected one metric name");
        check(r#"{""}"#, "not empty");
        check(r#"a{""="b"}"#, "not empty");
        check(r#"a{"b"}"#, "expected \"=\"");
        check(r#"a{b="c""#, "expected \",\" or \"}\"");
        check(r#"a{b="c}"#, "closing double quote");
        check(r#"a{b="c\"#, "closing double quote");
        check(r#"a{b="1",b="2"}"#, "label \"b\" is given more than once");
        check(r#"a{b="1","b"="2"}"#, "label \"b\" is given more than once");
        check(r#"a{__name__="b"}"#, "reserved");
        check("a b", "nothing after");
        let many: Vec<String> = (0..40).map(|at| format!("l{}=\"\"", at % 39)).collect();
        check(&format!("a{{{}}}", many.join(",")), "label \"l0\" is given more than once");
    }
}
