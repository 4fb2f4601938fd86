//! A real Prometheus with its promtool, and the comparison of what two servers answer.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use serde_json::Value;
use tokio::process::{Child, Command};

use super::services::address;
use super::{eventually, free_port};

/// A program that `make services` installs.
fn program(name: &str) -> PathBuf {
    let path = PathBuf::from(address("METRICSD_TEST_PEERS_DIR")).join(name);
    assert!(path.exists(), "{} is not there: run `make services`", path.display());
    path
}

/// A Prometheus that scrapes every second and sends on what it stores.
pub struct Prometheus {
    _child: Child,
    pub api: Server,
    config: PathBuf,
    without_targets: String,
}

impl Prometheus {
    /// Scrapes itself and `jobs` (name and `host:port`), and sends everything to `receiver`.
    pub async fn start(folder: &std::path::Path, receiver: &str, jobs: &[(&str, &str)]) -> Self {
        let own = format!("127.0.0.1:{}", free_port());
        let config = folder.join("prometheus.yml");
        let mut settings = settings(receiver);
        let mut without_targets = settings.clone();
        for (job, target) in jobs.iter().chain(&[("prometheus", own.as_str())]) {
            let job = format!("  - job_name: {job}\n    scrape_classic_histograms: true\n");
            settings.push_str(&format!("{job}    static_configs: [{{targets: [\"{target}\"]}}]\n"));
            without_targets.push_str(&job);
        }
        std::fs::write(&config, settings).unwrap();
        let log = std::fs::File::create(folder.join("prometheus.log")).unwrap();
        let child = Command::new(program("prometheus"))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()))
            .arg(format!("--web.listen-address={own}"))
            .args(["--web.enable-lifecycle", "--enable-feature=native-histograms,exemplar-storage"])
            .env_clear()
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let api = Server { base: format!("http://{own}"), client: super::client() };
        eventually("Prometheus' readiness", 30, async || {
            let answer = api.client.get(api.url("/-/ready")).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        Self { _child: child, api, config, without_targets }
    }

    /// Takes every target away and waits until all series have ended; what was scraped is still sent.
    pub async fn stop_scraping(&self) {
        std::fs::write(&self.config, &self.without_targets).unwrap();
        let answer = self.api.client.post(self.api.url("/-/reload")).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
        eventually("the end of all series", 30, async || {
            let data = self.api.post("/api/v1/query", &[("query", "{__name__=~\".+\"}")]).await;
            data["result"].as_array().unwrap().is_empty().then_some(())
        })
        .await;
    }

    /// One of its own metrics, all series summed.
    pub async fn own_metric(&self, name: &str) -> f64 {
        let page = self.api.client.get(self.api.url("/metrics")).send().await.unwrap().text().await.unwrap();
        let of_name = |line: &&str| line.split(['{', ' ']).next() == Some(name);
        page.lines().filter(of_name).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

fn settings(receiver: &str) -> String {
    format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
         remote_write:\n  - url: {receiver}\n    send_exemplars: true\n    send_native_histograms: true\n\
         \u{20}   metadata_config: {{send: true, send_interval: 1s}}\n\
         \u{20}   queue_config: {{batch_send_deadline: 200ms, min_backoff: 30ms, max_backoff: 300ms}}\n\
         scrape_configs:\n"
    )
}

/// Output of `promtool query ARGUMENTS`, its lines in order of their text; it must succeed.
pub async fn promtool(arguments: &[&str]) -> Vec<String> {
    let output =
        Command::new(program("promtool")).arg("query").args(arguments).env_clear().output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "promtool query {arguments:?}: {} {text} {error}", output.status);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// A server with Prometheus' HTTP API.
pub struct Server {
    pub base: String,
    pub client: reqwest::Client,
}

impl Server {
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// `data` of the answer to a GET; it must succeed.
    pub async fn get(&self, path: &str, query: &[(&str, &str)]) -> Value {
        self.data(path, query, self.client.get(self.url(path)).query(query)).await
    }

    /// `data` of the answer to a POST of a form; it must succeed.
    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Value {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.client.post(self.url(path)).body(body);
        let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.data(path, form, request).await
    }

    async fn data(&self, path: &str, asked: &[(&str, &str)], request: reqwest::RequestBuilder) -> Value {
        let answer = request.send().await.unwrap();
        let (status, kind) = (answer.status(), answer.headers().get(header::CONTENT_TYPE).cloned());
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{}{path} {asked:?}: {status} {text}", self.base);
        assert!(kind.is_some_and(|kind| kind.to_str().unwrap().starts_with("application/json")));
        let mut answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer["status"], "success");
        answer["data"].take()
    }
}

/// What a query came to: entries by their labels, or the one value of a scalar.
pub fn entries(data: &Value) -> BTreeMap<String, Value> {
    let Some(list) = data["result"].as_array().filter(|_| data["resultType"] != "scalar") else {
        return BTreeMap::from([(String::new(), data["result"].clone())]);
    };
    let key = |entry: &Value| {
        let labels: BTreeMap<_, _> = entry["metric"].as_object().unwrap().iter().collect();
        serde_json::to_string(&labels).unwrap()
    };
    list.iter().map(|entry| (key(entry), entry.clone())).collect()
}

/// Whether two answers are the same. Numbers written as text may differ in their last digits, as sums do that are
/// added up in another order; times may not.
pub fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::String(one), Value::String(other)) if one != other => {
            let (Ok(one), Ok(other)) = (one.parse::<f64>(), other.parse::<f64>()) else { return false };
            (one - other).abs() <= 1e-9 * one.abs().max(other.abs())
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, one)| other.get(key).is_some_and(|other| same(one, other)))
        }
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        _ => one == other,
    }
}

/// A shop whose page is OpenMetrics with exemplars. Its counters begin anew at request 14, and requests 8 to 10 fail.
pub async fn shop() -> String {
    let requests = Arc::new(AtomicU64::new(0));
    let answer = move || {
        let request = requests.fetch_add(1, Ordering::Relaxed);
        let status =
            if (8..=10).contains(&request) { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        async move { (status, [(header::CONTENT_TYPE, kind)], page(request)) }
    };
    let url = super::page::serve(Router::new().route("/metrics", get(answer))).await;
    url.trim_start_matches("http://").trim_end_matches("/metrics").to_owned()
}

fn page(request: u64) -> String {
    let since = if request < 14 { request } else { request - 14 };
    let (fast, slow) = (since * 5, since * 7);
    format!(
        "# TYPE shop_orders counter\n# HELP shop_orders Orders taken.\n\
         shop_orders_total{{kind=\"book\"}} {} # {{trace_id=\"t{request}\"}} 1.5\n\
         shop_orders_total{{kind=\"game\"}} {since}\n\
         # TYPE shop_wait_seconds histogram\n# UNIT shop_wait_seconds seconds\n\
         shop_wait_seconds_bucket{{le=\"0.1\"}} {fast} # {{trace_id=\"w{request}\"}} 0.05\n\
         shop_wait_seconds_bucket{{le=\"0.5\"}} {slow}\n\
         shop_wait_seconds_bucket{{le=\"+Inf\"}} {slow}\n\
         shop_wait_seconds_sum {}\nshop_wait_seconds_count {slow}\n\
         # TYPE shop_temperature_celsius gauge\nshop_temperature_celsius {}\n# EOF\n",
        since * 3,
        since as f64 * 0.8,
        20.0 + (request % 5) as f64 / 4.0
    )
}
