//! What the providers of a job found, as targets: resolved away from the threads that answer.

use std::collections::HashMap;
use std::sync::Arc;

use metricsd_discovery::manager::JobSnapshot;
use metricsd_discovery::provider::{FoundLabels, Lifecycle};
use metricsd_discovery::resolve_job;
use metricsd_ports::discovery::bounded_labels;
use metricsd_ports::{DiscoveredTarget, DroppedTarget};

/// Where targets are in their lives, those of which it is known.
pub(super) type Lives = HashMap<String, Lifecycle>;

/// The targets of one job.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Those that are scraped.
    pub(super) targets: Vec<DiscoveredTarget>,
    /// Where they are in their lives.
    pub(super) lives: Lives,
    /// How many are not scraped.
    pub(super) dropped: u64,
    /// Some of them.
    pub(super) dropped_targets: Vec<DroppedTarget>,
    /// Why none is scraped.
    pub(super) error: Option<String>,
}

/// Resolves what was found for a job. `before` is where its targets were in their lives the last time.
pub(super) fn resolve(snapshot: &JobSnapshot, before: &Lives, kept_dropped: usize) -> Found {
    let resolved = match resolve_job(&snapshot.job, &snapshot.groups) {
        Ok(resolved) => resolved,
        Err(error) => return Found { error: Some(error.to_string()), ..Found::default() },
    };
    let mut found = Found {
        dropped: resolved.dropped_beyond_limit + resolved.errors_beyond_limit,
        error: resolved.over_limit.map(|limit| limit.to_string()),
        ..Found::default()
    };
    // What is wrong matters more to who looks than what was dropped on purpose.
    for error in resolved.errors {
        found.drop_one(error.discovered, Some(error.message), kept_dropped);
    }
    for active in resolved.active {
        let id = &active.spec.target_id;
        let prompt = worth_a_scrape(before.get(id), active.lifecycle);
        if active.lifecycle != Lifecycle::Unknown {
            found.lives.insert(id.clone(), active.lifecycle);
        }
        let (spec, provider, labels) = (active.spec, active.provider.to_owned(), active.discovered);
        let target = DiscoveredTarget { spec, provider, labels, prompt };
        match target.check() {
            Ok(()) => found.targets.push(target),
            Err(error) => found.drop_one(target.labels, Some(error), kept_dropped),
        }
    }
    for labels in resolved.dropped {
        found.drop_one(labels, None, kept_dropped);
    }
    found
}

/// A target that has become ready is scraped at once, and one that begins to end once more.
fn worth_a_scrape(before: Option<&Lifecycle>, now: Lifecycle) -> bool {
    matches!(
        (before, now),
        // One that was not known is new, and new ones are scraped soon by themselves.
        (Some(Lifecycle::Starting | Lifecycle::Ending), Lifecycle::Ready)
            | (Some(Lifecycle::Starting | Lifecycle::Ready), Lifecycle::Ending)
    )
}

impl Found {
    fn drop_one(&mut self, labels: FoundLabels, error: Option<String>, kept: usize) {
        self.dropped += 1;
        if self.dropped_targets.len() < kept {
            self.dropped_targets.push(DroppedTarget { labels: bounded_labels(labels), error });
        }
    }
}

/// The same on a thread that may take its time.
pub(super) async fn resolve_aside(
    snapshot: Arc<JobSnapshot>,
    before: Lives,
    kept_dropped: usize,
) -> Option<Found> {
    tokio::task::spawn_blocking(move || resolve(&snapshot, &before, kept_dropped)).await.ok()
}
