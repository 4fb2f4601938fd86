//! The batches of one append: checked, distinct, and as rows of the job table.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use metricsd_model::batch::FRAME_BUCKET_MILLIS;
use metricsd_model::{Batch, BatchId, Collection, FamilyMetadata, Frame, Ledger, Millis, Waited};
use metricsd_ports::{ErrorKind, PortError, Receipt};
use uuid::Uuid;

/// Characters of a source id, a target id.
const MAX_ID_CHARS: usize = 100;

/// Characters of a family's name, as of a metric's.
const MAX_FAMILY_CHARS: usize = 200;

/// What a database can hold.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Whether a time can be kept, with an hour to spare.
    pub holds: fn(Millis) -> bool,
    /// Values of one frame.
    pub max_columns: usize,
}

/// Batches in the order in which they were given.
#[derive(Debug, Clone)]
pub struct Group {
    given: Vec<Arc<Batch>>,
    /// Places in `given` of the first of each id, without those that are fenced.
    firsts: Vec<usize>,
    distinct: Vec<Arc<Batch>>,
    /// Places of those in `given` whose targets have other owners.
    fenced: HashSet<usize>,
}

impl Group {
    /// Refuses what the tables cannot hold, so that one damaged batch is named instead of failing somewhere inside.
    pub fn new(batches: &[Arc<Batch>], bounds: Bounds) -> Result<Self, PortError> {
        for batch in batches {
            check(batch, bounds).map_err(|fault| {
                PortError::new(ErrorKind::Invalid, format!("batch {:032x}: {fault}", batch.id.0))
            })?;
        }
        Ok(Self::of(batches.to_vec(), HashSet::new()))
    }

    /// All of them.
    pub fn given(&self) -> &[Arc<Batch>] {
        &self.given
    }

    /// Each batch once, in the order given.
    pub fn distinct(&self) -> &[Arc<Batch>] {
        &self.distinct
    }

    /// Takes out those at these places of [`Group::given`]: their targets have other owners by now, who may have given the
    /// same scrape. Comes before [`Group::without`].
    pub fn fence(&mut self, fenced: HashSet<usize>) {
        if !fenced.is_empty() {
            *self = Self::of(std::mem::take(&mut self.given), fenced);
        }
    }

    fn of(given: Vec<Arc<Batch>>, fenced: HashSet<usize>) -> Self {
        let mut seen: HashSet<BatchId> = HashSet::with_capacity(given.len());
        let (mut firsts, mut distinct) = (Vec::with_capacity(given.len()), Vec::with_capacity(given.len()));
        for (place, batch) in given.iter().enumerate() {
            if !fenced.contains(&place) && seen.insert(batch.id) {
                firsts.push(place);
                distinct.push(Arc::clone(batch));
            }
        }
        Self { given, firsts, distinct, fenced }
    }

    /// The same without pushes that were `stored` before, by the id of a batch and of a push that was joined into it;
    /// batches of which nothing is left are duplicates.
    #[must_use]
    pub fn without(&self, stored: impl Fn(Uuid, Uuid) -> bool) -> Self {
        let left = |batch: &Arc<Batch>| {
            let id = batch.id.to_uuid();
            let stored = |push: BatchId| stored(id, push.to_uuid());
            match batch.joined.iter().any(|push| stored(push.id)) {
                true => batch.without(stored).map(Arc::new),
                false => Some(Arc::clone(batch)),
            }
        };
        Self {
            distinct: self.distinct.iter().filter_map(left).collect(),
            given: self.given.clone(),
            firsts: self.firsts.clone(),
            fenced: self.fenced.clone(),
        }
    }

    /// One receipt a given batch.
    pub fn receipts(&self, stored: &HashSet<Uuid>) -> Vec<Receipt> {
        let fenced = |place| match self.fenced.contains(&place) {
            true => Receipt::Fenced,
            false => Receipt::Duplicate,
        };
        let mut receipts: Vec<Receipt> = (0..self.given.len()).map(fenced).collect();
        for place in &self.firsts {
            if let (Some(receipt), Some(batch)) = (receipts.get_mut(*place), self.given.get(*place))
                && stored.contains(&batch.id.to_uuid())
            {
                *receipt = Receipt::Stored;
            }
        }
        receipts
    }
}

/// One row of `collection_jobs`, as its columns take it.
#[derive(Debug)]
pub struct JobRow<'a> {
    /// The batch id.
    pub id: Uuid,
    /// The batch id as people read it.
    pub job_id: String,
    /// Who the metrics belong to.
    pub source_id: &'a str,
    /// Where they were collected.
    pub target_id: &'a str,
    /// How.
    pub method: &'static str,
    /// Outcome.
    pub status: &'static str,
    /// From start until ready to store.
    pub duration_ms: f64,
    /// `reason: sentence`, where it failed.
    pub error_details: Option<String>,
    /// When the collection began.
    pub started: Millis,
    /// Samples that arrived.
    pub received: i64,
    /// Samples dropped by filters.
    pub dropped: i64,
    /// Samples refused, by reason: a JSON object.
    pub refused: String,
    /// Samples stored.
    pub stored: i64,
    /// Samples that metricsd added.
    pub added: i64,
    /// Scrapes that were not done before this one, by reason: a JSON object, where there are any.
    pub missed: Option<String>,
    /// Where the batch waited.
    pub waited: Option<&'static str>,
}

impl<'a> JobRow<'a> {
    /// The row of a batch.
    pub fn of(batch: &'a Batch) -> Self {
        let collection = &batch.collection;
        let ledger = &collection.ledger;
        let refused: BTreeMap<&str, u64> =
            ledger.refused.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
        Self {
            id: batch.id.to_uuid(),
            job_id: batch.id.collection_batch_id(collection.started),
            source_id: &collection.source_id,
            target_id: &collection.target_id,
            method: collection.method.as_str(),
            status: collection.status.as_str(),
            duration_ms: collection.duration_ms,
            error_details: error_details(collection),
            started: collection.started,
            received: signed(ledger.received),
            dropped: signed(ledger.dropped),
            refused: serde_json::to_string(&refused).unwrap_or_else(|_| "{}".to_owned()),
            stored: signed(ledger.stored),
            added: signed(batch.added()),
            missed: missed(ledger),
            waited: ledger.waited.map(Waited::as_str),
        }
    }
}

fn missed(ledger: &Ledger) -> Option<String> {
    (!ledger.missed.is_empty()).then(|| {
        let missed: BTreeMap<&str, u64> =
            ledger.missed.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
        serde_json::to_string(&missed).unwrap_or_else(|_| "{}".to_owned())
    })
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A sentence may quote what a target sent, and text columns need not hold NUL.
fn error_details(collection: &Collection) -> Option<String> {
    let details = match (collection.reason, &collection.error) {
        (Some(reason), Some(error)) => format!("{reason}: {error}"),
        (Some(reason), None) => reason.to_string(),
        (None, Some(error)) => error.clone(),
        (None, None) => return None,
    };
    Some(details.replace('\0', "\u{fffd}"))
}

fn check(batch: &Batch, bounds: Bounds) -> Result<(), String> {
    let collection = &batch.collection;
    for (name, text) in [("source id", &collection.source_id), ("target id", &collection.target_id)] {
        if text.chars().count() > MAX_ID_CHARS || text.contains('\0') {
            return Err(format!("its {name} is longer than {MAX_ID_CHARS} characters or holds NUL"));
        }
    }
    if !(bounds.holds)(collection.started) {
        return Err("its start is outside of what the database can hold".to_owned());
    }
    if batch.frames.len() > i16::MAX as usize {
        return Err("it has more than 32767 frames".to_owned());
    }
    if batch.exemplars.iter().any(|exemplar| !(bounds.holds)(exemplar.exemplar.timestamp)) {
        return Err("an exemplar's time is outside of what the database can hold".to_owned());
    }
    if batch.families.iter().any(is_misnamed) {
        return Err(format!("a family's name is longer than {MAX_FAMILY_CHARS} characters or holds NUL"));
    }
    match batch.frames.iter().find_map(|frame| frame_fault(frame, bounds)) {
        Some(fault) => Err(fault.to_owned()),
        None => Ok(()),
    }
}

fn is_misnamed(family: &FamilyMetadata) -> bool {
    family.family.chars().count() > MAX_FAMILY_CHARS || family.family.contains('\0')
}

fn frame_fault(frame: &Frame, bounds: Bounds) -> Option<&'static str> {
    let columns = frame.layout.ids.len();
    let offsets = frame.offsets.as_deref().unwrap_or_default();
    if frame.layout.series.len() != columns || frame.values.len() != columns {
        return Some("a frame has not one value a column");
    }
    if frame.offsets.is_some() && offsets.len() != columns {
        return Some("a frame has not one offset a column");
    }
    if columns > bounds.max_columns {
        return Some("a frame has more values than can be read back");
    }
    if !(bounds.holds)(frame.time) {
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
