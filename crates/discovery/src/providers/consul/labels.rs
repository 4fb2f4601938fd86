//! Instances of a service become targets.

use super::api::{Check, Instance};
use crate::config::ConsulSd;
use crate::groups::{host_port, label_part, target_at};
use crate::provider::{FoundLabels, TargetGroup};

const PREFIX: &str = "__meta_consul_";

/// The group of one service.
pub(super) fn group(service: &str, instances: Vec<Instance>, config: &ConsulSd) -> TargetGroup {
    TargetGroup {
        source: service.to_owned(),
        labels: FoundLabels::from([(format!("{PREFIX}service"), service.to_owned())]),
        targets: instances.into_iter().map(|instance| target(instance, config)).collect(),
    }
}

fn target(instance: Instance, config: &ConsulSd) -> FoundLabels {
    let Instance { node, service, checks } = instance;
    let host = if service.address.is_empty() { &node.address } else { &service.address };
    let mut labels = target_at(host_port(host, service.port));
    let separator = &config.tag_separator;
    let tags = service.tags.unwrap_or_default();
    // Separators all around let an expression find a whole tag.
    let tags = format!("{separator}{}{separator}", tags.join(separator));
    let datacenter = config.datacenter.clone().filter(|_| node.datacenter.is_empty());
    let mut put = |name: &str, value: String| labels.insert(format!("{PREFIX}{name}"), value);
    put("address", node.address);
    put("dc", datacenter.unwrap_or(node.datacenter));
    put("health", health(checks.as_deref().unwrap_or_default()).to_owned());
    put("namespace", service.namespace);
    put("node", node.node);
    put("partition", node.partition);
    put("service_address", service.address);
    put("service_id", service.id);
    put("service_port", service.port.to_string());
    put("tags", tags);
    for (kind, values) in [
        ("metadata", node.meta),
        ("service_metadata", service.meta),
        ("tagged_address", node.tagged_addresses),
    ] {
        for (name, value) in values.unwrap_or_default() {
            put(&format!("{kind}_{}", label_part(&name)), value);
        }
    }
    labels
}

/// The worst of all checks; `passing` where there is none.
fn health(checks: &[Check]) -> &'static str {
    let maintenance =
        |check: &Check| check.id == "_node_maintenance" || check.id.starts_with("_service_maintenance:");
    let any = |status: &str| checks.iter().any(|check| check.status == status);
    if checks.iter().any(maintenance) {
        "maintenance"
    } else if any("critical") {
        "critical"
    } else if any("warning") {
        "warning"
    } else {
        "passing"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_check_is_the_health() {
        let check = |id: &str, status: &str| Check { id: id.into(), status: status.into() };
        assert_eq!(health(&[]), "passing");
        let mut checks = vec![check("a", "passing"), check("b", "warning")];
        assert_eq!(health(&checks), "warning");
        checks.push(check("c", "critical"));
        assert_eq!(health(&checks), "critical");
        checks.push(check("_service_maintenance:web", "critical"));
        assert_eq!(health(&checks), "maintenance");
    }
}
