//! The hash of keys and members: 64 bits of XXH3, which never change.

use xxhash_rust::xxh3::xxh3_64;

/// A stable hash of bytes. Data lies where it sent it, so its values are pinned by a test.
pub fn stable_hash(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// The hash of a pair, of which the halves are hashes already.
pub(crate) fn pair(member: u64, key: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&member.to_le_bytes());
    bytes[8..].copy_from_slice(&key.to_le_bytes());
    xxh3_64(&bytes)
}

/// Bits behind the point of [`distance`].
const FRACTION_BITS: u32 = 32;

/// `-log2((hash + 1/2) / 2^64)` in units of `2^-32`, cut off: 0 for the largest hashes, some 65 * 2^32 for the smallest.
///
/// Of hashes that are spread evenly these distances are spread as the waiting times of a Poisson process, which is what
/// makes a member of weight `w` come first for `w` of all weights' share of the keys. In whole numbers, since the logarithm of
/// a platform's library is not the same everywhere.
pub(crate) fn distance(hash: u64) -> u64 {
    // The half: 65 bits, of which the last is set, so that no hash is without a logarithm.
    let odd = (u128::from(hash) << 1) | 1;
    // In front of the point, from 2^64 down: at least 63 zeros stand before any 65 bits.
    let zeros = u64::from(odd.leading_zeros() - 63);
    // The rest as a number from 1 to 2 with 63 bits behind the point.
    let mut mantissa = (odd << odd.leading_zeros()) >> 64;
    let mut log = 0_u64;
    for _ in 0..FRACTION_BITS {
        // Squaring doubles the logarithm; what passes 2 is its next bit.
        mantissa = (mantissa * mantissa) >> 63;
        log <<= 1;
        if mantissa >= 1 << 64 {
            mantissa >>= 1;
            log |= 1;
        }
    }
    ((zeros + 1) << FRACTION_BITS) - log - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, keys have new owners everywhere. Do not change the values.
    #[test]
    fn hashes_are_pinned() {
        let check = |text: &str, expected: u64| {
            assert_eq!(
                stable_hash(text.as_bytes()),
                expected,
                "{text:?}: {:#x}",
                stable_hash(text.as_bytes())
            );
        };
        check("", 0x2d06_8005_38d3_94c2);
        check("node-1", 0x0db0_9edf_d945_8385);
        check("metricsd", 0x5f0b_6e1d_6137_ca02);
        check("a target with a longer id, and é", 0xf8d3_5d59_ac0a_b1cd);
        assert_eq!(pair(1, 2), 0x07ee_86c2_8144_6bef, "{:#x}", pair(1, 2));
        assert_eq!(pair(u64::MAX, 0), 0x28ac_de8c_eeed_5915, "{:#x}", pair(u64::MAX, 0));
    }

    #[test]
    fn distances_are_logarithms() {
        for hash in
            [0, 1, 2, 3, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 63) + 1, u64::MAX - 1, u64::MAX]
        {
            let exact = 64.0 - (hash as f64 + 0.5).log2();
            let ours = distance(hash) as f64 / f64::from(1 << 16) / f64::from(1 << 16);
            assert!((ours - exact).abs() < 1e-8, "{hash:#x}: {ours} and {exact}");
        }
        let mut state = 1_u64;
        for _ in 0..10_000 {
            state = pair(state, 7);
            let exact = 64.0 - (state as f64).log2();
            let ours = distance(state) as f64 / f64::from(1 << 16) / f64::from(1 << 16);
            assert!((ours - exact).abs() < 1e-8, "{state:#x}: {ours} and {exact}");
        }
    }
}
