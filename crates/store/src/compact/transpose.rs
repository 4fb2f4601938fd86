//! Rows of scrapes become columns of series.

use std::collections::HashMap;

use metricsd_model::{HISTOGRAM_MARKER_BITS, Millis, NativeHistogram};
use metricsd_ports::PortError;

use crate::column::Column;
use crate::damaged;
use crate::ids::IdState;

/// Where the columns of a layout go; `None` for those that this pass leaves out.
pub type Slots = Vec<Option<u32>>;

/// One frame, as it is added.
#[derive(Debug)]
pub struct Scrape<'f> {
    /// Timestamp of its samples.
    pub time: Millis,
    /// Added to `time`, one a column, where timestamps differ.
    pub offsets: Option<&'f [i32]>,
    /// Of two samples of a series at one time the one of the smaller order stays.
    pub order: i64,
    /// Where it came from, as the caller counts.
    pub origin: u32,
    /// One a column.
    pub values: &'f [f64],
    /// With their columns, ascending.
    pub histograms: Vec<(u32, NativeHistogram)>,
}

/// What many frames hold of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Transposed {
    /// Its id.
    pub series: i64,
    /// Where the frame of the smallest order that has it came from.
    pub origin: u32,
    /// Its samples.
    pub column: Column,
    /// The smallest order.
    first: i64,
}

/// Gathers the samples of many frames by series.
#[derive(Default)]
pub struct Transposer {
    slots: HashMap<i64, u32, IdState>,
    columns: Vec<Transposed>,
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
            self.columns.push(Transposed {
                series: id,
                origin: 0,
                column: Column::default(),
                first: i64::MAX,
            });
        }
        Some(slot)
    }

    /// Adds a frame: one value a slot.
    pub fn add(&mut self, slots: &Slots, frame: Scrape<'_>) -> Result<(), PortError> {
        let Scrape { time, offsets, order, origin, values, histograms } = frame;
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
            if let Some(transposed) = self.columns.get_mut(*slot as usize) {
                if order < transposed.first {
                    (transposed.first, transposed.origin) = (order, origin);
                }
                let timestamp = time.saturating_add(i64::from(offset));
                transposed.column.push(timestamp, order, *value, histogram);
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
    pub fn finish(self) -> Vec<Transposed> {
        let mut columns = self.columns;
        columns.retain(|transposed| !transposed.column.timestamps.is_empty());
        columns.sort_unstable_by_key(|transposed| transposed.series);
        columns.iter_mut().for_each(|transposed| transposed.column.compact());
        columns
    }
}

/// How often frames of so many samples are read when no more than `max_samples` are held at once.
pub fn passes(samples: u64, max_samples: usize) -> u64 {
    samples.div_ceil(max_samples.max(1) as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrape(time: Millis, order: i64, values: &[f64]) -> Scrape<'_> {
        Scrape { time, offsets: None, order, origin: order as u32, values, histograms: Vec::new() }
    }

    #[test]
    fn frames_are_turned_into_columns() {
        let mut transposer = Transposer::new();
        let slots = transposer.slots([7, -3, 7]);
        let marker = f64::from_bits(HISTOGRAM_MARKER_BITS);
        let histogram = NativeHistogram { count: 2.0, ..NativeHistogram::default() };
        transposer.add(&slots, scrape(100, 5, &[1.0, 2.0, 3.0])).unwrap();
        let values = [0.5, marker, 9.0];
        let histograms = vec![(1, histogram.clone())];
        let offsets = Some(&[0, 5, 50][..]);
        transposer.add(&slots, Scrape { offsets, histograms, ..scrape(50, 4, &values) }).unwrap();
        assert_eq!(transposer.samples(), 6);
        let columns = transposer.finish();
        assert_eq!(columns.len(), 2);
        assert_eq!((columns[0].series, columns[0].origin), (-3, 4), "the first frame says whose it is");
        assert_eq!(columns[0].column.timestamps, [55, 100]);
        assert_eq!(columns[0].column.histograms, [(0, histogram)]);
        assert_eq!((columns[1].series, columns[1].column.timestamps.as_slice()), (7, &[50, 100][..]));
        assert_eq!(columns[1].column.values, [0.5, 9.0], "the smaller order wins");
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
        assert!(transposer.add(&slots, scrape(0, 0, &[1.0])).is_err());
        let offsets = Some(&[1][..]);
        assert!(transposer.add(&slots, Scrape { offsets, ..scrape(0, 0, &[1.0, 2.0]) }).is_err());
        let marker = f64::from_bits(HISTOGRAM_MARKER_BITS);
        assert!(transposer.add(&slots, scrape(0, 0, &[1.0, marker])).is_err());
    }

    #[test]
    fn frames_are_read_as_often_as_memory_asks_for() {
        assert_eq!([passes(0, 10), passes(10, 10), passes(11, 10), passes(5, 0)], [1, 1, 2, 5]);
    }
}
