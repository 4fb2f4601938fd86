//! Samples in any order become frames: one for each hour that they touch.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use metricsd_model::batch::FRAME_BUCKET_MILLIS;
use metricsd_model::{
    Batch, BatchId, Collection, Frame, HISTOGRAM_MARKER_BITS, Layout, Millis, NativeHistogram,
    STALE_NAN_BITS, SampleValue, Series, SeriesId,
};

/// Collects samples for one batch. The frames that it makes carry their series ids with them; a scrape whose columns
/// come again and again brings its own frame instead (see [`BatchBuilder::push_frame`]).
#[derive(Default)]
pub struct BatchBuilder {
    rows: Vec<Row>,
    seen: HashSet<(SeriesId, Millis)>,
    frames: Vec<Frame>,
}

struct Row {
    series: Arc<Series>,
    timestamp: Millis,
    value: SampleValue,
}

impl BatchBuilder {
    /// Adds a sample unless the same series has one at the same time already; answers whether it was added.
    pub fn push_unique(&mut self, series: Arc<Series>, timestamp: Millis, value: SampleValue) -> bool {
        let fresh = self.seen.insert((series.id, timestamp));
        if fresh {
            self.rows.push(Row { series, timestamp, value });
        }
        fresh
    }

    /// Adds a frame as it is. Its samples are not compared with those of [`Self::push_unique`].
    pub fn push_frame(&mut self, frame: Frame) {
        self.frames.push(frame);
    }

    /// Samples added one by one.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether no sample was added one by one.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The batch.
    pub fn finish(mut self, id: BatchId, collection: Collection) -> Batch {
        let mut hours: BTreeMap<i64, Vec<Row>> = BTreeMap::new();
        for row in self.rows {
            hours.entry(row.timestamp.div_euclid(FRAME_BUCKET_MILLIS)).or_default().push(row);
        }
        self.frames.extend(hours.into_values().map(frame_of_hour));
        Batch::new(id, collection, self.frames)
    }
}

fn frame_of_hour(rows: Vec<Row>) -> Frame {
    let time = rows.iter().map(|row| row.timestamp).min().unwrap_or_default();
    let shared = rows.iter().all(|row| row.timestamp == time);
    // Within an hour of `time`, so that the difference always fits.
    let offsets = (!shared).then(|| rows.iter().map(|row| (row.timestamp - time) as i32).collect());
    let mut values = Vec::with_capacity(rows.len());
    let mut histograms = Vec::new();
    let mut series = Vec::with_capacity(rows.len());
    for row in rows {
        values.push(column_value(row.value, values.len(), &mut histograms));
        series.push(row.series);
    }
    Frame { layout: Layout::inline(series), time, offsets, values, histograms }
}

fn column_value(value: SampleValue, column: usize, histograms: &mut Vec<(u32, NativeHistogram)>) -> f64 {
    match value {
        SampleValue::Float(value) => plain_float(value),
        SampleValue::Stale => f64::from_bits(STALE_NAN_BITS),
        SampleValue::Histogram(histogram) => {
            histograms.push((column as u32, *histogram));
            f64::from_bits(HISTOGRAM_MARKER_BITS)
        }
    }
}

/// A sender's NaN must not be taken for one of the markers.
pub fn plain_float(value: f64) -> f64 {
    match value.to_bits() {
        HISTOGRAM_MARKER_BITS | STALE_NAN_BITS => f64::NAN,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metricsd_model::{
        CollectionMethod, HealthStatus, JobStatus, LabelSet, Ledger, MetricSource, MetricType, TypeCounts,
    };

    fn series(name: &str) -> Arc<Series> {
        let labels = LabelSet::new([("__name__", name)]).unwrap();
        Arc::new(Series {
            id: SeriesId::of(&labels),
            labels,
            metric_type: MetricType::Gauge,
            source_type: MetricSource::Application,
            source: "s".into(),
            target_id: String::new(),
            help: None,
            unit: None,
        })
    }

    fn collection() -> Collection {
        Collection {
            source_id: "s".into(),
            target_id: String::new(),
            method: CollectionMethod::PushGateway,
            started: 0,
            duration_ms: 0.0,
            status: JobStatus::Completed,
            health: HealthStatus::Healthy,
            reason: None,
            error: None,
            ledger: Ledger::default(),
            types: TypeCounts::default(),
        }
    }

    #[test]
    fn samples_of_one_time_share_it_and_hours_are_kept_apart() {
        let mut builder = BatchBuilder::default();
        let hour = FRAME_BUCKET_MILLIS;
        assert!(builder.push_unique(series("a"), hour + 5, SampleValue::Float(1.0)));
        assert!(!builder.push_unique(series("a"), hour + 5, SampleValue::Float(2.0)));
        assert!(builder.push_unique(series("b"), hour + 5, SampleValue::Stale));
        assert!(builder.push_unique(series("a"), hour - 1, SampleValue::Float(3.0)));
        assert!(builder.push_unique(series("a"), -1, SampleValue::Float(f64::from_bits(STALE_NAN_BITS))));
        assert!(builder.push_unique(series("b"), -hour, SampleValue::Float(4.0)));
        let batch = builder.finish(BatchId(1), collection());
        let seen: Vec<_> = batch.frames.iter().map(|f| (f.time, f.offsets.clone(), f.values.len())).collect();
        let expected =
            vec![(-hour, Some(vec![hour as i32 - 1, 0]), 2), (hour - 1, None, 1), (hour + 5, None, 2)];
        assert_eq!(seen, expected);
        assert_eq!(batch.frames[2].values[1].to_bits(), STALE_NAN_BITS);
        assert_ne!(batch.frames[0].values[0].to_bits(), STALE_NAN_BITS, "a sender cannot forge a marker");
    }
}
