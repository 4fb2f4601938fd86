//! The services over a real socket, on top of a store in memory.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use metricsd_codec::otlp::answer::{self, ExportResponse, RetryInfo};
use metricsd_codec::otlp::messages::*;
use metricsd_codec::otlp::{OtlpOptions, StreamLimits};
use metricsd_ingest::arrival::RefusedBodies;
use metricsd_ingest::stream::{StreamOptions, Streams};
use metricsd_ingest::{
    Access, AfterCommit, CommitOptions, GroupCommit, Ingest, IngestMetrics, Limits, OtlpDoor,
};
use metricsd_model::{Batch, Matcher};
use metricsd_ports::memory::cache::MemoryCache;
use metricsd_ports::memory::store::MemoryStore;
use metricsd_ports::{
    ErrorKind, PortError, Receipt, SampleSink, SampleSource, SelectLimits, SelectedSeries, Selection,
};
use prometheus_client::registry::Registry;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::client::Grpc;
use tonic::codec::CompressionEncoding;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

use crate::health::{Answer, Question, SERVING};
use crate::raw::Raw;
use crate::{GrpcOptions, Services, serve};

const EXPORT: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
const CHECK: &str = "/grpc.health.v1.Health/Check";

pub(crate) struct Running {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) channel: Channel,
    pub(crate) stop: CancellationToken,
    pub(crate) served: JoinHandle<()>,
    pub(crate) refused: RefusedBodies,
}

impl Running {
    pub(crate) async fn start(options: GrpcOptions) -> Self {
        let store = Arc::new(MemoryStore::new());
        Self::over(store.clone(), store, options).await
    }

    async fn over(store: Arc<MemoryStore>, sink: Arc<dyn SampleSink>, options: GrpcOptions) -> Self {
        Self::with(store, sink, options, Access::open(), StreamOptions::default()).await
    }

    pub(crate) async fn with(
        store: Arc<MemoryStore>,
        sink: Arc<dyn SampleSink>,
        options: GrpcOptions,
        access: Arc<Access>,
        stream_options: StreamOptions,
    ) -> Self {
        let stop = CancellationToken::new();
        let metrics = IngestMetrics::register(&mut Registry::default());
        let cache = Arc::new(MemoryCache::new(1 << 20));
        let (after, _) = AfterCommit::start(store.clone(), cache, metrics.clone(), stop.clone());
        let commit = CommitOptions {
            max_delay: Duration::from_millis(1),
            patience: Duration::from_millis(100),
            ..CommitOptions::default()
        };
        let (commit, _) = GroupCommit::start(sink, commit, metrics, after, stop.clone());
        let ingest = Ingest::new(commit, Arc::new(Limits::default()));
        let limits = StreamLimits { max_bytes: 0, max_idle: 0 };
        let otlp = OtlpDoor::new(ingest.clone(), OtlpOptions::default(), limits);
        let streams = Streams::new(ingest, store.clone(), stream_options);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let refused = RefusedBodies::default();
        let services = Services { otlp, streams, access, refused: refused.clone() };
        let served = tokio::spawn(serve(listener, services, options, stop.clone()));
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        Self { store, address, channel, stop, served, refused }
    }

    async fn call(&self, path: &'static str, request: Request<Vec<u8>>) -> Result<Response<Bytes>, Status> {
        let mut client =
            Grpc::new(self.channel.clone()).send_compressed_where(request.metadata().contains_key("gzip"));
        client.ready().await.unwrap();
        client.unary(request, PathAndQuery::from_static(path), Raw).await
    }

    async fn export(&self, body: Vec<u8>) -> Result<Option<answer::PartialSuccess>, Status> {
        let answer = self.call(EXPORT, Request::new(body)).await?;
        Ok(ExportResponse::decode(answer.into_inner()).unwrap().partial_success)
    }

    pub(crate) async fn stored(&self, name: &str) -> Vec<SelectedSeries> {
        let selection = Selection {
            matchers: vec![Matcher::equal("__name__", name)],
            start: i64::MIN / 2,
            end: i64::MAX / 2,
            limits: SelectLimits { max_series: 100, max_samples: 10_000 },
        };
        self.store.select(&selection).await.unwrap()
    }
}

trait SendCompressed {
    fn send_compressed_where(self, wanted: bool) -> Self;
}

impl SendCompressed for Grpc<Channel> {
    fn send_compressed_where(self, wanted: bool) -> Self {
        if wanted { self.send_compressed(CompressionEncoding::Gzip) } else { self }
    }
}

fn body(name: &str, times: &[i64]) -> Vec<u8> {
    let point = |time: &i64| NumberPoint {
        time_unix_nano: time.cast_unsigned() * 1_000_000,
        value: Some(Number::Int(7)),
        ..NumberPoint::default()
    };
    let data = Data::Gauge(Gauge { data_points: times.iter().map(point).collect() });
    ExportRequest::of(Vec::new(), vec![Metric::new(name, "", data)]).to_bytes()
}

pub(crate) fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

#[tokio::test]
async fn what_is_exported_is_stored_and_what_is_refused_is_counted() {
    let running = Running::start(GrpcOptions::default()).await;
    let at = now();
    assert_eq!(running.export(body("level", &[at])).await.unwrap(), None);
    assert_eq!(running.stored("level").await[0].values, [7.0]);
    let partial = running.export(body("old", &[at, at - 90_000_000])).await.unwrap().unwrap();
    assert_eq!(partial.rejected_data_points, 1);
    assert!(partial.error_message.contains("older than 1d"), "{}", partial.error_message);

    let mut request = Request::new(body("packed", &[at]));
    request.metadata_mut().insert("gzip", "yes".parse().unwrap());
    request.metadata_mut().insert("x-source-id", "web".parse().unwrap());
    running.call(EXPORT, request).await.unwrap();
    assert_eq!(running.stored("packed").await[0].values, [7.0]);
}

#[tokio::test]
async fn what_does_not_read_is_not_worth_sending_again() {
    let running = Running::start(GrpcOptions { max_message_bytes: 1_000, ..GrpcOptions::default() }).await;
    let check = |result: Result<_, Status>, code: Code, said: &str| {
        let status = result.map(|_: Option<answer::PartialSuccess>| ()).unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(said) && status.details().is_empty(), "{status}");
    };
    check(running.export(vec![0xff; 20]).await, Code::InvalidArgument, "at byte 0");
    check(running.export(vec![0; 2_000]).await, Code::ResourceExhausted, "larger than 1000 bytes");
    // It unfolds to more than it may be.
    let mut bomb = Request::new(vec![0; 500_000]);
    bomb.metadata_mut().insert("gzip", "yes".parse().unwrap());
    let status = running.call(EXPORT, bomb).await.unwrap_err();
    assert!(
        status.code() == Code::ResourceExhausted && status.message().contains("1000 bytes once"),
        "{status}"
    );
    let others = Running::start(GrpcOptions::default()).await;
    let mut bomb = Request::new(vec![0; 8 << 20]);
    bomb.metadata_mut().insert("gzip", "yes".parse().unwrap());
    let status = others.call(EXPORT, bomb).await.unwrap_err();
    assert!(status.code() == Code::ResourceExhausted && status.message().contains("400 times"), "{status}");
    assert_eq!(others.refused.counted("decompression_ratio"), 1);
    assert_eq!(["too_large", "too_large_unpacked"].map(|reason| running.refused.counted(reason)), [1, 1]);
    let mut nameless = Request::new(Vec::new());
    nameless.metadata_mut().insert("x-source-id", "-".parse().unwrap());
    let status = running.call(EXPORT, nameless).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let said = metricsd_model::check_source_id("-").unwrap_err();
    assert_eq!(status.message(), format!("x-source-id: {said}"));
    let other = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Import";
    assert_eq!(running.call(other, Request::new(Vec::new())).await.unwrap_err().code(), Code::Unimplemented);
    let other = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    assert_eq!(running.call(other, Request::new(Vec::new())).await.unwrap_err().code(), Code::Unimplemented);
    assert_eq!(running.export(body("after", &[now()])).await.unwrap(), None, "others are unharmed");
}

/// A store that is away.
struct Away;

#[async_trait::async_trait]
impl SampleSink for Away {
    async fn append(&self, _: &[Arc<Batch>]) -> Result<Vec<Receipt>, PortError> {
        Err(PortError::new(ErrorKind::Unavailable, "away"))
    }

    async fn ping(&self) -> Result<(), PortError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_worth_waiting_for() {
    let running = Running::over(Arc::new(MemoryStore::new()), Arc::new(Away), GrpcOptions::default()).await;
    let status = running.export(body("level", &[now()])).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    let said = answer::Status::decode(status.details()).unwrap();
    let info = RetryInfo::decode(said.details[0].value.as_slice()).unwrap();
    assert_eq!(said.code, 8);
    assert!(info.retry_delay.unwrap().seconds > 0, "without this it would be given up");
}

#[tokio::test]
async fn health_is_told() {
    let running = Running::start(GrpcOptions::default()).await;
    let check = async |service: &str| {
        let question = Question { service: service.to_owned() }.encode_to_vec();
        let answer = running.call(CHECK, Request::new(question)).await?;
        Ok::<_, Status>(Answer::decode(answer.into_inner()).unwrap().status)
    };
    assert_eq!(check("").await.unwrap(), SERVING);
    assert_eq!(check("opentelemetry.proto.collector.metrics.v1.MetricsService").await.unwrap(), SERVING);
    assert_eq!(check("other").await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn connections_are_bounded_and_end_with_the_process() {
    let running = Running::start(GrpcOptions { max_connections: 2, ..GrpcOptions::default() }).await;
    running.export(body("level", &[now()])).await.unwrap();
    let mut silent = TcpStream::connect(running.address).await.unwrap();
    silent.write_all(b"PRI * ").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    // The third is closed as it comes; those before go on.
    let mut third = TcpStream::connect(running.address).await.unwrap();
    let read = tokio::time::timeout(Duration::from_secs(5), third.read(&mut [0; 8])).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    running.export(body("level", &[now()])).await.unwrap();
    drop(silent);
    running.stop.cancel();
    tokio::time::timeout(Duration::from_secs(5), running.served).await.expect("it ends").unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn messages_that_never_come_hold_up_nobody() {
    let options = GrpcOptions { max_concurrent_pushes: 2, ..GrpcOptions::default() };
    let running = Running::start(options).await;
    for _ in 0..4 {
        let mut client = Grpc::new(running.channel.clone());
        tokio::spawn(async move {
            client.ready().await.unwrap();
            let never = Request::new(futures::stream::pending::<Vec<u8>>());
            let path = PathAndQuery::from_static(EXPORT);
            client.client_streaming(never, path, Raw).await.map(|_: Response<Bytes>| ())
        });
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let exported =
        tokio::time::timeout(Duration::from_secs(5), running.export(body("level", &[now()]))).await;
    assert_eq!(exported.expect("it is answered").unwrap(), None);
    // A large one takes a place of its own.
    let times: Vec<i64> = (0..10_000).map(|place| now() - place).collect();
    let exported = tokio::time::timeout(Duration::from_secs(20), running.export(body("many", &times))).await;
    assert_eq!(exported.expect("it is answered").unwrap(), None);
}
