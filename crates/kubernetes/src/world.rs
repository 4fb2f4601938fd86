//! All objects that are known, and which groups are to be made anew when one changes.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};

use crate::object::{Key, Kind, Object};

/// All objects.
#[derive(Debug, Default)]
pub(crate) struct World {
    objects: HashMap<Key, Known>,
    /// By the object that was looked up: the objects whose groups were made of it.
    dependents: HashMap<Key, HashSet<Key>>,
    /// The other way round.
    dependencies: HashMap<Key, HashSet<Key>>,
    /// Objects whose groups are to be made anew.
    changed: BTreeSet<Key>,
}

#[derive(Debug)]
struct Known {
    object: Arc<Object>,
    /// Which watch has brought it.
    watch: usize,
}

impl World {
    /// An object is there, or has changed.
    pub(crate) fn put(&mut self, watch: usize, object: Object) {
        let key = object.key();
        if self.objects.get(&key).is_some_and(|known| *known.object == object) {
            return;
        }
        self.touch(&key);
        self.objects.insert(key, Known { object: Arc::new(object), watch });
    }

    /// An object is gone.
    pub(crate) fn remove(&mut self, key: &Key) {
        if self.objects.remove(key).is_some() {
            self.touch(key);
        }
    }

    /// Of what a watch has brought only these are left.
    pub(crate) fn retain(&mut self, watch: usize, left: &HashSet<Key>) {
        let of_watch = self.objects.iter().filter(|(_, known)| known.watch == watch);
        let gone: Vec<Key> =
            of_watch.map(|(key, _)| key).filter(|key| !left.contains(*key)).cloned().collect();
        gone.iter().for_each(|key| self.remove(key));
    }

    fn touch(&mut self, key: &Key) {
        self.changed.insert(key.clone());
        self.changed.extend(self.dependents.get(key).into_iter().flatten().cloned());
    }

    /// Something is to be made anew.
    pub(crate) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Objects of one kind whose groups are to be made anew, among them those that are gone.
    pub(crate) fn take_changed(&mut self, kind: Kind) -> BTreeSet<Key> {
        std::mem::take(&mut self.changed).into_iter().filter(|key| key.kind == kind).collect()
    }

    /// All objects of a kind.
    pub(crate) fn keys(&self, kind: Kind) -> Vec<Key> {
        self.objects.keys().filter(|key| key.kind == kind).cloned().collect()
    }

    pub(crate) fn object(&self, key: &Key) -> Option<Arc<Object>> {
        self.objects.get(key).map(|known| Arc::clone(&known.object))
    }

    /// Notes what the group of an object was made of.
    pub(crate) fn depends(&mut self, key: &Key, used: HashSet<Key>) {
        for old in self.dependencies.remove(key).into_iter().flatten() {
            if let Some(dependents) = self.dependents.get_mut(&old) {
                dependents.remove(key);
                if dependents.is_empty() {
                    self.dependents.remove(&old);
                }
            }
        }
        for new in &used {
            self.dependents.entry(new.clone()).or_default().insert(key.clone());
        }
        if !used.is_empty() {
            self.dependencies.insert(key.clone(), used);
        }
    }
}

/// Looks other objects up while a group is made, and notes which: those that are missing too, since they may come.
pub(crate) struct Lookup<'w> {
    world: &'w World,
    used: RefCell<HashSet<Key>>,
}

impl<'w> Lookup<'w> {
    pub(crate) fn new(world: &'w World) -> Self {
        Self { world, used: RefCell::default() }
    }

    /// What was looked up.
    pub(crate) fn used(self) -> HashSet<Key> {
        self.used.into_inner()
    }

    fn find(&self, kind: Kind, namespace: &str, name: &str) -> Option<&'w Object> {
        let key = Key::new(kind, namespace, name);
        let found = self.world.objects.get(&key);
        self.used.borrow_mut().insert(key);
        found.map(|known| &*known.object)
    }

    pub(crate) fn pod(&self, namespace: &str, name: &str) -> Option<&'w Pod> {
        match self.find(Kind::Pod, namespace, name)? {
            Object::Pod(pod) => Some(pod),
            _ => None,
        }
    }

    pub(crate) fn service(&self, namespace: &str, name: &str) -> Option<&'w Service> {
        match self.find(Kind::Service, namespace, name)? {
            Object::Service(service) => Some(service),
            _ => None,
        }
    }

    pub(crate) fn node(&self, name: &str) -> Option<&'w Node> {
        match self.find(Kind::Node, "", name)? {
            Object::Node(node) => Some(node),
            _ => None,
        }
    }

    pub(crate) fn namespace(&self, name: &str) -> Option<&'w Namespace> {
        match self.find(Kind::Namespace, "", name)? {
            Object::Namespace(namespace) => Some(namespace),
            _ => None,
        }
    }
}
