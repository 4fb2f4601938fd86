//! Layouts: a list of series that comes again is written once and named by its number from then on.

use std::sync::Arc;

use metricsd_model::{Layout, LayoutId, SeriesId};
use metricsd_store::owners::Known;
use parking_lot::Mutex;
use sqlx::{Row, SqliteConnection};

use super::{Columns, Interned};
use crate::error::Fault;
use crate::numbers::{self, Numbering};

/// Shares the layouts that can be shared; all others travel in their frames: those that are not meant to be shared,
/// those of a series that had to take another id, and those whose own id stands for another list.
pub(super) async fn place_layouts(
    tx: &mut SqliteConnection,
    known: &Mutex<Known>,
    numbering: &mut Numbering<'_>,
    work: &[Arc<Layout>],
    assigned: &[Vec<SeriesId>],
    interned: &mut Interned,
) -> Result<(), Fault> {
    for (layout, ids) in work.iter().zip(assigned) {
        let shared = layout.id.filter(|_| *ids == layout.ids);
        let remembered = shared.and_then(|id| known.lock().layouts.get(id));
        if let (Some(id), Some(remembered)) = (shared, &remembered)
            && remembered.ids == *ids
        {
            interned.share(layout, Columns::Shared(id));
            continue;
        }
        if let Some(id) = shared.filter(|_| remembered.is_none()) {
            let series = numbering.of_series(tx, ids).await?;
            if find_or_write(tx, numbering, id, &series).await? {
                interned.share(layout, Columns::Shared(id));
                continue;
            }
        }
        interned.place(layout, Columns::Inline(numbering.of_inline(tx, ids).await?));
    }
    Ok(())
}

/// Whether the id stands for these series, which it does where it was free.
async fn find_or_write(
    tx: &mut SqliteConnection,
    numbering: &mut Numbering<'_>,
    id: LayoutId,
    series: &[i64],
) -> Result<bool, Fault> {
    let hash = id.0.cast_signed();
    if let Some(number) = numbers::insert_layout(tx, hash, series).await? {
        numbering.layout_is(id, number);
        return Ok(true);
    }
    let row =
        sqlx::query("SELECT number, series FROM layouts WHERE id = ?1").bind(hash).fetch_one(tx).await?;
    numbering.layout_is(id, row.try_get(0)?);
    Ok(numbers::unpack(row.try_get(1)?)? == series)
}
