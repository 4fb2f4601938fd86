//! Choosing series and ranges, limits, order, and the latest metrics of a target.

use std::sync::Arc;

use metricsd_model::{Layout, MetricType, SampleValue, Series, stale_marker};

use crate::conformance::fixtures::*;
use crate::{ErrorKind, SampleSource, SelectLimits};

async fn append(store: &impl Store, target_id: &str, columns: &[(Arc<Series>, f64)]) {
    let layout = Layout::shared(columns.iter().map(|(series, _)| series.clone()).collect());
    let values: Vec<f64> = columns.iter().map(|(_, value)| *value).collect();
    store.append(&[batch(target_id, "1", vec![frame(&layout, NOON, &values)])]).await.expect("an append");
}

/// Stores what the checks of matchers look for; the value of each is its place in the list.
async fn append_matched(store: &impl Store) -> Vec<Arc<Series>> {
    let own: [(&str, &[(&str, &str)]); 6] = [
        ("matched_a", &[]),
        ("matched_a", &[("env", "dev"), ("zone", "1")]),
        ("matched_a", &[("env", "prod"), ("zone", "1")]),
        ("matched_b", &[("env", "prod"), ("zone", "2")]),
        ("matched_B", &[("env", "Prod")]),
        ("matched_a_total", &[("env", "a.c")]),
    ];
    let all: Vec<Arc<Series>> =
        own.iter().map(|(name, pairs)| series(name, &[&[("check", "matchers")], *pairs].concat())).collect();
    let columns = all.iter().enumerate().map(|(n, series)| (series.clone(), n as f64));
    append(store, "matchers", &columns.collect::<Vec<_>>()).await;
    all
}

/// Whether matchers find these of the list, by their samples and by their labels.
async fn check_found(
    store: &impl Store,
    all: &[Arc<Series>],
    matchers: &[(&str, &str, &str)],
    expected: &[usize],
) {
    let matchers: Vec<_> = matchers.iter().map(|(name, op, value)| matcher(name, op, value)).collect();
    let mut wanted = selection("", NOON, NOON);
    wanted.matchers = matchers.clone();
    let found = store.select(&wanted).await.expect("a selection");
    let mut numbers: Vec<usize> = found.iter().map(|series| series.values[0] as usize).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, expected, "samples for {matchers:?}");
    let known = store.series(&matchers, 100).await.expect("series");
    let mut known: Vec<_> = known.iter().map(|series| series.labels.clone()).collect();
    let mut labels: Vec<_> = expected.iter().map(|n| all[*n].labels.clone()).collect();
    known.sort();
    labels.sort();
    assert_eq!(known, labels, "series for {matchers:?}");
}

/// All four operators on the metric name.
pub async fn check_names(store: &impl Store) {
    let all = append_matched(store).await;
    let check = async |matchers: &[_], expected: &[usize]| check_found(store, &all, matchers, expected).await;
    check(&[("__name__", "=", "matched_a")], &[0, 1, 2]).await;
    check(&[("__name__", "=~", "matched_(a|b)")], &[0, 1, 2, 3]).await;
    check(&[("__name__", "=~", "matched")], &[]).await;
    check(&[("__name__", "=~", "matched_.*")], &[0, 1, 2, 3, 4, 5]).await;
    let excluded =
        [("__name__", "=~", "matched_.*"), ("__name__", "!~", ".*_total"), ("__name__", "!=", "matched_a")];
    check(&excluded, &[3, 4]).await;
    check(&[("__name__", "=", "matched_a"), ("env", "=", "")], &[0]).await;
    check(&[("__name__", "=", "matched_a"), ("env", "!=", "dev")], &[0, 2]).await;
    check(&[("__name__", "=", "absent")], &[]).await;
}

/// All four operators on other labels, with and without the empty value, without a metric name.
pub async fn check_matchers(store: &impl Store) {
    let all = append_matched(store).await;
    let check = async |matchers: &[_], expected: &[usize]| check_found(store, &all, matchers, expected).await;
    let ours = ("check", "=", "matchers");
    check(&[ours], &[0, 1, 2, 3, 4, 5]).await;
    check(&[ours, ("env", "=", "prod")], &[2, 3]).await;
    check(&[ours, ("env", "=", "")], &[0]).await;
    check(&[ours, ("env", "!=", "")], &[1, 2, 3, 4, 5]).await;
    check(&[ours, ("env", "!=", "prod")], &[0, 1, 4, 5]).await;
    check(&[ours, ("env", "=~", "prod|dev")], &[1, 2, 3]).await;
    check(&[ours, ("env", "=~", "|dev")], &[0, 1]).await;
    check(&[ours, ("env", "=~", ".*")], &[0, 1, 2, 3, 4, 5]).await;
    check(&[ours, ("env", "=~", ".+")], &[1, 2, 3, 4, 5]).await;
    check(&[ours, ("env", "!~", "")], &[1, 2, 3, 4, 5]).await;
    check(&[ours, ("env", "!~", "prod|")], &[1, 4, 5]).await;
    check(&[ours, ("env", "=", "a.c")], &[5]).await;
    check(&[ours, ("env", "=~", "(?i)PROD")], &[2, 3, 4]).await;
    check(&[ours, ("zone", "=", "1"), ("env", "=", "prod")], &[2]).await;
    check(&[ours, ("zone", "=", "1"), ("zone", "=", "2")], &[]).await;
    check(&[ours, ("absent", "=", "")], &[0, 1, 2, 3, 4, 5]).await;
    check(&[ours, ("absent", "=", "x")], &[]).await;
    check(&[("zone", "=~", "1|2"), ours], &[1, 2, 3]).await;
}

/// Both ends belong to the range; series without samples in it are left out.
pub async fn check_range(store: &impl Store) {
    let (a, b) = (series("ranges", &[("s", "a")]), series("ranges", &[("s", "b")]));
    let layout = Layout::inline(vec![a.clone(), a.clone(), a.clone(), b.clone()]);
    let samples = [(NOON + 10, 1.0), (NOON + 20, 2.0), (NOON + 30, 3.0), (NOON + 30, 4.0)];
    store.append(&[batch("ranges", "1", vec![frame_at(&layout, &samples)])]).await.expect("an append");
    let check = async |start: i64, end: i64, expected: &[Row]| {
        let found = store.select(&selection("ranges", NOON + start, NOON + end)).await.expect("a selection");
        assert_eq!(rows(&found), expected, "from {start} to {end}");
    };
    check(10, 20, &[row(&a, &samples[..2])]).await;
    check(11, 20, &[row(&a, &samples[1..2])]).await;
    check(11, 19, &[]).await;
    check(20, 20, &[row(&a, &samples[1..2])]).await;
    check(30, 10, &[]).await;
    check(-50, 9, &[]).await;
    check(31, 500, &[]).await;
    check(21, 30, &[row(&a, &samples[2..3]), row(&b, &samples[3..])]).await;
    let all = store.select(&selection("ranges", i64::MIN, i64::MAX)).await.expect("a selection of all time");
    assert_eq!(rows(&all), [row(&a, &samples[..3]), row(&b, &samples[3..])]);
}

/// Samples at and around the boundaries of hours, in frames that fill an hour.
pub async fn check_hours(store: &impl Store) {
    let a = series("hours", &[]);
    let shared = Layout::shared(vec![a.clone()]);
    let whole = Layout::inline(vec![a.clone(), a.clone(), a.clone()]);
    let hour = [(NOON, 1.0), (NOON + 1, 2.0), (NOON + HOUR - 1, 3.0)];
    let before = [(NOON - HOUR, -1.0), (NOON - HOUR / 2, -2.0), (NOON - 1, -3.0)];
    let frames =
        vec![frame_at(&whole, &hour), frame_at(&whole, &before), frame(&shared, NOON + HOUR, &[4.0])];
    store.append(&[batch("hours", "1", frames)]).await.expect("an append");
    let all: Vec<_> = before.into_iter().chain(hour).chain([(NOON + HOUR, 4.0)]).collect();
    let edges = [-HOUR, -HOUR + 1, -1, 0, 1, 2, HOUR - 1, HOUR, HOUR + 1];
    for start in edges {
        for end in edges {
            let (start, end) = (NOON + start, NOON + end);
            let inside: Vec<_> = all.iter().copied().filter(|(at, _)| (start..=end).contains(at)).collect();
            let expected = if inside.is_empty() { Vec::new() } else { vec![row(&a, &inside)] };
            let found = store.select(&selection("hours", start, end)).await.expect("a selection");
            assert_eq!(rows(&found), expected, "from {} to {}", start - NOON, end - NOON);
        }
    }
}

/// Times near the epoch, before it, and a thousand years ahead: stored, found and in order.
pub async fn check_far_times(store: &impl Store) {
    const YEAR_3000: i64 = 32_503_680_000_000;
    let (a, b) = (series("far_times", &[("s", "a")]), series("far_times", &[("s", "b")]));
    let shared = Layout::shared(vec![a.clone(), b.clone()]);
    let inline = Layout::inline(vec![b.clone(), a.clone()]);
    let times = [
        0,
        60_000,
        -1,
        HOUR,
        -HOUR,
        3 * HOUR + 7,
        -400 * 24 * HOUR - 13,
        YEAR_3000,
        YEAR_3000 - HOUR,
        15_000,
    ];
    for (n, at) in times.into_iter().enumerate() {
        let layout = if n % 2 == 0 { &shared } else { &inline };
        let frames = vec![frame(layout, at, &[at as f64, at as f64])];
        store.append(&[batch("far-times", &n.to_string(), frames)]).await.expect("an append");
    }
    let spread = frame_at(&shared, &[(-HOUR + 1, 1.5), (-2, 2.5)]);
    store.append(&[batch("far-times", "spread", vec![spread])]).await.expect("an append");
    let mut sorted: Vec<_> = times.into_iter().map(|at| (at, at as f64)).collect();
    let mut of_a: Vec<_> = sorted.iter().copied().chain([(-HOUR + 1, 1.5)]).collect();
    sorted.push((-2, 2.5));
    sorted.sort_by_key(|(at, _)| *at);
    of_a.sort_by_key(|(at, _)| *at);
    let ends = [i64::MIN, -HOUR, -HOUR + 1, -1, 0, 60_000, 4 * HOUR, NOON, YEAR_3000, i64::MAX];
    for start in ends {
        for end in ends.into_iter().filter(|end| *end >= start) {
            let inside = |all: &[(i64, f64)]| -> Vec<(i64, f64)> {
                all.iter().copied().filter(|(at, _)| (start..=end).contains(at)).collect()
            };
            let expected = [(&a, inside(&of_a)), (&b, inside(&sorted))];
            let expected = expected.iter().filter(|(_, samples)| !samples.is_empty());
            let expected: Vec<Row> = expected.map(|(series, samples)| row(series, samples)).collect();
            let found = store.select(&selection("far_times", start, end)).await.expect("a selection");
            assert_eq!(rows(&found), expected, "from {start} to {end}");
        }
    }
}

/// A selection at a limit passes, one past it is an error that names the limit.
pub async fn check_limits(store: &impl Store) {
    let all = many_series("limited", 5);
    let layout = Layout::shared(all);
    let frames = vec![frame(&layout, NOON, &[1.0; 5]), frame(&layout, NOON + 1, &[1.0; 5])];
    store.append(&[batch("limits", "1", frames)]).await.expect("an append");
    let select = async |max_series, max_samples, end| {
        let mut wanted = selection("limited", NOON, end);
        wanted.limits = SelectLimits { max_series, max_samples };
        store.select(&wanted).await
    };
    assert_eq!(select(5, 10, NOON + 1).await.expect("at both limits").len(), 5);
    assert_eq!(select(5, 5, NOON).await.expect("what is out of range does not count").len(), 5);
    for (max_series, max_samples, word, value) in [(4, 10, "series", "4"), (5, 9, "samples", "9")] {
        let error = select(max_series, max_samples, NOON + 1).await.expect_err("past a limit");
        assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
        let message = error.to_string();
        assert!(message.contains(word) && message.contains(value), "{message:?} names the limit");
    }
}

/// Series come ordered by labels, however they were written.
pub async fn check_order(store: &impl Store) {
    let mut all: Vec<Arc<Series>> = ["b", "B", "a", "ab", "a-b", "é", "z", "10", "9", "_"]
        .iter()
        .flat_map(|s| {
            [series("ordered_x", &[("order", s)]), series("ordered_y", &[("a", s), ("order", "1")])]
        })
        .collect();
    let columns: Vec<_> = all.iter().cloned().map(|series| (series, 1.0)).collect();
    append(store, "order", &columns).await;
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    let expected: Vec<String> = all.iter().map(|series| series.labels.to_string()).collect();
    let mut wanted = selection("", NOON, NOON);
    wanted.matchers = vec![matcher("__name__", "=~", "ordered_.")];
    let found = store.select(&wanted).await.expect("a selection");
    assert_eq!(found.iter().map(|series| series.labels.to_string()).collect::<Vec<_>>(), expected);
    let known = store.series(&wanted.matchers, 100).await.expect("series");
    assert_eq!(known.iter().map(|series| series.labels.to_string()).collect::<Vec<_>>(), expected);
}

/// Series are found whatever their samples' time, at most as many as asked for.
pub async fn check_series(store: &impl Store) {
    let all = many_series("listed", 10);
    let described = Arc::new(Series {
        metric_type: MetricType::Histogram,
        help: Some("Help.".into()),
        unit: Some("bytes".into()),
        target_id: "listed-target".into(),
        ..Series::clone(&series("listed_too", &[("le", "+Inf")]))
    });
    let mut columns: Vec<_> = all.iter().cloned().map(|series| (series, 1.0)).collect();
    columns.push((described.clone(), 1.0));
    append(store, "series", &columns).await;
    let named = [matcher("__name__", "=", "listed")];
    assert_eq!(store.series(&named, 100).await.expect("series"), all);
    assert_eq!(store.series(&named, 10).await.expect("series"), all);
    let few = store.series(&named, 3).await.expect("series");
    assert_eq!(few.len(), 3, "at most as many as asked for");
    assert!(few.iter().all(|series| all.contains(series)));
    assert_eq!(
        store.series(&[matcher("__name__", "=", "listed_too")], 5).await.expect("series"),
        [described]
    );
}

async fn latest(source: &impl SampleSource, target_id: &str, since: i64) -> Vec<(String, i64, SampleValue)> {
    let latest = source.latest(target_id, since).await.expect("latest metrics");
    latest.into_iter().map(|m| (m.series.labels.to_string(), m.sample.timestamp, m.sample.value)).collect()
}

/// The newest collection of a target, without what ended in it.
pub async fn check_latest(store: &impl Store) {
    let a = Arc::new(Series {
        metric_type: MetricType::Counter,
        help: Some("Counts.".into()),
        ..Series::clone(&series("latest_a", &[]))
    });
    let (b, c, d) = (series("latest_b", &[]), series("latest_c", &[]), series("latest_d", &[]));
    let shared = Layout::shared(vec![c.clone(), a.clone(), b.clone()]);
    assert_eq!(latest(store, "latest", NOON - HOUR).await, []);
    let old = batch("latest", "1", vec![frame(&shared, NOON, &[1.0, 2.0, 3.0])]);
    let elsewhere = batch("latest-elsewhere", "1", vec![frame(&shared, NOON + 60_000, &[7.0, 8.0, 9.0])]);
    store.append(&[old, elsewhere]).await.expect("an append");
    let value =
        |series: &Series, at: i64, value: f64| (series.labels.to_string(), at, SampleValue::Float(value));
    let first = [value(&a, NOON, 2.0), value(&b, NOON, 3.0), value(&c, NOON, 1.0)];
    assert_eq!(latest(store, "latest", NOON - HOUR).await, first);
    assert_eq!(latest(store, "latest", NOON).await, first, "`since` belongs to the range");
    assert_eq!(latest(store, "latest", NOON + 1).await, [], "older than asked for");

    // The newest batch has two frames: what is read from the page, and the end of a series.
    let at = NOON + 15_000;
    let mut page = frame(&Layout::shared(vec![d.clone(), c.clone(), a.clone()]), at, &[0.0, f64::NAN, 5.0]);
    put_histogram(&mut page, 0, histogram(3.0));
    let ended = frame(&Layout::inline(vec![b.clone()]), at, &[stale_marker()]);
    let newest = batch("latest", "2", vec![page, ended]);
    // Arrives after it, but is older.
    let late = batch("latest", "3", vec![frame(&shared, NOON + 5_000, &[0.5, 0.5, 0.5])]);
    store.append(&[newest]).await.expect("an append");
    store.append(&[late]).await.expect("an append");
    let second = [
        value(&a, at, 5.0),
        value(&c, at, f64::NAN),
        (d.labels.to_string(), at, SampleValue::Histogram(Box::new(histogram(3.0)))),
    ];
    assert_eq!(latest(store, "latest", NOON - HOUR).await, second);
    let found = store.latest("latest", NOON).await.expect("latest metrics");
    assert_eq!(
        (found[0].series.metric_type, found[0].series.help.as_deref()),
        (MetricType::Counter, Some("Counts."))
    );
    assert_eq!(latest(store, "nobody-knows-it", NOON - HOUR).await, []);
}

/// A push with timestamps of its own: each series' newest sample.
pub async fn check_latest_of_offsets(store: &impl Store) {
    let (a, b) = (series("latest_a", &[]), series("latest_b", &[]));
    let shared = Layout::shared(vec![a.clone(), b.clone()]);
    let old = batch("latest", "1", vec![frame(&shared, NOON, &[8.0, 9.0])]);
    store.append(&[old]).await.expect("an append");
    let at = NOON + 15_000;
    let twice = Layout::inline(vec![a.clone(), a.clone(), b.clone()]);
    let samples = [(at + 3_000, 2.0), (at + 1_000, 1.0), (at + 2_000, 3.0)];
    store.append(&[batch("latest", "4", vec![frame_at(&twice, &samples)])]).await.expect("an append");
    let expected = [
        (a.labels.to_string(), at + 3_000, SampleValue::Float(2.0)),
        (b.labels.to_string(), at + 2_000, SampleValue::Float(3.0)),
    ];
    assert_eq!(latest(store, "latest", NOON - HOUR).await, expected);
}
