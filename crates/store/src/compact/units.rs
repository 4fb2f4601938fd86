//! Which targets must be compacted together: of two samples of a series at one time the first that was committed
//! counts, whichever target it came from, and a segment no longer knows when that was.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};

use crate::ids::IdState;

/// Groups of targets, or of other sources of frames such as layouts, that share series, directly or through others.
#[derive(Debug)]
pub struct Units<K = String> {
    targets: BTreeMap<K, usize>,
    parents: Vec<usize>,
    /// Samples of each target.
    samples: Vec<u64>,
    owners: HashMap<i64, usize, IdState>,
}

impl<K> Default for Units<K> {
    fn default() -> Self {
        Self {
            targets: BTreeMap::new(),
            parents: Vec::new(),
            samples: Vec::new(),
            owners: HashMap::default(),
        }
    }
}

impl<K: Ord> Units<K> {
    /// Notes that frames of a target hold these series, and so many samples.
    pub fn note<Q>(&mut self, target: &Q, samples: u64, series: impl IntoIterator<Item = i64>)
    where
        K: Borrow<Q>,
        Q: ?Sized + Ord + ToOwned<Owned = K>,
    {
        let target = match self.targets.get(target) {
            Some(target) => *target,
            None => {
                self.targets.insert(target.to_owned(), self.parents.len());
                self.parents.push(self.parents.len());
                self.samples.push(0);
                self.parents.len() - 1
            }
        };
        self.samples[target] += samples;
        for id in series {
            let owner = *self.owners.entry(id).or_insert(target);
            if owner != target {
                self.join(owner, target);
            }
        }
    }

    fn root(&mut self, mut target: usize) -> usize {
        while self.parents[target] != target {
            self.parents[target] = self.parents[self.parents[target]];
            target = self.parents[target];
        }
        target
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.parents[a.max(b)] = a.min(b);
    }

    /// The groups, each with its targets and their samples; small groups are put together up to `max_samples`.
    pub fn finish(mut self, max_samples: u64) -> Vec<(Vec<K>, u64)> {
        let mut groups: BTreeMap<usize, (Vec<K>, u64)> = BTreeMap::new();
        for (name, target) in std::mem::take(&mut self.targets) {
            let root = self.root(target);
            let group = groups.entry(root).or_insert_with(|| (Vec::new(), 0));
            group.0.push(name);
            group.1 += self.samples[target];
        }
        let mut units: Vec<(Vec<K>, u64)> = Vec::new();
        for (targets, samples) in groups.into_values() {
            match units.last_mut() {
                Some((names, total)) if *total + samples <= max_samples => {
                    names.extend(targets);
                    *total += samples;
                }
                _ => units.push((targets, samples)),
            }
        }
        units
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_that_share_series_stay_together() {
        let mut units = Units::<String>::default();
        units.note("a", 10, [1, 2]);
        units.note("b", 10, [3]);
        units.note("c", 10, [4, 5]);
        units.note("d", 10, [5, 2]);
        units.note("b", 5, [3]);
        let found = units.finish(20);
        let of = |name: &str| found.iter().position(|(names, _)| names.iter().any(|n| n == name)).unwrap();
        assert_eq!(of("a"), of("c"));
        assert_eq!(of("a"), of("d"));
        assert_ne!(of("a"), of("b"));
        assert_eq!(found[of("a")].1, 30);
        assert_eq!(found[of("b")].1, 15);
    }

    #[test]
    fn small_targets_are_put_together() {
        let mut units = Units::<i64>::default();
        (0..10).for_each(|n| units.note(&n, 3, [n]));
        let sizes: Vec<u64> = units.finish(10).into_iter().map(|(_, samples)| samples).collect();
        assert_eq!(sizes, [9, 9, 9, 3]);
    }
}
