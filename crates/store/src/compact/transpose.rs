//! Rows of scrapes become columns of series.

use std::collections::HashMap;

use metricsd_model::{HISTOGRAM_MARKER_BITS, Millis, NativeHistogram};
use metricsd_ports::PortError;

use crate::column::Column;
use crate::damaged;
use crate::ids::IdState;

/// Where the columns of a layout go; `None` for those that this pass leaves out.
pub type Slots = Vec<Option<u32>>;

/// Gathers the samples of many frames by series.
#[derive(Default)]
pub struct Transposer {
    slots: HashMap<i64, u32, IdState>,
    columns: Vec<(i64, Column)>,
    samples: u64,
    /// Of so many passes over the same frames, which this is: a pass takes the series whose ids fall to it.
    pass: (u64, u64),
}

impl Transposer {
    /// Takes every series.
    pub fn new() -> Self {
        Self { pass: (0, 1), ..Self::default() }
    }

    /// Takes one share of the series: the frames are read once for each of `passes`, counted from 0, and each series
    /// belongs to one of them.
    pub fn for_pass(pass: u64, passes: u64) -> Self {
        Self { pass: (pass, passes.max(1)), ..Self::default() }
    }

    /// Where the columns of a list of series go; to be kept for all frames of a layout.
    pub fn slots(&mut self, series: impl IntoIterator<Item = i64>) -> Slots {
        series.into_iter().map(|id| self.slot(id)).collect()
    }

    fn slot(&mut self, id: i64) -> Option<u32> {
        let (pass, passes) = self.pass;
        // Ids are hashes, but nobody promises that their low bits are even.
        if passes > 1 && (id.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % passes != pass {
            return None;
        }
        let next = self.columns.len();
        let slot = *self.slots.entry(id).or_insert(next as u32);
        if slot as usize == next {
            self.columns.push((id, Column::default()));
        }
        Some(slot)
    }

    /// Adds a frame: one value a slot, at `time` plus its offset where there are offsets. Of two samples of a series at
    /// one time the one with the smaller `order` stays. Histograms come with their place in the frame, ascending.
    pub fn add(
        &mut self,
        slots: &Slots,
        (time, offsets): (Millis, Option<&[i32]>),
        order: i64,
        values: &[f64],
        histograms: Vec<(u32, NativeHistogram)>,
    ) -> Result<(), PortError> {
        if values.len() != slots.len() || offsets.is_some_and(|offsets| offsets.len() != slots.len()) {
            return Err(damaged("a frame is shorter than its layout"));
        }
        let mut histograms = histograms.into_iter().peekable();
        for (place, (slot, value)) in slots.iter().zip(values).enumerate() {
            let histogram = match value.to_bits() {
                HISTOGRAM_MARKER_BITS => {
                    while histograms.next_if(|(at, _)| (*at as usize) < place).is_some() {}
                    let found = histograms.next_if(|(at, _)| *at as usize == place);
                    Some(found.ok_or_else(|| damaged("a frame lacks a histogram"))?.1)
                }
                _ => None,
            };
            let Some(slot) = slot else { continue };
            let offset = offsets.and_then(|offsets| offsets.get(place)).copied().unwrap_or(0);
            if let Some((_, column)) = self.columns.get_mut(*slot as usize) {
                column.push(time.saturating_add(i64::from(offset)), order, *value, histogram);
                self.samples += 1;
            }
        }
        Ok(())
    }

    /// Samples added so far.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// The series with their samples, ascending by id, timestamps ascending and each once.
    pub fn finish(self) -> Vec<(i64, Column)> {
        let mut columns = self.columns;
        columns.retain(|(_, column)| !column.timestamps.is_empty());
        columns.sort_unstable_by_key(|(id, _)| *id);
        columns.iter_mut().for_each(|(_, column)| column.compact());
        columns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_turned_into_columns() {
        let mut transposer = Transposer::new();
        let slots = transposer.slots([7, -3, 7]);
        let marker = f64::from_bits(HISTOGRAM_MARKER_BITS);
        let histogram = NativeHistogram { count: 2.0, ..NativeHistogram::default() };
        transposer.add(&slots, (100, None), 5, &[1.0, 2.0, 3.0], Vec::new()).unwrap();
        transposer
            .add(&slots, (50, Some(&[0, 5, 50])), 4, &[0.5, marker, 9.0], vec![(1, histogram.clone())])
            .unwrap();
        assert_eq!(transposer.samples(), 6);
        let columns = transposer.finish();
        assert_eq!(columns.len(), 2);
        let (id, column) = &columns[0];
        assert_eq!((*id, column.timestamps.as_slice()), (-3, &[55, 100][..]));
        assert_eq!(column.histograms, [(0, histogram)]);
        let (id, column) = &columns[1];
        assert_eq!((*id, column.timestamps.as_slice()), (7, &[50, 100][..]));
        assert_eq!(column.values, [0.5, 9.0], "the smaller order wins");
    }

    #[test]
    fn passes_share_the_series_among_them() {
        let taken = |pass| {
            let mut transposer = Transposer::for_pass(pass, 3);
            let slots = transposer.slots(0..1_000);
            slots.iter().map(Option::is_some).collect::<Vec<_>>()
        };
        let passes: Vec<Vec<bool>> = (0..3).map(taken).collect();
        assert!((0..1_000).all(|id| passes.iter().filter(|pass| pass[id]).count() == 1));
        assert!(passes.iter().all(|pass| pass.iter().filter(|taken| **taken).count() > 200));
    }

    #[test]
    fn damaged_frames_are_refused() {
        let mut transposer = Transposer::new();
        let slots = transposer.slots([1, 2]);
        assert!(transposer.add(&slots, (0, None), 0, &[1.0], Vec::new()).is_err());
        assert!(transposer.add(&slots, (0, Some(&[1])), 0, &[1.0, 2.0], Vec::new()).is_err());
        let marker = f64::from_bits(HISTOGRAM_MARKER_BITS);
        assert!(transposer.add(&slots, (0, None), 0, &[1.0, marker], Vec::new()).is_err());
    }
}
