//! Batches that several pushes were joined into.

use std::sync::Arc;

use crate::{Batch, BatchId, Frame, HISTOGRAM_MARKER_BITS, JoinedPush, Layout, MetricType, TypeCounts};

impl Batch {
    /// The batch as the one push that it is, which a store then remembers as it does joined ones.
    #[must_use]
    pub fn as_joined(self) -> Self {
        let columns =
            self.frames.iter().map(|frame| u32::try_from(frame.values.len()).unwrap_or(u32::MAX)).collect();
        let joined = vec![JoinedPush { id: self.id, columns }];
        Self { joined, ..self }
    }

    /// The batch without the pushes that were stored before; `None` where that is all of them. What its ledger says of
    /// their samples goes with them.
    pub fn without(&self, stored: impl Fn(BatchId) -> bool) -> Option<Self> {
        let stays: Vec<bool> = self.joined.iter().map(|push| !stored(push.id)).collect();
        if !stays.contains(&true) {
            return None;
        }
        let mut batch = self.clone();
        for (place, frame) in batch.frames.iter_mut().enumerate() {
            let mut begin = 0;
            let mut kept = Vec::with_capacity(frame.values.len());
            for (push, stays) in self.joined.iter().zip(&stays) {
                let end = begin + push.columns.get(place).map_or(0, |count| *count as usize);
                if *stays {
                    kept.extend(begin..end.min(frame.values.len()));
                }
                begin = end;
            }
            *frame = frame.keep(&kept);
        }
        let gone = self.samples().saturating_sub(batch.samples()) as u64;
        let ledger = &mut batch.collection.ledger;
        ledger.received = ledger.received.saturating_sub(gone);
        ledger.stored = ledger.stored.saturating_sub(gone);
        batch.collection.types = types(&batch.frames);
        let mut stays = stays.into_iter();
        batch.joined.retain(|_| stays.next().unwrap_or(true));
        Some(batch)
    }
}

fn types(frames: &[Frame]) -> TypeCounts {
    let mut types = TypeCounts::default();
    for frame in frames {
        for (series, value) in frame.layout.series.iter().zip(&frame.values) {
            types.add(match value.to_bits() {
                HISTOGRAM_MARKER_BITS => MetricType::Histogram,
                _ => series.metric_type,
            });
        }
    }
    types
}

impl Frame {
    /// The frame with these columns alone, which are in ascending order; others than it has are passed over.
    #[must_use]
    pub fn keep(&self, columns: &[usize]) -> Self {
        fn kept<T: Clone>(all: &[T], columns: &[usize]) -> Vec<T> {
            columns.iter().filter_map(|column| all.get(*column).cloned()).collect()
        }
        let layout = Layout {
            id: None,
            ids: kept(&self.layout.ids, columns),
            series: kept(&self.layout.series, columns),
        };
        let moved = |(column, histogram): &(u32, crate::NativeHistogram)| {
            let place = columns.binary_search(&(*column as usize)).ok()?;
            Some((u32::try_from(place).ok()?, histogram.clone()))
        };
        Self {
            layout: Arc::new(layout),
            time: self.time,
            offsets: self.offsets.as_ref().map(|offsets| kept(offsets, columns)),
            values: kept(&self.values, columns),
            histograms: self.histograms.iter().filter_map(moved).collect(),
        }
    }
}
