//! The two questions, as Consul's HTTP API takes them.

use std::collections::BTreeMap;
use std::time::Duration;

use metricsd_client::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use metricsd_client::{Context, HttpClient, StatusCode};
use metricsd_model::{HttpOptions, SecretSource};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::WAIT;
use crate::config::ConsulSd;
use crate::groups::MAX_ANSWER_BYTES;
use crate::manager::public_url;
use crate::providers::http::http_url;

/// The token of the access control lists.
const TOKEN_HEADER: &str = "X-Consul-Token";
/// What an answer is about.
const INDEX_HEADER: HeaderName = HeaderName::from_static("x-consul-index");

/// An answer, and what to ask for next.
#[derive(Debug)]
pub(super) struct Answer<T> {
    pub(super) index: u64,
    pub(super) found: T,
}

/// One instance of a service, as `/v1/health/service` has it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Instance {
    pub(super) node: Node,
    pub(super) service: Service,
    pub(super) checks: Option<Vec<Check>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Node {
    pub(super) node: String,
    pub(super) address: String,
    pub(super) datacenter: String,
    pub(super) partition: String,
    pub(super) tagged_addresses: Option<BTreeMap<String, String>>,
    pub(super) meta: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Service {
    #[serde(rename = "ID")]
    pub(super) id: String,
    pub(super) tags: Option<Vec<String>>,
    pub(super) address: String,
    pub(super) port: u16,
    pub(super) namespace: String,
    pub(super) meta: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Check {
    #[serde(rename = "CheckID")]
    pub(super) id: String,
    pub(super) status: String,
}

/// Asks one server.
pub(super) struct Api {
    base: Url,
    client: HttpClient,
    /// The same with every question.
    common: Vec<(&'static str, String)>,
    tags: Vec<String>,
    filter: Option<String>,
    health_filter: Option<String>,
}

impl Api {
    pub(super) fn new(config: &ConsulSd, context: &Context) -> Result<Self, String> {
        let prefix = config.path_prefix.trim_matches('/');
        let slash = if prefix.is_empty() { "" } else { "/" };
        let base = http_url(&format!("{}://{}/{prefix}{slash}", config.scheme, config.server))?;
        let options = with_token(&config.http, config.token.as_ref());
        let client = HttpClient::new(&options, context).map_err(|error| error.to_string())?;
        let some = |name, value: &Option<String>| value.clone().map(|value| (name, value));
        let mut common: Vec<_> = [
            some("dc", &config.datacenter),
            some("ns", &config.namespace),
            some("partition", &config.partition),
            config.allow_stale.then(|| ("stale", String::new())),
        ]
        .into_iter()
        .flatten()
        .collect();
        common.extend(config.node_meta.iter().map(|(name, value)| ("node-meta", format!("{name}:{value}"))));
        let (filter, health_filter) = (config.filter.clone(), config.health_filter.clone());
        Ok(Self { base, client, common, tags: config.tags.clone(), filter, health_filter })
    }

    /// Names of all services, each with the tags of its instances.
    pub(super) async fn services(&self, index: u64) -> Result<Answer<BTreeMap<String, Vec<String>>>, String> {
        let mut url = self.url(&["v1", "catalog", "services"], index)?;
        if let Some(filter) = &self.filter {
            url.query_pairs_mut().append_pair("filter", filter);
        }
        self.ask(&url, index).await
    }

    /// The instances of one service.
    pub(super) async fn instances(&self, service: &str, index: u64) -> Result<Answer<Vec<Instance>>, String> {
        let mut url = self.url(&["v1", "health", "service", service], index)?;
        url.query_pairs_mut().extend_pairs(self.tags.iter().map(|tag| ("tag", tag)));
        if let Some(filter) = &self.health_filter {
            url.query_pairs_mut().append_pair("filter", filter);
        }
        self.ask(&url, index).await
    }

    fn url(&self, path: &[&str], index: u64) -> Result<Url, String> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| "the address of the server cannot have a path".to_owned())?
            .pop_if_empty()
            .extend(path);
        let mut query = url.query_pairs_mut();
        query.extend_pairs(&self.common);
        if index > 0 {
            query.append_pair("index", &index.to_string());
            query.append_pair("wait", &format!("{}s", WAIT.as_secs()));
        }
        drop(query);
        Ok(url)
    }

    async fn ask<T: DeserializeOwned>(&self, url: &Url, index: u64) -> Result<Answer<T>, String> {
        let problem = |what: String| format!("{}: {what}", public_url(url.as_str()));
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
        // A server adds up to a sixteenth to what it was asked to wait.
        let timeout = if index > 0 { WAIT + WAIT / 8 } else { Duration::from_secs(30) };
        let mut answer =
            self.client.get(url, headers, timeout).await.map_err(|error| problem(error.to_string()))?;
        if answer.status != StatusCode::OK {
            return Err(problem(format!("it answered {} instead of 200", answer.status.as_u16())));
        }
        // Without an index, or with one that cannot be, it is asked as if for the first time.
        let index = answer.header(&INDEX_HEADER).parse().unwrap_or(0);
        let body = answer.bytes(MAX_ANSWER_BYTES).await.map_err(|error| problem(error.to_string()))?;
        let found = serde_json::from_slice(&body)
            .map_err(|error| problem(format!("the answer is not what Consul says: {error}")))?;
        Ok(Answer { index, found })
    }
}

/// The settings of requests, with the token as one more secret header.
fn with_token(http: &HttpOptions, token: Option<&SecretSource>) -> HttpOptions {
    let mut options = http.clone();
    if let Some(token) = token {
        options.headers.entry(TOKEN_HEADER.to_owned()).or_default().secrets = vec![token.clone()];
    }
    options
}
