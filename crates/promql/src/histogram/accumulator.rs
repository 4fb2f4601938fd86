//! Sums and means over many histograms.

use metricsd_model::{NativeHistogram, ResetHint};

use super::Incompatible;
use super::work::Work;

/// A running sum with compensation for rounding, over histograms of possibly different resolutions, zero buckets and
/// custom bounds.
#[derive(Debug, Clone, Default)]
pub struct Accumulator {
    total: Option<Work>,
    /// The mean up to here, once the sum has become too large for floats.
    mean: Option<Work>,
    /// How many histograms were added.
    added: u64,
    /// A histogram said that its counter began again.
    reset: bool,
    /// A histogram said that its counter did not begin again.
    no_reset: bool,
    reconciled: bool,
}

impl Accumulator {
    /// An empty sum.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one histogram.
    ///
    /// # Errors
    /// [`Incompatible`] for exponential and custom buckets together; the sum is then what it was.
    pub fn add(&mut self, histogram: &NativeHistogram) -> Result<(), Incompatible> {
        let next = Work::from(histogram);
        let Some(total) = &mut self.total else {
            self.total = Some(next);
            self.count(histogram.reset_hint);
            return Ok(());
        };
        if total.uses_custom_buckets() != next.uses_custom_buckets() {
            return Err(Incompatible);
        }
        let watched = self.mean.is_some() || total.is_large() || next.is_large();
        let apart = watched.then(|| (total.clone(), next.clone()));
        self.reconciled |= total.absorb(next)?.reconciled;
        let overflows = apart.is_some() && total.overflows();
        self.count(histogram.reset_hint);
        match apart {
            Some((before, next)) if overflows => self.follow_mean(before, next),
            _ => Ok(()),
        }
    }

    fn count(&mut self, hint: ResetHint) {
        self.added += 1;
        self.reset |= hint == ResetHint::Yes;
        self.no_reset |= hint == ResetHint::No;
    }

    /// A sum beyond all floats has no mean to divide it into, though there is one: it is followed step by step.
    fn follow_mean(&mut self, before: Work, mut next: Work) -> Result<(), Incompatible> {
        let added = self.added as f64;
        let mean = self.mean.get_or_insert_with(|| {
            let mut mean = before;
            mean.map(|value| value / (added - 1.0));
            mean
        });
        mean.map(|value| value * ((added - 1.0) / added));
        next.map(|value| value / added);
        mean.absorb(next).map(|_| ())
    }

    /// How many histograms were added.
    pub fn len(&self) -> u64 {
        self.added
    }

    /// Whether nothing was added yet.
    pub fn is_empty(&self) -> bool {
        self.added == 0
    }

    /// Whether one histogram said that its counter began again, and another one that it did not.
    pub fn collision(&self) -> bool {
        self.reset && self.no_reset
    }

    /// Whether custom bounds differed, so that the result has those that all had.
    pub fn reconciled(&self) -> bool {
        self.reconciled
    }

    /// The sum, without empty buckets; `None` if nothing was added.
    pub fn sum(&self) -> Option<NativeHistogram> {
        self.total.clone().map(finished)
    }

    /// The mean, without empty buckets; `None` if nothing was added.
    pub fn mean(&self) -> Option<NativeHistogram> {
        if let Some(mean) = &self.mean {
            return Some(finished(mean.clone()));
        }
        let mut mean = self.total.clone()?;
        mean.map(|value| value / self.added as f64);
        Some(finished(mean))
    }
}

fn finished(work: Work) -> NativeHistogram {
    let mut histogram = NativeHistogram::from(work);
    super::compact(&mut histogram);
    histogram
}
