//! The samples of one series while they are gathered.

use std::collections::HashMap;

use metricsd_model::{Millis, NativeHistogram};

/// Samples of one series in the order in which they were read.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Column {
    /// Ascending, each once, after [`Self::compact`].
    pub timestamps: Vec<Millis>,
    /// One a timestamp: of two samples at one time the one with the smaller order stays.
    pub orders: Vec<i64>,
    /// One a timestamp; markers are told by their bits.
    pub values: Vec<f64>,
    /// Native histograms, each with the index of its timestamp, ascending.
    pub histograms: Vec<(usize, NativeHistogram)>,
}

/// Samples that a column has room for from its first one on.
const FIRST_ROOM: usize = 16;

impl Column {
    /// Adds one sample.
    pub fn push(&mut self, timestamp: Millis, order: i64, value: f64, histogram: Option<NativeHistogram>) {
        if self.timestamps.capacity() == 0 {
            self.reserve(FIRST_ROOM);
        }
        if let Some(histogram) = histogram {
            self.histograms.push((self.timestamps.len(), histogram));
        }
        self.timestamps.push(timestamp);
        self.orders.push(order);
        self.values.push(value);
    }

    /// Makes room for so many more samples.
    pub fn reserve(&mut self, samples: usize) {
        self.timestamps.reserve(samples);
        self.orders.reserve(samples);
        self.values.reserve(samples);
    }

    /// Ascending, each timestamp once. Frames mostly come in order of time, and then there is nothing to do.
    pub fn compact(&mut self) {
        if self.timestamps.is_sorted_by(|a, b| a < b) {
            return;
        }
        let mut places: Vec<usize> = (0..self.timestamps.len()).collect();
        places.sort_unstable_by_key(|place| (self.timestamps[*place], self.orders[*place], *place));
        places.dedup_by_key(|place| self.timestamps[*place]);
        self.keep(&places);
    }

    /// Adds the samples of another column after its own.
    pub fn append(&mut self, other: Self) {
        let place = self.timestamps.len();
        self.timestamps.extend(other.timestamps);
        self.orders.extend(other.orders);
        self.values.extend(other.values);
        self.histograms
            .extend(other.histograms.into_iter().map(|(index, histogram)| (place + index, histogram)));
    }

    /// Keeps the samples at these places, which ascend unless the column is being sorted.
    fn keep(&mut self, places: &[usize]) {
        let mut histograms: HashMap<usize, NativeHistogram> = self.histograms.drain(..).collect();
        let kept = places.iter().enumerate();
        self.histograms = kept.filter_map(|(now, place)| Some((now, histograms.remove(place)?))).collect();
        self.timestamps = places.iter().map(|place| self.timestamps[*place]).collect();
        self.orders = places.iter().map(|place| self.orders[*place]).collect();
        self.values = places.iter().map(|place| self.values[*place]).collect();
    }

    /// Takes out what has a timestamp of `taken`, which ascends. The column must be compact.
    pub fn without(&mut self, taken: &[Millis]) {
        let free = |place: &usize| taken.binary_search(&self.timestamps[*place]).is_err();
        let places: Vec<usize> = (0..self.timestamps.len()).filter(free).collect();
        if places.len() < self.timestamps.len() {
            self.keep(&places);
        }
    }

    /// Cuts a compact column in two; the second begins at the first timestamp that is not before `at`.
    pub fn split_at(mut self, at: Millis) -> (Self, Self) {
        let place = self.timestamps.partition_point(|timestamp| *timestamp < at);
        let first_late = self.histograms.partition_point(|(index, _)| *index < place);
        let late = self.histograms.split_off(first_late);
        let rest = Self {
            timestamps: self.timestamps.split_off(place),
            orders: self.orders.split_off(place),
            values: self.values.split_off(place),
            histograms: late.into_iter().map(|(index, histogram)| (index - place, histogram)).collect(),
        };
        (self, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(count: f64) -> NativeHistogram {
        NativeHistogram { count, ..NativeHistogram::default() }
    }

    #[test]
    fn the_first_of_a_timestamp_wins_and_histograms_keep_their_place() {
        let mut column = Column {
            timestamps: vec![9, 3, 9, 6],
            orders: vec![2, 5, 1, 1],
            values: vec![0.9, 0.3, 0.99, 0.6],
            histograms: vec![(0, histogram(1.0)), (2, histogram(2.0)), (3, histogram(3.0))],
        };
        column.compact();
        assert_eq!(column.timestamps, [3, 6, 9]);
        assert_eq!(column.values, [0.3, 0.6, 0.99]);
        assert_eq!(column.histograms, [(1, histogram(3.0)), (2, histogram(2.0))]);
    }

    #[test]
    fn a_column_is_cut_and_thinned_with_its_histograms() {
        let mut column = Column::default();
        for (timestamp, value) in [(1, 0.1), (3, 0.3), (5, 0.5), (7, 0.7)] {
            column.push(timestamp, 0, value, (timestamp > 3).then(|| histogram(value)));
        }
        let (early, late) = column.clone().split_at(5);
        assert_eq!((early.timestamps, early.histograms), (vec![1, 3], vec![]));
        assert_eq!(late.timestamps, [5, 7]);
        assert_eq!(late.histograms, [(0, histogram(0.5)), (1, histogram(0.7))]);
        column.without(&[0, 3, 5]);
        assert_eq!((column.timestamps.as_slice(), column.values.as_slice()), (&[1, 7][..], &[0.1, 0.7][..]));
        assert_eq!(column.histograms, [(1, histogram(0.7))]);
    }
}
