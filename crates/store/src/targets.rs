//! Targets as rows: what of them is kept as JSON, and what discovering changes of those that stand.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use metricsd_model::{AuthConfig, Origin, OriginKind, ScrapeOptions, TargetSpec};
use metricsd_ports::discovery::{MAX_CONFLICTS, MAX_PROMPT, bounded_labels};
use metricsd_ports::{Completeness, Conflict, Created, DiscoveredTarget, ErrorKind, PortError, Synced};
use parking_lot::Mutex;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::damaged;
use crate::together::Together;

/// Different options that are remembered for sharing; more jobs than this share less.
const SHARED_OPTIONS: usize = 256;

/// The parts of a specification that are kept as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecColumns {
    /// `scrape_config`
    pub scrape_config: String,
    /// `labels`
    pub labels: String,
    /// `filters`
    pub filters: String,
    /// `retention_policy`
    pub retention_policy: Option<String>,
}

impl SpecColumns {
    /// Writes them; refuses credentials that are not sealed.
    pub fn of(spec: &TargetSpec) -> Result<Self, PortError> {
        // Secrets are written as a mask; what is stored unsealed would be lost, and would not be secret otherwise.
        let authentication = spec.scrape_config.authentication.as_ref();
        if authentication.is_some_and(|auth| !matches!(auth, AuthConfig::Sealed { .. })) {
            let what = "credentials must be sealed before they are stored";
            return Err(PortError::new(ErrorKind::Invalid, what));
        }
        Ok(Self {
            scrape_config: json(&spec.scrape_config)?,
            labels: json(&spec.labels)?,
            filters: json(&spec.filters)?,
            retention_policy: spec.retention_policy.as_ref().map(json).transpose()?,
        })
    }
}

/// A value as JSON.
pub fn json(value: &impl Serialize) -> Result<String, PortError> {
    serde_json::to_string(value).map_err(|error| damaged("cannot write JSON").caused_by(error))
}

/// What is written of a discovered target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundColumns {
    /// Of its specification.
    pub spec: SpecColumns,
    /// Labels before relabelling.
    pub discovered: String,
    /// A hash of everything that was found.
    pub fingerprint: i64,
}

impl FoundColumns {
    /// Writes them.
    pub fn of(found: &DiscoveredTarget) -> Result<Self, PortError> {
        let spec = SpecColumns::of(&found.spec)?;
        let discovered = json(&bounded_labels(found.labels.clone()))?;
        let fingerprint = fingerprint(found, &spec, &discovered);
        Ok(Self { spec, discovered, fingerprint })
    }
}

/// Each part with its length before it, so that no two lists of parts look the same.
fn fingerprint(found: &DiscoveredTarget, columns: &SpecColumns, discovered: &str) -> i64 {
    let spec = &found.spec;
    let mut bytes = Vec::with_capacity(columns.scrape_config.len() + discovered.len() + 256);
    for part in [
        found.provider.as_str(),
        &spec.source_id,
        spec.source_type.as_str(),
        spec.collection_method.as_str(),
        if spec.enabled { "1" } else { "0" },
        &columns.scrape_config,
        &columns.labels,
        &columns.filters,
        columns.retention_policy.as_deref().unwrap_or(""),
        discovered,
    ] {
        bytes.extend_from_slice(&part.len().to_le_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    xxh3_64(&bytes).cast_signed()
}

/// What is known of a row before it may be changed by discovery.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Its id.
    pub target_id: String,
    /// Who asked for it.
    pub origin: OriginKind,
    /// The job that found it.
    pub job: Option<String>,
    /// [`FoundColumns::fingerprint`] of what was found.
    pub fingerprint: Option<i64>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// A row to be written.
#[derive(Debug)]
pub struct Write<'t> {
    /// What was found.
    pub found: &'t DiscoveredTarget,
    /// Whether it is to be scraped at once.
    pub prompt: bool,
}

/// What discovering a job's targets changes.
#[derive(Debug, Default)]
pub struct Plan<'t> {
    /// Rows to insert or to replace, in order of id.
    pub writes: Vec<Write<'t>>,
    /// Ids of targets that are to be marked as being deleted, in order.
    pub removals: Vec<String>,
    /// What is answered.
    pub synced: Synced,
}

impl<'t> Plan<'t> {
    /// Compares what a job found with all rows of the job and all rows of these ids.
    pub fn of(
        job: &str,
        found: &'t [DiscoveredTarget],
        completeness: Completeness,
        standing: &[Standing],
    ) -> Result<Self, PortError> {
        let mut wanted: BTreeMap<&str, &DiscoveredTarget> = BTreeMap::new();
        for found in found {
            found.check().map_err(|message| PortError::new(ErrorKind::Invalid, message))?;
            wanted.entry(&found.spec.target_id).or_insert(found);
        }
        let rows: HashMap<&str, &Standing> =
            standing.iter().map(|row| (row.target_id.as_str(), row)).collect();
        let mut plan = Self::default();
        for (id, found) in &wanted {
            plan.add(job, found, rows.get(id).copied())?;
        }
        let new = |write: &&mut Write<'_>| !rows.contains_key(write.found.spec.target_id.as_str());
        if plan.writes.iter_mut().filter(new).count() <= MAX_PROMPT {
            plan.writes.iter_mut().filter(new).for_each(|write| write.prompt = true);
        }
        let lost = |row: &&Standing| {
            row.job.as_deref() == Some(job) && !row.deleting && !wanted.contains_key(row.target_id.as_str())
        };
        let lost = standing.iter().filter(lost);
        match completeness {
            Completeness::Some => plan.synced.kept = lost.count() as u64,
            Completeness::All => plan.removals = lost.map(|row| row.target_id.clone()).collect(),
        }
        plan.removals.sort_unstable();
        plan.synced.removed = plan.removals.len() as u64;
        Ok(plan)
    }

    fn add(
        &mut self,
        job: &str,
        found: &'t DiscoveredTarget,
        row: Option<&Standing>,
    ) -> Result<(), PortError> {
        let synced = &mut self.synced;
        let mut prompt = found.prompt;
        match row {
            None => {
                synced.added += 1;
                prompt = false;
            }
            Some(row) if row.job.as_deref() != Some(job) => {
                synced.conflicted += 1;
                if synced.conflicts.len() < MAX_CONFLICTS {
                    let conflict = Conflict { target_id: row.target_id.clone(), held_by: held_by(row) };
                    synced.conflicts.push(conflict);
                }
                return Ok(());
            }
            Some(row) if row.deleting => synced.added += 1,
            Some(row) if !prompt && row.fingerprint == Some(FoundColumns::of(found)?.fingerprint) => {
                synced.unchanged += 1;
                return Ok(());
            }
            Some(_) => synced.changed += 1,
        }
        self.writes.push(Write { found, prompt });
        Ok(())
    }

    /// Whether there is nothing to be done.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.removals.is_empty()
    }

    /// How many revisions it takes.
    pub fn revisions(&self) -> i64 {
        i64::try_from(self.writes.len() + self.removals.len()).unwrap_or(i64::MAX)
    }
}

/// Whose a row is, as the end of a sentence.
fn held_by(row: &Standing) -> String {
    match (row.origin, &row.job) {
        (OriginKind::Discovered, job) => format!("job {:?}", job.as_deref().unwrap_or("")),
        (OriginKind::Registered, _) => "a target that registered itself".to_owned(),
        (OriginKind::Api, _) => "a target of the API".to_owned(),
    }
}

/// Who asked for a target, from its columns; `None` where they do not fit together.
pub fn origin(
    kind: &str,
    expires_at: Option<i64>,
    job: Option<String>,
    provider: Option<String>,
) -> Option<Origin> {
    Some(match OriginKind::from_name(kind)? {
        OriginKind::Api => Origin::Api,
        OriginKind::Registered => Origin::Registered { expires_at: expires_at? },
        OriginKind::Discovered => Origin::Discovered { job: job?, provider: provider? },
    })
}

/// Targets that are created at the same time, in one transaction. No answer where each is to be created alone.
pub type Creating = Together<TargetSpec, Option<Result<Created, PortError>>>;

/// Creates targets at once, given what `create` answers for many; where that fails for a reason that lies in one of them,
/// each is left to be created alone.
pub async fn create_at_once<F>(
    specs: Vec<TargetSpec>,
    create: impl FnOnce(Vec<TargetSpec>) -> F,
) -> Vec<Option<Result<Created, PortError>>>
where
    F: Future<Output = Result<Vec<Option<Created>>, PortError>>,
{
    let count = specs.len();
    if count < 2 {
        return (0..count).map(|_| None).collect();
    }
    match create(specs).await {
        Ok(created) => created.into_iter().map(|created| created.map(Ok)).collect(),
        Err(error) if error.is_retryable() => {
            let same = || PortError::new(error.kind(), error.to_string());
            (0..count).map(|_| Some(Err(same()))).collect()
        }
        Err(_) => (0..count).map(|_| None).collect(),
    }
}

/// Makes targets that are read with equal options share them: ten thousand targets of one job then hold one copy.
#[derive(Debug, Default)]
pub struct SharedOptions {
    known: Mutex<Vec<Weak<ScrapeOptions>>>,
}

impl SharedOptions {
    /// The options that others with equal ones have, or these.
    pub fn share(&self, options: Arc<ScrapeOptions>) -> Arc<ScrapeOptions> {
        let mut known = self.known.lock();
        let mut found = None;
        let mut at = 0;
        known.retain(|other| {
            let Some(other) = other.upgrade() else { return false };
            if found.is_none() && *other == *options {
                found = Some((at, other));
            }
            at += 1;
            true
        });
        match found {
            Some((at, shared)) => {
                // Targets of one job come one after another.
                known[..=at].rotate_right(1);
                shared
            }
            None => {
                known.truncate(SHARED_OPTIONS - 1);
                known.insert(0, Arc::downgrade(&options));
                options
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_options_are_shared() {
        let shared = SharedOptions::default();
        let of = |limit| Arc::new(ScrapeOptions { sample_limit: limit, ..ScrapeOptions::default() });
        let (a, b) = (shared.share(of(1)), shared.share(of(2)));
        assert!(Arc::ptr_eq(&a, &shared.share(of(1))) && Arc::ptr_eq(&b, &shared.share(of(2))));
        assert!(!Arc::ptr_eq(&a, &b));
        drop(a);
        let again = shared.share(of(1));
        assert!(Arc::ptr_eq(&again, &shared.share(of(1))) && Arc::ptr_eq(&b, &shared.share(of(2))));
        let many: Vec<_> = (10..10 + 2 * SHARED_OPTIONS as u64).map(|n| shared.share(of(n))).collect();
        assert!(shared.known.lock().len() <= SHARED_OPTIONS, "{} are alive", many.len());
    }
}
