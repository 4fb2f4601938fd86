//! Tokens of OAuth 2.0 by client credentials (RFC 6749, section 4.4): asked for once for all who need them, kept until
//! shortly before they lapse.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use metricsd_model::{HttpOptions, Oauth2Options};
use parking_lot::Mutex;
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use crate::auth;
use crate::client::{HttpClient, Request};
use crate::context::Context;
use crate::error::ClientError;
use crate::secrets::Text;

/// A token is replaced this long before it lapses.
const EARLY: Duration = Duration::from_secs(10);

/// After a failure nobody asks again for this long: ten thousand targets may be waiting.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest wait for a token; targets whose timeout is shorter find it there at their next scrape.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The largest answer of a token server.
const MAX_ANSWER: usize = 1 << 20;

/// A token, or why there is none, and until when that holds.
#[derive(Debug, Clone)]
struct Outcome {
    header: Result<HeaderValue, ClientError>,
    until: Option<Instant>,
}

type Asking = Shared<BoxFuture<'static, Outcome>>;

/// Tokens for one set of credentials.
pub(crate) struct Tokens {
    source: Arc<Source>,
    asking: Mutex<Option<Asking>>,
}

struct Source {
    options: Oauth2Options,
    context: Context,
    client: Result<HttpClient, ClientError>,
    /// Whether the server wants the credentials in the body instead of a header; known after the first answer.
    in_body: Mutex<Option<bool>>,
}

impl Tokens {
    pub(crate) fn new(options: &Oauth2Options, context: &Context) -> Self {
        let http = HttpOptions {
            tls: options.tls.clone(),
            proxy: options.proxy.clone(),
            follow_redirects: false,
            ..HttpOptions::default()
        };
        // What a debugger wants to see is the target's exchange.
        let context = Context { trace: None, ..context.clone() };
        let client = HttpClient::new(&http, &context);
        let source = Source { options: options.clone(), context, client, in_body: Mutex::new(None) };
        Self { source: Arc::new(source), asking: Mutex::new(None) }
    }

    /// The `Authorization` header with a token that has not lapsed. Boxed: requests for tokens are requests too.
    pub(crate) fn header(&self) -> BoxFuture<'_, Result<HeaderValue, ClientError>> {
        let asking = {
            let mut known = self.asking.lock();
            match known.as_ref().filter(|asking| !lapsed(asking)) {
                Some(asking) => asking.clone(),
                None => known.insert(self.source.clone().begin()).clone(),
            }
        };
        async move { asking.await.header }.boxed()
    }

    /// The token was not accepted: the next request gets another one. Whether there is any use in that.
    pub(crate) fn refused(&self, sent: &HeaderValue) -> bool {
        let mut asking = self.asking.lock();
        let same = |asking: &Asking| asking.peek().is_some_and(|known| known.header.as_ref() == Ok(sent));
        if asking.as_ref().is_some_and(same) {
            *asking = None;
        }
        true
    }
}

/// What a token server answers (RFC 6749, sections 5.1 and 5.2).
#[derive(Deserialize)]
struct Answer {
    access_token: Option<String>,
    token_type: Option<String>,
    expires_in: Option<Seconds>,
    error: Option<String>,
    error_description: Option<String>,
}

/// Some servers write the number as a string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(f64),
    Text(String),
}

impl Seconds {
    fn duration(&self) -> Option<Duration> {
        let seconds = match self {
            Self::Number(seconds) => *seconds,
            Self::Text(text) => text.parse().ok()?,
        };
        (seconds > 0.0).then(|| Duration::try_from_secs_f64(seconds.min(1e9)).ok()).flatten()
    }
}

fn lapsed(asking: &Asking) -> bool {
    asking.peek().and_then(|known| known.until).is_some_and(|until| until <= Instant::now())
}

impl Source {
    /// Asks for a token; goes on when the scrape that began it has timed out.
    fn begin(self: Arc<Self>) -> Asking {
        let asking = async move { self.ask().await }.boxed().shared();
        tokio::spawn(asking.clone());
        asking
    }

    async fn ask(&self) -> Outcome {
        match self.token().await {
            Ok((header, lasts)) => {
                let lasts = lasts.map(|lasts| lasts.saturating_sub(EARLY).max(lasts.min(PAUSE)));
                Outcome { header: Ok(header), until: lasts.map(|lasts| Instant::now() + lasts) }
            }
            Err(error) => {
                let message = format!("no token from {}: {}", self.shown(), error.message);
                let error = ClientError::new(error.reason, message);
                Outcome { header: Err(error), until: Some(Instant::now() + PAUSE) }
            }
        }
    }

    /// The token server's address without what may be secret in it.
    fn shown(&self) -> String {
        Url::parse(&self.options.token_url).map_or_else(
            |_| "oauth2.token_url".to_owned(),
            |url| format!("{}{}", url.origin().ascii_serialization(), url.path()),
        )
    }

    async fn token(&self) -> Result<(HeaderValue, Option<Duration>), ClientError> {
        let secret = self.context.optional(self.options.client_secret.as_ref()).await?;
        let secret = secret.as_ref().map_or("", |secret| secret.expose());
        let mut params = Vec::with_capacity(self.options.endpoint_params.len());
        for (name, value) in &self.options.endpoint_params {
            params.push((name.as_str(), self.context.secret(value).await?));
        }
        let known = *self.in_body.lock();
        let (status, body) = self.request(secret, &params, known.unwrap_or(false)).await?;
        // A server that knows no Basic authentication wants the credentials in the body, and says no to anything else.
        let refused = matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED);
        if known.is_none() && refused {
            let (second, body) = self.request(secret, &params, true).await?;
            if second.is_success() {
                *self.in_body.lock() = Some(true);
            }
            return read(second, &body);
        }
        if status.is_success() && known.is_none() {
            *self.in_body.lock() = Some(false);
        }
        read(status, &body)
    }

    async fn request(
        &self,
        secret: &str,
        params: &[(&str, Text)],
        in_body: bool,
    ) -> Result<(StatusCode, Vec<u8>), ClientError> {
        let options = &self.options;
        let client = self.client.as_ref().map_err(ClientError::clone)?;
        let url = Url::parse(&options.token_url)
            .map_err(|_| ClientError::credentials("oauth2.token_url is no address"))?;
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(header::CONTENT_TYPE, form_type);
        if !in_body {
            let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            let value = auth::basic(&encoded(&options.client_id), &encoded(secret))?;
            headers.insert(header::AUTHORIZATION, value);
        }
        let body = Bytes::from(form(options, params, in_body.then_some(secret)));
        let request = Request { method: Method::POST, url: &url, headers, body, timeout: TIMEOUT };
        let mut answer = client.send(request).await?;
        let body = answer.bytes(MAX_ANSWER).await?;
        Ok((answer.status, body))
    }
}

/// The body of a request; with `secret` it holds the credentials too.
fn form(options: &Oauth2Options, params: &[(&str, Text)], secret: Option<&str>) -> String {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    if !options.scopes.is_empty() {
        form.append_pair("scope", &options.scopes.join(" "));
    }
    if let Some(secret) = secret {
        form.append_pair("client_id", &options.client_id);
        if !secret.is_empty() {
            form.append_pair("client_secret", secret);
        }
    }
    form.extend_pairs(params.iter().map(|(name, value)| (*name, value.expose()))).finish()
}

fn read(status: StatusCode, body: &[u8]) -> Result<(HeaderValue, Option<Duration>), ClientError> {
    let answer: Option<Answer> = serde_json::from_slice(body).ok();
    if !status.is_success() {
        let said = answer.and_then(|answer| {
            let why = answer.error_description.map(|text| format!(": {text}")).unwrap_or_default();
            answer.error.map(|error| format!(" ({error}{why})"))
        });
        let said: String = said.unwrap_or_default().chars().filter(|c| !c.is_control()).take(300).collect();
        return Err(ClientError::credentials(format!("it answered {status}{said}")));
    }
    let answer = answer
        .ok_or_else(|| ClientError::credentials("its answer is not the JSON of RFC 6749, section 5.1"))?;
    let token = answer.access_token.filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| ClientError::credentials("its answer holds no access_token"))?;
    let kind = answer.token_type.filter(|kind| !kind.is_empty());
    let kind = match kind.as_deref() {
        None => "Bearer",
        Some(kind) if kind.eq_ignore_ascii_case("bearer") => "Bearer",
        Some(kind) => kind,
    };
    let lasts = answer.expires_in.as_ref().and_then(Seconds::duration);
    Ok((auth::sensitive(&format!("{kind} {token}"))?, lasts))
}
