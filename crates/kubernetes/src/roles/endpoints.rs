//! One target an address and port of an `Endpoints`, and the other ports of the pods behind it.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, Endpoints, ObjectReference, Pod};
use metricsd_discovery::groups::{host_port, target_at};
use metricsd_discovery::provider::{FoundLabels, TargetGroup};

use super::{Attach, name, namespace, pod, put, put_meta, put_node, put_some, service, truth};
use crate::world::Lookup;

pub(super) fn group(endpoints: &Endpoints, attach: Attach, lookup: &Lookup<'_>) -> TargetGroup {
    let (name, namespace) = (name(&endpoints.metadata), namespace(&endpoints.metadata));
    let mut labels = FoundLabels::new();
    put(&mut labels, "endpoints_name", name);
    put_meta(&mut labels, "endpoints", &endpoints.metadata);
    // The service has the same name.
    labels.extend(lookup.service(namespace, name).map(service::labels).unwrap_or_default());
    let mut behind = Behind::new(namespace, attach, lookup);
    let mut targets = Vec::new();
    for subset in endpoints.subsets.iter().flatten() {
        let ready = subset.addresses.iter().flatten().map(|address| (address, true));
        let others = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
        for port in subset.ports.iter().flatten() {
            let all = ready.clone().chain(others.clone());
            targets.extend(all.map(|(address, ready)| target(address, ready, port, &mut behind)));
        }
    }
    targets.extend(behind.other_ports());
    TargetGroup { labels, targets, ..TargetGroup::default() }
}

fn target(
    address: &EndpointAddress,
    ready: bool,
    port: &EndpointPort,
    behind: &mut Behind<'_>,
) -> FoundLabels {
    let mut target = target_at(host_port(&address.ip, u16::try_from(port.port).unwrap_or(0)));
    put(&mut target, "endpoint_ready", truth(ready));
    put_some(&mut target, "endpoint_hostname", address.hostname.as_ref());
    put_some(&mut target, "endpoint_node_name", address.node_name.as_ref());
    put_some(&mut target, "endpoint_port_name", port.name.as_ref());
    put(&mut target, "endpoint_port_protocol", port.protocol.as_deref().unwrap_or("TCP"));
    if let Some(reference) = &address.target_ref {
        put_some(&mut target, "endpoint_address_target_kind", reference.kind.as_ref());
        put_some(&mut target, "endpoint_address_target_name", reference.name.as_ref());
    }
    behind.add(&mut target, address.target_ref.as_ref(), address.node_name.as_deref(), Some(port.port));
    target
}

/// What is behind addresses: pods, and the nodes that they are on.
pub(super) struct Behind<'w> {
    namespace: &'w str,
    attach: Attach,
    lookup: &'w Lookup<'w>,
    /// Pods that were met, with the ports that have a target already.
    pods: Vec<(&'w Pod, HashSet<i32>)>,
}

impl<'w> Behind<'w> {
    pub(super) fn new(namespace: &'w str, attach: Attach, lookup: &'w Lookup<'w>) -> Self {
        Self { namespace, attach, lookup, pods: Vec::new() }
    }

    /// Adds labels of the node and the pod behind an address, and of the container behind its port.
    pub(super) fn add(
        &mut self,
        target: &mut FoundLabels,
        reference: Option<&ObjectReference>,
        node_name: Option<&str>,
        port: Option<i32>,
    ) {
        let named = |kind: &str| {
            let reference = reference.filter(|reference| reference.kind.as_deref() == Some(kind))?;
            Some((reference.namespace.as_deref().unwrap_or(self.namespace), reference.name.as_deref()?))
        };
        if self.attach.node
            && let Some(node) = node_name.or(named("Node").map(|(_, name)| name))
        {
            put_node(target, node, self.lookup);
        }
        let Some(found) = named("Pod").and_then(|(namespace, name)| self.lookup.pod(namespace, name)) else {
            return;
        };
        target.extend(pod::labels(found));
        let place = self.pods.iter().position(|(known, _)| std::ptr::eq(*known, found));
        let place = place.unwrap_or_else(|| {
            self.pods.push((found, HashSet::new()));
            self.pods.len() - 1
        });
        if let (Some((_, seen)), Some(port)) = (self.pods.get_mut(place), port) {
            seen.insert(port);
            put_container_at(target, found, port);
        }
    }

    /// Targets at the ports of the pods that no address has named.
    pub(super) fn other_ports(self) -> Vec<FoundLabels> {
        let mut targets = Vec::new();
        for (found, seen) in self.pods {
            let Some(ip) = pod::ip(found) else { continue };
            for (container, init) in pod::containers(found) {
                let ports =
                    container.ports.iter().flatten().filter(|port| !seen.contains(&port.container_port));
                for port in ports {
                    let mut target = pod::labels(found);
                    if self.attach.node
                        && let Some(node) = pod::node_name(found)
                    {
                        put_node(&mut target, node, self.lookup);
                    }
                    target.extend(pod::port_target(found, ip, container, init, port));
                    targets.push(target);
                }
            }
        }
        targets
    }
}

/// The container that listens at a port.
fn put_container_at(target: &mut FoundLabels, found: &Pod, number: i32) {
    for (container, init) in pod::containers(found) {
        let port = container.ports.iter().flatten().find(|port| port.container_port == number);
        if let Some(port) = port {
            pod::put_container(target, found, container, init);
            pod::put_port(target, port);
            return;
        }
    }
}
