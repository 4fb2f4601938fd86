//! Removing what is no longer to be kept.

use std::sync::Arc;

use metricsd_model::{Layout, Matcher, Millis};

use crate::conformance::fixtures::*;
use crate::{JobFilter, Receipt};

/// Frames of one target that are old as a whole go; all others, jobs and series stay.
pub async fn check_retention(store: &impl Store) {
    let (a, b) = (series("retained", &[("s", "a")]), series("retained", &[("s", "b")]));
    let shared = Layout::shared(vec![a.clone(), b.clone()]);
    let inline = Layout::inline(vec![b.clone(), a.clone()]);
    let before = NOON + 10_000;
    let frames = vec![
        frame(&shared, NOON - 50 * HOUR, &[1.0, 1.0]),
        frame_at(&inline, &[(NOON - 2 * HOUR, 2.0), (NOON - 2 * HOUR + 7, 2.0)]),
        frame(&shared, before - 1, &[3.0, 3.0]),
        frame(&inline, before, &[4.0, 4.0]),
        // Begins before, but holds a sample that is to be kept.
        frame_at(&shared, &[(before - 2, 5.0), (before + 1, 5.0)]),
    ];
    let ours = batch("retained", "1", frames);
    let other = Layout::shared(vec![series("retained_other", &[])]);
    let others = batch("retained-other", "1", vec![frame(&other, NOON - 50 * HOUR, &[1.0])]);
    store.append(&[ours.clone(), others.clone()]).await.expect("an append");

    assert_eq!(store.remove_before("nobody", before).await.expect("a removal"), 0);
    assert_eq!(store.remove_before("retained", i64::MIN).await.expect("a removal"), 0);
    assert_eq!(store.remove_before("retained", NOON - 50 * HOUR).await.expect("a removal"), 0);
    assert_eq!(store.remove_before("retained", before).await.expect("a removal"), 3);
    assert_eq!(store.remove_before("retained", before).await.expect("a removal"), 0, "nothing is left");
    let kept = [row(&a, &[(before - 2, 5.0), (before, 4.0)]), row(&b, &[(before, 4.0), (before + 1, 5.0)])];
    assert_eq!(all_of(store, "retained").await, kept);
    let untouched = [row(&other.series[0], &[(NOON - 50 * HOUR, 1.0)])];
    assert_eq!(all_of(store, "retained_other").await, untouched, "another target's");
    assert_eq!(store.jobs(&JobFilter::default(), 10).await.expect("jobs").len(), 2, "jobs stay");

    assert_eq!(store.append(std::slice::from_ref(&ours)).await.expect("an append"), [Receipt::Duplicate]);
    assert_eq!(all_of(store, "retained").await, kept, "a repeat brings nothing back");
    assert_eq!(store.purge_jobs(i64::MAX).await.expect("a purge"), 2);
    store.append(&[ours]).await.expect("an append");
    assert_eq!(all_of(store, "retained").await, kept, "nor does one after its job has gone");

    assert_eq!(store.remove_before("retained", i64::MAX).await.expect("a removal"), 2);
    assert_eq!(all_of(store, "retained").await, []);
    let known = store.series(&[Matcher::equal("__name__", "retained")], 10).await.expect("series");
    assert_eq!(known.len(), 2, "series stay");
    let again = batch("retained", "2", vec![frame(&shared, before, &[6.0, 6.0])]);
    let later = batch("retained", "3", vec![frame(&shared, before, &[7.0, 7.0])]);
    store.append(&[again]).await.expect("an append");
    store.append(&[later]).await.expect("an append");
    let first = [row(&a, &[(before, 6.0)]), row(&b, &[(before, 6.0)])];
    assert_eq!(all_of(store, "retained").await, first, "what was committed first still wins");
}

/// More than one call removes: each says how many went, until none is left.
pub async fn check_retention_in_steps(store: &impl Store) {
    const FRAMES: i64 = 12_000;
    let layout = Layout::shared(vec![series("stepwise", &[])]);
    let frames = (0..FRAMES).map(|n| frame(&layout, NOON + n * 100, &[1.0])).collect::<Vec<_>>();
    for (n, part) in frames.chunks(1_000).enumerate() {
        let batch = batch("stepwise", &n.to_string(), part.to_vec());
        store.append(&[batch]).await.expect("an append");
    }
    let mut left = FRAMES.unsigned_abs() - 1;
    while left > 0 {
        let removed = store.remove_before("stepwise", NOON + (FRAMES - 1) * 100).await.expect("a removal");
        assert!((1..=left).contains(&removed), "{removed} of {left}");
        left -= removed;
    }
    assert_eq!(
        all_of(store, "stepwise").await,
        [row(&layout.series[0], &[(NOON + (FRAMES - 1) * 100, 1.0)])]
    );
}

/// Frames of all targets but those that are spared go, those of pushes without a target included.
pub async fn check_retention_of_others(store: &impl Store) {
    let before = NOON + 10_000;
    let (old, edge) = (NOON - 50 * HOUR, before - 1);
    for (target, name) in
        [("", "others_pushed"), ("a", "others_a"), ("b", "others_b"), ("spared", "others_c")]
    {
        let a = series(name, &[]);
        let (shared, inline) = (Layout::shared(vec![a.clone()]), Layout::inline(vec![a.clone(), a.clone()]));
        let frames = vec![
            frame(&shared, old, &[1.0]),
            frame(&shared, edge, &[2.0]),
            frame(&shared, before, &[3.0]),
            frame_at(&inline, &[(before - 2, 4.0), (before + 2, 4.0)]),
        ];
        store.append(&[batch(target, name, frames)]).await.expect("an append");
    }
    let remove = async |spared: &[&str], before: i64| {
        let spared: Vec<String> = spared.iter().map(|id| (*id).to_owned()).collect();
        let mut removed = 0;
        loop {
            match store.remove_others_before(&spared, before).await.expect("a removal") {
                0 => return removed,
                some => removed += some,
            }
        }
    };
    let left = async |name: &str| -> Vec<i64> {
        let found = all_of(store, name).await;
        found.iter().flat_map(|(_, samples)| samples).map(|(at, _)| *at).collect()
    };
    let all = [old, before - 2, edge, before, before + 2];
    assert_eq!(remove(&["spared", "gone"], i64::MIN).await, 0);
    assert_eq!(remove(&["spared", "gone"], old).await, 0);
    assert!(remove(&["spared", "gone"], before).await > 0);
    for name in ["others_pushed", "others_a", "others_b"] {
        assert_eq!(
            left(name).await,
            all[1..2].iter().chain(&all[3..]).copied().collect::<Vec<_>>(),
            "{name}"
        );
    }
    assert_eq!(left("others_c").await, all);
    assert!(remove(&[], before).await > 0);
    assert_eq!(left("others_c").await, [before - 2, before, before + 2]);
    assert_eq!(remove(&[], before).await, 0, "nothing is left");
    let known = store.series(&[Matcher::equal("__name__", "others_a")], 10).await.expect("series");
    assert_eq!(known.len(), 1, "series stay");
    assert!(remove(&[], i64::MAX).await > 0);
    assert_eq!(left("others_pushed").await, Vec::<i64>::new());
}

/// Removes all that is unused; answers how many series.
async fn remove_unused(store: &impl Store, before: Millis) -> u64 {
    let mut series = 0;
    for _ in 0..10_000 {
        let removed = store.remove_unused(before).await.expect("a removal");
        series += removed.series;
        if !removed.more {
            return series;
        }
    }
    panic!("removing what is unused does not come to an end");
}

/// Series of which nothing is left go, from look-ups too, and come again with their next sample.
pub async fn check_unused(store: &impl Store) {
    let all = many_series("unused", 4);
    let (shared, inline) = (Layout::shared(all[..2].to_vec()), Layout::inline(all[1..3].to_vec()));
    let kept = Layout::inline(all[3..].to_vec());
    let old = NOON - 50 * HOUR;
    let append = async |key: &str, time: Millis| {
        let frames = vec![frame(&shared, time, &[1.0, 2.0]), frame(&inline, time + 1, &[3.0, 4.0])];
        store.append(&[batch("unused", key, frames)]).await.expect("an append");
    };
    append("1", old).await;
    store.append(&[batch("kept", "1", vec![frame(&kept, NOON, &[5.0])])]).await.expect("an append");
    let known = async || {
        let values = store.label_values("n", &[Matcher::equal("__name__", "unused")], 10).await;
        values.expect("values of a label").len()
    };
    assert_eq!((remove_unused(store, i64::MAX).await, known().await), (0, 4), "all have samples");
    while store.remove_before("unused", NOON).await.expect("a removal") > 0 {}
    assert_eq!((remove_unused(store, NOON).await, known().await), (0, 4), "they were seen later than that");
    assert_eq!((remove_unused(store, i64::MAX).await, known().await), (3, 1));
    assert_eq!(store.series(&[Matcher::equal("__name__", "unused")], 10).await.expect("series").len(), 1);
    append("2", NOON).await;
    let samples = [
        row(&all[0], &[(NOON, 1.0)]),
        row(&all[1], &[(NOON, 2.0), (NOON + 1, 3.0)]),
        row(&all[2], &[(NOON + 1, 4.0)]),
        row(&all[3], &[(NOON, 5.0)]),
    ];
    assert_eq!((all_of(store, "unused").await, known().await), (samples.to_vec(), 4), "they come again");
    assert_eq!(remove_unused(store, i64::MAX).await, 0);
}

/// No sample loses its series, whoever removes and appends at the same time.
pub async fn check_unused_while_appending(store: &Arc<impl Store>) {
    const ROUNDS: i64 = 40;
    let layouts: Vec<Arc<Layout>> = many_series("busy_unused", 6)
        .chunks(2)
        .enumerate()
        .map(
            |(n, series)| {
                if n == 0 { Layout::inline(series.to_vec()) } else { Layout::shared(series.to_vec()) }
            },
        )
        .collect();
    let appending = async {
        for round in 0..ROUNDS {
            for (n, layout) in layouts.iter().enumerate() {
                let time = NOON + round * 1_000;
                let batch =
                    batch("busy", &format!("{n}-{round}"), vec![frame(layout, time, &[round as f64; 2])]);
                store.append(&[batch]).await.expect("an append");
                // Only this sample is left: all others of the series are gone, and with them perhaps the series.
                if round % 3 == n as i64 % 3 {
                    let found = all_of(&**store, "busy_unused").await;
                    let newest =
                        found.iter().filter(|(_, samples)| samples.last().is_some_and(|s| s.0 == time));
                    assert!(newest.count() >= 2, "round {round}: {found:?}");
                }
                store.remove_before("busy", time + 1).await.expect("a removal");
            }
        }
    };
    let removing = async {
        loop {
            store.remove_unused(i64::MAX).await.expect("a removal");
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = appending => {}
        () = removing => unreachable!("removing never ends"),
    }
}
