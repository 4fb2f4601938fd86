//! What every store must do that rolls samples up. (A store that does not answers from samples.)

use metricsd_model::{Layout, Millis, is_stale, stale_marker};

use super::fixtures::*;
use super::samples::{compact_all, policy};
use crate::rollup::roll;
use crate::{
    Compaction, ErrorKind, ROLLUP_STEPS, Rollup, RollupPolicy, RollupValue, Rollups, SampleSource,
    SelectLimits, Selection,
};

const DAY: Millis = 24 * HOUR;

/// 2025-06-21T00:00:00Z.
const MIDNIGHT: Millis = NOON - 10 * HOUR;

const VALUES: [RollupValue; 7] = [
    RollupValue::Min,
    RollupValue::Max,
    RollupValue::Sum,
    RollupValue::Count,
    RollupValue::Average,
    RollupValue::Last,
    RollupValue::Newest,
];

/// Runs every check of this suite, each on a store of its own that `new` makes: fresh and empty.
pub async fn check_all<S: Store + Compaction + Rollups>(new: impl AsyncFn() -> S) {
    super::each!(new, check_same_answers, check_late_samples, check_without_samples, check_keeping);
    super::each!(new, check_rolled_histograms, check_rolled_limits);
}

/// Everything that ended at or before `before`.
fn all_before(before: Millis) -> RollupPolicy {
    RollupPolicy { before, keep_minutes_after: None, keep_hours_after: None, max_samples: 600_000 }
}

/// Rolls up until there is nothing more to do; answers how many series' days were.
async fn roll_up_all(store: &impl Rollups, policy: &RollupPolicy) -> u64 {
    let mut written = 0;
    for _ in 0..10_000 {
        let done = store.roll_up(policy).await.expect("rolling up");
        written += done.written;
        if !done.more {
            return written;
        }
    }
    panic!("rolling up does not come to an end");
}

/// Three days of three series: one every ten minutes with all kinds of floats, one with few samples, one that ends
/// and begins again. Samples stand on the ends of spans too.
async fn append_days(store: &impl Store) {
    let all = many_series("rolled", 3);
    let (busy, rare) = (Layout::shared(all[..1].to_vec()), Layout::shared(all[1..].to_vec()));
    let mut batches = Vec::new();
    for n in 0..3 * 144i64 {
        let value = match n % 11 {
            3 => f64::NAN,
            5 => -0.0,
            7 => 1e300,
            _ => n as f64 * 0.1,
        };
        let time = MIDNIGHT + n * 600_000 + (n % 3) * 17;
        batches.push(batch("rolled", &format!("busy-{n}"), vec![frame(&busy, time, &[value])]));
    }
    for n in 0..24i64 {
        let ends = if n % 4 == 1 { stale_marker() } else { n as f64 };
        let time = MIDNIGHT + n * 3 * HOUR;
        batches.push(batch("rolled-rare", &format!("rare-{n}"), vec![frame(&rare, time, &[0.5, ends])]));
    }
    for group in batches.chunks(100) {
        store.append(group).await.expect("an append");
    }
}

fn ranges(step: Millis) -> Vec<(Millis, Millis)> {
    let at = |spans: i64| MIDNIGHT + spans * step;
    let day = DAY / step;
    vec![(at(-day) + 1, at(5 * day)), (at(day - 1) + 1, at(day + 1))]
}

/// Labels, span, value bits and count of all that is answered, and whether it came as values of spans.
type Answer = Vec<(String, bool, Vec<(Millis, u64)>, Vec<f64>)>;

/// NaNs of sums and extremes are told by being NaN.
fn bits(value: f64) -> u64 {
    if value.is_nan() && !is_stale(value) { f64::NAN.to_bits() } else { value.to_bits() }
}

fn answer(selected: Vec<crate::RolledSeries>) -> Answer {
    let of = |rolled: crate::RolledSeries| {
        let values = rolled.series.values.iter().map(|value| bits(*value));
        let spans = rolled.series.timestamps.iter().copied().zip(values).collect();
        (rolled.series.labels.to_string(), rolled.rolled, spans, rolled.counts)
    };
    selected.into_iter().map(of).filter(|(_, _, spans, _): &(_, _, Vec<_>, _)| !spans.is_empty()).collect()
}

async fn ask(store: &impl SampleSource, range: (Millis, Millis), rollup: Rollup) -> Answer {
    let selection = selection("rolled", range.0, range.1);
    answer(store.select_rolled(&selection, rollup).await.expect("rolled-up values"))
}

/// What samples say.
async fn expect(store: &impl SampleSource, range: (Millis, Millis), rollup: Rollup) -> Answer {
    let selected = store.select(&selection("rolled", range.0, range.1)).await.expect("a selection");
    answer(selected.into_iter().map(|series| roll(series, rollup)).collect())
}

/// All questions, with what samples say to them.
async fn everything(store: &impl SampleSource) -> Vec<((Millis, Millis), Rollup, Answer)> {
    let mut all = Vec::new();
    let [hours, minutes] = ROLLUP_STEPS;
    let by_minutes = VALUES.map(|value| Rollup { step: minutes, value });
    let by_hours = [RollupValue::Sum, RollupValue::Newest].map(|value| Rollup { step: hours, value });
    for rollup in by_minutes.into_iter().chain(by_hours) {
        for range in ranges(rollup.step) {
            all.push((range, rollup, expect(store, range, rollup).await));
        }
    }
    all
}

async fn check_answers(
    store: &impl SampleSource,
    expected: &[((Millis, Millis), Rollup, Answer)],
    when: &str,
) {
    for (range, rollup, expected) in expected {
        assert_eq!(ask(store, *range, *rollup).await, *expected, "{when}: {range:?} {rollup:?}");
    }
}

/// The same is answered before, between and after.
pub async fn check_same_answers(store: &(impl Store + Compaction + Rollups)) {
    append_days(store).await;
    let expected = everything(store).await;
    assert!(expected.iter().any(|(_, _, answer)| answer.len() == 3));
    check_answers(store, &expected, "from frames").await;
    compact_all(store, &policy(MIDNIGHT + 4 * DAY, 100_000)).await;
    check_answers(store, &expected, "from segments").await;
    let before = all_before(MIDNIGHT + 2 * DAY);
    assert_eq!(roll_up_all(store, &before).await, 9, "two days of three series, and the midnight before");
    check_answers(store, &expected, "from two rolled days").await;
    assert_eq!(roll_up_all(store, &before).await, 0, "nothing is done twice");
    let mut steps = 0;
    while store.roll_up(&all_before(MIDNIGHT + 5 * DAY)).await.expect("rolling up").more {
        steps += 1;
        check_answers(store, &expected, &format!("after {steps} steps")).await;
    }
    assert!(steps > 0);
}

/// Late samples are seen at once, and after each step of what follows.
pub async fn check_late_samples(store: &(impl Store + Compaction + Rollups)) {
    append_days(store).await;
    let compacted = policy(MIDNIGHT + 4 * DAY, 100_000);
    compact_all(store, &compacted).await;
    let wanted = MIDNIGHT + 2 * DAY + HOUR;
    assert!(store.rolled_until(wanted).await.expect("a look") <= MIDNIGHT, "nothing is rolled up");
    roll_up_all(store, &all_before(MIDNIGHT + 4 * DAY)).await;
    assert_eq!(store.rolled_until(wanted).await.expect("a look"), wanted, "all of it is");
    let layout = Layout::shared(vec![many_series("rolled", 3)[0].clone(), series("rolled", &[("n", "new")])]);
    // One of them on the end of a day.
    let late = [(MIDNIGHT + 7 * 60_000, -5.0), (MIDNIGHT + 2 * DAY, 9e9)];
    let frames = late.map(|(time, value)| frame(&layout, time, &[value, value])).to_vec();
    store.append(&[batch("late", "1", frames)]).await.expect("an append");
    let expected = everything(store).await;
    assert!(expected.iter().any(|(_, _, answer)| answer.len() == 4));
    check_answers(store, &expected, "at once").await;
    compact_all(store, &compacted).await;
    check_answers(store, &expected, "compacted").await;
    let until = store.rolled_until(wanted).await.expect("a look");
    assert!(until <= MIDNIGHT, "a day that has late samples waits to be rolled up anew: {until}");
    assert!(roll_up_all(store, &all_before(MIDNIGHT + 4 * DAY)).await > 0, "the days are rolled up anew");
    check_answers(store, &expected, "rolled up anew").await;
    assert_eq!(store.rolled_until(wanted).await.expect("a look"), wanted);
}

/// Rolled-up values outlive their samples.
pub async fn check_without_samples(store: &(impl Store + Compaction + Rollups)) {
    append_days(store).await;
    compact_all(store, &policy(MIDNIGHT + 4 * DAY, 100_000)).await;
    let expected = everything(store).await;
    roll_up_all(store, &all_before(MIDNIGHT + 3 * DAY)).await;
    while store.remove_others_before(&[], MIDNIGHT + 3 * DAY).await.expect("a removal") > 0 {}
    let left = all_of(store, "rolled").await;
    assert!(left.iter().all(|(_, samples)| samples.iter().all(|(at, _)| *at >= MIDNIGHT + 2 * DAY)));
    check_answers(store, &expected, "without samples").await;
    // A sample that comes after all is to be removed itself; what is left of the day stays as it is.
    let layout = Layout::shared(many_series("rolled", 1));
    let late = batch("late", "1", vec![frame(&layout, MIDNIGHT + 5, &[1e9])]);
    store.append(&[late]).await.expect("an append");
    compact_all(store, &policy(MIDNIGHT + 4 * DAY, 100_000)).await;
    roll_up_all(store, &all_before(MIDNIGHT + 3 * DAY)).await;
    check_answers(store, &expected, "a day without samples is not rolled up anew").await;
    let wanted = MIDNIGHT + 2 * DAY + HOUR;
    assert_eq!(store.rolled_until(wanted).await.expect("a look"), wanted, "nor does it wait for that");
}

/// Each length of spans is kept for a time of its own.
pub async fn check_keeping(store: &(impl Store + Compaction + Rollups)) {
    append_days(store).await;
    compact_all(store, &policy(MIDNIGHT + 4 * DAY, 100_000)).await;
    roll_up_all(store, &all_before(MIDNIGHT + 3 * DAY)).await;
    while store.remove_others_before(&[], MIDNIGHT + 2 * DAY).await.expect("a removal") > 0 {}
    let range = (MIDNIGHT + 1, MIDNIGHT + DAY);
    let [hours, minutes] = ROLLUP_STEPS.map(|step| Rollup { step, value: RollupValue::Count });
    let (by_hour, by_minutes) = (ask(store, range, hours).await, ask(store, range, minutes).await);
    assert!(!by_hour.is_empty() && !by_minutes.is_empty());
    let keep =
        RollupPolicy { keep_minutes_after: Some(MIDNIGHT + DAY + HOUR), ..all_before(MIDNIGHT + 3 * DAY) };
    roll_up_all(store, &keep).await;
    assert_eq!(ask(store, range, hours).await, by_hour);
    assert_eq!(ask(store, range, minutes).await, [], "values of five minutes are gone");
    let later = (MIDNIGHT + DAY + 1, MIDNIGHT + 2 * DAY);
    assert_ne!(ask(store, later, minutes).await, [], "those of the next day are not");
    roll_up_all(store, &RollupPolicy { keep_hours_after: Some(MIDNIGHT + DAY + HOUR), ..keep }).await;
    assert_eq!(ask(store, range, hours).await, []);
}

/// A selection with native histograms is answered from samples.
pub async fn check_rolled_histograms(store: &(impl Store + Compaction + Rollups)) {
    append_days(store).await;
    let layout = Layout::shared(vec![series("rolled", &[("n", "h")])]);
    let mut page = frame(&layout, MIDNIGHT + HOUR, &[0.0]);
    put_histogram(&mut page, 0, histogram(1.0));
    store.append(&[batch("histograms", "1", vec![page])]).await.expect("an append");
    compact_all(store, &policy(MIDNIGHT + 4 * DAY, 100_000)).await;
    let expected = everything(store).await;
    assert!(expected.iter().any(|(_, _, answer)| answer.iter().any(|(_, rolled, ..)| !rolled)));
    roll_up_all(store, &all_before(MIDNIGHT + 3 * DAY)).await;
    check_answers(store, &expected, "with histograms").await;
}

/// Values of spans count against the limits as samples do.
pub async fn check_rolled_limits(store: &(impl Store + Compaction + Rollups)) {
    append_days(store).await;
    compact_all(store, &policy(MIDNIGHT + 4 * DAY, 100_000)).await;
    roll_up_all(store, &all_before(MIDNIGHT + 3 * DAY)).await;
    let rollup = Rollup { step: ROLLUP_STEPS[0], value: RollupValue::Last };
    let ask = async |max_series, max_samples| {
        let range = selection("rolled", MIDNIGHT + 1, MIDNIGHT + 2 * DAY);
        let limits = SelectLimits { max_series, max_samples };
        store.select_rolled(&Selection { limits, ..range }, rollup).await
    };
    // 48 hours of one series, one value in three hours of the others, of which one is ended now and then.
    let read = ask(3, 1_000).await.expect("within the limits");
    let values: usize = read.iter().map(|series| series.series.values.len()).sum();
    assert!((60..80).contains(&values), "{values}");
    ask(3, values).await.expect("just within the limits");
    assert_eq!(ask(3, values - 1).await.expect_err("too many values").kind(), ErrorKind::Limit);
    assert_eq!(ask(2, 1_000).await.expect_err("too many series").kind(), ErrorKind::Limit);
}
