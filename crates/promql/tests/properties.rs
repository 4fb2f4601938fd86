//! What holds of the engine whatever the data.

#[path = "properties/data.rs"]
mod data;
#[path = "properties/expressions.rs"]
mod expressions;
mod script;

use std::sync::Arc;

use data::{Loaded, counters, gauges, histograms};
use expressions::{EXPRESSIONS, OF_HISTOGRAMS, expression};
use metricsd_model::{LabelSet, Millis};
use metricsd_ports::memory::MemoryStore;
use metricsd_promql::{Engine, ParseOptions, parse};
use proptest::prelude::*;
use script::eval::{Data, Series, data_of, evaluate};
use script::parse::{Steps, When};
use script::series::Slot;
use script::{compare, load, run};

const MINUTE: Millis = 60_000;

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
