//! Room that frames left behind goes back to the file system, a little at a time.

use metricsd_ports::Compacted;
use sqlx::Row;

use crate::SqliteStore;
use crate::error::Fault;

/// Pages that one step gives back; more would hold the write lock for long.
const STEP: i64 = 2_000;

/// Free pages that are kept for new frames: at least so many, and a quarter of the file.
const KEPT: i64 = 4_096;

/// `auto_vacuum` of a file whose free pages can be given back.
const INCREMENTAL: i64 = 2;

/// Gives free pages back where there are many, counted as one piece. New frames take the place of old ones, so that a
/// file usually needs nothing of this; one that was made without `auto_vacuum` stays as large as it was.
pub(super) async fn step(store: &SqliteStore) -> Result<Compacted, Fault> {
    let mut nothing = Compacted::default();
    let mut connection = store.readers.acquire().await?;
    let query = sqlx::query(
        "SELECT auto_vacuum, freelist_count, page_count
        FROM pragma_auto_vacuum, pragma_freelist_count, pragma_page_count",
    );
    let row = query.fetch_one(&mut *connection).await?;
    drop(connection);
    let (mode, free, pages): (i64, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let spare = free - KEPT.max(pages / 4);
    if mode != INCREMENTAL || spare <= 0 {
        return Ok(nothing);
    }
    let mut tx = store.write().await?;
    // The pragma takes no parameter, and works while it is stepped.
    sqlx::query("PRAGMA incremental_vacuum(2000)").fetch_all(&mut *tx).await?;
    tx.commit().await?;
    nothing.chunks = 1;
    nothing.more = spare > STEP;
    Ok(nothing)
}
