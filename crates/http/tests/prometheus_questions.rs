//! Questions to the real engine through Prometheus' HTTP API, and what happens to hostile ones.

mod common;

use axum::body::Body;
use axum::http::Request;
use common::{Answer, Service};
use serde_json::{Value, json};

fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

/// Seconds at which the samples of [`with_samples`] begin.
async fn with_samples() -> (Service, i64) {
    let service = Service::new();
    let start = now() / 1_000 - 600;
    let samples = |job: &str, slope: i64| {
        let job = job.to_owned();
        (0..10).map(move |at| {
            json!({
                "name": "http_requests_total", "metric_type": "COUNTER", "value": at * slope,
                "labels": {"job": job}, "timestamp": (start + at * 30) * 1_000
            })
        })
    };
    let body: Vec<Value> = samples("api", 30).chain(samples("web", 60)).collect();
    let answer = service.call("POST", "/api/v1/metrics/custom", &json!(body)).await;
    assert_eq!(answer.json()["accepted"], 20, "{}", answer.text());
    (service, start)
}

async fn ask(service: &Service, path: &str, parameters: &[(&str, &str)]) -> Answer {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(parameters);
    let request =
        Request::post(format!("/api/v1/{path}")).header("content-type", "application/x-www-form-urlencoded");
    service.send(request.body(Body::from(form.finish())).unwrap()).await
}

async fn instant(service: &Service, query: &str, at: i64) -> Value {
    let answer = ask(service, "query", &[("query", query), ("time", &at.to_string())]).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    answer.json()["data"].clone()
}

#[tokio::test]
async fn expressions_are_evaluated() {
    let (service, start) = with_samples().await;
    let at = start + 120;
    let data = instant(&service, "sum by (job) (rate(http_requests_total[1m]))", at).await;
    let expected = json!({"resultType": "vector", "result": [
        {"metric": {"job": "api"}, "value": [at, "1"]}, {"metric": {"job": "web"}, "value": [at, "2"]}
    ]});
    assert_eq!(data, expected);
    assert_eq!(instant(&service, "1 + 1", at).await, json!({"resultType": "scalar", "result": [at, "2"]}));
    assert_eq!(instant(&service, "\"a\"", at).await, json!({"resultType": "string", "result": [at, "a"]}));
    let data = instant(&service, "http_requests_total{job='api'}[1m]", at).await;
    assert_eq!(data["resultType"], "matrix");
    assert_eq!(data["result"][0]["values"], json!([[at - 30, "90"], [at, "120"]]));
}

#[tokio::test]
async fn ranges_have_their_steps() {
    let (service, start) = with_samples().await;
    let (from, to) = (start.to_string(), (start + 60).to_string());
    let parameters =
        [("query", "http_requests_total{job='web'} / 2"), ("start", &from), ("end", &to), ("step", "30")];
    let answer = ask(&service, "query_range", &parameters).await.json();
    let expected = json!({"resultType": "matrix", "result": [
        {"metric": {"job": "web"}, "values": [[start, "0"], [start + 30, "30"], [start + 60, "60"]]}
    ]});
    assert_eq!(answer["data"], expected);
}

#[tokio::test]
async fn remarks_come_with_their_places() {
    let (service, start) = with_samples().await;
    let time = (start + 120).to_string();
    let answer =
        ask(&service, "query", &[("query", "quantile(2, http_requests_total)"), ("time", &time)]).await;
    let warning = answer.json()["warnings"][0].as_str().unwrap().to_owned();
    assert!(
        warning.starts_with("PromQL warning: quantile value should be between 0 and 1, got 2"),
        "{warning}"
    );
}

#[tokio::test]
async fn what_cannot_be_carried_out_is_told_apart_from_what_does_not_read() {
    let (service, start) = with_samples().await;
    let time = (start + 120).to_string();
    for (query, status, kind, message) in [
        ("", 400, "bad_data", "no expression found in input"),
        ("sum(", 400, "bad_data", "invalid parameter \"query\": 1:5: parse error: "),
        ("rate(http_requests_total)", 400, "bad_data", "expected type range vector"),
        ("{job=~\"(\"}", 400, "bad_data", "parse error"),
        (
            "http_requests_total * on () http_requests_total",
            422,
            "execution",
            "many-to-many matching not allowed",
        ),
    ] {
        let answer = ask(&service, "query", &[("query", query), ("time", &time)]).await;
        assert_eq!(answer.status.as_u16(), status, "{query}: {}", answer.text());
        let body = answer.json();
        assert_eq!(body["errorType"], kind);
        assert!(body["error"].as_str().unwrap().contains(message), "{query}: {body}");
    }
}

#[tokio::test]
async fn hostile_questions_harm_nobody() {
    let (service, start) = with_samples().await;
    let time = start.to_string();
    let sum = vec!["1"; 10_000].join("+");
    let deep = format!("{}1{}", "(".repeat(20_000), ")".repeat(20_000));
    let minus = format!("{}1", "-".repeat(50_000));
    let calls = format!("{}up{}", "abs(".repeat(20_000), ")".repeat(20_000));
    let alternatives = format!("up{{job=~\"{}\"}}", vec!["(a*)*b"; 3_000].join("|"));
    let repeated = "up{job=~\"((a{1000}){1000}){1000}\"}".to_owned();
    for (name, query) in [
        ("sum", sum),
        ("deep", deep),
        ("minus", minus),
        ("calls", calls),
        ("alternatives", alternatives),
        ("repeated", repeated),
    ] {
        for path in ["query", "format_query", "parse_query", "query_exemplars"] {
            let answer = ask(&service, path, &[("query", &query), ("time", &time)]).await;
            let status = answer.status.as_u16();
            assert!(
                matches!(status, 200 | 204 | 400 | 422),
                "{name} {path}: {status} {:.300}",
                answer.text()
            );
            assert!(status == 204 || answer.json()["status"].is_string());
        }
    }
    for at in ["0001-01-01T00:00:00Z", "3000-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z", "-62135596800"] {
        for query in ["http_requests_total", "rate(http_requests_total[1000y])", "up[1000y:1y] offset -1000y"]
        {
            let answer = ask(&service, "query", &[("query", query), ("time", at)]).await;
            let status = answer.status.as_u16();
            assert!(matches!(status, 200 | 400 | 422), "{query} {at}: {status} {}", answer.text());
        }
    }
    let parameters =
        [("query", "up"), ("start", "0001-01-01T00:00:00Z"), ("end", "9999-12-31T23:59:59Z"), ("step", "1y")];
    assert_eq!(ask(&service, "query_range", &parameters).await.status, 200);
}

#[tokio::test]
async fn expressions_are_laid_out_and_taken_apart() {
    let service = Service::new();
    let answer = service.get("/api/v1/format_query?query=foo%2Fbar").await;
    assert_eq!(answer.text(), r#"{"status":"success","data":"foo / bar"}"#);
    let tree = service.get("/api/v1/parse_query?query=foo%2Fbar").await.json();
    assert_eq!((&tree["data"]["type"], &tree["data"]["op"]), (&json!("binaryExpr"), &json!("/")));
}

#[tokio::test]
async fn the_route_of_our_own_takes_any_expression() {
    let (service, start) = with_samples().await;
    let at = start + 120;
    let ask = async |query: &str| {
        let query: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
        service.get(&format!("/api/v1/metrics/query?query={query}&time={at}")).await.json()
    };
    let answer = ask("sum(http_requests_total)").await;
    assert_eq!(answer["result_type"], "vector");
    assert_eq!(answer["result"], json!([{"metric": {}, "value": [at, "360"]}]));
    assert_eq!((&answer["warnings"], &answer["stats"]["series"]), (&json!([]), &json!(2)));
    let answer = ask("2").await;
    assert_eq!(answer["result_type"], "scalar");
    assert_eq!(answer["result"], json!([{"metric": {}, "value": [at, "2"]}]));
    let answer = ask("\"a\"").await;
    assert_eq!((&answer["result_type"], &answer["result"][0]["value"][1]), (&json!("string"), &json!("a")));
    let answer = ask("rate(http_requests_total[1s]").await;
    assert_eq!(answer["type"], "urn:metricsd:problem:invalid-request");
    let answer = ask("http_requests_total * on () http_requests_total").await;
    assert_eq!(
        (&answer["status"], &answer["type"]),
        (&json!(422), &json!("urn:metricsd:problem:invalid-request"))
    );
}
