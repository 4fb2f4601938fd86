//! What membership costs the database: so many workers that renew their leases every second, by the store itself.
//!
//! `METRICSD_TEST_POSTGRES_URL=… cargo run --release -p metricsd-postgres --example leases -- 100 20`: workers, seconds.
//! Makes a database of its own, and drops it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metricsd_ports::Membership;
use metricsd_ports::membership::{Policy, Report, plan};
use metricsd_postgres::{PostgresOptions, PostgresStore};
use sqlx::{Connection, PgConnection, Row};
use uuid::Uuid;

const LEASE: Duration = Duration::from_secs(5);

fn report() -> Report {
    let member = Uuid::new_v4();
    Report {
        member,
        process: member,
        weight: 1,
        draining: false,
        targets: 1,
        samples_per_second: 1,
        capacity: 1,
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse::<u32>().ok());
    let (workers, seconds) = (arguments.next().unwrap_or(100), arguments.next().unwrap_or(20));
    let admin = std::env::var("METRICSD_TEST_POSTGRES_URL")?;
    let name = format!("metricsd_leases_{}", Uuid::new_v4().simple());
    let mut connection = PgConnection::connect(&admin).await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await?;
    let url = format!("{}/{name}", admin.rsplit_once('/').map_or(admin.as_str(), |(head, _)| head));
    let options = PostgresOptions { max_connections: 32, ..PostgresOptions::default() };
    let store = Arc::new(PostgresStore::connect(&url, options).await?);
    let reports: Vec<Report> = (0..workers).map(|_| report()).collect();
    for report in &reports {
        store.join(report, Duration::from_secs(600), 0).await?;
    }
    let policy = Policy { lead: 2_500, doubt: 10_000, tolerance: 10, may_evict: true };
    let started = Instant::now();
    let planned = plan(&store.snapshot().await?, &[], &policy, false).ok_or("nothing to plan")?;
    println!("first plan: read and made in {:.0?}", started.elapsed());
    let started = Instant::now();
    println!("written: {} in {:.0?}", store.propose(&planned).await?, started.elapsed());
    let mut measured = PgConnection::connect(&url).await?;
    let before = wal(&mut measured).await?;
    let tasks: Vec<_> =
        reports.into_iter().map(|report| tokio::spawn(renew(store.clone(), report, seconds))).collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await?);
    }
    let written = wal(&mut measured).await? - before;
    took.sort_unstable();
    let at = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or_default();
    println!(
        "{workers} workers, {seconds} s: {} renewals, median {:.1?}, P99 {:.1?}, {} bytes of log each",
        took.len(),
        at(50),
        at(99),
        written / i64::try_from(took.len().max(1))?,
    );
    store.close().await;
    drop(measured);
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)")))
        .execute(&mut connection)
        .await?;
    Ok(())
}

async fn wal(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint")
        .fetch_one(connection)
        .await?
        .try_get(0)
}

/// How long each renewal took; the first brings the whole ring.
async fn renew(store: Arc<PostgresStore>, report: Report, seconds: u32) -> Vec<Duration> {
    let mut took = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let mut known = 0;
    for _ in 0..seconds {
        tick.tick().await;
        let started = Instant::now();
        if let Ok(Some(renewal)) = store.renew_lease(&report, LEASE, known).await {
            known = renewal.epoch;
            took.push(started.elapsed());
        }
    }
    took
}
