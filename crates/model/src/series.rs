//! Series: what is written once about each, and the id that stands for it everywhere else.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::LabelSet;

/// What a metric is. `CUSTOM` also stands for what no one declared (exposition `untyped` and `unknown`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MetricType {
    /// Only grows, or starts again at zero.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, sum and count; classic or native.
    Histogram,
    /// Quantiles, sum and count.
    Summary,
    /// Anything else, or unknown.
    #[default]
    Custom,
}

/// Where a metric comes from (source document, `MetricSource`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MetricSource {
    /// A service's own metrics.
    #[default]
    Application,
    /// Machines, networks, disks.
    Infrastructure,
    /// A Kubernetes cluster.
    Kubernetes,
    /// A cloud provider's API.
    CloudProvider,
    /// An exporter that stands beside what it measures.
    CustomExporter,
}

/// Gives an enum its names: `as_str`, `from_name`, `ALL`, and how it is shown.
#[macro_export]
macro_rules! names {
    ($type:ident { $($variant:ident = $name:literal),+ $(,)? }) => {
        impl $type {
            /// The name used on the wire and in tables.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// Reads [`Self::as_str`] back; `None` for any other text.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }

            /// Every value, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use names;

names!(MetricType { Counter = "COUNTER", Gauge = "GAUGE", Histogram = "HISTOGRAM", Summary = "SUMMARY", Custom = "CUSTOM" });
names!(MetricSource {
    Application = "APPLICATION",
    Infrastructure = "INFRASTRUCTURE",
    Kubernetes = "KUBERNETES",
    CloudProvider = "CLOUD_PROVIDER",
    CustomExporter = "CUSTOM_EXPORTER",
});

/// A stable 64-bit name of a label set. Databases keep it as a signed 64-bit integer with the same bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SeriesId(pub u64);

impl SeriesId {
    /// xxh3-64 of the canonical label bytes. Pinned by golden values: stored data depends on it.
    pub fn of(labels: &LabelSet) -> Self {
        Self(xxh3_64(labels.as_bytes()))
    }

    /// The id for a label set whose first `attempt` ids belong to other label sets.
    /// Every process that meets the same collision finds the same id.
    pub fn rehashed(labels: &LabelSet, attempt: u64) -> Self {
        Self(xxh3_64_with_seed(labels.as_bytes(), attempt))
    }

    /// The same bits as databases keep them.
    pub fn to_i64(self) -> i64 {
        self.0.cast_signed()
    }

    /// Reads [`Self::to_i64`] back.
    pub fn from_i64(id: i64) -> Self {
        Self(id.cast_unsigned())
    }
}

impl fmt::Debug for SeriesId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeriesId({:016x})", self.0)
    }
}

/// What is known of a series beside its samples: one row of the `series` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// Hash of the labels; a store that finds it taken by other labels gives another (see [`SeriesId::rehashed`]).
    pub id: SeriesId,
    /// Identity, the metric name included.
    pub labels: LabelSet,
    /// Declared type.
    pub metric_type: MetricType,
    /// Kind of source that sent it first.
    pub source_type: MetricSource,
    /// `source_id` of the collection that brought it first; at most 100 characters.
    pub source: Arc<str>,
    /// Target that it was first collected from; empty for pushes without one.
    pub target_id: Arc<str>,
    /// Help text, where one was given. Series of a family share it.
    pub help: Option<Arc<str>>,
    /// Unit, where one was given.
    pub unit: Option<Arc<str>>,
}

impl Series {
    /// A hash of what may change about a series: when it differs from what a store knows, the row is written again.
    pub fn description_hash(&self) -> u64 {
        let mut bytes = vec![self.metric_type as u8];
        for part in [&self.help, &self.unit] {
            bytes.push(u8::from(part.is_some()));
            bytes.extend_from_slice(part.as_deref().unwrap_or("").as_bytes());
            bytes.push(0xff);
        }
        xxh3_64(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, data that is already stored can no longer be found. Do not change the values.
    #[test]
    fn series_ids_are_pinned() {
        let id = |pairs: &[(&str, &str)]| SeriesId::of(&LabelSet::new(pairs.iter().copied()).unwrap()).0;
        assert_eq!(id(&[]), 0x2d06_8005_38d3_94c2);
        assert_eq!(id(&[("__name__", "up")]), GOLDEN_UP);
        assert_eq!(id(&[("__name__", "up"), ("instance", "a:9100"), ("job", "node")]), GOLDEN_UP_NODE);
    }

    const GOLDEN_UP: u64 = 0xb1decace4493c590;
    const GOLDEN_UP_NODE: u64 = 0x9a513a5f7f22bfff;

    #[test]
    fn names_read_back() {
        for kind in MetricType::ALL {
            assert_eq!(MetricType::from_name(kind.as_str()), Some(*kind));
        }
        assert_eq!(MetricSource::from_name("application"), None);
    }
}
