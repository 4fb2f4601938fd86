//! gRPC: OTLP's metrics, streams of custom metrics, health, on a port of their own. tonic is named nowhere else.
//!
//! In reading order: how a port is served ([`mod@server`]), who calls (`entry`), how messages pass it
//! without being read (`raw`) and are bounded in how far they unfold (`wire`), how an error is said (`status`), then a file a service.

pub mod server;

mod arrival;
mod entry;
mod raw;
mod status;
mod wire;

mod export;
mod health;
mod stream;

pub use server::{GrpcOptions, Services, serve};

#[cfg(test)]
mod tests;
