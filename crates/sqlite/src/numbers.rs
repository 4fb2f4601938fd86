//! Series and layouts are named by small numbers wherever the file names them again: ids are hashes, which nothing packs.
//! Numbers are given in order of arrival and never again.

use std::collections::HashMap;

use metricsd_codec::pack::MAX_VALUES;
use metricsd_model::{LayoutId, SeriesId};
use metricsd_ports::PortError;
use metricsd_store::Recent;
use metricsd_store::ids::IdState;
use metricsd_store::owners::Removal;
use parking_lot::Mutex;
use sqlx::{Row, SqliteConnection};

use crate::columns::id_list;
use crate::error::{Fault, damaged};

/// Ids that one statement looks up.
const ASKED: usize = 10_000;

/// Layouts whose numbers are remembered.
const KNOWN_LAYOUTS: usize = 100_000;

/// Series of one block in `layout_blocks`.
const BLOCK: i64 = 16;

/// What begins a packed list.
const DELTAS: u8 = 5;

/// Packs a list of numbers: the difference of each to the one before, as neighbours mostly follow each other.
pub(crate) fn pack(numbers: &[i64]) -> Vec<u8> {
    let mut blob = Vec::with_capacity(numbers.len() + 8);
    blob.push(DELTAS);
    let mut before = 0i64;
    for number in numbers {
        let difference = number.wrapping_sub(before);
        let mut coded = ((difference << 1) ^ (difference >> 63)).cast_unsigned();
        while coded >= 0x80 {
            blob.push(coded as u8 | 0x80);
            coded >>= 7;
        }
        blob.push(coded as u8);
        before = *number;
    }
    blob
}

/// Reads [`pack`] back.
pub(crate) fn unpack(blob: &[u8]) -> Result<Vec<i64>, PortError> {
    let wrong = || damaged("damaged list of series in the database");
    let Some((&DELTAS, bytes)) = blob.split_first() else { return Err(wrong()) };
    let mut numbers = Vec::with_capacity(bytes.len().min(MAX_VALUES));
    let (mut before, mut coded, mut shift) = (0i64, 0u64, 0u32);
    for byte in bytes {
        if shift > 63 {
            return Err(wrong());
        }
        coded |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            if numbers.len() == MAX_VALUES {
                return Err(wrong());
            }
            before = before.wrapping_add((coded >> 1).cast_signed() ^ -((coded & 1).cast_signed()));
            numbers.push(before);
            (coded, shift) = (0, 0);
        }
    }
    if shift == 0 { Ok(numbers) } else { Err(wrong()) }
}

/// The blocks that series lie in, each once, ascending.
pub(crate) fn blocks(series: impl Iterator<Item = i64>) -> Vec<i64> {
    let mut blocks: Vec<i64> = series.map(|number| number.div_euclid(BLOCK)).collect();
    blocks.sort_unstable();
    blocks.dedup();
    blocks
}

/// Numbers that are known to be committed. Bounded.
pub(crate) struct Numbers {
    series: Recent<SeriesId, i64, IdState>,
    layouts: Recent<LayoutId, i64, IdState>,
}

impl Numbers {
    pub(crate) fn new(max_series: usize) -> Self {
        Self { series: Recent::new(max_series), layouts: Recent::new(KNOWN_LAYOUTS) }
    }

    /// Forgets what was removed after the removal `known`; see [`metricsd_store::owners::Known::forget`].
    pub(crate) fn forget(&mut self, removals: &[Removal], last: i64, known: i64) {
        if removals.first().map_or(last, |first| first.number - 1) > known {
            self.clear();
        }
        for removal in removals {
            match removal.layout {
                true => self.layouts.remove(LayoutId(removal.id.cast_unsigned())),
                false => self.series.remove(SeriesId::from_i64(removal.id)),
            }
        }
    }

    /// Forgets everything, so that all is looked up again.
    pub(crate) fn clear(&mut self) {
        self.series.clear();
        self.layouts.clear();
    }
}

/// The numbers that one transaction needs: known before, looked up, or given by itself.
pub(crate) struct Numbering<'n> {
    known: &'n Mutex<Numbers>,
    series: HashMap<SeriesId, i64, IdState>,
    layouts: HashMap<LayoutId, i64, IdState>,
    /// Series that are likely to be asked for again.
    kept: Vec<(SeriesId, i64)>,
}

impl<'n> Numbering<'n> {
    pub(crate) fn new(known: &'n Mutex<Numbers>) -> Self {
        Self { known, series: HashMap::default(), layouts: HashMap::default(), kept: Vec::new() }
    }

    /// A series was found or written under this number.
    pub(crate) fn series_is(&mut self, id: SeriesId, number: i64) {
        self.series.insert(id, number);
    }

    /// The same of a layout.
    pub(crate) fn layout_is(&mut self, id: LayoutId, number: i64) {
        self.layouts.insert(id, number);
    }

    /// The number of a series that this transaction has written or looked up.
    pub(crate) fn noted(&self, id: SeriesId) -> Option<i64> {
        self.series.get(&id).copied()
    }

    /// The numbers of series that are stored, in their order.
    pub(crate) async fn of_series(
        &mut self,
        tx: &mut SqliteConnection,
        ids: &[SeriesId],
    ) -> Result<Vec<i64>, Fault> {
        let mut numbers: Vec<Option<i64>> = {
            let mut known = self.known.lock();
            ids.iter().map(|id| self.noted(*id).or_else(|| known.series.get(*id))).collect()
        };
        let missing = ids.iter().zip(&numbers).filter(|(_, number)| number.is_none());
        let missing: Vec<SeriesId> = missing.map(|(id, _)| *id).collect();
        if !missing.is_empty() {
            self.series.extend(stored(tx, &missing).await?);
            for (number, id) in numbers.iter_mut().zip(ids) {
                *number = number.or_else(|| self.noted(*id));
            }
        }
        let numbers: Option<Vec<i64>> = numbers.into_iter().collect();
        numbers.ok_or_else(|| damaged("a series is not stored").into())
    }

    /// The same of a list that travels in its frame: the next frame will have most of them again. Those of layouts that are
    /// stored are not asked for again, so that nothing of them is remembered.
    pub(crate) async fn of_inline(
        &mut self,
        tx: &mut SqliteConnection,
        ids: &[SeriesId],
    ) -> Result<Vec<i64>, Fault> {
        let numbers = self.of_series(tx, ids).await?;
        let all = ids.iter().zip(&numbers).filter(|(id, _)| self.series.contains_key(*id));
        self.kept.extend(all.map(|(id, number)| (*id, *number)));
        Ok(numbers)
    }

    /// The number of a layout that is stored.
    pub(crate) async fn of_layout(&mut self, tx: &mut SqliteConnection, id: LayoutId) -> Result<i64, Fault> {
        let noted = self.layouts.get(&id).copied().or_else(|| self.known.lock().layouts.get(id));
        if let Some(number) = noted {
            return Ok(number);
        }
        let row = sqlx::query("SELECT number FROM layouts WHERE id = ?1").bind(id.0.cast_signed());
        let row = row.fetch_optional(tx).await?.ok_or_else(|| damaged("a layout is not stored"))?;
        let number = row.try_get(0)?;
        self.layouts.insert(id, number);
        Ok(number)
    }

    /// To be called after the commit, not before.
    pub(crate) fn remember(self) {
        let mut known = self.known.lock();
        for (id, number) in self.kept {
            known.series.insert(id, number, 1);
        }
        for (id, number) in self.layouts {
            known.layouts.insert(id, number, 1);
        }
    }
}

/// The numbers of those of the ids that belong to a series.
pub(crate) async fn stored(
    connection: &mut SqliteConnection,
    ids: &[SeriesId],
) -> Result<Vec<(SeriesId, i64)>, Fault> {
    let mut found = Vec::with_capacity(ids.len());
    for part in ids.chunks(ASKED) {
        let rows = sqlx::query(
            "SELECT s.id, s.seq FROM json_each(?1) AS wanted
            CROSS JOIN series_ids i ON i.half = wanted.value >> 32
            CROSS JOIN series_rows s ON s.seq = i.seq AND s.id = wanted.value",
        )
        .bind(id_list(part.iter().map(|id| id.to_i64())))
        .fetch_all(&mut *connection)
        .await?;
        for row in &rows {
            found.push((SeriesId::from_i64(row.try_get(0)?), row.try_get(1)?));
        }
    }
    Ok(found)
}

/// The next `count` numbers, which are this transaction's from now on; answers the first. Writers come one after another, so
/// that no number is ever given below one that a reader has seen.
pub(crate) async fn give(tx: &mut SqliteConnection, count: usize) -> Result<i64, Fault> {
    let count = crate::columns::signed_len(count);
    let row = sqlx::query("UPDATE last_added SET number = number + ?1 RETURNING number").bind(count);
    Ok(row.fetch_one(tx).await?.try_get::<i64, _>(0)? - count + 1)
}

/// Writes a layout unless its id is taken; answers its number where it was written.
pub(crate) async fn insert_layout(
    tx: &mut SqliteConnection,
    id: i64,
    series: &[i64],
) -> Result<Option<i64>, Fault> {
    let sql = "INSERT INTO layouts (id, series) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING RETURNING number";
    let row = sqlx::query(sql).bind(id).bind(pack(series)).fetch_optional(&mut *tx).await?;
    let Some(row) = row else { return Ok(None) };
    let number: i64 = row.try_get(0)?;
    sqlx::query("INSERT INTO layout_blocks (block, layout) SELECT value, ?2 FROM json_each(?1)")
        .bind(id_list(blocks(series.iter().copied())))
        .bind(number)
        .execute(tx)
        .await?;
    Ok(Some(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_back() {
        for list in [&[][..], &[1, 2, 3, 4], &[500, 3, 3, 70_000, 1], &[i64::MAX, i64::MIN, 0, -1]] {
            assert_eq!(unpack(&pack(list)).unwrap(), list);
        }
        let run: Vec<i64> = (7_000_000..7_000_500).collect();
        assert!(pack(&run).len() < 510);
        for damage in [
            &[][..],
            &[0, 1],
            &[DELTAS, 0x80],
            &[DELTAS, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        ] {
            assert!(unpack(damage).is_err(), "{damage:?}");
        }
    }

    #[test]
    fn blocks_are_named_once() {
        assert_eq!(blocks([33, 0, 15, 16, 32, 1].into_iter()), [0, 1, 2]);
    }

    #[test]
    fn what_was_removed_is_forgotten_and_everything_where_not_all_is_told() {
        let known = Mutex::new(Numbers::new(100));
        let mut numbering = Numbering::new(&known);
        for id in 1..4 {
            numbering.kept.push((SeriesId(id), 10 + id as i64));
            numbering.layout_is(LayoutId(id), 20 + id as i64);
        }
        numbering.remember();
        let removal = |number, layout, id| Removal { number, layout, id };
        let left = || {
            let mut known = known.lock();
            let series: Vec<_> = (1..4).filter_map(|id| known.series.get(SeriesId(id))).collect();
            let layouts: Vec<_> = (1..4).filter_map(|id| known.layouts.get(LayoutId(id))).collect();
            (series, layouts)
        };
        known.lock().forget(&[removal(5, true, 1), removal(6, false, 2)], 6, 4);
        assert_eq!(left(), (vec![11, 13], vec![22, 23]));
        known.lock().forget(&[], 6, 6);
        assert_eq!(left(), (vec![11, 13], vec![22, 23]));
        known.lock().forget(&[removal(9, true, 9)], 9, 6);
        assert_eq!(left(), (vec![], vec![]));
    }
}
