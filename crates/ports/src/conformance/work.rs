//! What every table of work promises.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use crate::work::{
    Hold, NewWork, Outcome, Stored, Submitted, Work, WorkFilter, WorkKind, WorkQueue, WorkState,
};

/// Long enough to outlast any check.
const LONG: Duration = Duration::from_secs(3_600);

/// No bound on bytes.
const ALL: u64 = u64::MAX >> 2;

const UPLOADS: &[WorkKind] = &[WorkKind::Upload];

/// Runs all checks.
pub async fn check_all<Q: WorkQueue>(new: impl AsyncFn() -> Q) {
    super::each_shared!(
        new,
        work_is_claimed_once,
        of_many_workers_each_gets_its_own,
        a_lost_lease_goes_to_another,
        work_is_retried_and_given_up,
        a_release_is_no_try,
        cancelling_stops_work,
        bytes_are_kept_in_order,
        only_so_much_is_received_at_once,
        the_same_content_is_the_same_work,
        old_work_expires,
        lists_are_filtered,
    );
}

fn new(kind: WorkKind) -> NewWork {
    NewWork {
        id: Uuid::new_v4(),
        kind,
        source_id: "s".to_owned(),
        spec: json!({"format": "csv", "text": "ä\"\\"}),
        receiving: false,
        max_receiving: 1_000,
        content: None,
        max_tries: 3,
        keep: LONG,
    }
}

async fn add(queue: &impl WorkQueue, work: &NewWork) -> Work {
    match queue.submit(work).await.expect("submit") {
        Some(Submitted::New(work)) => work,
        other => panic!("{other:?}"),
    }
}

async fn claim(queue: &impl WorkQueue, lease: Duration) -> Option<Work> {
    queue.claim(Uuid::new_v4(), UPLOADS, lease).await.expect("claim")
}

async fn state(queue: &impl WorkQueue, id: Uuid) -> WorkState {
    queue.work(id).await.expect("work").expect("it is there").state
}

async fn work_is_claimed_once<Q: WorkQueue>(queue: &Arc<Q>) {
    let queue = &**queue;
    assert_eq!(claim(queue, LONG).await, None);
    let asked = new(WorkKind::Upload);
    let first = add(queue, &asked).await;
    assert_eq!((first.state, first.tries, &first.spec), (WorkState::Queued, 0, &asked.spec));
    assert!(matches!(queue.submit(&asked).await, Ok(Some(Submitted::Existing(work))) if work.id == first.id));
    let second = add(queue, &new(WorkKind::Upload)).await;
    let worker = Uuid::new_v4();
    assert_eq!(queue.claim(worker, &[], LONG).await.expect("claim"), None);
    let claimed = queue.claim(worker, UPLOADS, LONG).await.expect("claim").expect("there is work");
    assert_eq!((claimed.id, claimed.state, claimed.tries), (first.id, WorkState::Running, 1));
    assert_eq!((claimed.worker, &claimed.spec, claimed.claim), (Some(worker), &asked.spec, 1));
    assert_eq!(claim(queue, LONG).await.map(|work| work.id), Some(second.id));
    assert_eq!(claim(queue, LONG).await, None);
    let progress = json!({"rows": 7});
    assert_eq!(queue.renew(first.id, 1, LONG, Some(&progress)).await.expect("renew"), Hold::Held);
    let seen = queue.work(first.id).await.expect("work").expect("it is there");
    assert_eq!(seen.progress, progress);
    assert!(seen.updated_at >= seen.created_at && seen.created_at > 1_600_000_000_000);
    assert!(!queue.finish(first.id, 2, &Outcome::Done, None).await.expect("finish"));
    assert!(queue.finish(first.id, 1, &Outcome::Done, Some(&json!({"rows": 8}))).await.expect("finish"));
    assert!(!queue.finish(first.id, 1, &Outcome::Done, None).await.expect("finish"));
    let done = queue.work(first.id).await.expect("work").expect("it is there");
    assert_eq!((done.state, done.progress, done.worker), (WorkState::Done, json!({"rows": 8}), None));
    assert_eq!(queue.renew(first.id, 1, LONG, None).await.expect("renew"), Hold::Lost);
}

async fn of_many_workers_each_gets_its_own<Q: WorkQueue>(queue: &Arc<Q>) {
    for _ in 0..20 {
        add(&**queue, &new(WorkKind::Upload)).await;
    }
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let queue = queue.clone();
        workers.spawn(async move {
            let mut got = Vec::new();
            while let Some(work) = claim(&*queue, LONG).await {
                got.push(work.id);
            }
            got
        });
    }
    let got: Vec<Uuid> = workers.join_all().await.into_iter().flatten().collect();
    assert_eq!((got.len(), got.iter().collect::<HashSet<_>>().len()), (20, 20));
}

async fn a_lost_lease_goes_to_another<Q: WorkQueue>(queue: &Arc<Q>) {
    let queue = &**queue;
    let id = add(queue, &new(WorkKind::Upload)).await.id;
    let short = Duration::from_millis(300);
    let first = claim(queue, short).await.expect("there is work");
    assert_eq!(claim(queue, LONG).await, None);
    assert_eq!(queue.renew(id, first.claim, short, None).await.expect("renew"), Hold::Held);
    tokio::time::sleep(short * 2).await;
    let second = claim(queue, LONG).await.expect("the lease ran out");
    assert_eq!((second.id, second.tries), (id, 2));
    assert!(second.claim > first.claim);
    // What the first one says changes nothing any more.
    let late = json!("late");
    assert_eq!(queue.renew(id, first.claim, LONG, Some(&late)).await.expect("renew"), Hold::Lost);
    assert!(!queue.finish(id, first.claim, &Outcome::Done, Some(&late)).await.expect("finish"));
    let seen = queue.work(id).await.expect("work").expect("it is there");
    assert_eq!((seen.state, seen.progress), (WorkState::Running, serde_json::Value::Null));
    assert!(queue.finish(id, second.claim, &Outcome::Done, None).await.expect("finish"));
}

async fn work_is_retried_and_given_up<Q: WorkQueue>(queue: &Arc<Q>) {
    let queue = &**queue;
    let id = add(queue, &new(WorkKind::Upload)).await.id;
    let pause = Duration::from_millis(300);
    let failed = Outcome::Failed { message: "no luck".to_owned(), pause };
    let first = claim(queue, LONG).await.expect("there is work");
    assert!(queue.finish(id, first.claim, &failed, None).await.expect("finish"));
    assert_eq!(claim(queue, LONG).await, None, "it pauses");
    tokio::time::sleep(pause * 2).await;
    let again = claim(queue, LONG).await.expect("the pause is over");
    assert_eq!((again.tries, again.error.as_deref()), (2, Some("no luck")));
    // Who moves on gets all tries again.
    let progress = json!({"rows": 1});
    assert_eq!(queue.renew(id, again.claim, LONG, Some(&progress)).await.expect("renew"), Hold::Held);
    let at_once = Outcome::Failed { message: "again".to_owned(), pause: Duration::ZERO };
    assert!(queue.finish(id, again.claim, &at_once, None).await.expect("finish"));
    for tries in [2, 3] {
        let next = claim(queue, LONG).await.expect("it is tried again");
        assert_eq!((next.tries, &next.progress), (tries, &progress));
        assert!(queue.finish(id, next.claim, &at_once, None).await.expect("finish"));
    }
    assert_eq!(claim(queue, LONG).await, None);
    let dead = queue.work(id).await.expect("work").expect("it is there");
    assert_eq!((dead.state, dead.error.as_deref()), (WorkState::Dead, Some("again")));

    // One whose workers are lost is given up too, and what is hopeless at once.
    let lost = NewWork { max_tries: 1, ..new(WorkKind::Upload) };
    add(queue, &lost).await;
    assert!(claim(queue, Duration::ZERO).await.is_some());
    assert_eq!(claim(queue, LONG).await, None);
    let dead = queue.work(lost.id).await.expect("work").expect("it is there");
    assert!(dead.state == WorkState::Dead && dead.error.is_some(), "{dead:?}");
    let id = add(queue, &new(WorkKind::Upload)).await.id;
    let hopeless = Outcome::Hopeless { message: "no file".to_owned() };
    let claimed = claim(queue, LONG).await.expect("there is work");
    assert!(queue.finish(id, claimed.claim, &hopeless, None).await.expect("finish"));
    assert_eq!(state(queue, id).await, WorkState::Dead);
}

async fn a_release_is_no_try<Q: WorkQueue>(queue: &Arc<Q>) {
    let queue = &**queue;
    let id = add(queue, &NewWork { max_tries: 1, ..new(WorkKind::Upload) }).await.id;
    for round in 1..4 {
        let claimed = claim(queue, LONG).await.expect("there is work");
        assert_eq!((claimed.tries, claimed.claim), (1, round));
        assert!(queue.finish(id, claimed.claim, &Outcome::Released, None).await.expect("finish"));
    }
    assert_eq!(state(queue, id).await, WorkState::Queued);
}

async fn cancelling_stops_work<Q: WorkQueue>(queue: &Arc<Q>) {
    let queue = &**queue;
    assert_eq!(queue.cancel(Uuid::new_v4()).await.expect("cancel"), None);
    let waiting = add(queue, &new(WorkKind::Upload)).await.id;
    let cancelled = queue.cancel(waiting).await.expect("cancel").expect("it is there");
    assert_eq!(cancelled.state, WorkState::Cancelled);
    assert_eq!(claim(queue, LONG).await, None);

    let id = add(queue, &new(WorkKind::Upload)).await.id;
    let claimed = claim(queue, LONG).await.expect("there is work");
    let running = queue.cancel(id).await.expect("cancel").expect("it is there");
    assert_eq!((running.state, running.cancelling), (WorkState::Running, true));
    assert_eq!(queue.renew(id, claimed.claim, LONG, None).await.expect("renew"), Hold::Cancelling);
    assert!(queue.finish(id, claimed.claim, &Outcome::Cancelled, None).await.expect("finish"));
    assert_eq!(state(queue, id).await, WorkState::Cancelled);
    let over = queue.cancel(id).await.expect("cancel").expect("it is there");
    assert_eq!(over.state, WorkState::Cancelled);

    // A worker that is lost hears of nothing.
    let id = add(queue, &new(WorkKind::Upload)).await.id;
    assert!(claim(queue, Duration::ZERO).await.is_some());
    queue.cancel(id).await.expect("cancel");
    assert_eq!(claim(queue, LONG).await, None);
    assert_eq!(state(queue, id).await, WorkState::Cancelled);
}

async fn bytes_are_kept_in_order<Q: WorkQueue>(queue: &Arc<Q>) {
    let queue = &**queue;
    let asked = NewWork { receiving: true, ..new(WorkKind::Upload) };
    let id = add(queue, &asked).await.id;
    assert_eq!(claim(queue, LONG).await, None, "its bytes are missing");
    let store = async |offset: u64, bytes: &[u8], bound: u64| {
        queue.store_bytes(id, offset, bytes, bound).await.expect("store")
    };
    assert_eq!(store(0, b"abc", ALL).await, Stored::Kept(3));
    assert_eq!(store(0, b"abc", ALL).await, Stored::Elsewhere(3));
    assert_eq!(store(4, b"e", ALL).await, Stored::Elsewhere(3));
    assert_eq!(store(3, b"de", 4).await, Stored::Full);
    assert_eq!(store(3, b"", ALL).await, Stored::Kept(3));
    assert_eq!(store(3, &[0, 255, b'\n'], ALL).await, Stored::Kept(6));
    let piece = async |offset: u64| queue.bytes_at(id, offset).await.expect("read");
    for offset in 0..3 {
        assert_eq!(piece(offset).await, Some((0, b"abc".to_vec())), "{offset}");
    }
    assert_eq!(piece(4).await, Some((3, vec![0, 255, b'\n'])));
    assert_eq!(piece(6).await, None);
    assert_eq!(queue.bytes_at(Uuid::new_v4(), 0).await.expect("read"), None);

    let sealed = queue.seal(id, "hash").await.expect("seal").expect("it was receiving");
    assert_eq!((sealed.work().state, sealed.work().received), (WorkState::Queued, 6));
    assert_eq!(queue.seal(id, "hash").await.expect("seal"), None);
    assert_eq!(store(6, b"f", ALL).await, Stored::Closed);
    let claimed = claim(queue, LONG).await.expect("there is work");
    assert_eq!(claimed.received, 6);
    assert!(queue.finish(id, claimed.claim, &Outcome::Done, None).await.expect("finish"));
    assert_eq!(piece(0).await, None, "nobody needs them any more");
    // They no longer count either.
    let next = add(queue, &NewWork { receiving: true, ..new(WorkKind::Upload) }).await.id;
    assert_eq!(queue.store_bytes(next, 0, b"abcd", 4).await.expect("store"), Stored::Kept(4));
}

async fn the_same_content_is_the_same_work<Q: WorkQueue>(queue: &Arc<Q>) {
    let queue = &**queue;
    let content = |text: &str| NewWork { content: Some(text.to_owned()), ..new(WorkKind::Upload) };
    let first = add(queue, &content("a")).await.id;
    let again = queue.submit(&content("a")).await.expect("submit");
    assert!(matches!(&again, Some(Submitted::Existing(work)) if work.id == first), "{again:?}");
    add(queue, &content("b")).await;
    add(queue, &NewWork { source_id: "other".to_owned(), ..content("a") }).await;
    add(queue, &NewWork { source_id: "another".to_owned(), ..content("a") }).await;

    // The content may be known only when all of it has arrived.
    let late = add(queue, &NewWork { receiving: true, ..new(WorkKind::Upload) }).await.id;
    assert_eq!(queue.store_bytes(late, 0, b"x", ALL).await.expect("store"), Stored::Kept(1));
    let sealed = queue.seal(late, "a").await.expect("seal").expect("it was receiving");
    assert!(matches!(&sealed, Submitted::Existing(work) if work.id == first), "{sealed:?}");
    assert_eq!(queue.work(late).await.expect("work"), None);
    assert_eq!(queue.bytes_at(late, 0).await.expect("read"), None);

    // What was cancelled can be asked for again.
    queue.cancel(first).await.expect("cancel");
    add(queue, &content("a")).await;
}

async fn old_work_expires<Q: WorkQueue>(queue: &Arc<Q>) {
    let queue = &**queue;
    let short = |receiving| NewWork { receiving, keep: Duration::from_millis(200), ..new(WorkKind::Upload) };
    let (waiting, receiving) = (add(queue, &short(false)).await.id, add(queue, &short(true)).await.id);
    let kept = add(queue, &NewWork { receiving: true, ..new(WorkKind::Upload) }).await.id;
    queue.store_bytes(receiving, 0, b"abc", ALL).await.expect("store");
    assert_eq!(queue.expire_work().await.expect("expire"), 0);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(queue.expire_work().await.expect("expire"), 1, "the one that nobody sends any more");
    assert_eq!(queue.work(receiving).await.expect("work"), None);
    assert_eq!(queue.bytes_at(receiving, 0).await.expect("read"), None);
    assert_eq!(state(queue, waiting).await, WorkState::Queued);
    assert_eq!(state(queue, kept).await, WorkState::Receiving);
    queue.cancel(waiting).await.expect("cancel");
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(queue.expire_work().await.expect("expire"), 1);
    assert_eq!(queue.work(waiting).await.expect("work"), None);
}

async fn lists_are_filtered<Q: WorkQueue>(queue: &Arc<Q>) {
    let queue = &**queue;
    let mut ids = Vec::new();
    for source in ["a", "a", "b"] {
        let asked = NewWork { source_id: source.to_owned(), ..new(WorkKind::Upload) };
        ids.push(add(queue, &asked).await.id);
        // Newest first, by a clock of milliseconds.
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let claimed = claim(queue, LONG).await.expect("there is work");
    assert_eq!(claimed.id, ids[0]);
    let list = async |filter: WorkFilter, limit: usize| {
        let works = queue.list_work(&filter, limit).await.expect("list");
        works.into_iter().map(|work| work.id).collect::<Vec<_>>()
    };
    let all = WorkFilter::default;
    assert_eq!(list(all(), 10).await, [ids[2], ids[1], ids[0]]);
    assert_eq!(list(all(), 1).await, [ids[2]]);
    assert_eq!(
        list(WorkFilter { kind: Some(WorkKind::Upload), ..all() }, 10).await,
        [ids[2], ids[1], ids[0]]
    );
    assert_eq!(list(WorkFilter { state: Some(WorkState::Running), ..all() }, 10).await, [ids[0]]);
    assert_eq!(list(WorkFilter { source_id: Some("a".to_owned()), ..all() }, 10).await, [ids[1], ids[0]]);
    let counts = queue.count_work().await.expect("count");
    assert_eq!(counts.get(&(WorkKind::Upload, "running")), Some(&1));
    assert_eq!(counts.values().sum::<u64>(), 3);
}

async fn only_so_much_is_received_at_once<Q: WorkQueue>(queue: &Arc<Q>) {
    let queue = &**queue;
    let asked = || NewWork { receiving: true, max_receiving: 3, ..new(WorkKind::Upload) };
    let (first, second, third) = (asked(), asked(), asked());
    for work in [&first, &second, &third] {
        add(queue, work).await;
    }
    assert_eq!(queue.submit(&asked()).await.expect("submit"), None);
    // What stands is found, and what needs no bytes is taken.
    assert!(matches!(queue.submit(&first).await, Ok(Some(Submitted::Existing(work))) if work.id == first.id));
    add(queue, &new(WorkKind::Upload)).await;
    queue.store_bytes(first.id, 0, b"x", ALL).await.expect("bytes");
    queue.seal(first.id, "c").await.expect("seal");
    add(queue, &asked()).await;
    assert_eq!(queue.submit(&asked()).await.expect("submit"), None);
    queue.cancel(second.id).await.expect("cancel");
    add(queue, &asked()).await;
}
