//! Units write series that did not change each in rows of their own. Where an hour had many units, whoever looks for a series
//! would find many rows with its key: they are laid together once the hour is done.

use std::collections::{BTreeMap, BTreeSet};

use metricsd_model::Millis;
use metricsd_store::compact::Bucket;
use sqlx::{Connection, PgConnection};

use super::constants::{self, Constant, bits_for, key_of, of_row};
use super::write::note_spans;
use crate::binary::required;
use crate::copy::bound;
use crate::error::Fault;

/// Rows with one key that may stay.
const ROWS_A_KEY: i64 = 8;

/// Series of a row, on average, below which there are too many rows, and how many of those may stay.
const FEW_SERIES: i64 = 16;
const FEW_ROWS: i64 = 64;

/// Rows are taken by the first bits of their keys, so that a transaction holds a part of them.
const PART_BITS: u32 = 6;

/// What stands in an hour by one key.
struct Key {
    key: i32,
    rows: i64,
    series: i64,
}

/// Lays the rows of an hour together, where there are too many of them. Each part in a transaction of its own: what is given
/// up half-way leaves the others as they were.
pub(super) async fn together(connection: &mut PgConnection, hour: Millis) -> Result<(), Fault> {
    let keys = keys(connection, hour).await?;
    let series: i64 = keys.iter().map(|key| key.series).sum();
    if !are_scattered(&keys, series) {
        return Ok(());
    }
    let bits = bits_for(usize::try_from(series).unwrap_or(0));
    for part in parts(&keys, bits.min(PART_BITS)).into_values() {
        lay(connection, hour, &part, bits).await?;
    }
    Ok(())
}

async fn keys(connection: &mut PgConnection, hour: Millis) -> Result<Vec<Key>, Fault> {
    let query = sqlx::query(include_str!("../sql/constant_keys.sql")).bind(bound(hour));
    let rows = query.fetch_all(connection).await?;
    let key = |row| {
        Ok(Key {
            key: i32::from_be_bytes(required(row, 0)?),
            rows: i64::from_be_bytes(required(row, 1)?),
            series: i64::from_be_bytes(required(row, 2)?),
        })
    };
    rows.iter().map(key).collect()
}

fn are_scattered(keys: &[Key], series: i64) -> bool {
    let rows: i64 = keys.iter().map(|key| key.rows).sum();
    keys.iter().any(|key| key.rows > ROWS_A_KEY) || rows > FEW_ROWS + series / FEW_SERIES
}

/// Keys by their first bits; those that have fewer come together.
fn parts(keys: &[Key], bits: u32) -> BTreeMap<i32, Vec<i32>> {
    let mut parts: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for Key { key, .. } in keys {
        let more = key.checked_ilog2().unwrap_or(0).checked_sub(bits);
        parts.entry(more.map_or(0, |more| key >> more)).or_default().push(*key);
    }
    parts
}

/// Writes the rows with these keys anew.
async fn lay(connection: &mut PgConnection, hour: Millis, keys: &[i32], bits: u32) -> Result<(), Fault> {
    let mut tx = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
    let mut all: Vec<Constant> = Vec::new();
    let query = sqlx::query(include_str!("../sql/constants_of_keys.sql")).bind(keys).bind(bound(hour));
    for row in &query.fetch_all(&mut *tx).await? {
        all.extend(of_row(row)?);
    }
    // Before the rows, as retention does it, which takes series out of them.
    let spans: BTreeSet<_> = all.iter().map(|constant| (constant.origin, Bucket::Hour(hour))).collect();
    note_spans(&mut tx, &spans).await?;
    let query = sqlx::query("DELETE FROM segments_constant WHERE key = ANY ($1) AND time = $2");
    query.bind(keys).bind(bound(hour)).execute(&mut *tx).await?;
    let placed = all.into_iter().map(|constant| (key_of(constant.series, bits), constant)).collect();
    constants::write(&mut tx, hour, placed).await?;
    tx.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(key: i32, rows: i64, series: i64) -> Key {
        Key { key, rows, series }
    }

    #[test]
    fn rows_are_too_many_by_key_or_for_what_they_hold() {
        let even: Vec<Key> = (64..128).map(|key| of(key, 8, 600)).collect();
        assert!(!are_scattered(&even, 64 * 600));
        assert!(are_scattered(&[of(1, 9, 500)], 500));
        let poor: Vec<Key> = (128..256).map(|key| of(key, 1, 3)).collect();
        assert!(are_scattered(&poor, 3 * 128));
    }

    #[test]
    fn parts_hold_all_keys_that_begin_alike() {
        let keys = [1, 0b101, 0b11, 0b1010, 0b1100, 0b10111].map(|key| of(key, 1, 1));
        let parts = parts(&keys, 2);
        let found: Vec<_> = parts.into_iter().collect();
        assert_eq!(found, [(0, vec![1, 0b11]), (0b101, vec![0b101, 0b1010, 0b10111]), (0b110, vec![0b1100])]);
    }
}
