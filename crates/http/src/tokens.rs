//! `/api/v1/metrics/tokens`: who may push, read and manage. The text of a token is answered once, when it is made.

mod request;

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use metricsd_ingest::Access;
use metricsd_model::Millis;
use metricsd_ports::{AccessToken, Quota, Right};
use serde::Serialize;
use tracing::info;
use uuid::Uuid;

use crate::Problem;
use crate::api::{AppState, Shared, now};
use crate::body::{self, BodyLimits};
use crate::fields::parse_object;

/// Bytes of a token's description.
const MAX_BODY: usize = 64 << 10;

/// A token as it is shown.
#[derive(Serialize)]
struct Shown {
    id: Uuid,
    name: String,
    rights: Vec<Right>,
    source_id: Option<String>,
    quota: Quota,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    last_used_at: Option<String>,
    status: &'static str,
    /// Only when it was just made.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

fn time(at: Millis) -> String {
    let at = chrono::DateTime::from_timestamp_millis(at).unwrap_or_default();
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

impl From<AccessToken> for Shown {
    fn from(token: AccessToken) -> Self {
        let status = match (token.revoked_at, token.is_usable(now())) {
            (Some(_), _) => "revoked",
            (None, true) => "active",
            (None, false) => "expired",
        };
        Self {
            id: token.id,
            name: token.name,
            rights: token.rights.iter().collect(),
            source_id: token.source_id,
            quota: token.quota,
            created_at: time(token.created_at),
            expires_at: token.expires_at.map(time),
            revoked_at: token.revoked_at.map(time),
            last_used_at: token.last_used_at.map(time),
            status,
            token: None,
        }
    }
}

/// `POST /api/v1/metrics/tokens`
pub(crate) async fn create(
    State(shared): AppState,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    body::require_type(&headers, &["application/json"])?;
    let limits = BodyLimits::small(&shared.api, MAX_BODY);
    let asked = request::read(parse_object(&body::read(&headers, body, limits).await?)?, now())?;
    let made = Access::new_token()?;
    let token = AccessToken { id: made.id, digest: made.digest, ..asked };
    shared.api.catalog.create_token(&token).await?;
    take_effect(&shared).await;
    info!(token = %token.id, name = token.name, rights = token.rights.names(), "a token was made");
    let shown = Shown { token: Some(made.text.expose().to_owned()), ..Shown::from(token) };
    // Nobody on the way is to keep it.
    Ok((StatusCode::CREATED, [("cache-control", "no-store")], Json(shown)).into_response())
}

/// `GET /api/v1/metrics/tokens`
pub(crate) async fn list(State(shared): AppState) -> Result<Response, Problem> {
    let tokens = shared.api.catalog.tokens().await?;
    Ok(Json(tokens.into_iter().map(Shown::from).collect::<Vec<_>>()).into_response())
}

/// `DELETE /api/v1/metrics/tokens/{token_id}`
pub(crate) async fn revoke(State(shared): AppState, Path(id): Path<String>) -> Result<Response, Problem> {
    let unknown =
        || Problem::not_found("there is no token of this id; GET /api/v1/metrics/tokens lists them");
    let id = Uuid::try_parse(&id).map_err(|_| unknown())?;
    let token = shared.api.catalog.revoke_token(id, now()).await?.ok_or_else(unknown)?;
    take_effect(&shared).await;
    info!(token = %token.id, name = token.name, "a token was revoked");
    Ok(Json(Shown::from(token)).into_response())
}

/// At once in this process; others look within a second or so.
async fn take_effect(shared: &Arc<Shared>) {
    if let Err(error) = shared.api.access.refresh().await {
        tracing::warn!(error = error.chain(), "a change of tokens takes effect later");
    }
}
