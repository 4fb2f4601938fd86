//! One target an address and port of an `EndpointSlice`, and the other ports of the pods behind it.

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use metricsd_discovery::groups::{host_port, label_part, target_at};
use metricsd_discovery::provider::{FoundLabels, LIFECYCLE_LABEL, Lifecycle, TargetGroup};

use super::endpoints::Behind;
use super::{Attach, name, namespace, put, put_meta, put_some, service, truth};
use crate::world::Lookup;

/// Label of a slice with the name of its service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

pub(super) fn group(slice: &EndpointSlice, attach: Attach, lookup: &Lookup<'_>) -> TargetGroup {
    let namespace = namespace(&slice.metadata);
    let mut labels = FoundLabels::new();
    put(&mut labels, "endpointslice_name", name(&slice.metadata));
    put(&mut labels, "endpointslice_address_type", slice.address_type.as_str());
    put_meta(&mut labels, "endpointslice", &slice.metadata);
    let service = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_LABEL));
    let service = service.and_then(|name| lookup.service(namespace, name));
    labels.extend(service.map(service::labels).unwrap_or_default());
    let mut behind = Behind::new(namespace, attach, lookup);
    let mut targets = Vec::new();
    for endpoint in &slice.endpoints {
        for port in slice.ports.iter().flatten() {
            let at = endpoint.addresses.iter().map(|address| target(address, endpoint, port, &mut behind));
            targets.extend(at);
        }
    }
    targets.extend(behind.other_ports());
    TargetGroup { labels, targets, ..TargetGroup::default() }
}

fn target(address: &str, endpoint: &Endpoint, port: &EndpointPort, behind: &mut Behind<'_>) -> FoundLabels {
    let number = port.port.and_then(|number| u16::try_from(number).ok());
    let mut target =
        target_at(number.map_or_else(|| address.to_owned(), |number| host_port(address, number)));
    put(&mut target, "endpointslice_port", number.map(|number| number.to_string()).unwrap_or_default());
    put_some(&mut target, "endpointslice_port_name", port.name.as_ref());
    put(&mut target, "endpointslice_port_protocol", port.protocol.as_deref().unwrap_or("TCP"));
    put_some(&mut target, "endpointslice_port_app_protocol", port.app_protocol.as_ref());
    put_conditions(&mut target, endpoint);
    put_some(&mut target, "endpointslice_endpoint_hostname", endpoint.hostname.as_ref());
    put_some(&mut target, "endpointslice_endpoint_node_name", endpoint.node_name.as_ref());
    put_some(&mut target, "endpointslice_endpoint_zone", endpoint.zone.as_ref());
    if let Some(reference) = &endpoint.target_ref {
        put_some(&mut target, "endpointslice_address_target_kind", reference.kind.as_ref());
        put_some(&mut target, "endpointslice_address_target_name", reference.name.as_ref());
    }
    for (name, value) in endpoint.deprecated_topology.iter().flatten() {
        let name = label_part(name);
        put(&mut target, &format!("endpointslice_endpoint_topology_{name}"), value.as_str());
        put(&mut target, &format!("endpointslice_endpoint_topology_present_{name}"), "true");
    }
    behind.add(&mut target, endpoint.target_ref.as_ref(), endpoint.node_name.as_deref(), port.port);
    target
}

fn put_conditions(target: &mut FoundLabels, endpoint: &Endpoint) {
    let Some(conditions) = &endpoint.conditions else { return };
    for (name, value) in [
        ("ready", conditions.ready),
        ("serving", conditions.serving),
        ("terminating", conditions.terminating),
    ] {
        put(
            target,
            &format!("endpointslice_endpoint_conditions_{name}"),
            value.map(truth).unwrap_or_default(),
        );
    }
    // Where there is a pod, it says this more precisely.
    let lifecycle = match (conditions.terminating, conditions.ready) {
        (Some(true), _) => Lifecycle::Ending,
        (_, Some(true)) => Lifecycle::Ready,
        (_, Some(false)) => Lifecycle::Starting,
        _ => return,
    };
    target.insert(LIFECYCLE_LABEL.to_owned(), lifecycle.as_str().to_owned());
}
