//! A stand-in for Consul's HTTP API: the catalogue and the health of services, with blocking queries.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

/// The catalogue at one index, and what was asked.
#[derive(Clone, Default)]
pub struct Consul {
    services: Arc<Mutex<BTreeMap<String, Vec<Value>>>>,
    index: Arc<watch::Sender<u64>>,
    down: Arc<Mutex<bool>>,
    pub asked: Arc<Mutex<Vec<String>>>,
}

impl Consul {
    pub fn new() -> Self {
        let consul = Self::default();
        consul.index.send_replace(10);
        consul
    }

    /// Its routes, below a prefix.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/consul/v1/catalog/services", get(catalog))
            .route("/consul/v1/health/service/{name}", get(health))
            .with_state(self.clone())
    }

    /// Has a service have these instances; none removes it.
    pub fn set(&self, name: &str, instances: Vec<Value>) {
        let mut services = self.services.lock();
        if instances.is_empty() {
            services.remove(name);
        } else {
            services.insert(name.to_owned(), instances);
        }
        self.index.send_modify(|index| *index += 1);
    }

    /// Answers 500, or no longer.
    pub fn set_down(&self, down: bool) {
        *self.down.lock() = down;
        self.index.send_modify(|index| *index += 1);
    }

    /// Starts to count anew, as a server that was restored does.
    pub fn restore(&self) {
        self.index.send_replace(3);
    }

    async fn answer(
        &self,
        url: String,
        query: &HashMap<String, String>,
        body: impl Fn() -> Value,
    ) -> Response {
        self.asked.lock().push(url);
        let mut index = self.index.subscribe();
        if let Some(known) = query.get("index").and_then(|index| index.parse::<u64>().ok()) {
            // An index that was never reached by this server answers at once.
            let changed = index.wait_for(|index| *index != known);
            let _ = tokio::time::timeout(Duration::from_secs(20), changed).await;
        }
        if *self.down.lock() {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        let index = index.borrow().to_string();
        ([("x-consul-index", index), ("content-type", "application/json".to_owned())], body().to_string())
            .into_response()
    }
}

async fn catalog(
    State(consul): State<Consul>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let token = headers.get("x-consul-token").and_then(|token| token.to_str().ok()).unwrap_or("none");
    let mut parameters: Vec<_> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    parameters.sort();
    let url = format!("services {} token={token}", parameters.join("&"));
    let tags = |instances: &Vec<Value>| {
        let tags = instances.iter().flat_map(|instance| instance["Service"]["Tags"].as_array().cloned());
        tags.flatten().collect::<Vec<_>>()
    };
    let body = || {
        let services = consul.services.lock();
        json!(services.iter().map(|(name, all)| (name, tags(all))).collect::<BTreeMap<_, _>>())
    };
    consul.answer(url, &query, body).await
}

async fn health(
    State(consul): State<Consul>,
    Path(name): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let body = || json!(consul.services.lock().get(&name).cloned().unwrap_or_default());
    consul.answer(format!("health {name}"), &query, body).await
}

/// An instance on a node of its own.
pub fn instance(service: &str, address: &str, port: u16, tags: &[&str], status: &str) -> Value {
    json!({
        "Node": {
            "ID": "40e4a748-2192-161a-0510-9bf59fe950b5", "Node": "n1", "Address": "10.1.0.1", "Datacenter": "dc1",
            "Partition": "default", "TaggedAddresses": {"lan": "10.1.0.1", "wan-v4": "1.2.3.4"},
            "Meta": {"rack.id": "r7"}, "CreateIndex": 4, "ModifyIndex": 5
        },
        "Service": {
            "ID": format!("{service}-1"), "Service": service, "Tags": tags, "Address": address, "Port": port,
            "Namespace": "default", "Meta": {"version": "2"}, "Weights": {"Passing": 1, "Warning": 1}
        },
        "Checks": [{"Node": "n1", "CheckID": "serfHealth", "Name": "Serf", "Status": status, "ServiceID": ""}]
    })
}
