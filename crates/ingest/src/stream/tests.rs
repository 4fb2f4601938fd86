//! Streams that break, come back, and meet each other.

use metricsd_model::Matcher;
use metricsd_ports::memory::{MemoryCache, MemoryStore};
use metricsd_ports::{SampleSource, SelectLimits, Selection};
use prometheus_client::registry::Registry;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{AfterCommit, Caller, CommitOptions, GroupCommit, Ingest, IngestMetrics, Limits};

/// A process over a store that others share.
fn streams(store: &Arc<MemoryStore>, options: StreamOptions) -> Arc<Streams> {
    let metrics = IngestMetrics::register(&mut Registry::default());
    let stop = CancellationToken::new();
    let cache = Arc::new(MemoryCache::new(1 << 20));
    let (after, _) = AfterCommit::start(store.clone(), cache, metrics.clone(), stop.clone());
    let (commit, _) = GroupCommit::start(store.clone(), CommitOptions::default(), metrics, after, stop);
    Streams::new(Ingest::new(commit, Arc::new(Limits::default())), store.clone(), options)
}

/// Items from one number to another; each has its number as value, and a series of its own.
fn items(numbers: std::ops::RangeInclusive<u64>) -> String {
    numbers
        .map(|number| format!("{{\"name\":\"n\",\"labels\":{{\"i\":\"{number}\"}},\"value\":{number}}}\n"))
        .collect()
}

/// Samples of each series.
async fn stored(store: &MemoryStore) -> Vec<usize> {
    let selection = Selection {
        matchers: vec![Matcher::equal("__name__", "n")],
        start: 0,
        end: i64::MAX / 2,
        limits: SelectLimits { max_series: 10_000, max_samples: 100_000 },
    };
    store.select(&selection).await.unwrap().iter().map(|series| series.values.len()).collect()
}

/// Reads acknowledgements to the end.
async fn all(mut stream: OpenStream) -> Result<Ack, StreamError> {
    drop(stream.input);
    let mut sum = Ack::default();
    while let Some(ack) = stream.acks.recv().await {
        let ack = ack?;
        assert!(ack.last >= sum.last);
        sum.last = ack.last;
        sum.stored += ack.stored;
        sum.refused += ack.refused;
        sum.repeated += ack.repeated;
        sum.errors.extend(ack.errors);
    }
    Ok(sum)
}

#[tokio::test]
async fn a_stream_goes_on_where_it_broke_off_and_stores_nothing_twice() {
    let store = Arc::new(MemoryStore::new());
    for process in 0..3u64 {
        // Each time another process, as after a restart.
        let streams = streams(&store, StreamOptions::default());
        let mut stream = streams.open(Caller::anonymous(), "shop", Some("till-7")).await.unwrap();
        assert_eq!(stream.position, process * 30);
        // The client sends all again that it has ever sent.
        for part in 0..=process {
            stream.input.lines(items(part * 30 + 1..=part * 30 + 30).as_bytes()).await.unwrap();
        }
        let sum = all(stream).await.unwrap();
        assert_eq!((sum.last, sum.stored, sum.repeated), (process * 30 + 30, 30, process * 30));
        assert_eq!(streams.position("shop", "till-7").await.unwrap(), process * 30 + 30);
        assert_eq!(streams.position("shop", "till-8").await.unwrap(), 0);
        assert_eq!(streams.position("other", "till-7").await.unwrap(), 0);
    }
    assert_eq!(stored(&store).await, vec![1; 90]);
}

#[tokio::test]
async fn of_two_processes_that_go_on_from_one_place_one_is_told_to_come_back() {
    let store = Arc::new(MemoryStore::new());
    let (here, there) =
        (streams(&store, StreamOptions::default()), streams(&store, StreamOptions::default()));
    let mut one = here.open(Caller::anonymous(), "s", Some("x")).await.unwrap();
    let mut other = there.open(Caller::anonymous(), "s", Some("x")).await.unwrap();
    one.input.lines(items(1..=20).as_bytes()).await.unwrap();
    let ack = one.acks.recv().await.unwrap().unwrap();
    assert_eq!((ack.last, ack.stored), (20, 20));
    other.input.lines(items(1..=10).as_bytes()).await.unwrap();
    assert!(matches!(all(other).await, Err(StreamError::Overtaken { position: 20 })));
    one.input.lines(items(21..=30).as_bytes()).await.unwrap();
    assert_eq!(all(one).await.unwrap().last, 30);
    assert_eq!(stored(&store).await, vec![1; 30]);
}

#[tokio::test]
async fn a_connection_takes_a_stream_over_from_the_one_before() {
    let store = Arc::new(MemoryStore::new());
    let streams = streams(&store, StreamOptions { max_streams: 2, ..StreamOptions::default() });
    let mut first = streams.open(Caller::anonymous(), "s", Some("x")).await.unwrap();
    first.input.lines(items(1..=3).as_bytes()).await.unwrap();
    assert_eq!(first.acks.recv().await.unwrap().unwrap().last, 3);
    let mut second = streams.open(Caller::anonymous(), "s", Some("x")).await.unwrap();
    assert_eq!(second.position, 3);
    assert!(matches!(first.acks.recv().await, Some(Err(StreamError::Superseded))));
    assert!(first.input.lines(items(4..=5).as_bytes()).await.is_err());
    second.input.next_is(4).unwrap();
    second.input.lines(items(4..=6).as_bytes()).await.unwrap();
    assert_eq!(all(second).await.unwrap().last, 6);
    assert_eq!(stored(&store).await, vec![1; 6]);
    drop(first);
    // Both places are free again.
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let (_a, _b) = (
        streams.open(Caller::anonymous(), "s", Some("x")).await.unwrap(),
        streams.open(Caller::anonymous(), "s", None).await.unwrap(),
    );
    assert!(matches!(
        streams.open(Caller::anonymous(), "s", None).await,
        Err(StreamError::TooMany { limit: 2 })
    ));
    assert!(streams.turns() <= 1);
}

#[tokio::test]
async fn faults_have_the_numbers_of_their_items() {
    let store = Arc::new(MemoryStore::new());
    let streams = streams(&store, StreamOptions::default());
    let mut stream = streams.open(Caller::anonymous(), "s", Some("x")).await.unwrap();
    stream.input.next_is(1_000).unwrap();
    let lines = format!("{}\n\nno json\n{}{{\"name\":\"\",\"value\":1}}\n", items(1..=2), items(3..=3));
    stream.input.lines(lines.as_bytes()).await.unwrap();
    stream.input.lines(b"{\"name\":\"a\",\"value\":1,\"timestamp\":5}").await.unwrap();
    assert!(matches!(stream.input.next_is(1_005), Err(StreamError::Backwards { last: 1_005, .. })));
    let sum = all(stream).await.unwrap();
    assert_eq!((sum.last, sum.stored, sum.refused), (1_005, 3, 3));
    let found: Vec<(u64, &str)> =
        sum.errors.iter().map(|error| (error.number, error.error.reason.as_str())).collect();
    assert_eq!(found, [(1_002, "invalid_value"), (1_004, "invalid_name"), (1_005, "too_old")]);
    assert_eq!(streams.position("s", "x").await.unwrap(), 1_005);
    for name in ["", "-x", "a b", &"x".repeat(101)] {
        assert!(
            matches!(streams.open(Caller::anonymous(), "s", Some(name)).await, Err(StreamError::Name)),
            "{name}"
        );
    }
}

#[tokio::test]
async fn what_waits_is_bounded_and_a_client_that_reads_nothing_is_not_read_from() {
    let store = Arc::new(MemoryStore::new());
    let options = StreamOptions { max_bytes_in_flight: 4_000, ..StreamOptions::default() };
    let streams = streams(&store, options);
    let mut stream = streams.open(Caller::anonymous(), "s", Some("x")).await.unwrap();
    let part = items(1..=40);
    let mut sent = 0u64;
    // One part a commit, and room for some acknowledgements: then sending waits.
    let blocked = loop {
        stream.input.next_is(sent * 40 + 1).unwrap();
        let lines = stream.input.lines(part.as_bytes());
        match tokio::time::timeout(std::time::Duration::from_millis(500), lines).await {
            Ok(answer) => answer.unwrap(),
            Err(_) => break true,
        }
        sent += 1;
        assert!(sent < 10_000, "nothing is bounded");
    };
    assert!(blocked && sent >= 2);
    let sum = all(stream).await.unwrap();
    assert_eq!((sum.last, sum.stored), (sent * 40, sent * 40));
}
