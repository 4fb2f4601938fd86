//! Sums, means and variances of floats that are taken in one by one, for windows and for aggregations alike.

pub use metricsd_model::Sum;

/// An arithmetic mean: of a sum for as long as the sum is finite, of means of means from there on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mean {
    count: f64,
    /// The sum, or the mean where `overflown`.
    state: Sum,
    overflown: bool,
}

impl Mean {
    /// A mean that begins with one value.
    pub fn of(first: f64) -> Self {
        Self { count: 1.0, state: Sum::of(first), overflown: false }
    }

    /// Takes in a value.
    pub fn add(&mut self, value: f64) {
        let before = self.count;
        self.count += 1.0;
        if !self.overflown {
            let mut next = self.state;
            next.add(value);
            if !next.sum.is_infinite() {
                self.state = next;
                return;
            }
            self.overflown = true;
            self.state = Sum { sum: self.state.sum / before, lost: self.state.lost / before };
        }
        self.state = scaled(self.state, before / self.count);
        self.state.add(value / self.count);
    }

    /// The mean so far.
    pub fn value(&self) -> f64 {
        let Sum { sum, lost } = self.state;
        if self.overflown { sum + lost } else { sum / self.count + lost / self.count }
    }
}

fn scaled(sum: Sum, factor: f64) -> Sum {
    Sum { sum: factor * sum.sum, lost: factor * sum.lost }
}

/// A population variance (Welford's method with compensated sums).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Variance {
    count: f64,
    mean: Sum,
    /// Sum of the squared distances from the mean.
    squares: Sum,
}

impl Variance {
    /// Takes in a value.
    pub fn add(&mut self, value: f64) {
        self.count += 1.0;
        let distance = value - (self.mean.sum + self.mean.lost);
        self.mean.add(distance / self.count);
        self.squares.add(distance * (value - (self.mean.sum + self.mean.lost)));
    }

    /// The variance so far; NaN of nothing.
    pub fn value(&self) -> f64 {
        (self.squares.sum + self.squares.lost) / self.count
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(values: &[f64]) -> f64 {
        let mut sum = Sum::default();
        values.iter().for_each(|value| sum.add(*value));
        sum.value()
    }

    fn mean(values: &[f64]) -> f64 {
        let mut mean = Mean::of(values[0]);
        values[1..].iter().for_each(|value| mean.add(*value));
        mean.value()
    }

    fn variance(values: &[f64]) -> f64 {
        let mut variance = Variance::default();
        values.iter().for_each(|value| variance.add(*value));
        variance.value()
    }

    #[test]
    fn what_rounding_loses_is_kept() {
        assert_eq!(sum(&[1.0, 1e100, 1.0, -1e100]), 2.0);
        assert_eq!(sum(&[0.1; 10]), 1.0);
        assert_eq!(mean(&[5.0, 1e100, 7.0, -1e100]), 3.0);
    }

    #[test]
    fn infinities_stay_and_contradict_each_other() {
        assert_eq!(sum(&[1.0, f64::INFINITY, 2.0]), f64::INFINITY);
        assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
        assert!(sum(&[1.0, f64::NAN]).is_nan());
        assert_eq!(mean(&[f64::INFINITY]), f64::INFINITY);
        assert_eq!(mean(&[1.0, f64::NEG_INFINITY, 2.0]), f64::NEG_INFINITY);
        assert!(mean(&[f64::INFINITY, 1.0, f64::NEG_INFINITY]).is_nan());
        assert!(mean(&[f64::NAN, 1.0]).is_nan());
    }

    #[test]
    fn a_mean_outlives_the_overflow_of_its_sum() {
        let most = f64::MAX;
        assert_eq!(mean(&[most, most]), most);
        assert!((mean(&[-most, -most, -most]) / most + 1.0).abs() < 1e-15);
        assert!((mean(&[most, most, -most, -most]) / most).abs() < 1e-15);
    }

    #[test]
    fn a_variance_of_one_is_none() {
        assert_eq!(variance(&[3.0]), 0.0);
        assert_eq!(variance(&[2.0, 4.0]), 1.0);
        assert!(variance(&[f64::INFINITY]).is_nan());
        assert!(variance(&[]).is_nan());
        let far = 1e9;
        assert!((variance(&[far + 4.0, far + 7.0, far + 13.0, far + 16.0]) - 22.5).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn whole_numbers_are_summed_exactly(values in prop::collection::vec(-1_000_000_i32..1_000_000, 1..100)) {
            let floats: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
            let exact: i64 = values.iter().map(|value| i64::from(*value)).sum();
            prop_assert_eq!(sum(&floats), exact as f64);
            prop_assert!((mean(&floats) - exact as f64 / floats.len() as f64).abs() < 1e-9);
            let naive = floats.iter().map(|value| (value - mean(&floats)).powi(2)).sum::<f64>() / floats.len() as f64;
            prop_assert!((variance(&floats) - naive).abs() <= naive * 1e-9);
        }
    }
}
