//! Starts real metricsd processes and real targets, and asks them what they know.

#![allow(dead_code, unreachable_pub, reason = "every test program uses a part of this")]

pub mod own;
pub mod page;
pub mod postgres;
pub mod prometheus;
pub mod senders;
pub mod services;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::process::{Child, Command};

/// A folder that goes away with its owner.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("metricsd-e2e-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One metricsd process.
pub struct Node {
    child: Child,
    pub address: String,
    client: reqwest::Client,
}

/// How a node is started: everything that is not said is metricsd's default, nothing comes from the test's environment.
pub struct Start<'a> {
    pub data: &'a Path,
    pub port: u16,
    pub env: Vec<(&'a str, String)>,
}

impl<'a> Start<'a> {
    pub fn new(data: &'a Path) -> Self {
        Self { data, port: free_port(), env: vec![("METRICSD_SCRAPE_SELF_SCRAPE", "false".into())] }
    }

    #[must_use]
    pub fn env(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.env.retain(|(known, _)| *known != name);
        self.env.push((name, value.into()));
        self
    }

    pub async fn start(&self) -> Node {
        let mut node = self.spawn();
        let ready = node.wait_ready().await;
        assert!(ready, "metricsd was not ready in time; its log:\n{}", self.log_text());
        node
    }

    /// The same without waiting for it.
    pub fn spawn(&self) -> Node {
        let address = format!("127.0.0.1:{}", self.port);
        let mut command = Command::new(env!("CARGO_BIN_EXE_metricsd"));
        command.args(["run", "--listen", &address, "--data-dir"]).arg(self.data).env_clear();
        command.envs(self.env.iter().map(|(name, value)| (*name, value)));
        command
            .env("METRICSD_SCRAPE_NODE_EXPORTER", "")
            .stdout(Stdio::null())
            .stderr(self.log())
            .kill_on_drop(true);
        let child = command.spawn().unwrap();
        Node { child, address, client: client() }
    }

    fn log(&self) -> std::fs::File {
        let path = self.data.join("test.log");
        std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap()
    }

    pub fn log_text(&self) -> String {
        std::fs::read_to_string(self.data.join("test.log")).unwrap_or_default()
    }
}

pub fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(Duration::from_secs(40)).build().unwrap()
}

/// A port that nobody has. Below those that the system gives to connections: whoever is to listen there may do so later, and again.
pub fn free_port() -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 22_000;
    let random = u16::from_le_bytes(*uuid::Uuid::new_v4().as_bytes().first_chunk().unwrap()) % COUNT;
    let mut ports = (0..COUNT).map(|n| FIRST + (random + n) % COUNT);
    ports.find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

impl Node {
    async fn wait_ready(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            let answer = self.client.get(self.url("/readyz")).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return true;
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn http(&self) -> &reqwest::Client {
        &self.client
    }

    /// Status and JSON of an answer.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.send(self.client.get(self.url(path))).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send(self.client.post(self.url(path)).json(body)).await
    }

    /// Adds a target that is scraped at `interval`.
    pub async fn add_target(&self, source: &str, url: &str, interval: &str) -> String {
        let request = json!({
            "source_id": source, "collection_method": "PULL_SCRAPING",
            "scrape_config": {"target_url": url, "scrape_interval": interval, "scrape_timeout": interval}
        });
        let (status, target) = self.post("/api/v1/metrics/targets", &request).await;
        assert_eq!(status, 201, "{target}");
        target["target_id"].as_str().unwrap().to_owned()
    }

    /// The instant vector of a selector: label sets with values.
    pub async fn query(&self, selector: &str) -> Vec<(Value, f64)> {
        let request = self.client.get(self.url("/api/v1/metrics/query")).query(&[("query", selector)]);
        let (status, answer) = self.send(request).await;
        assert_eq!(status, 200, "{answer}");
        let result = answer["result"].as_array().unwrap();
        let entry =
            |entry: &Value| (entry["metric"].clone(), entry["value"][1].as_str().unwrap().parse().unwrap());
        result.iter().map(entry).collect()
    }

    /// All jobs of a target, newest first.
    pub async fn jobs(&self, target: &str) -> Vec<Value> {
        let (status, jobs) = self.get(&format!("/api/v1/metrics/jobs?target_id={target}&limit=1000")).await;
        assert_eq!(status, 200, "{jobs}");
        jobs.as_array().unwrap().clone()
    }

    /// The value of one of metricsd's own metrics, all series summed.
    pub async fn own_metric(&self, name: &str) -> f64 {
        let page = self.client.get(self.url("/metrics")).send().await.unwrap().text().await.unwrap();
        let of_name = |line: &&str| line.split(['{', ' ']).next() == Some(name);
        page.lines().filter(of_name).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// kill -NAME.
    pub async fn signal(&self, name: &str) {
        let id = self.child.id().unwrap().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().await.unwrap();
        assert!(sent.success());
    }

    /// Whether it has not ended by itself.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// kill -9.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM; how long it took to end, and how it ended.
    pub async fn terminate(&mut self) -> (Duration, std::process::ExitStatus) {
        let started = Instant::now();
        let id = self.child.id().unwrap().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().await.unwrap();
        assert!(sent.success());
        let status = tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await;
        (started.elapsed(), status.expect("metricsd did not end").unwrap())
    }
}

/// Asks until the answer is as wanted, at most for `seconds`.
pub async fn eventually<T, F>(what: &str, seconds: u64, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not happen within {seconds} s");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
