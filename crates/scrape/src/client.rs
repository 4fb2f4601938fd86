//! Fetches one page: pooled connections, bounded in time, bytes and redirects, and only from addresses that are allowed.

use std::error::Error as StdError;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use metricsd_codec::exposition::ACCEPT;
use metricsd_model::{AuthConfig, FailureReason};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response, StatusCode};
use url::Url;

use crate::AddressPolicy;
use crate::buffers::{Buffers, PageBytes};
use crate::decode::{self, Encoding};

/// A scrape follows this many redirects, as Prometheus does.
const MAX_REDIRECTS: usize = 10;

/// Idle connections of a target are closed after this long; most intervals are shorter.
const IDLE: Duration = Duration::from_secs(120);

/// Why a scrape failed as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ScrapeError {
    /// Out of a closed set.
    pub reason: FailureReason,
    /// A sentence for people; holds no secret.
    pub message: String,
}

impl ScrapeError {
    /// An error of one reason.
    pub fn new(reason: FailureReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// A page as it was served, decompressed.
#[derive(Debug)]
pub struct Page {
    /// The text.
    pub body: PageBytes,
    /// `Content-Type`; empty where the answer has none.
    pub content_type: String,
}

/// One request for a page.
#[derive(Debug)]
pub struct PageRequest<'a> {
    /// Where.
    pub url: &'a Url,
    /// How to prove oneself.
    pub authentication: Option<&'a AuthConfig>,
    /// Bound on everything: connecting, waiting, reading.
    pub timeout: Duration,
}

/// Fetches pages; clones share their connections.
#[derive(Clone)]
pub struct PageClient {
    client: Client,
    policy: Arc<AddressPolicy>,
    max_page_bytes: usize,
    buffers: Buffers,
}

impl PageClient {
    /// Builds a client. It works without the system's certificates too, but then cannot scrape `https` targets.
    pub fn new(policy: Arc<AddressPolicy>, max_page_bytes: usize) -> Result<Self, reqwest::Error> {
        // Fails where a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = || {
            Client::builder()
                .user_agent(concat!("metricsd/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(8)
                .tcp_nodelay(true)
                .dns_resolver(GuardedResolver(policy.clone()))
        };
        let client = builder().build().or_else(|_| builder().tls_certs_only([]).build())?;
        Ok(Self { client, policy, max_page_bytes, buffers: Buffers::default() })
    }

    /// Fetches one page. Answers within the request's timeout.
    pub async fn fetch(&self, request: &PageRequest<'_>) -> Result<Page, ScrapeError> {
        match tokio::time::timeout(request.timeout, self.follow(request)).await {
            Ok(result) => result,
            Err(_) => {
                let timeout = metricsd_model::format_duration(request.timeout);
                Err(ScrapeError::new(FailureReason::Timeout, format!("no complete answer within {timeout}")))
            }
        }
    }

    async fn follow(&self, request: &PageRequest<'_>) -> Result<Page, ScrapeError> {
        let mut url = request.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            self.policy
                .check_host(&url)
                .map_err(|error| ScrapeError::new(FailureReason::Forbidden, error))?;
            // Credentials are for the host that they were given for.
            let authentication = request.authentication.filter(|_| same_origin(&url, request.url));
            let headers = headers(request.timeout, authentication)?;
            let response =
                self.client.get(url.clone()).headers(headers).send().await.map_err(|e| classify(&e))?;
            match response.status() {
                StatusCode::OK => return self.read(response).await,
                status if is_redirect(status) => url = redirect_target(&url, &response)?,
                status => {
                    let message = format!("the target answered {status} instead of 200 OK");
                    return Err(ScrapeError::new(FailureReason::Status, message));
                }
            }
        }
        Err(ScrapeError::new(FailureReason::Redirect, format!("more than {MAX_REDIRECTS} redirects")))
    }

    async fn read(&self, mut response: Response) -> Result<Page, ScrapeError> {
        let header = |name| {
            response
                .headers()
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
                .unwrap_or("")
                .to_owned()
        };
        let content_type = header(header::CONTENT_TYPE);
        let encoding = Encoding::from_header(&header(header::CONTENT_ENCODING))?;
        let declared = response.content_length().unwrap_or(0);
        if declared > self.max_page_bytes as u64 {
            return Err(self.too_large());
        }
        let mut body = self.buffers.take(usize::try_from(declared).unwrap_or(0));
        while let Some(chunk) = response.chunk().await.map_err(|e| classify(&e))? {
            if body.len() + chunk.len() > self.max_page_bytes {
                return Err(self.too_large());
            }
            body.buffer().extend_from_slice(&chunk);
        }
        if encoding != Encoding::Identity {
            let mut text = self.buffers.take(0);
            decode::decompress(encoding, &body, text.buffer(), self.max_page_bytes)?;
            body = text;
        }
        Ok(Page { body, content_type })
    }

    fn too_large(&self) -> ScrapeError {
        let message =
            format!("the page is larger than {} bytes (limits.max_page_bytes)", self.max_page_bytes);
        ScrapeError::new(FailureReason::TooLarge, message)
    }
}

fn headers(timeout: Duration, authentication: Option<&AuthConfig>) -> Result<HeaderMap, ScrapeError> {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static(ACCEPT));
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("zstd, gzip"));
    if let Ok(seconds) = HeaderValue::from_str(&timeout.as_secs_f64().to_string()) {
        headers.insert("x-prometheus-scrape-timeout-seconds", seconds);
    }
    if let Some(authentication) = authentication {
        let (name, value) = credentials(authentication)?;
        headers.insert(name, value);
    }
    Ok(headers)
}

fn credentials(authentication: &AuthConfig) -> Result<(HeaderName, HeaderValue), ScrapeError> {
    use base64::Engine as _;
    let error = |message: &str| ScrapeError::new(FailureReason::Credentials, message);
    let (name, value) = match authentication {
        AuthConfig::Basic { username, password } => {
            let pair = format!("{username}:{}", password.expose());
            let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
            (header::AUTHORIZATION, format!("Basic {encoded}"))
        }
        AuthConfig::Bearer { token } => (header::AUTHORIZATION, format!("Bearer {}", token.expose())),
        AuthConfig::Header { name, value } => {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| error("the header's name is malformed"))?;
            (name, value.expose().to_owned())
        }
        AuthConfig::Sealed { .. } => {
            return Err(error("the target's credentials were sealed with another key than secrets.key"));
        }
    };
    let mut value =
        HeaderValue::from_str(&value).map_err(|_| error("the credentials do not fit into a header"))?;
    value.set_sensitive(true);
    Ok((name, value))
}

fn same_origin(a: &Url, b: &Url) -> bool {
    a.origin() == b.origin()
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn redirect_target(from: &Url, response: &Response) -> Result<Url, ScrapeError> {
    let error = |message: &str| ScrapeError::new(FailureReason::Redirect, message);
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    let url = from.join(location.ok_or_else(|| error("a redirect without a readable Location"))?);
    match url {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        Ok(_) => Err(error("a redirect to something other than http or https")),
        Err(_) => Err(error("a redirect to a malformed address")),
    }
}

/// Resolves names and leaves only addresses that are allowed.
struct GuardedResolver(Arc<AddressPolicy>);

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Forbidden(String);

#[derive(Debug, thiserror::Error)]
#[error("{name} does not resolve: {source}")]
struct Unresolved {
    name: String,
    source: std::io::Error,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0.clone();
        Box::pin(async move {
            let name = name.as_str().to_owned();
            let found: Vec<SocketAddr> = match tokio::net::lookup_host((name.clone(), 0)).await {
                Ok(found) => found.collect(),
                Err(source) => return Err(Unresolved { name, source }.into()),
            };
            let allowed =
                policy.retain(found.into_iter()).map_err(|error| format!("{name} resolves to {error}"));
            match allowed {
                Ok(allowed) => Ok(Box::new(allowed.into_iter()) as Addrs),
                Err(error) => Err(Forbidden(error).into()),
            }
        })
    }
}

/// Finds the reason in the chain of causes.
fn classify(error: &reqwest::Error) -> ScrapeError {
    let mut reason = if error.is_timeout() { FailureReason::Timeout } else { FailureReason::Connect };
    let mut message = "the connection broke".to_owned();
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(cause) = next {
        if let Some(forbidden) = cause.downcast_ref::<Forbidden>() {
            return ScrapeError::new(FailureReason::Forbidden, forbidden.0.clone());
        }
        if let Some(unresolved) = cause.downcast_ref::<Unresolved>() {
            return ScrapeError::new(FailureReason::Dns, unresolved.to_string());
        }
        if is_tls(cause) {
            reason = FailureReason::Tls;
        }
        // The innermost cause says most; those around it repeat the address.
        message = cause.to_string();
        next = cause.source();
    }
    ScrapeError::new(reason, message)
}

/// An I/O error hides what it wraps from the chain of sources, and wraps other I/O errors.
fn is_tls(cause: &(dyn StdError + 'static)) -> bool {
    if cause.is::<rustls::Error>() {
        return true;
    }
    let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    inner.is_some_and(|inner| is_tls(inner))
}
