//! Events that were committed with their data. The lease runs by the database's clock, so relays need not agree on one.

use std::time::Duration;

use async_trait::async_trait;
use metricsd_ports::{Outbox, OutboxEvent, PortError};
use sqlx::Row;
use uuid::Uuid;

use crate::PostgresStore;
use crate::binary::bytes;
use crate::error::{Fault, damaged};

#[async_trait]
impl Outbox for PostgresStore {
    async fn pending(
        &self,
        relay: Uuid,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<OutboxEvent>, PortError> {
        self.retried("read the outbox", || pending(self, relay, lease, limit)).await
    }

    async fn published(&self, seqs: &[i64]) -> Result<(), PortError> {
        let forget = || async {
            sqlx::query("DELETE FROM outbox WHERE seq = ANY($1)").bind(seqs).execute(&self.pool).await?;
            Ok(())
        };
        self.retried("forget published events", forget).await
    }

    async fn backlog(&self) -> Result<u64, PortError> {
        let count = || async {
            let row = sqlx::query("SELECT count(*) FROM outbox").fetch_one(&self.pool).await?;
            Ok(u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0))
        };
        self.retried("count the outbox", count).await
    }
}

async fn pending(
    store: &PostgresStore,
    relay: Uuid,
    lease: Duration,
    limit: usize,
) -> Result<Vec<OutboxEvent>, Fault> {
    if !holds(store, relay, lease).await? && !take(store, relay, lease).await? {
        return Ok(Vec::new());
    }
    let rows = sqlx::query("SELECT seq, event FROM outbox ORDER BY seq LIMIT $1")
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&store.pool)
        .await?;
    let mut events = Vec::with_capacity(rows.len());
    for row in &rows {
        let event = serde_json::from_slice(bytes(row, 1)?.unwrap_or_default());
        let event = event.map_err(|error| damaged("damaged event in the outbox").caused_by(error))?;
        events.push(OutboxEvent { seq: row.try_get(0)?, event });
    }
    Ok(events)
}

/// Whether the lease is this relay's for at least half its length more: then nothing is written, so that a relay that
/// finds nothing to do costs no commit.
async fn holds(store: &PostgresStore, relay: Uuid, lease: Duration) -> Result<bool, Fault> {
    if lease.is_zero() {
        return Ok(false);
    }
    let held = sqlx::query(include_str!("sql/hold_lease.sql"))
        .bind(relay)
        .bind((lease / 2).as_secs_f64())
        .fetch_optional(&store.pool)
        .await?;
    Ok(held.is_some())
}

async fn take(store: &PostgresStore, relay: Uuid, lease: Duration) -> Result<bool, Fault> {
    let taken = sqlx::query(include_str!("sql/take_lease.sql"))
        .bind(relay)
        .bind(lease.as_secs_f64())
        .fetch_optional(&store.pool)
        .await?;
    Ok(taken.is_some())
}
