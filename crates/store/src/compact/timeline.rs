//! Timestamps that many segments share: the series of one target are scraped together, hour after hour in step.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::Xxh3;

/// The id of a list of offsets: stable, as segments refer to it.
pub fn timeline_id(offsets: &[i32]) -> i64 {
    let mut hasher = Xxh3::new();
    for offset in offsets {
        hasher.update(&offset.to_le_bytes());
    }
    hasher.digest().cast_signed()
}

/// The lists of offsets of one piece of work: those of several segments are shared, the others stay with their segment.
#[derive(Debug, Default)]
pub struct Timelines {
    /// How many segments have it; lists of one id that differ are not shared.
    lists: BTreeMap<i64, (Vec<i32>, usize)>,
}

impl Timelines {
    /// Notes the offsets of a segment.
    pub fn note(&mut self, offsets: &[i32]) {
        let known = self.lists.entry(timeline_id(offsets)).or_insert_with(|| (offsets.to_vec(), 0));
        if known.0 == offsets {
            known.1 += 1;
        }
    }

    /// The shared list that is equal to these offsets. Whether the id stands for the same list in the database is for
    /// the caller to see.
    pub fn shared(&self, offsets: &[i32]) -> Option<i64> {
        let id = timeline_id(offsets);
        self.lists.get(&id).is_some_and(|(known, count)| *count > 1 && known == offsets).then_some(id)
    }

    /// All lists that are shared, ascending by id.
    pub fn lists(&self) -> impl Iterator<Item = (i64, &[i32])> {
        let shared = self.lists.iter().filter(|(_, (_, count))| *count > 1);
        shared.map(|(id, (offsets, _))| (*id, offsets.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_segments_have_is_shared() {
        let mut timelines = Timelines::default();
        timelines.note(&[0, 15]);
        timelines.note(&[0, 16]);
        assert_eq!(timelines.lists().count(), 0);
        timelines.note(&[0, 15]);
        assert_eq!(timelines.shared(&[0, 15]), Some(timeline_id(&[0, 15])));
        assert_eq!(timelines.shared(&[0, 16]), None);
        assert_eq!(timelines.lists().collect::<Vec<_>>(), [(timeline_id(&[0, 15]), &[0, 15][..])]);
    }

    /// If this fails, stored segments point to other timestamps. Do not change the value.
    #[test]
    fn ids_are_pinned() {
        assert_eq!(timeline_id(&[0, 15_000, 30_000]), GOLDEN);
    }

    const GOLDEN: i64 = 7_088_445_818_928_739_604;
}
