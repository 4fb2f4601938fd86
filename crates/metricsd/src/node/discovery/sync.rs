//! Brings what was found into the catalogue, job by job, where it changed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use metricsd_discovery::manager::{JobSnapshot, ProviderStatus, Snapshots};
use metricsd_ports::{Catalog, Completeness, JobState, Synced};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::resolve::{Lives, resolve_aside};
use super::state::providers;
use super::{Metrics, Settings, now};

/// How long after a failure, or after ids that others had, a job is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// How often the state of a job is written that differs by nothing but times.
const TIMES_EVERY: i64 = 10_000;

/// Knows what it last brought.
pub(super) struct Syncer {
    catalog: Arc<dyn Catalog>,
    settings: Arc<Settings>,
    metrics: Metrics,
    jobs: HashMap<String, Known>,
}

/// What was last brought of a job.
#[derive(Default)]
struct Known {
    revision: Option<u64>,
    lives: Lives,
    /// When to try again what did not work.
    again: Option<Instant>,
    /// As it is now.
    state: JobState,
    /// As it was last written, and when.
    written: Option<(JobState, i64)>,
}

impl Syncer {
    pub(super) fn new(catalog: Arc<dyn Catalog>, settings: Arc<Settings>, metrics: Metrics) -> Self {
        Self { catalog, settings, metrics, jobs: HashMap::new() }
    }

    /// Forgets all jobs but these.
    pub(super) fn retain(&mut self, jobs: &[String]) {
        self.jobs.retain(|job, _| jobs.contains(job));
    }

    /// Brings what changed, and tells how every job goes. What is left once it is `outdated` is left.
    pub(super) async fn sync(
        &mut self,
        found: &Snapshots,
        statuses: &[ProviderStatus],
        outdated: impl Fn() -> bool,
    ) {
        for (job, snapshot) in found {
            if outdated() {
                return;
            }
            let known = self.jobs.entry(job.clone()).or_default();
            let due = known.again.is_some_and(|again| again <= Instant::now());
            if known.revision != Some(snapshot.revision) || due {
                self.bring(job, snapshot, &outdated).await;
            }
            self.tell(job, statuses).await;
        }
        let active: u64 = self.jobs.values().map(|known| known.state.active).sum();
        self.metrics.targets.set(i64::try_from(active).unwrap_or(i64::MAX));
    }

    async fn bring(&mut self, job: &str, snapshot: &Arc<JobSnapshot>, outdated: impl Fn() -> bool) {
        let others: u64 =
            self.jobs.iter().filter(|(name, _)| *name != job).map(|(_, known)| known.state.active).sum();
        let Some(known) = self.jobs.get_mut(job) else { return };
        known.again = None;
        let lives = known.lives.clone();
        let Some(found) = resolve_aside(snapshot.clone(), lives, self.settings.kept_dropped).await else {
            known.again = Some(Instant::now() + AGAIN_AFTER);
            known.state.error = Some("what was found could not be resolved".to_owned());
            return;
        };
        // To resolve many targets takes time, and to write them more.
        if outdated() {
            return;
        }
        let state = &mut known.state;
        state.job = job.to_owned();
        (state.dropped, state.dropped_targets, state.error) =
            (found.dropped, found.dropped_targets, found.error);
        let room = (self.settings.max_targets as u64).saturating_sub(others);
        if found.targets.len() as u64 > room {
            let targets = found.targets.len();
            state.error = Some(format!(
                "{targets} targets are more than discovery.max_targets leaves for this job, {room}: its targets stay as they were"
            ));
            known.again = Some(Instant::now() + AGAIN_AFTER);
            known.revision = Some(snapshot.revision);
            return;
        }
        let completeness = if snapshot.complete { Completeness::All } else { Completeness::Some };
        match self.catalog.sync_discovered(job, &found.targets, completeness).await {
            Ok(synced) => {
                log(job, &synced);
                known.revision = Some(snapshot.revision);
                known.lives = found.lives;
                state.active = synced.added + synced.changed + synced.unchanged + synced.kept;
                state.synced = Some(now());
                known.again = (synced.conflicted > 0).then(|| Instant::now() + AGAIN_AFTER);
                state.conflicts = synced.conflicts;
            }
            Err(error) => {
                self.metrics.sync_failures.inc();
                warn!(job, error = error.chain(), "what was found is not in the catalogue yet");
                known.again = Some(Instant::now() + AGAIN_AFTER);
                known.revision = Some(snapshot.revision);
                state.error = Some("the catalogue did not take what was found; it is tried again".to_owned());
            }
        }
    }

    /// Writes how a job goes, where that is not what was last written.
    async fn tell(&mut self, job: &str, statuses: &[ProviderStatus]) {
        let Some(known) = self.jobs.get_mut(job) else { return };
        job.clone_into(&mut known.state.job);
        known.state.providers = providers(job, statuses);
        let due = known.written.as_ref().is_none_or(|(written, at)| {
            (*written != known.state && now() - at >= TIMES_EVERY)
                || timeless(written) != timeless(&known.state)
        });
        if !due {
            return;
        }
        match self.catalog.put_discovery_state(&known.state).await {
            Ok(()) => known.written = Some((known.state.clone(), now())),
            Err(error) => debug!(job, error = error.chain(), "the state of a job is not written yet"),
        }
    }
}

/// What matters at once of a state: everything but times.
fn timeless(state: &JobState) -> impl PartialEq + use<'_> {
    let providers: Vec<_> = state
        .providers
        .iter()
        .map(|one| (&one.provider, &one.settings, one.targets, one.complete, &one.error))
        .collect();
    (
        state.active,
        state.dropped,
        &state.error,
        &state.conflicts,
        state.synced.is_some(),
        &state.dropped_targets,
        providers,
    )
}

fn log(job: &str, synced: &Synced) {
    let Synced { added, changed, removed, conflicted, .. } = synced;
    if added + changed + removed > 0 {
        info!(job, added, changed, removed, "discovered targets");
    }
    for conflict in &synced.conflicts {
        let (target_id, held_by) = (&conflict.target_id, &conflict.held_by);
        debug!(job, target_id, held_by, conflicted, "a discovered target's id is taken");
    }
}
