//! Targets that providers find, and those that register themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use metricsd_model::{OriginKind, Target, TargetSpec};
use metricsd_ports::{
    Completeness, ConfigState, DiscoveredTarget, DiscoveryCatalog, JobState, Leadership, PortError,
    Registration, Synced,
};
use metricsd_store::targets::{FoundColumns, Plan, SpecColumns, Standing, Write, json};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::lead;
use super::targets::{named, one, optional, stored, target_of_row};
use crate::PostgresStore;
use crate::error::Fault;

/// Rows of one statement.
const BATCH: usize = 500;

/// Under which job the state of the file is kept: no job has an empty name.
const CONFIG: &str = "";

#[async_trait]
impl DiscoveryCatalog for PostgresStore {
    async fn sync_discovered(
        &self,
        job: &str,
        targets: &[DiscoveredTarget],
        completeness: Completeness,
    ) -> Result<Synced, PortError> {
        self.retried("write discovered targets", || sync(self, job, targets, completeness)).await
    }

    async fn retain_jobs(&self, jobs: &[String]) -> Result<u64, PortError> {
        self.retried("remove the targets of other jobs", || retain_jobs(self, jobs)).await
    }

    async fn discovered_labels(
        &self,
        target_ids: &[String],
    ) -> Result<BTreeMap<String, BTreeMap<String, String>>, PortError> {
        self.retried("read discovered labels", || labels(self, target_ids)).await
    }

    async fn put_discovery_state(&self, state: &JobState) -> Result<(), PortError> {
        let text = json(state)?;
        self.retried("note the state of discovery", || put(self, &state.job, &text)).await
    }

    async fn discovery_states(&self) -> Result<Vec<JobState>, PortError> {
        self.retried("read the states of discovery", || states(self)).await
    }

    async fn put_config_state(&self, state: &ConfigState) -> Result<(), PortError> {
        let text = json(state)?;
        self.retried("note the state of the configuration", || put(self, CONFIG, &text)).await
    }

    async fn config_state(&self) -> Result<Option<ConfigState>, PortError> {
        self.retried("read the state of the configuration", || config(self)).await
    }

    async fn register_target(&self, spec: &TargetSpec, ttl: Duration) -> Result<Registration, PortError> {
        self.retried("register the target", || register(self, spec, ttl)).await
    }

    async fn renew(&self, target_id: &str, ttl: Duration) -> Result<Option<Target>, PortError> {
        self.retried("renew the target", || renew(self, target_id, ttl)).await
    }

    async fn expire_lapsed(&self) -> Result<u64, PortError> {
        self.retried("remove lapsed targets", || expire(self)).await
    }

    async fn try_lead(&self, what: &str) -> Result<Option<Box<dyn Leadership>>, PortError> {
        self.retried("ask for the lead", || lead::try_lead(self, what)).await
    }
}

/// The lock on the catalogue's row keeps others from changing targets between the look at them and the commit.
async fn sync(
    store: &PostgresStore,
    job: &str,
    targets: &[DiscoveredTarget],
    completeness: Completeness,
) -> Result<Synced, Fault> {
    let mut tx = crate::held::begin(&store.pool).await?;
    let row = sqlx::query("SELECT revision FROM catalogue FOR UPDATE").fetch_one(&mut *tx).await?;
    let mut revision: i64 = row.try_get(0)?;
    let ids: Vec<&str> = targets.iter().map(|found| found.spec.target_id.as_str()).collect();
    let sql = include_str!("../sql/standing_targets.sql");
    let rows = sqlx::query(sql).bind(job).bind(ids).fetch_all(&mut *tx).await?;
    let standing = rows.iter().map(standing).collect::<Result<Vec<_>, _>>()?;
    drop(rows);
    let plan = Plan::of(job, targets, completeness, &standing)?;
    if plan.is_empty() {
        return Ok(plan.synced);
    }
    let sql = "UPDATE catalogue SET revision = revision + $1";
    sqlx::query(sql).bind(plan.revisions()).execute(&mut *tx).await?;
    for writes in plan.writes.chunks(BATCH) {
        write(&mut tx, job, revision, writes).await?;
        revision += i64::try_from(writes.len()).unwrap_or(0);
    }
    let sql = include_str!("../sql/remove_targets.sql");
    sqlx::query(sql).bind(&plan.removals).bind(revision).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(plan.synced)
}

fn standing(row: &PgRow) -> Result<Standing, Fault> {
    Ok(Standing {
        target_id: row.try_get("target_id")?,
        origin: named(row, "origin", OriginKind::from_name)?,
        job: row.try_get("job")?,
        fingerprint: row.try_get("fingerprint")?,
        deleting: row.try_get("deleting")?,
    })
}

async fn write(tx: &mut PgConnection, job: &str, revision: i64, writes: &[Write<'_>]) -> Result<(), Fault> {
    let columns = writes.iter().map(|write| FoundColumns::of(write.found)).collect::<Result<Vec<_>, _>>()?;
    let specs = || writes.iter().map(|write| &write.found.spec);
    let ids: Vec<&str> = specs().map(|spec| spec.target_id.as_str()).collect();
    let of = |part: fn(&SpecColumns) -> &str| -> Vec<&str> {
        columns.iter().map(|columns| part(&columns.spec)).collect()
    };
    sqlx::query(include_str!("../sql/sync_targets.sql"))
        .bind(job)
        .bind(revision)
        .bind(&ids)
        .bind(specs().map(|spec| spec.scrape_config.target_url.as_str()).collect::<Vec<_>>())
        .bind(specs().map(|spec| spec.source_type.as_str()).collect::<Vec<_>>())
        .bind(of(|columns| &columns.scrape_config))
        .bind(of(|columns| &columns.labels))
        .bind(specs().map(|spec| spec.enabled).collect::<Vec<_>>())
        .bind(specs().map(|spec| spec.source_id.as_str()).collect::<Vec<_>>())
        .bind(specs().map(|spec| spec.collection_method.as_str()).collect::<Vec<_>>())
        .bind(of(|columns| &columns.filters))
        .bind(columns.iter().map(|columns| columns.spec.retention_policy.as_deref()).collect::<Vec<_>>())
        .bind(writes.iter().map(|write| write.found.provider.as_str()).collect::<Vec<_>>())
        .bind(columns.iter().map(|columns| columns.fingerprint).collect::<Vec<_>>())
        .bind(writes.iter().map(|write| write.prompt).collect::<Vec<_>>())
        .execute(&mut *tx)
        .await?;
    sqlx::query(include_str!("../sql/sync_labels.sql"))
        .bind(&ids)
        .bind(columns.iter().map(|columns| columns.discovered.as_str()).collect::<Vec<_>>())
        .bind(job)
        .execute(tx)
        .await?;
    Ok(())
}

async fn retain_jobs(store: &PostgresStore, jobs: &[String]) -> Result<u64, Fault> {
    let sql = "DELETE FROM discovery_states WHERE job <> $2 AND job <> ALL ($1)";
    sqlx::query(sql).bind(jobs).bind(CONFIG).execute(&store.pool).await?;
    // Whoever changes the catalogue's row wakes all who follow it, so it is left alone where nothing is to be done.
    let sql = "SELECT FROM metric_targets WHERE job IS NOT NULL AND job <> ALL ($1) AND NOT deleting LIMIT 1";
    if sqlx::query(sql).bind(jobs).fetch_optional(&store.pool).await?.is_none() {
        return Ok(0);
    }
    let sql = include_str!("../sql/remove_jobs.sql");
    Ok(sqlx::query(sql).bind(jobs).execute(&store.pool).await?.rows_affected())
}

async fn labels(
    store: &PostgresStore,
    target_ids: &[String],
) -> Result<BTreeMap<String, BTreeMap<String, String>>, Fault> {
    let sql = "SELECT l.target_id, l.labels FROM discovered_labels l
        JOIN metric_targets t USING (target_id) WHERE t.job IS NOT NULL AND target_id = ANY ($1)";
    let rows = sqlx::query(sql).bind(target_ids).fetch_all(&store.pool).await?;
    rows.iter().map(|row| Ok((row.try_get("target_id")?, stored(row, "labels")?))).collect()
}

async fn put(store: &PostgresStore, job: &str, state: &str) -> Result<(), Fault> {
    let sql = "INSERT INTO discovery_states (job, state) VALUES ($1, $2::text::jsonb)
        ON CONFLICT (job) DO UPDATE SET state = excluded.state";
    sqlx::query(sql).bind(job).bind(state).execute(&store.pool).await?;
    Ok(())
}

async fn states(store: &PostgresStore) -> Result<Vec<JobState>, Fault> {
    let sql = "SELECT state FROM discovery_states WHERE job <> $1 ORDER BY job";
    let rows = sqlx::query(sql).bind(CONFIG).fetch_all(&store.pool).await?;
    rows.iter().map(|row| stored(row, "state")).collect()
}

async fn config(store: &PostgresStore) -> Result<Option<ConfigState>, Fault> {
    let sql = "SELECT state FROM discovery_states WHERE job = $1";
    let row = sqlx::query(sql).bind(CONFIG).fetch_optional(&store.pool).await?;
    row.map(|row| stored(&row, "state")).transpose()
}

async fn register(store: &PostgresStore, spec: &TargetSpec, ttl: Duration) -> Result<Registration, Fault> {
    let columns = SpecColumns::of(spec)?;
    let ask = async |sql: &'static str| {
        sqlx::query(sql)
            .bind(&spec.target_id)
            .bind(&spec.scrape_config.target_url)
            .bind(spec.source_type.as_str())
            .bind(&columns.scrape_config)
            .bind(&columns.labels)
            .bind(spec.enabled)
            .bind(&spec.source_id)
            .bind(spec.collection_method.as_str())
            .bind(&columns.filters)
            .bind(&columns.retention_policy)
            .bind(ttl.as_secs_f64())
            .fetch_optional(&store.pool)
            .await
    };
    // What was in the way may be gone when it is looked at: then the id is free again.
    loop {
        for sql in [include_str!("../sql/renew_equal.sql"), include_str!("../sql/register_target.sql")] {
            if let Some(row) = ask(sql).await? {
                let target = target_of_row(store, &row)?;
                return Ok(match row.try_get("fresh")? {
                    true => Registration::New(target),
                    false => Registration::Renewed(target),
                });
            }
        }
        if let Some(target) = one(store, &spec.target_id).await? {
            return Ok(Registration::Taken(target));
        }
    }
}

async fn renew(store: &PostgresStore, target_id: &str, ttl: Duration) -> Result<Option<Target>, Fault> {
    let sql = "UPDATE metric_targets
        SET expires = date_trunc('milliseconds', clock_timestamp() + $2::float8 * interval '1 second')
        WHERE target_id = $1 AND origin = 'registered' AND NOT deleting RETURNING *";
    let row = sqlx::query(sql).bind(target_id).bind(ttl.as_secs_f64()).fetch_optional(&store.pool).await?;
    optional(store, row)
}

async fn expire(store: &PostgresStore) -> Result<u64, Fault> {
    // As with jobs: nobody is woken for nothing.
    let sql = "SELECT FROM metric_targets WHERE expires <= clock_timestamp() AND NOT deleting LIMIT 1";
    if sqlx::query(sql).fetch_optional(&store.pool).await?.is_none() {
        return Ok(0);
    }
    let sql = include_str!("../sql/lapsed_targets.sql");
    Ok(sqlx::query(sql).execute(&store.pool).await?.rows_affected())
}
