//! What every adapter of [`Cache`] must do.
//!
//! The names of keys are a contract, so the checks cannot take a prefix of their own: target ids are random, and only
//! one run at a time may share a store, because of the one key that has no target.

use std::time::Duration;

use uuid::Uuid;

use crate::{Cache, CacheEntry, CacheKey, CacheSource, CacheValue};

/// Runs all checks that need no waiting.
pub async fn all(cache: &dyn Cache) {
    keys_and_lifetimes_are_the_contract();
    cache.ping().await.expect("a cache that is there answers a ping");
    what_was_put_is_read_back(cache).await;
    a_later_put_wins(cache).await;
    removed_entries_are_gone(cache).await;
    many_entries_at_once(cache).await;
    odd_values_survive(cache).await;
    sources_are_read_as_their_text(cache).await;
}

/// The source document's keys and lifetimes, letter for letter: other programs read them.
pub fn keys_and_lifetimes_are_the_contract() {
    let check = |key: CacheKey, name: &str, seconds: u64| {
        assert_eq!(key.name(), name);
        assert_eq!(key.ttl(), Duration::from_secs(seconds), "lifetime of {name}");
    };
    check(CacheKey::TargetHealth("node-1".into()), "target_health:node-1", 300);
    check(CacheKey::LatestMetrics("node-1".into()), "latest_metrics:node-1", 120);
    check(CacheKey::CollectionStats, "collection_stats", 60);
    check(CacheKey::ScrapeSchedule("node-1".into()), "scrape_schedule:node-1", 600);
}

/// All four keys of one random target: different keys never meet.
pub async fn what_was_put_is_read_back(cache: &dyn Cache) {
    let keys = keys_of(&random_target());
    assert_eq!(get(cache, &keys[0]).await, None, "nothing was put yet");
    let entries: Vec<_> =
        keys.iter().map(|key| entry(key, &format!("{{\"of\":\"{}\"}}", key.name()))).collect();
    put(cache, &entries).await;
    for entry in &entries {
        let found = get(cache, &entry.key).await;
        assert_eq!(found.as_deref(), Some(&*entry.value.text()), "{}", entry.key.name());
    }
    put(cache, &[]).await;
}

/// Also within one call, where the last of a key wins.
pub async fn a_later_put_wins(cache: &dyn Cache) {
    let key = CacheKey::TargetHealth(random_target());
    put(cache, &[entry(&key, "1")]).await;
    put(cache, &[entry(&key, "2")]).await;
    assert_eq!(get(cache, &key).await.as_deref(), Some("2"), "the later of two calls");
    put(cache, &[entry(&key, "3"), entry(&key, "4")]).await;
    assert_eq!(get(cache, &key).await.as_deref(), Some("4"), "the later of two entries");
}

/// Those that were never there included; others stay.
pub async fn removed_entries_are_gone(cache: &dyn Cache) {
    let keys = keys_of(&random_target());
    let entries: Vec<_> = keys.iter().map(|key| entry(key, "true")).collect();
    put(cache, &entries).await;
    let absent = CacheKey::LatestMetrics(random_target());
    cache.remove(&[keys[0].clone(), absent, keys[1].clone()]).await.expect("absent entries are no error");
    cache.remove(&[]).await.expect("removing nothing is no error");
    assert_eq!(get(cache, &keys[0]).await, None);
    assert_eq!(get(cache, &keys[1]).await, None);
    assert_eq!(get(cache, &keys[2]).await.as_deref(), Some("true"), "was not removed");
}

/// More than fit any one message to a server.
pub async fn many_entries_at_once(cache: &dyn Cache) {
    let run = random_target();
    let key = |n: usize| CacheKey::ScrapeSchedule(format!("{run}-{n}"));
    let entries: Vec<_> = (0..5_000).map(|n| entry(&key(n), &n.to_string())).collect();
    put(cache, &entries).await;
    for n in (0..5_000).step_by(97).chain([4_999]) {
        assert_eq!(get(cache, &key(n)).await, Some(n.to_string()));
    }
    let keys: Vec<_> = (0..5_000).map(key).collect();
    cache.remove(&keys).await.expect("many removals at once");
    for n in (0..5_000).step_by(97).chain([4_999]) {
        assert_eq!(get(cache, &key(n)).await, None);
    }
}

/// Empty, long, and beyond ASCII.
pub async fn odd_values_survive(cache: &dyn Cache) {
    let values = [String::new(), "\u{1f680} \"\\ \r\n \0 é".to_owned(), "y".repeat(2_000_000)];
    for value in values {
        let key = CacheKey::LatestMetrics(format!("ziel ü {}", random_target()));
        put(cache, &[entry(&key, &value)]).await;
        assert!(get(cache, &key).await.as_ref() == Some(&value), "a value of {} bytes changed", value.len());
        cache.remove(&[key]).await.expect("clean up");
    }
}

/// Whether the text is written when the entry is put or when it is read.
pub async fn sources_are_read_as_their_text(cache: &dyn Cache) {
    struct Answer;
    impl CacheSource for Answer {
        fn write(&self) -> String {
            "42".to_owned()
        }
        fn bytes(&self) -> usize {
            2
        }
    }
    let key = CacheKey::LatestMetrics(random_target());
    let value = CacheValue::Source(std::sync::Arc::new(Answer));
    put(cache, &[entry(&key, "1"), CacheEntry { key: key.clone(), value }]).await;
    assert_eq!(get(cache, &key).await.as_deref(), Some("42"));
    put(cache, &[entry(&key, "43")]).await;
    assert_eq!(get(cache, &key).await.as_deref(), Some("43"), "a text takes a source's place");
}

/// For adapters whose `TargetHealth` entries can be made to live for `lifetime` only, while others live long:
/// an entry goes when its lifetime is over, reading does not prolong it, writing does.
pub async fn entries_expire(cache: &dyn Cache, lifetime: Duration) {
    let short = CacheKey::TargetHealth(random_target());
    let renewed = CacheKey::TargetHealth(random_target());
    let long = CacheKey::ScrapeSchedule(random_target());
    let entries = [entry(&short, "1"), entry(&renewed, "1"), entry(&long, "1")];
    put(cache, &entries).await;
    tokio::time::sleep(lifetime * 3 / 5).await;
    assert_eq!(get(cache, &short).await.as_deref(), Some("1"), "three fifths of the lifetime");
    put(cache, &[entry(&renewed, "2")]).await;
    tokio::time::sleep(lifetime * 3 / 5).await;
    assert_eq!(get(cache, &short).await, None, "six fifths of the lifetime");
    assert_eq!(get(cache, &renewed).await.as_deref(), Some("2"), "was written again");
    assert_eq!(get(cache, &long).await.as_deref(), Some("1"), "another key, another lifetime");
}

/// The four keys, three of them of one target.
pub fn keys_of(target: &str) -> [CacheKey; 4] {
    [
        CacheKey::TargetHealth(target.to_owned()),
        CacheKey::LatestMetrics(target.to_owned()),
        CacheKey::ScrapeSchedule(target.to_owned()),
        CacheKey::CollectionStats,
    ]
}

/// A target id that nobody else uses.
pub fn random_target() -> String {
    format!("conformance-{}", Uuid::new_v4())
}

fn entry(key: &CacheKey, value: &str) -> CacheEntry {
    CacheEntry { key: key.clone(), value: value.into() }
}

async fn put(cache: &dyn Cache, entries: &[CacheEntry]) {
    cache.put(entries).await.expect("a cache that is there takes entries");
}

async fn get(cache: &dyn Cache, key: &CacheKey) -> Option<String> {
    cache.get(key).await.expect("a cache that is there answers")
}
