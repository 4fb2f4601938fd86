//! `http_sd_configs`: an address that answers with a list of groups.

use std::time::Duration;

use async_trait::async_trait;
use metricsd_client::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use metricsd_client::{Context, HttpClient, StatusCode};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::config::HttpSd;
use crate::groups::{ListFormat, MAX_ANSWER_BYTES, read_list};
use crate::manager::public_url;
use crate::pace::Pace;
use crate::provider::{FoundLabels, Provider, TargetGroup, Update, Updates};

/// Label with the address that was asked.
const URL_LABEL: &str = "__meta_url";
/// Tells the server how often it is asked, in seconds.
const INTERVAL_HEADER: HeaderName = HeaderName::from_static("x-prometheus-refresh-interval-seconds");
/// An answer may take as long as the interval, within these.
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(5);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Asks one address for its list.
pub struct HttpProvider {
    url: Url,
    interval: Duration,
    client: HttpClient,
    extra: FoundLabels,
}

impl HttpProvider {
    /// For this address.
    ///
    /// # Errors
    /// The address is none, or the settings of the request can never work.
    pub fn new(config: &HttpSd, context: &Context) -> Result<Self, String> {
        let url = http_url(&config.url)?;
        let client = HttpClient::new(&config.http, context).map_err(|error| error.to_string())?;
        let mut shown = url.clone();
        let shown = if shown.set_username("").is_ok() && shown.set_password(None).is_ok() && shown != url {
            shown.to_string()
        } else {
            config.url.clone()
        };
        let extra = FoundLabels::from([(URL_LABEL.to_owned(), shown)]);
        Ok(Self { url, interval: config.refresh_interval.0, client, extra })
    }

    /// Asks until nobody listens.
    async fn follow(&self, updates: &Updates) -> Option<()> {
        let mut pace = Pace::new(self.interval);
        loop {
            let wait = match self.refresh().await {
                Ok(groups) => {
                    updates.send(Update::All(groups)).await.ok()?;
                    pace.succeeded()
                }
                Err(problem) => {
                    let sentence = format!("{}: {problem}", public_url(self.url.as_str()));
                    updates.send(Update::Failed(sentence)).await.ok()?;
                    pace.failed()
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    async fn refresh(&self) -> Result<Vec<TargetGroup>, String> {
        let seconds = self.interval.as_secs_f64().to_string();
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.extend(HeaderValue::from_str(&seconds).ok().map(|value| (INTERVAL_HEADER, value)));
        let timeout = self.interval.clamp(SHORTEST_TIMEOUT, LONGEST_TIMEOUT);
        let mut answer =
            self.client.get(&self.url, headers, timeout).await.map_err(|error| error.to_string())?;
        if answer.status != StatusCode::OK {
            return Err(format!("it answered {} instead of 200", answer.status.as_u16()));
        }
        let kind = answer.header(&CONTENT_TYPE);
        if !is_json(kind) {
            let kind: String = kind.chars().take(100).collect();
            return Err(format!("its Content-Type is {kind:?} instead of application/json"));
        }
        let body = answer.bytes(MAX_ANSWER_BYTES).await.map_err(|error| error.to_string())?;
        let text = std::str::from_utf8(&body).map_err(|error| format!("the answer is not UTF-8: {error}"))?;
        let origin = self.extra.get(URL_LABEL).map(String::as_str).unwrap_or_default();
        read_list(text, ListFormat::Json, origin, &self.extra).map_err(|error| error.to_string())
    }
}

#[async_trait]
impl Provider for HttpProvider {
    fn kind(&self) -> &'static str {
        "http"
    }

    async fn run(&self, updates: Updates, stop: CancellationToken) {
        tokio::select! {
            _ = self.follow(&updates) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// An address with a host, of `http` or `https`.
pub(super) fn http_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("the address of the source is no URL: {error}"))?;
    let good = matches!(url.scheme(), "http" | "https") && url.has_host();
    if good { Ok(url) } else { Err(format!("{} is not an http or https address", public_url(text))) }
}

fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_is_json() {
        assert!(is_json("application/json") && is_json("Application/JSON; charset=utf-8"));
        assert!(!is_json("text/html") && !is_json("") && !is_json("application/jsonp"));
    }

    #[test]
    fn only_web_addresses_are_asked() {
        assert!(http_url("https://h/sd").is_ok());
        for wrong in ["h:80/sd", "file:///etc/passwd", "http://", "nonsense"] {
            assert!(http_url(wrong).is_err(), "{wrong}");
        }
    }
}
