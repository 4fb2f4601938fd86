//! Limits on what comes from outside. Every one has a default that a fresh installation can live with.

use metricsd_model::PromDuration;
use serde::{Deserialize, Serialize};

use crate::SeriesLimits;

/// Configuration `limits`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Labels of one series, the metric name included.
    pub max_labels: usize,
    /// Bytes of a label's name.
    pub max_label_name_bytes: usize,
    /// Bytes of a label's value.
    pub max_label_value_bytes: usize,
    /// Bytes of a metric's name; the documented column holds 200 characters.
    pub max_metric_name_bytes: usize,
    /// Samples of one scrape.
    pub max_scrape_samples: usize,
    /// Items of one push.
    pub max_push_items: usize,
    /// Samples of one remote-write request.
    pub max_write_samples: usize,
    /// Bytes of what is remembered of remote writers' series, so that known ones are not named anew.
    pub max_write_cache_bytes: usize,
    /// Series of one source that may have a sample within an hour; new ones are refused beyond. 0: no bound.
    pub max_active_series_per_source: usize,
    /// Series of one source that may be new within a minute, which may come at once. 0: no bound.
    pub max_new_series_per_minute_per_source: usize,
    /// Bytes of a scraped page, after decompression.
    pub max_page_bytes: usize,
    /// Bytes of a request's body as it arrives.
    pub max_body_bytes: usize,
    /// Bytes of a request's body after decompression.
    pub max_decompressed_bytes: usize,
    /// A packed body may unfold to this many times its bytes, beyond 1 MiB; 0: no bound.
    pub max_decompression_ratio: usize,
    /// Samples older than this are refused; `0s`: no bound.
    pub max_sample_age: PromDuration,
    /// Samples further ahead than this are refused; `0s`: no bound.
    pub max_sample_future: PromDuration,
    /// Bytes of batches that wait for the store; beyond it pushes are answered 503 and scrapes are skipped.
    pub max_queue_bytes: usize,
    /// Series that one query may touch.
    pub max_query_series: usize,
    /// Samples that one query may read.
    pub max_query_samples: usize,
}

impl Limits {
    /// Those that hold for the series of each source.
    pub fn series(&self) -> SeriesLimits {
        SeriesLimits {
            max_active: self.max_active_series_per_source,
            max_new_per_minute: self.max_new_series_per_minute_per_source,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_labels: 64,
            max_label_name_bytes: 256,
            max_label_value_bytes: 4 * 1024,
            max_metric_name_bytes: 200,
            max_scrape_samples: 1_000_000,
            max_push_items: 100_000,
            max_write_samples: 1_000_000,
            max_write_cache_bytes: 512 << 20,
            max_active_series_per_source: 2_000_000,
            max_new_series_per_minute_per_source: 1_000_000,
            max_page_bytes: 64 << 20,
            max_body_bytes: 16 << 20,
            max_decompressed_bytes: 64 << 20,
            max_decompression_ratio: 400,
            // A Prometheus that was cut off sends what it kept meanwhile: two hours of its log, and what had piled up.
            max_sample_age: PromDuration::from_secs(86_400),
            max_sample_future: PromDuration::from_secs(600),
            max_queue_bytes: 256 << 20,
            max_query_series: 100_000,
            max_query_samples: 50_000_000,
        }
    }
}
