//! A bounded map that forgets what was not asked for lately.

use std::collections::HashMap;
use std::hash::Hash;

/// Two generations of entries. When the young one is full it becomes the old one, and what was old goes; an old entry
/// that is asked for becomes young again. Each entry costs no more than a hash map's.
pub(crate) struct Generations<K, V> {
    young: HashMap<K, (V, usize)>,
    old: HashMap<K, (V, usize)>,
    weight: usize,
    /// Of each generation.
    max_weight: usize,
}

impl<K: Eq + Hash + Copy, V: Clone> Generations<K, V> {
    /// Keeps entries of at most `max_weight` altogether.
    pub(crate) fn new(max_weight: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), weight: 0, max_weight: max_weight / 2 }
    }

    pub(crate) fn get(&mut self, key: K) -> Option<&V> {
        if !self.young.contains_key(&key) {
            let (value, weight) = self.old.remove(&key)?;
            self.insert(key, value, weight);
        }
        self.young.get(&key).or_else(|| self.old.get(&key)).map(|(value, _)| value)
    }

    pub(crate) fn insert(&mut self, key: K, value: V, weight: usize) {
        if let Some((_, before)) = self.young.insert(key, (value, weight)) {
            self.weight -= before;
        }
        self.weight += weight;
        if self.weight > self.max_weight {
            self.old = std::mem::take(&mut self.young);
            self.weight = 0;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
        self.weight = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_rest_goes() {
        let mut map = Generations::new(8);
        for key in 0..100 {
            map.insert(key, key, 1);
            assert_eq!(map.get(0), Some(&0));
        }
        assert!(map.young.len() + map.old.len() <= 10);
        assert_eq!(map.get(50), None);
        assert_eq!(map.get(99), Some(&99));
        map.insert(7, 7, 100);
        assert_eq!(map.get(7), Some(&7));
        map.clear();
        assert_eq!(map.get(0), None);
    }
}
