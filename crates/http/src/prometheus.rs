//! Prometheus' HTTP API, answered as Prometheus answers it: what speaks to Prometheus need not know the difference.
//!
//! In reading order: how requests are read ([`form`], [`values`]) and refused ([`error`]), how answers are written
//! ([`json`], [`answer`], [`data`]); then a file a subject;
//! [`mod@write`] and [`read`] are for other servers. Unlike on our own routes a parameter that is not known is
//! ignored here, and errors are objects with `errorType` and `error`.

pub(crate) mod answer;
pub(crate) mod error;
pub(crate) mod form;
pub(crate) mod json;
pub(crate) mod values;

pub(crate) mod data;
mod exemplars;
mod federate;
mod look_up;
mod metadata;
mod name;
mod query;
mod read;
mod rules;
mod status;
mod targets;
pub(crate) mod write;

use std::sync::Arc;

use axum::routing::{get, post};

use crate::api::Shared;
use crate::router::{Route, route};

/// What ways of asking are written as in the table of routes.
const GET_POST: &[&str] = &["GET", "POST"];
const GET: &[&str] = &["GET"];
pub(crate) const POST: &[&str] = &["POST"];

/// The routes of a process that answers questions.
pub(crate) fn routes() -> Vec<Route> {
    let both = |path, handlers| route(path, GET_POST, handlers).reads();
    vec![
        both("/api/v1/query", get(query::instant).post(query::instant)),
        both("/api/v1/query_range", get(query::range).post(query::range)),
        both("/api/v1/query_exemplars", get(exemplars::query).post(exemplars::query)),
        both("/api/v1/format_query", get(query::format).post(query::format)),
        both("/api/v1/parse_query", get(query::parse).post(query::parse)),
        both("/api/v1/series", get(look_up::series).post(look_up::series)),
        both("/api/v1/labels", get(look_up::names).post(look_up::names)),
        route("/api/v1/label/{name}/values", GET, get(look_up::values)),
        route("/api/v1/metadata", GET, get(metadata::metadata)),
        route("/api/v1/targets", GET, get(targets::targets)),
        route("/api/v1/targets/metadata", GET, get(targets::targets_metadata)),
        route("/api/v1/scrape_pools", GET, get(targets::pools)),
        route("/api/v1/rules", GET, get(rules::rules)),
        route("/api/v1/alerts", GET, get(rules::alerts)),
        route("/api/v1/alertmanagers", GET, get(rules::alertmanagers)),
        route("/api/v1/status/buildinfo", GET, get(status::build_info)),
        route("/api/v1/status/runtimeinfo", GET, get(status::runtime_info)),
        route("/api/v1/status/config", GET, get(status::config)),
        route("/api/v1/status/flags", GET, get(status::flags)),
        route("/api/v1/status/tsdb", GET, get(status::tsdb)),
        route("/api/v1/read", POST, post(read::read)).reads(),
        route("/federate", GET, get(federate::federate)),
    ]
}

/// Whether a route is one of these.
pub(crate) fn owns(path: &str) -> bool {
    path == "/federate"
        || (path.starts_with("/api/v1/")
            && !path.starts_with("/api/v1/metrics/")
            && path != "/api/v1/openapi.json")
}

/// How handlers see what they stand on.
type AppState = axum::extract::State<Arc<Shared>>;
