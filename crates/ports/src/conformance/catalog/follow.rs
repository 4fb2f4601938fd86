//! Following the catalogue by revision.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{join, join_all};
use metricsd_model::Target;

use super::targets::{create, enabled, get, ids};
use crate::TargetChange;
use crate::conformance::fixtures::*;

/// Everything from revision 0, then only what came after, in order of revision.
pub async fn check_changes(store: &impl Store) {
    assert_eq!(store.changes(0, Duration::ZERO).await.expect("changes"), []);
    for id in ["c", "a", "b"] {
        create(store, &target(id)).await;
    }
    let all = store.changes(0, Duration::ZERO).await.expect("changes");
    assert_eq!(ids(&all), ["c", "a", "b"], "in order of revision");
    let last = all[2].revision;
    assert!(all[0].revision < all[1].revision && all[1].revision < last);
    assert_eq!(store.changes(last, Duration::ZERO).await.expect("changes"), []);
    assert_eq!(store.changes(i64::MAX, Duration::ZERO).await.expect("changes"), []);
    store.change_target("c", &enabled(false)).await.expect("an answer");
    store.request_deletion("a").await.expect("an answer");
    let newer = store.changes(last, Duration::ZERO).await.expect("changes");
    assert_eq!(ids(&newer), ["c", "a"]);
    assert!(newer[0].revision > last && newer[1].revision > newer[0].revision);
    assert!(newer[1].deleting);
    assert_eq!(ids(&store.changes(0, Duration::ZERO).await.expect("changes")), ["b", "c", "a"]);
}

/// While many write, one that follows by revision misses nothing.
pub async fn check_revisions(store: &Arc<impl Store>) {
    const WRITERS: usize = 6;
    const ROUNDS: usize = 8;
    for n in 0..WRITERS {
        create(&**store, &target(&format!("revised-{n}"))).await;
    }
    let start =
        store.changes(0, Duration::ZERO).await.expect("changes").last().map_or(0, |last| last.revision);
    let write = |n: usize| {
        let store = store.clone();
        tokio::spawn(async move {
            let id = format!("revised-{n}");
            for round in 0..ROUNDS {
                let labels = BTreeMap::from([("round".to_owned(), round.to_string())]);
                let change = TargetChange { labels: Some(labels), ..TargetChange::default() };
                store.change_target(&id, &change).await.expect("an answer").expect("the target");
            }
            get(&*store, &id).await
        })
    };
    let follow = async {
        let mut seen: BTreeMap<String, Target> = BTreeMap::new();
        let mut revision = start;
        let finished = |seen: &BTreeMap<String, Target>| {
            let done = |target: &&Target| target.spec.labels.get("round") == Some(&(ROUNDS - 1).to_string());
            seen.values().filter(done).count() == WRITERS
        };
        while !finished(&seen) {
            let changes = store.changes(revision, Duration::from_secs(5)).await.expect("changes");
            assert!(!changes.is_empty(), "the last change of each target arrives");
            for target in changes {
                assert!(target.revision > revision, "revisions ascend");
                revision = target.revision;
                seen.insert(target.spec.target_id.clone(), target);
            }
        }
        seen
    };
    let (written, mut seen) = join(join_all((0..WRITERS).map(write)), follow).await;
    for target in written {
        let target = target.expect("a task");
        assert_eq!(seen.remove(&target.spec.target_id), Some(target), "the follower has the last state");
    }
}

/// A change wakes those who wait within a second; without one they wait as long as they said.
pub async fn check_waiting(store: &impl Store) {
    let made = create(store, &target("awaited")).await;
    let started = Instant::now();
    assert_eq!(store.changes(made.revision, Duration::from_millis(300)).await.expect("changes"), []);
    assert!(started.elapsed() >= Duration::from_millis(250), "it waits");
    assert!(started.elapsed() < Duration::from_secs(3), "no longer than it was told");

    let started = Instant::now();
    let change = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        store.request_scrape("awaited", NOON).await.expect("an answer")
    };
    let (changes, changed) = join(store.changes(made.revision, Duration::from_secs(20)), change).await;
    assert_eq!(changes.expect("changes"), changed.into_iter().collect::<Vec<_>>());
    assert!(
        started.elapsed() < Duration::from_millis(1_300),
        "woken within a second, not {:?}",
        started.elapsed()
    );

    let started = Instant::now();
    assert_eq!(store.changes(made.revision, Duration::from_secs(20)).await.expect("changes").len(), 1);
    assert!(started.elapsed() < Duration::from_secs(1), "what is there already is not waited for");
}

/// What was created and deleted again is no change: it does not keep those who wait from waiting.
/// Not part of [`super::check_all`], as the port leaves open whether such a change ends the waiting.
pub async fn check_emptied(store: &impl Store) {
    create(store, &target("emptied")).await;
    store.request_deletion("emptied").await.expect("an answer");
    assert!(store.finish_deletion("emptied").await.expect("an answer"));
    let started = Instant::now();
    let changes = store.changes(0, Duration::from_millis(300)).await;
    assert_eq!(changes.expect("changes"), []);
    assert!(
        started.elapsed() >= Duration::from_millis(250),
        "it waits; who asks again and again would spin otherwise"
    );
}
