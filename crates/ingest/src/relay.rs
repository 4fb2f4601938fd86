//! Publishes the events that the store keeps in its outbox: at least once, in order per source, never before the data.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metricsd_model::MetricsCollected;
use metricsd_ports::{EventBus, Outbox, OutboxEvent, PortError};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::IngestMetrics;

/// Events of one round.
const ROUND: usize = 1_000;

/// How long the outbox is this relay's after each time that it asked; several times as long as a publish may take, so
/// that no other relay publishes newer events beside one that is still under way.
const LEASE: Duration = Duration::from_secs(30);

/// How often a long backlog is counted: it means reading all of it.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// Longest pause without a nudge: other processes' batches wait in the same outbox.
const POLL: Duration = Duration::from_millis(500);

/// How long the relay gathers events after a nudge: one round for several commits.
const GATHER: Duration = Duration::from_millis(50);

/// Longest pause after a failure.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Moves events from the outbox to the bus until told to stop.
pub struct Relay {
    /// Where events wait.
    pub outbox: Arc<dyn Outbox>,
    /// Where they go.
    pub bus: Arc<dyn EventBus>,
    /// Wakes the relay when there is something new.
    pub signal: watch::Receiver<()>,
    /// Counters, shared by the relays of several outboxes.
    pub metrics: IngestMetrics,
}

/// What this relay said last of its outbox.
struct Backlog {
    /// Its part of the gauge, to which every relay adds its own.
    told: i64,
    gauge: Gauge,
    /// When all of it was counted.
    counted: Option<Instant>,
}

impl Backlog {
    fn tell(&mut self, waiting: i64) {
        self.gauge.inc_by(waiting - self.told);
        self.told = waiting;
    }
}

impl Relay {
    /// Runs until `stop` is cancelled, then makes one last round.
    pub async fn run(mut self, stop: CancellationToken) {
        let id = Uuid::new_v4();
        let mut pause = Duration::from_millis(100);
        let mut failing = false;
        let mut backlog = Backlog { told: 0, gauge: self.metrics.event_backlog.clone(), counted: None };
        loop {
            let last = stop.is_cancelled();
            // The last round gives the outbox up, so that another relay need not wait for the lease to run out.
            let lease = if last { Duration::ZERO } else { LEASE };
            match self.round(id, lease, &mut backlog).await {
                Ok(published) => {
                    if failing {
                        info!("events are published again");
                    }
                    (failing, pause) = (false, Duration::from_millis(100));
                    if published == ROUND && !last {
                        continue;
                    }
                }
                Err(error) => {
                    self.metrics.event_errors.inc();
                    if !failing {
                        warn!(error = error.chain(), "events are not published; they wait in the outbox");
                    }
                    failing = true;
                }
            }
            if last {
                return;
            }
            self.rest(failing, &mut pause, &stop).await;
        }
    }

    /// Publishes what waits, up to a round's worth; answers how much.
    async fn round(&self, id: Uuid, lease: Duration, backlog: &mut Backlog) -> Result<usize, PortError> {
        let waiting = self.outbox.pending(id, lease, ROUND).await?;
        if waiting.is_empty() {
            backlog.tell(0);
            return Ok(0);
        }
        if waiting.len() < ROUND {
            backlog.tell(waiting.len() as i64);
        } else if backlog.counted.is_none_or(|at| at.elapsed() > COUNT_EVERY) {
            backlog.counted = Some(Instant::now());
            backlog.tell(i64::try_from(self.outbox.backlog().await?).unwrap_or(i64::MAX));
        }
        let (seqs, events): (Vec<i64>, Vec<MetricsCollected>) =
            waiting.into_iter().map(|OutboxEvent { seq, event }| (seq, event)).unzip();
        self.bus.publish(&events).await?;
        self.outbox.published(&seqs).await?;
        self.metrics.events.inc_by(events.len() as u64);
        Ok(events.len())
    }

    async fn rest(&mut self, failing: bool, pause: &mut Duration, stop: &CancellationToken) {
        if failing {
            tokio::select! {
                () = tokio::time::sleep(*pause) => {}
                () = stop.cancelled() => {}
            }
            *pause = (*pause * 2).min(MAX_PAUSE);
        } else {
            tokio::select! {
                // Nobody is left to wake it when the process ends: then it polls.
                nudged = self.signal.changed() => {
                    tokio::time::sleep(if nudged.is_ok() { GATHER } else { POLL }).await;
                }
                () = tokio::time::sleep(POLL) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}
