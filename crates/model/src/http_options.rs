//! How an HTTP request of ours is made: who we say we are, TLS, proxies (Prometheus' documentation, `http_config`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::SecretSource;

/// Everything about requests to one target or one source of targets that their address does not say.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpOptions {
    /// Who we say we are.
    pub auth: Option<HttpAuth>,
    /// For `https`.
    pub tls: TlsOptions,
    /// By which way requests go.
    pub proxy: ProxyOptions,
    /// Whether redirects are followed; credentials do not follow to another origin.
    pub follow_redirects: bool,
    /// Whether HTTP/2 may be negotiated over TLS.
    pub enable_http2: bool,
    /// Further headers.
    pub headers: BTreeMap<String, HeaderValues>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            auth: None,
            tls: TlsOptions::default(),
            proxy: ProxyOptions::default(),
            follow_redirects: true,
            enable_http2: true,
            headers: BTreeMap::new(),
        }
    }
}

/// Ways to say who we are; everything from files and the environment is read again when it may have changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum HttpAuth {
    /// `Authorization: Basic …`.
    Basic {
        /// User; no secret, but it may come from a file.
        username: Option<SecretSource>,
        /// Password.
        password: Option<SecretSource>,
    },
    /// `Authorization: <scheme> <credentials>`.
    Authorization {
        /// `Bearer` unless told otherwise.
        #[serde(default = "bearer")]
        scheme: String,
        /// What follows it.
        credentials: Option<SecretSource>,
    },
    /// A token that another server gives for our credentials (RFC 6749, section 4.4).
    Oauth2(Box<Oauth2Options>),
}

fn bearer() -> String {
    "Bearer".to_owned()
}

/// Client credentials of OAuth 2.0.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Oauth2Options {
    /// Who we are.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Option<SecretSource>,
    /// Which rights are asked for.
    pub scopes: Vec<String>,
    /// Where tokens are had.
    pub token_url: String,
    /// Further parameters of the request for a token.
    pub endpoint_params: BTreeMap<String, SecretSource>,
    /// For an `https` token address.
    pub tls: TlsOptions,
    /// By which way requests for tokens go.
    pub proxy: ProxyOptions,
}

/// Versions of TLS that Prometheus' configuration can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TlsVersion {
    /// TLS 1.0; no longer spoken by us.
    #[serde(rename = "TLS10")]
    Tls10,
    /// TLS 1.1; no longer spoken by us.
    #[serde(rename = "TLS11")]
    Tls11,
    /// TLS 1.2
    #[serde(rename = "TLS12")]
    Tls12,
    /// TLS 1.3
    #[serde(rename = "TLS13")]
    Tls13,
}

/// TLS towards one server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsOptions {
    /// Certificates (PEM) of who may sign the server's; the system's where absent.
    pub ca: Option<SecretSource>,
    /// Our certificate (PEM).
    pub cert: Option<SecretSource>,
    /// Its key (PEM).
    pub key: Option<SecretSource>,
    /// The name that the server's certificate must have; the address's host where absent.
    pub server_name: Option<String>,
    /// Takes any certificate.
    pub insecure_skip_verify: bool,
    /// The oldest version that is spoken.
    pub min_version: Option<TlsVersion>,
    /// The newest version that is spoken.
    pub max_version: Option<TlsVersion>,
}

/// A proxy in between.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyOptions {
    /// Its address; a password in it is a secret.
    pub url: Option<SecretSource>,
    /// Hosts, domains, addresses and networks that are reached without it, separated by commas.
    pub no_proxy: Option<String>,
    /// Takes `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` (or in lower case) from the environment.
    pub from_environment: bool,
    /// Headers for the proxy itself, sent with CONNECT.
    pub connect_headers: BTreeMap<String, Vec<SecretSource>>,
}

/// Values of one header: those that show, and those that do not.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderValues {
    /// May be shown.
    pub values: Vec<String>,
    /// May not, or are in a file.
    pub secrets: Vec<SecretSource>,
}

impl HttpOptions {
    /// Shows every secret, and the name of its setting in Prometheus' configuration.
    pub fn visit_secrets(&mut self, each: &mut dyn FnMut(&str, &mut SecretSource)) {
        let Self { auth, tls, proxy, headers, follow_redirects: _, enable_http2: _ } = self;
        tls.visit_secrets("", each);
        proxy.visit_secrets("", each);
        for (name, values) in headers {
            let field = format!("http_headers.{name}");
            values.secrets.iter_mut().for_each(|source| each(&field, source));
        }
        match auth {
            None => {}
            Some(HttpAuth::Basic { username, password }) => {
                one("", "basic_auth.username", username, each);
                one("", "basic_auth.password", password, each);
            }
            Some(HttpAuth::Authorization { scheme: _, credentials }) => {
                one("", "authorization.credentials", credentials, each);
            }
            Some(HttpAuth::Oauth2(oauth2)) => {
                one("", "oauth2.client_secret", &mut oauth2.client_secret, each);
                for (name, value) in &mut oauth2.endpoint_params {
                    each(&format!("oauth2.endpoint_params.{name}"), value);
                }
                oauth2.tls.visit_secrets("oauth2.", each);
                oauth2.proxy.visit_secrets("oauth2.", each);
            }
        }
    }
}

impl TlsOptions {
    fn visit_secrets(&mut self, prefix: &str, each: &mut dyn FnMut(&str, &mut SecretSource)) {
        one(prefix, "tls_config.ca", &mut self.ca, each);
        one(prefix, "tls_config.cert", &mut self.cert, each);
        one(prefix, "tls_config.key", &mut self.key, each);
    }
}

impl ProxyOptions {
    fn visit_secrets(&mut self, prefix: &str, each: &mut dyn FnMut(&str, &mut SecretSource)) {
        one(prefix, "proxy_url", &mut self.url, each);
        for (name, values) in &mut self.connect_headers {
            let field = format!("{prefix}proxy_connect_header.{name}");
            values.iter_mut().for_each(|source| each(&field, source));
        }
    }
}

fn one(
    prefix: &str,
    name: &str,
    source: &mut Option<SecretSource>,
    each: &mut dyn FnMut(&str, &mut SecretSource),
) {
    if let Some(source) = source {
        each(&format!("{prefix}{name}"), source);
    }
}
