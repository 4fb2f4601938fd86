//! Runs the providers of all jobs, keeps what each has found, and tells what has changed.
//!
//! Providers with the same settings run once, however many jobs name them. A new configuration is applied by difference:
//! what it has in common with the last one keeps running, with everything that was found.

mod describe;
mod found;
mod state;
mod supervise;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::{JobConfig, ProviderConfig};
use crate::metrics::DiscoveryMetrics;
use crate::provider::Provider;
pub use describe::describe;
pub(crate) use describe::public_url;
pub use found::{FoundGroup, FoundTarget, JobSnapshot, ProviderStatus, Snapshots};
use state::{Event, State};

/// Snapshots are told at most this often …
const TELL_INTERVAL: Duration = Duration::from_secs(1);
/// … except that a target that has become ready or is ending is told this soon.
const URGENT_DELAY: Duration = Duration::from_millis(50);
/// Configurations that wait to be applied; one who gives more waits.
const COMMANDS: usize = 4;
/// What providers have told and the manager has not taken in yet; providers wait when it is full.
const EVENTS: usize = 64;

/// Makes providers of settings.
pub trait ProviderFactory: Send + Sync {
    /// A provider that is not running yet.
    ///
    /// # Errors
    /// A sentence for the user, without secrets: what of the settings cannot be. It shows as the provider's error.
    fn provider(&self, config: &ProviderConfig) -> Result<Box<dyn Provider>, String>;
}

/// Runs providers until told to stop.
pub struct Manager {
    factory: Arc<dyn ProviderFactory>,
    metrics: DiscoveryMetrics,
    commands: mpsc::Receiver<Vec<JobConfig>>,
    snapshots: watch::Sender<Arc<Snapshots>>,
    statuses: Arc<RwLock<Vec<ProviderStatus>>>,
}

/// Where configurations go and findings come from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ManagerHandle {
    commands: mpsc::Sender<Vec<JobConfig>>,
    snapshots: watch::Receiver<Arc<Snapshots>>,
    statuses: Arc<RwLock<Vec<ProviderStatus>>>,
}

impl ManagerHandle {
    /// Has these jobs, and no others, run from now on. Their names are unique. False when the manager has stopped.
    pub async fn apply(&self, jobs: Vec<JobConfig>) -> bool {
        self.commands.send(jobs).await.is_ok()
    }

    /// Follows what is found. The newest state replaces the one before: whoever is slow misses steps, never the end.
    pub fn follow(&self) -> watch::Receiver<Arc<Snapshots>> {
        self.snapshots.clone()
    }

    /// What has been found by now.
    pub fn snapshots(&self) -> Arc<Snapshots> {
        Arc::clone(&self.snapshots.borrow())
    }

    /// How each provider fares.
    pub fn statuses(&self) -> Vec<ProviderStatus> {
        self.statuses.read().clone()
    }
}

impl Manager {
    /// A manager without jobs, and the handle to give it some.
    pub fn new(factory: Arc<dyn ProviderFactory>, metrics: DiscoveryMetrics) -> (Self, ManagerHandle) {
        let (sender, commands) = mpsc::channel(COMMANDS);
        let (snapshots, follower) = watch::channel(Arc::new(BTreeMap::new()));
        let statuses = Arc::<RwLock<Vec<ProviderStatus>>>::default();
        let handle = ManagerHandle { commands: sender, snapshots: follower, statuses: Arc::clone(&statuses) };
        (Self { factory, metrics, commands, snapshots, statuses }, handle)
    }

    /// Runs until `stop`, or until every handle is gone. On return every provider has ended.
    pub async fn run(mut self, stop: CancellationToken) {
        let (sender, mut events) = mpsc::channel::<Event>(EVENTS);
        let providers_stop = stop.child_token();
        let mut state = State::new(Arc::clone(&self.factory), sender, providers_stop.clone());
        let mut told_at: Option<Instant> = None;
        let mut tell_at: Option<Instant> = None;
        loop {
            let wake = tell_at.unwrap_or_else(|| Instant::now() + TELL_INTERVAL);
            tokio::select! {
                jobs = self.commands.recv() => {
                    let Some(jobs) = jobs else { break };
                    state.apply(jobs);
                    self.publish_statuses(&state);
                }
                Some(event) = events.recv() => {
                    state.take(event, &self.metrics);
                    self.publish_statuses(&state);
                }
                () = tokio::time::sleep_until(wake), if tell_at.is_some() => {
                    self.snapshots.send_replace(Arc::new(state.snapshots()));
                    told_at = Some(Instant::now());
                }
                () = stop.cancelled() => break,
            }
            tell_at = state.changed().map(|urgent| due(told_at, tell_at, urgent));
        }
        providers_stop.cancel();
        // Providers that wait for room to tell something must be able to end.
        drop(events);
        state.ended().await;
    }

    fn publish_statuses(&self, state: &State) {
        let statuses = state.statuses();
        self.metrics.providers(&statuses);
        *self.statuses.write() = statuses;
    }
}

/// When what has changed is to be told: an earlier plan stands, unless this is more urgent.
fn due(told_at: Option<Instant>, planned: Option<Instant>, urgent: bool) -> Instant {
    let now = Instant::now();
    let wanted =
        if urgent { now + URGENT_DELAY } else { told_at.map_or(now, |told| (told + TELL_INTERVAL).max(now)) };
    planned.map_or(wanted, |planned| planned.min(wanted))
}
