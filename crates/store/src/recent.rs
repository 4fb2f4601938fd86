//! A bounded map that forgets what was not asked for lately.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};

/// Two halves. When the new one is full it takes the place of the old one, whose entries go; an old entry that is
/// asked for moves to the new half. So nothing is kept beside the entries themselves, but the weight of heavy ones.
pub struct Recent<K, V, S = RandomState> {
    new: Half<K, V, S>,
    old: Half<K, V, S>,
    max_weight: usize,
}

struct Half<K, V, S> {
    entries: HashMap<K, V, S>,
    /// Of those whose weight is not 1.
    heavy: HashMap<K, usize, S>,
    weight: usize,
}

impl<K, V, S: Default> Default for Half<K, V, S> {
    fn default() -> Self {
        Self { entries: HashMap::default(), heavy: HashMap::default(), weight: 0 }
    }
}

impl<K: Eq + Hash + Copy, V, S: BuildHasher> Half<K, V, S> {
    fn insert(&mut self, key: K, value: V, weight: usize) {
        if self.entries.insert(key, value).is_some() {
            self.weight -= self.heavy.remove(&key).unwrap_or(1);
        }
        if weight != 1 {
            self.heavy.insert(key, weight);
        }
        self.weight += weight;
    }

    fn remove(&mut self, key: K) -> Option<(V, usize)> {
        let value = self.entries.remove(&key)?;
        let weight = self.heavy.remove(&key).unwrap_or(1);
        self.weight -= weight;
        Some((value, weight))
    }
}

impl<K: Eq + Hash + Copy, V: Clone, S: BuildHasher + Default> Recent<K, V, S> {
    /// Keeps entries of about `max_weight` altogether.
    pub fn new(max_weight: usize) -> Self {
        Self { new: Half::default(), old: Half::default(), max_weight: max_weight / 2 }
    }

    /// What is kept under a key.
    pub fn get(&mut self, key: K) -> Option<V> {
        if let Some(value) = self.new.entries.get(&key) {
            return Some(value.clone());
        }
        let (value, weight) = self.old.remove(key)?;
        self.insert(key, value.clone(), weight);
        Some(value)
    }

    /// Keeps a value that takes so much of the weight.
    pub fn insert(&mut self, key: K, value: V, weight: usize) {
        self.new.insert(key, value, weight);
        // What is kept twice would be counted twice.
        self.old.remove(key);
        if self.new.weight > self.max_weight {
            self.old = std::mem::take(&mut self.new);
        }
    }

    /// Forgets one entry.
    pub fn remove(&mut self, key: K) {
        self.new.remove(key);
        self.old.remove(key);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::new(self.max_weight * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_rest_goes() {
        let mut map: Recent<i32, i32> = Recent::new(10);
        for key in 0..50 {
            map.insert(key, -key, 1);
            assert_eq!(map.get(0), Some(0));
        }
        assert!(map.new.entries.len() + map.old.entries.len() <= 12);
        assert_eq!((map.get(49), map.get(20)), (Some(-49), None));
        // Heavier than all there is room for: held until the next comes.
        map.insert(7, 8, 100);
        assert_eq!(map.get(7), Some(8));
        map.insert(7, 9, 1);
        assert_eq!((map.get(7), map.new.weight, map.old.heavy.len()), (Some(9), 1, 0));
        map.insert(9, 9, 1);
        map.remove(9);
        assert_eq!(map.get(9), None);
        map.clear();
        assert_eq!(map.get(7), None);
    }
}
