//! Has frames turned into segments, again and again.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use metricsd_model::Millis;
use metricsd_ports::{Compacted, CompactionPolicy, PortError, Upkeep};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::chores::rest;
use super::watch::ShardLabel;
use crate::config::CompactionConfig;

/// How often it is looked whether there is something to do.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// How long late samples of an hour wait for more of their kind.
const HOUR_RESTS: Duration = Duration::from_secs(300);

/// What compaction did since this process started. Clones share their values.
#[derive(Debug, Clone, Default)]
pub(super) struct CompactionMetrics {
    samples: Counter,
    frames: Counter,
    segments: Counter,
    chunks: Counter,
    errors: Counter,
    seconds: Counter<f64, AtomicU64>,
    complete: Family<ShardLabel, Gauge<f64, AtomicU64>>,
}

/// Those of one database.
#[derive(Debug)]
pub(super) struct ShardMetrics {
    all: CompactionMetrics,
    shard: ShardLabel,
}

impl CompactionMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("compaction");
        registry.register("samples", "Samples moved into segments", metrics.samples.clone());
        registry.register("frames", "Frames removed", metrics.frames.clone());
        registry.register("segments", "Segments written", metrics.segments.clone());
        registry.register("chunks", "Pieces of storage given back as a whole", metrics.chunks.clone());
        registry.register("errors", "Failed attempts", metrics.errors.clone());
        let help = "Time spent compacting";
        registry.register_with_unit("duration", help, Unit::Seconds, metrics.seconds.clone());
        let help = "Hours that ended by then were compacted when it was last looked";
        registry.register_with_unit("complete_timestamp", help, Unit::Seconds, metrics.complete.clone());
        metrics
    }

    /// Those of the database of this number.
    pub(super) fn of(&self, number: usize) -> ShardMetrics {
        ShardMetrics { all: self.clone(), shard: ShardLabel { shard: number.to_string() } }
    }

    fn count(&self, done: &Compacted, took: Duration) {
        self.samples.inc_by(done.samples);
        self.frames.inc_by(done.frames);
        self.segments.inc_by(done.segments);
        self.chunks.inc_by(done.chunks);
        self.seconds.inc_by(took.as_secs_f64());
    }
}

/// Compacts one database until told to stop.
pub(super) async fn run(
    store: Arc<dyn Upkeep>,
    config: CompactionConfig,
    metrics: ShardMetrics,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let policy = policy(config, chrono::Utc::now().timestamp_millis());
        let started = Instant::now();
        match round(&*store, &policy, &metrics.all, &stop).await {
            Ok(Some(done)) => {
                metrics.all.complete.get_or_create(&metrics.shard).set(policy.before as f64 / 1_000.0);
                if done != Compacted::default() {
                    let Compacted { samples, frames, segments, chunks, .. } = done;
                    info!(samples, frames, segments, chunks, took = ?started.elapsed(), "samples compacted");
                }
            }
            Ok(None) => {}
            Err(error) => {
                metrics.all.errors.inc();
                warn!(error = error.chain(), "samples were not compacted");
            }
        }
        rest(LOOK_EVERY, &stop).await;
    }
}

fn policy(config: CompactionConfig, now: Millis) -> CompactionPolicy {
    let ago = |span: Duration| now.saturating_sub(Millis::try_from(span.as_millis()).unwrap_or(Millis::MAX));
    CompactionPolicy {
        before: ago(config.delay),
        pack_before: config.pack_after.map(ago),
        max_samples: config.max_samples,
        rest: HOUR_RESTS,
    }
}

/// Piece by piece until nothing is left to do; `None` when told to stop before that. A piece that is under way is given
/// up then: it is done as a whole or not at all.
async fn round(
    store: &dyn Upkeep,
    policy: &CompactionPolicy,
    metrics: &CompactionMetrics,
    stop: &CancellationToken,
) -> Result<Option<Compacted>, PortError> {
    let mut all = Compacted::default();
    loop {
        let started = Instant::now();
        let done = tokio::select! {
            done = store.compact(policy) => done?,
            () = stop.cancelled() => return Ok(None),
        };
        metrics.count(&done, started.elapsed());
        all += done;
        if !done.more {
            return Ok(Some(all));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_become_times() {
        let config = CompactionConfig {
            delay: Duration::from_secs(600),
            pack_after: Some(Duration::from_secs(86_400)),
            max_samples: 100_000,
        };
        let policy = policy(config, 1_000_000_000);
        assert_eq!((policy.before, policy.pack_before), (999_400_000, Some(913_600_000)));
    }
}
