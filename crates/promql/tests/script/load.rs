//! Puts the series of a script into a store.

use std::collections::BTreeMap;
use std::sync::Arc;

use metricsd_model::batch::FRAME_BUCKET_MILLIS;
use metricsd_model::{
    Batch, BatchId, Collection, CollectionMethod, Frame, HISTOGRAM_MARKER_BITS, HealthStatus, JobStatus,
    LabelSet, Layout, Ledger, MetricSource, MetricType, Millis, Series, SeriesId, TypeCounts, stale_marker,
};
use metricsd_ports::SampleSink;
use metricsd_ports::memory::MemoryStore;

use super::nhcb;
use super::parse::Load;
use super::series::Slot;

/// Appends all series of a command.
pub async fn load(store: &MemoryStore, load: &Load, key: usize) -> Result<(), String> {
    let mut series = load.series.clone();
    if load.custom_buckets {
        series.extend(nhcb::derive(&load.series)?);
    }
    let at = |index: usize| load.step * i64::try_from(index).expect("few samples");
    let samples = series
        .into_iter()
        .map(|(labels, slots)| {
            (labels, slots.into_iter().enumerate().map(|(index, slot)| (at(index), slot)).collect())
        })
        .collect::<Vec<_>>();
    append(store, &samples, key).await
}

/// Appends samples of some series as one batch; `key` tells batches apart.
pub async fn append(
    store: &MemoryStore,
    samples: &[(LabelSet, Vec<(Millis, Slot)>)],
    key: usize,
) -> Result<(), String> {
    let batch = Batch::new(
        BatchId::for_push("script", &key.to_le_bytes()),
        collection(),
        samples.iter().flat_map(|(labels, samples)| frames(labels, samples)).collect(),
    );
    store.append(&[Arc::new(batch)]).await.map(|_| ()).map_err(|error| error.to_string())
}

/// One frame an hour, in which the series has a column for each of its samples.
fn frames(labels: &LabelSet, samples: &[(Millis, Slot)]) -> Vec<Frame> {
    let series = Arc::new(Series {
        id: SeriesId::of(labels),
        labels: labels.clone(),
        metric_type: MetricType::Custom,
        source_type: MetricSource::Application,
        source: "script".into(),
        target_id: "".into(),
        help: None,
        unit: None,
    });
    let mut hours: BTreeMap<Millis, Vec<(Millis, &Slot)>> = BTreeMap::new();
    for (at, slot) in samples {
        if !matches!(slot, Slot::Missing) {
            hours.entry(at.div_euclid(FRAME_BUCKET_MILLIS)).or_default().push((*at, slot));
        }
    }
    hours.into_values().map(|samples| frame(&series, &samples)).collect()
}

fn frame(series: &Arc<Series>, samples: &[(Millis, &Slot)]) -> Frame {
    let time = samples.iter().map(|(at, _)| *at).min().unwrap_or_default();
    let offset = |(at, _): &(Millis, &Slot)| i32::try_from(at - time).expect("within an hour");
    let mut frame = Frame {
        layout: Layout::inline(vec![series.clone(); samples.len()]),
        time,
        offsets: Some(samples.iter().map(offset).collect()),
        values: Vec::new(),
        histograms: Vec::new(),
    };
    for (_, slot) in samples {
        frame.values.push(match slot {
            Slot::Float(value) => *value,
            Slot::Stale | Slot::Missing => stale_marker(),
            Slot::Histogram(histogram, _) => {
                let column = u32::try_from(frame.values.len()).expect("few columns");
                frame.histograms.push((column, (**histogram).clone()));
                f64::from_bits(HISTOGRAM_MARKER_BITS)
            }
        });
    }
    frame
}

fn collection() -> Collection {
    Collection {
        source_id: "script".to_owned(),
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
