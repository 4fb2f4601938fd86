//! The axis of values.

use metricsd_promql::number;

/// Values closer to each other than this share of their size are one value.
const ONE_VALUE: f64 = 1e-12;
/// Digits behind the point that a label may need; with more of them a smaller unit says it better.
const MAX_DECIMALS: f64 = 3.0;
/// Likewise without a unit; beyond, an exponent says it better.
const MAX_BARE_DECIMALS: f64 = 9.0;
/// From here on an exponent says it better, too.
const TOO_LARGE: f64 = 1e15;
/// Units from the largest on.
const UNITS: [(f64, &str); 5] = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")];

/// From the lowest to the highest value, both finite.
#[derive(Debug, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    /// The axis for these finite values; nothing without any. A single value lies in its middle.
    pub(super) fn over(values: impl Iterator<Item = f64>) -> Option<Self> {
        let extremes = values.fold(None, |extremes: Option<(f64, f64)>, value| {
            let (low, high) = extremes.unwrap_or((value, value));
            Some((low.min(value), high.max(value)))
        });
        let (low, high) = extremes?;
        let size = low.abs().max(high.abs());
        if high - low > size * ONE_VALUE {
            return Some(Self { low, high });
        }
        let around = if size > 0.0 { size / 2.0 } else { 1.0 };
        Some(Self { low: (low - around).max(f64::MIN), high: (high + around).min(f64::MAX) })
    }

    /// Where a value lies, 0 at the bottom and 1 at the top.
    pub(super) fn part(&self, value: f64) -> f64 {
        // Halves, since the whole may be larger than any float.
        let span = self.high / 2.0 - self.low / 2.0;
        let part = (value / 2.0 - self.low / 2.0) / span;
        if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.5 }
    }

    /// So many labels from the highest value to the lowest, evenly: as many decimals as tell them apart, one unit.
    pub(super) fn labels(&self, count: usize) -> Vec<String> {
        let last = count.saturating_sub(1).max(1) as f64;
        let value = |index: usize| {
            let part = index as f64 / last;
            self.high * (1.0 - part) + self.low * part
        };
        let size = self.low.abs().max(self.high.abs());
        let distance = self.high / last - self.low / last;
        let decimals = |unit: f64| (1.0 - (distance / unit).log10().floor()).max(0.0);
        let fits = |unit: f64| {
            let most = if unit > 1.0 { MAX_DECIMALS } else { MAX_BARE_DECIMALS };
            size >= unit && decimals(unit) <= most
        };
        let bare = (decimals(1.0) <= MAX_BARE_DECIMALS).then_some((1.0, ""));
        let unit = UNITS.iter().copied().find(|(unit, _)| fits(*unit)).or(bare).filter(|_| size < TOO_LARGE);
        let Some((unit, suffix)) = unit else {
            return (0..count).map(|index| format!("{:.3e}", value(index))).collect();
        };
        let decimals = decimals(unit) as usize;
        let labels: Vec<String> =
            (0..count).map(|index| format!("{:.decimals$}", value(index) / unit)).collect();
        let shared = if decimals > 0 { shared_zeros(&labels) } else { 0 };
        let cut = |label: &String| format!("{}{suffix}", label.get(..label.len() - shared).unwrap_or(label));
        labels.iter().map(cut).collect()
    }
}

/// How many characters behind the point say nothing in any label: zeros, and then the point itself.
fn shared_zeros(labels: &[String]) -> usize {
    let zeros = |label: &String| {
        let bare = label.trim_end_matches('0');
        label.len() - bare.strip_suffix('.').unwrap_or(bare).len()
    };
    labels.iter().map(zeros).min().unwrap_or(0)
}

/// A value in at most some ten characters: all its digits where they fit, else six.
pub(super) fn short(value: f64) -> String {
    let exact = number::json(value);
    if exact.len() <= 10 {
        return exact;
    }
    number::format(format!("{value:.5e}").parse().unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_tell_the_values_apart() {
        let check = |low: f64, high: f64, expected: [&str; 3]| {
            assert_eq!(Scale::over([low, high].into_iter()).unwrap().labels(3), expected, "{low} to {high}");
        };
        check(0.0, 1.0, ["1.0", "0.5", "0.0"]);
        check(0.0, 100.0, ["100", "50", "0"]);
        check(-3.0, 10.0, ["10.0", "3.5", "-3.0"]);
        check(0.0, 1_500.0, ["1.50k", "0.75k", "0.00k"]);
        check(2.0e9, 4.0e9, ["4G", "3G", "2G"]);
        check(1_750_500_000.0, 1_750_500_010.0, ["1750500010", "1750500005", "1750500000"]);
        check(0.0, 0.000_2, ["0.0002", "0.0001", "0.0000"]);
        check(0.0, 2e-12, ["2.000e-12", "1.000e-12", "0.000e0"]);
        check(0.0, 3e20, ["3.000e20", "1.500e20", "0.000e0"]);
        check(f64::MIN, f64::MAX, ["1.798e308", "0.000e0", "-1.798e308"]);
    }

    #[test]
    fn one_value_lies_in_the_middle() {
        let check = |value: f64, low: f64, high: f64| {
            let scale = Scale::over([value, value].into_iter()).unwrap();
            assert_eq!(scale, Scale { low, high });
            assert!((0.0..=1.0).contains(&scale.part(value)), "{value}");
        };
        check(0.0, -1.0, 1.0);
        check(1.0, 0.5, 1.5);
        check(-4.0, -6.0, -2.0);
        check(f64::MAX, f64::MAX / 2.0, f64::MAX);
        check(5e-324, 5e-324, 5e-324);
        let almost = Scale::over([1.0, 1.0 + f64::EPSILON].into_iter()).unwrap();
        assert!((almost.part(1.0) - 0.5).abs() < 1e-9);
        assert_eq!(Scale::over(std::iter::empty()), None);
    }

    #[test]
    fn places_are_parts_of_the_span() {
        let check = |low: f64, high: f64, value: f64, expected: f64| {
            assert_eq!(Scale { low, high }.part(value), expected, "{value} in {low} to {high}");
        };
        check(0.0, 4.0, 1.0, 0.25);
        check(-2.0, 2.0, 0.0, 0.5);
        check(f64::MIN, f64::MAX, 0.0, 0.5);
        check(f64::MIN, f64::MAX, f64::MAX, 1.0);
    }

    #[test]
    fn short_values_keep_their_digits() {
        let check = |value: f64, expected: &str| assert_eq!(short(value), expected);
        check(0.1, "0.1");
        check(1_750_500_000.0, "1750500000");
        check(0.123_456_789_012, "0.123457");
        check(123_456_789.125, "1.23457e+08");
        check(-1e-9, "-1e-09");
        check(f64::NAN, "NaN");
        check(f64::INFINITY, "+Inf");
    }
}
