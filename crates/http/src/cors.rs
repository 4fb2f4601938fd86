//! Pages of other origins may ask Prometheus' API, where the configuration says which.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use regex::Regex;

use crate::api::Shared;
use crate::{Problem, ProblemKind};

/// Which origins may ask. None by default.
#[derive(Debug, Clone, Default)]
pub struct CorsOrigins {
    /// Origins such as `https://grafana.example`; `*` stands for all.
    pub origins: Vec<String>,
    /// A pattern that matches a whole origin.
    pub pattern: Option<Regex>,
}

impl CorsOrigins {
    /// What an answer to this origin allows; `None` where it may not ask.
    fn allowed(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        if self.origins.iter().any(|known| known == "*") {
            return Some(HeaderValue::from_static("*"));
        }
        let text = origin.to_str().ok()?;
        let known = self.origins.iter().any(|known| known == text);
        let matches = || self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(text));
        (known || matches()).then(|| origin.clone())
    }
}

/// Whether a page may open a WebSocket: browsers ask for no leave before they open one to another origin, and let the page
/// read it. Clients that are no browsers name no origin.
pub(crate) fn check_socket(shared: &Shared, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    if is_own(origin, headers.get(header::HOST))
        || shared.api.settings.prometheus.cors.allowed(origin).is_some()
    {
        return Ok(());
    }
    let shown: String = String::from_utf8_lossy(origin.as_bytes()).chars().take(100).collect();
    let detail = format!(
        "a page of {shown:?} may not open a WebSocket here; http.cors_allow_origins says which other origins may"
    );
    Err(Problem::new(StatusCode::FORBIDDEN, ProblemKind::Forbidden, detail))
}

/// Whether a page came from where it asks.
fn is_own(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let authority = origin.to_str().ok().and_then(|origin| Some(origin.split_once("://")?.1));
    let host = host.and_then(|host| host.to_str().ok());
    authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
}

const ALLOWED: [(HeaderName, HeaderValue); 3] = [
    (
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("Accept, Authorization, Content-Type, Origin"),
    ),
    (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS")),
    (header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Date")),
];

/// The layer: answers preflight requests itself, and says of other answers who may read them.
pub(crate) async fn cors(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let cors = &shared.api.settings.prometheus.cors;
    let is_preflight = request.method() == Method::OPTIONS;
    let allowed = request.headers().get(header::ORIGIN).and_then(|origin| cors.allowed(origin));
    let mut response =
        if is_preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    if let Some(origin) = allowed {
        allow(response.headers_mut(), origin);
    }
    response
}

fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.extend(ALLOWED);
    if origin != "*" {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_told_apart() {
        let check = |origins: &[&str], pattern: Option<&str>, origin: &str, expected: Option<&str>| {
            let origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
            let pattern = pattern.map(|pattern| metricsd_model::matcher::anchored_regex(pattern).unwrap());
            let allowed = CorsOrigins { origins, pattern }.allowed(&HeaderValue::from_str(origin).unwrap());
            assert_eq!(allowed.as_ref().map(|value| value.to_str().unwrap()), expected, "{origin}");
        };
        check(&[], None, "http://a", None);
        check(&["*"], None, "http://a", Some("*"));
        check(&["http://a"], None, "http://a", Some("http://a"));
        check(&["http://a"], None, "http://ab", None);
        check(&[], Some("https?://.+\\.example"), "https://g.example", Some("https://g.example"));
        check(&[], Some("https?://.+\\.example"), "https://g.example.org", None);
    }
}
