//! The way of batches to the stores: straight, through the sample log, and past the spool where that is closed.

use anyhow::Result;
use metricsd_http::Dependency;
use metricsd_ingest::{AfterCommit, CommitOptions, GroupCommit, IngestMetrics, Stores};
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::adapters::Adapters;
use super::sample_log;
use super::spool::{self, Spools};
use crate::config::{Config, Role};

/// Commits of one store under way at once: as many as the Postgres store has connections for appends.
const WRITERS: usize = 2;

/// The way as it was laid.
pub(super) struct Way {
    /// Where batches go.
    pub(super) stores: Stores,
    /// Where they wait on disk.
    pub(super) spools: Option<Spools>,
    /// The sample log, for readiness.
    pub(super) log: Option<Dependency>,
    /// What replays, stores and shows.
    pub(super) tasks: Vec<JoinHandle<()>>,
}

/// Lays the way that the configuration asks for. Whoever collects nothing has no spool and writes no log.
pub(super) fn lay(
    config: &Config,
    adapters: &Adapters,
    metrics: &IngestMetrics,
    after: &AfterCommit,
    registry: &mut Registry,
    stop: &CancellationToken,
) -> Result<Way> {
    let takes = config.roles.has(Role::Ingest) || config.roles.has(Role::Worker);
    let mut way = Way { stores: adapters.stores.clone(), spools: None, log: None, tasks: Vec::new() };
    if let (true, Some(settings)) = (takes, &config.sample_log) {
        way.stores = sample_log::before(settings, way.stores)?;
        way.log = sample_log::dependency(&way.stores, config.spool.is_some());
    }
    if let (true, Some(settings)) = (takes, &config.spool) {
        let (stores, spools, tasks) =
            spool::before(config, settings, way.stores, metrics, after, registry, stop)?;
        (way.stores, way.spools) = (stores, Some(spools));
        way.tasks.extend(tasks);
    }
    if let (true, Some(settings)) = (config.roles.has(Role::Writer), &config.sample_log) {
        let tasks = sample_log::start_writer(settings, adapters, metrics, after, registry, stop)?;
        way.tasks.extend(tasks);
    }
    Ok(way)
}

/// Starts the group commit at the beginning of the way.
pub(super) fn commit(
    config: &Config,
    stores: Stores,
    metrics: &IngestMetrics,
    after: &AfterCommit,
    stop: &CancellationToken,
) -> (GroupCommit, JoinHandle<()>) {
    let options = CommitOptions {
        max_delay: config.commit.max_delay,
        max_bytes: config.commit.max_bytes,
        max_queue_bytes: config.limits.max_queue_bytes,
        writers: WRITERS,
        series: config.limits.series(),
        ..CommitOptions::default()
    };
    GroupCommit::start_over(stores, options, metrics.clone(), after.clone(), stop.clone())
}
