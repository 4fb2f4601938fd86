//! The target manager: what is accepted, and every way in which a request is refused.

mod common;

use std::time::Duration;

use common::{Service, request, request_with};
use metricsd_model::{AuthConfig, Health, HealthStatus};
use metricsd_ports::Catalog;
use serde_json::{Value, json};

const TARGETS: &str = "/api/v1/metrics/targets";
const NODE: &str = "/api/v1/metrics/targets/node-1";

#[tokio::test]
async fn a_target_is_created_once() {
    let service = Service::new();
    let answer = service.create(&request()).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (201, NODE));
    let expected = json!({
        "target_id": "node-1",
        "target_url": "http://127.0.0.1:9100",
        "labels": {},
        "health_status": "unknown",
        "last_scrape": null,
        "scrape_duration_ms": 0.0,
        "samples_scraped": 0,
        "source_id": "node",
        "source_type": "APPLICATION",
        "collection_method": "PULL_SCRAPING",
        "scrape_config": {
            "target_url": "http://127.0.0.1:9100",
            "scrape_interval": "15s",
            "scrape_timeout": "10s",
            "metrics_path": "/metrics",
            "scheme": "http",
            "authentication": null,
            "honor_labels": false,
            "honor_timestamps": true
        },
        "filters": [],
        "retention_policy": null,
        "enabled": true,
        "deleting": false,
        "origin": "api",
        "created_at": answer.json()["created_at"],
        "last_error": null
    });
    assert_eq!(answer.json(), expected);
    let again = service.create(&request()).await;
    assert_eq!((again.status.as_u16(), again.json()), (200, expected.clone()));
    assert_eq!(service.get(NODE).await.json(), expected);
}

#[tokio::test]
async fn everything_that_the_document_names_is_taken() {
    let service = Service::new();
    let body = json!({
        "source_id": "team/node",
        "collection_method": "PULL_SCRAPING",
        "source_type": "INFRASTRUCTURE",
        "scrape_config": {
            "target_url": "https://10.0.0.1/probe?module=a",
            "scrape_interval": "250ms",
            "scrape_timeout": "100ms",
            "metrics_path": "/probe",
            "scheme": "https",
            "authentication": {"type": "basic", "username": "u", "password": "hunter2"},
            "honor_labels": true,
            "honor_timestamps": false
        },
        "filters": [
            {"action": "INCLUDE", "name": "node_.*", "labels": {"device": "sd.*"}},
            {"action": "DROP_LABELS", "drop_labels": ["id"]}
        ],
        "retention_policy": {"duration": "30d"},
        "labels": {"job": "mine", "env": "prod"},
        "enabled": false
    });
    let answer = service.create(&body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert!(!answer.text().contains("hunter2"));
    let target = answer.json();
    let id = target["target_id"].as_str().unwrap();
    assert!(id.starts_with("team-node-") && id.len() == "team-node-".len() + 12, "{id}");
    assert_eq!(target["health_status"], "disabled");
    let auth = json!({"type": "basic", "username": "u", "password": "********"});
    assert_eq!(target["scrape_config"]["authentication"], auth);
    // The id that metricsd makes is the same whenever it is asked for.
    assert_eq!(service.create(&body).await.status, 200);
}

#[tokio::test]
async fn defaults_follow_from_what_is_given() {
    let service = Service::new();
    let check = async |id: &str, config: Value, expected: [&str; 4]| {
        let body = json!({"source_id": "s", "target_id": id, "scrape_config": config});
        let answer = service.create(&body).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let config = &answer.json()["scrape_config"];
        let seen = ["scheme", "metrics_path", "scrape_interval", "scrape_timeout"]
            .map(|field| config[field].clone());
        assert_eq!(seen, expected.map(Value::from));
    };
    check("a", json!({"target_url": "localhost:1"}), ["http", "/metrics", "15s", "10s"]).await;
    check("b", json!({"target_url": "https://a/m"}), ["https", "/m", "15s", "10s"]).await;
    check("c", json!({"target_url": "a:1", "scheme": "https"}), ["https", "/metrics", "15s", "10s"]).await;
    check("d", json!({"target_url": "a:1", "scrape_interval": "5s"}), ["http", "/metrics", "5s", "5s"]).await;
    let minute = json!({"target_url": "a:1", "scrape_interval": "1m", "scrape_timeout": "30s"});
    check("e", minute, ["http", "/metrics", "1m", "30s"]).await;
}

#[tokio::test]
async fn the_same_id_with_other_settings_is_a_conflict() {
    let service = Service::new();
    let with_token = |token: &str| {
        request_with("/scrape_config/authentication", json!({"type": "bearer", "token": token}))
    };
    service.create(&with_token("hunter2")).await;
    let problem = service.create(&with_token("hunter3")).await.problem(409);
    let masked = json!({"type": "bearer", "token": "********"});
    let expected =
        json!([{"field": "scrape_config.authentication", "existing": masked, "requested": masked}]);
    assert_eq!(problem["differences"], expected);

    let mut other = with_token("hunter2");
    other["scrape_config"]["scrape_interval"] = json!("30s");
    other["labels"] = json!({"env": "prod"});
    let problem = service.create(&other).await.problem(409);
    let expected = json!([
        {"field": "labels", "existing": {}, "requested": {"env": "prod"}},
        {"field": "scrape_config.scrape_interval", "existing": "15s", "requested": "30s"}
    ]);
    assert_eq!(problem["differences"], expected);
}

#[tokio::test]
async fn a_target_is_replaced_and_a_mask_keeps_its_secret() {
    let service = Service::new();
    service.call("PUT", NODE, &request()).await.problem(404);
    service
        .create(&request_with("/scrape_config/authentication", json!({"type": "bearer", "token": "hunter2"})))
        .await;
    let mut body =
        request_with("/scrape_config/authentication", json!({"type": "bearer", "token": "********"}));
    body["scrape_config"]["scrape_interval"] = json!("30s");
    let answer = service.call("PUT", NODE, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let target = service.store.target("node-1").await.unwrap().unwrap();
    let config = target.spec.scrape_config;
    let token = metricsd_model::Secret::new("hunter2");
    assert_eq!(config.authentication, Some(metricsd_model::AuthConfig::Bearer { token }));
    assert_eq!(config.scrape_interval.to_string(), "30s");
    let problem = service.call("PUT", NODE, &request_with("/target_id", json!("other"))).await.problem(422);
    assert_eq!(problem["errors"][0]["field"], "target_id");
}

#[tokio::test]
async fn a_mask_stands_for_a_secret_only_where_it_goes_to_the_same_place() {
    let service = Service::new();
    let with = |url: &str, auth: &Value| {
        let mut body = request_with("/scrape_config/authentication", auth.clone());
        body["scrape_config"]["target_url"] = json!(url);
        body
    };
    let check = async |stored: Value, masked: Value, field: &str, refused: &[&str], kept: &[&str]| {
        let stored = with("http://127.0.0.1:80/m", &stored);
        service.create(&stored).await;
        let answer = service.call("PUT", NODE, &stored).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        for url in refused {
            let problem = service.call("PUT", NODE, &with(url, &masked)).await.problem(422);
            let error = &problem["errors"][0];
            assert_eq!(error["field"], format!("scrape_config.authentication.{field}"), "{url}: {problem}");
            assert!(error["message"].as_str().unwrap().contains("must be given again"), "{problem}");
        }
        for url in kept {
            let answer = service.call("PUT", NODE, &with(url, &masked)).await;
            assert_eq!(answer.status, 200, "{url}: {}", answer.text());
            let auth =
                service.store.target("node-1").await.unwrap().unwrap().spec.scrape_config.authentication;
            let secret = match auth.unwrap() {
                AuthConfig::Basic { password, .. } => password,
                AuthConfig::Bearer { token } => token,
                AuthConfig::Header { value, .. } => value,
                AuthConfig::Sealed { .. } => panic!("nothing seals here"),
            };
            assert_eq!(secret.expose(), "hunter2", "{url}");
        }
    };
    let same = ["http://127.0.0.1/other?x=1", "127.0.0.1:80"];
    let other = ["http://127.0.0.1:81", "http://127.0.0.2", "https://127.0.0.1:80"];
    let bearer = |token: &str| json!({"type": "bearer", "token": token});
    check(bearer("hunter2"), bearer("********"), "token", &other, &same).await;
    let basic = |name: &str, password: &str| json!({"type": "basic", "username": name, "password": password});
    check(basic("u", "hunter2"), basic("u", "********"), "password", &other, &same).await;
    check(basic("u", "hunter2"), basic("v", "********"), "password", &same, &[]).await;
    let header = |name: &str, value: &str| json!({"type": "header", "name": name, "value": value});
    check(header("X-Key", "hunter2"), header("x-key", "********"), "value", &other, &same).await;
    check(header("X-Key", "hunter2"), header("X-Other", "********"), "value", &same, &[]).await;
}

#[tokio::test]
async fn a_target_is_patched() {
    let service = Service::new();
    service.call("PATCH", NODE, &json!({"enabled": false})).await.problem(404);
    service.create(&request()).await;
    let target =
        service.call("PATCH", NODE, &json!({"enabled": false, "labels": {"env": "dev"}})).await.json();
    let seen = (&target["enabled"], &target["health_status"], &target["labels"]);
    assert_eq!(seen, (&json!(false), &json!("disabled"), &json!({"env": "dev"})));
    let target = service.call("PATCH", NODE, &json!({"enabled": true})).await.json();
    let seen = (&target["enabled"], &target["health_status"], &target["labels"]);
    assert_eq!(seen, (&json!(true), &json!("unknown"), &json!({"env": "dev"})));
    for (body, field) in [
        (json!({"source_id": "x"}), "source_id"),
        (json!({"enabled": 1}), "enabled"),
        (json!({"labels": {"__x": "y"}}), "labels.__x"),
    ] {
        let problem = service.call("PATCH", NODE, &body).await.problem(422);
        assert_eq!(problem["errors"][0]["field"], field);
    }
}

#[tokio::test]
async fn targets_are_listed_page_by_page() {
    let service = Service::new();
    for n in 0..5 {
        let mut body = request();
        body["target_id"] = json!(format!("t{n}"));
        body["source_id"] = json!(if n % 2 == 0 { "even" } else { "odd" });
        body["labels"] = json!({"n": n.to_string(), "a_b": "x:y"});
        body["enabled"] = json!(n != 4);
        assert_eq!(service.create(&body).await.status, 201);
    }
    let ids = async |query: &str| -> Vec<String> {
        let answer = service.get(&format!("{TARGETS}?{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let targets = answer.json();
        targets
            .as_array()
            .unwrap()
            .iter()
            .map(|target| target["target_id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids("").await, ["t0", "t1", "t2", "t3", "t4"]);
    assert_eq!(ids("source_id=odd").await, ["t1", "t3"]);
    assert_eq!(ids("enabled=false").await, ["t4"]);
    assert_eq!(ids("health=disabled").await, ["t4"]);
    assert_eq!(ids("label=n:3&label=a_b:x:y").await, ["t3"]);
    assert_eq!(ids("label=n:3&label=n:4").await, Vec::<String>::new());
    let first = service.get(&format!("{TARGETS}?source_id=even&limit=2")).await;
    let link = first.header("link").to_owned();
    let next = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).expect("a link");
    assert!(next.contains("source_id=even") && next.contains(first.header("x-next-cursor")), "{next}");
    let last = service.get(next).await;
    assert_eq!(last.json()[0]["target_id"], "t4");
    assert_eq!((last.json().as_array().unwrap().len(), last.header("link")), (1, ""));
}

#[tokio::test]
async fn wrong_parameters_of_a_list_are_named() {
    let service = Service::new();
    for (query, field) in [
        ("health=ill", "health"),
        ("label=x", "label"),
        ("label=:x", "label"),
        ("enabled=1", "enabled"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("cursor=%21", "cursor"),
        ("cursor=Li4", "cursor"),
        ("source_id=a&source_id=b", "source_id"),
        ("source_id=%00", "source_id"),
        ("label=a:%00", "label"),
        ("sort=name", "sort"),
    ] {
        let problem = service.get(&format!("{TARGETS}?{query}")).await.problem(400);
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
    }
}

#[tokio::test]
async fn unknown_targets_are_not_found() {
    let service = Service::new();
    for uri in ["/none", "/..%2fx", "/%ff", "/none/latest"] {
        service.get(&format!("{TARGETS}{uri}")).await.problem(404);
    }
    service.call("DELETE", NODE, &Value::Null).await.problem(404);
    service.call("POST", &format!("{NODE}/scrape"), &Value::Null).await.problem(404);
}

#[tokio::test]
async fn a_target_is_deleted_here_where_no_worker_lives() {
    let service = Service::new();
    service.create(&request()).await;
    let answer = service.call("DELETE", NODE, &Value::Null).await;
    assert_eq!(answer.status, 200);
    let result = answer.json();
    assert_eq!(
        (&result["target_id"], &result["deleted"], &result["status"]),
        (&json!("node-1"), &json!(true), &json!("deleted"))
    );
    service.get(NODE).await.problem(404);
    assert_eq!(service.create(&request()).await.status, 201);
}

#[tokio::test]
async fn a_deletion_waits_for_its_worker() {
    let service = Service::new();
    service.announce_worker().await;
    service.create(&request()).await;
    let answer = service.call("DELETE", NODE, &Value::Null).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["status"]), (202, &json!("pending")));
    // Until it is done, nothing else can happen to the target.
    assert_eq!(service.get(NODE).await.json()["deleting"], true);
    service.create(&request()).await.problem(409);
    service.call("PUT", NODE, &request()).await.problem(409);
    service.call("PATCH", NODE, &json!({"enabled": true})).await.problem(409);
    service.call("POST", &format!("{NODE}/scrape"), &Value::Null).await.problem(409);
    let store = service.store.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        store.finish_deletion("node-1").await.unwrap();
    });
    let answer = service.call("DELETE", NODE, &Value::Null).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["deleted"]), (200, &json!(true)));
}

#[tokio::test]
async fn a_scrape_that_began_before_it_was_asked_for_is_no_answer() {
    let service = Service::new();
    service.create(&request_with("/scrape_config/scrape_timeout", json!("1ms"))).await;
    service.announce_worker().await;
    let before = chrono::Utc::now().timestamp_millis() - 1;
    let store = service.store.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(30)).await;
        let health = Health { status: HealthStatus::Healthy, last_scrape: Some(before), ..Health::default() };
        store.record_health(&[("node-1".into(), health)]).await.unwrap();
    });
    service.call("POST", &format!("{NODE}/scrape"), &Value::Null).await.problem(504);
}

#[tokio::test]
async fn a_scrape_out_of_turn_answers_its_result() {
    let service = Service::new();
    let scrape = format!("{NODE}/scrape");
    service.create(&request_with("/scrape_config/scrape_timeout", json!("1ms"))).await;
    let problem = service.call("POST", &scrape, &Value::Null).await;
    assert_eq!(problem.header("retry-after"), "5");
    problem.problem(503);
    service.announce_worker().await;
    service.call("POST", &scrape, &Value::Null).await.problem(504);
    let store = service.store.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(30)).await;
        let health = Health {
            status: HealthStatus::Unhealthy,
            reason: Some(metricsd_model::FailureReason::Connect),
            error: Some("refused".into()),
            last_scrape: Some(chrono::Utc::now().timestamp_millis()),
            scrape_duration_ms: 1.5,
            samples_scraped: 7,
        };
        store.record_health(&[("node-1".into(), health)]).await.unwrap();
    });
    let answer = service.call("POST", &scrape, &Value::Null).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let result = answer.json();
    assert_eq!((&result["health_status"], &result["samples_scraped"]), (&json!("unhealthy"), &json!(7)));
    assert_eq!(result["last_error"], json!({"reason": "connect", "message": "refused"}));
    service.call("PATCH", NODE, &json!({"enabled": false})).await;
    service.call("POST", &scrape, &Value::Null).await.problem(409);
}

#[tokio::test]
async fn what_is_to_be_said_of_a_healthy_target_is_a_note() {
    let service = Service::new();
    service.create(&request()).await;
    let health = |reason, error: &str| Health {
        status: HealthStatus::Healthy,
        reason,
        error: Some(error.into()),
        last_scrape: Some(chrono::Utc::now().timestamp_millis()),
        ..Health::default()
    };
    let noted = health(None, "2 samples refused: a comes a second time");
    service.store.record_health(&[("node-1".into(), noted)]).await.unwrap();
    let target = service.get(NODE).await.json();
    assert_eq!(
        (&target["last_error"], target["note"].as_str()),
        (&Value::Null, Some("2 samples refused: a comes a second time"))
    );
    let failed = health(Some(metricsd_model::FailureReason::Limit), "too many");
    service.store.record_health(&[("node-1".into(), failed)]).await.unwrap();
    let target = service.get(NODE).await.json();
    assert_eq!((target.get("note"), &target["last_error"]["message"]), (None, &json!("too many")));
}
