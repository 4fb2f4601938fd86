//! The configuration: flags over environment over file over defaults, checked, in one type that the program sees.
//!
//! In reading order: [`settings`] is what can be written, [`keys`] lists it, [`mod@file`] reads it with its lines,
//! [`layers`] lays the sources over one another, [`validate`] makes a [`Config`] of it, [`mod@print`] shows it masked.

mod settings;

mod durable;

mod keys;
mod meanings;

mod file;
mod layers;
mod lines;
mod size;
mod upload;

mod secrets;
mod validate;

mod error;
mod print;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use metricsd_codec::otlp::{OtlpOptions, StreamLimits};
use metricsd_ingest::{AccessOptions, Limits};
use metricsd_model::PromDuration;
use metricsd_model::Secret;
use regex::Regex;

pub(crate) use durable::{SampleLogConfig, SpoolConfig};
pub(crate) use error::ConfigError;
pub(crate) use keys::{Key, Keys, SECRET_PREFIX};
pub(crate) use lines::{GatewayConfig, InfluxConfig, LinesConfig};
pub(crate) use print::Effective;
pub(crate) use upload::UploadConfig;

use crate::sealing::SealingKey;

/// The variable that names the configuration file where `--config` does not.
pub(crate) const FILE_VARIABLE: &str = "METRICSD_CONFIG";

/// Everything that metricsd runs with: complete and checked.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// `host:port` that the HTTP server listens on; port 0 lets the system choose.
    pub(crate) listen: String,
    /// What this process does.
    pub(crate) roles: Roles,
    /// Folder for what this process keeps on disk.
    pub(crate) data_dir: PathBuf,
    /// Where samples and targets are kept.
    pub(crate) storage: StorageConfig,
    /// Where the caches are.
    pub(crate) cache: CacheConfig,
    /// Where events go.
    pub(crate) events: EventsConfig,
    /// How targets are scraped.
    pub(crate) scrape: ScrapeSettings,
    /// How workers share the targets.
    pub(crate) cluster: ClusterConfig,
    /// Where targets come from by themselves.
    pub(crate) discovery: DiscoveryConfig,
    /// Bounds on what comes from outside.
    pub(crate) limits: Limits,
    /// Which line protocols are spoken, and how.
    pub(crate) lines: LinesConfig,
    /// How long small pushes of one source wait for others to share a collection with.
    pub(crate) join_within: Duration,
    /// When waiting batches are committed.
    pub(crate) commit: CommitConfig,
    /// Files that are taken.
    pub(crate) upload: UploadConfig,
    /// Where batches wait on disk; `None`: in memory alone.
    pub(crate) spool: Option<SpoolConfig>,
    /// What carries batches to the writers; `None`: every process stores its own.
    pub(crate) sample_log: Option<SampleLogConfig>,
    /// How long rows of `collection_jobs` are kept.
    pub(crate) job_retention: Duration,
    /// How long the sums of the ledger are kept.
    pub(crate) ledger_retention: Duration,
    /// How long samples are kept.
    pub(crate) retention: RetentionConfig,
    /// How questions are answered.
    pub(crate) promql: PromqlConfig,
    /// Origins whose pages may ask.
    pub(crate) cors: CorsConfig,
    /// Bounds of the HTTP port.
    pub(crate) http: HttpConfig,
    /// How OpenTelemetry's pushes are taken.
    pub(crate) otlp: OtlpConfig,
    /// Where gRPC is served; `None`: nowhere.
    pub(crate) grpc: Option<GrpcConfig>,
    /// Who may come in.
    pub(crate) auth: AccessOptions,
    /// The key that seals credentials; where absent, one is kept in `data_dir` (see [`SealingKey::load_or_create`]).
    pub(crate) sealing_key: Option<SealingKey>,
    /// What is logged, and how.
    pub(crate) log: LogConfig,
    /// How long a stopping process may take to finish what it accepted.
    pub(crate) shutdown_timeout: Duration,
}

impl Config {
    /// Whether this one process is all there is: every role, and a database that nobody else opens.
    pub(crate) fn is_standalone(&self) -> bool {
        self.roles.all() && matches!(self.storage.backend, StorageBackend::Sqlite(_))
    }

    /// Whether there may be other workers.
    pub(crate) fn shares_targets(&self) -> bool {
        self.cluster.share_targets && matches!(self.storage.backend, StorageBackend::Postgres(_))
    }
}

/// One of the things that a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Role {
    /// Target manager, query, stats, streams.
    Api,
    /// Scrapes.
    Worker,
    /// Push endpoints.
    Ingest,
    /// Retention and, later, the sample log and compaction.
    Writer,
}

impl Role {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Api, Self::Worker, Self::Ingest, Self::Writer];

    /// Its name in the configuration.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Worker => "worker",
            Self::Ingest => "ingest",
            Self::Writer => "writer",
        }
    }

    /// Reads [`Self::as_str`] back.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

/// What a process does: at least one role, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Roles(Vec<Role>);

impl Roles {
    /// Whether it does this.
    pub(crate) fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    /// Whether it does everything.
    pub(crate) fn all(&self) -> bool {
        self.0.len() == Role::ALL.len()
    }

    /// Their names, for the process list and the log.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.iter().map(|role| role.as_str().to_owned()).collect()
    }
}

/// Where samples and targets are kept, and how.
#[derive(Debug, Clone)]
pub(crate) struct StorageConfig {
    /// The database; of several the one that keeps targets and processes.
    pub(crate) backend: StorageBackend,
    /// Those that samples are spread over, [`Self::backend`] among them; empty where that is the only one.
    pub(crate) shards: Vec<StorageBackend>,
    /// Connections to each, at most.
    pub(crate) max_connections: u32,
    /// Time that one chunk of samples covers: whole hours.
    pub(crate) chunk_interval: Duration,
    /// Partitions of a chunk by source.
    pub(crate) space_partitions: u32,
    /// Bytes of recently read samples that are remembered, of all databases together.
    pub(crate) frame_cache_bytes: usize,
    /// How frames become segments; `None`: they stay frames.
    pub(crate) compaction: Option<CompactionConfig>,
}

/// How frames become segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CompactionConfig {
    /// How long after its end an hour is compacted.
    pub(crate) delay: Duration,
    /// Age at which days are packed; `None`: never.
    pub(crate) pack_after: Option<Duration>,
    /// Samples held in memory at once.
    pub(crate) max_samples: usize,
}

/// Which database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StorageBackend {
    /// One file.
    Sqlite(PathBuf),
    /// A server; the URL may hold a password.
    Postgres(Secret),
}

impl StorageBackend {
    /// Where it is, without a password.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Sqlite(path) => path.display().to_string(),
            Self::Postgres(url) => secrets::place_of(url.expose()).to_owned(),
        }
    }
}

/// Where the caches are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CacheConfig {
    /// In this process.
    InProcess,
    /// In Redis; the URL may hold a password.
    Redis(Secret),
}

/// Where events go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EventsConfig {
    /// To the listeners of this process.
    InProcess,
    /// To a topic.
    Kafka(KafkaConfig),
}

/// A topic and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KafkaConfig {
    /// `host:port`, at least one.
    pub(crate) brokers: Vec<String>,
    /// Where events are published.
    pub(crate) topic: String,
    /// How they are written.
    pub(crate) format: EventFormat,
    /// For librdkafka as they are, `sasl.password` out of its file included.
    pub(crate) settings: BTreeMap<String, Secret>,
}

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventFormat {
    /// The documented JSON.
    Json,
    /// `proto/`.
    Protobuf,
}

/// How targets are scraped.
#[derive(Debug, Clone)]
pub(crate) struct ScrapeSettings {
    /// For a target that names none.
    pub(crate) default_interval: PromDuration,
    /// For a target that names none; at most the interval.
    pub(crate) default_timeout: PromDuration,
    /// Scrapes in flight, at most.
    pub(crate) concurrency: usize,
    /// Networks that may be scraped whatever else forbids it.
    pub(crate) allow_cidrs: Vec<IpNet>,
    /// Refuse loopback and private networks.
    pub(crate) close_private: bool,
    /// The only folder whose files settings of targets may name that were given over the API.
    pub(crate) secrets_dir: Option<PathBuf>,
    /// Scrape this process itself; only ever true when standalone.
    pub(crate) self_scrape: bool,
    /// Scrape this page when it answers at start; only ever there when standalone.
    pub(crate) node_exporter: Option<String>,
}

/// How workers share the targets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClusterConfig {
    /// Whether workers share the targets of their database; otherwise each scrapes all, and the store keeps one of each.
    pub(crate) share_targets: bool,
    /// Between two renewals of a worker's lease.
    pub(crate) heartbeat: Duration,
    /// How long a lease is.
    pub(crate) lease: Duration,
    /// Samples a second that this worker can take.
    pub(crate) capacity: u64,
}

/// Where targets come from by themselves.
#[derive(Debug, Clone)]
pub(crate) struct DiscoveryConfig {
    /// Whether this process may run discovery.
    pub(crate) enabled: bool,
    /// The file with the jobs.
    pub(crate) file: Option<PathBuf>,
    /// Targets of all jobs.
    pub(crate) max_targets: usize,
    /// Dropped targets of one job that are kept to be shown.
    pub(crate) kept_dropped: usize,
    /// Who shows this may have the file read again.
    pub(crate) reload_token: Option<Secret>,
}

/// When waiting batches are committed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CommitConfig {
    /// After this long.
    pub(crate) max_delay: Duration,
    /// Or when so many bytes wait.
    pub(crate) max_bytes: usize,
}

/// How long samples are kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RetentionConfig {
    /// Where no policy of their target says; `None` for ever.
    pub(crate) default: Option<Duration>,
    /// Exemplars, the newest.
    pub(crate) max_exemplars: u64,
    /// How long rolled-up values are kept, where samples are rolled up.
    pub(crate) rollups: Option<RollupConfig>,
}

/// How long values that were rolled up are kept; `None` for ever.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RollupConfig {
    /// Those of five minutes.
    pub(crate) minutes: Option<Duration>,
    /// Those of an hour.
    pub(crate) hours: Option<Duration>,
}

/// How questions are answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PromqlConfig {
    /// Experimental parts of the language.
    pub(crate) experimental: bool,
    /// How old a sample an instant query still takes.
    pub(crate) look_back: Duration,
    /// Distance between the points of a sub-query that names none.
    pub(crate) subquery_step: Duration,
    /// Longer queries are stopped.
    pub(crate) timeout: Duration,
    /// At most so many at once.
    pub(crate) max_concurrent: usize,
    /// Steps of a range.
    pub(crate) max_points: usize,
    /// Bytes that one query may hold at once.
    pub(crate) max_bytes: usize,
}

/// Bounds of the HTTP port.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HttpConfig {
    /// Connections that may be open at once.
    pub(crate) max_connections: usize,
    /// How long the head of a request may take, and an idle connection stays open.
    pub(crate) header_timeout: Duration,
    /// How long a request may take.
    pub(crate) request_timeout: Duration,
}

/// Origins whose pages may ask Prometheus' API.
#[derive(Debug, Clone, Default)]
pub(crate) struct CorsConfig {
    /// Each as browsers send it, or `*`.
    pub(crate) origins: Vec<String>,
    /// Matches a whole origin.
    pub(crate) pattern: Option<Regex>,
}

/// How OpenTelemetry's pushes are taken.
#[derive(Debug, Clone)]
pub(crate) struct OtlpConfig {
    /// How they become series.
    pub(crate) options: OtlpOptions,
    /// What is remembered of their streams.
    pub(crate) streams: StreamLimits,
}

/// Where gRPC is served.
#[derive(Debug, Clone)]
pub(crate) struct GrpcConfig {
    /// `host:port`; port 0 lets the system choose.
    pub(crate) listen: String,
    /// Connections that may be open at once.
    pub(crate) max_connections: usize,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogConfig {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub(crate) level: String,
    /// For whom.
    pub(crate) format: LogFormat,
}

/// For whom logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For machines: one object a line.
    Json,
}

/// Where a configuration is read from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    /// `--config`.
    pub(crate) file: Option<PathBuf>,
    /// The environment, passed in so that nothing else reads it.
    pub(crate) environment: BTreeMap<String, String>,
    /// Flags that set a key: the flag, the key's path, the value.
    pub(crate) flags: Vec<(&'static str, &'static str, String)>,
}

impl Sources {
    /// The file to read: the flag's, or the variable's, or none.
    fn file(&self) -> Option<&Path> {
        let variable = self.environment.get(FILE_VARIABLE).filter(|path| !path.is_empty());
        self.file.as_deref().or(variable.map(Path::new))
    }

    /// Reads and checks everything; all that is wrong comes back at once.
    pub(crate) fn load(&self) -> Result<(Config, Effective), ConfigError> {
        let keys = Keys::new();
        let mut layers = layers::Layers::new(&keys);
        if let Some(path) = self.file() {
            match file::read(path) {
                Ok(root) => layers.add_file(path, root),
                Err(problem) => layers.problems.push(problem),
            }
        }
        layers.add_environment(&self.environment);
        for (flag, path, text) in &self.flags {
            layers.add_flag(flag, path, text);
        }
        let mut settings = layers.settings();
        let (mut problems, origins) = (layers.problems, layers.origins);
        let config = validate::validate(&mut settings, &origins, &mut problems);
        match config {
            Some(config) if problems.is_empty() => Ok((config, Effective::of(settings))),
            _ => Err(ConfigError { problems }),
        }
    }
}
