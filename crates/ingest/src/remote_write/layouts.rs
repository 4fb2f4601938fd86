//! Lists of series that remote writers send again and again. Such a list is stored once as a layout, and frames refer to
//! it: they are smaller by the ids, and a question about few series passes over the frames of other lists.

use std::collections::HashSet;
use std::mem;
use std::sync::Arc;

use metricsd_model::{Batch, Layout, LayoutId};
use parking_lot::Mutex;

/// Shorter lists are not worth a layout.
const SHORTEST: usize = 16;

/// Lists that are remembered, at least; twice as many at most.
const LISTS: usize = 1 << 15;

/// The lists that have come lately.
#[derive(Debug, Default)]
pub(crate) struct SeenLists(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    newer: HashSet<LayoutId>,
    older: HashSet<LayoutId>,
}

impl SeenLists {
    /// Gives frames whose list has come before a layout that is stored once. A list that comes only once travels in its
    /// frame and leaves nothing behind.
    pub(crate) fn recognise(&self, batch: &mut Batch) {
        for frame in &mut batch.frames {
            // The same series twice would need two times; without those all are distinct, as layouts must be.
            if frame.offsets.is_some() || frame.layout.ids.len() < SHORTEST {
                continue;
            }
            let id = Layout::id_of(&frame.layout.ids);
            if self.has_come(id)
                && let Some(layout) = Arc::get_mut(&mut frame.layout)
            {
                layout.id = Some(id);
            }
        }
    }

    fn has_come(&self, id: LayoutId) -> bool {
        let mut seen = self.0.lock();
        let known = seen.older.contains(&id);
        let again = !seen.newer.insert(id) || known;
        if seen.newer.len() >= LISTS {
            seen.older = mem::take(&mut seen.newer);
        }
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_long_ago_is_forgotten() {
        let seen = SeenLists::default();
        assert!(!seen.has_come(LayoutId(0)));
        assert!(seen.has_come(LayoutId(0)));
        (1..2 * LISTS as u64).for_each(|id| assert!(!seen.has_come(LayoutId(id))));
        assert!(seen.has_come(LayoutId(LISTS as u64 + 1)));
        assert!(!seen.has_come(LayoutId(0)));
    }
}
