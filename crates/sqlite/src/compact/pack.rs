//! Segments that are to be written, packed.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use metricsd_codec::pack::{pack_histograms, pack_ints};
use metricsd_model::Millis;
use metricsd_store::compact::{Bucket, HOUR, Merged, Segment, Timelines, hour_of, timeline_id};

use crate::segments::{Times, Values};

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
    pub(super) times: Times,
    pub(super) values: Values,
    pub(super) histograms: Option<Vec<u8>>,
}

/// Bytes of values up to which a row lies on its page. Larger ones would take pages of their own, however little of them
/// they fill.
const LARGE: usize = 940;

/// Into how many parts of equal time an hour is cut so that its rows stay small, the fewest first.
const CUTS: [i64; 5] = [2, 3, 4, 6, 12];

/// A segment of a whole hour whose values pack badly becomes several, each of a part of the hour.
fn cut(segment: Segment<Owner>) -> Vec<(Segment<Owner>, Values)> {
    let packed = Values::of(&segment.column.values);
    let Bucket::Hour(hour) = segment.bucket else { return vec![(segment, packed)] };
    let parts = CUTS.into_iter().find(|parts| packed.bytes() <= LARGE * *parts as usize);
    let (Some(parts), true) = (parts, packed.bytes() > LARGE && hour_of(hour) == hour) else {
        return vec![(segment, packed)];
    };
    let mut cut = Vec::with_capacity(parts as usize);
    let mut rest = segment.column;
    for part in 0..parts {
        let start = hour + part * (HOUR / parts);
        let (now, later) = rest.split_at(start + HOUR / parts);
        rest = later;
        if !now.timestamps.is_empty() {
            let packed = Values::of(&now.values);
            cut.push((Segment { bucket: Bucket::Hour(start), origin: segment.origin, column: now }, packed));
        }
    }
    cut
}

/// The upper bits of a timeline's id, as many as three bytes hold: every segment names it, and few timelines are of one span.
fn short(id: i64) -> i64 {
    id >> 40
}

/// Packs one pass after the other.
#[derive(Debug, Default)]
pub(super) struct Packer {
    work: Work,
    /// Ids that stand for other lists.
    taken: HashSet<(Millis, i64)>,
    timelines: BTreeMap<(Millis, i64), Vec<i32>>,
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
                for (segment, values) in self.cut(series, segment) {
                    let offsets = segment.bucket.offsets(&segment.column.timestamps);
                    shared.entry(segment.bucket.start()).or_default().note(&offsets);
                    segments.push((series, segment, offsets, values));
                }
            }
        }
        for (series, segment, offsets, values) in segments {
            let is_shared = |timelines: &Timelines| timelines.shared(&offsets).is_some();
            let share = shared.get(&segment.bucket.start()).is_some_and(is_shared);
            let times = self.place(segment.bucket, &offsets, share);
            let histograms = segment.column.histograms.into_iter();
            let histograms: Vec<_> = histograms.map(|(place, histogram)| (place as u32, histogram)).collect();
            self.work.segments.push(Packed {
                bucket: segment.bucket,
                series,
                owner: segment.origin,
                times,
                values,
                histograms: (!histograms.is_empty()).then(|| pack_histograms(&histograms)),
            });
        }
    }

    /// The parts of a segment. Where none of them begins with it, what stood in its place is removed.
    fn cut(&mut self, series: i64, segment: Segment<Owner>) -> Vec<(Segment<Owner>, Values)> {
        let whole = segment.bucket;
        let parts = cut(segment);
        if parts.iter().all(|(part, _)| part.bucket != whole) {
            self.work.removed.push((whole, series));
        }
        parts
    }

    /// The timeline of these offsets, or themselves, packed, where they are not shared.
    fn place(&mut self, bucket: Bucket, offsets: &[i32], share: bool) -> Times {
        let key = (bucket.start(), short(timeline_id(offsets)));
        if !share || self.taken.contains(&key) {
            return Times::Own(pack_ints(offsets));
        }
        match self.timelines.entry(key).or_insert_with(|| offsets.to_vec()) == offsets {
            true => Times::Shared(key.1),
            false => Times::Own(pack_ints(offsets)),
        }
    }

    /// Everything, in the order in which the tables keep it.
    pub(super) fn finish(mut self, origins: Vec<(String, String)>) -> Work {
        self.work.segments.sort_unstable_by_key(|packed| (packed.bucket, packed.series));
        self.work.timelines =
            self.timelines.into_iter().map(|(key, offsets)| (key, pack_ints(&offsets))).collect();
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

#[cfg(test)]
mod tests {
    use metricsd_store::column::Column;
    use metricsd_store::compact::merge;

    use super::*;

    const OWNER: Owner = Owner::New(0);

    /// Samples every `step` from `from` to `until`, with values that take some six bits each.
    fn samples(from: Millis, until: Millis, step: i64) -> Column {
        let mut column = Column::default();
        for at in (from..until).step_by(step.unsigned_abs() as usize) {
            let value = xxhash_rust::xxh3::xxh3_64(&at.to_le_bytes()) >> 58;
            column.push(at, 0, value as f64, None);
        }
        column.compact();
        column
    }

    /// Merges samples with what a series has in an hour, and carries out what is said.
    fn merge_into(stored: &mut BTreeMap<Bucket, Segment<Owner>>, hour: Millis, column: Column) {
        let Merged { write, remove } = merge(hour, column, OWNER, stored.values().cloned().collect());
        let mut packer = Packer::default();
        let parts: Vec<_> = write.into_iter().flat_map(|segment| packer.cut(1, segment)).collect();
        for bucket in remove.into_iter().chain(packer.work.removed.iter().map(|(bucket, _)| *bucket)) {
            stored.remove(&bucket);
        }
        stored.extend(parts.into_iter().map(|(segment, _)| (segment.bucket, segment)));
    }

    fn held(stored: &BTreeMap<Bucket, Segment<Owner>>) -> Vec<Millis> {
        let mut all: Vec<Millis> =
            stored.values().flat_map(|segment| segment.column.timestamps.iter().copied()).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn an_hour_whose_first_part_is_empty_leaves_nothing_behind() {
        let mut stored = BTreeMap::new();
        for step in [4_000, 1_000, 500] {
            merge_into(&mut stored, 0, samples(31 * 60_000, HOUR, step));
            assert_eq!(
                held(&stored),
                samples(31 * 60_000, HOUR, step).timestamps,
                "each once, every {step} ms"
            );
        }
        assert!(!stored.contains_key(&Bucket::Hour(0)), "it was cut");
    }

    #[test]
    fn twice_as_many_in_parts_of_half_the_length_are_all_kept() {
        for first in [2_000, 1_000, 500] {
            let mut stored = BTreeMap::new();
            for step in [first, first / 2, first / 4] {
                merge_into(&mut stored, 0, samples(0, HOUR, step));
                assert_eq!(held(&stored), samples(0, HOUR, step).timestamps, "{first}, then {step} ms");
            }
        }
    }
}
