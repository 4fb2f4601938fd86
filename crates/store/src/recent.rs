//! A bounded map that forgets what was not asked for lately.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};

/// Two halves. When the new one is full it takes the place of the old one, whose entries go; an old entry that is
/// asked for moves to the new half. So nothing is kept beside the entries themselves.
pub struct Recent<K, V, S = RandomState> {
    new: HashMap<K, Entry<V>, S>,
    old: HashMap<K, Entry<V>, S>,
    weight: usize,
    max_weight: usize,
}

struct Entry<V> {
    value: V,
    weight: usize,
}

impl<K: Eq + Hash + Copy, V: Clone, S: BuildHasher + Default> Recent<K, V, S> {
    /// Keeps entries of about `max_weight` altogether.
    pub fn new(max_weight: usize) -> Self {
        Self { new: HashMap::default(), old: HashMap::default(), weight: 0, max_weight: max_weight / 2 }
    }

    /// What is kept under a key.
    pub fn get(&mut self, key: K) -> Option<V> {
        if let Some(entry) = self.new.get(&key) {
            return Some(entry.value.clone());
        }
        let entry = self.old.remove(&key)?;
        let value = entry.value.clone();
        self.insert(key, entry.value, entry.weight);
        Some(value)
    }

    /// Keeps a value that takes so much of the weight.
    pub fn insert(&mut self, key: K, value: V, weight: usize) {
        let before = self.new.insert(key, Entry { value, weight });
        self.weight += weight;
        self.weight -= before.map_or(0, |entry| entry.weight);
        if self.weight > self.max_weight {
            self.old = std::mem::take(&mut self.new);
            self.weight = 0;
        }
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
        assert!(map.new.len() + map.old.len() <= 12);
        assert_eq!((map.get(49), map.get(20)), (Some(-49), None));
        // Heavier than all there is room for: held until the next comes.
        map.insert(7, 8, 100);
        assert_eq!(map.get(7), Some(8));
        map.clear();
        assert_eq!(map.get(7), None);
    }
}
