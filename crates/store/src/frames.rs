//! Stored frames: what a listing says of them, and what they hold once decoded.

mod cache;
mod plan;

use std::hash::{Hash, Hasher};

use metricsd_model::{HISTOGRAM_MARKER_BITS, Millis, NativeHistogram};
use metricsd_ports::PortError;

use crate::damaged;

pub use cache::{Asked, FrameCache};
pub use plan::{Blocks, Columns, Plan, Window, Windows, slices};

/// Bytes of decoded frames that a store remembers where nothing else is said: ten minutes of 100,000 series, one
/// sample every 15 s, take a quarter of it.
pub const FRAME_CACHE_BYTES: usize = 128 << 20;

/// What tells a stored frame from all others, at all times. A frame never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameKey {
    /// Its place in the order of commits; see [`FrameParts::order`]. A database may give it again when the frame is gone.
    pub order: i64,
    /// Its batch.
    pub batch: u128,
    /// Its time.
    pub time: Millis,
}

impl Hash for FrameKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.order.cast_unsigned() ^ self.batch as u64);
    }
}

/// A frame that a snapshot holds.
#[derive(Debug, Clone, Copy)]
pub struct Listed {
    /// Which one.
    pub key: FrameKey,
    /// Its layout; `None` where it carries its own list of series.
    pub layout: Option<i64>,
    /// How many bytes it takes once decoded, about.
    pub bytes: usize,
}

/// What a row of `frames` holds.
#[derive(Debug, Clone, Default)]
pub struct FrameParts {
    /// Earliest timestamp.
    pub time: Millis,
    /// Order of commit: of two samples with one timestamp that of the smaller order counts.
    pub order: i64,
    /// One a column.
    pub values: Vec<f64>,
    /// One a column: by how many milliseconds its sample is later than `time`.
    pub offsets: Option<Vec<i32>>,
    /// Native histograms with the columns that they stand in.
    pub histograms: Vec<(u32, NativeHistogram)>,
}

/// A decoded frame.
#[derive(Debug)]
pub struct Frame {
    parts: FrameParts,
    /// Of a frame that carries its own: ascending, which the columns follow.
    ids: Option<Box<[i64]>>,
    /// One timestamp for all columns, and numbers only.
    plain: bool,
}

impl Frame {
    /// A frame of a shared layout.
    pub fn shared(mut parts: FrameParts) -> Self {
        parts.values.shrink_to_fit();
        // Sorted, so that one is found quickly.
        parts.histograms.sort_by_key(|(column, _)| *column);
        let is_marker = |value: &f64| value.to_bits() == HISTOGRAM_MARKER_BITS;
        let plain = parts.offsets.is_none() && !parts.values.iter().any(is_marker);
        Self { parts, ids: None, plain }
    }

    /// A frame that carries its own list of series: one id a column. Its columns are put in order of their ids, so that
    /// looking for few of many series costs little.
    pub fn inline(mut parts: FrameParts, ids: &[i64]) -> Result<Self, PortError> {
        let columns = ids.len();
        if parts.values.len() != columns
            || parts.offsets.as_ref().is_some_and(|offsets| offsets.len() != columns)
        {
            return Err(damaged("a frame is shorter than its list of series"));
        }
        let mut order: Vec<(i64, u32)> = ids.iter().copied().zip(0..).collect();
        // Where a list names a series twice, the first of its samples stays first.
        order.sort_unstable();
        parts.values = picked(&parts.values, &order);
        parts.offsets = parts.offsets.map(|offsets| picked(&offsets, &order));
        if !parts.histograms.is_empty() {
            let mut places = vec![0u32; columns];
            for ((_, from), to) in order.iter().zip(0u32..) {
                if let Some(place) = places.get_mut(*from as usize) {
                    *place = to;
                }
            }
            for (column, _) in &mut parts.histograms {
                let place = places.get(*column as usize);
                *column = *place.ok_or_else(|| damaged("a frame's histogram has no column"))?;
            }
        }
        let ids = order.into_iter().map(|(id, _)| id).collect();
        Ok(Self { ids: Some(ids), ..Self::shared(parts) })
    }

    /// Earliest timestamp.
    pub fn time(&self) -> Millis {
        self.parts.time
    }

    /// See [`FrameParts::order`].
    pub fn order(&self) -> i64 {
        self.parts.order
    }

    /// One a column.
    pub fn values(&self) -> &[f64] {
        &self.parts.values
    }

    /// Whether all columns have the timestamp of the frame and none holds a histogram.
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// The series of the columns, ascending, where the frame carries them.
    pub fn ids(&self) -> Option<&[i64]> {
        self.ids.as_deref()
    }

    /// Timestamp and value of a column.
    pub fn sample(&self, at: usize) -> Result<(Millis, f64), PortError> {
        let shorter = || damaged("a frame is shorter than its layout");
        let value = *self.parts.values.get(at).ok_or_else(shorter)?;
        let offset = match &self.parts.offsets {
            Some(offsets) => *offsets.get(at).ok_or_else(shorter)?,
            None => 0,
        };
        Ok((self.parts.time.saturating_add(i64::from(offset)), value))
    }

    /// The histogram of a column whose value says that it has one.
    pub fn histogram(&self, at: usize) -> Result<&NativeHistogram, PortError> {
        let place = self.parts.histograms.binary_search_by_key(&at, |(column, _)| *column as usize);
        let found = place.ok().and_then(|place| self.parts.histograms.get(place));
        found.map(|(_, histogram)| histogram).ok_or_else(|| damaged("a frame lacks a histogram"))
    }

    /// Bytes that it takes in memory.
    pub fn bytes(&self) -> usize {
        let parts = &self.parts;
        size_of::<Self>()
            + parts.values.capacity() * size_of::<f64>()
            + parts.offsets.as_ref().map_or(0, |offsets| offsets.capacity() * size_of::<i32>())
            + self.ids.as_ref().map_or(0, |ids| size_of_val::<[i64]>(ids))
            + parts.histograms.iter().map(|(_, histogram)| histogram_bytes(histogram)).sum::<usize>()
    }
}

fn histogram_bytes(histogram: &NativeHistogram) -> usize {
    let spans = histogram.positive_spans.capacity() + histogram.negative_spans.capacity();
    let floats = histogram.positive_buckets.capacity()
        + histogram.negative_buckets.capacity()
        + histogram.custom_values.capacity();
    size_of::<(u32, NativeHistogram)>()
        + spans * size_of::<metricsd_model::Span>()
        + floats * size_of::<f64>()
}

fn picked<T: Copy>(from: &[T], order: &[(i64, u32)]) -> Vec<T> {
    order.iter().filter_map(|(_, place)| from.get(*place as usize).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(count: f64) -> NativeHistogram {
        NativeHistogram { count, ..NativeHistogram::default() }
    }

    #[test]
    fn columns_of_an_own_list_come_in_order_of_ids_with_all_they_have() {
        let marker = f64::from_bits(HISTOGRAM_MARKER_BITS);
        let parts = FrameParts {
            time: 100,
            order: 7,
            values: vec![marker, 2.0, 3.0, marker, 5.0],
            offsets: Some(vec![1, 2, 3, 4, 5]),
            histograms: vec![(3, histogram(4.0)), (0, histogram(1.0))],
        };
        let frame = Frame::inline(parts.clone(), &[9, -5, 4, i64::MIN, 4]).unwrap();
        assert_eq!(frame.ids(), Some(&[i64::MIN, -5, 4, 4, 9][..]));
        let samples: Vec<i64> = (0..5).map(|at| frame.sample(at).unwrap().0).collect();
        assert_eq!(
            samples,
            [104, 102, 103, 105, 101],
            "of a series that is named twice the first stays first"
        );
        assert_eq!((frame.histogram(0).unwrap().count, frame.histogram(4).unwrap().count), (4.0, 1.0));
        assert!(frame.histogram(1).is_err() && frame.sample(5).is_err() && !frame.is_plain());
        assert!(Frame::inline(parts.clone(), &[1, 2, 3, 4]).is_err());
        let lost = FrameParts { histograms: vec![(5, histogram(1.0))], ..parts };
        assert!(Frame::inline(lost, &[1, 2, 3, 4, 5]).is_err());
    }

    #[test]
    fn a_frame_is_plain_when_it_has_one_timestamp_and_numbers_only() {
        let parts = FrameParts { values: vec![1.0, f64::NAN], ..FrameParts::default() };
        assert!(Frame::shared(parts.clone()).is_plain());
        assert!(!Frame::shared(FrameParts { offsets: Some(vec![0, 0]), ..parts.clone() }).is_plain());
        let marked = vec![1.0, f64::from_bits(HISTOGRAM_MARKER_BITS)];
        assert!(!Frame::shared(FrameParts { values: marked, ..parts }).is_plain());
    }

    #[test]
    fn bytes_count_what_is_held() {
        let empty = Frame::shared(FrameParts::default()).bytes();
        let mut values = Vec::with_capacity(5_000);
        values.resize(1_000, 0.5);
        let parts = FrameParts { values, ..FrameParts::default() };
        assert_eq!(Frame::shared(parts.clone()).bytes(), empty + 8_000);
        let ids: Vec<i64> = (0..1_000).collect();
        assert_eq!(Frame::inline(parts.clone(), &ids).unwrap().bytes(), empty + 16_000);
        let buckets = NativeHistogram { positive_buckets: vec![1.0; 160], ..histogram(1.0) };
        let held = Frame::shared(FrameParts { histograms: vec![(1, buckets)], ..parts }).bytes();
        assert!(held > empty + 8_000 + 160 * 8, "{held}");
    }
}
