//! Targets that come and go by themselves: those that providers find, and those that register themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use metricsd_model::{Millis, Target, TargetSpec};
use serde::{Deserialize, Serialize};

use crate::PortError;

/// Bytes of one target's discovered labels that are kept; beyond them the longest values are left out.
pub const MAX_LABEL_BYTES: usize = 16 << 10;

/// New targets of one call of [`DiscoveryCatalog::sync_discovered`] that are scraped at once. Where there are more, as
/// when a job is configured, all wait for their turn, so that they do not come at the same moment.
pub const MAX_PROMPT: usize = 64;

/// Conflicts that an answer names.
pub const MAX_CONFLICTS: usize = 100;

/// What a provider found and relabelling kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveredTarget {
    /// What is scraped, and how.
    pub spec: TargetSpec,
    /// Kind of the provider.
    pub provider: String,
    /// Labels before relabelling; see [`bounded_labels`].
    pub labels: BTreeMap<String, String>,
    /// Something happened to it that is worth a scrape at once, such as that its pod is ready now.
    pub prompt: bool,
}

impl DiscoveredTarget {
    /// Whether a catalogue can hold it; otherwise what is wrong, as a sentence.
    pub fn check(&self) -> Result<(), String> {
        let spec = &self.spec;
        let fits = |what: &str, text: &str, most: usize| match text.chars().count() {
            0 => Err(format!("the {what} is empty")),
            length if length > most => Err(format!("the {what} has {length} characters, more than {most}")),
            _ if text.contains('\0') => Err(format!("the {what} holds a NUL character")),
            _ => Ok(()),
        };
        fits("target id", &spec.target_id, 100)?;
        fits("job", &spec.source_id, 100)?;
        fits("address", &spec.scrape_config.target_url, 500)?;
        match spec.labels.iter().find(|(name, value)| name.contains('\0') || value.contains('\0')) {
            Some((name, _)) => Err(format!("the label {name:?} holds a NUL character")),
            None => Ok(()),
        }
    }
}

/// A target that was found but cannot be taken up, since its id is another's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The id.
    pub target_id: String,
    /// Whose it is, as a sentence's end: `a target of the API`, `job "node"`.
    pub held_by: String,
}

/// Whether what was found is all there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completeness {
    /// Targets that are not among those found are gone.
    All,
    /// Some providers have not told anything yet: targets that are not among those found may still be there.
    Some,
}

/// What became of a job's targets.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Synced {
    /// New ones, and those that came back while they were being deleted.
    pub added: u64,
    /// Those whose settings or discovered labels are others.
    pub changed: u64,
    /// Those that are gone.
    pub removed: u64,
    /// Those that are as they were.
    pub unchanged: u64,
    /// Those that were not found and stay, since finding was not complete.
    pub kept: u64,
    /// How many were not taken up.
    pub conflicted: u64,
    /// The first [`MAX_CONFLICTS`] of them.
    pub conflicts: Vec<Conflict>,
}

/// What a registration found.
#[derive(Debug, Clone, PartialEq)]
pub enum Registration {
    /// It is new.
    New(Target),
    /// It was registered before, and is for another while.
    Renewed(Target),
    /// Its id is a target's that does not lapse; this one stands there, unchanged.
    Taken(Target),
}

/// How a provider of a job goes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ProviderState {
    /// `static`, `file`, …
    pub provider: String,
    /// Its settings in a word, without secrets.
    pub settings: String,
    /// Targets that it finds, before relabelling.
    pub targets: u64,
    /// Whether it has told of everything at least once.
    pub complete: bool,
    /// When it last told something good; `None` where it never did.
    pub last_success: Option<Millis>,
    /// When it last failed since.
    pub last_failure: Option<Millis>,
    /// Failures since the last good answer.
    pub failures_in_a_row: u64,
    /// What was wrong then, as a sentence; absent where the last answer was good.
    pub error: Option<String>,
}

/// A target that was found and is not scraped.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DroppedTarget {
    /// Its labels before relabelling.
    pub labels: BTreeMap<String, String>,
    /// What is wrong with it; absent where relabelling dropped it.
    pub error: Option<String>,
}

/// How the discovery of one job goes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct JobState {
    /// Its name.
    pub job: String,
    /// Each of its providers, in order.
    pub providers: Vec<ProviderState>,
    /// Targets that are in the catalogue by it.
    pub active: u64,
    /// Targets that are not scraped.
    pub dropped: u64,
    /// Some of them, as many as are kept.
    pub dropped_targets: Vec<DroppedTarget>,
    /// What is wrong with the job as a whole, as a sentence.
    pub error: Option<String>,
    /// Ids that others have.
    pub conflicts: Vec<Conflict>,
    /// When its targets were last brought into the catalogue.
    pub synced: Option<Millis>,
}

/// How the file with the jobs goes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigState {
    /// The file.
    pub file: String,
    /// Address of the process that runs discovery.
    pub process: String,
    /// When a good file was last taken up.
    pub last_success: Option<Millis>,
    /// When the file was last read.
    pub last_read: Option<Millis>,
    /// What was wrong with it then, a line each; empty where it was taken up.
    pub errors: Vec<String>,
}

/// Held by the one process that does something. Dropped, another may have it.
#[async_trait]
pub trait Leadership: Send + Sync {
    /// Whether it is still held, as far as can be known now. Once `false`, always.
    async fn is_held(&mut self) -> bool;
}

/// Targets that come and go by themselves. Part of the catalogue: the same ids, the same revisions.
#[async_trait]
pub trait DiscoveryCatalog: Send + Sync + 'static {
    /// Makes the discovered targets of a job those that are given, all or nothing: new ones are created, changed ones
    /// replaced, those that are not among them marked as being deleted where these are all; one that is being deleted and comes back lives
    /// again. What is as it was is not touched, its revision included. An id that a user, a registration or another job
    /// has stays theirs and is answered as a conflict; of two targets of one id the first counts. Each must pass
    /// [`DiscoveredTarget::check`].
    ///
    /// New targets are asked to be scraped at once where they are at most [`MAX_PROMPT`], changed ones where they are
    /// [`DiscoveredTarget::prompt`], which counts as a change.
    async fn sync_discovered(
        &self,
        job: &str,
        targets: &[DiscoveredTarget],
        completeness: Completeness,
    ) -> Result<Synced, PortError>;

    /// Marks the discovered targets of all other jobs as being deleted, and forgets their states; answers how many
    /// targets that were.
    async fn retain_jobs(&self, jobs: &[String]) -> Result<u64, PortError>;

    /// The labels that targets had before relabelling, by target id; ids of others are absent.
    async fn discovered_labels(
        &self,
        target_ids: &[String],
    ) -> Result<BTreeMap<String, BTreeMap<String, String>>, PortError>;

    /// Notes how the discovery of a job goes.
    async fn put_discovery_state(&self, state: &JobState) -> Result<(), PortError>;

    /// How the discovery of every job goes, ordered by job.
    async fn discovery_states(&self) -> Result<Vec<JobState>, PortError>;

    /// Notes how the file with the jobs goes.
    async fn put_config_state(&self, state: &ConfigState) -> Result<(), PortError>;

    /// How it goes; `None` where no process ever ran discovery.
    async fn config_state(&self) -> Result<Option<ConfigState>, PortError>;

    /// Creates a target that goes after `ttl`, by the store's clock, unless it is renewed; or replaces and renews one
    /// that was registered, even if it lapsed and is being deleted. Where nothing but the time changes, its revision
    /// stays.
    async fn register_target(&self, spec: &TargetSpec, ttl: Duration) -> Result<Registration, PortError>;

    /// Gives a registered target another `ttl` from now; `None` where there is none of this id, or it is being deleted.
    async fn renew(&self, target_id: &str, ttl: Duration) -> Result<Option<Target>, PortError>;

    /// Marks registered targets whose time has come as being deleted; answers how many.
    async fn expire_lapsed(&self) -> Result<u64, PortError>;

    /// Asks to be the one that does `what` among all processes at this store; `None` where another is.
    async fn try_lead(&self, what: &str) -> Result<Option<Box<dyn Leadership>>, PortError>;
}

/// A leadership that nobody can take: of a store that one process has to itself.
#[derive(Debug, Clone, Copy)]
pub struct Alone;

#[async_trait]
impl Leadership for Alone {
    async fn is_held(&mut self) -> bool {
        true
    }
}

/// Labels within [`MAX_LABEL_BYTES`]: while they are more, the longest goes. Characters that no database keeps are
/// replaced.
#[must_use]
pub fn bounded_labels(mut labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
    if labels.iter().any(|(name, value)| name.contains('\0') || value.contains('\0')) {
        let kept = |text: String| text.replace('\0', "\u{fffd}");
        labels = labels.into_iter().map(|(name, value)| (kept(name), kept(value))).collect();
    }
    let size = |name: &str, value: &str| name.len() + value.len();
    let mut bytes: usize = labels.iter().map(|(name, value)| size(name, value)).sum();
    while bytes > MAX_LABEL_BYTES {
        let longest = labels.iter().max_by_key(|(name, value)| size(name, value));
        let Some(name) = longest.map(|(name, _)| name.clone()) else { break };
        bytes -= labels.remove(&name).map_or(0, |value| size(&name, &value));
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_labels_are_left_out() {
        let label = |name: &str, length: usize| (name.to_owned(), "x".repeat(length));
        let kept = bounded_labels(BTreeMap::from([label("a", 10_000), label("b", 9_000), label("c", 5_000)]));
        assert_eq!(kept.keys().collect::<Vec<_>>(), ["b", "c"]);
        let small = BTreeMap::from([label("a", 10)]);
        assert_eq!(bounded_labels(small.clone()), small);
    }
}
