//! Checks how OpenTelemetry's pushes are taken.

use std::time::Duration;

use metricsd_codec::otlp::{OtlpOptions, Promotion, StreamLimits, Translation};

use super::{Check, is_address};
use crate::config::error::nearest;
use crate::config::settings::{Grpc, Otlp, Settings};
use crate::config::{GrpcConfig, OtlpConfig};

impl Check<'_> {
    pub(super) fn otlp(&mut self, settings: &Settings) -> OtlpConfig {
        let otlp = &settings.otlp;
        self.at_least("otlp.max_idle", otlp.max_idle, Duration::from_secs(1));
        let options = OtlpOptions {
            translation: self.translation(&otlp.translation_strategy),
            promotion: self.promotion(otlp),
            keep_identifying: otlp.keep_identifying_resource_attributes,
            custom_buckets: otlp.convert_histograms_to_nhcb,
            scope_labels: otlp.promote_scope_metadata,
            delta: otlp.delta_to_cumulative,
            start_zeros: otlp.start_time_zeros,
            max_bytes: settings.limits.max_decompressed_bytes,
        };
        let streams = StreamLimits { max_bytes: otlp.max_delta_memory.0, max_idle: otlp.max_idle.millis() };
        OtlpConfig { options, streams }
    }

    fn translation(&mut self, name: &str) -> Translation {
        Translation::from_name(name).unwrap_or_else(|| {
            let names = Translation::ALL.map(Translation::as_str);
            let hint = nearest(name, names.into_iter());
            let hint = hint.map_or_else(String::new, |name| format!("; did you mean {name}?"));
            let message = format!("expected one of {}, not {name:?}{hint}", names.join(", "));
            self.refuse("otlp.translation_strategy", message);
            Translation::default()
        })
    }

    fn promotion(&mut self, otlp: &Otlp) -> Promotion {
        let keys = |keys: &[String]| keys.iter().cloned().collect();
        if !otlp.promote_all_resource_attributes {
            if !otlp.ignore_resource_attributes.is_empty() {
                let message = "has no effect without otlp.promote_all_resource_attributes";
                self.refuse("otlp.ignore_resource_attributes", message);
            }
            return Promotion::These(keys(&otlp.promote_resource_attributes));
        }
        if !otlp.promote_resource_attributes.is_empty() {
            let message = "expected either this or otlp.promote_all_resource_attributes, not both";
            self.refuse("otlp.promote_resource_attributes", message);
        }
        Promotion::AllBut(keys(&otlp.ignore_resource_attributes))
    }

    pub(super) fn grpc(&mut self, grpc: &Grpc) -> Option<GrpcConfig> {
        self.above_zero("grpc.max_connections", grpc.max_connections);
        if grpc.listen.is_empty() {
            return None;
        }
        if !is_address(&grpc.listen) {
            let message = format!("expected host:port such as 127.0.0.1:4317, not {:?}", grpc.listen);
            self.refuse("grpc.listen", message);
        }
        Some(GrpcConfig { listen: grpc.listen.clone(), max_connections: grpc.max_connections })
    }
}
