//! How small a database makes an array, without asking it.

/// What lz4 refers to as having come before is at least this long.
const MATCH: usize = 4;

/// No match begins in so many bytes at the end,
const TAIL: usize = 12;

/// and none reaches into these.
const LAST: usize = 5;

/// How far back lz4 looks.
const WINDOW: usize = 65_535;

/// The smallest numbers of bytes that tokens of lz4 do not hold themselves.
const LONG: usize = 15;

/// Slots of the table of what came before.
const SLOTS: usize = 1 << 12;

/// Bytes that lz4 makes of these, as near as one pass over them tells; never more than there are.
///
/// It chooses between forms of the same numbers, so that being off by a few bytes costs these few bytes.
pub(super) fn squeezed(bytes: &[u8]) -> usize {
    let mut before = [0u32; SLOTS];
    let (mut at, mut anchor, mut written) = (0, 0, 0);
    let mut tries = 1usize << 6;
    while let Some(word) = word(bytes, at) {
        let slot = (word.wrapping_mul(2_654_435_761) >> 20) as usize % SLOTS;
        let seen = before.get_mut(slot).map_or(0, |seen| std::mem::replace(seen, at as u32 + 1));
        let earlier = (seen as usize).checked_sub(1).filter(|earlier| at - earlier <= WINDOW);
        let Some(length) = earlier.and_then(|earlier| matching(bytes, earlier, at)) else {
            // What does not repeat is passed over faster and faster.
            at += tries >> 6;
            tries += 1;
            continue;
        };
        written += sequence(at - anchor) + 2 + beyond(length - MATCH);
        at += length;
        anchor = at;
        tries = 1 << 6;
    }
    (written + sequence(bytes.len() - anchor)).min(bytes.len())
}

/// Four bytes, where a match may begin.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk::<MATCH>()?;
    (at + TAIL <= bytes.len()).then_some(u32::from_le_bytes(*word))
}

/// How many bytes are the same at both places; `None` where they are too few.
fn matching(bytes: &[u8], earlier: usize, at: usize) -> Option<usize> {
    let (earlier, later) = (bytes.get(earlier..)?, bytes.get(at..bytes.len().checked_sub(LAST)?)?);
    let length = earlier.iter().zip(later).take_while(|(one, other)| one == other).count();
    (length >= MATCH).then_some(length)
}

/// Bytes of a token and the literals after it.
fn sequence(literals: usize) -> usize {
    1 + beyond(literals) + literals
}

/// Bytes that say how much a length is above what its token holds.
fn beyond(length: usize) -> usize {
    length.checked_sub(LONG).map_or(0, |above| above / 255 + 1)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_repeats_nearly_vanishes() {
        assert_eq!(squeezed(&[]), 0);
        assert_eq!(squeezed(&[7; 12]), 12, "too short to begin with");
        assert!(squeezed(&[7; 1_000]) < 20);
        let steps: Vec<u8> = (0..240u32).flat_map(|n| (n / 20 * 70_000).to_le_bytes()).collect();
        assert!((60..160).contains(&squeezed(&steps)), "{}", squeezed(&steps));
    }

    #[test]
    fn noise_stays_as_it_is() {
        let mut state = 1u64;
        let noise: Vec<u8> = (0..960)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state as u8
            })
            .collect();
        assert!(squeezed(&noise) > 950, "{}", squeezed(&noise));
    }

    proptest! {
        #[test]
        fn never_more_than_there_is(bytes in vec(0u8..4, 0..600)) {
            prop_assert!(squeezed(&bytes) <= bytes.len());
        }
    }
}
