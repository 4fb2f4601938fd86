//! Fetches one page as its target's settings say, bounded in time and bytes, and only from addresses that are allowed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metricsd_client::{
    ClientError, Clients, Context, Exchange, HeaderMap, HeaderName, HeaderValue, HttpClient, Response,
    SecretAccess, StatusCode, Trace, header,
};
use metricsd_codec::negotiation::accept_header;
use metricsd_model::{AuthConfig, FailureReason, ScrapeConfig, ScrapeOptions, TargetSpec};
use url::Url;

use crate::buffers::{Buffers, PageBytes};
use crate::decode::{self, Encoding, Limit};

/// Why a scrape failed as a whole.
pub type ScrapeError = ClientError;

/// A page as it was served, decompressed.
#[derive(Debug)]
pub struct Page {
    /// The text.
    pub body: PageBytes,
    /// `Content-Type`; empty where the answer has none.
    pub content_type: String,
    /// How it was compressed: `identity`, `gzip` or `zstd`.
    pub encoding: &'static str,
    /// Bytes before it was decompressed.
    pub received: u64,
}

/// A request for a target's page, prepared once for all its scrapes.
#[derive(Debug, Clone)]
pub struct PageRequest {
    url: Url,
    headers: HeaderMap,
    timeout: Duration,
    options: Arc<ScrapeOptions>,
}

impl PageRequest {
    /// Prepares the request of a target.
    ///
    /// # Errors
    /// What no scrape can be made with: an address that does not read, credentials that are still sealed.
    pub fn new(spec: &TargetSpec) -> Result<Self, ScrapeError> {
        let config = &spec.scrape_config;
        Ok(Self {
            url: page_url(spec)?,
            headers: headers(config)?,
            timeout: config.scrape_timeout.0,
            options: config.options.clone(),
        })
    }
}

/// The page's address, with `params` in its query.
fn page_url(spec: &TargetSpec) -> Result<Url, ScrapeError> {
    let text = spec.scrape_url();
    let mut url = Url::parse(&text)
        .map_err(|error| ScrapeError::new(FailureReason::Internal, format!("{text}: {error}")))?;
    let params = &spec.scrape_config.options.params;
    let pairs = params.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
    if params.values().any(|values| !values.is_empty()) {
        url.query_pairs_mut().extend_pairs(pairs);
    }
    Ok(url)
}

/// What was noted of one fetch, for whoever debugs a target.
#[derive(Debug)]
pub struct Fetched {
    /// Requests and heads of answers, in their order.
    pub exchanges: Vec<Exchange>,
    /// How long it took as a whole.
    pub elapsed: Duration,
    /// The page, or why there is none.
    pub page: Result<Page, ScrapeError>,
}

/// Fetches pages; clones share their connections.
#[derive(Clone)]
pub struct PageClient {
    clients: Clients,
    confined: SecretAccess,
    max_page_bytes: usize,
    buffers: Buffers,
}

impl PageClient {
    /// A client whose `context` is that of the operator's own settings; those of others may read what `confined` says.
    pub fn new(context: Context, confined: SecretAccess, max_page_bytes: usize) -> Self {
        Self { clients: Clients::new(context), confined, max_page_bytes, buffers: Buffers::default() }
    }

    /// What settings may name that did not come from the operator.
    pub fn confined(&self) -> &SecretAccess {
        &self.confined
    }

    /// Fetches one page. Answers within the request's timeout.
    pub async fn fetch(&self, request: &PageRequest) -> Result<Page, ScrapeError> {
        let client = self.clients.client(&request.options.http, self.access(request))?;
        self.fetch_with(&client, request).await
    }

    /// Fetches one page over a new connection and tells what happened.
    pub async fn debug(&self, request: &PageRequest) -> Fetched {
        let started = Instant::now();
        let trace = Trace::default();
        let access = self.access(request).clone();
        let context = Context { access, ..self.clients.context().traced(trace.clone()) };
        let page = match HttpClient::new(&request.options.http, &context) {
            Ok(client) => self.fetch_with(&client, request).await,
            Err(error) => Err(error),
        };
        Fetched { exchanges: trace.exchanges(), elapsed: started.elapsed(), page }
    }

    fn access(&self, request: &PageRequest) -> &SecretAccess {
        match request.options.unconfined_secrets {
            true => &self.clients.context().access,
            false => &self.confined,
        }
    }

    async fn fetch_with(&self, client: &HttpClient, request: &PageRequest) -> Result<Page, ScrapeError> {
        let response = client.get(&request.url, request.headers.clone(), request.timeout).await?;
        match response.status {
            StatusCode::OK => self.read(response, self.limit(&request.options)).await,
            status => {
                let message = format!("the target answered {status} instead of 200 OK");
                Err(ScrapeError::new(FailureReason::Status, message))
            }
        }
    }

    /// The tighter of the two limits on a page's size.
    fn limit(&self, options: &ScrapeOptions) -> Limit {
        let own = usize::try_from(options.body_size_limit).unwrap_or(usize::MAX);
        match own > 0 && own < self.max_page_bytes {
            true => Limit { bytes: own, setting: "body_size_limit" },
            false => Limit { bytes: self.max_page_bytes, setting: "limits.max_page_bytes" },
        }
    }

    async fn read(&self, mut response: Response, limit: Limit) -> Result<Page, ScrapeError> {
        let content_type = response.header(&header::CONTENT_TYPE).to_owned();
        let encoding = Encoding::from_header(response.header(&header::CONTENT_ENCODING))?;
        let declared = response.content_length().unwrap_or(0);
        if declared > limit.bytes as u64 {
            return Err(limit.passed(""));
        }
        let mut body = self.buffers.take(usize::try_from(declared).unwrap_or(0));
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > limit.bytes {
                return Err(limit.passed(""));
            }
            body.buffer().extend_from_slice(&chunk);
        }
        let received = body.len() as u64;
        if encoding != Encoding::Identity {
            let mut text = self.buffers.take(0);
            decode::decompress(encoding, &body, text.buffer(), limit)?;
            body = text;
        }
        Ok(Page { body, content_type, encoding: encoding.as_str(), received })
    }
}

fn headers(config: &ScrapeConfig) -> Result<HeaderMap, ScrapeError> {
    let mut headers = HeaderMap::new();
    let unfit = |_| ScrapeError::new(FailureReason::Internal, "a header of the request is malformed");
    let accept = HeaderValue::from_str(&accept_header(&config.options)).map_err(unfit)?;
    headers.insert(header::ACCEPT, accept);
    let encodings = if config.options.enable_compression { "zstd, gzip" } else { "identity" };
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(encodings));
    let seconds = config.scrape_timeout.0.as_secs_f64().to_string();
    headers.insert("x-prometheus-scrape-timeout-seconds", HeaderValue::from_str(&seconds).map_err(unfit)?);
    if let Some(authentication) = &config.authentication {
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
    // What is marked so is neither shown nor sent to another origin.
    value.set_sensitive(true);
    Ok((name, value))
}
