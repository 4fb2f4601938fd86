//! The first time that few series are asked for: the database picks single samples out of frames, which costs less than
//! sending whole frames. Whoever asks a second time has them in the cache from then on.

use std::collections::{HashMap, HashSet};

use futures::TryStreamExt;
use metricsd_codec::pack::unpack_histograms;
use metricsd_model::{HISTOGRAM_MARKER_BITS, Millis, NativeHistogram};
use metricsd_store::frames::{Listed, Plan, Window};
use metricsd_store::gather::Gather;
use metricsd_store::ids::Wanted;
use sqlx::PgConnection;
use sqlx::postgres::PgRow;

use super::frames::Head;
use crate::PostgresStore;
use crate::binary::{bytes, number, required};
use crate::copy::bound;
use crate::error::{Fault, damaged};

/// Columns that the database picks of a layout, and series that it looks for in frames that carry their own ids;
/// `pick_frames.sql` has as many.
const PICKS: usize = 4;

/// A pick costs as much as sending this many elements.
const ELEMENTS_A_PICK: usize = 12;

/// Fewer frames than this are sent whole.
const FEW: usize = 8;

/// What the database is to pick.
pub(super) struct Picks<'p> {
    /// Wanted columns by layout: (column, place of the series).
    layouts: HashMap<i64, &'p [(u32, u32)]>,
    /// The series, where they are looked for in frames that carry their own ids.
    inline: Option<&'p Wanted>,
    start: Millis,
}

impl<'p> Picks<'p> {
    /// Decides, and takes those frames from the list. `first` holds what this call asks for as the first lately.
    pub(super) fn new(
        store: &PostgresStore,
        plan: &'p Plan,
        wanted: &'p Wanted,
        listed: &mut Vec<Listed>,
        first: &mut HashSet<Option<i64>>,
        start: Millis,
    ) -> Self {
        let mut picks = Self { layouts: HashMap::new(), inline: None, start };
        let mut missing: HashMap<Option<i64>, usize> = HashMap::new();
        let mut bytes = 0usize;
        let is_narrow = |layout: Option<i64>| match layout {
            Some(layout) => plan.get(&layout).is_some_and(|columns| {
                let few = columns.wanted.len();
                few <= PICKS && few * ELEMENTS_A_PICK < columns.width
            }),
            None => wanted.len() <= PICKS,
        };
        if wanted.len() > PICKS && !plan.keys().any(|layout| is_narrow(Some(*layout))) {
            return picks;
        }
        for listed in listed.iter().filter(|listed| is_narrow(listed.layout)) {
            if !store.frames.holds(&listed.key) {
                *missing.entry(listed.layout).or_default() += 1;
                bytes = bytes.saturating_add(listed.bytes);
            }
        }
        // What would not stay in the cache is picked whenever it is asked for.
        let stays = bytes <= store.frames.max_bytes() / 2;
        let mut asked = store.asked.lock();
        for (layout, _) in missing.into_iter().filter(|(_, missing)| *missing >= FEW) {
            if stays && asked.get(layout).is_some() {
                continue;
            }
            first.insert(layout);
            match layout {
                Some(layout) => {
                    let columns = plan.get(&layout).map(|columns| columns.wanted.as_slice());
                    picks.layouts.extend(columns.map(|columns| (layout, columns)));
                }
                None => picks.inline = Some(wanted),
            }
        }
        listed.retain(|listed| match listed.layout {
            Some(layout) => !picks.layouts.contains_key(&layout),
            None => picks.inline.is_none(),
        });
        picks
    }

    /// Reads single samples of a window.
    pub(super) async fn read(
        &self,
        tx: &mut PgConnection,
        window: Window,
        gather: &mut Gather,
    ) -> Result<(), Fault> {
        if !self.layouts.is_empty() {
            self.read_layouts(tx, window, gather).await?;
        }
        match self.inline {
            Some(wanted) => self.search_inline(wanted, tx, window, gather).await,
            None => Ok(()),
        }
    }

    async fn read_layouts(
        &self,
        tx: &mut PgConnection,
        window: Window,
        gather: &mut Gather,
    ) -> Result<(), Fault> {
        let layouts: Vec<i64> = self.layouts.keys().copied().collect();
        // Arrays of the database begin at 1; an absent column is null, and so is what it picks.
        let column = |pick: usize| -> Vec<Option<i32>> {
            self.layouts.values().map(|columns| columns.get(pick).map(|(at, _)| *at as i32 + 1)).collect()
        };
        let mut rows = sqlx::query(include_str!("../sql/pick_frames.sql"))
            .bind(layouts)
            .bind(column(0))
            .bind(column(1))
            .bind(column(2))
            .bind(column(3))
            .bind(bound(window.first))
            .bind(bound(window.last))
            .bind(bound(self.start))
            .fetch(tx);
        while let Some(row) = rows.try_next().await? {
            let head = Head::of(&row)?;
            let layout = i64::from_be_bytes(required(&row, 4)?);
            let columns = self.layouts.get(&layout);
            let columns = columns.ok_or_else(|| damaged("a frame of a layout that was not asked for"))?;
            let mut histograms = Histograms::of(&row, 3)?;
            for (pick, (at, index)) in columns.iter().enumerate() {
                let value = f64::from_be_bytes(required(&row, 5 + 2 * pick)?);
                let offset = number(&row, 6 + 2 * pick)?.map_or(0, i32::from_be_bytes);
                gather.add(*index as usize, head.time + i64::from(offset), head.order, value, || {
                    histograms.take(*at as usize, value)
                })?;
            }
        }
        Ok(())
    }

    /// One row a sample: the database finds the ids in each frame.
    async fn search_inline(
        &self,
        wanted: &Wanted,
        tx: &mut PgConnection,
        window: Window,
        gather: &mut Gather,
    ) -> Result<(), Fault> {
        let mut rows = sqlx::query(include_str!("../sql/search_frames.sql"))
            .bind(wanted.keys().copied().collect::<Vec<_>>())
            .bind(bound(window.first))
            .bind(bound(window.last))
            .bind(bound(self.start))
            .fetch(tx);
        while let Some(row) = rows.try_next().await? {
            let head = Head::of(&row)?;
            let id = i64::from_be_bytes(required(&row, 4)?);
            let index =
                wanted.get(&id).ok_or_else(|| damaged("a sample of a series that was not asked for"))?;
            let at = i32::from_be_bytes(required(&row, 5)?) - 1;
            let value = f64::from_be_bytes(required(&row, 6)?);
            let offset = number(&row, 7)?.map_or(0, i32::from_be_bytes);
            let mut histograms = Histograms::of(&row, 3)?;
            let histogram = || histograms.take(at.max(0) as usize, value);
            gather.add(*index, head.time + i64::from(offset), head.order, value, histogram)?;
        }
        Ok(())
    }
}

/// The packed histograms of a frame, unpacked when the first is asked for.
struct Histograms<'r> {
    packed: Option<&'r [u8]>,
    unpacked: Vec<(u32, NativeHistogram)>,
}

impl<'r> Histograms<'r> {
    fn of(row: &'r PgRow, column: usize) -> Result<Self, Fault> {
        Ok(Self { packed: bytes(row, column)?, unpacked: Vec::new() })
    }

    fn take(&mut self, at: usize, value: f64) -> Result<Option<NativeHistogram>, Fault> {
        if value.to_bits() != HISTOGRAM_MARKER_BITS {
            return Ok(None);
        }
        if let Some(packed) = self.packed.take() {
            let unpacked = unpack_histograms(packed);
            self.unpacked =
                unpacked.map_err(|error| damaged("damaged histograms in the database").caused_by(error))?;
        }
        let found = self.unpacked.iter().find(|(column, _)| *column as usize == at);
        found
            .map(|(_, histogram)| Some(histogram.clone()))
            .ok_or_else(|| damaged("a frame lacks a histogram"))
    }
}
