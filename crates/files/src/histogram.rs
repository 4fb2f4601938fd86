//! Native histograms as JSON: every field of the model, so that nothing is lost.

use metricsd_model::{NativeHistogram, Span};
use serde::{Deserialize, Serialize};

/// More buckets than any client makes.
const MAX_BUCKETS: usize = 100_000;

/// A float that may be no number.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Float<'a> {
    Number(f64),
    Text(#[serde(borrow)] std::borrow::Cow<'a, str>),
}

impl Float<'_> {
    fn of(value: f64) -> Self {
        if value.is_finite() { Self::Number(value) } else { Self::Text(crate::value::special(value).into()) }
    }

    fn read(&self) -> Result<f64, String> {
        match self {
            Self::Number(value) => Ok(*value),
            Self::Text(text) => {
                crate::value::parse(text)?.ok_or_else(|| "a histogram cannot be stale".to_owned())
            }
        }
    }
}

/// A histogram as JSON has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wire<'a> {
    schema: i32,
    #[serde(borrow)]
    count: Float<'a>,
    sum: Float<'a>,
    #[serde(default)]
    zero_threshold: f64,
    #[serde(default)]
    zero_count: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reset_hint: Option<&'a str>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    positive_spans: Vec<(i32, u32)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    positive_buckets: Vec<f64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    negative_spans: Vec<(i32, u32)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    negative_buckets: Vec<f64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    custom_values: Vec<f64>,
}

/// Writes a histogram.
pub(crate) fn to_json(histogram: &NativeHistogram) -> String {
    use metricsd_model::histogram::ResetHint;
    let spans = |spans: &[Span]| spans.iter().map(|span| (span.offset, span.length)).collect();
    let wire = Wire {
        schema: histogram.schema,
        count: Float::of(histogram.count),
        sum: Float::of(histogram.sum),
        zero_threshold: histogram.zero_threshold,
        zero_count: histogram.zero_count,
        reset_hint: match histogram.reset_hint {
            ResetHint::Unknown => None,
            ResetHint::Yes => Some("yes"),
            ResetHint::No => Some("no"),
            ResetHint::Gauge => Some("gauge"),
        },
        positive_spans: spans(&histogram.positive_spans),
        positive_buckets: histogram.positive_buckets.clone(),
        negative_spans: spans(&histogram.negative_spans),
        negative_buckets: histogram.negative_buckets.clone(),
        custom_values: histogram.custom_values.clone(),
    };
    // It holds nothing that JSON cannot say.
    serde_json::to_string(&wire).unwrap_or_default()
}

/// Reads a histogram.
pub(crate) fn from_json(text: &str) -> Result<NativeHistogram, String> {
    from_wire(serde_json::from_str(text).map_err(|error| format!("histogram: {error}"))?)
}

/// The same of what was read as JSON already.
pub(crate) fn from_wire(wire: Wire<'_>) -> Result<NativeHistogram, String> {
    use metricsd_model::histogram::ResetHint;
    if wire.positive_buckets.len() + wire.negative_buckets.len() + wire.custom_values.len() > MAX_BUCKETS {
        return Err(format!("histogram: more than {MAX_BUCKETS} buckets"));
    }
    let spans = |spans: &[(i32, u32)]| {
        spans.iter().map(|&(offset, length)| Span { offset, length }).collect::<Vec<_>>()
    };
    let reset_hint = match wire.reset_hint {
        None | Some("unknown") => ResetHint::Unknown,
        Some("yes") => ResetHint::Yes,
        Some("no") => ResetHint::No,
        Some("gauge") => ResetHint::Gauge,
        Some(_) => return Err("histogram: reset_hint: expected yes, no, gauge or unknown".to_owned()),
    };
    Ok(NativeHistogram {
        schema: wire.schema,
        zero_threshold: wire.zero_threshold,
        zero_count: wire.zero_count,
        count: wire.count.read()?,
        sum: wire.sum.read()?,
        reset_hint,
        positive_spans: spans(&wire.positive_spans),
        positive_buckets: wire.positive_buckets,
        negative_spans: spans(&wire.negative_spans),
        negative_buckets: wire.negative_buckets,
        custom_values: wire.custom_values,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_read_back() {
        let full = NativeHistogram {
            schema: 3,
            zero_threshold: 1e-128,
            zero_count: 2.0,
            count: 17.0,
            sum: f64::NAN,
            reset_hint: metricsd_model::histogram::ResetHint::Gauge,
            positive_spans: vec![Span { offset: -2, length: 2 }, Span { offset: 3, length: 1 }],
            positive_buckets: vec![3.0, 1.5, 0.1],
            negative_spans: vec![Span { offset: 0, length: 1 }],
            negative_buckets: vec![4.0],
            custom_values: Vec::new(),
        };
        assert_eq!(from_json(&to_json(&full)), Ok(full));
        let custom =
            NativeHistogram { schema: -53, custom_values: vec![0.1, 2.5], ..NativeHistogram::default() };
        assert_eq!(from_json(&to_json(&custom)), Ok(custom));
        for wrong in ["", "{}", "[]", "{\"schema\":0,\"count\":1,\"sum\":1,\"more\":1}", "null"] {
            assert!(from_json(wrong).is_err(), "{wrong}");
        }
    }
}
