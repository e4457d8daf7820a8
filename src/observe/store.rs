//! Facts by name, kept by a watch and by the answers to our own writes.

use std::{collections::BTreeMap, sync::Arc};

use crate::core::facts::{
    deployment::{DeploymentFacts, ReplicaSetFacts},
    pod::PodFacts,
    service::ServiceFacts,
};

/// Something that has a name and a version.
pub trait Fact {
    fn name(&self) -> &str;
    fn uid(&self) -> &str;
    fn resource_version(&self) -> &str;
}

/// The order of resource versions, as far as they have one. Kubernetes' own are numbers that rise.
pub fn order(resource_version: &str) -> u64 {
    resource_version.parse().unwrap_or(0)
}

/// The facts of one kind in one namespace.
///
/// An answer to a write may come before or after the watch tells of it, and the watch may trail by several writes: an older version
/// never replaces a newer one, and an object that the watch has seen go does not come back by a late answer.
#[derive(Debug)]
pub struct Store<T> {
    items: BTreeMap<String, Arc<T>>,
    /// The newest version that the watch has told of.
    seen: u64,
    listed: bool,
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self { items: BTreeMap::new(), seen: 0, listed: false }
    }
}

impl<T: Fact> Store<T> {
    /// Whether the first list is complete.
    pub fn is_listed(&self) -> bool {
        self.listed
    }

    /// All facts, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.items.values()
    }

    /// The facts of one object.
    pub fn get(&self, name: &str) -> Option<&Arc<T>> {
        self.items.get(name)
    }

    /// The watch told of an object.
    pub fn apply(&mut self, fact: T) {
        self.seen = self.seen.max(order(fact.resource_version()));
        self.put(fact);
    }

    /// The watch told that an object is gone.
    pub fn delete(&mut self, fact: &T) {
        self.forget(fact.name(), fact.uid(), fact.resource_version());
    }

    /// The watch told that an object is gone, or is one that cannot be read.
    pub fn forget(&mut self, name: &str, uid: &str, resource_version: &str) {
        self.seen = self.seen.max(order(resource_version));
        if self.items.get(name).is_some_and(|known| known.uid() == uid) {
            self.items.remove(name);
        }
    }

    /// A complete list took the place of what was known.
    pub fn replace(&mut self, facts: Vec<T>) {
        let before = std::mem::take(&mut self.items);
        for fact in facts {
            let newer = before
                .get(fact.name())
                .filter(|known| known.uid() == fact.uid() && order(known.resource_version()) > order(fact.resource_version()));
            self.seen = self.seen.max(order(fact.resource_version()));
            let kept = newer.map_or_else(|| Arc::new(fact), Arc::clone);
            self.items.insert(kept.name().to_owned(), kept);
        }
        self.listed = true;
    }

    /// A write was answered with an object.
    pub fn written(&mut self, fact: T) {
        if self.items.contains_key(fact.name()) || order(fact.resource_version()) > self.seen {
            self.put(fact);
        }
    }

    fn put(&mut self, fact: T) {
        let known = self.items.get(fact.name());
        if known.is_none_or(|known| known.uid() != fact.uid() || order(known.resource_version()) < order(fact.resource_version())) {
            self.items.insert(fact.name().to_owned(), Arc::new(fact));
        }
    }
}

macro_rules! fact {
    ($($kind:ty),*) => {$(
        impl $crate::observe::store::Fact for $kind {
            fn name(&self) -> &str {
                &self.name
            }

            fn uid(&self) -> &str {
                &self.uid
            }

            fn resource_version(&self) -> &str {
                &self.resource_version
            }
        }
    )*};
}
pub(crate) use fact;

fact!(DeploymentFacts, ReplicaSetFacts, PodFacts, ServiceFacts);

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Thing {
        name: String,
        uid: String,
        resource_version: String,
    }
    fact!(Thing);

    fn thing(uid: &str, version: u64) -> Thing {
        Thing { name: "a".into(), uid: uid.into(), resource_version: version.to_string() }
    }

    fn version(store: &Store<Thing>) -> Option<&str> {
        store.get("a").map(|thing| thing.resource_version.as_str())
    }

    #[test]
    fn a_watch_that_trails_does_not_undo_a_write() {
        let mut store = Store::default();
        store.apply(thing("u", 5));
        store.written(thing("u", 9));
        store.apply(thing("u", 7));
        assert_eq!(version(&store), Some("9"));
    }

    #[test]
    fn a_late_answer_does_not_bring_back_what_is_gone() {
        let mut store = Store::default();
        store.apply(thing("u", 5));
        store.delete(&thing("u", 9));
        store.written(thing("u", 7));
        assert_eq!(version(&store), None);
    }

    #[test]
    fn the_removal_of_a_predecessor_does_not_remove_the_successor() {
        let mut store = Store::default();
        store.apply(thing("old", 5));
        store.written(thing("new", 9));
        store.delete(&thing("old", 8));
        assert_eq!(version(&store), Some("9"));
    }

    #[test]
    fn a_list_keeps_what_was_written_after_it_was_made() {
        let mut store = Store::default();
        store.apply(thing("u", 5));
        store.written(thing("u", 9));
        store.replace(vec![thing("u", 6)]);
        assert_eq!(version(&store), Some("9"));
        store.replace(vec![]);
        assert_eq!(version(&store), None);
    }
}
