//! Texts that many series share: help, units, sources. Each is held once.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;

/// Texts that are remembered; who has more says something else of each series.
const MAX_TEXTS: usize = 4_096;

/// Texts that came before.
#[derive(Debug, Default)]
pub struct Texts(Mutex<HashSet<Arc<str>>>);

impl Texts {
    /// The text as others have it.
    pub fn share(&self, text: &str) -> Arc<str> {
        let mut known = self.0.lock();
        if let Some(shared) = known.get(text) {
            return shared.clone();
        }
        if known.len() >= MAX_TEXTS {
            known.clear();
        }
        let shared: Arc<str> = text.into();
        known.insert(shared.clone());
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_held_once_and_of_too_many_none() {
        let texts = Texts::default();
        assert!(Arc::ptr_eq(&texts.share("a"), &texts.share("a")));
        for number in 0..2 * MAX_TEXTS {
            assert_eq!(&*texts.share(&number.to_string()), number.to_string());
        }
        assert!(texts.0.lock().len() <= MAX_TEXTS);
    }
}
