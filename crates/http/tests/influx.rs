//! Influx line protocol through the routes: what is stored, what is refused, and in which words.

mod common;

use std::io::Write;

use axum::body::Body;
use axum::http::Request;
use common::{Answer, Service};
use metricsd_codec::influx::Mapping;
use metricsd_codec::line_names::Names;
use metricsd_http::InfluxOptions;
use metricsd_ingest::Limits;
use metricsd_ports::memory::store::MemoryStore;
use prometheus_client::registry::Registry;
use serde_json::json;

fn options() -> InfluxOptions {
    let mapping =
        Mapping { names: Names::Mapped, separator: "_".into(), value_alone: true, labels: Vec::new() };
    InfluxOptions::new(mapping, "db".into(), &mut Registry::default())
}

fn service() -> Service {
    Service::with(|api| api.lines.influx = Some(options()))
}

async fn write(service: &Service, uri: &str, body: impl Into<Body>) -> Answer {
    service.send(Request::post(uri).body(body.into()).unwrap()).await
}

/// Series that a selector finds now, as `name{labels} value`.
async fn found(service: &Service, selector: &str) -> Vec<String> {
    let answer = service.get(&format!("/api/v1/metrics/query?query={selector}")).await.json();
    let entry =
        |entry: &serde_json::Value| format!("{} {}", entry["metric"], entry["value"][1].as_str().unwrap());
    let mut found: Vec<String> = answer["result"].as_array().unwrap().iter().map(entry).collect();
    found.sort();
    found
}

fn now() -> i64 {
    chrono::Utc::now().timestamp()
}

#[tokio::test]
async fn lines_are_stored_under_their_names() {
    let service = service();
    let body = format!("cpu,host=a usage=1.5,value=2i,state=\"idle\" {}\nmem free=7u\n", now());
    let answer = write(&service, "/write?db=telegraf&precision=s&rp=autogen", body).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (204, ""));
    assert_eq!(
        found(&service, "%7Bdb=%22telegraf%22%7D").await,
        [
            r#"{"__name__":"cpu","db":"telegraf","host":"a"} 2"#,
            r#"{"__name__":"cpu_usage","db":"telegraf","host":"a"} 1.5"#,
            r#"{"__name__":"mem_free","db":"telegraf"} 7"#,
        ]
    );
    let line = format!("disk,path=/ used=3 {}", now() * 1_000);
    let answer = write(&service, "/api/v2/write?org=o&bucket=b&precision=ms", line).await;
    assert_eq!(answer.status, 204);
    assert_eq!(found(&service, "disk_used").await, [r#"{"__name__":"disk_used","db":"b","path":"/"} 3"#]);
}

#[tokio::test]
async fn a_repeated_request_changes_nothing() {
    let service = service();
    let line = format!("cpu usage=1 {}", now());
    for _ in 0..3 {
        assert_eq!(write(&service, "/write?precision=s", line.clone()).await.status, 204);
    }
    let jobs = service.get("/api/v1/metrics/jobs").await.json();
    assert_eq!(jobs.as_array().unwrap().len(), 1, "{jobs}");
    assert_eq!(jobs[0]["collection_method"], "PUSH_GATEWAY", "{jobs}");
}

#[tokio::test]
async fn packed_bodies_are_unpacked_within_limits() {
    let limits = Limits { max_decompressed_bytes: 1 << 20, ..Limits::default() };
    let store = std::sync::Arc::new(MemoryStore::new());
    let service = Service::over(store.clone(), store, limits, |api| api.lines.influx = Some(options()));
    let pack = |bytes: &[u8]| {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    };
    let send = async |packed: Vec<u8>| {
        let request = Request::post("/api/v2/write").header("content-encoding", "gzip");
        service.send(request.body(Body::from(packed)).unwrap()).await
    };
    assert_eq!(send(pack(b"packed value=1")).await.status, 204);
    assert_eq!(found(&service, "packed").await.len(), 1);
    let bomb = send(pack(&vec![b'#'; 64 << 20])).await;
    assert_eq!((bomb.status.as_u16(), &bomb.json()["code"]), (413, &json!("request too large")));
    let mut broken = pack(b"packed value=2");
    broken.truncate(broken.len() - 6);
    assert_eq!(send(broken).await.status, 400);
}

#[tokio::test]
async fn bad_lines_are_named_and_the_others_stored() {
    let service = service();
    let body = "good value=1\nbad\nworse,a value=1\nfine value=2\n";
    let answer = write(&service, "/write", body).await;
    assert_eq!(answer.status, 400);
    let message = "partial write: line 2: unable to parse 'bad': missing fields; \
                   line 3: unable to parse 'worse,a value=1': missing tag value dropped=2";
    assert_eq!(answer.json(), json!({"error": message}));
    assert!(answer.header("x-influxdb-error").starts_with("partial write: line 2"));
    assert_eq!(found(&service, "%7B__name__=~%22good%7Cfine%22%7D").await.len(), 2);
    let answer = write(&service, "/api/v2/write", "#\nbad\n").await;
    let expected =
        json!({"code": "invalid", "message": "line 2: unable to parse 'bad': missing fields", "line": 2});
    assert_eq!((answer.status.as_u16(), answer.json()), (400, expected));
}

#[tokio::test]
async fn what_the_door_refuses_is_named_by_its_line() {
    let service = service();
    let body = format!(
        "a value=1,b=2\nlate value=1 4102444800000\nold value=1 1000\nlong value=1 9\n{} value=1\n",
        "x".repeat(300)
    );
    let answer = write(&service, "/api/v2/write?precision=ms", body).await;
    let said = answer.json();
    assert_eq!((answer.status.as_u16(), &said["line"]), (400, &json!(2)), "{said}");
    let message = said["message"].as_str().unwrap();
    assert!(
        message.contains("line 3: ") && message.contains("line 5: ") && message.ends_with("dropped=4"),
        "{message}"
    );
    assert_eq!(found(&service, "%7B__name__=~%22a%7Ca_b%22%7D").await.len(), 2);
}

#[tokio::test]
async fn requests_that_do_not_read_are_refused() {
    let service = service();
    let check = async |uri: &str, expected: serde_json::Value| {
        let answer = write(&service, uri, "a value=1").await;
        assert_eq!((answer.status.as_u16(), answer.json()), (400, expected), "{uri}");
    };
    let precision = "invalid precision \"d\"; expected ns, us, ms, s, m or h";
    check("/write?precision=d", json!({"error": precision})).await;
    check("/api/v2/write?precision=d", json!({"code": "invalid", "message": precision})).await;
    let off = Service::new();
    for uri in ["/write", "/api/v2/write", "/query"] {
        assert_eq!(write(&off, uri, "a value=1").await.status, 404, "{uri}");
    }
    assert_eq!(off.get("/ping").await.status, 404);
}

#[tokio::test]
async fn clients_are_answered_what_they_ask_beside() {
    let service = service();
    let ping = service.get("/ping").await;
    assert_eq!((ping.status.as_u16(), ping.header("x-influxdb-version")), (204, "1.8.10"));
    assert_eq!(service.get("/ping?verbose=true").await.json()["version"], "1.8.10");
    assert_eq!(service.get("/health").await.json()["status"], "pass");
    let form = Request::post("/query").header("content-type", "application/x-www-form-urlencoded");
    let answer = service.send(form.body(Body::from("q=CREATE+DATABASE+%22x%22")).unwrap()).await;
    assert_eq!(answer.json(), json!({"results": [{"statement_id": 0}]}));
    assert_eq!(service.get("/query?q=SHOW%20DATABASES").await.status, 200);
    let answer = service.get("/query?q=SELECT%201").await;
    assert_eq!(answer.status, 400);
    assert!(answer.json()["error"].as_str().unwrap().contains("PromQL"));
}
