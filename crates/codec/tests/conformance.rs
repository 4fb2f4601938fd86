//! The conformance set: small pages in each text format, good and bad, with the entries that they hold or why they are
//! refused. Each file of `tests/pages` says what it is about, then the page, then what is expected; an escaped page is
//! written without line breaks of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use metricsd_codec::exposition::{
    Entry, Exemplar, Format, MetricKind, ParseError, Parser, SampleLine, parse_series, unescape_help,
};

struct Case {
    page: Vec<u8>,
    expected: Expected,
}

enum Expected {
    Entries(Vec<String>),
    /// Where the message begins with this.
    Refused(String),
}

impl Case {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let (head, expected) = text.rsplit_once("\n--- ").expect("what is expected");
        let (_, page) = head.split_once("\n--- ").expect("a page");
        let (kind, page) = page.split_once('\n').unwrap_or((page, ""));
        let page = match kind {
            "page" => format!("{page}\n").into_bytes(),
            "escaped page" => unescape(page),
            other => panic!("{other:?} is no kind of page"),
        };
        let (kind, lines) = expected.split_once('\n').unwrap();
        let expected = match kind {
            "entries" => Expected::Entries(lines.lines().map(str::to_owned).collect()),
            "refused" => Expected::Refused(lines.trim_end().to_owned()),
            other => panic!("{other:?} is nothing that can be expected"),
        };
        Self { page, expected }
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next().unwrap() {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => panic!("\\{} is no escape", char::from(other)),
        });
    }
    out
}

/// Entries in one form: labels in order of name, timestamps in milliseconds.
fn entries(page: &[u8], format: Format) -> Result<Vec<String>, ParseError> {
    let mut parser = Parser::new(page, format);
    let mut lines = Vec::new();
    while let Some(entry) = parser.next_entry()? {
        lines.push(match entry {
            Entry::Help { name, text } => format!("help {name}: {}", plain(&unescape_help(text))),
            Entry::Type { name, kind } => format!("type {name}: {}", kind_name(kind)),
            Entry::Unit { name, unit } => format!("unit {name}: {unit}"),
            Entry::Sample(sample) => shown(&sample),
        });
    }
    Ok(lines)
}

fn kind_name(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
        MetricKind::GaugeHistogram => "gaugehistogram",
        MetricKind::Summary => "summary",
        MetricKind::Info => "info",
        MetricKind::StateSet => "stateset",
        MetricKind::Unknown => "unknown",
    }
}

fn plain(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r").replace('\0', "\\0")
}

fn labels<'a>(pairs: impl IntoIterator<Item = (impl AsRef<str> + 'a, impl AsRef<str> + 'a)>) -> String {
    let sorted: BTreeMap<String, String> = pairs
        .into_iter()
        .map(|(name, value)| (name.as_ref().to_owned(), plain(value.as_ref()).replace('"', "\\\"")))
        .collect();
    let parts: Vec<String> = sorted.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    format!("{{{}}}", parts.join(","))
}

fn shown(sample: &SampleLine<'_>) -> String {
    let series = parse_series(sample.series).unwrap();
    let mut out = format!("{}{} {}", plain(&series.name), labels(series.labels), sample.value);
    if let Some(timestamp) = sample.timestamp {
        out += &format!(" @{timestamp}");
    }
    if let Some(Exemplar { value, timestamp, .. }) = &sample.exemplar {
        let pairs = sample.exemplar.as_ref().unwrap().parse_labels().unwrap();
        out += &format!(" # {} {value}", labels(pairs));
        if let Some(timestamp) = timestamp {
            out += &format!(" @{timestamp}");
        }
    }
    out
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pages").join(folder);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Runs all cases of a folder, and tells of all that fail.
fn run(folder: &str, format: Format, at_least: usize) {
    let mut faults = Vec::new();
    let files = files(folder);
    for path in &files {
        let case = Case::read(path);
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        match (entries(&case.page, format), case.expected) {
            (Ok(found), Expected::Entries(expected)) if found == expected => {}
            (Err(error), Expected::Refused(expected)) if error.to_string().starts_with(&expected) => {}
            (Ok(found), Expected::Entries(expected)) => {
                faults.push(format!("{name}:\n    found {found:?}\n expected {expected:?}"));
            }
            (found, Expected::Refused(expected)) => {
                faults.push(format!("{name}: {found:?}, not {expected:?}"))
            }
            (Err(error), Expected::Entries(_)) => faults.push(format!("{name}: {error}")),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(files.len() >= at_least, "{} cases are there", files.len());
}

#[test]
fn prometheus_text() {
    run("text", Format::Text, 60);
}

#[test]
fn open_metrics() {
    run("openmetrics", Format::OpenMetrics, 40);
}

/// Whatever the page, one that lacks a line at its end reads up to there, or is refused.
#[test]
fn cut_pages_are_read_as_far_as_they_go() {
    for (folder, format) in [("text", Format::Text), ("openmetrics", Format::OpenMetrics)] {
        for path in files(folder) {
            let Case { page, expected: Expected::Entries(_) } = Case::read(&path) else { continue };
            let whole = entries(&page, format).unwrap();
            for cut in (0..page.len()).step_by(page.len() / 200 + 1) {
                match entries(&page[..cut], format) {
                    Ok(found) => assert!(found.len() <= whole.len(), "{path:?} cut at {cut}"),
                    Err(error) => assert!(error.line >= 1 && !error.message.is_empty()),
                }
                if format == Format::OpenMetrics && cut < page.len().saturating_sub(1) {
                    assert!(entries(&page[..cut], format).is_err(), "{path:?} cut at {cut} has no end");
                }
            }
        }
    }
}
