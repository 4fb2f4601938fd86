//! Who finds targets.

use metricsd_model::{HttpAuth, Secret, SecretSource};

use super::*;
use crate::config::{DnsRecord, KubernetesRole, ProviderConfig, StaticGroup};

fn provider(yaml: &str) -> ProviderConfig {
    let mut providers = job(yaml).providers;
    assert_eq!(providers.len(), 1, "{yaml}");
    providers.remove(0)
}

#[test]
fn static_targets() {
    let ProviderConfig::Static(groups) = provider(
        "static_configs:\n- targets: ['a:1', \"[::1]:9100\"]\n  labels: {env: prod}\n- targets:\n  - b:2\n- {}",
    ) else {
        panic!()
    };
    assert_eq!(groups[0].targets, ["a:1", "[::1]:9100"]);
    assert_eq!(groups[0].labels["env"], "prod");
    assert_eq!(groups[1], StaticGroup { targets: vec!["b:2".into()], ..StaticGroup::default() });
    assert_eq!(groups[2], StaticGroup::default());
}

#[test]
fn files_with_targets() {
    let ProviderConfig::File(file) =
        provider("file_sd_configs: [{files: [targets/*.json, /a/b.yml], refresh_interval: 30s}]")
    else {
        panic!()
    };
    assert_eq!(file.files, ["/etc/prometheus/targets/*.json", "/a/b.yml"]);
    assert_eq!(file.refresh_interval.to_string(), "30s");
    let ProviderConfig::File(file) = provider("file_sd_configs: [{files: [a.yaml]}]") else { panic!() };
    assert_eq!(file.refresh_interval.to_string(), "5m");
}

#[test]
fn addresses_with_targets() {
    let ProviderConfig::Http(http) =
        provider("http_sd_configs: [{url: 'https://sd.example/targets', basic_auth: {username: u}}]")
    else {
        panic!()
    };
    assert_eq!(
        (http.url.as_str(), http.refresh_interval.to_string()),
        ("https://sd.example/targets", "1m".into())
    );
    assert!(matches!(http.http.auth, Some(HttpAuth::Basic { .. })));
}

#[test]
fn names_in_dns() {
    let read = |yaml: &str| match provider(&format!("dns_sd_configs: [{{{yaml}}}]")) {
        ProviderConfig::Dns(dns) => (dns.names, dns.record, dns.port, dns.refresh_interval.to_string()),
        other => panic!("{other:?}"),
    };
    let names = vec!["_m._tcp.example".to_owned()];
    assert_eq!(read("names: [_m._tcp.example]"), (names.clone(), DnsRecord::Srv, None, "30s".into()));
    for (name, record) in
        [("A", DnsRecord::A), ("aaaa", DnsRecord::Aaaa), ("MX", DnsRecord::Mx), ("NS", DnsRecord::Ns)]
    {
        let read = read(&format!("names: [_m._tcp.example], type: {name}, port: 9100, refresh_interval: 5s"));
        assert_eq!(read, (names.clone(), record, Some(9100), "5s".into()));
    }
}

#[test]
fn services_in_consul() {
    let ProviderConfig::Consul(consul) = provider("consul_sd_configs: [{}]") else { panic!() };
    assert_eq!((consul.server.as_str(), consul.scheme.as_str()), ("localhost:8500", "http"));
    assert_eq!((consul.tag_separator.as_str(), consul.allow_stale), (",", true));
    assert_eq!(consul.refresh_interval.to_string(), "30s");
    let ProviderConfig::Consul(consul) = provider(
        "consul_sd_configs:\n- server: c:1\n  path_prefix: /p\n  token: t\n  datacenter: d\n  namespace: n\n  \
         partition: q\n  scheme: https\n  services: [a, b]\n  tags: [x]\n  node_meta: {k: v}\n  filter: f\n  \
         health_filter: h\n  tag_separator: ';'\n  allow_stale: false\n  refresh_interval: 1m",
    ) else {
        panic!()
    };
    assert_eq!(
        (consul.server.as_str(), consul.path_prefix.as_str(), consul.scheme.as_str()),
        ("c:1", "/p", "https")
    );
    assert_eq!(consul.token, Some(SecretSource::Inline(Secret::new("t"))));
    let names =
        [&consul.datacenter, &consul.namespace, &consul.partition, &consul.filter, &consul.health_filter];
    assert_eq!(names.map(|name| name.as_deref().unwrap()), ["d", "n", "q", "f", "h"]);
    assert_eq!((consul.services, consul.tags), (vec!["a".into(), "b".into()], vec!["x".to_owned()]));
    assert_eq!(
        (consul.node_meta["k"].as_str(), consul.tag_separator.as_str(), consul.allow_stale),
        ("v", ";", false)
    );
    assert_eq!(consul.refresh_interval.to_string(), "1m");
    let ProviderConfig::Consul(consul) = provider("consul_sd_configs: [{username: u, password: p}]") else {
        panic!()
    };
    assert!(matches!(consul.http.auth, Some(HttpAuth::Basic { username: Some(_), password: Some(_) })));
}

#[test]
fn objects_of_kubernetes() {
    for (name, role) in [
        ("node", KubernetesRole::Node),
        ("service", KubernetesRole::Service),
        ("pod", KubernetesRole::Pod),
        ("endpoints", KubernetesRole::Endpoints),
        ("endpointslice", KubernetesRole::EndpointSlice),
        ("ingress", KubernetesRole::Ingress),
    ] {
        let ProviderConfig::Kubernetes(found) =
            provider(&format!("kubernetes_sd_configs: [{{role: {name}}}]"))
        else {
            panic!()
        };
        assert_eq!(found.role, role);
        assert_eq!((found.api_server, found.kubeconfig_file, found.own_namespace), (None, None, false));
    }
    let ProviderConfig::Kubernetes(found) = provider(
        "kubernetes_sd_configs:\n- role: pod\n  api_server: https://k.example:6443\n  bearer_token_file: token\n  \
         namespaces: {names: [a, b]}\n  selectors: [{role: pod, label: 'app=x', field: 'spec.nodeName=n'}]\n  \
         attach_metadata: {node: true, namespace: true}",
    ) else {
        panic!()
    };
    assert_eq!(found.api_server.as_deref(), Some("https://k.example:6443"));
    assert_eq!(found.namespaces, ["a", "b"]);
    assert_eq!(found.selectors[0].label.as_deref(), Some("app=x"));
    assert_eq!(found.selectors[0].field.as_deref(), Some("spec.nodeName=n"));
    assert!(found.attach_node && found.attach_namespace && found.http.auth.is_some());
    let ProviderConfig::Kubernetes(found) =
        provider("kubernetes_sd_configs: [{role: pod, namespaces: {own_namespace: true}}]")
    else {
        panic!()
    };
    assert!(found.own_namespace);
    let ProviderConfig::Kubernetes(found) =
        provider("kubernetes_sd_configs: [{role: node, kubeconfig_file: k}]")
    else {
        panic!()
    };
    assert_eq!(found.kubeconfig_file.as_deref(), Some("/etc/prometheus/k"));
}

#[test]
fn mistakes_of_providers() {
    let check = check_job_wrong;
    check(
        "static_configs: [{targets: ['http://a:1/metrics']}]",
        "3:33: scrape_configs[0].static_configs[0].targets: \"http://a:1/metrics\" is not host:port; scheme and path have \
         fields of their own, scheme and metrics_path",
    );
    check(
        "static_configs: [{targets: a:1}]",
        "3:32: scrape_configs[0].static_configs[0].targets: expected a list (`- …` or `[…]`), found a single value",
    );
    check("file_sd_configs: [{}]", "3:23: scrape_configs[0].file_sd_configs[0].files: no file is named");
    check(
        "file_sd_configs: [{files: [a.txt]}]",
        "3:32: scrape_configs[0].file_sd_configs[0].files: \"a.txt\" must end in .json, .yml or .yaml",
    );
    check(
        "file_sd_configs: [{files: ['*/a.json']}]",
        "3:32: scrape_configs[0].file_sd_configs[0].files: \"*/a.json\": * may stand once, in the last part of the path",
    );
    check("http_sd_configs: [{}]", "3:23: scrape_configs[0].http_sd_configs[0].url: url is missing");
    check(
        "http_sd_configs: [{url: 'ftp://a/b'}]",
        "3:24: scrape_configs[0].http_sd_configs[0].url: the scheme must be http or https, not \"ftp\"",
    );
    check("dns_sd_configs: [{}]", "3:22: scrape_configs[0].dns_sd_configs[0].names: no name is given");
    check(
        "dns_sd_configs: [{names: [a], type: A}]",
        "3:22: scrape_configs[0].dns_sd_configs[0].port: port is missing; only SRV records bring one",
    );
    check(
        "dns_sd_configs: [{names: [a], type: TXT}]",
        "3:41: scrape_configs[0].dns_sd_configs[0].type: \"TXT\" is none of A, AAAA, SRV, MX and NS",
    );
    check(
        "kubernetes_sd_configs: [{role: pods}]",
        "3:36: scrape_configs[0].kubernetes_sd_configs[0].role: \"pods\" is none of node, service, pod, endpoints, \
         endpointslice, ingress",
    );
    check(
        "kubernetes_sd_configs: [{role: node, selectors: [{role: pod}]}]",
        "3:55: scrape_configs[0].kubernetes_sd_configs[0].selectors[0].role: objects of this role are not looked at for \
         the role of the section",
    );
    check(
        "kubernetes_sd_configs: [{role: pod, bearer_token: x}]",
        "3:29: scrape_configs[0].kubernetes_sd_configs[0]: HTTP settings need api_server: without it the pod's own account \
         is used",
    );
}
