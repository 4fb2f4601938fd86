//! One target a node: its kubelet.

use k8s_openapi::api::core::v1::{Node, NodeAddress};
use metricsd_discovery::groups::{host_port, label_part, target_at};
use metricsd_discovery::provider::{FoundLabels, TargetGroup};

use super::{name, put, put_meta, put_some};

/// Kinds of addresses, the best first.
const ADDRESS_TYPES: [&str; 6] =
    ["InternalIP", "InternalDNS", "ExternalIP", "ExternalDNS", "LegacyHostIP", "Hostname"];

pub(super) fn group(node: &Node) -> TargetGroup {
    let name = name(&node.metadata);
    let mut labels = FoundLabels::new();
    put(&mut labels, "node_name", name);
    put_some(&mut labels, "node_provider_id", node.spec.as_ref().and_then(|spec| spec.provider_id.as_ref()));
    put_meta(&mut labels, "node", &node.metadata);
    let status = node.status.as_ref();
    let addresses = status.and_then(|status| status.addresses.as_deref()).unwrap_or_default();
    let kubelet = status.and_then(|status| status.daemon_endpoints.as_ref()?.kubelet_endpoint.as_ref());
    let port = kubelet.and_then(|kubelet| u16::try_from(kubelet.port).ok()).unwrap_or(0);
    let target = best(addresses).map(|best| {
        let mut target = target_at(host_port(&best.address, port));
        target.insert("instance".to_owned(), name.to_owned());
        // The first of each type.
        for address in addresses.iter().rev() {
            put(
                &mut target,
                &format!("node_address_{}", label_part(&address.type_)),
                address.address.as_str(),
            );
        }
        target
    });
    TargetGroup { labels, targets: target.into_iter().collect(), ..TargetGroup::default() }
}

fn best(addresses: &[NodeAddress]) -> Option<&NodeAddress> {
    ADDRESS_TYPES.iter().find_map(|wanted| addresses.iter().find(|address| address.type_ == *wanted))
}
