//! Of one value by itself.

use metricsd_model::NativeHistogram;

pub(super) fn day_of_month(value: f64) -> f64 {
    value
}

pub(super) fn day_of_week(value: f64) -> f64 {
    value
}

pub(super) fn day_of_year(value: f64) -> f64 {
    value
}

pub(super) fn days_in_month(value: f64) -> f64 {
    value
}

pub(super) fn histogram_avg(histogram: &NativeHistogram) -> f64 {
    histogram.sum
}

pub(super) fn histogram_count(histogram: &NativeHistogram) -> f64 {
    histogram.sum
}

pub(super) fn histogram_stddev(histogram: &NativeHistogram) -> f64 {
    histogram.sum
}

pub(super) fn histogram_stdvar(histogram: &NativeHistogram) -> f64 {
    histogram.sum
}

pub(super) fn histogram_sum(histogram: &NativeHistogram) -> f64 {
    histogram.sum
}

pub(super) fn hour(value: f64) -> f64 {
    value
}

pub(super) fn minute(value: f64) -> f64 {
    value
}

pub(super) fn month(value: f64) -> f64 {
    value
}

pub(super) fn sgn(value: f64) -> f64 {
    value
}

pub(super) fn year(value: f64) -> f64 {
    value
}
