//! Protocols of lines: who listens for them, and how they end.

use std::time::Duration;

use anyhow::Result;
use metricsd_http::{InfluxOptions, LineProtocols};
use metricsd_ingest::Ingest;
use metricsd_listeners::{Listening, ListenerMetrics, graphite, statsd};
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::config::LinesConfig;

/// Listeners at work.
pub(super) struct Lines {
    tasks: Vec<JoinHandle<()>>,
}

/// What the HTTP server takes beside our own protocols.
pub(super) fn over_http(config: &LinesConfig, registry: &mut Registry) -> LineProtocols {
    let influx = config.influx.clone();
    LineProtocols {
        influx: influx.map(|influx| InfluxOptions::new(influx.mapping, influx.db_label, registry)),
    }
}

/// Starts the listeners that are switched on; none where this process takes no pushes.
pub(super) async fn start(
    config: &LinesConfig,
    ingest: Option<&Ingest>,
    registry: &mut Registry,
    stop: &CancellationToken,
) -> Result<Lines> {
    let mut lines = Lines { tasks: Vec::new() };
    let (Some(ingest), true) = (ingest, config.graphite.is_some() || config.statsd.is_some()) else {
        return Ok(lines);
    };
    let metrics = ListenerMetrics::register(registry);
    if let Some(options) = config.graphite.clone() {
        let listening = graphite::start(options, ingest.clone(), &metrics, stop.clone()).await?;
        lines.tasks.push(told("graphite", listening));
    }
    if let Some(options) = config.statsd.clone() {
        let listening = statsd::start(options, ingest.clone(), &metrics, stop.clone()).await?;
        lines.tasks.push(told("statsd", listening));
    }
    Ok(lines)
}

fn told(protocol: &str, Listening { address, task }: Listening) -> JoinHandle<()> {
    info!(%address, protocol, "listening");
    task
}

impl Lines {
    /// Waits until what was heard is stored; the listeners were told to stop.
    pub(super) async fn finish(self, limit: Duration) {
        futures::future::join_all(self.tasks.into_iter().map(|task| super::finish("listeners", task, limit))).await;
    }
}
