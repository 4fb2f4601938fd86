//! The table of work: claims by row locks that others skip, leases by the database's clock.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use metricsd_model::Millis;
use metricsd_ports::{
    Hold, NewWork, Outcome, PortError, Stored, Submitted, Work, WorkFilter, WorkKind, WorkQueue, WorkState,
};
use serde_json::Value;
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::PostgresStore;
use crate::error::{Fault, damaged};

/// Why work is given up of which no worker said why it failed.
const LOST_WORKER: &str = "every worker that tried it was lost";

#[async_trait]
impl WorkQueue for PostgresStore {
    async fn submit(&self, work: &NewWork) -> Result<Option<Submitted>, PortError> {
        self.retried("ask for work", || submit(self, work)).await
    }

    async fn store_bytes(
        &self,
        id: Uuid,
        offset: u64,
        bytes: &[u8],
        bound: u64,
    ) -> Result<Stored, PortError> {
        self.retried("keep the bytes of work", || store_bytes(self, id, offset, bytes, bound)).await
    }

    async fn bytes_at(&self, id: Uuid, offset: u64) -> Result<Option<(u64, Vec<u8>)>, PortError> {
        self.retried("read the bytes of work", || bytes_at(self, id, offset)).await
    }

    async fn seal(&self, id: Uuid, content: &str) -> Result<Option<Submitted>, PortError> {
        self.retried("seal work", || seal(self, id, content)).await
    }

    async fn claim(
        &self,
        worker: Uuid,
        kinds: &[WorkKind],
        lease: Duration,
    ) -> Result<Option<Work>, PortError> {
        self.retried("claim work", || claim(self, worker, kinds, lease)).await
    }

    async fn renew(
        &self,
        id: Uuid,
        claim: i64,
        lease: Duration,
        progress: Option<&Value>,
    ) -> Result<Hold, PortError> {
        let renew = || async {
            let row = sqlx::query(include_str!("sql/renew_work.sql"))
                .bind(id)
                .bind(claim)
                .bind(lease.as_secs_f64())
                .bind(progress.map(Value::to_string))
                .fetch_optional(&self.pool)
                .await?;
            Ok(match row {
                Some(row) if row.try_get(0)? => Hold::Cancelling,
                Some(_) => Hold::Held,
                None => Hold::Lost,
            })
        };
        self.retried("hold on to work", renew).await
    }

    async fn finish(
        &self,
        id: Uuid,
        claim: i64,
        outcome: &Outcome,
        progress: Option<&Value>,
    ) -> Result<bool, PortError> {
        self.retried("end work", || finish(self, id, claim, outcome, progress)).await
    }

    async fn work(&self, id: Uuid) -> Result<Option<Work>, PortError> {
        self.retried("read work", || one(self, id)).await
    }

    async fn list_work(&self, filter: &WorkFilter, limit: usize) -> Result<Vec<Work>, PortError> {
        let list = || async {
            let rows = sqlx::query(include_str!("sql/list_work.sql"))
                .bind(filter.kind.map(WorkKind::as_str))
                .bind(filter.state.map(WorkState::as_str))
                .bind(filter.source_id.as_deref())
                .bind(i64::try_from(limit).unwrap_or(i64::MAX))
                .fetch_all(&self.pool)
                .await?;
            rows.iter().map(work_of_row).collect()
        };
        self.retried("list work", list).await
    }

    async fn cancel(&self, id: Uuid) -> Result<Option<Work>, PortError> {
        let cancel = || async {
            sqlx::query(include_str!("sql/cancel_work.sql")).bind(id).execute(&self.pool).await?;
            one(self, id).await
        };
        self.retried("cancel work", cancel).await
    }

    async fn expire_work(&self) -> Result<u64, PortError> {
        let expire = || async {
            let sql = "DELETE FROM work WHERE state NOT IN ('queued', 'running') \
                       AND updated_at + keep <= clock_timestamp()";
            Ok(sqlx::query(sql).execute(&self.pool).await?.rows_affected())
        };
        self.retried("remove old work", expire).await
    }

    async fn count_work(&self) -> Result<BTreeMap<(WorkKind, &'static str), u64>, PortError> {
        let count = || async {
            let sql = "SELECT kind, state, count(*) AS works FROM work GROUP BY kind, state";
            let mut counts = BTreeMap::new();
            for row in &sqlx::query(sql).fetch_all(&self.pool).await? {
                let key = (kind_of(row)?, state_of(row)?.as_str());
                counts.insert(key, row.try_get::<i64, _>("works")?.cast_unsigned());
            }
            Ok(counts)
        };
        self.retried("count work", count).await
    }
}

async fn submit(store: &PostgresStore, work: &NewWork) -> Result<Option<Submitted>, Fault> {
    // What stood in the way may be gone when it is looked for.
    loop {
        let state = if work.receiving { WorkState::Receiving } else { WorkState::Queued };
        let row = sqlx::query(include_str!("sql/submit_work.sql"))
            .bind(work.id)
            .bind(work.kind.as_str())
            .bind(state.as_str())
            .bind(&work.source_id)
            .bind(work.spec.to_string())
            .bind(work.content.as_deref())
            .bind(i32::try_from(work.max_tries.max(1)).unwrap_or(i32::MAX))
            .bind(work.keep.as_secs_f64())
            .bind(i64::from(work.max_receiving))
            .fetch_optional(&store.pool)
            .await?;
        if let Some(row) = row {
            return Ok(Some(Submitted::New(work_of_row(&row)?)));
        }
        let sql =
            "SELECT * FROM work WHERE id = $1 OR (kind = $2 AND source_id = $3 AND content = $4) LIMIT 1";
        let row = sqlx::query(sql)
            .bind(work.id)
            .bind(work.kind.as_str())
            .bind(&work.source_id)
            .bind(work.content.as_deref())
            .fetch_optional(&store.pool)
            .await?;
        if let Some(row) = row {
            return Ok(Some(Submitted::Existing(work_of_row(&row)?)));
        }
        let sql = "SELECT count(*) >= $1 FROM work WHERE state = 'receiving'";
        let full = sqlx::query(sql).bind(i64::from(work.max_receiving)).fetch_one(&store.pool).await?;
        if work.receiving && full.try_get(0)? {
            return Ok(None);
        }
    }
}

async fn store_bytes(
    store: &PostgresStore,
    id: Uuid,
    offset: u64,
    bytes: &[u8],
    bound: u64,
) -> Result<Stored, Fault> {
    let mut tx = crate::held::begin(&store.pool).await?;
    let sql = "SELECT received FROM work WHERE id = $1 AND state = 'receiving' FOR UPDATE";
    let Some(row) = sqlx::query(sql).bind(id).fetch_optional(&mut *tx).await? else {
        return Ok(Stored::Closed);
    };
    let received = row.try_get::<i64, _>(0)?.cast_unsigned();
    if received != offset {
        return Ok(Stored::Elsewhere(received));
    }
    let sql =
        "SELECT coalesce(sum(received), 0)::int8 FROM work WHERE state IN ('receiving', 'queued', 'running')";
    let all = sqlx::query(sql).fetch_one(&mut *tx).await?.try_get::<i64, _>(0)?.cast_unsigned();
    let length = bytes.len() as u64;
    if all.saturating_add(length) > bound {
        return Ok(Stored::Full);
    }
    if length > 0 {
        let sql = "INSERT INTO work_bytes (work, start, bytes) VALUES ($1, $2, $3)";
        sqlx::query(sql).bind(id).bind(offset.cast_signed()).bind(bytes).execute(&mut *tx).await?;
    }
    let sql = "UPDATE work SET received = $2, updated_at = clock_timestamp() WHERE id = $1";
    sqlx::query(sql).bind(id).bind((received + length).cast_signed()).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(Stored::Kept(received + length))
}

async fn bytes_at(store: &PostgresStore, id: Uuid, offset: u64) -> Result<Option<(u64, Vec<u8>)>, Fault> {
    let sql =
        "SELECT start, bytes FROM work_bytes WHERE work = $1 AND start <= $2 ORDER BY start DESC LIMIT 1";
    let offset_or_end = i64::try_from(offset).unwrap_or(i64::MAX);
    let Some(row) = sqlx::query(sql).bind(id).bind(offset_or_end).fetch_optional(&store.pool).await? else {
        return Ok(None);
    };
    let (start, bytes) = (row.try_get::<i64, _>(0)?.cast_unsigned(), row.try_get::<Vec<u8>, _>(1)?);
    Ok((start + bytes.len() as u64 > offset).then_some((start, bytes)))
}

async fn seal(store: &PostgresStore, id: Uuid, content: &str) -> Result<Option<Submitted>, Fault> {
    let sql = "UPDATE work SET state = 'queued', content = $2, due = clock_timestamp(), updated_at = clock_timestamp()
        WHERE id = $1 AND state = 'receiving' RETURNING *";
    match sqlx::query(sql).bind(id).bind(content).fetch_optional(&store.pool).await {
        Ok(None) => return Ok(None),
        Ok(Some(row)) => return Ok(Some(Submitted::New(work_of_row(&row)?))),
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {}
        Err(error) => return Err(error.into()),
    }
    let sql = "SELECT other.* FROM work JOIN work AS other ON other.kind = work.kind
        AND other.source_id = work.source_id AND other.content = $2 AND other.id <> work.id
        WHERE work.id = $1";
    let row = sqlx::query(sql).bind(id).bind(content).fetch_optional(&store.pool).await?;
    let Some(row) = row else { return Box::pin(seal(store, id, content)).await };
    let sql = "DELETE FROM work WHERE id = $1 AND state = 'receiving'";
    sqlx::query(sql).bind(id).execute(&store.pool).await?;
    Ok(Some(Submitted::Existing(work_of_row(&row)?)))
}

async fn claim(
    store: &PostgresStore,
    worker: Uuid,
    kinds: &[WorkKind],
    lease: Duration,
) -> Result<Option<Work>, Fault> {
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    sqlx::query(include_str!("sql/end_work.sql")).bind(&kinds).bind(LOST_WORKER).execute(&store.pool).await?;
    let row = sqlx::query(include_str!("sql/claim_work.sql"))
        .bind(worker)
        .bind(&kinds)
        .bind(lease.as_secs_f64())
        .fetch_optional(&store.pool)
        .await?;
    row.as_ref().map(work_of_row).transpose()
}

async fn finish(
    store: &PostgresStore,
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
    let row = sqlx::query(include_str!("sql/finish_work.sql"))
        .bind(id)
        .bind(claim)
        .bind(state)
        .bind(error)
        .bind(progress.map(Value::to_string))
        .bind(pause.as_secs_f64())
        .fetch_optional(&store.pool)
        .await?;
    Ok(row.is_some())
}

async fn one(store: &PostgresStore, id: Uuid) -> Result<Option<Work>, Fault> {
    let row = sqlx::query("SELECT * FROM work WHERE id = $1").bind(id).fetch_optional(&store.pool).await?;
    row.as_ref().map(work_of_row).transpose()
}

fn kind_of(row: &PgRow) -> Result<WorkKind, Fault> {
    let name: &str = row.try_get("kind")?;
    WorkKind::from_name(name).ok_or_else(|| damaged(format!("unknown kind of work {name:?} in the database")))
}

fn state_of(row: &PgRow) -> Result<WorkState, Fault> {
    let name: &str = row.try_get("state")?;
    WorkState::from_name(name)
        .ok_or_else(|| damaged(format!("unknown state of work {name:?} in the database")))
}

fn work_of_row(row: &PgRow) -> Result<Work, Fault> {
    let json = |column: &str| -> Result<Value, Fault> {
        let text: &str = row.try_get(column)?;
        serde_json::from_str(text)
            .map_err(|error| damaged(format!("damaged {column} of work in the database")).caused_by(error))
    };
    let time = |column: &str| -> Result<Millis, Fault> {
        Ok(row.try_get::<DateTime<Utc>, _>(column)?.timestamp_millis())
    };
    let count = |column: &str| -> Result<u32, Fault> {
        Ok(u32::try_from(row.try_get::<i32, _>(column)?).unwrap_or(0))
    };
    Ok(Work {
        id: row.try_get("id")?,
        kind: kind_of(row)?,
        state: state_of(row)?,
        source_id: row.try_get("source_id")?,
        spec: json("spec")?,
        progress: json("progress")?,
        content: row.try_get("content")?,
        received: row.try_get::<i64, _>("received")?.cast_unsigned(),
        tries: count("tries")?,
        max_tries: count("max_tries")?,
        claim: row.try_get("claim")?,
        worker: row.try_get("worker")?,
        cancelling: row.try_get("cancelling")?,
        error: row.try_get("error")?,
        created_at: time("created_at")?,
        updated_at: time("updated_at")?,
    })
}
