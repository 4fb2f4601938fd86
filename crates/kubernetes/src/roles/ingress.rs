//! One target a path of an ingress.

use k8s_openapi::api::networking::v1::{Ingress, IngressRule, IngressSpec};
use metricsd_discovery::groups::target_at;
use metricsd_discovery::provider::{FoundLabels, TargetGroup};

use super::{name, put, put_meta, put_some};

/// The path of a rule that has none.
const ROOT: &str = "/";

pub(super) fn group(ingress: &Ingress) -> TargetGroup {
    let mut labels = FoundLabels::new();
    put(&mut labels, "ingress_name", name(&ingress.metadata));
    put_meta(&mut labels, "ingress", &ingress.metadata);
    let mut targets = Vec::new();
    if let Some(spec) = &ingress.spec {
        put_some(&mut labels, "ingress_class_name", spec.ingress_class_name.as_ref());
        let rules = spec.rules.iter().flatten();
        targets.extend(rules.flat_map(|rule| paths(rule).into_iter().map(|path| target(spec, rule, path))));
    }
    TargetGroup { labels, targets, ..TargetGroup::default() }
}

fn paths(rule: &IngressRule) -> Vec<&str> {
    let paths = rule.http.iter().flat_map(|http| &http.paths);
    let paths: Vec<&str> =
        paths.map(|path| path.path.as_deref().filter(|path| !path.is_empty()).unwrap_or(ROOT)).collect();
    if paths.is_empty() { vec![ROOT] } else { paths }
}

fn target(spec: &IngressSpec, rule: &IngressRule, path: &str) -> FoundLabels {
    // A rule for any host has no address of its own; relabelling may give one.
    let host = rule.host.as_deref().unwrap_or_default();
    let tls = spec.tls.iter().flatten().flat_map(|tls| tls.hosts.iter().flatten());
    let secure = tls.into_iter().any(|pattern| covers(pattern, host));
    let mut target = target_at(host.to_owned());
    put(&mut target, "ingress_scheme", if secure { "https" } else { "http" });
    put(&mut target, "ingress_host", host);
    put(&mut target, "ingress_path", path);
    target
}

/// Whether a host of `tls` is that of a rule; `*.` stands for one part of a name.
fn covers(pattern: &str, host: &str) -> bool {
    if pattern == host {
        return true;
    }
    let parent = |name: &'_ str| name.split_once('.').map(|(_, parent)| parent.to_owned());
    pattern.starts_with("*.") && parent(pattern) == parent(host)
}
