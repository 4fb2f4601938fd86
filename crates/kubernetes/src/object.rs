//! Objects of the API, reduced to what labels are made of: heartbeats and other noise change nothing, and tens of thousands
//! of pods fit into memory.

use k8s_openapi::api::core::v1::{
    Container, ContainerStatus, Endpoints, Namespace, Node, NodeSpec, NodeStatus, Pod, PodSpec, PodStatus,
    Service,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Kinds that are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Node,
    Namespace,
    Pod,
    Service,
    Endpoints,
    EndpointSlice,
    Ingress,
}

/// Which object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) kind: Kind,
    /// Empty for nodes and namespaces.
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// An object.
#[expect(
    clippy::large_enum_variant,
    reason = "the largest are pods, of which there are most; each is allocated by itself"
)]
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Object {
    Node(Node),
    Namespace(Namespace),
    Pod(Pod),
    Service(Service),
    Endpoints(Endpoints),
    EndpointSlice(EndpointSlice),
    Ingress(Ingress),
}

impl Key {
    pub(crate) fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl Object {
    pub(crate) fn key(&self) -> Key {
        let kind = match self {
            Self::Node(_) => Kind::Node,
            Self::Namespace(_) => Kind::Namespace,
            Self::Pod(_) => Kind::Pod,
            Self::Service(_) => Kind::Service,
            Self::Endpoints(_) => Kind::Endpoints,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Ingress(_) => Kind::Ingress,
        };
        let meta = self.meta();
        Key::new(
            kind,
            meta.namespace.as_deref().unwrap_or_default(),
            meta.name.as_deref().unwrap_or_default(),
        )
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Node(object) => &object.metadata,
            Self::Namespace(object) => &object.metadata,
            Self::Pod(object) => &object.metadata,
            Self::Service(object) => &object.metadata,
            Self::Endpoints(object) => &object.metadata,
            Self::EndpointSlice(object) => &object.metadata,
            Self::Ingress(object) => &object.metadata,
        }
    }

    /// Without what no label is made of.
    pub(crate) fn reduced(self) -> Self {
        match self {
            Self::Node(node) => Self::Node(Node {
                metadata: meta(node.metadata),
                spec: node.spec.map(|spec| NodeSpec { provider_id: spec.provider_id, ..NodeSpec::default() }),
                status: node.status.map(|status| NodeStatus {
                    addresses: status.addresses,
                    daemon_endpoints: status.daemon_endpoints,
                    ..NodeStatus::default()
                }),
            }),
            Self::Namespace(object) => {
                Self::Namespace(Namespace { metadata: meta(object.metadata), ..Namespace::default() })
            }
            Self::Pod(pod) => Self::Pod(Pod {
                metadata: meta(pod.metadata),
                spec: pod.spec.map(pod_spec),
                status: pod.status.map(pod_status),
            }),
            Self::Service(object) => Self::Service(Service {
                metadata: meta(object.metadata),
                spec: object.spec,
                ..Service::default()
            }),
            Self::Endpoints(object) => {
                Self::Endpoints(Endpoints { metadata: meta(object.metadata), ..object })
            }
            Self::EndpointSlice(object) => {
                Self::EndpointSlice(EndpointSlice { metadata: meta(object.metadata), ..object })
            }
            Self::Ingress(object) => Self::Ingress(Ingress {
                metadata: meta(object.metadata),
                spec: object.spec,
                ..Ingress::default()
            }),
        }
    }
}

fn meta(meta: ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: meta.name,
        namespace: meta.namespace,
        uid: meta.uid,
        labels: meta.labels,
        annotations: meta.annotations,
        owner_references: meta.owner_references,
        deletion_timestamp: meta.deletion_timestamp,
        ..ObjectMeta::default()
    }
}

fn pod_spec(spec: PodSpec) -> PodSpec {
    let container = |container: Container| Container {
        name: container.name,
        image: container.image,
        ports: container.ports,
        ..Container::default()
    };
    PodSpec {
        node_name: spec.node_name,
        containers: spec.containers.into_iter().map(container).collect(),
        init_containers: spec.init_containers.map(|all| all.into_iter().map(container).collect()),
        ..PodSpec::default()
    }
}

fn pod_status(status: PodStatus) -> PodStatus {
    let container = |status: ContainerStatus| ContainerStatus {
        name: status.name,
        container_id: status.container_id,
        ..ContainerStatus::default()
    };
    let containers =
        |all: Option<Vec<ContainerStatus>>| all.map(|all| all.into_iter().map(container).collect::<Vec<_>>());
    let ready =
        status.conditions.unwrap_or_default().into_iter().find(|condition| condition.type_ == "Ready");
    let ready = ready.map(|mut condition| {
        condition.last_probe_time = None;
        condition.last_transition_time = None;
        vec![condition]
    });
    PodStatus {
        phase: status.phase,
        pod_ip: status.pod_ip,
        host_ip: status.host_ip,
        conditions: ready,
        container_statuses: containers(status.container_statuses),
        init_container_statuses: containers(status.init_container_statuses),
        ..PodStatus::default()
    }
}
