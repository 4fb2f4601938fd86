//! Targets: where metrics are collected from, and how healthy each is.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::series::names;
use crate::{MetricFilter, MetricSource, Millis, PromDuration, ScrapeOptions, Secret};

/// How metrics arrive (source document, `CollectionMethod`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CollectionMethod {
    /// metricsd asks the target.
    PullScraping,
    /// A client pushes.
    PushGateway,
    /// A client keeps a stream open.
    Streaming,
    /// A client uploads a file.
    BatchUpload,
}

names!(CollectionMethod {
    PullScraping = "PULL_SCRAPING",
    PushGateway = "PUSH_GATEWAY",
    Streaming = "STREAMING",
    BatchUpload = "BATCH_UPLOAD",
});

/// How metricsd proves itself to a target. Secrets are write-only: answers carry a mask in their place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum AuthConfig {
    /// `Authorization: Basic …`.
    Basic {
        /// User.
        username: String,
        /// Password.
        password: Secret,
    },
    /// `Authorization: Bearer …`.
    Bearer {
        /// Token.
        token: Secret,
    },
    /// Any one header.
    Header {
        /// Header's name.
        name: String,
        /// Header's value.
        value: Secret,
    },
    /// One of the above, encrypted: the only form that reaches a database. Never accepted from outside.
    Sealed {
        /// Cipher text.
        sealed: String,
    },
}

/// How a target is scraped, complete and checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrapeConfig {
    /// As it was given: `http://host:port/path` or `host:port`; at most 500 characters.
    pub target_url: String,
    /// Time between two scrapes; at least 100 ms.
    pub scrape_interval: PromDuration,
    /// A scrape that takes longer has failed; at most the interval.
    pub scrape_timeout: PromDuration,
    /// Path of the page.
    pub metrics_path: String,
    /// `http` or `https`.
    pub scheme: String,
    /// How metricsd proves itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<AuthConfig>,
    /// Labels of the page win over the target's own (`job`, `instance`); otherwise they become `exported_…`.
    #[serde(default)]
    pub honor_labels: bool,
    /// Timestamps of the page are kept; otherwise every sample gets the scrape's.
    #[serde(default = "yes")]
    pub honor_timestamps: bool,
    /// Everything else; shared by the targets of one job.
    #[serde(default, skip_serializing_if = "is_plain")]
    pub options: Arc<ScrapeOptions>,
}

fn is_plain(options: &ScrapeOptions) -> bool {
    *options == ScrapeOptions::default()
}

fn yes() -> bool {
    true
}

/// How long a target's samples are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionPolicy {
    /// Samples older than this are removed.
    pub duration: PromDuration,
}

/// What a user asked to be collected: complete, checked, defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetSpec {
    /// Unique; at most 100 characters.
    pub target_id: String,
    /// Who the metrics belong to; also the `job` label; at most 100 characters.
    pub source_id: String,
    /// Kind of source.
    pub source_type: MetricSource,
    /// How metrics arrive.
    pub collection_method: CollectionMethod,
    /// How to scrape.
    pub scrape_config: ScrapeConfig,
    /// Labels added to every sample.
    pub labels: BTreeMap<String, String>,
    /// What is kept.
    pub filters: Vec<MetricFilter>,
    /// How long; the global setting where absent.
    pub retention_policy: Option<RetentionPolicy>,
    /// Whether it is scraped at all.
    pub enabled: bool,
}

impl TargetSpec {
    /// The page's address: scheme, host and path joined.
    pub fn scrape_url(&self) -> String {
        let config = &self.scrape_config;
        let rest = config.target_url.split_once("://").map_or(config.target_url.as_str(), |(_, rest)| rest);
        let (host, query) = match rest.find(['/', '?']) {
            Some(at) => (&rest[..at], rest[at..].find('?').map_or("", |q| &rest[at + q..])),
            None => (rest, ""),
        };
        format!("{}://{host}{}{query}", config.scheme, config.metrics_path)
    }

    /// `host:port`, the `instance` label.
    pub fn instance(&self) -> String {
        let url = self.scrape_url();
        let rest = url.split_once("://").map_or("", |(_, rest)| rest);
        let host = rest.split(['/', '?']).next().unwrap_or("");
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let has_port =
            host.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
        match (has_port, self.scrape_config.scheme.as_str()) {
            (true, _) => host.to_owned(),
            (false, "https") => format!("{host}:443"),
            (false, _) => format!("{host}:80"),
        }
    }
}

/// Whether a target can be collected from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// Not scraped yet.
    #[default]
    Unknown,
    /// The last scrape succeeded.
    Healthy,
    /// The last scrape failed.
    Unhealthy,
    /// Not scraped, as asked.
    Disabled,
}

names!(HealthStatus { Unknown = "unknown", Healthy = "healthy", Unhealthy = "unhealthy", Disabled = "disabled" });

/// Why a collection failed as a whole. A closed set, small enough to be a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// The name does not resolve.
    Dns,
    /// No connection, or it broke.
    Connect,
    /// The certificate or the handshake failed.
    Tls,
    /// Longer than the scrape timeout.
    Timeout,
    /// An answer other than 200.
    Status,
    /// More bytes than allowed, before or after decompression.
    TooLarge,
    /// The page does not read, or its compression is damaged.
    Parse,
    /// A limit on samples or labels.
    Limit,
    /// The address is not allowed as a target.
    Forbidden,
    /// More redirects than allowed, or one that leads nowhere.
    Redirect,
    /// The credentials could not be unsealed.
    Credentials,
    /// The page was read but could not be stored.
    Store,
    /// It was due and not done: a worker was lost, stopped or cut off.
    Missed,
    /// A fault of metricsd's own.
    Internal,
}

names!(FailureReason {
    Dns = "dns",
    Connect = "connect",
    Tls = "tls",
    Timeout = "timeout",
    Status = "status",
    TooLarge = "too_large",
    Parse = "parse",
    Limit = "limit",
    Forbidden = "forbidden",
    Redirect = "redirect",
    Credentials = "credentials",
    Store = "store",
    Missed = "missed",
    Internal = "internal",
});

/// A target's state after its last scrape.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Health {
    /// In one word.
    pub status: HealthStatus,
    /// Why it is unhealthy.
    pub reason: Option<FailureReason>,
    /// The same as a sentence.
    pub error: Option<String>,
    /// Start of the last scrape.
    pub last_scrape: Option<Millis>,
    /// How long it took.
    pub scrape_duration_ms: f64,
    /// Samples that its page held.
    pub samples_scraped: u64,
}

/// Who asked for a target, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OriginKind {
    /// A user, over the API.
    #[default]
    Api,
    /// The target itself, over the API, for some time.
    Registered,
    /// A provider of a job.
    Discovered,
}

names!(OriginKind { Api = "api", Registered = "registered", Discovered = "discovered" });

/// Who asked for a target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Origin {
    /// A user, over the API; it stays until it is deleted.
    #[default]
    Api,
    /// The target itself, over the API; it goes when it is not renewed in time.
    Registered {
        /// When it goes, by the catalogue's clock.
        expires_at: Millis,
    },
    /// A provider of a job; it goes when the provider no longer finds it.
    Discovered {
        /// The job.
        job: String,
        /// Kind of the provider: `static`, `file`, …
        provider: String,
    },
}

impl Origin {
    /// In one word.
    pub fn kind(&self) -> OriginKind {
        match self {
            Self::Api => OriginKind::Api,
            Self::Registered { .. } => OriginKind::Registered,
            Self::Discovered { .. } => OriginKind::Discovered,
        }
    }

    /// The job that found it, of a discovered target.
    pub fn job(&self) -> Option<&str> {
        match self {
            Self::Discovered { job, .. } => Some(job),
            Self::Api | Self::Registered { .. } => None,
        }
    }
}

/// One row of `metric_targets`.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Primary key.
    pub id: Uuid,
    /// What was asked for.
    pub spec: TargetSpec,
    /// Who asked for it.
    pub origin: Origin,
    /// How it goes.
    pub health: Health,
    /// When it was first created.
    pub created_at: Millis,
    /// Grows with every change of the catalogue; a change feed asks for what came after a revision.
    pub revision: i64,
    /// Deletion was asked for; the row goes when its scraping has stopped and its series are marked stale.
    pub deleting: bool,
    /// A scrape out of turn was asked for at this time.
    pub scrape_requested: Option<Millis>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(target_url: &str, scheme: &str, path: &str) -> TargetSpec {
        TargetSpec {
            target_id: "t".into(),
            source_id: "s".into(),
            source_type: MetricSource::Application,
            collection_method: CollectionMethod::PullScraping,
            scrape_config: ScrapeConfig {
                target_url: target_url.into(),
                scrape_interval: PromDuration::from_secs(15),
                scrape_timeout: PromDuration::from_secs(10),
                metrics_path: path.into(),
                scheme: scheme.into(),
                authentication: Some(AuthConfig::Bearer { token: Secret::new("hunter2") }),
                honor_labels: false,
                honor_timestamps: true,
                options: Arc::default(),
            },
            labels: BTreeMap::new(),
            filters: Vec::new(),
            retention_policy: None,
            enabled: true,
        }
    }

    #[test]
    fn the_scrape_url_joins_its_parts() {
        let check = |url, scheme, path, expected: &str, instance: &str| {
            let spec = spec(url, scheme, path);
            assert_eq!((spec.scrape_url().as_str(), spec.instance().as_str()), (expected, instance));
        };
        check("localhost:9100", "http", "/metrics", "http://localhost:9100/metrics", "localhost:9100");
        check(
            "https://a.example/probe?x=1",
            "https",
            "/probe",
            "https://a.example/probe?x=1",
            "a.example:443",
        );
        check("http://[::1]:9/", "http", "/m", "http://[::1]:9/m", "[::1]:9");
        check("http://[::1]", "http", "/m", "http://[::1]/m", "[::1]:80");
        check("http://a?x=1", "http", "/m", "http://a/m?x=1", "a:80");
    }

    #[test]
    fn secrets_never_show() {
        let spec = spec("a:1", "http", "/");
        assert!(!format!("{spec:?}").contains("hunter2"));
        assert!(!serde_json::to_string(&spec).unwrap().contains("hunter2"));
    }
}
