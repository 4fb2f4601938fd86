//! Migrations: at once, twice, and on a database of tomorrow.

mod support;

use std::time::Duration;

use metricsd_ports::{ErrorKind, SampleSink};
use metricsd_postgres::{PostgresOptions, PostgresStore, migrate};
use sqlx::{Executor, Row};
use support::{Database, options};

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
