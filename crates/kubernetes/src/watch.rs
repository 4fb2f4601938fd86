//! Lists and watches one kind of objects in one namespace.

use std::fmt::Debug;
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt};
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use crate::object::{Kind, Object};

/// A watch is asked for anew after this long, from where it was: a connection that has silently died shows by then.
pub(crate) const WATCH_TIMEOUT: Duration = Duration::from_secs(120);
/// The first wait after a failure; doubled with each …
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// … up to this.
const LONGEST_RETRY: Duration = Duration::from_secs(15);
/// Objects of one page of a list.
const PAGE: u32 = 500;

/// What one watch brings.
pub(crate) type Events = BoxStream<'static, Result<Event<Object>, watcher::Error>>;

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) kind: Kind,
    /// All where absent.
    pub(crate) namespace: Option<String>,
    pub(crate) label_selector: Option<String>,
    pub(crate) field_selector: Option<String>,
}

impl Scope {
    /// The path that is asked.
    pub(crate) fn path(&self) -> String {
        use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery, networking::v1 as networking};
        let namespace = self.namespace.as_deref();
        match self.kind {
            Kind::Node => core::Node::url_path(&(), None),
            Kind::Namespace => core::Namespace::url_path(&(), None),
            Kind::Pod => core::Pod::url_path(&(), namespace),
            Kind::Service => core::Service::url_path(&(), namespace),
            Kind::Endpoints => core::Endpoints::url_path(&(), namespace),
            Kind::EndpointSlice => discovery::EndpointSlice::url_path(&(), namespace),
            Kind::Ingress => networking::Ingress::url_path(&(), namespace),
        }
    }

    /// Lists, and watches from there on; lists again when the server no longer knows from where to go on.
    pub(crate) fn events(&self, client: &Client) -> Events {
        match self.kind {
            Kind::Node => self.in_cluster(client, Object::Node),
            Kind::Namespace => self.in_cluster(client, Object::Namespace),
            Kind::Pod => self.in_namespace(client, Object::Pod),
            Kind::Service => self.in_namespace(client, Object::Service),
            Kind::Endpoints => self.in_namespace(client, Object::Endpoints),
            Kind::EndpointSlice => self.in_namespace(client, Object::EndpointSlice),
            Kind::Ingress => self.in_namespace(client, Object::Ingress),
        }
    }

    fn in_cluster<K>(&self, client: &Client, wrap: fn(K) -> Object) -> Events
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope>
            + Clone
            + DeserializeOwned
            + Debug
            + Send
            + 'static,
    {
        self.watch(Api::all(client.clone()), wrap)
    }

    fn in_namespace<K>(&self, client: &Client, wrap: fn(K) -> Object) -> Events
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Debug
            + Send
            + 'static,
    {
        let api = match &self.namespace {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        self.watch(api, wrap)
    }

    fn watch<K>(&self, api: Api<K>, wrap: fn(K) -> Object) -> Events
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let config = watcher::Config {
            label_selector: self.label_selector.clone(),
            field_selector: self.field_selector.clone(),
            timeout: u32::try_from(WATCH_TIMEOUT.as_secs()).ok(),
            page_size: Some(PAGE),
            bookmarks: true,
            ..watcher::Config::default()
        };
        let wrap = move |event| match event {
            Event::Apply(object) => Event::Apply(wrap(object).reduced()),
            Event::Delete(object) => Event::Delete(wrap(object).reduced()),
            Event::Init => Event::Init,
            Event::InitApply(object) => Event::InitApply(wrap(object).reduced()),
            Event::InitDone => Event::InitDone,
        };
        watch_objects(api, config).backoff(Retry::default()).map(move |event| event.map(wrap)).boxed()
    }
}

/// Longer and longer waits while the server fails.
#[derive(Debug, Default)]
struct Retry {
    failures: u32,
}

impl Iterator for Retry {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = FIRST_RETRY.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST_RETRY);
        self.failures = self.failures.saturating_add(1);
        // Many of us must not come back in step.
        Some(wait.mul_f64(1.0 - 0.2 * fastrand::f64()))
    }
}

impl Backoff for Retry {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Whether an error says no more than that objects must be listed again (410 Gone).
pub(crate) fn is_gone(error: &watcher::Error) -> bool {
    let status = match error {
        watcher::Error::WatchError(status) => status,
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status,
        _ => return false,
    };
    status.code == 410
}

/// What went wrong, in a sentence.
pub(crate) fn sentence(path: &str, error: &watcher::Error) -> String {
    let (doing, cause) = match error {
        watcher::Error::InitialListFailed(cause) => ("listing", cause),
        watcher::Error::WatchStartFailed(cause) | watcher::Error::WatchFailed(cause) => ("watching", cause),
        watcher::Error::WatchError(status) => {
            return format!(
                "watching {path} was ended by the API server: {} ({})",
                status.message, status.code
            );
        }
        watcher::Error::NoResourceVersion => {
            return format!("the API server does not say at which version the list of {path} is");
        }
    };
    match cause {
        kube::Error::Api(status) => {
            format!("the API server answered {} to {doing} {path}: {}", status.code, status.message)
        }
        cause => format!("{doing} {path} failed: {}", innermost(cause)),
    }
}

/// The cause that says most; those around it repeat it.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
