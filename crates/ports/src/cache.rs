//! The four caches of the source document: keys and lifetimes are a contract with their readers.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
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
    pub value: CacheValue,
}

/// An entry's JSON, written already or still to be written.
#[derive(Clone)]
pub enum CacheValue {
    /// The text.
    Text(Arc<str>),
    /// What the text can be written from. A cache within this process writes it when somebody reads the entry: most
    /// entries are replaced before anybody does.
    Source(Arc<dyn CacheSource>),
}

/// What the text of an entry is written from.
pub trait CacheSource: Send + Sync + 'static {
    /// The text.
    fn write(&self) -> String;

    /// Bytes that keeping this costs, approximately.
    fn bytes(&self) -> usize;
}

impl CacheValue {
    /// The text, written now where it has to be.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Source(source) => Cow::Owned(source.write()),
        }
    }

    /// [`Self::text`] for those who keep it.
    pub fn into_text(self) -> String {
        self.text().into_owned()
    }

    /// Bytes that keeping this costs, approximately.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Source(source) => source.bytes(),
        }
    }
}

impl From<String> for CacheValue {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<&str> for CacheValue {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

/// By text.
impl PartialEq for CacheValue {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for CacheValue {}

impl fmt::Debug for CacheValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => fmt::Debug::fmt(text, f),
            Self::Source(source) => write!(f, "CacheValue::Source({} bytes)", source.bytes()),
        }
    }
}

/// Keeps entries for a while. Losing any of them costs time, never truth.
#[async_trait]
pub trait Cache: Send + Sync + 'static {
    /// Writes entries, each with its key's lifetime from now. All or some may be lost on `Err`.
    async fn put(&self, entries: &[CacheEntry]) -> Result<(), PortError>;

    /// Whether entries stay in this process as they are put, so that putting one costs nothing until it is read.
    /// Otherwise [`Cache::put`] writes the text of each, and its caller bounds how much text that is.
    fn keeps_sources(&self) -> bool {
        false
    }

    /// Reads one entry; `None` where there is none or it has expired.
    async fn get(&self, key: &CacheKey) -> Result<Option<String>, PortError>;

    /// Removes entries, those that are not there included.
    async fn remove(&self, keys: &[CacheKey]) -> Result<(), PortError>;

    /// Whether the cache answers.
    async fn ping(&self) -> Result<(), PortError>;
}
