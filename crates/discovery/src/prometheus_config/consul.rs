//! `consul_sd_configs`.

use metricsd_model::{HttpAuth, PromDuration, Secret, SecretSource};

use super::global::filled;
use super::http;
use super::section::Section;
use super::value::shown;
use crate::config::{ConsulSd, ProviderConfig};

const REFRESH: PromDuration = PromDuration::from_secs(30);

/// Reads one entry.
pub(super) fn read(mut section: Section<'_>) -> Option<ProviderConfig> {
    let server = section.filled("server").unwrap_or_else(|| "localhost:8500".to_owned());
    let scheme = section.filled("scheme").unwrap_or_else(|| "http".to_owned());
    if !matches!(scheme.as_str(), "http" | "https") {
        section.problem("scheme", format!("{} is neither http nor https", shown(&scheme)));
    }
    let mut http = http::read(&mut section);
    http.auth = legacy_user(&mut section, http.auth);
    let token = section.filled("token").map(|token| SecretSource::Inline(Secret::new(token)));
    if token.is_some() && http.auth.is_some() {
        section.problem("token", "another way to say who we are is set as well; leave one of them");
    }
    let consul = ConsulSd {
        server,
        path_prefix: section.filled("path_prefix").unwrap_or_default(),
        token,
        datacenter: section.filled("datacenter"),
        namespace: section.filled("namespace"),
        partition: section.filled("partition"),
        scheme,
        services: section.plain_texts("services"),
        tags: section.plain_texts("tags"),
        node_meta: section.text_map("node_meta"),
        filter: section.filled("filter"),
        health_filter: section.filled("health_filter"),
        tag_separator: section.text("tag_separator").unwrap_or_else(|| ",".to_owned()),
        allow_stale: section.flag("allow_stale").unwrap_or(true),
        refresh_interval: filled(section.duration("refresh_interval")).unwrap_or(REFRESH),
        http,
    };
    section.close();
    Some(ProviderConfig::Consul(Box::new(consul)))
}

/// `username` and `password`, which `basic_auth` has replaced.
fn legacy_user(section: &mut Section<'_>, auth: Option<HttpAuth>) -> Option<HttpAuth> {
    let secret = |text: String| SecretSource::Inline(Secret::new(text));
    let username = section.filled("username").map(secret);
    let password = section.filled("password").map(secret);
    if username.is_none() && password.is_none() {
        return auth;
    }
    if auth.is_some() {
        let name = if username.is_some() { "username" } else { "password" };
        section.problem(name, "another way to say who we are is set as well; leave one of them");
    }
    Some(HttpAuth::Basic { username, password })
}
