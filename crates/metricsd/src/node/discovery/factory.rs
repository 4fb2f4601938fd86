//! Makes the providers that a configuration names.

use metricsd_client::Context;
use metricsd_discovery::providers::built_in;
use metricsd_discovery::{Provider, ProviderConfig, ProviderFactory};
use metricsd_kubernetes::KubernetesProvider;

/// Makes providers; requests of theirs go where and how the operator's file says.
pub(in crate::node) struct Factory {
    /// What their requests need beside their settings.
    pub(in crate::node) context: Context,
}

impl ProviderFactory for Factory {
    fn provider(&self, config: &ProviderConfig) -> Result<Box<dyn Provider>, String> {
        if let ProviderConfig::Kubernetes(settings) = config {
            return Ok(Box::new(KubernetesProvider::new(settings, &self.context)));
        }
        let unknown = || "no provider of this binary finds targets that way".to_owned();
        built_in(config, &self.context)?.ok_or_else(unknown)
    }
}
