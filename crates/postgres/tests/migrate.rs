//! Migrations: at once, twice, and on a database of tomorrow.

mod support;

use std::time::Duration;

use metricsd_model::{LabelSet, Layout, SeriesId};
use metricsd_ports::{ErrorKind, SampleSink};
use metricsd_postgres::{PostgresOptions, PostgresStore, migrate};
use sqlx::{AssertSqlSafe, Executor, Row};
use support::compacting::{START, compact_all, count, exact, policy, shown, view};
use support::{Database, all_of_m, batch, frame, many, migrate_until, options};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_processes_migrate_one_database_at_once() {
    let database = Database::create().await;
    let run = || async { migrate(&database.url, &options()).await.expect("migrate") };
    let (a, b, c, d) = tokio::join!(run(), run(), run(), run());
    let did = [a, b, c, d].iter().filter(|migrated| migrated.from == 0).count();
    assert_eq!(did, 1, "one of them did the work");
    assert!([a, b, c, d].iter().all(|migrated| migrated.to == a.to && a.to > 0));
    database.store().await.ping().await.expect("ping");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let database = Database::create().await;
    let migrated = migrate(&database.url, &options()).await.expect("migrate");
    let mut connection = database.connection().await;
    connection
        .execute("INSERT INTO metricsd_migrations (version, name) VALUES (999, 'tomorrow')")
        .await
        .expect("insert");
    let error = migrate(&database.url, &options()).await.expect_err("a newer schema");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(
        error.to_string().contains(&format!("999, but this metricsd knows versions up to {}", migrated.to)),
        "{error}"
    );
    assert!(PostgresStore::connect(&database.url, options()).await.is_err());
}

#[tokio::test]
async fn the_chunk_interval_follows_the_configuration() {
    let database = Database::create().await;
    for hours in [1, 3] {
        let options = PostgresOptions { chunk_interval: Duration::from_secs(hours * 3_600), ..options() };
        migrate(&database.url, &options).await.expect("migrate");
        let sql = "SELECT extract(epoch FROM time_interval)::int8 FROM timescaledb_information.dimensions \
             WHERE hypertable_name = 'frames'";
        let row = database.connection().await.fetch_one(sql).await.expect("dimensions");
        assert_eq!(row.get::<i64, _>(0), hours as i64 * 3_600);
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_unavailable_and_its_password_stays_secret() {
    let options = PostgresOptions { acquire_timeout: Duration::from_millis(300), ..options() };
    // Nothing listens on port 1.
    let url = "postgres://metricsd:hunter2@127.0.0.1:1/metricsd";
    let Err(error) = PostgresStore::connect(url, options.clone()).await else { panic!("a server on port 1") };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!error.chain().contains("hunter2") && !format!("{error:?}").contains("hunter2"), "{error:?}");
    let Err(error) = PostgresStore::connect("sqlite:data.db", options).await else {
        panic!("a URL of SQLite")
    };
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

/// A reader that has what a migration is to wait for, and wants what the migration has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_met_a_reader_is_tried_again() {
    let database = Database::create().await;
    let (mut reader, mut watcher) = (database.connection().await, database.connection().await);
    migrate_until(&mut watcher, 19).await;
    // Only the migration looks whether they wait for each other.
    reader
        .execute("SET deadlock_timeout = '60s'; BEGIN; SELECT count(*) FROM series_rows")
        .await
        .expect("read");
    let url = database.url.clone();
    let migrating = tokio::spawn(async move { migrate(&url, &options()).await });
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'series_rows'::regclass";
    while watcher.fetch_one(waits).await.expect("locks").get::<i64, _>(0) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    reader.execute("SELECT count(*) FROM layouts").await.expect("the reader goes on");
    reader.execute("COMMIT").await.expect("the end of it");
    let migrated = migrating.await.expect("the task").expect("migrate");
    assert_eq!(migrated.from, 19);
    database.store().await.ping().await.expect("ping");
}

/// Who appends holds the lock of appends, and whatever tables it has come to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_waits_for_an_append() {
    let database = Database::create().await;
    let (mut append, mut watcher) = (database.connection().await, database.connection().await);
    migrate_until(&mut watcher, 19).await;
    let begun = "SET deadlock_timeout = '1ms'; BEGIN; SELECT pg_advisory_xact_lock_shared(x'6d6472656d6f7665'::int8); \
         LOCK TABLE series_rows IN ROW EXCLUSIVE MODE";
    append.execute(begun).await.expect("begin");
    let url = database.url.clone();
    let migrating = tokio::spawn(async move { migrate(&url, &options()).await });
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype IN ('advisory', 'relation') \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    while watcher.fetch_one(waits).await.expect("locks").get::<i64, _>(0) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    append.execute("LOCK TABLE layouts IN ROW EXCLUSIVE MODE").await.expect("the append goes on");
    append.execute("COMMIT").await.expect("the end of it");
    assert_eq!(migrating.await.expect("the task").expect("migrate").from, 19);
}

#[tokio::test]
async fn values_of_the_schemas_before_read_as_they_did() {
    let database = Database::create().await;
    let mut connection = database.connection().await;
    migrate_until(&mut connection, 17).await;
    let ids: Vec<i64> = (0..5)
        .map(|i| LabelSet::new([("__name__", "m"), ("i", i.to_string().as_str())]).expect("labels"))
        .map(|labels| SeriesId::of(&labels).0.cast_signed())
        .collect();
    // Floats, all the same, two bytes beside a line, four, and two of a day.
    let forms = [
        ("segments", r#""values""#, "ARRAY(SELECT sqrt(n) FROM generate_series(0, 59) n)"),
        ("segments", "base", "0.1"),
        (
            "segments",
            "base, slope, scale, shorts",
            "1e12, 15000, 100, ARRAY(SELECT n * 37 % 100 - 50 FROM generate_series(0, 59) n)",
        ),
        (
            "segments",
            "base, slope, scale, longs",
            "-7, 0, 1e9, ARRAY(SELECT n * 1234567 FROM generate_series(0, 59) n)",
        ),
        (
            "segments_daily",
            "samples, base, slope, scale, shorts",
            "60, 32768, 0, 1, ARRAY(SELECT n - 32768 FROM generate_series(0, 59) n)",
        ),
    ];
    let start = format!("to_timestamp({}::float8 / 1000)", START);
    let mut fill = String::from(
        "INSERT INTO origins (target_id, source) VALUES ('t', 's'); \
         INSERT INTO timelines VALUES (7, ARRAY(SELECT n * 60000 FROM generate_series(0, 59) n));",
    );
    for (i, (id, (table, columns, values))) in ids.iter().zip(forms).enumerate() {
        fill += &format!(
            "INSERT INTO series (id, metric_name, metric_type, labels, source, target_id, source_type) \
             VALUES ({id}, 'm', 'GAUGE', '{{\"i\": \"{i}\"}}', 's', 't', 'APPLICATION'); \
             INSERT INTO {table} (time, series, timeline, origin, {columns}) \
             SELECT {start}, {id}, 7, (SELECT id FROM origins), {values};"
        );
    }
    connection.execute(AssertSqlSafe(fill)).await.expect("fill");
    let before = view(&mut connection).await;
    assert_eq!(before.len(), 5 * 60);

    let migrated = migrate(&database.url, &options()).await.expect("migrate");
    assert_eq!(migrated.from, 17);
    assert_eq!(view(&mut connection).await, before);
    let store = database.store().await;
    assert_eq!(shown(&all_of_m(&store).await), before);

    // What is late is merged with all of them, into what is written now.
    let late = frame(&Layout::shared(many(5)), START + 30_000, vec![0.1; 5]);
    store.append(&[batch(1, vec![late])]).await.expect("append");
    let all = all_of_m(&store).await;
    compact_all(&store, &policy()).await;
    assert_eq!(count(&mut connection, "frames").await, 0);
    assert_eq!(exact(&all_of_m(&store).await), exact(&all));
    assert_eq!(view(&mut connection).await, shown(&all));
    assert_eq!(shown(&all).len(), 5 * 61);
}
