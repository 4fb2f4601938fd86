//! Layouts: a list of series that comes again is written once and named by its id from then on.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use metricsd_codec::pack::{pack_ids, unpack_ids};
use metricsd_model::{Layout, LayoutId, SeriesId};
use metricsd_store::owners::Known;
use parking_lot::Mutex;
use sqlx::{Row, SqliteConnection};

use super::{Columns, Interned};
use crate::columns::id_list;
use crate::error::{Fault, damaged};

/// Shares the layouts that can be shared; all others travel in their frames: those that are not meant to be shared,
/// those of a series that had to take another id, and those whose own id stands for another list.
pub(super) async fn place_layouts(
    tx: &mut SqliteConnection,
    known: &Mutex<Known>,
    work: &[Arc<Layout>],
    assigned: &[Vec<SeriesId>],
    interned: &mut Interned,
) -> Result<(), Fault> {
    let mut stored: BTreeMap<LayoutId, Vec<SeriesId>> = BTreeMap::new();
    for (layout, ids) in work.iter().zip(assigned) {
        let Some(id) = layout.id.filter(|_| *ids == layout.ids) else {
            interned.place(layout, Columns::inline(ids));
            continue;
        };
        let list = match stored.entry(id) {
            Entry::Occupied(list) => list.into_mut(),
            Entry::Vacant(place) => {
                let remembered = known.lock().layouts.get(id).map(|layout| layout.ids.clone());
                place.insert(match remembered {
                    Some(list) => list,
                    None => find_or_write(tx, id, ids).await?,
                })
            }
        };
        if list == ids {
            interned.share(layout, Columns::Shared(id.0.cast_signed()));
        } else {
            interned.place(layout, Columns::inline(ids));
        }
    }
    Ok(())
}

/// What the id stands for: `ids` where it was free.
async fn find_or_write(
    tx: &mut SqliteConnection,
    id: LayoutId,
    ids: &[SeriesId],
) -> Result<Vec<SeriesId>, Fault> {
    let number = id.0.cast_signed();
    let packed = pack_ids(&ids.iter().map(|id| id.0).collect::<Vec<_>>());
    let new = sqlx::query("INSERT INTO layouts (id, series) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING")
        .bind(number)
        .bind(packed)
        .execute(&mut *tx)
        .await?;
    if new.rows_affected() == 0 {
        let row = sqlx::query("SELECT series FROM layouts WHERE id = ?1").bind(number).fetch_one(tx).await?;
        let list = unpack_ids(row.try_get(0)?);
        let list = list.map_err(|error| damaged("damaged layout in the database").caused_by(error))?;
        return Ok(list.into_iter().map(SeriesId).collect());
    }
    // In order of id, so that the table's pages are visited one after another.
    let distinct: BTreeSet<i64> = ids.iter().map(|id| id.to_i64()).collect();
    sqlx::query("INSERT INTO layout_series (series, layout) SELECT value, ?2 FROM json_each(?1)")
        .bind(id_list(distinct))
        .bind(number)
        .execute(tx)
        .await?;
    Ok(ids.to_vec())
}
