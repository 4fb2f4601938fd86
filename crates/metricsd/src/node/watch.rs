//! Whether each database answers: asked for now and then, counted, and said once when it changes.

use std::sync::Arc;
use std::time::Duration;

use metricsd_ports::{PortError, SampleSink};
use metricsd_shards::Shard;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::adapters::{Adapters, Opener};

/// How often each database is asked, and one that was away at start is tried again.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// A database that has not answered by then is away.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Which database, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ShardLabel {
    pub(super) shard: String,
}

/// Starts a watch for each database, and the opening of those that were away.
pub(super) fn start(
    adapters: &Adapters,
    registry: &mut Registry,
    stop: &CancellationToken,
) -> Vec<JoinHandle<()>> {
    let up: Family<ShardLabel, Gauge> = Family::default();
    let storage = registry.sub_registry_with_prefix("storage");
    storage.register("up", "Whether the database answers: 1 or 0", up.clone());
    let mut tasks = Vec::new();
    for member in &adapters.members {
        let gauge = up.get_or_create_owned(&ShardLabel { shard: member.number.to_string() });
        // Open since the start, unless it is opened later.
        gauge.set(i64::from(member.late.is_none()));
        let watch = Watch { name: member.name.clone(), sink: member.sink.clone(), up: gauge };
        tasks.push(tokio::spawn(watch.run(stop.clone())));
        if let Some((shard, opener)) = member.late.clone() {
            tasks.push(tokio::spawn(open_late(shard, opener, stop.clone())));
        }
    }
    tasks
}

struct Watch {
    name: String,
    sink: Arc<dyn SampleSink>,
    up: Gauge,
}

impl Watch {
    async fn run(self, stop: CancellationToken) {
        while rested(&stop).await {
            let answer: Result<(), PortError> =
                match tokio::time::timeout(ANSWER_WITHIN, self.sink.ping()).await {
                    Ok(answer) => answer,
                    Err(_) => Err(PortError::new(metricsd_ports::ErrorKind::Timeout, "no answer in time")),
                };
            let was_up = self.up.set(i64::from(answer.is_ok())) == 1;
            match answer {
                Ok(()) if !was_up => info!(store = self.name, "a database answers again"),
                Err(error) if was_up => {
                    warn!(store = self.name, error = error.chain(), "a database does not answer");
                }
                _ => {}
            }
        }
    }
}

/// Opens a shard that was away at start, as soon as it answers.
async fn open_late(shard: Arc<Shard>, opener: Opener, stop: CancellationToken) {
    let mut said = false;
    while rested(&stop).await {
        match opener.open().await {
            Ok(opened) => {
                shard.opened(opened);
                info!(shard = shard.name(), "a shard that was away at start is open");
                return;
            }
            Err(error) if error.is_retryable() => {}
            // Someone may mend it.
            Err(error) if !std::mem::replace(&mut said, true) => {
                error!(shard = shard.name(), error = error.chain(), "a shard cannot be opened");
            }
            Err(_) => {}
        }
    }
}

/// Waits for the next time; `false` when there is none.
async fn rested(stop: &CancellationToken) -> bool {
    tokio::select! {
        () = tokio::time::sleep(ASK_EVERY) => true,
        () = stop.cancelled() => false,
    }
}
