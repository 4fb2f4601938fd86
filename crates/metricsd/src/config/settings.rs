//! The configuration as it is written: every key with its default, before anything is checked.
//!
//! The serialised default of [`Settings`] is the list of all keys: what the file, the environment and `config keys`
//! know comes from there, so that a new key is added in one place.

mod lines;
mod otlp;

use std::collections::BTreeMap;

use metricsd_ingest::Limits;
use metricsd_model::PromDuration;
use serde::{Deserialize, Serialize};

use super::durable::{SampleLog, Spool};
use super::size::ByteSize;
use super::upload::Upload;
pub(super) use lines::{Graphite, Influx, Pushgateway, Statsd};
pub(super) use otlp::{Grpc, Otlp};

/// The whole file. Private to the configuration: the program sees [`super::Config`].
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Settings {
    pub(super) listen: String,
    pub(super) roles: Vec<String>,
    pub(super) data_dir: String,
    pub(super) storage: Storage,
    pub(super) cache: Cache,
    pub(super) events: Events,
    pub(super) scrape: Scrape,
    pub(super) cluster: Cluster,
    pub(super) discovery: Discovery,
    pub(super) limits: Limits,
    pub(super) pushgateway: Pushgateway,
    pub(super) influx: Influx,
    pub(super) graphite: Graphite,
    pub(super) statsd: Statsd,
    pub(super) ingest: Ingest,
    pub(super) commit: Commit,
    pub(super) sink: String,
    pub(super) spool: Spool,
    pub(super) sample_log: SampleLog,
    pub(super) jobs: Jobs,
    pub(super) upload: Upload,
    pub(super) retention: Retention,
    pub(super) promql: Promql,
    pub(super) http: Http,
    pub(super) otlp: Otlp,
    pub(super) grpc: Grpc,
    pub(super) auth: Auth,
    pub(super) secrets: Secrets,
    pub(super) log: Log,
    pub(super) shutdown: Shutdown,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:9099".to_owned(),
            roles: ["api", "worker", "ingest", "writer"].map(str::to_owned).to_vec(),
            data_dir: "./data".to_owned(),
            storage: Storage::default(),
            cache: Cache::default(),
            events: Events::default(),
            scrape: Scrape::default(),
            cluster: Cluster::default(),
            discovery: Discovery::default(),
            limits: Limits::default(),
            pushgateway: Pushgateway::default(),
            influx: Influx::default(),
            graphite: Graphite::default(),
            statsd: Statsd::default(),
            ingest: Ingest::default(),
            commit: Commit::default(),
            sink: "store".to_owned(),
            spool: Spool::default(),
            sample_log: SampleLog::default(),
            jobs: Jobs::default(),
            upload: Upload::default(),
            retention: Retention::default(),
            promql: Promql::default(),
            http: Http::default(),
            otlp: Otlp::default(),
            grpc: Grpc::default(),
            auth: Auth::default(),
            secrets: Secrets::default(),
            log: Log::default(),
            shutdown: Shutdown::default(),
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Storage {
    pub(super) url: Option<String>,
    pub(super) url_file: Option<String>,
    pub(super) shards: Vec<String>,
    pub(super) shards_file: Option<String>,
    pub(super) max_connections: u32,
    pub(super) chunk_interval: PromDuration,
    pub(super) space_partitions: u32,
    pub(super) frame_cache_bytes: ByteSize,
    pub(super) compaction: Compaction,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            url: None,
            url_file: None,
            shards: Vec::new(),
            shards_file: None,
            max_connections: 10,
            chunk_interval: PromDuration::from_secs(3_600),
            space_partitions: 1,
            frame_cache_bytes: ByteSize(128 << 20),
            compaction: Compaction::default(),
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Compaction {
    pub(super) enabled: bool,
    pub(super) delay: PromDuration,
    pub(super) pack_after: PromDuration,
    pub(super) max_samples: usize,
}

impl Default for Compaction {
    fn default() -> Self {
        Self {
            enabled: true,
            delay: PromDuration::from_secs(600),
            pack_after: PromDuration::from_secs(0),
            max_samples: 2_000_000,
        }
    }
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Cache {
    pub(super) url: Option<String>,
    pub(super) url_file: Option<String>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Events {
    pub(super) brokers: Vec<String>,
    pub(super) topic: String,
    pub(super) format: String,
    pub(super) settings: BTreeMap<String, String>,
    pub(super) sasl_password_file: Option<String>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            brokers: Vec::new(),
            topic: "metrics_collected".to_owned(),
            format: "json".to_owned(),
            settings: BTreeMap::new(),
            sasl_password_file: None,
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Scrape {
    pub(super) default_interval: PromDuration,
    pub(super) default_timeout: PromDuration,
    pub(super) concurrency: usize,
    pub(super) allow_cidrs: Vec<String>,
    pub(super) close_private: bool,
    pub(super) secrets_dir: Option<String>,
    pub(super) self_scrape: bool,
    pub(super) node_exporter: String,
}

impl Default for Scrape {
    fn default() -> Self {
        Self {
            default_interval: PromDuration::from_secs(15),
            default_timeout: PromDuration::from_secs(10),
            concurrency: 1_000,
            allow_cidrs: Vec::new(),
            close_private: false,
            secrets_dir: None,
            self_scrape: true,
            node_exporter: "http://127.0.0.1:9100/metrics".to_owned(),
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Ingest {
    pub(super) join_within: PromDuration,
}

impl Default for Ingest {
    fn default() -> Self {
        Self { join_within: PromDuration(std::time::Duration::from_millis(50)) }
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Commit {
    pub(super) max_delay: PromDuration,
    pub(super) max_bytes: ByteSize,
}

impl Default for Commit {
    fn default() -> Self {
        let max_delay = PromDuration(std::time::Duration::from_millis(20));
        Self { max_delay, max_bytes: ByteSize(4 << 20) }
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Jobs {
    pub(super) retention: PromDuration,
    pub(super) ledger_retention: PromDuration,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            retention: PromDuration::from_secs(24 * 3_600),
            ledger_retention: PromDuration::from_secs(35 * DAY),
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Retention {
    pub(super) default: PromDuration,
    pub(super) max_exemplars: u64,
    pub(super) rollups: Rollups,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            default: PromDuration::from_secs(15 * DAY),
            max_exemplars: 100_000,
            rollups: Rollups::default(),
        }
    }
}

const DAY: u64 = 24 * 3_600;

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Rollups {
    pub(super) enabled: bool,
    pub(super) minutes: PromDuration,
    pub(super) hours: PromDuration,
}

impl Default for Rollups {
    fn default() -> Self {
        Self {
            enabled: false,
            minutes: PromDuration::from_secs(90 * DAY),
            hours: PromDuration::from_secs(730 * DAY),
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Promql {
    pub(super) experimental: bool,
    pub(super) look_back: PromDuration,
    pub(super) subquery_step: PromDuration,
    pub(super) timeout: PromDuration,
    pub(super) max_concurrent: usize,
    pub(super) max_points: usize,
    pub(super) max_memory: ByteSize,
}

impl Default for Promql {
    fn default() -> Self {
        Self {
            experimental: false,
            look_back: PromDuration::from_secs(300),
            subquery_step: PromDuration::from_secs(60),
            timeout: PromDuration::from_secs(120),
            max_concurrent: 20,
            max_points: 11_000,
            max_memory: ByteSize(1 << 30),
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Http {
    pub(super) max_connections: usize,
    pub(super) header_timeout: PromDuration,
    pub(super) request_timeout: PromDuration,
    pub(super) cors_allow_origins: Vec<String>,
    pub(super) cors_origin_pattern: String,
    pub(super) reload_token: Option<String>,
    pub(super) reload_token_file: Option<String>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            max_connections: 16_384,
            header_timeout: PromDuration::from_secs(30),
            request_timeout: PromDuration::from_secs(40),
            cors_allow_origins: Vec::new(),
            cors_origin_pattern: String::new(),
            reload_token: None,
            reload_token_file: None,
        }
    }
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Auth {
    pub(super) required: bool,
    pub(super) open: bool,
    pub(super) bootstrap_token: Option<String>,
    pub(super) bootstrap_token_file: Option<String>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Discovery {
    pub(super) enabled: bool,
    pub(super) prometheus_config: Option<String>,
    pub(super) max_targets: usize,
    pub(super) kept_dropped_targets: usize,
}

impl Default for Discovery {
    fn default() -> Self {
        Self { enabled: true, prometheus_config: None, max_targets: 100_000, kept_dropped_targets: 1_000 }
    }
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Secrets {
    pub(super) key: Option<String>,
    pub(super) key_file: Option<String>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub(super) level: String,
    pub(super) format: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: "text".to_owned() }
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Cluster {
    pub(super) share_targets: bool,
    pub(super) heartbeat: PromDuration,
    pub(super) lease: PromDuration,
    pub(super) capacity: u64,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            share_targets: true,
            heartbeat: PromDuration::from_secs(1),
            lease: PromDuration::from_secs(5),
            capacity: 500_000,
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Shutdown {
    pub(super) timeout: PromDuration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { timeout: PromDuration::from_secs(20) }
    }
}
