//! One target a port of a service.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use metricsd_discovery::groups::target_at;
use metricsd_discovery::provider::{FoundLabels, TargetGroup};

use super::{name, namespace, put, put_meta, put_some};

pub(super) fn group(service: &Service) -> TargetGroup {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let targets =
        service.spec.as_ref().map(|spec| ports.iter().map(|port| target(service, spec, port)).collect());
    TargetGroup { labels: labels(service), targets: targets.unwrap_or_default(), ..TargetGroup::default() }
}

/// What every target of a service has, and every target behind it.
pub(super) fn labels(service: &Service) -> FoundLabels {
    let mut labels = FoundLabels::new();
    put(&mut labels, "service_name", name(&service.metadata));
    put_meta(&mut labels, "service", &service.metadata);
    labels
}

fn target(service: &Service, spec: &ServiceSpec, port: &ServicePort) -> FoundLabels {
    let (name, namespace) = (name(&service.metadata), namespace(&service.metadata));
    let mut target = target_at(format!("{name}.{namespace}.svc:{}", port.port));
    put_some(&mut target, "service_port_name", port.name.as_ref());
    put(&mut target, "service_port_number", port.port.to_string());
    put(&mut target, "service_port_protocol", port.protocol.as_deref().unwrap_or("TCP"));
    let kind = spec.type_.as_deref().unwrap_or("ClusterIP");
    put(&mut target, "service_type", kind);
    if kind == "ExternalName" {
        put_some(&mut target, "service_external_name", spec.external_name.as_ref());
    } else {
        put_some(&mut target, "service_cluster_ip", spec.cluster_ip.as_ref());
    }
    if kind == "LoadBalancer" {
        put_some(&mut target, "service_loadbalancer_ip", spec.load_balancer_ip.as_ref());
    }
    target
}
