//! Custom items on their way through the door: from what was read of them to what became of each.

use std::collections::BTreeSet;

use metricsd_codec::custom::CustomBody;
use metricsd_model::{Millis, Refusal};

use crate::{OwnedWrite, Unreadable, WriteOrigin, Written};

/// Items at fault that are described; all are counted.
const MAX_REJECTED: usize = 100;

/// One item that was not stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rejected {
    /// Place in the request.
    pub index: usize,
    /// Closed-set reason.
    pub reason: Refusal,
    /// Which field was wrong.
    pub field: String,
    /// What was wrong with it, and what is expected.
    pub message: String,
}

/// What became of a request's items.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ItemOutcome {
    /// Items stored.
    pub accepted: u64,
    /// Items of which something was not stored.
    pub rejected: u64,
    /// The first hundred of those, in order of index.
    pub errors: Vec<Rejected>,
}

/// What the door is given for items that were read.
pub fn item_write(mut origin: WriteOrigin, items: &mut CustomBody, received_at: Millis) -> OwnedWrite {
    origin.source_type = items.source.unwrap_or(origin.source_type);
    origin.unreadable =
        Unreadable { refused: items.refused.clone(), first: items.errors.first().map(ToString::to_string) };
    OwnedWrite { origin, body: std::mem::take(&mut items.body).into(), received_at }
}

/// What became of items, from what became of their series.
pub fn item_outcome(items: &CustomBody, written: &Written) -> ItemOutcome {
    let unreadable: u64 = items.refused.values().sum();
    let mut seen = BTreeSet::new();
    let mut errors: Vec<Rejected> = Vec::new();
    for error in &items.errors {
        errors.push(Rejected {
            index: error.index,
            reason: error.refusal,
            field: error.field.clone(),
            message: error.message.clone(),
        });
    }
    for fault in &written.faults {
        let index = items.places.get(fault.series).map_or(usize::MAX, |index| *index as usize);
        // An item of several series may have several faults: the first is told.
        if seen.insert(index) {
            let (reason, field, message) = (fault.reason, fault.field.clone(), fault.problem.clone());
            errors.push(Rejected { index, reason, field, message });
        }
    }
    errors.sort_by_key(|error| error.index);
    errors.truncate(MAX_REJECTED);
    // An item may have become many series, and not all faults are described.
    let refused = written.refused_series.iter().map(|series| items.places.get(*series as usize));
    let refused: BTreeSet<Option<&u32>> = refused.collect();
    let items = items.items as u64;
    let rejected = (unreadable + refused.len() as u64).min(items);
    ItemOutcome { accepted: items - rejected, rejected, errors }
}
