//! `dns_sd_configs`: names that are looked up.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, StreamExt};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};
use tokio_util::sync::CancellationToken;

use crate::config::{DnsRecord, DnsSd};
use crate::groups::{MAX_TARGETS, host_port, target_at};
use crate::pace::Pace;
use crate::provider::{FoundLabels, Provider, TargetGroup, Update, Updates};

const NAME_LABEL: &str = "__meta_dns_name";
const SRV_TARGET_LABEL: &str = "__meta_dns_srv_record_target";
const SRV_PORT_LABEL: &str = "__meta_dns_srv_record_port";
const MX_TARGET_LABEL: &str = "__meta_dns_mx_record_target";
const NS_TARGET_LABEL: &str = "__meta_dns_ns_record_target";

/// How long one server may take for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Names that are asked for at once.
const CONCURRENT_NAMES: usize = 16;

/// Looks names up; one that fails keeps its last targets, one that does not exist has none.
#[derive(Debug)]
pub struct DnsProvider {
    config: DnsSd,
    /// Instead of the system's.
    servers: Option<Vec<SocketAddr>>,
}

impl DnsProvider {
    /// Asks the servers of the system's configuration, which is read again at each refresh.
    pub fn new(config: DnsSd) -> Self {
        Self { config, servers: None }
    }

    /// Asks these servers.
    pub fn with_servers(config: DnsSd, servers: Vec<SocketAddr>) -> Self {
        Self { config, servers: Some(servers) }
    }

    /// Asks until nobody listens.
    async fn follow(&self, updates: &Updates) -> Option<()> {
        let mut pace = Pace::new(self.config.refresh_interval.0);
        loop {
            let (groups, failure) = self.refresh().await;
            // Whatever was answered is told, before what was not.
            let told = if failure.is_none() { Update::All(groups) } else { Update::Some(groups) };
            if !matches!(&told, Update::Some(groups) if groups.is_empty()) {
                updates.send(told).await.ok()?;
            }
            let wait = match failure {
                None => pace.succeeded(),
                Some(sentence) => {
                    updates.send(Update::Failed(sentence)).await.ok()?;
                    pace.failed()
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// A group for each name that was answered, and why the first of the others was not.
    async fn refresh(&self) -> (Vec<TargetGroup>, Option<String>) {
        let resolver = match self.resolver() {
            Ok(resolver) => resolver,
            Err(error) => {
                return (Vec::new(), Some(format!("the system's DNS settings cannot be read: {error}")));
            }
        };
        let kind = record_type(self.config.record);
        let answers = stream::iter(self.config.names.clone())
            .map(|name| {
                let resolver = resolver.clone();
                async move {
                    let answer = lookup(&resolver, &name, kind).await;
                    (name, answer)
                }
            })
            .buffered(CONCURRENT_NAMES)
            .collect::<Vec<_>>();
        let mut groups = Vec::new();
        let mut failure = None;
        let mut targets = 0_usize;
        for (name, answer) in answers.await {
            match answer {
                Ok(found) => {
                    let group = self.group(&name, found.as_ref());
                    targets = targets.saturating_add(group.targets.len());
                    groups.push(group);
                }
                Err(error) => {
                    failure = failure.or(Some(format!("looking up {kind} of {name} failed: {error}")))
                }
            }
        }
        if targets > MAX_TARGETS {
            let sentence =
                format!("the names have {targets} records, more than the {MAX_TARGETS} of one source");
            return (Vec::new(), Some(sentence));
        }
        (groups, failure)
    }

    fn resolver(&self) -> Result<TokioResolver, NetError> {
        let mut builder = match &self.servers {
            None => TokioResolver::builder_tokio()?,
            Some(servers) => {
                let servers = servers.iter().map(|server| name_server(*server)).collect();
                TokioResolver::builder_with_config(
                    ResolverConfig::from_name_servers(servers),
                    TokioRuntimeProvider::default(),
                )
            }
        };
        let options = builder.options_mut();
        options.timeout = ANSWER_TIMEOUT;
        options.attempts = 2;
        // What is asked for is what the servers say now.
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        builder.build()
    }

    fn group(&self, name: &str, found: Option<&Lookup>) -> TargetGroup {
        let answers = found.map(Lookup::answers).unwrap_or_default();
        TargetGroup {
            source: name.to_owned(),
            labels: FoundLabels::from([(NAME_LABEL.to_owned(), name.to_owned())]),
            targets: answers.iter().filter_map(|record| self.target(&record.data)).collect(),
        }
    }

    /// The target that a record stands for; none for those that came along, such as aliases.
    fn target(&self, data: &RData) -> Option<FoundLabels> {
        let port = self.config.port.unwrap_or(0);
        let (host, port, labels) = match (self.config.record, data) {
            (DnsRecord::A, RData::A(address)) => (address.to_string(), port, Vec::new()),
            (DnsRecord::Aaaa, RData::AAAA(address)) => (address.to_string(), port, Vec::new()),
            (DnsRecord::Srv, RData::SRV(record)) => {
                let host = record.target.to_ascii();
                let labels =
                    vec![(SRV_TARGET_LABEL, host.clone()), (SRV_PORT_LABEL, record.port.to_string())];
                (host, record.port, labels)
            }
            (DnsRecord::Mx, RData::MX(record)) => {
                let host = record.exchange.to_ascii();
                (host.clone(), port, vec![(MX_TARGET_LABEL, host)])
            }
            (DnsRecord::Ns, RData::NS(record)) => {
                let host = record.0.to_ascii();
                (host.clone(), port, vec![(NS_TARGET_LABEL, host)])
            }
            _ => return None,
        };
        // Names in answers end with the dot of the root, which nobody writes in an address.
        let mut target = target_at(host_port(host.trim_end_matches('.'), port));
        target.extend(labels.into_iter().map(|(name, value)| (name.to_owned(), value)));
        Some(target)
    }
}

#[async_trait]
impl Provider for DnsProvider {
    fn kind(&self) -> &'static str {
        "dns"
    }

    async fn run(&self, updates: Updates, stop: CancellationToken) {
        tokio::select! {
            _ = self.follow(&updates) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// What there is of a name; nothing where the servers say that there is no such name or no such record.
async fn lookup(resolver: &TokioResolver, name: &str, kind: RecordType) -> Result<Option<Lookup>, NetError> {
    match resolver.lookup(name, kind).await {
        Ok(found) => Ok(Some(found)),
        Err(NetError::Dns(DnsError::NoRecordsFound(none)))
            if matches!(none.response_code, ResponseCode::NoError | ResponseCode::NXDomain) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// UDP first; TCP where an answer does not fit.
fn name_server(server: SocketAddr) -> NameServerConfig {
    let mut config = NameServerConfig::udp_and_tcp(server.ip());
    for connection in &mut config.connections {
        connection.port = server.port();
    }
    config
}

fn record_type(record: DnsRecord) -> RecordType {
    match record {
        DnsRecord::A => RecordType::A,
        DnsRecord::Aaaa => RecordType::AAAA,
        DnsRecord::Srv => RecordType::SRV,
        DnsRecord::Mx => RecordType::MX,
        DnsRecord::Ns => RecordType::NS,
    }
}
