//! The caches of one process, bounded in bytes, with a lifetime for each entry.

use std::fmt;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use moka::Expiry;
use moka::sync::Cache as Entries;

use crate::{Cache, CacheEntry, CacheKey, CacheValue, PortError};

/// Bytes of entries, unless another number is asked for.
const DEFAULT_MAX_BYTES: u64 = 64 << 20;

/// What an entry costs beside its key and value, approximately.
const ENTRY_OVERHEAD: usize = 160;

type Lifetime = dyn Fn(&CacheKey) -> Duration + Send + Sync;

/// Keeps entries in this process. When full, those that are read least go first.
pub struct MemoryCache {
    entries: Entries<CacheKey, CacheValue>,
}

impl MemoryCache {
    /// A cache of at most `max_bytes`, with the lifetimes of the contract.
    pub fn new(max_bytes: u64) -> Self {
        Self::with_lifetimes(max_bytes, CacheKey::ttl)
    }

    /// The same with other lifetimes, for tests that cannot wait for minutes.
    pub fn with_lifetimes(
        max_bytes: u64,
        lifetime: impl Fn(&CacheKey) -> Duration + Send + Sync + 'static,
    ) -> Self {
        let entries = Entries::builder()
            .max_capacity(max_bytes)
            .weigher(|key: &CacheKey, value: &CacheValue| u32::try_from(cost(key, value)).unwrap_or(u32::MAX))
            .expire_after(ByKey(Box::new(lifetime)))
            .build();
        Self { entries }
    }

    /// Bytes that the entries take now, approximately.
    pub fn bytes(&self) -> u64 {
        self.entries.run_pending_tasks();
        self.entries.weighted_size()
    }
}

impl Default for MemoryCache {
    fn default() -> Self {
        Self::new(DEFAULT_MAX_BYTES)
    }
}

impl fmt::Debug for MemoryCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryCache").field("entries", &self.entries.entry_count()).finish_non_exhaustive()
    }
}

fn cost(key: &CacheKey, value: &CacheValue) -> usize {
    let id = match key {
        CacheKey::TargetHealth(id) | CacheKey::LatestMetrics(id) | CacheKey::ScrapeSchedule(id) => id.len(),
        CacheKey::CollectionStats => 0,
    };
    ENTRY_OVERHEAD + id + value.bytes()
}

/// Every write gives an entry its key's whole lifetime again; reading does not prolong it.
struct ByKey(Box<Lifetime>);

impl Expiry<CacheKey, CacheValue> for ByKey {
    fn expire_after_create(&self, key: &CacheKey, _: &CacheValue, _: Instant) -> Option<Duration> {
        Some((self.0)(key))
    }

    fn expire_after_update(
        &self,
        key: &CacheKey,
        _: &CacheValue,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some((self.0)(key))
    }
}

#[async_trait]
impl Cache for MemoryCache {
    async fn put(&self, entries: &[CacheEntry]) -> Result<(), PortError> {
        for entry in entries {
            self.entries.insert(entry.key.clone(), entry.value.clone());
        }
        Ok(())
    }

    fn keeps_sources(&self) -> bool {
        true
    }

    async fn get(&self, key: &CacheKey) -> Result<Option<String>, PortError> {
        Ok(self.entries.get(key).map(CacheValue::into_text))
    }

    async fn remove(&self, keys: &[CacheKey]) -> Result<(), PortError> {
        for key in keys {
            self.entries.invalidate(key);
        }
        Ok(())
    }

    async fn ping(&self) -> Result<(), PortError> {
        Ok(())
    }
}

#[cfg(all(test, feature = "conformance"))]
mod tests {
    use super::*;
    use crate::conformance::cache;

    #[tokio::test]
    async fn the_memory_cache_keeps_the_promises() {
        cache::all(&MemoryCache::default()).await;
    }

    #[tokio::test]
    async fn entries_expire_after_their_own_lifetime() {
        let lifetime = |key: &CacheKey| match key {
            CacheKey::TargetHealth(_) => Duration::from_millis(400),
            _ => Duration::from_secs(60),
        };
        cache::entries_expire(&MemoryCache::with_lifetimes(1 << 20, lifetime), Duration::from_millis(400))
            .await;
    }

    #[tokio::test]
    async fn memory_is_bounded_in_bytes() {
        let cache = MemoryCache::new(100_000);
        for n in 0..1_000 {
            let key = CacheKey::LatestMetrics(format!("t{n}"));
            cache.put(&[CacheEntry { key, value: "x".repeat(1_000).into() }]).await.unwrap();
        }
        let bytes = cache.bytes();
        assert!((1_000..=100_000).contains(&bytes), "{bytes} bytes are kept");
    }
}
