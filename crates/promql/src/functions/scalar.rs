//! Of one value by itself.

use metricsd_model::NativeHistogram;

use crate::histogram;

/// 1, -1, or the value itself where it is neither above nor below 0: zero of either sign, NaN.
pub(super) fn sgn(value: f64) -> f64 {
    if value > 0.0 {
        1.0
    } else if value < 0.0 {
        -1.0
    } else {
        value
    }
}

/// Radians in degrees. Multiplies before it divides, which rounds otherwise than `f64::to_degrees`.
pub(super) fn deg(value: f64) -> f64 {
    value * 180.0 / std::f64::consts::PI
}

/// Degrees in radians. Multiplies before it divides, which rounds otherwise than `f64::to_radians`.
pub(super) fn rad(value: f64) -> f64 {
    value * std::f64::consts::PI / 180.0
}

/// From here on squares count for everything and ones for nothing, in what roots and logarithms are taken of.
const LARGE: f64 = 1e150;

/// Inverse hyperbolic cosine, of the largest floats too: `f64::acosh` doubles its argument, and overflows.
pub(super) fn acosh(value: f64) -> f64 {
    if value < LARGE { value.acosh() } else { value.ln() + std::f64::consts::LN_2 }
}

/// Inverse hyperbolic sine, of the largest floats too: `f64::asinh` doubles its argument, and overflows.
pub(super) fn asinh(value: f64) -> f64 {
    if value.abs() < LARGE {
        value.asinh()
    } else {
        (value.abs().ln() + std::f64::consts::LN_2).copysign(value)
    }
}

/// The multiple of `to_nearest` that is nearest to the value; of two as near the greater.
pub fn round(value: f64, to_nearest: f64) -> f64 {
    // The inverse of what people round to, such as 0.1, is mostly exact where the number itself is not.
    let inverse = 1.0 / to_nearest;
    (value * inverse + 0.5).floor() / inverse
}

/// The value within both bounds; nothing where `min` is above `max`. NaN as value or bound gives NaN, except where an
/// infinite bound leaves no choice.
pub fn clamp(value: f64, min: f64, max: f64) -> Option<f64> {
    if max < min { None } else { Some(clamp_min(clamp_max(value, max), min)) }
}

/// The lesser of value and bound; NaN where either is NaN, unless the other is -Inf.
pub fn clamp_max(value: f64, max: f64) -> f64 {
    if value == f64::NEG_INFINITY || max == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else if value.is_nan() || max.is_nan() {
        f64::NAN
    } else {
        value.min(max)
    }
}

/// The greater of value and bound; NaN where either is NaN, unless the other is +Inf.
pub fn clamp_min(value: f64, min: f64) -> f64 {
    -clamp_max(-value, -min)
}

pub(super) fn histogram_avg(histogram: &NativeHistogram) -> f64 {
    histogram::average(histogram)
}

pub(super) fn histogram_count(histogram: &NativeHistogram) -> f64 {
    histogram.count
}

pub(super) fn histogram_stddev(histogram: &NativeHistogram) -> f64 {
    histogram::stddev(histogram)
}

pub(super) fn histogram_stdvar(histogram: &NativeHistogram) -> f64 {
    histogram::stdvar(histogram)
}

pub(super) fn histogram_sum(histogram: &NativeHistogram) -> f64 {
    histogram.sum
}

const DAY: i64 = 86_400;

pub(super) fn minute(seconds: f64) -> f64 {
    of_time(seconds, |seconds| seconds.rem_euclid(3_600) / 60)
}

pub(super) fn hour(seconds: f64) -> f64 {
    of_time(seconds, |seconds| seconds.rem_euclid(DAY) / 3_600)
}

/// From 0, Sunday.
pub(super) fn day_of_week(seconds: f64) -> f64 {
    // The epoch was a Thursday.
    of_time(seconds, |seconds| (seconds.div_euclid(DAY) + 4).rem_euclid(7))
}

pub(super) fn day_of_month(seconds: f64) -> f64 {
    of_date(seconds, |date| date.day)
}

/// From 1.
pub(super) fn day_of_year(seconds: f64) -> f64 {
    of_date(seconds, |date| {
        (1..date.month).map(|month| days_of_month(date.year, month)).sum::<i64>() + date.day
    })
}

pub(super) fn days_in_month(seconds: f64) -> f64 {
    of_date(seconds, |date| days_of_month(date.year, date.month))
}

pub(super) fn month(seconds: f64) -> f64 {
    of_date(seconds, |date| date.month)
}

pub(super) fn year(seconds: f64) -> f64 {
    of_date(seconds, |date| date.year)
}

/// Something of a moment, of which only whole seconds count, cut towards the epoch; NaN where there is no moment.
fn of_time(seconds: f64, get: impl Fn(i64) -> i64) -> f64 {
    if seconds.is_finite() { get(seconds as i64) as f64 } else { f64::NAN }
}

fn of_date(seconds: f64, get: impl Fn(Date) -> i64) -> f64 {
    of_time(seconds, |seconds| get(Date::of(seconds.div_euclid(DAY))))
}

/// A day of the Gregorian calendar, which is carried on into the past.
#[derive(Debug, PartialEq)]
struct Date {
    year: i64,
    /// From 1.
    month: i64,
    /// From 1.
    day: i64,
}

impl Date {
    /// The date of a day, counted from 1970-01-01. Years are taken from March to February, so that a leap day is
    /// a year's last.
    fn of(days: i64) -> Self {
        const DAYS_OF_400_YEARS: i64 = 146_097;
        const MARCH_OF_YEAR_0: i64 = -719_468;
        let days = days - MARCH_OF_YEAR_0;
        let (era, of_era) = (days.div_euclid(DAYS_OF_400_YEARS), days.rem_euclid(DAYS_OF_400_YEARS));
        let leap_days = of_era / 1_460 - of_era / 36_524 + of_era / 146_096;
        let year_of_era = (of_era - leap_days) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        // From March on five months have 153 days, twice and then two months more.
        let month_from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        Self { year, month, day }
    }
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sign_keeps_zero_and_nan() {
        assert_eq!(sgn(3.5), 1.0);
        assert_eq!(sgn(f64::NEG_INFINITY), -1.0);
        assert!(sgn(-0.0).is_sign_negative());
        assert!(sgn(f64::NAN).is_nan());
    }

    #[test]
    fn angles() {
        assert_eq!(deg(std::f64::consts::PI), 180.0);
        assert_eq!(rad(180.0), std::f64::consts::PI);
        assert!(deg(f64::NAN).is_nan());
    }

    #[test]
    fn inverse_hyperbolic_functions_of_any_float() {
        assert!(acosh(0.5).is_nan() && acosh(f64::NAN).is_nan() && asinh(f64::NAN).is_nan());
        assert_eq!(acosh(1.0), 0.0);
        assert_eq!((acosh(f64::INFINITY), asinh(f64::NEG_INFINITY)), (f64::INFINITY, f64::NEG_INFINITY));
        assert!(asinh(-0.0).is_sign_negative());
        assert_eq!((asinh(1e-300), asinh(-1e-300)), (1e-300, -1e-300));
        for value in [1.5, 3.0, 100.0] {
            assert!((acosh(value).cosh() / value - 1.0).abs() < 1e-12);
            assert!((asinh(-value).sinh() / value + 1.0).abs() < 1e-12);
        }
        // ln(2 * 10^308) and, on both sides of where the formula changes, no jump.
        let large = 308.0 * std::f64::consts::LN_10 + std::f64::consts::LN_2;
        assert!((acosh(1e308) - large).abs() < 1e-9 && (asinh(-1e308) + large).abs() < 1e-9);
        assert!((acosh(1.01e150) - acosh(0.99e150) - (1.01_f64 / 0.99).ln()).abs() < 1e-9);
    }

    #[test]
    fn ties_are_rounded_up() {
        assert_eq!(round(2.5, 1.0), 3.0);
        assert_eq!(round(-2.5, 1.0), -2.0);
        assert_eq!(round(0.6, 0.1), 0.6);
        assert_eq!(round(7.4, 5.0), 5.0);
        assert_eq!(round(7.5, 5.0), 10.0);
        assert_eq!(round(f64::INFINITY, 1.0), f64::INFINITY);
        assert!(round(1.0, 0.0).is_nan());
        assert!(round(f64::NAN, 1.0).is_nan());
    }

    #[test]
    fn clamping() {
        assert_eq!(clamp(5.0, 0.0, 1.0), Some(1.0));
        assert_eq!(clamp(-5.0, 0.0, 1.0), Some(0.0));
        assert_eq!(clamp(0.5, 0.0, 1.0), Some(0.5));
        assert_eq!(clamp(0.5, 1.0, 0.0), None);
        assert!(clamp(0.5, f64::NAN, 1.0).unwrap().is_nan());
        assert!(clamp(0.5, 0.0, f64::NAN).unwrap().is_nan());
        assert!(clamp(f64::NAN, 0.0, 1.0).unwrap().is_nan());
        assert_eq!(clamp_min(f64::NAN, f64::INFINITY), f64::INFINITY);
        assert_eq!(clamp_max(f64::NEG_INFINITY, f64::NAN), f64::NEG_INFINITY);
        assert_eq!(clamp_min(1.0, 2.0), 2.0);
        assert_eq!(clamp_max(3.0, 2.0), 2.0);
    }

    #[test]
    fn parts_of_a_moment() {
        // 2024-02-29 23:59:58 UTC, a Thursday.
        let leap_day = 1_709_251_198.9;
        assert_eq!([minute(leap_day), hour(leap_day), day_of_week(leap_day)], [59.0, 23.0, 4.0]);
        assert_eq!([day_of_month(leap_day), month(leap_day), year(leap_day)], [29.0, 2.0, 2024.0]);
        assert_eq!([day_of_year(leap_day), days_in_month(leap_day)], [60.0, 29.0]);
    }

    #[test]
    fn before_the_epoch() {
        // Only whole seconds count, cut towards the epoch.
        assert_eq!([year(-0.5), minute(-0.5)], [1970.0, 0.0]);
        assert_eq!([year(-1.0), month(-1.0), day_of_month(-1.0)], [1969.0, 12.0, 31.0]);
        assert_eq!([hour(-1.0), minute(-1.0), day_of_week(-1.0)], [23.0, 59.0, 3.0]);
        assert_eq!([day_of_year(-1.0), days_in_month(-1.0)], [365.0, 31.0]);
    }

    #[test]
    fn no_moment_at_all() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(year(value).is_nan() && minute(value).is_nan());
        }
        for value in [f64::MAX, f64::MIN] {
            assert!(
                year(value).is_finite() && day_of_year(value).is_finite() && day_of_week(value).is_finite()
            );
        }
    }

    #[test]
    fn histograms_by_themselves() {
        let histogram = NativeHistogram { count: 4.0, sum: 10.0, ..NativeHistogram::default() };
        assert_eq!(histogram_count(&histogram), 4.0);
        assert_eq!(histogram_sum(&histogram), 10.0);
        assert_eq!(histogram_avg(&histogram), 2.5);
        assert!(histogram_avg(&NativeHistogram::default()).is_nan());
    }

    proptest! {
        #[test]
        fn a_date_follows_the_one_before(day in -1_000_000_i64..1_000_000) {
            let (before, after) = (Date::of(day - 1), Date::of(day));
            let last = before.day == days_of_month(before.year, before.month);
            let expected = match (last, before.month) {
                (false, month) => Date { year: before.year, month, day: before.day + 1 },
                (true, 12) => Date { year: before.year + 1, month: 1, day: 1 },
                (true, month) => Date { year: before.year, month: month + 1, day: 1 },
            };
            prop_assert_eq!(after, expected);
        }

        #[test]
        fn rounding_gives_the_nearest_multiple(value in -1e6..1e6f64, to_nearest in 1_u32..100) {
            let nearest = f64::from(to_nearest);
            let rounded = round(value, nearest);
            prop_assert!((rounded / nearest - (rounded / nearest).round()).abs() < 1e-6);
            prop_assert!((rounded - value).abs() <= nearest / 2.0 + 1e-6);
        }
    }
}
