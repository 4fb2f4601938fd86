//! The values of one label in order: blocks of term ids, sorted by the texts that the ids stand for.

/// Ids a block holds at most. Small enough to insert by moving, large enough that a million values make few blocks.
const BLOCK: usize = 512;

/// Term ids in order of their texts, which the caller keeps. Every method that compares takes a function from
/// an id to its text.
#[derive(Debug, Default)]
pub(crate) struct SortedIds {
    /// None is empty; every text of a block is before those of the next.
    blocks: Vec<Vec<u32>>,
    len: usize,
}

/// A place between two ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    block: usize,
    index: usize,
}

/// A stretch of consecutive ids.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch {
    from: Position,
    to: Position,
}

impl SortedIds {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds an id whose text is `text`, which no other id has.
    pub(crate) fn insert<'a>(&mut self, id: u32, text: &str, text_of: impl Fn(u32) -> &'a str) {
        self.len += 1;
        let at = self.position(|other| text_of(other) < text);
        let Some(last) = self.blocks.len().checked_sub(1) else {
            self.blocks.push(vec![id]);
            return;
        };
        // Between two blocks: at the end of the first, if it has room.
        let at = match at {
            Position { block, index: 0 }
                if block > 0 && (block > last || self.blocks[block].len() >= BLOCK) =>
            {
                Position { block: block - 1, index: usize::MAX }
            }
            inside => inside,
        };
        let block = &mut self.blocks[at.block];
        let index = at.index.min(block.len());
        if block.len() < BLOCK {
            block.insert(index, id);
        } else if index == block.len() {
            // Values that come in order leave full blocks behind.
            self.blocks.insert(at.block + 1, vec![id]);
        } else {
            let mut upper = block.split_off(BLOCK / 2);
            if index <= BLOCK / 2 {
                block.insert(index, id);
            } else {
                upper.insert(index - BLOCK / 2, id);
            }
            self.blocks.insert(at.block + 1, upper);
        }
    }

    /// Removes the id whose text is `text`, if there is one.
    pub(crate) fn remove<'a>(&mut self, text: &str, text_of: impl Fn(u32) -> &'a str) {
        let at = self.position(|other| text_of(other) < text);
        let Some(block) = self.blocks.get_mut(at.block) else { return };
        if block.get(at.index).is_none_or(|id| text_of(*id) != text) {
            return;
        }
        block.remove(at.index);
        self.len -= 1;
        if block.is_empty() {
            self.blocks.remove(at.block);
        } else if at.block + 1 < self.blocks.len() {
            self.join(at.block);
        }
    }

    /// Joins a block with the next one where both together are half full, so that removals do not leave crumbs.
    fn join(&mut self, block: usize) {
        if self.blocks[block].len() + self.blocks[block + 1].len() <= BLOCK / 2 {
            let next = self.blocks.remove(block + 1);
            self.blocks[block].extend(next);
        }
    }

    /// The ids whose texts begin with these bytes.
    pub(crate) fn with_prefix<'a>(&self, prefix: &[u8], text_of: impl Fn(u32) -> &'a str) -> Stretch {
        let from = self.position(|id| text_of(id).as_bytes() < prefix);
        let to = self.position(|id| {
            let text = text_of(id).as_bytes();
            text < prefix || text.starts_with(prefix)
        });
        Stretch { from, to }
    }

    /// How many ids a stretch has.
    pub(crate) fn count(&self, stretch: Stretch) -> usize {
        let Stretch { from, to } = stretch;
        let blocks = self.blocks.get(from.block..to.block).unwrap_or_default();
        blocks.iter().map(Vec::len).sum::<usize>() + to.index - from.index
    }

    /// The ids of a stretch, in order.
    pub(crate) fn iter_in(&self, stretch: Stretch) -> impl Iterator<Item = u32> + '_ {
        let count = self.count(stretch);
        let blocks = self.blocks.get(stretch.from.block..).unwrap_or_default();
        blocks.iter().flatten().skip(stretch.from.index).take(count).copied()
    }

    /// All ids, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.blocks.iter().flatten().copied()
    }

    /// Where the ids end for which `before` holds; it must hold for none after the first for which it does not.
    /// The position is inside a block, or at the end of all.
    fn position(&self, before: impl Fn(u32) -> bool) -> Position {
        let block = self.blocks.partition_point(|block| block.last().is_some_and(|id| before(*id)));
        let index = self.blocks.get(block).map_or(0, |block| block.partition_point(|id| before(*id)));
        Position { block, index }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Applies steps to a sorted table and to a map, and compares.
    fn compare(steps: impl IntoIterator<Item = (bool, u32)>, prefixes: &[&str]) {
        let texts: Vec<String> =
            (0..20_000u32).map(|id| format!("{:x}", id.wrapping_mul(0x9e37_79b1))).collect();
        let text_of = |id: u32| texts[id as usize].as_str();
        let (mut sorted, mut model) = (SortedIds::default(), BTreeMap::new());
        for (add, id) in steps {
            if !add {
                sorted.remove(text_of(id), text_of);
                model.remove(text_of(id));
            } else if model.insert(text_of(id), id).is_none() {
                sorted.insert(id, text_of(id), text_of);
            }
        }
        assert!(sorted.iter().eq(model.values().copied()));
        assert_eq!(sorted.len(), model.len());
        assert!(sorted.blocks.iter().all(|block| (1..=BLOCK).contains(&block.len())));
        for prefix in prefixes {
            let stretch = sorted.with_prefix(prefix.as_bytes(), text_of);
            let expected: Vec<u32> =
                model.iter().filter(|(text, _)| text.starts_with(prefix)).map(|(_, id)| *id).collect();
            assert_eq!(sorted.count(stretch), expected.len(), "{prefix}");
            assert!(sorted.iter_in(stretch).eq(expected), "{prefix}");
        }
    }

    #[test]
    fn many_values_stay_in_order() {
        let prefixes = ["", "0", "f", "fff", "7a", "a0b1", "g", "12345678", "ffffffff0"];
        compare((0..20_000).map(|id| (true, id)), &prefixes);
        compare((0..20_000).map(|id| (true, id)).chain((0..19_900).map(|id| (false, id))), &prefixes);
        compare([], &prefixes);
    }

    proptest! {
        #[test]
        fn blocks_hold_what_a_map_holds(
            steps in proptest::collection::vec((proptest::bool::weighted(0.6), 0u32..3000), 0..6000),
        ) {
            compare(steps, &["", "0", "f", "fff", "7a", "a0b1", "g"]);
        }
    }
}
