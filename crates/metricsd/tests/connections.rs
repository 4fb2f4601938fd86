//! Thousands of connections that say nothing, those that speak a byte at a time, and bodies that unfold to far more than
//! they are: each gets a clear end, memory stays bounded, and those who push beside them notice nothing.

mod support;

use std::io::Write;
use std::time::{Duration, Instant};

use metricsd_codec::custom::message::{Metric, Metrics};
use serde_json::json;
use support::{Folder, Node, Start, eventually, free_port};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::codegen::http::uri::PathAndQuery;

/// Idle connections to the HTTP port.
const HTTP: usize = 10_000;

/// Idle connections to each port for lines.
const LINES: usize = 1_000;

/// Idle connections to the port of gRPC.
const GRPC: usize = 1_000;

/// Bytes of memory that an idle connection may take, those of the allocator included.
const PER_CONNECTION: u64 = 16 << 10;

struct Service {
    node: Node,
    graphite: String,
    statsd: String,
    grpc: String,
    _folder: Folder,
}

async fn start(settings: &[(&'static str, &str)]) -> Service {
    allow_files();
    let folder = Folder::new();
    let [graphite, statsd, grpc] = std::array::from_fn(|_| format!("127.0.0.1:{}", free_port()));
    let mut start = Start::new(&folder.0)
        .env("METRICSD_GRAPHITE_LISTEN", graphite.clone())
        .env("METRICSD_STATSD_LISTEN", statsd.clone())
        .env("METRICSD_GRPC_LISTEN", grpc.clone())
        .env("METRICSD_INFLUX_ENABLED", "true")
        .env("METRICSD_PUSHGATEWAY_ENABLED", "true");
    for (name, value) in settings {
        start = start.env(name, *value);
    }
    let node = start.start().await;
    Service { node, graphite, statsd, grpc, _folder: folder }
}

/// As many files as this process may have, which its children may have too.
fn allow_files() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    limit.current.unwrap_or(u64::MAX)
}

/// Opens connections, and leaves them.
async fn open(address: &str, count: usize) -> Vec<TcpStream> {
    let mut open = Vec::with_capacity(count);
    while open.len() < count {
        let few = (0..64.min(count - open.len())).map(|_| TcpStream::connect(address));
        for socket in futures::future::join_all(few).await {
            open.push(socket.expect("a connection"));
        }
    }
    open
}

/// How many connections were closed by the other end, of those that were not answered.
async fn closed(sockets: &mut [TcpStream]) -> usize {
    let mut closed = 0;
    for socket in sockets {
        let mut bytes = [0; 256];
        match socket.try_read(&mut bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            _ => closed += 1,
        }
    }
    closed
}

impl Service {
    /// A value of `/proc/PID/status`, in bytes.
    fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.node.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<u64>().unwrap() * 1_024
    }

    /// Pushes once over each protocol, and answers how long the slowest took.
    async fn pushes(&self, number: u64) -> Duration {
        let started = Instant::now();
        let item = json!([{"name": "beside", "value": number, "labels": {"n": number.to_string()}}]);
        let (status, answer) = self.node.post("/api/v1/metrics/custom", &item).await;
        assert_eq!(status, 200, "{answer}");
        let mut line = TcpStream::connect(&self.graphite).await.unwrap();
        line.write_all(format!("beside.graphite {number}\n").as_bytes()).await.unwrap();
        line.shutdown().await.unwrap();
        started.elapsed()
    }

    async fn counted(&self, series: &str) -> f64 {
        let page =
            self.node.http().get(self.node.url("/metrics")).send().await.unwrap().text().await.unwrap();
        let value = page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        value.unwrap_or(0.0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_silent_connections_harm_nobody() {
    // On a busy machine opening all of them takes longer than the first may be silent.
    let service = start(&[("METRICSD_HTTP_HEADER_TIMEOUT", "10m")]).await;
    let files = allow_files();
    let http = if files < 16_000 { (files / 4) as usize } else { HTTP };
    for number in 0..20 {
        service.pushes(number).await;
    }
    let before = service.memory("VmRSS:");
    let mut idle = open(&service.node.address, http).await;
    let mut lines = open(&service.graphite, LINES).await;
    lines.append(&mut open(&service.statsd, LINES).await);
    let grpc = open(&service.grpc, GRPC).await;
    let all = (http + lines.len() + grpc.len()) as u64;
    let mut slowest = Duration::ZERO;
    for number in 20..120 {
        slowest = slowest.max(service.pushes(number).await);
    }
    let after = service.memory("VmRSS:");
    let each = after.saturating_sub(before) / all;
    println!(
        "{all} idle connections: {before} -> {after} bytes resident, {each} a connection; the slowest push beside took {slowest:?}"
    );
    assert!(each < PER_CONNECTION, "{each} bytes a connection");
    assert!(slowest < Duration::from_secs(2), "a push took {slowest:?}");
    assert_eq!(closed(&mut idle).await, 0, "there is room for all of them");
    let open_now = service.counted("metricsd_http_connections ").await;
    assert!(open_now >= http as f64, "{open_now}");
    let found = eventually("all pushes", 10, async || {
        let found = service.node.query("count(beside)").await;
        found.first().is_some_and(|(_, count)| *count == 120.0).then_some(found)
    });
    found.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_place_the_silent_leave() {
    let service = start(&[("METRICSD_HTTP_MAX_CONNECTIONS", "100")]).await;
    let mut idle = open(&service.node.address, 99).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    // One connection is the test's own; each of these needs a new one, and keeps it.
    let mut kept = Vec::new();
    for number in 0..20 {
        let started = Instant::now();
        let item = json!([{"name": "beside", "value": number}]);
        let client = support::client();
        let answer =
            client.post(service.node.url("/api/v1/metrics/custom")).json(&item).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        kept.push(client);
        assert!(started.elapsed() < Duration::from_secs(2));
    }
    assert!(closed(&mut idle).await >= 10, "silent ones make room");
    assert!(service.counted("metricsd_http_closed_connections_total{reason=\"displaced\"}").await >= 10.0);
    // All that have just come count as busy: who comes then is told so.
    drop((idle, kept));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut flood = open(&service.node.address, 300).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut told = String::new();
    for socket in flood.iter_mut().rev() {
        let mut bytes = [0; 512];
        if let Ok(length) = socket.try_read(&mut bytes)
            && length > 0
        {
            told = String::from_utf8_lossy(&bytes[..length]).into_owned();
            break;
        }
    }
    assert!(told.starts_with("HTTP/1.1 503 ") && told.contains("http.max_connections"), "{told:?}");
    assert!(told.contains("Retry-After: 5"), "{told:?}");
}

/// Sends a byte at a time until the other end closes; answers when it did.
async fn drip(address: &str, bytes: Vec<u8>, every: Duration) -> Duration {
    let started = Instant::now();
    let mut socket = TcpStream::connect(address).await.unwrap();
    let (mut read, mut write) = socket.split();
    let sent = async {
        for byte in bytes.iter().cycle() {
            if write.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(every).await;
        }
    };
    let closed = async {
        let mut answer = Vec::new();
        let _ = read.read_to_end(&mut answer).await;
    };
    tokio::select! { () = sent => {}, () = closed => {} }
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_a_byte_at_a_time_is_not_waited_for() {
    let service = start(&[
        ("METRICSD_GRAPHITE_IDLE_TIMEOUT", "3s"),
        ("METRICSD_HTTP_HEADER_TIMEOUT", "4s"),
        ("METRICSD_HTTP_REQUEST_TIMEOUT", "6s"),
    ])
    .await;
    let (address, every) = (service.node.address.clone(), Duration::from_millis(100));
    let head = b"GET /healthz HTTP/1.1\r\nHost: x\r\n".to_vec();
    let endless = [head.clone(), vec![b'a'; 10_000]].concat();
    let preface = b"PRI * HTTP/2.0\r\n\r\n".to_vec();
    let body = b"POST /api/v1/metrics/custom HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
        Content-Length: 100000\r\n\r\n"
        .to_vec();
    let slow_body = async {
        let mut socket = TcpStream::connect(&address).await.unwrap();
        socket.write_all(&body).await.unwrap();
        let (started, mut answer) = (Instant::now(), vec![0; 1_024]);
        let length = loop {
            tokio::select! {
                read = socket.read(&mut answer) => break read.unwrap(),
                () = tokio::time::sleep(every) => {}
            }
            let _ = socket.write_all(b"[").await;
        };
        let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("did not arrive within"), "{answer}");
        started.elapsed()
    };
    let beside = async {
        let (started, mut slowest, mut number) = (Instant::now(), Duration::ZERO, 0);
        while started.elapsed() < Duration::from_secs(6) {
            slowest = slowest.max(service.pushes(number).await);
            number += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        slowest
    };
    let silent = async {
        let started = Instant::now();
        let mut socket = TcpStream::connect(&address).await.unwrap();
        let _ = socket.read(&mut [0; 8]).await;
        started.elapsed()
    };
    let line = drip(&service.graphite, b"a.b".to_vec(), every);
    let (heads, prefaces, bodies, lines, silence, slowest) = tokio::join!(
        drip(&address, endless, every),
        drip(&address, preface, Duration::from_millis(700)),
        slow_body,
        line,
        silent,
        beside
    );
    println!(
        "given up: head {heads:?}, preface {prefaces:?}, body {bodies:?}, line {lines:?}, silence {silence:?}; slowest push beside {slowest:?}"
    );
    for (what, took, limit) in [
        ("head", heads, 4),
        ("preface", prefaces, 4),
        ("body", bodies, 5),
        ("line", lines, 3),
        ("silence", silence, 4),
    ] {
        assert!(
            took >= Duration::from_secs(limit - 1) && took < Duration::from_secs(limit + 3),
            "{what}: {took:?}"
        );
    }
    assert!(slowest < Duration::from_secs(2), "a push took {slowest:?}");
}

/// So many zeros, which are 1 000 times smaller with gzip and 30 000 times with zstd.
const BOMB: usize = 60 << 20;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_unfold_out_of_all_proportion_are_refused_before_they_do() {
    let service = start(&[]).await;
    let zeros = vec![b' '; BOMB];
    let packed = [("gzip", gzip(&zeros)), ("zstd", zstd::encode_all(zeros.as_slice(), 3).unwrap())];
    let routes = [
        ("/api/v1/metrics/custom", "application/json"),
        ("/v1/metrics", "application/x-protobuf"),
        ("/api/v2/write", "text/plain"),
        ("/metrics/job/bomb", "text/plain"),
    ];
    service.pushes(0).await;
    let before = service.memory("VmHWM:");
    let mut refused = 0.0;
    for (encoding, bytes) in &packed {
        for (path, kind) in routes {
            let request = service.node.http().post(service.node.url(path)).body(bytes.clone());
            let request = request.header("content-type", kind).header("content-encoding", *encoding);
            let (status, answer) = service.node.send(request).await;
            assert_eq!(status, 413, "{encoding} {path}: {answer}");
            assert!(answer.to_string().contains("more than 400 times"), "{encoding} {path}: {answer}");
            refused += 1.0;
        }
    }
    // A block of snappy says how long it will be; one that cannot be so long is damaged.
    let mut block = vec![0x80, 0x80, 0x80, 0x1e];
    block.extend_from_slice(&[0; 60]);
    let request = service.node.http().post(service.node.url("/api/v1/write")).body(block);
    let request =
        request.header("content-type", "application/x-protobuf").header("content-encoding", "snappy");
    let (status, answer) = service.node.send(request).await;
    assert!(status == 400 && answer.to_string().contains("cannot unpack"), "{status} {answer}");

    let status = grpc_bomb(&service.grpc).await;
    assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status}");
    refused += 1.0;

    let after = service.memory("VmHWM:");
    println!("at most {before} bytes resident before, {after} after {} bombs of {BOMB} bytes", refused + 1.0);
    // What is unfolded before it is refused, and not what it would be.
    assert!(after - before < 48 << 20, "{before} -> {after}");
    let counted = "metricsd_http_refused_bodies_total{reason=\"decompression_ratio\"}";
    assert_eq!(service.counted(counted).await, refused);
    assert_eq!(service.counted("metricsd_http_refused_bodies_total{reason=\"damaged\"}").await, 1.0);
    file_bomb(&service, &packed[1].1).await;
    service.pushes(1).await;
}

async fn grpc_bomb(grpc: &str) -> tonic::Status {
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{grpc}")).unwrap().connect().await;
    let mut client =
        tonic::client::Grpc::new(channel.unwrap()).send_compressed(tonic::codec::CompressionEncoding::Gzip);
    client.ready().await.unwrap();
    let metric = Metric { name: " ".repeat(3 << 20), ..Metric::default() };
    let metrics = Metrics { metrics: vec![metric], first_sequence: 0 };
    let codec = tonic_prost::ProstCodec::<Metrics, Metrics>::default();
    let sent = futures::stream::once(async { metrics });
    let path = PathAndQuery::from_static("/metricsd.v1.MetricsStream/Push");
    let mut told = client.streaming(tonic::Request::new(sent), path, codec).await.unwrap().into_inner();
    loop {
        match told.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended well"),
            Err(status) => return status,
        }
    }
}

/// A file may be large: it is given up while it is read, by a worker, and says so.
async fn file_bomb(service: &Service, packed: &[u8]) {
    let far = zstd::encode_all(std::io::repeat(b'#').take_bytes(120 << 20), 3).unwrap();
    assert!(far.len() > packed.len());
    let request = service.node.http().post(service.node.url("/api/v1/metrics/upload?format=prometheus"));
    let (status, job) = service.node.send(request.header("content-encoding", "zstd").body(far)).await;
    assert_eq!(status, 202, "{job}");
    let id = job["job_id"].as_str().or(job["id"].as_str()).unwrap_or_else(|| panic!("{job}")).to_owned();
    let dead = eventually("the end of the job", 20, async || {
        let (_, job) = service.node.get(&format!("/api/v1/metrics/jobs/{id}")).await;
        let over =
            ["dead", "done", "failed"].iter().any(|state| job.to_string().contains(&format!("\"{state}\"")));
        over.then_some(job)
    })
    .await;
    assert!(dead.to_string().contains("400 times its size"), "{dead}");
}

/// So many of the same bytes.
trait TakeBytes {
    fn take_bytes(self, count: u64) -> impl std::io::Read;
}

impl TakeBytes for std::io::Repeat {
    fn take_bytes(self, count: u64) -> impl std::io::Read {
        std::io::Read::take(self, count)
    }
}
