//! Where buckets begin and end.
//!
//! A positive bucket of index `i` ends at 2^(i·2^-schema) and begins where the one before it ends. The bounds must be
//! those of the clients that filled the buckets, to the last bit, or equal bounds would compare as different; the
//! tables below are therefore built from the factors between neighbouring bounds as those clients round them.

use std::sync::LazyLock;

use metricsd_model::histogram::validate::{CUSTOM_SCHEMA, MAX_SCHEMA};

/// Bit patterns of 2^(2^-schema) for the schemas 1 to 8, rounded as the clients round them.
const FACTORS: [u64; 8] = [
    0x3ff6_a09e_667f_3bcc,
    0x3ff3_06fe_0a31_b715,
    0x3ff1_72b8_3c7d_517b,
    0x3ff0_b558_6cf9_890f,
    0x3ff0_59b0_d315_8574,
    0x3ff0_2c9a_3e77_8061,
    0x3ff0_163d_a9fb_3335,
    0x3ff0_0b1a_fa5a_bcbf,
];

/// For each schema from 0 on the bounds in [0.5, 1): those of even positions are those of the schema before, each
/// other one is the bound before it times the factor.
static FRACTIONS: LazyLock<Vec<Vec<f64>>> = LazyLock::new(|| {
    let mut tables: Vec<Vec<f64>> = vec![vec![0.5]];
    for bits in FACTORS {
        let coarse = tables.last().map(Vec::as_slice).unwrap_or_default();
        let factor = f64::from_bits(bits);
        let table = coarse.iter().flat_map(|bound| [*bound, *bound * factor]).collect();
        tables.push(table);
    }
    tables
});

/// The upper bound of a bucket on the positive side; the absolute lower bound on the negative side.
///
/// With custom buckets the bound is taken from `custom_values`; the bucket behind the last bound ends at +Inf.
pub fn bound(index: i32, schema: i32, custom_values: &[f64]) -> f64 {
    if schema == CUSTOM_SCHEMA {
        custom_bound(index, custom_values)
    } else {
        exponential_bound(index, schema)
    }
}

fn custom_bound(index: i32, custom_values: &[f64]) -> f64 {
    match usize::try_from(index) {
        Ok(index) => custom_values.get(index).copied().unwrap_or(f64::INFINITY),
        Err(_) => f64::NEG_INFINITY,
    }
}

/// 2^(index·2^-schema). The bucket in which the largest finite float lies ends there, so that the one after it is
/// left for infinite observations.
fn exponential_bound(index: i32, schema: i32) -> f64 {
    let index = i64::from(index);
    if schema < 0 {
        let shift = schema.unsigned_abs().min(31);
        let exponent = index << shift;
        return if exponent == 1024 { f64::MAX } else { scaled(0.5, exponent + 1) };
    }
    // Finer resolutions do not get here but from malformed input; the nearest coarser bucket will do.
    let index = index >> (schema.max(MAX_SCHEMA) - MAX_SCHEMA).min(63);
    let schema = schema.min(MAX_SCHEMA);
    let position = usize::try_from(index & ((1 << schema) - 1)).unwrap_or(0);
    let table = usize::try_from(schema).ok().and_then(|schema| FRACTIONS.get(schema));
    let fraction = table.and_then(|table| table.get(position)).copied().unwrap_or(0.5);
    let exponent = (index >> schema) + 1;
    if fraction == 0.5 && exponent == 1025 { f64::MAX } else { scaled(fraction, exponent) }
}

/// `fraction`·2^`exponent` for a fraction in [0.5, 1), rounded once.
fn scaled(fraction: f64, exponent: i64) -> f64 {
    match exponent {
        ..-1100 => 0.0,
        -1100..-1021 => fraction * power(exponent + 100) * power(-100),
        -1021..=1023 => fraction * power(exponent),
        1024 => fraction * 2.0 * power(1023),
        _ => f64::INFINITY,
    }
}

/// 2^`exponent` for exponents of normal floats.
fn power(exponent: i64) -> f64 {
    f64::from_bits(u64::try_from(exponent + 1023).unwrap_or(0) << 52)
}
