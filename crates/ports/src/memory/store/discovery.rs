//! Discovered and registered targets in memory.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use async_trait::async_trait;
use metricsd_model::{Health, HealthStatus, Millis, Origin, Target, TargetSpec};
use uuid::Uuid;

use super::{MemoryStore, State};
use crate::discovery::{Alone, MAX_CONFLICTS, MAX_PROMPT, bounded_labels};
use crate::{
    Completeness, ConfigState, Conflict, DiscoveredTarget, DiscoveryCatalog, ErrorKind, JobState, Leadership,
    PortError, Registration, Synced,
};

/// What is kept of discovery beside targets.
#[derive(Default)]
pub(super) struct Discovery {
    /// Labels before relabelling, by target id.
    labels: BTreeMap<String, BTreeMap<String, String>>,
    jobs: BTreeMap<String, JobState>,
    config: Option<ConfigState>,
}

impl Discovery {
    /// Forgets a target that is gone.
    pub(super) fn forget(&mut self, target_id: &str) {
        self.labels.remove(target_id);
    }
}

fn now() -> Millis {
    chrono::Utc::now().timestamp_millis()
}

fn after(ttl: Duration) -> Millis {
    now().saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX))
}

impl State {
    fn next_revision(&mut self) -> i64 {
        self.revision += 1;
        self.revision
    }

    fn insert(&mut self, spec: &TargetSpec, origin: Origin) -> &mut Target {
        let target = Target {
            id: Uuid::new_v4(),
            spec: spec.clone(),
            origin,
            health: Health {
                status: if spec.enabled { HealthStatus::Unknown } else { HealthStatus::Disabled },
                ..Health::default()
            },
            created_at: now(),
            revision: self.next_revision(),
            deleting: false,
            scrape_requested: None,
        };
        self.targets.entry(spec.target_id.clone()).insert_entry(target).into_mut()
    }

    /// Marks targets as being deleted; answers how many were not yet.
    fn remove_where(&mut self, gone: impl Fn(&Target) -> bool) -> u64 {
        let mut removed = 0;
        for target in self.targets.values_mut().filter(|target| !target.deleting) {
            if gone(target) {
                target.deleting = true;
                self.revision += 1;
                target.revision = self.revision;
                removed += 1;
            }
        }
        removed
    }

    fn sync(
        &mut self,
        job: &str,
        wanted: &HashMap<&str, &DiscoveredTarget>,
        completeness: Completeness,
    ) -> Synced {
        let mut synced = Synced::default();
        let mut fresh = Vec::new();
        let mut order: Vec<_> = wanted.values().collect();
        order.sort_by_key(|found| &found.spec.target_id);
        for found in order {
            let id = &found.spec.target_id;
            let origin = Origin::Discovered { job: job.to_owned(), provider: found.provider.clone() };
            let labels = bounded_labels(found.labels.clone());
            match self.targets.get(id) {
                None => {
                    self.insert(&found.spec, origin);
                    fresh.push(id.clone());
                    synced.added += 1;
                }
                Some(standing) if standing.origin.job() != Some(job) => {
                    synced.conflicted += 1;
                    if synced.conflicts.len() < MAX_CONFLICTS {
                        let held_by = held_by(&standing.origin);
                        synced.conflicts.push(Conflict { target_id: id.clone(), held_by });
                    }
                    continue;
                }
                Some(standing) => {
                    let revived = standing.deleting;
                    let same = standing.spec == found.spec
                        && standing.origin == origin
                        && self.discovery.labels.get(id) == Some(&labels);
                    if same && !revived && !found.prompt {
                        synced.unchanged += 1;
                        continue;
                    }
                    self.rewrite(found, origin);
                    synced.added += u64::from(revived);
                    synced.changed += u64::from(!revived);
                }
            }
            self.discovery.labels.insert(id.clone(), labels);
        }
        if fresh.len() <= MAX_PROMPT {
            for id in fresh {
                if let Some(target) = self.targets.get_mut(&id) {
                    target.scrape_requested = Some(now());
                }
            }
        }
        let lost = |target: &Target| {
            target.origin.job() == Some(job) && !wanted.contains_key(target.spec.target_id.as_str())
        };
        match completeness {
            Completeness::All => synced.removed = self.remove_where(lost),
            Completeness::Some => {
                let kept = self.targets.values().filter(|target| !target.deleting && lost(target));
                synced.kept = kept.count() as u64;
            }
        }
        synced
    }

    fn rewrite(&mut self, found: &DiscoveredTarget, origin: Origin) {
        let revision = self.next_revision();
        if let Some(target) = self.targets.get_mut(&found.spec.target_id) {
            target.spec = found.spec.clone();
            target.origin = origin;
            target.deleting = false;
            target.revision = revision;
            if found.prompt {
                target.scrape_requested = Some(now());
            }
        }
    }
}

/// Whose a target is, as the end of a sentence.
fn held_by(origin: &Origin) -> String {
    match origin {
        Origin::Api => "a target of the API".to_owned(),
        Origin::Registered { .. } => "a target that registered itself".to_owned(),
        Origin::Discovered { job, .. } => format!("job {job:?}"),
    }
}

#[async_trait]
impl DiscoveryCatalog for MemoryStore {
    async fn sync_discovered(
        &self,
        job: &str,
        targets: &[DiscoveredTarget],
        completeness: Completeness,
    ) -> Result<Synced, PortError> {
        let mut wanted: HashMap<&str, &DiscoveredTarget> = HashMap::new();
        for found in targets {
            found.check().map_err(|message| PortError::new(ErrorKind::Invalid, message))?;
            wanted.entry(&found.spec.target_id).or_insert(found);
        }
        let mut state = self.state.lock();
        let synced = state.sync(job, &wanted, completeness);
        self.revision.send_replace(state.revision);
        Ok(synced)
    }

    async fn retain_jobs(&self, jobs: &[String]) -> Result<u64, PortError> {
        let kept: HashSet<&str> = jobs.iter().map(String::as_str).collect();
        let mut state = self.state.lock();
        state.discovery.jobs.retain(|job, _| kept.contains(job.as_str()));
        let gone = state.remove_where(|target| target.origin.job().is_some_and(|job| !kept.contains(job)));
        self.revision.send_replace(state.revision);
        Ok(gone)
    }

    async fn discovered_labels(
        &self,
        target_ids: &[String],
    ) -> Result<BTreeMap<String, BTreeMap<String, String>>, PortError> {
        let state = self.state.lock();
        let of = |id: &String| {
            let discovered = state.targets.get(id)?.origin.job().is_some();
            let labels = state.discovery.labels.get(id).filter(|_| discovered)?;
            Some((id.clone(), labels.clone()))
        };
        Ok(target_ids.iter().filter_map(of).collect())
    }

    async fn put_discovery_state(&self, job: &JobState) -> Result<(), PortError> {
        self.state.lock().discovery.jobs.insert(job.job.clone(), job.clone());
        Ok(())
    }

    async fn discovery_states(&self) -> Result<Vec<JobState>, PortError> {
        Ok(self.state.lock().discovery.jobs.values().cloned().collect())
    }

    async fn put_config_state(&self, config: &ConfigState) -> Result<(), PortError> {
        self.state.lock().discovery.config = Some(config.clone());
        Ok(())
    }

    async fn config_state(&self) -> Result<Option<ConfigState>, PortError> {
        Ok(self.state.lock().discovery.config.clone())
    }

    async fn register_target(&self, spec: &TargetSpec, ttl: Duration) -> Result<Registration, PortError> {
        let origin = Origin::Registered { expires_at: after(ttl) };
        let mut state = self.state.lock();
        let registration = match state.targets.get(&spec.target_id) {
            None => Registration::New(state.insert(spec, origin).clone()),
            Some(standing) if !matches!(standing.origin, Origin::Registered { .. }) => {
                return Ok(Registration::Taken(standing.clone()));
            }
            Some(standing) => {
                let mut renewed = Target { origin, ..standing.clone() };
                if renewed.deleting || renewed.spec != *spec {
                    super::catalog::enable(&mut renewed, spec.enabled);
                    renewed = Target {
                        spec: spec.clone(),
                        deleting: false,
                        revision: state.next_revision(),
                        ..renewed
                    };
                }
                state.targets.insert(spec.target_id.clone(), renewed.clone());
                Registration::Renewed(renewed)
            }
        };
        self.revision.send_replace(state.revision);
        Ok(registration)
    }

    async fn renew(&self, target_id: &str, ttl: Duration) -> Result<Option<Target>, PortError> {
        let mut state = self.state.lock();
        let registered =
            |target: &&mut Target| matches!(target.origin, Origin::Registered { .. }) && !target.deleting;
        Ok(state.targets.get_mut(target_id).filter(registered).map(|target| {
            target.origin = Origin::Registered { expires_at: after(ttl) };
            target.clone()
        }))
    }

    async fn expire_lapsed(&self) -> Result<u64, PortError> {
        let mut state = self.state.lock();
        let now = now();
        let lapsed = state.remove_where(
            |target| matches!(target.origin, Origin::Registered { expires_at } if expires_at <= now),
        );
        self.revision.send_replace(state.revision);
        Ok(lapsed)
    }

    async fn try_lead(&self, _: &str) -> Result<Option<Box<dyn Leadership>>, PortError> {
        Ok(Some(Box::new(Alone)))
    }
}
