//! `kubernetes_sd_configs`: follows the objects that a role needs and tells of the groups that change.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, StreamExt};
use kube::runtime::watcher::{self, Event};
use metricsd_client::Context;
use metricsd_discovery::config::{KubernetesRole, KubernetesSd};
use metricsd_discovery::provider::{Provider, TargetGroup, Update, Updates};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::connect::{Connection, Heard, connect};
use crate::object::{Key, Kind, Object};
use crate::roles::{self, Attach};
use crate::watch::{Scope, is_gone, sentence};
use crate::world::World;

/// Changes of this long are told together; short, as a pod that has become ready waits for its first scrape.
const GATHER: Duration = Duration::from_millis(25);
/// How often it is looked whether a server that failed answers again, and that nothing has changed is told.
const LOOK: Duration = Duration::from_secs(1);
const TELL_NOTHING_NEW: Duration = Duration::from_secs(30);
/// Between two attempts to connect.
const RECONNECT: Duration = Duration::from_secs(5);

/// Lists and watches what one role needs.
pub struct KubernetesProvider {
    config: KubernetesSd,
    context: Context,
}

impl KubernetesProvider {
    /// For these settings. Nothing is read and nobody is asked before it runs.
    pub fn new(config: &KubernetesSd, context: &Context) -> Self {
        Self { config: config.clone(), context: context.clone() }
    }

    /// Follows until nobody listens.
    async fn follow(&self, updates: &Updates) -> Option<()> {
        loop {
            let problem = match self.connected().await {
                Ok((connection, scopes)) => {
                    let mut follower = Follower::new(&self.config, scopes, &connection, updates);
                    follower.run(&connection).await?;
                    "every watch of the API server has ended".to_owned()
                }
                Err(problem) => problem,
            };
            updates.send(Update::Failed(problem)).await.ok()?;
            tokio::time::sleep(RECONNECT).await;
        }
    }

    async fn connected(&self) -> Result<(Connection, Vec<Scope>), String> {
        let connection = connect(&self.config, &self.context).await?;
        let scopes = scopes(&self.config, connection.own_namespace.as_deref())?;
        Ok((connection, scopes))
    }
}

#[async_trait]
impl Provider for KubernetesProvider {
    fn kind(&self) -> &'static str {
        "kubernetes"
    }

    async fn run(&self, updates: Updates, stop: CancellationToken) {
        tokio::select! {
            _ = self.follow(&updates) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// What is to be watched: each kind that the role needs once a namespace.
fn scopes(config: &KubernetesSd, own_namespace: Option<&str>) -> Result<Vec<Scope>, String> {
    let mut namespaces: Vec<Option<String>> = config.namespaces.iter().cloned().map(Some).collect();
    if config.own_namespace {
        let own =
            own_namespace.ok_or("own_namespace is set, but this process does not run in a Kubernetes pod")?;
        namespaces.push(Some(own.to_owned()));
    }
    if namespaces.is_empty() {
        namespaces.push(None);
    }
    namespaces.sort();
    namespaces.dedup();
    let mut kinds = vec![roles::kind(config.role)];
    if matches!(config.role, KubernetesRole::Endpoints | KubernetesRole::EndpointSlice) {
        kinds.extend([Kind::Service, Kind::Pod]);
    }
    if config.attach_node && config.role != KubernetesRole::Node {
        kinds.push(Kind::Node);
    }
    if config.attach_namespace && config.role != KubernetesRole::Node {
        kinds.push(Kind::Namespace);
    }
    let mut scopes = Vec::new();
    for kind in kinds {
        let selector = config.selectors.iter().find(|selector| roles::kind(selector.role) == kind);
        let scope = |namespace: Option<&String>| Scope {
            kind,
            namespace: namespace.cloned(),
            label_selector: selector.and_then(|selector| selector.label.clone()),
            field_selector: selector.and_then(|selector| selector.field.clone()),
        };
        match kind {
            Kind::Node => scopes.push(scope(None)),
            // Rights may be given for single namespaces only.
            Kind::Namespace => scopes.extend(namespaces.iter().map(|namespace| Scope {
                field_selector: namespace.as_ref().map(|name| format!("metadata.name={name}")),
                ..scope(None)
            })),
            _ => scopes.extend(namespaces.iter().map(|namespace| scope(namespace.as_ref()))),
        }
    }
    Ok(scopes)
}

/// Follows all watches of one connection.
struct Follower<'u> {
    kind: Kind,
    attach: Attach,
    heard: Heard,
    updates: &'u Updates,
    watches: Vec<Watch>,
    world: World,
    /// How much was told: nothing yet, what some watches have brought, or everything.
    told: Told,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Part,
    All,
}

/// Where one watch stands.
struct Watch {
    scope: Scope,
    path: String,
    /// It was listed at least once.
    listed: bool,
    /// What the list under way has brought.
    listing: HashSet<Key>,
    /// What is wrong, and since when.
    problem: Option<(String, Instant)>,
}

impl<'u> Follower<'u> {
    fn new(config: &KubernetesSd, scopes: Vec<Scope>, connection: &Connection, updates: &'u Updates) -> Self {
        let watch = |scope: Scope| {
            let path = scope.path();
            Watch { scope, path, listed: false, listing: HashSet::new(), problem: None }
        };
        Self {
            kind: roles::kind(config.role),
            attach: Attach { node: config.attach_node, namespace: config.attach_namespace },
            heard: connection.heard.clone(),
            updates,
            watches: scopes.into_iter().map(watch).collect(),
            world: World::default(),
            told: Told::Nothing,
        }
    }

    /// Follows until every watch has ended, or `None` when nobody listens.
    async fn run(&mut self, connection: &Connection) -> Option<()> {
        let streams =
            self.watches.iter().enumerate().map(|(place, watch)| {
                watch.scope.events(&connection.client).map(move |event| (place, event))
            });
        let mut events = stream::select_all(streams.collect::<Vec<_>>());
        let mut look = tokio::time::interval(LOOK);
        let mut tell_at: Option<Instant> = None;
        let mut told_at = Instant::now();
        loop {
            tokio::select! {
                event = events.next() => {
                    let Some((place, event)) = event else { return Some(()) };
                    self.take(place, event).await?;
                }
                () = tokio::time::sleep_until(tell_at.unwrap_or(told_at)), if tell_at.is_some() => {
                    self.tell().await?;
                    (tell_at, told_at) = (None, Instant::now());
                }
                _ = look.tick() => {
                    let mended = self.mend();
                    if mended || (self.told == Told::All && told_at.elapsed() > TELL_NOTHING_NEW && !self.fails()) {
                        self.updates.send(Update::Some(Vec::new())).await.ok()?;
                        told_at = Instant::now();
                    }
                }
            }
            if tell_at.is_none() && self.has_news() {
                tell_at = Some(Instant::now() + GATHER);
            }
        }
    }

    /// Takes in what a watch has brought.
    async fn take(&mut self, place: usize, event: Result<Event<Object>, watcher::Error>) -> Option<()> {
        let Some(watch) = self.watches.get_mut(place) else { return Some(()) };
        match event {
            Ok(Event::Init) => watch.listing.clear(),
            Ok(Event::InitApply(object)) => {
                watch.listing.insert(object.key());
                self.world.put(place, object);
            }
            Ok(Event::InitDone) => {
                watch.listed = true;
                let listing = std::mem::take(&mut watch.listing);
                self.world.retain(place, &listing);
            }
            Ok(Event::Apply(object)) => self.world.put(place, object),
            Ok(Event::Delete(object)) => self.world.remove(&object.key()),
            // The list that follows says what has become of it.
            Err(error) if is_gone(&error) => {}
            Err(error) => {
                let problem = sentence(&watch.path, &error);
                watch.problem = Some((problem.clone(), Instant::now()));
                self.updates.send(Update::Failed(problem)).await.ok()?;
            }
        }
        Some(())
    }

    /// Something is to be told: each watch has brought its list, or cannot.
    fn has_news(&self) -> bool {
        let part = self.watches.iter().all(|watch| watch.listed || watch.problem.is_some());
        let all = self.watches.iter().all(|watch| watch.listed);
        match self.told {
            Told::Nothing => part && (all || self.world.has_changed()),
            Told::Part => all || self.world.has_changed(),
            Told::All => self.world.has_changed(),
        }
    }

    async fn tell(&mut self) -> Option<()> {
        let all = self.watches.iter().all(|watch| watch.listed);
        let mut keys = self.world.take_changed(self.kind);
        if self.told != Told::All {
            keys.extend(self.world.keys(self.kind));
        }
        let mut groups = Vec::with_capacity(keys.len());
        for key in keys {
            groups.push(self.group(&key));
        }
        let update = if all && self.told != Told::All { Update::All(groups) } else { Update::Some(groups) };
        self.told = if all { Told::All } else { Told::Part };
        self.updates.send(update).await.ok()?;
        // What is known is told; what is wrong still is.
        let problem = self.watches.iter().find_map(|watch| watch.problem.clone());
        if let Some((problem, _)) = problem {
            self.updates.send(Update::Failed(problem)).await.ok()?;
        }
        Some(())
    }

    fn group(&mut self, key: &Key) -> TargetGroup {
        let (group, used) = roles::group(key, &self.world, self.attach);
        self.world.depends(key, used);
        group
    }

    fn fails(&self) -> bool {
        self.watches.iter().any(|watch| watch.problem.is_some())
    }

    /// Forgets problems of watches that were answered since; true when the last one is gone.
    fn mend(&mut self) -> bool {
        let failed = self.fails();
        for watch in &mut self.watches {
            watch.problem.take_if(|(_, since)| self.heard.since(&watch.path, *since));
        }
        failed && !self.fails() && self.told == Told::All
    }
}
