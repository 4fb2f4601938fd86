//! `Authorization` headers.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use metricsd_model::{HttpAuth, HttpOptions, Secret};

use crate::context::Context;
use crate::error::ClientError;
use crate::oauth2::Tokens;

/// Who we say we are.
pub(crate) enum Authenticator {
    Nobody,
    /// From settings and files, read for each request.
    Fixed(Arc<HttpOptions>),
    /// From a token server.
    Tokens(Tokens),
}

impl Authenticator {
    pub(crate) fn new(options: &Arc<HttpOptions>, context: &Context) -> Self {
        match &options.auth {
            None => Self::Nobody,
            Some(HttpAuth::Oauth2(oauth2)) => Self::Tokens(Tokens::new(oauth2, context)),
            Some(_) => Self::Fixed(options.clone()),
        }
    }

    /// The header's value.
    pub(crate) async fn header(&self, context: &Context) -> Result<Option<HeaderValue>, ClientError> {
        match self {
            Self::Nobody => Ok(None),
            Self::Fixed(options) => match &options.auth {
                Some(auth) => fixed(auth, context).await,
                None => Ok(None),
            },
            Self::Tokens(tokens) => tokens.header().await.map(Some),
        }
    }

    /// The server did not take what it got; whether another try with something else makes sense.
    pub(crate) fn refused(&self, sent: &HeaderValue) -> bool {
        match self {
            Self::Tokens(tokens) => tokens.refused(sent),
            Self::Nobody | Self::Fixed(_) => false,
        }
    }
}

async fn fixed(auth: &HttpAuth, context: &Context) -> Result<Option<HeaderValue>, ClientError> {
    let named = |what: &'static str| {
        move |error: ClientError| ClientError::new(error.reason, format!("{what}: {}", error.message))
    };
    match auth {
        HttpAuth::Basic { username, password } => {
            let username = context.optional(username.as_ref()).await.map_err(named("basic_auth.username"))?;
            let password = context.optional(password.as_ref()).await.map_err(named("basic_auth.password"))?;
            let text = |secret: &Option<Arc<Secret>>| {
                secret.as_ref().map_or_else(String::new, |secret| secret.expose().to_owned())
            };
            basic(&text(&username), &text(&password)).map(Some)
        }
        HttpAuth::Authorization { scheme, credentials } => {
            let credentials =
                context.optional(credentials.as_ref()).await.map_err(named("authorization.credentials"))?;
            let value = match &credentials {
                Some(credentials) => format!("{scheme} {}", credentials.expose()),
                None => scheme.clone(),
            };
            sensitive(&value).map(Some)
        }
        HttpAuth::Oauth2(_) => Ok(None),
    }
}

/// `Basic …` (RFC 7617).
pub(crate) fn basic(username: &str, password: &str) -> Result<HeaderValue, ClientError> {
    sensitive(&format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
}

/// A value that is not shown and goes to no other origin.
pub(crate) fn sensitive(value: &str) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| ClientError::credentials("the credentials do not fit into a header"))?;
    value.set_sensitive(true);
    Ok(value)
}
