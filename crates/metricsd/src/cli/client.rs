//! Speaks to a running metricsd.

use std::error::Error;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use url::{Url, form_urlencoded};

use super::failure::Failure;
use super::output::cell;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than the server's own bound on any request, so that its word comes through.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// The header that says where the next page begins.
const NEXT_CURSOR: &str = "x-next-cursor";

/// A server and the connection to it.
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
}

/// What a server said to a request that it accepted.
pub(super) struct Answer {
    /// Body; null where there is none.
    pub(super) value: Value,
    /// Status in number.
    pub(super) status: u16,
    /// Where the next page begins, where there is one.
    pub(super) next: Option<String>,
}

impl Client {
    /// For a server's address and the token to present to it.
    pub(super) fn new(base: &str, token: Option<&str>) -> Result<Self, Failure> {
        let wrong =
            || Failure::usage(format!("--url: expected http://host:port or https://host:port, not {base:?}"));
        let parsed = Url::parse(base).map_err(|_| wrong())?;
        let mut builder = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_TIMEOUT);
        match parsed.scheme() {
            // Nothing is verified without TLS, and a machine without certificates must do.
            "http" => builder = builder.tls_certs_only([]),
            "https" => {}
            _ => return Err(wrong()),
        }
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| Failure::usage("the token holds characters that no token has"))?;
            value.set_sensitive(true);
            builder = builder.default_headers(HeaderMap::from_iter([(AUTHORIZATION, value)]));
        }
        let http =
            builder.build().map_err(|error| Failure::failed(chain("cannot start a client", &error)))?;
        Ok(Self { http, base: parsed })
    }

    /// A request below `/api/v1/metrics`; each segment is escaped.
    pub(super) fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        self.http.request(method, self.address(&[&["metrics"], segments].concat()))
    }

    /// A request to a route of Prometheus' API: a form, since an expression may be longer than an address.
    pub(super) fn form(&self, route: &str, parameters: &[(&str, String)]) -> RequestBuilder {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let request = self.http.request(Method::POST, self.address(&[route]));
        request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)
    }

    /// A question to a route of Prometheus' API.
    pub(super) fn read(&self, route: &str, parameters: &[(&str, String)]) -> RequestBuilder {
        self.http.request(Method::GET, self.address(&[route])).query(parameters)
    }

    /// Has the server read the file with its jobs again: which one that is, or nothing where it knows of none.
    pub(super) async fn reload(&self) -> Result<Option<String>, Failure> {
        let request = self.http.request(Method::POST, self.below(&["-", "reload"])).timeout(ANSWER_TIMEOUT);
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if response.status() == StatusCode::CONFLICT {
            return Ok(None);
        }
        let answer = self.accepted(response).await?.json::<Value>().await;
        Ok(Some(answer.map(|answer| cell(&answer["file"])).unwrap_or_default()))
    }

    fn address(&self, segments: &[&str]) -> Url {
        self.below(&[&["api", "v1"], segments].concat())
    }

    fn below(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        self.send_within(request, ANSWER_TIMEOUT).await
    }

    /// The same for what may take long.
    pub(super) async fn send_within(
        &self,
        request: RequestBuilder,
        timeout: Duration,
    ) -> Result<Answer, Failure> {
        let response = self.open(request.timeout(timeout)).await?;
        let status = response.status().as_u16();
        let next =
            response.headers().get(NEXT_CURSOR).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        let value = if body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&body) };
        let value = value
            .map_err(|_| Failure::failed(format!("{} answered with something else than JSON", self.base)))?;
        Ok(Answer { value, status, next })
    }

    /// Sends a request and hands out an answer whose body is still to come.
    pub(super) async fn open(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        self.accepted(response).await
    }

    /// An answer, unless it says no.
    async fn accepted(&self, response: Response) -> Result<Response, Failure> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let busy = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let retry_after = seconds.filter(|_| busy).map(Duration::from_secs);
        let body = response.bytes().await.unwrap_or_default();
        let failure = Failure::failed(match serde_json::from_slice::<Value>(&body) {
            Ok(problem) if problem.get("title").is_some() => told(&problem),
            // Errors of Prometheus' API are a sentence.
            Ok(error) if error["error"].is_string() => cell(&error["error"]),
            _ => format!("{} answered {status}, and not as metricsd does", self.base),
        });
        Err(match retry_after {
            Some(wait) => failure.busy(wait),
            None => failure,
        })
    }

    /// What to say when a connection fails or breaks.
    pub(super) fn unreachable(&self, error: &reqwest::Error) -> Failure {
        if error.is_builder() {
            return Failure::usage(chain("cannot send this", error));
        }
        let message = chain(&format!("cannot reach {}", self.base), error);
        Failure::unreachable(format!(
            "{message}; is metricsd running there? --url or METRICSD_URL names another"
        ))
    }
}

/// An error with its causes; reqwest's own message only repeats the address.
fn chain(what: &str, error: &reqwest::Error) -> String {
    let mut text = what.to_owned();
    let mut next = error.source();
    if next.is_none() {
        text = format!("{text}: {error}");
    }
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

/// A problem document in words: what happened, then every field and every difference.
fn told(problem: &Value) -> String {
    let text = |name: &str| problem.get(name).and_then(Value::as_str);
    let mut told = text("detail").or(text("title")).unwrap_or("refused").to_owned();
    let list = |name: &str| problem.get(name).and_then(Value::as_array).into_iter().flatten();
    for error in list("errors") {
        let line = format!("{}: {}", cell(&error["field"]), cell(&error["message"]));
        // A single wrong field is what the detail is about already.
        if line != told && cell(&error["message"]) != told {
            told = format!("{told}\n  {line}");
        }
    }
    for difference in list("differences") {
        let (existing, requested) = (&difference["existing"], &difference["requested"]);
        told = format!("{told}\n  {}: is {existing}, asked for {requested}", cell(&difference["field"]));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn problems_are_told_with_their_fields() {
        let check = |problem: Value, expected: &str| assert_eq!(told(&problem), expected);
        check(json!({"title": "not found", "detail": "no target a"}), "no target a");
        check(json!({"title": "not found"}), "not found");
        let field = |field: &str| json!({"field": field, "message": "is required"});
        let one = json!({"title": "t", "detail": "a: is required", "errors": [field("a")]});
        check(one, "a: is required");
        let two = json!({"title": "t", "detail": "2 fields are wrong", "errors": [field("a"), field("b")]});
        check(two, "2 fields are wrong\n  a: is required\n  b: is required");
        let differs = json!({
            "title": "conflict", "detail": "it exists",
            "differences": [{"field": "enabled", "existing": true, "requested": false}],
        });
        check(differs, "it exists\n  enabled: is true, asked for false");
    }

    #[test]
    fn addresses_are_joined_and_escaped() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let check = |base: &str, expected: &str| {
            let client = Client::new(base, None).unwrap();
            let request = client.request(Method::GET, &["targets", "a/b ?"]).build().unwrap();
            assert_eq!(request.url().as_str(), expected);
        };
        check("http://h:1", "http://h:1/api/v1/metrics/targets/a%2Fb%20%3F");
        check("http://h:1/prefix/", "http://h:1/prefix/api/v1/metrics/targets/a%2Fb%20%3F");
        let client = Client::new("http://h:1/prefix", None).unwrap();
        let parameters = [("query", "a + \"ö&\"".to_owned()), ("time", "1.500".to_owned())];
        let request = client.form("query", &parameters).build().unwrap();
        assert_eq!(request.url().as_str(), "http://h:1/prefix/api/v1/query");
        let body = request.body().unwrap().as_bytes().unwrap();
        assert_eq!(body, b"query=a+%2B+%22%C3%B6%26%22&time=1.500");
        for wrong in ["h:1", "localhost", "ftp://h", ""] {
            assert!(Client::new(wrong, None).is_err(), "{wrong}");
        }
    }
}
