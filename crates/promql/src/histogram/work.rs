//! The form in which histograms are computed with: buckets by index, every count with what rounding took from it.

use metricsd_model::histogram::indexed::coarser_index;
use metricsd_model::{NativeHistogram, ResetHint};

use super::Incompatible;
use super::{custom, zero};

/// A sum with Neumaier's compensation: what rounding took away is carried beside it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Total {
    sum: f64,
    lost: f64,
}

impl From<f64> for Total {
    fn from(sum: f64) -> Self {
        Self { sum, lost: 0.0 }
    }
}

impl Total {
    pub(super) fn value(self) -> f64 {
        self.sum + self.lost
    }

    pub(super) fn add(&mut self, other: Self) {
        let sum = self.sum + other.sum;
        self.lost = if sum.is_infinite() {
            0.0
        } else if self.sum.abs() >= other.sum.abs() {
            self.lost + other.lost + ((self.sum - sum) + other.sum)
        } else {
            self.lost + other.lost + ((other.sum - sum) + self.sum)
        };
        self.sum = sum;
    }

    fn map(self, change: impl Fn(f64) -> f64) -> Self {
        Self { sum: change(self.sum), lost: change(self.lost) }
    }
}

/// Buckets of one side, ascending by index.
pub(super) type Side = Vec<(i32, Total)>;

/// A histogram to compute with.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) schema: i32,
    pub(super) zero_threshold: f64,
    pub(super) zero_count: Total,
    pub(super) count: Total,
    pub(super) sum: Total,
    pub(super) reset_hint: ResetHint,
    pub(super) positive: Side,
    pub(super) negative: Side,
    pub(super) custom_values: Vec<f64>,
}

/// What happened when two histograms were brought together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Remarks {
    pub(super) collision: bool,
    pub(super) reconciled: bool,
}

impl From<&NativeHistogram> for Work {
    fn from(histogram: &NativeHistogram) -> Self {
        let side =
            |buckets: Vec<(i32, f64)>| buckets.into_iter().map(|(at, count)| (at, count.into())).collect();
        let threshold = histogram.zero_threshold;
        Self {
            schema: histogram.schema,
            // Thresholds are compared until they are equal, which NaN never is.
            zero_threshold: if threshold > 0.0 { threshold } else { 0.0 },
            zero_count: histogram.zero_count.into(),
            count: histogram.count.into(),
            sum: histogram.sum.into(),
            reset_hint: histogram.reset_hint,
            positive: side(histogram.indexed_positive()),
            negative: side(histogram.indexed_negative()),
            custom_values: histogram.custom_values.clone(),
        }
    }
}

impl From<Work> for NativeHistogram {
    fn from(work: Work) -> Self {
        let side = |buckets: Side| -> Vec<(i32, f64)> {
            buckets.into_iter().map(|(at, count)| (at, count.value())).collect()
        };
        let mut histogram = Self {
            schema: work.schema,
            zero_threshold: work.zero_threshold,
            zero_count: work.zero_count.value(),
            count: work.count.value(),
            sum: work.sum.value(),
            reset_hint: work.reset_hint,
            custom_values: work.custom_values,
            ..Self::default()
        };
        histogram.set_positive(&side(work.positive));
        histogram.set_negative(&side(work.negative));
        histogram
    }
}

impl Work {
    pub(super) fn uses_custom_buckets(&self) -> bool {
        self.schema == metricsd_model::histogram::validate::CUSTOM_SCHEMA
    }

    /// Changes every count and the sum; rounding losses are changed alike, so `change` must be linear.
    pub(super) fn map(&mut self, change: impl Fn(f64) -> f64) {
        for total in [&mut self.zero_count, &mut self.count, &mut self.sum] {
            *total = total.map(&change);
        }
        for (_, total) in self.positive.iter_mut().chain(&mut self.negative) {
            *total = total.map(&change);
        }
    }

    /// Whether any number has grown beyond all floats.
    pub(super) fn overflows(&self) -> bool {
        self.any(|value| value.is_infinite())
    }

    /// Whether adding something equally large could go beyond all floats.
    pub(super) fn is_large(&self) -> bool {
        self.any(|value| value.abs() > f64::MAX / 4.0)
    }

    fn any(&self, mut test: impl FnMut(f64) -> bool) -> bool {
        let sides = self.positive.iter().chain(&self.negative).map(|(_, total)| total);
        sides.chain([&self.zero_count, &self.count, &self.sum]).any(|total| test(total.value()))
    }

    /// Adds another histogram.
    pub(super) fn absorb(&mut self, mut other: Self) -> Result<Remarks, Incompatible> {
        if self.uses_custom_buckets() != other.uses_custom_buckets() {
            return Err(Incompatible);
        }
        let collision = self.settle_reset_hint(other.reset_hint);
        let reconciled = self.uses_custom_buckets() && custom::reconcile(self, &mut other);
        if !self.uses_custom_buckets() {
            zero::reconcile(self, &mut other);
            self.reduce_to(other.schema);
            other.reduce_to(self.schema);
        }
        self.zero_count.add(other.zero_count);
        self.count.add(other.count);
        self.sum.add(other.sum);
        merge(&mut self.positive, &other.positive);
        merge(&mut self.negative, &other.negative);
        Ok(Remarks { collision, reconciled })
    }

    /// The hint of a sum: a gauge where either is one, else unknown where the two differ. True where one says that the
    /// counter began again and the other that it did not.
    fn settle_reset_hint(&mut self, other: ResetHint) -> bool {
        use ResetHint::{Gauge, No, Unknown, Yes};
        let collision = matches!((self.reset_hint, other), (Yes, No) | (No, Yes));
        self.reset_hint = match (self.reset_hint, other) {
            (one, two) if one == two => one,
            (Gauge, _) | (_, Gauge) => Gauge,
            _ => Unknown,
        };
        collision
    }

    /// Merges buckets until the resolution is that of `schema`; a histogram that is not finer stays as it is.
    pub(super) fn reduce_to(&mut self, schema: i32) {
        if self.schema <= schema {
            return;
        }
        let steps = self.schema.abs_diff(schema);
        for side in [&mut self.positive, &mut self.negative] {
            for (index, _) in side.iter_mut() {
                *index = coarser_index(*index, steps);
            }
            merge_neighbours(side);
        }
        self.schema = schema;
    }
}

/// Adds up neighbours of the same index.
pub(super) fn merge_neighbours(side: &mut Side) {
    side.dedup_by(|(index, count), (kept, total)| {
        let same = index == kept;
        if same {
            total.add(*count);
        }
        same
    });
}

/// Adds the buckets of `two`. Histograms of one series mostly fill the same buckets, which then stay where they are.
fn merge(one: &mut Side, two: &[(i32, Total)]) {
    if one.len() != two.len() || one.iter().zip(two).any(|((here, _), (there, _))| here != there) {
        *one = merged(one, two);
        return;
    }
    for ((_, count), (_, more)) in one.iter_mut().zip(two) {
        count.add(*more);
    }
}

fn merged(one: &[(i32, Total)], two: &[(i32, Total)]) -> Side {
    let mut out = Side::with_capacity(one.len().max(two.len()));
    let mut two = two.iter().copied().peekable();
    for (index, count) in one {
        while let Some(before) = two.next_if(|(other, _)| other < index) {
            out.push(before);
        }
        let mut count = *count;
        if let Some((_, more)) = two.next_if(|(other, _)| other == index) {
            count.add(more);
        }
        out.push((*index, count));
    }
    out.extend(two);
    out
}
