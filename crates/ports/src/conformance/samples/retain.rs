//! Removing what is no longer to be kept.

use metricsd_model::{Layout, Matcher};

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
