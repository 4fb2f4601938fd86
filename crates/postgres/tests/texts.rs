//! What series share is written once: by many writers at once, read back, changed, and removed with the last of them.

mod support;

use std::sync::Arc;
use std::time::Duration;

use metricsd_model::{Batch, Layout, Matcher, MetricType, Series};
use metricsd_ports::{ErrorKind, Receipt, Retention, SampleSink, SampleSource};
use metricsd_postgres::{PostgresOptions, PostgresStore};
use sqlx::{Connection, Executor, PgConnection, Row};
use support::{Database, HOUR, batch, frame, options, series};

/// Series of some names of some targets.
fn fleet(names: usize, targets: usize) -> Vec<Arc<Series>> {
    let mut all = Vec::new();
    for target in 0..targets {
        for name in 0..names {
            for device in ["eth0", "lo\"\\é"] {
                let (name, instance) = (format!("m{name}"), format!("host-{target}"));
                let one = series(&[("__name__", &name), ("device", device), ("instance", &instance)]);
                all.push(Arc::new(Series { target_id: instance.into(), ..Series::clone(&one) }));
            }
        }
    }
    all
}

fn described(series: &Arc<Series>, help: Option<&str>, metric_type: MetricType) -> Arc<Series> {
    Arc::new(Series { help: help.map(Into::into), metric_type, ..Series::clone(series) })
}

fn one(id: u128, series: Vec<Arc<Series>>) -> [Arc<Batch>; 1] {
    let values = vec![1.0; series.len()];
    [batch(id, vec![frame(&Layout::shared(series), HOUR + id as i64, values)])]
}

/// How many series, names and owners there are.
async fn texts(connection: &mut PgConnection) -> (i64, i64, i64) {
    let lost = "SELECT count(*) FROM series WHERE metric_name IS NULL OR source IS NULL OR labels IS NULL";
    assert_eq!(connection.fetch_one(lost).await.expect("count").get::<i64, _>(0), 0, "series without texts");
    let sql = "SELECT (SELECT count(*) FROM series), (SELECT count(*) FROM series_names), \
        (SELECT count(*) FROM series_holders)";
    let row = connection.fetch_one(sql).await.expect("counts");
    (row.get(0), row.get(1), row.get(2))
}

async fn read(store: &PostgresStore) -> Vec<Series> {
    let any = Matcher::new("__name__", metricsd_model::MatchOp::Regex, "m.*").expect("a matcher");
    let found = store.series(&[any], 10_000).await.expect("series");
    sorted(&found)
}

fn sorted(series: &[Arc<Series>]) -> Vec<Series> {
    let mut all: Vec<Series> = series.iter().map(|series| Series::clone(series)).collect();
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    all
}

async fn remove_unused(store: &PostgresStore, before: i64) {
    while store.remove_unused(before).await.expect("a removal").more {}
}

/// So that all series have lost their samples.
async fn remove_samples(store: &PostgresStore) {
    store.remove_others_before(&[], i64::MAX / 2).await.expect("a removal");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_series_share_is_written_once_and_goes_with_the_last_of_them() {
    let database = Database::create().await;
    let (store, other) = (database.store().await, database.store().await);
    let mut connection = database.connection().await;
    let all = fleet(3, 4);
    // In two appends, so that the second finds what the first has written.
    for (id, part) in [&all[..7], &all[7..]].into_iter().enumerate() {
        store.append(&one(id as u128, part.to_vec())).await.expect("append");
    }
    assert_eq!(texts(&mut connection).await, (24, 3, 4));
    assert_eq!(read(&store).await, sorted(&all));
    assert_eq!(read(&other).await, sorted(&all));

    // A description that changes for one of them, by a process that knows none of the names, and back to what others have.
    for (id, help, kind, names) in [
        (7, Some("Bytes."), MetricType::Counter, 4),
        (8, None, MetricType::Gauge, 5),
        (9, Some("help"), MetricType::Gauge, 5),
    ] {
        other.append(&one(id, vec![described(&all[0], help, kind)])).await.expect("append");
        assert_eq!(texts(&mut connection).await, (24, names, 4), "{id}");
        let found = read(&store).await.into_iter().find(|found| found.labels == all[0].labels);
        let found = found.expect("the series");
        let expected = help.unwrap_or("Bytes.");
        assert_eq!((found.metric_type, found.help.as_deref()), (kind, Some(expected)), "{id}");
    }

    // The descriptions that nobody has any more go, though all series stay.
    remove_unused(&store, 0).await;
    assert_eq!(texts(&mut connection).await, (24, 3, 4));
    // What both know of names that are gone is not used again.
    for store in [&store, &other] {
        let again = described(&all[1], Some("Bytes."), MetricType::Counter);
        let id = 10 + u128::from(std::ptr::eq(store, &raw const other));
        store.append(&one(id, vec![again])).await.expect("append");
        assert_eq!(texts(&mut connection).await, (24, 4, 4));
    }

    remove_samples(&store).await;
    remove_unused(&store, i64::MAX).await;
    assert_eq!(texts(&mut connection).await, (0, 0, 0));
    for (id, store) in [(20, &other), (21, &store)] {
        assert_eq!(store.append(&one(id, all.clone())).await.expect("append"), [Receipt::Stored]);
        assert_eq!(texts(&mut connection).await, (24, 3, 4));
    }
    assert_eq!(read(&store).await, sorted(&all));
}

/// The lock is taken when the series are written already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_an_append_that_was_undone_are_not_remembered() {
    let database = Database::create().await;
    let options = PostgresOptions { statement_timeout: Duration::from_millis(400), ..options() };
    let store = PostgresStore::connect(&database.url, options).await.expect("connect");
    let (mut connection, mut locker) = (database.connection().await, database.connection().await);
    let all = fleet(3, 2);
    let mut tx = locker.begin().await.expect("begin");
    tx.execute("LOCK TABLE counters").await.expect("lock");
    let error = store.append(&one(1, all.clone())).await.expect_err("a locked table");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{}", error.chain());
    tx.rollback().await.expect("rollback");
    assert_eq!(texts(&mut connection).await, (0, 0, 0));
    store.append(&one(2, all.clone())).await.expect("append");
    assert_eq!(texts(&mut connection).await, (12, 3, 2));
    assert_eq!(read(&store).await, sorted(&all));
}

/// A name that another writer is writing is neither there nor free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_another_writer_is_writing_is_waited_for() {
    let database = Database::create().await;
    let store = Arc::new(database.store().await);
    let (mut other, mut watcher) = (database.connection().await, database.connection().await);
    for (id, commits) in [(1u128, true), (2, false)] {
        let all = vec![series(&[("__name__", &format!("m{id}"))])];
        let mut tx = other.begin().await.expect("begin");
        let insert = "INSERT INTO series_names (metric_name, metric_type, help) VALUES ($1, 'GAUGE', 'help')";
        sqlx::query(insert).bind(format!("m{id}")).execute(&mut *tx).await.expect("insert");
        let append = tokio::spawn({
            let (store, batch) = (Arc::clone(&store), one(id, all));
            async move { store.append(&batch).await }
        });
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid' \
             AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())";
        while watcher.fetch_one(waits).await.expect("locks").get::<i64, _>(0) == 0 {
            assert!(!append.is_finished(), "nobody waited");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        match commits {
            true => tx.commit().await.expect("commit"),
            false => tx.rollback().await.expect("rollback"),
        }
        assert_eq!(append.await.expect("no panic").expect("append"), [Receipt::Stored]);
        assert_eq!(texts(&mut watcher).await, (id as i64, id as i64, 1));
    }
}

/// New series, and descriptions that change to new ones, in many orders; names are removed meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_of_the_same_new_names_all_get_through_beside_removals() {
    let database = Database::create().await;
    let stores: Vec<_> = [database.store().await, database.store().await, database.store().await].into();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let remover = tokio::spawn({
        let (store, stop) = (database.store().await, Arc::clone(&stop));
        async move {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                // The lock is not always had in time.
                let _ = store.remove_unused(0).await;
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        }
    });
    let all = fleet(20, 3);
    for round in 0..12u128 {
        let appends = (0..6u128).map(|writer| {
            let help = format!("round {}", round + writer % 2);
            let mut mine: Vec<_> = all
                .iter()
                .take(40 + 10 * round as usize)
                .map(|one| described(one, Some(&help), MetricType::Gauge))
                .collect();
            let turned = mine.len() * writer as usize / 6;
            mine.rotate_left(turned);
            let store = &stores[writer as usize % 3];
            async move { store.append(&one(round * 10 + writer, mine)).await.expect("append") }
        });
        let receipts = futures::future::join_all(appends).await;
        assert!(receipts.iter().all(|receipts| receipts == &[Receipt::Stored]));
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    remover.await.expect("no panic");
    let mut connection = database.connection().await;
    remove_unused(&stores[0], 0).await;
    let (series, names, owners) = texts(&mut connection).await;
    // With labels, where many series of a target came at once, or without, or both.
    assert!(series == 120 && (3..=6).contains(&owners), "{series} series, {owners} owners");
    let used = "SELECT count(DISTINCT (metric_name, metric_type, help)) FROM series";
    assert_eq!(connection.fetch_one(used).await.expect("count").get::<i64, _>(0), names);
    let found = read(&stores[1]).await;
    assert_eq!(found.len(), 120);
    assert!(found.iter().all(|series| series.help.as_deref().is_some_and(|help| help.starts_with("round "))));
}

/// What is written while a sweep looks for what nobody has.
#[tokio::test]
async fn a_name_that_comes_into_use_again_stays() {
    let database = Database::create().await;
    let store = database.store().await;
    let mut connection = database.connection().await;
    let all = fleet(2, 1);
    store.append(&one(1, all.clone())).await.expect("append");
    // All names are out of use when they are looked for, and one is in use when they are removed.
    let find = include_str!("../src/sql/unused_texts.sql");
    sqlx::query("UPDATE series_rows SET name = -name").execute(&mut connection).await.expect("update");
    let row = sqlx::query(find).bind(10i64).fetch_one(&mut connection).await.expect("names");
    let (since, names): (String, Vec<i32>) = (row.get(0), row.get(1));
    assert_eq!((names.len(), row.get::<Vec<i32>, _>(2).len()), (2, 0));
    let used = "UPDATE series_rows SET name = $1, added = pg_current_xact_id() WHERE id = (SELECT min(id) FROM series_rows)";
    sqlx::query(used).bind(names[1]).execute(&mut connection).await.expect("update");
    let remove = sqlx::query(include_str!("../src/sql/remove_texts.sql"));
    let told = remove
        .bind(since)
        .bind(&names)
        .bind(Vec::<i32>::new())
        .execute(&mut connection)
        .await
        .expect("remove");
    assert_eq!(told.rows_affected(), 1);
    let left = connection.fetch_all("SELECT id FROM series_names").await.expect("names");
    assert_eq!(left.iter().map(|row| row.get(0)).collect::<Vec<i32>>(), [names[1]]);
    let told: i64 = connection.fetch_one("SELECT texts FROM last_removal").await.expect("a row").get(0);
    assert_eq!(told, 1);
}
