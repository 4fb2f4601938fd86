//! Files that are uploaded and exported, through the routes of a service in memory.

mod common;

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::Request;
use common::{Answer, Service};
use futures::StreamExt;
use metricsd_ingest::Limits;
use metricsd_ports::{WorkFilter, WorkQueue};
use serde_json::{Value, json};
use tower::ServiceExt;

const UPLOAD: &str = "/api/v1/metrics/upload";

async fn send(service: &Service, method: &str, uri: &str, body: impl Into<Body>) -> Answer {
    let request = Request::builder().method(method).uri(uri).header("content-type", "text/csv");
    service.send(request.body(body.into()).unwrap()).await
}

async fn post(service: &Service, query: &str, body: impl Into<Body>) -> Answer {
    send(service, "POST", &format!("{UPLOAD}?{query}"), body).await
}

/// How many uploads the table of work knows.
async fn known(service: &Service) -> usize {
    service.store.list_work(&WorkFilter::default(), 10_000).await.unwrap().len()
}

/// A body of which nothing ever comes.
fn silent() -> Body {
    Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>())
}

#[tokio::test]
async fn what_is_refused_leaves_nothing_behind() {
    let service = Service::new();
    assert_eq!(post(&service, "", "").await.status, 400);
    let sized = |size: &str, body: &'static str| {
        let request = Request::post(UPLOAD).header("content-type", "text/csv").header("content-length", size);
        request.body(Body::from(body)).unwrap()
    };
    assert_eq!(service.send(sized("0", "")).await.status, 400);
    assert_eq!(known(&service).await, 1, "an empty body without a length is seen late");
    let large = service.send(sized("5000000", "x")).await;
    assert_eq!((large.status.as_u16(), &large.headers["connection"]), (413, &"close".parse().unwrap()));
    assert_eq!(known(&service).await, 1);

    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let router = service.router.clone();
            let request = Request::post(UPLOAD).header("content-type", "text/csv").body(silent()).unwrap();
            tokio::spawn(router.oneshot(request))
        })
        .collect();
    while known(&service).await < 5 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let busy = post(&service, "", "metric_name,value\na,1\n").await;
    assert_eq!(busy.header("retry-after"), "2");
    assert!(busy.problem(503)["detail"].as_str().unwrap().contains("at once"));
    assert_eq!(known(&service).await, 5);
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    for waiting in waiting {
        assert!(waiting.await.is_err());
    }
    assert_eq!(post(&service, "", "metric_name,value\na,1\n").await.status, 202);
}

#[tokio::test]
async fn files_that_wait_hold_only_so_much() {
    let service = Service::new();
    let megabytes = |count: usize| "x".repeat(count << 20);
    assert_eq!(post(&service, "", megabytes(4)).await.status, 202);
    let full = post(&service, "", megabytes(3)).await;
    assert_eq!(full.header("retry-after"), "60");
    assert!(full.problem(503)["detail"].as_str().unwrap().contains("upload.max_spool_bytes"));
    // What was refused is gone, so that there is room for what fits.
    let fits = async || post(&service, "", megabytes(2)).await.status == 202;
    for _ in 0..1_000 {
        if fits().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the bytes of the refused file are still there");
}

#[tokio::test]
async fn only_so_many_uploads_are_begun() {
    let service = Service::new();
    for number in 0..1_000 {
        assert_eq!(post(&service, "resumable=true", "").await.status, 201, "{number}");
    }
    let refused = post(&service, "resumable=true", "").await;
    assert_eq!(refused.header("retry-after"), "60");
    assert!(refused.problem(503)["detail"].as_str().unwrap().contains("1000 uploads"));
    assert_eq!(post(&service, "", "metric_name,value\na,1\n").await.status, 503);
    assert_eq!(known(&service).await, 1_000);
}

#[tokio::test(start_paused = true)]
async fn who_sends_a_byte_now_and_then_keeps_no_place() {
    let service = Service::new();
    let begun = post(&service, "resumable=true", "").await.json();
    let slow = futures::stream::unfold(0, |sent| async move {
        tokio::time::sleep(Duration::from_secs(if sent == 0 { 0 } else { 29 })).await;
        Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), sent + 1))
    });
    let before = tokio::time::Instant::now();
    let uri = format!("{UPLOAD}/{}?offset=0", begun["upload_id"].as_str().unwrap());
    let answer = send(&service, "PUT", &uri, Body::from_stream(slow)).await.problem(408);
    assert!(answer["detail"].as_str().unwrap().contains("3 bytes of the file are there"), "{answer}");
    assert_eq!(before.elapsed().as_secs(), 60);
    // Who sends a megabyte a minute goes on for as long as it takes.
    let steady = futures::stream::iter(0..3).then(|_| async {
        tokio::time::sleep(Duration::from_secs(29)).await;
        Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; (1 << 20) + 1]))
    });
    let uri = format!("{UPLOAD}/{}?offset=3", begun["upload_id"].as_str().unwrap());
    assert_eq!(send(&service, "PUT", &uri, Body::from_stream(steady)).await.status, 200);
}

#[tokio::test]
async fn an_upload_is_found_again_by_its_hash_and_checked_against_it() {
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let service = Service::new();
    let begin = async || post(&service, &format!("resumable=true&sha256={EMPTY}"), "").await;
    let begun = begin().await;
    assert_eq!(begun.status, 201);
    let id = begun.json()["upload_id"].as_str().unwrap().to_owned();
    assert_eq!(send(&service, "PUT", &format!("{UPLOAD}/{id}?offset=0"), "metric").await.status, 200);
    let again = begin().await;
    assert_eq!((again.status.as_u16(), again.header("upload-offset")), (200, "6"));
    assert_eq!((&again.json()["upload_id"], &again.json()["received"]), (&json!(id), &json!(6)));
    let uri = format!("{UPLOAD}/{id}?offset=6&complete=true");
    let refused = send(&service, "PUT", &uri, "_name,value\n").await.problem(400);
    assert!(refused["detail"].as_str().unwrap().contains("sha256"), "{refused}");
    assert_eq!(service.get(&format!("{UPLOAD}/{id}")).await.json()["state"], "cancelled");
    // It can be begun anew.
    assert_eq!(begin().await.status, 201);
}

fn item(name: &str, labels: &Value, metric_type: &str) -> Value {
    json!({"name": name, "labels": labels, "metric_type": metric_type, "value": 1, "timestamp": "2025-06-21T10:00:00Z"})
}

async fn push(service: &Service, items: &[Value]) {
    let answer = service.call("POST", "/api/v1/metrics/custom", &json!(items)).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["rejected"]), (200, &json!(0)), "{}", answer.text());
}

fn history() -> Service {
    let limits = Limits { max_sample_age: metricsd_model::PromDuration::from_secs(0), ..Limits::default() };
    Service::with_limits(limits)
}

#[tokio::test]
async fn selectors_share_families_and_series() {
    let service = history();
    push(
        &service,
        &[
            item("up", &json!({"job": "a"}), "GAUGE"),
            item("up", &json!({"job": "b"}), "GAUGE"),
            item("up", &json!({"job": "b", "kind": "odd"}), "COUNTER"),
            item("seen_total", &json!({"job": "a"}), "COUNTER"),
            item("seen_total", &json!({"job": "b"}), "COUNTER"),
        ],
    )
    .await;
    let uri = "/api/v1/metrics/export?match[]={job=\"a\"}&match[]={job=\"b\"}&match[]=up&start=0&format=openmetrics";
    let answer = service.get(&uri.replace('"', "%22").replace('{', "%7B").replace('}', "%7D")).await;
    assert_eq!(answer.header("x-left-out"), "native histograms, staleness markers");
    let expected = "\
seen_total{job=\"a\"} 1.0 1750500000.000
seen_total{job=\"b\"} 1.0 1750500000.000
up{job=\"a\"} 1.0 1750500000.000
up{job=\"b\"} 1.0 1750500000.000
up{job=\"b\",kind=\"odd\"} 1.0 1750500000.000
";
    let sorted = |text: &str| {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let mut lines: Vec<String> = samples.map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(answer.text()), sorted(expected));
    // Senders differ on the type of `up`; it is declared once, by whichever series comes first.
    let declared: Vec<&str> = answer.text().lines().filter(|line| line.starts_with('#')).collect();
    assert_eq!((declared.len(), declared[0], declared[2]), (3, "# TYPE seen counter", "# EOF"));
    assert!(declared[1].starts_with("# TYPE up "), "{declared:?}");
    assert_eq!(answer.text().lines().nth(3), Some(declared[1]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_of_too_many_series_breaks_off() {
    let limits = Limits {
        max_sample_age: metricsd_model::PromDuration::from_secs(0),
        max_query_series: 2,
        ..Limits::default()
    };
    let service = Service::with_limits(limits);
    let of = |job: &str| item("up", &json!({"job": job}), "GAUGE");
    push(&service, &[of("a"), of("b"), of("c")]).await;
    let export = async |selector: &str| {
        let request = Request::get(format!("/api/v1/metrics/export?start=0&match[]={selector}"));
        let response = service.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        to_bytes(response.into_body(), 1 << 20).await
    };
    assert!(export("up").await.is_err());
    assert_eq!(
        export("up%7Bjob!=%22c%22%7D").await.unwrap().iter().filter(|byte| **byte == b'\n').count(),
        2
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_four_exports_are_at_work() {
    let service = history();
    let long = "x".repeat(1_000);
    let items: Vec<Value> =
        (0..3_000).map(|at| item("up", &json!({"at": at.to_string(), "long": long}), "GAUGE")).collect();
    for items in items.chunks(300) {
        push(&service, items).await;
    }
    let export = async || {
        let request = Request::get("/api/v1/metrics/export?start=0&match[]=up").body(Body::empty()).unwrap();
        service.router.clone().oneshot(request).await.unwrap()
    };
    let mut open = Vec::new();
    for _ in 0..4 {
        let response = export().await;
        assert_eq!(response.status(), 200);
        open.push(response);
    }
    let refused = export().await;
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &"5".parse().unwrap()));
    let whole = to_bytes(open.pop().unwrap().into_body(), 64 << 20).await.unwrap();
    assert_eq!(whole.iter().filter(|byte| **byte == b'\n').count(), 3_000);
    drop(open);
    for _ in 0..1_000 {
        if export().await.status() == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("clients that went away keep their places");
}
