//! gRPC: OTLP's metrics, health, on a port of their own. tonic is named nowhere else.
//!
//! In reading order: how a port is served ([`mod@server`]), how messages pass it without being read (`raw`), how an error is
//! said (`status`), then a file a service.

pub mod server;

mod arrival;
mod raw;
mod status;

mod export;
mod health;

pub use server::{GrpcOptions, Services, serve};

#[cfg(test)]
mod tests;
