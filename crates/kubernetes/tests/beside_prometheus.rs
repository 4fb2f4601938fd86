//! Beside a real Prometheus, on one real API server: the same targets with the same labels. Where both are installed.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::real::{RealApi, free_port};
use common::{Run, config, objects};
use metricsd_discovery::config::{KubernetesRole, KubernetesSd};
use metricsd_discovery::provider::FoundLabels;

const ROLES: [(&str, KubernetesRole); 6] = [
    ("node", KubernetesRole::Node),
    ("service", KubernetesRole::Service),
    ("pod", KubernetesRole::Pod),
    ("endpoints", KubernetesRole::Endpoints),
    ("endpointslice", KubernetesRole::EndpointSlice),
    ("ingress", KubernetesRole::Ingress),
];

struct Prometheus {
    child: Child,
    folder: PathBuf,
    port: u16,
}

impl Prometheus {
    fn start(api: &RealApi) -> Option<Self> {
        let program = PathBuf::from(std::env::var_os("METRICSD_TEST_PEERS_DIR")?).join("prometheus");
        if !program.exists() {
            return None;
        }
        let folder = std::env::temp_dir().join(format!("metricsd-beside-prometheus-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let job = |(role, _): &(&str, KubernetesRole)| {
            let attach = if *role == "ingress" || *role == "service" || *role == "node" {
                ""
            } else {
                "attach_metadata: {node: true}, "
            };
            // It shows only targets that have an address and differ after relabelling.
            format!(
                "- job_name: {role}\n  scrape_interval: 1h\n  kubernetes_sd_configs:\n  - {{role: {role}, \
                 {attach}api_server: '{}', namespaces: {{names: [shop]}}, authorization: {{credentials: {}}}, \
                 tls_config: {{insecure_skip_verify: true}}}}\n  relabel_configs:\n  - {{action: labelmap, regex: '__(.+)'}}\n  \
                 - {{target_label: __address__, replacement: 'x:1'}}\n",
                api.url(),
                api.token()
            )
        };
        let file = format!("scrape_configs:\n{}", ROLES.iter().map(job).collect::<String>());
        std::fs::write(folder.join("prometheus.yml"), file).unwrap();
        let port = free_port();
        let child = Command::new(program)
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        Some(Self { child, folder, port })
    }

    /// What it has found for each job, without what it adds to every target.
    async fn found(&self, api: &RealApi) -> BTreeMap<String, BTreeSet<FoundLabels>> {
        let url = format!("http://127.0.0.1:{}/api/v1/targets?state=active", self.port);
        let mut found = BTreeMap::<String, BTreeSet<FoundLabels>>::new();
        let Ok((200, answer)) = api.request_at("GET", &url, None).await else { return found };
        for target in answer["data"]["activeTargets"].as_array().unwrap() {
            let mut labels: FoundLabels = serde_json::from_value(target["discoveredLabels"].clone()).unwrap();
            let added = ["__scheme__", "__metrics_path__", "__scrape_interval__", "__scrape_timeout__"];
            added.iter().for_each(|name| drop(labels.remove(*name)));
            found.entry(labels.remove("job").unwrap()).or_default().insert(labels);
        }
        found
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Labels that have a value: one without is the same as none.
fn shown(labels: FoundLabels) -> FoundLabels {
    labels.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

/// Without what the documentation promises of targets behind endpoints, and Prometheus 2.53 leaves out: the id and kind of a
/// container, and the node of the further ports of a pod.
fn without_promised(role: KubernetesRole, mut labels: FoundLabels) -> FoundLabels {
    if matches!(role, KubernetesRole::Endpoints | KubernetesRole::EndpointSlice) {
        let endpoint = |name: &String| name.contains("_endpoint_") || name.contains("_endpointslice_port");
        let further = !labels.keys().any(endpoint);
        let promised = |name: &str| {
            name.starts_with("__meta_kubernetes_pod_container_i") && !name.ends_with("image")
                || further && name.starts_with("__meta_kubernetes_node_")
        };
        labels.retain(|name, _| !promised(name));
    }
    labels
}

#[tokio::test]
async fn the_same_targets_have_the_same_labels() {
    let Some(api) = RealApi::start("beside").await else { return eprintln!("skipped: no kube-apiserver") };
    for (collection, object) in objects::all() {
        api.create(&collection, &object).await;
    }
    let Some(prometheus) = Prometheus::start(&api) else { return eprintln!("skipped: no prometheus") };
    let mut theirs = BTreeMap::new();
    for _ in 0..200 {
        theirs = prometheus.found(&api).await;
        if theirs.len() == ROLES.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    // What comes later of a job that has something already.
    tokio::time::sleep(Duration::from_secs(6)).await;
    theirs.extend(prometheus.found(&api).await);
    let mut different = Vec::new();
    for (name, role) in ROLES {
        let attach_node =
            !matches!(role, KubernetesRole::Node | KubernetesRole::Service | KubernetesRole::Ingress);
        let settings = KubernetesSd {
            http: api.options(),
            namespaces: vec!["shop".into()],
            attach_node,
            ..config(&api.url(), role)
        };
        let run = Run::start(settings).await;
        run.complete().await;
        run.until("found", |run| !run.targets().is_empty()).await;
        let ours: BTreeSet<_> =
            run.labels().into_iter().map(shown).map(|labels| without_promised(role, labels)).collect();
        let theirs: BTreeSet<_> = theirs.remove(name).unwrap_or_default().into_iter().map(shown).collect();
        println!("{name}: {} targets, {} of Prometheus", ours.len(), theirs.len());
        if ours != theirs {
            let only = |a: &BTreeSet<FoundLabels>, b: &BTreeSet<FoundLabels>| {
                format!("{:#?}", a.difference(b).collect::<Vec<_>>())
            };
            different.push(format!(
                "{name}: only ours {}\nonly theirs {}",
                only(&ours, &theirs),
                only(&theirs, &ours)
            ));
        }
        run.stop().await;
    }
    assert!(different.is_empty(), "{}", different.join("\n\n"));
}
