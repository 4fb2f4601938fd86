//! Every function of the language with its signature, in order of name.

use super::{Function, Kind, Special, over_time, rates, regression, scalar};
use crate::ast::ValueType::{self, Matrix, Scalar, String, Vector};

const fn function(
    name: &'static str,
    args: &'static [ValueType],
    returns: ValueType,
    kind: Kind,
) -> Function {
    Function { name, args, optional: 0, repeats: false, returns, experimental: false, kind }
}

impl Function {
    const fn optional(self, optional: usize) -> Self {
        Self { optional, ..self }
    }

    /// The last argument may be left out and may be repeated.
    const fn repeats(self) -> Self {
        Self { optional: 1, repeats: true, ..self }
    }

    const fn experimental(self) -> Self {
        Self { experimental: true, ..self }
    }
}

/// Every function, in order of name.
pub static TABLE: &[Function] = &[
    function("abs", &[Vector], Vector, Kind::Math(f64::abs)),
    function("absent", &[Vector], Vector, Kind::Special(Special::Absent)),
    function("absent_over_time", &[Matrix], Vector, Kind::Special(Special::AbsentOverTime)),
    function("acos", &[Vector], Vector, Kind::Math(f64::acos)),
    function("acosh", &[Vector], Vector, Kind::Math(scalar::acosh)),
    function("asin", &[Vector], Vector, Kind::Math(f64::asin)),
    function("asinh", &[Vector], Vector, Kind::Math(scalar::asinh)),
    function("atan", &[Vector], Vector, Kind::Math(f64::atan)),
    function("atanh", &[Vector], Vector, Kind::Math(f64::atanh)),
    function("avg_over_time", &[Matrix], Vector, Kind::Range(over_time::avg_over_time)),
    function("ceil", &[Vector], Vector, Kind::Math(f64::ceil)),
    function("changes", &[Matrix], Vector, Kind::Range(rates::changes)),
    function("clamp", &[Vector, Scalar, Scalar], Vector, Kind::Special(Special::Clamp)),
    function("clamp_max", &[Vector, Scalar], Vector, Kind::Special(Special::ClampMax)),
    function("clamp_min", &[Vector, Scalar], Vector, Kind::Special(Special::ClampMin)),
    function("cos", &[Vector], Vector, Kind::Math(f64::cos)),
    function("cosh", &[Vector], Vector, Kind::Math(f64::cosh)),
    function("count_over_time", &[Matrix], Vector, Kind::Range(over_time::count_over_time)),
    function("day_of_month", &[Vector], Vector, Kind::Date(scalar::day_of_month)).optional(1),
    function("day_of_week", &[Vector], Vector, Kind::Date(scalar::day_of_week)).optional(1),
    function("day_of_year", &[Vector], Vector, Kind::Date(scalar::day_of_year)).optional(1),
    function("days_in_month", &[Vector], Vector, Kind::Date(scalar::days_in_month)).optional(1),
    function("deg", &[Vector], Vector, Kind::Math(scalar::deg)),
    function("delta", &[Matrix], Vector, Kind::Range(rates::delta)),
    function("deriv", &[Matrix], Vector, Kind::Range(regression::deriv)),
    function(
        "double_exponential_smoothing",
        &[Matrix, Scalar, Scalar],
        Vector,
        Kind::Range(regression::double_exponential_smoothing),
    )
    .experimental(),
    function("end", &[], Scalar, Kind::Special(Special::End)).experimental(),
    function("exp", &[Vector], Vector, Kind::Math(f64::exp)),
    function("first_over_time", &[Matrix], Vector, Kind::Range(over_time::first_over_time)).experimental(),
    function("floor", &[Vector], Vector, Kind::Math(f64::floor)),
    function("histogram_avg", &[Vector], Vector, Kind::Histogram(scalar::histogram_avg)),
    function("histogram_count", &[Vector], Vector, Kind::Histogram(scalar::histogram_count)),
    function(
        "histogram_fraction",
        &[Scalar, Scalar, Vector],
        Vector,
        Kind::Special(Special::HistogramFraction),
    ),
    function("histogram_quantile", &[Scalar, Vector], Vector, Kind::Special(Special::HistogramQuantile)),
    function(
        "histogram_quantiles",
        &[Vector, String, Scalar, Scalar],
        Vector,
        Kind::Special(Special::HistogramQuantiles),
    )
    .repeats()
    .experimental(),
    function("histogram_stddev", &[Vector], Vector, Kind::Histogram(scalar::histogram_stddev)),
    function("histogram_stdvar", &[Vector], Vector, Kind::Histogram(scalar::histogram_stdvar)),
    function("histogram_sum", &[Vector], Vector, Kind::Histogram(scalar::histogram_sum)),
    function("hour", &[Vector], Vector, Kind::Date(scalar::hour)).optional(1),
    function("idelta", &[Matrix], Vector, Kind::Range(rates::idelta)),
    function("increase", &[Matrix], Vector, Kind::Range(rates::increase)),
    function("info", &[Vector, Vector], Vector, Kind::Special(Special::Info)).optional(1).experimental(),
    function("irate", &[Matrix], Vector, Kind::Range(rates::irate)),
    function("label_join", &[Vector, String, String, String], Vector, Kind::Special(Special::LabelJoin))
        .repeats(),
    function(
        "label_replace",
        &[Vector, String, String, String, String],
        Vector,
        Kind::Special(Special::LabelReplace),
    ),
    function("last_over_time", &[Matrix], Vector, Kind::Range(over_time::last_over_time)),
    function("ln", &[Vector], Vector, Kind::Math(f64::ln)),
    function("log10", &[Vector], Vector, Kind::Math(f64::log10)),
    function("log2", &[Vector], Vector, Kind::Math(f64::log2)),
    function("mad_over_time", &[Matrix], Vector, Kind::Range(over_time::mad_over_time)).experimental(),
    function("max_of", &[Scalar, Scalar], Scalar, Kind::Special(Special::MaxOf)).experimental(),
    function("max_over_time", &[Matrix], Vector, Kind::Range(over_time::max_over_time)),
    function("min_of", &[Scalar, Scalar], Scalar, Kind::Special(Special::MinOf)).experimental(),
    function("min_over_time", &[Matrix], Vector, Kind::Range(over_time::min_over_time)),
    function("minute", &[Vector], Vector, Kind::Date(scalar::minute)).optional(1),
    function("month", &[Vector], Vector, Kind::Date(scalar::month)).optional(1),
    function("pi", &[], Scalar, Kind::Special(Special::Pi)),
    function("predict_linear", &[Matrix, Scalar], Vector, Kind::Range(regression::predict_linear)),
    function("present_over_time", &[Matrix], Vector, Kind::Range(over_time::present_over_time)),
    function("quantile_over_time", &[Scalar, Matrix], Vector, Kind::Range(over_time::quantile_over_time)),
    function("rad", &[Vector], Vector, Kind::Math(scalar::rad)),
    function("range", &[], Scalar, Kind::Special(Special::Range)).experimental(),
    function("rate", &[Matrix], Vector, Kind::Range(rates::rate)),
    function("resets", &[Matrix], Vector, Kind::Range(rates::resets)),
    function("round", &[Vector, Scalar], Vector, Kind::Special(Special::Round)).optional(1),
    function("scalar", &[Vector], Scalar, Kind::Special(Special::Scalar)),
    function("sgn", &[Vector], Vector, Kind::Math(scalar::sgn)),
    function("sin", &[Vector], Vector, Kind::Math(f64::sin)),
    function("sinh", &[Vector], Vector, Kind::Math(f64::sinh)),
    function("sort", &[Vector], Vector, Kind::Special(Special::Sort)),
    function("sort_by_label", &[Vector, String], Vector, Kind::Special(Special::SortByLabel))
        .repeats()
        .experimental(),
    function("sort_by_label_desc", &[Vector, String], Vector, Kind::Special(Special::SortByLabelDesc))
        .repeats()
        .experimental(),
    function("sort_desc", &[Vector], Vector, Kind::Special(Special::SortDesc)),
    function("sqrt", &[Vector], Vector, Kind::Math(f64::sqrt)),
    function("start", &[], Scalar, Kind::Special(Special::Start)).experimental(),
    function("start_timestamp", &[Vector], Vector, Kind::Special(Special::StartTimestamp)).experimental(),
    function("stddev_over_time", &[Matrix], Vector, Kind::Range(over_time::stddev_over_time)),
    function("stdvar_over_time", &[Matrix], Vector, Kind::Range(over_time::stdvar_over_time)),
    function("step", &[], Scalar, Kind::Special(Special::Step)).experimental(),
    function("sum_over_time", &[Matrix], Vector, Kind::Range(over_time::sum_over_time)),
    function("tan", &[Vector], Vector, Kind::Math(f64::tan)),
    function("tanh", &[Vector], Vector, Kind::Math(f64::tanh)),
    function("time", &[], Scalar, Kind::Special(Special::Time)),
    function("timestamp", &[Vector], Vector, Kind::Special(Special::Timestamp)),
    function("ts_of_first_over_time", &[Matrix], Vector, Kind::Range(over_time::ts_of_first_over_time))
        .experimental(),
    function("ts_of_last_over_time", &[Matrix], Vector, Kind::Range(over_time::ts_of_last_over_time))
        .experimental(),
    function("ts_of_max_over_time", &[Matrix], Vector, Kind::Range(over_time::ts_of_max_over_time))
        .experimental(),
    function("ts_of_min_over_time", &[Matrix], Vector, Kind::Range(over_time::ts_of_min_over_time))
        .experimental(),
    function("vector", &[Scalar], Vector, Kind::Special(Special::Vector)),
    function("year", &[Vector], Vector, Kind::Date(scalar::year)).optional(1),
];

#[cfg(test)]
mod tests;
