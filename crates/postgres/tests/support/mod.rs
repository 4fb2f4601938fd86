//! A database of its own for every test, on the real server, dropped when the test ends.

#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod compacting;

use std::sync::Arc;
use std::time::Duration;

use metricsd_model::{
    Batch, BatchId, Collection, CollectionMethod, Frame, HealthStatus, JobStatus, LabelSet, Layout, Ledger,
    Matcher, MetricSource, MetricType, Millis, Series, SeriesId, TypeCounts,
};
use metricsd_ports::{SampleSource, SelectLimits, SelectedSeries, Selection};
use metricsd_postgres::{PostgresOptions, PostgresStore};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use uuid::Uuid;

/// How long a test waits for its database to go.
const PATIENCE: Duration = Duration::from_secs(3);

/// A database that goes when this does.
pub(crate) struct Database {
    pub(crate) url: String,
    server: String,
    name: String,
}

impl Database {
    pub(crate) async fn create() -> Self {
        let server = std::env::var("METRICSD_TEST_POSTGRES_URL").unwrap_or_else(|_| {
            panic!(
                "METRICSD_TEST_POSTGRES_URL is not set: these tests need a real TimescaleDB. Run `make test`, or \
                 `make services` once and then `source .services.env`"
            )
        });
        let name = format!("metricsd_test_{}", Uuid::new_v4().simple());
        let (path, query) =
            server.split_once('?').map_or((server.as_str(), ""), |(path, query)| (path, query));
        let (host, _) = path.rsplit_once('/').expect("the URL names a database");
        let mark = if query.is_empty() { "" } else { "?" };
        let database = Self { url: format!("{host}/{name}{mark}{query}"), name, server: server.clone() };
        let mut connection =
            PgConnection::connect(&server).await.expect("the server of METRICSD_TEST_POSTGRES_URL answers");
        let sql = format!("CREATE DATABASE {} TEMPLATE template0", database.name);
        connection.execute(AssertSqlSafe(sql)).await.expect("create a database");
        database
    }

    pub(crate) async fn store(&self) -> PostgresStore {
        PostgresStore::connect(&self.url, options()).await.expect("connect to the test database")
    }

    /// A connection to another database of the same server.
    pub(crate) async fn server(&self) -> PgConnection {
        PgConnection::connect(&self.server).await.expect("connect to the server")
    }

    pub(crate) async fn connection(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.expect("connect to the test database")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // The test's runtime may be gone: dropping takes one of its own.
        let drop = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut connection = PgConnection::connect(&server).await?;
                let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                // TimescaleDB's launcher sleeps up to a minute before it lets a database go. The server goes on
                // dropping it when no one waits.
                match tokio::time::timeout(PATIENCE, connection.execute(AssertSqlSafe(sql))).await {
                    Ok(dropped) => dropped.map(drop).map_err(Into::into),
                    Err(_) => Ok::<_, Box<dyn std::error::Error + Send + Sync>>(()),
                }
            })
        });
        if !matches!(drop.join(), Ok(Ok(()))) {
            eprintln!("the test database {} was not dropped", self.name);
        }
    }
}

pub(crate) fn options() -> PostgresOptions {
    PostgresOptions { max_connections: 4, ..PostgresOptions::default() }
}

/// Brings an empty database to the schema of a version before.
pub(crate) async fn migrate_until(connection: &mut PgConnection, version: i64) {
    let folder = std::fs::read_dir("../../migrations/postgres").expect("the folder");
    let mut files: Vec<_> = folder.map(|file| file.expect("a file").path()).collect();
    files.sort();
    let start = "CREATE EXTENSION IF NOT EXISTS timescaledb; \
         SELECT set_config('metricsd.chunk_interval', '3600000 milliseconds', false), \
                set_config('metricsd.space_partitions', '1', false)";
    connection.execute(start).await.expect("the extension");
    connection.execute(include_str!("../../src/sql/migrations_table.sql")).await.expect("the table");
    for file in files {
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        let (number, name) = name.split_once('_').expect("a number and a name");
        let number: i64 = number.parse().expect("a number");
        if number > version {
            return;
        }
        let sql = std::fs::read_to_string(&file).expect("a migration");
        connection.execute(AssertSqlSafe(sql)).await.expect("migrate");
        let note = format!("INSERT INTO metricsd_migrations (version, name) VALUES ({number}, '{name}')");
        connection.execute(AssertSqlSafe(note)).await.expect("note");
    }
}

/// A round hour.
pub(crate) const HOUR: Millis = 1_750_500_000_000;

pub(crate) fn series(pairs: &[(&str, &str)]) -> Arc<Series> {
    let labels = LabelSet::new(pairs.iter().copied()).expect("labels of a test");
    Arc::new(Series {
        id: SeriesId::of(&labels),
        labels,
        metric_type: MetricType::Gauge,
        source_type: MetricSource::Application,
        source: "s".into(),
        target_id: "t".into(),
        help: Some("help".into()),
        unit: None,
    })
}

/// `m{i="0"}`, `m{i="1"}`, …
pub(crate) fn many(count: usize) -> Vec<Arc<Series>> {
    (0..count).map(|i| series(&[("__name__", "m"), ("i", &i.to_string())])).collect()
}

pub(crate) fn frame(layout: &Arc<Layout>, time: Millis, values: Vec<f64>) -> Frame {
    Frame { layout: Arc::clone(layout), time, offsets: None, values, histograms: Vec::new() }
}

pub(crate) fn batch(id: u128, frames: Vec<Frame>) -> Arc<Batch> {
    let stored = frames.iter().map(|frame| frame.values.len() as u64).sum();
    Arc::new(Batch::new(
        BatchId(id),
        Collection {
            source_id: "s".into(),
            target_id: "t".into(),
            method: CollectionMethod::PullScraping,
            started: HOUR,
            duration_ms: 12.5,
            status: JobStatus::Completed,
            health: HealthStatus::Healthy,
            reason: None,
            error: None,
            ledger: Ledger { received: stored, stored, ..Ledger::default() },
            types: TypeCounts::default(),
        },
        frames,
    ))
}

pub(crate) fn selection(matchers: Vec<Matcher>, start: Millis, end: Millis) -> Selection {
    Selection {
        matchers,
        start,
        end,
        limits: SelectLimits { max_series: 1_000_000, max_samples: 10_000_000 },
    }
}

/// All samples of `m` at all times.
pub(crate) async fn all_of_m(store: &PostgresStore) -> Vec<SelectedSeries> {
    let everything = selection(vec![Matcher::equal("__name__", "m")], i64::MIN, i64::MAX);
    store.select(&everything).await.expect("select")
}
