//! Compaction changes where samples are, and nothing that a reader sees.

use std::sync::Arc;
use std::time::Duration;

use metricsd_model::{Layout, Millis, NativeHistogram, STALE_NAN_BITS, Series, stale_marker};

use crate::conformance::fixtures::*;
use crate::{Compacted, Compaction, CompactionPolicy, ErrorKind, Receipt, SampleSource, SelectLimits};

const DAY: Millis = 24 * HOUR;

/// A store that compacts: one database does, whatever stands before several of them leaves it to each.
pub trait Compacting: Store + Compaction {}

impl<T: Store + Compaction> Compacting for T {}

/// Everything before `before`, in pieces of `max_samples`.
pub fn policy(before: Millis, max_samples: usize) -> CompactionPolicy {
    CompactionPolicy { before, pack_before: None, max_samples, rest: Duration::ZERO }
}

/// Compacts until there is nothing more to do; answers what was done.
pub async fn compact_all(store: &(impl Compaction + ?Sized), policy: &CompactionPolicy) -> Compacted {
    let mut done = Compacted::default();
    for _ in 0..10_000 {
        done += store.compact(policy).await.expect("a compaction");
        if !done.more {
            return done;
        }
    }
    panic!("compaction does not come to an end: {done:?}");
}

/// All that a metric has, histograms included.
type Content = Vec<(Row, Vec<(usize, NativeHistogram)>)>;

async fn content(store: &(impl SampleSource + ?Sized), name: &str, range: (Millis, Millis)) -> Content {
    let selected = store.select(&selection(name, range.0, range.1)).await.expect("a selection");
    rows(&selected).into_iter().zip(selected.into_iter().map(|series| series.histograms)).collect()
}

const ALL: (Millis, Millis) = (i64::MIN, i64::MAX);

/// Ranges that begin and end inside of hours and days.
fn ranges() -> Vec<(Millis, Millis)> {
    vec![
        ALL,
        (NOON + 2 * HOUR + 7_000, NOON + 2 * HOUR + 9_002),
        (NOON + HOUR - 1, NOON + HOUR),
        (NOON + 2 * HOUR, NOON + 2 * HOUR),
        (NOON - DAY, NOON + 999),
    ]
}

/// One of everything, over several hours: floats of all kinds, markers, histograms, offsets, layouts of both kinds,
/// samples that several batches and targets brought.
async fn append_everything(store: &impl Store) {
    let floats: Vec<f64> = [
        0.0f64.to_bits(),
        (-0.0f64).to_bits(),
        f64::MAX.to_bits(),
        1,
        f64::INFINITY.to_bits(),
        0x7ff8_0000_0000_0000,
        0x7ff8_0000_dead_beef,
        0xfff8_0000_0000_0001,
        STALE_NAN_BITS,
        1.5f64.to_bits(),
    ]
    .map(f64::from_bits)
    .to_vec();
    let all = many_series("compacted", floats.len());
    let shared = Layout::shared(all.clone());
    let inline = Layout::inline(all.iter().rev().cloned().collect());
    let mut batches = Vec::new();
    for n in 0..30i64 {
        // Half an hour apart at first, then a second.
        let time = if n < 6 { NOON + n * HOUR / 2 } else { NOON + 2 * HOUR + n * 1_000 };
        let mut values = floats.clone();
        values.rotate_left(n as usize % floats.len());
        let mut page = frame(&shared, time, &values);
        put_histogram(&mut page, n as usize % 10, histogram(n as f64));
        let odd: Vec<_> = (0..10i64).map(|at| (time + at * 7 % 5, values[at as usize])).collect();
        let mut spread = frame_at(&inline, &odd);
        put_histogram(&mut spread, 3, NativeHistogram::default());
        batches.push(batch("compacted", &format!("page-{n}"), vec![page]));
        batches.push(batch("compacted-too", &format!("spread-{n}"), vec![spread]));
        // The same series and timestamps once more; never seen.
        batches.push(batch("compacted-late", &n.to_string(), vec![frame(&shared, time, &[77.0; 10])]));
    }
    for group in batches.chunks(20) {
        store.append(group).await.expect("an append");
    }
}

/// Answers are the same before, between and after the pieces, however small these are.
pub async fn check_compaction_keeps_answers(store: &impl Compacting) {
    append_everything(store).await;
    let mut before = Vec::new();
    for range in ranges() {
        before.push(content(store, "compacted", range).await);
    }
    assert!(before.iter().all(|content| !content.is_empty()), "there is something to keep in every range");
    let mut done = Compacted::default();
    loop {
        done += store.compact(&policy(NOON + DAY, 100)).await.expect("a compaction");
        for (range, before) in ranges().into_iter().zip(&before) {
            assert_eq!(&content(store, "compacted", range).await, before, "in {range:?} after {done:?}");
        }
        if !done.more {
            break;
        }
    }
    assert_eq!((done.samples, done.frames), (900, 90), "all of it was compacted");
    let again = compact_all(store, &policy(NOON + DAY, 1_000_000)).await;
    assert_eq!((again.samples, again.frames, again.segments), (0, 0, 0), "nothing is left");
}

/// Hours that are not over by then stay as they are.
pub async fn check_compaction_of_past_hours(store: &impl Compacting) {
    let layout = Layout::shared(many_series("past_hours", 3));
    for hour in 0..4 {
        let at = NOON + hour * HOUR;
        let frames = vec![frame(&layout, at, &[1.0; 3]), frame(&layout, at + HOUR - 1, &[2.0; 3])];
        store.append(&[batch("past-hours", &hour.to_string(), frames)]).await.expect("an append");
    }
    let before = content(store, "past_hours", ALL).await;
    for (until, samples) in
        [(i64::MIN, 0), (NOON, 0), (NOON + HOUR - 1, 0), (NOON + HOUR, 6), (NOON + 3 * HOUR + 1, 12)]
    {
        let done = compact_all(store, &policy(until, 1_000)).await;
        assert_eq!(done.samples, samples, "before {until}");
        assert_eq!(content(store, "past_hours", ALL).await, before);
    }
    assert_eq!(compact_all(store, &policy(i64::MAX, 1_000)).await.samples, 6);
    assert_eq!(content(store, "past_hours", ALL).await, before);
}

/// Samples that come after their hour was compacted are merged by a later pass; what was there before stays.
pub async fn check_late_samples(store: &impl Compacting) {
    let (a, b) = (series("late", &[("s", "a")]), series("late", &[("s", "b")]));
    let shared = Layout::shared(vec![a.clone(), b.clone()]);
    let mut expected: Vec<(Millis, f64)> = Vec::new();
    // Few at first, then many, in several hours of one day; each pass repeats samples of those before.
    for pass in 0..8i64 {
        let frames = (0..pass * 3 + 1).map(|n| {
            let at = NOON + (pass % 2) * HOUR + n * 60_000 + pass / 2;
            if expected.iter().all(|(known, _)| *known != at) {
                expected.push((at, pass as f64));
            }
            frame(&shared, at, &[pass as f64; 2])
        });
        let frames: Vec<_> = frames.collect();
        let again = frame(&shared, NOON + (pass % 2) * HOUR, &[99.0; 2]);
        store.append(&[batch("late", &pass.to_string(), frames)]).await.expect("an append");
        store.append(&[batch("late-too", &pass.to_string(), vec![again])]).await.expect("an append");
        expected.sort_by_key(|(at, _)| *at);
        let expected = [row(&a, &expected), row(&b, &expected)];
        assert_eq!(all_of(store, "late").await, expected, "before pass {pass}");
        let done = compact_all(store, &policy(NOON + DAY, 1_000_000)).await;
        assert_eq!(done.samples, 2 * (pass.unsigned_abs() * 3 + 2), "pass {pass}");
        assert_eq!(all_of(store, "late").await, expected, "after pass {pass}");
    }
}

/// Series with a sample an hour, and with many a second.
pub async fn check_rates_of_samples(store: &impl Compacting) {
    let sparse = Layout::shared(many_series("sparse", 3));
    let hourly = (0..60).map(|n| frame(&sparse, NOON + n * HOUR + 7, &[n as f64; 3])).collect();
    store.append(&[batch("sparse", "1", hourly)]).await.expect("an append");
    let fast = Layout::shared(vec![series("fast", &[])]);
    for part in 0..10i64 {
        let frames = (0..1_000).map(|n| {
            let at = NOON + part * 350_000 + n * 100;
            frame(&fast, at, &[(at % 1_000) as f64])
        });
        store.append(&[batch("fast", &part.to_string(), frames.collect())]).await.expect("an append");
    }
    let minutes = (NOON + 9 * 60_000, NOON + 16 * 60_000);
    let before = [
        content(store, "sparse", ALL).await,
        content(store, "fast", ALL).await,
        content(store, "fast", minutes).await,
    ];
    let done = compact_all(store, &policy(NOON + 100 * HOUR, 100_000)).await;
    assert_eq!(done.samples, 180 + 10_000);
    // Late ones, between those that are there.
    let late = (0..900).map(|n| frame(&fast, NOON + n * 3_500 + 49, &[0.5])).collect();
    store.append(&[batch("fast", "late", late)]).await.expect("an append");
    let with_late = content(store, "fast", ALL).await;
    assert_eq!(with_late[0].0.1.len(), 10_900);
    compact_all(store, &policy(NOON + 100 * HOUR, 100_000)).await;
    assert_eq!(content(store, "sparse", ALL).await, before[0]);
    assert_eq!(content(store, "fast", ALL).await, with_late);
    let was_there = |at: &Millis| before[2][0].0.1.iter().any(|(known, _)| known == at);
    let within = content(store, "fast", minutes).await;
    let old: Vec<_> = within[0].0.1.iter().filter(|(at, _)| was_there(at)).copied().collect();
    assert_eq!(old, before[2][0].0.1);
    assert!(within[0].0.1.len() > old.len(), "and the late ones among them");
}

/// Values without any pattern, which no packing makes small, in two passes over the same hour.
pub async fn check_noise(store: &impl Compacting) {
    let layout = Layout::shared(many_series("noise", 3));
    let mut state = 1u64;
    let mut append = async |first: i64, step: i64| {
        let frames = (0..400i64).map(|n| {
            let values = [(); 3].map(|()| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                f64::from_bits(state)
            });
            frame(&layout, NOON + first + n * step, &values)
        });
        let frames = frames.collect();
        store.append(&[batch("noise", &first.to_string(), frames)]).await.expect("an append");
    };
    append(0, 5_000).await;
    for (first, samples) in [(1_000_000, 1_200), (1, 1_200), (2, 1_200)] {
        append(first, 6_000).await;
        let before = content(store, "noise", ALL).await;
        let part = content(store, "noise", (NOON + 1_500_000, NOON + 1_700_000)).await;
        let done = compact_all(store, &policy(NOON + DAY, 500)).await;
        assert!(done.samples == samples || done.samples == 2 * samples, "{done:?}");
        assert_eq!(content(store, "noise", ALL).await, before);
        assert_eq!(content(store, "noise", (NOON + 1_500_000, NOON + 1_700_000)).await, part);
    }
    let found = content(store, "noise", ALL).await;
    assert!(found.iter().all(|(row, _)| row.1.len() > 1_000), "all of them are there");
    drain(async || store.remove_others_before(&[], NOON + HOUR).await).await;
    assert_eq!(content(store, "noise", ALL).await, []);
}

/// Hours long ago, before the epoch too.
pub async fn check_compaction_of_far_times(store: &impl Compacting) {
    let layout = Layout::shared(vec![series("far", &[])]);
    let times = [-50 * 365 * DAY - 1, -HOUR, -1, 0, HOUR - 1, HOUR, 365 * DAY];
    let frames = times.iter().map(|time| frame(&layout, *time, &[*time as f64])).collect();
    store.append(&[batch("far", "1", frames)]).await.expect("an append");
    let before = content(store, "far", ALL).await;
    let done = compact_all(store, &policy(NOON, 10)).await;
    assert_eq!(done.samples, times.len() as u64);
    assert_eq!(content(store, "far", ALL).await, before);
    for time in times {
        assert_eq!(content(store, "far", (time, time)).await.len(), 1, "at {time}");
    }
    assert_eq!(content(store, "far", (1, HOUR - 2)).await, []);
}

/// Limits count what is in segments as they count what is in frames.
pub async fn check_limits_of_segments(store: &impl Compacting) {
    let layout = Layout::shared(many_series("limited", 4));
    let frames =
        |first: i64| (first..first + 5).map(|n| frame(&layout, NOON + n * 1_000, &[1.0; 4])).collect();
    store.append(&[batch("limited", "1", frames(0))]).await.expect("an append");
    compact_all(store, &policy(NOON + DAY, 1_000)).await;
    // Half of it comes again.
    store.append(&[batch("limited", "2", frames(3))]).await.expect("an append");
    let select = async |max_series, max_samples| {
        let limits = SelectLimits { max_series, max_samples };
        store.select(&crate::Selection { limits, ..selection("limited", NOON, NOON + HOUR) }).await
    };
    assert_eq!(select(4, 32).await.expect("within the limits").len(), 4);
    for (series, samples, name) in [(3, 100, "max_series"), (4, 31, "max_samples"), (4, 5, "max_samples")] {
        let error = select(series, samples).await.expect_err("beyond the limits");
        assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

/// What was compacted is removed when it is old, of one target or of others.
pub async fn check_retention_of_segments(store: &impl Compacting) {
    let days: Vec<Millis> = (0..4).map(|day| NOON.div_euclid(DAY) * DAY + day * DAY).collect();
    for target in ["kept", "gone"] {
        let dense = Layout::shared(many_series(&format!("retained_{target}"), 3));
        let sparse = Layout::inline(many_series(&format!("retained_sparse_{target}"), 2));
        for (n, day) in days.iter().enumerate() {
            let mut frames: Vec<_> =
                (0..40).map(|n| frame(&dense, day + 23 * HOUR + n * 1_000, &[1.0; 3])).collect();
            frames.push(frame(&sparse, day + 5 * HOUR, &[2.0; 2]));
            store.append(&[batch(target, &n.to_string(), frames)]).await.expect("an append");
        }
    }
    compact_all(store, &policy(days[3], 1_000)).await;
    let counts = async || {
        let mut counts = Vec::new();
        for name in ["retained_kept", "retained_sparse_kept", "retained_gone", "retained_sparse_gone"] {
            counts.push(all_of(store, name).await.iter().map(|(_, samples)| samples.len()).sum::<usize>());
        }
        counts
    };
    assert_eq!(counts().await, [480, 8, 480, 8]);
    assert_eq!(store.remove_before("gone", days[0]).await.expect("a removal"), 0);
    assert_eq!(store.remove_before("nobody", i64::MAX).await.expect("a removal"), 0);
    drain(async || store.remove_before("gone", days[1]).await).await;
    assert_eq!(counts().await, [480, 8, 360, 6]);
    drain(async || store.remove_others_before(&["kept".to_owned()], days[2]).await).await;
    assert_eq!(counts().await, [480, 8, 240, 4]);
    drain(async || store.remove_others_before(&[], days[2]).await).await;
    assert_eq!(counts().await, [240, 4, 240, 4]);
    // What was removed may come again, and be compacted again.
    let dense = Layout::shared(many_series("retained_gone", 3));
    let again = batch("gone", "again", vec![frame(&dense, days[0] + 23 * HOUR, &[5.0; 3])]);
    assert_eq!(store.append(&[again]).await.expect("an append"), [Receipt::Stored]);
    assert_eq!(counts().await, [240, 4, 243, 4]);
    compact_all(store, &policy(days[3], 1_000)).await;
    assert_eq!(counts().await, [240, 4, 243, 4]);
    drain(async || store.remove_others_before(&[], i64::MAX).await).await;
    assert_eq!(counts().await, [0; 4]);
    assert_eq!(store.series(&selection("retained_kept", 0, 0).matchers, 9).await.expect("series").len(), 3);
}

/// Removes until nothing is left to remove, and something was.
async fn drain(remove: impl AsyncFn() -> Result<u64, crate::PortError>) {
    let mut removed = 0;
    loop {
        match remove().await.expect("a removal") {
            0 => break,
            some => removed += some,
        }
    }
    assert!(removed > 0, "something was removed");
}

/// Batches that come again after they were compacted bring nothing new.
pub async fn check_repeats_of_compacted(store: &impl Compacting) {
    let all = many_series("repeated", 2);
    let layout = Layout::shared(all.clone());
    let batches: Vec<_> = (0..20)
        .map(|n| batch("repeated", &n.to_string(), vec![frame(&layout, NOON + n, &[n as f64; 2])]))
        .collect();
    store.append(&batches).await.expect("an append");
    let before = all_of(store, "repeated").await;
    compact_all(store, &policy(NOON + DAY, 1_000)).await;
    let receipts = store.append(&batches).await.expect("an append");
    assert_eq!(receipts, [Receipt::Duplicate; 20], "its job says that it was stored");
    assert_eq!(all_of(store, "repeated").await, before);
    // Without its job it may be taken for a new one: its samples are those that are there.
    store.purge_jobs(i64::MAX).await.expect("a purge");
    store.append(&batches).await.expect("an append");
    assert_eq!(all_of(store, "repeated").await, before);
    compact_all(store, &policy(NOON + DAY, 1_000)).await;
    assert_eq!(all_of(store, "repeated").await, before);
}

/// What the newest collection of a target brought is found when it was compacted.
pub async fn check_latest_of_compacted(store: &impl Compacting) {
    let all = many_series("latest_compacted", 3);
    let layout = Layout::shared(all.clone());
    let frames = (0..30)
        .map(|n| batch("newest", &n.to_string(), vec![frame(&layout, NOON + n * 1_000, &[n as f64; 3])]));
    store.append(&frames.collect::<Vec<_>>()).await.expect("an append");
    let mut last = frame(&layout, NOON + 40_000, &[40.0, 0.0, 0.0]);
    last.values[1] = stale_marker();
    put_histogram(&mut last, 2, histogram(3.0));
    store.append(&[batch("newest", "last", vec![last])]).await.expect("an append");
    let latest = async |since: Millis| {
        let latest = store.latest("newest", since).await.expect("latest metrics");
        latest.into_iter().map(|m| (m.series.labels.clone(), m.sample)).collect::<Vec<_>>()
    };
    let before = latest(NOON).await;
    assert_eq!(before.len(), 2);
    compact_all(store, &policy(NOON + DAY, 1_000)).await;
    assert_eq!(latest(NOON).await, before);
    assert_eq!(latest(NOON + 40_000).await, before);
    assert_eq!(latest(NOON + 40_001).await, []);
    // Late, and older than what is in segments.
    let late = batch("newest", "late", vec![frame(&layout, NOON + 35_500, &[7.0; 3])]);
    store.append(&[late]).await.expect("an append");
    assert_eq!(latest(NOON).await, before);
    let newer = batch("newest", "newer", vec![frame(&layout, NOON + 41_000, &[8.0; 3])]);
    store.append(&[newer]).await.expect("an append");
    assert_eq!(latest(NOON).await.len(), 3);
}

/// Appends, reads, compactions and their like at once: every read sees what was acknowledged before it, once.
pub async fn check_compaction_at_once(store: &Arc<impl Compacting>) {
    const ROUNDS: i64 = 120;
    let all = many_series("at_once", 20);
    let (writer, compactor) = (store.clone(), store.clone());
    let acknowledged = Arc::new(std::sync::atomic::AtomicI64::new(0));
    let (told, done) = (acknowledged.clone(), acknowledged.clone());
    let series = all.clone();
    let writing = tokio::spawn(async move {
        let layout = Layout::shared(series.clone());
        let pushed = Layout::inline(series);
        for round in 0..ROUNDS {
            // Hours go round, so that there are late samples in each.
            let time = NOON + round % 4 * HOUR + round * 10_000;
            let layout = if round % 3 == 0 { &pushed } else { &layout };
            let batch = batch("at-once", &round.to_string(), vec![frame(layout, time, &[round as f64; 20])]);
            writer.append(&[batch]).await.expect("an append");
            told.store(round + 1, std::sync::atomic::Ordering::SeqCst);
        }
    });
    let compacting = tokio::spawn(async move {
        while done.load(std::sync::atomic::Ordering::SeqCst) < ROUNDS {
            compactor.compact(&policy(NOON + DAY, 100)).await.expect("a compaction");
            tokio::task::yield_now().await;
        }
    });
    let check = |found: &[Row], least: i64, all: &[Arc<Series>]| {
        assert!(found.is_empty() || found.len() == all.len(), "all series or none, not {}", found.len());
        let rounds = found.first().map_or(0, |(_, samples)| samples.len() as i64);
        assert!(rounds >= least, "{rounds} of {least} that were acknowledged");
        let expected: f64 = (0..rounds).map(|round| round as f64).sum();
        for (labels, samples) in found {
            let sum: f64 = samples.iter().map(|(_, bits)| f64::from_bits(*bits)).sum();
            assert_eq!((samples.len() as i64, sum), (rounds, expected), "{labels}");
        }
    };
    loop {
        let least = acknowledged.load(std::sync::atomic::Ordering::SeqCst);
        check(&all_of(&**store, "at_once").await, least, &all);
        if least == ROUNDS {
            break;
        }
        tokio::task::yield_now().await;
    }
    writing.await.expect("the writer");
    compacting.await.expect("the compactor");
    compact_all(&**store, &policy(NOON + DAY, 100)).await;
    check(&all_of(&**store, "at_once").await, ROUNDS, &all);
}
