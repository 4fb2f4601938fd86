//! One process at a time runs the providers; another takes over when it is gone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use metricsd_discovery::manager::{JobSnapshot, Snapshots};
use metricsd_discovery::metrics::DiscoveryMetrics;
use metricsd_discovery::{Manager, ManagerHandle, ProviderFactory};
use metricsd_ports::Leadership;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::sync::Syncer;
use super::{Loaded, Shared};

/// What is led.
const WHAT: &str = "discovery";

/// How often a process that does not lead asks whether it may.
const ASK_EVERY: Duration = Duration::from_secs(3);

/// How often the lead is looked after, what failed is tried again, and states are written where they changed.
const TICK: Duration = Duration::from_secs(2);

/// Runs discovery whenever no other process does, until told to stop.
pub(super) async fn run(shared: Shared, factory: Arc<dyn ProviderFactory>, metrics: DiscoveryMetrics) {
    let mut failing = false;
    while !shared.stop.is_cancelled() {
        match shared.catalog.try_lead(WHAT).await {
            Ok(Some(lead)) => {
                failing = false;
                info!("this process runs discovery");
                shared.metrics.leading.set(1);
                let stop = shared.stop.child_token();
                let (manager, handle) = Manager::new(factory.clone(), metrics.clone());
                let manager = tokio::spawn(manager.run(stop.clone()));
                Term::new(&shared, handle).serve(lead).await;
                shared.applied.send_replace(None);
                shared.metrics.leading.set(0);
                stop.cancel();
                // It ends with its providers; one that panicked has ended too.
                let _ = manager.await;
            }
            Ok(None) => failing = false,
            Err(error) if !std::mem::replace(&mut failing, true) => {
                warn!(error = error.chain(), "it cannot be asked who runs discovery");
            }
            Err(_) => {}
        }
        rest(&shared.stop).await;
    }
}

async fn rest(stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(ASK_EVERY) => {}
        () = stop.cancelled() => {}
    }
}

/// The time that this process leads.
struct Term<'s> {
    shared: &'s Shared,
    handle: ManagerHandle,
    loaded: watch::Receiver<Loaded>,
    found: watch::Receiver<Arc<Snapshots>>,
    syncer: Syncer,
    /// The file's state is to be written.
    untold: bool,
    /// Jobs whose targets may stay are to be told.
    unretained: bool,
}

impl<'s> Term<'s> {
    fn new(shared: &'s Shared, handle: ManagerHandle) -> Self {
        let mut loaded = shared.loaded.subscribe();
        loaded.mark_changed();
        let found = handle.follow();
        let syncer = Syncer::new(shared.catalog.clone(), shared.settings.clone(), shared.metrics.clone());
        Self { shared, handle, loaded, found, syncer, untold: false, unretained: false }
    }

    /// Until the lead is lost or the process stops.
    async fn serve(mut self, mut lead: Box<dyn Leadership>) {
        let mut tick = tokio::time::interval_at(Instant::now() + TICK, TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.shared.stop.cancelled() => return,
                Ok(()) = self.loaded.changed() => self.apply().await,
                Ok(()) = self.found.changed() => {
                    self.sync().await;
                }
                _ = tick.tick() => {
                    if !lead.is_held().await {
                        warn!("this process no longer runs discovery: its connection to the catalogue was lost");
                        return;
                    }
                    self.settle().await;
                    self.sync().await;
                }
            }
        }
    }

    /// Brings what was found for the jobs of the file; the manager may still tell of jobs that the file no longer has.
    async fn sync(&mut self) {
        let loaded = self.loaded.borrow().clone();
        let found = self.found.borrow_and_update().clone();
        let jobs: HashMap<&str, _> =
            loaded.jobs.iter().flat_map(|jobs| jobs.iter()).map(|job| (job.name.as_str(), job)).collect();
        let is_current = |name: &str, snapshot: &JobSnapshot| match &loaded.jobs {
            Some(_) => jobs.get(name).is_some_and(|job| **job == *snapshot.job),
            None => true,
        };
        let current = found.iter().filter(|(name, snapshot)| is_current(name, snapshot));
        let found: Snapshots = current.map(|(name, snapshot)| (name.clone(), snapshot.clone())).collect();
        // A newer file is taken up first: what the older one's jobs found is worth no more writing.
        let newer = self.loaded.clone();
        let outdated = || newer.has_changed().unwrap_or(false);
        self.syncer.sync(&found, &self.handle.statuses(), outdated).await;
    }

    /// Takes up what the file came to.
    async fn apply(&mut self) {
        let loaded = self.loaded.borrow_and_update().clone();
        self.untold = true;
        if let Some(jobs) = &loaded.jobs {
            self.unretained = true;
            if !self.handle.apply(jobs.to_vec()).await {
                return;
            }
        }
        if self.settle().await {
            self.shared.applied.send_replace(Some(loaded.generation));
        }
    }

    /// Tells the catalogue of the file and its jobs where it does not know yet; answers whether it knows now.
    async fn settle(&mut self) -> bool {
        let loaded = self.loaded.borrow().clone();
        let catalog = &self.shared.catalog;
        let settled = async {
            if self.untold {
                catalog.put_config_state(&loaded.state).await?;
            }
            if let (true, Some(jobs)) = (self.unretained, &loaded.jobs) {
                let names: Vec<String> = jobs.iter().map(|job| job.name.clone()).collect();
                let gone = catalog.retain_jobs(&names).await?;
                if gone > 0 {
                    info!(targets = gone, "targets of jobs that are no longer configured go");
                }
                self.syncer.retain(&names);
            }
            Ok::<_, metricsd_ports::PortError>(())
        };
        match settled.await {
            Ok(()) => {
                (self.untold, self.unretained) = (false, false);
                let applied = Some(loaded.generation);
                if self.shared.applied.borrow().is_some() && *self.shared.applied.borrow() != applied {
                    self.shared.applied.send_replace(applied);
                }
                true
            }
            Err(error) => {
                warn!(error = error.chain(), "the catalogue does not know of the jobs yet");
                false
            }
        }
    }
}
