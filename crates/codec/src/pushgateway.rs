//! What is pushed to a Pushgateway: the families of a page, under the labels of a group, in the form in which a group is
//! kept until it is removed.
//!
//! Series are kept as bodies of remote write have them, without times: [`Families::write`] gives them one. Labels of the
//! group go before those of the page. Exemplars stand beside them, and are of the push alone.

mod exemplars;
mod read;

use std::collections::{BTreeMap, HashSet};

use metricsd_model::{METRIC_NAME, Millis, stale_marker};
use prost::Message;

use crate::exposition::MetricKind;
use crate::remote_write::{BodyWriter, SeriesItem, WireError, WriteScanner, label_bytes};

pub use exemplars::{Exemplars, MAX_EXEMPLARS};
pub use read::{PushBounds, PushError, Pushed, read};

/// When the group was last pushed.
pub const PUSH_TIME: &str = "push_time_seconds";
/// When a push of it last failed.
pub const PUSH_FAILURE_TIME: &str = "push_failure_time_seconds";

/// The families of a group.
#[derive(Clone, PartialEq, Message)]
pub struct Families {
    /// In order of their names, each once.
    #[prost(message, repeated, tag = "1")]
    pub list: Vec<PushedFamily>,
}

/// One family.
#[derive(Clone, PartialEq, Message)]
pub struct PushedFamily {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its type; see [`Self::kind`].
    #[prost(int32, tag = "2")]
    kind_number: i32,
    /// Help text; empty: none.
    #[prost(string, tag = "3")]
    pub help: String,
    /// Unit; empty: none.
    #[prost(string, tag = "4")]
    pub unit: String,
    /// Its series as a body of remote write, at time 0.
    #[prost(bytes = "vec", tag = "5")]
    series: Vec<u8>,
    /// How many they are.
    #[prost(uint64, tag = "6")]
    pub count: u64,
}

const KINDS: [(MetricKind, &str); 8] = [
    (MetricKind::Unknown, "untyped"),
    (MetricKind::Counter, "counter"),
    (MetricKind::Gauge, "gauge"),
    (MetricKind::Histogram, "histogram"),
    (MetricKind::GaugeHistogram, "gaugehistogram"),
    (MetricKind::Summary, "summary"),
    (MetricKind::Info, "info"),
    (MetricKind::StateSet, "stateset"),
];

impl PushedFamily {
    fn new(name: &str, kind: MetricKind, help: &str, unit: &str) -> Self {
        let number = KINDS.iter().position(|(known, _)| *known == kind).unwrap_or_default();
        Self {
            name: name.to_owned(),
            kind_number: i32::try_from(number).unwrap_or_default(),
            help: help.to_owned(),
            unit: unit.to_owned(),
            series: Vec::new(),
            count: 0,
        }
    }

    fn known(&self) -> (MetricKind, &'static str) {
        let place = usize::try_from(self.kind_number).unwrap_or_default();
        KINDS.get(place).copied().unwrap_or((MetricKind::Unknown, "untyped"))
    }

    /// Its type.
    pub fn kind(&self) -> MetricKind {
        self.known().0
    }

    /// The type as text formats call it.
    pub fn kind_name(&self) -> &'static str {
        self.known().1
    }

    /// Calls `each` with the labels of every series, the name first and the others in order, and its value; `None` for a
    /// native histogram.
    ///
    /// # Errors
    /// What is kept does not read.
    pub fn each(&self, mut each: impl FnMut(&[(&str, &str)], Option<f64>)) -> Result<(), WireError> {
        let mut scanner = WriteScanner::new(&self.series);
        while let Some(series) = scanner.next_series()? {
            let raw = series.parse_labels(usize::MAX - 1)?;
            let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
            let labels: Vec<_> = raw.iter().map(|label| (text(label.name), text(label.value))).collect();
            let mut items = series.items();
            while let Some(item) = items.next_item()? {
                match item {
                    SeriesItem::Sample { value, .. } => each(&labels, Some(value)),
                    SeriesItem::Histogram(_) => each(&labels, None),
                    SeriesItem::Exemplar(_) => {}
                }
            }
        }
        Ok(())
    }
}

impl Families {
    /// Reads what [`Self::to_bytes`] wrote; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::decode(bytes).ok()
    }

    /// The form in which a group is kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// How many series there are.
    pub fn series_count(&self) -> u64 {
        self.list.iter().map(|family| family.count).sum()
    }

    /// Types by family, as text formats call them.
    pub fn kinds(&self) -> BTreeMap<String, String> {
        self.list.iter().map(|family| (family.name.clone(), family.kind_name().to_owned())).collect()
    }

    /// These families, and those of `others` whose names are not among them.
    #[must_use]
    pub fn over(mut self, others: Self) -> Self {
        let own: HashSet<String> = self.list.iter().map(|family| family.name.clone()).collect();
        self.list.extend(others.list.into_iter().filter(|family| !own.contains(&family.name)));
        self.list.sort_by(|one, other| one.name.cmp(&other.name));
        self
    }

    /// Writes all series into a body, at a time.
    ///
    /// # Errors
    /// What is kept does not read.
    pub fn write(&self, at: Millis, body: &mut BodyWriter) -> Result<(), WireError> {
        for family in &self.list {
            body.metadata(family.kind(), &family.name, &family.help, &family.unit);
            let mut scanner = WriteScanner::new(&family.series);
            while let Some(series) = scanner.next_series()? {
                let mut items = series.items();
                let mut out = body.series();
                out.raw_labels(series.labels());
                while let Some(item) = items.next_item()? {
                    match item {
                        SeriesItem::Sample { value, .. } => drop(out.sample(at, value)),
                        SeriesItem::Histogram(histogram) => {
                            out.histogram(at, &histogram.decode()?.histogram);
                        }
                        SeriesItem::Exemplar(_) => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes staleness markers for the series that are not among those of `left`.
    ///
    /// # Errors
    /// What is kept does not read.
    pub fn end(&self, left: &Self, at: Millis, body: &mut BodyWriter) -> Result<(), WireError> {
        let mut kept = HashSet::new();
        left.labels(|labels| {
            kept.insert(labels.to_vec());
        })?;
        self.labels(|labels| {
            if !kept.contains(labels) {
                body.series().raw_labels(labels).sample(at, stale_marker());
            }
        })
    }

    fn labels(&self, mut each: impl FnMut(&[u8])) -> Result<(), WireError> {
        for family in &self.list {
            let mut scanner = WriteScanner::new(&family.series);
            while let Some(series) = scanner.next_series()? {
                each(series.labels());
            }
        }
        Ok(())
    }
}

/// Writes when a group was pushed, and when that failed: 0 for never. `None` for all: the group has gone.
pub fn write_times(
    group: &BTreeMap<String, String>,
    times: Option<[Option<Millis>; 2]>,
    at: Millis,
    body: &mut BodyWriter,
) {
    let helps = [
        "Last Unix time when changing this group in the Pushgateway succeeded.",
        "Last Unix time when changing this group in the Pushgateway failed.",
    ];
    let times = times.map(|times| times.map(|time| time.map_or(0.0, |time| time as f64 / 1_000.0)));
    let values = times.unwrap_or([stale_marker(); 2]);
    for ((name, help), value) in [PUSH_TIME, PUSH_FAILURE_TIME].into_iter().zip(helps).zip(values) {
        body.metadata(MetricKind::Gauge, name, help, "");
        let labels = series_labels(name, group.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        body.series().raw_labels(&labels).sample(at, value);
    }
}

/// The name first, then the labels as they come; those without a value are none.
fn series_labels<'l>(name: &'l str, labels: impl IntoIterator<Item = (&'l str, &'l str)>) -> Vec<u8> {
    let labels = labels.into_iter().filter(|(_, value)| !value.is_empty());
    label_bytes(std::iter::once((METRIC_NAME, name)).chain(labels))
}

#[cfg(test)]
mod tests;
