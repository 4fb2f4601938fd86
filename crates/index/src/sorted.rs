//! The values of one label in order: blocks of term ids, sorted by the texts that the ids stand for.

/// Ids a block holds at most. Small enough to insert by moving, large enough that a million values make few blocks.
const BLOCK: usize = 512;

/// A run of ids. Searching compares eight bytes of each text that are kept here; the texts themselves lie scattered
/// in memory, and to read each would cost more than all the rest of an insertion.
#[derive(Debug)]
struct Block {
    /// Not after any text of this block, after all texts of those before.
    bound: Box<[u8]>,
    /// All texts of the block begin with it.
    prefix: Box<[u8]>,
    /// The eight bytes of each text after the prefix; zeros after its end, which no label holds.
    keys: Vec<u64>,
    ids: Vec<u32>,
}

/// Term ids in order of their texts, which the caller keeps. Every method that compares takes a function from
/// an id to its text.
#[derive(Debug, Default)]
pub(crate) struct SortedIds {
    /// None is empty; every text of a block is before those of the next.
    blocks: Vec<Block>,
    len: usize,
}

/// A place between two ids: inside a block, or at the end of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    block: usize,
    index: usize,
}

/// A stretch of consecutive ids.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch {
    from: Position,
    to: Position,
}

impl Block {
    /// A block of ids in order.
    fn new<'a>(ids: Vec<u32>, text_of: &impl Fn(u32) -> &'a str) -> Self {
        let text = |id: Option<&u32>| id.map_or("", |id| text_of(*id)).as_bytes();
        let (first, last) = (text(ids.first()), text(ids.last()));
        // In order, so that what the first and the last have in common all have.
        let prefix = &first[..common(first, last)];
        let keys = ids.iter().map(|id| key(text_of(*id).as_bytes(), prefix.len())).collect();
        Self { bound: first.into(), prefix: prefix.into(), keys, ids }
    }

    /// The first id whose text is not before `bytes`.
    fn position<'a>(&self, bytes: &[u8], text_of: &impl Fn(u32) -> &'a str) -> usize {
        if !bytes.starts_with(&self.prefix) {
            return if bytes < &*self.prefix { 0 } else { self.ids.len() };
        }
        let key = key(bytes, self.prefix.len());
        let from = self.keys.partition_point(|other| *other < key);
        let same = self.keys[from..].partition_point(|other| *other == key);
        from + self.ids[from..from + same].partition_point(|id| text_of(*id).as_bytes() < bytes)
    }

    fn insert<'a>(&mut self, index: usize, id: u32, text: &str, text_of: &impl Fn(u32) -> &'a str) {
        let shared = common(&self.prefix, text.as_bytes());
        if shared < self.prefix.len() {
            self.prefix = self.prefix[..shared].into();
            self.keys.clear();
            self.keys.extend(self.ids.iter().map(|id| key(text_of(*id).as_bytes(), shared)));
        }
        self.keys.insert(index, key(text.as_bytes(), shared));
        self.ids.insert(index, id);
    }
}

/// How many bytes two texts begin with in common.
fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Eight bytes from `skip` on, as a number that compares as they do.
fn key(text: &[u8], skip: usize) -> u64 {
    let rest = text.get(skip..).unwrap_or_default();
    let mut bytes = [0; 8];
    let count = rest.len().min(8);
    bytes[..count].copy_from_slice(&rest[..count]);
    u64::from_be_bytes(bytes)
}

impl SortedIds {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds an id whose text is `text`, which no other id has.
    pub(crate) fn insert<'a>(&mut self, id: u32, text: &str, text_of: impl Fn(u32) -> &'a str) {
        self.len += 1;
        let at = self.block_of(text.as_bytes());
        let Some(block) = self.blocks.get_mut(at) else {
            self.blocks.push(Block::new(vec![id], &text_of));
            return;
        };
        let index = block.position(text.as_bytes(), &text_of);
        if block.ids.len() < BLOCK {
            block.insert(index, id, text, &text_of);
        } else if index == block.ids.len() {
            // Values that come in order leave full blocks behind.
            self.blocks.insert(at + 1, Block::new(vec![id], &text_of));
        } else {
            block.ids.insert(index, id);
            let upper = block.ids.split_off(BLOCK / 2);
            let bound = std::mem::take(&mut block.bound);
            *block = Block { bound, ..Block::new(std::mem::take(&mut block.ids), &text_of) };
            self.blocks.insert(at + 1, Block::new(upper, &text_of));
        }
    }

    /// Removes the id whose text is `text`, if there is one.
    pub(crate) fn remove<'a>(&mut self, text: &str, text_of: impl Fn(u32) -> &'a str) {
        let at = self.block_of(text.as_bytes());
        let Some(block) = self.blocks.get_mut(at) else { return };
        let index = block.position(text.as_bytes(), &text_of);
        if block.ids.get(index).is_none_or(|id| text_of(*id) != text) {
            return;
        }
        block.ids.remove(index);
        block.keys.remove(index);
        self.len -= 1;
        if block.ids.is_empty() {
            self.blocks.remove(at);
        } else {
            self.join(at, &text_of);
        }
    }

    /// Joins a block with the next where both together are half full, so that removals do not leave crumbs.
    fn join<'a>(&mut self, at: usize, text_of: &impl Fn(u32) -> &'a str) {
        let Some(next) = self.blocks.get(at + 1) else { return };
        if self.blocks[at].ids.len() + next.ids.len() > BLOCK / 2 {
            return;
        }
        let next = self.blocks.remove(at + 1);
        let block = &mut self.blocks[at];
        let mut ids = std::mem::take(&mut block.ids);
        ids.extend(next.ids);
        let bound = std::mem::take(&mut block.bound);
        *block = Block { bound, ..Block::new(ids, text_of) };
    }

    /// The ids whose texts begin with these bytes.
    pub(crate) fn with_prefix<'a>(&self, prefix: &[u8], text_of: impl Fn(u32) -> &'a str) -> Stretch {
        let from = self.position(prefix, &text_of);
        let mut after = prefix.to_vec();
        // What comes after all texts with the prefix. No text has a byte 255.
        let to = match after.last_mut() {
            Some(last) => {
                *last = last.saturating_add(1);
                self.position(&after, &text_of)
            }
            None => Position { block: self.blocks.len(), index: 0 },
        };
        Stretch { from, to }
    }

    /// How many ids a stretch has.
    pub(crate) fn count(&self, stretch: Stretch) -> usize {
        let Stretch { from, to } = stretch;
        let blocks = self.blocks.get(from.block..to.block).unwrap_or_default();
        blocks.iter().map(|block| block.ids.len()).sum::<usize>() + to.index - from.index
    }

    /// The ids of a stretch, in order.
    pub(crate) fn iter_in(&self, stretch: Stretch) -> impl Iterator<Item = u32> + '_ {
        let count = self.count(stretch);
        let blocks = self.blocks.get(stretch.from.block..).unwrap_or_default();
        blocks.iter().flat_map(|block| &block.ids).skip(stretch.from.index).take(count).copied()
    }

    /// All ids, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.blocks.iter().flat_map(|block| &block.ids).copied()
    }

    /// The block that a text belongs into.
    fn block_of(&self, bytes: &[u8]) -> usize {
        self.blocks.partition_point(|block| &*block.bound <= bytes).saturating_sub(1)
    }

    /// The first id whose text is not before `bytes`.
    fn position<'a>(&self, bytes: &[u8], text_of: &impl Fn(u32) -> &'a str) -> Position {
        let at = self.block_of(bytes);
        let Some(block) = self.blocks.get(at) else { return Position { block: at, index: 0 } };
        match block.position(bytes, text_of) {
            index if index < block.ids.len() => Position { block: at, index },
            _ => Position { block: at + 1, index: 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Applies steps to a sorted table and to a map, and compares.
    fn compare(steps: impl IntoIterator<Item = (bool, u32)>, prefixes: &[&str]) {
        let texts: Vec<String> = (0..20_000u32)
            .map(|id| {
                // Some with a long beginning in common.
                let beginning = if id % 3 == 0 { "7a-common-beginning-" } else { "" };
                format!("{beginning}{:x}", id.wrapping_mul(0x9e37_79b1))
            })
            .collect();
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
        for block in &sorted.blocks {
            assert!((1..=BLOCK).contains(&block.ids.len()) && block.ids.len() == block.keys.len());
        }
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
