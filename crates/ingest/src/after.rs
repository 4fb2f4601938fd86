//! After the commit, off the hot path: targets' health, the caches, and a nudge for the event relay.
//!
//! Notices are coalesced per target, so that a store or a cache that is slow costs freshness and never throughput.
//! Nothing here is needed for truth: what is lost comes again with the next collection.

mod latest;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use metricsd_model::event::rfc3339;
use metricsd_model::{Batch, CollectionMethod, FailureReason, Health, HealthStatus, Millis, Missed};
use metricsd_ports::{Cache, CacheEntry, CacheKey, Catalog};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::IngestMetrics;
use crate::tap::Taps;
use latest::LatestQueue;

pub use latest::metrics_json;

/// How often what has gathered is written.
const FLUSH_EVERY: Duration = Duration::from_millis(200);

/// How often the statistics are computed anew while there are collections.
const STATS_EVERY: Duration = Duration::from_secs(5);

/// The window that statistics speak of.
pub const STATS_WINDOW: Duration = Duration::from_secs(300);

/// Notices that may wait.
const MAX_NOTICES: usize = 20_000;

/// JSON of latest metrics that one flush may write for a cache outside of this process: the rest waits for the next,
/// those that have waited longest first served. At 20 MB a second all entries of 10 million series are written anew
/// within their lifetime of two minutes.
const MAX_LATEST_BYTES: usize = 4 << 20;

/// JSON of latest metrics that is written at a time, so that other tasks of the thread do not wait for long.
const LATEST_PART_BYTES: usize = 256 << 10;

/// What there is to tell of one collection.
pub enum Committed {
    /// A batch was stored.
    Batch(Arc<Batch>),
    /// A target's health changed without anything being stored.
    Health(String, Health),
    /// A target's next scrape is due at a time.
    Schedule(String, Millis),
}

/// A cheap handle; never blocks.
#[derive(Clone)]
pub struct AfterCommit {
    notices: mpsc::Sender<Committed>,
    /// Marked by every commit.
    relays: watch::Sender<()>,
    taps: Taps,
    metrics: IngestMetrics,
}

impl AfterCommit {
    /// Starts the task that writes health and caches. It ends, with a last flush, when `stop` is cancelled.
    pub fn start(
        catalog: Arc<dyn Catalog>,
        cache: Arc<dyn Cache>,
        metrics: IngestMetrics,
        stop: CancellationToken,
    ) -> (Self, JoinHandle<()>) {
        let (notices, receiver) = mpsc::channel(MAX_NOTICES);
        let handle =
            Self { notices, relays: watch::Sender::new(()), taps: Taps::default(), metrics: metrics.clone() };
        let teller = Teller {
            catalog,
            cache,
            metrics,
            pending: Pending::default(),
            cache_down: false,
            stats_due: None,
        };
        (handle, tokio::spawn(teller.run(receiver, stop)))
    }

    /// Wakes an event relay when a batch was committed.
    pub fn relay_signal(&self) -> watch::Receiver<()> {
        self.relays.subscribe()
    }

    /// Those who listen to what is committed.
    pub fn taps(&self) -> &Taps {
        &self.taps
    }

    pub(crate) fn committed(&self, batch: &Arc<Batch>) {
        self.relays.send_replace(());
        self.collected(batch);
    }

    /// A batch is durable, and no reader sees it yet: targets' health, the caches and who follows samples are told what it found all
    /// the same.
    pub(crate) fn kept(&self, batch: &Arc<Batch>) {
        self.collected(batch);
    }

    fn collected(&self, batch: &Arc<Batch>) {
        // What was not done says nothing of the target.
        if batch.collection.reason == Some(FailureReason::Missed) {
            return;
        }
        self.taps.tell(batch);
        self.tell(Committed::Batch(batch.clone()));
    }

    /// Batches were committed whose collections were told before, when they were kept, perhaps by another process: only
    /// their events are to be published.
    pub fn committed_late(&self) {
        self.relays.send_replace(());
    }

    /// Tells something that no batch carries.
    pub fn tell(&self, notice: Committed) {
        if self.notices.try_send(notice).is_err() {
            self.metrics.notices_dropped.inc();
        }
    }
}

#[derive(Default)]
struct Pending {
    health: HashMap<String, Health>,
    latest: LatestQueue,
    schedule: HashMap<String, Millis>,
}

struct Teller {
    catalog: Arc<dyn Catalog>,
    cache: Arc<dyn Cache>,
    metrics: IngestMetrics,
    pending: Pending,
    cache_down: bool,
    stats_due: Option<tokio::time::Instant>,
}

impl Teller {
    async fn run(mut self, mut notices: mpsc::Receiver<Committed>, stop: CancellationToken) {
        let mut tick = tokio::time::interval(FLUSH_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                notice = notices.recv() => match notice {
                    Some(notice) => self.note(notice),
                    None => break,
                },
                _ = tick.tick() => self.flush().await,
                () = stop.cancelled() => break,
            }
        }
        while let Ok(notice) = notices.try_recv() {
            self.note(notice);
        }
        self.flush().await;
    }

    fn note(&mut self, notice: Committed) {
        match notice {
            Committed::Batch(batch) => {
                self.stats_due.get_or_insert_with(tokio::time::Instant::now);
                let target = batch.collection.target_id.clone();
                if target.is_empty() {
                    return;
                }
                let goodbye = batch.collection.health == HealthStatus::Disabled;
                if batch.collection.method == CollectionMethod::PullScraping && !goodbye {
                    self.pending.health.insert(target.clone(), health_of(&batch));
                }
                self.pending.latest.push(target, batch);
            }
            Committed::Health(target, health) => {
                self.pending.health.insert(target, health);
            }
            Committed::Schedule(target, at) => {
                self.pending.schedule.insert(target, at);
            }
        }
    }

    async fn flush(&mut self) {
        let health: Vec<(String, Health)> = self.pending.health.drain().collect();
        if !health.is_empty()
            && let Err(error) = self.catalog.record_health(&health).await
        {
            warn!(error = error.chain(), targets = health.len(), "targets' health was not recorded");
        }
        let mut entries: Vec<CacheEntry> =
            health.iter().map(|(target, health)| health_entry(target, health)).collect();
        entries.extend(self.pending.schedule.drain().map(|(target, at)| CacheEntry {
            key: CacheKey::ScrapeSchedule(target),
            value: format!("\"{}\"", rfc3339(at)).into(),
        }));
        entries.extend(self.stats_entry().await);
        if self.cache.keeps_sources() {
            entries.extend(self.pending.latest.drain());
        }
        self.put(&entries).await;
        self.put_latest().await;
    }

    /// Writes latest metrics for a cache that wants their text.
    async fn put_latest(&mut self) {
        let mut left = MAX_LATEST_BYTES;
        while left > 0 {
            let part = self.pending.latest.write(left.min(LATEST_PART_BYTES));
            if part.is_empty() {
                return;
            }
            left = left.saturating_sub(part.iter().map(|entry| entry.value.bytes()).sum());
            self.put(&part).await;
        }
    }

    async fn stats_entry(&mut self) -> Option<CacheEntry> {
        let now = tokio::time::Instant::now();
        if self.stats_due? > now {
            return None;
        }
        self.stats_due = Some(now + STATS_EVERY);
        match self.catalog.stats(chrono::Utc::now().timestamp_millis(), STATS_WINDOW).await {
            Ok(stats) => Some(entry(CacheKey::CollectionStats, &stats)),
            Err(error) => {
                warn!(error = error.chain(), "statistics were not computed");
                None
            }
        }
    }

    async fn put(&mut self, entries: &[CacheEntry]) {
        if entries.is_empty() {
            return;
        }
        match self.cache.put(entries).await {
            Ok(()) if self.cache_down => {
                info!("the cache answers again");
                self.cache_down = false;
            }
            Ok(()) => {}
            Err(error) => {
                self.metrics.cache_errors.inc();
                if !self.cache_down {
                    warn!(error = error.chain(), "the cache is away; collecting goes on without it");
                }
                self.cache_down = true;
            }
        }
    }
}

/// The target's health after a scrape.
fn health_of(batch: &Batch) -> Health {
    let collection = &batch.collection;
    let stretched = collection.ledger.missed.get(&Missed::Stretched).map(|count| {
        format!(
            "{count} scrapes were left out before this one: what waits for the store has little room left"
        )
    });
    Health {
        status: collection.health,
        reason: collection.reason,
        error: collection.error.clone().or(stretched),
        last_scrape: Some(collection.started),
        scrape_duration_ms: collection.duration_ms,
        samples_scraped: collection.ledger.received,
    }
}

fn health_entry(target: &str, health: &Health) -> CacheEntry {
    entry(CacheKey::TargetHealth(target.to_owned()), health)
}

/// Plain structs always have a JSON.
fn entry(key: CacheKey, value: &impl serde::Serialize) -> CacheEntry {
    CacheEntry { key, value: serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned()).into() }
}
