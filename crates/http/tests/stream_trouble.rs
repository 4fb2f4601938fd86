//! Streams whose clients do not do their part, whose tokens end, and which pages of others open.

mod common;

use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::Request;
use common::stream::{Lines, STREAM, Socket, items, open_body, post, serve};
use common::{Service, guarded, token};
use futures::{SinkExt, StreamExt};
use metricsd_ports::{Quota, Right, TokenCatalog};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use tower::ServiceExt;

const LINES: &str = "application/x-ndjson";

/// Opens a stream as who has this token.
async fn open(service: &Service, auth: &str, query: &str, body: Body) -> (u16, Lines) {
    let request =
        Request::post(format!("{STREAM}{query}")).header("content-type", LINES).header("authorization", auth);
    let response = service.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
    (response.status().as_u16(), Lines(response.into_body().into_data_stream(), Vec::new()))
}

#[tokio::test]
async fn at_a_shutdown_clients_are_told_to_come_back() {
    let service = Service::new();
    let address = serve(&service).await;
    let (mut body, rest) = open_body();
    let (_, mut lines) = post(&service, "?stream_id=a", LINES, rest).await;
    lines.next().await;
    body.send(Ok(Bytes::from(items(1..=2)))).await.unwrap();
    assert_eq!(lines.next().await.unwrap()["ack"], 2);
    let mut socket = Socket::open(&address, &format!("{STREAM}?stream_id=b")).await;
    socket.json().await;
    service.shutdown.cancel();
    let told = json!({"error": "metricsd is shutting down", "retry": true});
    assert_eq!(lines.next().await, Some(told.clone()));
    assert_eq!(socket.json().await, told);
    let (kind, code) = socket.next().await;
    assert_eq!((kind, &code[..2]), (8, &1_013u16.to_be_bytes()[..]), "come again");
}

#[tokio::test]
async fn pages_of_other_origins_open_no_web_socket() {
    let service = Service::with(|api| {
        api.settings.prometheus.cors.origins = vec!["https://board.example".to_owned()];
    });
    let address = serve(&service).await;
    for path in [format!("{STREAM}?match[]=n"), format!("{STREAM}?stream_id=x")] {
        let ask = async |origin: &str| Socket::ask(&address, &path, &format!("Origin: {origin}\r\n")).await.1;
        for origin in ["https://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1:1", "x"] {
            let head = ask(origin).await;
            assert!(head.starts_with("HTTP/1.1 403"), "{origin}: {head}");
        }
        for origin in [&format!("http://{address}"), "https://board.example"] {
            let head = ask(origin).await;
            assert!(head.starts_with("HTTP/1.1 101"), "{origin}: {head}");
        }
    }
}

#[tokio::test]
async fn streams_count_against_the_quota_of_bytes() {
    let (service, access) = guarded();
    let address = serve(&service).await;
    // Ten seconds' worth may come at once.
    let quota = Quota { body_bytes_per_second: Some(200), ..Quota::default() };
    let first = items(1..=50);
    assert!((2_000..2_400).contains(&first.len()), "{}", first.len());
    let began = Instant::now();
    let auth = token(&service, &access, &[Right::Push], quota).await.1;
    let (mut body, rest) = open_body();
    let (status, mut lines) = open(&service, &auth, "", rest).await;
    assert_eq!(status, 200);
    lines.next().await;
    body.send(Ok(Bytes::from(first.clone()))).await.unwrap();
    body.send(Ok(Bytes::from(items(51..=52)))).await.unwrap();
    while lines.next().await.unwrap()["ack"] != 52 {}
    assert!(began.elapsed() > Duration::from_millis(300), "{:?}", began.elapsed());

    let auth = token(&service, &access, &[Right::Push], quota).await.1;
    let (mut socket, head) = Socket::ask(&address, STREAM, &format!("Authorization: {auth}\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let began = Instant::now();
    socket.json().await;
    socket.send(1, first.as_bytes()).await;
    socket.send(1, items(51..=52).as_bytes()).await;
    while socket.json().await["ack"] != 52 {}
    assert!(began.elapsed() > Duration::from_millis(300), "{:?}", began.elapsed());
}

#[tokio::test]
async fn streams_end_with_the_tokens_that_opened_them() {
    let (service, access) = guarded();
    let address = serve(&service).await;
    let (id, auth) = token(&service, &access, &[Right::Push, Right::Read], Quota::default()).await;
    let header = format!("Authorization: {auth}\r\n");
    let (_body, rest) = open_body();
    let (_, mut lines) = open(&service, &auth, "?stream_id=a", rest).await;
    lines.next().await;
    let mut pusher = Socket::ask(&address, &format!("{STREAM}?stream_id=b"), &header).await.0;
    pusher.json().await;
    let mut reader = Socket::ask(&address, &format!("{STREAM}?match[]=n"), &header).await.0;
    let events = async |path: &str| {
        let request = Request::get(path).header("authorization", &auth).body(Body::empty()).unwrap();
        let response = service.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        response.into_body().into_data_stream()
    };
    let mut readers = [events(&format!("{STREAM}?match[]=n")).await, events("/api/v1/metrics/events").await];
    service.store.revoke_token(id, 1).await.unwrap();
    access.refresh().await.unwrap();

    let told = json!({"error": "the token \"t\" was revoked", "retry": false});
    assert_eq!(lines.next().await, Some(told.clone()));
    assert_eq!(pusher.json().await, told);
    let mut rest = Vec::new();
    timeout(Duration::from_secs(10), reader.0.read_to_end(&mut rest)).await.expect("it is closed").unwrap();
    for events in &mut readers {
        while timeout(Duration::from_secs(10), events.next()).await.expect("it ends").is_some() {}
    }
}
