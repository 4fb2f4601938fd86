//! Reading rolled-up values, beside samples where there are none.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use metricsd_model::Millis;
use metricsd_ports::{ROLLUP_STEPS, RolledSeries, Rollup, RollupValue, Selection};
use metricsd_store::chosen::Chosen;
use metricsd_store::rollup::{GatheredSpans, Piece, SpanColumns, day_of, pieces, roll_all};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use crate::PostgresStore;
use crate::binary::{array, required};
use crate::copy::{bound, millis};
use crate::error::{Fault, damaged};
use crate::read::{found, gathered, select};

/// Series whose values are sought in one statement.
const SERIES: usize = 5_000;

/// Values of spans of what a selection chooses; see [`metricsd_ports::SampleSource::select_rolled`].
pub(crate) async fn select_rolled(
    store: &PostgresStore,
    selection: &Selection,
    rollup: Rollup,
) -> Result<Vec<RolledSeries>, Fault> {
    if selection.start > selection.end {
        return Ok(Vec::new());
    }
    let (mut tx, chosen) = found(store, &selection.matchers).await?;
    let usable = usable_days(&mut tx, selection, rollup).await?;
    let mut spans = GatheredSpans::new(rollup, selection.limits);
    let mut whole = !usable.is_empty() && !chosen.wanted.is_empty();
    for piece in pieces(selection.start, selection.end, &usable) {
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

fn is_hourly(rollup: Rollup) -> bool {
    rollup.step == ROLLUP_STEPS[0]
}

/// Days of the range whose values say all that there is.
async fn usable_days(
    tx: &mut PgConnection,
    selection: &Selection,
    rollup: Rollup,
) -> Result<BTreeSet<Millis>, Fault> {
    let rows = sqlx::query(include_str!("../sql/rolled_usable.sql"))
        .bind(bound(day_of(selection.start)))
        .bind(bound(day_of(selection.end)))
        .bind(is_hourly(rollup))
        .fetch_all(tx)
        .await?;
    let day = |row: &PgRow| Ok(row.try_get::<DateTime<Utc>, _>(0)?.timestamp_millis());
    rows.iter().map(day).collect()
}

/// Reads a piece of whole days; `false` where a series has histograms in it.
async fn read_rolled(
    tx: &mut PgConnection,
    chosen: &Arc<Chosen>,
    rollup: Rollup,
    piece: Piece,
    usable: &BTreeSet<Millis>,
    spans: &mut GatheredSpans,
) -> Result<bool, Fault> {
    let days: Vec<DateTime<Utc>> =
        usable.range(day_of(piece.start)..=day_of(piece.end)).map(|day| bound(*day)).collect();
    let sql = match is_hourly(rollup) {
        true => include_str!("../sql/rolled_hours.sql"),
        false => include_str!("../sql/rolled_minutes.sql"),
    };
    let mut ids: Vec<i64> = chosen.wanted.keys().copied().collect();
    ids.sort_unstable();
    for ids in ids.chunks(SERIES) {
        let mut rows = sqlx::query(sql).bind(ids).bind(&days).bind(wanted(rollup.value)).fetch(&mut *tx);
        while let Some(row) = rows.try_next().await? {
            let day = millis(i64::from_be_bytes(required(&row, 0)?));
            let series = i64::from_be_bytes(required(&row, 1)?);
            let Some(columns) = columns(&row)? else { return Ok(false) };
            let place = chosen.wanted.get(&series).and_then(|place| chosen.found.get(*place));
            let Some(found) = place else { continue };
            spans.add(&found.labels, found.metric_type, &columns.spans(day, rollup.step)?, piece)?;
        }
    }
    Ok(true)
}

/// Which values leave the database.
fn wanted(value: RollupValue) -> i32 {
    match value {
        RollupValue::Min => 0,
        RollupValue::Max => 1,
        RollupValue::Sum | RollupValue::Average => 2,
        RollupValue::Count | RollupValue::Last | RollupValue::Newest => 3,
    }
}

/// Spans whose values are all the one that was asked for; `None` where there are histograms.
fn columns(row: &PgRow) -> Result<Option<SpanColumns>, Fault> {
    let Some(places) = array::<4>(row, 2)? else { return Ok(None) };
    let missing = || damaged("rolled-up values without counts");
    let counts = array::<4>(row, 3)?.ok_or_else(missing)?;
    let values: Vec<f64> = array::<8>(row, 4)?.ok_or_else(missing)?.iter().map(f64::from_be_bytes).collect();
    Ok(Some(SpanColumns {
        places: places.iter().map(i32::from_be_bytes).collect(),
        counts: counts.iter().map(i32::from_be_bytes).collect(),
        mins: values.clone(),
        maxs: values.clone(),
        sums: values.clone(),
        lasts: values,
    }))
}
