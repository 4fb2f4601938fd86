//! Shows the configuration that took effect, secrets masked.

use std::collections::BTreeMap;

use metricsd_model::MASK;
use serde_json::Value;

use super::keys::join;
use super::secrets::{is_secret_name, mask_url};
use super::settings::Settings;

/// What took effect, ready to be shown: every secret is masked already.
#[derive(Clone)]
pub(crate) struct Effective(Settings);

impl Effective {
    pub(super) fn of(mut settings: Settings) -> Self {
        for url in [&mut settings.storage.url, &mut settings.cache.url].into_iter().flatten() {
            *url = mask_url(url);
        }
        for url in &mut settings.storage.shards {
            *url = mask_url(url);
        }
        settings.scrape.node_exporter = mask_url(&settings.scrape.node_exporter);
        for (name, value) in &mut settings.events.settings {
            if is_secret_name(name) {
                MASK.clone_into(value);
            }
        }
        for secret in
            [&mut settings.secrets.key, &mut settings.http.reload_token, &mut settings.auth.bootstrap_token]
                .into_iter()
                .flatten()
        {
            MASK.clone_into(secret);
        }
        Self(settings)
    }

    /// As a file that could be read again, apart from the secrets.
    pub(crate) fn yaml(&self) -> Result<String, serde_saphyr::SerializeError> {
        serde_saphyr::to_string(&self.0)
    }

    /// Every key with its value; those without a value have an empty text.
    pub(crate) fn flat(&self) -> BTreeMap<String, String> {
        let mut flat = BTreeMap::new();
        flatten("", &serde_json::to_value(&self.0).unwrap_or_default(), &mut flat);
        flat
    }

    /// For scripts.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(&self.0)
    }
}

fn flatten(path: &str, value: &Value, flat: &mut BTreeMap<String, String>) {
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match value {
        Value::Object(section) => {
            for (name, value) in section {
                flatten(&join(path, name), value, flat);
            }
        }
        Value::Array(items) => {
            flat.insert(path.to_owned(), items.iter().map(text).collect::<Vec<_>>().join(","));
        }
        plain => {
            flat.insert(path.to_owned(), text(plain));
        }
    }
}
