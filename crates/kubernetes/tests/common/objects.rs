//! The objects of a small cluster, as the API takes them.

use serde_json::{Value, json};

pub const NODES: &str = "/api/v1/nodes";
pub const NAMESPACES: &str = "/api/v1/namespaces";

/// The collection of one kind in namespace `shop`.
pub fn shop(kind: &str) -> String {
    match kind {
        "endpointslices" => format!("/apis/discovery.k8s.io/v1/namespaces/shop/{kind}"),
        "ingresses" => format!("/apis/networking.k8s.io/v1/namespaces/shop/{kind}"),
        _ => format!("/api/v1/namespaces/shop/{kind}"),
    }
}

pub fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": name, "labels": {"team": "blue"}, "annotations": {"cost/center": "7"}
    }})
}

pub fn node() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "node1", "labels": {"topology.kubernetes.io/zone": "z1"}, "annotations": {"note": ""}},
        "spec": {"providerID": "cloud://n1"},
        "status": {
            "addresses": [
                {"type": "Hostname", "address": "node1"}, {"type": "ExternalIP", "address": "1.2.3.4"},
                {"type": "InternalIP", "address": "10.0.0.1"}, {"type": "InternalIP", "address": "10.0.0.2"}
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}}
        }
    })
}

/// A pod with two containers, three ports and an init container, scheduled and with an address.
pub fn pod(name: &str, ip: &str, ready: &str) -> Value {
    let ips: Vec<Value> = Some(json!({"ip": ip})).filter(|_| !ip.is_empty()).into_iter().collect();
    let status = |name: &str| {
        json!({
            "name": name, "containerID": format!("containerd://{name}"), "image": "i", "imageID": "i", "ready": true,
            "restartCount": 0
        })
    };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "shop", "labels": {"app.kubernetes.io/name": "web"},
            "annotations": {"prometheus.io/scrape": "true"}, "finalizers": ["test/keep"],
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "controller": true,
                "uid": "a33a33a3-0000-0000-0000-000000000001"
            }]
        },
        "spec": {
            "nodeName": "node1",
            "initContainers": [{"name": "init", "image": "init:1"}],
            "containers": [
                {"name": "app", "image": "app:1", "ports": [
                    {"name": "http", "containerPort": 8080, "protocol": "TCP"}, {"containerPort": 9090, "protocol": "TCP"}
                ]},
                {"name": "log", "image": "log:1", "ports": [{"name": "gelf", "containerPort": 12201, "protocol": "UDP"}]}
            ]
        },
        "status": {
            "phase": "Running", "podIP": ip, "podIPs": ips, "hostIP": "10.0.0.1", "hostIPs": [{"ip": "10.0.0.1"}],
            "conditions": [
                {"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": ready}
            ],
            "containerStatuses": [status("app"), status("log")],
            "initContainerStatuses": [status("init")]
        }
    })
}

pub fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"tier": "front"}, "annotations": {"a-b": "c"}},
        "spec": {
            "type": "ClusterIP", "clusterIP": "10.0.7.7", "clusterIPs": ["10.0.7.7"],
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}, {"name": "dns", "port": 53, "protocol": "UDP"}]
        }
    })
}

pub fn external_service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "away", "namespace": "shop"},
        "spec": {"type": "ExternalName", "externalName": "db.example.org", "ports": [{"port": 5432, "protocol": "TCP"}]}
    })
}

pub fn endpoints() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web", "namespace": "shop", "labels": {"e": "1"}},
        "subsets": [{
            "addresses": [{
                "ip": "10.2.0.1", "nodeName": "node1", "hostname": "web-a",
                "targetRef": {"kind": "Pod", "name": "web-a", "namespace": "shop"}
            }],
            "notReadyAddresses": [{"ip": "10.9.9.9"}],
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]
        }]
    })
}

pub fn slice() -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "web-x", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
        "endpoints": [
            {
                "addresses": ["10.2.0.1"], "nodeName": "node1", "zone": "z1", "hostname": "web-a",
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "targetRef": {"kind": "Pod", "name": "web-a", "namespace": "shop"}
            },
            {"addresses": ["10.9.9.9"], "conditions": {"ready": false, "serving": true, "terminating": true}}
        ],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP", "appProtocol": "http"}]
    })
}

pub fn ingress() -> Value {
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    let path = |path: &str| json!({"path": path, "pathType": "Prefix", "backend": backend});
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": "front", "namespace": "shop", "labels": {"i": "1"}},
        "spec": {
            "ingressClassName": "nginx",
            "tls": [{"hosts": ["safe.example.org", "*.wild.example.org"]}],
            "rules": [
                {"host": "safe.example.org", "http": {"paths": [path("/"), path("/api")]}},
                {"host": "a.wild.example.org", "http": {"paths": [path("/")]}},
                {"host": "a.b.wild.example.org", "http": {"paths": [path("/")]}},
                {"host": "plain.example.org"},
                {"http": {"paths": [path("/any")]}}
            ]
        }
    })
}

/// Everything, each object with its collection.
pub fn all() -> Vec<(String, Value)> {
    vec![
        (NODES.to_owned(), node()),
        (NAMESPACES.to_owned(), namespace("shop")),
        (shop("pods"), pod("web-a", "10.2.0.1", "True")),
        (shop("pods"), pod("web-b", "", "False")),
        (shop("services"), service()),
        (shop("services"), external_service()),
        (shop("endpoints"), endpoints()),
        (shop("endpointslices"), slice()),
        (shop("ingresses"), ingress()),
    ]
}
