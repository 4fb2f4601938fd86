//! Compaction: frames of an hour become segments, piece by piece, each piece in one transaction.
//!
//! `session` holds the connection and the lock of the one that compacts, `plan` says which targets belong together,
//! `unit` does one piece: `frames` and `stored` read, `write` writes through `encode`, `constants` writes series that did not
//! change many in a row, and `lay` lays those of an hour together when many units have written some.
//! `pack` packs cold days. `chunks` makes the chunks that are moved into, and gives back those that all of this empties.

mod chunks;
mod constants;
mod encode;
mod frames;
mod lay;
mod pack;
mod plan;
mod session;
mod stored;
mod unit;
mod write;

use std::time::Duration;

use async_trait::async_trait;
use metricsd_model::Millis;
use metricsd_ports::{Compacted, Compaction, CompactionPolicy, PortError};
use metricsd_store::compact::{Rests, day_of, hour_of};
use sqlx::PgConnection;

use crate::PostgresStore;
use crate::error::{Fault, MAX_ATTEMPTS, back_off};
use crate::store::bounded;
use chunks::Emptied;
use pack::Packing;
use plan::Plan;

pub(crate) use stored::{segment, unpack};

/// No piece takes longer, unless the server does not answer any more.
const PIECE_TIMEOUT: Duration = Duration::from_secs(1_800);

/// What is kept between calls.
#[derive(Default)]
pub(crate) struct Compactor {
    /// Holds the lock; closed when there is nothing to do, so that another process may have it.
    connection: Option<PgConnection>,
    plan: Option<Plan>,
    packing: Option<Packing>,
    rests: Rests,
    /// An hour whose last unit was done.
    written: Option<Millis>,
    /// The chunk that the oldest hour needs could not be made: not tried again in this round, as each try holds up readers.
    waits: bool,
}

#[async_trait]
impl Compaction for PostgresStore {
    async fn compact(&self, policy: &CompactionPolicy) -> Result<Compacted, PortError> {
        // A second caller in this process is told what one in another process would be.
        let Ok(mut compactor) = self.compactor.try_lock() else {
            return Ok(Compacted::default());
        };
        bounded("compact samples", PIECE_TIMEOUT, compact(self, &mut compactor, policy)).await
    }
}

async fn compact(
    store: &PostgresStore,
    compactor: &mut Compactor,
    policy: &CompactionPolicy,
) -> Result<Compacted, Fault> {
    // Taken out: when this call is given up half-way, the connection goes and with it the transaction and the lock.
    let mut connection = match compactor.connection.take() {
        Some(connection) => connection,
        None => match session::open(store).await? {
            Some(connection) => connection,
            None => return Ok(Compacted::default()),
        },
    };
    let mut attempt = 1;
    loop {
        match piece(&mut connection, compactor, policy).await {
            Ok(done) if done.more => {
                compactor.connection = Some(connection);
                return Ok(done);
            }
            Ok(done) => {
                compactor.waits = false;
                session::close(connection).await;
                return Ok(done);
            }
            Err(fault) => {
                (compactor.plan, compactor.packing, compactor.waits) = (None, None, false);
                if !fault.is_contention() || attempt == MAX_ATTEMPTS {
                    return Err(fault);
                }
                back_off(attempt).await;
            }
        }
        attempt += 1;
    }
}

/// Does the next piece, whatever it is.
async fn piece(
    connection: &mut PgConnection,
    compactor: &mut Compactor,
    policy: &CompactionPolicy,
) -> Result<Compacted, Fault> {
    if let Some(hour) = compactor.written.take() {
        let laid = lay::together(connection, hour).await;
        // An hour that cannot be laid together is as good as it was, and keeps no other from being compacted.
        compactor.written = laid.as_ref().is_err_and(Fault::is_contention).then_some(hour);
        laid?;
    }
    let plan = match compactor.plan.take().filter(|plan| plan.is_due(policy)) {
        Some(plan) => Some(plan),
        None if compactor.waits => None,
        None => {
            let chunks = chunks::drop_empty(connection, Emptied::Frames, hour_of(policy.before)).await?;
            if chunks > 0 {
                return Ok(Compacted { chunks, more: true, ..Compacted::default() });
            }
            let plan = plan::next(connection, &compactor.rests, policy).await?;
            if let Some(plan) = &plan {
                compactor.waits = !chunks::make(connection, plan.hour).await?;
            }
            let plan = plan.filter(|_| !compactor.waits);
            if let Some(plan) = plan.as_ref().filter(|plan| plan.constants) {
                // Where a process was killed between units; whatever is looked for is found in few rows then.
                lay::together(connection, plan.hour).await?;
            }
            plan
        }
    };
    let Some(mut plan) = plan else { return pack_piece(connection, compactor, policy).await };
    let again = Compacted { more: true, ..Compacted::default() };
    let Some(unit) = plan.units.pop() else { return Ok(again) };
    // Its frames may be others than they were when the plan was made: then it is made again.
    let Some(mut done) = unit::run(connection, &plan, &unit, policy).await? else { return Ok(again) };
    if plan.units.is_empty() {
        compactor.rests.begin(plan.hour);
        compactor.written = Some(plan.hour);
    } else {
        compactor.plan = Some(plan);
    }
    done.more = true;
    Ok(done)
}

/// Packs some series of the oldest cold day, where that is asked for.
async fn pack_piece(
    connection: &mut PgConnection,
    compactor: &mut Compactor,
    policy: &CompactionPolicy,
) -> Result<Compacted, Fault> {
    let Some(before) = policy.pack_before else { return Ok(Compacted::default()) };
    let packing = match compactor.packing.take() {
        Some(packing) => packing,
        None => {
            let chunks = chunks::drop_empty(connection, Emptied::Segments, day_of(before)).await?;
            match pack::next(connection, before).await? {
                Some(packing) if chunks::make_of_day(connection, packing.day).await? => packing,
                _ => return Ok(Compacted { chunks, ..Compacted::default() }),
            }
        }
    };
    let (left, done) = pack::run(connection, packing, policy.max_samples).await?;
    compactor.packing = left;
    Ok(done)
}
