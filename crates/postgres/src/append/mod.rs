//! Appending: one transaction a group of batches.
//!
//! In every transaction locks are taken in one order: joined pushes by id, jobs by id, names and owners of series in order, series by id,
//! layouts by id, exemplars by key, families in order, one counter. Writers that meet therefore wait for each other and do not deadlock,
//! with one exception, which is contention and tried again: a description that changes to a new one takes its name after series.

mod beside;
mod fence;
mod frames;
mod intern;
pub(crate) mod joined;
mod slices;
mod texts;

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use metricsd_model::{Batch, BatchId, Layout, MetricsCollected, Millis, SeriesId};
use metricsd_ports::{LogStep, PortError, Receipt, SampleSink, StoredPush};
use metricsd_store::group::{Bounds, Group, JobRow};
use metricsd_store::{exemplars, families, owners};
use sqlx::postgres::PgRow;
use sqlx::{Connection, PgConnection, Row};
use uuid::Uuid;

use crate::PostgresStore;
use crate::copy::{Columns, micros};
use crate::error::{Fault, MAX_ATTEMPTS, back_off, damaged};
use crate::held::Held;
use crate::store::bounded;
use crate::unused::removals_after;
use intern::{intern, own};
pub(crate) use texts::KnownTexts;
use texts::{State, Texts};

type Interned = owners::Interned<Columns>;

const BOUNDS: Bounds = Bounds { holds: in_bounds, max_columns: i32::MAX as usize };

fn in_bounds(time: Millis) -> bool {
    micros(time).is_some() && DateTime::from_timestamp_millis(time).is_some()
}

#[async_trait]
impl SampleSink for PostgresStore {
    async fn append(&self, batches: &[Arc<Batch>]) -> Result<Vec<Receipt>, PortError> {
        self.append_stepping(batches, &[]).await
    }

    async fn stored_series(&self, ids: &[SeriesId]) -> Result<HashSet<SeriesId>, PortError> {
        self.bounded("look up series", crate::read::stored(self, ids)).await
    }

    async fn stored_pushes(&self, ids: &[BatchId]) -> Result<Vec<StoredPush>, PortError> {
        self.bounded("look up pushes", joined::stored(self, ids)).await
    }

    async fn ping(&self) -> Result<(), PortError> {
        let ask = async {
            sqlx::query("SELECT 1").execute(&self.pool).await?;
            Ok(())
        };
        // Whoever asks wants to know about now, not about after the longest call.
        bounded("reach the database", self.options.acquire_timeout, ask).await
    }
}

impl PostgresStore {
    /// Appends batches, and moves positions of a log with them.
    pub(crate) async fn append_stepping(
        &self,
        batches: &[Arc<Batch>],
        steps: &[LogStep],
    ) -> Result<Vec<Receipt>, PortError> {
        let mut group = Group::new(batches, BOUNDS)?;
        if group.distinct().is_empty() && steps.is_empty() {
            return Ok(Vec::new());
        }
        let stored = self.bounded("append batches", append(self, &group, steps)).await;
        if stored.as_ref().is_err_and(PortError::is_retryable) {
            // The server may come back as another that lacks the last commits: look everything up again.
            self.known.lock().clear();
            self.texts.lock().clear();
        }
        let (stored, fenced) = stored?;
        group.fence(fenced);
        Ok(group.receipts(&stored))
    }
}

/// What became of a group: the ids of batches that were stored, and the places of those that have other owners.
type Appended = (HashSet<Uuid>, HashSet<usize>);

/// Appends a group, again where others were in the way.
async fn append(store: &PostgresStore, group: &Group, steps: &[LogStep]) -> Result<Appended, Fault> {
    let mut replayed = HashSet::new();
    let mut attempt = 1;
    loop {
        let fault = match attempt_append(store, group, steps, &replayed).await {
            Ok(stored) => return Ok(stored),
            Err(fault) => fault,
        };
        if attempt >= MAX_ATTEMPTS {
            return Err(fault);
        }
        if fault.is_frame_replay() {
            // A batch came again after its job was purged: its frames are what tells that it was stored.
            let found = stored_frames(store, group).await?;
            if found.is_subset(&replayed) {
                return Err(fault);
            }
            replayed.extend(found);
        } else if fault.is_contention() {
            back_off(attempt).await;
        } else {
            return Err(fault);
        }
        attempt += 1;
    }
}

async fn attempt_append(
    store: &PostgresStore,
    group: &Group,
    steps: &[LogStep],
    replayed: &HashSet<Uuid>,
) -> Result<Appended, Fault> {
    let mut connection = Held::acquire(&store.appenders).await?;
    let result = append_on(&mut connection, store, group, steps, replayed).await;
    connection.release();
    result
}

async fn append_on(
    connection: &mut PgConnection,
    store: &PostgresStore,
    group: &Group,
    steps: &[LogStep],
    replayed: &HashSet<Uuid>,
) -> Result<Appended, Fault> {
    let mut tx = connection.begin().await?;
    let state = forget_removed(store, &mut tx).await?;
    let fenced = fence::fenced(&mut tx, group.given()).await?;
    let mut group = Cow::Borrowed(group);
    if !fenced.is_empty() {
        group.to_mut().fence(fenced.clone());
    }
    if let Some(left) = joined::remember(&mut tx, &group).await? {
        group = Cow::Owned(left);
    }
    let fresh = insert_jobs(&mut tx, &group, replayed).await?;
    if fresh.is_empty() {
        // Batches that are there already, or that nobody may store, are behind us all the same.
        crate::log::step(&mut tx, steps).await?;
        tx.commit().await?;
        return Ok((HashSet::new(), fenced));
    }
    let carried = exemplars::carried(fresh.iter().map(|fresh| fresh.batch));
    let mut layouts = distinct_layouts(&fresh);
    layouts.extend(carried.iter().map(|carried| Arc::clone(&carried.layout)));
    let mut texts = Texts::new(&store.texts, state);
    let mut interned = intern(&mut tx, &store.known, &mut texts, &layouts).await?;
    let own = own(&mut tx, &mut interned).await?;
    let exemplars = exemplars::rows(&carried, |layout| interned.columns(layout)?.ids())?;
    beside::insert_exemplars(&mut tx, &exemplars).await?;
    let said = families::unwritten(&store.known, &interned, fresh.iter().map(|fresh| fresh.batch));
    beside::insert_families(&mut tx, &said).await?;
    frames::insert_frames(&mut tx, &fresh, &interned).await?;
    crate::log::step(&mut tx, steps).await?;
    account(&mut tx, &fresh).await?;
    tx.commit().await?;
    if let Some(own) = own {
        store.index.wrote(own);
    }
    interned.remember(&store.known);
    texts.remember();
    families::remember(&store.known, &said);
    Ok((fresh.iter().map(|fresh| fresh.batch.id.to_uuid()).collect(), fenced))
}

/// Nobody removes series, what they share, or layouts until this transaction ends; what was removed since this process
/// looked last is to be written again. Two statements in one message: the second sees what was committed before the lock was had.
async fn forget_removed(store: &PostgresStore, tx: &mut PgConnection) -> Result<State, Fault> {
    let rows = sqlx::raw_sql(include_str!("../sql/hold_series.sql")).fetch_all(&mut *tx).await?;
    let row = rows.last().ok_or_else(|| damaged("the database does not say what was removed last"))?;
    let last: i64 = row.try_get("number")?;
    let state = State { started: row.try_get("started")?, removals: row.try_get("texts")? };
    if store.texts.lock().renew(state) {
        // Another server may lack the last commits: look everything up again.
        store.known.lock().clear();
    }
    let known = store.known.lock().removal;
    if last > known {
        let (removals, last) = removals_after(tx, known).await?;
        store.known.lock().forget(&removals, last);
    }
    Ok(state)
}

/// A batch whose job row this transaction has made, so that no other will store it.
struct Fresh<'a> {
    batch: &'a Arc<Batch>,
    seq: i64,
}

async fn insert_jobs<'a>(
    tx: &mut PgConnection,
    group: &'a Group,
    replayed: &HashSet<Uuid>,
) -> Result<Vec<Fresh<'a>>, Fault> {
    let new = group.distinct().iter().filter(|batch| !replayed.contains(&batch.id.to_uuid()));
    let rows = insert_job_rows(tx, &new.map(|batch| JobRow::of(batch)).collect::<Vec<_>>()).await?;
    let mut ids = HashSet::with_capacity(rows.len());
    let mut numbers = Vec::with_capacity(rows.len());
    for row in rows {
        ids.insert(row.try_get::<Uuid, _>(0)?);
        numbers.push(row.try_get::<i64, _>(1)?);
    }
    // The rows were inserted in order of id; the numbers are handed out in the order that the caller gave.
    numbers.sort_unstable();
    let fresh = group.distinct().iter().filter(|batch| ids.contains(&batch.id.to_uuid()));
    Ok(fresh.zip(numbers).map(|(batch, seq)| Fresh { batch, seq }).collect())
}

async fn insert_job_rows(tx: &mut PgConnection, jobs: &[JobRow<'_>]) -> Result<Vec<PgRow>, Fault> {
    fn column<'j, T>(jobs: &'j [JobRow<'_>], field: impl Fn(&'j JobRow<'_>) -> T) -> Vec<T> {
        jobs.iter().map(field).collect()
    }
    let created = |job: &JobRow<'_>| -> DateTime<Utc> {
        DateTime::from_timestamp_millis(job.started).unwrap_or_default()
    };
    let rows = sqlx::query(include_str!("../sql/insert_jobs.sql"))
        .bind(column(jobs, |job| job.id))
        .bind(column(jobs, |job| job.job_id.as_str()))
        .bind(column(jobs, |job| job.target_id))
        .bind(column(jobs, |job| job.method))
        .bind(column(jobs, |job| job.status))
        .bind(column(jobs, |job| job.duration_ms))
        .bind(column(jobs, |job| job.error_details.as_deref()))
        .bind(column(jobs, created))
        .bind(column(jobs, |job| job.source_id))
        .bind(column(jobs, |job| job.received))
        .bind(column(jobs, |job| job.dropped))
        .bind(column(jobs, |job| job.refused.as_str()))
        .bind(column(jobs, |job| job.stored))
        .bind(column(jobs, |job| job.added))
        .bind(column(jobs, |job| job.missed.as_deref()))
        .bind(column(jobs, |job| job.waited))
        .fetch_all(tx)
        .await?;
    Ok(rows)
}

fn distinct_layouts(fresh: &[Fresh<'_>]) -> Vec<Arc<Layout>> {
    let mut seen = HashSet::new();
    let frames = fresh.iter().flat_map(|fresh| &fresh.batch.frames).filter(|frame| !frame.values.is_empty());
    let layouts = frames.map(|frame| &frame.layout).filter(|layout| seen.insert(Arc::as_ptr(layout).addr()));
    layouts.map(Arc::clone).collect()
}

/// Outbox rows and totals, last, because the counter's row stays locked until the commit.
async fn account(tx: &mut PgConnection, fresh: &[Fresh<'_>]) -> Result<(), Fault> {
    let mut sources = Vec::with_capacity(fresh.len());
    let mut events = Vec::with_capacity(fresh.len());
    for Fresh { batch, .. } in fresh {
        let event = serde_json::to_string(&MetricsCollected::of(batch));
        sources.push(batch.collection.source_id.as_str());
        events.push(event.map_err(|error| damaged("cannot write an event").caused_by(error))?);
    }
    let samples: u64 = fresh.iter().map(|fresh| fresh.batch.collection.ledger.stored).sum();
    let slot = Uuid::new_v4().as_bytes()[0] & 63;
    sqlx::query(include_str!("../sql/account.sql"))
        .bind(sources)
        .bind(events)
        .bind(i16::from(slot))
        .bind(i64::try_from(samples).unwrap_or(i64::MAX))
        .bind(fresh.len() as i64)
        .execute(tx)
        .await?;
    Ok(())
}

/// Batches of the group that have frames already.
async fn stored_frames(store: &PostgresStore, group: &Group) -> Result<HashSet<Uuid>, Fault> {
    let frames = || group.distinct().iter().flat_map(|batch| &batch.frames);
    let ids: Vec<Uuid> = group.distinct().iter().map(|batch| batch.id.to_uuid()).collect();
    let rows = sqlx::query(include_str!("../sql/stored_frames.sql"))
        .bind(ids)
        .bind(frames().map(|frame| frame.time).min().unwrap_or(0))
        .bind(frames().map(|frame| frame.time).max().unwrap_or(0))
        .fetch_all(&store.pool)
        .await?;
    rows.iter().map(|row| Ok(row.try_get::<Uuid, _>(0)?)).collect()
}

/// Databases keep ids as signed numbers.
fn signed(ids: &[SeriesId]) -> Arc<[i64]> {
    ids.iter().map(|id| id.to_i64()).collect()
}
