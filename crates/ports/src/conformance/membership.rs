//! What every [`crate::Membership`] must do, and the sink beside it.

use std::sync::Arc;
use std::time::Duration;

use metricsd_model::{Batch, Fence};
use uuid::Uuid;

use super::fixtures::{Store, batch};
use crate::Receipt::{Duplicate, Fenced, Stored};
use crate::membership::{BUCKETS, Grant, Membership, Plan, Policy, Report, plan};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(300);
const POLICY: Policy = Policy { lead: 200, doubt: 1_000, tolerance: 10, may_evict: true };

/// Runs every check of this suite, each on a store of its own that `new` makes: fresh and empty.
pub async fn check_all<S: Store + Membership>(new: impl AsyncFn() -> S) {
    super::each!(new, check_leases, check_plans, check_hand_over, check_loss, check_leaving, check_fences);
}

fn report(number: u128) -> Report {
    Report {
        member: Uuid::from_u128(number),
        process: Uuid::from_u128(number + 100),
        weight: 2,
        draining: false,
        targets: 3,
        samples_per_second: 4,
        capacity: 5,
    }
}

async fn planned(store: &impl Membership) -> Option<Plan> {
    plan(&store.snapshot().await.expect("a snapshot"), &[], &POLICY, false)
}

async fn settle(store: &impl Membership) -> Plan {
    let plan = planned(store).await.expect("something to do");
    assert!(store.propose(&plan).await.expect("an answer"), "the plan is new");
    plan
}

/// A lease is renewed by the one who joined, however late, and what it said last is what is seen.
pub async fn check_leases(store: &(impl Store + Membership)) {
    let one = report(1);
    assert_eq!(store.renew_lease(&one, LONG, 0).await.expect("an answer"), None, "it never joined");
    let joined = store.join(&one, SHORT, 0).await.expect("a lease");
    assert_eq!((joined.epoch, joined.changed.len(), joined.unsettled), (0, 0, true));
    tokio::time::sleep(SHORT + Duration::from_millis(50)).await;
    let later = Report { targets: 30, samples_per_second: 40, ..one.clone() };
    let renewed =
        store.renew_lease(&later, LONG, 0).await.expect("an answer").expect("nobody took it for lost");
    assert!(renewed.now > joined.now && renewed.next_expiry > renewed.now, "{renewed:?}");
    let snapshot = store.snapshot().await.expect("a snapshot");
    let [lease] = snapshot.leases.as_slice() else { panic!("{:?}", snapshot.leases) };
    assert_eq!(lease.report, later);
    assert!(lease.renewed <= snapshot.now && lease.expires > snapshot.now && !lease.placed);
    assert_eq!(lease.expires - lease.renewed, 60_000);
}

/// One plan an epoch; whoever renews hears of what changed since the epoch that it knew.
pub async fn check_plans(store: &(impl Store + Membership)) {
    store.join(&report(1), LONG, 0).await.expect("a lease");
    assert!(!store.changed(0, Duration::ZERO).await.expect("an answer"));
    let first = settle(store).await;
    assert_eq!((first.base, first.grants.len()), (0, usize::from(BUCKETS)));
    assert!(store.changed(0, Duration::ZERO).await.expect("an answer"));
    assert!(!store.propose(&first).await.expect("an answer"), "the table has changed");
    assert_eq!(planned(store).await, None, "nothing is left to do");
    let renewal = store.renew_lease(&report(1), LONG, 0).await.expect("an answer").expect("a lease");
    assert_eq!((renewal.epoch, renewal.unsettled), (1, false));
    assert_eq!(renewal.changed, first.grants);
    let again = store.renew_lease(&report(1), LONG, 1).await.expect("an answer").expect("a lease");
    assert_eq!((again.epoch, again.changed.len()), (1, 0));
    let snapshot = store.snapshot().await.expect("a snapshot");
    assert_eq!((snapshot.table.epoch(), snapshot.table.owned(Uuid::from_u128(1))), (1, usize::from(BUCKETS)));
    assert_eq!((snapshot.leases[0].placed, snapshot.leases[0].known), (true, 1));
    let stale = Plan { base: 1, made: snapshot.now - 10_000, ..first.clone() };
    assert!(!store.propose(&stale).await.expect("an answer"), "its times are of long ago");
    let stranger = Grant { owner: Uuid::from_u128(9), ..first.grants[0].1 };
    let strange = Plan { base: 1, made: snapshot.now, grants: vec![(0, stranger)], ..first };
    assert!(!store.propose(&strange).await.expect("an answer"), "the owner is no member");
}

/// One that comes is given its part from a time on that is not yet; one that wants to go is given nothing more.
pub async fn check_hand_over(store: &(impl Store + Membership)) {
    store.join(&report(1), LONG, 0).await.expect("a lease");
    settle(store).await;
    store.renew_lease(&report(1), LONG, 1).await.expect("an answer");
    store.join(&report(2), LONG, 0).await.expect("a lease");
    let before = store.snapshot().await.expect("a snapshot");
    let given = settle(store).await;
    assert!(given.grants.len() > usize::from(BUCKETS) * 2 / 5, "{}", given.grants.len());
    for (_, grant) in &given.grants {
        assert_eq!((grant.owner, grant.previous), (Uuid::from_u128(2), Some(Uuid::from_u128(1))));
        assert!(grant.since >= before.now + POLICY.lead && grant.gap.is_none(), "{grant:?}");
    }
    let snapshot = store.snapshot().await.expect("a snapshot");
    assert_eq!(snapshot.table.owned(Uuid::from_u128(2)), given.grants.len());
    let kept = snapshot.table.grant(given.grants[0].0).expect("a grant");
    assert_eq!(*kept, given.grants[0].1, "all of a grant is kept");
    let going = Report { draining: true, ..report(2) };
    let renewal = store.renew_lease(&going, LONG, 2).await.expect("an answer").expect("a lease");
    assert!(renewal.unsettled);
    let back = Grant { owner: Uuid::from_u128(2), ..given.grants[0].1 };
    let other = (0..BUCKETS).find(|bucket| given.grants.iter().all(|(known, _)| known != bucket));
    let more = Plan {
        base: 2,
        made: store.snapshot().await.expect("a snapshot").now,
        grants: vec![(other.expect("one stayed"), back)],
        ..given
    };
    assert!(!store.propose(&more).await.expect("an answer"), "it wants to go");
}

/// A lease that has run out is taken by a plan, unless it is renewed before; then its member is none any more.
pub async fn check_loss(store: &(impl Store + Membership)) {
    store.join(&report(1), LONG, 0).await.expect("a lease");
    store.join(&report(2), SHORT, 0).await.expect("a lease");
    let first = settle(store).await;
    assert_eq!(first.placed.len(), 2);
    store.renew_lease(&report(1), LONG, 1).await.expect("an answer");
    let renewed = store.renew_lease(&report(2), SHORT, 1).await.expect("an answer").expect("a lease").now;
    tokio::time::sleep(SHORT + Duration::from_millis(50)).await;
    let too_soon = planned(store).await.expect("a member is lost");
    assert_eq!(too_soon.lost, [Uuid::from_u128(2)]);
    store.renew_lease(&report(2), SHORT, 1).await.expect("an answer").expect("still a member");
    assert!(!store.propose(&too_soon).await.expect("an answer"), "it lives");
    assert_eq!(store.snapshot().await.expect("a snapshot").table.epoch(), 1, "nothing was changed");
    tokio::time::sleep(SHORT + Duration::from_millis(50)).await;
    let unsettled =
        store.renew_lease(&report(1), LONG, 1).await.expect("an answer").expect("a lease").unsettled;
    assert!(unsettled);
    let taken = settle(store).await;
    assert_eq!(
        store.renew_lease(&report(2), LONG, 1).await.expect("an answer"),
        None,
        "it was taken for lost"
    );
    let gap = |grant: &Grant| grant.gap.is_some_and(|gap| gap >= renewed - POLICY.doubt && gap < grant.since);
    assert!(taken.grants.iter().all(|(_, grant)| grant.previous.is_none() && gap(grant)));
    let snapshot = store.snapshot().await.expect("a snapshot");
    assert_eq!((snapshot.leases.len(), snapshot.table.owned(Uuid::from_u128(2))), (1, 0));
}

/// Who goes while it owns something is lost at once, the last one is forgotten.
pub async fn check_leaving(store: &(impl Store + Membership)) {
    for number in 1..=3 {
        store.join(&report(number), LONG, 0).await.expect("a lease");
    }
    settle(store).await;
    store.leave(Uuid::from_u128(1)).await.expect("left");
    let taken = settle(store).await;
    assert_eq!(taken.lost, [Uuid::from_u128(1)]);
    store.join(&report(4), LONG, 0).await.expect("a lease");
    store.leave(Uuid::from_u128(4)).await.expect("left");
    assert_eq!(store.snapshot().await.expect("a snapshot").leases.len(), 2, "it owned nothing");
    store.leave(Uuid::from_u128(2)).await.expect("left");
    settle(store).await;
    store.leave(Uuid::from_u128(3)).await.expect("left");
    store.leave(Uuid::from_u128(3)).await.expect("left before");
    assert_eq!(store.snapshot().await.expect("a snapshot").leases, [], "nobody is there to take over");
    store.join(&report(5), LONG, 0).await.expect("a lease");
    let all = settle(store).await;
    assert_eq!(all.grants.len(), usize::from(BUCKETS));
    assert!(all.grants.iter().all(|(_, grant)| grant.gap.is_none()), "nobody was to scrape");
}

/// The sink refuses what belongs to another by then, and takes what was the scraper's own when it was scheduled.
pub async fn check_fences(store: &(impl Store + Membership)) {
    store.join(&report(1), LONG, 0).await.expect("a lease");
    settle(store).await;
    store.renew_lease(&report(1), LONG, 1).await.expect("an answer");
    store.join(&report(2), LONG, 0).await.expect("a lease");
    let given = settle(store).await;
    let (bucket, grant) = given.grants[0];
    let fenced = |key: &str, member: u128, slot: i64| {
        let fence = Fence { member: Uuid::from_u128(member), epoch: 1, bucket, slot };
        Arc::new(Batch { fence: Some(fence), ..Batch::clone(&batch("fenced", key, Vec::new())) })
    };
    let batches = [
        fenced("before", 1, grant.since - 1),
        fenced("after", 1, grant.since),
        fenced("own", 2, grant.since),
        fenced("early", 2, grant.since - 1),
        batch("free", "no owner", Vec::new()),
    ];
    let receipts = store.append(&batches).await.expect("appended");
    assert_eq!(receipts, [Stored, Fenced, Stored, Fenced, Stored]);
    let again = store.append(&batches).await.expect("appended");
    assert_eq!(again, [Duplicate, Fenced, Duplicate, Fenced, Duplicate]);
    let jobs = store.jobs(&crate::JobFilter::default(), 10).await.expect("jobs");
    assert_eq!(jobs.len(), 3, "nothing of a refused batch is kept");
    // Both believe that a scrape is theirs, and a log brings what they say together: that of the owner counts.
    let both = [
        fenced("same", 1, grant.since),
        fenced("same", 2, grant.since),
        fenced("same", 1, grant.since),
        fenced("same", 2, grant.since),
    ];
    let receipts = store.append(&both).await.expect("appended");
    assert_eq!(receipts, [Fenced, Stored, Fenced, Duplicate]);
    let receipts = store.append(&both).await.expect("appended");
    assert_eq!(receipts, [Fenced, Duplicate, Fenced, Duplicate]);
}
