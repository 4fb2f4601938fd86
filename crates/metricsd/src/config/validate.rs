//! Checks settings and makes a [`Config`] of them.

mod auth;
mod durable;
mod http;
mod lines;
mod otlp;
mod storage;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use metricsd_ingest::Limits;
use metricsd_model::PromDuration;
use metricsd_model::Secret;
use url::Url;

use super::error::{Origin, Problem, nearest};
use super::secrets::{self, mask_url};
use super::settings::{Events, Retention, Settings};
use super::{
    CacheConfig, ClusterConfig, CommitConfig, Config, DiscoveryConfig, EventFormat, EventsConfig,
    KafkaConfig, LogConfig, LogFormat, PromqlConfig, RetentionConfig, Role, Roles, RollupConfig,
    ScrapeSettings, StorageBackend, StorageConfig,
};
use crate::sealing::SealingKey;

/// The shortest interval between two scrapes.
const MIN_INTERVAL: Duration = Duration::from_millis(100);
/// A batch that waited longer than this would no longer be fresh.
const MAX_COMMIT_DELAY: Duration = Duration::from_secs(10);
/// What the documented column of metric names holds.
const MAX_METRIC_NAME_BYTES: usize = 200;
/// Kafka's own bound on a topic's name.
const MAX_TOPIC_CHARS: usize = 249;
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Makes the configuration, or notes what is wrong and answers `None` or a value that is not to be used.
pub(super) fn validate(
    settings: &mut Settings,
    origins: &BTreeMap<String, Origin>,
    problems: &mut Vec<Problem>,
) -> Option<Config> {
    fill_in(settings, origins);
    let mut check = Check { origins, problems };
    check.listen(&settings.listen);
    if settings.data_dir.is_empty() {
        check.refuse("data_dir", "expected the path of a folder");
    }
    let roles = check.roles(&settings.roles);
    let storage = check.storage(settings);
    let cache = check.cache(settings);
    let events = check.events(&settings.events);
    let mut scrape = check.scrape(settings);
    let cluster = check.cluster(settings);
    let discovery = check.discovery(settings);
    check.limits(&settings.limits);
    let lines = check.lines(settings);
    let commit = check.commit(settings);
    let join_within = check.join_within(settings);
    let spool = check.spool(settings);
    let sample_log = check.sample_log(settings, events.as_ref());
    let promql = check.promql(settings);
    let cors = check.cors(settings);
    let http = check.http(&settings.http);
    let otlp = check.otlp(settings);
    let grpc = check.grpc(&settings.grpc);
    let auth = check.auth(settings);
    let sealing_key = check.sealing_key(settings);
    let log = check.log(settings);
    check.at_least("jobs.retention", settings.jobs.retention, Duration::from_secs(60));
    for (key, message) in settings.upload.problems() {
        check.refuse(key, message);
    }
    check.at_least("jobs.ledger_retention", settings.jobs.ledger_retention, Duration::from_secs(3_600));
    let retention = check.retention(&settings.retention);
    check.at_least("shutdown.timeout", settings.shutdown.timeout, MIN_INTERVAL);
    let standalone =
        roles.all() && matches!(storage, Some(StorageConfig { backend: StorageBackend::Sqlite(_), .. }));
    scrape.self_scrape &= standalone;
    scrape.node_exporter = scrape.node_exporter.filter(|_| standalone);
    Some(Config {
        listen: settings.listen.clone(),
        roles,
        data_dir: settings.data_dir.clone().into(),
        storage: storage?,
        cache: cache?,
        events: events?,
        scrape,
        cluster,
        discovery,
        limits: settings.limits.clone(),
        lines,
        commit,
        join_within,
        upload: settings.upload.config(),
        spool,
        sample_log,
        job_retention: settings.jobs.retention.0,
        ledger_retention: settings.jobs.ledger_retention.0,
        retention,
        promql,
        cors,
        http,
        otlp,
        grpc,
        auth,
        sealing_key,
        log: log?,
        shutdown_timeout: settings.shutdown.timeout.0,
    })
}

/// Fills in what the defaults leave to other keys.
fn fill_in(settings: &mut Settings, origins: &BTreeMap<String, Origin>) {
    let storage = &settings.storage;
    let sharded = !storage.shards.is_empty() || storage.shards_file.is_some();
    if storage.url.is_none() && storage.url_file.is_none() && !sharded {
        settings.storage.url =
            Some(format!("sqlite:{}/metricsd.db", settings.data_dir.trim_end_matches('/')));
    }
    // Who shortens the interval alone does not mean a timeout above it.
    if !origins.contains_key("scrape.default_timeout") {
        let shorter = settings.scrape.default_timeout.min(settings.scrape.default_interval);
        settings.scrape.default_timeout = shorter;
    }
}

struct Check<'a> {
    origins: &'a BTreeMap<String, Origin>,
    problems: &'a mut Vec<Problem>,
}

impl Check<'_> {
    fn cluster(&mut self, settings: &Settings) -> ClusterConfig {
        let cluster = &settings.cluster;
        self.at_least("cluster.heartbeat", cluster.heartbeat, Duration::from_millis(100));
        if cluster.lease.0 < cluster.heartbeat.0 * 3 {
            self.refuse("cluster.lease", "expected at least three times cluster.heartbeat");
        }
        if cluster.capacity == 0 {
            self.refuse("cluster.capacity", "expected a number above 0");
        }
        ClusterConfig {
            share_targets: cluster.share_targets,
            heartbeat: cluster.heartbeat.0,
            lease: cluster.lease.0,
            capacity: cluster.capacity,
        }
    }

    fn refuse(&mut self, key: &str, message: impl Into<String>) {
        let origin = self.origins.get(key).cloned().unwrap_or(Origin::Default);
        self.problems.push(Problem { origin, key: Some(key.to_owned()), message: message.into() });
    }

    fn at_least(&mut self, key: &str, value: PromDuration, least: Duration) {
        if value.0 < least {
            self.refuse(key, format!("expected at least {}, not {value}", PromDuration(least)));
        }
    }

    fn retention(&mut self, retention: &Retention) -> RetentionConfig {
        let bounded = !retention.default.0.is_zero();
        if bounded {
            self.at_least("retention.default", retention.default, Duration::from_secs(60));
        }
        let rollups = &retention.rollups;
        for (key, kept) in
            [("retention.rollups.minutes", rollups.minutes), ("retention.rollups.hours", rollups.hours)]
        {
            if !kept.0.is_zero() {
                self.at_least(key, kept, Duration::from_secs(24 * 3_600));
            }
        }
        let kept = |kept: PromDuration| (!kept.0.is_zero()).then_some(kept.0);
        RetentionConfig {
            default: kept(retention.default),
            max_exemplars: retention.max_exemplars,
            rollups: rollups
                .enabled
                .then(|| RollupConfig { minutes: kept(rollups.minutes), hours: kept(rollups.hours) }),
        }
    }

    fn discovery(&mut self, settings: &Settings) -> DiscoveryConfig {
        let (discovery, http) = (&settings.discovery, &settings.http);
        self.above_zero("discovery.max_targets", discovery.max_targets);
        let has_token = http.reload_token.is_some() || http.reload_token_file.is_some();
        let token = match has_token {
            true => {
                self.secret("http.reload_token", http.reload_token.as_ref(), http.reload_token_file.as_ref())
            }
            false => None,
        };
        if token.as_deref().is_some_and(|token| token.trim().is_empty()) {
            self.refuse("http.reload_token", "expected a token, not an empty text");
        }
        DiscoveryConfig {
            enabled: discovery.enabled,
            file: discovery.prometheus_config.as_ref().filter(|file| !file.is_empty()).map(Into::into),
            max_targets: discovery.max_targets,
            kept_dropped: discovery.kept_dropped_targets,
            reload_token: token.map(|token| Secret::new(token.trim())),
        }
    }

    fn above_zero(&mut self, key: &str, value: usize) {
        if value == 0 {
            self.refuse(key, "expected at least 1, not 0");
        }
    }

    /// The secret of a key, or of the file that its `…_file` key names. Of two that are both set the one from the
    /// higher layer wins; in one layer that is a mistake.
    fn secret(&mut self, key: &str, value: Option<&String>, file: Option<&String>) -> Option<String> {
        let file_key = format!("{key}_file");
        let rank = |key: &str| self.origins.get(key).map_or(0, Origin::rank);
        let file = match (value, file) {
            (Some(_), Some(_)) if rank(key) == rank(&file_key) => {
                self.refuse(&file_key, format!("expected either this or {key}, not both"));
                return None;
            }
            (Some(value), Some(_)) if rank(key) > rank(&file_key) => return Some(value.clone()),
            (Some(value), None) => return Some(value.clone()),
            (_, file) => file?,
        };
        secrets::read(file).map_err(|message| self.refuse(&file_key, message)).ok()
    }

    fn listen(&mut self, listen: &str) {
        if !is_address(listen) {
            self.refuse(
                "listen",
                format!("expected host:port such as 127.0.0.1:9099 or [::1]:9099, not {listen:?}"),
            );
        }
    }

    fn roles(&mut self, names: &[String]) -> Roles {
        let mut roles = Vec::new();
        for name in names {
            match Role::from_name(name) {
                Some(role) => roles.push(role),
                None => {
                    let hint = nearest(name, Role::ALL.iter().map(|role| role.as_str()));
                    let hint = hint.map_or_else(String::new, |role| format!("; did you mean {role}?"));
                    let known = Role::ALL.map(Role::as_str).join(", ");
                    self.refuse("roles", format!("{name:?} is no role, expected some of {known}{hint}"));
                }
            }
        }
        roles.sort_unstable();
        roles.dedup();
        if names.is_empty() {
            self.refuse("roles", "expected at least one of api, worker, ingest, writer");
        }
        Roles(roles)
    }

    fn cache(&mut self, settings: &Settings) -> Option<CacheConfig> {
        let cache = &settings.cache;
        if cache.url.is_none() && cache.url_file.is_none() {
            return Some(CacheConfig::InProcess);
        }
        let url = self.secret("cache.url", cache.url.as_ref(), cache.url_file.as_ref())?;
        if url.starts_with("redis://") || url.starts_with("rediss://") {
            return Some(CacheConfig::Redis(Secret::new(url)));
        }
        self.refuse("cache.url", format!("expected redis://… or rediss://…, not {:?}", mask_url(&url)));
        None
    }

    fn events(&mut self, events: &Events) -> Option<EventsConfig> {
        let format = match events.format.as_str() {
            "json" => EventFormat::Json,
            "protobuf" => EventFormat::Protobuf,
            other => {
                self.refuse("events.format", format!("expected json or protobuf, not {other:?}"));
                return None;
            }
        };
        if events.brokers.is_empty() {
            let unused = [
                ("events.settings", !events.settings.is_empty()),
                ("events.sasl_password_file", events.sasl_password_file.is_some()),
            ];
            for (key, _) in unused.into_iter().filter(|(_, set)| *set) {
                self.refuse(key, "has no effect without events.brokers");
            }
            return Some(EventsConfig::InProcess);
        }
        for broker in &events.brokers {
            let port = broker.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            if port.is_none() {
                self.refuse(
                    "events.brokers",
                    format!("expected host:port such as kafka-1:9092, not {broker:?}"),
                );
            }
        }
        let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if events.topic.is_empty()
            || events.topic.len() > MAX_TOPIC_CHARS
            || !events.topic.chars().all(letter)
        {
            let message = format!("expected 1 to {MAX_TOPIC_CHARS} of a-z, A-Z, 0-9, dot, _ and -");
            self.refuse("events.topic", message);
        }
        let settings = self.kafka_settings(events);
        Some(EventsConfig::Kafka(KafkaConfig {
            brokers: events.brokers.clone(),
            topic: events.topic.clone(),
            format,
            settings,
        }))
    }

    fn kafka_settings(&mut self, events: &Events) -> BTreeMap<String, Secret> {
        let mut settings = events.settings.clone();
        if settings.contains_key("bootstrap.servers") || settings.contains_key("metadata.broker.list") {
            self.refuse("events.settings", "brokers are named in events.brokers, not here");
        }
        if let Some(path) = &events.sasl_password_file {
            match secrets::read(path) {
                Ok(password) if !settings.contains_key("sasl.password") => {
                    settings.insert("sasl.password".to_owned(), password);
                }
                Ok(_) => {
                    let message = "expected either this or sasl.password in events.settings, not both";
                    self.refuse("events.sasl_password_file", message);
                }
                Err(message) => self.refuse("events.sasl_password_file", message),
            }
        }
        settings.into_iter().map(|(name, value)| (name, Secret::new(value))).collect()
    }

    fn scrape(&mut self, settings: &Settings) -> ScrapeSettings {
        let scrape = &settings.scrape;
        self.at_least("scrape.default_interval", scrape.default_interval, MIN_INTERVAL);
        self.at_least("scrape.default_timeout", scrape.default_timeout, Duration::from_millis(1));
        if scrape.default_timeout > scrape.default_interval {
            let (timeout, interval) = (scrape.default_timeout, scrape.default_interval);
            let message = format!("expected at most scrape.default_interval ({interval}), not {timeout}");
            self.refuse("scrape.default_timeout", message);
        }
        self.above_zero("scrape.concurrency", scrape.concurrency);
        let mut allow_cidrs = Vec::new();
        for text in &scrape.allow_cidrs {
            match text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
                Ok(network) => allow_cidrs.push(network),
                Err(_) => {
                    let message = format!("expected a network such as 169.254.10.0/24, not {text:?}");
                    self.refuse("scrape.allow_cidrs", message);
                }
            }
        }
        let node_exporter = Some(scrape.node_exporter.clone()).filter(|url| !url.is_empty());
        let is_http =
            |url: &String| Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if node_exporter.as_ref().is_some_and(|url| !is_http(url)) {
            self.refuse("scrape.node_exporter", "expected an http or https URL, or nothing at all");
        }
        ScrapeSettings {
            default_interval: scrape.default_interval,
            default_timeout: scrape.default_timeout,
            concurrency: scrape.concurrency,
            allow_cidrs,
            close_private: scrape.close_private,
            secrets_dir: scrape.secrets_dir.as_ref().filter(|path| !path.is_empty()).map(PathBuf::from),
            self_scrape: scrape.self_scrape,
            node_exporter,
        }
    }

    /// Every number of the section bounds something, and nothing works with a bound of zero, but series without one.
    fn limits(&mut self, limits: &Limits) {
        let name_bytes = limits.max_metric_name_bytes;
        let Ok(serde_json::Value::Object(limits)) = serde_json::to_value(limits) else {
            return;
        };
        let zero = |(name, value): &(&String, &serde_json::Value)| {
            value.as_u64() == Some(0)
                && !name.ends_with("_series_per_source")
                && !name.ends_with("_minute_per_source")
        };
        for (name, _) in limits.iter().filter(zero) {
            self.refuse(&format!("limits.{name}"), "expected at least 1, not 0");
        }
        if name_bytes > MAX_METRIC_NAME_BYTES {
            self.refuse(
                "limits.max_metric_name_bytes",
                format!("expected at most {MAX_METRIC_NAME_BYTES}, which is what the column holds, not {name_bytes}"),
            );
        }
    }

    fn join_within(&mut self, settings: &Settings) -> Duration {
        let within = settings.ingest.join_within;
        if within.0 > MAX_COMMIT_DELAY {
            let message = format!("expected at most {}, not {within}", PromDuration(MAX_COMMIT_DELAY));
            self.refuse("ingest.join_within", message);
        }
        within.0
    }

    fn commit(&mut self, settings: &Settings) -> CommitConfig {
        let commit = &settings.commit;
        if commit.max_delay.0 > MAX_COMMIT_DELAY {
            let message =
                format!("expected at most {}, not {}", PromDuration(MAX_COMMIT_DELAY), commit.max_delay);
            self.refuse("commit.max_delay", message);
        }
        self.above_zero("commit.max_bytes", commit.max_bytes.0);
        CommitConfig { max_delay: commit.max_delay.0, max_bytes: commit.max_bytes.0 }
    }

    fn promql(&mut self, settings: &Settings) -> PromqlConfig {
        let promql = &settings.promql;
        self.at_least("promql.look_back", promql.look_back, Duration::from_millis(1));
        self.at_least("promql.subquery_step", promql.subquery_step, Duration::from_millis(1));
        self.at_least("promql.timeout", promql.timeout, Duration::from_millis(1));
        self.above_zero("promql.max_concurrent", promql.max_concurrent);
        self.above_zero("promql.max_points", promql.max_points);
        self.above_zero("promql.max_memory", promql.max_memory.0);
        PromqlConfig {
            experimental: promql.experimental,
            look_back: promql.look_back.0,
            subquery_step: promql.subquery_step.0,
            timeout: promql.timeout.0,
            max_concurrent: promql.max_concurrent,
            max_points: promql.max_points,
            max_bytes: promql.max_memory.0,
        }
    }

    fn sealing_key(&mut self, settings: &Settings) -> Option<SealingKey> {
        let (key, file) = (settings.secrets.key.as_ref(), settings.secrets.key_file.as_ref());
        let from_file = key.is_none();
        let text = self.secret("secrets.key", key, file)?;
        let parsed = SealingKey::parse(&text);
        if parsed.is_none() {
            let at = if from_file { "secrets.key_file" } else { "secrets.key" };
            self.refuse(at, "expected 32 bytes as base64 or hex, such as `openssl rand -base64 32` makes");
        }
        parsed
    }

    fn log(&mut self, settings: &Settings) -> Option<LogConfig> {
        let (level, format) = (settings.log.level.as_str(), settings.log.format.as_str());
        if !LEVELS.contains(&level) {
            self.refuse("log.level", format!("expected one of {}, not {level:?}", LEVELS.join(", ")));
        }
        let format = match format {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            other => {
                self.refuse("log.format", format!("expected text or json, not {other:?}"));
                return None;
            }
        };
        Some(LogConfig { level: level.to_owned(), format })
    }
}

/// Whether a text is `host:port`.
fn is_address(listen: &str) -> bool {
    listen.rsplit_once(':').is_some_and(|(host, port)| {
        let bare_v6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
        !host.is_empty() && !bare_v6 && port.parse::<u16>().is_ok()
    })
}
