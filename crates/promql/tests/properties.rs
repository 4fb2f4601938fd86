//! What holds of the engine whatever the data.

mod script;

use std::sync::Arc;

use metricsd_model::{LabelSet, Millis, NativeHistogram, Span};
use metricsd_ports::memory::MemoryStore;
use metricsd_promql::{Engine, ParseOptions, parse};
use proptest::prelude::*;
use script::eval::{Data, Series, data_of, evaluate};
use script::parse::{Steps, When};
use script::series::Slot;
use script::{compare, load, run};

const MINUTE: Millis = 60_000;

/// A series: its labels and its samples, ascending in time.
type Loaded = (LabelSet, Vec<(Millis, Slot)>);

/// What a sample may be: small whole numbers, so that sums do not depend on their order; NaN, markers and gaps.
fn slot() -> impl Strategy<Value = Slot> {
    prop_oneof![
        12 => (-1000..1000i32).prop_map(|value| Slot::Float(f64::from(value))),
        1 => Just(Slot::Float(f64::NAN)),
        1 => Just(Slot::Stale),
        4 => Just(Slot::Missing),
    ]
}

/// A counter: grows by whole numbers, starts again now and then, has gaps and markers.
fn counter() -> impl Strategy<Value = Vec<Slot>> {
    prop::collection::vec((0..20u32, 0..12u32), 2..40).prop_map(|steps| {
        let mut value = 0.0;
        let of = |(growth, kind): (u32, u32)| {
            value = if kind == 0 { f64::from(growth) } else { value + f64::from(growth) };
            match kind {
                1 => Slot::Missing,
                2 => Slot::Stale,
                _ => Slot::Float(value),
            }
        };
        steps.into_iter().map(of).collect()
    })
}

/// Samples at irregular distances between a millisecond and two minutes.
fn at_times(slots: Vec<Slot>, distances: &[Millis]) -> Vec<(Millis, Slot)> {
    let mut at = 0;
    let mut next = |(index, slot): (usize, Slot)| {
        at += distances[index % distances.len()];
        (at, slot)
    };
    slots.into_iter().enumerate().map(&mut next).collect()
}

fn distances() -> impl Strategy<Value = Vec<Millis>> {
    prop::collection::vec(prop_oneof![Just(15_000), Just(MINUTE), 1..2 * MINUTE], 1..10)
}

/// Up to eight series of one metric, in two groups.
fn gauges() -> impl Strategy<Value = Vec<Loaded>> {
    prop::collection::vec((prop::collection::vec(slot(), 1..30), distances()), 1..8).prop_map(|all| {
        let of = |(index, (slots, distances)): (usize, (Vec<Slot>, Vec<Millis>))| {
            (labels("m", index), at_times(slots, &distances))
        };
        all.into_iter().enumerate().map(of).collect()
    })
}

fn counters() -> impl Strategy<Value = Vec<Loaded>> {
    prop::collection::vec((counter(), distances()), 1..4).prop_map(|all| {
        let of = |(index, (slots, distances)): (usize, (Vec<Slot>, Vec<Millis>))| {
            (labels("c_total", index), at_times(slots, &distances))
        };
        all.into_iter().enumerate().map(of).collect()
    })
}

fn labels(name: &str, index: usize) -> LabelSet {
    let (n, g) = (index.to_string(), (index % 2).to_string());
    LabelSet::new([("__name__", name), ("n", &n), ("g", &g)]).unwrap()
}

/// Native histograms that grow and start again, of two resolutions, with gaps, markers and floats between them.
fn histograms() -> impl Strategy<Value = Vec<Loaded>> {
    let one = prop::collection::vec((prop::collection::vec(0..9u32, 3), 0..14u32), 2..30);
    prop::collection::vec((one, distances()), 1..4).prop_map(|all| {
        let of = |(index, (steps, distances)): (usize, (Vec<Growth>, Vec<Millis>))| {
            let mut counts = vec![0.0; 3];
            let slots = steps.iter().map(|(growth, kind)| histogram(&mut counts, growth, *kind)).collect();
            (labels("h", index), at_times(slots, &distances))
        };
        all.into_iter().enumerate().map(of).collect()
    })
}

/// By how much each bucket grew, and what kind of sample came of it.
type Growth = (Vec<u32>, u32);

fn histogram(counts: &mut [f64], growth: &[u32], kind: u32) -> Slot {
    for (count, growth) in counts.iter_mut().zip(growth) {
        *count = if kind == 0 { 0.0 } else { *count } + f64::from(*growth);
    }
    let count = counts.iter().sum();
    match kind {
        1 => Slot::Missing,
        2 => Slot::Stale,
        3 => Slot::Float(count),
        _ => {
            let histogram = NativeHistogram {
                schema: i32::from(kind == 4),
                count,
                sum: 2.0 * count,
                positive_spans: vec![Span { offset: 1, length: 3 }],
                positive_buckets: counts.to_vec(),
                ..NativeHistogram::default()
            };
            Slot::Histogram(Box::new(histogram), false)
        }
    }
}

/// Expressions over `h`.
const OF_HISTOGRAMS: &[&str] = &[
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
const EXPRESSIONS: &[&str] = &[
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

async fn engine(series: &[Loaded]) -> Engine {
    let store = Arc::new(MemoryStore::new());
    load::append(&store, series, 0).await.unwrap();
    run::engine(store)
}

/// What an expression says; a failure by its text.
async fn answer(engine: &Engine, expr: &str, when: When) -> Result<Vec<Series>, String> {
    let value = evaluate(engine, expr, when).await.map_err(|error| error.to_string())?;
    match data_of(&value, when).map_err(|error| format!("{expr} {when:?}: {error}"))? {
        Data::Series(series) | Data::Range(series) => Ok(series),
        Data::Scalar(value) => {
            let When::Instant(at) = when else { unreachable!("a range is always a matrix") };
            let value = metricsd_promql::PointValue::Float(value);
            Ok(vec![(LabelSet::default(), [(at, value)].into())])
        }
        Data::Text(text) => Err(text),
    }
}

fn same(one: &Result<Vec<Series>, String>, other: &Result<Vec<Series>, String>) -> Result<(), String> {
    match (one, other) {
        (Ok(one), Ok(other)) => compare::series(&compare::as_expected(one), other, false),
        (one, other) => Err(format!("{one:?} is not {other:?}")),
    }
}

fn block_on(future: impl Future<Output = Result<(), TestCaseError>>) -> Result<(), TestCaseError> {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

const RANGE: Steps = Steps { start: 30_000, end: 25 * MINUTE, step: 70_000 };

fn steps() -> impl Iterator<Item = Millis> {
    (0..).map(|index| RANGE.at(index)).take_while(|at| *at <= RANGE.end)
}

/// What of a range lies at one step.
fn at(series: &[Series], moment: Millis) -> Vec<Series> {
    let point = |(labels, points): &Series| {
        points.get(&moment).map(|value| (labels.clone(), [(moment, value.clone())].into()))
    };
    series.iter().filter_map(point).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_instant_is_a_point_of_a_range(gauges in gauges(), counters in counters()) {
        let all: Vec<Loaded> = gauges.into_iter().chain(counters).collect();
        check_instants(&all, EXPRESSIONS)?;
    }

    #[test]
    fn any_expression_says_the_same_at_once_and_step_by_step(
        gauges in gauges(),
        counters in counters(),
        histograms in histograms(),
        expressions in prop::collection::vec(expression(), 40),
    ) {
        let all: Vec<Loaded> = gauges.into_iter().chain(counters).chain(histograms).collect();
        block_on(async {
            let engine = engine(&all).await;
            for expr in &expressions {
                check_any(&engine, expr)
                    .await
                    .map_err(|error| TestCaseError::fail(format!("{expr}: {error}")))?;
            }
            Ok(())
        })?;
    }

    #[test]
    fn an_instant_of_histograms_is_a_point_of_a_range(histograms in histograms()) {
        check_instants(&histograms, OF_HISTOGRAMS)?;
    }

    #[test]
    fn the_order_of_series_and_batches_does_not_matter(
        gauges in gauges(), counters in counters(), keys in prop::collection::vec(any::<u64>(), 16),
    ) {
        let all: Vec<Loaded> = gauges.into_iter().chain(counters).collect();
        let mut shuffled: Vec<(u64, &Loaded)> = keys.iter().copied().zip(&all).collect();
        shuffled.sort_by_key(|(key, _)| *key);
        block_on(async {
            let store = Arc::new(MemoryStore::new());
            for (index, (_, series)) in shuffled.iter().enumerate() {
                let (early, late): (Vec<_>, Vec<_>) =
                    series.1.iter().cloned().partition(|(at, _)| at / MINUTE % 2 == 0);
                load::append(&store, &[(series.0.clone(), late)], 2 * index).await.unwrap();
                load::append(&store, &[(series.0.clone(), early)], 2 * index + 1).await.unwrap();
            }
            let (one, other) = (engine(&all).await, run::engine(store));
            for expr in EXPRESSIONS {
                let when = When::Range(RANGE);
                same(&answer(&one, expr, when).await, &answer(&other, expr, when).await)
                    .map_err(|error| TestCaseError::fail(format!("{expr}: {error}")))?;
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_printed_query_says_the_same(gauges in gauges(), counters in counters()) {
        let all: Vec<Loaded> = gauges.into_iter().chain(counters).collect();
        block_on(async {
            let engine = engine(&all).await;
            for expr in EXPRESSIONS {
                let tree = parse(expr, ParseOptions { experimental: true }).unwrap();
                let pretty = metricsd_promql::syntax::pretty(&tree);
                for printed in [tree.to_string(), pretty] {
                    let when = When::Range(RANGE);
                    same(&answer(&engine, expr, when).await, &answer(&engine, &printed, when).await)
                        .map_err(|error| TestCaseError::fail(format!("{expr} as {printed}: {error}")))?;
                }
            }
            Ok(())
        })?;
    }

    /// The whole is the sum of its parts; of counts and extremes too.
    #[test]
    fn groups_add_up(gauges in gauges()) {
        let pairs = [
            ("sum(m)", "sum(sum by (g) (m))"),
            ("sum(m)", "sum(m{g=\"0\"}) + sum(m{g=\"1\"}) or sum(m{g=\"0\"}) or sum(m{g=\"1\"})"),
            ("sum by (g) (m)", "sum without (n) (m)"),
            ("count(m)", "sum(count by (n) (m))"),
            ("max(m)", "max(max by (g) (m))"),
            ("min(m)", "min(min by (g) (m))"),
            ("avg by (g) (m)", "sum by (g) (m) / count by (g) (m)"),
            ("group(m)", "count(m) > bool 0"),
            ("stdvar(m)", "stddev(m) ^ 2"),
            ("max(m)", "quantile(1, m)"),
            ("sum(count_values(\"v\", m))", "count(m)"),
            ("limit_ratio(0.3, m) or limit_ratio(-0.7, m)", "m"),
            ("m unless (m and m > 0)", "m unless m > 0"),
            ("m or m", "m"),
        ];
        check_pairs(&gauges, &pairs)?;
    }

    /// Windows that follow each other hold, together, what one window over all of them holds.
    #[test]
    fn windows_add_up(gauges in gauges(), counters in counters()) {
        let pairs = [
            ("sum_over_time(m[6m])", "sum by (n, g) (sum_over_time(m[6m]))"),
            (
                "count_over_time(m[6m])",
                "sum by (n, g) (label_replace(count_over_time(m[2m]), \"w\", \"1\", \"\", \"\") or \
                 label_replace(count_over_time(m[4m] offset 2m), \"w\", \"2\", \"\", \"\"))",
            ),
            (
                "max_over_time(m[6m])",
                "max by (n, g) (label_replace(max_over_time(m[1m]), \"w\", \"1\", \"\", \"\") or \
                 label_replace(max_over_time(m[5m] offset 1m), \"w\", \"2\", \"\", \"\"))",
            ),
            ("rate(c_total[4m])", "increase(c_total[4m]) / 240"),
            ("irate(c_total[4m]) >= 0", "irate(c_total[4m])"),
            ("avg_over_time(m[5m])", "sum_over_time(m[5m]) / count_over_time(m[5m])"),
            ("stddev_over_time(m[5m]) ^ 2", "stdvar_over_time(m[5m])"),
            ("max_over_time(m[5m])", "quantile_over_time(1, m[5m])"),
            ("m", "m offset 0s"),
            ("present_over_time(m[5m])", "count_over_time(m[5m]) > bool 0"),
            ("absent_over_time(m[2m])", "absent(count_over_time(m[2m]))"),
        ];
        let all: Vec<Loaded> = gauges.into_iter().chain(counters).collect();
        check_pairs(&all, &pairs)?;
    }

    /// Without resets, what a counter grew by is the sum of what it grew by between each two samples; its rate does not
    /// depend on how the samples came into the store, nor on samples that lie outside of the window.
    #[test]
    fn growth_is_that_of_the_samples_inside(counters in counters(), window in 2..10i64) {
        let range = window * MINUTE;
        block_on(async {
            let whole = engine(&counters).await;
            for moment in steps() {
                let inside = |samples: &[(Millis, Slot)]| {
                    samples.iter().filter(|(at, _)| (moment - range < *at) && *at <= moment).cloned().collect()
                };
                let cut: Vec<Loaded> =
                    counters.iter().map(|(labels, samples)| (labels.clone(), inside(samples))).collect();
                let part = engine(&cut).await;
                for function in ["rate", "increase", "irate", "resets", "changes", "sum_over_time"] {
                    let expr = format!("{function}(c_total[{window}m])");
                    let when = When::Instant(moment);
                    same(&answer(&whole, &expr, when).await, &answer(&part, &expr, when).await)
                        .map_err(|error| TestCaseError::fail(format!("{expr} at {moment}: {error}")))?;
                }
            }
            Ok(())
        })?;
    }
}

/// Any vector, made of parts that are put together at random.
fn expression() -> impl Strategy<Value = String> {
    let selector = prop_oneof![
        3 => Just("m".to_owned()),
        1 => Just("c_total".to_owned()),
        1 => Just("h".to_owned()),
        1 => Just("{g=\"0\"}".to_owned()),
        1 => Just("m{n=~\"[12]\"}".to_owned()),
        1 => (0..9u32).prop_map(|minutes| format!("m offset {minutes}m")),
        1 => (0..20u32).prop_map(|minutes| format!("m @ {}", minutes * 60)),
        1 => Just("vector(time() % 600)".to_owned()),
        1 => Just("nothing".to_owned()),
    ];
    let of_range = prop::sample::select(vec![
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
    ]);
    let of_one = prop::sample::select(vec![
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
        "topk by (g)(1, ",
        "bottomk(2, ",
        "quantile(0.4, ",
        "limitk(1, ",
        "limit_ratio(-0.6, ",
        "histogram_quantile(0.3, ",
    ]);
    let between = prop::sample::select(vec![
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
    ]);
    selector.prop_recursive(4, 16, 2, move |inner| {
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

/// A range fails where any of its steps does, and else says what they say.
async fn check_any(engine: &Engine, expr: &str) -> Result<(), String> {
    let range = answer(engine, expr, When::Range(RANGE)).await;
    let mut failed = None;
    for moment in steps() {
        let instant = answer(engine, expr, When::Instant(moment)).await;
        match (&range, &instant) {
            (Ok(range), _) => {
                same(&instant, &Ok(at(range, moment))).map_err(|error| format!("at {moment}: {error}"))?
            }
            (Err(_), Err(error)) => failed = Some(error.clone()),
            (Err(_), Ok(_)) => {}
        }
    }
    match (range, failed) {
        (Err(error), None) => Err(format!("only as a range: {error}")),
        _ => Ok(()),
    }
}

fn check_instants(series: &[Loaded], expressions: &[&str]) -> Result<(), TestCaseError> {
    block_on(async {
        let engine = engine(series).await;
        for expr in expressions {
            let range = answer(&engine, expr, When::Range(RANGE)).await;
            let range = range.map_err(|error| TestCaseError::fail(format!("{expr}: {error}")))?;
            for moment in steps() {
                let instant = answer(&engine, expr, When::Instant(moment)).await;
                same(&instant, &Ok(at(&range, moment)))
                    .map_err(|error| TestCaseError::fail(format!("{expr} at {moment}: {error}")))?;
            }
        }
        Ok(())
    })
}

fn check_pairs(series: &[Loaded], pairs: &[(&str, &str)]) -> Result<(), TestCaseError> {
    block_on(async {
        let engine = engine(series).await;
        for (one, other) in pairs {
            let when = When::Range(RANGE);
            same(&answer(&engine, one, when).await, &answer(&engine, other, when).await)
                .map_err(|error| TestCaseError::fail(format!("{one} and {other}: {error}")))?;
        }
        Ok(())
    })
}
