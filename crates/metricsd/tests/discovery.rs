//! Discovery with real processes: a service that appears is scraped, a bad file changes nothing, another process takes over.

mod support;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use support::page::PageTarget;
use support::services::Database;
use support::{Folder, Node, Start, eventually};

/// A configuration with one job that reads `targets.json`, and what else `more` says.
fn write_config(folder: &Path, job: &str, more: &str) {
    let text = format!(
        "global:\n  scrape_interval: 300ms\n  scrape_timeout: 300ms\nscrape_configs:\n  - job_name: {job}\n    \
         file_sd_configs:\n      - files: [targets.json]\n        refresh_interval: 5s\n    relabel_configs:\n      \
         - source_labels: [__meta_kind]\n        regex: ignored\n        action: drop\n{more}"
    );
    replace(&folder.join("prometheus.yml"), &text);
}

/// As editors and config maps do it: the new file takes the old one's place.
fn replace(path: &Path, text: &str) {
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, text).unwrap();
    std::fs::rename(&fresh, path).unwrap();
}

fn write_targets(folder: &Path, groups: &Value) {
    replace(&folder.join("targets.json"), &groups.to_string());
}

fn address(page: &PageTarget) -> String {
    page.url.trim_start_matches("http://").split('/').next().unwrap().to_owned()
}

fn start(folder: &Folder) -> Start<'_> {
    let config = folder.0.join("prometheus.yml");
    Start::new(&folder.0).env("METRICSD_DISCOVERY_PROMETHEUS_CONFIG", config.to_str().unwrap())
}

async fn data(node: &Node, path: &str) -> Value {
    let (status, mut answer) = node.get(path).await;
    assert_eq!((status, &answer["status"]), (200, &json!("success")), "{answer}");
    answer["data"].take()
}

async fn active(node: &Node) -> Vec<Value> {
    data(node, "/api/v1/targets?state=active").await["activeTargets"].as_array().unwrap().clone()
}

async fn up(node: &Node, instance: &str) -> Option<()> {
    let found = node.query(&format!("up{{instance=\"{instance}\"}} == 1")).await;
    (!found.is_empty()).then_some(())
}

/// What is scraped comes from the file, follows it without a restart, and is shown with where it came from.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_appears_in_a_file_is_scraped_within_a_refresh() {
    let folder = Folder::new();
    let (first, second) = (PageTarget::start("value 1\n").await, PageTarget::start("value 2\n").await);
    write_config(&folder.0, "shop", "");
    let group = |page: &PageTarget, kind: &str| json!({"targets": [address(page)], "labels": {"__meta_kind": kind, "zone": "a"}});
    write_targets(
        &folder.0,
        &json!([group(&first, "web"), {"targets": ["127.0.0.1:1"], "labels": {"__meta_kind": "ignored"}}]),
    );
    let node = start(&folder).start().await;
    eventually("the first target", 15, async || up(&node, &address(&first)).await).await;

    write_targets(&folder.0, &json!([group(&first, "web"), group(&second, "web")]));
    eventually("the second target", 10, async || up(&node, &address(&second)).await).await;
    // Health is written soon after the samples.
    let targets = eventually("both healthy", 10, async || {
        let targets = active(&node).await;
        targets.iter().all(|target| target["health"] == "up").then_some(targets)
    })
    .await;
    assert_eq!(targets.len(), 2, "{targets:?}");
    let shown = targets.iter().find(|target| target["labels"]["instance"] == address(&second)).unwrap();
    assert_eq!(shown["labels"], json!({"instance": address(&second), "job": "shop", "zone": "a"}));
    assert_eq!(shown["discoveredLabels"]["__meta_kind"], "web");
    assert_eq!(shown["discoveredLabels"]["__scrape_interval__"], "300ms");
    assert_eq!((&shown["scrapePool"], &shown["health"]), (&json!("shop"), &json!("up")));
    assert_eq!(shown["scrapeUrl"], format!("http://{}/metrics", address(&second)));
    assert_eq!(data(&node, "/api/v1/scrape_pools").await, json!({"scrapePools": ["shop"]}));

    let (status, list) = node.get("/api/v1/metrics/targets?origin=discovered").await;
    assert_eq!((status, list.as_array().map(Vec::len)), (200, Some(2)), "{list}");
    let id = list[0]["target_id"].as_str().unwrap();
    assert_eq!((&list[0]["job"], &list[0]["provider"]), (&json!("shop"), &json!("file")));
    let (status, problem) =
        node.send(node.http().delete(node.url(&format!("/api/v1/metrics/targets/{id}")))).await;
    assert_eq!(status, 409, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("job \"shop\""), "{problem}");

    let (_, groups) = node.get("/api/v1/metrics/http_sd").await;
    let group = &groups.as_array().unwrap()[0];
    let mut served: Vec<&str> =
        group["targets"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    served.sort_unstable();
    let mut both = [address(&first), address(&second)];
    both.sort_unstable();
    assert_eq!(served, both, "equal labels make one group: {groups}");
    assert_eq!((&group["labels"]["job"], &group["labels"]["zone"]), (&json!("shop"), &json!("a")));

    write_targets(&folder.0, &json!([group_of(&second)]));
    eventually("the first one's end", 10, async || (active(&node).await.len() == 1).then_some(())).await;
    eventually("its series' end", 10, async || {
        node.query(&format!("up{{instance=\"{}\"}}", address(&first))).await.is_empty().then_some(())
    })
    .await;
}

fn group_of(page: &PageTarget) -> Value {
    json!({"targets": [address(page)], "labels": {"__meta_kind": "web", "zone": "a"}})
}

/// Dropped targets, providers and the state of the file show.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_dropped_and_what_is_wrong_is_shown() {
    let folder = Folder::new();
    let page = PageTarget::start("value 1\n").await;
    write_config(&folder.0, "shop", "");
    write_targets(
        &folder.0,
        &json!([group_of(&page), {"targets": ["127.0.0.1:1"], "labels": {"__meta_kind": "ignored"}}]),
    );
    let node = start(&folder).start().await;
    eventually("the target", 15, async || up(&node, &address(&page)).await).await;
    let dropped = eventually("the dropped one", 10, async || {
        let data = data(&node, "/api/v1/targets?state=dropped").await;
        (data["droppedTargets"] != json!([])).then_some(data)
    })
    .await;
    assert_eq!(dropped["activeTargets"], json!([]));
    assert_eq!(dropped["droppedTargets"][0]["discoveredLabels"]["__address__"], "127.0.0.1:1");
    assert_eq!(dropped["droppedTargetCounts"], json!({"shop": 1}));
    let (_, discovery) = node.get("/api/v1/metrics/discovery").await;
    assert_eq!(discovery["config"]["last_reload_successful"], true, "{discovery}");
    let job = &discovery["jobs"][0];
    assert_eq!((&job["job"], &job["active"], &job["dropped"]), (&json!("shop"), &json!(1), &json!(1)));
    let provider = &job["providers"][0];
    assert_eq!((&provider["provider"], &provider["targets"]), (&json!("file"), &json!(2)), "{provider}");
    assert!(provider["age_seconds"].as_f64().is_some_and(|age| age < 60.0), "{provider}");

    // A bad file changes nothing, whoever asks for it.
    let served = page.served();
    replace(
        &folder.0.join("prometheus.yml"),
        "scrape_configs:\n  - job_name: shop\n    scrape_interval: soon\n",
    );
    let reload = || node.send(node.http().post(node.url("/-/reload")));
    let (status, problem) = reload().await;
    assert_eq!(status, 422, "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("prometheus.yml:3:") && detail.contains("nothing has changed"), "{detail}");
    assert_eq!(node.own_metric("metricsd_config_last_reload_successful").await, 0.0);
    eventually("the error in the answer", 10, async || {
        let (_, discovery) = node.get("/api/v1/metrics/discovery").await;
        let errors = discovery["config"]["errors"].as_array().map_or(0, Vec::len);
        (errors == 1 && discovery["config"]["last_reload_successful"] == false).then_some(())
    })
    .await;
    eventually("more scrapes", 10, async || (page.served() > served + 3).then_some(())).await;
    assert_eq!(active(&node).await.len(), 1);

    // Another job in its place: the answer comes when it runs.
    write_config(&folder.0, "market", "");
    let (status, reloaded) = reload().await;
    assert_eq!((status, &reloaded["jobs"]), (200, &json!(1)), "{reloaded}");
    assert_eq!(node.own_metric("metricsd_config_last_reload_successful").await, 1.0);
    eventually("the new job's target", 10, async || {
        let found = node.query("up{job=\"market\"} == 1").await;
        (!found.is_empty()).then_some(())
    })
    .await;
    eventually("the old job's end", 10, async || {
        let pools = data(&node, "/api/v1/scrape_pools").await;
        (pools == json!({"scrapePools": ["market"]})).then_some(())
    })
    .await;
    // Whatever is brought again later is not of a job that is gone.
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        let pools = data(&node, "/api/v1/scrape_pools").await;
        assert_eq!(pools, json!({"scrapePools": ["market"]}), "what is gone stays away");
    }
}

/// SIGHUP asks for files to be read again; where there are none it is no end.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_jobs_outlives_sighup() {
    let folder = Folder::new();
    let mut node = Start::new(&folder.0).start().await;
    node.signal("HUP").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(node.get("/api/v1/metrics/discovery").await.0, 200);
    let (_, ended) = node.terminate().await;
    assert!(ended.success(), "{ended}");
}

/// What was found stays while the process is down and while its providers have not answered yet.
#[tokio::test(flavor = "multi_thread")]
async fn targets_outlive_a_restart_and_a_provider_that_is_away() {
    let folder = Folder::new();
    let page = PageTarget::start("value 1\n").await;
    write_config(&folder.0, "shop", "");
    write_targets(&folder.0, &json!([group_of(&page)]));
    let start = start(&folder);
    let mut node = start.start().await;
    eventually("the target", 15, async || up(&node, &address(&page)).await).await;
    let before = active(&node).await;
    node.terminate().await;
    replace(&folder.0.join("targets.json"), "[{\"targets\": [");
    let node = start.start().await;
    let served = page.served();
    eventually("scrapes", 15, async || (page.served() > served + 3).then_some(())).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = active(&node).await;
    assert_eq!(after.len(), 1, "a provider that cannot answer says nothing of its targets");
    assert_eq!(after[0]["labels"], before[0]["labels"]);
    let (_, discovery) = node.get("/api/v1/metrics/discovery").await;
    assert!(discovery["jobs"][0]["providers"][0]["error"].is_string(), "{discovery}");

    // Without the key the targets of its jobs go.
    let mut node = node;
    node.terminate().await;
    let node = Start::new(&folder.0).start().await;
    eventually("their end", 10, async || active(&node).await.is_empty().then_some(())).await;
}

/// Registered by itself, renewed by repeating it, gone when it lapses.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_registers_itself() {
    let folder = Folder::new();
    let page = PageTarget::start("value 1\n").await;
    let node = Start::new(&folder.0).start().await;
    let request = json!({
        "source_id": "cart", "ttl": "2s", "collection_method": "PULL_SCRAPING",
        "scrape_config": {"target_url": page.url, "scrape_interval": "200ms", "scrape_timeout": "200ms"}
    });
    let put = || node.send(node.http().put(node.url("/api/v1/metrics/targets/cart-1")).json(&request));
    let (status, made) = put().await;
    assert_eq!((status, &made["origin"]), (201, &json!("registered")), "{made}");
    eventually("a scrape", 10, async || (page.served() > 0).then_some(())).await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        let (status, renewed) = put().await;
        assert_eq!(status, 200, "{renewed}");
        assert!(renewed["expires_at"].as_str() > made["expires_at"].as_str());
    }
    let target = || node.get("/api/v1/metrics/targets/cart-1");
    assert_eq!(target().await.0, 200, "it outlives its first ttl");
    eventually("its end", 10, async || (target().await.0 == 404).then_some(())).await;
    assert!(node.query("up{job=\"cart\"}").await.is_empty(), "its series have ended");
}

/// Two processes at one database: one runs discovery, and the other takes over when it is killed.
#[tokio::test(flavor = "multi_thread")]
async fn another_process_takes_over() {
    let database = Database::create().await;
    let (folder, other) = (Folder::new(), Folder::new());
    let (first, second) = (PageTarget::start("value 1\n").await, PageTarget::start("value 2\n").await);
    write_config(&folder.0, "shop", "");
    write_targets(&folder.0, &json!([group_of(&first)]));
    let config = folder.0.join("prometheus.yml");
    let node = |data: &'_ Folder| {
        let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let (data, config) = (data.0.clone(), config.clone());
        let url = database.url();
        async move {
            Start::new(&data)
                .env("METRICSD_STORAGE_URL", url)
                .env("METRICSD_SECRETS_KEY", key)
                .env("METRICSD_DISCOVERY_PROMETHEUS_CONFIG", config.to_str().unwrap())
                .start()
                .await
        }
    };
    let nodes = [node(&folder).await, node(&other).await];
    eventually("the target", 20, async || up(&nodes[0], &address(&first)).await).await;
    let mut leading = [0.0; 2];
    for (leads, node) in leading.iter_mut().zip(&nodes) {
        *leads = node.own_metric("metricsd_discovery_leading").await;
    }
    assert_eq!(leading.iter().sum::<f64>(), 1.0, "one leads: {leading:?}");
    let (mut leader, follower) = match nodes {
        [a, b] if leading[0] == 1.0 => (a, b),
        [a, b] => (b, a),
    };
    let (_, seen) = follower.get("/api/v1/metrics/discovery").await;
    assert_eq!(seen["config"]["process"], leader.address, "the other one shows who leads: {seen}");
    leader.kill().await;
    write_targets(&folder.0, &json!([group_of(&first), group_of(&second)]));
    eventually("the lead", 20, async || {
        (follower.own_metric("metricsd_discovery_leading").await == 1.0).then_some(())
    })
    .await;
    eventually("the second target", 20, async || up(&follower, &address(&second)).await).await;
    drop((leader, follower));
    database.remove().await;
}

/// Ten thousand targets come into the catalogue soon, and go as soon.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_targets_are_taken_up() {
    let folder = Folder::new();
    write_config(&folder.0, "large", "    scrape_interval: 1h\n    scrape_timeout: 10s\n");
    let addresses: Vec<String> =
        (0..10_000).map(|n| format!("127.1.{}.{}:9", n / 250, n % 250 + 1)).collect();
    write_targets(&folder.0, &json!([{"targets": addresses}]));
    let started = std::time::Instant::now();
    let node = start(&folder).start().await;
    let count = async || {
        let (_, discovery) = node.get("/api/v1/metrics/discovery").await;
        discovery["jobs"][0]["active"].as_u64()
    };
    eventually("ten thousand targets", 60, async || (count().await == Some(10_000)).then_some(())).await;
    println!("10,000 targets were in the catalogue {:?} after the start", started.elapsed());
    assert_eq!(active(&node).await.len(), 10_000);
    write_targets(&folder.0, &json!([{"targets": &addresses[..10]}]));
    eventually("ten targets", 60, async || (active(&node).await.len() == 10).then_some(())).await;
}
