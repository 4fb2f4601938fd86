//! Discovered and registered targets, sealed like all others.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use metricsd_model::{Target, TargetSpec};
use metricsd_ports::{
    Completeness, ConfigState, DiscoveredTarget, DiscoveryCatalog, JobState, Leadership, PortError,
    Registration, Synced,
};

use super::SealedCatalog;

#[async_trait]
impl DiscoveryCatalog for SealedCatalog {
    async fn sync_discovered(
        &self,
        job: &str,
        targets: &[DiscoveredTarget],
        completeness: Completeness,
    ) -> Result<Synced, PortError> {
        let seal = |found: &DiscoveredTarget| {
            Ok(DiscoveredTarget { spec: self.sealed(&found.spec)?, ..found.clone() })
        };
        let targets = targets.iter().map(seal).collect::<Result<Vec<_>, PortError>>()?;
        self.inner.sync_discovered(job, &targets, completeness).await
    }

    async fn retain_jobs(&self, jobs: &[String]) -> Result<u64, PortError> {
        self.inner.retain_jobs(jobs).await
    }

    async fn discovered_labels(
        &self,
        target_ids: &[String],
    ) -> Result<BTreeMap<String, BTreeMap<String, String>>, PortError> {
        self.inner.discovered_labels(target_ids).await
    }

    async fn put_discovery_state(&self, state: &JobState) -> Result<(), PortError> {
        self.inner.put_discovery_state(state).await
    }

    async fn discovery_states(&self) -> Result<Vec<JobState>, PortError> {
        self.inner.discovery_states().await
    }

    async fn put_config_state(&self, state: &ConfigState) -> Result<(), PortError> {
        self.inner.put_config_state(state).await
    }

    async fn config_state(&self) -> Result<Option<ConfigState>, PortError> {
        self.inner.config_state().await
    }

    async fn register_target(&self, spec: &TargetSpec, ttl: Duration) -> Result<Registration, PortError> {
        Ok(match self.inner.register_target(&self.sealed(spec)?, ttl).await? {
            Registration::New(target) => Registration::New(self.unsealed(target)),
            Registration::Renewed(target) => Registration::Renewed(self.unsealed(target)),
            Registration::Taken(target) => Registration::Taken(self.unsealed(target)),
        })
    }

    async fn renew(&self, target_id: &str, ttl: Duration) -> Result<Option<Target>, PortError> {
        Ok(self.inner.renew(target_id, ttl).await?.map(|target| self.unsealed(target)))
    }

    async fn expire_lapsed(&self) -> Result<u64, PortError> {
        self.inner.expire_lapsed().await
    }

    async fn try_lead(&self, what: &str) -> Result<Option<Box<dyn Leadership>>, PortError> {
        self.inner.try_lead(what).await
    }
}
