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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use metricsd_discovery::manager::{FoundGroup, FoundTarget};
    use metricsd_discovery::prometheus_config;

    use super::*;

    fn snapshot(more: &str, targets: &[(&str, Lifecycle)]) -> JobSnapshot {
        let text = format!("scrape_configs:\n  - job_name: shop\n{more}");
        let mut config = prometheus_config::parse(&text, Path::new("prometheus.yml")).expect("a good file");
        let target = |(address, lifecycle): &(&str, Lifecycle)| FoundTarget {
            labels: BTreeMap::from([("__address__".to_owned(), (*address).to_owned())]),
            lifecycle: *lifecycle,
        };
        let targets = targets.iter().map(target).collect();
        let group = FoundGroup { provider: "file", source: "f".to_owned(), targets };
        let job = Arc::new(config.jobs.remove(0));
        JobSnapshot { job, revision: 1, complete: true, groups: vec![Arc::new(group)] }
    }

    #[test]
    fn what_becomes_ready_or_ends_is_scraped_at_once() {
        let of = |lifecycle| snapshot("", &[("a:1", lifecycle), ("b:1", Lifecycle::Unknown)]);
        let mut lives = Lives::new();
        let mut prompts = Vec::new();
        let course = [Lifecycle::Starting, Lifecycle::Ready, Lifecycle::Ready, Lifecycle::Ending];
        for lifecycle in course {
            let found = resolve(&of(lifecycle), &lives, 10);
            lives = found.lives;
            prompts.push(found.targets.iter().map(|target| target.prompt).collect::<Vec<_>>());
        }
        assert_eq!(prompts, [[false, false], [true, false], [false, false], [true, false]]);
    }

    #[test]
    fn targets_share_settings_that_may_name_any_file() {
        let found = resolve(
            &snapshot("", &[("a:1", Lifecycle::Unknown), ("b:1", Lifecycle::Unknown)]),
            &Lives::new(),
            10,
        );
        let options = |at: usize| &found.targets[at].spec.scrape_config.options;
        assert!(options(0).unconfined_secrets && Arc::ptr_eq(options(0), options(1)));
    }

    #[test]
    fn what_is_dropped_is_counted_and_kept_in_part() {
        let rules = "    relabel_configs:\n      - source_labels: [__address__]\n        regex: keep.*\n        action: keep\n";
        let all = ["keep:1", "drop:1", "drop:2", "keep me:1"].map(|address| (address, Lifecycle::Unknown));
        let found = resolve(&snapshot(rules, &all), &Lives::new(), 2);
        assert_eq!((found.targets.len(), found.dropped, found.dropped_targets.len()), (1, 3, 2));
        assert!(found.dropped_targets[0].error.is_some(), "what is wrong comes first");
        let limited = resolve(&snapshot("    target_limit: 1\n", &all[..2]), &Lives::new(), 2);
        assert!(
            limited.targets.is_empty() && limited.error.is_some_and(|error| error.contains("target_limit"))
        );
    }
}
