//! What discovery counts about itself.

use std::collections::BTreeMap;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::manager::ProviderStatus;

/// Kind of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ProviderLabel {
    /// As `Provider::kind` says it.
    pub provider: &'static str,
}

/// How an attempt to learn something ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefreshLabels {
    /// As `Provider::kind` says it.
    pub provider: &'static str,
    /// `ok` or `failed`.
    pub result: &'static str,
}

/// Metrics of the manager. Clones share their values.
#[derive(Debug, Clone, Default)]
pub struct DiscoveryMetrics {
    refreshes: Family<RefreshLabels, Counter>,
    providers: Family<ProviderLabel, Gauge>,
    failing: Family<ProviderLabel, Gauge>,
    targets: Family<ProviderLabel, Gauge>,
}

impl DiscoveryMetrics {
    /// Creates and registers all of them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let discovery = registry.sub_registry_with_prefix("discovery");
        discovery.register(
            "refreshes",
            "What providers of targets told, by how it went",
            metrics.refreshes.clone(),
        );
        discovery.register("providers", "Providers of targets that run", metrics.providers.clone());
        discovery.register("providers_failing", "Providers that failed last", metrics.failing.clone());
        discovery.register("targets", "Targets found, before relabelling", metrics.targets.clone());
        metrics
    }

    pub(crate) fn refreshed(&self, provider: &'static str, result: &'static str) {
        self.refreshes.get_or_create(&RefreshLabels { provider, result }).inc();
    }

    /// Sets the gauges; a kind that is gone counts nothing.
    pub(crate) fn providers(&self, statuses: &[ProviderStatus]) {
        const KINDS: [&str; 6] = ["static", "file", "http", "dns", "consul", "kubernetes"];
        let mut counts: BTreeMap<&'static str, [i64; 3]> = KINDS.map(|kind| (kind, [0; 3])).into();
        for status in statuses {
            let [providers, failing, targets] = counts.entry(status.kind).or_default();
            *providers += 1;
            *failing += i64::from(status.last_error.is_some());
            *targets += i64::try_from(status.targets).unwrap_or(i64::MAX);
        }
        for (provider, [providers, failing, targets]) in counts {
            let label = ProviderLabel { provider };
            self.providers.get_or_create(&label).set(providers);
            self.failing.get_or_create(&label).set(failing);
            self.targets.get_or_create(&label).set(targets);
        }
    }
}
