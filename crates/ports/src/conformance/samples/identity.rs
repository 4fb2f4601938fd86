//! Series: written once, described anew, kept apart when their ids collide.

use std::sync::Arc;

use futures::future::join_all;
use metricsd_model::{Batch, Layout, Matcher, MetricType, Series};

use crate::Receipt;
use crate::conformance::fixtures::*;

/// Label sets of one id keep their own samples, whichever way they arrive.
pub async fn check_collisions(store: &impl Store) {
    let faked: Vec<Arc<Series>> =
        ["a", "b", "c"].iter().map(|s| series_with_id(0x0c01_11de, "collisions", &[("s", s)])).collect();
    let honest = series("collisions", &[("s", "honest")]);
    let mut time = NOON;
    let mut expected: Vec<Vec<(i64, f64)>> = vec![Vec::new(); 4];
    // The second round goes by what the store has learnt in the first.
    for round in 0..2 {
        // Alone: these layouts have one id although they mean different series.
        for (n, series) in faked.iter().enumerate() {
            for layout in [Layout::shared(vec![series.clone()]), Layout::inline(vec![series.clone()])] {
                time += 1;
                let value = time as f64;
                let batch = batch("collisions", &time.to_string(), vec![frame(&layout, time, &[value])]);
                store.append(&[batch]).await.expect("an append");
                expected[n].push((time, value));
            }
        }
        // Together in one frame, in one batch, in one call, at one timestamp.
        time += 1;
        let columns = vec![faked[2].clone(), honest.clone(), faked[0].clone(), faked[1].clone()];
        let first = Layout::inline(columns.clone());
        let second = Layout::shared(columns.into_iter().rev().collect());
        let frames = vec![
            frame(&first, time, &[2.0, 3.0, 0.0, 1.0]),
            frame(&second, time + 1, &[11.0, 10.0, 13.0, 12.0]),
        ];
        let batch = batch("collisions", &format!("together {round}"), frames);
        store.append(&[batch]).await.expect("an append");
        for (n, samples) in expected.iter_mut().enumerate() {
            samples.extend([(time, n as f64), (time + 1, (10 + n) as f64)]);
        }
        time += 1;
    }
    let series = faked.iter().chain([&honest]).zip(&expected);
    let expected: Vec<Row> = series.map(|(series, samples)| row(series, samples)).collect();
    assert_eq!(all_of(store, "collisions").await, expected, "colliding series are kept apart");
    let known = store.series(&[Matcher::equal("__name__", "collisions")], 10).await.expect("series");
    assert_eq!(known.len(), 4);
}

/// Appends each batch from a task of its own.
async fn at_once(store: &Arc<impl Store>, batches: impl Iterator<Item = Arc<Batch>>) {
    let tasks = batches.map(|batch| {
        let store = store.clone();
        tokio::spawn(async move { store.append(&[batch]).await.expect("an append") })
    });
    for receipts in join_all(tasks).await {
        assert_eq!(receipts.expect("a task"), [Receipt::Stored]);
    }
}

/// Label sets of one id that are new at the same moment.
pub async fn check_concurrent_collision(store: &Arc<impl Store>) {
    let all: Vec<Arc<Series>> = (0..6)
        .map(|n| series_with_id(0x0c01_11df, "concurrent_collision", &[("s", &n.to_string())]))
        .collect();
    let batches = all.iter().enumerate().map(|(n, series)| {
        let frame = frame(&Layout::shared(vec![series.clone()]), NOON, &[n as f64]);
        batch("concurrent-collision", &n.to_string(), vec![frame])
    });
    at_once(store, batches).await;
    let expected: Vec<Row> =
        all.iter().enumerate().map(|(n, series)| row(series, &[(NOON, n as f64)])).collect();
    assert_eq!(all_of(&**store, "concurrent_collision").await, expected);
}

/// Many calls at once bring the same new series, in different orders.
pub async fn check_new_series_at_once(store: &Arc<impl Store>) {
    let all = many_series("new_at_once", 100);
    let batches = (0..8usize).map(|n| {
        let mut columns = all.clone();
        columns.rotate_left(n * 13);
        if n % 2 == 1 {
            columns.reverse();
        }
        let layout = Layout::shared(columns);
        let frame = frame(&layout, NOON + n as i64, &[n as f64; 100]);
        batch("new-at-once", &n.to_string(), vec![frame])
    });
    at_once(store, batches).await;
    let samples: Vec<_> = (0..8).map(|n| (NOON + n, n as f64)).collect();
    let expected: Vec<Row> = all.iter().map(|series| row(series, &samples)).collect();
    assert_eq!(all_of(&**store, "new_at_once").await, expected);
    let known = store.series(&[Matcher::equal("__name__", "new_at_once")], 1_000).await.expect("series");
    assert_eq!(known.len(), 100, "each series is known once");
}

/// Type, help and unit follow the newest word; who brought a series first stays.
pub async fn check_descriptions(store: &impl Store) {
    let first = series("described", &[]);
    let first = Arc::new(Series {
        metric_type: MetricType::Custom,
        source: "first".into(),
        target_id: "target-1".into(),
        ..Series::clone(&first)
    });
    let second = Arc::new(Series {
        metric_type: MetricType::Counter,
        source: "second".into(),
        target_id: "target-2".into(),
        help: Some("What it \"counts\".\nOn two lines.".into()),
        unit: Some("seconds".into()),
        ..Series::clone(&first)
    });
    let third = Arc::new(Series { help: Some("Better said.".into()), ..Series::clone(&second) });
    let append = async |key: &str, series: &Arc<Series>, shared: bool| {
        let columns = vec![series.clone()];
        let layout = if shared { Layout::shared(columns) } else { Layout::inline(columns) };
        let at = NOON + i64::try_from(key.len()).unwrap_or(0);
        store.append(&[batch("described", key, vec![frame(&layout, at, &[1.0])])]).await.expect("an append");
        let mut known = store.series(&[Matcher::equal("__name__", "described")], 10).await.expect("series");
        assert_eq!(known.len(), 1, "a series is described once");
        Series::clone(&known.remove(0))
    };
    let expected =
        |of: &Series| Series { source: "first".into(), target_id: "target-1".into(), ..of.clone() };
    assert_eq!(append("1", &first, true).await, expected(&first));
    assert_eq!(append("22", &second, true).await, expected(&second));
    assert_eq!(append("333", &third, false).await, expected(&third));
    assert_eq!(append("4444", &third, true).await, expected(&third));
    let found = store.select(&selection("described", NOON, NOON + HOUR)).await.expect("a selection");
    assert_eq!((found.len(), found[0].timestamps.len()), (1, 4));
    assert_eq!(found[0].metric_type, MetricType::Counter);
}

/// What a series leaves out does not undo what was said before.
/// Not part of [`super::check_all`]: the store in memory keeps the newest word, be it none.
pub async fn check_absent_descriptions(store: &impl Store) {
    let bare = Series { metric_type: MetricType::Custom, ..Series::clone(&series("undescribed", &[])) };
    let told = |metric_type, help: Option<&str>, unit: Option<&str>| {
        let (help, unit) = (help.map(Into::into), unit.map(Into::into));
        Arc::new(Series { metric_type, help, unit, ..bare.clone() })
    };
    let append = async |key: &str, said: &[Arc<Series>]| {
        let frames = said.iter().zip(NOON..);
        let frames = frames.map(|(s, at)| frame(&Layout::inline(vec![s.clone()]), at, &[1.0])).collect();
        store.append(&[batch("undescribed", key, frames)]).await.expect("an append");
        let known = store.series(&[Matcher::equal("__name__", "undescribed")], 10).await.expect("series");
        let series = known.first().expect("the series");
        (series.metric_type, series.help.clone(), series.unit.clone())
    };
    use MetricType::{Counter, Custom, Gauge};
    let is = |metric_type, help: &str, unit: &str| (metric_type, Some(help.into()), Some(unit.into()));
    let first = append("1", &[told(Counter, Some("Requests."), Some("bytes"))]).await;
    assert_eq!(first, is(Counter, "Requests.", "bytes"));
    let absent = append("2", &[told(Custom, None, None)]).await;
    assert_eq!(absent, is(Counter, "Requests.", "bytes"), "nothing said, nothing changed");
    assert_eq!(append("3", &[told(Gauge, None, None)]).await, is(Gauge, "Requests.", "bytes"));
    assert_eq!(append("4", &[told(Gauge, Some("Better."), None)]).await, is(Gauge, "Better.", "bytes"));
    let several = [
        told(Counter, Some("Best."), None),
        told(Custom, None, None),
        told(Gauge, None, Some("seconds")),
        told(Counter, None, None),
    ];
    assert_eq!(append("5", &several).await, is(Counter, "Best.", "seconds"), "several in one call");
}
