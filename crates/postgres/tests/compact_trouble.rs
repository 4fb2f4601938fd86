//! Compaction in trouble: killed at any point, beside appends and readers, and beside another of its kind.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use metricsd_model::{Batch, Layout, Matcher};
use metricsd_ports::{Compaction, CompactionPolicy, Receipt, SampleSink, SampleSource};
use metricsd_postgres::PostgresStore;
use sqlx::postgres::PgRow;
use sqlx::{Executor, PgConnection, Row};
use support::compacting::{START, WIDTH, compact_all, count, policy};
use support::{Database, all_of_m, batch, frame, many, selection, series};

/// Series of every batch.
const SERIES: usize = 30;

/// Series that never change.
const STILL: i64 = 12;

/// Among which rounds go round, so that each gets late samples all the time.
const HOURS: i64 = 5;

/// Samples of one batch: a frame of a shared layout, or one that carries its ids and offsets, and a frame of what never changes.
fn round(layouts: &[Arc<Layout>; 3], n: i64) -> Arc<Batch> {
    let time = START + n % HOURS * WIDTH + n / HOURS * 1_000;
    let again = frame(&layouts[0], time, vec![n as f64; SERIES]);
    let one = match n % 3 {
        0 => {
            let mut one = frame(&layouts[1], time, vec![n as f64; SERIES]);
            one.offsets = Some(vec![0; SERIES]);
            one
        }
        _ => again,
    };
    batch(n as u128 + 1, vec![one, frame(&layouts[2], time, vec![7.0; STILL as usize])])
}

fn layouts() -> [Arc<Layout>; 3] {
    let mut turned = many(SERIES);
    turned.reverse();
    let still = (0..STILL).map(|i| series(&[("__name__", "still"), ("i", &i.to_string())])).collect();
    [Layout::shared(many(SERIES)), Layout::inline(turned), Layout::shared(still)]
}

/// Count and sum of so many rounds.
fn told(rounds: i64) -> (i64, f64) {
    (rounds * SERIES as i64, (0..rounds).map(|n| (n * SERIES as i64) as f64).sum())
}

/// The rounds that SQL finds, each whole and once.
async fn by_view(connection: &mut PgConnection) -> Vec<i64> {
    let sql = "SELECT value::bigint, count(*) FROM metrics_ts WHERE metric_name = 'm' GROUP BY 1 ORDER BY 1";
    let rows = connection.fetch_all(sql).await.expect("the view");
    let round = |row: &PgRow| (row.get::<i64, _>(0), row.get::<i64, _>(1));
    rows.iter()
        .map(round)
        .inspect(|one| assert_eq!(one.1, SERIES as i64, "round {}", one.0))
        .map(|one| one.0)
        .collect()
}

/// Checks that SQL finds all rounds that were acknowledged before it was asked. Of those that came meanwhile it may miss one and find
/// the next: it is planned before its snapshot is taken, and may not know of an hour that began in between.
async fn check_view(connection: &mut PgConnection, least: i64) {
    let found = by_view(connection).await;
    let missed = (0..least).find(|round| found.binary_search(round).is_err());
    assert_eq!(missed, None, "of {least} rounds; found {found:?}");
}

async fn by_select(store: &PostgresStore) -> (i64, f64) {
    let selected = all_of_m(store).await;
    let values = || selected.iter().flat_map(|series| &series.values);
    (values().count() as i64, values().sum())
}

/// Count and sum in a transaction whose snapshot is older than its plan, which knows of every hour that the snapshot has. What never
/// changes is there as often.
async fn by_snapshot(connection: &mut PgConnection) -> (i64, f64) {
    let sql = "SELECT count(*) FILTER (WHERE metric_name = 'm'),
            coalesce(sum(value) FILTER (WHERE metric_name = 'm'), 0),
            count(*) FILTER (WHERE metric_name = 'still' AND value = 7) FROM metrics_ts";
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await.expect("a transaction");
    let row = connection.fetch_one(sql).await.expect("the view");
    connection.execute("COMMIT").await.expect("the end of it");
    let rounds = row.get::<i64, _>(0) / SERIES as i64;
    assert_eq!(row.get::<i64, _>(2), rounds * STILL, "what never changes, of {rounds} rounds");
    (row.get(0), row.get(1))
}

/// Checks that a reader finds the first so many rounds as a whole: those acknowledged before it began, at least.
fn check((count, sum): (i64, f64), least: i64) {
    assert_eq!(count % SERIES as i64, 0, "{count} samples");
    let rounds = count / SERIES as i64;
    assert!(rounds >= least, "{rounds} rounds of {least}");
    assert_eq!((count, sum), told(rounds));
}

/// The class is the first half of the key of the compaction's lock; appends hold another, shared.
const KILL_COMPACTOR: &str = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' \
     AND classid = x'6d64636f'::int AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_at_any_point_beside_appends_and_readers() {
    const ROUNDS: i64 = 400;
    let database = Database::create().await;
    let store = Arc::new(database.store().await);
    let (acknowledged, stop) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicBool::new(false)));
    let writing = {
        let (store, acknowledged) = (database.store().await, acknowledged.clone());
        tokio::spawn(async move {
            let layouts = layouts();
            for n in 0..ROUNDS {
                assert_eq!(store.append(&[round(&layouts, n)]).await.expect("append"), [Receipt::Stored]);
                acknowledged.store(n + 1, Ordering::SeqCst);
            }
        })
    };
    let viewing = {
        let (mut connection, acknowledged) = (database.connection().await, acknowledged.clone());
        let stop = stop.clone();
        tokio::spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                let least = acknowledged.load(Ordering::SeqCst);
                check_view(&mut connection, least).await;
                let least = acknowledged.load(Ordering::SeqCst);
                check(by_snapshot(&mut connection).await, least);
            }
        })
    };
    let compacting = {
        let (store, stop) = (store.clone(), stop.clone());
        let mut killer = database.connection().await;
        tokio::spawn(async move {
            let policy = CompactionPolicy { max_samples: 2_000, ..policy() };
            let (mut dropped, mut killed, mut n) = (0, 0, 0u64);
            while !stop.load(Ordering::SeqCst) {
                n += 1;
                // Points that wander over the length of a piece.
                let pause = Duration::from_micros(n * 1_717 % 60_000);
                let piece = tokio::time::timeout(pause, store.compact(&policy));
                if n % 4 == 0 {
                    let kill = async {
                        tokio::time::sleep(pause / 2).await;
                        killer.fetch_all(KILL_COMPACTOR).await.expect("terminate").len()
                    };
                    let (_, gone) = tokio::join!(store.compact(&policy), kill);
                    killed += gone;
                } else if piece.await.is_err() {
                    dropped += 1;
                }
            }
            (dropped, killed)
        })
    };
    while acknowledged.load(Ordering::SeqCst) < ROUNDS {
        let least = acknowledged.load(Ordering::SeqCst);
        check(by_select(&store).await, least);
    }
    writing.await.expect("the writer");
    stop.store(true, Ordering::SeqCst);
    viewing.await.expect("the view");
    let (dropped, killed) = compacting.await.expect("the compaction");
    assert!(dropped > 5 && killed > 0, "{dropped} given up, {killed} killed");
    check_end(&database, &store, ROUNDS).await;
}

/// Compacts what is left and counts everything.
async fn check_end(database: &Database, store: &PostgresStore, rounds: i64) {
    // The lock of one that was given up goes when the server notices.
    let mut connection = database.connection().await;
    for _ in 0..100 {
        compact_all(store, &policy()).await;
        if count(&mut connection, "frames").await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(count(&mut connection, "frames").await, 0);
    assert_eq!(by_view(&mut connection).await, (0..rounds).collect::<Vec<_>>());
    assert_eq!(by_select(store).await, told(rounds));
    check(by_snapshot(&mut connection).await, rounds);
    let all = selection(vec![Matcher::equal("__name__", "still")], i64::MIN, i64::MAX);
    let still = store.select(&all).await.expect("select");
    assert!(still.iter().all(|series| series.values.len() as i64 == rounds), "{} series", still.len());
    let rows = count(&mut connection, "segments_constant WHERE cardinality(series) > 1").await;
    assert!(rows > 0, "none of it stands together");
    let twice =
        "(SELECT FROM metrics_ts GROUP BY metric_name, labels, timestamp HAVING count(*) > 1) AS twice";
    assert_eq!(count(&mut connection, twice).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_that_compact_one_does() {
    let database = Database::create().await;
    let stores = [database.store().await, database.store().await];
    let layouts = layouts();
    for n in 0..100 {
        stores[0].append(&[round(&layouts, n)]).await.expect("append");
    }
    let small = CompactionPolicy { max_samples: 1_000, ..policy() };
    assert!(stores[0].compact(&small).await.expect("compact").more);
    let idle = stores[1].compact(&small).await.expect("compact");
    assert_eq!(idle, metricsd_ports::Compacted::default(), "the first holds the lock between its pieces");
    let (one, two) = tokio::join!(compact_all(&stores[0], &small), compact_all(&stores[1], &small));
    assert!(one.samples > 0 || two.samples > 0);
    for store in &stores {
        compact_all(store, &small).await;
        assert_eq!(by_select(store).await, told(100));
    }
    let mut connection = database.connection().await;
    assert_eq!(count(&mut connection, "frames").await, 0);
    assert_eq!(by_view(&mut connection).await, (0..100).collect::<Vec<_>>());
}
