//! Classic histograms become native ones with custom buckets, the bounds of the classic ones.

use metricsd_model::histogram::validate::CUSTOM_SCHEMA;
use metricsd_model::{Millis, NativeHistogram, ScrapeOptions, Span};

use super::item::{Example, Item, fit, invalid};

/// The samples of one classic histogram.
#[derive(Default)]
pub(super) struct Classic<'p> {
    /// Upper bounds and cumulative counts, in any order.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
    timestamp: Option<Millis>,
    created: Option<Millis>,
    examples: Vec<Example<'p>>,
}

/// Which sample of its histogram a sample is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Part {
    /// `_bucket` with this bound.
    Bucket(f64),
    /// `_count`
    Count,
    /// `_sum`
    Sum,
}

impl<'p> Classic<'p> {
    /// Takes one of its samples; examples are left to whoever keeps the classic samples too.
    pub(super) fn take(&mut self, part: Part, item: &mut Item<'p>, keeps_classic: bool) {
        match part {
            Part::Bucket(bound) => self.buckets.push((bound, item.value)),
            Part::Count => self.count = Some(item.value),
            Part::Sum => self.sum = item.value,
        }
        self.timestamp = self.timestamp.or(item.timestamp);
        self.created = self.created.or(item.created);
        match keeps_classic {
            true => self.examples.extend(item.examples.iter().cloned()),
            false => self.examples.append(&mut item.examples),
        }
    }

    /// Forgets all samples, and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.buckets.clear();
        let buckets = std::mem::take(&mut self.buckets);
        *self = Self { buckets, ..Self::default() };
    }

    /// Whether it has samples.
    pub(super) fn is_empty(&self) -> bool {
        self.buckets.is_empty() && self.count.is_none()
    }

    /// The native histogram.
    pub(super) fn convert(&mut self, options: &ScrapeOptions) -> Item<'p> {
        let native = match custom_buckets(&mut self.buckets, self.count, self.sum) {
            Ok((histogram, integer)) => fit(histogram, integer, options),
            Err(problem) => Err(invalid(format!("the histogram cannot be converted: {problem}"))),
        };
        Item {
            value: 0.0,
            native: Some(Box::new(native)),
            timestamp: self.timestamp,
            created: self.created,
            examples: std::mem::take(&mut self.examples),
        }
    }
}

/// The histogram, and whether all its counts are integers.
fn custom_buckets(
    buckets: &mut Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
) -> Result<(NativeHistogram, bool), &'static str> {
    if buckets.iter().any(|(bound, count)| bound.is_nan() || !count.is_finite() || *count < 0.0) {
        return Err("a bucket's bound or count is no number that counts");
    }
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    buckets.dedup();
    let last = buckets.last().copied();
    let count = count.or(last.map(|(_, count)| count)).ok_or("it has no count")?;
    match last {
        Some((f64::INFINITY, total)) if total != count => return Err("its last bucket and its count differ"),
        Some((f64::INFINITY, _)) => {}
        _ => buckets.push((f64::INFINITY, count)),
    }
    let mut histogram = NativeHistogram { schema: CUSTOM_SCHEMA, count, sum, ..NativeHistogram::default() };
    let (mut before, mut gap) = (0.0, 0i32);
    for (bound, cumulative) in buckets.iter() {
        if *bound < f64::INFINITY {
            histogram.custom_values.push(*bound);
        }
        if *cumulative < before {
            return Err("a bucket holds less than the one before it");
        }
        if *cumulative == before {
            gap = gap.saturating_add(1);
            continue;
        }
        match histogram.positive_spans.last_mut().filter(|_| gap == 0) {
            Some(span) => span.length += 1,
            None => histogram.positive_spans.push(Span { offset: gap, length: 1 }),
        }
        histogram.positive_buckets.push(cumulative - before);
        (before, gap) = (*cumulative, 0);
    }
    let integer = count.fract() == 0.0 && buckets.iter().all(|(_, count)| count.fract() == 0.0);
    Ok((histogram, integer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(
        buckets: &[(f64, f64)],
        count: Option<f64>,
    ) -> Result<(NativeHistogram, bool), &'static str> {
        custom_buckets(&mut buckets.to_vec(), count, 7.5)
    }

    #[test]
    fn bounds_become_custom_values_and_empty_buckets_gaps() {
        let buckets = [(1.0, 0.0), (2.5, 3.0), (5.0, 3.0), (10.0, 4.0), (f64::INFINITY, 9.0)];
        let (histogram, integer) = converted(&buckets, Some(9.0)).unwrap();
        assert!(integer);
        assert_eq!((histogram.schema, histogram.count, histogram.sum), (-53, 9.0, 7.5));
        assert_eq!(histogram.custom_values, [1.0, 2.5, 5.0, 10.0]);
        assert_eq!(histogram.positive_buckets, [3.0, 1.0, 5.0]);
        let spans = [Span { offset: 1, length: 1 }, Span { offset: 1, length: 2 }];
        assert_eq!(histogram.positive_spans, spans);
        histogram.validate().unwrap();
        let mut turned = buckets;
        turned.reverse();
        assert_eq!(converted(&turned, None).unwrap().0, histogram, "in any order, and without a count");
        let (floats, integer) = converted(&[(1.0, 0.5)], Some(2.0)).unwrap();
        assert_eq!(
            (floats.positive_buckets, floats.custom_values, integer),
            (vec![0.5, 1.5], vec![1.0], false)
        );
        let (empty, _) = converted(&[], Some(0.0)).unwrap();
        assert_eq!((empty.positive_buckets.len(), empty.custom_values.len()), (0, 0));
        empty.validate().unwrap();
    }

    #[test]
    fn what_is_no_histogram_is_not_converted() {
        assert!(converted(&[], None).is_err());
        assert!(converted(&[(1.0, 5.0), (2.0, 4.0)], Some(5.0)).unwrap_err().contains("less"));
        assert!(converted(&[(1.0, 5.0), (f64::INFINITY, 6.0)], Some(7.0)).unwrap_err().contains("differ"));
        assert!(converted(&[(f64::NAN, 5.0)], Some(5.0)).is_err());
        assert!(converted(&[(1.0, f64::NAN)], Some(5.0)).is_err());
        assert!(converted(&[(1.0, 2.0), (1.0, 3.0)], Some(3.0)).is_ok_and(|(h, _)| h.validate().is_err()));
    }
}
