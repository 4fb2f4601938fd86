//! Against a real API server, where one is installed.

mod common;

use std::time::{Duration, Instant};

use common::real::RealApi;
use common::{Run, config, objects};
use metricsd_discovery::config::{KubernetesRole, KubernetesSd, KubernetesSelector};
use metricsd_discovery::provider::Lifecycle;
use serde_json::json;

/// A server with the objects of the small cluster; `None`, and a word about it, where none is installed.
async fn cluster(name: &str) -> Option<RealApi> {
    let Some(api) = RealApi::start(name).await else {
        eprintln!("skipped: no kube-apiserver; `scripts/services.sh kubernetes` installs one");
        return None;
    };
    for (collection, object) in objects::all() {
        api.create(&collection, &object).await;
    }
    Some(api)
}

fn settings(api: &RealApi, role: KubernetesRole) -> KubernetesSd {
    KubernetesSd { http: api.options(), namespaces: vec!["shop".into()], ..config(&api.url(), role) }
}

#[tokio::test]
async fn pods_are_added_changed_and_removed() {
    let Some(api) = cluster("pods").await else { return };
    let run = Run::start(settings(&api, KubernetesRole::Pod)).await;
    run.found(&["10.2.0.1", "10.2.0.1:12201", "10.2.0.1:8080", "10.2.0.1:9090"]).await;

    // It gets its address, becomes ready, is being deleted, and is gone.
    let path = format!("{}/web-b", objects::shop("pods"));
    let lifecycles = |run: &Run| {
        let of_b = |target: &metricsd_discovery::manager::FoundTarget| {
            target.labels["__meta_kubernetes_pod_name"] == "web-b"
        };
        let mut all: Vec<_> = run.targets().into_iter().filter(of_b).map(|target| target.lifecycle).collect();
        all.dedup();
        all
    };
    assert_eq!(lifecycles(&run), []);
    let status = |ready: &str| json!({"status": objects::pod("web-b", "10.2.0.2", ready)["status"]});
    api.patch(&format!("{path}/status"), &status("False")).await;
    run.until("starting", |run| lifecycles(run) == [Lifecycle::Starting]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    for (change, lifecycle) in [("ready", Lifecycle::Ready), ("deleted", Lifecycle::Ending)] {
        match change {
            "ready" => api.patch(&format!("{path}/status"), &status("True")).await,
            _ => api.delete(&path).await,
        }
        let start = Instant::now();
        run.until(change, |run| lifecycles(run) == [lifecycle]).await;
        println!("{change}: told after {:?}", start.elapsed());
        assert!(start.elapsed() < Duration::from_millis(800), "{change} took {:?}", start.elapsed());
    }
    api.patch(&path, &json!({"metadata": {"finalizers": null}})).await;
    let _ = api.request("DELETE", &format!("{path}?gracePeriodSeconds=0"), None).await;
    run.until("gone", |run| lifecycles(run).is_empty()).await;
    run.stop().await;
}

#[tokio::test]
async fn an_api_server_that_is_away_keeps_what_was_found() {
    let Some(mut api) = cluster("away").await else { return };
    let run = Run::start(settings(&api, KubernetesRole::Endpoints)).await;
    let found = ["10.2.0.1:12201", "10.2.0.1:8080", "10.2.0.1:9090", "10.9.9.9:8080"];
    run.found(&found).await;
    api.kill_server();
    run.until("failing", |run| run.status().last_error.is_some()).await;
    tokio::time::sleep(Duration::from_secs(if std::env::var_os("METRICSD_TEST_LONG").is_some() {
        60
    } else {
        8
    }))
    .await;
    assert_eq!(run.addresses(), found);
    let failures = run.status().failures;
    assert!(failures < 60, "it backs off: {failures} failures");
    api.start_server().await;
    run.until("back", |run| run.status().last_error.is_none()).await;
    api.create(&objects::shop("pods"), &objects::pod("web-c", "10.2.0.3", "True")).await;
    let subsets = json!({"subsets": [{
        "addresses": [{"ip": "10.2.0.3", "targetRef": {"kind": "Pod", "name": "web-c", "namespace": "shop"}}],
        "ports": [{"port": 8080, "protocol": "TCP"}]
    }]});
    api.patch(&format!("{}/web", objects::shop("endpoints")), &subsets).await;
    run.found(&["10.2.0.3:12201", "10.2.0.3:8080", "10.2.0.3:9090"]).await;
    assert_eq!(run.status().last_error, None);
    run.stop().await;
}

#[tokio::test]
async fn selectors_and_namespaces_narrow_what_is_found() {
    let Some(api) = cluster("selectors").await else { return };
    let mut labelled = objects::pod("web-l", "10.2.0.9", "True");
    labelled["metadata"]["labels"]["only"] = json!("this");
    api.create(&objects::shop("pods"), &labelled).await;
    let selector = |label: Option<&str>, field: Option<&str>| KubernetesSelector {
        role: KubernetesRole::Pod,
        label: label.map(str::to_owned),
        field: field.map(str::to_owned),
    };
    for selector in [selector(Some("only=this"), None), selector(None, Some("metadata.name=web-l"))] {
        let settings = KubernetesSd { selectors: vec![selector], ..settings(&api, KubernetesRole::Pod) };
        let run = Run::start(settings).await;
        run.found(&["10.2.0.9", "10.2.0.9:12201", "10.2.0.9:8080", "10.2.0.9:9090"]).await;
        run.stop().await;
    }
    let elsewhere =
        KubernetesSd { namespaces: vec!["default".into()], ..settings(&api, KubernetesRole::Pod) };
    let run = Run::start(elsewhere).await;
    run.complete().await;
    assert_eq!(run.addresses(), [""; 0]);
    run.stop().await;
}

#[tokio::test]
async fn a_kubeconfig_file_says_where_and_who() {
    let Some(api) = cluster("kubeconfig").await else { return };
    let path = std::env::temp_dir().join(format!("metricsd-kubeconfig-{}", std::process::id()));
    let file = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": api.url(), "insecure-skip-tls-verify": true}}],
        "users": [{"name": "u", "user": {"token": api.token()}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}]
    });
    let settings = KubernetesSd {
        api_server: None,
        kubeconfig_file: Some(path.display().to_string()),
        own_namespace: true,
        ..config("", KubernetesRole::Service)
    };
    // The file may come later.
    let run = Run::start(settings).await;
    run.until("failing", |run| run.status().last_error.is_some()).await;
    let error = run.status().last_error.unwrap();
    assert!(error.starts_with("the kubeconfig file") && error.contains("No such file"), "{error}");
    std::fs::write(&path, file.to_string()).unwrap();
    run.found(&["away.shop.svc:5432", "web.shop.svc:53", "web.shop.svc:80"]).await;
    run.stop().await;
    std::fs::remove_file(&path).unwrap();
}

/// What stands behind endpoints shows at once: labels of their pods and services, and ports that a pod has beside.
#[tokio::test]
async fn endpoints_and_slices_follow_the_pods_and_services_behind_them() {
    for (name, role) in [("endpoints", KubernetesRole::Endpoints), ("slices", KubernetesRole::EndpointSlice)]
    {
        let Some(api) = cluster(name).await else { return };
        let run = Run::start(settings(&api, role)).await;
        run.found(&["10.2.0.1:12201", "10.2.0.1:8080", "10.2.0.1:9090", "10.9.9.9:8080"]).await;
        let with = |run: &Run, label: &str, value: &str| {
            let targets = run.targets();
            let labelled = |target: &&metricsd_discovery::manager::FoundTarget| {
                target.labels.get(label).is_some_and(|found| found == value)
            };
            targets.iter().filter(labelled).count()
        };
        assert_eq!(with(&run, "__meta_kubernetes_pod_name", "web-a"), 3);
        let label = |name: &str, value: &str| json!({"metadata": {"labels": {name: value}}});
        api.patch(&format!("{}/web-a", objects::shop("pods")), &label("wave", "2")).await;
        run.until("the pod's label", |run| with(run, "__meta_kubernetes_pod_label_wave", "2") == 3).await;
        api.patch(&format!("{}/web", objects::shop("services")), &label("tier", "back")).await;
        run.until("the service's label", |run| {
            with(run, "__meta_kubernetes_service_label_tier", "back") == 4
        })
        .await;
        // Without its pod an address is a target by what its endpoint says alone.
        api.patch(&format!("{}/web-a", objects::shop("pods")), &json!({"metadata": {"finalizers": null}}))
            .await;
        let path = format!("{}/web-a?gracePeriodSeconds=0", objects::shop("pods"));
        let _ = api.request("DELETE", &path, None).await;
        run.found(&["10.2.0.1:8080", "10.9.9.9:8080"]).await;
        assert_eq!(with(&run, "__meta_kubernetes_pod_label_wave", "2"), 0);
        // And it goes with its endpoint.
        let (collection, object) = match role {
            KubernetesRole::Endpoints => ("endpoints", "web"),
            _ => ("endpointslices", "web-x"),
        };
        api.delete(&format!("{}/{object}", objects::shop(collection))).await;
        run.found(&[]).await;
        assert_eq!(run.status().last_error, None);
        run.stop().await;
    }
}
