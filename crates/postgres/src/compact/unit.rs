//! One piece of the work: the frames of some targets in one hour.

use std::collections::HashMap;

use metricsd_model::Millis;
use metricsd_ports::{Compacted, CompactionPolicy};
use metricsd_store::compact::{Bucket, HOUR, Merged, Transposed, merge, passes};
use sqlx::{Connection, PgConnection};

use super::constants::Opened;
use super::plan::{Plan, State, Unit};
use super::stored::{Stored, stored};
use super::{constants, frames, write};
use crate::binary::{number, required};
use crate::copy::bound;
use crate::error::{Fault, damaged};
use crate::rollup::outdate;

/// Series whose segments are looked for at a time.
const SERIES_A_LOOK: usize = 10_000;

/// Moves the frames of a unit into segments; `None`, and nothing is done, where they are not those of the plan.
pub(super) async fn run(
    connection: &mut PgConnection,
    plan: &Plan,
    unit: &Unit,
    policy: &CompactionPolicy,
) -> Result<Option<Compacted>, Fault> {
    let hour = plan.hour;
    // One snapshot: what is read is what is deleted, and frames that are committed meanwhile stay.
    let mut tx = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
    if state(&mut tx, hour, unit).await? != unit.state {
        tx.rollback().await?;
        return Ok(None);
    }
    let mut done = Compacted::default();
    let passes = passes(unit.samples, policy.max_samples);
    for pass in 0..passes {
        let (transposed, origins, samples) = frames::read(&mut tx, hour, unit, (pass, passes)).await?;
        done.samples += samples;
        let origins = write::origins(&mut tx, &origins).await?;
        let opened = match plan.constants {
            true => constants::open(&mut tx, hour, transposed.iter().map(|new| new.series).collect()).await?,
            false => Opened::none(hour),
        };
        done.segments += meet(&mut tx, hour, transposed, &origins, opened).await?;
    }
    let removed = sqlx::query(include_str!("../sql/remove_unit.sql"))
        .bind(bound(hour))
        .bind(bound(hour.saturating_add(HOUR)))
        .bind(&unit.targets)
        .execute(&mut *tx)
        .await?;
    done.frames = removed.rows_affected();
    outdate(&mut tx, hour, hour.saturating_add(HOUR - 1)).await?;
    sqlx::query(include_str!("../sql/note_compaction.sql"))
        .bind("hour")
        .bind(bound(hour))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(Some(done))
}

async fn state(tx: &mut PgConnection, hour: Millis, unit: &Unit) -> Result<State, Fault> {
    let row = sqlx::query(include_str!("../sql/unit_state.sql"))
        .bind(bound(hour))
        .bind(bound(hour.saturating_add(HOUR)))
        .bind(&unit.targets)
        .fetch_one(tx)
        .await?;
    Ok(State {
        frames: i64::from_be_bytes(required(&row, 0)?),
        orders: number(&row, 1)?.map_or(0, i64::from_be_bytes),
    })
}

/// Merges new samples with what is stored, writes what comes of it; answers how many segments.
async fn meet(
    tx: &mut PgConnection,
    hour: Millis,
    transposed: Vec<Transposed>,
    origins: &[i32],
    mut opened: Opened,
) -> Result<u64, Fault> {
    let mut writer = write::Writer::new(hour);
    let mut transposed = transposed.into_iter();
    loop {
        let some: Vec<Transposed> = transposed.by_ref().take(SERIES_A_LOOK).collect();
        if some.is_empty() {
            break;
        }
        let ids: Vec<i64> = some.iter().map(|transposed| transposed.series).collect();
        let mut held: HashMap<i64, Stored> = stored(tx, hour, hour.saturating_add(HOUR), ids).await?;
        for Transposed { series, origin, column, .. } in some {
            let origin = origins.get(origin as usize);
            let origin = *origin.ok_or_else(|| damaged("a frame without an origin"))?;
            let mut stored = held.remove(&series).unwrap_or_default();
            let buckets: Vec<_> = stored.segments.iter().map(|segment| segment.bucket).collect();
            let constant = opened.take(series);
            if let Some(constant) = constant {
                stored.segments.push(opened.segment(constant)?);
            }
            let Merged { write, mut remove } = merge(hour, column, origin, stored.segments);
            let of_hour = Bucket::Hour(hour);
            if let Some(constant) = constant {
                let stays =
                    !remove.contains(&of_hour) && write.iter().all(|segment| segment.bucket != of_hour);
                if stays {
                    writer.keep(constant);
                }
                remove.retain(|bucket| *bucket != of_hour);
            }
            let rewritten =
                write.iter().map(|segment| segment.bucket).filter(|bucket| buckets.contains(bucket));
            writer.remove(series, remove.into_iter().chain(rewritten));
            writer.write(series, write, stored.packed);
        }
    }
    writer.rewrite(opened);
    writer.finish(tx).await
}
