//! The series of one label value: nothing, one, a few, or a bitmap, whichever is smallest.

use roaring::RoaringBitmap;

/// Up to here a sorted array is smaller than a bitmap spread over many containers, and quick enough to insert into.
const MAX_FEW: usize = 256;

/// A set of ordinals. Most values of a label with many values have one series, which then costs no allocation.
#[derive(Debug, Clone)]
pub(crate) enum Postings {
    One(u32),
    /// Ascending; the empty set too.
    Few(Vec<u32>),
    Many(Box<RoaringBitmap>),
}

impl Default for Postings {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Postings {
    pub(crate) fn insert(&mut self, ordinal: u32) {
        match self {
            Self::One(one) if *one == ordinal => {}
            Self::One(one) => *self = Self::Few(vec![(*one).min(ordinal), (*one).max(ordinal)]),
            Self::Few(few) if few.is_empty() => *self = Self::One(ordinal),
            Self::Few(few) => {
                // New ordinals are mostly the greatest.
                if few.last().is_some_and(|last| *last < ordinal) {
                    few.push(ordinal);
                } else if let Err(at) = few.binary_search(&ordinal) {
                    few.insert(at, ordinal);
                }
                if few.len() > MAX_FEW {
                    *self = Self::Many(Box::new(few.iter().copied().collect()));
                }
            }
            Self::Many(many) => {
                many.insert(ordinal);
            }
        }
    }

    pub(crate) fn remove(&mut self, ordinal: u32) {
        match self {
            Self::One(one) if *one == ordinal => *self = Self::default(),
            Self::One(_) => {}
            Self::Few(few) => {
                if let Ok(at) = few.binary_search(&ordinal) {
                    few.remove(at);
                }
                if let [one] = few[..] {
                    *self = Self::One(one);
                }
            }
            Self::Many(many) => {
                many.remove(ordinal);
                // Half of the limit, so that a set that goes up and down does not change form each time.
                if many.len() <= MAX_FEW as u64 / 2 {
                    *self = Self::Few(many.iter().collect());
                }
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Few(few) => few.len(),
            Self::Many(many) => many.len() as usize,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Few(few) if few.is_empty())
    }

    pub(crate) fn is_disjoint(&self, other: &RoaringBitmap) -> bool {
        match self {
            Self::One(one) => !other.contains(*one),
            Self::Few(few) => few.iter().all(|ordinal| !other.contains(*ordinal)),
            Self::Many(many) => many.is_disjoint(other),
        }
    }

    pub(crate) fn to_bitmap(&self) -> RoaringBitmap {
        match self {
            Self::One(one) => std::iter::once(*one).collect(),
            Self::Few(few) => few.iter().copied().collect(),
            Self::Many(many) => (**many).clone(),
        }
    }
}

/// Gathers many postings into one bitmap.
pub(crate) enum Union {
    /// A bit an ordinal: quickest where much is to come. The bitmap takes postings too large to copy bit by bit.
    Dense(Vec<u8>, RoaringBitmap),
    /// Ordinals in any order.
    Sparse(Vec<u32>),
}

impl Union {
    /// For about `expected` ordinals, all of them below `end`.
    pub(crate) fn new(expected: usize, end: u32) -> Self {
        let bytes = end as usize / 8 + 1;
        // Zeroing and reading back a byte of the dense form costs about as much as sorting in one ordinal in 32.
        if expected > bytes / 4 {
            Self::Dense(vec![0; bytes], RoaringBitmap::new())
        } else {
            Self::Sparse(Vec::with_capacity(expected))
        }
    }

    pub(crate) fn add(&mut self, postings: &Postings) {
        match (self, postings) {
            (Self::Dense(bits, rest), Postings::Many(many)) => {
                if many.len() as usize > bits.len() {
                    *rest |= &**many;
                } else {
                    many.iter().for_each(|ordinal| set(bits, ordinal));
                }
            }
            (Self::Dense(bits, _), Postings::One(one)) => set(bits, *one),
            (Self::Dense(bits, _), Postings::Few(few)) => few.iter().for_each(|ordinal| set(bits, *ordinal)),
            (Self::Sparse(ordinals), Postings::One(one)) => ordinals.push(*one),
            (Self::Sparse(ordinals), Postings::Few(few)) => ordinals.extend_from_slice(few),
            (Self::Sparse(ordinals), Postings::Many(many)) => ordinals.extend(many.iter()),
        }
    }

    pub(crate) fn finish(self) -> RoaringBitmap {
        match self {
            Self::Dense(bits, rest) => RoaringBitmap::from_lsb0_bytes(0, &bits) | rest,
            Self::Sparse(mut ordinals) => {
                ordinals.sort_unstable();
                ordinals.into_iter().collect()
            }
        }
    }
}

fn set(bits: &mut [u8], ordinal: u32) {
    if let Some(byte) = bits.get_mut(ordinal as usize / 8) {
        *byte |= 1 << (ordinal % 8);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_posting_list_is_three_words() {
        assert_eq!(size_of::<Postings>(), 24);
    }

    proptest! {
        #[test]
        fn postings_are_a_set(steps in proptest::collection::vec((0u8..5, 0u32..2000), 0..1500)) {
            let (mut postings, mut model) = (Postings::default(), BTreeSet::new());
            for (kind, ordinal) in steps {
                if kind == 0 {
                    postings.remove(ordinal);
                    model.remove(&ordinal);
                } else {
                    postings.insert(ordinal);
                    model.insert(ordinal);
                }
            }
            prop_assert_eq!(postings.len(), model.len());
            for ordinal in model.iter().copied().collect::<Vec<_>>() {
                prop_assert!(postings.to_bitmap().contains(ordinal));
                prop_assert!(!postings.is_disjoint(&std::iter::once(ordinal).collect()));
                postings.remove(ordinal);
                model.remove(&ordinal);
                prop_assert!(postings.to_bitmap().iter().eq(model.iter().copied()));
            }
            prop_assert!(postings.is_empty());
        }

        #[test]
        fn a_union_holds_what_its_parts_hold(
            parts in proptest::collection::vec(proptest::collection::btree_set(0u32..3000, 0..600), 0..5),
            expected in 0usize..2000,
        ) {
            let mut union = Union::new(expected, 3000);
            for part in &parts {
                let mut postings = Postings::default();
                part.iter().for_each(|ordinal| postings.insert(*ordinal));
                union.add(&postings);
            }
            let all: BTreeSet<u32> = parts.into_iter().flatten().collect();
            prop_assert!(union.finish().iter().eq(all));
        }
    }
}
