//! What is said of metric families: by senders in so many words, and by series in passing.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use metricsd_model::{Batch, FamilyMetadata};
use parking_lot::Mutex;

use crate::owners::{Interned, Known};

/// Different statements that are kept of one family, the newest. A page that writes a counter into its help text would
/// else fill the table.
pub const MAX_STATEMENTS: usize = 32;

/// Puts statements into the order in which stores answer them, each once.
pub fn sort(statements: &mut Vec<FamilyMetadata>) {
    statements.sort_by(|a, b| {
        let key = |s: &FamilyMetadata| s.metric_type.as_str();
        (&a.family, key(a), &a.help, &a.unit).cmp(&(&b.family, key(b), &b.help, &b.unit))
    });
    statements.dedup();
}

/// What an append says that this process has not written yet, in order, so that writers take their locks in one order.
/// Text columns need not hold NUL, so there is none in it.
pub fn unwritten<'b, C>(
    known: &Mutex<Known>,
    interned: &Interned<C>,
    batches: impl Iterator<Item = &'b Arc<Batch>>,
) -> Vec<FamilyMetadata> {
    let mut statements = interned.statements();
    statements.extend(batches.flat_map(|batch| &batch.families).cloned());
    for statement in &mut statements {
        for text in [&mut statement.help, &mut statement.unit] {
            if text.contains('\0') {
                *text = text.replace('\0', "\u{fffd}");
            }
        }
    }
    if statements.is_empty() {
        return statements;
    }
    sort(&mut statements);
    let mut known = known.lock();
    statements.retain(|statement| known.families.get(hash(statement)).is_none());
    statements
}

/// To be called after the commit, not before.
pub fn remember(known: &Mutex<Known>, written: &[FamilyMetadata]) {
    if written.is_empty() {
        return;
    }
    let mut known = known.lock();
    for statement in written {
        known.families.insert(hash(statement), (), 1);
    }
}

fn hash(statement: &FamilyMetadata) -> u64 {
    let mut hasher = DefaultHasher::new();
    statement.hash(&mut hasher);
    hasher.finish()
}
