//! `/federate`: the newest samples as a page that another server scrapes.

use std::fmt::Write;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use metricsd_model::labels::{is_classic_label_name, is_classic_metric_name};
use metricsd_model::{HISTOGRAM_MARKER_BITS, LabelSet, METRIC_NAME, Millis, is_stale};
use metricsd_ports::{SelectLimits, SelectedSeries, Selection};
use metricsd_promql::number;

use super::error::ApiError;
use super::form::Form;
use super::{AppState, values};
use crate::api::now;

/// The newest sample of a series.
struct Newest {
    labels: LabelSet,
    timestamp: Millis,
    value: f64,
}

/// How names are written that are not classic.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escaping {
    /// As they are, in quotes.
    Quotes,
    /// With `_` for each character that is not allowed.
    Underscores,
}

/// `GET /federate`
pub(super) async fn federate(
    State(shared): AppState,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, ApiError> {
    let api = &shared.api;
    let end = now();
    let look_back = i64::try_from(api.settings.prometheus.look_back.as_millis()).unwrap_or(i64::MAX);
    let limits =
        SelectLimits { max_series: api.limits.max_query_series, max_samples: api.limits.max_query_samples };
    let mut found: Vec<Newest> = Vec::new();
    for matchers in values::selectors(&form, "match[]")? {
        // A look-back begins behind its first moment.
        let start = end.saturating_sub(look_back).saturating_add(1);
        let selected = api.source.select(&Selection { matchers, start, end, limits }).await?;
        found.extend(selected.into_iter().filter_map(newest));
    }
    let name = |newest: &Newest| newest.labels.metric_name().to_owned();
    found.sort_by_cached_key(|newest| (name(newest), newest.labels.clone()));
    found.dedup_by(|a, b| a.labels == b.labels);
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let (escaping, content_type) =
        if accepts.into_iter().any(|accept| accept.contains("escaping=allow-utf-8")) {
            (Escaping::Quotes, "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8")
        } else {
            (Escaping::Underscores, "text/plain; version=0.0.4; charset=utf-8; escaping=underscores")
        };
    Ok(([(header::CONTENT_TYPE, content_type)], page(&found, escaping)).into_response())
}

/// `None` where the series ended, or its newest sample is a native histogram, which the text format has no form for.
fn newest(series: SelectedSeries) -> Option<Newest> {
    let (timestamp, value) = (*series.timestamps.last()?, *series.values.last()?);
    let shown = !is_stale(value) && value.to_bits() != HISTOGRAM_MARKER_BITS;
    (shown && !series.labels.metric_name().is_empty()).then_some(Newest {
        labels: series.labels,
        timestamp,
        value,
    })
}

/// The page of series that are ordered by name.
fn page(found: &[Newest], escaping: Escaping) -> String {
    let mut out = String::with_capacity(found.len() * 128);
    let mut last = None;
    for newest in found {
        let name = newest.labels.metric_name();
        if last != Some(name) {
            out.push_str("# TYPE ");
            out.push_str(&metric_name(name, escaping));
            out.push_str(" untyped\n");
            last = Some(name);
        }
        series(&mut out, &newest.labels, escaping);
        let _ = writeln!(out, " {} {}", number::format(newest.value), newest.timestamp);
    }
    out
}

fn metric_name(name: &str, escaping: Escaping) -> String {
    match escaping {
        _ if is_classic_metric_name(name) => name.to_owned(),
        Escaping::Quotes => format!("\"{}\"", escaped(name)),
        Escaping::Underscores => underscored(name, true),
    }
}

/// The name and labels of a sample. A series without `instance` says so, or the server that scrapes would take it for
/// this one's.
fn series(out: &mut String, labels: &LabelSet, escaping: Escaping) {
    let name = metric_name(labels.metric_name(), escaping);
    let inside = name.starts_with('"');
    if !inside {
        out.push_str(&name);
    }
    out.push('{');
    if inside {
        out.push_str(&name);
    }
    let mut pairs: Vec<(&str, &str)> = labels.iter().filter(|(name, _)| *name != METRIC_NAME).collect();
    if labels.get("instance").is_none() {
        pairs.push(("instance", ""));
    }
    for (index, (name, value)) in pairs.into_iter().enumerate() {
        if inside || index > 0 {
            out.push(',');
        }
        match escaping {
            _ if is_classic_label_name(name) => out.push_str(name),
            Escaping::Quotes => {
                let _ = write!(out, "\"{}\"", escaped(name));
            }
            Escaping::Underscores => out.push_str(&underscored(name, false)),
        }
        let _ = write!(out, "=\"{}\"", escaped(value));
    }
    out.push('}');
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn underscored(name: &str, colons: bool) -> String {
    let allowed = |at: usize, c: char| {
        c == '_' || (colons && c == ':') || c.is_ascii_alphabetic() || (at > 0 && c.is_ascii_digit())
    };
    name.chars().enumerate().map(|(at, c)| if allowed(at, c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_grouped_and_escaped() {
        let newest = |pairs: &[(&str, &str)], value| Newest {
            labels: LabelSet::new(pairs.iter().copied()).unwrap(),
            timestamp: 1_435_781_451_781,
            value,
        };
        let found = [
            newest(&[("__name__", "a"), ("instance", "i"), ("path", "C:\\\"x\"\n")], 1e6),
            newest(&[("__name__", "a"), ("job", "j")], f64::NAN),
            newest(&[("__name__", "http.status"), ("a.b", "1")], f64::INFINITY),
        ];
        let shared = "# TYPE a untyped\n\
            a{instance=\"i\",path=\"C:\\\\\\\"x\\\"\\n\"} 1e+06 1435781451781\n\
            a{job=\"j\",instance=\"\"} NaN 1435781451781\n";
        let quoted = "# TYPE \"http.status\" untyped\n\
            {\"http.status\",\"a.b\"=\"1\",instance=\"\"} +Inf 1435781451781\n";
        assert_eq!(page(&found, Escaping::Quotes), format!("{shared}{quoted}"));
        let plain = "# TYPE http_status untyped\nhttp_status{a_b=\"1\",instance=\"\"} +Inf 1435781451781\n";
        assert_eq!(page(&found, Escaping::Underscores), format!("{shared}{plain}"));
    }
}
