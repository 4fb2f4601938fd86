//! Which targets are this process's to scrape: all, or those that its lease and the ring give it.

use std::sync::Arc;
use std::time::Duration;

use metricsd_model::{Fence, Millis};
use metricsd_ports::membership::{BUCKETS, Gap, Keeper, Renewal, Table};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use crate::clock::Clock;

/// Round trips beyond this say too little about the database's time.
const MAX_ROUND_TRIP: Duration = Duration::from_millis(500);

/// What a process may do with a scheduled scrape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// It is another's, or nobody's.
    None,
    /// It is this process's, but its lease has run out.
    Lapsed,
    /// It is this process's.
    Mine(Option<Fence>),
}

/// What the process's targets come to, as the pool last counted.
#[derive(Debug, Clone, Default)]
pub struct Load {
    /// Targets that are this process's.
    pub targets: u64,
    /// Samples a second that they come to.
    pub samples_per_second: u64,
    /// Samples a second of every bucket, whoever owns it.
    pub buckets: Arc<[u64]>,
}

struct Shared {
    keeper: Mutex<Keeper>,
    lease: Duration,
    /// Where the monotonic time of the keeper begins.
    base: Instant,
    clock: Clock,
    /// Counts what the pool should look at: changes of the table.
    changed: watch::Sender<u64>,
    /// Gaps that the pool has not seen yet.
    gaps: Mutex<Vec<Gap>>,
    /// What the pool last counted; `None` until it has read all targets once.
    load: watch::Sender<Option<Load>>,
}

/// Which targets are this process's. Clones are the same.
#[derive(Clone)]
pub struct Ownership(Option<Arc<Shared>>);

impl Ownership {
    /// All targets are, for ever: there is no other process.
    pub fn all() -> Self {
        Self(None)
    }

    /// Those that the ring gives to `member`, which has no lease yet.
    pub fn shared(member: Uuid, lease: Duration) -> Self {
        Self(Some(Arc::new(Shared {
            keeper: Mutex::new(Keeper::new(member, lease, Table::new(BUCKETS))),
            lease,
            base: Instant::now(),
            clock: Clock::new(),
            changed: watch::Sender::new(0),
            gaps: Mutex::default(),
            load: watch::Sender::new(None),
        })))
    }

    /// Whether there may be others.
    pub fn is_shared(&self) -> bool {
        self.0.is_some()
    }

    /// This process's name among them.
    pub fn member(&self) -> Option<Uuid> {
        self.0.as_ref().map(|shared| shared.keeper.lock().member())
    }

    /// The last change of the ring that is known.
    pub fn epoch(&self) -> u64 {
        self.0.as_ref().map_or(0, |shared| shared.keeper.lock().table().epoch())
    }

    /// The last change of the ring of which nothing is left to be told.
    pub fn known(&self) -> u64 {
        self.0.as_ref().map_or(0, |shared| shared.keeper.lock().known())
    }

    /// Whether the lease is valid.
    pub fn holds(&self) -> bool {
        self.0.as_ref().is_none_or(|shared| shared.keeper.lock().holds(shared.base.elapsed()))
    }

    /// Whether what is this process's may be scraped and handed in.
    pub(crate) fn may_go_on(&self) -> bool {
        self.0.as_ref().is_none_or(|shared| shared.keeper.lock().may_go_on(shared.base.elapsed()))
    }

    /// How long the lease still is.
    pub fn left(&self) -> Duration {
        self.0.as_ref().map_or(Duration::MAX, |shared| shared.keeper.lock().left(shared.base.elapsed()))
    }

    /// A lease was asked for at `sent`, in a message that said whether the process wants to go, and given at `received`.
    pub fn renewed(&self, sent: Instant, received: Instant, draining: bool, renewal: &Renewal) {
        let Some(shared) = &self.0 else { return };
        let round_trip = received.saturating_duration_since(sent);
        if round_trip <= MAX_ROUND_TRIP {
            shared.clock.steer(sent + round_trip / 2, renewal.now);
        }
        let mut keeper = shared.keeper.lock();
        let before = keeper.table().epoch();
        let sent = sent.saturating_duration_since(shared.base);
        let gaps = keeper.renewed(sent, draining, renewal, shared.clock.now());
        let news = keeper.table().epoch() > before || !gaps.is_empty();
        shared.gaps.lock().extend(gaps);
        drop(keeper);
        if news {
            shared.changed.send_modify(|count| *count += 1);
        }
    }

    /// The lease is gone, and what came with it; the process goes on as `member`, once that has one.
    pub fn lost(&self, member: Uuid) {
        let Some(shared) = &self.0 else { return };
        let mut keeper = shared.keeper.lock();
        let table = keeper.table().clone();
        *keeper = Keeper::new(member, shared.lease, table);
        drop(keeper);
        shared.changed.send_modify(|count| *count += 1);
    }

    /// Whether nothing is this process's any more, nor will be.
    pub fn may_leave(&self) -> bool {
        self.0.as_ref().is_none_or(|shared| shared.keeper.lock().may_leave(shared.clock.now()))
    }

    /// What the targets come to, once the pool has read them.
    pub async fn load(&self) -> Load {
        let Some(shared) = &self.0 else { return Load::default() };
        let mut load = shared.load.subscribe();
        let known = load.wait_for(Option::is_some).await;
        // The sender lives as long as this does.
        known.ok().and_then(|load| load.clone()).unwrap_or_default()
    }

    /// How many buckets are this process's, by the ring as far as it is known.
    pub fn buckets(&self) -> usize {
        self.0.as_ref().map_or(usize::from(BUCKETS), |shared| {
            let keeper = shared.keeper.lock();
            keeper.table().owned(keeper.member())
        })
    }

    pub(crate) fn count(&self, load: Load) {
        if let Some(shared) = &self.0 {
            shared.load.send_replace(Some(load));
        }
    }

    pub(crate) fn now(&self, own: &Clock) -> Millis {
        self.0.as_ref().map_or_else(|| own.now(), |shared| shared.clock.now())
    }

    pub(crate) fn instant_of(&self, own: &Clock, at: Millis) -> Instant {
        self.0.as_ref().map_or_else(|| own.instant_of(at), |shared| shared.clock.instant_of(at))
    }

    /// What this process says of itself with what it says of a bucket; nothing where there are no others.
    pub(crate) fn fence(&self, bucket: u16, slot: Millis) -> Option<Fence> {
        let keeper = self.0.as_ref()?.keeper.lock();
        Some(Fence { member: keeper.member(), epoch: keeper.table().epoch(), bucket, slot })
    }

    /// What may be done with a scrape that is scheduled at `slot`.
    pub(crate) fn right(&self, bucket: u16, slot: Millis) -> Right {
        let Some(shared) = &self.0 else { return Right::Mine(None) };
        let keeper = shared.keeper.lock();
        if !keeper.owns(bucket, slot) {
            return Right::None;
        }
        match keeper.may_go_on(shared.base.elapsed()) {
            true => {
                let (member, epoch) = (keeper.member(), keeper.table().epoch());
                Right::Mine(Some(Fence { member, epoch, bucket, slot }))
            }
            false => Right::Lapsed,
        }
    }

    /// Whether what is scheduled at `slot` is this process's, whatever its lease.
    pub(crate) fn owns(&self, bucket: u16, slot: Millis) -> bool {
        self.0.as_ref().is_none_or(|shared| shared.keeper.lock().owns(bucket, slot))
    }

    /// Whether something that is scheduled at `slot` or later is this process's.
    pub(crate) fn concerns(&self, bucket: u16, slot: Millis) -> bool {
        self.0.as_ref().is_none_or(|shared| shared.keeper.lock().concerns(bucket, slot))
    }

    /// The change of the ring that gave the bucket to this process; `None` where it is another's by now, or to be.
    pub(crate) fn granted(&self, bucket: u16) -> Option<u64> {
        let Some(shared) = &self.0 else { return Some(0) };
        let keeper = shared.keeper.lock();
        let grant = keeper.table().grant(bucket)?;
        (grant.owner == keeper.member()).then_some(grant.epoch)
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.as_ref().map_or_else(|| watch::Sender::new(0).subscribe(), |shared| shared.changed.subscribe())
    }

    pub(crate) fn take_gaps(&self) -> Vec<Gap> {
        self.0.as_ref().map_or_else(Vec::new, |shared| std::mem::take(&mut *shared.gaps.lock()))
    }
}

#[cfg(test)]
mod tests {
    use metricsd_ports::membership::Grant;

    use super::*;

    fn renewal(now: Millis, changed: Vec<(u16, Grant)>) -> Renewal {
        let epoch = changed.iter().map(|(_, grant)| grant.epoch).max().unwrap_or(0);
        Renewal { now, epoch, changed, unsettled: false, next_expiry: now, alone: false }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_not_renewed_ends_and_the_databases_clock_counts() {
        let me = Uuid::from_u128(1);
        let ownership = Ownership::shared(me, Duration::from_secs(5));
        assert_eq!(ownership.right(3, 1_000), Right::None);
        let grant = Grant { owner: me, epoch: 1, since: 500, previous: None, began: 500, gap: None };
        let sent = Instant::now();
        ownership.renewed(sent, sent, false, &renewal(1_000, vec![(3, grant)]));
        let fence = Fence { member: me, epoch: 1, bucket: 3, slot: 1_000 };
        assert_eq!(ownership.right(3, 1_000), Right::Mine(Some(fence)));
        assert_eq!(ownership.right(4, 1_000), Right::None);
        assert_eq!(ownership.now(&Clock::new()), 1_000, "not this machine's time");
        tokio::time::advance(Duration::from_millis(4_600)).await;
        assert_eq!(ownership.right(3, 5_600), Right::Lapsed);
        assert!(ownership.owns(3, 5_600) && !ownership.holds());
        ownership.lost(Uuid::from_u128(2));
        assert_eq!(ownership.right(3, 5_600), Right::None);
    }
}
