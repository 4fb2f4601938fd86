//! Events that were committed with their data.

use std::time::Duration;

use async_trait::async_trait;
use metricsd_ports::{Outbox, OutboxEvent, PortError};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use crate::SqliteStore;
use crate::columns::{count, id_list, json, signed_len};
use crate::error::Fault;
use crate::store::{later, now};

const TAKE_LEASE: &str = "INSERT INTO relay_lease (single, holder, expires) VALUES (1, ?1, ?2)
    ON CONFLICT (single) DO UPDATE SET holder = excluded.holder, expires = excluded.expires
    WHERE relay_lease.holder = excluded.holder OR relay_lease.expires <= ?3";

#[async_trait]
impl Outbox for SqliteStore {
    async fn pending(
        &self,
        relay: Uuid,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<OutboxEvent>, PortError> {
        pending(self, relay, lease, limit).await.map_err(|fault| fault.into_port("read the outbox"))
    }

    async fn published(&self, seqs: &[i64]) -> Result<(), PortError> {
        forget(self, seqs).await.map_err(|fault| fault.into_port("forget published events"))
    }

    async fn backlog(&self) -> Result<u64, PortError> {
        backlog(self).await.map_err(|fault| fault.into_port("count the outbox"))
    }
}

async fn pending(
    store: &SqliteStore,
    relay: Uuid,
    lease: Duration,
    limit: usize,
) -> Result<Vec<OutboxEvent>, Fault> {
    if !holds(store, relay, lease).await? && !take(store, relay, lease).await? {
        return Ok(Vec::new());
    }
    let rows = sqlx::query("SELECT seq, event FROM outbox ORDER BY seq LIMIT ?1")
        .bind(signed_len(limit))
        .fetch_all(&store.readers)
        .await?;
    let event = |row: &SqliteRow| {
        Ok(OutboxEvent {
            seq: row.try_get("seq")?,
            event: json(row, "event", |text| serde_json::from_str(text))?,
        })
    };
    rows.iter().map(event).collect()
}

/// Whether the lease is this relay's for at least half its length more: then nothing is written, so that a relay that
/// finds nothing to do costs no commit.
async fn holds(store: &SqliteStore, relay: Uuid, lease: Duration) -> Result<bool, Fault> {
    if lease.is_zero() {
        return Ok(false);
    }
    let query = "SELECT 1 FROM relay_lease WHERE holder = ?1 AND expires > ?2";
    let held = sqlx::query(query).bind(relay.to_string()).bind(later(lease / 2));
    Ok(held.fetch_optional(&store.readers).await?.is_some())
}

async fn take(store: &SqliteStore, relay: Uuid, lease: Duration) -> Result<bool, Fault> {
    let mut tx = store.write().await?;
    let taken = sqlx::query(TAKE_LEASE)
        .bind(relay.to_string())
        .bind(later(lease))
        .bind(now())
        .execute(&mut *tx)
        .await?;
    if taken.rows_affected() == 0 {
        tx.rollback().await?;
        return Ok(false);
    }
    tx.commit().await?;
    Ok(true)
}

async fn forget(store: &SqliteStore, seqs: &[i64]) -> Result<(), Fault> {
    if seqs.is_empty() {
        return Ok(());
    }
    let mut tx = store.write().await?;
    sqlx::query("DELETE FROM outbox WHERE seq IN (SELECT value FROM json_each(?1))")
        .bind(id_list(seqs.iter().copied()))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(())
}

async fn backlog(store: &SqliteStore) -> Result<u64, Fault> {
    let row = sqlx::query("SELECT count(*) AS waiting FROM outbox").fetch_one(&store.readers).await?;
    count(&row, "waiting")
}
