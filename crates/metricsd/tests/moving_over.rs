//! The same prometheus.yml, run by a real Prometheus and by metricsd against the same targets: the same series, labels
//! included, the same values, the same targets. Without a Prometheus in METRICSD_TEST_PEERS_DIR it says so and passes.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use support::prometheus::{Server, entries, same};
use support::{Folder, Start, client, eventually, free_port};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

/// How long both scrape before a target comes, while it is there, and after it has gone.
const PHASES: [Duration; 3] = [Duration::from_secs(12), Duration::from_secs(10), Duration::from_secs(10)];

/// Metrics whose values tell of the scrape itself and differ from scrape to scrape.
const OF_ONE_SCRAPE: [&str; 2] = ["scrape_duration_seconds", "scrape_series_added"];

#[tokio::test(flavor = "multi_thread")]
async fn the_same_file_gives_the_same_series() {
    let Some(program) = prometheus() else { return };
    let folder = Folder::new();
    let targets = Targets::start(&folder.0).await;
    targets.write_config(&folder.0);
    targets.write_list(&folder.0, false);
    let config = folder.0.join("prometheus.yml");
    let peer = Peer::start(&program, &folder.0).await;
    let node = Start::new(&folder.0)
        .env("METRICSD_DISCOVERY_PROMETHEUS_CONFIG", config.to_str().unwrap())
        .start()
        .await;
    let ours = Server { base: format!("http://{}", node.address), client: client() };
    let since = now();
    for server in [&ours, &peer.api] {
        eventually("the first scrapes", 30, async || {
            (instant(server, "count(up) == 7", now()).await.len() == 1).then_some(())
        })
        .await;
        println!("{} cannot scrape {:#?}", server.base, failures(server).await);
    }
    tokio::time::sleep(PHASES[0]).await;
    compare(&ours, &peer.api, since, "at first").await;

    targets.write_list(&folder.0, true);
    for server in [&ours, &peer.api] {
        let query = "up{job=\"files\",team=\"late\"} == 1";
        eventually("the late target", 15, async || {
            (instant(server, query, now()).await.len() == 1).then_some(())
        })
        .await;
    }
    tokio::time::sleep(PHASES[1]).await;
    compare(&ours, &peer.api, since, "with one more target").await;

    targets.write_list(&folder.0, false);
    for server in [&ours, &peer.api] {
        let query = "{team=\"late\"}";
        eventually("the late target's end", 15, async || {
            instant(server, query, now()).await.is_empty().then_some(())
        })
        .await;
    }
    tokio::time::sleep(PHASES[2]).await;
    compare(&ours, &peer.api, since, "with that one gone").await;
}

/// Series, values and targets.
async fn compare(ours: &Server, theirs: &Server, since: f64, when: &str) {
    let at = now() - 1.0;
    let all = "{__name__=~\".+\"}";
    let (mine, other) = (instant(ours, all, at).await, instant(theirs, all, at).await);
    assert_same_keys(&mine, &other, &format!("series {when}"));
    let differing: Vec<String> = mine
        .iter()
        .filter(|(labels, entry)| {
            let own = OF_ONE_SCRAPE.iter().any(|name| labels.contains(&format!("\"__name__\":\"{name}\"")));
            !own && !same(&entry["value"][1], &other[*labels]["value"][1])
        })
        .map(|(labels, entry)| format!("{labels}: {} and {}", entry["value"][1], other[labels]["value"][1]))
        .collect();
    assert!(differing.is_empty(), "values {when}, ours and theirs:\n{}", differing.join("\n"));
    println!("{when}: {} series with the same labels and values", mine.len());

    let range = [("match[]", all), ("start", &since.to_string()), ("end", &now().to_string())];
    let (mine, other) = (series(ours, &range).await, series(theirs, &range).await);
    assert_eq!(mine, other, "/api/v1/series {when}");

    let (mine, other) = (active(ours).await, active(theirs).await);
    assert_same_keys(&mine, &other, &format!("targets {when}"));
    for (key, target) in &mine {
        assert_eq!(target, &other[key], "{key} {when}");
    }
    assert_eq!(dropped(ours).await, dropped(theirs).await, "dropped targets {when}");
    println!("{when}: {} targets with the same labels, found and final", mine.len());
}

fn assert_same_keys(ours: &BTreeMap<String, Value>, theirs: &BTreeMap<String, Value>, what: &str) {
    let (ours, theirs): (BTreeSet<_>, BTreeSet<_>) = (ours.keys().collect(), theirs.keys().collect());
    let (more, less): (Vec<_>, Vec<_>) =
        (ours.difference(&theirs).collect(), theirs.difference(&ours).collect());
    assert!(more.is_empty() && less.is_empty(), "{what}: ours alone {more:#?}, theirs alone {less:#?}");
}

async fn instant(server: &Server, query: &str, at: f64) -> BTreeMap<String, Value> {
    entries(&server.post("/api/v1/query", &[("query", query), ("time", &at.to_string())]).await)
}

async fn series(server: &Server, range: &[(&str, &str)]) -> BTreeSet<String> {
    let data = server.get("/api/v1/series", range).await;
    let text = |labels: &Value| {
        let sorted: BTreeMap<_, _> = labels.as_object().unwrap().iter().collect();
        serde_json::to_string(&sorted).unwrap()
    };
    data.as_array().unwrap().iter().map(text).collect()
}

/// What is known of each target that does not differ by time, under its pool and URL.
async fn active(server: &Server) -> BTreeMap<String, Value> {
    let data = server.get("/api/v1/targets", &[("state", "active")]).await;
    let entry = |target: &Value| {
        let key = format!("{} {}", target["scrapePool"], target["scrapeUrl"]);
        let names = ["labels", "discoveredLabels", "health", "scrapeInterval", "scrapeTimeout"];
        let facts: BTreeMap<_, _> = names.into_iter().map(|name| (name, target[name].clone())).collect();
        (key, json!(facts))
    };
    data["activeTargets"].as_array().unwrap().iter().map(entry).collect()
}

/// Why targets cannot be scraped.
async fn failures(server: &Server) -> BTreeSet<String> {
    let data = server.get("/api/v1/targets", &[("state", "active")]).await;
    let targets = data["activeTargets"].as_array().unwrap().iter();
    let failed = targets.filter(|target| target["lastError"] != "");
    failed.map(|target| format!("{}: {}", target["scrapePool"], target["lastError"])).collect()
}

async fn dropped(server: &Server) -> Vec<String> {
    let data = server.get("/api/v1/targets", &[("state", "dropped")]).await;
    let labels = |target: &Value| {
        let sorted: BTreeMap<_, _> = target["discoveredLabels"].as_object().unwrap().iter().collect();
        serde_json::to_string(&sorted).unwrap()
    };
    let mut dropped: Vec<String> = data["droppedTargets"].as_array().unwrap().iter().map(labels).collect();
    dropped.sort();
    dropped
}

fn now() -> f64 {
    chrono::Utc::now().timestamp_millis() as f64 / 1_000.0
}

fn prometheus() -> Option<PathBuf> {
    let folder = std::env::var_os("METRICSD_TEST_PEERS_DIR");
    let program = folder.map(|folder| PathBuf::from(folder).join("prometheus")).filter(|path| path.exists());
    if program.is_none() {
        println!("skipped: there is no prometheus in METRICSD_TEST_PEERS_DIR");
    }
    program
}

/// A real Prometheus.
struct Peer {
    _child: Child,
    api: Server,
}

impl Peer {
    async fn start(program: &Path, folder: &Path) -> Self {
        let own = format!("127.0.0.1:{}", free_port());
        let log = std::fs::File::create(folder.join("prometheus.log")).unwrap();
        let child = Command::new(program)
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()))
            .arg(format!("--web.listen-address={own}"))
            .env_clear()
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let api = Server { base: format!("http://{own}"), client: client() };
        eventually("Prometheus' readiness", 30, async || {
            let answer = api.client.get(api.url("/-/ready")).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        Self { _child: child, api }
    }
}

/// Everything that is scraped.
struct Targets {
    shops: [u16; 3],
    vault: u16,
    files: [u16; 3],
    nobody: u16,
}

impl Targets {
    async fn start(folder: &Path) -> Self {
        let shop = async || serve(None, shop_page).await;
        let list = async || serve(None, files_page).await;
        Self {
            shops: [shop().await, shop().await, shop().await],
            vault: serve(Some(certificates(folder)), vault_page).await,
            files: [list().await, list().await, list().await],
            nobody: free_port(),
        }
    }

    fn write_config(&self, folder: &Path) {
        let [a, b, c] = self.shops;
        let text = CONFIG
            .replace("$A", &a.to_string())
            .replace("$B", &b.to_string())
            .replace("$C", &c.to_string())
            .replace("$VAULT", &self.vault.to_string())
            .replace("$NOBODY", &self.nobody.to_string());
        std::fs::write(folder.join("prometheus.yml"), text).unwrap();
        std::fs::write(folder.join("password"), "correct horse\n").unwrap();
        std::fs::create_dir_all(folder.join("targets")).unwrap();
        let [_, other, _] = self.files;
        let text = format!(
            "- targets: ['127.0.0.1:{other}']\n  labels: {{team: b, __meta_dc_zone: z2, __scheme__: http}}\n"
        );
        std::fs::write(folder.join("targets/second.yml"), text).unwrap();
    }

    fn write_list(&self, folder: &Path, with_late: bool) {
        let [first, _, late] = self.files;
        let group = |port: u16, team: &str| json!({"targets": [format!("127.0.0.1:{port}")], "labels": {"team": team, "__metrics_path__": "/files", "__meta_dc_zone": "z1"}});
        let mut groups = vec![group(first, "a")];
        if with_late {
            groups.push(group(late, "late"));
        }
        // As config management does it: the new file takes the old one's place.
        let (path, fresh) = (folder.join("targets/first.json"), folder.join("first.new"));
        std::fs::write(&fresh, serde_json::to_string(&groups).unwrap()).unwrap();
        std::fs::rename(fresh, path).unwrap();
    }
}

const CONFIG: &str = r#"
global:
  scrape_interval: 1s
  scrape_timeout: 900ms
  external_labels: {replica: a}

scrape_configs:
  - job_name: shop
    metrics_path: /shop
    params:
      module: [one, two]
      name: ["given by the job"]
    static_configs:
      - targets: ["127.0.0.1:$A", "127.0.0.1:$B"]
        labels: {env: prod, rack: "0017"}
      - targets: ["127.0.0.1:$C"]
        labels: {env: test}
      - targets: ["127.0.0.1:$NOBODY"]
        labels: {env: prod, empty: ""}
    relabel_configs:
      - {source_labels: [env], regex: test, action: drop}
      - {source_labels: [__address__], regex: '([^:]+):(\d+)', target_label: host, replacement: 'h-$1'}
      - {source_labels: [env, host], separator: /, target_label: place, action: uppercase}
      - {source_labels: [__address__], target_label: __param_name}
      - {source_labels: [host, env], modulus: 7, target_label: shard, action: hashmod}
      - {regex: ra(ck), replacement: sha$1, action: labelmap}
      - {regex: rack, action: labeldrop}
      - {source_labels: [__tmp_unset], regex: '', target_label: unset, replacement: "yes"}
    metric_relabel_configs:
      - {source_labels: [__name__], regex: shop_secret.*, action: drop}
      - {source_labels: [path], regex: /api/(.*), target_label: route}
      - {regex: path, action: labeldrop}
      - {source_labels: [__name__, kind], regex: shop_orders_total;(game), target_label: __name__, replacement: 'shop_$1_orders_total'}

  - job_name: vault
    scheme: https
    honor_labels: true
    tls_config: {ca_file: ca.pem, server_name: vault.test}
    basic_auth: {username: scraper, password_file: password}
    static_configs:
      - targets: ["127.0.0.1:$VAULT"]
        labels: {env: prod}

  - job_name: wrong-password
    scheme: https
    tls_config: {insecure_skip_verify: true}
    basic_auth: {username: scraper, password: wrong}
    static_configs:
      - targets: ["127.0.0.1:$VAULT"]

  - job_name: files
    file_sd_configs:
      - files: [targets/*.json, targets/*.yml]
        refresh_interval: 1s
    honor_timestamps: false
    relabel_configs:
      - {source_labels: [__meta_filepath], regex: '.*/(.*)\.(json|yml)', target_label: file}
      - {action: labelmap, regex: __meta_dc_(.+)}
      - {source_labels: [team], regex: b, target_label: job, replacement: files-of-b}
      - {source_labels: [team], regex: b, target_label: instance, replacement: b-1}
      - {source_labels: [team], regex: b, target_label: __scrape_interval__, replacement: 2s}
"#;

/// The page tells what it was asked, so that the same series mean the same request.
fn shop_page(head: &str) -> String {
    let asked = head.split(' ').nth(1).unwrap_or_default().to_owned();
    page(
        "text/plain; version=0.0.4; charset=utf-8",
        &format!(
            "# HELP shop_orders_total Orders.\n# TYPE shop_orders_total counter\n\
             shop_orders_total{{kind=\"book\",path=\"/api/orders\"}} 17\nshop_orders_total{{kind=\"game\",path=\"/\"}} 3.5e2\n\
             # TYPE shop_wait_seconds histogram\nshop_wait_seconds_bucket{{le=\"0.5\"}} 2\n\
             shop_wait_seconds_bucket{{le=\"+Inf\"}} 5\nshop_wait_seconds_sum 7.25\nshop_wait_seconds_count 5\n\
             # TYPE shop_size_bytes summary\nshop_size_bytes{{quantile=\"0.99\"}} NaN\nshop_size_bytes_sum 0\n\
             shop_size_bytes_count 0\n\
             # TYPE shop_asked gauge\nshop_asked{{url=\"{asked}\"}} 1\n\
             shop_secret_things 1\nshop_untyped -Inf\nshop_text{{text=\"größer\\n\\\"so\\\"\\\\\",none=\"\"}} 1\n\
             shop_conflict{{job=\"own\",instance=\"own\",env=\"own\",exported_env=\"older\"}} 1\n"
        ),
    )
}

fn vault_page(head: &str) -> String {
    let token = "c2NyYXBlcjpjb3JyZWN0IGhvcnNl";
    if !head.lines().any(|line| line.ends_with(&format!("Basic {token}"))) {
        return "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_owned();
    }
    page(
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
        "# TYPE vault_locks gauge\nvault_locks{job=\"inner\",env=\"inner\"} 4\nvault_locks{instance=\"\"} 5\n\
         # TYPE vault_opened counter\nvault_opened_total 3\n# EOF\n",
    )
}

fn files_page(head: &str) -> String {
    let path = head.split(' ').nth(1).unwrap_or_default();
    // Of a time long ago, which is not honoured.
    page("text/plain; version=0.0.4", &format!("files_seen{{path=\"{path}\"}} 1\nfiles_old 2 1000\n"))
}

fn page(kind: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A server on loopback; its port.
async fn serve(tls: Option<rustls::ServerConfig>, answer: fn(&str) -> String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tls.map(|config| tokio_rustls::TlsAcceptor::from(Arc::new(config)));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                match acceptor {
                    None => talk(socket, answer).await,
                    Some(acceptor) => {
                        if let Ok(socket) = acceptor.accept(socket).await {
                            talk(socket, answer).await;
                        }
                    }
                }
            });
        }
    });
    port
}

async fn talk(mut socket: impl AsyncRead + AsyncWrite + Unpin, answer: fn(&str) -> String) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = socket.read_u8().await else { return };
            head.push(byte);
        }
        let answer = answer(&String::from_utf8_lossy(&head));
        if socket.write_all(answer.as_bytes()).await.is_err() || socket.flush().await.is_err() {
            return;
        }
    }
}

/// A CA of the test's own, whose certificate is written down, and a server's certificate from it.
fn certificates(folder: &Path) -> rustls::ServerConfig {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    std::fs::write(folder.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let names = vec!["vault.test".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap()
}
