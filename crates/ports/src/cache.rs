//! The four caches of the source document: keys and lifetimes are a contract with their readers.

use std::time::Duration;

use async_trait::async_trait;

use crate::PortError;

/// A cache entry's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CacheKey {
    /// `target_health:{target_id}`, five minutes: a `Health` as JSON.
    TargetHealth(String),
    /// `latest_metrics:{target_id}`, two minutes: a list of `Metric` as JSON.
    LatestMetrics(String),
    /// `collection_stats`, one minute: `CollectionStats` as JSON.
    CollectionStats,
    /// `scrape_schedule:{target_id}`, ten minutes: the next scrape's time, RFC 3339, as a JSON string.
    ScrapeSchedule(String),
}

impl CacheKey {
    /// The key as others read it.
    pub fn name(&self) -> String {
        match self {
            Self::TargetHealth(target) => format!("target_health:{target}"),
            Self::LatestMetrics(target) => format!("latest_metrics:{target}"),
            Self::CollectionStats => "collection_stats".to_owned(),
            Self::ScrapeSchedule(target) => format!("scrape_schedule:{target}"),
        }
    }

    /// How long an entry lives after it was written.
    pub fn ttl(&self) -> Duration {
        Duration::from_secs(match self {
            Self::TargetHealth(_) => 5 * 60,
            Self::LatestMetrics(_) => 2 * 60,
            Self::CollectionStats => 60,
            Self::ScrapeSchedule(_) => 10 * 60,
        })
    }
}

/// One entry to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheEntry {
    /// Where.
    pub key: CacheKey,
    /// JSON.
    pub value: String,
}

/// Keeps entries for a while. Losing any of them costs time, never truth.
#[async_trait]
pub trait Cache: Send + Sync + 'static {
    /// Writes entries, each with its key's lifetime from now. All or some may be lost on `Err`.
    async fn put(&self, entries: &[CacheEntry]) -> Result<(), PortError>;

    /// Reads one entry; `None` where there is none or it has expired.
    async fn get(&self, key: &CacheKey) -> Result<Option<String>, PortError>;

    /// Removes entries, those that are not there included.
    async fn remove(&self, keys: &[CacheKey]) -> Result<(), PortError>;

    /// Whether the cache answers.
    async fn ping(&self) -> Result<(), PortError>;
}
