//! The cache against a real Redis server.

mod support;

use std::time::{Duration, Instant};

use metricsd_ports::conformance::cache::{all, keys_of, random_target};
use metricsd_ports::{Cache, CacheEntry, CacheKey, ErrorKind, PortError};
use metricsd_redis::RedisCache;
use redis::AsyncCommands;
use support::Forwarder;

/// The server, and a database that nothing else in this repository uses: `collection_stats` has no target of its own.
const DATABASE: u8 = 11;

fn server() -> String {
    let url = std::env::var("METRICSD_TEST_REDIS_URL")
        .expect("METRICSD_TEST_REDIS_URL is not set: run `make services`, then `source .services.env`");
    url.trim_end_matches('/').strip_prefix("redis://").expect("a plain address").to_owned()
}

fn url() -> String {
    format!("redis://{}/{DATABASE}", server())
}

async fn plain_client() -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(url()).expect("an address");
    client.get_multiplexed_async_connection().await.expect("Redis answers")
}

fn entry(key: &CacheKey, value: &str) -> CacheEntry {
    CacheEntry { key: key.clone(), value: value.into() }
}

/// One test, since both parts use `collection_stats`.
#[tokio::test]
async fn the_promises_are_kept_and_others_read_keys_values_and_lifetimes() {
    let cache = RedisCache::connect(&url()).unwrap();
    all(&cache).await;

    let target = random_target();
    let keys = keys_of(&target);
    let entries: Vec<_> = keys.iter().map(|key| entry(key, &format!("[\"{}\"]", key.name()))).collect();
    cache.put(&entries).await.unwrap();
    let mut plain = plain_client().await;
    let expected = [
        (format!("target_health:{target}"), 300),
        (format!("latest_metrics:{target}"), 120),
        (format!("scrape_schedule:{target}"), 600),
        ("collection_stats".to_owned(), 60),
    ];
    for (name, lifetime) in &expected {
        let value: String = plain.get(name).await.unwrap();
        assert_eq!(value, format!("[\"{name}\"]"));
        let left: i64 = plain.ttl(name).await.unwrap();
        assert!((lifetime - 2..=*lifetime).contains(&left), "{name} lives for {left} s");
    }

    // Writing renews: the lifetime is shortened from outside, and whole again after the next write.
    let _: () = plain.expire(&expected[0].0, 5).await.unwrap();
    cache.get(&keys[0]).await.unwrap();
    let left: i64 = plain.ttl(&expected[0].0).await.unwrap();
    assert!(left <= 5, "reading prolonged the lifetime to {left} s");
    cache.put(&entries[..1]).await.unwrap();
    let left: i64 = plain.ttl(&expected[0].0).await.unwrap();
    assert!((298..=300).contains(&left), "writing did not renew the lifetime: {left} s");

    let _: () = plain.pexpire(&expected[0].0, 1).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(cache.get(&keys[0]).await.unwrap(), None, "expired");
    cache.remove(&keys).await.unwrap();
    let left: u64 = plain.exists(&keys.map(|key| key.name())).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn what_others_wrote_is_read() {
    let cache = RedisCache::connect(&url()).unwrap();
    let mut plain = plain_client().await;
    let key = CacheKey::TargetHealth(random_target());
    let _: () = plain.set_ex(key.name(), "{\"status\":\"healthy\"}", 60).await.unwrap();
    assert_eq!(cache.get(&key).await.unwrap().as_deref(), Some("{\"status\":\"healthy\"}"));
    let _: () = plain.del(key.name()).await.unwrap();
    let _: () = plain.lpush(key.name(), "a list").await.unwrap();
    let error = cache.get(&key).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "{}", error.chain());
    let _: () = plain.del(key.name()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_share_the_connection() {
    let cache = std::sync::Arc::new(RedisCache::connect(&url()).unwrap());
    let calls: Vec<_> = (0..200)
        .map(|n| {
            let cache = std::sync::Arc::clone(&cache);
            tokio::spawn(async move {
                let key = CacheKey::LatestMetrics(random_target());
                cache.put(&[entry(&key, &n.to_string())]).await.unwrap();
                assert_eq!(cache.get(&key).await.unwrap(), Some(n.to_string()));
                cache.remove(&[key]).await.unwrap();
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
}

#[tokio::test]
async fn calls_fail_fast_while_redis_is_away_and_recover_when_it_is_back() {
    let mut forwarder = Forwarder::new(&server()).await;
    let cache = RedisCache::connect(&format!("redis://{}/{DATABASE}", forwarder.address())).unwrap();
    let key = CacheKey::TargetHealth(random_target());
    for round in 0..2 {
        let start = Instant::now();
        for _ in 0..50 {
            let error = cache.put(&[entry(&key, "1")]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
            assert!(error.is_retryable());
        }
        assert!(start.elapsed() < Duration::from_secs(1), "50 failures took {:?}", start.elapsed());

        forwarder.on().await;
        within(Duration::from_secs(5), || cache.ping()).await;
        cache.put(&[entry(&key, "2")]).await.unwrap();
        assert_eq!(cache.get(&key).await.unwrap().as_deref(), Some("2"), "round {round}");

        // Restarted between two calls: the second goes over a new connection, and the caller notices nothing.
        forwarder.off().await;
        forwarder.on().await;
        assert_eq!(cache.get(&key).await.unwrap().as_deref(), Some("2"), "after a restart, round {round}");
        forwarder.off().await;
    }
}

#[tokio::test]
async fn a_silent_server_costs_a_bounded_time() {
    let mut forwarder = Forwarder::new(&server()).await;
    forwarder.silence(true);
    forwarder.on().await;
    let cache = RedisCache::connect(&format!("redis://{}/{DATABASE}", forwarder.address())).unwrap();
    let start = Instant::now();
    let error = cache.ping().await.unwrap_err();
    assert!(error.is_retryable(), "{}", error.chain());
    assert!(start.elapsed() < Duration::from_millis(2_500), "took {:?}", start.elapsed());

    // Callers that come together wait together, not one after the other.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let start = Instant::now();
    let calls = (0..20).map(|_| cache.ping());
    for result in futures::future::join_all(calls).await {
        assert!(result.unwrap_err().is_retryable());
    }
    assert!(start.elapsed() < Duration::from_millis(2_500), "took {:?}", start.elapsed());

    forwarder.silence(false);
    within(Duration::from_secs(5), || cache.ping()).await;
}

#[tokio::test]
async fn a_command_without_an_answer_times_out() {
    let mut forwarder = Forwarder::new(&server()).await;
    forwarder.on().await;
    let cache = RedisCache::connect(&format!("redis://{}/{DATABASE}", forwarder.address())).unwrap();
    cache.ping().await.unwrap();
    forwarder.silence(true);
    let start = Instant::now();
    let error = cache.ping().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{}", error.chain());
    let elapsed = start.elapsed();
    assert!((Duration::from_millis(1_900)..Duration::from_millis(2_700)).contains(&elapsed), "{elapsed:?}");
    forwarder.silence(false);
    within(Duration::from_secs(5), || cache.ping()).await;
}

#[tokio::test]
async fn secrets_stay_out_of_errors_and_debug() {
    let host = server();
    for url in
        [format!("redis://nobody:hunter2@{host}/{DATABASE}"), "rediss://:hunter2@127.0.0.1:1".to_owned()]
    {
        let cache = RedisCache::connect(&url).unwrap();
        let error = cache.ping().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
        for text in [error.chain(), format!("{error:?}"), format!("{cache:?}")] {
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}

/// TLS is spoken, and a server without it is an error rather than a fault.
#[tokio::test]
async fn a_server_without_tls_is_refused() {
    let cache = RedisCache::connect(&format!("rediss://{}", server())).unwrap();
    let error = cache.ping().await.unwrap_err();
    assert!(error.is_retryable(), "{}", error.chain());
}

async fn within<F: Future<Output = Result<(), PortError>>>(limit: Duration, call: impl Fn() -> F) {
    let start = Instant::now();
    while let Err(error) = call().await {
        assert!(start.elapsed() < limit, "not back after {limit:?}: {}", error.chain());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
