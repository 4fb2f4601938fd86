//! The way through a request whose list of series has come before: the hash of each series' labels in order, and the
//! layout that they make. As long as every series is the expected one and brings one float, a sample costs reading it and
//! one hash.

use std::ops::RangeInclusive;
use std::sync::Arc;

use metricsd_codec::remote_write::WriteScanner;
use metricsd_model::batch::FRAME_BUCKET_MILLIS;
use metricsd_model::{Frame, Layout, Millis, TypeCounts};

use super::cache::{Cursor, SeriesCache, State};
use crate::builder::{Times, storable};
use crate::hash::fold;

/// See the module.
#[derive(Debug)]
pub(super) struct Track {
    /// Keyed hashes of source and labels.
    hashes: Box<[u64]>,
    layout: Arc<Layout>,
    types: TypeCounts,
    moment: Moment,
}

/// For how long a track holds: in another generation of the cache its series have to be asked for anew, and after
/// another version of the families be described anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    generation: u32,
    /// By which series were typed.
    pub(super) version: u32,
}

impl Moment {
    pub(super) fn of(known: &State) -> Self {
        Self { generation: known.generation(), version: known.families.version() }
    }
}

/// By which a track is found: the first series and how many there are.
pub(super) fn start_of(cache: &SeriesCache, cursor: Cursor, body: &[u8], series: usize) -> Option<u64> {
    let first = WriteScanner::new(body).next_series().ok()??;
    Some(fold(short(cache.hash(cursor, first.labels())) ^ series as u64, 0x9e37_79b9_7f4a_7c15))
}

impl Track {
    /// The track of a request that was read into `layout`. `None` where its series do not bring one float each.
    pub(super) fn of(
        cache: &SeriesCache,
        cursor: Cursor,
        body: &[u8],
        moment: Moment,
        layout: &Arc<Layout>,
    ) -> Option<Self> {
        let mut hashes = Vec::with_capacity(layout.ids.len());
        let mut scanner = WriteScanner::new(body);
        while let Some(series) = scanner.next_series().ok()? {
            series.only_float()?;
            hashes.push(short(cache.hash(cursor, series.labels())));
        }
        if hashes.len() != layout.ids.len() {
            return None;
        }
        let mut types = TypeCounts::default();
        layout.series.iter().for_each(|series| types.add(series.metric_type));
        Some(Self { hashes: hashes.into(), layout: Arc::clone(layout), types, moment })
    }

    /// How many series it has.
    pub(super) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// What its series make.
    pub(super) fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Samples by the type of their metric.
    pub(super) fn types(&self) -> TypeCounts {
        self.types
    }

    /// Whether it holds.
    pub(super) fn is_of(&self, moment: Moment) -> bool {
        self.moment == moment
    }

    /// The request as a frame; `None` where it is not this list of series, not one float each, or not all of one hour
    /// and within `times`.
    pub(super) fn follow(
        &self,
        cache: &SeriesCache,
        cursor: Cursor,
        body: &[u8],
        times: &RangeInclusive<Millis>,
    ) -> Option<Frame> {
        let mut scanner = WriteScanner::new(body);
        let mut values = Vec::with_capacity(self.hashes.len());
        let mut taken: Option<Times> = None;
        for hash in &self.hashes {
            let series = scanner.next_series().ok()??;
            let (timestamp, value) = series.only_float()?;
            if short(cache.hash(cursor, series.labels())) != *hash {
                return None;
            }
            match &mut taken {
                Some(taken) if taken.first() == timestamp => taken.push(timestamp),
                Some(taken) if is_one_hour(taken.first(), timestamp) && times.contains(&timestamp) => {
                    taken.push(timestamp);
                }
                None if times.contains(&timestamp) => taken = Some(Times::new(timestamp)),
                _ => return None,
            }
            values.push(storable(value));
        }
        if scanner.next_series().ok()?.is_some() {
            return None;
        }
        let (time, offsets) = taken?.finish();
        Some(Frame { layout: Arc::clone(&self.layout), time, offsets, values, histograms: Vec::new() })
    }
}

/// Half of a hash: enough to see whether the one series that is expected comes.
fn short(hash: u128) -> u64 {
    hash as u64
}

fn is_one_hour(one: Millis, other: Millis) -> bool {
    one.div_euclid(FRAME_BUCKET_MILLIS) == other.div_euclid(FRAME_BUCKET_MILLIS)
}
