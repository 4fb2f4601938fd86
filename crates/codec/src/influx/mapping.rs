//! From lines to series.

use metricsd_model::{METRIC_NAME, Millis};

use super::scan::{FieldValue, Line, Text};
use crate::line_names::Names;
use crate::remote_write::{BodyWriter, label_bytes};

/// What a timestamp counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// `ns` or `n`
    #[default]
    Nanoseconds,
    /// `us`, `u` or `µ`
    Microseconds,
    /// `ms`
    Milliseconds,
    /// `s`
    Seconds,
    /// `m`
    Minutes,
    /// `h`
    Hours,
}

impl Precision {
    /// By the name that a request gives it; empty is the default.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "" | "ns" | "n" => Self::Nanoseconds,
            "us" | "u" | "µ" => Self::Microseconds,
            "ms" => Self::Milliseconds,
            "s" => Self::Seconds,
            "m" => Self::Minutes,
            "h" => Self::Hours,
            _ => return None,
        })
    }

    /// Milliseconds since the epoch; `None` beyond what they can say.
    pub fn to_millis(self, timestamp: i64) -> Option<Millis> {
        match self {
            Self::Nanoseconds => Some(timestamp.div_euclid(1_000_000)),
            Self::Microseconds => Some(timestamp.div_euclid(1_000)),
            Self::Milliseconds => Some(timestamp),
            Self::Seconds => timestamp.checked_mul(1_000),
            Self::Minutes => timestamp.checked_mul(60_000),
            Self::Hours => timestamp.checked_mul(3_600_000),
        }
    }
}

/// How lines become series: `cpu,host=a usage=1` is `cpu_usage{host="a"}`.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// What becomes of names.
    pub names: Names,
    /// Stands between measurement and field.
    pub separator: String,
    /// A field `value` is called as its measurement alone.
    pub value_alone: bool,
    /// Labels that every series gets that has no tag of the name.
    pub labels: Vec<(String, String)>,
}

/// Why a body is refused: its tags are said once a line and stand in every series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lines become more than {limit} bytes of series; send them in several requests")]
pub struct TooLarge {
    /// How many there may be.
    pub limit: usize,
}

/// What became of a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mapped {
    /// Series with one sample each that were written.
    pub samples: usize,
    /// Fields that are texts, which are left out.
    pub texts: usize,
}

impl Mapping {
    /// Writes a line's samples, at `timestamp`, into a body.
    ///
    /// # Errors
    /// The body would become larger than `limit` bytes.
    pub fn write(
        &self,
        line: &Line<'_, '_>,
        timestamp: Millis,
        body: &mut BodyWriter,
        limit: usize,
    ) -> Result<Mapped, TooLarge> {
        let mut mapped = Mapped::default();
        let labels = self.labels_of(line.tags);
        let mut measurement = String::new();
        line.measurement.push_to(&mut measurement);
        let (mut name, mut field) = (String::new(), String::new());
        for (key, value) in line.fields {
            let value = match value {
                FieldValue::Number(number) => *number,
                FieldValue::Boolean(truth) => f64::from(u8::from(*truth)),
                FieldValue::Text => {
                    mapped.texts += 1;
                    continue;
                }
            };
            if body.len() + labels.len() + measurement.len() > limit {
                return Err(TooLarge { limit });
            }
            name.clear();
            self.names.push_metric(&mut name, &measurement);
            if !(self.value_alone && key.plain() == Some("value")) {
                field.clear();
                key.push_to(&mut field);
                name.push_str(&self.separator);
                self.names.push_metric(&mut name, &field);
            }
            body.series().label(METRIC_NAME, &name).raw_labels(&labels).sample(timestamp, value);
            mapped.samples += 1;
        }
        Ok(mapped)
    }

    fn labels_of(&self, tags: &[(Text<'_>, Text<'_>)]) -> Vec<u8> {
        let mut pairs: Vec<(String, String)> = Vec::with_capacity(tags.len() + self.labels.len());
        for (tag, text) in tags {
            let (mut plain, mut name, mut value) = (String::new(), String::new(), String::new());
            tag.push_to(&mut plain);
            self.names.push_label(&mut name, &plain);
            text.push_to(&mut value);
            pairs.push((name, value));
        }
        for (name, value) in &self.labels {
            if !pairs.iter().any(|(known, _)| known == name) {
                pairs.push((name.clone(), value.clone()));
            }
        }
        label_bytes(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }
}
