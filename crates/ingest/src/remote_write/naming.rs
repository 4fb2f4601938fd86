//! From the bytes of labels to a series.

use metricsd_codec::remote_write::{RawLabel, TimeSeries, WireError};
use metricsd_model::{LabelSet, METRIC_NAME, MetricType, Refusal, Series, SeriesId};

use super::WriteOrigin;
use crate::validate::{Fault, check_metric_name, check_page_labels};
use crate::{Limits, Texts};

/// Takes a series' labels apart and checks them; they may come in any order. The inner error is one of these labels
/// alone, the outer one is of the body.
pub(super) fn name(
    series: &TimeSeries<'_>,
    origin: &WriteOrigin,
    limits: &Limits,
    texts: &Texts,
) -> Result<Result<Series, Fault>, WireError> {
    let raw = series.parse_labels(limits.max_labels)?;
    Ok(labels_of(&raw, limits).map(|labels| Series {
        id: SeriesId::of(&labels),
        labels,
        metric_type: MetricType::Custom,
        source_type: series.source().unwrap_or(origin.source_type),
        source: texts.share(&origin.source_id),
        target_id: texts.share(&origin.target_id),
        help: None,
        unit: None,
    }))
}

fn labels_of(raw: &[RawLabel<'_>], limits: &Limits) -> Result<LabelSet, Fault> {
    if raw.len() > limits.max_labels {
        let message = format!("there are more labels than the limit of {}", limits.max_labels);
        return Err(Fault::new(Refusal::LabelLimit, "labels", message));
    }
    let pairs = raw.iter().map(pair).collect::<Result<Vec<_>, _>>()?;
    let (name, others): (Vec<_>, Vec<_>) = pairs.iter().copied().partition(|(name, _)| *name == METRIC_NAME);
    match name.first() {
        Some((_, name)) => check_metric_name(name, limits)?,
        None => {
            let message = "the metric's name is missing: there is no label __name__";
            return Err(Fault::new(Refusal::InvalidName, "name", message));
        }
    }
    check_page_labels(&others, limits)?;
    LabelSet::new(pairs).map_err(|error| Fault::label(error.to_string()))
}

/// A label as text.
fn pair<'a>(label: &RawLabel<'a>) -> Result<(&'a str, &'a str), Fault> {
    match (std::str::from_utf8(label.name), std::str::from_utf8(label.value)) {
        (Ok(name), Ok(value)) => Ok((name, value)),
        (Ok(name), Err(_)) => Err(Fault::label(format!("the value of label {name:?} is not UTF-8"))),
        (Err(_), _) => Err(Fault::label("the name of a label is not UTF-8")),
    }
}

/// Bytes of a series' labels that a message shows.
const SHOWN: usize = 200;

/// How messages name a series, whatever its labels are.
pub(super) fn shown(series: &TimeSeries<'_>, limits: &Limits) -> String {
    let raw = series.parse_labels(limits.max_labels).unwrap_or_default();
    let text = |bytes| String::from_utf8_lossy(bytes);
    let is_name = |label: &&RawLabel<'_>| label.name == METRIC_NAME.as_bytes();
    let mut out: String =
        raw.iter().find(is_name).map(|label| text(label.value).into_owned()).unwrap_or_default();
    let mut separator = '{';
    for label in raw.iter().filter(|label| !is_name(label)) {
        if out.len() > SHOWN {
            break;
        }
        out.push(separator);
        out.push_str(&format!("{}={:?}", text(label.name), text(label.value)));
        separator = ',';
    }
    if separator == ',' || out.is_empty() {
        out.push_str(if separator == ',' { "}" } else { "{}" });
    }
    if out.len() > SHOWN {
        out = out.chars().take(SHOWN).chain(['…']).collect();
    }
    out
}
