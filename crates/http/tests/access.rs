//! Tokens: what each route needs, what each token allows, and how much.

mod common;

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use common::{Answer, Service};
use metricsd_ingest::{Access, AccessMetrics, AccessOptions, Door};
use metricsd_model::Secret;
use metricsd_ports::memory::store::MemoryStore;
use metricsd_ports::{SampleSource, TokenCatalog};
use serde_json::{Value, json};

const BOOTSTRAP: &str = "bootstrap-of-the-tests";
const TOKENS: &str = "/api/v1/metrics/tokens";
const CUSTOM: &str = "/api/v1/metrics/custom";

/// A service that listens where others reach it.
async fn guarded() -> Service {
    let store = Arc::new(MemoryStore::new());
    let options = AccessOptions { bootstrap: Some(Secret::new(BOOTSTRAP)), ..AccessOptions::default() };
    let access = Access::new(store.clone(), options, AccessMetrics::default());
    access.refresh().await.unwrap();
    Service::over(store.clone(), store, metricsd_ingest::Limits::default(), |api| {
        api.access = access;
        api.door = Door::Elsewhere;
    })
}

async fn send(service: &Service, method: &str, uri: &str, auth: &str, body: &Value) -> Answer {
    let mut request = Request::builder().method(method).uri(uri).header("content-type", "application/json");
    if !auth.is_empty() {
        request = request.header("authorization", auth);
    }
    let body = body.to_string();
    let request = request.header("content-length", body.len()).body(Body::from(body));
    service.send(request.unwrap()).await
}

async fn make(service: &Service, body: &Value) -> (String, String) {
    let answer = send(service, "POST", TOKENS, &format!("Bearer {BOOTSTRAP}"), body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), "no-store");
    let made = answer.json();
    (made["id"].as_str().unwrap().to_owned(), format!("Bearer {}", made["token"].as_str().unwrap()))
}

fn item(name: &str, value: u64) -> Value {
    json!({"name": name, "value": value, "metric_type": "GAUGE"})
}

#[tokio::test]
async fn elsewhere_nothing_but_health_is_open() {
    let service = guarded().await;
    for uri in ["/", "/healthz", "/readyz", "/-/healthy", "/-/ready", "/metrics", "/api/v1/openapi.json"] {
        assert_eq!(service.get(uri).await.status, 200, "{uri}");
    }
    let document = service.get("/api/v1/openapi.json").await.json();
    for (path, item) in document["paths"].as_object().unwrap() {
        let uri = path.replace("{target_id}", "x").replace("{name}", "x").replace("{token_id}", "x");
        let uri = uri.replace("{job_id}", "x").replace("{upload_id}", "x");
        let uri = uri.replace("{group}", "x").replace("{stream_id}", "x");
        for method in ["get", "put", "post", "patch", "delete"].iter().filter(|m| item.get(**m).is_some()) {
            let answer = send(&service, &method.to_uppercase(), &uri, "", &json!({})).await;
            // `/-/reload` has rules of its own, and this process has nothing to reload.
            let expected = match path.as_str() {
                "/"
                | "/healthz"
                | "/readyz"
                | "/-/healthy"
                | "/-/ready"
                | "/metrics"
                | "/api/v1/openapi.json" => 200,
                "/-/reload" => 409,
                // Line protocol is not taken here.
                "/health" | "/ping" => 404,
                _ => 401,
            };
            assert_eq!(answer.status, expected, "{method} {path}: {}", answer.text());
        }
    }
    let refused = service.get("/api/v1/metrics/stats").await;
    assert_eq!(refused.header("www-authenticate"), "Bearer realm=\"metricsd\"");
    let problem = refused.problem(401);
    assert_eq!(problem["type"], "urn:metricsd:problem:unauthorized");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("Authorization: Bearer") && detail.contains("auth.open"), "{detail}");
    let prometheus = service.get("/api/v1/query?query=up").await;
    assert_eq!((prometheus.status.as_u16(), &prometheus.json()["status"]), (401, &json!("error")));
}

#[tokio::test]
async fn each_right_opens_its_own_routes() {
    let service = guarded().await;
    let push = make(&service, &json!({"name": "p", "rights": ["push"]})).await.1;
    let read = make(&service, &json!({"name": "r", "rights": ["read"]})).await.1;
    let manage = make(&service, &json!({"name": "m", "rights": ["manage"]})).await.1;
    let check = async |method: &str, uri: &str, body: Value, expected: [u16; 3]| {
        for (auth, expected) in [&push, &read, &manage].into_iter().zip(expected) {
            let answer = send(&service, method, uri, auth, &body).await;
            assert_eq!(answer.status, expected, "{method} {uri}: {}", answer.text());
        }
    };
    check("POST", CUSTOM, json!([item("a", 1)]), [200, 403, 200]).await;
    check("GET", "/api/v1/metrics/stats", json!({}), [403, 200, 200]).await;
    check("GET", "/api/v1/query?query=a", json!({}), [403, 200, 200]).await;
    check("POST", "/api/v1/labels", json!({}), [403, 200, 200]).await;
    check("POST", "/api/v1/metrics/targets", common::request(), [403, 403, 201]).await;
    check("DELETE", "/api/v1/metrics/targets/none", json!({}), [403, 403, 404]).await;
    check("GET", TOKENS, json!({}), [403, 403, 200]).await;
    check("POST", TOKENS, json!({"name": "x", "rights": ["push"]}), [403, 403, 201]).await;
    let refused = send(&service, "GET", "/api/v1/metrics/stats", &push, &json!({})).await.problem(403);
    assert_eq!(refused["detail"], "the token \"p\" has the rights push; this needs the right read");
}

#[tokio::test]
async fn uploads_are_seen_by_who_may_push_as_their_source() {
    let service = guarded().await;
    let bound = async |source: &str| {
        make(&service, &json!({"name": source, "rights": ["push"], "source_id": source})).await.1
    };
    let (own, other) = (bound("a").await, bound("b").await);
    let free = make(&service, &json!({"name": "free", "rights": ["push"]})).await.1;
    let begun =
        send(&service, "POST", "/api/v1/metrics/upload?resumable=true&format=ndjson", &own, &json!({})).await;
    assert_eq!(begun.status, 201, "{}", begun.text());
    let uri = format!("/api/v1/metrics/upload/{}", begun.json()["upload_id"].as_str().unwrap());
    for (auth, expected) in [(&own, 200), (&other, 404), (&free, 200)] {
        assert_eq!(send(&service, "GET", &uri, auth, &json!({})).await.status, expected);
    }
    let put = format!("{uri}?offset=0&complete=true");
    send(&service, "PUT", &put, &other, &json!({})).await.problem(404);
    assert_eq!(send(&service, "PUT", &put, &own, &json!({})).await.status, 202);
}

#[tokio::test]
async fn clients_present_tokens_in_three_ways() {
    let service = guarded().await;
    let token = make(&service, &json!({"name": "p", "rights": ["push"]})).await.1;
    let token = token.trim_start_matches("Bearer ");
    let basic = |pair: String| {
        use base64::Engine;
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    };
    let ways = [
        format!("Bearer {token}"),
        format!("Token {token}"),
        format!("bearer {token}"),
        basic(format!("u:{token}")),
    ];
    for auth in ways {
        assert_eq!(send(&service, "POST", CUSTOM, &auth, &json!([item("a", 1)])).await.status, 200, "{auth}");
    }
    for auth in [
        token.to_owned(),
        "Bearer".into(),
        "Bearer x".into(),
        format!("Bearer {token}0"),
        basic(token.into()),
    ] {
        assert_eq!(send(&service, "POST", CUSTOM, &auth, &json!([item("a", 1)])).await.status, 401, "{auth}");
    }
}

#[tokio::test]
async fn tokens_are_listed_without_their_texts_and_end_when_revoked() {
    let service = guarded().await;
    let admin = format!("Bearer {BOOTSTRAP}");
    let asked = json!({
        "name": " sensors ", "rights": ["read", "push", "push"], "source_id": "sensors",
        "quota": {"samples_per_second": 7}, "expires_in": "1h",
    });
    let (id, token) = make(&service, &asked).await;
    let listed = send(&service, "GET", TOKENS, &admin, &json!({})).await;
    assert!(!listed.text().contains(token.trim_start_matches("Bearer ")));
    let shown = &listed.json()[0];
    assert_eq!((&shown["name"], &shown["rights"]), (&json!("sensors"), &json!(["push", "read"])));
    assert_eq!((&shown["status"], &shown["quota"]["samples_per_second"]), (&json!("active"), &json!(7)));
    assert!(shown["expires_at"].is_string() && shown["last_used_at"].is_null());
    let kept = service.store.tokens().await.unwrap();
    assert!(!format!("{kept:?}").contains(&token[40..]));

    assert_eq!(send(&service, "POST", CUSTOM, &token, &json!([item("a", 1)])).await.status, 200);
    let gone = send(&service, "DELETE", &format!("{TOKENS}/{id}"), &admin, &json!({})).await;
    assert_eq!((gone.status.as_u16(), &gone.json()["status"]), (200, &json!("revoked")));
    let refused = send(&service, "POST", CUSTOM, &token, &json!([item("a", 1)])).await.problem(401);
    assert_eq!(refused["detail"], "the token \"sensors\" was revoked");
    for id in ["nonsense", "00000000-0000-0000-0000-000000000000"] {
        send(&service, "DELETE", &format!("{TOKENS}/{id}"), &admin, &json!({})).await.problem(404);
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_new_token_is_named() {
    let service = guarded().await;
    let check = async |body: Value, field: &str| {
        let answer = send(&service, "POST", TOKENS, &format!("Bearer {BOOTSTRAP}"), &body).await.problem(422);
        assert_eq!(answer["errors"][0]["field"], field, "{answer}");
    };
    check(json!({"rights": ["push"]}), "name").await;
    check(json!({"name": "  ", "rights": ["push"]}), "name").await;
    check(json!({"name": "a\nb", "rights": ["push"]}), "name").await;
    check(json!({"name": "x".repeat(101), "rights": ["push"]}), "name").await;
    check(json!({"name": "a"}), "rights").await;
    check(json!({"name": "a", "rights": []}), "rights").await;
    check(json!({"name": "a", "rights": ["write"]}), "rights").await;
    check(json!({"name": "a", "rights": ["push"], "source_id": "a b"}), "source_id").await;
    let quota = |quota: Value| json!({"name": "a", "rights": ["push"], "quota": quota});
    check(quota(json!({"samples_per_second": 0})), "quota.samples_per_second").await;
    check(quota(json!({"active_series": -1})), "quota.active_series").await;
    check(quota(json!({"bytes": 1})), "quota.bytes").await;
    let expiring = |field: &str, at: &str| json!({"name": "a", "rights": ["push"], field: at});
    check(expiring("expires_at", "2020-01-01T00:00:00Z"), "expires_at").await;
    check(expiring("expires_at", "tomorrow"), "expires_at").await;
    check(expiring("expires_in", "-1h"), "expires_in").await;
    check(expiring("secret", "x"), "secret").await;
}

#[tokio::test]
async fn a_token_of_one_source_pushes_as_that() {
    let service = guarded().await;
    let bound = json!({"name": "b", "rights": ["push"], "source_id": "sensors"});
    let token = make(&service, &bound).await.1;
    let push = async |uri: &str| send(&service, "POST", uri, &token, &json!([item("a", 1)])).await;
    assert_eq!(push(CUSTOM).await.status, 200);
    assert_eq!(push(&format!("{CUSTOM}?source_id=sensors")).await.status, 200);
    let refused = push(&format!("{CUSTOM}?source_id=other")).await.problem(403);
    assert_eq!(refused["detail"], "the token \"b\" pushes as source \"sensors\" only, not as \"other\"");
    let stats = service.store.index_statistics(10).await;
    assert!(stats.is_ok());
    let jobs =
        send(&service, "GET", "/api/v1/metrics/jobs", &format!("Bearer {BOOTSTRAP}"), &json!({})).await;
    assert!(jobs.json().as_array().unwrap().iter().all(|job| job["source_id"] == "sensors"));
}

#[tokio::test]
async fn quotas_answer_429_and_store_nothing() {
    let service = guarded().await;
    let admin = format!("Bearer {BOOTSTRAP}");
    let token = async |quota: Value| {
        make(&service, &json!({"name": "q", "rights": ["push"], "quota": quota})).await.1
    };
    let items =
        |count: u64, name: &str| Value::from_iter((0..count).map(|n| item(&format!("{name}_{n}"), n)));
    let limited = async |auth: &str, body: Value, words: &str| {
        let answer = send(&service, "POST", CUSTOM, auth, &body).await;
        let seconds: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1..=3_600).contains(&seconds));
        let problem = answer.problem(429);
        assert_eq!(problem["type"], "urn:metricsd:problem:quota-exceeded");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
    };
    let samples = token(json!({"samples_per_second": 1})).await;
    assert_eq!(send(&service, "POST", CUSTOM, &samples, &items(10, "s")).await.status, 200);
    limited(&samples, items(10, "t"), "1 samples a second (samples_per_second)").await;
    let series = token(json!({"active_series": 3})).await;
    assert_eq!(send(&service, "POST", CUSTOM, &series, &items(3, "u")).await.status, 200);
    limited(&series, items(4, "u"), "3 active series (active_series)").await;
    assert_eq!(send(&service, "POST", CUSTOM, &series, &items(3, "u")).await.status, 200);
    let bytes = token(json!({"body_bytes_per_second": 10})).await;
    assert_eq!(
        send(&service, "POST", CUSTOM, &bytes, &items(10, "v")).await.status,
        200,
        "the bucket is full"
    );
    limited(&bytes, items(1, "w"), "10 bytes of bodies a second (body_bytes_per_second)").await;

    let count = async |name: &str| {
        let uri = format!("/api/v1/query?query=count(%7B__name__%3D~%22{name}_.*%22%7D)");
        let answer = send(&service, "GET", &uri, &admin, &json!({})).await.json();
        answer["data"]["result"][0]["value"][1].as_str().unwrap_or("0").to_owned()
    };
    assert_eq!(count("s").await, "10");
    assert_eq!((count("t").await, count("u").await, count("w").await), ("0".into(), "3".into(), "0".into()));
    let page = service.get("/metrics").await;
    for line in [
        "metricsd_ingest_rejected_samples_total{protocol=\"custom\",reason=\"samples_quota\"} 10\n",
        "metricsd_ingest_rejected_samples_total{protocol=\"custom\",reason=\"series_quota\"} 4\n",
    ] {
        assert!(page.text().contains(line), "{}", page.text());
    }
}

#[tokio::test]
async fn on_loopback_everything_is_open_until_tokens_are_required() {
    let open = Service::new();
    assert_eq!(open.call("POST", CUSTOM, &json!([item("a", 1)])).await.status, 200);
    assert_eq!(send(&open, "POST", CUSTOM, "Token my-token", &json!([item("a", 2)])).await.status, 200);
    let required = Service::with(|api| {
        let options = AccessOptions { required: true, ..AccessOptions::default() };
        api.access = Access::new(Arc::new(MemoryStore::new()), options, AccessMetrics::default());
    });
    required.call("POST", CUSTOM, &json!([item("a", 1)])).await.problem(401);
    let early = send(&required, "POST", CUSTOM, "Token x", &json!([])).await;
    assert_eq!(early.header("retry-after"), "5");
    early.problem(503);
}
