//! The first minute of a newcomer: targets that are there already, and what to try.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use metricsd_model::{CollectionMethod, MetricSource, PromDuration, ScrapeConfig, TargetSpec};
use metricsd_ports::{Catalog, Created};
use tracing::{info, warn};

use crate::config::Config;

/// How long a node_exporter may take to answer at start.
const PROBE: Duration = Duration::from_secs(2);

/// Adds this process, and a node_exporter where one answers, to the targets.
pub(super) async fn first_targets(config: &Config, address: SocketAddr, catalog: &dyn Catalog) {
    if config.scrape.self_scrape {
        ensure(catalog, spec(config, "metricsd", &format!("http://{}", reachable(address)), "/metrics"))
            .await;
    }
    if let Some(url) = &config.scrape.node_exporter
        && answers(url).await
        && let Some((base, path)) = split(url)
    {
        ensure(catalog, spec(config, "node_exporter", &base, &path)).await;
    }
}

fn spec(config: &Config, name: &str, url: &str, path: &str) -> TargetSpec {
    let (interval, timeout) = (config.scrape.default_interval, config.scrape.default_timeout);
    TargetSpec {
        target_id: name.to_owned(),
        source_id: name.to_owned(),
        source_type: MetricSource::Infrastructure,
        collection_method: CollectionMethod::PullScraping,
        scrape_config: ScrapeConfig {
            target_url: url.to_owned(),
            scrape_interval: interval,
            scrape_timeout: PromDuration(timeout.0.min(interval.0)),
            metrics_path: path.to_owned(),
            scheme: if url.starts_with("https:") { "https" } else { "http" }.to_owned(),
            authentication: None,
            honor_labels: false,
            honor_timestamps: true,
            options: std::sync::Arc::default(),
        },
        labels: BTreeMap::new(),
        filters: Vec::new(),
        retention_policy: None,
        enabled: true,
    }
}

/// Creates the target; one that is there with another address follows it, one that a user disabled stays so.
async fn ensure(catalog: &dyn Catalog, spec: TargetSpec) {
    let result = match catalog.create_target(&spec).await {
        Ok(Created::New(_)) => {
            info!(target_id = spec.target_id, url = spec.scrape_url(), "target added");
            // A newcomer asks at once, not after an interval.
            let now = chrono::Utc::now().timestamp_millis();
            catalog.request_scrape(&spec.target_id, now).await.map(drop)
        }
        Ok(Created::Existing(target))
            if target.spec.scrape_url() != spec.scrape_url() && !target.deleting =>
        {
            let scrape_config = spec.scrape_config;
            catalog.replace_target(&TargetSpec { scrape_config, ..target.spec }).await.map(drop)
        }
        Ok(Created::Existing(_)) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = result {
        warn!(error = error.chain(), "a first target was not added");
    }
}

async fn answers(url: &str) -> bool {
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(PROBE).build();
    let Ok(client) = client else { return false };
    client.get(url).send().await.is_ok_and(|answer| answer.status().is_success())
}

fn split(url: &str) -> Option<(String, String)> {
    let url = url::Url::parse(url).ok()?;
    Some((url.origin().ascii_serialization(), url.path().to_owned()))
}

/// An address that listens everywhere is reached over loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        other => other.ip(),
    };
    SocketAddr::new(ip, address.port())
}

/// What a person at a terminal should see first.
pub(super) fn greeting(config: &Config, address: SocketAddr) -> String {
    let base = format!("http://{}", reachable(address));
    format!(
        "metricsd {version} is ready; roles: {roles}\n\
         \n\
         \x20 targets   {base}/api/v1/metrics/targets\n\
         \x20 query     {base}/api/v1/metrics/query\n\
         \x20 events    {base}/api/v1/metrics/events\n\
         \x20 openapi   {base}/api/v1/openapi.json\n\
         \x20 health    {base}/readyz\n\
         \x20 data      {data}\n\
         \n\
         Try:  curl -s '{base}/api/v1/metrics/query?query=up'\n\
         Stop: Ctrl-C\n",
        version = env!("CARGO_PKG_VERSION"),
        roles = config.roles.names().join(", "),
        data = config.data_dir.display(),
    )
}
