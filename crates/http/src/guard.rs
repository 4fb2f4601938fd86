//! What happens around every request: it is counted, bounded in number and time, and a problem learns its path.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use tracing::error;

use crate::api::Shared;
use crate::router::Patience;
use crate::{Problem, ProblemKind, prometheus};

/// Requests that reach no route are counted under this name.
const UNMATCHED: &str = "unmatched";

/// The outermost layer: counts, and finishes problem documents. A handler that panics harms its own request only.
pub(crate) async fn track(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let (method, version) = (request.method().clone(), request.version());
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().map(|matched| matched.as_str().to_owned());
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response = answer.unwrap_or_else(|_| {
        error!(path, "a request panicked");
        Problem::internal().into_response()
    });
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        // What was added on the way stays, such as `Allow`; the old body's length does not.
        let mut headers = response.headers().clone();
        headers.remove(header::CONTENT_LENGTH);
        // Clients of Prometheus' API read its errors where the request got as far as that.
        let asked_there = route.as_deref().is_some_and(prometheus::owns)
            && problem.status() != StatusCode::METHOD_NOT_ALLOWED;
        response = if asked_there {
            headers.remove(header::CONTENT_TYPE);
            prometheus::error::ApiError::from(&problem).into_response()
        } else {
            problem.about(&path).into_response()
        };
        response.headers_mut().extend(headers);
    }
    // The rest of the body is not read, so that the connection ends; a client that is not told would send its next request on it.
    let leaves_body =
        matches!(response.status(), StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT);
    if leaves_body && version < Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let route = route.as_deref().unwrap_or(UNMATCHED);
    shared.api.metrics.answered(route, &method, response.status(), started.elapsed().as_secs_f64());
    response
}

/// Bounds how many requests are at work, and how long each may take.
pub(crate) async fn bound(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let patience = matched.map_or(Patience::Bounded, |path| Patience::of(path, request.method()));
    if patience == Patience::Always {
        return next.run(request).await;
    }
    let Ok(_slot) = shared.requests.clone().try_acquire_owned() else {
        return Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            ProblemKind::Overloaded,
            "more requests are at work than may; try again",
        )
        .retry_after(1)
        .into_response();
    };
    if patience == Patience::Own {
        return next.run(request).await;
    }
    let limit = shared.api.settings.request_timeout;
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            ProblemKind::Timeout,
            format!("the request took longer than {}", metricsd_model::format_duration(limit)),
        )
        .retry_after(1)
        .into_response(),
    }
}

/// Whatever is at no route.
pub(crate) async fn not_found() -> Problem {
    Problem::not_found("there is nothing at this address; GET / lists what there is")
}

/// A route, but not for this method; the `Allow` header says which there are.
pub(crate) async fn method_not_allowed(method: Method) -> Problem {
    let detail = format!("{method} is not for this address; see the Allow header");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, ProblemKind::MethodNotAllowed, detail)
}
