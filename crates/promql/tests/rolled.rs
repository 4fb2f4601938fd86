//! Values that were rolled up say what samples say.

#[path = "properties/data.rs"]
mod data;
mod script;

use std::sync::Arc;
use std::time::Duration;

use data::{Loaded, counters, gauges, histograms};
use metricsd_model::Millis;
use metricsd_ports::memory::MemoryStore;
use metricsd_promql::{Engine, EngineOptions, QueryEngine, QueryOptions, QueryValue};
use proptest::prelude::*;
use script::eval::data_of;
use script::parse::{Steps, When};
use script::{compare, load};

const MINUTES: Millis = 300_000;

/// Questions that spans can answer, wholly or in parts, and some that they cannot.
const EXPRESSIONS: &[&str] = &[
    "m",
    "sum by (g) (m)",
    "m offset 5m",
    "m @ 600",
    "timestamp(m)",
    "m > 0 or c_total",
    "min_over_time(m[5m])",
    "max_over_time(m[10m])",
    "sum_over_time(m[10m])",
    "count_over_time({__name__=~\"m|h|c_total\"}[15m])",
    "avg_over_time(m[10m] offset 5m)",
    "avg_over_time({__name__=~\".+\"}[10m])",
    "last_over_time({__name__=~\"m|h\"}[20m])",
    "present_over_time(m[5m])",
    "absent_over_time(m[5m])",
    "rate(c_total[10m])",
    "quantile_over_time(0.5, m[10m])",
    "max_over_time(m[7m])",
    "sum(max_over_time(m[10m])) - sum(min_over_time((m[10m])))",
    "max_over_time(sum_over_time(m[5m])[15m:5m])",
    "max_over_time(m[10m:1m])",
    "sum_over_time(h[10m])",
    "m[10m]",
];

fn engine(store: Arc<MemoryStore>, rollups: bool) -> Engine {
    Engine::new(store, EngineOptions { rollups, experimental: true, ..EngineOptions::default() })
}

async fn ask(engine: &Engine, expr: &str, when: When) -> Option<QueryValue> {
    match when {
        When::Instant(at) => engine.instant(expr, at, QueryOptions::default()).await.ok(),
        When::Range(Steps { start, end, step }) => {
            let step = Duration::from_millis(step.unsigned_abs());
            engine.range(expr, start, end, step, QueryOptions::default()).await.ok()
        }
    }
}

async fn check(all: &[Loaded]) -> Result<(), String> {
    let store = Arc::new(MemoryStore::new());
    load::append(&store, all, 0).await?;
    let (samples, spans) = (engine(store.clone(), false), engine(store, true));
    let moments = [
        When::Instant(2 * MINUTES),
        When::Instant(MINUTES + 1),
        When::Range(Steps { start: 0, end: 9 * MINUTES, step: MINUTES }),
        When::Range(Steps { start: MINUTES, end: 9 * MINUTES, step: 2 * MINUTES }),
        When::Range(Steps { start: MINUTES, end: 9 * MINUTES, step: 60_000 }),
    ];
    for (expr, when) in EXPRESSIONS.iter().flat_map(|expr| moments.map(|when| (expr, when))) {
        let told = format!("{expr} {when:?}");
        match (ask(&samples, expr, when).await, ask(&spans, expr, when).await) {
            (None, None) => {}
            (Some(one), Some(other)) => {
                let (one, other) = (data_of(&one, when)?, data_of(&other, when)?);
                let (one, other) = (series(one), series(other));
                compare::series(&compare::as_expected(&one), &other, false)
                    .map_err(|error| format!("{told}: {error}"))?;
            }
            (one, other) => return Err(format!("{told}: {one:?} is not {other:?}")),
        }
    }
    Ok(())
}

fn series(data: script::eval::Data) -> Vec<script::eval::Series> {
    match data {
        script::eval::Data::Series(series) | script::eval::Data::Range(series) => series,
        _ => Vec::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn spans_say_what_samples_say(
        gauges in gauges(), counters in counters(), histograms in histograms(),
    ) {
        let all: Vec<Loaded> = gauges.into_iter().chain(counters).chain(histograms).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(check(&all)).map_err(TestCaseError::fail)?;
    }
}

/// The question reaches the store as one for spans: fewer values are read.
#[tokio::test]
async fn fewer_values_are_read() {
    let store = Arc::new(MemoryStore::new());
    let labels = metricsd_model::LabelSet::new([("__name__", "m")]).unwrap();
    let slots = (0..240).map(|n| (n * 15_000, script::series::Slot::Float(n as f64))).collect();
    load::append(&store, &[(labels, slots)], 0).await.unwrap();
    let when = When::Range(Steps { start: 0, end: 12 * MINUTES, step: MINUTES });
    let read = async |rollups, expr| {
        let value = ask(&engine(store.clone(), rollups), expr, when).await.unwrap();
        value.stats.samples
    };
    assert_eq!(read(false, "max_over_time(m[10m])").await, 240);
    assert_eq!(read(true, "max_over_time(m[10m])").await, 13);
    assert_eq!(read(true, "m").await, 13);
    assert_eq!(read(true, "rate(m[10m])").await, 240);
}
