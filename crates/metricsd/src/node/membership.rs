//! A worker among workers: keeps its lease, makes plans where one is called for, and hands over what it owns before it ends.

use std::sync::Arc;
use std::time::Duration;

use metricsd_ports::membership::{Plan, Policy, Renewal, Report, Snapshot, plan};
use metricsd_ports::{Membership, PortError};
use metricsd_scrape::{Load, Ownership};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::config::ClusterConfig;

/// How far members may lie from their even shares before a plan evens them out, in percent.
const TOLERANCE: u32 = 10;

/// How far the busiest worker may lie above its even share before buckets move although nobody has come or gone, in percent.
const UNEVEN: u64 = 25;

/// How often that is looked at.
const EVEN_OUT_EVERY: Duration = Duration::from_secs(30);

/// Of several workers that see that a plan is called for, each waits so much longer than the one before.
const TURN: Duration = Duration::from_millis(40);

/// Places in the order of turns.
const TURNS: usize = 8;

/// A member's part of the ring is in whole steps of so many samples a second that it can take.
const CAPACITY_STEP: u64 = 10_000;

/// From a plan to a hand-over: two renewals, so that one may be lost, and half a one for the way.
fn lead(settings: &ClusterConfig) -> Duration {
    settings.heartbeat * 5 / 2
}

/// What `/metrics` shows of a worker's part.
#[derive(Debug, Clone, Default)]
struct Metrics {
    owned: Gauge,
    capacity: Gauge,
    buckets: Gauge,
    epoch: Gauge,
    held: Gauge,
    renewals: Counter,
    failures: Counter,
    lost: Counter,
    plans: Counter,
}

impl Metrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let worker = registry.sub_registry_with_prefix("worker");
        let what = "Samples a second that the targets of this worker come to";
        worker.register("owned_samples_per_second", what, metrics.owned.clone());
        let what = "Samples a second that this worker can take";
        worker.register("capacity_samples_per_second", what, metrics.capacity.clone());
        let what = "Buckets of targets that are this worker's";
        worker.register("owned_buckets", what, metrics.buckets.clone());
        let what = "The last change of the ring that this worker knows";
        worker.register("ring_epoch", what, metrics.epoch.clone());
        worker.register("lease_held", "Whether this worker's lease is valid: 1 or 0", metrics.held.clone());
        worker.register("lease_renewals", "Times that the lease was renewed", metrics.renewals.clone());
        let what = "Times that the lease could not be renewed";
        worker.register("lease_failures", what, metrics.failures.clone());
        let what = "Times that the lease was taken by others";
        worker.register("lease_losses", what, metrics.lost.clone());
        worker.register("ring_plans", "Changes of the ring that this worker made", metrics.plans.clone());
        metrics
    }
}

/// The task that keeps the lease.
pub(super) struct Handle {
    drain: CancellationToken,
    task: JoinHandle<()>,
}

impl Handle {
    /// Hands over what this worker owns, and ends when that is done; after `limit` in any case.
    pub(super) async fn leave(mut self, limit: Duration) {
        self.drain.cancel();
        if timeout(limit, &mut self.task).await.is_err() {
            warn!("targets could not be handed over in time; the others notice when the lease runs out");
            self.task.abort();
        }
    }
}

/// Joins as soon as the pool has read all targets, and keeps the lease.
pub(super) fn start(
    membership: Arc<dyn Membership>,
    ownership: Ownership,
    process: Uuid,
    settings: ClusterConfig,
    registry: &mut Registry,
) -> Handle {
    let metrics = Metrics::register(registry);
    metrics.capacity.set(i64::try_from(settings.capacity).unwrap_or(i64::MAX));
    let drain = CancellationToken::new();
    let worker = Worker {
        membership,
        ownership,
        process,
        settings,
        metrics,
        drain: drain.clone(),
        joined: false,
        failing: false,
        steady_since: None,
        evened_out: Instant::now(),
    };
    Handle { drain, task: tokio::spawn(worker.run()) }
}

struct Worker {
    membership: Arc<dyn Membership>,
    ownership: Ownership,
    process: Uuid,
    settings: ClusterConfig,
    metrics: Metrics,
    drain: CancellationToken,
    joined: bool,
    failing: bool,
    /// Since when the lease has been valid without a break.
    steady_since: Option<Instant>,
    evened_out: Instant,
}

/// What a round came to.
enum Round {
    /// The lease is held; when to look again, at the latest.
    Held(Duration),
    /// Everything is handed over.
    Left,
    /// There is no lease; at once again.
    Lost,
}

impl Worker {
    async fn run(mut self) {
        // A worker that knows no targets can take none over.
        tokio::select! {
            _ = self.ownership.load() => {}
            () = self.drain.cancelled() => return,
        }
        loop {
            let draining = self.drain.is_cancelled();
            let pause = match self.round(draining).await {
                Ok(Round::Held(pause)) => {
                    if std::mem::take(&mut self.failing) {
                        info!("the lease is renewed again");
                    }
                    pause
                }
                Ok(Round::Left) => return,
                Ok(Round::Lost) => continue,
                Err(error) => {
                    self.metrics.failures.inc();
                    if !std::mem::replace(&mut self.failing, true) {
                        let left = self.ownership.left();
                        warn!(error = error.chain(), ?left, "the lease cannot be renewed");
                    }
                    self.settings.heartbeat / 4
                }
            };
            self.show();
            self.rest(pause, draining).await;
        }
    }

    fn show(&self) {
        self.metrics.held.set(i64::from(self.ownership.holds()));
        self.metrics.epoch.set(i64::try_from(self.ownership.epoch()).unwrap_or(i64::MAX));
        self.metrics.buckets.set(i64::try_from(self.ownership.buckets()).unwrap_or(i64::MAX));
    }

    /// Until the next round: sooner where the ring changes or this worker is to end.
    async fn rest(&self, pause: Duration, draining: bool) {
        let until = Instant::now() + pause;
        let told = async {
            // Where this cannot be asked, the next round says why.
            if !matches!(self.membership.changed(self.ownership.epoch(), pause).await, Ok(true)) {
                tokio::time::sleep_until(until).await;
            }
        };
        tokio::select! {
            () = told => {}
            () = tokio::time::sleep_until(until) => {}
            () = self.drain.cancelled(), if !draining => {}
        }
    }

    fn report(&self, load: &Load, draining: bool) -> Option<Report> {
        self.metrics.owned.set(i64::try_from(load.samples_per_second).unwrap_or(i64::MAX));
        Some(Report {
            member: self.ownership.member()?,
            process: self.process,
            weight: u32::try_from(self.settings.capacity / CAPACITY_STEP).unwrap_or(u32::MAX).max(1),
            draining,
            targets: load.targets,
            samples_per_second: load.samples_per_second,
            capacity: self.settings.capacity,
        })
    }

    async fn round(&mut self, draining: bool) -> Result<Round, PortError> {
        let load = self.ownership.load().await;
        let Some(report) = self.report(&load, draining) else { return Ok(Round::Left) };
        if !self.ownership.holds() {
            self.steady_since = None;
        }
        let Some(renewal) = self.renew(&report, draining).await? else {
            self.metrics.lost.inc();
            warn!("others took this worker for lost and have its targets; it joins anew");
            self.ownership.lost(Uuid::new_v4());
            (self.joined, self.steady_since) = (false, None);
            return Ok(if draining { Round::Left } else { Round::Lost });
        };
        self.metrics.renewals.inc();
        self.steady_since.get_or_insert_with(Instant::now);
        if draining && self.ownership.may_leave() {
            return self.leave(report.member).await;
        }
        let uneven = !draining && self.evened_out.elapsed() > EVEN_OUT_EVERY;
        if renewal.unsettled || uneven {
            // A plan may wait for the database, or for others' plans; the lease does not.
            let limit = self.settings.heartbeat * 2;
            let Ok(planned) = timeout(limit, self.plan(&load, &report, uneven)).await else {
                let what = "the database took too long over a plan for the ring";
                return Err(PortError::new(metricsd_ports::ErrorKind::Timeout, what));
            };
            if let Some(round) = planned? {
                return Ok(round);
            }
        }
        Ok(Round::Held(self.pause(&renewal)))
    }

    /// `None` where this worker is a member no more.
    async fn renew(&mut self, report: &Report, draining: bool) -> Result<Option<Renewal>, PortError> {
        let known = self.ownership.known();
        let sent = Instant::now();
        let lease = self.settings.lease;
        let call = async {
            match self.joined {
                true => self.membership.renew_lease(report, lease, known).await,
                false => self.membership.join(report, lease, known).await.map(Some),
            }
        };
        // An answer that comes later renews nothing.
        let Ok(answer) = timeout(lease, call).await else {
            let what = "the database did not answer within a lease";
            return Err(PortError::new(metricsd_ports::ErrorKind::Timeout, what));
        };
        let renewal = answer?;
        if let Some(renewal) = &renewal {
            self.joined = true;
            self.ownership.renewed(sent, Instant::now(), draining, renewal);
        }
        Ok(renewal)
    }

    /// A heartbeat; less where a lease runs out before.
    fn pause(&self, renewal: &Renewal) -> Duration {
        let runs_out = u64::try_from(renewal.next_expiry - renewal.now).ok().filter(|left| *left > 0);
        let noticed = runs_out.map(|left| Duration::from_millis(left) + TURN / 4);
        noticed.map_or(self.settings.heartbeat, |noticed| noticed.min(self.settings.heartbeat))
    }

    /// Makes a plan, in its turn, unless another was quicker.
    async fn plan(&mut self, load: &Load, report: &Report, uneven: bool) -> Result<Option<Round>, PortError> {
        let snapshot = self.membership.snapshot().await?;
        let others = |lease: &&metricsd_ports::membership::Lease| {
            lease.expires > snapshot.now && !lease.report.draining && lease.report.member != report.member
        };
        let others = snapshot.leases.iter().filter(others).count();
        if report.draining && others == 0 {
            info!("there is no other worker to hand targets over to");
            return self.leave(report.member).await.map(Some);
        }
        let turn = turn(&snapshot, report.member);
        let rebalance = uneven && turn == 0 && is_uneven(&snapshot, load);
        if uneven {
            self.evened_out = Instant::now();
        }
        if turn > 0 && !report.draining {
            let wait = TURN * u32::try_from(turn).unwrap_or(1);
            if self.membership.changed(snapshot.table.epoch(), wait).await? {
                return Ok(Some(Round::Held(Duration::ZERO)));
            }
        }
        let Some(plan) = self.made(snapshot, load, rebalance).await else { return Ok(None) };
        let (lost, buckets, epoch) = (plan.lost.len(), plan.grants.len(), plan.base + 1);
        if self.membership.propose(&plan).await? {
            self.metrics.plans.inc();
            info!(epoch, buckets, lost, "the ring has changed");
        }
        // Either way there is something to be heard of.
        Ok(Some(Round::Held(Duration::from_millis(20))))
    }

    async fn made(&self, snapshot: Snapshot, load: &Load, rebalance: bool) -> Option<Plan> {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let steady = self.steady_since.is_some_and(|since| since.elapsed() >= self.settings.lease);
        let policy = Policy {
            lead: millis(lead(&self.settings)),
            doubt: millis(self.settings.lease * 2),
            tolerance: TOLERANCE,
            may_evict: steady,
        };
        let loads = load.buckets.clone();
        // Some milliseconds for each hundred workers.
        let made = tokio::task::spawn_blocking(move || plan(&snapshot, &loads, &policy, rebalance));
        made.await.ok().flatten()
    }

    async fn leave(&self, member: Uuid) -> Result<Round, PortError> {
        // What is under way ends within the lease.
        self.membership.leave(member).await?;
        info!("this worker has handed over what it owned");
        Ok(Round::Left)
    }
}

/// A member's place among those whose leases are valid: another order after every change, so that no single worker holds all
/// up.
fn turn(snapshot: &Snapshot, member: Uuid) -> usize {
    let live: Vec<Uuid> = snapshot
        .leases
        .iter()
        .filter(|lease| lease.expires > snapshot.now)
        .map(|lease| lease.report.member)
        .collect();
    let own = live.iter().position(|live| *live == member).unwrap_or(0);
    let first = usize::try_from(snapshot.table.epoch()).unwrap_or(0) % live.len().max(1);
    ((own + live.len() - first) % live.len().max(1)).min(TURNS)
}

/// Whether the busiest worker has much more than its part of what all targets come to.
fn is_uneven(snapshot: &Snapshot, load: &Load) -> bool {
    let weight = |lease: &metricsd_ports::membership::Lease| u128::from(lease.report.weight);
    let all: u128 = load.buckets.iter().map(|load| u128::from(*load)).sum();
    let weights: u128 = snapshot.leases.iter().map(weight).sum();
    snapshot.leases.iter().any(|lease| {
        let grants = snapshot.table.grants().iter().zip(load.buckets.iter());
        let own = grants.filter(|(grant, _)| grant.is_some_and(|grant| grant.owner == lease.report.member));
        let own: u128 = own.map(|(_, load)| u128::from(*load)).sum();
        own * weights * 100 > all * weight(lease) * u128::from(100 + UNEVEN)
    })
}
