//! `/api/v1/metrics/targets`: the target manager.
//!
//! In reading order: what a request says ([`request`], [`address`], [`options`]), what an answer shows ([`answer`]), and then a
//! file an operation.

mod address;
mod options;
mod parts;
mod request;

mod answer;
mod difference;

mod debug;
mod latest;
mod list;
mod register;
mod remove;
mod scrape;
mod write;

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::Problem;
use crate::api::Shared;

pub(crate) use metricsd_model::{MAX_ID, check_source_id, check_target_id};

pub(crate) use debug::debug;
pub(crate) use latest::latest;
pub(crate) use list::{all, list, show, split_label};
pub(crate) use remove::delete;
pub(crate) use scrape::scrape;
pub(crate) use write::{change, create, replace};

/// The target that an address names.
pub(crate) struct TargetId(pub(crate) String);

impl FromRequestParts<Arc<Shared>> for TargetId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<Shared>) -> Result<Self, Problem> {
        let path = axum::extract::Path::<String>::from_request_parts(parts, state).await;
        match path {
            // What no target can be called need not be looked up.
            Ok(axum::extract::Path(id)) if check_target_id(&id).is_ok() => Ok(Self(id)),
            _ => Err(unknown_target()),
        }
    }
}

/// 404.
pub(crate) fn unknown_target() -> Problem {
    Problem::not_found("there is no target of this id")
}

/// 409: what a job found is as the job says.
pub(crate) fn discovered(job: &str) -> Problem {
    Problem::conflict(format!(
        "this target was found by job {job:?} and is as its provider and the job's settings say: change those, \
         or drop the target in the job's relabel_configs"
    ))
}
