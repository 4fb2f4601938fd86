//! Senders that dribble, and quotas of bytes whose number nobody knows beforehand.

mod common;

use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::Request;
use common::{Answer, Service, guarded, token};
use futures::StreamExt;
use futures::stream;
use metricsd_ports::{Quota, Right};
use serde_json::json;

const CUSTOM: &str = "/api/v1/metrics/custom";

/// A body that begins with so many bytes and goes on with one now and then.
fn dribble(head: usize) -> Body {
    let head = stream::iter([Bytes::from(vec![b' '; head])]);
    let rest = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        Some((Bytes::from_static(b" "), ()))
    });
    Body::from_stream(head.chain(rest).map(Ok::<_, std::io::Error>))
}

async fn push(service: &Service, uri: &str, body: Body) -> Answer {
    let request = Request::post(uri).header("content-type", "application/json");
    service.send(request.body(body).unwrap()).await
}

/// How long a small and a large push take while forty senders dribble in all ways that there are.
async fn beside(head: usize, routes: &[&str]) -> Duration {
    let service = Service::new();
    for number in 0..40 {
        let (router, uri) = (service.router.clone(), routes[number % routes.len()].to_owned());
        tokio::spawn(async move {
            let request = Request::post(uri).header("content-type", "application/x-protobuf");
            tower::ServiceExt::oneshot(router, request.body(dribble(head)).unwrap()).await
        });
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let began = Instant::now();
    let item = json!([{"name": "n", "value": 1}]).to_string();
    assert_eq!(push(&service, CUSTOM, Body::from(item)).await.status, 200);
    began.elapsed()
}

#[tokio::test]
async fn senders_that_dribble_hold_up_nobody() {
    let routes = [CUSTOM, "/v1/metrics", "/api/v1/write"];
    for head in [1, 100 << 10] {
        let took = beside(head, &routes).await;
        assert!(took < Duration::from_secs(2), "{head}: {took:?}");
    }
}

#[tokio::test]
async fn questions_that_dribble_hold_up_nobody() {
    let service = Service::new();
    let ask = |body: Body| {
        let request = Request::post("/api/v1/read").header("content-encoding", "snappy");
        let request = request.header("content-type", "application/x-protobuf").body(body).unwrap();
        tower::ServiceExt::oneshot(service.router.clone(), request)
    };
    for _ in 0..40 {
        tokio::spawn(ask(dribble(1)));
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    // A block of nothing asks for nothing.
    let answer = tokio::time::timeout(Duration::from_secs(2), ask(Body::from(vec![0]))).await;
    assert_eq!(answer.expect("a slot").unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_large_body_has_to_come_at_a_pace() {
    let service = Service::new();
    let began = tokio::time::Instant::now();
    let problem = push(&service, CUSTOM, dribble(100 << 10)).await.problem(408);
    assert!(problem["detail"].as_str().unwrap().contains("too slowly"), "{problem}");
    // Ten seconds, and what has come at 16 KiB a second.
    let took = began.elapsed().as_secs_f64();
    assert!((12.0..13.0).contains(&took), "{took}");
    // A small one has more time.
    let problem = push(&service, CUSTOM, dribble(10)).await.problem(408);
    assert_eq!(problem["detail"], "the body did not arrive within 30s");
    assert_eq!(refused(&service, "too_slow").await, 2);
    // One that comes at that pace is taken.
    let line = json!([{"name": "n", "value": 1}]).to_string();
    let parts = stream::iter(std::iter::repeat_n(Bytes::from(vec![b' '; 20 << 10]), 25)).then(|part| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        part
    });
    let body = parts.chain(stream::iter([Bytes::from(line)])).map(Ok::<_, std::io::Error>);
    assert_eq!(push(&service, CUSTOM, Body::from_stream(body)).await.status, 200);
}

/// How many bodies were refused for a reason.
async fn refused(service: &Service, reason: &str) -> u64 {
    let page = service.get("/metrics").await;
    let series = format!("metricsd_http_refused_bodies_total{{reason=\"{reason}\"}} ");
    let counted = page.text().lines().find_map(|line| line.strip_prefix(&series)?.parse().ok());
    counted.unwrap_or(0)
}

#[tokio::test]
async fn bodies_that_break_off_are_counted_wherever_they_do() {
    let service = Service::new();
    for (place, (uri, head)) in [
        (CUSTOM, 10),
        (CUSTOM, 100 << 10),
        ("/api/v1/write", 10),
        ("/v1/metrics", 100 << 10),
        ("/api/v1/metrics/targets", 10),
    ]
    .into_iter()
    .enumerate()
    {
        let head = Ok(Bytes::from(vec![b' '; head]));
        let body = Body::from_stream(stream::iter([head, Err(std::io::Error::other("gone"))]));
        let kind = if uri.contains("v1/metrics/") { "application/json" } else { "application/x-protobuf" };
        let answer = service.send(Request::post(uri).header("content-type", kind).body(body).unwrap()).await;
        assert_eq!(answer.status, 400, "{uri}: {}", answer.text());
        assert!(answer.text().contains("broke off"), "{uri}: {}", answer.text());
        assert_eq!(refused(&service, "broke_off").await, place as u64 + 1, "{uri}");
    }
}

#[tokio::test]
async fn a_body_that_says_or_shows_that_it_is_too_large_is_counted_once() {
    let service = Service::with(|api| {
        let limits = metricsd_ingest::Limits { max_body_bytes: 100 << 10, ..(*api.limits).clone() };
        api.limits = limits.into();
    });
    let chunks =
        || Body::from_stream(stream::repeat(Bytes::from_static(&[b' '; 999])).map(Ok::<_, std::io::Error>));
    push(&service, CUSTOM, chunks()).await.problem(413);
    assert_eq!(refused(&service, "too_large").await, 1);
    let request = Request::post(CUSTOM).header("content-length", (100 << 10) + 1);
    service.send(request.body(chunks()).unwrap()).await.problem(413);
    assert_eq!(refused(&service, "too_large").await, 2);
    assert_eq!(push(&service, CUSTOM, Body::from(vec![b' '; 100 << 10])).await.status, 400);
    assert_eq!(refused(&service, "too_large").await, 2);
}

#[tokio::test]
async fn a_body_of_unknown_length_that_is_over_the_quota_is_refused() {
    let (service, access) = guarded();
    let quota = Quota { body_bytes_per_second: Some(100), ..Quota::default() };
    let auth = token(&service, &access, &[Right::Push], quota).await.1;
    let part = Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 1_000]));
    let body = stream::iter([part]).chain(stream::pending());
    let send = async |body: Body| {
        let request = Request::post(CUSTOM).header("content-type", "application/json");
        service.send(request.header("authorization", &auth).body(body).unwrap()).await
    };
    // What there is room for goes on.
    let waits = tokio::time::timeout(Duration::from_millis(200), send(Body::from_stream(body))).await;
    assert!(waits.is_err(), "it waits for the rest");
    let more = stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 500]))]).chain(stream::pending());
    let began = Instant::now();
    let answer = send(Body::from_stream(more)).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    // 500 bytes at 100 a second, of which some time has passed.
    assert!(["4", "5"].contains(&answer.header("retry-after")), "{}", answer.header("retry-after"));
    let problem = answer.problem(429);
    assert!(problem["detail"].as_str().unwrap().contains("body_bytes_per_second"), "{problem}");
    let page =
        service.send(Request::get("/metrics").header("authorization", &auth).body(Body::empty()).unwrap());
    assert!(!page.await.text().contains("broke_off"), "a quota is no broken body");
}
