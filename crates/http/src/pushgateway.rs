//! What a Pushgateway takes: `/metrics/job/…` with `PUT`, `POST` and `DELETE`; and which groups there are.

mod key;
mod list;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, OriginalUri, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, put};
use metricsd_codec::exposition::Format;
use metricsd_ingest::Caller;
use metricsd_listeners::gateway::{Change, Gateway, GatewayError, GroupKey, PagePush};
use metricsd_model::{ScrapeProtocol, parse_duration};

use crate::api::{AppState, Shared};
use crate::arrival;
use crate::body::{self, BodyLimits};
use crate::custom::source_from;
use crate::prometheus::write::Plain;
use crate::router::{Route, route};
use crate::targets::check_source_id;
use crate::{Problem, ProblemKind};

/// Who pushes, where nobody says.
const DEFAULT_SOURCE: &str = "pushgateway";

/// How long after this push its group goes, where the address does not say.
const EXPIRE_HEADER: &str = "x-expire-after";

/// The groups, and what may be done with them.
#[derive(Clone)]
pub struct GatewayAccess {
    /// The groups.
    pub gateway: Gateway,
    /// Whether all of them may be removed at once.
    pub admin: bool,
}

impl std::fmt::Debug for GatewayAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GatewayAccess").field("admin", &self.admin).finish_non_exhaustive()
    }
}

const METHODS: &[&str] = &["PUT", "POST", "DELETE"];

/// The routes; they refuse everything where groups are not kept.
pub(crate) fn routes() -> Vec<Route> {
    vec![
        route("/metrics/job/{*group}", METHODS, group_handlers()).pushes(),
        route("/metrics/job@base64/{*group}", METHODS, group_handlers()).pushes(),
        route("/api/v1/metrics/groups", &["GET"], get(list::groups)),
        route("/api/v1/pushgateway/metrics", &["GET"], get(list::metrics)),
        route("/api/v1/admin/wipe", &["PUT"], put(wipe)),
    ]
}

fn group_handlers() -> MethodRouter<Arc<Shared>> {
    put(push).post(push).delete(delete)
}

/// The groups of this process; refused where there are none.
fn access(shared: &Shared) -> Result<&GatewayAccess, Problem> {
    let off = || Problem::not_found("metrics are not pushed here; pushgateway.enabled switches it on");
    shared.api.lines.gateway.as_ref().ok_or_else(off)
}

/// What an address says beside the group. Parameters that are not known are ignored.
struct Asked {
    source_id: String,
    expire_after: Option<Duration>,
}

impl Asked {
    fn read(query: Option<&str>, headers: &HeaderMap, caller: &Caller) -> Result<Self, Problem> {
        let (mut source_id, mut expire) = (None, None);
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match name.as_ref() {
                "source_id" if !value.is_empty() => {
                    check_source_id(&value).map_err(|why| invalid(format!("source_id: {why}")))?;
                    source_id = Some(value.into_owned());
                }
                "expire_after" => expire = Some(value.into_owned()),
                _ => {}
            }
        }
        let in_header = || Some(String::from_utf8_lossy(headers.get(EXPIRE_HEADER)?.as_bytes()).into_owned());
        let expire_after = match expire.or_else(in_header) {
            None => None,
            Some(text) => Some(parse_duration(text.trim()).map_err(|_| {
                let shown: String = text.chars().take(40).collect();
                invalid(format!(
                    "expire_after is {shown:?}; expected a duration such as 30m or 1d, or 0s for never"
                ))
            })?),
        };
        Ok(Self { source_id: source_from(source_id, headers, caller, DEFAULT_SOURCE)?, expire_after })
    }
}

/// `PUT` and `POST /metrics/job/…`
async fn push(
    State(shared): AppState,
    Extension(caller): Extension<Caller>,
    method: Method,
    OriginalUri(uri): OriginalUri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Plain> {
    let gateway = access(&shared)?.gateway.clone();
    let labels = key::read(uri.path()).map_err(invalid)?;
    let asked = Asked::read(query.as_deref(), &headers, &caller)?;
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let format = Format::negotiate(content_type, Some(ScrapeProtocol::PrometheusText004));
    let limits = BodyLimits::of(&shared.api);
    // Who waits for a group takes no place of other protocols.
    let (arrived, _place) = arrival::in_turn(&shared, &headers, body, gateway.place()).await?;
    let (body, slot) = arrived.admitted(&shared).await;
    let page = body::unpacked(&headers, body, &limits).await?;
    drop(slot);
    let push = PagePush {
        key: GroupKey::new(labels, asked.source_id),
        change: if method == Method::PUT { Change::Replace } else { Change::Merge },
        page,
        format: format.unwrap_or(Format::Text),
        expire_after: asked.expire_after,
        caller,
    };
    gateway.push(push).await.map_err(problem)?;
    Ok(StatusCode::OK.into_response())
}

/// `DELETE /metrics/job/…`
async fn delete(
    State(shared): AppState,
    Extension(caller): Extension<Caller>,
    OriginalUri(uri): OriginalUri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Plain> {
    let gateway = &access(&shared)?.gateway;
    let labels = key::read(uri.path()).map_err(invalid)?;
    let asked = Asked::read(query.as_deref(), &headers, &caller)?;
    gateway.delete(&GroupKey::new(labels, asked.source_id)).await.map_err(problem)?;
    Ok(StatusCode::ACCEPTED.into_response())
}

/// `PUT /api/v1/admin/wipe`
async fn wipe(State(shared): AppState) -> Result<Response, Problem> {
    let access = access(&shared)?;
    if !access.admin {
        let detail = "all groups may not be removed at once; pushgateway.admin allows it";
        return Err(Problem::new(StatusCode::FORBIDDEN, ProblemKind::Forbidden, detail));
    }
    access.gateway.wipe().await.map_err(problem)?;
    Ok(StatusCode::ACCEPTED.into_response())
}

fn invalid(message: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, ProblemKind::InvalidRequest, message)
}

fn problem(error: GatewayError) -> Problem {
    match error {
        GatewayError::Refused(message) => invalid(message),
        GatewayError::Busy => Problem::unavailable(error.to_string()),
        GatewayError::Catalog(error) => error.into(),
        GatewayError::Store(error) => error.into(),
    }
}
