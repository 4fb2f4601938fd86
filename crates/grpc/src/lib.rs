//! gRPC services: OTLP metrics, and streams of samples.
