//! A server in trouble: connections that break, locks that do not come, writers in each other's way.

mod support;

use std::sync::Arc;
use std::time::Duration;

use metricsd_model::Layout;
use metricsd_ports::{Catalog, ErrorKind, Receipt, SampleSink};
use metricsd_postgres::{PostgresOptions, PostgresStore};
use sqlx::{AssertSqlSafe, Connection, Executor, Row};
use support::{Database, HOUR, all_of_m, batch, frame, many, options, series};

#[tokio::test]
async fn connections_that_break_are_made_again() {
    let database = Database::create().await;
    let store = database.store().await;
    let layout = Layout::shared(many(3));
    for round in 0..3 {
        let one = batch(round, vec![frame(&layout, HOUR + round as i64, vec![1.0; 3])]);
        assert_eq!(store.append(&[one]).await.expect("append"), [Receipt::Stored]);
        assert_eq!(all_of_m(&store).await[0].values.len(), round as usize + 1);
        store.changes(i64::MAX, Duration::from_millis(50)).await.expect("changes");
        // As after a restart: every connection of this database goes, the listener's included.
        let mut connection = database.connection().await;
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
        assert!(!connection.fetch_all(kill).await.expect("terminate").is_empty());
    }
    store.ping().await.expect("ping");
}

#[tokio::test]
async fn a_lock_that_does_not_come_is_a_timeout_and_leaves_nothing() {
    let database = Database::create().await;
    let options = PostgresOptions { statement_timeout: Duration::from_millis(400), ..options() };
    let store = PostgresStore::connect(&database.url, options).await.expect("connect");
    let layout = Layout::shared(many(3));
    let one = [batch(1, vec![frame(&layout, HOUR, vec![1.0; 3])])];
    let mut other = database.connection().await;
    let mut tx = other.begin().await.expect("begin");
    // The last table that an append writes: series, layouts and frames are in before it has to wait.
    tx.execute("LOCK TABLE counters").await.expect("lock");
    let error = store.append(&one).await.expect_err("a locked table");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{}", error.chain());
    tx.rollback().await.expect("rollback");
    assert!(all_of_m(&store).await.is_empty());
    assert_eq!(store.append(&one).await.expect("append"), [Receipt::Stored]);
    assert_eq!(all_of_m(&store).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_of_the_same_new_series_in_many_orders_all_get_through() {
    let database = Database::create().await;
    let stores = [database.store().await, database.store().await, database.store().await];
    for round in 0..5u128 {
        let name = format!("r{round}");
        let mut all: Vec<_> =
            (0..60).map(|i| series(&[("__name__", "m"), ("round", &name), ("i", &i.to_string())])).collect();
        let mut batches = Vec::new();
        for writer in 0..6u128 {
            // Other orders of the same series, and hours whose chunks are new to all.
            all.rotate_left(7);
            let time = HOUR + round as i64 * 3_600_000 + writer as i64;
            let layout = Layout::shared(all.clone());
            batches.push(batch(round * 10 + writer, vec![frame(&layout, time, vec![1.0; 60])]));
        }
        let appends = batches.iter().enumerate().map(|(writer, batch)| {
            let store = &stores[writer % 3];
            let batch = Arc::clone(batch);
            async move { store.append(&[batch]).await.expect("append") }
        });
        let receipts = futures::future::join_all(appends).await;
        assert!(receipts.iter().all(|receipts| receipts == &[Receipt::Stored]));
    }
    let samples: usize = all_of_m(&stores[0]).await.iter().map(|series| series.values.len()).sum();
    assert_eq!(samples, 5 * 6 * 60);
}

#[tokio::test]
async fn what_another_database_forgot_is_written_again() {
    let database = Database::create().await;
    let options = PostgresOptions { acquire_timeout: Duration::from_millis(500), ..options() };
    let store = PostgresStore::connect(&database.url, options).await.expect("connect");
    let layout = Layout::shared(many(3));
    let of = |id: u128| [batch(id, vec![frame(&layout, HOUR + id as i64, vec![1.0; 3])])];
    store.append(&of(1)).await.expect("append");
    // A replica takes over that lacks the last commit: no connections meanwhile, then the series are gone.
    let mut connection = database.connection().await;
    let name = database.url.rsplit_once('/').expect("a name").1.to_owned();
    let allow =
        |allowed: bool| AssertSqlSafe(format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS {allowed}"));
    let mut server = database.server().await;
    server.execute(allow(false)).await.expect("close the database");
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    connection.execute(kill).await.expect("terminate");
    let error = store.append(&of(2)).await.expect_err("a closed database");
    assert!(error.is_retryable(), "{}", error.chain());
    let lost = "TRUNCATE series_rows, series_names, series_holders, layouts, frames, collection_jobs";
    connection.execute(lost).await.expect("truncate");
    server.execute(allow(true)).await.expect("open the database");
    store.append(&of(1)).await.expect("append");
    store.append(&of(2)).await.expect("append");
    assert_eq!(all_of_m(&store).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn queries_that_hang_do_not_hold_up_appends() {
    let database = Database::create().await;
    let store = Arc::new(database.store().await);
    let layout = Layout::shared(many(1_200));
    let append = async |n: u128| {
        let one = batch(n, vec![frame(&layout, HOUR + n as i64, vec![1.0; 1_200])]);
        store.append(&[one]).await.expect("append")
    };
    assert_eq!(append(1).await, [Receipt::Stored]);
    let mut other = database.connection().await;
    let mut tx = other.begin().await.expect("begin");
    // Queries look layouts up; an append of a layout that is known does not.
    tx.execute("LOCK TABLE layouts").await.expect("lock");
    let queries: Vec<_> = (0..10)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { all_of_m(&store).await.len() })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let appended = tokio::time::timeout(Duration::from_secs(2), append(2)).await;
    assert_eq!(appended.expect("connections of its own"), [Receipt::Stored]);
    tx.rollback().await.expect("rollback");
    for query in queries {
        assert_eq!(query.await.expect("a query"), 1_200);
    }
}

/// Whoever appends may stop waiting at any moment, and what was begun on a connection then must not be taken for the answer to
/// what another asks on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_that_are_given_up_half_way_spoil_no_connection() {
    let database = Database::create().await;
    let store = database.store().await;
    let layout = Layout::shared(many(50));
    let batches: Vec<_> = (0..120)
        .map(|n: u16| {
            let values = vec![f64::from(n); layout.ids.len()];
            batch(u128::from(n), vec![frame(&layout, HOUR + i64::from(n), values)])
        })
        .collect();
    let mut given_up = 0;
    for (place, batch) in batches.iter().enumerate() {
        // From at once until after the end, as long as that takes here.
        for step in 0..4 {
            let within = Duration::from_micros(150 * (place * 4 + step) as u64 % 24_000);
            let append = store.append(std::slice::from_ref(batch));
            given_up += usize::from(tokio::time::timeout(within, append).await.is_err());
        }
    }
    assert!(given_up > 5, "only {given_up} appends were given up");
    for batch in &batches {
        store.append(std::slice::from_ref(batch)).await.expect("a sound connection");
    }
    assert_eq!(all_of_m(&store).await.iter().map(|series| series.values.len()).sum::<usize>(), 120 * 50);
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                AND state LIKE 'idle in transaction%'";
    let open: i64 = sqlx::query(open).fetch_one(&mut database.connection().await).await.expect("ask").get(0);
    assert_eq!(open, 0, "transactions that nobody ends");
}
