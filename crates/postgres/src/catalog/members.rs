//! Workers that share the targets: their leases and the ring, by the database's clock.

use std::time::Duration;

use async_trait::async_trait;
use metricsd_ports::membership::{BUCKETS, Grant, Lease, Plan, Renewal, Report, Snapshot, Table};
use metricsd_ports::{Membership, PortError};
use metricsd_sharding::registry::PLAN_FRESH_MS;
use sqlx::Row;
use sqlx::postgres::PgRow;
use tokio::time::Instant;
use uuid::Uuid;

use crate::PostgresStore;
use crate::error::{Fault, damaged};

const GRANTS: &str = "SELECT bucket, owner, epoch, since, previous, began, gap FROM ring_grants WHERE epoch > $1 ORDER BY bucket";

#[async_trait]
impl Membership for PostgresStore {
    async fn join(&self, report: &Report, lease: Duration, known: u64) -> Result<Renewal, PortError> {
        self.retried("take a worker in", || join(self, report, lease, known)).await
    }

    async fn renew_lease(
        &self,
        report: &Report,
        lease: Duration,
        known: u64,
    ) -> Result<Option<Renewal>, PortError> {
        self.bounded("renew a lease", renew(self, report, lease, known)).await
    }

    async fn leave(&self, member: Uuid) -> Result<(), PortError> {
        self.retried("let a worker go", || leave(self, member)).await
    }

    async fn snapshot(&self) -> Result<Snapshot, PortError> {
        self.retried("read the ring", || snapshot(self)).await
    }

    async fn propose(&self, plan: &Plan) -> Result<bool, PortError> {
        self.retried("change the ring", || propose(self, plan)).await
    }

    async fn changed(&self, known: u64, wait: Duration) -> Result<bool, PortError> {
        let deadline = Instant::now() + wait;
        // Before the first look, so that a change after it is not slept through.
        let mut feed = self.feed.subscribe();
        loop {
            feed.mark_unchanged();
            let epoch = self.retried("read the ring's epoch", || epoch(self)).await?;
            if epoch > known {
                return Ok(true);
            }
            if !matches!(tokio::time::timeout_at(deadline, feed.changed()).await, Ok(Ok(()))) {
                return Ok(false);
            }
        }
    }
}

async fn join(store: &PostgresStore, report: &Report, lease: Duration, known: u64) -> Result<Renewal, Fault> {
    let sql = include_str!("../sql/join_workers.sql");
    reported(sqlx::query(sql), report, lease, known).execute(&store.pool).await?;
    let renewal = renew(store, report, lease, known).await?;
    renewal.ok_or_else(|| damaged("a worker that has just joined is gone"))
}

async fn renew(
    store: &PostgresStore,
    report: &Report,
    lease: Duration,
    known: u64,
) -> Result<Option<Renewal>, Fault> {
    let sql = include_str!("../sql/renew_lease.sql");
    let row = reported(sqlx::query(sql), report, lease, known).fetch_optional(&store.pool).await?;
    let Some(row) = row else { return Ok(None) };
    let mut epoch = unsigned(row.try_get("epoch")?);
    let mut changed = Vec::new();
    if epoch > known {
        changed = grants(store, known).await?;
        // Between the two the ring may have changed once more.
        epoch = changed.iter().map(|(_, grant)| grant.epoch).fold(epoch, u64::max);
    }
    let (now, unsettled) = (row.try_get("now")?, row.try_get("unsettled")?);
    let (next_expiry, alone) = (row.try_get("next_expiry")?, row.try_get("alone")?);
    Ok(Some(Renewal { now, epoch, changed, unsettled, next_expiry, alone }))
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

fn reported<'q>(query: Query<'q>, report: &Report, lease: Duration, known: u64) -> Query<'q> {
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    query
        .bind(report.member)
        .bind(report.process)
        .bind(i32::try_from(report.weight).unwrap_or(i32::MAX))
        .bind(report.draining)
        .bind(signed(report.targets))
        .bind(signed(report.samples_per_second))
        .bind(signed(report.capacity))
        .bind(signed(known))
        .bind(lease.as_secs_f64())
}

async fn leave(store: &PostgresStore, member: Uuid) -> Result<(), Fault> {
    sqlx::query(include_str!("../sql/leave_workers.sql")).bind(member).execute(&store.pool).await?;
    Ok(())
}

async fn epoch(store: &PostgresStore) -> Result<u64, Fault> {
    let row = sqlx::query("SELECT epoch FROM ring").fetch_one(&store.pool).await?;
    Ok(unsigned(row.try_get(0)?))
}

async fn grants(store: &PostgresStore, after: u64) -> Result<Vec<(u16, Grant)>, Fault> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let rows = sqlx::query(GRANTS).bind(after).fetch_all(&store.pool).await?;
    rows.iter().map(grant).collect()
}

/// One state of all tables, as one transaction sees it.
async fn snapshot(store: &PostgresStore) -> Result<Snapshot, Fault> {
    let mut tx = store.pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let head = sqlx::query("SELECT metricsd_now(), epoch FROM ring").fetch_one(&mut *tx).await?;
    let (now, epoch) = (head.try_get(0)?, unsigned(head.try_get(1)?));
    let rows = sqlx::query(GRANTS).bind(0_i64).fetch_all(&mut *tx).await?;
    let grants: Vec<(u16, Grant)> = rows.iter().map(grant).collect::<Result<_, Fault>>()?;
    let rows = sqlx::query(
        "SELECT *, floor(extract(epoch FROM renewed) * 1000)::bigint AS renewed_ms,
            floor(extract(epoch FROM expires) * 1000)::bigint AS expires_ms
        FROM workers ORDER BY member",
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    let mut table = Table::new(BUCKETS);
    table.apply(epoch, &grants);
    Ok(Snapshot { now, table, leases: rows.iter().map(lease).collect::<Result<_, Fault>>()? })
}

fn grant(row: &PgRow) -> Result<(u16, Grant), Fault> {
    let bucket = u16::try_from(row.try_get::<i32, _>("bucket")?);
    let bucket = bucket.map_err(|error| damaged("a bucket beyond all").caused_by(error))?;
    let grant = Grant {
        owner: row.try_get("owner")?,
        epoch: unsigned(row.try_get("epoch")?),
        since: row.try_get("since")?,
        previous: row.try_get("previous")?,
        began: row.try_get("began")?,
        gap: row.try_get("gap")?,
    };
    Ok((bucket, grant))
}

fn lease(row: &PgRow) -> Result<Lease, Fault> {
    let report = Report {
        member: row.try_get("member")?,
        process: row.try_get("process")?,
        weight: u32::try_from(row.try_get::<i32, _>("weight")?).unwrap_or(1),
        draining: row.try_get("draining")?,
        targets: unsigned(row.try_get("targets")?),
        samples_per_second: unsigned(row.try_get("samples_per_second")?),
        capacity: unsigned(row.try_get("capacity")?),
    };
    Ok(Lease {
        report,
        renewed: row.try_get("renewed_ms")?,
        expires: row.try_get("expires_ms")?,
        placed: row.try_get("placed")?,
        known: unsigned(row.try_get("known")?),
    })
}

async fn propose(store: &PostgresStore, plan: &Plan) -> Result<bool, Fault> {
    fn column<T>(plan: &Plan, field: impl Fn(&Grant) -> T) -> Vec<T> {
        plan.grants.iter().map(|(_, grant)| field(grant)).collect()
    }
    let buckets: Vec<i32> = plan.grants.iter().map(|(bucket, _)| i32::from(*bucket)).collect();
    let row = sqlx::query("SELECT metricsd_propose($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)")
        .bind(i64::try_from(plan.base).unwrap_or(i64::MAX))
        .bind(plan.made)
        .bind(PLAN_FRESH_MS)
        .bind(&plan.lost)
        .bind(&plan.placed)
        .bind(buckets)
        .bind(column(plan, |grant| grant.owner))
        .bind(column(plan, |grant| grant.since))
        .bind(column(plan, |grant| grant.previous))
        .bind(column(plan, |grant| grant.began))
        .bind(column(plan, |grant| grant.gap))
        .fetch_one(&store.pool)
        .await?;
    Ok(row.try_get(0)?)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
