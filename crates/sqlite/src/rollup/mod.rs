//! Rolled-up values: made day by day out of segments, and read instead of them.
//!
//! A day is marked as begun before its first series is rolled up and as whole after its last. Whoever moves late samples of
//! a day into segments takes the mark away, so that the day is rolled up anew; while frames of a day are waiting for
//! that, readers take its samples.

mod make;
mod read;

use metricsd_model::Millis;
use metricsd_ports::ROLLUP_STEPS;
use metricsd_store::rollup::day_of;
use sqlx::{Row, SqliteConnection};

use crate::compact::OLDEST;
use crate::error::Fault;

pub(crate) use make::Roller;
pub(crate) use read::select_rolled;

/// Which column of `rolled_days` speaks of spans of this length.
const fn usable_column(step: Millis) -> &'static str {
    if step == ROLLUP_STEPS[0] { "hours" } else { "minutes" }
}

/// Time of the oldest frame up to a time.
async fn oldest_frame(connection: &mut SqliteConnection, until: Millis) -> Result<Option<Millis>, Fault> {
    let row = sqlx::query(OLDEST).bind(i64::MIN).bind(until.saturating_add(1)).fetch_one(connection).await?;
    Ok(row.try_get(0)?)
}

/// Says that segments with samples from `first` to `last` are written: what was rolled up of these days is out of date.
pub(crate) async fn outdate(
    connection: &mut SqliteConnection,
    first: Millis,
    last: Millis,
) -> Result<(), Fault> {
    sqlx::query("DELETE FROM rolled_days WHERE day >= ?1 AND day <= ?2 AND state < 2")
        .bind(day_of(first))
        .bind(day_of(last))
        .execute(connection)
        .await?;
    Ok(())
}

/// Says that samples from `first` to `last` are removed: what was rolled up of these days is all that is left.
pub(crate) async fn finalise(
    connection: &mut SqliteConnection,
    first: Millis,
    last: Millis,
) -> Result<(), Fault> {
    sqlx::query("UPDATE rolled_days SET state = 2 WHERE day >= ?1 AND day <= ?2 AND state = 1")
        .bind(day_of(first))
        .bind(day_of(last))
        .execute(connection)
        .await?;
    Ok(())
}
