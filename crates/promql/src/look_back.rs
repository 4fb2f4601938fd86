//! Which sample speaks for a moment: the newest of the window `(moment - look_back, moment]`, unless it says that the
//! series has ended.

use metricsd_model::{HISTOGRAM_MARKER_BITS, Millis, is_stale};
use metricsd_ports::SelectedSeries;

/// What a series says at a moment.
#[derive(Debug, Clone, Copy)]
pub enum Found {
    /// A value.
    Value(f64),
    /// A native histogram, which this engine cannot show yet.
    Histogram,
    /// Nothing in the window, or the end of the series.
    Nothing,
}

/// Walks one series forward in time; every sample is passed once, however many steps a range has.
pub struct Cursor<'s> {
    series: &'s SelectedSeries,
    look_back: Millis,
    /// How many samples stand at or before the last moment that was asked for.
    passed: usize,
}

impl<'s> Cursor<'s> {
    /// Starts before the first sample.
    pub fn new(series: &'s SelectedSeries, look_back: Millis) -> Self {
        Self { series, look_back, passed: 0 }
    }

    /// What the series says at `moment`; moments must not go back.
    pub fn at(&mut self, moment: Millis) -> Found {
        let timestamps = &self.series.timestamps;
        while timestamps.get(self.passed).is_some_and(|timestamp| *timestamp <= moment) {
            self.passed += 1;
        }
        let Some(newest) = self.passed.checked_sub(1) else {
            return Found::Nothing;
        };
        let (Some(timestamp), Some(value)) = (timestamps.get(newest), self.series.values.get(newest)) else {
            return Found::Nothing;
        };
        // Left-open: a sample exactly as old as the window does not count.
        if *timestamp <= moment.saturating_sub(self.look_back) || is_stale(*value) {
            Found::Nothing
        } else if value.to_bits() == HISTOGRAM_MARKER_BITS {
            Found::Histogram
        } else {
            Found::Value(*value)
        }
    }
}
