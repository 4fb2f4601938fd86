//! A stand-in for the API server over real HTTP: lists in pages, watches with bookmarks from a resourceVersion, 410 Gone for
//! versions that were forgotten, selectors by equality. What it lacks of the real one no test here needs.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures::stream;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

/// How often a watch that asks for bookmarks gets one.
const BOOKMARKS: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Cluster {
    version: u64,
    /// Watches from before this version get 410 Gone.
    oldest: u64,
    /// By collection without its namespace, namespace and name.
    objects: BTreeMap<(String, String, String), Value>,
    /// What has changed: version, collection, before, after.
    history: Vec<(u64, String, Option<Value>, Option<Value>)>,
    away: bool,
    /// Ends every watch that was begun before the last change of it.
    epoch: u64,
    asked: Vec<String>,
}

#[derive(Clone)]
pub struct StandIn {
    cluster: Arc<Mutex<Cluster>>,
    changed: Arc<watch::Sender<()>>,
}

impl StandIn {
    /// Starts it on a port of loopback; its address.
    pub async fn start() -> (Self, String) {
        let cluster = Cluster { version: 100, oldest: 1, ..Cluster::default() };
        let stand_in = Self { cluster: Arc::new(Mutex::new(cluster)), changed: Arc::default() };
        let router = Router::new().fallback(answer).with_state(stand_in.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (stand_in, url)
    }

    /// Creates or replaces an object of a collection.
    pub fn put(&self, collection: &str, mut object: Value) {
        let (plural, namespace) = split(collection);
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        self.change(|cluster| {
            cluster.version += 1;
            object["metadata"]["resourceVersion"] = json!(cluster.version.to_string());
            let before = cluster.objects.insert((plural.clone(), namespace, name), object.clone());
            cluster.history.push((cluster.version, plural, before, Some(object)));
        });
    }

    pub fn delete(&self, collection: &str, name: &str) {
        let (plural, namespace) = split(collection);
        self.change(|cluster| {
            cluster.version += 1;
            let before = cluster.objects.remove(&(plural.clone(), namespace, name.to_owned()));
            assert!(before.is_some(), "{name} is there");
            cluster.history.push((cluster.version, plural, before, None));
        });
    }

    /// Forgets its history and ends every watch: those who ask for more get 410 Gone.
    pub fn forget(&self) {
        self.change(|cluster| {
            cluster.version += 10;
            cluster.oldest = cluster.version;
            cluster.history.clear();
            cluster.epoch += 1;
        });
    }

    /// Ends every watch in good order.
    pub fn end_watches(&self) {
        self.change(|cluster| cluster.epoch += 1);
    }

    /// Ends every watch and answers 503, or answers again.
    pub fn set_away(&self, away: bool) {
        self.change(|cluster| {
            cluster.away = away;
            cluster.epoch += 1;
        });
    }

    /// Takes the requests since the last time.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.cluster.lock().asked)
    }

    fn change(&self, change: impl FnOnce(&mut Cluster)) {
        change(&mut self.cluster.lock());
        self.changed.send_replace(());
    }
}

/// `/api/v1/namespaces/shop/pods` -> (`/api/v1/pods`, `shop`); the namespace of everything else is empty.
fn split(path: &str) -> (String, String) {
    let Some((root, rest)) = path.split_once("/namespaces/") else { return (path.to_owned(), String::new()) };
    let (namespace, plural) = rest.split_once('/').unwrap();
    (format!("{root}/{plural}"), namespace.to_owned())
}

/// What a request selects.
#[derive(Clone)]
struct Selection {
    plural: String,
    namespace: String,
    label: Option<String>,
    field: Option<String>,
}

impl Selection {
    fn takes(&self, object: &Value) -> bool {
        let meta = &object["metadata"];
        let equal = |selector: &Option<String>, value: &dyn Fn(&str) -> Value| {
            selector.as_ref().is_none_or(|selector| {
                let (name, wanted) = selector.split_once('=').unwrap();
                value(name) == json!(wanted)
            })
        };
        (self.namespace.is_empty() || meta["namespace"] == json!(self.namespace))
            && equal(&self.label, &|name| meta["labels"][name].clone())
            && equal(&self.field, &|path| {
                path.split('.').fold(object.clone(), |value, part| value[part].clone())
            })
    }
}

async fn answer(
    State(server): State<StandIn>,
    uri: Uri,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let mut shown: Vec<_> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    shown.sort();
    server.cluster.lock().asked.push(format!("{} {}", uri.path(), shown.join(" ")));
    if server.cluster.lock().away {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let (plural, namespace) = split(uri.path());
    let selector = |name: &str| query.get(name).filter(|selector| !selector.is_empty()).cloned();
    let selection =
        Selection { plural, namespace, label: selector("labelSelector"), field: selector("fieldSelector") };
    if query.get("watch").is_some_and(|watch| watch == "true") {
        watch(&server, selection, &query)
    } else {
        list(&server, &selection, &query)
    }
}

fn list(server: &StandIn, selection: &Selection, query: &HashMap<String, String>) -> Response {
    let cluster = server.cluster.lock();
    let skip: usize = query.get("continue").and_then(|token| token.parse().ok()).unwrap_or(0);
    let limit: usize = query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
    let all = cluster
        .objects
        .iter()
        .filter(|((plural, ..), object)| *plural == selection.plural && selection.takes(object));
    let mut items: Vec<_> = all.map(|(_, object)| object.clone()).skip(skip).collect();
    let more = items.len() > limit;
    items.truncate(limit);
    let token = if more { (skip + limit).to_string() } else { String::new() };
    let body = json!({
        "apiVersion": "v1", "kind": "List", "items": items,
        "metadata": {"resourceVersion": cluster.version.to_string(), "continue": token}
    });
    ([("content-type", "application/json")], body.to_string()).into_response()
}

fn gone() -> Value {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Expired", "code": 410,
        "message": "too old resource version"
    });
    json!({"type": "ERROR", "object": status})
}

fn watch(server: &StandIn, selection: Selection, query: &HashMap<String, String>) -> Response {
    let from: u64 = query.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
    let bookmarks = query.get("allowWatchBookmarks").is_some_and(|asked| asked == "true");
    let epoch = server.cluster.lock().epoch;
    let (server, changed) = (server.clone(), server.changed.subscribe());
    let state = Some((from, changed));
    let lines = stream::unfold(state, move |state| {
        let (server, selection) = (server.clone(), selection.clone());
        async move {
            let (mut from, mut changed) = state?;
            loop {
                let mut text = String::new();
                let ended = {
                    let cluster = server.cluster.lock();
                    let expired = from < cluster.oldest;
                    if expired {
                        text = format!("{}\n", gone());
                    }
                    let start = from;
                    for (version, plural, before, after) in
                        cluster.history.iter().filter(|entry| entry.0 > start)
                    {
                        if !expired && *plural == selection.plural {
                            text.extend(event(&selection, before, after).map(|event| format!("{event}\n")));
                        }
                        from = *version;
                    }
                    expired || cluster.epoch != epoch
                };
                if ended && text.is_empty() {
                    return None;
                }
                if !text.is_empty() {
                    let next = (!ended).then_some((from, changed));
                    return Some((Ok::<_, Infallible>(text), next));
                }
                if tokio::time::timeout(BOOKMARKS, changed.changed()).await.is_err() && bookmarks {
                    let kind = if selection.plural.ends_with("pods") { "Pod" } else { "Object" };
                    let meta = json!({"resourceVersion": server.cluster.lock().version.to_string()});
                    from = server.cluster.lock().version;
                    let object = json!({"kind": kind, "apiVersion": "v1", "metadata": meta});
                    let text = format!("{}\n", json!({"type": "BOOKMARK", "object": object}));
                    return Some((Ok(text), Some((from, changed))));
                }
            }
        }
    });
    ([("content-type", "application/json")], Body::from_stream(lines)).into_response()
}

/// What a watch says of a change: an object that begins or ceases to be selected comes or goes.
fn event(selection: &Selection, before: &Option<Value>, after: &Option<Value>) -> Option<Value> {
    let takes = |object: &Option<Value>| object.clone().filter(|object| selection.takes(object));
    match (takes(before), takes(after)) {
        (None, Some(object)) => Some(json!({"type": "ADDED", "object": object})),
        (Some(_), Some(object)) => Some(json!({"type": "MODIFIED", "object": object})),
        (Some(object), None) => Some(json!({"type": "DELETED", "object": object})),
        (None, None) => None,
    }
}
