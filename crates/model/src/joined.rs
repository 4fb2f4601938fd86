//! Batches that several pushes were joined into.

use std::sync::Arc;

use crate::{
    Batch, BatchId, Collection, Frame, HISTOGRAM_MARKER_BITS, HealthStatus, JobStatus, JoinedPush, Layout,
    Ledger, MetricType, TypeCounts,
};

impl Batch {
    /// The batch as the one push that it is, which a store then remembers as it does joined ones.
    #[must_use]
    pub fn as_joined(self) -> Self {
        let columns = self.frames.iter().map(|frame| count(frame.values.len())).collect();
        let (exemplars, families) = (count(self.exemplars.len()), count(self.families.len()));
        let joined = vec![JoinedPush { id: self.id, columns, exemplars, families }];
        Self { joined, ..self }
    }

    /// The pushes that were joined into it, each as the batch that it would have been alone. What the batch says of none of
    /// them comes with the first: samples that were dropped or refused, and, where it was written by an older version,
    /// exemplars and families.
    pub fn apart(&self) -> Vec<Self> {
        let mut begins = vec![0; self.frames.len()];
        let (mut exemplars, mut families) = (self.exemplars.iter().cloned(), self.families.iter().cloned());
        let mut parts: Vec<Self> = Vec::with_capacity(self.joined.len());
        for push in &self.joined {
            let mut frames = Vec::new();
            for ((frame, begin), columns) in self.frames.iter().zip(&mut begins).zip(&push.columns) {
                let end = (*begin + *columns as usize).min(frame.values.len());
                if *begin < end {
                    frames.push(frame.keep(&(*begin..end).collect::<Vec<_>>()));
                    *begin = end;
                }
            }
            let mut part = Self::new(push.id, self.collection.clone(), frames);
            part.protocol = self.protocol;
            part.exemplars = exemplars.by_ref().take(push.exemplars as usize).collect();
            part.families = families.by_ref().take(push.families as usize).collect();
            parts.push(part);
        }
        if let Some(first) = parts.first_mut() {
            first.exemplars.extend(exemplars);
            first.families.extend(families);
        }
        share_account(&self.collection, &mut parts);
        parts.into_iter().map(Self::as_joined).collect()
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
        let pushes = || self.joined.iter().zip(&stays).map(|(push, stays)| (push, *stays));
        keep_own(&mut batch.exemplars, pushes().map(|(push, stays)| (push.exemplars, stays)));
        keep_own(&mut batch.families, pushes().map(|(push, stays)| (push.families, stays)));
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

/// Gives each part the account of its own samples, and the first that of all others.
fn share_account(whole: &Collection, parts: &mut [Batch]) {
    let mut left = whole.ledger.clone();
    for part in parts.iter_mut().skip(1) {
        let own = part.samples() as u64;
        let ledger = Ledger { received: own, stored: own, waited: left.waited, ..Ledger::default() };
        left.received = left.received.saturating_sub(own);
        left.stored = left.stored.saturating_sub(own);
        let (status, health) = (JobStatus::Completed, HealthStatus::Healthy);
        part.collection = Collection { status, health, reason: None, error: None, ledger, ..whole.clone() };
    }
    if let Some(first) = parts.first_mut() {
        first.collection.ledger = left;
    }
    for part in parts {
        part.collection.types = types(&part.frames);
    }
}

fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

/// Takes out what belongs to pushes that do not stay, given how much is each one's; what is nobody's stays.
fn keep_own<T>(all: &mut Vec<T>, counts: impl Iterator<Item = (u32, bool)>) {
    let mut kept = counts.flat_map(|(count, stays)| std::iter::repeat_n(stays, count as usize));
    all.retain(|_| kept.next().unwrap_or(true));
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
