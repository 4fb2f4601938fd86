//! When series began, as far as this process was told: senders say it with every sample, and it is stored once.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use metricsd_codec::remote_write2::Start;
use metricsd_model::Millis;
use parking_lot::{RwLock, RwLockReadGuard};

/// Series of which it is remembered, in some 20 bytes each. What is forgotten is stored once more, as the same sample.
const MAX_KNOWN: usize = 2_000_000;

/// After so many questions whoever waits to note something may do so.
const TURN: usize = 64;

/// How long it is waited for those who ask. What could not be noted is forgotten.
const PATIENCE: Duration = Duration::from_millis(1);

#[derive(Default)]
pub(crate) struct KnownStarts {
    hasher: RandomState,
    known: RwLock<Halves>,
}

/// When the newer is full it takes the place of the older.
#[derive(Default)]
struct Halves {
    newer: HashMap<u64, Millis>,
    older: HashMap<u64, Millis>,
}

/// Looks up what one source said.
pub(super) struct Reader<'a> {
    hasher: &'a RandomState,
    source_id: &'a str,
    known: RwLockReadGuard<'a, Halves>,
    /// What the same request said before.
    said: HashMap<u64, Millis>,
    asked: usize,
}

impl Reader<'_> {
    /// Whether a series began at a time that is later than what is known of it.
    pub(super) fn is_news(&mut self, labels: &[u8], start: Millis) -> bool {
        self.asked += 1;
        if self.asked.is_multiple_of(TURN) {
            RwLockReadGuard::bump(&mut self.known);
        }
        let key = self.hasher.hash_one((self.source_id, labels));
        let said = self.said.get(&key).or_else(|| self.known.newer.get(&key));
        let news = said.or_else(|| self.known.older.get(&key)).is_none_or(|known| start > *known);
        if news {
            self.said.insert(key, start);
        }
        news
    }
}

impl KnownStarts {
    pub(super) fn reader<'a>(&'a self, source_id: &'a str) -> Reader<'a> {
        Reader { hasher: &self.hasher, source_id, known: self.known.read(), said: HashMap::new(), asked: 0 }
    }

    /// Remembers what is stored, unless others ask for long: whoever reads a large request holds up nobody.
    pub(super) fn note(&self, source_id: &str, starts: &[Start]) {
        let Some(mut known) = self.known.try_write_for(PATIENCE) else { return };
        for start in starts {
            if known.newer.len() >= MAX_KNOWN / 2 {
                known.older = std::mem::take(&mut known.newer);
            }
            let key = self.hasher.hash_one((source_id, start.labels.as_slice()));
            let at = known.newer.entry(key).or_insert(start.at);
            *at = start.at.max(*at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_long_holds_up_nobody() {
        let known = std::sync::Arc::new(KnownStarts::default());
        let mut reader = known.reader("a");
        let (told, tell) = std::sync::mpsc::sync_channel(1);
        let other = known.clone();
        std::thread::spawn(move || {
            other.note("a", &[Start { labels: b"labels".to_vec(), at: 5 }]);
            told.send(other.reader("a").is_news(b"labels", 5)).unwrap();
        });
        assert_eq!(tell.recv_timeout(Duration::from_secs(20)), Ok(true));
        assert!(reader.is_news(b"labels", 5));
    }

    #[test]
    fn a_beginning_is_news_once_for_each_source() {
        let known = KnownStarts::default();
        let news = |source: &str, at| known.reader(source).is_news(b"labels", at);
        assert!(news("a", 5));
        known.note("a", &[Start { labels: b"labels".to_vec(), at: 5 }]);
        assert!(!news("a", 5) && !news("a", 4) && news("a", 6) && news("b", 5));
        let mut reader = known.reader("a");
        assert!(reader.is_news(b"other", 5) && !reader.is_news(b"other", 5));
    }
}
