//! How the configuration reaches the engine and the pages that show it, as clients of Prometheus see it.

mod support;

use serde_json::{Value, json};
use support::{Folder, Node, Start};

async fn with_samples(start: Start<'_>) -> (Node, i64) {
    let node = start.start().await;
    let begin = chrono::Utc::now().timestamp() - 600;
    let item = |at: i64| json!({"name": "work_total", "value": at, "timestamp": (begin + at * 15) * 1_000});
    let body: Value = (0..20).map(item).collect();
    let (status, answer) = node.post("/api/v1/metrics/custom", &body).await;
    assert_eq!((status, &answer["accepted"]), (200, &json!(20)));
    (node, begin)
}

async fn ask(node: &Node, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = node.http().post(node.url(&format!("/api/v1/{path}")));
    node.send(request.header("content-type", "application/x-www-form-urlencoded").body(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_prometheus_are_answered() {
    let folder = Folder::new();
    let (node, begin) = with_samples(Start::new(&folder.0)).await;
    let at = (begin + 60).to_string();
    let (status, answer) = ask(&node, "query", &[("query", "increase(work_total[1m])"), ("time", &at)]).await;
    assert_eq!((status, &answer["data"]["result"][0]["value"][1]), (200, &json!("4")), "{answer}");
    let (_, answer) = node.get("/api/v1/label/__name__/values?match[]=work_total").await;
    assert_eq!(answer["data"], json!(["work_total"]));
    // As many steps as configured, which is one moment more.
    let range = async |end: i64| {
        let (from, to) = (begin.to_string(), (begin + end).to_string());
        let form = [("query", "work_total"), ("start", &from), ("end", &to), ("step", "1")];
        ask(&node, "query_range", &form).await
    };
    assert_eq!(range(11_000).await.0, 200);
    let (status, answer) = range(11_001).await;
    assert_eq!((status, &answer["errorType"]), (400, &json!("bad_data")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_is_shown_and_acted_on() {
    let folder = Folder::new();
    let start = Start::new(&folder.0)
        .env("METRICSD_PROMQL_EXPERIMENTAL", "true")
        .env("METRICSD_PROMQL_MAX_POINTS", "100")
        .env("METRICSD_SECRETS_KEY", "ab".repeat(32))
        .env("METRICSD_HTTP_CORS_ALLOW_ORIGINS", "https://grafana.example");
    let (node, begin) = with_samples(start).await;
    let at = (begin + 60).to_string();
    let experimental = [("query", "limitk(1, work_total)"), ("time", at.as_str())];
    assert_eq!(ask(&node, "query", &experimental).await.0, 200);
    let form = [("query", "work_total"), ("start", "0"), ("end", "101"), ("step", "1")];
    let (_, answer) = ask(&node, "query_range", &form).await;
    assert!(answer["error"].as_str().unwrap().contains("maximum resolution of 100 points"), "{answer}");
    let (_, flags) = node.get("/api/v1/status/flags").await;
    assert_eq!(
        (&flags["data"]["promql.max_points"], &flags["data"]["retention.default"]),
        (&json!("100"), &json!("15d"))
    );
    let (_, config) = node.get("/api/v1/status/config").await;
    let yaml = config["data"]["yaml"].as_str().unwrap();
    assert!(yaml.contains("experimental: true"), "{yaml}");
    assert!(![&flags, &config].iter().any(|shown| shown.to_string().contains("abab")), "{yaml}");
    let (_, runtime) = node.get("/api/v1/status/runtimeinfo").await;
    assert_eq!(runtime["data"]["storageRetention"], "15d");
    let request = node.http().get(node.url("/api/v1/alerts")).header("origin", "https://grafana.example");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://grafana.example");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_experimental_is_refused_by_default() {
    let folder = Folder::new();
    let node = Start::new(&folder.0).start().await;
    let (status, answer) = ask(&node, "query", &[("query", "limitk(1, up)")]).await;
    assert_eq!((status, &answer["errorType"]), (400, &json!("bad_data")), "{answer}");
}
