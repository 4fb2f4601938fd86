//! Targets of other origins than users: what is shown of them, what is refused, who may have the file read again.

mod common;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::Request;
use common::Service;
use metricsd_http::{NotReloaded, Peer, Reload, ReloadAccess, Reloaded};
use metricsd_model::{ScrapeOptions, Secret};
use metricsd_ports::conformance::fixtures::target;
use metricsd_ports::{
    Catalog, Completeness, ConfigState, DiscoveredTarget, DiscoveryCatalog, DroppedTarget, JobState,
    ProviderState,
};
use serde_json::{Value, json};
use tower::ServiceExt;

fn found(id: &str) -> DiscoveredTarget {
    let mut spec = target(id);
    spec.scrape_config.options = Arc::new(ScrapeOptions { exact_labels: true, ..ScrapeOptions::default() });
    spec.scrape_config.target_url = format!("http://{id}.example:9100/metrics?module=a%20b");
    let labels = [("job", "shop"), ("instance", &format!("{id}.example:9100")), ("zone", "a")];
    spec.labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let labels = BTreeMap::from([("__meta_kind".to_owned(), "web".to_owned())]);
    DiscoveredTarget { spec, provider: "file".to_owned(), labels, prompt: false }
}

async fn service() -> Service {
    let service = Service::new();
    let found = [found("one"), found("two")];
    service.store.sync_discovered("of shops", &found, Completeness::All).await.unwrap();
    let state = JobState {
        job: "of shops".to_owned(),
        active: 2,
        dropped: 3,
        providers: vec![ProviderState {
            provider: "file".to_owned(),
            settings: "targets.json".to_owned(),
            targets: 5,
            complete: true,
            last_success: Some(1),
            ..ProviderState::default()
        }],
        dropped_targets: vec![DroppedTarget {
            labels: BTreeMap::from([("__address__".to_owned(), "c:1".to_owned())]),
            error: None,
        }],
        ..JobState::default()
    };
    service.store.put_discovery_state(&state).await.unwrap();
    service
}

#[tokio::test]
async fn discovered_targets_show_as_in_prometheus() {
    let service = service().await;
    service.store.create_target(&target("of-a-user")).await.unwrap();
    let data = service.get("/api/v1/targets").await.json()["data"].take();
    assert_eq!(data["activeTargets"].as_array().unwrap().len(), 3);
    let one =
        data["activeTargets"].as_array().unwrap().iter().find(|one| one["labels"]["zone"] == "a").unwrap();
    assert_eq!(one["labels"], json!({"job": "shop", "instance": "one.example:9100", "zone": "a"}));
    assert_eq!(one["discoveredLabels"], json!({"__meta_kind": "web"}));
    assert_eq!((&one["scrapePool"], &one["health"]), (&json!("of shops"), &json!("unknown")));
    assert_eq!(data["droppedTargetCounts"], json!({"fixture": 0, "of shops": 3}));
    let dropped = json!([{"discoveredLabels": {"__address__": "c:1"}, "scrapePool": "of shops"}]);
    assert_eq!(data["droppedTargets"], dropped);
    let data = service.get("/api/v1/targets?state=active&scrapePool=fixture").await.json()["data"].take();
    assert_eq!(data["activeTargets"][0]["labels"]["team"], "observability");
    assert_eq!((data["activeTargets"].as_array().unwrap().len(), &data["droppedTargets"]), (1, &json!([])));
    let data = service.get("/api/v1/targets?state=dropped&scrapePool=of+shops").await.json()["data"].take();
    assert_eq!((&data["activeTargets"], &data["droppedTargets"]), (&json!([]), &dropped));
    let pools = service.get("/api/v1/scrape_pools").await.json();
    assert_eq!(pools["data"], json!({"scrapePools": ["fixture", "of shops"]}));
}

#[tokio::test]
async fn discovered_targets_are_listed_and_not_changed() {
    let service = service().await;
    let list = service.get("/api/v1/metrics/targets?origin=discovered").await.json();
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!(list[0]["origin"], "discovered");
    assert_eq!((&list[0]["job"], &list[0]["provider"]), (&json!("of shops"), &json!("file")));
    assert_eq!(service.get("/api/v1/metrics/targets?origin=api").await.json(), json!([]));
    service.get("/api/v1/metrics/targets?origin=found").await.problem(400);
    let one = service.get("/api/v1/metrics/targets/one").await.json();
    assert_eq!(one["discovered_labels"], json!({"__meta_kind": "web"}));
    let path = "/api/v1/metrics/targets/one";
    let settings = json!({"source_id": "mine", "scrape_config": {"target_url": "a:1"}});
    let ttl = json!({"source_id": "mine", "ttl": "5s", "scrape_config": {"target_url": "a:1"}});
    for answer in [
        service.call("PUT", path, &settings).await,
        service.call("PUT", path, &ttl).await,
        service.call("PATCH", path, &json!({"enabled": false})).await,
        service.call("DELETE", path, &Value::Null).await,
        service.create(&with_id(settings.clone(), "one")).await,
    ] {
        let problem = answer.problem(409);
        assert!(problem["detail"].as_str().unwrap().contains("job \"of shops\""), "{problem}");
    }
    assert_eq!(service.get(path).await.json(), one, "nothing has changed");
}

fn with_id(mut settings: Value, id: &str) -> Value {
    settings["target_id"] = json!(id);
    settings
}

#[tokio::test]
async fn targets_are_served_for_others() {
    let service = service().await;
    let mut other = found("three");
    other.spec.scrape_config.scheme = "https".to_owned();
    other.spec.labels.insert("instance".to_owned(), "named".to_owned());
    let all = [found("one"), found("two"), other];
    service.store.sync_discovered("of shops", &all, Completeness::All).await.unwrap();
    let answer = service.get("/api/v1/metrics/http_sd?origin=discovered").await;
    assert_eq!(answer.header("content-type"), "application/json");
    let groups = answer.json();
    let of = |scheme: &str| {
        groups.as_array().unwrap().iter().find(|group| group["labels"]["__scheme__"] == scheme).unwrap()
    };
    assert_eq!(of("http")["targets"], json!(["one.example:9100", "two.example:9100"]));
    let labels = json!({
        "job": "shop", "zone": "a", "__scheme__": "http", "__metrics_path__": "/metrics", "__param_module": "a b",
        "__scrape_interval__": "15s", "__scrape_timeout__": "10s",
        "__meta_metricsd_origin": "discovered", "__meta_metricsd_source_id": "fixture",
    });
    assert_eq!(of("http")["labels"], labels);
    assert_eq!(of("https")["labels"]["instance"], "named");
    assert_eq!(service.get("/api/v1/metrics/http_sd?source_id=nobody").await.json(), json!([]));
}

#[tokio::test]
async fn discovery_is_shown() {
    let service = service().await;
    let answer = service.get("/api/v1/metrics/discovery").await.json();
    assert_eq!(answer["config"], Value::Null);
    let job = &answer["jobs"][0];
    assert_eq!((&job["active"], &job["dropped"], &job["synced"]), (&json!(2), &json!(3), &Value::Null));
    assert!(job.get("dropped_targets").is_none());
    let provider = &job["providers"][0];
    assert_eq!((&provider["provider"], &provider["targets"]), (&json!("file"), &json!(5)));
    assert_eq!(provider["last_success"], "1970-01-01T00:00:00.001Z");
    assert!(provider["age_seconds"].as_f64().unwrap() > 1e9);
    let config = ConfigState {
        file: "p.yml".to_owned(),
        last_success: Some(5),
        errors: vec!["p.yml:3:1: no".to_owned()],
        ..ConfigState::default()
    };
    service.store.put_config_state(&config).await.unwrap();
    let answer = service.get("/api/v1/metrics/discovery?dropped=true&job=of+shops").await.json();
    assert_eq!(answer["config"]["last_reload_successful"], false);
    assert_eq!(answer["jobs"][0]["dropped_targets"][0]["labels"], json!({"__address__": "c:1"}));
    assert_eq!(service.get("/api/v1/metrics/discovery?job=other").await.json()["jobs"], json!([]));
}

#[tokio::test]
async fn who_registers_itself_is_told_until_when() {
    let service = Service::new();
    let path = "/api/v1/metrics/targets/cart";
    let request =
        |ttl: &str| json!({"source_id": "cart", "ttl": ttl, "scrape_config": {"target_url": "a:1"}});
    let made = service.call("PUT", path, &request("30s")).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(made.header("location"), path);
    tokio::time::sleep(Duration::from_millis(5)).await;
    let renewed = service.call("PUT", path, &request("30s")).await;
    assert_eq!(renewed.status, 200);
    let (made, renewed) = (made.json(), renewed.json());
    assert_eq!(made["origin"], "registered");
    assert!(made["expires_at"].as_str() < renewed["expires_at"].as_str(), "{made} {renewed}");
    for ttl in ["999ms", "8d", "soon"] {
        let problem = service.call("PUT", path, &request(ttl)).await.problem(422);
        assert_eq!(problem["errors"][0]["field"], "ttl", "{problem}");
    }
    let stays = json!({"source_id": "cart", "scrape_config": {"target_url": "a:1"}});
    assert_eq!(service.call("PUT", path, &stays).await.json()["origin"], "api");
    let problem = service.call("PUT", path, &request("30s")).await.problem(409);
    assert!(problem["detail"].as_str().unwrap().contains("does not lapse"), "{problem}");
    let absent = json!({"source_id": "cart", "scrape_config": {"target_url": "a:1"}});
    service.call("PUT", "/api/v1/metrics/targets/nobody", &absent).await.problem(404);
}

struct Reader(Result<Reloaded, NotReloaded>);

#[async_trait]
impl Reload for Reader {
    async fn reload(&self) -> Result<Reloaded, NotReloaded> {
        self.0.clone()
    }
}

fn reloading(answer: Result<Reloaded, NotReloaded>, token: Option<&str>) -> Service {
    let token = token.map(Secret::new);
    Service::with(|api| api.reload = Some(ReloadAccess { reload: Box::new(Reader(answer)), token }))
}

async fn reload(service: &Service, peer: &str, token: Option<&str>) -> u16 {
    let mut request = Request::post("/-/reload");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let mut request = request.body(Body::empty()).unwrap();
    request.extensions_mut().insert(Peer(peer.parse::<SocketAddr>().unwrap()));
    service.router.clone().oneshot(request).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn only_this_machine_or_who_has_the_token_reloads() {
    let good = || Ok(Reloaded { file: "p.yml".to_owned(), jobs: 1, warnings: Vec::new() });
    let service = reloading(good(), None);
    assert_eq!(reload(&service, "127.0.0.1:5", None).await, 200);
    assert_eq!(reload(&service, "[::ffff:127.0.0.1]:5", None).await, 200);
    assert_eq!(reload(&service, "10.0.0.1:5", None).await, 403);
    assert_eq!(reload(&service, "10.0.0.1:5", Some("")).await, 403);
    assert_eq!(
        service.call("POST", "/-/reload", &Value::Null).await.status,
        403,
        "who is not known is not of this machine"
    );
    let service = reloading(good(), Some("sesame"));
    assert_eq!(reload(&service, "10.0.0.1:5", Some("sesame")).await, 200);
    assert_eq!(reload(&service, "10.0.0.1:5", Some("sesam")).await, 403);
    assert_eq!(reload(&service, "127.0.0.1:5", Some("open")).await, 403, "a wrong token is no good anywhere");
    assert_eq!(reload(&service, "127.0.0.1:5", None).await, 200);
    let service = reloading(Err(NotReloaded::Refused(vec!["p.yml:3:1: no".to_owned()])), None);
    assert_eq!(reload(&service, "127.0.0.1:5", None).await, 422);
    let service = reloading(Err(NotReloaded::NotYet), None);
    assert_eq!(reload(&service, "127.0.0.1:5", None).await, 503);
    Service::new().call("POST", "/-/reload", &Value::Null).await.problem(409);
}
