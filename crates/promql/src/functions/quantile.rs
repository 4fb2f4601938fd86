//! Quantiles of values at hand.

use std::cmp::Ordering;

/// The φ-quantile of the values, which are left in another order; between two values by their weighted average. NaN
/// counts as less than every number. NaN where there is no value or φ is NaN, -Inf for φ < 0, +Inf for φ > 1.
pub fn quantile(phi: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || phi.is_nan() {
        return f64::NAN;
    }
    if phi < 0.0 {
        return f64::NEG_INFINITY;
    }
    if phi > 1.0 {
        return f64::INFINITY;
    }
    let last = values.len() - 1;
    let rank = phi * last as f64;
    let below = (rank.floor() as usize).min(last);
    let weight = rank - rank.floor();
    let (_, lower, rest) = values.select_nth_unstable_by(below, nan_first);
    let lower = *lower;
    let upper = rest.iter().copied().min_by(nan_first).unwrap_or(lower);
    lower * (1.0 - weight) + upper * weight
}

/// Numbers in their order after NaN; -0 equals 0.
fn nan_first(a: &f64, b: &f64) -> Ordering {
    a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn phi_outside_of_its_bounds() {
        assert!(quantile(0.5, &mut []).is_nan());
        assert!(quantile(f64::NAN, &mut [1.0]).is_nan());
        assert_eq!(quantile(-0.1, &mut [1.0]), f64::NEG_INFINITY);
        assert_eq!(quantile(1.1, &mut [1.0]), f64::INFINITY);
        assert_eq!(quantile(f64::INFINITY, &mut [1.0]), f64::INFINITY);
    }

    #[test]
    fn ranks_are_interpolated() {
        assert_eq!(quantile(0.5, &mut [2.0, 0.0, 1.0]), 1.0);
        assert_eq!(quantile(0.5, &mut [4.0, 0.0]), 2.0);
        assert_eq!(quantile(0.75, &mut [0.0, 1.0, 2.0]), 1.5);
        assert_eq!(quantile(1.0, &mut [1.0, 3.0, 2.0]), 3.0);
        assert_eq!(quantile(-0.0, &mut [1.0, 3.0, 2.0]), 1.0);
        assert_eq!(quantile(0.3, &mut [7.0]), 7.0);
    }

    #[test]
    fn nan_is_the_least_value() {
        assert!(quantile(0.0, &mut [1.0, f64::NAN]).is_nan());
        assert_eq!(quantile(1.0, &mut [1.0, f64::NAN, 2.0]), 2.0);
        assert_eq!(quantile(0.5, &mut [1.0, f64::NAN, 2.0]), 1.0);
    }

    #[test]
    fn an_infinite_neighbour_without_weight_spoils_the_average() {
        assert!(quantile(0.0, &mut [1.0, f64::INFINITY]).is_nan());
        assert_eq!(quantile(0.5, &mut [1.0, f64::INFINITY]), f64::INFINITY);
    }

    proptest! {
        #[test]
        fn selecting_finds_what_sorting_finds(
            phi in 0.0..=1.0f64,
            mut values in prop::collection::vec(prop_oneof![9 => -1e9..1e9f64, 1 => Just(f64::NAN)], 1..60),
        ) {
            let mut sorted = values.clone();
            sorted.sort_by(nan_first);
            let rank = phi * (sorted.len() - 1) as f64;
            let (below, above) = (rank.floor() as usize, rank.floor() as usize + 1);
            let upper = sorted[above.min(sorted.len() - 1)];
            let expected = sorted[below] * (1.0 - rank.fract()) + upper * rank.fract();
            let found = quantile(phi, &mut values);
            prop_assert!(found == expected || (found.is_nan() && expected.is_nan()), "{} {}", found, expected);
        }
    }
}
