//! Targets that come and go by themselves: at home, as all targets.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use metricsd_model::{Target, TargetSpec};
use metricsd_ports::{
    Completeness, ConfigState, DiscoveredTarget, DiscoveryCatalog, JobState, Leadership, PortError,
    Registration, Synced,
};

use crate::ShardedStore;

#[async_trait]
impl DiscoveryCatalog for ShardedStore {
    async fn sync_discovered(
        &self,
        job: &str,
        targets: &[DiscoveredTarget],
        completeness: Completeness,
    ) -> Result<Synced, PortError> {
        self.home.sync_discovered(job, targets, completeness).await
    }

    async fn retain_jobs(&self, jobs: &[String]) -> Result<u64, PortError> {
        self.home.retain_jobs(jobs).await
    }

    async fn discovered_labels(
        &self,
        target_ids: &[String],
    ) -> Result<BTreeMap<String, BTreeMap<String, String>>, PortError> {
        self.home.discovered_labels(target_ids).await
    }

    async fn put_discovery_state(&self, state: &JobState) -> Result<(), PortError> {
        self.home.put_discovery_state(state).await
    }

    async fn discovery_states(&self) -> Result<Vec<JobState>, PortError> {
        self.home.discovery_states().await
    }

    async fn put_config_state(&self, state: &ConfigState) -> Result<(), PortError> {
        self.home.put_config_state(state).await
    }

    async fn config_state(&self) -> Result<Option<ConfigState>, PortError> {
        self.home.config_state().await
    }

    async fn register_target(&self, spec: &TargetSpec, ttl: Duration) -> Result<Registration, PortError> {
        self.home.register_target(spec, ttl).await
    }

    async fn renew(&self, target_id: &str, ttl: Duration) -> Result<Option<Target>, PortError> {
        self.home.renew(target_id, ttl).await
    }

    async fn expire_lapsed(&self) -> Result<u64, PortError> {
        self.home.expire_lapsed().await
    }

    async fn try_lead(&self, what: &str) -> Result<Option<Box<dyn Leadership>>, PortError> {
        self.home.try_lead(what).await
    }
}
