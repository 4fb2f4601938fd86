//! Targets: creating, changing, deleting, listing, following, and their health.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::{join, join_all};
use metricsd_model::{
    AuthConfig, FailureReason, FilterAction, Health, HealthStatus, MetricFilter, PromDuration,
    RetentionPolicy, Target, TargetSpec,
};

use crate::conformance::fixtures::*;
use crate::{Created, TargetChange, TargetFilter};

async fn create(store: &impl Store, spec: &TargetSpec) -> Target {
    match store.create_target(spec).await.expect("a creation") {
        Created::New(target) => target,
        Created::Existing(_) => panic!("{} is new", spec.target_id),
    }
}

async fn get(store: &impl Store, target_id: &str) -> Target {
    store
        .target(target_id)
        .await
        .expect("an answer")
        .expect("the target")
}

fn enabled(enabled: bool) -> TargetChange {
    TargetChange {
        enabled: Some(enabled),
        ..TargetChange::default()
    }
}

fn ids(targets: &[Target]) -> Vec<&str> {
    targets
        .iter()
        .map(|target| target.spec.target_id.as_str())
        .collect()
}

/// A target keeps all that was asked for; its id is taken once, also by many at once.
pub async fn check_create(store: &impl Store) {
    assert_eq!(store.target("created").await.expect("an answer"), None);
    let mut spec = target("created");
    spec.scrape_config.authentication = Some(AuthConfig::Sealed {
        sealed: "c2VhbGVk".to_owned(),
    });
    spec.scrape_config.scrape_interval = PromDuration(Duration::from_millis(250));
    spec.scrape_config.honor_labels = true;
    spec.scrape_config.honor_timestamps = false;
    spec.labels = BTreeMap::from([("zone".to_owned(), "ä \"quoted\" \\ 'b'".to_owned())]);
    spec.filters = vec![MetricFilter {
        action: FilterAction::DropLabels,
        name: Some("go_.*".to_owned()),
        labels: BTreeMap::from([("quantile".to_owned(), "0\\.5".to_owned())]),
        drop_labels: vec!["instance".to_owned()],
    }];
    spec.retention_policy = Some(RetentionPolicy {
        duration: PromDuration::from_secs(3 * 86_400),
    });
    let made = create(store, &spec).await;
    assert_eq!(made.spec, spec, "all that was asked for is kept");
    assert_eq!(made.health, Health::default());
    assert!(!made.deleting && made.scrape_requested.is_none() && made.revision > 0);
    assert!(made.created_at > NOON, "created now, by the store's clock");
    assert_eq!(
        get(store, "created").await,
        made,
        "what is read is what was answered"
    );

    let other = TargetSpec {
        enabled: false,
        ..target("created")
    };
    match store.create_target(&other).await.expect("a creation") {
        Created::Existing(standing) => assert_eq!(standing, made, "it stands unchanged"),
        Created::New(_) => panic!("the id was taken"),
    }
    let off = create(
        store,
        &TargetSpec {
            enabled: false,
            ..target("created-disabled")
        },
    )
    .await;
    assert_eq!(off.health.status, HealthStatus::Disabled);
    assert!(off.revision > made.revision && off.id != made.id);

    let specs: Vec<_> = (0..8)
        .map(|n| TargetSpec {
            source_id: format!("racer-{n}"),
            ..target("created-at-once")
        })
        .collect();
    let results = join_all(specs.iter().map(|spec| store.create_target(spec))).await;
    let (mut new, mut existing) = (Vec::new(), Vec::new());
    for result in results {
        match result.expect("a creation") {
            Created::New(target) => new.push(target),
            Created::Existing(target) => existing.push(target),
        }
    }
    assert_eq!((new.len(), existing.len()), (1, 7), "one call created it");
    assert!(
        existing.iter().all(|target| *target == new[0]),
        "all others found what it created"
    );
}

/// Replacing changes what was asked for and nothing else.
pub async fn check_replace(store: &impl Store) {
    assert_eq!(
        store
            .replace_target(&target("replaced"))
            .await
            .expect("an answer"),
        None
    );
    assert_eq!(
        store
            .change_target("replaced", &enabled(true))
            .await
            .expect("an answer"),
        None
    );
    let made = create(store, &target("replaced")).await;
    let health = Health {
        status: HealthStatus::Unhealthy,
        reason: Some(FailureReason::Dns),
        error: Some("no such host".to_owned()),
        last_scrape: Some(NOON),
        scrape_duration_ms: 1.5,
        samples_scraped: 3,
    };
    store
        .record_health(&[("replaced".to_owned(), health.clone())])
        .await
        .expect("recorded");
    let mut spec = target("replaced");
    spec.source_id = "another".to_owned();
    spec.scrape_config.target_url = "https://elsewhere.example".to_owned();
    spec.labels.clear();
    let replaced = store
        .replace_target(&spec)
        .await
        .expect("an answer")
        .expect("the target");
    assert_eq!(replaced.spec, spec);
    assert_eq!((replaced.id, replaced.created_at), (made.id, made.created_at));
    assert_eq!(replaced.health, health, "health stays");
    assert!(replaced.revision > made.revision);
    assert_eq!(get(store, "replaced").await, replaced);

    spec.enabled = false;
    let off = store
        .replace_target(&spec)
        .await
        .expect("an answer")
        .expect("the target");
    assert_eq!(
        (off.health.status, off.spec.enabled),
        (HealthStatus::Disabled, false)
    );
    spec.enabled = true;
    let on = store
        .replace_target(&spec)
        .await
        .expect("an answer")
        .expect("the target");
    assert_eq!(on.health.status, HealthStatus::Unknown);

    let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
    let change = TargetChange {
        labels: Some(labels.clone()),
        ..TargetChange::default()
    };
    let changed = store
        .change_target("replaced", &change)
        .await
        .expect("an answer")
        .expect("the target");
    assert_eq!(
        changed.spec,
        TargetSpec { labels, ..spec },
        "what is not named stays"
    );
    assert!(changed.revision > on.revision);
    assert_eq!(get(store, "replaced").await, changed);
}

/// Disabling and enabling, and what a late health does to them.
pub async fn check_enabling(store: &impl Store) {
    create(store, &target("enabling")).await;
    let healthy = |at| Health {
        status: HealthStatus::Healthy,
        last_scrape: Some(at),
        ..Health::default()
    };
    let record = async |health: Health| {
        store
            .record_health(&[("enabling".to_owned(), health)])
            .await
            .expect("recorded");
        get(store, "enabling").await.health.status
    };
    assert_eq!(record(healthy(NOON)).await, HealthStatus::Healthy);
    let on = store
        .change_target("enabling", &enabled(true))
        .await
        .expect("an answer")
        .expect("the target");
    assert_eq!(
        on.health.status,
        HealthStatus::Healthy,
        "enabling what is enabled changes no health"
    );
    let off = store
        .change_target("enabling", &enabled(false))
        .await
        .expect("an answer")
        .expect("the target");
    assert_eq!(
        (off.spec.enabled, off.health.status),
        (false, HealthStatus::Disabled)
    );
    assert_eq!((off.health.reason, off.health.error), (None, None));
    assert_eq!(
        record(healthy(NOON + 1)).await,
        HealthStatus::Disabled,
        "a scrape that was under way"
    );
    let on = store
        .change_target("enabling", &enabled(true))
        .await
        .expect("an answer")
        .expect("the target");
    assert_eq!((on.spec.enabled, on.health.status), (true, HealthStatus::Unknown));
    assert_eq!(record(healthy(NOON + 2)).await, HealthStatus::Healthy);
}

/// Deletion: asked for, seen by those who follow, finished; then the id is free.
pub async fn check_deletion(store: &impl Store) {
    assert_eq!(store.request_deletion("deleted").await.expect("an answer"), None);
    assert!(
        !store.finish_deletion("deleted").await.expect("an answer"),
        "there is nothing to remove"
    );
    let made = create(store, &target("deleted")).await;
    assert!(
        !store.finish_deletion("deleted").await.expect("an answer"),
        "nobody asked for its deletion"
    );
    assert_eq!(get(store, "deleted").await, made);

    let asked = store
        .request_deletion("deleted")
        .await
        .expect("an answer")
        .expect("the target");
    assert!(asked.deleting && asked.revision > made.revision);
    let again = store
        .request_deletion("deleted")
        .await
        .expect("an answer")
        .expect("the target");
    assert_eq!(again, asked, "asking again changes nothing");
    assert_eq!(get(store, "deleted").await, asked, "it is there until it is gone");
    let changes = store
        .changes(made.revision, Duration::ZERO)
        .await
        .expect("changes");
    assert!(changes.contains(&asked), "those who follow see it");

    assert_eq!(
        store.replace_target(&target("deleted")).await.expect("an answer"),
        None
    );
    assert_eq!(
        store
            .change_target("deleted", &enabled(false))
            .await
            .expect("an answer"),
        None
    );
    assert_eq!(
        store.request_scrape("deleted", NOON).await.expect("an answer"),
        None
    );
    match store.create_target(&target("deleted")).await.expect("an answer") {
        Created::Existing(standing) => assert_eq!(standing, asked, "its id is still taken"),
        Created::New(_) => panic!("its id is still taken"),
    }

    assert!(store.finish_deletion("deleted").await.expect("an answer"));
    assert!(
        !store.finish_deletion("deleted").await.expect("an answer"),
        "once"
    );
    assert_eq!(store.target("deleted").await.expect("an answer"), None);
    let reborn = create(store, &target("deleted")).await;
    assert!(reborn.revision > asked.revision && !reborn.deleting && reborn.id != made.id);
}

/// A scrape out of turn is a change that the worker sees.
pub async fn check_scrape_requests(store: &impl Store) {
    assert_eq!(
        store.request_scrape("requested", NOON).await.expect("an answer"),
        None
    );
    let made = create(store, &target("requested")).await;
    let asked = store
        .request_scrape("requested", NOON + 5)
        .await
        .expect("an answer")
        .expect("the target");
    assert_eq!(asked.scrape_requested, Some(NOON + 5));
    assert!(asked.revision > made.revision);
    assert_eq!(
        store
            .changes(made.revision, Duration::ZERO)
            .await
            .expect("changes"),
        [asked]
    );
}

/// The newest scrape's health stands; revisions are not touched.
pub async fn check_health(store: &impl Store) {
    let made = create(store, &target("health")).await;
    let neighbour = create(store, &target("health-neighbour")).await;
    let unhealthy = Health {
        status: HealthStatus::Unhealthy,
        reason: Some(FailureReason::TooLarge),
        error: Some("the page is \"larger\" than 1 MiB".to_owned()),
        last_scrape: Some(NOON + 10),
        scrape_duration_ms: 0.125,
        samples_scraped: 1 << 40,
    };
    let record = async |updates: Vec<(&str, Health)>| {
        let updates: Vec<_> = updates
            .into_iter()
            .map(|(id, health)| (id.to_owned(), health))
            .collect();
        store.record_health(&updates).await.expect("recorded");
        get(store, "health").await.health
    };
    assert_eq!(record(vec![]).await, Health::default());
    assert_eq!(
        record(vec![("nobody", unhealthy.clone()), ("health", unhealthy.clone())]).await,
        unhealthy
    );
    let older = Health {
        status: HealthStatus::Healthy,
        last_scrape: Some(NOON + 9),
        ..Health::default()
    };
    assert_eq!(
        record(vec![("health", older.clone())]).await,
        unhealthy,
        "an older scrape changes nothing"
    );
    let same = Health {
        last_scrape: Some(NOON + 10),
        ..older.clone()
    };
    assert_eq!(
        record(vec![("health", same.clone())]).await,
        same,
        "one of the same time does"
    );
    let newer = Health {
        last_scrape: Some(NOON + 20),
        ..unhealthy
    };
    let several = vec![("health", newer.clone()), ("health", older)];
    assert_eq!(record(several).await, newer, "the newest of several stands");
    assert_eq!(get(store, "health").await.revision, made.revision);
    assert_eq!(get(store, "health-neighbour").await, neighbour);
    assert_eq!(
        store
            .changes(neighbour.revision, Duration::ZERO)
            .await
            .expect("changes"),
        []
    );
}

/// Filters narrow, order is by the bytes of ids, pages join without gap or overlap.
pub async fn check_list(store: &impl Store) {
    assert_eq!(
        store
            .targets(&TargetFilter::default(), 10)
            .await
            .expect("targets"),
        []
    );
    let sorted = ["10", "9", "A", "B", "_", "a", "a-b", "a.b", "ab", "b", "é"];
    for (n, id) in sorted.iter().enumerate().rev() {
        let mut spec = target(id);
        spec.source_id = if n % 2 == 0 { "even" } else { "odd" }.to_owned();
        spec.labels.insert("third".to_owned(), (n % 3).to_string());
        spec.enabled = n != 4;
        create(store, &spec).await;
    }
    let healthy = Health {
        status: HealthStatus::Healthy,
        last_scrape: Some(NOON),
        ..Health::default()
    };
    store
        .record_health(&[("A".to_owned(), healthy.clone()), ("9".to_owned(), healthy)])
        .await
        .expect("recorded");
    store.request_deletion("b").await.expect("an answer");
    let all = store
        .targets(&TargetFilter::default(), 100)
        .await
        .expect("targets");
    assert_eq!(ids(&all), sorted, "in order of id, those being deleted included");
    for size in [1, 3, 4, 11] {
        let (mut filter, mut found) = (TargetFilter::default(), Vec::new());
        loop {
            let page = store.targets(&filter, size).await.expect("targets");
            assert!(page.len() <= size, "at most as many as asked for");
            let Some(last) = page.last() else { break };
            filter.after = Some(last.spec.target_id.clone());
            found.extend(page);
        }
        assert_eq!(found, all, "pages of {size}");
    }
    let check = async |filter: TargetFilter, expected: &[&str]| {
        let found = store.targets(&filter, 100).await.expect("targets");
        assert_eq!(ids(&found), expected, "{filter:?}");
    };
    let none = TargetFilter::default;
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let (team, second) = (label("team", "observability"), label("third", "1"));
    check(
        TargetFilter {
            source_id: Some("odd".to_owned()),
            ..none()
        },
        &["9", "B", "a", "a.b", "b"],
    )
    .await;
    check(
        TargetFilter {
            health: Some(HealthStatus::Healthy),
            ..none()
        },
        &["9", "A"],
    )
    .await;
    check(
        TargetFilter {
            health: Some(HealthStatus::Disabled),
            ..none()
        },
        &["_"],
    )
    .await;
    check(
        TargetFilter {
            enabled: Some(false),
            ..none()
        },
        &["_"],
    )
    .await;
    check(
        TargetFilter {
            labels: vec![second.clone()],
            ..none()
        },
        &["9", "_", "a.b", "é"][..],
    )
    .await;
    check(
        TargetFilter {
            labels: vec![team.clone(), second.clone()],
            enabled: Some(true),
            ..none()
        },
        &["9", "a.b", "é"],
    )
    .await;
    check(
        TargetFilter {
            labels: vec![second.clone(), label("third", "2")],
            ..none()
        },
        &[],
    )
    .await;
    check(
        TargetFilter {
            labels: vec![label("team", "Observability")],
            ..none()
        },
        &[],
    )
    .await;
    let both = TargetFilter {
        source_id: Some("even".to_owned()),
        labels: vec![team],
        after: Some("a".to_owned()),
        ..none()
    };
    check(both, &["a-b", "ab", "é"]).await;
}

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
    assert_eq!(
        store.changes(i64::MAX, Duration::ZERO).await.expect("changes"),
        []
    );
    store
        .change_target("c", &enabled(false))
        .await
        .expect("an answer");
    store.request_deletion("a").await.expect("an answer");
    let newer = store.changes(last, Duration::ZERO).await.expect("changes");
    assert_eq!(ids(&newer), ["c", "a"]);
    assert!(newer[0].revision > last && newer[1].revision > newer[0].revision);
    assert!(newer[1].deleting);
    assert_eq!(
        ids(&store.changes(0, Duration::ZERO).await.expect("changes")),
        ["b", "c", "a"]
    );
}

/// While many write, one that follows by revision misses nothing.
pub async fn check_revisions(store: &impl Store) {
    const WRITERS: usize = 6;
    const ROUNDS: usize = 8;
    for n in 0..WRITERS {
        create(store, &target(&format!("revised-{n}"))).await;
    }
    let start = store
        .changes(0, Duration::ZERO)
        .await
        .expect("changes")
        .last()
        .map_or(0, |last| last.revision);
    let write = async |n: usize| {
        let id = format!("revised-{n}");
        for round in 0..ROUNDS {
            let labels = BTreeMap::from([("round".to_owned(), round.to_string())]);
            let change = TargetChange {
                labels: Some(labels),
                ..TargetChange::default()
            };
            store
                .change_target(&id, &change)
                .await
                .expect("an answer")
                .expect("the target");
        }
        get(store, &id).await
    };
    let follow = async {
        let mut seen: BTreeMap<String, Target> = BTreeMap::new();
        let mut revision = start;
        let finished = |seen: &BTreeMap<String, Target>| {
            let done = |target: &&Target| target.spec.labels.get("round") == Some(&(ROUNDS - 1).to_string());
            seen.values().filter(done).count() == WRITERS
        };
        while !finished(&seen) {
            let changes = store
                .changes(revision, Duration::from_secs(5))
                .await
                .expect("changes");
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
        assert_eq!(
            seen.remove(&target.spec.target_id),
            Some(target),
            "the follower has the last state"
        );
    }
}

/// A change wakes those who wait within a second; without one they wait as long as they said.
pub async fn check_waiting(store: &impl Store) {
    let made = create(store, &target("awaited")).await;
    let started = Instant::now();
    assert_eq!(
        store
            .changes(made.revision, Duration::from_millis(300))
            .await
            .expect("changes"),
        []
    );
    assert!(started.elapsed() >= Duration::from_millis(250), "it waits");
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "no longer than it was told"
    );

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
    assert_eq!(
        store
            .changes(made.revision, Duration::from_secs(20))
            .await
            .expect("changes")
            .len(),
        1
    );
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "what is there already is not waited for"
    );
}
