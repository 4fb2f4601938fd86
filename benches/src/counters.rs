//! A page of metrics, read: what metricsd says of itself.

use std::collections::BTreeMap;

/// Series and their values.
pub(crate) struct Counters(BTreeMap<String, f64>);

impl Counters {
    /// Reads a page, or several: a series that comes again is summed.
    pub(crate) fn read(page: &str) -> Self {
        let samples = page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse::<f64>().ok()?))
        });
        let mut all: BTreeMap<String, f64> = BTreeMap::new();
        for (series, value) in samples {
            *all.entry(series).or_default() += value;
        }
        Self(all)
    }

    /// The sum of all series of one name.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        self.sum_where(name, "")
    }

    /// The sum of the series of one name that have a label, written `name="value"`.
    pub(crate) fn sum_where(&self, name: &str, label: &str) -> f64 {
        let wanted = |series: &str| series.split('{').next() == Some(name) && series.contains(label);
        self.0.iter().filter(|(series, _)| wanted(series)).map(|(_, value)| value).sum()
    }

    /// A quantile of what came since `before` in a histogram without labels, taken to be spread evenly within its bucket.
    pub(crate) fn quantile(&self, before: &Self, name: &str, quantile: f64) -> Option<f64> {
        let prefix = format!("{name}_bucket{{le=\"");
        let bound = |series: &str| series.strip_prefix(&prefix)?.split('"').next()?.parse::<f64>().ok();
        let earlier = |series: &str| before.0.get(series).copied().unwrap_or(0.0);
        let mut buckets: Vec<(f64, f64)> = self
            .0
            .iter()
            .filter_map(|(series, value)| Some((bound(series)?, value - earlier(series))))
            .collect();
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        let rank = buckets.last()?.1 * quantile;
        let place = buckets.iter().position(|(_, count)| *count > 0.0 && *count >= rank)?;
        let (upper, count) = *buckets.get(place)?;
        let (lower, below) =
            place.checked_sub(1).and_then(|place| buckets.get(place)).copied().unwrap_or_default();
        if upper.is_infinite() {
            return Some(lower);
        }
        Some(lower + (upper - lower) * (rank - below) / (count - below))
    }
}

#[cfg(test)]
mod tests {
    use super::Counters;

    const BEFORE: &str = "h_bucket{le=\"0.1\"} 5\nh_bucket{le=\"0.5\"} 5\nh_bucket{le=\"+Inf\"} 5\n";
    const AFTER: &str = "# TYPE h histogram\nh_bucket{le=\"0.1\"} 55\nh_bucket{le=\"0.5\"} 105\n\
                         h_bucket{le=\"+Inf\"} 105\na_total{x=\"1\"} 2\na_total{x=\"2\"} 3\n";

    #[test]
    fn quantiles_lie_within_their_bucket() {
        let (before, after) = (Counters::read(BEFORE), Counters::read(AFTER));
        let quantile = |at| after.quantile(&before, "h", at).unwrap();
        assert!((quantile(0.25) - 0.05).abs() < 1e-9);
        assert!((quantile(0.75) - 0.3).abs() < 1e-9);
        assert!(after.quantile(&before, "other", 0.5).is_none());
    }

    #[test]
    fn sums_go_by_name_and_label() {
        let page = Counters::read(AFTER);
        assert!((page.sum("a_total") - 5.0).abs() < 1e-9);
        assert!((page.sum_where("a_total", "x=\"2\"") - 3.0).abs() < 1e-9);
        assert!(page.sum("a").abs() < 1e-9);
        let both = Counters::read(&format!("{BEFORE}{AFTER}"));
        assert!((both.sum_where("h_bucket", "le=\"0.5\"") - 110.0).abs() < 1e-9);
    }
}
