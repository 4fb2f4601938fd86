//! Who may ask what: one layer before all handlers.
//!
//! What a route needs stands in the table of routes. The layer finds out who asks, refuses them or puts the [`Caller`] into
//! the request's extensions, where handlers find it: those that take samples hand it on with them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use metricsd_ingest::access::credential;
use metricsd_ingest::{Caller, Denied, DeniedKind};
use metricsd_ports::Right;

use crate::api::Shared;
use crate::router::Patience;
use crate::{Problem, ProblemKind};

/// How long the body of a request is held back for its caller's quota before the request is refused.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// What a route needs of who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing: it says nothing that is not for everyone.
    Nothing,
    /// This right, whatever the method.
    Right(Right),
    /// The right to read for `GET` and `HEAD`, to manage for what changes something.
    ByMethod,
    /// The handler decides, by rules of its own: it finds out who asks with [`caller_of`].
    Own,
}

impl Needs {
    fn right(self, method: &Method) -> Option<Right> {
        match self {
            Self::Nothing | Self::Own => None,
            Self::Right(right) => Some(right),
            Self::ByMethod if *method == Method::GET || *method == Method::HEAD => Some(Right::Read),
            Self::ByMethod => Some(Right::Manage),
        }
    }
}

/// The layer of one route.
pub(crate) async fn enter(
    State((shared, needs)): State<(Arc<Shared>, Needs)>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(right) = needs.right(request.method()) else {
        request.extensions_mut().insert(Caller::anonymous());
        return next.run(request).await;
    };
    let caller = match caller_of(&shared, request.headers(), right) {
        Ok(caller) => caller,
        Err(denied) => return Problem::from(denied).into_response(),
    };
    if right == Right::Push && caller.counts_bytes() {
        let (parts, body) = request.into_parts();
        let matched = parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
        // What takes its time anyhow is slowed down.
        let goes_on = matched.is_some_and(|path| Patience::of(path, &parts.method) == Patience::Own);
        let most = if goes_on { Duration::MAX } else { MAX_PAUSE };
        request = match metered(&shared, &parts.headers, body, &caller, most) {
            Ok(body) => Request::from_parts(parts, body),
            Err(denied) => return Problem::from(denied).into_response(),
        };
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// Who asks, if they may do this.
pub(crate) fn caller_of(shared: &Shared, headers: &HeaderMap, right: Right) -> Result<Caller, Denied> {
    let presented = credential(headers.get(header::AUTHORIZATION).map(|value| value.as_bytes()));
    shared.api.access.check(presented.as_deref(), right, shared.api.door)
}

/// Ends with what a stream of answers ends with: the process, or the token of who reads.
pub(crate) fn end_of_reading(shared: &Shared, caller: Caller) -> impl Future<Output = ()> + Send + use<> {
    let shutdown = shared.api.shutdown.clone();
    async move {
        tokio::select! {
            () = shutdown.cancelled() => {}
            _ = caller.ended() => {}
        }
    }
}

/// Takes a body out of the quota: at once where its length is told, as it is read where not. That slows down who reads it,
/// and breaks off with the refusal where that would take longer than `most`.
fn metered(
    shared: &Shared,
    headers: &HeaderMap,
    body: Body,
    caller: &Caller,
    most: Duration,
) -> Result<Body, Denied> {
    let declared = headers.get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if let Some(length) = declared {
        caller.take_bytes(length).inspect_err(|denied| shared.api.access.count(denied))?;
        return Ok(body);
    }
    let (caller, access) = (caller.clone(), shared.api.access.clone());
    let chunks = body.into_data_stream().then(move |chunk| {
        let read = chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        let pause = caller.take_bytes_within(read, most).inspect_err(|denied| access.count(denied));
        async move {
            let pause = pause.map_err(axum::Error::new)?;
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            chunk
        }
    });
    Ok(Body::from_stream(chunks))
}

/// The body of a stream, which is slowed down for as long as its caller's quota of bytes asks.
pub(crate) fn metered_stream(
    shared: &Shared,
    headers: &HeaderMap,
    body: Body,
    caller: &Caller,
) -> Result<Body, Denied> {
    if caller.counts_bytes() { metered(shared, headers, body, caller, Duration::MAX) } else { Ok(body) }
}

impl From<&Denied> for Problem {
    fn from(denied: &Denied) -> Self {
        let (status, kind) = match denied.kind() {
            DeniedKind::Unauthorized => (StatusCode::UNAUTHORIZED, ProblemKind::Unauthorized),
            DeniedKind::Forbidden => (StatusCode::FORBIDDEN, ProblemKind::Forbidden),
            DeniedKind::Limited => (StatusCode::TOO_MANY_REQUESTS, ProblemKind::QuotaExceeded),
            DeniedKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, ProblemKind::Unavailable),
        };
        let problem = Self::new(status, kind, denied.to_string());
        match denied.retry_after() {
            Some(wait) => problem.retry_after(wait.as_secs()),
            None => problem,
        }
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        Self::from(&denied)
    }
}
