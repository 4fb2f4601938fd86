//! The HTTP port: bounds on its connections and requests, and whose pages may ask.

use metricsd_model::matcher::anchored_regex;
use url::Url;

use super::{Check, MIN_INTERVAL};
use crate::config::settings::{Http, Settings};
use crate::config::{CorsConfig, HttpConfig};

impl Check<'_> {
    pub(super) fn http(&mut self, http: &Http) -> HttpConfig {
        self.above_zero("http.max_connections", http.max_connections);
        self.at_least("http.header_timeout", http.header_timeout, MIN_INTERVAL);
        self.at_least("http.request_timeout", http.request_timeout, MIN_INTERVAL);
        HttpConfig {
            max_connections: http.max_connections,
            header_timeout: http.header_timeout.0,
            request_timeout: http.request_timeout.0,
        }
    }

    pub(super) fn cors(&mut self, settings: &Settings) -> CorsConfig {
        let http = &settings.http;
        for origin in http.cors_allow_origins.iter().filter(|origin| *origin != "*") {
            let read = Url::parse(origin);
            // What a browser sends is the origin alone, so anything else would match nothing.
            if !read.is_ok_and(|url| url.origin().ascii_serialization() == *origin) {
                self.refuse(
                    "http.cors_allow_origins",
                    format!("expected an origin such as https://grafana.example, or *, not {origin:?}"),
                );
            }
        }
        let pattern = match http.cors_origin_pattern.as_str() {
            "" => None,
            pattern => anchored_regex(pattern)
                .map_err(|_| {
                    let message = format!("expected a regular expression, not {pattern:?}");
                    self.refuse("http.cors_origin_pattern", message);
                })
                .ok(),
        };
        CorsConfig { origins: http.cors_allow_origins.clone(), pattern }
    }
}
