//! One target a port of a container.

use k8s_openapi::api::core::v1::{Container, ContainerPort, Pod};
use metricsd_discovery::groups::{host_port, target_at};
use metricsd_discovery::provider::{FoundLabels, LIFECYCLE_LABEL, Lifecycle, TargetGroup};

use super::{Attach, name, put, put_meta, put_node, put_some, truth};
use crate::world::Lookup;

pub(super) fn group(pod: &Pod, attach: Attach, lookup: &Lookup<'_>) -> TargetGroup {
    let mut labels = labels(pod);
    if attach.node
        && let Some(node) = node_name(pod)
    {
        put_node(&mut labels, node, lookup);
    }
    // A pod without an address is not on the network yet.
    let targets =
        ip(pod).map(|ip| containers(pod).flat_map(|container| targets(pod, ip, container)).collect());
    TargetGroup { labels, targets: targets.unwrap_or_default(), ..TargetGroup::default() }
}

/// What every target of a pod has.
pub(super) fn labels(pod: &Pod) -> FoundLabels {
    let mut labels = FoundLabels::new();
    let status = pod.status.as_ref();
    put(&mut labels, "pod_name", name(&pod.metadata));
    put_some(&mut labels, "pod_ip", status.and_then(|status| status.pod_ip.as_ref()));
    put_some(&mut labels, "pod_host_ip", status.and_then(|status| status.host_ip.as_ref()));
    put_some(&mut labels, "pod_phase", status.and_then(|status| status.phase.as_ref()));
    put_some(&mut labels, "pod_uid", pod.metadata.uid.as_ref());
    put(&mut labels, "pod_ready", readiness(pod));
    put(&mut labels, "pod_node_name", node_name(pod).unwrap_or_default());
    let owners = pod.metadata.owner_references.as_deref().unwrap_or_default();
    if let Some(controller) = owners.iter().find(|owner| owner.controller == Some(true)) {
        put(&mut labels, "pod_controller_kind", controller.kind.as_str());
        put(&mut labels, "pod_controller_name", controller.name.as_str());
    }
    put_meta(&mut labels, "pod", &pod.metadata);
    let lifecycle = lifecycle(pod);
    if lifecycle != Lifecycle::Unknown {
        labels.insert(LIFECYCLE_LABEL.to_owned(), lifecycle.as_str().to_owned());
    }
    labels
}

/// The containers of a pod; with each, whether it only prepares the others.
pub(super) fn containers(pod: &Pod) -> impl Iterator<Item = (&Container, bool)> {
    let spec = pod.spec.iter();
    let main = spec.clone().flat_map(|spec| &spec.containers).map(|container| (container, false));
    main.chain(spec.flat_map(|spec| spec.init_containers.iter().flatten()).map(|container| (container, true)))
}

pub(super) fn ip(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.pod_ip.as_deref().filter(|ip| !ip.is_empty())
}

pub(super) fn node_name(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

/// A target for each port of a container, or one without a port where it declares none.
fn targets(pod: &Pod, ip: &str, (container, init): (&Container, bool)) -> Vec<FoundLabels> {
    let ports = container.ports.as_deref().unwrap_or_default();
    if ports.is_empty() {
        let mut target = target_at(ip.to_owned());
        put_container(&mut target, pod, container, init);
        return vec![target];
    }
    ports.iter().map(|port| port_target(pod, ip, container, init, port)).collect()
}

/// The target at one port of a container.
pub(super) fn port_target(
    pod: &Pod,
    ip: &str,
    container: &Container,
    init: bool,
    port: &ContainerPort,
) -> FoundLabels {
    let mut target = target_at(host_port(ip, u16::try_from(port.container_port).unwrap_or(0)));
    put_container(&mut target, pod, container, init);
    put_port(&mut target, port);
    target
}

pub(super) fn put_container(labels: &mut FoundLabels, pod: &Pod, container: &Container, init: bool) {
    put(labels, "pod_container_name", container.name.as_str());
    put_some(labels, "pod_container_image", container.image.as_ref());
    put(labels, "pod_container_init", truth(init));
    let statuses = pod.status.as_ref().and_then(|status| {
        if init { status.init_container_statuses.as_deref() } else { status.container_statuses.as_deref() }
    });
    let status = statuses.unwrap_or_default().iter().find(|status| status.name == container.name);
    put_some(labels, "pod_container_id", status.and_then(|status| status.container_id.as_ref()));
}

pub(super) fn put_port(labels: &mut FoundLabels, port: &ContainerPort) {
    put_some(labels, "pod_container_port_name", port.name.as_ref());
    put(labels, "pod_container_port_number", port.container_port.to_string());
    put(labels, "pod_container_port_protocol", port.protocol.as_deref().unwrap_or("TCP"));
}

/// `true`, `false` or `unknown`.
fn readiness(pod: &Pod) -> String {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
    ready.map_or_else(|| "unknown".to_owned(), |condition| condition.status.to_lowercase())
}

fn lifecycle(pod: &Pod) -> Lifecycle {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if matches!(phase, Some("Succeeded" | "Failed")) {
        return Lifecycle::Unknown;
    }
    match readiness(pod).as_str() {
        _ if pod.metadata.deletion_timestamp.is_some() => Lifecycle::Ending,
        "true" => Lifecycle::Ready,
        _ => Lifecycle::Starting,
    }
}
