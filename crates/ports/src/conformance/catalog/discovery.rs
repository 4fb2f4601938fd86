//! Targets that providers find: brought in, changed, gone, back again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metricsd_model::{Health, HealthStatus, Millis, Origin, OriginKind, ScrapeOptions, Target};

use super::targets::{create, enabled, get, ids};
use crate::conformance::fixtures::*;
use crate::discovery::{MAX_CONFLICTS, MAX_PROMPT};
use crate::{
    Completeness, ConfigState, Conflict, Created, DiscoveredTarget, DroppedTarget, JobState, ProviderState,
    Synced, TargetFilter,
};

/// What a provider found under an id.
fn found(target_id: &str) -> DiscoveredTarget {
    let mut spec = target(target_id);
    spec.scrape_config.options = Arc::new(ScrapeOptions { sample_limit: 1_000, ..ScrapeOptions::default() });
    DiscoveredTarget {
        spec,
        provider: "file".to_owned(),
        labels: BTreeMap::from([("__address__".to_owned(), format!("{target_id} \"ä\" \\:9100"))]),
        prompt: false,
    }
}

async fn sync(store: &impl Store, job: &str, targets: &[DiscoveredTarget]) -> Synced {
    store.sync_discovered(job, targets, Completeness::All).await.expect("a sync")
}

fn counts(synced: &Synced) -> [u64; 5] {
    [synced.added, synced.changed, synced.removed, synced.unchanged, synced.conflicted]
}

async fn changed(store: &impl Store, after: i64) -> Vec<Target> {
    store.changes(after, Duration::ZERO).await.expect("changes")
}

/// New ones come, unchanged ones are left alone, changed ones change, those that are gone are being deleted.
pub async fn check_sync(store: &impl Store) {
    let start = create(store, &target("of-a-user")).await.revision;
    let three = [found("c"), found("a"), found("b")];
    assert_eq!(counts(&sync(store, "job", &three).await), [3, 0, 0, 0, 0]);
    let a = get(store, "a").await;
    assert_eq!(a.spec, three[1].spec, "all that was found is kept");
    let origin = Origin::Discovered { job: "job".to_owned(), provider: "file".to_owned() };
    assert_eq!((&a.origin, a.health.status, a.deleting), (&origin, HealthStatus::Unknown, false));
    let first = changed(store, start).await;
    assert_eq!(ids(&first), ["a", "b", "c"], "each under a revision of its own");
    assert!(first.windows(2).all(|pair| pair[0].revision < pair[1].revision));
    let last = first[2].revision;

    assert_eq!(counts(&sync(store, "job", &three).await), [0, 0, 0, 3, 0]);
    assert_eq!(changed(store, last).await, [], "what is as it was has no new revision");

    let health = Health { status: HealthStatus::Healthy, last_scrape: Some(NOON), ..Health::default() };
    store.record_health(&[("b".to_owned(), health.clone())]).await.expect("recorded");
    let mut other = found("b");
    other.spec.scrape_config.metrics_path = "/other".to_owned();
    let two = [found("a"), other.clone()];
    assert_eq!(counts(&sync(store, "job", &two).await), [0, 1, 1, 1, 0]);
    let second = changed(store, last).await;
    assert_eq!(ids(&second), ["b", "c"]);
    assert_eq!((&second[0].spec, &second[0].health), (&other.spec, &health), "health stays");
    assert!(second[1].deleting && !second[0].deleting);
    assert_eq!(second[0].id, first[1].id);
    assert_eq!(counts(&sync(store, "job", &two).await), [0, 0, 0, 2, 0], "what goes already goes once");
    assert_eq!(get(store, "of-a-user").await.revision, start);

    let last = second[1].revision;
    let some = store.sync_discovered("job", &[found("d")], Completeness::Some).await.expect("a sync");
    assert_eq!(counts(&some), [1, 0, 0, 0, 0], "who has not told all says nothing of the others");
    assert_eq!(ids(&changed(store, last).await), ["d"]);
}

/// Labels and the provider count as changes too.
pub async fn check_sync_labels(store: &impl Store) {
    let mut one = found("labelled");
    sync(store, "job", std::slice::from_ref(&one)).await;
    let asked = ["labelled".to_owned(), "nobody".to_owned()];
    let labels = async || store.discovered_labels(&asked).await.expect("labels");
    assert_eq!(labels().await, BTreeMap::from([("labelled".to_owned(), one.labels.clone())]));
    one.labels.insert("__meta_zone".to_owned(), "b".to_owned());
    assert_eq!(counts(&sync(store, "job", std::slice::from_ref(&one)).await), [0, 1, 0, 0, 0]);
    assert_eq!(labels().await["labelled"], one.labels);
    one.provider = "consul".to_owned();
    assert_eq!(counts(&sync(store, "job", std::slice::from_ref(&one)).await), [0, 1, 0, 0, 0]);
    let Origin::Discovered { provider, .. } = get(store, "labelled").await.origin else {
        panic!("it was discovered")
    };
    assert_eq!(provider, "consul");

    one.labels.insert("__meta_nul".to_owned(), "a\0b".to_owned());
    one.labels.insert("__meta_long".to_owned(), "x".repeat(1 << 20));
    sync(store, "job", std::slice::from_ref(&one)).await;
    let kept = labels().await.remove("labelled").expect("its labels");
    assert!(!kept.contains_key("__meta_long"), "what is too long is left out");
    assert_eq!(kept["__meta_nul"], "a\u{fffd}b");
    assert_eq!(counts(&sync(store, "job", &[one]).await), [0, 0, 0, 1, 0], "and is no change");

    sync(store, "job", &[]).await;
    assert!(store.finish_deletion("labelled").await.expect("an answer"));
    create(store, &target("labelled")).await;
    assert_eq!(labels().await, BTreeMap::new(), "a user's target has none");
}

/// One that comes back while it is being deleted lives again; one that was removed is new.
pub async fn check_sync_revival(store: &impl Store) {
    let one = [found("back")];
    sync(store, "job", &one).await;
    let made = get(store, "back").await;
    assert_eq!(counts(&sync(store, "job", &[]).await), [0, 0, 1, 0, 0]);
    let going = get(store, "back").await;
    assert!(going.deleting);
    assert_eq!(counts(&sync(store, "job", &one).await), [1, 0, 0, 0, 0]);
    let alive = get(store, "back").await;
    assert!(!alive.deleting && alive.revision > going.revision && alive.id == made.id);
    assert!(!store.finish_deletion("back").await.expect("an answer"), "its end was called off");
    sync(store, "job", &[]).await;
    assert!(store.finish_deletion("back").await.expect("an answer"));
    assert_eq!(counts(&sync(store, "job", &one).await), [1, 0, 0, 0, 0]);
    assert_ne!(get(store, "back").await.id, made.id);
}

/// An id that another has stays theirs.
pub async fn check_sync_conflicts(store: &impl Store) {
    let user = create(store, &target("user")).await;
    let registered = store.register_target(&target("own"), Duration::from_secs(600)).await;
    registered.expect("a registration");
    sync(store, "first", &[found("theirs")]).await;
    let all = [found("user"), found("theirs"), found("own"), found("mine"), found("mine")];
    let synced = sync(store, "second", &all).await;
    assert_eq!(counts(&synced), [1, 0, 0, 0, 3]);
    let of = |target_id: &str, held_by: &str| Conflict {
        target_id: target_id.to_owned(),
        held_by: held_by.to_owned(),
    };
    let expected = [
        of("own", "a target that registered itself"),
        of("theirs", "job \"first\""),
        of("user", "a target of the API"),
    ];
    assert_eq!(synced.conflicts, expected);
    assert_eq!(get(store, "user").await, user);
    assert_eq!(get(store, "theirs").await.origin.job(), Some("first"));

    let many: Vec<_> = (0..MAX_CONFLICTS + 5).map(|n| found(&format!("many-{n:03}"))).collect();
    sync(store, "first", &many).await;
    let synced = sync(store, "second", &many).await;
    assert_eq!(synced.conflicted, many.len() as u64);
    assert_eq!(synced.conflicts.len(), MAX_CONFLICTS, "named within bounds");
    assert!(get(store, "mine").await.deleting, "a job's targets are those of its last answer");

    let mut bad = found("bad");
    bad.spec.scrape_config.target_url = "x".repeat(501);
    let refused = store.sync_discovered("second", &[found("good"), bad], Completeness::All).await;
    refused.expect_err("what no row can hold is refused");
    assert_eq!(store.target("good").await.expect("an answer"), None, "all or nothing");
}

/// Users neither change nor delete what was discovered.
pub async fn check_discovered_is_kept(store: &impl Store) {
    sync(store, "job", &[found("kept")]).await;
    let made = get(store, "kept").await;
    assert_eq!(store.replace_target(&target("kept")).await.expect("an answer"), None);
    assert_eq!(store.change_target("kept", &enabled(false)).await.expect("an answer"), None);
    assert_eq!(store.request_deletion("kept").await.expect("an answer"), None);
    assert_eq!(store.renew("kept", Duration::from_secs(9)).await.expect("an answer"), None);
    match store.create_target(&target("kept")).await.expect("an answer") {
        Created::Existing(standing) => assert_eq!(standing, made),
        Created::New(_) => panic!("its id is taken"),
    }
    assert_eq!(get(store, "kept").await, made);
    let asked = store.request_scrape("kept", NOON).await.expect("an answer").expect("the target");
    assert_eq!(asked.scrape_requested, Some(NOON), "a scrape may be asked for");
    sync(store, "job", &[]).await;
    let going = store.request_deletion("kept").await.expect("an answer").expect("the target");
    assert!(going.deleting);
}

/// Jobs that are no longer configured: their targets go, and what was said of them.
pub async fn check_retain_jobs(store: &impl Store) {
    create(store, &target("user")).await;
    for job in ["a", "b", "c"] {
        sync(store, job, &[found(&format!("{job}-1")), found(&format!("{job}-2"))]).await;
        let state = JobState { job: job.to_owned(), ..JobState::default() };
        store.put_discovery_state(&state).await.expect("noted");
    }
    store.put_config_state(&ConfigState::default()).await.expect("noted");
    let before = changed(store, 0).await.last().map_or(0, |target| target.revision);
    let jobs = ["b".to_owned(), "unknown".to_owned()];
    assert_eq!(store.retain_jobs(&jobs).await.expect("an answer"), 4);
    let gone = changed(store, before).await;
    assert_eq!(ids(&gone), ["a-1", "a-2", "c-1", "c-2"]);
    assert!(gone.iter().all(|target| target.deleting));
    let last = gone[3].revision;
    assert_eq!(store.retain_jobs(&jobs).await.expect("an answer"), 0);
    assert_eq!(changed(store, last).await, []);
    let states = store.discovery_states().await.expect("states");
    assert_eq!(states.iter().map(|state| state.job.as_str()).collect::<Vec<_>>(), ["b"]);
    assert!(store.config_state().await.expect("an answer").is_some(), "the file is no job");
    assert_eq!(store.retain_jobs(&[]).await.expect("an answer"), 2);
    assert!(!get(store, "user").await.deleting);
}

/// States are kept as they are said, the last of each job.
pub async fn check_discovery_states(store: &impl Store) {
    assert_eq!(store.discovery_states().await.expect("states"), []);
    assert_eq!(store.config_state().await.expect("an answer"), None);
    let mut state = JobState {
        job: "job \"ä\"".to_owned(),
        providers: vec![ProviderState {
            provider: "http".to_owned(),
            settings: "http://a/sd".to_owned(),
            targets: 3,
            complete: true,
            failures_in_a_row: 2,
            last_success: Some(NOON),
            last_failure: Some(NOON + 5),
            error: Some("status 500".to_owned()),
        }],
        active: 2,
        dropped: 1,
        dropped_targets: vec![DroppedTarget {
            labels: BTreeMap::from([("__address__".to_owned(), "a:1".to_owned())]),
            error: None,
        }],
        error: None,
        conflicts: vec![Conflict { target_id: "x".to_owned(), held_by: "job \"y\"".to_owned() }],
        synced: Some(NOON),
    };
    store.put_discovery_state(&JobState { job: "z".to_owned(), ..JobState::default() }).await.expect("noted");
    store.put_discovery_state(&state).await.expect("noted");
    state.error = Some("more targets than its limit".to_owned());
    store.put_discovery_state(&state).await.expect("noted");
    let states = store.discovery_states().await.expect("states");
    assert_eq!(states, [state, JobState { job: "z".to_owned(), ..JobState::default() }]);
    let config = ConfigState {
        file: "prometheus.yml".to_owned(),
        process: "127.0.0.1:9099".to_owned(),
        last_success: None,
        last_read: Some(NOON),
        errors: vec!["line 3: no".to_owned()],
    };
    store.put_config_state(&config).await.expect("noted");
    assert_eq!(store.config_state().await.expect("an answer"), Some(config));
}

/// Few new targets are scraped at once, many wait for their turn; changed ones as they say.
pub async fn check_prompt(store: &impl Store) {
    let requested = async |id: &str| -> Option<Millis> { get(store, id).await.scrape_requested };
    sync(store, "few", &[found("few")]).await;
    let first = requested("few").await.expect("a new target is scraped at once");
    assert!(first > NOON, "by the store's clock");
    let mut one = found("few");
    one.labels.insert("__meta_x".to_owned(), "1".to_owned());
    sync(store, "few", std::slice::from_ref(&one)).await;
    assert_eq!(requested("few").await, Some(first), "a change alone asks for nothing");
    one.labels.insert("__meta_ready".to_owned(), "true".to_owned());
    one.prompt = true;
    tokio::time::sleep(Duration::from_millis(3)).await;
    sync(store, "few", std::slice::from_ref(&one)).await;
    let second = requested("few").await;
    assert!(second > Some(first));
    tokio::time::sleep(Duration::from_millis(3)).await;
    assert_eq!(counts(&sync(store, "few", std::slice::from_ref(&one)).await), [0, 1, 0, 0, 0]);
    assert!(requested("few").await > second, "also where nothing else has changed");
    let many: Vec<_> = (0..=MAX_PROMPT).map(|n| found(&format!("many-{n:03}"))).collect();
    sync(store, "many", &many).await;
    assert_eq!(requested("many-000").await, None);
}

/// Lists tell origins apart; equal options are shared by the targets of one answer.
pub async fn check_origins(store: &impl Store) {
    create(store, &target("by-user")).await;
    store.register_target(&target("by-itself"), Duration::from_secs(600)).await.expect("a registration");
    sync(store, "job", &[found("found-1"), found("found-2")]).await;
    let of = async |origin| {
        let filter = TargetFilter { origin: Some(origin), ..TargetFilter::default() };
        store.targets(&filter, 10).await.expect("targets")
    };
    assert_eq!(ids(&of(OriginKind::Api).await), ["by-user"]);
    assert_eq!(ids(&of(OriginKind::Registered).await), ["by-itself"]);
    let discovered = of(OriginKind::Discovered).await;
    assert_eq!(ids(&discovered), ["found-1", "found-2"]);
    assert_eq!(*discovered[0].spec.scrape_config.options, *found("x").spec.scrape_config.options);
}

/// Ten thousand targets: brought in, left alone, changed in part, removed, each within seconds.
pub async fn check_many_discovered(store: &impl Store) {
    const MANY: usize = 10_000;
    let mut all: Vec<_> = (0..MANY).map(|n| found(&format!("target-{n:05}"))).collect();
    let many = MANY as u64;
    let timed = async |what: &str, targets: &[DiscoveredTarget], expected: [u64; 5]| {
        let started = Instant::now();
        assert_eq!(counts(&sync(store, "large", targets).await), expected, "{what}");
        let took = started.elapsed();
        println!("{what} of {MANY} targets: {took:?}");
        assert!(took < Duration::from_secs(20), "{what} took {took:?}");
    };
    timed("first sync", &all, [many, 0, 0, 0, 0]).await;
    timed("unchanged", &all, [0, 0, 0, many, 0]).await;
    for one in all.iter_mut().step_by(100) {
        one.spec.labels.insert("changed".to_owned(), "yes".to_owned());
    }
    timed("one in a hundred changed", &all, [0, many / 100, 0, many - many / 100, 0]).await;
    let changes = changed(store, 0).await;
    assert_eq!(changes.len(), MANY);
    assert!(changes.windows(2).all(|pair| pair[0].revision < pair[1].revision));
    timed("removal", &[], [0, 0, many, 0, 0]).await;
    assert!(changed(store, 0).await.iter().all(|target| target.deleting));
}

/// Somebody leads; asked again it still does.
pub async fn check_lead(store: &impl Store) {
    let mut lead = store.try_lead("conformance").await.expect("an answer").expect("nobody else asks");
    assert!(lead.is_held().await);
    let mut other = store.try_lead("another matter").await.expect("an answer").expect("nobody else asks");
    assert!(other.is_held().await && lead.is_held().await);
    drop(lead);
    // A server may need a moment to notice.
    for _ in 0..100 {
        if store.try_lead("conformance").await.expect("an answer").is_some() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("what was given up can be had again");
}
