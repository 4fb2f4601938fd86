//! Workers that share the targets: their leases, and the table that says whose each bucket of targets is.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metricsd_model::{Batch, Millis};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

pub use metricsd_sharding::{
    BUCKETS, Gap, Grant, Keeper, Lease, Plan, Policy, Registry, Renewal, Report, Snapshot, Table, bucket_of,
    plan,
};

use crate::PortError;

/// Leases and the table of owners. All times are the store's: no clock of a worker is asked.
///
/// The table counts its changes (epochs), and each is made by one plan; whoever has seen an epoch has the same table as
/// everyone who has. A sink over the same store refuses batches with a fence that the table contradicts
/// (`Grant::refuses`), from the moment the change is committed.
#[async_trait]
pub trait Membership: Send + Sync + 'static {
    /// Takes a new member in, with a lease from now; answers grants that were made after the epoch `known`.
    async fn join(&self, report: &Report, lease: Duration, known: u64) -> Result<Renewal, PortError>;

    /// Gives a member a lease from now, even where its time has run out, as long as no plan has taken it for lost. `None`
    /// where one has, or the member never joined: then it owns nothing and must join under another id.
    async fn renew_lease(
        &self,
        report: &Report,
        lease: Duration,
        known: u64,
    ) -> Result<Option<Renewal>, PortError>;

    /// A member goes. What it still owns is lost, so that the next plan gives it to others, unless there are none.
    async fn leave(&self, member: Uuid) -> Result<(), PortError>;

    /// All leases and the table, of one moment.
    async fn snapshot(&self) -> Result<Snapshot, PortError>;

    /// Carries a plan out, all or nothing; `false` where it does not fit any more: the table has changed since, a member
    /// that it takes for lost has renewed its lease, one that it gives buckets to is gone or wants to go, or it is older than
    /// `metricsd_sharding::registry::PLAN_FRESH_MS`.
    async fn propose(&self, plan: &Plan) -> Result<bool, PortError>;

    /// Waits up to `wait` for a change of the table after the epoch `known`; answers whether there is one.
    async fn changed(&self, known: u64, wait: Duration) -> Result<bool, PortError>;
}

/// Members of one process's store, in memory.
pub struct LocalMembership {
    registry: Mutex<Registry>,
    epoch: watch::Sender<u64>,
    /// Time that does not go back, in milliseconds since the epoch: where it began, by both clocks.
    began: (Instant, Millis),
}

impl Default for LocalMembership {
    fn default() -> Self {
        Self {
            registry: Mutex::new(Registry::new(BUCKETS)),
            epoch: watch::Sender::new(0),
            began: (Instant::now(), chrono::Utc::now().timestamp_millis()),
        }
    }
}

impl LocalMembership {
    fn now(&self) -> Millis {
        self.began.1 + millis(self.began.0.elapsed())
    }

    /// Places of batches whose targets have other owners by now.
    pub fn fenced(&self, batches: &[Arc<Batch>]) -> HashSet<usize> {
        if batches.iter().all(|batch| batch.fence.is_none()) {
            return HashSet::new();
        }
        let registry = self.registry.lock();
        let refused = |(_, batch): &(usize, &Arc<Batch>)| {
            batch.fence.is_some_and(|fence| {
                let grant = registry.table().grant(fence.bucket);
                grant.is_some_and(|grant| grant.refuses(fence.member, fence.slot))
            })
        };
        batches.iter().enumerate().filter(refused).map(|(place, _)| place).collect()
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[async_trait]
impl Membership for LocalMembership {
    async fn join(&self, report: &Report, lease: Duration, known: u64) -> Result<Renewal, PortError> {
        Ok(self.registry.lock().join(self.now(), report, millis(lease), known))
    }

    async fn renew_lease(
        &self,
        report: &Report,
        lease: Duration,
        known: u64,
    ) -> Result<Option<Renewal>, PortError> {
        Ok(self.registry.lock().renew(self.now(), report, millis(lease), known))
    }

    async fn leave(&self, member: Uuid) -> Result<(), PortError> {
        self.registry.lock().leave(self.now(), member);
        Ok(())
    }

    async fn snapshot(&self) -> Result<Snapshot, PortError> {
        Ok(self.registry.lock().snapshot(self.now()))
    }

    async fn propose(&self, plan: &Plan) -> Result<bool, PortError> {
        let mut registry = self.registry.lock();
        let taken = registry.propose(self.now(), plan);
        self.epoch.send_replace(registry.table().epoch());
        Ok(taken)
    }

    async fn changed(&self, known: u64, wait: Duration) -> Result<bool, PortError> {
        let mut epoch = self.epoch.subscribe();
        let newer = tokio::time::timeout(wait, epoch.wait_for(|epoch| *epoch > known)).await;
        Ok(matches!(newer, Ok(Ok(_))))
    }
}

/// Has a store keep its members in a field of type [`LocalMembership`].
#[macro_export]
macro_rules! delegate_membership {
    ($store:ty, $field:ident) => {
        #[async_trait::async_trait]
        impl $crate::Membership for $store {
            async fn join(
                &self,
                report: &$crate::membership::Report,
                lease: std::time::Duration,
                known: u64,
            ) -> Result<$crate::membership::Renewal, $crate::PortError> {
                self.$field.join(report, lease, known).await
            }

            async fn renew_lease(
                &self,
                report: &$crate::membership::Report,
                lease: std::time::Duration,
                known: u64,
            ) -> Result<Option<$crate::membership::Renewal>, $crate::PortError> {
                self.$field.renew_lease(report, lease, known).await
            }

            async fn leave(&self, member: uuid::Uuid) -> Result<(), $crate::PortError> {
                self.$field.leave(member).await
            }

            async fn snapshot(&self) -> Result<$crate::membership::Snapshot, $crate::PortError> {
                self.$field.snapshot().await
            }

            async fn propose(&self, plan: &$crate::membership::Plan) -> Result<bool, $crate::PortError> {
                self.$field.propose(plan).await
            }

            async fn changed(
                &self,
                known: u64,
                wait: std::time::Duration,
            ) -> Result<bool, $crate::PortError> {
                self.$field.changed(known, wait).await
            }
        }
    };
}
