//! What is pushed by OpenTelemetry, and the port of gRPC.

use metricsd_model::PromDuration;
use serde::{Deserialize, Serialize};

use crate::config::size::ByteSize;

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Otlp {
    pub(in crate::config) translation_strategy: String,
    pub(in crate::config) promote_resource_attributes: Vec<String>,
    pub(in crate::config) promote_all_resource_attributes: bool,
    pub(in crate::config) ignore_resource_attributes: Vec<String>,
    pub(in crate::config) keep_identifying_resource_attributes: bool,
    pub(in crate::config) convert_histograms_to_nhcb: bool,
    pub(in crate::config) promote_scope_metadata: bool,
    pub(in crate::config) delta_to_cumulative: bool,
    pub(in crate::config) start_time_zeros: bool,
    pub(in crate::config) max_delta_memory: ByteSize,
    pub(in crate::config) max_idle: PromDuration,
}

impl Default for Otlp {
    fn default() -> Self {
        Self {
            translation_strategy: "UnderscoreEscapingWithSuffixes".to_owned(),
            promote_resource_attributes: Vec::new(),
            promote_all_resource_attributes: false,
            ignore_resource_attributes: Vec::new(),
            keep_identifying_resource_attributes: false,
            convert_histograms_to_nhcb: false,
            promote_scope_metadata: false,
            delta_to_cumulative: false,
            start_time_zeros: false,
            max_delta_memory: ByteSize(64 << 20),
            max_idle: PromDuration::from_secs(15 * 60),
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Grpc {
    pub(in crate::config) listen: String,
    pub(in crate::config) max_connections: usize,
}

impl Default for Grpc {
    fn default() -> Self {
        Self { listen: String::new(), max_connections: 1_024 }
    }
}
