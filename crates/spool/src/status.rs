//! How full the spool is, for those who bring more, and what it counts about itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metricsd_model::Millis;
use metricsd_ports::Backlog;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// Room that there should be before somebody who was sent away comes back: a part of the whole.
const ROOM: u64 = 20;

/// Who is sent away comes back within this time.
const RETRY_AFTER: std::ops::RangeInclusive<u64> = 1..=120;

/// When the store is away nobody knows for how long.
const RETRY_AWAY: Duration = Duration::from_secs(15);

/// How full one spool is. Written by the spool, read by anybody.
#[derive(Debug)]
pub struct SpoolStatus {
    max_bytes: u64,
    bytes: AtomicU64,
    batches: AtomicU64,
    /// Milliseconds since the epoch; 0 where nothing waits.
    oldest: AtomicU64,
    /// Bytes a second that leave the spool.
    rate: AtomicU64,
}

impl SpoolStatus {
    pub(crate) fn new(max_bytes: u64) -> Self {
        let zero = AtomicU64::default;
        Self { max_bytes, bytes: zero(), batches: zero(), oldest: zero(), rate: zero() }
    }

    pub(crate) fn set(&self, bytes: u64, batches: u64, oldest: Option<Millis>) {
        self.bytes.store(bytes, Ordering::Relaxed);
        self.batches.store(batches, Ordering::Relaxed);
        self.oldest.store(oldest.map_or(0, |at| at.max(1).cast_unsigned()), Ordering::Relaxed);
    }

    /// Whether what waits was leaving lately.
    pub(crate) fn is_draining(&self) -> bool {
        self.drain_rate() > 0
    }

    /// Notes that so many bytes left within a time; 0 where the store is away.
    pub(crate) fn drained(&self, bytes: u64, within: Duration) {
        let now = (bytes as f64 / within.as_secs_f64().max(1e-3)) as u64;
        let before = self.rate.load(Ordering::Relaxed);
        let smooth = if bytes == 0 || before == 0 { now } else { (3 * before + now) / 4 };
        self.rate.store(smooth, Ordering::Relaxed);
    }

    /// Bytes on disk, with those of what was put aside.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Batches that wait.
    pub fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    /// Bytes a second that leave the spool; 0 while none do.
    pub fn drain_rate(&self) -> u64 {
        self.rate.load(Ordering::Relaxed)
    }

    /// Seconds that the oldest batch has waited.
    pub fn age_seconds(&self, now: Millis) -> f64 {
        match self.oldest.load(Ordering::Relaxed) {
            0 => 0.0,
            oldest => (now - oldest.cast_signed()).max(0) as f64 / 1e3,
        }
    }
}

impl Backlog for SpoolStatus {
    fn fill(&self) -> f64 {
        if self.max_bytes == 0 { 1.0 } else { self.bytes() as f64 / self.max_bytes as f64 }
    }

    fn retry_after(&self) -> Duration {
        let rate = self.drain_rate();
        if rate == 0 {
            return RETRY_AWAY;
        }
        let wanted = self.max_bytes - self.max_bytes / ROOM;
        let seconds = self.bytes().saturating_sub(wanted) / rate + 1;
        Duration::from_secs(seconds.clamp(*RETRY_AFTER.start(), *RETRY_AFTER.end()))
    }
}

/// Metrics of all spools of a process. Clones share their values.
#[derive(Debug, Clone)]
pub struct SpoolMetrics {
    pub(crate) spooled: Counter,
    pub(crate) replayed: Counter,
    pub(crate) repeated: Counter,
    pub(crate) refused: Counter,
    pub(crate) full: Counter,
    pub(crate) errors: Counter,
    pub(crate) parked: Counter,
    pub(crate) damaged: Counter,
    bytes: Gauge,
    batches: Gauge,
    age: Gauge<f64, AtomicU64>,
    rate: Gauge,
}

impl SpoolMetrics {
    /// Creates and registers all of them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            spooled: Counter::default(),
            replayed: Counter::default(),
            repeated: Counter::default(),
            refused: Counter::default(),
            full: Counter::default(),
            errors: Counter::default(),
            parked: Counter::default(),
            damaged: Counter::default(),
            bytes: Gauge::default(),
            batches: Gauge::default(),
            age: Gauge::default(),
            rate: Gauge::default(),
        };
        let spool = registry.sub_registry_with_prefix("spool");
        let counters = [
            ("spooled_batches", "Batches that went to the spool", &metrics.spooled),
            ("replayed_batches", "Batches that the store took from the spool", &metrics.replayed),
            ("repeated_batches", "Batches of the spool that the store had already", &metrics.repeated),
            ("refused", "Refusals of a store that answers and takes no batches now", &metrics.refused),
            ("full", "Groups of batches that found no room in the spool", &metrics.full),
            ("errors", "Failed attempts to write or read the spool", &metrics.errors),
            ("parked_batches", "Batches of the spool that no store takes, put aside", &metrics.parked),
            ("damaged_files", "Files of the spool that were damaged and are put aside", &metrics.damaged),
        ];
        for (name, help, counter) in counters {
            spool.register(name, help, counter.clone());
        }
        let batches = metrics.batches.clone();
        spool.register("batches", "Batches that wait in the spool", batches);
        spool.register_with_unit("size", "What the spool takes on disk", Unit::Bytes, metrics.bytes.clone());
        let age = metrics.age.clone();
        spool.register_with_unit("oldest_age", "How long the oldest batch has waited", Unit::Seconds, age);
        let rate = metrics.rate.clone();
        spool.register("drain_bytes_per_second", "What leaves the spool; 0 while the store is away", rate);
        metrics
    }

    /// Shows how things stand in all spools.
    pub fn show<'a>(&self, spools: impl Iterator<Item = &'a SpoolStatus>, now: Millis) {
        let (mut bytes, mut batches, mut rate, mut age) = (0, 0, 0, 0.0f64);
        for status in spools {
            bytes += status.bytes();
            batches += status.batches();
            rate += if status.batches() > 0 { status.drain_rate() } else { 0 };
            age = age.max(status.age_seconds(now));
        }
        self.bytes.set(bytes.cast_signed());
        self.batches.set(batches.cast_signed());
        self.rate.set(rate.cast_signed());
        self.age.set(age);
    }
}
