//! Jobs as they are configured: complete, defaults filled in (Prometheus' documentation, `scrape_config` and `*_sd_config`).

use std::collections::BTreeMap;

use metricsd_model::{HttpOptions, PromDuration, RelabelConfig, ScrapeConfig, SecretSource};

/// One `scrape_config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobConfig {
    /// The `job` label, and the source of its targets; unique in a configuration.
    pub name: String,
    /// How each target is scraped unless its labels say otherwise; `target_url` is empty.
    pub scrape: ScrapeConfig,
    /// Rules for each target found.
    pub relabel_configs: Vec<RelabelConfig>,
    /// With more targets than this after relabelling none is scraped and the job shows an error; 0 is no limit.
    pub target_limit: u64,
    /// Dropped targets that are kept to be shown; 0 is no limit of the job's own.
    pub keep_dropped_targets: u64,
    /// Who finds its targets.
    pub providers: Vec<ProviderConfig>,
}

/// Settings of one provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderConfig {
    /// `static_configs`
    Static(Vec<StaticGroup>),
    /// `file_sd_configs`
    File(FileSd),
    /// `http_sd_configs`
    Http(Box<HttpSd>),
    /// `dns_sd_configs`
    Dns(DnsSd),
    /// `consul_sd_configs`
    Consul(Box<ConsulSd>),
    /// `kubernetes_sd_configs`
    Kubernetes(Box<KubernetesSd>),
}

/// Targets that are written down.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StaticGroup {
    /// `host:port`, each.
    pub targets: Vec<String>,
    /// Labels of all of them.
    pub labels: BTreeMap<String, String>,
}

/// Files with lists of groups, JSON or YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSd {
    /// Paths; the last part may hold `*`.
    pub files: Vec<String>,
    /// How often they are read whether or not a change was seen.
    pub refresh_interval: PromDuration,
}

/// An address that answers with a JSON list of groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSd {
    /// `http` or `https`.
    pub url: String,
    /// How often it is asked.
    pub refresh_interval: PromDuration,
    /// How it is asked.
    pub http: HttpOptions,
}

/// Kinds of DNS records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsRecord {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Hosts and ports.
    Srv,
    /// Mail exchangers.
    Mx,
    /// Name servers.
    Ns,
}

/// Names that are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsSd {
    /// Names.
    pub names: Vec<String>,
    /// What is asked for.
    pub record: DnsRecord,
    /// Port of the targets; not for SRV.
    pub port: Option<u16>,
    /// How often they are looked up.
    pub refresh_interval: PromDuration,
}

/// Services in Consul's catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsulSd {
    /// `host:port`
    pub server: String,
    /// Before `/v1`.
    pub path_prefix: String,
    /// ACL token.
    pub token: Option<SecretSource>,
    /// The agent's where absent.
    pub datacenter: Option<String>,
    /// Enterprise only.
    pub namespace: Option<String>,
    /// Enterprise only.
    pub partition: Option<String>,
    /// `http` or `https`.
    pub scheme: String,
    /// Names of services; all where empty.
    pub services: Vec<String>,
    /// Tags that a service must all have.
    pub tags: Vec<String>,
    /// Metadata that a node must all have.
    pub node_meta: BTreeMap<String, String>,
    /// Consul's filter expression for the list of services.
    pub filter: Option<String>,
    /// Consul's filter expression for the instances of a service.
    pub health_filter: Option<String>,
    /// Stands between and around tags in the label.
    pub tag_separator: String,
    /// Whether a follower may answer.
    pub allow_stale: bool,
    /// The least time between two questions.
    pub refresh_interval: PromDuration,
    /// How it is asked.
    pub http: HttpOptions,
}

/// What of Kubernetes becomes a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KubernetesRole {
    /// One target a node.
    Node,
    /// One target a port of a service.
    Service,
    /// One target a port of a container.
    Pod,
    /// One target an address and port of an `Endpoints`, and the pod's other ports.
    Endpoints,
    /// The same of an `EndpointSlice`.
    EndpointSlice,
    /// One target a path of an ingress.
    Ingress,
}

/// Selectors for the objects of one role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesSelector {
    /// Whose objects.
    pub role: KubernetesRole,
    /// By labels.
    pub label: Option<String>,
    /// By fields.
    pub field: Option<String>,
}

/// Objects of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesSd {
    /// Address of the API server; that of the pod we run in, or of the kubeconfig, where absent.
    pub api_server: Option<String>,
    /// What becomes a target.
    pub role: KubernetesRole,
    /// How to reach and authenticate.
    pub kubeconfig_file: Option<String>,
    /// Only the namespace we run in.
    pub own_namespace: bool,
    /// These namespaces; all where empty.
    pub namespaces: Vec<String>,
    /// Which objects.
    pub selectors: Vec<KubernetesSelector>,
    /// Adds the labels of a pod's node.
    pub attach_node: bool,
    /// Adds the labels of the namespace.
    pub attach_namespace: bool,
    /// How it is asked where `api_server` is given.
    pub http: HttpOptions,
}
