//! The batches of one append: checked, distinct, and as rows of the job table.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use chrono::DateTime;
use metricsd_codec::pack::MAX_VALUES;
use metricsd_model::batch::FRAME_BUCKET_MILLIS;
use metricsd_model::{Batch, BatchId, Collection, Frame, Millis};
use metricsd_ports::{PortError, Receipt};
use sqlx::Sqlite;
use sqlx::query_builder::Separated;
use uuid::Uuid;

use crate::columns::signed;
use crate::error::invalid;

/// Batches in the order in which they were given.
pub(super) struct Group {
    distinct: Vec<Arc<Batch>>,
    /// One a given batch: its id, and whether it is the first of that id.
    given: Vec<(Uuid, bool)>,
}

impl Group {
    /// Refuses what the tables cannot hold, so that one damaged batch is named instead of failing somewhere inside.
    pub(super) fn new(batches: &[Arc<Batch>]) -> Result<Self, PortError> {
        let mut seen: HashSet<BatchId> = HashSet::with_capacity(batches.len());
        let mut group =
            Self { distinct: Vec::with_capacity(batches.len()), given: Vec::with_capacity(batches.len()) };
        for batch in batches {
            let first = seen.insert(batch.id);
            group.given.push((batch.id.to_uuid(), first));
            if first {
                check(batch)?;
                group.distinct.push(Arc::clone(batch));
            }
        }
        Ok(group)
    }

    pub(super) fn distinct(&self) -> &[Arc<Batch>] {
        &self.distinct
    }

    /// One receipt a given batch.
    pub(super) fn receipts(&self, stored: &HashSet<Uuid>) -> Vec<Receipt> {
        let receipt = |(id, first): &(Uuid, bool)| match *first && stored.contains(id) {
            true => Receipt::Stored,
            false => Receipt::Duplicate,
        };
        self.given.iter().map(receipt).collect()
    }
}

/// One row of `collection_jobs`, in the order of its columns in the statement.
pub(super) fn push_job(mut row: Separated<'_, Sqlite, &'static str>, batch: &Batch) {
    let collection = &batch.collection;
    let ledger = &collection.ledger;
    let refused: BTreeMap<&str, u64> =
        ledger.refused.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
    row.push_bind(batch.id.to_uuid().to_string())
        .push_bind(batch.id.collection_batch_id(collection.started))
        .push_bind(&collection.target_id)
        .push_bind(collection.method.as_str())
        .push_bind(collection.status.as_str())
        .push_bind(signed(ledger.stored))
        .push_bind(collection.duration_ms)
        .push_bind(error_details(collection))
        .push_bind(collection.started)
        .push_bind(&collection.source_id)
        .push_bind(signed(ledger.received))
        .push_bind(signed(ledger.dropped))
        .push_bind(serde_json::to_string(&refused).unwrap_or_else(|_| "{}".to_owned()))
        .push_bind(signed(ledger.stored));
}

/// `reason: sentence`.
fn error_details(collection: &Collection) -> Option<String> {
    match (collection.reason, &collection.error) {
        (Some(reason), Some(error)) => Some(format!("{reason}: {error}")),
        (Some(reason), None) => Some(reason.to_string()),
        (None, error) => error.clone(),
    }
}

fn check(batch: &Batch) -> Result<(), PortError> {
    let refuse = |what: &str| Err(invalid(format!("batch {:032x}: {what}", batch.id.0)));
    let collection = &batch.collection;
    for (name, text) in [("source id", &collection.source_id), ("target id", &collection.target_id)] {
        if text.chars().count() > 100 || text.contains('\0') {
            return refuse(&format!("its {name} is longer than 100 characters or holds NUL"));
        }
    }
    if !in_calendar(collection.started) {
        return refuse("its start is outside of the calendar");
    }
    if batch.frames.len() > i16::MAX as usize {
        return refuse("it has more than 32767 frames");
    }
    match batch.frames.iter().find_map(frame_fault) {
        Some(fault) => refuse(fault),
        None => Ok(()),
    }
}

/// Far enough from the ends of the numbers that an hour can be added or taken away.
fn in_calendar(time: Millis) -> bool {
    DateTime::from_timestamp_millis(time).is_some()
}

fn frame_fault(frame: &Frame) -> Option<&'static str> {
    let columns = frame.layout.ids.len();
    let offsets = frame.offsets.as_deref().unwrap_or_default();
    if frame.layout.series.len() != columns || frame.values.len() != columns {
        return Some("a frame has not one value a column");
    }
    if frame.offsets.is_some() && offsets.len() != columns {
        return Some("a frame has not one offset a column");
    }
    if columns > MAX_VALUES {
        return Some("a frame has more values than can be read back");
    }
    if !in_calendar(frame.time) {
        return Some("a frame's time is outside of the calendar");
    }
    // Readers look for samples between a frame's time and the end of its hour.
    let room = FRAME_BUCKET_MILLIS - frame.time.rem_euclid(FRAME_BUCKET_MILLIS);
    if offsets.iter().any(|offset| *offset < 0 || i64::from(*offset) >= room) {
        return Some("a frame's offset leaves its hour");
    }
    if frame.histograms.iter().any(|(column, _)| *column as usize >= columns) {
        return Some("a frame's histogram has no column");
    }
    None
}
