//! What the manager tells: the targets found for each job, and how each provider fares.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::JobConfig;
use crate::provider::{FoundLabels, LIFECYCLE_LABEL, Lifecycle, TargetGroup};

/// By name of the job.
pub type Snapshots = BTreeMap<String, Arc<JobSnapshot>>;

/// What the providers of one job have found. A job of which nothing has changed keeps the same allocation.
#[derive(Debug)]
pub struct JobSnapshot {
    /// The job.
    pub job: Arc<JobConfig>,
    /// Grows with each change of the job or of what was found for it.
    pub revision: u64,
    /// Each provider of the job has told of everything at least once. While one has not, targets that are known from
    /// before and are not among these may still be there.
    pub complete: bool,
    /// In order of provider and source.
    pub groups: Vec<Arc<FoundGroup>>,
}

/// One group as a provider last told it. A group that did not change keeps its allocation.
#[derive(Debug, PartialEq, Eq)]
pub struct FoundGroup {
    /// Kind of the provider.
    pub provider: &'static str,
    /// Which of its groups.
    pub source: String,
    /// Its targets.
    pub targets: Vec<FoundTarget>,
}

/// One target, before relabelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundTarget {
    /// Its own labels and those of its group.
    pub labels: FoundLabels,
    /// Where in its life it is.
    pub lifecycle: Lifecycle,
}

impl AsRef<Self> for FoundGroup {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl FoundGroup {
    /// Joins labels of a group with those of each target.
    pub fn new(provider: &'static str, group: TargetGroup) -> Self {
        let TargetGroup { source, labels, targets } = group;
        let target = |own: FoundLabels| {
            let mut joined = labels.clone();
            joined.extend(own);
            let lifecycle = Lifecycle::from_label(joined.remove(LIFECYCLE_LABEL).as_deref());
            FoundTarget { labels: joined, lifecycle }
        };
        Self { provider, source, targets: targets.into_iter().map(target).collect() }
    }

    /// A target has become ready or is ending that was not so before.
    pub(super) fn is_urgent_after(&self, before: Option<&Self>) -> bool {
        let before = before.map(|group| group.targets.as_slice()).unwrap_or_default();
        self.targets.iter().any(|target| {
            matches!(target.lifecycle, Lifecycle::Ready | Lifecycle::Ending)
                && !before
                    .iter()
                    .any(|old| old.lifecycle == target.lifecycle && old.address() == target.address())
        })
    }
}

impl FoundTarget {
    fn address(&self) -> Option<&String> {
        self.labels.get(crate::groups::ADDRESS_LABEL)
    }
}

/// How one provider fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderStatus {
    /// Which of the running providers this is; never used again for another.
    pub id: u64,
    /// `static`, `file`, `http`, `dns`, `consul`, `kubernetes`.
    pub kind: &'static str,
    /// Jobs that it finds targets for.
    pub jobs: Vec<String>,
    /// Its settings in a word, without secrets.
    pub settings: String,
    /// Targets found.
    pub targets: usize,
    /// Groups found.
    pub groups: usize,
    /// It has told of everything at least once.
    pub complete: bool,
    /// Since when it runs, in milliseconds since the epoch.
    pub started_ms: i64,
    /// When it last told something, in milliseconds since the epoch.
    pub last_success_ms: Option<i64>,
    /// Why it last could not, as long as that has not been mended.
    pub last_error: Option<String>,
    /// When it last could not, in milliseconds since the epoch.
    pub last_failure_ms: Option<i64>,
    /// Failures in a row.
    pub failures_in_a_row: u64,
    /// Failures altogether.
    pub failures: u64,
    /// Answers altogether.
    pub refreshes: u64,
}

impl ProviderStatus {
    /// Age of what it knows at a time, in milliseconds.
    pub fn age_ms(&self, now_ms: i64) -> Option<i64> {
        self.last_success_ms.map(|success| now_ms.saturating_sub(success).max(0))
    }
}
