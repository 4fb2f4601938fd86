//! Targets: creating, changing, deleting, and their health.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use metricsd_model::{
    AuthConfig, FailureReason, FilterAction, Health, HealthStatus, MetricFilter, PromDuration,
    RetentionPolicy, Target, TargetSpec,
};

use crate::conformance::fixtures::*;
use crate::{Created, TargetChange};

pub(super) async fn create(store: &impl Store, spec: &TargetSpec) -> Target {
    match store.create_target(spec).await.expect("a creation") {
        Created::New(target) => target,
        Created::Existing(_) => panic!("{} is new", spec.target_id),
    }
}

pub(super) async fn get(store: &impl Store, target_id: &str) -> Target {
    store.target(target_id).await.expect("an answer").expect("the target")
}

pub(super) fn enabled(enabled: bool) -> TargetChange {
    TargetChange { enabled: Some(enabled), ..TargetChange::default() }
}

pub(super) fn ids(targets: &[Target]) -> Vec<&str> {
    targets.iter().map(|target| target.spec.target_id.as_str()).collect()
}

/// A target keeps all that was asked for; its id is taken once, also by many at once.
pub async fn check_create(store: &impl Store) {
    assert_eq!(store.target("created").await.expect("an answer"), None);
    let mut spec = target("created");
    spec.scrape_config.authentication = Some(AuthConfig::Sealed { sealed: "c2VhbGVk".to_owned() });
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
    spec.retention_policy = Some(RetentionPolicy { duration: PromDuration::from_secs(3 * 86_400) });
    let made = create(store, &spec).await;
    assert_eq!(made.spec, spec, "all that was asked for is kept");
    assert_eq!(made.health, Health::default());
    assert!(!made.deleting && made.scrape_requested.is_none() && made.revision > 0);
    assert!(made.created_at > NOON, "created now, by the store's clock");
    assert_eq!(get(store, "created").await, made, "what is read is what was answered");

    let other = TargetSpec { enabled: false, ..target("created") };
    match store.create_target(&other).await.expect("a creation") {
        Created::Existing(standing) => assert_eq!(standing, made, "it stands unchanged"),
        Created::New(_) => panic!("the id was taken"),
    }
    let off = create(store, &TargetSpec { enabled: false, ..target("created-disabled") }).await;
    assert_eq!(off.health.status, HealthStatus::Disabled);
    assert!(off.revision > made.revision && off.id != made.id);
}

/// Of many that create one target at once, one finds it new and the others what that one created.
pub async fn check_concurrent_create(store: &Arc<impl Store>) {
    let calls = (0..8).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            let spec = TargetSpec { source_id: format!("racer-{n}"), ..target("created-at-once") };
            store.create_target(&spec).await.expect("a creation")
        })
    });
    let (mut new, mut existing) = (Vec::new(), Vec::new());
    for result in join_all(calls).await {
        match result.expect("a task") {
            Created::New(target) => new.push(target),
            Created::Existing(target) => existing.push(target),
        }
    }
    assert_eq!((new.len(), existing.len()), (1, 7), "one call created it");
    assert!(existing.iter().all(|target| *target == new[0]), "all others found what it created");
}

/// Many that are created at once, some twice and one that cannot be, are each answered as if they were alone.
pub async fn check_many_created_at_once(store: &Arc<impl Store>) {
    let calls = (0..60).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut spec = target(&format!("created-{}", n % 50));
            spec.enabled = n % 2 == 0;
            spec.labels = BTreeMap::from([("n".to_owned(), n.to_string())]);
            spec.retention_policy =
                (n % 3 == 0).then(|| RetentionPolicy { duration: PromDuration::from_secs(3_600) });
            if n == 49 {
                // Not sealed: no database takes it, and the others do not suffer.
                let password = metricsd_model::Secret::new("clear");
                spec.scrape_config.authentication =
                    Some(AuthConfig::Basic { username: "u".to_owned(), password });
            }
            (spec.clone(), store.create_target(&spec).await)
        })
    });
    let (mut new, mut existing, mut refused) = (Vec::new(), 0, 0);
    for result in join_all(calls).await {
        match result.expect("a task") {
            (spec, Ok(Created::New(target))) => {
                assert_eq!(target.spec, spec, "each is as it was asked for");
                let expected = if spec.enabled { HealthStatus::Unknown } else { HealthStatus::Disabled };
                assert_eq!(target.health.status, expected);
                new.push(target);
            }
            (_, Ok(Created::Existing(_))) => existing += 1,
            (spec, Err(error)) => {
                assert!(spec.scrape_config.authentication.is_some(), "{error}");
                refused += 1;
            }
        }
    }
    assert_eq!((new.len() + refused, existing), (50, 10));
    let mut revisions: Vec<i64> = new.iter().map(|target| target.revision).collect();
    revisions.sort_unstable();
    revisions.dedup();
    assert_eq!(revisions.len(), new.len(), "a revision each");
    let told = store.changes(0, Duration::ZERO).await.expect("changes");
    let created = told.iter().filter(|target| target.spec.target_id.starts_with("created-"));
    let mut created: Vec<&Target> = created.filter(|target| target.spec.labels.contains_key("n")).collect();
    created.sort_by_key(|target| target.id);
    new.sort_by_key(|target| target.id);
    assert!(created.into_iter().eq(&new), "what is told is what was answered");
}

/// Replacing changes what was asked for and nothing else.
pub async fn check_replace(store: &impl Store) {
    assert_eq!(store.replace_target(&target("replaced")).await.expect("an answer"), None);
    let absent = store.change_target("replaced", &enabled(true)).await;
    assert_eq!(absent.expect("an answer"), None);
    let made = create(store, &target("replaced")).await;
    let health = Health {
        status: HealthStatus::Unhealthy,
        reason: Some(FailureReason::Dns),
        error: Some("no such host".to_owned()),
        last_scrape: Some(NOON),
        scrape_duration_ms: 1.5,
        samples_scraped: 3,
    };
    store.record_health(&[("replaced".to_owned(), health.clone())]).await.expect("recorded");
    let mut spec = target("replaced");
    spec.source_id = "another".to_owned();
    spec.scrape_config.target_url = "https://elsewhere.example".to_owned();
    spec.labels.clear();
    let replaced = store.replace_target(&spec).await.expect("an answer").expect("the target");
    assert_eq!(replaced.spec, spec);
    assert_eq!((replaced.id, replaced.created_at), (made.id, made.created_at));
    assert_eq!(replaced.health, health, "health stays");
    assert!(replaced.revision > made.revision);
    assert_eq!(get(store, "replaced").await, replaced);
}

/// Replacing switches health as changing does; changing labels leaves the rest alone.
pub async fn check_change(store: &impl Store) {
    let mut spec = target("changed");
    create(store, &spec).await;
    spec.enabled = false;
    let off = store.replace_target(&spec).await.expect("an answer").expect("the target");
    assert_eq!((off.health.status, off.spec.enabled), (HealthStatus::Disabled, false));
    spec.enabled = true;
    let on = store.replace_target(&spec).await.expect("an answer").expect("the target");
    assert_eq!(on.health.status, HealthStatus::Unknown);

    let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
    let change = TargetChange { labels: Some(labels.clone()), ..TargetChange::default() };
    let changed = store.change_target("changed", &change).await.expect("an answer").expect("the target");
    assert_eq!(changed.spec, TargetSpec { labels, ..spec }, "what is not named stays");
    assert!(changed.revision > on.revision);
    assert_eq!(get(store, "changed").await, changed);
}

/// Disabling and enabling, and what a late health does to them.
pub async fn check_enabling(store: &impl Store) {
    create(store, &target("enabling")).await;
    let healthy = |at| Health { status: HealthStatus::Healthy, last_scrape: Some(at), ..Health::default() };
    let record = async |health: Health| {
        store.record_health(&[("enabling".to_owned(), health)]).await.expect("recorded");
        get(store, "enabling").await.health.status
    };
    assert_eq!(record(healthy(NOON)).await, HealthStatus::Healthy);
    let on = store.change_target("enabling", &enabled(true)).await.expect("an answer").expect("the target");
    assert_eq!(on.health.status, HealthStatus::Healthy, "enabling what is enabled changes no health");
    let off = store.change_target("enabling", &enabled(false)).await.expect("an answer").expect("the target");
    assert_eq!((off.spec.enabled, off.health.status), (false, HealthStatus::Disabled));
    assert_eq!((off.health.reason, off.health.error), (None, None));
    assert_eq!(record(healthy(NOON + 1)).await, HealthStatus::Disabled, "a scrape that was under way");
    let on = store.change_target("enabling", &enabled(true)).await.expect("an answer").expect("the target");
    assert_eq!((on.spec.enabled, on.health.status), (true, HealthStatus::Unknown));
    assert_eq!(record(healthy(NOON + 2)).await, HealthStatus::Healthy);
}

/// Deletion: asked for, seen by those who follow, finished; then the id is free.
pub async fn check_deletion(store: &impl Store) {
    assert_eq!(store.request_deletion("deleted").await.expect("an answer"), None);
    assert!(!store.finish_deletion("deleted").await.expect("an answer"), "there is nothing to remove");
    let made = create(store, &target("deleted")).await;
    assert!(!store.finish_deletion("deleted").await.expect("an answer"), "nobody asked for its deletion");
    assert_eq!(get(store, "deleted").await, made);

    let asked = store.request_deletion("deleted").await.expect("an answer").expect("the target");
    assert!(asked.deleting && asked.revision > made.revision);
    let again = store.request_deletion("deleted").await.expect("an answer").expect("the target");
    assert_eq!(again, asked, "asking again changes nothing");
    assert_eq!(get(store, "deleted").await, asked, "it is there until it is gone");
    let changes = store.changes(made.revision, Duration::ZERO).await.expect("changes");
    assert!(changes.contains(&asked), "those who follow see it");

    assert_eq!(store.replace_target(&target("deleted")).await.expect("an answer"), None);
    assert_eq!(store.change_target("deleted", &enabled(false)).await.expect("an answer"), None);
    assert_eq!(store.request_scrape("deleted", NOON).await.expect("an answer"), None);
    match store.create_target(&target("deleted")).await.expect("an answer") {
        Created::Existing(standing) => assert_eq!(standing, asked, "its id is still taken"),
        Created::New(_) => panic!("its id is still taken"),
    }

    assert!(store.finish_deletion("deleted").await.expect("an answer"));
    assert!(!store.finish_deletion("deleted").await.expect("an answer"), "once");
    assert_eq!(store.target("deleted").await.expect("an answer"), None);
    let reborn = create(store, &target("deleted")).await;
    assert!(reborn.revision > asked.revision && !reborn.deleting && reborn.id != made.id);
}

/// A scrape out of turn is a change that the worker sees.
pub async fn check_scrape_requests(store: &impl Store) {
    assert_eq!(store.request_scrape("requested", NOON).await.expect("an answer"), None);
    let made = create(store, &target("requested")).await;
    let asked = store.request_scrape("requested", NOON + 5).await.expect("an answer").expect("the target");
    assert_eq!(asked.scrape_requested, Some(NOON + 5));
    assert!(asked.revision > made.revision);
    assert_eq!(store.changes(made.revision, Duration::ZERO).await.expect("changes"), [asked]);
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
        let updates: Vec<_> = updates.into_iter().map(|(id, health)| (id.to_owned(), health)).collect();
        store.record_health(&updates).await.expect("recorded");
        get(store, "health").await.health
    };
    assert_eq!(record(vec![]).await, Health::default());
    assert_eq!(record(vec![("nobody", unhealthy.clone()), ("health", unhealthy.clone())]).await, unhealthy);
    let older = Health { status: HealthStatus::Healthy, last_scrape: Some(NOON + 9), ..Health::default() };
    assert_eq!(record(vec![("health", older.clone())]).await, unhealthy, "an older scrape changes nothing");
    let same = Health { last_scrape: Some(NOON + 10), ..older.clone() };
    assert_eq!(record(vec![("health", same.clone())]).await, same, "one of the same time does");
    let newer = Health { last_scrape: Some(NOON + 20), ..unhealthy };
    let several = vec![("health", newer.clone()), ("health", older)];
    assert_eq!(record(several).await, newer, "the newest of several stands");
    assert_eq!(get(store, "health").await.revision, made.revision);
    assert_eq!(get(store, "health-neighbour").await, neighbour);
    assert_eq!(store.changes(neighbour.revision, Duration::ZERO).await.expect("changes"), []);
}
