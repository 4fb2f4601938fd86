//! Targets that register themselves for a while.

use std::time::Duration;

use metricsd_model::{HealthStatus, Origin, OriginKind, Target, TargetSpec};

use super::targets::{create, enabled, get};
use crate::Registration;
use crate::conformance::fixtures::*;

const LONG: Duration = Duration::from_secs(600);

async fn register(store: &impl Store, spec: &TargetSpec, ttl: Duration) -> Registration {
    store.register_target(spec, ttl).await.expect("a registration")
}

async fn new(store: &impl Store, spec: &TargetSpec, ttl: Duration) -> Target {
    match register(store, spec, ttl).await {
        Registration::New(target) => target,
        other => panic!("it is new: {other:?}"),
    }
}

async fn renewed(store: &impl Store, spec: &TargetSpec, ttl: Duration) -> Target {
    match register(store, spec, ttl).await {
        Registration::Renewed(target) => target,
        other => panic!("it was registered before: {other:?}"),
    }
}

fn expires(target: &Target) -> i64 {
    match target.origin {
        Origin::Registered { expires_at } => expires_at,
        _ => panic!("{:?} does not lapse", target.origin),
    }
}

async fn lapse(store: &impl Store) -> u64 {
    store.expire_lapsed().await.expect("an answer")
}

/// Repeating it gives it more time and no new revision; other settings do.
pub async fn check_register(store: &impl Store) {
    let made = new(store, &target("own"), LONG).await;
    assert_eq!(
        (&made.spec, made.health.status, made.deleting),
        (&target("own"), HealthStatus::Unknown, false)
    );
    assert!(expires(&made) > NOON + 600_000, "by the store's clock");
    assert_eq!(get(store, "own").await, made);
    let again = renewed(store, &target("own"), 2 * LONG).await;
    assert_eq!((again.id, again.revision), (made.id, made.revision), "nothing but the time changed");
    assert!(expires(&again) >= expires(&made) + 500_000);
    let shorter = store.renew("own", LONG).await.expect("an answer").expect("the target");
    assert!(shorter.revision == made.revision && expires(&shorter) < expires(&again));
    assert_eq!(get(store, "own").await, shorter);

    let mut other = target("own");
    other.scrape_config.metrics_path = "/other".to_owned();
    other.enabled = false;
    let changed = renewed(store, &other, LONG).await;
    assert!(changed.revision > made.revision && changed.id == made.id);
    assert_eq!((&changed.spec, changed.health.status), (&other, HealthStatus::Disabled));
    assert_eq!(get(store, "own").await, changed);
    let changed = store.change_target("own", &enabled(true)).await.expect("an answer").expect("the target");
    assert_eq!(changed.origin.kind(), OriginKind::Registered, "a change leaves it what it is");
}

/// What lapses goes; what registers again before it is gone lives on.
pub async fn check_lapse(store: &impl Store) {
    let short = new(store, &target("short"), Duration::from_millis(20)).await;
    new(store, &target("long"), LONG).await;
    create(store, &target("user")).await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(lapse(store).await, 1);
    let gone = get(store, "short").await;
    assert!(gone.deleting && gone.revision > short.revision);
    assert_eq!(lapse(store).await, 0);
    assert_eq!(get(store, "short").await, gone, "it lapses once");
    assert_eq!(store.renew("short", LONG).await.expect("an answer"), None);
    let back = renewed(store, &target("short"), LONG).await;
    assert!(!back.deleting && back.revision > gone.revision && back.id == short.id);
    assert_eq!(lapse(store).await, 0);
    assert!(!get(store, "long").await.deleting && !get(store, "user").await.deleting);

    let prolonged = store.renew("short", Duration::from_millis(1)).await.expect("an answer");
    assert!(prolonged.is_some());
    tokio::time::sleep(Duration::from_millis(20)).await;
    store.renew("short", LONG).await.expect("an answer").expect("not lapsed until it is told so");
    assert_eq!(lapse(store).await, 0);
}

/// A target that stays is not taken over; replacing a registered one makes it stay.
pub async fn check_register_others(store: &impl Store) {
    let user = create(store, &target("user")).await;
    match register(store, &target("user"), LONG).await {
        Registration::Taken(standing) => assert_eq!(standing, user),
        other => panic!("it is a user's: {other:?}"),
    }
    assert_eq!(store.renew("user", LONG).await.expect("an answer"), None);
    assert_eq!(store.renew("nobody", LONG).await.expect("an answer"), None);
    new(store, &target("kept"), Duration::from_millis(1)).await;
    let kept = store.replace_target(&target("kept")).await.expect("an answer").expect("the target");
    assert_eq!(kept.origin, Origin::Api);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(lapse(store).await, 0);
    let asked = new(store, &target("deleted"), LONG).await;
    let going = store.request_deletion("deleted").await.expect("an answer").expect("the target");
    assert!(going.deleting && going.revision > asked.revision);
}
