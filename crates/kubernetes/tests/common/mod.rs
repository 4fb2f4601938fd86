//! What the tests share: a cluster's objects, a provider that runs under the manager, servers to ask.
#![allow(dead_code, unreachable_pub, reason = "each test file takes what it needs")]

pub mod objects;
pub mod real;
pub mod stand_in;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metricsd_client::{AddressPolicy, Context};
use metricsd_discovery::config::{JobConfig, KubernetesRole, KubernetesSd, ProviderConfig};
use metricsd_discovery::manager::{FoundTarget, Manager, ManagerHandle, ProviderFactory, ProviderStatus};
use metricsd_discovery::metrics::DiscoveryMetrics;
use metricsd_discovery::provider::{FoundLabels, Provider};
use metricsd_kubernetes::KubernetesProvider;
use metricsd_model::{HttpOptions, PromDuration, ScrapeConfig};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(90);

/// Makes providers of Kubernetes, as the binary does.
struct Factory;

impl ProviderFactory for Factory {
    fn provider(&self, config: &ProviderConfig) -> Result<Box<dyn Provider>, String> {
        let ProviderConfig::Kubernetes(config) = config else { return Err("only Kubernetes".to_owned()) };
        let context = Context::operator("/", Arc::new(AddressPolicy::default()), Arc::new(|_| None));
        Ok(Box::new(KubernetesProvider::new(config, &context)))
    }
}

/// The manager with one job of one provider.
pub struct Run {
    handle: ManagerHandle,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Run {
    pub async fn start(config: KubernetesSd) -> Self {
        let (manager, handle) = Manager::new(Arc::new(Factory), DiscoveryMetrics::default());
        let stop = CancellationToken::new();
        let task = tokio::spawn(manager.run(stop.clone()));
        assert!(handle.apply(vec![job(ProviderConfig::Kubernetes(Box::new(config)))]).await);
        let run = Self { handle, stop, task };
        run.until("started", |run| !run.handle.statuses().is_empty()).await;
        run
    }

    pub fn targets(&self) -> Vec<FoundTarget> {
        let snapshots = self.handle.snapshots();
        let groups = snapshots.get("j").map(|job| job.groups.clone()).unwrap_or_default();
        groups.iter().flat_map(|group| group.targets.clone()).collect()
    }

    pub fn labels(&self) -> Vec<FoundLabels> {
        self.targets().into_iter().map(|target| target.labels).collect()
    }

    pub fn addresses(&self) -> Vec<String> {
        let mut addresses: Vec<_> =
            self.labels().iter().map(|labels| labels["__address__"].clone()).collect();
        addresses.sort();
        addresses
    }

    pub fn status(&self) -> ProviderStatus {
        self.handle.statuses().into_iter().next().expect("one provider")
    }

    /// Waits until something is so; how long it took.
    pub async fn until(&self, what: &str, so: impl Fn(&Self) -> bool) -> Duration {
        let start = Instant::now();
        while !so(self) {
            if start.elapsed() > PATIENCE {
                panic!("never {what}: {:?}, {:?}", self.addresses(), self.handle.statuses());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        start.elapsed()
    }

    pub async fn found(&self, addresses: &[&str]) -> Duration {
        self.until(&format!("found {addresses:?}"), |run| run.addresses() == addresses).await
    }

    pub async fn complete(&self) {
        self.until("complete", |run| run.status().complete).await;
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("it ends");
    }
}

fn job(provider: ProviderConfig) -> JobConfig {
    JobConfig {
        name: "j".into(),
        scrape: ScrapeConfig {
            target_url: String::new(),
            scrape_interval: PromDuration(Duration::from_secs(15)),
            scrape_timeout: PromDuration(Duration::from_secs(10)),
            metrics_path: "/metrics".into(),
            scheme: "http".into(),
            authentication: None,
            honor_labels: false,
            honor_timestamps: true,
            options: Arc::default(),
        },
        relabel_configs: Vec::new(),
        target_limit: 0,
        keep_dropped_targets: 0,
        providers: vec![provider],
    }
}

/// Settings for a role, all namespaces, nothing attached.
pub fn config(server: &str, role: KubernetesRole) -> KubernetesSd {
    KubernetesSd {
        api_server: Some(server.to_owned()),
        role,
        kubeconfig_file: None,
        own_namespace: false,
        namespaces: Vec::new(),
        selectors: Vec::new(),
        attach_node: false,
        attach_namespace: false,
        http: HttpOptions::default(),
    }
}

/// Labels as a map.
pub fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
