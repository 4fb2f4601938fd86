//! What becomes of one line of a target's page.

mod common;

use common::{Service, request};
use serde_json::json;

const EXPLAIN: &str = "/api/v1/metrics/explain";

#[tokio::test]
async fn a_line_is_explained_step_by_step() {
    let service = Service::new();
    let filter = json!([{"action": "EXCLUDE", "name": "go_.*"}]);
    let mut target = request();
    target["filters"] = filter;
    assert_eq!(service.create(&target).await.status.as_u16(), 201);
    let answer = service.get(&format!("{EXPLAIN}?target_id=node-1&line=up%7Bjob%3D%22own%22%7D%201")).await;
    assert_eq!(answer.status.as_u16(), 200);
    let told = answer.json();
    assert_eq!(told["outcome"], "stored");
    let series =
        json!({"__name__": "up", "exported_job": "own", "instance": "127.0.0.1:9100", "job": "node"});
    assert_eq!(told["series"], series);
    let steps: Vec<&str> =
        told["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["parse", "target_labels", "filters", "metric_relabel_configs", "checks", "timestamp"]);
    let told = service.get(&format!("{EXPLAIN}?target_id=node-1&line=go_threads+7")).await.json();
    assert_eq!((&told["outcome"], &told["series"]), (&json!("dropped"), &json!(null)));
    let told = service.get(&format!("{EXPLAIN}?target_id=node-1&line=a%7Bb%3D%7D+7")).await.json();
    assert_eq!((&told["outcome"], &told["reason"]), (&json!("fails_page"), &json!("invalid_value")));
}

#[tokio::test]
async fn a_target_and_a_line_are_needed() {
    let service = Service::new();
    let answer = service.get(EXPLAIN).await;
    assert_eq!(answer.status.as_u16(), 400);
    let fields: Vec<String> = answer.json()["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["field"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(fields, ["target_id", "line"]);
    assert_eq!(service.get(&format!("{EXPLAIN}?target_id=none&line=a+1")).await.status.as_u16(), 404);
}
