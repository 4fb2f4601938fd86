//! Which shard a batch goes to.

use metricsd_model::{Batch, Collection};
use metricsd_ports::{ErrorKind, PortError};
use metricsd_sharding::{Member, Ring};

/// Shards of one store.
pub const MAX_SHARDS: usize = 64;

/// Which of several shards each target's data goes to. Shards are known by their place in the list, so that a database
/// may move to another host; a list grows at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    ring: Ring,
}

impl Placement {
    /// The placement over so many shards, at least one and at most [`MAX_SHARDS`], all of one weight.
    pub fn new(shards: usize) -> Result<Self, PortError> {
        if shards > MAX_SHARDS {
            let message = format!("expected at most {MAX_SHARDS} shards, not {shards}");
            return Err(PortError::new(ErrorKind::Invalid, message));
        }
        // Ids in whose order places of the ring are places of the list.
        let ring = Ring::new((1..=shards).map(|number| Member::new(format!("{number:04}"))));
        match ring {
            Ok(ring) => Ok(Self { ring }),
            Err(error) => {
                Err(PortError::new(ErrorKind::Invalid, "expected at least one shard").caused_by(error))
            }
        }
    }

    /// The shard, counted from 0, of what was collected of a target; of pushes without one, of its source.
    pub fn of(&self, target_id: &str, source_id: &str) -> usize {
        let key = if target_id.is_empty() { source_id } else { target_id };
        self.ring.owner_place(key.as_bytes())
    }

    /// The same of a batch.
    pub fn of_batch(&self, batch: &Batch) -> usize {
        let Collection { target_id, source_id, .. } = &batch.collection;
        self.of(target_id, source_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, targets change their shards on an upgrade. Do not change the values.
    #[test]
    fn shards_are_pinned() {
        let check = |shards: usize, expected: &str| {
            let placement = Placement::new(shards).unwrap();
            let places = (0..24).map(|n| char::from(b'a' + placement.of(&format!("target-{n}"), "") as u8));
            assert_eq!(places.collect::<String>(), expected);
        };
        check(1, "aaaaaaaaaaaaaaaaaaaaaaaa");
        check(2, "ababbababbbaaabaaabbbbaa");
        check(3, "acaccccccbccaccaccbbbbac");
        check(12, "lkgjccfkhfhiieiicllhbdlk");
        let two = Placement::new(2).unwrap();
        assert!(
            (0..24).all(|n| two.of("", &format!("target-{n}")) == two.of(&format!("target-{n}"), "source"))
        );
    }

    #[test]
    fn lists_that_are_too_short_or_too_long_are_refused() {
        assert_eq!(Placement::new(0).unwrap_err().kind(), ErrorKind::Invalid);
        assert!(Placement::new(MAX_SHARDS).is_ok());
        assert_eq!(Placement::new(MAX_SHARDS + 1).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
