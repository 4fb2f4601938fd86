//! Settings of a scrape beyond its address: given, shown, kept; and what a target says, told in full.

mod common;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::response::Redirect;
use axum::routing::get;
use common::{Service, request, request_with};
use metricsd_model::{HttpAuth, MASK, SecretSource};
use metricsd_ports::Catalog;
use parking_lot::Mutex;
use serde_json::{Value, json};

const TARGETS: &str = "/api/v1/metrics/targets";
const ONE: &str = "/api/v1/metrics/targets/node-1";

fn with_http(http: Value) -> Value {
    request_with("/scrape_config/http", http)
}

fn fields(answer: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let list = answer["errors"].as_array().unwrap_or_else(|| panic!("{answer}"));
    list.iter().map(|error| (text(&error["field"]), text(&error["message"]))).collect()
}

#[tokio::test]
async fn settings_are_stored_and_shown_as_they_were_given() {
    let service = Service::new();
    let mut body = request();
    let given = json!({
        "params": {"module": ["http_2xx"]},
        "scrape_protocols": ["OpenMetricsText1.0.0"],
        "metric_relabel_configs": [{"action": "drop", "source_labels": ["__name__"], "regex": "go_.*"}],
        "sample_limit": 1000,
        "body_size_limit": 100_000,
        "on_limit": "truncate",
        "adaptive_interval_max_ms": 60_000,
        "enable_compression": false,
        "http": {
            "tls": {"server_name": "node.example", "min_version": "TLS12"},
            "proxy": {"no_proxy": "10.0.0.0/8"},
            "headers": {"X-Scope": {"values": ["a"]}},
            "auth": {"authorization": {"scheme": "Token", "credentials": {"env": "METRICSD_SECRET_A"}}},
            "follow_redirects": false,
        },
    });
    for (name, value) in given.as_object().unwrap() {
        body["scrape_config"][name] = value.clone();
    }
    let created = service.create(&body).await;
    assert_eq!(created.status, StatusCode::CREATED, "{:?}", created.json());
    let shown = &service.get(ONE).await.json()["scrape_config"];
    for (name, value) in given.as_object().unwrap() {
        match name.as_str() {
            "metric_relabel_configs" => assert_eq!(shown[name][0]["regex"], "go_.*"),
            "http" => {
                assert_eq!(shown["http"]["tls"]["server_name"], "node.example");
                assert_eq!(shown["http"]["auth"], value["auth"]);
                assert_eq!(shown["http"]["follow_redirects"], false);
            }
            _ => assert_eq!(&shown[name], value, "{name}"),
        }
    }
    assert_eq!(service.create(&body).await.status, StatusCode::OK, "the same again is the same target");
    let put = json!({"source_id": "node", "scrape_config": shown});
    assert_eq!(service.call("PUT", ONE, &put).await.status, StatusCode::OK, "what is shown can be given");
    let stored = service.store.target("node-1").await.unwrap().unwrap();
    assert!(!stored.spec.scrape_config.options.unconfined_secrets);
    service.create(&request_with("/target_id", json!("plain"))).await;
    let plain = service.get("/api/v1/metrics/targets/plain").await.json();
    assert_eq!(plain["scrape_config"].as_object().unwrap().len(), 8, "defaults are not shown");
}

#[tokio::test]
async fn every_fault_is_told_with_its_field() {
    let service = Service::new();
    for (body, field, part) in [
        (request_with("/scrape_config/sample_limit", json!("many")), "sample_limit", "string"),
        (request_with("/scrape_config/scrape_protocols", json!(["Html"])), "scrape_protocols", "Html"),
        (request_with("/scrape_config/on_limit", json!("ignore")), "on_limit", "ignore"),
        (
            request_with(
                "/scrape_config/metric_relabel_configs",
                json!([{"regex": "(", "target_label": "x"}]),
            ),
            "metric_relabel_configs",
            "regex",
        ),
        (with_http(json!({"tls": {"ca": {"fil": "x"}}})), "http.tls.ca", "fil"),
        (with_http(json!({"tls": {"max_version": "TLS11"}})), "http", "1.1"),
        (with_http(json!({"headers": {"Host": {"values": ["x"]}}})), "http", "cannot be set"),
        (with_http(json!({"tls": {"ca": {"file": "/etc/passwd"}}})), "http", "scrape.secrets_dir"),
        (with_http(json!({"tls": {"ca": {"env": "HOME"}}})), "http", "METRICSD_SECRET_"),
        (with_http(json!({"tls": {"ca": {"env": "METRICSD_SECRETS_KEY"}}})), "http", "METRICSD_SECRET_"),
        (with_http(json!({"tls": {"ca": {"sealed": "v1:x"}}})), "http", "sealed"),
        (with_http(json!({"proxy": {"url": {"inline": MASK}}})), "http", "no secret is stored"),
        (request_with("/scrape_config/unconfined_secrets", json!(true)), "unconfined_secrets", "not known"),
        (request_with("/scrape_config/exact_labels", json!(true)), "exact_labels", "not known"),
    ] {
        let answer = service.create(&body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        let found = fields(&answer.json());
        let field = format!("scrape_config.{field}");
        assert!(found.iter().any(|(name, text)| *name == field && text.contains(part)), "{field}: {found:?}");
    }
    let mut both = with_http(json!({"auth": {"basic": {"username": {"inline": "me"}}}}));
    both["scrape_config"]["authentication"] = json!({"type": "bearer", "token": "x"});
    assert_eq!(service.create(&both).await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn secrets_are_masked_and_masks_keep_them_only_for_where_they_go() {
    let service = Service::new();
    let http = json!({
        "auth": {"basic": {"username": {"inline": "me"}, "password": {"inline": "hunter2"}}},
        "headers": {"X-Key": {"secrets": [{"inline": "hunter3"}, {"env": "METRICSD_SECRET_B"}]}},
        "proxy": {"url": {"inline": "http://p:hunter4@proxy.test:3128"}},
    });
    assert_eq!(service.create(&with_http(http.clone())).await.status, StatusCode::CREATED);
    let shown = service.get(ONE).await;
    assert!(!String::from_utf8_lossy(&shown.body).contains("hunter"));
    let config = shown.json()["scrape_config"].clone();
    assert_eq!(config["http"]["auth"]["basic"]["password"]["inline"], MASK);
    let put = |config: &Value| json!({"source_id": "node", "scrape_config": config});
    let kept = service.call("PUT", ONE, &put(&config)).await;
    assert_eq!(kept.status, StatusCode::OK, "{:?}", kept.json());
    let inline = |source: &Option<SecretSource>| match source {
        Some(SecretSource::Inline(secret)) => secret.expose().to_owned(),
        other => panic!("{other:?}"),
    };
    let stored =
        async || (*service.store.target("node-1").await.unwrap().unwrap().spec.scrape_config.options).clone();
    let options = stored().await;
    let Some(HttpAuth::Basic { username, password }) = &options.http.auth else { panic!("{options:?}") };
    assert_eq!((inline(username), inline(password)), ("me".to_owned(), "hunter2".to_owned()));
    assert_eq!(inline(&options.http.proxy.url), "http://p:hunter4@proxy.test:3128");
    assert_eq!(inline(&Some(options.http.headers["X-Key"].secrets[0].clone())), "hunter3");

    // None of these may get what was given for another.
    for (pointer, value) in [
        ("/target_url", json!("http://127.0.0.1:9101")),
        ("/http/proxy/url", json!({"inline": "http://elsewhere.test:1"})),
        ("/http/proxy", json!({})),
        ("/http/proxy/no_proxy", json!("*")),
    ] {
        let mut moved = config.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        moved.pointer_mut(parent).unwrap()[name] = value;
        let answer = service.call("PUT", ONE, &put(&moved)).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{pointer}");
        assert!(fields(&answer.json()).iter().any(|(_, text)| text.contains("another way")), "{pointer}");
    }
    let mut changed = config.clone();
    changed["http"]["auth"]["basic"]["password"] = json!({"inline": "hunter5"});
    let mut again = with_http(http);
    again["scrape_config"]["http"]["auth"]["basic"]["password"] = json!({"inline": "hunter5"});
    let conflict = service.create(&again).await;
    assert_eq!(conflict.status, StatusCode::CONFLICT);
    assert!(!String::from_utf8_lossy(&conflict.body).contains("hunter"));
    assert!(conflict.json()["differences"].to_string().contains("scrape_config.http"));
    service.call("PUT", ONE, &put(&changed)).await;
    let Some(HttpAuth::Basic { password, .. }) = stored().await.http.auth else { panic!("no basic") };
    assert_eq!(inline(&password), "hunter5");
}

/// A target on a real socket; `/metrics` leads to `/page`.
async fn target(page: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = seen.clone();
    let serve = move |headers: axum::http::HeaderMap| async move {
        kept.lock().push(format!("{headers:?}"));
        ([("content-type", "text/plain; version=0.0.4"), ("set-cookie", "hunter2")], page)
    };
    let router = Router::new()
        .route("/metrics", get(|| async { Redirect::temporary("/page") }))
        .route("/page", get(serve));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}"), seen)
}

fn wanted(url: &str) -> Value {
    let mut body = request_with("/scrape_config/target_url", json!(url));
    body["scrape_config"]["authentication"] = json!({"type": "bearer", "token": "hunter2"});
    body["scrape_config"]["metric_relabel_configs"] =
        json!([{"action": "drop", "source_labels": ["__name__"], "regex": "b"}]);
    body
}

#[tokio::test]
async fn a_target_is_debugged_step_by_step() {
    let service = Service::new();
    let (url, seen) = target("# TYPE a counter\na{x=\"1\"} 1\nb 2\n").await;
    service.create(&wanted(&url)).await;
    let answer = service.get(&format!("{ONE}/debug?limit=2")).await;
    assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.json());
    assert!(seen.lock()[0].contains("hunter2") || seen.lock()[0].contains("Bearer"), "it was sent");
    assert!(!String::from_utf8_lossy(&answer.body).contains("hunter2"), "{}", answer.json());
    let report = answer.json();
    assert_eq!(report["requests"].as_array().unwrap().len(), 2);
    let [first, second] = [&report["requests"][0], &report["requests"][1]];
    assert_eq!((&first["request_line"], &first["status"]), (&json!("GET /metrics HTTP/1.1"), &json!(307)));
    assert_eq!(first["response_headers"]["location"], json!(["/page"]));
    assert_eq!(second["request_headers"]["authorization"], json!([MASK]));
    assert_eq!(second["response_headers"]["set-cookie"], json!([MASK]));
    assert!(first["phases_ms"]["connect"].is_number() && second["phases_ms"]["first_byte"].is_number());
    let page = &report["page"];
    assert_eq!((&page["format"], &page["encoding"]), (&json!("text"), &json!("identity")));
    assert_eq!(page["samples"]["received"], 2);
    assert_eq!((&page["samples"]["dropped"], &page["samples"]["series"]), (&json!(1), &json!(1)));
    assert_eq!(page["lines"][0]["outcome"], "stored");
    assert_eq!(page["lines"][1]["outcome"], "dropped");
    assert_eq!((&page["lines"][0]["line"], &page["errors"]), (&json!(2), &json!([])));

    let (bad, _) = target("a 1\nb one\n\nc{ 3\n").await;
    service.call("PUT", ONE, &wanted(&bad)).await;
    let report = service.get(&format!("{ONE}/debug")).await.json();
    assert_eq!(report["error"]["reason"], "parse");
    let lines: Vec<&Value> =
        report["page"]["errors"].as_array().unwrap().iter().map(|e| &e["line"]).collect();
    assert_eq!(lines, [&json!(2), &json!(4)]);
    assert_eq!(service.get(&format!("{TARGETS}/nobody/debug")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_dry_run_tells_what_a_target_would_be_and_stores_nothing() {
    let service = Service::new();
    let (url, _) = target("a 1\nb 2\nc{x=\"y\"} 3\n").await;
    let uri = format!("{TARGETS}?dry_run=true");
    let answer = service.call("POST", &uri, &wanted(&url)).await;
    assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.json());
    let report = answer.json();
    assert_eq!(report["target"]["scrape_config"]["authentication"]["token"], MASK);
    assert_eq!(report["target"]["scrape_config"]["metrics_path"], "/metrics");
    assert_eq!(
        (&report["exists"], &report["debug"]["page"]["samples"]["series"]),
        (&json!(false), &json!(2))
    );
    assert!(service.store.target("node-1").await.unwrap().is_none());
    let nowhere = service.call("POST", &uri, &wanted("http://127.0.0.1:1")).await.json();
    assert_eq!(nowhere["debug"]["error"]["reason"], "connect");
    let bad = service.call("POST", &uri, &request_with("/scrape_config/sample_limit", json!(-1))).await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
    let odd = service.call("POST", &format!("{TARGETS}?dry_run=maybe"), &wanted(&url)).await;
    assert!(odd.status.is_client_error());
    assert!(service.store.target("node-1").await.unwrap().is_none());
}

#[tokio::test]
async fn an_adaptive_interval_is_bounded() {
    let service = Service::new();
    for (longest, part) in [(1_000, "shorter than the interval"), (u64::MAX, "longer than 1d")] {
        let mut body = request();
        body["scrape_config"]["scrape_interval"] = json!("15s");
        body["scrape_config"]["adaptive_interval_max_ms"] = json!(longest);
        let problem = service.create(&body).await.problem(422);
        let text = problem.to_string();
        assert!(text.contains("scrape_config.adaptive_interval_max_ms") && text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn the_query_of_a_token_address_is_not_shown_and_kept() {
    let service = Service::new();
    let mut body = request();
    let address = "https://auth.example/token?key=hunter2";
    body["scrape_config"]["http"]["auth"]["oauth2"] = json!({"client_id": "me", "token_url": address});
    assert_eq!(service.create(&body).await.status, StatusCode::CREATED);
    let answer = service.get(ONE).await;
    assert!(!answer.text().contains("hunter2"), "{}", answer.text());
    let shown = &answer.json()["scrape_config"];
    assert_eq!(shown["http"]["auth"]["oauth2"]["token_url"], "https://auth.example/token?********");
    let put = json!({"source_id": "node", "scrape_config": shown});
    assert_eq!(service.call("PUT", ONE, &put).await.status, StatusCode::OK, "what is shown can be given");
    let stored = service.store.target("node-1").await.unwrap().unwrap();
    match &stored.spec.scrape_config.options.http.auth {
        Some(metricsd_model::HttpAuth::Oauth2(oauth2)) => assert_eq!(oauth2.token_url, address),
        other => panic!("{other:?}"),
    }
    let mut elsewhere = put.clone();
    elsewhere["scrape_config"]["http"]["auth"]["oauth2"]["token_url"] =
        json!("https://other.example/token?********");
    let problem = service.call("PUT", ONE, &elsewhere).await.problem(422).to_string();
    assert!(problem.contains("has a mask for its query"), "{problem}");
}
