//! Streams through the routes: items in over a long request and a WebSocket, samples out as they commit.

mod common;

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Request;
use common::Service;
use common::stream::{STREAM, Socket, items, open_body, post, serve};
use futures::{SinkExt, StreamExt};
use metricsd_codec::custom::message::{Metric, Metrics};
use prost::Message as _;
use serde_json::{Value, json};
use tower::ServiceExt;

async fn position(service: &Service) -> Value {
    service.get(&format!("{STREAM}/till-7/position?source_id=shop")).await.json()["position"].clone()
}

#[tokio::test]
async fn items_are_acknowledged_while_the_request_goes_on() {
    let service = Service::new();
    let (mut body, rest) = open_body();
    let query = "?source_id=shop&stream_id=till-7";
    let (status, mut lines) = post(&service, query, "application/x-ndjson", rest).await;
    assert_eq!((status, lines.next().await), (200, Some(json!({"stream": "till-7", "position": 0}))));
    // Lines come in pieces.
    let (head, tail) = (items(1..=3), items(4..=4));
    body.send(Ok(Bytes::from(format!("{head}{}", &tail[..7])))).await.unwrap();
    assert_eq!(lines.next().await, Some(json!({"ack": 3, "stored": 3, "refused": 0, "repeated": 0})));
    let found = service.get("/api/v1/query?query=n%7Bi%3D%223%22%7D").await.json();
    assert_eq!(found["data"]["result"][0]["value"][1], "3");
    assert_eq!(position(&service).await, 3);
    body.send(Ok(Bytes::from(format!("{}\n{{\"name\":\"n\"}}\n", &tail[7..])))).await.unwrap();
    let ack = lines.next().await.unwrap();
    assert_eq!((&ack["ack"], &ack["stored"], &ack["refused"]), (&json!(5), &json!(1), &json!(1)));
    assert_eq!(ack["errors"][0]["number"], 5);
    drop(body);
    assert_eq!(lines.next().await, None);
    let jobs = service.get("/api/v1/metrics/jobs").await.json();
    assert_eq!((&jobs[0]["collection_method"], &jobs[0]["source_id"]), (&json!("STREAMING"), &json!("shop")));
}

#[tokio::test]
async fn a_stream_that_broke_off_goes_on_and_nothing_is_stored_twice() {
    let service = Service::new();
    let query = "?source_id=shop&stream_id=till-7";
    let (mut body, rest) = open_body();
    let (_, mut lines) = post(&service, query, "application/x-ndjson", rest).await;
    lines.next().await;
    body.send(Ok(Bytes::from(items(1..=10)))).await.unwrap();
    assert_eq!(lines.next().await.unwrap()["ack"], 10);
    // The connection breaks within a line.
    body.send(Ok(Bytes::from_static(b"{\"name\":"))).await.unwrap();
    body.send(Err(std::io::Error::other("broken"))).await.unwrap();
    assert_eq!(lines.next().await, None);
    // The client sends all again, and more.
    let (_, mut lines) = post(&service, query, "application/x-ndjson", Body::from(items(1..=15))).await;
    assert_eq!(lines.next().await.unwrap()["position"], 10);
    let ack = lines.next().await.unwrap();
    assert_eq!(ack, json!({"ack": 15, "stored": 5, "refused": 0, "repeated": 10}));
    // It may also begin behind what is committed.
    let from = format!("{query}&from=16");
    let (_, mut lines) = post(&service, &from, "application/x-ndjson", Body::from(items(16..=16))).await;
    assert_eq!(lines.next().await.unwrap()["position"], 15);
    assert_eq!(lines.next().await.unwrap()["ack"], 16);
    let found = service.get("/api/v1/query?query=sum(count_over_time(n%5B5m%5D))").await.json();
    assert_eq!(found["data"]["result"][0]["value"][1], "16");
}

fn message(first_sequence: u64, count: u64) -> Vec<u8> {
    let metric = |number| Metric { name: format!("p{number}"), value: Some(1.0), ..Metric::default() };
    Metrics { metrics: (0..count).map(metric).collect(), first_sequence }.encode_length_delimited_to_vec()
}

#[tokio::test]
async fn messages_come_with_their_lengths() {
    let service = Service::new();
    let mut bytes = [message(0, 2), message(3, 1), message(10, 150)].concat();
    let (_, mut lines) = post(&service, "", "application/x-protobuf", Body::from(bytes.clone())).await;
    assert_eq!(lines.next().await, Some(json!({"stream": null, "position": 0})));
    let mut stored = 0;
    while let Some(ack) = lines.next().await {
        stored += ack["stored"].as_u64().unwrap();
    }
    assert_eq!(stored, 153);
    bytes.truncate(bytes.len() - 1);
    let (_, mut lines) = post(&service, "", "application/x-protobuf", Body::from(bytes)).await;
    let mut last = Value::Null;
    while let Some(line) = lines.next().await {
        last = line;
    }
    assert_eq!(last["error"], "the last message is cut short");
}

#[tokio::test]
async fn what_is_no_stream_is_refused() {
    let service = Service::new();
    let refused = async |query: &str, media_type: &str, status: u16, part: &str| {
        let request = Request::post(format!("{STREAM}{query}")).header("content-type", media_type);
        let problem = service.send(request.body(Body::from("[]")).unwrap()).await.problem(status);
        assert!(problem.to_string().contains(part), "{part}: {problem}");
    };
    refused("", "application/json", 415, "application/x-ndjson").await;
    refused("?stream_id=a%20b", "application/x-ndjson", 400, "stream_id").await;
    refused("?from=0", "application/x-ndjson", 400, "from").await;
    refused("?fron=1", "application/x-ndjson", 400, "fron").await;
    service.get(STREAM).await.problem(400);
    service.get(&format!("{STREAM}?match[]=%7B")).await.problem(400);
    let (_, mut lines) =
        post(&service, "", "application/x-ndjson", Body::from("x".repeat((4 << 20) + 1))).await;
    lines.next().await;
    assert!(lines.next().await.unwrap()["error"].as_str().unwrap().contains("larger than"));
    let closed = Service::with(|api| (api.ingest, api.streams) = (None, None));
    let request = Request::post(STREAM).header("content-type", "application/x-ndjson");
    closed.send(request.body(Body::empty()).unwrap()).await.problem(503);
}

#[tokio::test]
async fn a_web_socket_takes_lines_and_messages() {
    let service = Service::new();
    let address = serve(&service).await;
    let mut socket = Socket::open(&address, &format!("{STREAM}?stream_id=till-7&source_id=shop")).await;
    assert_eq!(socket.json().await, json!({"stream": "till-7", "position": 0}));
    socket.send(1, items(1..=2).as_bytes()).await;
    assert_eq!(socket.json().await["ack"], 2);
    let metric = Metric { name: "p".into(), value: Some(1.0), ..Metric::default() };
    socket.send(2, &Metrics { metrics: vec![metric], first_sequence: 7 }.to_bytes()).await;
    assert_eq!(socket.json().await["ack"], 7);
    assert_eq!(position(&service).await, 7);
    socket.send(2, b"\xff").await;
    let error = socket.json().await;
    assert_eq!(error["retry"], false, "{error}");
    assert_eq!(socket.next().await.0, 8, "closed");
    let mut socket = Socket::open(&address, &format!("{STREAM}?stream_id=till-7&source_id=shop")).await;
    assert_eq!(socket.json().await["position"], 7);
    socket.send(8, &[]).await;
}

#[tokio::test]
async fn readers_are_told_what_commits() {
    let service = Service::new();
    let address = serve(&service).await;
    let path = format!("{STREAM}?match[]=%7Bi%3D~%221%7C2%22%7D");
    let request = Request::get(&path).body(Body::empty()).unwrap();
    let response = service.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut events = response.into_body().into_data_stream();
    let mut socket = Socket::open(&address, &path).await;
    // A push of another kind.
    let body = json!([
        {"name": "n", "labels": {"i": "1"}, "value": 1.5, "metric_type": "GAUGE"},
        {"name": "n", "labels": {"i": "9"}, "value": 9},
    ]);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(service.call("POST", "/api/v1/metrics/custom", &body).await.status, 200);
    let told = socket.json().await;
    assert_eq!(told["samples"].as_array().unwrap().len(), 1);
    let sample = &told["samples"][0];
    assert_eq!(
        (&sample["name"], &sample["value"], &sample["labels"]),
        (&json!("n"), &json!(1.5), &json!({"i": "1"}))
    );
    let mut text = String::new();
    while !text.contains("\n\ndata") && !text.contains("event: samples\ndata: [") {
        let chunk = tokio::time::timeout(Duration::from_secs(10), events.next()).await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
    }
    assert!(text.contains(r#""name":"n","metric_type":"GAUGE","value":1.5"#), "{text}");
    service.shutdown.cancel();
    while tokio::time::timeout(Duration::from_secs(10), events.next()).await.unwrap().is_some() {}
}

#[tokio::test]
async fn a_slow_reader_is_told_how_much_it_missed() {
    let service = Service::new();
    let request = Request::get(format!("{STREAM}?match[]=n")).body(Body::empty()).unwrap();
    let response = service.router.clone().oneshot(request).await.unwrap();
    let mut events = response.into_body().into_data_stream();
    let pushes = 1_100;
    for number in 0..pushes {
        let body = json!([{"name": "n", "value": number}]);
        assert_eq!(service.call("POST", "/api/v1/metrics/custom", &body).await.status, 200);
    }
    let (mut seen, mut dropped) = (0, 0);
    let mut text = String::new();
    while seen + dropped < pushes {
        let chunk = match tokio::time::timeout(Duration::from_millis(300), events.next()).await {
            Ok(chunk) => chunk.unwrap().unwrap(),
            Err(_) => break,
        };
        text = String::from_utf8(chunk.to_vec()).unwrap();
        seen += text.matches("event: samples").count() as u64;
        if let Some((_, rest)) = text.split_once("data: {\"samples\":") {
            dropped += rest.split('}').next().unwrap().parse::<u64>().unwrap();
        }
    }
    assert_eq!(seen + dropped, pushes, "{text}");
    assert!(dropped > 0 && seen >= 1_000, "{seen} {dropped}");
}
