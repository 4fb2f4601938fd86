//! Which proxy a request goes through, if any.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use metricsd_model::ProxyOptions;
use metricsd_model::SecretSource;
use percent_encoding::percent_decode_str;
use url::Url;

use crate::context::Context;
use crate::error::ClientError;
use crate::secrets::Text;

/// What is read from files and the environment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ProxyMaterial {
    http: Option<Text>,
    https: Option<Text>,
    no_proxy: Option<String>,
    connect_headers: Vec<(String, Text)>,
    /// Whether its address may be told: one out of a file or a variable may be any secret.
    told: bool,
}

impl ProxyMaterial {
    /// Reads it.
    pub(crate) async fn read(options: &ProxyOptions, context: &Context) -> Result<Self, ClientError> {
        let mut connect_headers = Vec::new();
        for (name, values) in &options.connect_headers {
            for value in values {
                connect_headers.push((name.clone(), context.secret(value).await?));
            }
        }
        if options.from_environment {
            let variable = |upper: &str| {
                let found = (context.environment)(upper);
                found.or_else(|| (context.environment)(&upper.to_lowercase())).filter(|text| !text.is_empty())
            };
            let address = |name| variable(name).map(|text| Text::new(metricsd_model::Secret::new(text)));
            return Ok(Self {
                http: address("HTTP_PROXY"),
                https: address("HTTPS_PROXY"),
                no_proxy: Some(variable("NO_PROXY").unwrap_or_default()),
                connect_headers,
                told: true,
            });
        }
        let url = context.optional(options.url.as_ref()).await?.filter(|url| !url.expose().is_empty());
        let no_proxy = options.no_proxy.clone().filter(|text| !text.is_empty());
        let told = matches!(options.url, Some(SecretSource::Inline(_)));
        Ok(Self { http: url.clone(), https: url, no_proxy, connect_headers, told })
    }
}

/// A proxy.
#[derive(Debug, Clone)]
pub(crate) struct ProxyServer {
    /// Whether it is spoken to over TLS itself.
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// `Proxy-Authorization`.
    pub(crate) authorization: Option<HeaderValue>,
    /// For `CONNECT`.
    pub(crate) connect_headers: HeaderMap,
    /// Whether its address may be told.
    told: bool,
}

impl ProxyServer {
    fn read(text: &Text, connect_headers: &HeaderMap, told: bool) -> Result<Self, ClientError> {
        let read = Self::parse(text, connect_headers, told);
        read.map_err(|error| if told { error } else { failed("does not read as the address of a proxy") })
    }

    fn parse(text: &Text, connect_headers: &HeaderMap, told: bool) -> Result<Self, ClientError> {
        let text = text.expose();
        // The environment often leaves the scheme out.
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&whole).map_err(|error| failed(&format!("is not an address: {error}")))?;
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            other => {
                return Err(failed(&format!(
                    "is of the kind {other}; metricsd knows http and https proxies"
                )));
            }
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| failed("names no host"))?;
        let port = url.port_or_known_default().unwrap_or(80);
        let authorization = authorization(&url)?;
        let connect_headers = connect_headers.clone();
        Ok(Self { tls, host: host.to_owned(), port, authorization, connect_headers, told })
    }

    /// What is wrong with it, as far as that may be told.
    pub(crate) fn failed(&self, error: &ClientError) -> ClientError {
        let message = match self.told {
            true => format!("the proxy {}: {}", self.shown(), error.message),
            false => "the proxy of proxy_url cannot be used; its address is a secret and not told".to_owned(),
        };
        ClientError::new(error.reason, message)
    }

    /// Its address without credentials.
    pub(crate) fn shown(&self) -> String {
        if !self.told {
            return metricsd_model::MASK.to_owned();
        }
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}:{}", self.host, self.port)
    }
}

fn failed(what: &str) -> ClientError {
    ClientError::new(metricsd_model::FailureReason::Connect, format!("proxy_url {what}"))
}

fn authorization(url: &Url) -> Result<Option<HeaderValue>, ClientError> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
    let mut pair = decoded(url.username());
    pair.push(b':');
    pair.extend(decoded(url.password().unwrap_or("")));
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair)))
        .map_err(|_| failed("has credentials that do not fit into a header"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// Which proxy is for whom.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proxies {
    http: Option<ProxyServer>,
    https: Option<ProxyServer>,
    /// Absent: everybody goes through the proxy, this host too.
    direct: Option<NoProxy>,
}

impl Proxies {
    /// Reads addresses and headers.
    pub(crate) fn new(material: &ProxyMaterial) -> Result<Self, ClientError> {
        let mut headers = HeaderMap::new();
        for (name, value) in &material.connect_headers {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| ClientError::credentials("proxy_connect_header has a malformed name"))?;
            let mut value = HeaderValue::from_str(value.expose()).map_err(|_| {
                ClientError::credentials(format!("proxy_connect_header {name} does not fit into a header"))
            })?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        let server = |text: &Option<Text>| match text {
            Some(text) => ProxyServer::read(text, &headers, material.told).map(Some),
            None => Ok(None),
        };
        Ok(Self {
            http: server(&material.http)?,
            https: server(&material.https)?,
            direct: material.no_proxy.as_deref().map(NoProxy::new),
        })
    }

    /// The proxy for a host, given without brackets.
    pub(crate) fn of(&self, https: bool, host: &str, port: u16) -> Option<&ProxyServer> {
        let server = if https { &self.https } else { &self.http };
        let direct = |direct: &NoProxy| direct.matches(host, port);
        server.as_ref().filter(|_| !self.direct.as_ref().is_some_and(direct))
    }
}

/// Who is reached without the proxy; this host always is.
#[derive(Debug, Clone)]
struct NoProxy(Vec<Rule>);

#[derive(Debug, Clone)]
enum Rule {
    All,
    Network(IpNet),
    Address(IpAddr, Option<u16>),
    /// A domain; with `true` its subdomains only.
    Domain(String, bool, Option<u16>),
}

impl NoProxy {
    fn new(text: &str) -> Self {
        let entries = text.split(',').map(|entry| entry.trim().to_ascii_lowercase());
        Self(entries.filter(|entry| !entry.is_empty()).map(|entry| Rule::new(&entry)).collect())
    }

    fn matches(&self, host: &str, port: u16) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let address: Option<IpAddr> = host.parse().ok();
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        self.0.iter().any(|rule| rule.matches(&host, address, port))
    }
}

impl Rule {
    fn new(entry: &str) -> Self {
        if entry == "*" {
            return Self::All;
        }
        if let Ok(network) = entry.parse() {
            return Self::Network(network);
        }
        let bare = |text: &str| text.trim_start_matches('[').trim_end_matches(']').to_owned();
        if let Ok(address) = bare(entry).parse() {
            return Self::Address(address, None);
        }
        let (host, port) = match entry.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>())) {
            Some((host, Ok(port))) => (host, Some(port)),
            _ => (entry, None),
        };
        if let Ok(address) = bare(host).parse() {
            return Self::Address(address, port);
        }
        let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        match host.strip_prefix('.') {
            Some(domain) => Self::Domain(domain.to_owned(), true, port),
            None => Self::Domain(host.to_owned(), false, port),
        }
    }

    fn matches(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        let on = |wanted: &Option<u16>| wanted.is_none_or(|wanted| wanted == port);
        match self {
            Self::All => true,
            Self::Network(network) => address.is_some_and(|address| network.contains(&address)),
            Self::Address(wanted, port) => address == Some(*wanted) && on(port),
            Self::Domain(domain, below, port) => {
                let inside = host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.ends_with('.'));
                (inside || (!below && host == domain)) && on(port)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_reached_directly_as_no_proxy_says() {
        let check = |rules: &str, host: &str, port: u16, expected: bool| {
            assert_eq!(NoProxy::new(rules).matches(host, port), expected, "{rules} {host}:{port}");
        };
        check("", "localhost", 80, true);
        check("", "127.0.0.1", 80, true);
        check("", "::1", 80, true);
        check("", "a.example", 80, false);
        check("*", "a.example", 80, true);
        check("example", "a.example", 80, true);
        check("example", "example", 80, true);
        check("example", "badexample", 80, false);
        check(".example", "a.example", 80, true);
        check("*.example", "a.example", 80, true);
        check(".example", "example", 80, false);
        check(" other , A.Example:9100 ", "a.example", 9100, true);
        check("a.example:9100", "a.example", 9101, false);
        check("10.0.0.0/8", "10.9.8.7", 1, true);
        check("10.0.0.0/8", "11.9.8.7", 1, false);
        check("10.0.0.0/8", "ten.example", 1, false);
        check("10.0.0.1:80", "10.0.0.1", 80, true);
        check("10.0.0.1:80", "10.0.0.1", 81, false);
        check("[fd00::1]:80", "fd00::1", 80, true);
        check("fd00::1", "fd00::1", 81, true);
    }
}
