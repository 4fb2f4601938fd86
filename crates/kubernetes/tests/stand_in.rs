//! Against a stand-in for the API server, which can be made to forget, to end watches and to be away.

mod common;

use std::time::Duration;

use common::stand_in::StandIn;
use common::{Run, config, labels, objects};
use metricsd_discovery::config::{KubernetesRole, KubernetesSd, KubernetesSelector};
use metricsd_discovery::provider::{FoundLabels, Lifecycle};
use serde_json::json;

async fn cluster() -> (StandIn, String) {
    let (server, url) = StandIn::start().await;
    for (collection, object) in objects::all() {
        server.put(&collection, object);
    }
    (server, url)
}

fn pods() -> String {
    objects::shop("pods")
}

/// The addresses of a pod of the small cluster.
fn addresses(ips: &[&str]) -> Vec<String> {
    let mut all: Vec<_> = ips
        .iter()
        .flat_map(|ip| ["", ":12201", ":8080", ":9090"].map(|port| format!("{ip}{port}")))
        .collect();
    all.sort();
    all
}

async fn found_pods(run: &Run, ips: &[&str]) -> Duration {
    run.until(&format!("found {ips:?}"), |run| run.addresses() == addresses(ips)).await
}

#[tokio::test]
async fn pods_are_added_changed_and_removed_over_one_watch() {
    let (server, url) = cluster().await;
    let run = Run::start(config(&url, KubernetesRole::Pod)).await;
    found_pods(&run, &["10.2.0.1"]).await;
    server.put(&pods(), objects::pod("web-b", "10.2.0.2", "False"));
    found_pods(&run, &["10.2.0.1", "10.2.0.2"]).await;
    server.put(&pods(), objects::pod("web-b", "10.2.0.3", "False"));
    found_pods(&run, &["10.2.0.1", "10.2.0.3"]).await;
    server.delete(&pods(), "web-b");
    found_pods(&run, &["10.2.0.1"]).await;
    let asked = server.asked();
    assert_eq!(asked.len(), 2, "one list and one watch: {asked:?}");
    assert!(asked[0].starts_with("/api/v1/pods ") && asked[0].contains("limit=500"), "{asked:?}");
    assert!(asked[1].contains("watch=true") && asked[1].contains("allowWatchBookmarks=true"), "{asked:?}");
    run.stop().await;
}

#[tokio::test]
async fn a_pod_that_becomes_ready_or_is_being_deleted_is_told_within_a_tenth_of_a_second() {
    let (server, url) = cluster().await;
    let run = Run::start(config(&url, KubernetesRole::Pod)).await;
    found_pods(&run, &["10.2.0.1"]).await;
    server.put(&pods(), objects::pod("web-b", "10.2.0.2", "False"));
    found_pods(&run, &["10.2.0.1", "10.2.0.2"]).await;
    let lifecycle = |run: &Run, wanted| {
        let targets = run.targets();
        targets.iter().filter(|target| target.lifecycle == wanted).count() == 4
    };
    let mut ending = objects::pod("web-b", "10.2.0.2", "True");
    ending["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    for (pod, wanted) in
        [(objects::pod("web-b", "10.2.0.2", "True"), Lifecycle::Ready), (ending, Lifecycle::Ending)]
    {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        server.put(&pods(), pod);
        let all_ready = if wanted == Lifecycle::Ready { 8 } else { 4 };
        let so = |run: &Run| {
            let count = run.targets().iter().filter(|target| target.lifecycle == wanted).count();
            count == all_ready || (wanted == Lifecycle::Ending && lifecycle(run, wanted))
        };
        let took = run.until("told", so).await;
        println!("{wanted:?} after {took:?}");
        // 25 ms here, 50 ms in the manager; the rest is for a busy machine.
        assert!(took < Duration::from_millis(600), "{took:?}");
    }
    run.stop().await;
}

#[tokio::test]
async fn a_watch_goes_on_from_where_it_was() {
    let (server, url) = cluster().await;
    let run = Run::start(config(&url, KubernetesRole::Pod)).await;
    found_pods(&run, &["10.2.0.1"]).await;
    // Something else changes, which only bookmarks tell of.
    server.put(objects::NODES, objects::node());
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.asked();
    server.end_watches();
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.put(&pods(), objects::pod("web-b", "10.2.0.2", "True"));
    found_pods(&run, &["10.2.0.1", "10.2.0.2"]).await;
    let asked = server.asked();
    assert!(!asked.is_empty() && asked.iter().all(|asked| asked.contains("watch=true")), "{asked:?}");
    assert!(asked[0].contains("resourceVersion=110"), "from the last bookmark: {asked:?}");
    run.stop().await;
}

#[tokio::test]
async fn after_410_gone_everything_is_listed_again() {
    let (server, url) = cluster().await;
    server.put(&pods(), objects::pod("web-c", "10.2.0.4", "True"));
    let run = Run::start(config(&url, KubernetesRole::Pod)).await;
    found_pods(&run, &["10.2.0.1", "10.2.0.4"]).await;
    server.asked();
    // While nobody could see it, one pod goes, one comes and one changes.
    server.set_away(true);
    run.until("failing", |run| run.status().last_error.is_some()).await;
    server.delete(&pods(), "web-c");
    server.put(&pods(), objects::pod("web-a", "10.2.0.8", "True"));
    server.put(&pods(), objects::pod("web-d", "10.2.0.5", "True"));
    server.forget();
    assert_eq!(run.addresses(), addresses(&["10.2.0.1", "10.2.0.4"]), "what was found stands");
    server.set_away(false);
    found_pods(&run, &["10.2.0.5", "10.2.0.8"]).await;
    let asked = server.asked();
    assert!(asked.iter().any(|asked| !asked.contains("watch=true")), "{asked:?}");
    run.until("mended", |run| run.status().last_error.is_none()).await;
    run.stop().await;
}

#[tokio::test]
async fn an_api_that_is_away_backs_off_and_is_found_again() {
    let (server, url) = cluster().await;
    let run = Run::start(config(&url, KubernetesRole::Node)).await;
    run.found(&["10.0.0.1:10250"]).await;
    server.set_away(true);
    run.until("failing", |run| run.status().last_error.is_some()).await;
    let error = run.status().last_error.unwrap();
    assert!(error.contains("/api/v1/nodes") && error.contains("503"), "{error}");
    server.asked();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let asked = server.asked().len();
    assert!((2..=6).contains(&asked), "0.5, 1, 2, 4 s: {asked}");
    assert_eq!(run.addresses(), ["10.0.0.1:10250"]);
    server.set_away(false);
    // Nothing has changed, and yet the error goes.
    run.until("back", |run| run.status().last_error.is_none()).await;
    run.stop().await;
}

#[tokio::test]
async fn an_api_that_is_away_at_the_start_is_waited_for() {
    let (server, url) = cluster().await;
    server.set_away(true);
    let run = Run::start(config(&url, KubernetesRole::Node)).await;
    run.until("failing", |run| run.status().failures >= 2).await;
    assert!(!run.status().complete);
    server.set_away(false);
    run.found(&["10.0.0.1:10250"]).await;
    assert!(run.status().complete);
    run.stop().await;
}

#[tokio::test]
async fn lists_come_in_pages_and_selectors_go_to_the_server() {
    let (server, url) = StandIn::start().await;
    for number in 0..1201 {
        let mut node = objects::node();
        node["metadata"]["name"] = json!(format!("n{number}"));
        node["metadata"]["labels"]["parity"] = json!(if number % 2 == 0 { "even" } else { "odd" });
        server.put(objects::NODES, node);
    }
    let selector =
        KubernetesSelector { role: KubernetesRole::Node, label: Some("parity=even".into()), field: None };
    let run =
        Run::start(KubernetesSd { selectors: vec![selector], ..config(&url, KubernetesRole::Node) }).await;
    run.until("found", |run| run.addresses().len() == 601).await;
    let lists = server.asked().into_iter().filter(|asked| !asked.contains("watch=true")).count();
    assert_eq!(lists, 2, "601 in pages of 500");
    run.stop().await;
}

#[tokio::test]
async fn each_namespace_is_watched_once_for_each_kind() {
    let (server, url) = cluster().await;
    let settings = KubernetesSd {
        namespaces: vec!["shop".into(), "other".into(), "shop".into()],
        attach_node: true,
        attach_namespace: true,
        ..config(&url, KubernetesRole::Endpoints)
    };
    let run = Run::start(settings).await;
    run.complete().await;
    let mut watches: Vec<_> =
        server.asked().into_iter().filter(|asked| asked.contains("watch=true")).collect();
    for _ in 0..100 {
        if watches.len() >= 9 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        watches.extend(server.asked().into_iter().filter(|asked| asked.contains("watch=true")));
    }
    let mut paths: Vec<_> = watches.iter().map(|asked| asked.split(' ').next().unwrap()).collect();
    paths.sort_unstable();
    assert_eq!(
        paths,
        [
            "/api/v1/namespaces",
            "/api/v1/namespaces",
            "/api/v1/namespaces/other/endpoints",
            "/api/v1/namespaces/other/pods",
            "/api/v1/namespaces/other/services",
            "/api/v1/namespaces/shop/endpoints",
            "/api/v1/namespaces/shop/pods",
            "/api/v1/namespaces/shop/services",
            "/api/v1/nodes",
        ]
    );
    assert!(watches.iter().any(|asked| asked.contains("fieldSelector=metadata.name=shop")));
    run.stop().await;
}

#[tokio::test]
async fn what_a_group_is_made_of_changes_it() {
    let (server, url) = cluster().await;
    let settings =
        KubernetesSd { attach_node: true, attach_namespace: true, ..config(&url, KubernetesRole::Endpoints) };
    let run = Run::start(settings).await;
    run.complete().await;
    let has = |name: &'static str, value: &'static str| {
        move |run: &Run| {
            run.labels().iter().any(|labels| labels.get(name).is_some_and(|found| found == value))
        }
    };
    let mut service = objects::service();
    service["metadata"]["labels"]["tier"] = json!("back");
    server.put(&objects::shop("services"), service);
    run.until("service", has("__meta_kubernetes_service_label_tier", "back")).await;
    let mut node = objects::node();
    node["metadata"]["labels"]["rack"] = json!("r1");
    server.put(objects::NODES, node);
    run.until("node", has("__meta_kubernetes_node_label_rack", "r1")).await;
    let mut namespace = objects::namespace("shop");
    namespace["metadata"]["labels"]["team"] = json!("red");
    server.put(objects::NAMESPACES, namespace);
    run.until("namespace", has("__meta_kubernetes_namespace_label_team", "red")).await;
    server.put(&pods(), objects::pod("web-a", "10.2.0.1", "False"));
    run.until("pod", has("__meta_kubernetes_pod_ready", "false")).await;
    server.delete(&objects::shop("services"), "web");
    let without =
        |run: &Run| run.labels().iter().all(|labels| !labels.contains_key("__meta_kubernetes_service_name"));
    run.until("no service", without).await;
    run.stop().await;
}

/// The labels of the target at an address, and of a container where several targets are there.
async fn target(role: KubernetesRole, address: &str, container: &str) -> FoundLabels {
    let (_server, url) = cluster().await;
    let run = Run::start(config(&url, role)).await;
    run.complete().await;
    run.until("found", |run| !run.targets().is_empty()).await;
    let is_it = |labels: &FoundLabels| {
        let name = labels.get("__meta_kubernetes_pod_container_name").map(String::as_str).unwrap_or_default();
        labels["__address__"] == address && (container.is_empty() || name == container)
    };
    let found = run.labels().into_iter().find(is_it);
    let found = found.unwrap_or_else(|| panic!("{address} is not among {:?}", run.addresses()));
    run.stop().await;
    found
}

#[tokio::test]
async fn a_node_has_the_documented_labels() {
    let expected = labels(&[
        ("__address__", "10.0.0.1:10250"),
        ("instance", "node1"),
        ("__meta_kubernetes_node_name", "node1"),
        ("__meta_kubernetes_node_provider_id", "cloud://n1"),
        ("__meta_kubernetes_node_label_topology_kubernetes_io_zone", "z1"),
        ("__meta_kubernetes_node_labelpresent_topology_kubernetes_io_zone", "true"),
        ("__meta_kubernetes_node_annotation_note", ""),
        ("__meta_kubernetes_node_annotationpresent_note", "true"),
        ("__meta_kubernetes_node_address_InternalIP", "10.0.0.1"),
        ("__meta_kubernetes_node_address_ExternalIP", "1.2.3.4"),
        ("__meta_kubernetes_node_address_Hostname", "node1"),
    ]);
    assert_eq!(target(KubernetesRole::Node, "10.0.0.1:10250", "").await, expected);
}

#[tokio::test]
async fn a_pod_has_the_documented_labels() {
    let expected = labels(&[
        ("__address__", "10.2.0.1:8080"),
        ("__meta_kubernetes_namespace", "shop"),
        ("__meta_kubernetes_pod_name", "web-a"),
        ("__meta_kubernetes_pod_ip", "10.2.0.1"),
        ("__meta_kubernetes_pod_host_ip", "10.0.0.1"),
        ("__meta_kubernetes_pod_phase", "Running"),
        ("__meta_kubernetes_pod_ready", "true"),
        ("__meta_kubernetes_pod_node_name", "node1"),
        ("__meta_kubernetes_pod_controller_kind", "ReplicaSet"),
        ("__meta_kubernetes_pod_controller_name", "web-1"),
        ("__meta_kubernetes_pod_label_app_kubernetes_io_name", "web"),
        ("__meta_kubernetes_pod_labelpresent_app_kubernetes_io_name", "true"),
        ("__meta_kubernetes_pod_annotation_prometheus_io_scrape", "true"),
        ("__meta_kubernetes_pod_annotationpresent_prometheus_io_scrape", "true"),
        ("__meta_kubernetes_pod_container_name", "app"),
        ("__meta_kubernetes_pod_container_image", "app:1"),
        ("__meta_kubernetes_pod_container_id", "containerd://app"),
        ("__meta_kubernetes_pod_container_init", "false"),
        ("__meta_kubernetes_pod_container_port_name", "http"),
        ("__meta_kubernetes_pod_container_port_number", "8080"),
        ("__meta_kubernetes_pod_container_port_protocol", "TCP"),
    ]);
    assert_eq!(target(KubernetesRole::Pod, "10.2.0.1:8080", "").await, expected);
    // A container without ports has a target without one.
    let init = target(KubernetesRole::Pod, "10.2.0.1", "init").await;
    assert_eq!(init["__meta_kubernetes_pod_container_init"], "true");
    assert_eq!(init["__meta_kubernetes_pod_container_id"], "containerd://init");
    assert!(!init.contains_key("__meta_kubernetes_pod_container_port_number"));
}

#[tokio::test]
async fn an_ingress_has_the_documented_labels() {
    let (_server, url) = cluster().await;
    let run = Run::start(config(&url, KubernetesRole::Ingress)).await;
    run.until("found", |run| !run.targets().is_empty()).await;
    let shown = |labels: FoundLabels| {
        let get = |name: &str| labels[&format!("__meta_kubernetes_ingress_{name}")].clone();
        assert_eq!(
            (get("class_name"), get("name"), get("label_i")),
            ("nginx".into(), "front".into(), "1".into())
        );
        (labels["__address__"].clone(), get("scheme"), get("path"))
    };
    let found: Vec<_> = run.labels().into_iter().map(shown).collect();
    let expected = [
        ("safe.example.org", "https", "/"),
        ("safe.example.org", "https", "/api"),
        ("a.wild.example.org", "https", "/"),
        ("a.b.wild.example.org", "http", "/"),
        ("plain.example.org", "http", "/"),
        ("", "http", "/any"),
    ];
    assert_eq!(
        found,
        expected.map(|(host, scheme, path)| (host.to_owned(), scheme.to_owned(), path.to_owned()))
    );
    run.stop().await;
}
