//! Makes requests with one set of settings: pooled connections, bounded in time and redirects.

use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use metricsd_model::{FailureReason, HttpOptions};
use parking_lot::Mutex;
use tokio::time::Instant;
use url::Url;

use crate::auth::{self, Authenticator};
use crate::check;
use crate::connect::Connector;
use crate::context::Context;
use crate::error::{ClientError, classify};
use crate::headers;
use crate::proxy::{Proxies, ProxyMaterial};
use crate::response::{Response, late};
use crate::tls::TlsMaterial;
use crate::trace::Exchange;

/// A request follows this many redirects, as Prometheus does.
pub const MAX_REDIRECTS: usize = 10;

/// Idle connections are closed after this long; most intervals are shorter.
const IDLE: Duration = Duration::from_secs(120);

/// Idle connections to one host.
const MAX_IDLE: usize = 8;

/// Who we are where the caller does not say it.
const USER_AGENT: &str = concat!("metricsd/", env!("CARGO_PKG_VERSION"));

type Pool = Client<Connector, Full<Bytes>>;

/// A request, its settings aside.
#[derive(Debug, Clone)]
pub struct Request<'r> {
    /// `GET` unless there is a body to send.
    pub method: Method,
    /// Where to.
    pub url: &'r Url,
    /// Its headers. Those that are marked as sensitive go to no other origin, and so do all of the settings.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Bound on everything: connecting, waiting, redirects, reading the body.
    pub timeout: Duration,
}

/// Makes requests with one set of settings. Clones share their connections.
#[derive(Clone)]
pub struct HttpClient(Arc<Inner>);

struct Inner {
    options: Arc<HttpOptions>,
    context: Context,
    authenticator: Authenticator,
    transport: Mutex<Option<Transport>>,
}

/// Connections, and what they were made with.
#[derive(Clone)]
struct Transport {
    material: Arc<(TlsMaterial, ProxyMaterial)>,
    connector: Connector,
    pool: Pool,
}

impl HttpClient {
    /// A client for these settings. What is in files is read with each request, so only what can never work is an error.
    pub fn new(options: &HttpOptions, context: &Context) -> Result<Self, ClientError> {
        check::check(options)?;
        let options = Arc::new(options.clone());
        let authenticator = Authenticator::new(&options, context);
        let (context, transport) = (context.clone(), Mutex::new(None));
        Ok(Self(Arc::new(Inner { options, context, authenticator, transport })))
    }

    /// Gets what is at an address; the answer may have any status but a redirect that is followed.
    pub async fn get(
        &self,
        url: &Url,
        headers: HeaderMap,
        timeout: Duration,
    ) -> Result<Response, ClientError> {
        self.send(Request { method: Method::GET, url, headers, body: Bytes::new(), timeout }).await
    }

    /// Makes a request. Redirects are followed for `GET` and `HEAD` only.
    pub async fn send(&self, request: Request<'_>) -> Result<Response, ClientError> {
        let deadline = Instant::now() + request.timeout;
        let timeout = request.timeout;
        match tokio::time::timeout_at(deadline, self.follow(request, deadline)).await {
            Ok(answer) => answer,
            Err(_) => Err(late(timeout)),
        }
    }

    async fn follow(&self, request: Request<'_>, deadline: Instant) -> Result<Response, ClientError> {
        let this = &*self.0;
        let transport = this.transport().await?;
        let mut url = request.url.clone();
        // Credentials are for the origin that they were given for; once left, they stay behind.
        let mut home = true;
        for _ in 0..=MAX_REDIRECTS {
            home = home && url.origin() == request.url.origin();
            let answer = this.try_twice(&transport, &request, &url, home).await?;
            let follows = this.options.follow_redirects
                && is_redirect(answer.status())
                && matches!(request.method, Method::GET | Method::HEAD);
            if follows {
                url = redirect_target(&url, answer.headers())?;
                continue;
            }
            let (parts, body) = answer.into_parts();
            return Ok(Response {
                status: parts.status,
                version: parts.version,
                headers: parts.headers,
                url,
                body,
                deadline,
                timeout: request.timeout,
            });
        }
        Err(ClientError::new(FailureReason::Redirect, format!("more than {MAX_REDIRECTS} redirects")))
    }
}

impl Inner {
    /// The connections; made anew where a file that they depend on has changed.
    async fn transport(&self) -> Result<Transport, ClientError> {
        let tls = TlsMaterial::read(&self.options.tls, &self.context).await?;
        let proxy = ProxyMaterial::read(&self.options.proxy, &self.context).await?;
        let material = (tls, proxy);
        let mut known = self.transport.lock();
        if let Some(known) = known.as_ref().filter(|known| *known.material == material) {
            return Ok(known.clone());
        }
        let proxies = Proxies::new(&material.1)?;
        let http2 = self.options.enable_http2;
        let connector = Connector::new(&self.options.tls, material.0.clone(), http2, proxies, &self.context);
        let pool = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .build(connector.clone());
        let transport = Transport { material: Arc::new(material), connector, pool };
        Ok(known.insert(transport).clone())
    }

    /// Makes one request, again with other credentials where those that were sent had lapsed.
    async fn try_twice(
        &self,
        transport: &Transport,
        request: &Request<'_>,
        url: &Url,
        home: bool,
    ) -> Result<http::Response<Incoming>, ClientError> {
        let headers = self.headers(transport, request, url, home).await?;
        let sent = headers.get(header::AUTHORIZATION).cloned();
        let answer = self.once(transport, request, url, headers).await?;
        let lapsed = answer.status() == StatusCode::UNAUTHORIZED && home;
        match sent {
            Some(sent) if lapsed && self.authenticator.refused(&sent) => {
                let headers = self.headers(transport, request, url, home).await?;
                self.once(transport, request, url, headers).await
            }
            _ => Ok(answer),
        }
    }

    async fn headers(
        &self,
        transport: &Transport,
        request: &Request<'_>,
        url: &Url,
        home: bool,
    ) -> Result<HeaderMap, ClientError> {
        let mut headers = HeaderMap::with_capacity(request.headers.len() + 4);
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        for (name, value) in &request.headers {
            if home || !value.is_sensitive() {
                headers.insert(name.clone(), value.clone());
            }
        }
        if home {
            if let Some(value) = self.authenticator.header(&self.context).await? {
                headers.insert(header::AUTHORIZATION, value);
            }
            headers.extend(headers::further(&self.options, &self.context).await?);
        }
        if !headers.contains_key(header::AUTHORIZATION)
            && let Some(password) = url.password().or(Some("").filter(|_| !url.username().is_empty()))
        {
            let decoded =
                |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
            headers.insert(header::AUTHORIZATION, auth::basic(&decoded(url.username()), &decoded(password))?);
        }
        if url.scheme() == "http"
            && let Some(authorization) =
                transport.connector.proxy(url).and_then(|proxy| proxy.authorization.clone())
        {
            headers.insert(header::PROXY_AUTHORIZATION, authorization);
        }
        Ok(headers)
    }

    async fn once(
        &self,
        transport: &Transport,
        request: &Request<'_>,
        url: &Url,
        headers: HeaderMap,
    ) -> Result<http::Response<Incoming>, ClientError> {
        // With a proxy in between nobody else looks at the address.
        self.context
            .guard
            .check_host(url)
            .map_err(|error| ClientError::new(FailureReason::Forbidden, error))?;
        let trace = self.context.trace.as_ref();
        if let Some(trace) = trace {
            trace.begin(Exchange {
                url: shown(url),
                request_headers: headers.clone(),
                proxy: transport.connector.proxy(url).map(|proxy| proxy.shown()),
                ..Exchange::default()
            });
        }
        let started = Clock::now();
        let mut sent = http::Request::new(Full::new(request.body.clone()));
        *sent.method_mut() = request.method.clone();
        *sent.uri_mut() = uri(url)?;
        *sent.headers_mut() = headers;
        let answer = transport.pool.request(sent).await.map_err(|error| classify(&error))?;
        if let Some(trace) = trace {
            trace.note(|exchange| {
                exchange.first_byte = Some(started.elapsed());
                exchange.status = Some(answer.status());
                exchange.version = Some(answer.version());
                exchange.response_headers = answer.headers().clone();
            });
        }
        Ok(answer)
    }
}

/// The address as it is sent: without credentials and fragment.
fn bare(url: &Url) -> Url {
    let mut url = url.clone();
    // These fail only for addresses without a host, which are none of ours.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    url
}

fn shown(url: &Url) -> String {
    bare(url).to_string()
}

fn uri(url: &Url) -> Result<Uri, ClientError> {
    let url = bare(url);
    if !matches!(url.scheme(), "http" | "https") {
        return Err(ClientError::new(FailureReason::Forbidden, "the address is neither http nor https"));
    }
    url.as_str().parse().map_err(|error| {
        ClientError::new(FailureReason::Internal, format!("the address cannot be asked for: {error}"))
    })
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn redirect_target(from: &Url, headers: &HeaderMap) -> Result<Url, ClientError> {
    let error = |message: &str| ClientError::new(FailureReason::Redirect, message);
    let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    let url = from.join(location.ok_or_else(|| error("a redirect without a readable Location"))?);
    match url {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        Ok(_) => Err(error("a redirect to something other than http or https")),
        Err(_) => Err(error("a redirect to a malformed address")),
    }
}
