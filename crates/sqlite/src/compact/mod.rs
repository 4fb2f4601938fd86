//! Frames become segments, some units at a time: read from a snapshot, transposed, merged and packed where that is in
//! nobody's way, then written under the file's write lock in one transaction that also deletes the frames.
//!
//! Whoever else removes frames or touches segments in between (another process, retention) raises `generation`; then
//! the work is given up and planned anew.

mod collect;
mod pack;
mod plan;
mod vacuum;
mod write;

use std::collections::HashSet;

use async_trait::async_trait;
use metricsd_model::Millis;
use metricsd_ports::{Compacted, Compaction, CompactionPolicy, PortError};
use metricsd_store::compact::{HOUR, Rests, day_of};
use sqlx::{Row, SqliteConnection};

use crate::SqliteStore;
use crate::error::Fault;
use plan::Plan;

pub(crate) use collect::blocking;
pub(crate) use plan::OLDEST;
use write::Written;

/// What this process remembers between calls.
#[derive(Debug, Default)]
pub(crate) struct Compactor {
    /// The units that are left of an hour.
    plan: Option<Plan>,
    rests: Rests,
    /// Timelines of this day whose id stands for another list.
    taken: HashSet<(Millis, i64)>,
}

#[async_trait]
impl Compaction for SqliteStore {
    async fn compact(&self, policy: &CompactionPolicy) -> Result<Compacted, PortError> {
        let Ok(mut compactor) = self.compactor.try_lock() else {
            return Ok(Compacted::default());
        };
        let done = compactor.step(self, policy).await;
        if done.is_err() {
            compactor.plan = None;
        }
        done.map_err(|fault| fault.into_port("compact frames"))
    }
}

impl Compactor {
    async fn step(&mut self, store: &SqliteStore, policy: &CompactionPolicy) -> Result<Compacted, Fault> {
        // Also where a call was given up halfway: a unit that was taken out is planned again.
        let plan = match self.plan.take() {
            Some(plan) if plan.hour.saturating_add(HOUR) <= policy.before => Some(plan),
            _ => plan::next(store, policy, &self.rests).await?,
        };
        let Some(mut plan) = plan else {
            return vacuum::step(store).await;
        };
        let units = plan.take(policy.max_samples);
        let Some(work) = collect::collect(store, &plan, &units, policy, &self.taken).await? else {
            return Ok(Compacted { more: true, ..Compacted::default() });
        };
        let frames: Vec<i64> = units.into_iter().flat_map(|unit| unit.frames).collect();
        let done = Compacted {
            samples: work.samples,
            frames: frames.len() as u64,
            segments: work.segments.len() as u64,
            chunks: 0,
            more: true,
        };
        match write::write(store, &plan, &frames, work).await? {
            Written::Done => {}
            Written::Stale => return Ok(Compacted { more: true, ..Compacted::default() }),
            Written::Taken(timeline) => {
                self.taken.insert(timeline);
                return Ok(Compacted { more: true, ..Compacted::default() });
            }
        }
        plan.generation += 1;
        if plan.units.is_empty() {
            self.taken.retain(|(time, _)| day_of(*time) == day_of(plan.hour));
            self.rests.begin(plan.hour);
        } else {
            self.plan = Some(plan);
        }
        Ok(done)
    }
}

/// How often frames were removed or segments touched.
pub(crate) async fn generation(connection: &mut SqliteConnection) -> Result<i64, Fault> {
    Ok(sqlx::query("SELECT generation FROM compaction").fetch_one(connection).await?.try_get(0)?)
}

/// Says that frames are removed or segments touched in this transaction.
pub(crate) async fn raise_generation(connection: &mut SqliteConnection) -> Result<(), Fault> {
    sqlx::query("UPDATE compaction SET generation = generation + 1").execute(connection).await?;
    Ok(())
}
