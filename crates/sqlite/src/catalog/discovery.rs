//! Targets that providers find, and those that register themselves.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use async_trait::async_trait;
use metricsd_model::{OriginKind, Target, TargetSpec};
use metricsd_ports::discovery::Alone;
use metricsd_ports::{
    Completeness, ConfigState, DiscoveredTarget, DiscoveryCatalog, JobState, Leadership, PortError,
    Registration, Synced,
};
use metricsd_store::targets::{FoundColumns, Plan, SpecColumns, Standing, Write};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::targets::{bind_spec, next_revision, one, target_of_row, tell};
use super::told;
use crate::SqliteStore;
use crate::columns::{json, named, written};
use crate::error::Fault;
use crate::store::{later, now};

/// Under which job the state of the file is kept: no job has an empty name.
const CONFIG: &str = "";

/// What stands under an id and is not the job's is left alone.
const SYNC: &str = "INSERT INTO metric_targets AS t (revision, target_id, target_url, source_type, scrape_config, labels,
        enabled, source_id, collection_method, filters, retention_policy, id, health_status, origin, job, provider,
        fingerprint, scrape_requested)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, CASE WHEN ?7 THEN 'unknown' ELSE 'disabled' END,
        'discovered', ?13, ?14, ?15, ?16)
    ON CONFLICT (target_id) DO UPDATE
    SET revision = ?1, target_url = ?3, source_type = ?4, scrape_config = ?5, labels = ?6, enabled = ?7,
        source_id = ?8, collection_method = ?9, filters = ?10, retention_policy = ?11, provider = ?14,
        fingerprint = ?15, deleting = 0, scrape_requested = coalesce(?16, t.scrape_requested)
    WHERE t.job = ?13";

/// What is on the right of an assignment is what the row held before.
const REGISTER: &str = "INSERT INTO metric_targets AS t (revision, target_id, target_url, source_type, scrape_config, labels,
        enabled, source_id, collection_method, filters, retention_policy, id, health_status, origin, expires)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, CASE WHEN ?7 THEN 'unknown' ELSE 'disabled' END,
        'registered', ?13)
    ON CONFLICT (target_id) DO UPDATE
    SET revision = ?1, target_url = ?3, source_type = ?4, scrape_config = ?5, labels = ?6, enabled = ?7,
        source_id = ?8, collection_method = ?9, filters = ?10, retention_policy = ?11, expires = ?13, deleting = 0,
        health_status = CASE WHEN enabled = ?7 THEN health_status WHEN ?7 THEN 'unknown' ELSE 'disabled' END,
        health_reason = CASE WHEN enabled = ?7 THEN health_reason END,
        health_error = CASE WHEN enabled = ?7 THEN health_error END
    WHERE t.origin = 'registered'
    RETURNING *";

const RENEW: &str = "UPDATE metric_targets SET expires = ?2
    WHERE target_id = ?1 AND origin = 'registered' AND NOT deleting
    RETURNING *";

#[async_trait]
impl DiscoveryCatalog for SqliteStore {
    async fn sync_discovered(
        &self,
        job: &str,
        targets: &[DiscoveredTarget],
        completeness: Completeness,
    ) -> Result<Synced, PortError> {
        told("write discovered targets", sync(self, job, targets, completeness).await)
    }

    async fn retain_jobs(&self, jobs: &[String]) -> Result<u64, PortError> {
        told("remove the targets of other jobs", retain_jobs(self, jobs).await)
    }

    async fn discovered_labels(
        &self,
        target_ids: &[String],
    ) -> Result<BTreeMap<String, BTreeMap<String, String>>, PortError> {
        told("read discovered labels", labels(self, target_ids).await)
    }

    async fn put_discovery_state(&self, state: &JobState) -> Result<(), PortError> {
        let text = written(serde_json::to_string(state))?;
        told("note the state of discovery", put(self, &state.job, &text).await)
    }

    async fn discovery_states(&self) -> Result<Vec<JobState>, PortError> {
        told("read the states of discovery", states(self).await)
    }

    async fn put_config_state(&self, state: &ConfigState) -> Result<(), PortError> {
        let text = written(serde_json::to_string(state))?;
        told("note the state of the configuration", put(self, CONFIG, &text).await)
    }

    async fn config_state(&self) -> Result<Option<ConfigState>, PortError> {
        told("read the state of the configuration", config(self).await)
    }

    async fn register_target(&self, spec: &TargetSpec, ttl: Duration) -> Result<Registration, PortError> {
        told("register the target", register(self, spec, ttl).await)
    }

    async fn renew(&self, target_id: &str, ttl: Duration) -> Result<Option<Target>, PortError> {
        told("renew the target", renew(self, target_id, ttl).await)
    }

    async fn expire_lapsed(&self) -> Result<u64, PortError> {
        told("remove lapsed targets", expire(self).await)
    }

    async fn try_lead(&self, _: &str) -> Result<Option<Box<dyn Leadership>>, PortError> {
        Ok(Some(Box::new(Alone)))
    }
}

async fn sync(
    store: &SqliteStore,
    job: &str,
    targets: &[DiscoveredTarget],
    completeness: Completeness,
) -> Result<Synced, Fault> {
    let mut tx = store.write().await?;
    let ids: Vec<&str> = targets.iter().map(|found| found.spec.target_id.as_str()).collect();
    let sql = "SELECT target_id, origin, job, fingerprint, deleting FROM metric_targets
        WHERE job = ?1 OR target_id IN (SELECT value FROM json_each(?2))";
    let ids = written(serde_json::to_string(&ids))?;
    let rows = sqlx::query(sql).bind(job).bind(ids).fetch_all(&mut *tx).await?;
    let standing = rows.iter().map(standing).collect::<Result<Vec<_>, _>>()?;
    drop(rows);
    let plan = Plan::of(job, targets, completeness, &standing)?;
    if plan.is_empty() {
        tx.rollback().await?;
        return Ok(plan.synced);
    }
    for write in &plan.writes {
        let revision = next_revision(&mut tx).await?;
        put_found(&mut tx, job, revision, write).await?;
    }
    remove(&mut tx, &plan.removals).await?;
    tx.commit().await?;
    tell(store);
    Ok(plan.synced)
}

fn standing(row: &SqliteRow) -> Result<Standing, Fault> {
    Ok(Standing {
        target_id: row.try_get("target_id")?,
        origin: named(row, "origin", OriginKind::from_name)?,
        job: row.try_get("job")?,
        fingerprint: row.try_get("fingerprint")?,
        deleting: row.try_get("deleting")?,
    })
}

async fn put_found(
    tx: &mut SqliteConnection,
    job: &str,
    revision: i64,
    write: &Write<'_>,
) -> Result<(), Fault> {
    let found = write.found;
    let columns = FoundColumns::of(found)?;
    bind_spec(sqlx::query(SYNC).bind(revision), columns.spec, &found.spec)
        .bind(Uuid::new_v4().to_string())
        .bind(job)
        .bind(&found.provider)
        .bind(columns.fingerprint)
        .bind(write.prompt.then(now))
        .execute(&mut *tx)
        .await?;
    let sql = "INSERT INTO discovered_labels (target_id, labels) VALUES (?1, ?2)
        ON CONFLICT (target_id) DO UPDATE SET labels = excluded.labels";
    sqlx::query(sql).bind(&found.spec.target_id).bind(columns.discovered).execute(tx).await?;
    Ok(())
}

/// Marks targets as being deleted.
async fn remove(tx: &mut SqliteConnection, target_ids: &[String]) -> Result<(), Fault> {
    for target_id in target_ids {
        let revision = next_revision(tx).await?;
        let sql = "UPDATE metric_targets SET revision = ?1, deleting = 1 WHERE target_id = ?2";
        sqlx::query(sql).bind(revision).bind(target_id).execute(&mut *tx).await?;
    }
    Ok(())
}

async fn retain_jobs(store: &SqliteStore, jobs: &[String]) -> Result<u64, Fault> {
    let kept: HashSet<&str> = jobs.iter().map(String::as_str).collect();
    let kept_json = written(serde_json::to_string(jobs))?;
    let mut tx = store.write().await?;
    let sql = "DELETE FROM discovery_states WHERE job <> ?2 AND job NOT IN (SELECT value FROM json_each(?1))";
    sqlx::query(sql).bind(kept_json).bind(CONFIG).execute(&mut *tx).await?;
    let sql =
        "SELECT target_id, job FROM metric_targets WHERE job IS NOT NULL AND NOT deleting ORDER BY target_id";
    let mut gone = Vec::new();
    for row in sqlx::query(sql).fetch_all(&mut *tx).await? {
        if !kept.contains(row.try_get::<&str, _>("job")?) {
            gone.push(row.try_get::<String, _>("target_id")?);
        }
    }
    remove(&mut tx, &gone).await?;
    tx.commit().await?;
    if !gone.is_empty() {
        tell(store);
    }
    Ok(gone.len() as u64)
}

async fn labels(
    store: &SqliteStore,
    target_ids: &[String],
) -> Result<BTreeMap<String, BTreeMap<String, String>>, Fault> {
    let sql = "SELECT l.target_id, l.labels FROM discovered_labels l JOIN metric_targets t USING (target_id)
        WHERE t.job IS NOT NULL AND target_id IN (SELECT value FROM json_each(?1))";
    let ids = written(serde_json::to_string(target_ids))?;
    let rows = sqlx::query(sql).bind(ids).fetch_all(&store.readers).await?;
    let read = |row: &SqliteRow| {
        Ok((row.try_get("target_id")?, json(row, "labels", |text| serde_json::from_str(text))?))
    };
    rows.iter().map(read).collect()
}

async fn put(store: &SqliteStore, job: &str, state: &str) -> Result<(), Fault> {
    let mut tx = store.write().await?;
    let sql = "INSERT INTO discovery_states (job, state) VALUES (?1, ?2)
        ON CONFLICT (job) DO UPDATE SET state = excluded.state";
    sqlx::query(sql).bind(job).bind(state).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

async fn states(store: &SqliteStore) -> Result<Vec<JobState>, Fault> {
    let sql = "SELECT state FROM discovery_states WHERE job <> ?1 ORDER BY job";
    let rows = sqlx::query(sql).bind(CONFIG).fetch_all(&store.readers).await?;
    rows.iter().map(|row| json(row, "state", |text| serde_json::from_str(text))).collect()
}

async fn config(store: &SqliteStore) -> Result<Option<ConfigState>, Fault> {
    let query = sqlx::query("SELECT state FROM discovery_states WHERE job = ?1").bind(CONFIG);
    let row = query.fetch_optional(&store.readers).await?;
    row.map(|row| json(&row, "state", |text| serde_json::from_str(text))).transpose()
}

async fn register(store: &SqliteStore, spec: &TargetSpec, ttl: Duration) -> Result<Registration, Fault> {
    let columns = SpecColumns::of(spec)?;
    let mut tx = store.write().await?;
    let standing = one(store, &mut *tx, &spec.target_id).await?;
    let registered = |target: &Target| target.origin.kind() == OriginKind::Registered && !target.deleting;
    if let Some(standing) = &standing
        && registered(standing)
        && standing.spec == *spec
    {
        let row = sqlx::query(RENEW).bind(&spec.target_id).bind(later(ttl)).fetch_one(&mut *tx).await?;
        let target = target_of_row(store, &row)?;
        tx.commit().await?;
        return Ok(Registration::Renewed(target));
    }
    let revision = next_revision(&mut tx).await?;
    let query = bind_spec(sqlx::query(REGISTER).bind(revision), columns, spec);
    let query = query.bind(Uuid::new_v4().to_string()).bind(later(ttl));
    let row = query.fetch_optional(&mut *tx).await?;
    let registration = match (standing, row) {
        (Some(standing), None) => {
            tx.rollback().await?;
            return Ok(Registration::Taken(standing));
        }
        (None, None) => return Err(Fault::Sql(sqlx::Error::RowNotFound)),
        (None, Some(row)) => Registration::New(target_of_row(store, &row)?),
        (Some(_), Some(row)) => Registration::Renewed(target_of_row(store, &row)?),
    };
    tx.commit().await?;
    tell(store);
    Ok(registration)
}

async fn renew(store: &SqliteStore, target_id: &str, ttl: Duration) -> Result<Option<Target>, Fault> {
    let mut tx = store.write().await?;
    let row = sqlx::query(RENEW).bind(target_id).bind(later(ttl)).fetch_optional(&mut *tx).await?;
    let target = row.map(|row| target_of_row(store, &row)).transpose()?;
    tx.commit().await?;
    Ok(target)
}

async fn expire(store: &SqliteStore) -> Result<u64, Fault> {
    let sql = "SELECT target_id FROM metric_targets WHERE expires <= ?1 AND NOT deleting ORDER BY target_id";
    // Most of the time there is nothing to write, and then nobody has to wait for this.
    if sqlx::query(sql).bind(now()).fetch_optional(&store.readers).await?.is_none() {
        return Ok(0);
    }
    let mut tx = store.write().await?;
    let rows = sqlx::query(sql).bind(now()).fetch_all(&mut *tx).await?;
    let lapsed = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()?;
    remove(&mut tx, &lapsed).await?;
    tx.commit().await?;
    tell(store);
    Ok(lapsed.len() as u64)
}
