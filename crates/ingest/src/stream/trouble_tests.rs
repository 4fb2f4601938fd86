//! Streams whose store is away, whose tokens end, and whose clients do not do their part.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use metricsd_model::{Batch, Matcher};
use metricsd_ports::memory::{MemoryCache, MemoryStore};
use metricsd_ports::{
    AccessToken, ErrorKind, PortError, Quota, Receipt, Right, Rights, SampleSink, SampleSource, SelectLimits,
    Selection, TokenCatalog,
};
use metricsd_spool::{Between, SpoolLog, SpoolMetrics, SpoolOptions, SpooledSink};
use prometheus_client::registry::Registry;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::position::{Position, StreamKey};
use super::*;
use crate::access::{AccessOptions, NewToken};
use crate::{
    Access, AccessMetrics, AfterCommit, Caller, CommitOptions, Door, GroupCommit, Ingest, IngestMetrics,
    Limits, OwnedWrite, Protocol, WriteOrigin,
};

/// A store that takes batches while it is told to.
struct Store {
    store: Arc<MemoryStore>,
    away: AtomicBool,
    hangs: AtomicBool,
}

impl Store {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            store: Arc::new(MemoryStore::new()),
            away: AtomicBool::new(false),
            hangs: AtomicBool::new(false),
        })
    }

    fn is_away(&self) -> Result<(), PortError> {
        let away = self.away.load(Ordering::SeqCst);
        if away { Err(PortError::new(ErrorKind::Unavailable, "away")) } else { Ok(()) }
    }
}

#[async_trait]
impl SampleSink for Store {
    async fn append(&self, batches: &[Arc<Batch>]) -> Result<Vec<Receipt>, PortError> {
        while self.hangs.load(Ordering::SeqCst) {
            sleep(Duration::from_millis(5)).await;
        }
        self.is_away()?;
        self.store.append(batches).await
    }

    async fn ping(&self) -> Result<(), PortError> {
        self.is_away()
    }
}

fn ingest(store: &Arc<MemoryStore>, sink: Arc<dyn SampleSink>, limits: Limits) -> Ingest {
    let metrics = IngestMetrics::register(&mut Registry::default());
    let stop = CancellationToken::new();
    let cache = Arc::new(MemoryCache::new(1 << 20));
    let (after, _) = AfterCommit::start(store.clone(), cache, metrics.clone(), stop.clone());
    let (commit, _) = GroupCommit::start(sink, CommitOptions::default(), metrics, after, stop);
    Ingest::new(commit, Arc::new(limits))
}

fn streams(store: &Arc<Store>, options: StreamOptions) -> Arc<Streams> {
    let ingest = ingest(&store.store, store.clone(), Limits::default());
    Streams::new(ingest, store.store.clone(), options)
}

fn items(numbers: std::ops::RangeInclusive<u64>) -> String {
    numbers
        .map(|number| format!("{{\"name\":\"n\",\"labels\":{{\"i\":\"{number}\"}},\"value\":{number}}}\n"))
        .collect()
}

async fn stored(store: &MemoryStore) -> Vec<usize> {
    let limits = SelectLimits { max_series: 10_000, max_samples: 100_000 };
    let matchers = vec![Matcher::equal("__name__", "n")];
    let selection = Selection { matchers, start: 0, end: i64::MAX / 2, limits };
    store.select(&selection).await.unwrap().iter().map(|series| series.values.len()).collect()
}

/// A folder that goes with its test.
struct Temp(PathBuf);

impl Temp {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("metricsd-streams-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn spool(store: &Arc<Store>, folder: &Temp, stop: &CancellationToken) -> Arc<SpooledSink> {
    let between = Between {
        store: store.clone(),
        whole: store.clone(),
        pressure: Arc::new(|| false),
        replayed: Arc::new(|_, _| {}),
    };
    let log = SpoolLog::open(&folder.0, SpoolOptions::default()).unwrap();
    SpooledSink::start(between, log, SpoolMetrics::register(&mut Registry::default()), stop.clone()).0
}

#[tokio::test]
async fn what_waits_in_the_spool_is_not_acknowledged_until_it_is_known_that_it_will_stay() {
    let (store, folder, stop) = (Store::new(), Temp::new(), CancellationToken::new());
    let ingest = ingest(&store.store, spool(&store, &folder, &stop), Limits::default());
    let streams = |patience: u64| {
        let options = StreamOptions { patience: Duration::from_millis(patience), ..StreamOptions::default() };
        Streams::new(ingest.clone(), store.store.clone(), options)
    };
    let open = async |patience: u64| {
        streams(patience).open(Caller::anonymous(), "shop", Some("till-7")).await.unwrap()
    };
    store.away.store(true, Ordering::SeqCst);
    let mut first = open(200).await;
    first.input.lines(items(1..=10).as_bytes()).await.unwrap();
    let told = first.acks.recv().await.unwrap().unwrap_err();
    assert!(told.is_retryable(), "{told}");
    // The client comes back, is told that nothing is there, and cuts what it has differently.
    let mut second = open(10_000).await;
    assert_eq!(second.position, 0);
    second.input.lines(items(1..=15).as_bytes()).await.unwrap();
    assert!(
        timeout(Duration::from_millis(300), second.acks.recv()).await.is_err(),
        "the store is still away"
    );
    store.away.store(false, Ordering::SeqCst);
    // Of the two the store takes one, which is the first.
    let told = second.acks.recv().await.unwrap().unwrap_err();
    assert!(matches!(told, StreamError::Overtaken { position: 10 }), "{told}");
    let mut third = open(10_000).await;
    assert_eq!(third.position, 10);
    third.input.lines(items(1..=20).as_bytes()).await.unwrap();
    let ack = third.acks.recv().await.unwrap().unwrap();
    assert_eq!((ack.last, ack.stored, ack.repeated), (20, 10, 10));
    assert_eq!(stored(&store.store).await, vec![1; 20]);
    stop.cancel();
}

#[tokio::test]
async fn a_kept_batch_is_acknowledged_once_the_store_has_it() {
    let (store, folder, stop) = (Store::new(), Temp::new(), CancellationToken::new());
    let ingest = ingest(&store.store, spool(&store, &folder, &stop), Limits::default());
    let streams = Streams::new(ingest, store.store.clone(), StreamOptions::default());
    store.away.store(true, Ordering::SeqCst);
    let mut named = streams.open(Caller::anonymous(), "shop", Some("till-7")).await.unwrap();
    named.input.lines(items(1..=10).as_bytes()).await.unwrap();
    assert!(timeout(Duration::from_millis(300), named.acks.recv()).await.is_err());
    // One without a name cannot be gone on with: that it is durable is all that there is to say.
    let mut unnamed = streams.open(Caller::anonymous(), "shop", None).await.unwrap();
    unnamed.input.lines(items(11..=12).as_bytes()).await.unwrap();
    let ack = timeout(Duration::from_secs(5), unnamed.acks.recv()).await.unwrap().unwrap().unwrap();
    assert_eq!(ack.stored, 2);
    store.away.store(false, Ordering::SeqCst);
    let ack = named.acks.recv().await.unwrap().unwrap();
    assert_eq!((ack.last, ack.stored), (10, 10));
    assert_eq!(streams.position("shop", "till-7").await.unwrap(), 10);
    stop.cancel();
}

#[tokio::test]
async fn a_stream_ends_when_its_token_does() {
    let store = Store::new();
    let streams = streams(&store, StreamOptions::default());
    let access = Access::new(store.store.clone(), AccessOptions::default(), AccessMetrics::default());
    let made = NewToken::generate().unwrap();
    let token = AccessToken {
        id: made.id,
        name: "t".to_owned(),
        digest: made.digest,
        rights: Rights::new([Right::Push]),
        source_id: None,
        quota: Quota::default(),
        created_at: 0,
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    };
    store.store.create_token(&token).await.unwrap();
    access.refresh().await.unwrap();
    let caller = access.check(Some(made.text.expose()), Right::Push, Door::Elsewhere).unwrap();
    let mut stream = streams.open(caller, "shop", Some("till-7")).await.unwrap();
    stream.input.lines(items(1..=3).as_bytes()).await.unwrap();
    assert_eq!(stream.acks.recv().await.unwrap().unwrap().last, 3);
    store.store.revoke_token(token.id, 1).await.unwrap();
    access.refresh().await.unwrap();
    stream.input.lines(items(4..=6).as_bytes()).await.unwrap();
    let told = stream.acks.recv().await.unwrap().unwrap_err();
    assert!(told.to_string().contains("was revoked") && !told.is_retryable(), "{told}");
    assert_eq!(stored(&store.store).await, vec![1; 3]);
}

#[tokio::test]
async fn who_reads_no_acknowledgements_does_not_keep_the_place() {
    let store = Store::new();
    let options =
        StreamOptions { max_streams: 1, idle: Duration::from_millis(300), ..StreamOptions::default() };
    let streams = streams(&store, options);
    let mut stream = streams.open(Caller::anonymous(), "s", Some("x")).await.unwrap();
    // A commit each, until there is no more room for acknowledgements.
    let mut sent = 0;
    let given_up = timeout(Duration::from_secs(20), async {
        loop {
            sent += 1;
            if stream.input.lines(items(sent..=sent).as_bytes()).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
    });
    given_up.await.expect("the stream is given up");
    sleep(Duration::from_millis(50)).await;
    let next = streams.open(Caller::anonymous(), "s", Some("x")).await.unwrap();
    assert!(next.position > 0 && streams.turns() == 1);
}

#[tokio::test]
async fn a_takeover_that_is_given_up_leaves_nothing_behind() {
    let store = Store::new();
    let streams = streams(&store, StreamOptions::default());
    store.hangs.store(true, Ordering::SeqCst);
    let mut first = streams.open(Caller::anonymous(), "s", Some("x")).await.unwrap();
    first.input.lines(items(1..=3).as_bytes()).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    // It waits for the commit that is under way, and its client goes.
    let second = streams.open(Caller::anonymous(), "s", Some("x"));
    assert!(timeout(Duration::from_millis(100), second).await.is_err());
    assert_eq!(streams.turns(), 1);
    store.hangs.store(false, Ordering::SeqCst);
    for _ in 0..100 {
        sleep(Duration::from_millis(10)).await;
        if streams.turns() == 0 {
            break;
        }
    }
    assert_eq!(streams.turns(), 0);
}

#[tokio::test]
async fn a_stream_that_was_silent_for_long_is_found_where_it_was() {
    const DAY: i64 = 86_400_000;
    let store = Arc::new(MemoryStore::new());
    let limits =
        Limits { max_sample_age: metricsd_model::PromDuration::from_secs(259_200_000), ..Limits::default() };
    let ingest = ingest(&store, store.clone(), limits);
    let source: Arc<dyn SampleSource> = store.clone();
    let now = chrono::Utc::now().timestamp_millis();
    let key = |name: &str| StreamKey { source_id: "s".to_owned(), stream_id: name.to_owned() };
    for (name, days, last) in [("days", 20, 3), ("days", 5, 7), ("year", 400, 9), ("near", 0, 11)] {
        let mut body = metricsd_codec::remote_write::BodyWriter::new();
        let at = now - days * DAY - 60_000;
        key(name).write(Position { last, at }, &mut body);
        let origin = WriteOrigin::new("s", Protocol::Stream);
        let write = OwnedWrite { origin, body: body.into_bytes().into(), received_at: now };
        assert_eq!(ingest.write(write).await.unwrap().stored, 1);
    }
    for (name, last) in [("days", 7), ("year", 9), ("near", 11), ("none", 0)] {
        assert_eq!(key(name).position(&source, now).await.unwrap().last, last, "{name}");
    }
}
