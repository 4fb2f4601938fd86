//! The processes of a cluster: some answer and take pushes, some scrape, some publish and compact.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::clock;
use crate::faults::Server;
use crate::proxy::Proxy;
use crate::support::own::Own;
use crate::support::postgres::Cluster;
use crate::support::{self, Folder, Node, Start, eventually, free_port};

pub(crate) const FRONTS: [usize; 2] = [0, 1];
pub(crate) const WRITERS: [usize; 2] = [2, 3];
pub(crate) const WORKERS: [usize; 6] = [4, 5, 6, 7, 8, 9];
/// Reaches Postgres through a line that can be cut.
pub(crate) const FAR: usize = WORKERS[0];
/// Its clock is an hour off.
pub(crate) const ASTRAY: usize = WORKERS[1];
/// Has little room on disk.
pub(crate) const NARROW: usize = FRONTS[1];

/// Where one process runs, and runs again: its folder and its port stay.
struct Place {
    folder: Folder,
    port: u16,
    env: Vec<(&'static str, String)>,
    node: Option<Node>,
    stopped: bool,
}

impl Place {
    fn start(&self) -> Start<'_> {
        let mut start = Start::new(&self.folder.0);
        start.port = self.port;
        for (name, value) in &self.env {
            start = start.env(name, value.clone());
        }
        start
    }
}

pub(crate) struct Servers {
    pub(crate) postgres: Cluster,
    pub(crate) redis: Own,
    pub(crate) kafka: Own,
}

impl Servers {
    pub(crate) async fn start() -> Self {
        let postgres = Cluster::start().await;
        // Tells afterwards in which order what was committed.
        let keep = "ALTER SYSTEM SET track_commit_timestamp = on";
        sqlx::raw_sql(keep).execute(&mut postgres.connect().await).await.unwrap();
        postgres.stop().await;
        postgres.bring_up().await;
        Self { postgres, redis: Own::start("redis").await, kafka: Own::start("kafka").await }
    }

    /// kill -9.
    pub(crate) async fn kill(&self, server: Server) {
        match server {
            Server::Postgres => self.postgres.kill().await,
            Server::Redis => self.redis.kill().await,
            Server::Kafka => self.kafka.kill().await,
        }
    }

    /// Stops it in good order.
    pub(crate) async fn stop(&self, server: Server) {
        match server {
            Server::Postgres => self.postgres.stop().await,
            Server::Redis => self.redis.stop().await,
            Server::Kafka => self.kafka.stop().await,
        }
    }

    pub(crate) async fn bring_up(&self, server: Server) {
        match server {
            Server::Postgres => self.postgres.bring_up().await,
            Server::Redis => self.redis.bring_up().await,
            Server::Kafka => self.kafka.bring_up().await,
        }
    }

    pub(crate) fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.kafka.port)
    }
}

pub(crate) struct Fleet {
    pub(crate) servers: Servers,
    pub(crate) proxy: Proxy,
    pub(crate) topic: String,
    places: Vec<Place>,
    client: reqwest::Client,
    pub(crate) log: bool,
}

impl Fleet {
    /// Nobody runs yet. With `log` batches go through the sample log.
    pub(crate) async fn new(log: bool) -> Self {
        let servers = Servers::start().await;
        let proxy = Proxy::start(servers.postgres.port()).await;
        let topic = format!("metrics-collected-{}", uuid::Uuid::new_v4().simple());
        let client = support::client();
        let mut fleet = Self { servers, proxy, topic, places: Vec::new(), client, log };
        fleet.places = (0..=WORKERS[5]).map(|place| fleet.place(place)).collect();
        fleet
    }

    fn place(&self, place: usize) -> Place {
        let roles = match place {
            _ if FRONTS.contains(&place) => "api,ingest",
            _ if WRITERS.contains(&place) => "writer",
            _ => "worker",
        };
        let postgres = &self.servers.postgres;
        let url = if place == FAR { postgres.url_at(self.proxy.port) } else { postgres.url() };
        let mut env = vec![
            ("METRICSD_ROLES", roles.to_owned()),
            ("METRICSD_STORAGE_URL", url),
            ("METRICSD_STORAGE_COMPACTION_ENABLED", "false".to_owned()),
            ("METRICSD_CLUSTER_SHARE_TARGETS", "true".to_owned()),
            ("METRICSD_CACHE_URL", format!("redis://127.0.0.1:{}", self.servers.redis.port)),
            ("METRICSD_EVENTS_BROKERS", self.servers.brokers()),
            ("METRICSD_EVENTS_TOPIC", self.topic.clone()),
            ("METRICSD_SECRETS_KEY", "a".repeat(64)),
        ];
        if FRONTS.contains(&place) {
            env.push(("METRICSD_SPOOL_AFTER", "1s".to_owned()));
        }
        if place == NARROW {
            env.push(("METRICSD_SPOOL_MAX_BYTES", "1MiB".to_owned()));
        }
        if self.log {
            env.push(("METRICSD_SINK", "kafka".to_owned()));
            env.push(("METRICSD_SAMPLE_LOG_BROKERS", self.servers.brokers()));
            env.push(("METRICSD_SAMPLE_LOG_TOPIC", self.topic.replace("collected", "samples")));
            env.push(("METRICSD_SAMPLE_LOG_PARTITIONS", "4".to_owned()));
        }
        let folder = Folder::new();
        // librdkafka waits by the clock that is set: with the log this would be a fault of the test's own.
        if place == ASTRAY
            && !self.log
            && let Some(library) = clock::ahead(3_600, &folder.0)
        {
            env.push(("LD_PRELOAD", library));
        }
        Place { folder, port: free_port(), env, node: None, stopped: false }
    }

    pub(crate) fn url(&self, place: usize) -> String {
        format!("http://127.0.0.1:{}", self.places[place].port)
    }

    /// Starts a process, and waits for nothing.
    pub(crate) fn start(&mut self, place: usize) {
        let place = &mut self.places[place];
        assert!(place.node.is_none());
        place.node = Some(place.start().spawn());
        place.stopped = false;
    }

    /// kill -9.
    pub(crate) async fn kill(&mut self, place: usize) {
        let mut node = self.places[place].node.take().unwrap();
        node.kill().await;
    }

    /// SIGTERM, until it has ended.
    pub(crate) async fn terminate(&mut self, place: usize) {
        let mut node = self.places[place].node.take().unwrap();
        let (took, status) = node.terminate().await;
        assert!(status.success(), "{place} ended with {status} after {took:?}");
    }

    /// SIGSTOP or SIGCONT.
    pub(crate) async fn stop(&mut self, place: usize, stopped: bool) {
        let place = &mut self.places[place];
        place.stopped = stopped;
        place.node.as_ref().unwrap().signal(if stopped { "STOP" } else { "CONT" }).await;
    }

    /// Those of some places that run.
    pub(crate) fn running(&self, places: &[usize]) -> Vec<usize> {
        places.iter().copied().filter(|place| self.places[*place].node.is_some()).collect()
    }

    /// Those of some places where nobody runs.
    pub(crate) fn free(&self, places: &[usize]) -> Vec<usize> {
        places.iter().copied().filter(|place| self.places[*place].node.is_none()).collect()
    }

    /// Whoever runs still does; nobody ends by itself.
    pub(crate) fn check_alive(&mut self) {
        for (number, place) in self.places.iter_mut().enumerate() {
            if place.node.as_mut().is_some_and(|node| !node.is_running()) {
                panic!("process {number} has ended by itself:\n{}", tail(&place.start().log_text()));
            }
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Option<(u16, Value)> {
        for front in FRONTS {
            let request = self.client.get(format!("{}{path}", self.url(front)));
            let Ok(answer) = request.timeout(Duration::from_secs(120)).send().await else { continue };
            let status = answer.status().as_u16();
            return Some((status, answer.json().await.ok()?));
        }
        None
    }

    pub(crate) async fn add_target(&self, source: &str, url: &str) -> String {
        let request = json!({
            "source_id": source, "collection_method": "PULL_SCRAPING",
            "scrape_config": {"target_url": url, "scrape_interval": "1s", "scrape_timeout": "1s"}
        });
        let add = self.client.post(format!("{}/api/v1/metrics/targets", self.url(FRONTS[0]))).json(&request);
        let answer: Value = add.send().await.unwrap().json().await.unwrap();
        answer["target_id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// One of a process's own metrics, all series summed.
    pub(crate) async fn own_metric(&self, place: usize, name: &str) -> Option<f64> {
        let request = self.client.get(format!("{}/metrics", self.url(place))).timeout(Duration::from_secs(5));
        let page = request.send().await.ok()?.text().await.ok()?;
        let of_name = |line: &&str| line.split(['{', ' ']).next() == Some(name);
        let values =
            page.lines().filter(of_name).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Some(values.sum())
    }

    /// Whether every process answers, nothing waits on disk, nothing is being handed over, and each worker that
    /// runs has its lease.
    async fn is_settled(&self, targets: usize) -> Result<(), String> {
        for place in 0..self.places.len() {
            if self.places[place].node.is_none() {
                continue;
            }
            match self.own_metric(place, "metricsd_spool_batches").await {
                Some(0.0) => {}
                other => return Err(format!("process {place}: {other:?} batches in the spool")),
            }
        }
        let Some((200, cluster)) = self.get("/api/v1/metrics/cluster").await else {
            return Err("no front answers".to_owned());
        };
        let workers = cluster["processes"].as_array().into_iter().flatten();
        let workers: Vec<&Value> =
            workers.map(|process| &process["worker"]).filter(|worker| !worker.is_null()).collect();
        let owned: u64 = workers.iter().filter_map(|worker| worker["targets"].as_u64()).sum();
        let active = workers.iter().all(|worker| worker["state"] == "active" && worker["owned_buckets"] != 0);
        let still = cluster["ring"]["moving"] == 0 && cluster["ring"]["unowned"] == 0;
        let settled =
            active && still && owned == targets as u64 && workers.len() == self.running(&WORKERS).len();
        if settled { Ok(()) } else { Err(cluster.to_string()) }
    }

    pub(crate) async fn settled(&mut self, targets: usize) {
        let mut last = Err(String::new());
        for _ in 0..900 {
            self.check_alive();
            last = self.is_settled(targets).await;
            if last.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the cluster has not settled within 90 s: {last:?}");
    }

    /// A connection to Postgres, past the line.
    pub(crate) async fn sql(&self) -> PgConnection {
        eventually("a connection", 30, async || {
            use sqlx::Connection;
            PgConnection::connect(&self.servers.postgres.url()).await.ok()
        })
        .await
    }
}

impl Drop for Fleet {
    /// What the processes said is kept where something was wrong.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let kept = std::env::temp_dir().join(&self.topic);
        let _ = std::fs::create_dir_all(&kept);
        for (number, place) in self.places.iter().enumerate() {
            let _ =
                std::fs::copy(place.folder.0.join("test.log"), kept.join(format!("process-{number}.log")));
        }
        eprintln!("the logs of the processes: {}", kept.display());
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
