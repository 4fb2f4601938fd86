//! The batches of one append: checked, distinct, and laid out in columns for the job table.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use metricsd_model::batch::FRAME_BUCKET_MILLIS;
use metricsd_model::{Batch, BatchId, Collection, Frame};
use metricsd_ports::{PortError, Receipt};
use uuid::Uuid;

use super::invalid;
use crate::copy::micros;

/// Batches in the order in which they were given.
pub(super) struct Group<'a> {
    distinct: Vec<&'a Arc<Batch>>,
    /// One a given batch: its id, and whether it is the first of that id.
    given: Vec<(Uuid, bool)>,
}

impl<'a> Group<'a> {
    /// Refuses what the tables cannot hold, so that one damaged batch is named instead of failing somewhere inside.
    pub(super) fn new(batches: &'a [Arc<Batch>]) -> Result<Self, PortError> {
        let mut seen: HashSet<BatchId> = HashSet::with_capacity(batches.len());
        let mut group =
            Self { distinct: Vec::with_capacity(batches.len()), given: Vec::with_capacity(batches.len()) };
        for batch in batches {
            let first = seen.insert(batch.id);
            group.given.push((batch.id.to_uuid(), first));
            if first {
                check(batch)?;
                group.distinct.push(batch);
            }
        }
        Ok(group)
    }

    pub(super) fn distinct(&self) -> &[&'a Arc<Batch>] {
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

    /// The job rows of all batches but those that are known to be stored.
    pub(super) fn jobs(&self, replayed: &HashSet<Uuid>) -> JobColumns<'a> {
        let mut jobs = JobColumns::default();
        for batch in &self.distinct {
            if !replayed.contains(&batch.id.to_uuid()) {
                jobs.push(batch);
            }
        }
        jobs
    }
}

/// Columns of `collection_jobs`, for `unnest`.
#[derive(Default)]
pub(super) struct JobColumns<'a> {
    pub(super) id: Vec<Uuid>,
    pub(super) job_id: Vec<String>,
    pub(super) target_id: Vec<&'a str>,
    pub(super) method: Vec<&'static str>,
    pub(super) status: Vec<&'static str>,
    pub(super) duration_ms: Vec<f64>,
    pub(super) error_details: Vec<Option<String>>,
    pub(super) created_at: Vec<DateTime<Utc>>,
    pub(super) source_id: Vec<&'a str>,
    pub(super) received: Vec<i64>,
    pub(super) dropped: Vec<i64>,
    pub(super) refused: Vec<String>,
    pub(super) stored: Vec<i64>,
}

impl<'a> JobColumns<'a> {
    fn push(&mut self, batch: &'a Batch) {
        let collection = &batch.collection;
        let ledger = &collection.ledger;
        let refused: HashMap<&str, u64> =
            ledger.refused.iter().map(|(reason, n)| (reason.as_str(), *n)).collect();
        self.id.push(batch.id.to_uuid());
        self.job_id.push(batch.id.collection_batch_id(collection.started));
        self.target_id.push(&collection.target_id);
        self.method.push(collection.method.as_str());
        self.status.push(collection.status.as_str());
        self.duration_ms.push(collection.duration_ms);
        self.error_details.push(error_details(collection));
        self.created_at.push(DateTime::from_timestamp_millis(collection.started).unwrap_or_default());
        self.source_id.push(&collection.source_id);
        self.received.push(count(ledger.received));
        self.dropped.push(count(ledger.dropped));
        self.refused.push(serde_json::to_string(&refused).unwrap_or_else(|_| "{}".to_owned()));
        self.stored.push(count(ledger.stored));
    }
}

fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// `reason: sentence`. A sentence may quote what a target sent, and text columns cannot hold NUL.
fn error_details(collection: &Collection) -> Option<String> {
    let details = match (collection.reason, &collection.error) {
        (Some(reason), Some(error)) => format!("{reason}: {error}"),
        (Some(reason), None) => reason.to_string(),
        (None, Some(error)) => error.clone(),
        (None, None) => return None,
    };
    Some(details.replace('\0', "\u{fffd}"))
}

fn check(batch: &Batch) -> Result<(), PortError> {
    let refuse = |what: &str| Err(invalid(format!("batch {:032x}: {what}", batch.id.0)));
    let collection = &batch.collection;
    for (name, text) in [("source id", &collection.source_id), ("target id", &collection.target_id)] {
        if text.chars().count() > 100 || text.contains('\0') {
            return refuse(&format!("its {name} is longer than 100 characters or holds NUL"));
        }
    }
    if micros(collection.started).is_none() || DateTime::from_timestamp_millis(collection.started).is_none() {
        return refuse("its start is outside of what the database can hold");
    }
    if batch.frames.len() > i16::MAX as usize {
        return refuse("it has more than 32767 frames");
    }
    match batch.frames.iter().find_map(frame_fault) {
        Some(fault) => refuse(fault),
        None => Ok(()),
    }
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
    if micros(frame.time).is_none() {
        return Some("a frame's time is outside of what the database can hold");
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
