//! The table of work. The file's write lock makes claims come one after another; leases run by the machine's clock, which
//! all processes at one file share.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use metricsd_ports::{
    Hold, NewWork, Outcome, PortError, Stored, Submitted, Work, WorkFilter, WorkKind, WorkQueue, WorkState,
};
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use crate::SqliteStore;
use crate::columns::{count, json, named, signed, signed_len, uuid};
use crate::error::Fault;
use crate::store::{later, now};

/// Why work is given up of which no worker said why it failed.
const LOST_WORKER: &str = "every worker that tried it was lost";

fn told<T>(what: &str, result: Result<T, Fault>) -> Result<T, PortError> {
    result.map_err(|fault| fault.into_port(what))
}

#[async_trait]
impl WorkQueue for SqliteStore {
    async fn submit(&self, work: &NewWork) -> Result<Option<Submitted>, PortError> {
        told("ask for work", submit(self, work).await)
    }

    async fn store_bytes(
        &self,
        id: Uuid,
        offset: u64,
        bytes: &[u8],
        bound: u64,
    ) -> Result<Stored, PortError> {
        told("keep the bytes of work", store_bytes(self, id, offset, bytes, bound).await)
    }

    async fn bytes_at(&self, id: Uuid, offset: u64) -> Result<Option<(u64, Vec<u8>)>, PortError> {
        told("read the bytes of work", bytes_at(self, id, offset).await)
    }

    async fn seal(&self, id: Uuid, content: &str) -> Result<Option<Submitted>, PortError> {
        told("seal work", seal(self, id, content).await)
    }

    async fn claim(
        &self,
        worker: Uuid,
        kinds: &[WorkKind],
        lease: Duration,
    ) -> Result<Option<Work>, PortError> {
        told("claim work", claim(self, worker, kinds, lease).await)
    }

    async fn renew(
        &self,
        id: Uuid,
        claim: i64,
        lease: Duration,
        progress: Option<&Value>,
    ) -> Result<Hold, PortError> {
        told("hold on to work", renew(self, id, claim, lease, progress).await)
    }

    async fn finish(
        &self,
        id: Uuid,
        claim: i64,
        outcome: &Outcome,
        progress: Option<&Value>,
    ) -> Result<bool, PortError> {
        told("end work", finish(self, id, claim, outcome, progress).await)
    }

    async fn work(&self, id: Uuid) -> Result<Option<Work>, PortError> {
        let read = async {
            let row = sqlx::query("SELECT * FROM work WHERE id = ?1").bind(id.to_string());
            row.fetch_optional(&self.readers).await?.as_ref().map(work_of_row).transpose()
        };
        told("read work", read.await)
    }

    async fn list_work(&self, filter: &WorkFilter, limit: usize) -> Result<Vec<Work>, PortError> {
        let list = async {
            let sql = "SELECT * FROM work WHERE (?1 IS NULL OR kind = ?1) AND (?2 IS NULL OR state = ?2)
                AND (?3 IS NULL OR source_id = ?3) ORDER BY seq DESC LIMIT ?4";
            let rows = sqlx::query(sql)
                .bind(filter.kind.map(WorkKind::as_str))
                .bind(filter.state.map(WorkState::as_str))
                .bind(filter.source_id.as_deref())
                .bind(signed_len(limit))
                .fetch_all(&self.readers)
                .await?;
            rows.iter().map(work_of_row).collect()
        };
        told("list work", list.await)
    }

    async fn cancel(&self, id: Uuid) -> Result<Option<Work>, PortError> {
        told("cancel work", cancel(self, id).await)
    }

    async fn expire_work(&self) -> Result<u64, PortError> {
        let expire = async {
            let sql = "DELETE FROM work WHERE state NOT IN ('queued', 'running') AND updated_at + keep <= ?1";
            let mut tx = self.write().await?;
            let removed = sqlx::query(sql).bind(now()).execute(&mut *tx).await?.rows_affected();
            tx.commit().await?;
            Ok(removed)
        };
        told("remove old work", expire.await)
    }

    async fn count_work(&self) -> Result<BTreeMap<(WorkKind, &'static str), u64>, PortError> {
        let counts = async {
            let sql = "SELECT kind, state, count(*) AS works FROM work GROUP BY kind, state";
            let mut counts = BTreeMap::new();
            for row in &sqlx::query(sql).fetch_all(&self.readers).await? {
                let state = named(row, "state", WorkState::from_name)?;
                counts
                    .insert((named(row, "kind", WorkKind::from_name)?, state.as_str()), count(row, "works")?);
            }
            Ok(counts)
        };
        told("count work", counts.await)
    }
}

async fn submit(store: &SqliteStore, work: &NewWork) -> Result<Option<Submitted>, Fault> {
    let mut tx = store.write().await?;
    let sql = "SELECT * FROM work WHERE id = ?1 OR (kind = ?2 AND source_id = ?3 AND content = ?4) LIMIT 1";
    let standing = sqlx::query(sql)
        .bind(work.id.to_string())
        .bind(work.kind.as_str())
        .bind(&work.source_id)
        .bind(work.content.as_deref())
        .fetch_optional(&mut *tx)
        .await?;
    if let Some(row) = standing {
        return Ok(Some(Submitted::Existing(work_of_row(&row)?)));
    }
    if work.receiving {
        let sql = "SELECT count(*) AS receiving FROM work WHERE state = 'receiving'";
        let receiving = count(&sqlx::query(sql).fetch_one(&mut *tx).await?, "receiving")?;
        if receiving >= u64::from(work.max_receiving) {
            return Ok(None);
        }
    }
    let state = if work.receiving { WorkState::Receiving } else { WorkState::Queued };
    let sql = "INSERT INTO work (id, kind, state, source_id, spec, content, max_tries, keep, due, created_at, updated_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?9) RETURNING *";
    let row = sqlx::query(sql)
        .bind(work.id.to_string())
        .bind(work.kind.as_str())
        .bind(state.as_str())
        .bind(&work.source_id)
        .bind(work.spec.to_string())
        .bind(work.content.as_deref())
        .bind(i64::from(work.max_tries.max(1)))
        .bind(i64::try_from(work.keep.as_millis()).unwrap_or(i64::MAX / 4))
        .bind(now())
        .fetch_one(&mut *tx)
        .await?;
    let submitted = Submitted::New(work_of_row(&row)?);
    tx.commit().await?;
    Ok(Some(submitted))
}

async fn store_bytes(
    store: &SqliteStore,
    id: Uuid,
    offset: u64,
    bytes: &[u8],
    bound: u64,
) -> Result<Stored, Fault> {
    let mut tx = store.write().await?;
    let sql = "SELECT received FROM work WHERE id = ?1 AND state = 'receiving'";
    let Some(row) = sqlx::query(sql).bind(id.to_string()).fetch_optional(&mut *tx).await? else {
        return Ok(Stored::Closed);
    };
    let received = count(&row, "received")?;
    if received != offset {
        return Ok(Stored::Elsewhere(received));
    }
    let sql = "SELECT coalesce(sum(received), 0) AS total FROM work WHERE state IN ('receiving', 'queued', 'running')";
    let all = count(&sqlx::query(sql).fetch_one(&mut *tx).await?, "total")?;
    let length = bytes.len() as u64;
    if all.saturating_add(length) > bound {
        return Ok(Stored::Full);
    }
    if length > 0 {
        let sql = "INSERT INTO work_bytes (work, start, bytes) VALUES (?1, ?2, ?3)";
        let insert = sqlx::query(sql).bind(id.to_string()).bind(signed(offset)).bind(bytes.to_vec());
        insert.execute(&mut *tx).await?;
    }
    let sql = "UPDATE work SET received = ?2, updated_at = ?3 WHERE id = ?1";
    let update = sqlx::query(sql).bind(id.to_string()).bind(signed(received + length)).bind(now());
    update.execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(Stored::Kept(received + length))
}

async fn bytes_at(store: &SqliteStore, id: Uuid, offset: u64) -> Result<Option<(u64, Vec<u8>)>, Fault> {
    let sql =
        "SELECT start, bytes FROM work_bytes WHERE work = ?1 AND start <= ?2 ORDER BY start DESC LIMIT 1";
    let query = sqlx::query(sql).bind(id.to_string()).bind(signed(offset));
    let Some(row) = query.fetch_optional(&store.readers).await? else { return Ok(None) };
    let (start, bytes) = (count(&row, "start")?, row.try_get::<Vec<u8>, _>("bytes")?);
    Ok((start + bytes.len() as u64 > offset).then_some((start, bytes)))
}

async fn seal(store: &SqliteStore, id: Uuid, content: &str) -> Result<Option<Submitted>, Fault> {
    let mut tx = store.write().await?;
    let sql = "SELECT other.* FROM work JOIN work AS other ON other.kind = work.kind
        AND other.source_id = work.source_id AND other.content = ?2 AND other.id <> work.id
        WHERE work.id = ?1 AND work.state = 'receiving'";
    let other = sqlx::query(sql).bind(id.to_string()).bind(content).fetch_optional(&mut *tx).await?;
    let sealed = if let Some(other) = other {
        sqlx::query("DELETE FROM work WHERE id = ?1").bind(id.to_string()).execute(&mut *tx).await?;
        Some(Submitted::Existing(work_of_row(&other)?))
    } else {
        let sql = "UPDATE work SET state = 'queued', content = ?2, due = ?3, updated_at = ?3
            WHERE id = ?1 AND state = 'receiving' RETURNING *";
        let query = sqlx::query(sql).bind(id.to_string()).bind(content).bind(now());
        let row = query.fetch_optional(&mut *tx).await?;
        row.as_ref().map(work_of_row).transpose()?.map(Submitted::New)
    };
    tx.commit().await?;
    Ok(sealed)
}

/// Looks before it asks for the file's write lock: there is seldom any work.
async fn claim(
    store: &SqliteStore,
    worker: Uuid,
    kinds: &[WorkKind],
    lease: Duration,
) -> Result<Option<Work>, Fault> {
    const WAITS: &str = "state IN ('queued', 'running') AND due <= ?1
        AND kind IN (SELECT value FROM json_each(?2))";
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    let kinds = serde_json::Value::from(kinds).to_string();
    let any = sqlx::query(sqlx::AssertSqlSafe(format!("SELECT 1 FROM work WHERE {WAITS} LIMIT 1")));
    if any.bind(now()).bind(&kinds).fetch_optional(&store.readers).await?.is_none() {
        return Ok(None);
    }
    let mut tx = store.write().await?;
    let over = format!(
        "UPDATE work SET state = CASE WHEN cancelling THEN 'cancelled' ELSE 'dead' END, worker = NULL, content = NULL,
            error = CASE WHEN cancelling THEN error ELSE coalesce(error, ?3) END, updated_at = ?1
        WHERE {WAITS} AND (cancelling OR tries >= max_tries) RETURNING id"
    );
    let over = sqlx::query(sqlx::AssertSqlSafe(over)).bind(now()).bind(&kinds).bind(LOST_WORKER);
    for row in over.fetch_all(&mut *tx).await? {
        forget_bytes(&mut tx, uuid(&row, "id")?).await?;
    }
    let take = format!(
        "UPDATE work SET state = 'running', tries = tries + 1, claim = claim + 1, worker = ?3, updated_at = ?1, due = ?4
        WHERE seq = (SELECT seq FROM work WHERE {WAITS} ORDER BY seq LIMIT 1) RETURNING *"
    );
    let take = sqlx::query(sqlx::AssertSqlSafe(take)).bind(now()).bind(&kinds);
    let row = take.bind(worker.to_string()).bind(later(lease)).fetch_optional(&mut *tx).await?;
    let work = row.as_ref().map(work_of_row).transpose()?;
    tx.commit().await?;
    Ok(work)
}

/// Of work that is over.
async fn forget_bytes(connection: &mut SqliteConnection, id: Uuid) -> Result<(), Fault> {
    let sql = "DELETE FROM work_bytes WHERE work = ?1 AND EXISTS
        (SELECT 1 FROM work WHERE id = ?1 AND state IN ('done', 'dead', 'cancelled'))";
    sqlx::query(sql).bind(id.to_string()).execute(connection).await?;
    Ok(())
}

async fn renew(
    store: &SqliteStore,
    id: Uuid,
    claim: i64,
    lease: Duration,
    progress: Option<&Value>,
) -> Result<Hold, Fault> {
    let sql = "UPDATE work SET due = ?3, updated_at = ?4, progress = coalesce(?5, progress),
            tries = CASE WHEN ?5 IS NULL THEN tries ELSE 1 END
        WHERE id = ?1 AND claim = ?2 AND state = 'running' RETURNING cancelling";
    let mut tx = store.write().await?;
    let row = sqlx::query(sql)
        .bind(id.to_string())
        .bind(claim)
        .bind(later(lease))
        .bind(now())
        .bind(progress.map(Value::to_string))
        .fetch_optional(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(match row {
        Some(row) if row.try_get(0)? => Hold::Cancelling,
        Some(_) => Hold::Held,
        None => Hold::Lost,
    })
}

async fn finish(
    store: &SqliteStore,
    id: Uuid,
    claim: i64,
    outcome: &Outcome,
    progress: Option<&Value>,
) -> Result<bool, Fault> {
    let (state, error, pause) = match outcome {
        Outcome::Done => ("done", None, Duration::ZERO),
        Outcome::Failed { message, pause } => ("failed", Some(message), *pause),
        Outcome::Hopeless { message } => ("dead", Some(message), Duration::ZERO),
        Outcome::Cancelled => ("cancelled", None, Duration::ZERO),
        Outcome::Released => ("released", None, Duration::ZERO),
    };
    // A failed try is the end where it was the last one.
    let sql = "UPDATE work
        SET state = CASE WHEN ?3 = 'failed' THEN CASE WHEN tries >= max_tries THEN 'dead' ELSE 'queued' END
                         WHEN ?3 = 'released' THEN 'queued' ELSE ?3 END,
            tries = CASE WHEN ?3 = 'released' THEN max(tries - 1, 0) ELSE tries END,
            content = CASE WHEN ?3 IN ('dead', 'cancelled') OR (?3 = 'failed' AND tries >= max_tries) THEN NULL
                           ELSE content END,
            error = CASE WHEN ?3 = 'done' THEN NULL ELSE coalesce(?4, error) END,
            progress = coalesce(?5, progress), worker = NULL, updated_at = ?6, due = ?7
        WHERE id = ?1 AND claim = ?2 AND state = 'running'";
    let mut tx = store.write().await?;
    let ended = sqlx::query(sql)
        .bind(id.to_string())
        .bind(claim)
        .bind(state)
        .bind(error)
        .bind(progress.map(Value::to_string))
        .bind(now())
        .bind(later(pause))
        .execute(&mut *tx)
        .await?;
    forget_bytes(&mut tx, id).await?;
    tx.commit().await?;
    Ok(ended.rows_affected() > 0)
}

async fn cancel(store: &SqliteStore, id: Uuid) -> Result<Option<Work>, Fault> {
    let mut tx = store.write().await?;
    let sql = "UPDATE work SET cancelling = 1, updated_at = ?2,
            content = CASE WHEN state = 'running' THEN content END,
            state = CASE WHEN state = 'running' THEN state ELSE 'cancelled' END
        WHERE id = ?1 AND state IN ('receiving', 'queued', 'running')";
    sqlx::query(sql).bind(id.to_string()).bind(now()).execute(&mut *tx).await?;
    forget_bytes(&mut tx, id).await?;
    let query = sqlx::query("SELECT * FROM work WHERE id = ?1").bind(id.to_string());
    let work = query.fetch_optional(&mut *tx).await?.as_ref().map(work_of_row).transpose()?;
    tx.commit().await?;
    Ok(work)
}

fn work_of_row(row: &SqliteRow) -> Result<Work, Fault> {
    let worker: Option<&str> = row.try_get("worker")?;
    Ok(Work {
        id: uuid(row, "id")?,
        kind: named(row, "kind", WorkKind::from_name)?,
        state: named(row, "state", WorkState::from_name)?,
        source_id: row.try_get("source_id")?,
        spec: json(row, "spec", |text| serde_json::from_str(text))?,
        progress: json(row, "progress", |text| serde_json::from_str(text))?,
        content: row.try_get("content")?,
        received: count(row, "received")?,
        tries: u32::try_from(count(row, "tries")?).unwrap_or(u32::MAX),
        max_tries: u32::try_from(count(row, "max_tries")?).unwrap_or(u32::MAX),
        claim: row.try_get("claim")?,
        worker: worker.map(|_| uuid(row, "worker")).transpose()?,
        cancelling: row.try_get("cancelling")?,
        error: row.try_get("error")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}
