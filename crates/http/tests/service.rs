//! The service itself: roles, health, own metrics, and what has no route.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::Request;
use common::{Service, request};
use metricsd_http::{Check, Dependency, Roles};
use metricsd_ports::{ErrorKind, PortError};
use serde_json::{Value, json};

#[tokio::test]
async fn the_documented_methods_are_the_routed_ones() {
    let service = Service::new();
    let document = service.get("/api/v1/openapi.json").await.json();
    for (path, item) in document["paths"].as_object().unwrap() {
        let documented: BTreeSet<String> = item
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| *key != "parameters")
            .map(|method| method.to_uppercase())
            .collect();
        let uri = path.replace("{target_id}", "x").replace("{name}", "x").replace("{token_id}", "x");
        let uri = uri.replace("{job_id}", "x").replace("{upload_id}", "x");
        let answer =
            service.send(Request::builder().method("TRACE").uri(uri).body(Body::empty()).unwrap()).await;
        answer.problem(405);
        let allowed: BTreeSet<String> =
            answer.header("allow").split(',').filter(|method| *method != "HEAD").map(str::to_owned).collect();
        assert_eq!(allowed, documented, "{path}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_document() {
    let service = Service::new();
    let problem = service.get("/api/v2/none").await.problem(404);
    assert_eq!(
        (&problem["type"], &problem["instance"]),
        (&json!("urn:metricsd:problem:not-found"), &json!("/api/v2/none"))
    );
}

#[tokio::test]
async fn a_process_has_the_routes_of_its_roles() {
    let check = async |roles: Roles, custom: u16, targets: u16| {
        let service = Service::with(|api| api.roles = roles);
        assert_eq!(service.call("POST", "/api/v1/metrics/custom", &json!([])).await.status, custom);
        assert_eq!(service.get("/api/v1/metrics/targets").await.status, targets);
        for uri in ["/", "/metrics", "/healthz", "/readyz"] {
            assert_eq!(service.get(uri).await.status, 200, "{uri}");
        }
    };
    check(Roles { api: true, ingest: false }, 200, 200).await;
    check(Roles { api: false, ingest: true }, 200, 404).await;
    check(Roles { api: false, ingest: false }, 404, 404).await;
}

#[tokio::test]
async fn the_home_page_lists_the_routes() {
    let service = Service::with(|api| api.settings.public_address = "host:1".into());
    let answer = service.get("/").await;
    let text = answer.text();
    for expected in ["metricsd 0.", "/api/v1/openapi.json", "curl -sS http://host:1/api/v1/metrics/targets"] {
        assert!(text.contains(expected), "{text}");
    }
}

struct Down(ErrorKind);

#[async_trait]
impl Check for Down {
    async fn check(&self) -> Result<(), PortError> {
        Err(PortError::new(self.0, "secret-host refused"))
    }
}

struct Hanging;

#[async_trait]
impl Check for Hanging {
    async fn check(&self) -> Result<(), PortError> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn readiness_depends_on_what_is_critical() {
    let check = async |dependency: Option<Dependency>, status: u16, word: &str, error: Option<&str>| {
        let service = Service::with(|api| api.dependencies.extend(dependency));
        let answer = service.get("/readyz").await;
        assert_eq!(answer.status, status);
        assert!(!answer.text().contains("secret-host"));
        let ready = answer.json();
        assert_eq!(ready["status"], word);
        let last = ready["dependencies"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(last.get("error").and_then(Value::as_str), error);
    };
    let down = |critical, kind| Some(Dependency::new("x", critical, Arc::new(Down(kind))));
    check(None, 200, "ready", None).await;
    check(down(false, ErrorKind::Unavailable), 200, "degraded", Some("cannot be reached")).await;
    check(down(true, ErrorKind::Timeout), 503, "unavailable", Some("does not answer in time")).await;
    check(
        down(true, ErrorKind::Internal),
        503,
        "unavailable",
        Some("answers with an error; the log says more"),
    )
    .await;
    let hanging = Some(Dependency::new("x", true, Arc::new(Hanging)));
    check(hanging, 503, "unavailable", Some("does not answer in time")).await;
    let service = Service::new();
    service.shutdown.cancel();
    let answer = service.get("/readyz").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["status"]), (503, &json!("draining")));
    assert_eq!(service.get("/healthz").await.json()["status"], "ok");
}

#[tokio::test]
async fn requests_are_counted_by_route_and_never_by_address() {
    let service = Service::new();
    service.create(&request()).await;
    service.get("/api/v1/metrics/targets/node-1").await;
    service.get("/secret-address").await;
    let answer = service.get("/metrics").await;
    assert_eq!(answer.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = answer.text();
    for expected in [
        r#"metricsd_http_requests_total{route="/api/v1/metrics/targets",method="POST",status="201"} 1"#,
        r#"metricsd_http_requests_total{route="/api/v1/metrics/targets/{target_id}",method="GET",status="200"} 1"#,
        r#"metricsd_http_requests_total{route="unmatched",method="GET",status="404"} 1"#,
        "metricsd_http_request_duration_seconds_bucket",
        "# EOF",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!text.contains("secret-address"));
}

#[tokio::test]
async fn too_many_requests_at_once_are_turned_away() {
    let service = Service::with(|api| api.settings.max_concurrent_requests = 0);
    let answer = service.get("/api/v1/metrics/targets").await;
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.problem(503)["type"], "urn:metricsd:problem:overloaded");
    for uri in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(service.get(uri).await.status, 200, "{uri}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_comes_is_given_up() {
    let service = Service::with(|api| api.settings.request_timeout = Duration::from_secs(1));
    let never = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let post = Request::post("/api/v1/metrics/custom").header("content-type", "application/json");
    let problem = service.send(post.body(never).unwrap()).await.problem(408);
    assert_eq!(
        (&problem["type"], &problem["detail"]),
        (&json!("urn:metricsd:problem:timeout"), &json!("the body did not arrive within 750ms"))
    );
}
