//! Segments that are to be written, packed.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use metricsd_codec::pack::{pack_histograms, pack_ints, pack_series};
use metricsd_model::Millis;
use metricsd_store::compact::{Bucket, Merged, Segment, Timelines, timeline_id};

/// Whose a segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    /// A row of `origins`.
    Known(i64),
    /// One of the unit's own, by its place.
    New(u32),
}

/// What the transaction of a unit writes.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Samples that the frames held.
    pub(super) samples: u64,
    /// Target and source, as [`Owner::New`] counts them.
    pub(super) origins: Vec<(String, String)>,
    /// Packed lists of offsets.
    pub(super) timelines: BTreeMap<(Millis, i64), Vec<u8>>,
    /// In order of bucket and series once they are finished.
    pub(super) segments: Vec<Packed>,
    /// Segments that others take the place of.
    pub(super) removed: Vec<(Bucket, i64)>,
}

/// A row of a segment.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) bucket: Bucket,
    pub(super) series: i64,
    pub(super) owner: Owner,
    pub(super) timeline: Option<i64>,
    pub(super) offsets: Option<Vec<u8>>,
    pub(super) values: Vec<u8>,
    pub(super) histograms: Option<Vec<u8>>,
}

/// Packs one pass after the other.
#[derive(Debug, Default)]
pub(super) struct Packer {
    work: Work,
    /// Ids that stand for other lists.
    taken: HashSet<(Millis, i64)>,
}

impl Packer {
    pub(super) fn new(taken: HashSet<(Millis, i64)>) -> Self {
        Self { taken, ..Self::default() }
    }

    /// Adds what became of the series of one pass, and the samples that it read.
    pub(super) fn add(&mut self, merged: Vec<(i64, Merged<Owner>)>, samples: u64) {
        self.work.samples += samples;
        let mut shared: BTreeMap<Millis, Timelines> = BTreeMap::new();
        let mut segments = Vec::with_capacity(merged.len());
        for (series, Merged { write, remove }) in merged {
            self.work.removed.extend(remove.into_iter().map(|bucket| (bucket, series)));
            for segment in write {
                let offsets = segment.bucket.offsets(&segment.column.timestamps);
                shared.entry(segment.bucket.start()).or_default().note(&offsets);
                segments.push((series, segment, offsets));
            }
        }
        for (series, segment, offsets) in segments {
            let is_shared = |timelines: &Timelines| timelines.shared(&offsets).is_some();
            let share = shared.get(&segment.bucket.start()).is_some_and(is_shared);
            let packed = self.pack(series, segment, &offsets, share);
            self.work.segments.push(packed);
        }
    }

    fn pack(&mut self, series: i64, segment: Segment<Owner>, offsets: &[i32], share: bool) -> Packed {
        let Segment { bucket, origin, column } = segment;
        let packed = pack_ints(offsets);
        let key = (bucket.start(), timeline_id(offsets));
        let share = share && !self.taken.contains(&key) && {
            *self.work.timelines.entry(key).or_insert_with(|| packed.clone()) == packed
        };
        let histograms: Vec<_> =
            column.histograms.into_iter().map(|(place, histogram)| (place as u32, histogram)).collect();
        Packed {
            bucket,
            series,
            owner: origin,
            timeline: share.then_some(key.1),
            offsets: (!share).then_some(packed),
            values: pack_series(&column.values),
            histograms: (!histograms.is_empty()).then(|| pack_histograms(&histograms)),
        }
    }

    /// Everything, in the order in which the tables keep it.
    pub(super) fn finish(mut self, origins: Vec<(String, String)>) -> Work {
        self.work.segments.sort_unstable_by_key(|packed| (packed.bucket, packed.series));
        self.work.origins = origins;
        self.work
    }
}

impl Work {
    /// Which spans hold segments of which owner.
    pub(super) fn spans(&self) -> BTreeSet<(Bucket, Owner)> {
        self.segments.iter().map(|packed| (packed.bucket, packed.owner)).collect()
    }
}
