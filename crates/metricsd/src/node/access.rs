//! Who may come in: keeps up with tokens, and says at the start who needs one.

use std::net::SocketAddr;
use std::sync::Arc;

use metricsd_ingest::{Access, AccessMetrics, Door};
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::adapters::Adapters;
use crate::config::Config;

/// Whoever opens metricsd to others, or finds it closed to them, reads why in the log.
pub(super) fn tell(config: &Config, address: SocketAddr) {
    if Door::of(address) == Door::Loopback {
        return;
    }
    if config.auth.open {
        warn!(%address, "everyone who reaches this address may push, read and manage: auth.open is true");
    } else {
        info!(
            %address,
            bootstrap_token = config.auth.bootstrap.is_some(),
            "requests from elsewhere need a token: make one with `metricsd token create`, which itself needs \
             METRICSD_TOKEN to be one that may manage, such as auth.bootstrap_token; auth.open: true asks for none"
        );
    }
}

/// Starts to keep up with tokens.
pub(super) fn start(
    config: &Config,
    adapters: &Adapters,
    registry: &mut Registry,
    stop: &CancellationToken,
) -> (Arc<Access>, JoinHandle<()>) {
    let metrics = AccessMetrics::register(registry);
    let access = Access::new(adapters.catalog.clone(), config.auth.clone(), metrics);
    let task = tokio::spawn(access.clone().run(stop.clone()));
    (access, task)
}
