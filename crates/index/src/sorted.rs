//! The values of one label in order: blocks of term ids, sorted by the texts that the ids stand for.

/// Ids a block holds at most. Small enough to insert by moving, large enough that a million values make few blocks.
const BLOCK: usize = 256;

/// Eight bytes of each of some texts in order, the first in which not all are alike. Searching compares these alone
/// as long as they tell: the texts lie scattered in memory, and reading them would cost most of an insertion.
#[derive(Debug, Default)]
struct Keys {
    /// All texts begin with it.
    prefix: Box<[u8]>,
    /// The eight bytes of each text after the prefix; zeros after its end.
    keys: Vec<u64>,
}

/// A run of ids.
#[derive(Debug)]
struct Block {
    ids: Vec<u32>,
    keys: Keys,
}

/// Term ids in order of their texts, which the caller keeps. Every method that compares takes a function from
/// an id to its text.
#[derive(Debug, Default)]
pub(crate) struct SortedIds {
    /// None is empty; every text of a block is before those of the next.
    blocks: Vec<Block>,
    /// One a block: not after any of its texts, after all texts of those before.
    bounds: Vec<Box<[u8]>>,
    bound_keys: Keys,
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

impl Keys {
    /// The keys of texts that are in order.
    fn new<'t, 'b, T>(texts: &'t [T], bytes: impl Fn(&'t T) -> &'b [u8]) -> Self {
        let (Some(first), Some(last)) = (texts.first(), texts.last()) else { return Self::default() };
        // In order, so that what the first and the last have in common all have.
        let first = bytes(first);
        let prefix = &first[..common(first, bytes(last))];
        let keys = texts.iter().map(|text| key(bytes(text), prefix.len())).collect();
        Self { prefix: prefix.into(), keys }
    }

    /// The first of the texts that is not before `wanted`.
    fn position<'t, 'b, T>(&self, wanted: &[u8], texts: &'t [T], bytes: impl Fn(&'t T) -> &'b [u8]) -> usize {
        if !wanted.starts_with(&self.prefix) {
            return if wanted < &*self.prefix { 0 } else { texts.len() };
        }
        let key = key(wanted, self.prefix.len());
        let from = self.keys.partition_point(|other| *other < key);
        let same = self.keys[from..].partition_point(|other| *other == key);
        let (mut low, mut high) = (from, from + same);
        while low < high {
            let middle = low.midpoint(high);
            if bytes(&texts[middle]) < wanted { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Adds the key of a text which is to stand at `index` among the others.
    fn insert<'t, 'b, T>(
        &mut self,
        index: usize,
        text: &[u8],
        others: &'t [T],
        bytes: impl Fn(&'t T) -> &'b [u8],
    ) {
        if others.is_empty() {
            self.prefix = text.into();
        }
        let shared = common(&self.prefix, text);
        if shared < self.prefix.len() {
            self.prefix = self.prefix[..shared].into();
            self.keys.clear();
            self.keys.extend(others.iter().map(|other| key(bytes(other), shared)));
        }
        self.keys.insert(index, key(text, shared));
    }
}

impl Block {
    /// A block of ids in order.
    fn new<'a>(ids: Vec<u32>, text_of: &impl Fn(u32) -> &'a str) -> Self {
        let keys = Keys::new(&ids, |id| text_of(*id).as_bytes());
        Self { ids, keys }
    }

    /// The first id whose text is not before `wanted`.
    fn position<'a>(&self, wanted: &[u8], text_of: &impl Fn(u32) -> &'a str) -> usize {
        self.keys.position(wanted, &self.ids, |id| text_of(*id).as_bytes())
    }
}

/// How many bytes two texts begin with in common.
fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Eight bytes from `skip` on, as a number that compares as they do.
fn key(text: &[u8], skip: usize) -> u64 {
    let rest = text.get(skip..).unwrap_or_default();
    if let Some(bytes) = rest.first_chunk() {
        return u64::from_be_bytes(*bytes);
    }
    let mut bytes = [0; 8];
    bytes[..rest.len()].copy_from_slice(rest);
    u64::from_be_bytes(bytes)
}

impl SortedIds {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds an id whose text is `text`, which no other id has.
    pub(crate) fn insert<'a>(&mut self, id: u32, text: &str, text_of: impl Fn(u32) -> &'a str) {
        self.len += 1;
        let bytes = text.as_bytes();
        let at = self.block_of(bytes);
        let Some(block) = self.blocks.get_mut(at) else {
            self.insert_block(at, vec![id], &text_of);
            return;
        };
        if bytes < &*self.bounds[at] {
            // Before all: the first block begins with it now.
            self.bounds[at] = bytes.into();
            self.bound_keys.keys.remove(at);
            self.bound_keys.insert(at, bytes, &self.bounds[at + 1..], |bound| bound);
        }
        let index = block.position(bytes, &text_of);
        if block.ids.len() < BLOCK {
            block.keys.insert(index, bytes, &block.ids, |id| text_of(*id).as_bytes());
            block.ids.insert(index, id);
        } else if index == block.ids.len() {
            // Values that come in order leave full blocks behind.
            self.insert_block(at + 1, vec![id], &text_of);
        } else {
            block.ids.insert(index, id);
            let upper = block.ids.split_off(BLOCK / 2);
            *block = Block::new(std::mem::take(&mut block.ids), &text_of);
            self.insert_block(at + 1, upper, &text_of);
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
        block.keys.keys.remove(index);
        self.len -= 1;
        if block.ids.is_empty() {
            self.remove_block(at);
        } else {
            self.join(at, &text_of);
        }
    }

    /// Joins a block with the next where both together are half full, so that removals do not leave crumbs.
    fn join<'a>(&mut self, at: usize, text_of: &impl Fn(u32) -> &'a str) {
        let Some(next) = self.blocks.get(at + 1) else { return };
        if self.blocks[at].ids.len() + next.ids.len() <= BLOCK / 2 {
            let next = self.remove_block(at + 1);
            let mut ids = std::mem::take(&mut self.blocks[at].ids);
            ids.extend(next.ids);
            self.blocks[at] = Block::new(ids, text_of);
        }
    }

    fn insert_block<'a>(&mut self, at: usize, ids: Vec<u32>, text_of: &impl Fn(u32) -> &'a str) {
        let bound = ids.first().map_or("", |id| text_of(*id)).as_bytes();
        self.bound_keys.insert(at, bound, &self.bounds, |bound| bound);
        self.bounds.insert(at, bound.into());
        self.blocks.insert(at, Block::new(ids, text_of));
    }

    fn remove_block(&mut self, at: usize) -> Block {
        self.bounds.remove(at);
        self.bound_keys.keys.remove(at);
        self.blocks.remove(at)
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
        let at = self.bound_keys.position(bytes, &self.bounds, |bound| bound);
        let is_bound = self.bounds.get(at).is_some_and(|bound| **bound == *bytes);
        if is_bound { at } else { at.saturating_sub(1) }
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
        assert!(sorted.bounds.is_sorted() && sorted.bounds.len() == sorted.blocks.len());
        for (bound, block) in sorted.bounds.iter().zip(&sorted.blocks) {
            assert!(**bound <= *text_of(block.ids[0]).as_bytes());
            assert!((1..=BLOCK).contains(&block.ids.len()) && block.ids.len() == block.keys.keys.len());
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
        compare((0..20_000).rev().map(|id| (true, id)), &prefixes);
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
