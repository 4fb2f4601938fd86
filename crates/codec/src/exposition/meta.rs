//! Lines that start with `#`.

use std::borrow::Cow;

use super::entry::{Entry, Fault, MetricKind};
use super::scan;

/// A `#` line of Prometheus text, with `#` at `start`. Whatever is not HELP or TYPE is a comment.
pub(super) fn text(line: &str, start: usize) -> Result<Option<Entry<'_>>, Fault> {
    let bytes = line.as_bytes();
    let keyword = scan::skip_blanks(bytes, start + 1);
    let end = scan::token_end(bytes, keyword);
    let is_help = match &line[keyword..end] {
        // `#TYPE` without a blank is a line that someone has commented out.
        _ if keyword == start + 1 => return Ok(None),
        // The keyword alone says nothing of any family.
        _ if end == bytes.len() => return Ok(None),
        "HELP" => true,
        "TYPE" => false,
        _ => return Ok(None),
    };
    let (name, end) = name(line, scan::skip_blanks(bytes, end))?;
    let rest = scan::skip_blanks(bytes, end);
    if rest == end && rest < bytes.len() {
        return Err(Fault::new(end, "expected a blank after the metric name"));
    }
    let argument = line[rest..].trim_end_matches([' ', '\t']);
    if is_help {
        return Ok(Some(Entry::Help { name, text: argument }));
    }
    let kind = match argument {
        "counter" => MetricKind::Counter,
        "gauge" => MetricKind::Gauge,
        "histogram" => MetricKind::Histogram,
        "summary" => MetricKind::Summary,
        "untyped" => MetricKind::Unknown,
        _ => {
            return Err(Fault::new(rest, "expected counter, gauge, histogram, summary or untyped"));
        }
    };
    Ok(Some(Entry::Type { name, kind }))
}

/// Whether a line of Prometheus text is a comment, going by its beginning: what follows cannot make it anything else.
pub(super) fn is_comment(begun: &str) -> bool {
    let bytes = begun.as_bytes();
    let start = scan::skip_blanks(bytes, 0);
    if bytes.get(start) != Some(&b'#') {
        return false;
    }
    let keyword = scan::skip_blanks(bytes, start + 1);
    let end = scan::token_end(bytes, keyword);
    let is_keyword = matches!(&begun[keyword..end], "HELP" | "TYPE") && keyword > start + 1;
    // A keyword with damaged bytes right behind it is another word.
    !(is_keyword && end < bytes.len())
}

/// A `#` line of OpenMetrics other than `# EOF`.
pub(super) fn open_metrics(line: &str) -> Result<Entry<'_>, Fault> {
    let keyword = line.get(..7).unwrap_or("");
    if !matches!(keyword, "# HELP " | "# TYPE " | "# UNIT ") {
        return Err(Fault::new(0, "expected \"# HELP \", \"# TYPE \", \"# UNIT \" or \"# EOF\""));
    }
    let (name, end) = name(line, keyword.len())?;
    if line.as_bytes().get(end) != Some(&b' ') {
        return Err(Fault::new(end, "expected a space after the metric name"));
    }
    let start = end + 1;
    let argument = &line[start..];
    match keyword {
        "# HELP " => Ok(Entry::Help { name, text: argument }),
        "# TYPE " => match open_metrics_kind(argument) {
            Some(kind) => Ok(Entry::Type { name, kind }),
            None => Err(Fault::new(
                start,
                "expected counter, gauge, histogram, gaugehistogram, stateset, info, summary or unknown",
            )),
        },
        _ => unit(name, argument).ok_or(Fault::new(start, "expected a unit that the metric name ends with")),
    }
}

fn open_metrics_kind(name: &str) -> Option<MetricKind> {
    Some(match name {
        "counter" => MetricKind::Counter,
        "gauge" => MetricKind::Gauge,
        "histogram" => MetricKind::Histogram,
        "gaugehistogram" => MetricKind::GaugeHistogram,
        "summary" => MetricKind::Summary,
        "info" => MetricKind::Info,
        "stateset" => MetricKind::StateSet,
        "unknown" => MetricKind::Unknown,
        _ => return None,
    })
}

/// A unit may be empty; otherwise `_unit` must end the name.
fn unit<'a>(name: Cow<'a, str>, unit: &'a str) -> Option<Entry<'a>> {
    let fits =
        unit.is_empty() || name.strip_suffix(unit).is_some_and(|rest| rest.len() > 1 && rest.ends_with('_'));
    fits.then_some(Entry::Unit { name, unit })
}

/// The family's name at `at`, in quotes or without, and its end.
fn name(line: &str, at: usize) -> Result<(Cow<'_, str>, usize), Fault> {
    let bytes = line.as_bytes();
    if bytes.get(at) == Some(&b'"') {
        let (range, end) = scan::quoted_name(bytes, at)?;
        return Ok((scan::unescape(&line[range]), end));
    }
    let end = scan::metric_name(bytes, at)?;
    Ok((Cow::Borrowed(&line[at..end]), end))
}
