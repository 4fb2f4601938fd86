//! What Prometheus' API shows of the service itself, federation, compression, and questions from other origins.

mod common;

use std::io::Read;
use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::Request;
use common::{Answer, Service, request, request_with};
use metricsd_http::{Check, CorsOrigins, Dependency};
use metricsd_model::matcher::anchored_regex;
use metricsd_model::{Health, HealthStatus};
use metricsd_ports::{Catalog, ErrorKind, PortError};
use serde_json::{Value, json};

async fn data(service: &Service, uri: &str) -> Value {
    let answer = service.get(uri).await;
    assert_eq!(answer.status, 200, "{uri}: {}", answer.text());
    let mut body = answer.json();
    assert_eq!(body["status"], "success");
    body["data"].take()
}

/// Checks the type and the message of an error.
fn refused(answer: &Answer, status: u16, kind: &str, message: &str) {
    let body = answer.json();
    assert_eq!((answer.status.as_u16(), &body["errorType"]), (status, &json!(kind)), "{body}");
    assert_eq!(body["error"], message);
}

#[tokio::test]
async fn targets_are_shown_as_prometheus_shows_its_own() {
    let service = Service::new();
    service.create(&request()).await;
    let mut off = request_with("/enabled", json!(false));
    off["target_id"] = json!("off");
    off["source_id"] = json!("other");
    off["labels"] = json!({"env": "test"});
    service.create(&off).await;
    let at = 1_435_781_451_781;
    let health = Health {
        status: HealthStatus::Unhealthy,
        error: Some("no answer".into()),
        last_scrape: Some(at),
        scrape_duration_ms: 50.5,
        ..Health::default()
    };
    service.store.record_health(&[("node-1".to_owned(), health)]).await.unwrap();
    let all = data(&service, "/api/v1/targets").await;
    let discovered = json!({
        "__address__": "127.0.0.1:9100", "__metrics_path__": "/metrics", "__scheme__": "http",
        "__scrape_interval__": "15s", "__scrape_timeout__": "10s", "job": "node"
    });
    let active = json!([{
        "discoveredLabels": discovered, "labels": {"instance": "127.0.0.1:9100", "job": "node"},
        "scrapePool": "node", "scrapeUrl": "http://127.0.0.1:9100/metrics",
        "globalUrl": "http://127.0.0.1:9100/metrics", "lastError": "no answer",
        "lastScrape": "2015-07-01T20:10:51.781Z", "lastScrapeDuration": 0.0505, "health": "down",
        "scrapeInterval": "15s", "scrapeTimeout": "10s"
    }]);
    assert_eq!(all["activeTargets"], active);
    assert_eq!(all["droppedTargets"][0]["discoveredLabels"]["env"], "test");
    assert_eq!(all["droppedTargetCounts"], json!({"node": 0, "other": 1}));
    let count = async |query: &str| {
        let targets = data(&service, &format!("/api/v1/targets?{query}")).await;
        let count = |name: &str| targets[name].as_array().unwrap().len();
        (count("activeTargets"), count("droppedTargets"))
    };
    assert_eq!(count("state=active").await, (1, 0));
    assert_eq!(count("state=dropped").await, (0, 1));
    assert_eq!(count("state=any").await, (1, 1));
    assert_eq!(count("scrapePool=node").await, (1, 0));
    assert_eq!(count("scrapePool=none").await, (0, 0));
    let pools = data(&service, "/api/v1/scrape_pools").await;
    assert_eq!(pools, json!({"scrapePools": ["node", "other"]}));
    refused(
        &service.get("/api/v1/targets/metadata?match_target=%7B").await,
        400,
        "bad_data",
        "invalid parameter \"match_target\": 1:2: parse error: unexpected end of input inside braces",
    );
    assert_eq!(data(&service, "/api/v1/targets/metadata").await, json!([]));
}

#[tokio::test]
async fn there_are_no_rules_and_the_shape_says_so() {
    let service = Service::new();
    assert_eq!(data(&service, "/api/v1/rules?type=alert").await, json!({"groups": []}));
    assert_eq!(data(&service, "/api/v1/alerts").await, json!({"alerts": []}));
    let expected = json!({"activeAlertmanagers": [], "droppedAlertmanagers": []});
    assert_eq!(data(&service, "/api/v1/alertmanagers").await, expected);
    let wrong = service.get("/api/v1/rules?type=x").await;
    refused(&wrong, 400, "bad_data", "invalid parameter \"type\": not supported value \"x\"");
}

#[tokio::test]
async fn the_status_pages_show_what_they_are_given() {
    let service = Service::with(|api| {
        let settings = &mut api.settings.prometheus;
        settings.config_yaml = "listen: x\n".into();
        settings.flags = [("promql.timeout".to_owned(), "2m".to_owned())].into();
        settings.retention = "15d".into();
    });
    let build = data(&service, "/api/v1/status/buildinfo").await;
    assert!(build["version"].as_str().unwrap().starts_with("3."), "{build}");
    assert!(build["application"].is_null());
    for field in ["revision", "branch", "buildUser", "buildDate", "goVersion"] {
        assert!(build[field].is_string(), "{field}");
    }
    assert_eq!(data(&service, "/api/v1/status/config").await, json!({"yaml": "listen: x\n"}));
    assert_eq!(data(&service, "/api/v1/status/flags").await, json!({"promql.timeout": "2m"}));
    let runtime = data(&service, "/api/v1/status/runtimeinfo").await;
    assert_eq!(runtime["storageRetention"], "15d");
    for field in ["startTime", "serverTime", "lastConfigTime"] {
        assert!(runtime[field].as_str().unwrap().ends_with('Z'), "{field}");
    }
    assert!(runtime["GOMAXPROCS"].as_u64().unwrap() > 0);
    for limit in ["0", "-1", "x"] {
        let answer = service.get(&format!("/api/v1/status/tsdb?limit={limit}")).await;
        refused(&answer, 400, "bad_data", "limit must be a positive number");
    }
    let answer = service.get("/api/v1/status/tsdb?limit=10001").await;
    refused(&answer, 400, "bad_data", "limit must not exceed 10000");
}

struct Down;

#[async_trait]
impl Check for Down {
    async fn check(&self) -> Result<(), PortError> {
        Err(PortError::new(ErrorKind::Unavailable, "down"))
    }
}

#[tokio::test]
async fn health_is_also_where_prometheus_has_it() {
    let service = Service::new();
    for uri in ["/-/healthy", "/-/ready"] {
        assert_eq!(service.get(uri).await.status, 200, "{uri}");
    }
    let service = Service::with(|api| api.dependencies.push(Dependency::new("x", true, Arc::new(Down))));
    assert_eq!(service.get("/-/healthy").await.status, 200);
    assert_eq!(service.get("/-/ready").await.status, 503);
}

#[tokio::test]
async fn the_newest_samples_are_a_page() {
    let service = Service::new();
    let now = chrono::Utc::now().timestamp_millis();
    let body = json!([
        {"name": "b", "value": 2.5, "labels": {"job": "y"}, "timestamp": now - 5_000},
        {"name": "b", "value": 1, "labels": {"job": "x"}, "timestamp": now - 20_000},
        {"name": "b", "value": 2, "labels": {"job": "x"}, "timestamp": now - 10_000},
        {"name": "a", "value": "NaN", "labels": {"instance": "i"}, "timestamp": now - 10_000},
        {"name": "old", "value": 1, "timestamp": now - 400_000},
        {"name": "c", "value": 3, "timestamp": now - 10_000}
    ]);
    assert_eq!(service.call("POST", "/api/v1/metrics/custom", &body).await.json()["accepted"], 6);
    let uri = "/federate?match[]=b&match[]=%7B__name__%3D~%22a%7Cb%7Cold%22%7D";
    let answer = service.get(uri).await;
    assert_eq!(
        answer.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
    );
    let lines: Vec<&str> = answer.text().lines().collect();
    let at = |age: i64| now - age;
    let expected = [
        "# TYPE a untyped".to_owned(),
        format!("a{{instance=\"i\"}} NaN {}", at(10_000)),
        "# TYPE b untyped".to_owned(),
        format!("b{{job=\"x\",instance=\"\"}} 2 {}", at(10_000)),
        format!("b{{job=\"y\",instance=\"\"}} 2.5 {}", at(5_000)),
    ];
    // A push without a source has none of the labels that scrapes add, but it may have a job.
    assert_eq!(lines, expected);
    assert_eq!(service.get("/federate").await.text(), "");
    refused(
        &service.get("/federate?match[]=%7B%7D").await,
        400,
        "bad_data",
        "invalid parameter \"match[]\": match[] must contain at least one non-empty matcher",
    );
}

#[tokio::test]
async fn large_answers_are_compressed_for_those_who_accept_it() {
    let service = Service::with(|api| api.settings.prometheus.config_yaml = "x: y\n".repeat(100_000));
    let ask = async |uri: &str, encoding: &str| {
        service.send(Request::get(uri).header("accept-encoding", encoding).body(Body::empty()).unwrap()).await
    };
    let plain = ask("/api/v1/status/config", "identity").await;
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), ("", "Accept-Encoding"));
    let packed = ask("/api/v1/status/config", "deflate, gzip").await;
    assert_eq!((packed.header("content-encoding"), packed.header("content-length")), ("gzip", ""));
    assert!(packed.body.len() * 20 < plain.body.len());
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(packed.body.as_ref()).read_to_end(&mut unpacked).unwrap();
    assert!(unpacked == plain.body);
    let small = ask("/api/v1/alerts", "gzip").await;
    assert_eq!((small.header("content-encoding"), small.status.as_u16()), ("", 200));
}

#[tokio::test]
async fn pages_of_other_origins_may_ask_where_configured() {
    let ask = async |service: &Service, method: &str, uri: &str, origin: &str| {
        let request = Request::builder().method(method).uri(uri).header("origin", origin);
        service.send(request.body(Body::empty()).unwrap()).await
    };
    let closed = Service::new();
    let answer = ask(&closed, "GET", "/api/v1/alerts", "https://grafana.example").await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
    let open = Service::with(|api| {
        api.settings.prometheus.cors = CorsOrigins {
            origins: vec!["http://127.0.0.1:3000".into()],
            pattern: Some(anchored_regex("https://.+[.]example").unwrap()),
        };
    });
    for method in ["GET", "OPTIONS"] {
        for (origin, allowed) in [
            ("http://127.0.0.1:3000", true),
            ("https://grafana.example", true),
            ("https://grafana.example.org", false),
            ("null", false),
        ] {
            let answer = ask(&open, method, "/api/v1/alerts", origin).await;
            assert_eq!(answer.status, if method == "GET" { 200 } else { 204 });
            assert_eq!(
                answer.header("access-control-allow-origin"),
                if allowed { origin } else { "" },
                "{method} {origin}"
            );
            if allowed {
                assert_eq!(answer.header("access-control-allow-methods"), "GET, POST, OPTIONS");
                assert_eq!(
                    answer.header("access-control-allow-headers"),
                    "Accept, Authorization, Content-Type, Origin"
                );
                assert_eq!(answer.header("access-control-expose-headers"), "Date");
                assert!(answer.headers.get_all("vary").iter().any(|vary| vary == "Origin"));
            }
        }
    }
    // Errors can be read too; the routes that change things cannot be asked from elsewhere.
    let wrong = ask(&open, "GET", "/api/v1/series", "https://grafana.example").await;
    assert_eq!(
        (wrong.status.as_u16(), wrong.header("access-control-allow-origin")),
        (400, "https://grafana.example")
    );
    let own = ask(&open, "GET", "/api/v1/metrics/targets", "https://grafana.example").await;
    assert_eq!(own.header("access-control-allow-origin"), "");
}
