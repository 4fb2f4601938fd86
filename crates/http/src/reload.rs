//! `POST /-/reload`: the file with the jobs is read again.

use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;
use axum::Json;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use metricsd_model::Secret;
use metricsd_ports::Right;
use serde::Serialize;

use crate::access::caller_of;
use crate::api::AppState;
use crate::{Problem, ProblemKind};

/// Who is at the other end of a connection; the server puts it into the extensions of requests.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// What a good file came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// The file.
    pub file: String,
    /// Jobs in it.
    pub jobs: usize,
    /// What is written in it and not done, a line each.
    pub warnings: Vec<String>,
}

/// Why a file is not in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotReloaded {
    /// What is wrong with it, a line each; nothing has changed.
    Refused(Vec<String>),
    /// It is good and will be taken up; so far it is not.
    NotYet,
}

/// Reads the file with the jobs again.
#[async_trait]
pub trait Reload: Send + Sync + 'static {
    /// Answers when it was taken up.
    async fn reload(&self) -> Result<Reloaded, NotReloaded>;
}

/// How the file is read again, and who may ask for it.
pub struct ReloadAccess {
    /// What does it.
    pub reload: Box<dyn Reload>,
    /// Who is not on this machine shows this as `Authorization: Bearer …`; without one, only this machine may ask.
    pub token: Option<Secret>,
}

/// `POST /-/reload`
pub(crate) async fn reload(
    State(shared): AppState,
    peer: PeerAddress,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Some(access) = &shared.api.reload else {
        return Err(Problem::conflict(
            "this process runs no discovery: discovery.prometheus_config names no file, so there is nothing to reload",
        ));
    };
    let may_manage =
        caller_of(&shared, &headers, Right::Manage).is_ok_and(|caller| caller.token_id().is_some());
    if !may_manage {
        allow(access, peer.0, &headers)?;
    }
    match access.reload.reload().await {
        Ok(reloaded) => Ok(Json(reloaded).into_response()),
        Err(NotReloaded::NotYet) => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            ProblemKind::Unavailable,
            "the file is good and will be taken up, but its jobs do not run yet: see GET /api/v1/metrics/discovery",
        )),
        Err(NotReloaded::Refused(errors)) => {
            let detail = format!("the file was not taken up, nothing has changed: {}", errors.join("; "));
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, ProblemKind::InvalidRequest, detail))
        }
    }
}

/// The address of who asks, as far as it is known.
pub(crate) struct PeerAddress(Option<IpAddr>);

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for PeerAddress {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.extensions.get::<Peer>().map(|peer| peer.0.ip().to_canonical())))
    }
}

fn allow(access: &ReloadAccess, peer: Option<IpAddr>, headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let given = given.and_then(|value| value.strip_prefix(b"Bearer "));
    match (&access.token, given) {
        (Some(token), Some(given)) if equal(token.expose().as_bytes(), given) => return Ok(()),
        (None, _) if peer.is_some_and(|peer| peer.is_loopback()) => return Ok(()),
        (Some(_), None) if peer.is_some_and(|peer| peer.is_loopback()) => return Ok(()),
        _ => {}
    }
    let detail = match (&access.token, given) {
        (_, Some(_)) => "the token is not the one of http.reload_token",
        (Some(_), None) => "say who you are: Authorization: Bearer and the token of http.reload_token",
        (None, None) => "only this machine may ask for it, as http.reload_token is not set",
    };
    Err(Problem::new(StatusCode::FORBIDDEN, ProblemKind::Forbidden, detail))
}

/// Takes as long whatever the first difference is.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |seen, (a, b)| seen | (a ^ b)) == 0
}
