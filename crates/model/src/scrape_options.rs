//! Everything about a scrape beyond its address and interval (Prometheus' documentation, `scrape_config`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::series::names;
use crate::{HttpOptions, RelabelConfig};

/// A format that a scrape may ask for, as `scrape_protocols` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ScrapeProtocol {
    /// Length-delimited `io.prometheus.client.MetricFamily`; the only one with native histograms.
    PrometheusProto,
    /// Prometheus text 0.0.4.
    #[serde(rename = "PrometheusText0.0.4")]
    PrometheusText004,
    /// Prometheus text 1.0.0, with quoted names.
    #[serde(rename = "PrometheusText1.0.0")]
    PrometheusText100,
    /// OpenMetrics 0.0.1.
    #[serde(rename = "OpenMetricsText0.0.1")]
    OpenMetricsText001,
    /// OpenMetrics 1.0.0.
    #[serde(rename = "OpenMetricsText1.0.0")]
    OpenMetricsText100,
}

names!(ScrapeProtocol {
    PrometheusProto = "PrometheusProto",
    PrometheusText004 = "PrometheusText0.0.4",
    PrometheusText100 = "PrometheusText1.0.0",
    OpenMetricsText001 = "OpenMetricsText0.0.1",
    OpenMetricsText100 = "OpenMetricsText1.0.0",
});

/// Which names are valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NameValidation {
    /// Any UTF-8.
    #[default]
    Utf8,
    /// `[a-zA-Z_:][a-zA-Z0-9_:]*`
    Legacy,
}

/// In which form a target is asked to write names that are not legacy names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NameEscaping {
    /// As they are, quoted.
    #[serde(rename = "allow-utf-8")]
    AllowUtf8,
    /// What is not allowed becomes `_`.
    #[serde(rename = "underscores")]
    Underscores,
    /// Dots become `_dot_`, other characters `__`.
    #[serde(rename = "dots")]
    Dots,
    /// `U__` and the characters' code points.
    #[serde(rename = "values")]
    Values,
}

names!(NameEscaping {
    AllowUtf8 = "allow-utf-8",
    Underscores = "underscores",
    Dots = "dots",
    Values = "values",
});

/// What happens to a page that goes past a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLimit {
    /// The whole scrape fails.
    #[default]
    Reject,
    /// What is within the limits is kept, known series first; the rest is counted, and offenders are named.
    Truncate,
}

/// A scrape's settings. The default of each is what Prometheus 3 does unless told otherwise; a limit of 0 is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScrapeOptions {
    /// Parameters of the request.
    pub params: BTreeMap<String, Vec<String>>,
    /// How requests are made.
    pub http: HttpOptions,
    /// Formats in order of preference; the built-in list where empty.
    pub scrape_protocols: Vec<ScrapeProtocol>,
    /// The format of pages whose `Content-Type` is absent or says nothing that we know; without one such pages are refused.
    pub fallback_scrape_protocol: Option<ScrapeProtocol>,
    /// Native histograms are asked for and stored.
    pub scrape_native_histograms: bool,
    /// The classic buckets of native histograms are kept too.
    pub always_scrape_classic_histograms: bool,
    /// Classic histograms become native ones with custom buckets.
    pub convert_classic_histograms_to_nhcb: bool,
    /// Series whose samples bring timestamps of their own are marked as ended when they vanish.
    pub track_timestamps_staleness: bool,
    /// Created timestamps become samples of zero.
    pub created_timestamp_zero: bool,
    /// Compressed pages are asked for.
    pub enable_compression: bool,
    /// Rules for every sample of a page.
    pub metric_relabel_configs: Vec<RelabelConfig>,
    /// Bytes of a page, decompressed.
    pub body_size_limit: u64,
    /// Samples of a page after relabelling.
    pub sample_limit: u64,
    /// Labels of a sample.
    pub label_limit: u64,
    /// Bytes of a label's name.
    pub label_name_length_limit: u64,
    /// Bytes of a label's value.
    pub label_value_length_limit: u64,
    /// Buckets of a native histogram; one that has more is merged to a coarser resolution.
    pub native_histogram_bucket_limit: u64,
    /// The finest growth factor from bucket to bucket; finer ones are merged. 0 is none; never NaN.
    pub native_histogram_min_bucket_factor: f64,
    /// Names that are valid.
    pub metric_name_validation_scheme: NameValidation,
    /// Which escaping is asked for; by the validation where absent.
    pub metric_name_escaping_scheme: Option<NameEscaping>,
    /// `scrape_timeout_seconds`, `scrape_sample_limit` and `scrape_body_size_bytes` are added to every scrape.
    pub extra_scrape_metrics: bool,
    /// What a limit does.
    pub on_limit: OnLimit,
    /// The longest interval to which a target whose values do not change may be stretched; never where absent.
    pub adaptive_interval_max_ms: Option<u64>,
    /// The labels of the target are exactly `TargetSpec::labels`: `job` and `instance` are not added.
    pub exact_labels: bool,
    /// Secrets may be read from any file and variable: the operator wrote these settings. Never set by the API, whose
    /// references are confined to `scrape.secrets_dir` and to variables of one prefix.
    pub unconfined_secrets: bool,
}

/// The one number among them is never NaN.
impl Eq for ScrapeOptions {}

impl Default for ScrapeOptions {
    fn default() -> Self {
        Self {
            params: BTreeMap::new(),
            http: HttpOptions::default(),
            scrape_protocols: Vec::new(),
            fallback_scrape_protocol: None,
            scrape_native_histograms: false,
            always_scrape_classic_histograms: false,
            convert_classic_histograms_to_nhcb: false,
            track_timestamps_staleness: false,
            created_timestamp_zero: false,
            enable_compression: true,
            metric_relabel_configs: Vec::new(),
            body_size_limit: 0,
            sample_limit: 0,
            label_limit: 0,
            label_name_length_limit: 0,
            label_value_length_limit: 0,
            native_histogram_bucket_limit: 0,
            native_histogram_min_bucket_factor: 0.0,
            metric_name_validation_scheme: NameValidation::Utf8,
            metric_name_escaping_scheme: None,
            extra_scrape_metrics: false,
            on_limit: OnLimit::Reject,
            adaptive_interval_max_ms: None,
            exact_labels: false,
            unconfined_secrets: false,
        }
    }
}
