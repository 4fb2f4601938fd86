//! `latest_metrics`: what the newest collection of each target brought, as the source document's list of `Metric`.
//!
//! Written when it is read where the cache is in this process; otherwise as fast as is allowed, in turn.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use metricsd_model::event::rfc3339;
use metricsd_model::{Batch, Frame, HISTOGRAM_MARKER_BITS, Millis, SampleValue, Series};
use metricsd_ports::{CacheEntry, CacheKey, CacheSource, CacheValue};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

/// Bytes of a `Metric`, for a guess at how long a list will be.
const METRIC_BYTES: usize = 256;

/// The newest batch of each target that is still to be told, in the order in which the targets began to wait.
#[derive(Default)]
pub(super) struct LatestQueue {
    batches: HashMap<String, Arc<Batch>>,
    order: VecDeque<String>,
}

impl LatestQueue {
    /// Takes the place of what the target brought before, and its place in the queue.
    pub(super) fn push(&mut self, target: String, batch: Arc<Batch>) {
        if self.batches.insert(target.clone(), batch).is_none() {
            self.order.push_back(target);
        }
    }

    /// Everything, to be written when it is read.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = CacheEntry> + '_ {
        self.order.clear();
        self.batches.drain().map(|(target, batch)| CacheEntry {
            key: CacheKey::LatestMetrics(target),
            value: CacheValue::Source(Arc::new(Latest(batch))),
        })
    }

    /// Writes those that have waited longest, until there are so many bytes.
    pub(super) fn write(&mut self, bytes: usize) -> Vec<CacheEntry> {
        let mut entries = Vec::new();
        let mut written = 0;
        while written < bytes
            && let Some(target) = self.order.pop_front()
        {
            if let Some(batch) = self.batches.remove(&target) {
                let text = Latest(batch).write();
                written += text.len();
                entries.push(CacheEntry { key: CacheKey::LatestMetrics(target), value: text.into() });
            }
        }
        entries
    }
}

/// One collection.
struct Latest(Arc<Batch>);

impl CacheSource for Latest {
    fn write(&self) -> String {
        metrics_json(self.0.frames.iter().flat_map(floats))
    }

    /// A shared layout is its target's, whether this is kept or not.
    fn bytes(&self) -> usize {
        let own = self.0.frames.iter().filter(|frame| frame.layout.id.is_none());
        self.0.size() + own.map(|frame| frame.layout.ids.len() * OWN_SERIES_BYTES).sum::<usize>()
    }
}

/// What a series costs that only a push's own list keeps, approximately.
const OWN_SERIES_BYTES: usize = 512;

/// Samples that a JSON number or text can stand for: neither histograms nor ends of series.
fn floats(frame: &Frame) -> impl Iterator<Item = (&Series, f64, Millis)> {
    let columns = frame.layout.series.iter().zip(&frame.values).enumerate();
    columns.filter_map(|(column, (series, value))| {
        let value = SampleValue::from_float(*value).as_float()?;
        (value.to_bits() != HISTOGRAM_MARKER_BITS).then(|| (&**series, value, frame.timestamp(column)))
    })
}

/// A list of `Metric` of the source document.
pub fn metrics_json<'a>(samples: impl Iterator<Item = (&'a Series, f64, Millis)>) -> String {
    let mut text = Vec::with_capacity(samples.size_hint().1.unwrap_or(0).min(1_000) * METRIC_BYTES);
    text.push(b'[');
    let mut time: Option<(Millis, String)> = None;
    for (series, value, at) in samples {
        let (_, timestamp) = match &mut time {
            Some(known) if known.0 == at => known,
            other => other.insert((at, rfc3339(at))),
        };
        if text.len() > 1 {
            text.push(b',');
        }
        let metric = Metric {
            name: series.labels.metric_name(),
            metric_type: series.metric_type.as_str(),
            value: Number(value),
            labels: Labels(series),
            timestamp,
            source: series.source_type.as_str(),
            help_text: series.help.as_deref(),
        };
        // Writing into memory does not fail, nor do these types.
        let _ = metric.serialize(&mut serde_json::Serializer::new(&mut text));
    }
    text.push(b']');
    // Made of texts alone.
    String::from_utf8(text).unwrap_or_default()
}

#[derive(Serialize)]
struct Metric<'a> {
    name: &'a str,
    metric_type: &'static str,
    value: Number,
    labels: Labels<'a>,
    timestamp: &'a str,
    source: &'static str,
    help_text: Option<&'a str>,
}

struct Labels<'a>(&'a Series);

impl Serialize for Labels<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.0.labels.without_name() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// A number where JSON has one, else `"NaN"`, `"+Inf"` or `"-Inf"`.
struct Number(f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            value if value.is_finite() => serializer.serialize_f64(value),
            value if value.is_nan() => serializer.serialize_str("NaN"),
            value => serializer.serialize_str(if value > 0.0 { "+Inf" } else { "-Inf" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metricsd_model::{
        BatchId, Collection, CollectionMethod, HealthStatus, JobStatus, LabelSet, Layout, Ledger,
        MetricSource, MetricType, STALE_NAN_BITS, SeriesId, TypeCounts,
    };
    use serde_json::{Value, json};

    fn series(name: &str, help: Option<&str>) -> Arc<Series> {
        let labels = LabelSet::new([("__name__", name), ("path", "a\"b\\c\n"), ("zone", "é")]).unwrap();
        Arc::new(Series {
            id: SeriesId::of(&labels),
            labels,
            metric_type: MetricType::Counter,
            source_type: MetricSource::CloudProvider,
            source: "s".into(),
            target_id: "t".into(),
            help: help.map(Into::into),
            unit: None,
        })
    }

    fn batch(values: Vec<f64>) -> Arc<Batch> {
        let names = ["a", "b", "c", "d", "e", "f", "g"];
        let series = names.iter().zip(&values).map(|(name, _)| series(name, Some("what \"a\" is"))).collect();
        let layout = Layout::shared(series);
        let frame = Frame { layout, time: 1_750_500_000_123, offsets: None, values, histograms: Vec::new() };
        let collection = Collection {
            source_id: "s".into(),
            target_id: "t".into(),
            method: CollectionMethod::PullScraping,
            started: 0,
            duration_ms: 0.0,
            status: JobStatus::Completed,
            health: HealthStatus::Healthy,
            reason: None,
            error: None,
            ledger: Ledger::default(),
            types: TypeCounts::default(),
        };
        Arc::new(Batch::new(BatchId(1), collection, vec![frame]))
    }

    #[test]
    fn samples_are_written_as_the_document_says() {
        let special = [f64::from_bits(STALE_NAN_BITS), f64::from_bits(HISTOGRAM_MARKER_BITS)];
        let values = [[1.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0].as_slice(), &special].concat();
        let list: Value = serde_json::from_str(&Latest(batch(values)).write()).unwrap();
        let values: Vec<&Value> = list.as_array().unwrap().iter().map(|metric| &metric["value"]).collect();
        let expected = [json!(1.5), json!("NaN"), json!("+Inf"), json!("-Inf"), json!(-0.0)];
        assert_eq!(values, expected.iter().collect::<Vec<_>>(), "neither ends of series nor histograms");
        let first = json!({
            "name": "a", "metric_type": "COUNTER", "value": 1.5, "labels": {"path": "a\"b\\c\n", "zone": "é"},
            "timestamp": "2025-06-21T10:00:00.123Z", "source": "CLOUD_PROVIDER", "help_text": "what \"a\" is"
        });
        assert_eq!(list[0], first);
        let bare = metrics_json(std::iter::once((&*series("x", None), 1e300, 0)));
        let bare: Value = serde_json::from_str(&bare).unwrap();
        assert_eq!((&bare[0]["help_text"], &bare[0]["value"]), (&Value::Null, &json!(1e300)));
        assert_eq!(metrics_json(std::iter::empty()), "[]");
    }

    #[test]
    fn targets_are_written_in_turn_and_their_newest_batch_only() {
        let mut queue = LatestQueue::default();
        for target in ["a", "b", "c"] {
            queue.push(target.into(), batch(vec![1.0]));
        }
        let round = |queue: &mut LatestQueue| -> Vec<(String, bool)> {
            let entries = queue.write(1);
            entries.iter().map(|e| (e.key.name(), e.value.text().contains("2.0"))).collect()
        };
        assert_eq!(round(&mut queue), [("latest_metrics:a".to_owned(), false)]);
        queue.push("a".into(), batch(vec![2.0]));
        queue.push("b".into(), batch(vec![2.0]));
        let expected = [("b", true), ("c", false), ("a", true)];
        for (target, new) in expected {
            assert_eq!(round(&mut queue), [(format!("latest_metrics:{target}"), new)], "oldest first");
        }
        assert!(round(&mut queue).is_empty());
        queue.push("a".into(), batch(vec![2.0]));
        assert_eq!(queue.drain().count(), 1);
        assert!(round(&mut queue).is_empty(), "nothing waits after a drain");
    }
}
