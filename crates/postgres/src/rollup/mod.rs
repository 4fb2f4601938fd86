//! Rolled-up values: made day by day out of segments, and read instead of them.
//!
//! A day is marked as begun before its first series is rolled up and as whole after its last. Whoever moves late samples of
//! a day into segments takes the mark away, so that the day is rolled up anew; while frames of a day are waiting for
//! that, readers take its samples.

mod make;
mod read;

use metricsd_model::Millis;
use metricsd_store::rollup::day_of;
use sqlx::PgConnection;

use crate::copy::bound;
use crate::error::Fault;

pub(crate) use make::Roller;
pub(crate) use read::select_rolled;

/// Says that segments with samples from `first` to `last` are written: what was rolled up of these days is out of date.
pub(crate) async fn outdate(tx: &mut PgConnection, first: Millis, last: Millis) -> Result<(), Fault> {
    let query = sqlx::query(include_str!("../sql/outdate_days.sql"));
    query.bind(bound(day_of(first))).bind(bound(day_of(last))).execute(tx).await?;
    Ok(())
}

/// Says that samples from `first` to `last` are removed: what was rolled up of these days is all that is left.
pub(crate) async fn finalise(tx: &mut PgConnection, first: Millis, last: Millis) -> Result<(), Fault> {
    let query = sqlx::query(include_str!("../sql/finalise_days.sql"));
    query.bind(bound(day_of(first))).bind(bound(day_of(last))).execute(tx).await?;
    Ok(())
}
