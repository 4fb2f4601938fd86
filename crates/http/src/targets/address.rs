//! What a `target_url` may be, and whether metricsd may go there.

use std::time::Duration;

use metricsd_model::TargetSpec;
use tracing::debug;
use url::Url;

use crate::api::Api;

/// The longest address: what the documented column holds.
const MAX_URL: usize = 500;

/// What an address says beside its host.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TargetUrl {
    /// `http` or `https`, where it says so.
    pub(super) scheme: Option<&'static str>,
    /// Its path, where it has one other than `/`.
    pub(super) path: Option<String>,
}

/// Reads `http://host:port/path?query` or `host:port`.
pub(super) fn read_target_url(text: &str) -> Result<TargetUrl, String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if text.chars().count() > MAX_URL {
        return Err(format!("is longer than {MAX_URL} characters"));
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
        return Err("holds a blank, a control character or a backslash".to_owned());
    }
    if text.contains('#') {
        return Err("holds a fragment (#…), which is never sent to a target".to_owned());
    }
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Some("http"), rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Some("https"), rest),
        Some(_) => return Err("must begin with http:// or https://, or be host:port".to_owned()),
        None => (None, text),
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    if authority.contains('@') {
        return Err("holds credentials: use scrape_config.authentication, which is kept secret".to_owned());
    }
    let url = Url::parse(&format!("{}://{rest}", scheme.unwrap_or("http")))
        .map_err(|error| format!("is not an address: {error}"))?;
    if url.port() == Some(0) {
        return Err("has port 0".to_owned());
    }
    let path = tail.split('?').next().unwrap_or("");
    let path = (!matches!(path, "" | "/")).then(|| path.to_owned());
    Ok(TargetUrl { scheme, path })
}

/// Where a target's requests go: scheme, host and port. `None` where the address does not read.
pub(super) fn origin(scheme: &str, target_url: &str) -> Option<url::Origin> {
    let rest = target_url.split_once("://").map_or(target_url, |(_, rest)| rest);
    Url::parse(&format!("{scheme}://{rest}")).ok().map(|url| url.origin())
}

/// A name that does not resolve by then is not held against its target: the scrape will tell.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether the policy lets metricsd go to a target, as far as can be known now; every scrape checks again.
pub(super) async fn check_policy(api: &Api, spec: &TargetSpec) -> Result<(), String> {
    let url = Url::parse(&spec.scrape_url()).map_err(|error| format!("is not an address: {error}"))?;
    api.policy.check_host(&url)?;
    let Some(url::Host::Domain(host)) = url.host() else {
        return Ok(());
    };
    let port = url.port_or_known_default().unwrap_or(80);
    match tokio::time::timeout(RESOLVE_TIMEOUT, api.resolver.resolve(host, port)).await {
        Ok(Ok(addresses)) if !addresses.is_empty() => api.policy.retain(addresses.into_iter()).map(|_| ()),
        _ => {
            debug!(host, "a target's name does not resolve yet");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read() {
        let check = |text: &str, scheme, path: Option<&str>| {
            let expected = TargetUrl { scheme, path: path.map(str::to_owned) };
            assert_eq!(read_target_url(text), Ok(expected), "{text}");
        };
        check("localhost:9100", None, None);
        check("http://localhost:9100", Some("http"), None);
        check("HTTPS://a.example/", Some("https"), None);
        check("https://a.example/probe?x=1", Some("https"), Some("/probe"));
        check("http://[::1]:9/m", Some("http"), Some("/m"));
        check("http://a:1/m?u=http://b@c", Some("http"), Some("/m"));
    }

    #[test]
    fn bad_addresses_are_refused() {
        let check = |text: &str, expected: &str| {
            let error = read_target_url(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        };
        check("", "is empty");
        check("ftp://a", "must begin with http:// or https://");
        check("file:///etc/passwd", "must begin with http:// or https://");
        check("http://", "is not an address");
        // Where the scheme is left out, what stands before :// must not be taken for one.
        check("a:1/m?u=http://b", "must begin with http:// or https://");
        check("http://a:99999", "is not an address");
        check("http://a:0", "port 0");
        check("http://[::1", "is not an address");
        check("http://u:p@a", "scrape_config.authentication");
        check("u@a", "scrape_config.authentication");
        check("http://a/#x", "fragment");
        check("http://a b", "blank");
        check("http://a\\@b", "backslash");
        check("mailto:someone", "is not an address");
        check(&format!("http://a/{}", "x".repeat(500)), "longer than 500");
    }
}
