//! A sum of floats that loses next to nothing to rounding.

/// A sum with a second float for what the first loses to rounding (Kahan's summation as Neumaier improved it).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sum {
    /// The sum as floats add up.
    pub sum: f64,
    /// What rounding took from it.
    pub lost: f64,
}

impl Sum {
    /// A sum that begins with one value.
    pub fn of(first: f64) -> Self {
        Self { sum: first, lost: 0.0 }
    }

    /// Takes in a value.
    pub fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        if sum.is_infinite() {
            self.lost = 0.0;
        } else if self.sum.abs() >= value.abs() {
            self.lost += (self.sum - sum) + value;
        } else {
            self.lost += (value - sum) + self.sum;
        }
        self.sum = sum;
    }

    /// The sum so far.
    pub fn value(&self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.lost }
    }
}

impl Extend<f64> for Sum {
    fn extend<T: IntoIterator<Item = f64>>(&mut self, values: T) {
        values.into_iter().for_each(|value| self.add(value));
    }
}
