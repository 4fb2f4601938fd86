//! The StatsD listener: what is heard is added up, and every `flush_interval` becomes one collection.
//!
//! Counters and distributions are totals since the series was first heard of, gauges and sets what they are: all of them are
//! written at every flush, until nothing is heard of a series for `expire_after`. Then a staleness marker ends it.

mod buckets;
mod series;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use metricsd_codec::line_names::{Names, Rules};
use metricsd_codec::statsd::Item;
use metricsd_ingest::{Ingest, OwnedWrite, Protocol, WriteOrigin};
use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::lines::{LineSink, for_each};
use crate::metrics::{Counted, Dropped};
use crate::start::{self, ListenError, Listening};
use crate::{ListenLimits, ListenerMetrics, now};
use table::Table;

/// Who writes, in the catalogue's words.
const SOURCE: &str = "statsd";

/// What timers and distributions become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Timers {
    /// Native histograms.
    #[default]
    Native,
    /// Summaries: quantiles of each interval, sum and count of all.
    Summary,
}

/// How StatsD is listened to.
#[derive(Debug, Clone)]
pub struct StatsdOptions {
    /// `host:port`, for TCP and UDP alike.
    pub listen: String,
    /// Bounds of the sockets.
    pub limits: ListenLimits,
    /// What becomes of names.
    pub names: Names,
    /// What becomes of paths; those that no rule matches are names as a whole.
    pub rules: Rules,
    /// Labels that every series gets that has no tag of the name.
    pub labels: Vec<(String, String)>,
    /// Time from one collection to the next.
    pub flush_interval: Duration,
    /// A series of which nothing is heard for so long ends; zero: never.
    pub expire_after: Duration,
    /// What timers and distributions become.
    pub timers: Timers,
    /// Series that are added up, at most.
    pub max_series: usize,
    /// Bytes that adding them up may take, about.
    pub max_bytes: usize,
}

/// Listens until told to stop, then stores what was heard.
///
/// # Errors
/// The address cannot be listened on.
pub async fn start(
    options: StatsdOptions,
    ingest: Ingest,
    metrics: &ListenerMetrics,
    stop: CancellationToken,
) -> Result<Listening, ListenError> {
    let sockets = start::bind(&options.listen).await?;
    let counted = metrics.of(SOURCE);
    let (limits, every) = (options.limits, options.flush_interval);
    let table = Arc::new(Mutex::new(Table::new(options)));
    let sink = Statsd { table: table.clone(), counted: counted.clone(), max_line: limits.max_line_bytes };
    let address = sockets.address;
    let heard = start::serve(sockets, Arc::new(sink), limits, counted.clone(), stop.clone());
    let flusher = Flusher { table, ingest, counted };
    let task = tokio::spawn(async move {
        let flushing = flusher.run(every, &stop);
        tokio::join!(heard, flushing);
        // What came in while the listeners ended.
        flusher.flush().await;
    });
    Ok(Listening { address, task })
}

struct Statsd {
    table: Arc<Mutex<Table>>,
    counted: Counted,
    max_line: usize,
}

impl LineSink for Statsd {
    async fn take(&self, lines: &[u8], _: bool) {
        let at = now();
        let mut table = self.table.lock();
        for_each(lines, self.max_line, &self.counted, |line| {
            let outcome = match Item::parse(line) {
                Ok(Item::Metric(metric)) => table.add(&metric, at),
                Ok(Item::Other) => Err(Dropped::NoMetric),
                Err(_) => Err(Dropped::Malformed),
            };
            if let Err(reason) = outcome {
                self.counted.dropped(reason, 1);
            }
        });
    }
}

struct Flusher {
    table: Arc<Mutex<Table>>,
    ingest: Ingest,
    counted: Counted,
}

impl Flusher {
    async fn run(&self, every: Duration, stop: &CancellationToken) {
        let mut tick = interval_at(Instant::now() + every, every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => self.flush().await,
                () = stop.cancelled() => return,
            }
        }
    }

    /// What the store does not take now is in the totals of the next flush; what counts from flush to flush is lost.
    async fn flush(&self) {
        let at = now();
        let (body, (series, bytes)) = {
            let mut table = self.table.lock();
            (table.flush(at), table.size())
        };
        self.counted.state(series, bytes);
        if body.is_empty() {
            return;
        }
        let origin = WriteOrigin::new(SOURCE, Protocol::Statsd);
        let write = OwnedWrite { origin, body: Bytes::from(body), received_at: at };
        if let Err(error) = self.ingest.write(write).await {
            warn!(%error, series, "what StatsD clients sent was not stored; totals are tried again with the next flush");
        }
    }
}
