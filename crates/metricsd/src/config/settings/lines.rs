//! Keys of line protocols.

use std::collections::BTreeMap;

use metricsd_model::PromDuration;
use serde::{Deserialize, Serialize};

use crate::config::size::ByteSize;

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Influx {
    pub(in crate::config) enabled: bool,
    pub(in crate::config) separator: String,
    pub(in crate::config) value_alone: bool,
    pub(in crate::config) db_label: String,
    pub(in crate::config) utf8_names: bool,
}

impl Default for Influx {
    fn default() -> Self {
        Self {
            enabled: false,
            separator: "_".to_owned(),
            value_alone: true,
            db_label: "db".to_owned(),
            utf8_names: false,
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Graphite {
    pub(in crate::config) listen: String,
    pub(in crate::config) rules: Vec<String>,
    pub(in crate::config) utf8_names: bool,
    pub(in crate::config) max_connections: usize,
    pub(in crate::config) max_line_bytes: ByteSize,
    pub(in crate::config) idle_timeout: PromDuration,
}

impl Default for Graphite {
    fn default() -> Self {
        Self {
            listen: String::new(),
            rules: Vec::new(),
            utf8_names: false,
            max_connections: 1_024,
            max_line_bytes: ByteSize(8 << 10),
            idle_timeout: PromDuration::from_secs(300),
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Statsd {
    pub(in crate::config) listen: String,
    pub(in crate::config) rules: Vec<String>,
    pub(in crate::config) utf8_names: bool,
    pub(in crate::config) labels: BTreeMap<String, String>,
    pub(in crate::config) flush_interval: PromDuration,
    pub(in crate::config) expire_after: PromDuration,
    pub(in crate::config) timers: String,
    pub(in crate::config) max_series: usize,
    pub(in crate::config) max_memory: ByteSize,
    pub(in crate::config) max_connections: usize,
    pub(in crate::config) max_line_bytes: ByteSize,
    pub(in crate::config) idle_timeout: PromDuration,
}

impl Default for Statsd {
    fn default() -> Self {
        Self {
            listen: String::new(),
            rules: Vec::new(),
            utf8_names: false,
            labels: BTreeMap::new(),
            flush_interval: PromDuration::from_secs(10),
            expire_after: PromDuration::from_secs(3_600),
            timers: "native".to_owned(),
            max_series: 100_000,
            max_memory: ByteSize(128 << 20),
            max_connections: 1_024,
            max_line_bytes: ByteSize(8 << 10),
            idle_timeout: PromDuration::from_secs(300),
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Pushgateway {
    pub(in crate::config) enabled: bool,
    pub(in crate::config) interval: PromDuration,
    pub(in crate::config) expire_after: PromDuration,
    pub(in crate::config) admin: bool,
    pub(in crate::config) max_groups: u64,
    pub(in crate::config) max_series: u64,
    pub(in crate::config) max_bytes: ByteSize,
}

impl Default for Pushgateway {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: PromDuration::from_secs(30),
            expire_after: PromDuration::from_secs(0),
            admin: false,
            max_groups: 10_000,
            max_series: 1_000_000,
            max_bytes: ByteSize(256 << 20),
        }
    }
}
