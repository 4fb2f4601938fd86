//! Reading rolled-up values, beside samples where there are none.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::TryStreamExt;
use metricsd_model::Millis;
use metricsd_ports::{RolledSeries, Rollup, Selection};
use metricsd_store::chosen::Chosen;
use metricsd_store::compact::DAY;
use metricsd_store::rollup::{GatheredSpans, Piece, SpanColumns, day_of, pieces, range_of, roll_all};
use sqlx::{Row, SqliteConnection};

use super::{oldest_frame, usable_column};
use crate::SqliteStore;
use crate::columns::id_list;
use crate::error::{Fault, damaged};
use crate::read::{found, gathered, select};

/// Series whose values are sought in one statement.
const SERIES: usize = 4_096;

const SPANS: &str = "SELECT r.day, r.series, r.spans
    FROM json_each(?2) AS days CROSS JOIN json_each(?3) AS wanted
    CROSS JOIN rollups r ON r.step = ?1 AND r.day = days.value AND r.series = wanted.value";

/// Values of spans of what a selection chooses; see [`metricsd_ports::SampleSource::select_rolled`].
pub(crate) async fn select_rolled(
    store: &SqliteStore,
    selection: &Selection,
    rollup: Rollup,
) -> Result<Vec<RolledSeries>, Fault> {
    if selection.start > selection.end {
        return Ok(Vec::new());
    }
    let (mut tx, chosen) = found(store, &selection.matchers).await?;
    let usable = usable_days(&mut tx, selection, rollup).await?;
    let pieces = pieces(selection.start, selection.end, &usable);
    let mut spans = GatheredSpans::new(rollup, selection.limits);
    let mut whole = !usable.is_empty() && !chosen.wanted.is_empty();
    for piece in pieces {
        whole = whole
            && match piece.rolled {
                true => read_rolled(&mut tx, &chosen, rollup, piece, &usable, &mut spans).await?,
                false => {
                    let part = Selection { start: piece.start, end: piece.end, ..selection.clone() };
                    let samples = gathered(store, &mut tx, &chosen, &part).await?;
                    spans.add_samples(samples, piece)?
                }
            };
    }
    tx.rollback().await?;
    if whole {
        return Ok(spans.finish());
    }
    // Nothing is rolled up, or there are histograms, which only samples can tell.
    Ok(roll_all(select(store, selection).await?, rollup))
}

/// Days of the range whose values say all that there is.
async fn usable_days(
    tx: &mut SqliteConnection,
    selection: &Selection,
    rollup: Rollup,
) -> Result<BTreeSet<Millis>, Fault> {
    let (first, last) = (day_of(selection.start), day_of(selection.end));
    let sql = match usable_column(rollup.step) {
        "hours" => {
            "SELECT day, state FROM rolled_days WHERE day >= ?1 AND day <= ?2 AND state > 0 AND hours = 1"
        }
        _ => "SELECT day, state FROM rolled_days WHERE day >= ?1 AND day <= ?2 AND state > 0 AND minutes = 1",
    };
    let rows = sqlx::query(sql).bind(first).bind(last).fetch_all(&mut *tx).await?;
    if rows.is_empty() {
        return Ok(BTreeSet::new());
    }
    // Late samples that are not compacted yet are in no rolled-up value.
    let oldest = oldest_frame(tx, last.saturating_add(DAY)).await?;
    let mut days = BTreeSet::new();
    for row in rows {
        let (day, state): (Millis, i64) = (row.try_get(0)?, row.try_get(1)?);
        if state == 2 || oldest.is_none_or(|oldest| oldest > range_of(day).1) {
            days.insert(day);
        }
    }
    Ok(days)
}

/// Reads a piece of whole days; `false` where a series has histograms in it.
async fn read_rolled(
    tx: &mut SqliteConnection,
    chosen: &Arc<Chosen>,
    rollup: Rollup,
    piece: Piece,
    usable: &BTreeSet<Millis>,
    spans: &mut GatheredSpans,
) -> Result<bool, Fault> {
    let days = id_list(usable.range(day_of(piece.start)..=day_of(piece.end)).copied());
    let mut ids: Vec<i64> = chosen.wanted.keys().copied().collect();
    ids.sort_unstable();
    for ids in ids.chunks(SERIES) {
        let query = sqlx::query(SPANS).bind(rollup.step).bind(&days).bind(id_list(ids.iter().copied()));
        let mut rows = query.fetch(&mut *tx);
        while let Some(row) = rows.try_next().await? {
            let (day, series): (Millis, i64) = (row.try_get(0)?, row.try_get(1)?);
            let Some(packed) = row.try_get::<Option<&[u8]>, _>(2)? else { return Ok(false) };
            let place = chosen.wanted.get(&series).and_then(|place| chosen.found.get(*place));
            let Some(found) = place else { continue };
            let columns = SpanColumns::unpack(packed)
                .map_err(|error| damaged("damaged rolled-up values in the database").caused_by(error))?;
            spans.add(&found.labels, found.metric_type, &columns.spans(day, rollup.step)?, piece)?;
        }
    }
    Ok(true)
}
