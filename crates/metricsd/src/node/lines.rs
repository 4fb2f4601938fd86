//! Protocols of others: who listens for them, and how they end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use metricsd_http::{GatewayAccess, InfluxOptions, LineProtocols};
use metricsd_ingest::Ingest;
use metricsd_listeners::gateway::Gateway;
use metricsd_listeners::{ListenerMetrics, Listening, graphite, statsd};
use metricsd_ports::{Catalog, PushedGroups};
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::adapters::Adapters;
use crate::config::LinesConfig;

/// Listeners at work.
pub(super) struct Lines {
    tasks: Vec<JoinHandle<()>>,
}

/// What they stand on.
pub(super) struct Ground<'a> {
    ingest: Option<&'a Ingest>,
    groups: Arc<dyn PushedGroups>,
    catalog: Arc<dyn Catalog>,
}

impl<'a> Ground<'a> {
    pub(super) fn new(ingest: Option<&'a Ingest>, adapters: &Adapters) -> Self {
        Self { ingest, groups: adapters.groups.clone(), catalog: adapters.catalog.clone() }
    }
}

/// Starts what is switched on; nothing where this process takes no pushes. What the HTTP server takes is answered beside.
pub(super) async fn start(
    config: &LinesConfig,
    ground: Ground<'_>,
    registry: &mut Registry,
    stop: &CancellationToken,
) -> Result<(Lines, LineProtocols)> {
    let (mut lines, mut protocols) = (Lines { tasks: Vec::new() }, LineProtocols::default());
    let Some(ingest) = ground.ingest else { return Ok((lines, protocols)) };
    if let Some(influx) = config.influx.clone() {
        protocols.influx = Some(InfluxOptions::new(influx.mapping, influx.db_label, registry));
    }
    if let Some(settings) = config.gateway {
        let gateway = Gateway::new(ground.groups, ingest.clone(), settings.options, registry);
        lines.tasks.push(tokio::spawn(gateway.clone().run(ground.catalog, stop.clone())));
        protocols.gateway = Some(GatewayAccess { gateway, admin: settings.admin });
    }
    if config.graphite.is_some() || config.statsd.is_some() {
        let metrics = ListenerMetrics::register(registry);
        if let Some(options) = config.graphite.clone() {
            let listening = graphite::start(options, ingest.clone(), &metrics, stop.clone()).await?;
            lines.tasks.push(told("graphite", listening));
        }
        if let Some(options) = config.statsd.clone() {
            let listening = statsd::start(options, ingest.clone(), &metrics, stop.clone()).await?;
            lines.tasks.push(told("statsd", listening));
        }
    }
    Ok((lines, protocols))
}

fn told(protocol: &str, Listening { address, task }: Listening) -> JoinHandle<()> {
    info!(%address, protocol, "listening");
    task
}

impl Lines {
    /// Waits until what was heard is stored; all were told to stop.
    pub(super) async fn finish(self, limit: Duration) {
        futures::future::join_all(self.tasks.into_iter().map(|task| super::finish("listeners", task, limit)))
            .await;
    }
}
