//! Objects become groups of targets, with the labels that Prometheus documents for each role.

mod endpoints;
mod endpointslice;
mod ingress;
mod node;
mod pod;
mod service;

use std::collections::HashSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use metricsd_discovery::config::KubernetesRole;
use metricsd_discovery::groups::label_part;
use metricsd_discovery::provider::{FoundLabels, TargetGroup};

use crate::object::{Key, Kind, Object};
use crate::world::{Lookup, World};

/// Before every label.
const PREFIX: &str = "__meta_kubernetes_";

/// What is added to targets.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Attach {
    pub(crate) node: bool,
    pub(crate) namespace: bool,
}

/// The kind of objects that become groups.
pub(crate) fn kind(role: KubernetesRole) -> Kind {
    match role {
        KubernetesRole::Node => Kind::Node,
        KubernetesRole::Service => Kind::Service,
        KubernetesRole::Pod => Kind::Pod,
        KubernetesRole::Endpoints => Kind::Endpoints,
        KubernetesRole::EndpointSlice => Kind::EndpointSlice,
        KubernetesRole::Ingress => Kind::Ingress,
    }
}

/// The group of one object, without targets where it is gone; and what else it was made of.
pub(crate) fn group(key: &Key, world: &World, attach: Attach) -> (TargetGroup, HashSet<Key>) {
    let lookup = Lookup::new(world);
    let object = world.object(key);
    let mut group = match object.as_deref() {
        None | Some(Object::Namespace(_)) => TargetGroup::default(),
        Some(Object::Node(node)) => node::group(node),
        Some(Object::Pod(pod)) => pod::group(pod, attach, &lookup),
        Some(Object::Service(service)) => service::group(service),
        Some(Object::Endpoints(endpoints)) => endpoints::group(endpoints, attach, &lookup),
        Some(Object::EndpointSlice(slice)) => endpointslice::group(slice, attach, &lookup),
        Some(Object::Ingress(ingress)) => ingress::group(ingress),
    };
    if !key.namespace.is_empty() && object.is_some() {
        group.labels.insert(format!("{PREFIX}namespace"), key.namespace.clone());
        if attach.namespace
            && let Some(namespace) = lookup.namespace(&key.namespace)
        {
            put_meta(&mut group.labels, "namespace", &namespace.metadata);
        }
    }
    group.source = source(key);
    (group, lookup.used())
}

fn source(key: &Key) -> String {
    let kind = match key.kind {
        Kind::Node => return format!("node/{}", key.name),
        Kind::Namespace => return format!("namespace/{}", key.name),
        Kind::Pod => "pod",
        Kind::Service => "svc",
        Kind::Endpoints => "endpoints",
        Kind::EndpointSlice => "endpointslice",
        Kind::Ingress => "ingress",
    };
    format!("{kind}/{}/{}", key.namespace, key.name)
}

/// Puts a label; one without a value is none.
fn put(labels: &mut FoundLabels, name: &str, value: impl Into<String>) {
    let value = value.into();
    if !value.is_empty() {
        labels.insert(format!("{PREFIX}{name}"), value);
    }
}

/// Puts a label where there is a value.
fn put_some(labels: &mut FoundLabels, name: &str, value: Option<&String>) {
    if let Some(value) = value {
        put(labels, name, value.as_str());
    }
}

/// Labels and annotations of an object, and that it has each, even where its value is empty.
fn put_meta(labels: &mut FoundLabels, object: &str, meta: &ObjectMeta) {
    for (what, values) in [("label", &meta.labels), ("annotation", &meta.annotations)] {
        for (name, value) in values.iter().flatten() {
            let name = label_part(name);
            labels.insert(format!("{PREFIX}{object}_{what}_{name}"), value.clone());
            labels.insert(format!("{PREFIX}{object}_{what}present_{name}"), "true".to_owned());
        }
    }
}

/// What a group says of a node that its targets are on.
fn put_node(labels: &mut FoundLabels, name: &str, lookup: &Lookup<'_>) {
    if let Some(node) = lookup.node(name) {
        put(labels, "node_name", name);
        put_meta(labels, "node", &node.metadata);
    }
}

fn name(meta: &ObjectMeta) -> &str {
    meta.name.as_deref().unwrap_or_default()
}

fn namespace(meta: &ObjectMeta) -> &str {
    meta.namespace.as_deref().unwrap_or_default()
}

fn truth(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}
