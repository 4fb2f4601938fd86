//! Streams over gRPC to a real process that is killed with -9 again and again: whatever was acknowledged is stored, and
//! everything is stored once.

mod support;

use std::time::{Duration, Instant};

use metricsd_codec::custom::message::{Metric, Metrics};
use metricsd_codec::remote_write::message::Label;
use prost::Message;
use support::senders::Random;
use support::{Folder, Node, Start, free_port};
use tokio::sync::mpsc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

const PUSH: &str = "/metricsd.v1.MetricsStream/Push";

/// Items of the whole stream.
const ITEMS: u64 = 6_000;

/// Items of one message.
const PART: u64 = 20;

/// Items that a client sends again which were acknowledged before.
const AGAIN: u64 = 70;

const KILLS: u64 = 6;

/// `metricsd.v1.Acknowledgement`, as far as it is looked at.
#[derive(Clone, PartialEq, Eq, Message)]
struct Acknowledgement {
    #[prost(uint64, tag = "1")]
    last: u64,
    #[prost(uint64, tag = "2")]
    stored: u64,
    #[prost(uint64, tag = "3")]
    refused: u64,
    #[prost(uint64, tag = "4")]
    repeated: u64,
}

/// Items of these numbers, each in a series of its own, at the time of their arrival: one that was stored twice would
/// have two samples.
fn items(first: u64, last: u64) -> Metrics {
    let item = |number: u64| Metric {
        name: "streamed".to_owned(),
        labels: vec![Label { name: "i".to_owned(), value: number.to_string() }],
        value: Some(number as f64),
        ..Metric::default()
    };
    Metrics { metrics: (first..=last).map(item).collect(), first_sequence: first }
}

/// Opens the stream; answers where it is, what is told, and where to send.
async fn open(grpc: &str) -> Result<(u64, Streaming<Acknowledgement>, mpsc::Sender<Metrics>), Status> {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{grpc}")).unwrap();
    let channel = endpoint.connect().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let (sender, mut receiver) = mpsc::channel(4);
    let mut request = Request::new(futures::stream::poll_fn(move |context| receiver.poll_recv(context)));
    request.metadata_mut().insert("x-source-id", "shop".parse().unwrap());
    request.metadata_mut().insert("x-stream-id", "till-7".parse().unwrap());
    let codec = ProstCodec::<Metrics, Acknowledgement>::default();
    let answer = client.streaming(request, PathAndQuery::from_static(PUSH), codec).await?;
    let mut told = answer.into_inner();
    let position = told.message().await?.ok_or_else(|| Status::internal("nothing was told"))?.last;
    Ok((position, told, sender))
}

/// Sends from somewhat before where the stream is until all is acknowledged or the connection breaks. Answers the number
/// of the last item that was acknowledged, and how many were passed over.
async fn push(grpc: &str, acknowledged: u64) -> (u64, u64) {
    let Ok((position, mut told, sender)) = open(grpc).await else { return (acknowledged, 0) };
    assert!(position >= acknowledged, "{acknowledged} were acknowledged, and only {position} are there");
    let sending = tokio::spawn(async move {
        let mut first = position.saturating_sub(AGAIN) + 1;
        while first <= ITEMS {
            let last = (first + PART - 1).min(ITEMS);
            if sender.send(items(first, last)).await.is_err() {
                return;
            }
            first = last + 1;
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    });
    let (mut last, mut repeated) = (position, 0);
    while let Ok(Some(ack)) = told.message().await {
        assert!(ack.last >= last && ack.refused == 0, "{ack:?}");
        last = ack.last;
        repeated += ack.repeated;
    }
    sending.abort();
    (last, repeated)
}

async fn value(node: &Node, query: &str) -> f64 {
    node.query(query).await.first().map_or(0.0, |(_, value)| *value)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_stored_once_whenever_the_process_is_killed() {
    let folder = Folder::new();
    let grpc = format!("127.0.0.1:{}", free_port());
    let start = Start::new(&folder.0).env("METRICSD_GRPC_LISTEN", grpc.as_str());
    let mut random = Random(uuid::Uuid::new_v4().as_u64_pair().0);
    let (mut acknowledged, mut repeated, mut at_work) = (0, 0, 0);
    for _ in 0..KILLS {
        let mut node = start.start().await;
        let pause = Duration::from_millis(50 + random.below(250));
        let ((last, again), ()) = tokio::join!(push(&grpc, acknowledged), async {
            tokio::time::sleep(pause).await;
            node.kill().await;
        });
        at_work += u64::from(last > acknowledged && last < ITEMS);
        (acknowledged, repeated) = (last, repeated + again);
    }
    let node = start.start().await;
    let deadline = Instant::now() + Duration::from_secs(60);
    while acknowledged < ITEMS {
        assert!(Instant::now() < deadline, "only {acknowledged} items are acknowledged");
        let (last, again) = push(&grpc, acknowledged).await;
        (acknowledged, repeated) = (last, repeated + again);
    }
    println!("{acknowledged} acknowledged, {repeated} passed over, {at_work} kills at work");
    assert!(at_work > 0 && repeated > 0, "{at_work} kills at work, {repeated} passed over");
    assert_eq!(value(&node, "count(count_over_time(streamed[1h]))").await, ITEMS as f64);
    assert_eq!(value(&node, "sum(count_over_time(streamed[1h]))").await, ITEMS as f64);
    assert_eq!(value(&node, "sum(last_over_time(streamed[1h]))").await, (ITEMS * (ITEMS + 1) / 2) as f64);
    // The same place is known over HTTP.
    let (status, answer) = node.get("/api/v1/metrics/stream/till-7/position?source_id=shop").await;
    assert_eq!((status, answer["position"].as_u64()), (200, Some(ITEMS)), "{answer}");
}
