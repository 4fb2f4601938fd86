//! Tokens with the real binary: made on the command line and over the API, asked for on every kind of route, ended where
//! streams hold them too, and never written anywhere.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use metricsd_codec::custom::message::{Metric, Metrics};
use metricsd_codec::otlp::answer::ExportResponse;
use metricsd_codec::otlp::messages::ExportRequest;
use metricsd_codec::remote_write::pack;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use support::{Folder, Node, Start, eventually, free_port};
use tokio::process::Command;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

const BOOTSTRAP: &str = "first-token-of-this-test-0123456789";
const EXPORT: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
const PUSH: &str = "/metricsd.v1.MetricsStream/Push";

/// `metricsd.v1.Acknowledgement`, as far as it is looked at.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Acknowledgement {
    #[prost(uint64, tag = "1")]
    last: u64,
}

struct Guarded {
    node: Node,
    grpc: String,
    folder: Folder,
}

/// A token as it was told once.
struct Token {
    id: String,
    text: String,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Nobody,
    Unknown,
    Pusher,
    Reader,
    Manager,
}

/// What a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Push,
    Read,
    Manage,
}

impl Guarded {
    async fn start() -> Self {
        let folder = Folder::new();
        let grpc = format!("127.0.0.1:{}", free_port());
        let start = Start::new(&folder.0)
            .env("METRICSD_AUTH_REQUIRED", "true")
            .env("METRICSD_AUTH_BOOTSTRAP_TOKEN", BOOTSTRAP)
            .env("METRICSD_GRPC_LISTEN", grpc.as_str())
            .env("METRICSD_INFLUX_ENABLED", "true")
            .env("METRICSD_PUSHGATEWAY_ADMIN", "true")
            .env("METRICSD_LOG_LEVEL", "debug");
        let node = start.start().await;
        Self { node, grpc, folder }
    }

    /// The command line, with the first token.
    async fn command(&self, arguments: &[&str]) -> String {
        let done = Command::new(env!("CARGO_BIN_EXE_metricsd"))
            .args(arguments)
            .env_clear()
            .env("METRICSD_URL", self.node.url(""))
            .env("METRICSD_TOKEN", BOOTSTRAP)
            .output()
            .await
            .unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    /// Makes a token on the command line.
    async fn make(&self, arguments: &[&str]) -> Token {
        let all = [&["token", "create"], arguments, &["--output", "json"]].concat();
        let made: Value = serde_json::from_str(&self.command(&all).await).unwrap();
        token(&made)
    }

    /// Makes a token over the API.
    async fn post(&self, asked: &Value) -> Token {
        let request = self.node.http().post(self.node.url("/api/v1/metrics/tokens")).json(asked);
        let (status, made) = self.node.send(request.bearer_auth(BOOTSTRAP)).await;
        assert_eq!(status, 201, "{made}");
        token(&made)
    }

    async fn export(&self, auth: Option<&str>) -> Result<(), Status> {
        let mut request = Request::new(ExportRequest::default());
        if let Some(auth) = auth {
            request.metadata_mut().insert("authorization", format!("Bearer {auth}").parse().unwrap());
        }
        let mut client = self.client().await;
        let codec = ProstCodec::<ExportRequest, ExportResponse>::default();
        client.unary(request, PathAndQuery::from_static(EXPORT), codec).await.map(|_| ())
    }

    async fn client(&self) -> tonic::client::Grpc<tonic::transport::Channel> {
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", self.grpc)).unwrap();
        let mut client = tonic::client::Grpc::new(channel.connect().await.unwrap());
        client.ready().await.unwrap();
        client
    }

    /// Opens a stream that its client never ends, and waits for its first word.
    async fn stream(&self, auth: Option<&str>) -> Result<tonic::Streaming<Acknowledgement>, Status> {
        let item = Metric { name: "streamed".to_owned(), value: Some(1.0), ..Metric::default() };
        let first = Metrics { metrics: vec![item], first_sequence: 0 };
        let messages = futures::StreamExt::chain(
            futures::stream::once(async { first }),
            futures::stream::pending::<Metrics>(),
        );
        let mut request = Request::new(messages);
        if let Some(auth) = auth {
            request.metadata_mut().insert("authorization", format!("Bearer {auth}").parse().unwrap());
        }
        let mut client = self.client().await;
        let codec = ProstCodec::<Metrics, Acknowledgement>::default();
        let told = client.streaming(request, PathAndQuery::from_static(PUSH), codec).await?;
        Ok(told.into_inner())
    }
}

fn token(made: &Value) -> Token {
    let text = |name: &str| made[name].as_str().unwrap_or_else(|| panic!("{name} of {made}")).to_owned();
    Token { id: text("id"), text: text("token") }
}

/// A request of each kind of route: method, address, type of the body, body.
fn routes() -> Vec<(Need, &'static str, &'static str, &'static str, Vec<u8>)> {
    use Need::{Manage, Push, Read};
    let text = |text: &str| text.as_bytes().to_vec();
    let block = pack(&[]).unwrap();
    let target = r#"{"source_id":"n","target_id":"n-1","scrape_config":{"target_url":"http://127.0.0.1:1"}}"#;
    vec![
        (Push, "POST", "/api/v1/metrics/custom", "application/json", text(r#"[{"name":"a","value":1}]"#)),
        (Push, "POST", "/v1/metrics", "application/x-protobuf", Vec::new()),
        (Push, "POST", "/api/v1/otlp/v1/metrics", "application/x-protobuf", Vec::new()),
        (Push, "POST", "/api/v1/write", "application/x-protobuf", block.clone()),
        (Push, "POST", "/write?db=x", "text/plain", text("cpu value=1")),
        (Push, "POST", "/api/v2/write?bucket=x", "text/plain", text("cpu value=1")),
        (Push, "PUT", "/metrics/job/nightly", "text/plain", text("rows 1\n")),
        (Push, "POST", "/api/v1/metrics/upload?format=csv", "text/csv", text("metric_name,value\na,1\n")),
        (
            Push,
            "POST",
            "/api/v1/metrics/stream",
            "application/x-ndjson",
            text("{\"name\":\"a\",\"value\":1}\n"),
        ),
        (Push, "GET", "/api/v1/metrics/stream/till-7/position", "", Vec::new()),
        (Read, "GET", "/api/v1/metrics/query?query=up", "", Vec::new()),
        (Read, "GET", "/api/v1/query?query=up", "", Vec::new()),
        (Read, "POST", "/api/v1/query", "application/x-www-form-urlencoded", text("query=up")),
        (Read, "POST", "/api/v1/read", "application/x-protobuf", block),
        (Read, "GET", "/api/v1/metrics/export?match[]=a&format=csv", "", Vec::new()),
        (Read, "GET", "/api/v1/metrics/stream?match[]=a", "", Vec::new()),
        (Read, "GET", "/api/v1/metrics/events", "", Vec::new()),
        (Read, "GET", "/api/v1/metrics/targets", "", Vec::new()),
        (Read, "GET", "/api/v1/metrics/jobs", "", Vec::new()),
        (Read, "GET", "/api/v1/metrics/stats", "", Vec::new()),
        (Read, "GET", "/api/v1/metrics/integrity", "", Vec::new()),
        (Manage, "POST", "/api/v1/metrics/targets", "application/json", text(target)),
        (Manage, "DELETE", "/api/v1/metrics/targets/n-1", "", Vec::new()),
        (Manage, "GET", "/api/v1/metrics/tokens", "", Vec::new()),
        (
            Manage,
            "POST",
            "/api/v1/metrics/tokens",
            "application/json",
            text(r#"{"name":"x","rights":["read"]}"#),
        ),
        (Manage, "PUT", "/api/v1/admin/wipe", "", Vec::new()),
    ]
}

/// What is answered; `None` where it is not refused.
fn refusal(who: Who, need: Need) -> Option<u16> {
    match (who, need) {
        (Who::Nobody | Who::Unknown, _) => Some(401),
        (Who::Manager, _) | (Who::Pusher, Need::Push) | (Who::Reader, Need::Read) => None,
        _ => Some(403),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_route_asks_for_its_right() {
    let guarded = Guarded::start().await;
    let node = &guarded.node;
    let pusher = guarded.make(&["pusher", "--push"]).await;
    let reader = guarded.make(&["reader", "--read"]).await;
    let manager = guarded.post(&json!({"name": "manager", "rights": ["manage"]})).await;
    let known = guarded.command(&["token", "list", "--output", "json"]).await;
    assert!(["pusher", "reader", "manager"].iter().all(|name| known.contains(name)), "{known}");
    let unknown = format!("mtk_{}_{}", "0".repeat(32), "1".repeat(64));
    let all = [
        (Who::Nobody, None),
        (Who::Unknown, Some(&unknown)),
        (Who::Pusher, Some(&pusher.text)),
        (Who::Reader, Some(&reader.text)),
        (Who::Manager, Some(&manager.text)),
    ];
    // Tokens that were just made are known within a second or so.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let mut answers = String::new();
    for (need, method, path, kind, body) in routes() {
        for (who, auth) in all {
            let mut request = node.http().request(method.parse().unwrap(), node.url(path)).body(body.clone());
            if !kind.is_empty() {
                request = request.header("content-type", kind);
            }
            if kind == "application/x-protobuf" && path.starts_with("/api/v1/") && !path.contains("otlp") {
                request = request.header("content-encoding", "snappy");
            }
            if let Some(auth) = auth {
                request = request.bearer_auth(auth);
            }
            let answer = request.send().await.unwrap();
            let status = answer.status().as_u16();
            match refusal(who, need) {
                Some(expected) => {
                    let text = answer.text().await.unwrap();
                    assert_eq!(status, expected, "{who:?} {method} {path}: {text}");
                    assert!(text.contains("token"), "{who:?} {method} {path}: {text}");
                    answers.push_str(&text);
                }
                None => assert!(
                    status < 500 && ![401, 403].contains(&status),
                    "{who:?} {method} {path}: {status}"
                ),
            }
        }
    }
    for (who, auth) in all {
        let auth = auth.map(String::as_str);
        let expected = match refusal(who, Need::Push) {
            None => Code::Ok,
            Some(401) => Code::Unauthenticated,
            Some(_) => Code::PermissionDenied,
        };
        let export = guarded.export(auth).await.map_or_else(|status| status.code(), |()| Code::Ok);
        let stream = guarded.stream(auth).await.map_or_else(|status| status.code(), |_| Code::Ok);
        assert_eq!((export, stream), (expected, expected), "{who:?}");
    }
    for token in [&pusher, &reader, &manager] {
        assert!(!answers.contains(&token.text));
    }
    let (status, events) = node.send(node.http().get(node.url("/metrics"))).await;
    assert_eq!(status, 200);
    never_written(&guarded, &[&pusher, &reader, &manager], &[answers, known, events.to_string()]);
}

/// Neither tokens nor what is kept of them is in the log or in answers, and no token in the database.
fn never_written(guarded: &Guarded, tokens: &[&Token], answers: &[String]) {
    let log = std::fs::read_to_string(guarded.folder.0.join("test.log")).unwrap();
    assert!(log.contains("DEBUG"), "it is not the log of all levels");
    let mut stored = Vec::new();
    collect(&guarded.folder.0, &mut stored);
    let texts = tokens.iter().map(|token| token.text.clone()).chain([BOOTSTRAP.to_owned()]);
    for text in texts {
        let digest: String =
            Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        let secret = text.rsplit('_').next().unwrap();
        for told in answers.iter().chain([&log]) {
            assert!(!told.contains(secret) && !told.to_lowercase().contains(&digest), "a token is told");
        }
        for (file, bytes) in &stored {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "a token is in {file}");
        }
    }
}

/// The files of a folder, with all below it.
fn collect(folder: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, into);
        } else {
            into.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_revoked_ends_what_it_had_opened() {
    let guarded = Guarded::start().await;
    let node = &guarded.node;
    let pusher = guarded.make(&["pusher", "--push", "--source-id", "shop"]).await;
    let reader = guarded.post(&json!({"name": "reader", "rights": ["read"]})).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;

    // A token of one source pushes as no other.
    let push = |source: &str| {
        let url = node.url(&format!("/api/v1/metrics/custom?source_id={source}"));
        node.http().post(url).bearer_auth(&pusher.text).json(&json!([{"name": "a", "value": 1}]))
    };
    assert_eq!(node.send(push("shop")).await.0, 200);
    assert_eq!(node.send(push("other")).await.0, 403);

    let mut over_grpc = guarded.stream(Some(&pusher.text)).await.unwrap();
    let body = reqwest::Body::wrap_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let over_http = node.http().post(node.url("/api/v1/metrics/stream")).bearer_auth(&pusher.text);
    let over_http = over_http.header("content-type", "application/x-ndjson").body(body).send().await.unwrap();
    assert_eq!(over_http.status().as_u16(), 200);
    let read = async |path: &str| {
        let answer = node.http().get(node.url(path)).bearer_auth(&reader.text).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{path}");
        answer
    };
    let samples = read("/api/v1/metrics/stream?match[]=a").await;
    let events = read("/api/v1/metrics/events").await;

    guarded.command(&["token", "revoke", &pusher.id]).await;
    guarded.command(&["token", "revoke", &reader.id]).await;
    let started = Instant::now();
    let ended = async {
        let status = loop {
            match over_grpc.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ended well"),
                Err(status) => break status,
            }
        };
        assert_eq!(status.code(), Code::Unauthenticated, "{status}");
        let text = over_http.text().await.unwrap();
        assert!(text.lines().last().is_some_and(|line| line.contains("was revoked")), "{text}");
        let _ = (samples.text().await, events.text().await);
    };
    tokio::time::timeout(Duration::from_secs(8), ended).await.expect("streams go on");
    println!("all streams ended {:?} after their tokens", started.elapsed());
    let (status, answer) = node.send(push("shop")).await;
    assert!(status == 401 && answer.to_string().contains("revoked"), "{status} {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_used_up_says_when_to_come_back() {
    let guarded = Guarded::start().await;
    let node = &guarded.node;
    let slow = guarded.make(&["slow", "--push", "--samples-per-second", "1"]).await;
    let items = |count: u64| -> Value {
        (0..count)
            .map(|number| json!({"name": "a", "value": 1, "labels": {"i": number.to_string()}}))
            .collect()
    };
    let push = async |count: u64| {
        let request = node.http().post(node.url("/api/v1/metrics/custom")).bearer_auth(&slow.text);
        let answer = request.json(&items(count)).send().await.unwrap();
        let after =
            answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        (answer.status().as_u16(), after, answer.text().await.unwrap())
    };
    let first =
        eventually("the token is known", 5, async || Some(push(10).await).filter(|sent| sent.0 != 401)).await;
    assert_eq!(first.0, 200, "{}", first.2);
    let (status, after, text) = push(5).await;
    assert!(
        status == 429 && after.is_some_and(|after| (1..=10).contains(&after)),
        "{status} {after:?} {text}"
    );
    assert!(text.contains("samples_per_second") && text.contains("quota-exceeded"), "{text}");
    let (status, found) = node.send(node.http().get(node.url("/metrics"))).await;
    let refused = "metricsd_ingest_rejected_samples_total{protocol=\"custom\",reason=\"samples_quota\"} 5";
    assert!(status == 200 && found.as_str().is_some_and(|page| page.contains(refused)), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_others_reach_is_closed_unless_it_is_opened() {
    let folder = Folder::new();
    let start = async |open: bool| {
        let port = free_port();
        let log = std::fs::File::create(folder.0.join(format!("{port}.log"))).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_metricsd"))
            .args(["run", "--listen", &format!("0.0.0.0:{port}"), "--data-dir"])
            .arg(folder.0.join(port.to_string()))
            .env_clear()
            .env("METRICSD_SCRAPE_SELF_SCRAPE", "false")
            .env("METRICSD_AUTH_OPEN", open.to_string())
            .stdout(std::process::Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (client, url) = (support::client(), format!("http://127.0.0.1:{port}"));
        eventually("it is ready", 30, async || {
            let answer = client.get(format!("{url}/readyz")).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        let item = json!([{"name": "a", "value": 1}]);
        let push = client.post(format!("{url}/api/v1/metrics/custom")).json(&item).send().await.unwrap();
        let read = client.get(format!("{url}/api/v1/metrics/query?query=a")).send().await.unwrap();
        let pushed = (push.status().as_u16(), push.text().await.unwrap());
        let log = std::fs::read_to_string(folder.0.join(format!("{port}.log"))).unwrap();
        drop(child);
        (pushed, read.status().as_u16(), log)
    };
    let ((status, told), read, log) = start(false).await;
    assert_eq!((status, read), (401, 401), "{told}");
    assert!(told.contains("metricsd token create") && told.contains("auth.open"), "{told}");
    assert!(log.contains("requests from elsewhere need a token"), "{log}");
    let ((status, told), read, log) = start(true).await;
    assert_eq!((status, read), (200, 200), "{told}");
    assert!(log.contains("everyone who reaches this address may push, read and manage"), "{log}");
}
