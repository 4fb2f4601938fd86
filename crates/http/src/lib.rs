//! metricsd over HTTP: routes in, JSON out; no adapter is named here.
//!
//! In reading order: what the routes stand on ([`api`]) and the table of them ([`mod@router`]); how requests are read
//! (`params`, `body`, `fields`) and refused ([`problem`]); then a file a resource. [`router()`] answers a plain axum
//! router, so tests call it without a socket.

pub mod api;
pub mod router;

mod access;
mod arrival;
mod body;
mod compress;
mod cors;
mod fields;
mod guard;
mod params;
mod partial;
pub mod problem;
pub mod reload;

pub mod cardinality;
mod cluster;
mod custom;
mod discovery;
mod events;
mod explain;
mod export;
mod home;
mod influx;
mod integrity;
mod jobs;
mod lines;
mod otlp;
pub(crate) mod prometheus;
mod pushgateway;
mod query;
mod stats;
mod stream;
pub(crate) mod targets;
mod tokens;
mod upload;
mod work;

pub mod health;
pub mod metrics;

pub use api::{Api, ApiSettings, PrometheusSettings, Resolve, Roles, SystemResolver};
pub use cardinality::Cardinality;
pub use cors::CorsOrigins;
pub use health::{Check, Dependency};
pub use influx::InfluxOptions;
pub use lines::LineProtocols;
pub use metrics::HttpMetrics;
pub use problem::{Problem, ProblemKind};
pub use pushgateway::GatewayAccess;
pub use reload::{NotReloaded, Peer, Reload, ReloadAccess, Reloaded};
pub use router::router;
pub use upload::UploadAccess;
