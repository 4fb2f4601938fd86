//! The settings of a scrape beyond its address: read, and shown with secrets masked.

use std::collections::BTreeMap;

use metricsd_model::{
    HttpAuth, HttpOptions, MASK, ProxyOptions, ScrapeConfig, ScrapeOptions, Secret, SecretSource,
};
use serde_json::{Map, Value, json};

use super::request::Context;
use crate::fields::Fields;

/// Settings that are taken as `model::ScrapeOptions` has them.
const PLAIN: [&str; 22] = [
    "params",
    "scrape_protocols",
    "fallback_scrape_protocol",
    "scrape_native_histograms",
    "always_scrape_classic_histograms",
    "convert_classic_histograms_to_nhcb",
    "track_timestamps_staleness",
    "created_timestamp_zero",
    "enable_compression",
    "metric_relabel_configs",
    "body_size_limit",
    "sample_limit",
    "label_limit",
    "label_name_length_limit",
    "label_value_length_limit",
    "native_histogram_bucket_limit",
    "native_histogram_min_bucket_factor",
    "metric_name_validation_scheme",
    "metric_name_escaping_scheme",
    "extra_scrape_metrics",
    "on_limit",
    "adaptive_interval_max_ms",
];

/// Reads them. `moved` says that the target is another than the one whose secrets are stored.
pub(super) fn read_options(
    fields: &mut Fields<'_>,
    context: &Context<'_>,
    moved: bool,
) -> (ScrapeOptions, bool) {
    let mut plain = Map::new();
    for name in PLAIN {
        let Some(value) = fields.take(name) else { continue };
        let alone = Value::Object([(name.to_owned(), value.clone())].into_iter().collect());
        match serde_json::from_value::<ScrapeOptions>(alone) {
            Ok(_) => {
                plain.insert(name.to_owned(), value);
            }
            Err(error) => fields.error(name, format!("does not read: {error}")),
        }
    }
    // Each was read alone, so that they read together too.
    let mut options: ScrapeOptions = serde_json::from_value(Value::Object(plain)).unwrap_or_default();
    let stored = context.stored.map(|stored| &stored.options.http);
    options.http = read_http(fields).unwrap_or_default();
    let moved = keep_secrets(fields, &mut options.http, stored, moved);
    for (name, message) in metricsd_scrape::check::faults(&options, context.access) {
        fields.error(name, message);
    }
    (options, moved)
}

fn read_http(fields: &mut Fields<'_>) -> Option<HttpOptions> {
    let value = fields.take("http")?;
    match serde_path_to_error::deserialize::<_, HttpOptions>(value) {
        Ok(mut http) => {
            let mut sealed = Vec::new();
            http.visit_secrets(&mut |field, source| {
                if matches!(source, SecretSource::Sealed(_)) {
                    sealed.push(format!("{field} is sealed, which only metricsd's own database may hold"));
                }
            });
            sealed.into_iter().for_each(|message| fields.error("http", message));
            Some(http)
        }
        Err(error) => {
            let path = error.path().to_string();
            let field = if path == "." { "http".to_owned() } else { format!("http.{path}") };
            fields.error(&field, format!("does not read: {}", error.into_inner()));
            None
        }
    }
}

/// Puts the stored secrets in place of masks, as answers show them. Answers whether requests go another way than those
/// that the secrets were given for; then every mask is an error.
fn keep_secrets(
    fields: &mut Fields<'_>,
    http: &mut HttpOptions,
    stored: Option<&HttpOptions>,
    moved: bool,
) -> bool {
    let mut known: BTreeMap<String, Vec<SecretSource>> = BTreeMap::new();
    let mut before = stored.cloned().unwrap_or_default();
    before.visit_secrets(&mut |field, source| {
        known.entry(field.to_owned()).or_default().push(source.clone());
    });
    keep_proxy(&mut http.proxy, &before.proxy);
    if let (Some(HttpAuth::Oauth2(now)), Some(HttpAuth::Oauth2(before))) = (&mut http.auth, &before.auth) {
        keep_proxy(&mut now.proxy, &before.proxy);
        if now.token_url == without_query(&before.token_url) {
            now.token_url.clone_from(&before.token_url);
        }
    }
    if let Some(HttpAuth::Oauth2(now)) = &http.auth
        && now.token_url.ends_with(&format!("?{MASK}"))
    {
        fields.error(
            "http",
            "auth.oauth2.token_url has a mask for its query, and none is stored; give it again",
        );
    }
    let rerouted = stored.is_some() && http.proxy != masked_like(&before.proxy, &http.proxy);
    let moved = moved || rerouted || !same_token_server(http, &before);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut faults = Vec::new();
    http.visit_secrets(&mut |field, source| {
        let count = counts.entry(field.to_owned()).or_default();
        let kept = known.get(field).and_then(|known| known.get(*count));
        *count += 1;
        if !is_mask(Some(source)) {
            return;
        }
        match kept {
            Some(kept) if !moved => *source = kept.clone(),
            Some(_) => faults.push(format!(
                "{field} is a mask, but requests go another way than those it was given for; give it again"
            )),
            None => faults.push(format!("{field} is a mask, and no secret is stored that it stands for")),
        }
    });
    faults.into_iter().for_each(|message| fields.error("http", message));
    moved
}

/// The stored way with masks where the new one has them: whether the two are the same does not depend on secrets that are
/// kept.
fn masked_like(before: &ProxyOptions, now: &ProxyOptions) -> ProxyOptions {
    let mut before = before.clone();
    for (name, values) in &now.connect_headers {
        if let Some(stored) = before.connect_headers.get_mut(name) {
            for (stored, value) in stored.iter_mut().zip(values) {
                if is_mask(Some(value)) {
                    *stored = value.clone();
                }
            }
        }
    }
    before
}

/// Whether tokens are asked for where they were before, where both ask for tokens.
fn same_token_server(now: &HttpOptions, before: &HttpOptions) -> bool {
    match (&now.auth, &before.auth) {
        (Some(HttpAuth::Oauth2(now)), Some(HttpAuth::Oauth2(before))) => {
            now.token_url == before.token_url && now.proxy == masked_like(&before.proxy, &now.proxy)
        }
        _ => true,
    }
}

/// Puts the stored address of a proxy in place of its mask. It is one secret as a whole, and what it is decides over the
/// others.
fn keep_proxy(now: &mut ProxyOptions, before: &ProxyOptions) {
    if is_mask(now.url.as_ref()) && before.url.is_some() {
        now.url.clone_from(&before.url);
    }
}

/// An address as it is shown: what stands in its query may be a secret.
fn without_query(url: &str) -> String {
    match url.split_once('?') {
        Some((path, _)) => format!("{path}?{MASK}"),
        None => url.to_owned(),
    }
}

fn is_mask(source: Option<&SecretSource>) -> bool {
    matches!(source, Some(SecretSource::Inline(secret)) if secret.expose() == MASK)
}

/// Settings that differ from their defaults, secrets masked in whatever form they are stored.
pub(super) fn options_json(config: &ScrapeConfig) -> Map<String, Value> {
    let mut options = (*config.options).clone();
    options.http.visit_secrets(&mut |_, source| {
        if matches!(source, SecretSource::Sealed(_)) {
            *source = SecretSource::Inline(Secret::new(MASK));
        }
    });
    if let Some(HttpAuth::Oauth2(oauth2)) = &mut options.http.auth {
        oauth2.token_url = without_query(&oauth2.token_url);
    }
    let (shown, defaults) = (json!(options), json!(ScrapeOptions::default()));
    let Value::Object(shown) = shown else { return Map::new() };
    let asked = |name: &str| name == "http" || PLAIN.contains(&name);
    shown.into_iter().filter(|(name, value)| asked(name) && defaults.get(name) != Some(value)).collect()
}
