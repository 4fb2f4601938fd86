//! Takes files: the queue in which they wait, and the workers that read them.

use std::sync::Arc;

use metricsd_http::UploadAccess;
use metricsd_ingest::{Access, GroupCommit, Ingest, Limits, UploadMetrics, UploadOptions, UploadWorker};
use metricsd_ports::WorkQueue;
use prometheus_client::registry::Registry;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::config::{Config, Role};

/// Bodies that may arrive at once: each has a piece of a megabyte in memory.
const BODIES: usize = 16;

/// Bytes of what is remembered of uploaded series.
const CACHE_BYTES: usize = 64 << 20;

/// What routes need, and the workers of this process.
pub(super) fn start(
    config: &Config,
    queue: Arc<dyn WorkQueue>,
    tokens: &Arc<Access>,
    commit: &GroupCommit,
    registry: &mut Registry,
    stop: &CancellationToken,
) -> (UploadAccess, Vec<JoinHandle<()>>) {
    let settings = config.upload;
    let signal = Arc::new(Notify::new());
    let access = UploadAccess {
        queue: queue.clone(),
        signal: signal.clone(),
        max_bytes: settings.max_bytes,
        max_spool_bytes: settings.max_spool_bytes,
        keep: settings.keep,
        max_tries: settings.max_tries,
        slots: Semaphore::new(BODIES),
    };
    if !config.roles.has(Role::Ingest) {
        return (access, Vec::new());
    }
    // History has bounds of its own.
    let limits = Limits {
        max_sample_age: settings.max_sample_age,
        max_write_cache_bytes: config.limits.max_write_cache_bytes.min(CACHE_BYTES),
        ..config.limits.clone()
    };
    let ingest = Ingest::new(commit.clone(), Arc::new(limits));
    let metrics = UploadMetrics::register(registry);
    let worker = |_| {
        let worker = UploadWorker {
            id: Uuid::new_v4(),
            queue: queue.clone(),
            ingest: ingest.clone(),
            options: UploadOptions {
                max_unpacked_bytes: settings.max_unpacked_bytes,
                ..UploadOptions::default()
            },
            access: tokens.clone(),
            metrics: metrics.clone(),
            signal: signal.clone(),
        };
        tokio::spawn(worker.run(stop.clone()))
    };
    (access, (0..settings.workers).map(worker).collect())
}
