//! Streams over a real socket, on top of a store in memory.

use std::sync::Arc;
use std::time::Duration;

use metricsd_codec::custom::message::{Metric, Metrics};
use metricsd_codec::remote_write::message::Label;
use metricsd_ingest::stream::StreamOptions;
use metricsd_ingest::{Access, AccessMetrics, AccessOptions};
use metricsd_model::Secret;
use metricsd_ports::memory::store::MemoryStore;
use metricsd_ports::{AccessToken, Quota, Right, Rights, TokenCatalog};
use prost::Message;
use tokio::sync::mpsc;
use tonic::client::Grpc;
use tonic::codec::CompressionEncoding;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status, Streaming};

use super::messages::Acknowledgement;
use crate::GrpcOptions;
use crate::raw::Raw;
use crate::tests::{Running, now};

const PUSH: &str = "/metricsd.v1.MetricsStream/Push";

/// A client's end of a stream.
struct Client {
    sent: mpsc::Sender<Vec<u8>>,
    told: Streaming<bytes::Bytes>,
}

/// Sums of what a client was told.
type Sums = (u64, u64, u64, u64);

impl Client {
    /// Opens a stream over a connection of its own; answers it with where it is.
    async fn open(running: &Running, metadata: &[(&'static str, &str)]) -> Result<(Self, u64), Status> {
        let endpoint = Endpoint::from_shared(format!("http://{}", running.address)).unwrap();
        let channel = endpoint
            .http2_max_header_list_size(1 << 20)
            .initial_stream_window_size(65_535)
            .connect()
            .await
            .unwrap();
        let mut grpc = Grpc::new(channel);
        let (sent, mut received) = mpsc::channel::<Vec<u8>>(4);
        let messages = futures::stream::poll_fn(move |context| received.poll_recv(context));
        let mut request = Request::new(messages);
        for (name, value) in metadata {
            if *name == "gzip" {
                grpc = grpc.send_compressed(CompressionEncoding::Gzip);
            } else {
                request.metadata_mut().insert(*name, value.parse().unwrap());
            }
        }
        grpc.ready().await.unwrap();
        let told = grpc.streaming(request, PathAndQuery::from_static(PUSH), Raw).await?.into_inner();
        let mut client = Self { sent, told };
        let position = client.next().await?.unwrap().last;
        Ok((client, position))
    }

    async fn next(&mut self) -> Result<Option<Acknowledgement>, Status> {
        let told = tokio::time::timeout(Duration::from_secs(20), self.told.message()).await;
        let told = told.expect("nothing was told");
        Ok(told?.map(|bytes| Acknowledgement::decode(bytes).unwrap()))
    }

    async fn send(&self, message: Vec<u8>) {
        // A stream that has ended takes nothing; what it was told says why.
        let _ = self.sent.send(message).await;
    }

    /// Ends the stream and reads to its end.
    async fn finish(self) -> Result<Sums, Status> {
        let Self { sent, told } = self;
        drop(sent);
        let mut rest = Self { sent: mpsc::channel(1).0, told };
        let mut sums = (0, 0, 0, 0);
        while let Some(ack) = rest.next().await? {
            sums = (ack.last, sums.1 + ack.stored, sums.2 + ack.refused, sums.3 + ack.repeated);
        }
        Ok(sums)
    }

    /// How a stream ends that does not end well.
    async fn end(mut self) -> Status {
        loop {
            match self.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ended well"),
                Err(status) => return status,
            }
        }
    }
}

/// Items of these numbers, each in a series of its own, at the time of their arrival.
fn items(numbers: std::ops::RangeInclusive<u64>) -> Vec<u8> {
    let first_sequence = *numbers.start();
    let item = |number: u64| Metric {
        name: "n".to_owned(),
        labels: vec![Label { name: "i".to_owned(), value: number.to_string() }],
        value: Some(number as f64),
        ..Metric::default()
    };
    Metrics { metrics: numbers.map(item).collect(), first_sequence }.to_bytes()
}

const NAMED: [(&str, &str); 2] = [("x-source-id", "shop"), ("x-stream-id", "till-7")];

/// Samples of each series.
async fn counts(running: &Running) -> Vec<usize> {
    running.stored("n").await.iter().map(|series| series.values.len()).collect()
}

#[tokio::test]
async fn items_are_acknowledged_by_number_and_nothing_is_stored_twice() {
    let running = Running::start(GrpcOptions::default()).await;
    let (mut client, position) = Client::open(&running, &NAMED).await.unwrap();
    assert_eq!(position, 0);
    client.send(items(1..=10)).await;
    let ack = client.next().await.unwrap().unwrap();
    assert_eq!((ack.last, ack.stored, ack.refused, ack.repeated), (10, 10, 0, 0));
    // The connection is cut, then all comes again, packed this time.
    client.send(items(11..=20)).await;
    drop(client);
    let gzip = [NAMED[0], NAMED[1], ("gzip", "yes")];
    let (client, position) = Client::open(&running, &gzip).await.unwrap();
    assert!((10..=20).contains(&position));
    client.send(items(1..=15)).await;
    client.send(items(16..=40)).await;
    let (last, stored, refused, repeated) = client.finish().await.unwrap();
    assert_eq!((last, stored, refused, repeated), (40, 40 - position, 0, position));
    assert_eq!(counts(&running).await, vec![1; 40]);
    // Another stream of the same source begins anew.
    let other = [NAMED[0], ("x-stream-id", "till-8")];
    assert_eq!(Client::open(&running, &other).await.unwrap().1, 0);
}

#[tokio::test]
async fn an_item_at_fault_harms_no_other() {
    let running = Running::start(GrpcOptions::default()).await;
    let (mut client, _) = Client::open(&running, &NAMED).await.unwrap();
    let item = |name: &str, timestamp| Metric {
        name: name.to_owned(),
        timestamp,
        value: Some(1.0),
        ..Metric::default()
    };
    let old = Some(now() - 2 * 86_400_000);
    let metrics = vec![item("n", None), item("", None), item("o", old), item("p", None)];
    client.send(Metrics { metrics, first_sequence: 7 }.to_bytes()).await;
    let ack = client.next().await.unwrap().unwrap();
    assert_eq!((ack.last, ack.stored, ack.refused), (10, 2, 2));
    let told: Vec<(u64, &str)> =
        ack.errors.iter().map(|error| (error.number, error.reason.as_str())).collect();
    assert_eq!(told, [(8, "invalid_name"), (9, "too_old")]);
    assert!(ack.errors[1].message.contains("older"), "{ack:?}");
}

#[tokio::test]
async fn what_does_not_read_ends_its_stream_alone() {
    let running = Running::start(GrpcOptions::default()).await;
    let (neighbour, _) = Client::open(&running, &[("x-stream-id", "neighbour")]).await.unwrap();
    let check = async |message: Vec<u8>, gzip: bool, code: Code, said: &str| {
        let mut metadata = NAMED.to_vec();
        if gzip {
            metadata.push(("gzip", "yes"));
        }
        let (client, _) = Client::open(&running, &metadata).await.unwrap();
        client.send(message).await;
        let status = client.end().await;
        assert!(status.code() == code && status.message().contains(said), "{status}");
    };
    check(vec![0xff; 20], false, Code::InvalidArgument, "byte").await;
    let cut = items(1..=10);
    check(cut[..cut.len() - 3].to_vec(), false, Code::InvalidArgument, "byte").await;
    check(vec![0; 5 << 20], false, Code::ResourceExhausted, "larger than 4194304 bytes").await;
    // It unfolds to more than it may be.
    check(vec![0; 5 << 20], true, Code::ResourceExhausted, "larger than 4194304 bytes").await;
    // It would fit, and unfolds out of all proportion.
    check(vec![0; 3 << 20], true, Code::ResourceExhausted, "more than 400 times").await;
    assert_eq!(["decompression_ratio", "too_large"].map(|reason| running.refused.counted(reason)), [1, 2]);
    // Numbers go back.
    let (client, _) = Client::open(&running, &NAMED).await.unwrap();
    client.send(items(5..=9)).await;
    client.send(items(3..=4)).await;
    let status = client.end().await;
    assert!(status.code() == Code::InvalidArgument && status.message().contains("go back"), "{status}");
    // What came before was stored and acknowledged.
    assert_eq!(Client::open(&running, &NAMED).await.unwrap().1, 9);

    neighbour.send(items(1..=3)).await;
    assert_eq!(neighbour.finish().await.unwrap(), (3, 3, 0, 0));
}

#[tokio::test]
async fn metadata_is_bounded_and_checked() {
    let running = Running::start(GrpcOptions::default()).await;
    let refused = async |name: &'static str, value: &str| {
        Client::open(&running, &[(name, value)]).await.map(|_| ()).unwrap_err()
    };
    let status = refused("x-stream-id", "a b").await;
    assert!(
        status.code() == Code::InvalidArgument && status.message().contains("name of a stream"),
        "{status}"
    );
    assert_eq!(refused("x-source-id", "-").await.code(), Code::InvalidArgument);
    // More than 16 KiB are refused before they are read as a call.
    refused("x-filler", &"x".repeat(40_000)).await;
    assert_eq!(Client::open(&running, &NAMED).await.unwrap().1, 0, "others are unharmed");
}

#[tokio::test]
async fn a_later_connection_takes_a_stream_over() {
    let running = Running::start(GrpcOptions::default()).await;
    let (mut first, _) = Client::open(&running, &NAMED).await.unwrap();
    first.send(items(1..=3)).await;
    assert_eq!(first.next().await.unwrap().unwrap().last, 3);
    let (second, position) = Client::open(&running, &NAMED).await.unwrap();
    assert_eq!(position, 3);
    assert_eq!(first.end().await.code(), Code::Aborted);
    second.send(items(1..=5)).await;
    assert_eq!(second.finish().await.unwrap(), (5, 2, 0, 3));
    assert_eq!(counts(&running).await, vec![1; 5]);
}

#[tokio::test]
async fn streams_are_bounded_in_number_and_silence() {
    let options =
        StreamOptions { max_streams: 1, idle: Duration::from_millis(300), ..StreamOptions::default() };
    let store = Arc::new(MemoryStore::new());
    let running = Running::with(store.clone(), store, GrpcOptions::default(), Access::open(), options).await;
    let (silent, _) = Client::open(&running, &NAMED).await.unwrap();
    let status = Client::open(&running, &[]).await.map(|_| ()).unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(!status.details().is_empty(), "it says when to come back");
    let status = silent.end().await;
    assert!(status.code() == Code::DeadlineExceeded && status.message().contains("0.3 s"), "{status}");
    assert_eq!(Client::open(&running, &NAMED).await.unwrap().1, 0, "its place is free");
}

#[tokio::test]
async fn who_reads_no_acknowledgements_is_not_read_from_and_gives_up_its_place() {
    let options = StreamOptions {
        max_streams: 1,
        max_bytes_in_flight: 4_000,
        idle: Duration::from_millis(500),
        ..StreamOptions::default()
    };
    let store = Arc::new(MemoryStore::new());
    let running = Running::with(store.clone(), store, GrpcOptions::default(), Access::open(), options).await;
    let (client, _) = Client::open(&running, &[]).await.unwrap();
    // Acknowledgements of one item each, until the window of what nobody reads is full and nothing moves any more.
    let message =
        Metrics { metrics: vec![Metric { name: "x".repeat(2_000), ..Metric::default() }], first_sequence: 0 };
    let message = message.to_bytes();
    let mut sent = 0;
    while tokio::time::timeout(Duration::from_secs(2), client.sent.send(message.clone()))
        .await
        .is_ok_and(|sent| sent.is_ok())
    {
        sent += 1;
        assert!(sent < 100_000, "nothing is bounded");
    }
    let again = async || Client::open(&running, &NAMED).await.ok();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while again().await.is_none() {
        assert!(tokio::time::Instant::now() < deadline, "its place is never free");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn only_those_come_in_who_may_and_only_as_long() {
    let store = Arc::new(MemoryStore::new());
    let token = async |rights: &[Right], source_id: Option<&str>, quota: Quota| {
        let made = Access::new_token().unwrap();
        let token = AccessToken {
            id: made.id,
            name: "t".to_owned(),
            digest: made.digest,
            rights: Rights::new(rights.iter().copied()),
            source_id: source_id.map(str::to_owned),
            quota,
            created_at: 0,
            expires_at: None,
            revoked_at: None,
            last_used_at: None,
        };
        store.create_token(&token).await.unwrap();
        (made.id, format!("Bearer {}", Secret::expose(&made.text)))
    };
    let (id, pusher) = token(&[Right::Push], Some("shop"), Quota::default()).await;
    let (_, reader) = token(&[Right::Read], None, Quota::default()).await;
    let (_, slow) =
        token(&[Right::Push], None, Quota { samples_per_second: Some(1), ..Quota::default() }).await;
    let options = AccessOptions { required: true, ..AccessOptions::default() };
    let access = Access::new(store.clone(), options, AccessMetrics::default());
    access.refresh().await.unwrap();
    let grpc = GrpcOptions::default();
    let running =
        Running::with(store.clone(), store.clone(), grpc, access.clone(), StreamOptions::default()).await;
    let refused = async |metadata: &[(&'static str, &str)]| {
        Client::open(&running, metadata).await.map(|_| ()).unwrap_err().code()
    };
    assert_eq!(refused(&[]).await, Code::Unauthenticated);
    assert_eq!(refused(&[("authorization", "Bearer mtk_x_y")]).await, Code::Unauthenticated);
    assert_eq!(refused(&[("authorization", reader.as_str())]).await, Code::PermissionDenied);
    let other = [("authorization", pusher.as_str()), ("x-source-id", "other")];
    assert_eq!(refused(&other).await, Code::PermissionDenied);

    // A quota that is used up says when to come back.
    let (mut client, _) = Client::open(&running, &[("authorization", slow.as_str())]).await.unwrap();
    client.send(items(1..=10)).await;
    assert_eq!(client.next().await.unwrap().unwrap().stored, 10);
    client.send(items(11..=40)).await;
    let status = client.end().await;
    assert!(status.code() == Code::ResourceExhausted && !status.details().is_empty(), "{status}");

    // Its source is the token's, and it ends with the token, whether anything is sent or not.
    let named = [("authorization", pusher.as_str()), ("x-stream-id", "a")];
    let (mut client, _) = Client::open(&running, &named).await.unwrap();
    client.send(items(101..=103)).await;
    assert_eq!(client.next().await.unwrap().unwrap().stored, 3);
    store.revoke_token(id, 1).await.unwrap();
    access.refresh().await.unwrap();
    let status = tokio::time::timeout(Duration::from_secs(3), client.end()).await.expect("it goes on");
    assert!(status.code() == Code::Unauthenticated && status.message().contains("revoked"), "{status}");
}

#[tokio::test]
async fn a_process_that_ends_says_so_once_all_is_acknowledged() {
    let running = Running::start(GrpcOptions::default()).await;
    let (mut client, _) = Client::open(&running, &NAMED).await.unwrap();
    client.send(items(1..=3)).await;
    assert_eq!(client.next().await.unwrap().unwrap().last, 3);
    running.stop.cancel();
    assert_eq!(client.end().await.code(), Code::Unavailable);
    tokio::time::timeout(Duration::from_secs(5), running.served).await.expect("it ends").unwrap();
}
