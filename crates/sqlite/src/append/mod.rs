//! Appending: one transaction a group of batches, under the file's write lock.

mod beside;
mod intern;
pub(crate) mod joined;
pub(crate) mod labels;
mod layouts;
mod texts;

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::DateTime;
use metricsd_codec::pack::{MAX_VALUES, pack_histograms, pack_ints, plain_floats};
use metricsd_model::{Batch, BatchId, Layout, LayoutId, MetricsCollected, Millis, SeriesId};
use metricsd_ports::{LogStep, PortError, Receipt, SampleSink, StoredPush};
use metricsd_store::group::{Bounds, Group, JobRow};
use metricsd_store::owners::Removal;
use metricsd_store::{exemplars, families, owners};
use sqlx::query_builder::Separated;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};
use uuid::Uuid;

use crate::SqliteStore;
use crate::columns::{signed, signed_len, written};
use crate::error::{Fault, damaged};
use crate::numbers::{self, Numbering};
use crate::unused::removals_after;
use intern::{intern, own};

type Interned = owners::Interned<Columns>;

/// Rows of one statement. SQLite takes 32,766 parameters; the text of a statement should not be long either.
const ROWS: usize = 100;

const BOUNDS: Bounds = Bounds { holds: in_calendar, max_columns: MAX_VALUES };

/// Far enough from the ends of the numbers that an hour can be added or taken away.
fn in_calendar(time: Millis) -> bool {
    DateTime::from_timestamp_millis(time).is_some()
}

#[async_trait]
impl SampleSink for SqliteStore {
    async fn append(&self, batches: &[Arc<Batch>]) -> Result<Vec<Receipt>, PortError> {
        self.append_stepping(batches, &[]).await
    }

    async fn stored_series(&self, ids: &[SeriesId]) -> Result<HashSet<SeriesId>, PortError> {
        let found = crate::read::stored(self, ids).await;
        found.map_err(|fault| fault.into_port("look up series"))
    }

    async fn stored_pushes(&self, ids: &[BatchId]) -> Result<Vec<StoredPush>, PortError> {
        joined::stored(self, ids).await.map_err(|fault| fault.into_port("look up pushes"))
    }

    async fn ping(&self) -> Result<(), PortError> {
        let asked = sqlx::query("SELECT 1 FROM catalogue").fetch_one(&self.readers).await;
        asked.map(drop).map_err(|error| Fault::Sql(error).into_port("read the database"))
    }
}

impl SqliteStore {
    /// Appends batches, and moves positions of a log with them.
    pub(crate) async fn append_stepping(
        &self,
        batches: &[Arc<Batch>],
        steps: &[LogStep],
    ) -> Result<Vec<Receipt>, PortError> {
        let mut group = Group::new(batches, BOUNDS)?;
        group.fence(self.members.fenced(group.given()));
        if group.distinct().is_empty() && steps.is_empty() {
            return Ok(group.receipts(&HashSet::new()));
        }
        let stored = append(self, &group, steps).await.map_err(|fault| fault.into_port("append batches"));
        if stored.as_ref().is_err_and(PortError::is_retryable) {
            // Whatever became of the file, another look costs little.
            self.known.lock().clear();
            self.numbers.lock().clear();
        }
        Ok(group.receipts(&stored?))
    }
}

/// Answers which batches were stored.
async fn append(store: &SqliteStore, group: &Group, steps: &[LogStep]) -> Result<HashSet<Uuid>, Fault> {
    // Outside of the lock: meanwhile another call writes.
    let packed = pack(group.distinct().to_vec()).await?;
    let mut tx = store.write().await?;
    forget_removed(store, &mut tx).await?;
    let left = joined::remember(&mut tx, group).await?;
    let (group, packed) = match &left {
        Some(left) => (left, pack(left.distinct().to_vec()).await?),
        None => (group, packed),
    };
    let ids = insert_jobs(&mut tx, group).await?;
    // Batches that are there already are behind us all the same.
    crate::log::step(&mut tx, steps).await?;
    if ids.is_empty() {
        tx.commit().await?;
        return Ok(ids);
    }
    let is_fresh = |packed: &PackedBatch| ids.contains(&packed.batch.id.to_uuid());
    let fresh: Vec<PackedBatch> = packed.into_iter().filter(is_fresh).collect();
    let carried = exemplars::carried(fresh.iter().map(|fresh| &fresh.batch));
    let mut layouts = distinct_layouts(&fresh);
    layouts.extend(carried.iter().map(|carried| Arc::clone(&carried.layout)));
    let mut numbering = Numbering::new(&store.numbers);
    let mut interned = intern(&mut tx, &store.known, &mut numbering, &layouts).await?;
    let own = own(&numbering, &mut interned);
    let exemplars = exemplars::rows(&carried, |layout| interned.columns(layout)?.series())?;
    beside::insert_exemplars(&mut tx, &exemplars).await?;
    let said = families::unwritten(&store.known, &interned, fresh.iter().map(|fresh| &fresh.batch));
    beside::insert_families(&mut tx, &said).await?;
    let totals = Totals::of(&fresh);
    let events = events(&fresh)?;
    insert_frames(&mut tx, fresh, &interned, &mut numbering).await?;
    account(&mut tx, &events, &totals).await?;
    tx.commit().await?;
    if let Some(own) = own {
        store.index.wrote(own);
    }
    interned.remember(&store.known);
    numbering.remember();
    families::remember(&store.known, &said);
    Ok(ids)
}

/// What was removed since this process looked last is to be written again. Nobody removes anything before this
/// transaction ends.
async fn forget_removed(store: &SqliteStore, tx: &mut SqliteConnection) -> Result<(), Fault> {
    let known = store.known.lock().removal;
    let (removals, last) = removals_after(tx, known).await?;
    if last > known {
        let removals: Vec<Removal> = removals.into_iter().map(|removed| removed.told).collect();
        store.known.lock().forget(&removals, last);
        store.numbers.lock().forget(&removals, last, known);
    }
    Ok(())
}

/// A batch whose columns are ready to be written.
struct PackedBatch {
    batch: Arc<Batch>,
    frames: Vec<PackedFrame>,
}

struct PackedFrame {
    layout: Arc<Layout>,
    time: i64,
    values: Vec<u8>,
    offsets: Option<Vec<u8>>,
    histograms: Option<Vec<u8>>,
}

/// Packs all frames that hold samples, on a thread where that is in nobody's way.
async fn pack(batches: Vec<Arc<Batch>>) -> Result<Vec<PackedBatch>, Fault> {
    let pack_all = move || {
        let packed = batches.into_iter().map(|batch| {
            let frames = batch.frames.iter().filter(|frame| !frame.values.is_empty());
            let frames = frames.map(|frame| PackedFrame {
                layout: Arc::clone(&frame.layout),
                time: frame.time,
                values: plain_floats(&frame.values),
                offsets: frame.offsets.as_deref().map(pack_ints),
                histograms: (!frame.histograms.is_empty()).then(|| pack_histograms(&frame.histograms)),
            });
            let frames = frames.collect();
            PackedBatch { batch, frames }
        });
        packed.collect()
    };
    let packed = tokio::task::spawn_blocking(pack_all).await;
    packed.map_err(|error| damaged("packing samples failed").caused_by(error).into())
}

/// Writes the job rows of batches that are new, which from then on are this transaction's to store.
async fn insert_jobs(tx: &mut SqliteConnection, group: &Group) -> Result<HashSet<Uuid>, Fault> {
    let replayed = stored_frames(tx, group).await?;
    let batches: Vec<&Arc<Batch>> =
        group.distinct().iter().filter(|batch| !replayed.contains(&batch.id.to_uuid())).collect();
    let mut fresh = HashSet::with_capacity(batches.len());
    for part in batches.chunks(ROWS) {
        let mut insert = QueryBuilder::<Sqlite>::new(
            "INSERT INTO collection_jobs (id, job_id, target_id, collection_method, status, metrics_collected, \
             collection_duration_ms, error_details, created_at, source_id, received, dropped, refused, stored, \
             added, missed, waited) ",
        );
        insert.push_values(part, |row, batch| push_job(row, JobRow::of(batch)));
        insert.push(" ON CONFLICT DO NOTHING RETURNING id");
        for row in insert.build().fetch_all(&mut *tx).await? {
            let id = Uuid::try_parse(row.try_get(0)?);
            fresh.insert(id.map_err(|error| damaged("damaged job id").caused_by(error))?);
        }
    }
    Ok(fresh)
}

/// In the order of the columns in the statement.
fn push_job(mut row: Separated<'_, Sqlite, &'static str>, job: JobRow<'_>) {
    row.push_bind(job.id.to_string())
        .push_bind(job.job_id)
        .push_bind(job.target_id.to_owned())
        .push_bind(job.method)
        .push_bind(job.status)
        .push_bind(job.stored)
        .push_bind(job.duration_ms)
        .push_bind(job.error_details)
        .push_bind(job.started)
        .push_bind(job.source_id.to_owned())
        .push_bind(job.received)
        .push_bind(job.dropped)
        .push_bind(job.refused)
        .push_bind(job.stored)
        .push_bind(job.added)
        .push_bind(job.missed)
        .push_bind(job.waited);
}

/// Batches of the group that have frames already. A batch may come again after its job was purged: then its frames
/// are what tells that it was stored. Or it was a push that was joined with others.
async fn stored_frames(tx: &mut SqliteConnection, group: &Group) -> Result<HashSet<Uuid>, Fault> {
    let ids: Vec<String> =
        group.distinct().iter().map(|batch| batch.id.to_uuid().simple().to_string()).collect();
    let rows = sqlx::query(
        "SELECT DISTINCT f.batch_id FROM json_each(?1) AS wanted CROSS JOIN frames f ON f.batch_id = unhex(wanted.value)
        UNION SELECT p.id FROM json_each(?1) AS wanted CROSS JOIN joined_pushes p ON p.id = unhex(wanted.value)
        WHERE p.job <> p.id",
    )
    .bind(written(serde_json::to_string(&ids))?)
    .fetch_all(tx)
    .await?;
    rows.iter().map(|row| Ok(row.try_get::<Uuid, _>(0)?)).collect()
}

fn distinct_layouts(fresh: &[PackedBatch]) -> Vec<Arc<Layout>> {
    let mut seen = HashSet::new();
    let frames = fresh.iter().flat_map(|fresh| &fresh.frames);
    let distinct = frames.filter(|frame| seen.insert(Arc::as_ptr(&frame.layout).addr()));
    distinct.map(|frame| Arc::clone(&frame.layout)).collect()
}

async fn insert_frames(
    tx: &mut SqliteConnection,
    fresh: Vec<PackedBatch>,
    interned: &Interned,
    numbering: &mut Numbering<'_>,
) -> Result<(), Fault> {
    let rows = fresh.into_iter().flat_map(|fresh| {
        let batch = fresh.batch;
        (0i64..).zip(fresh.frames).map(move |(part, frame)| (Arc::clone(&batch), part, frame))
    });
    let mut rows = rows.peekable();
    while rows.peek().is_some() {
        let mut placed = Vec::with_capacity(ROWS);
        for (batch, part, frame) in rows.by_ref().take(ROWS) {
            let columns = match interned.columns(&frame.layout)? {
                Columns::Shared(id) => (Some(numbering.of_layout(tx, *id).await?), None),
                Columns::Inline(series) => (None, Some(numbers::pack(series))),
            };
            placed.push((batch, part, frame, columns));
        }
        let mut insert = QueryBuilder::<Sqlite>::new(
            "INSERT INTO frames (time, target_id, source, batch_id, part, layout_number, series_numbers, \"values\", offsets, \
             histograms) ",
        );
        insert.push_values(placed, |mut row, (batch, part, frame, (layout, series))| {
            row.push_bind(frame.time)
                .push_bind(&batch.collection.target_id)
                .push_bind(&batch.collection.source_id)
                .push_bind(batch.id.to_uuid())
                .push_bind(part)
                .push_bind(layout)
                .push_bind(series)
                .push_bind(frame.values)
                .push_bind(frame.offsets)
                .push_bind(frame.histograms);
        });
        insert.build().execute(&mut *tx).await?;
    }
    Ok(())
}

/// How a frame names its series.
enum Columns {
    /// By a layout that is stored.
    Shared(LayoutId),
    /// By their numbers.
    Inline(Vec<i64>),
}

impl Columns {
    /// The series of a layout that is not shared.
    fn series(&self) -> Result<Vec<i64>, Fault> {
        match self {
            Self::Inline(series) => Ok(series.clone()),
            Self::Shared(_) => Err(damaged("the series of a shared layout were asked for").into()),
        }
    }
}

/// What a call adds to the counters.
struct Totals {
    samples: u64,
    batches: usize,
}

impl Totals {
    fn of(fresh: &[PackedBatch]) -> Self {
        Self {
            samples: fresh.iter().map(|fresh| fresh.batch.collection.ledger.stored).sum(),
            batches: fresh.len(),
        }
    }
}

/// Source and event of each batch.
fn events(fresh: &[PackedBatch]) -> Result<Vec<(String, String)>, Fault> {
    let mut events = Vec::with_capacity(fresh.len());
    for PackedBatch { batch, .. } in fresh {
        let event = written(serde_json::to_string(&MetricsCollected::of(batch)))?;
        events.push((batch.collection.source_id.clone(), event));
    }
    Ok(events)
}

async fn account(
    tx: &mut SqliteConnection,
    events: &[(String, String)],
    totals: &Totals,
) -> Result<(), Fault> {
    for part in events.chunks(ROWS) {
        let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO outbox (source_id, event) ");
        insert.push_values(part, |mut row, (source, event)| {
            row.push_bind(source).push_bind(event);
        });
        insert.build().execute(&mut *tx).await?;
    }
    sqlx::query("UPDATE counters SET samples = samples + ?1, batches = batches + ?2")
        .bind(signed(totals.samples))
        .bind(signed_len(totals.batches))
        .execute(tx)
        .await?;
    Ok(())
}
