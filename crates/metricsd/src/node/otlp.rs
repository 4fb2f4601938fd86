//! How OpenTelemetry's pushes come in: the door that HTTP and gRPC share, and the port of gRPC.

use std::sync::Arc;

use anyhow::{Context, Result};
use metricsd_grpc::{GrpcOptions, Services};
use metricsd_http::ApiSettings;
use metricsd_ingest::{Access, Ingest, OtlpDoor};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::info;

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

/// The door, and the task that serves gRPC.
pub(super) fn start(
    config: &Config,
    ingest: Option<&Ingest>,
    access: &Arc<Access>,
    listener: Option<TcpListener>,
    stop: &CancellationToken,
) -> (Option<OtlpDoor>, Option<JoinHandle<()>>) {
    let door =
        |ingest: &Ingest| OtlpDoor::new(ingest.clone(), config.otlp.options.clone(), config.otlp.streams);
    let door = ingest.map(door);
    let served = serve(config, access, listener, door.clone(), stop);
    (door, served)
}

/// Starts to serve gRPC. The task ends when `stop` is cancelled and the calls under way are answered.
fn serve(
    config: &Config,
    access: &Arc<Access>,
    listener: Option<TcpListener>,
    door: Option<OtlpDoor>,
    stop: &CancellationToken,
) -> Option<JoinHandle<()>> {
    let (listener, otlp) = (listener?, door?);
    let settings = ApiSettings::default();
    let defaults = GrpcOptions::default();
    let options = GrpcOptions {
        max_connections: config.grpc.as_ref().map_or(defaults.max_connections, |grpc| grpc.max_connections),
        max_message_bytes: config.limits.max_body_bytes,
        max_concurrent_pushes: settings.max_concurrent_pushes,
        timeout: settings.request_timeout,
    };
    if let Ok(address) = listener.local_addr() {
        info!(%address, "serving gRPC");
    }
    Some(tokio::spawn(metricsd_grpc::serve(
        listener,
        Services { otlp, access: access.clone() },
        options,
        stop.clone(),
    )))
}
