//! What the manager knows: which providers run, what each has found, which jobs want it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::found::{FoundGroup, JobSnapshot, ProviderStatus, Snapshots};
use super::{ProviderFactory, describe, supervise};
use crate::config::{JobConfig, ProviderConfig};
use crate::groups::MAX_TARGETS;
use crate::metrics::DiscoveryMetrics;
use crate::provider::{TargetGroup, Update};

/// What one provider has told.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) id: u64,
    pub(super) update: Update,
}

/// One provider that runs, and what it has found.
struct Running {
    config: ProviderConfig,
    groups: BTreeMap<String, Arc<FoundGroup>>,
    status: ProviderStatus,
    stop: CancellationToken,
}

/// One job, and whether there is something to tell of it.
struct Job {
    config: Arc<JobConfig>,
    providers: Vec<u64>,
    changed: bool,
    snapshot: Option<Arc<JobSnapshot>>,
}

/// Everything.
pub(super) struct State {
    factory: Arc<dyn ProviderFactory>,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    providers: BTreeMap<u64, Running>,
    jobs: BTreeMap<String, Job>,
    next_id: u64,
    revision: u64,
    /// Something is to be told, and whether it is urgent.
    changed: Option<bool>,
}

impl State {
    pub(super) fn new(
        factory: Arc<dyn ProviderFactory>,
        events: mpsc::Sender<Event>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            factory,
            events,
            stop,
            tasks: JoinSet::new(),
            providers: BTreeMap::new(),
            jobs: BTreeMap::new(),
            next_id: 0,
            revision: 0,
            changed: None,
        }
    }

    /// Something is to be told, and whether it is urgent.
    pub(super) fn changed(&self) -> Option<bool> {
        self.changed
    }

    /// Has these jobs and no others. What they have in common with those before keeps running.
    pub(super) fn apply(&mut self, jobs: Vec<JobConfig>) {
        while self.tasks.try_join_next().is_some() {}
        let mut before = std::mem::take(&mut self.jobs);
        for config in jobs {
            let providers = self.ids_of(&config.providers);
            let kept =
                before.remove(&config.name).filter(|job| *job.config == config && job.providers == providers);
            let job = kept.unwrap_or_else(|| {
                self.changed = self.changed.or(Some(false));
                Job { config: Arc::new(config), providers, changed: true, snapshot: None }
            });
            self.jobs.insert(job.config.name.clone(), job);
        }
        if !before.is_empty() {
            self.changed = self.changed.or(Some(false));
        }
        self.stop_unwanted();
    }

    /// The providers with these settings, started where none runs yet; each once.
    fn ids_of(&mut self, configs: &[ProviderConfig]) -> Vec<u64> {
        let mut ids = Vec::with_capacity(configs.len());
        for config in configs {
            let running =
                self.providers.iter().find(|(_, running)| running.config == *config).map(|(id, _)| *id);
            let id = running.unwrap_or_else(|| self.start(config));
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids
    }

    fn start(&mut self, config: &ProviderConfig) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let stop = self.stop.child_token();
        let mut status = new_status(id, config);
        match self.factory.provider(config) {
            Ok(provider) => {
                let task = supervise::supervise(id, Arc::from(provider), self.events.clone(), stop.clone());
                self.tasks.spawn(task);
            }
            Err(sentence) => failed(&mut status, sentence),
        }
        let running = Running { config: config.clone(), groups: BTreeMap::new(), status, stop };
        self.providers.insert(id, running);
        id
    }

    fn stop_unwanted(&mut self) {
        let wanted: BTreeSet<u64> =
            self.jobs.values().flat_map(|job| job.providers.iter().copied()).collect();
        self.providers.retain(|id, running| {
            let keep = wanted.contains(id);
            if !keep {
                running.stop.cancel();
            }
            keep
        });
    }

    /// Takes in what a provider has told.
    pub(super) fn take(&mut self, Event { id, update }: Event, metrics: &DiscoveryMetrics) {
        // One that was stopped may have told something before it knew.
        let Some(running) = self.providers.get_mut(&id) else { return };
        let kind = running.status.kind;
        let was_complete = running.status.complete;
        let taken = match update {
            Update::All(groups) => running.replace_all(groups),
            Update::Some(groups) => running.replace_some(groups),
            Update::Failed(sentence) => Err(sentence),
        };
        let change = match taken {
            Ok(change) => {
                metrics.refreshed(kind, "ok");
                running.succeeded();
                change
            }
            Err(sentence) => {
                metrics.refreshed(kind, "failed");
                // A server that is down is told of once, not at each attempt.
                if running.status.last_error.as_ref() != Some(&sentence) {
                    tracing::warn!(
                        kind,
                        settings = running.status.settings,
                        error = sentence,
                        "finding targets failed"
                    );
                }
                failed(&mut running.status, sentence);
                return;
            }
        };
        if change.any || running.status.complete != was_complete {
            self.changed = Some(self.changed.unwrap_or(false) || change.urgent);
            self.jobs
                .values_mut()
                .filter(|job| job.providers.contains(&id))
                .for_each(|job| job.changed = true);
        }
    }

    /// All jobs, those of which nothing has changed as they were told before.
    pub(super) fn snapshots(&mut self) -> Snapshots {
        self.changed = None;
        let mut snapshots = Snapshots::new();
        for (name, job) in &mut self.jobs {
            if job.changed || job.snapshot.is_none() {
                self.revision += 1;
                let providers = || job.providers.iter().filter_map(|id| self.providers.get(id));
                job.snapshot = Some(Arc::new(JobSnapshot {
                    job: Arc::clone(&job.config),
                    revision: self.revision,
                    complete: providers().all(|running| running.status.complete),
                    groups: providers().flat_map(|running| running.groups.values().cloned()).collect(),
                }));
                job.changed = false;
            }
            snapshots.extend(job.snapshot.clone().map(|snapshot| (name.clone(), snapshot)));
        }
        snapshots
    }

    pub(super) fn statuses(&self) -> Vec<ProviderStatus> {
        let jobs_of = |id: u64| self.jobs.iter().filter(move |(_, job)| job.providers.contains(&id));
        self.providers
            .iter()
            .map(|(id, running)| ProviderStatus {
                jobs: jobs_of(*id).map(|(name, _)| name.clone()).collect(),
                ..running.status.clone()
            })
            .collect()
    }

    /// Waits until every provider has ended; each has been told to.
    pub(super) async fn ended(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// What an update has changed.
#[derive(Debug, Clone, Copy, Default)]
struct Change {
    any: bool,
    urgent: bool,
}

impl Running {
    fn replace_all(&mut self, groups: Vec<TargetGroup>) -> Result<Change, String> {
        check_count(groups.iter().map(|group| group.targets.len()).sum())?;
        let mut gone = std::mem::take(&mut self.groups);
        self.status.targets = 0;
        let mut change = Change::default();
        for group in groups {
            let old = gone.remove(&group.source);
            self.put(group, old, &mut change);
        }
        change.any |= !gone.is_empty();
        self.status.complete = true;
        Ok(change)
    }

    fn replace_some(&mut self, groups: Vec<TargetGroup>) -> Result<Change, String> {
        let replaced =
            |group: &TargetGroup| self.groups.get(&group.source).map_or(0, |old| old.targets.len());
        let old: usize = groups.iter().map(replaced).sum();
        let new: usize = groups.iter().map(|group| group.targets.len()).sum();
        check_count(self.status.targets.saturating_add(new).saturating_sub(old))?;
        let mut change = Change::default();
        for group in groups {
            let old = self.groups.remove(&group.source);
            self.status.targets -= old.as_ref().map_or(0, |old| old.targets.len());
            self.put(group, old, &mut change);
        }
        Ok(change)
    }

    /// Keeps a group, in the allocation it had where nothing has changed; one without targets is gone.
    fn put(&mut self, group: TargetGroup, old: Option<Arc<FoundGroup>>, change: &mut Change) {
        let new = FoundGroup::new(self.status.kind, group);
        if old.as_deref() == Some(&new) {
            self.insert(old);
            return;
        }
        if new.targets.is_empty() {
            change.any |= old.is_some();
            return;
        }
        change.any = true;
        change.urgent |= new.is_urgent_after(old.as_deref());
        self.insert(Some(Arc::new(new)));
    }

    fn insert(&mut self, group: Option<Arc<FoundGroup>>) {
        let Some(group) = group else { return };
        self.status.targets += group.targets.len();
        // A source that is told twice in one update counts once.
        if let Some(twice) = self.groups.insert(group.source.clone(), group) {
            self.status.targets -= twice.targets.len();
        }
    }

    fn succeeded(&mut self) {
        let status = &mut self.status;
        status.groups = self.groups.len();
        status.last_success_ms = Some(now_ms());
        status.last_error = None;
        status.failures_in_a_row = 0;
        status.refreshes += 1;
    }
}

fn check_count(targets: usize) -> Result<(), String> {
    if targets <= MAX_TARGETS {
        return Ok(());
    }
    Err(format!(
        "{targets} targets were found, more than the {MAX_TARGETS} of one source; what was known before stands"
    ))
}

fn failed(status: &mut ProviderStatus, sentence: String) {
    status.last_error = Some(sentence);
    status.last_failure_ms = Some(now_ms());
    status.failures_in_a_row += 1;
    status.failures += 1;
}

fn new_status(id: u64, config: &ProviderConfig) -> ProviderStatus {
    ProviderStatus {
        id,
        kind: kind(config),
        jobs: Vec::new(),
        settings: describe(config),
        targets: 0,
        groups: 0,
        complete: false,
        started_ms: now_ms(),
        last_success_ms: None,
        last_error: None,
        last_failure_ms: None,
        failures_in_a_row: 0,
        failures: 0,
        refreshes: 0,
    }
}

fn kind(config: &ProviderConfig) -> &'static str {
    match config {
        ProviderConfig::Static(_) => "static",
        ProviderConfig::File(_) => "file",
        ProviderConfig::Http(_) => "http",
        ProviderConfig::Dns(_) => "dns",
        ProviderConfig::Consul(_) => "consul",
        ProviderConfig::Kubernetes(_) => "kubernetes",
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
