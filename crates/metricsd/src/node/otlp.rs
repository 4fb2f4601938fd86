//! What comes in over HTTP and gRPC alike, OpenTelemetry's pushes and streams of items, and the port of gRPC.

use std::sync::Arc;

use anyhow::{Context, Result};
use metricsd_grpc::{GrpcOptions, Services};
use metricsd_http::ApiSettings;
use metricsd_ingest::arrival::RefusedBodies;
use metricsd_ingest::stream::{StreamOptions, Streams};
use metricsd_ingest::{Access, Ingest, OtlpDoor};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::adapters::Adapters;
use crate::config::{Config, Role};

/// Opens the port of gRPC, where there is to be one.
pub(super) async fn listen(config: &Config) -> Result<Option<TcpListener>> {
    let Some(grpc) = config.grpc.as_ref().filter(|_| config.roles.has(Role::Ingest)) else {
        return Ok(None);
    };
    let listener = TcpListener::bind(&grpc.listen)
        .await
        .with_context(|| format!("cannot listen on {} (grpc.listen)", grpc.listen))?;
    Ok(Some(listener))
}

/// What HTTP and gRPC share, and the task that serves gRPC.
pub(super) struct Started {
    pub(super) otlp: Option<OtlpDoor>,
    pub(super) streams: Option<Arc<Streams>>,
    pub(super) grpc: Option<JoinHandle<()>>,
    /// Counts bodies and messages that are not read.
    pub(super) refused: RefusedBodies,
}

/// Opens the doors where there are pushes, and starts to serve gRPC where there is a port.
pub(super) fn start(
    config: &Config,
    adapters: &Adapters,
    ingest: Option<&Ingest>,
    access: &Arc<Access>,
    listener: Option<TcpListener>,
    stop: &CancellationToken,
) -> Started {
    let door =
        |ingest: &Ingest| OtlpDoor::new(ingest.clone(), config.otlp.options.clone(), config.otlp.streams);
    let otlp = ingest.map(door);
    let source = &adapters.source;
    let streams = ingest.map(|ingest| Streams::new(ingest.clone(), source.clone(), StreamOptions::default()));
    let refused = RefusedBodies::default();
    let services = otlp.clone().zip(streams.clone()).map(|(otlp, streams)| Services {
        otlp,
        streams,
        access: access.clone(),
        refused: refused.clone(),
    });
    let grpc = serve(config, listener, services, stop);
    Started { otlp, streams, grpc, refused }
}

/// Starts to serve gRPC. The task ends when `stop` is cancelled and the calls under way are answered.
fn serve(
    config: &Config,
    listener: Option<TcpListener>,
    services: Option<Services>,
    stop: &CancellationToken,
) -> Option<JoinHandle<()>> {
    let (listener, services) = (listener?, services?);
    let settings = ApiSettings::default();
    let defaults = GrpcOptions::default();
    let options = GrpcOptions {
        max_connections: config.grpc.as_ref().map_or(defaults.max_connections, |grpc| grpc.max_connections),
        max_message_bytes: config.limits.max_body_bytes,
        max_ratio: config.limits.max_decompression_ratio,
        max_concurrent_pushes: settings.max_concurrent_pushes,
        timeout: config.http.request_timeout,
    };
    if let Ok(address) = listener.local_addr() {
        info!(%address, "serving gRPC");
    }
    Some(tokio::spawn(metricsd_grpc::serve(listener, services, options, stop.clone())))
}
