//! What the providers that need nobody else have to tell now.

use std::time::Duration;

use metricsd_discovery::manager::{FoundGroup, describe};
use metricsd_discovery::provider::Update;
use metricsd_discovery::providers::{FileProvider, StaticProvider};
use metricsd_discovery::{JobConfig, JobTargets, Provider, ProviderConfig, resolve_job};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Files may be on a slow network.
const FIRST_ANSWER: Duration = Duration::from_secs(5);
/// What is wrong with a file is told after what the others hold.
const FURTHER_ANSWER: Duration = Duration::from_millis(50);

/// One job, and what is known of its targets without asking anybody.
pub(super) struct LookedAt<'c> {
    pub(super) job: &'c JobConfig,
    /// Kind and settings of each provider.
    pub(super) providers: Vec<(&'static str, String)>,
    /// What would be scraped, or the rule that does not compile.
    pub(super) targets: Result<JobTargets, String>,
    /// What could not be learnt.
    pub(super) errors: Vec<String>,
    /// Providers that are asked only when metricsd runs.
    pub(super) not_asked: usize,
}

/// Looks at each job.
pub(super) async fn look(jobs: &[JobConfig]) -> Vec<LookedAt<'_>> {
    let mut looked = Vec::with_capacity(jobs.len());
    for job in jobs {
        looked.push(look_at(job).await);
    }
    looked
}

async fn look_at(job: &JobConfig) -> LookedAt<'_> {
    let (mut groups, mut errors, mut not_asked) = (Vec::new(), Vec::new(), 0);
    for config in &job.providers {
        match config {
            ProviderConfig::Static(list) => ask(&StaticProvider::new(list), &mut groups, &mut errors).await,
            ProviderConfig::File(file) => {
                ask(&FileProvider::new(file.clone()), &mut groups, &mut errors).await;
            }
            _ => not_asked += 1,
        }
    }
    let targets = resolve_job(job, &groups).map_err(|error| error.to_string());
    let providers = job.providers.iter().map(|config| (kind(config), describe(config))).collect();
    LookedAt { job, providers, targets, errors, not_asked }
}

async fn ask(provider: &dyn Provider, groups: &mut Vec<FoundGroup>, errors: &mut Vec<String>) {
    let (updates, mut told) = mpsc::channel(4);
    let stop = CancellationToken::new();
    let listen = async {
        let mut patience = FIRST_ANSWER;
        while let Ok(Some(update)) = timeout(patience, told.recv()).await {
            patience = FURTHER_ANSWER;
            match update {
                Update::All(found) | Update::Some(found) => {
                    *groups = std::mem::take(groups)
                        .into_iter()
                        .chain(found.into_iter().map(|group| FoundGroup::new(provider.kind(), group)))
                        .collect();
                }
                Update::Failed(error) => errors.push(error),
            }
        }
        stop.cancel();
    };
    tokio::join!(provider.run(updates, stop.clone()), listen);
}

/// A provider's kind, as its field in the file begins.
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
