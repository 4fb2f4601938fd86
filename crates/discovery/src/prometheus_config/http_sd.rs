//! `http_sd_configs`.

use metricsd_model::PromDuration;

use super::global::filled;
use super::http;
use super::section::Section;
use crate::config::{HttpSd, ProviderConfig};

const REFRESH: PromDuration = PromDuration::from_secs(60);

/// Reads one entry.
pub(super) fn read(mut section: Section<'_>) -> Option<ProviderConfig> {
    let url = section.filled("url");
    match &url {
        None => section.problem("url", "url is missing"),
        Some(url) => {
            if let Err(message) = http::http_url(url) {
                section.problem("url", message);
            }
        }
    }
    let refresh_interval = filled(section.duration("refresh_interval")).unwrap_or(REFRESH);
    let http = http::read(&mut section);
    section.close();
    Some(ProviderConfig::Http(Box::new(HttpSd { url: url?, refresh_interval, http })))
}
