//! Expressions over the series of [`super::data`], chosen and at random.
#![allow(unreachable_pub)]

use proptest::prelude::*;

/// Expressions over `h`.
pub const OF_HISTOGRAMS: &[&str] = &[
    "h",
    "h offset 2m",
    "sum(h)",
    "sum by (g) (h)",
    "avg by (g) (h)",
    "count(h)",
    "max(h)",
    "topk(1, h)",
    "limitk(2, h)",
    "h + h offset 1m",
    "h - h offset 1m",
    "h * 3",
    "h / on(g) group_left count by (g) (h)",
    "-h",
    "h == h offset 1m",
    "h != bool h offset 1m",
    "h and h offset 3m",
    "h or h offset 7m",
    "h >/ 2",
    "h </ 3",
    "histogram_count(h)",
    "histogram_avg(h)",
    "histogram_stddev(h)",
    "histogram_quantile(0.7, h)",
    "histogram_fraction(1, 3, h)",
    "histogram_quantiles(h, \"q\", 0.1, 0.9)",
    "rate(h[5m])",
    "increase(h[3m])",
    "irate(h[5m])",
    "delta(h[5m])",
    "idelta(h[5m])",
    "resets(h[5m])",
    "changes(h[5m])",
    "sum_over_time(h[5m])",
    "avg_over_time(h[5m])",
    "last_over_time(h[5m])",
    "first_over_time(h[5m])",
    "count_over_time(h[5m])",
    "max_over_time(h[5m])",
    "ts_of_last_over_time(h[5m])",
    "timestamp(h)",
    "absent(h)",
    "label_replace(h, \"h\", \"$1\", \"n\", \"(.*)\")",
    "rate(h[5m:1m])",
    "histogram_count(sum(rate(h[4m])))",
    "sum_over_time(h[5m:30s])",
];

/// Expressions over `m` and `c_total`, all of whose results are whole numbers or well conditioned.
pub const EXPRESSIONS: &[&str] = &[
    "m",
    "m offset 90s",
    "m @ 600",
    "sum(m)",
    "sum by (g) (m)",
    "count without (n) (m)",
    "avg by (g) (m)",
    "min(m)",
    "max by (g) (m)",
    "topk(2, m)",
    "bottomk by (g) (1, m)",
    "limitk(2, m)",
    "limit_ratio(0.5, m)",
    "quantile(0.3, m)",
    "count_values(\"v\", m)",
    "stddev(m)",
    "group by (g) (m)",
    "m > 0",
    "m > bool 10",
    "m + on(n, g) m offset 1m",
    "m / on(g) group_left sum by (g) (abs(m))",
    "m and m offset 2m",
    "m or m offset 7m",
    "m unless m > 100",
    "m * on() group_left vector(2)",
    "-m",
    "abs(m) % 7",
    "absent(m)",
    "scalar(m{n=\"0\"})",
    "timestamp(m)",
    "sum_over_time(m[5m])",
    "avg_over_time(m[3m])",
    "count_over_time(m[90s])",
    "min_over_time(m[5m])",
    "max_over_time(m[5m])",
    "stdvar_over_time(m[5m])",
    "quantile_over_time(0.7, m[5m])",
    "mad_over_time(m[5m])",
    "last_over_time(m[10m])",
    "first_over_time(m[10m])",
    "present_over_time(m[2m])",
    "absent_over_time(m[2m])",
    "ts_of_max_over_time(m[5m])",
    "ts_of_min_over_time(m[5m])",
    "ts_of_last_over_time(m[5m])",
    "changes(m[5m])",
    "resets(m[5m])",
    "delta(m[5m])",
    "idelta(m[5m])",
    "deriv(m[5m])",
    "predict_linear(m[5m], 60)",
    "double_exponential_smoothing(m[5m], 0.5, 0.5)",
    "rate(c_total[5m])",
    "increase(c_total[3m])",
    "irate(c_total[5m])",
    "resets(c_total[10m])",
    "increase(c_total[5m] anchored)",
    "rate(c_total[5m] smoothed)",
    "m smoothed",
    "max_over_time(m[10m:1m])",
    "sum_over_time(sum(m)[5m:30s])",
    "avg_over_time(rate(c_total[2m])[5m:1m] offset 1m)",
    "count_over_time((m > 0)[5m:])",
    "label_replace(m, \"h\", \"$1\", \"n\", \"(.*)\")",
    "label_join(m, \"h\", \"-\", \"n\", \"g\")",
    "clamp(m, -10, 10)",
    "round(m / 7, 0.5)",
    "m == m",
    "hour(m * 1000)",
    "histogram_quantile(0.5, label_replace(abs(m), \"le\", \"$1\", \"n\", \"(.*)\"))",
];

/// Functions of a range.
const OF_RANGE: &[&str] = &[
    "rate",
    "increase",
    "irate",
    "delta",
    "idelta",
    "changes",
    "resets",
    "sum_over_time",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "count_over_time",
    "last_over_time",
    "first_over_time",
    "present_over_time",
    "absent_over_time",
    "stddev_over_time",
    "mad_over_time",
    "ts_of_max_over_time",
    "ts_of_last_over_time",
    "deriv",
];

/// What stands before one operand; parentheses that it leaves open are closed after the operand.
/// Which of equal values are chosen depends on their order, so that only their sum or number is looked at.
const OF_ONE: &[&str] = &[
    "abs",
    "-",
    "+",
    "sgn",
    "absent",
    "timestamp",
    "sum",
    "avg",
    "count",
    "min",
    "max",
    "group",
    "stdvar",
    "sum by (g)",
    "avg by (n)",
    "count without (n)",
    "max by (__name__, g)",
    "histogram_count",
    "histogram_sum",
    "2 *",
    "3 - ",
    "1 < bool ",
    "0 <",
    "vector(scalar",
    "sum(topk by (g)(1, ",
    "sum(bottomk(2, ",
    "quantile(0.4, ",
    "count(limitk(1, ",
    "limit_ratio(-0.6, ",
    "histogram_quantile(0.3, ",
];

/// What stands between two operands.
const BETWEEN: &[&str] = &[
    "+",
    "- on(n, g)",
    "* ignoring(n) group_left()",
    "/ on(g) group_right()",
    "> ",
    "== bool",
    "!= ",
    "and",
    "or",
    "unless",
    "and on(g)",
    "or on(n)",
    "unless ignoring(g)",
    "% on(n) group_left(g)",
    "<= on(g) group_left()",
];

/// A vector that is read, or made of the time.
fn leaf() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just("m".to_owned()),
        1 => Just("c_total".to_owned()),
        1 => Just("h".to_owned()),
        1 => Just("{g=\"0\"}".to_owned()),
        1 => Just("m{n=~\"[12]\"}".to_owned()),
        1 => (0..9u32).prop_map(|minutes| format!("m offset {minutes}m")),
        1 => (0..20u32).prop_map(|minutes| format!("m @ {}", minutes * 60)),
        1 => Just("vector(time() % 600)".to_owned()),
        1 => Just("nothing".to_owned()),
    ]
}

/// Any vector, made of parts that are put together at random.
pub fn expression() -> impl Strategy<Value = String> {
    let (of_range, of_one, between) =
        (prop::sample::select(OF_RANGE), prop::sample::select(OF_ONE), prop::sample::select(BETWEEN));
    leaf().prop_recursive(4, 16, 2, move |inner| {
        prop_oneof![
            (of_one.clone(), inner.clone()).prop_map(|(function, inner)| {
                let open = function.matches('(').count() - function.matches(')').count();
                format!("({function}({inner}){})", ")".repeat(open))
            }),
            (of_range.clone(), inner.clone(), 1..9u32, 0..4u32).prop_map(|(function, inner, range, step)| {
                let plain = !inner.contains([' ', '(']);
                match (step, plain) {
                    (0, true) => format!("{function}({inner}[{range}m])"),
                    (step, _) => format!("{function}(({inner})[{range}m:{}s])", 20 + step * 20),
                }
            }),
            (inner.clone(), between.clone(), inner.clone())
                .prop_map(|(left, between, right)| format!("(({left}) {between} ({right}))")),
            (inner, 0..5u32).prop_map(|(inner, kind)| match kind {
                0 => format!("label_replace({inner}, \"n\", \"$1\", \"g\", \"(.*)\")"),
                1 => format!("label_replace({inner}, \"__name__\", \"new\", \"\", \"\")"),
                2 => format!("label_join({inner}, \"x\", \"-\", \"__name__\", \"n\")"),
                3 => format!("clamp({inner}, -5, 500)"),
                _ => format!("round({inner}, 5)"),
            }),
        ]
    })
}
