//! What Prometheus knows and metricsd does not do, and what to use instead.

use super::section::Section;

/// Sections of the file that are not carried out.
const SECTIONS: [(&str, &str); 8] = [
    (
        "rule_files",
        "rules are not evaluated; a ruler beside metricsd can ask /api/v1/query and write back what it records",
    ),
    (
        "alerting",
        "alerts are not sent; a ruler beside metricsd can ask /api/v1/query and tell the Alertmanager",
    ),
    (
        "remote_write",
        "samples are not sent on; events (Kafka) tell of every collection, and others can ask /api/v1",
    ),
    ("remote_read", "other stores are not asked; move their samples over with a remote write to metricsd"),
    (
        "storage",
        "storage is set in metricsd's own configuration: `metricsd config keys` lists retention and limits",
    ),
    ("tracing", "traces are not sent"),
    ("otlp", "there is no OTLP receiver; an OpenTelemetry Collector can send a remote write to metricsd"),
    ("profiling", "there is no profiler"),
];

/// Providers that are not there.
const PROVIDERS: [&str; 26] = [
    "azure_sd_configs",
    "digitalocean_sd_configs",
    "docker_sd_configs",
    "dockerswarm_sd_configs",
    "ec2_sd_configs",
    "eureka_sd_configs",
    "gce_sd_configs",
    "hetzner_sd_configs",
    "ionos_sd_configs",
    "kuma_sd_configs",
    "lightsail_sd_configs",
    "linode_sd_configs",
    "marathon_sd_configs",
    "nerve_sd_configs",
    "nomad_sd_configs",
    "openstack_sd_configs",
    "ovhcloud_sd_configs",
    "puppetdb_sd_configs",
    "scaleway_sd_configs",
    "serverset_sd_configs",
    "stackit_sd_configs",
    "triton_sd_configs",
    "uyuni_sd_configs",
    "vultr_sd_configs",
    "aws_sd_configs",
    "xds_sd_configs",
];

/// Lists the sections of a file that are not carried out. One that says nothing is no loss.
pub(super) fn top_level(root: &mut Section<'_>) {
    for (name, message) in SECTIONS {
        if root.field(name).is_some_and(|node| !node.is_empty()) {
            root.cx.unsupported(root.place_of(name), name, message);
        }
    }
    if root.field("runtime").is_some() {
        root.cx.note(
            root.place_of("runtime"),
            "runtime",
            "settings of Prometheus' own memory have no meaning here",
        );
    }
}

/// Lists the providers of a job that are not there.
pub(super) fn providers(job: &mut Section<'_>) {
    for name in PROVIDERS {
        if job.field(name).is_some_and(|node| !node.is_empty()) {
            let message = "there is no such provider; a program that asks there can serve its list to http_sd_configs or \
                           write it for file_sd_configs";
            job.cx.unsupported(job.place_of(name), job.path_of(name), message);
        }
    }
}
