//! Shows the configuration that took effect, secrets masked.

use metricsd_model::target::MASK;

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
        settings.scrape.node_exporter = mask_url(&settings.scrape.node_exporter);
        for (name, value) in &mut settings.events.settings {
            if is_secret_name(name) {
                MASK.clone_into(value);
            }
        }
        if let Some(key) = &mut settings.secrets.key {
            MASK.clone_into(key);
        }
        Self(settings)
    }

    /// As a file that could be read again, apart from the secrets.
    pub(crate) fn yaml(&self) -> Result<String, serde_saphyr::SerializeError> {
        serde_saphyr::to_string(&self.0)
    }

    /// For scripts.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(&self.0)
    }
}
