//! What is stored, and everything that ever happened to it: one map, one append-only log, one version that only rises.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use jiff::Timestamp;
use serde_json::Value;

use super::problem::Problem;
use crate::sim::json;

/// Where an object is kept. Sorted by resource, namespace, name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// `deployments.apps`.
    pub resource: Arc<str>,
    /// Empty for objects of the cluster.
    pub namespace: String,
    pub name: String,
}

impl Key {
    /// The key of an object.
    pub fn new(resource: &str, namespace: &str, name: &str) -> Self {
        Self { resource: resource.into(), namespace: namespace.into(), name: name.into() }
    }
}

/// One change. `before` is absent for a creation, `after` for a removal.
#[derive(Clone, Debug)]
pub struct Entry {
    pub version: u64,
    pub at: Timestamp,
    /// Who wrote it.
    pub author: Arc<str>,
    pub key: Key,
    pub before: Option<Arc<Value>>,
    pub after: Option<Arc<Value>>,
}

/// Objects and log. Each commit takes the next version; the log holds every version since the last compaction, without a gap.
#[derive(Debug)]
pub struct Store {
    objects: BTreeMap<Key, Arc<Value>>,
    log: VecDeque<Entry>,
    version: u64,
    keep: usize,
}

impl Store {
    /// An empty store that keeps the last `keep` changes.
    pub fn new(keep: usize) -> Self {
        Self { objects: BTreeMap::new(), log: VecDeque::new(), version: 1, keep }
    }

    /// The version of the last change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The oldest version that a watch may still start from.
    pub fn oldest(&self) -> u64 {
        self.log.front().map_or(self.version, |entry| entry.version - 1)
    }

    /// The object as it is now.
    pub fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    /// All objects of a resource, in one namespace or in all (`""`), by namespace and name.
    pub fn list<'a>(&'a self, resource: &str, namespace: &'a str) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> {
        let from = Key::new(resource, namespace, "");
        let resource = from.resource.clone();
        self.objects
            .range(from..)
            .take_while(move |(key, _)| key.resource == resource && (namespace.is_empty() || key.namespace == namespace))
    }

    /// The same as it was at an earlier version.
    ///
    /// # Errors
    /// `Expired` when the log does not reach back so far.
    pub fn list_at(&self, resource: &str, namespace: &str, version: u64) -> Result<BTreeMap<Key, Arc<Value>>, Problem> {
        let mut then: BTreeMap<Key, Arc<Value>> =
            self.list(resource, namespace).map(|(key, object)| (key.clone(), object.clone())).collect();
        if version < self.oldest() {
            return Err(Problem::expired(version, self.oldest()));
        }
        for entry in self.log.iter().rev().take_while(|entry| entry.version > version) {
            if &*entry.key.resource == resource && (namespace.is_empty() || entry.key.namespace == namespace) {
                match &entry.before {
                    Some(object) => then.insert(entry.key.clone(), object.clone()),
                    None => then.remove(&entry.key),
                };
            }
        }
        Ok(then)
    }

    /// The first change after `version`; nothing when there is none yet.
    ///
    /// # Errors
    /// `Expired` when it has been compacted away.
    pub fn after(&self, version: u64) -> Result<Option<&Entry>, Problem> {
        if version < self.oldest() {
            return Err(Problem::expired(version, self.oldest()));
        }
        Ok(usize::try_from(version - self.oldest()).ok().and_then(|offset| self.log.get(offset)))
    }

    /// Stores an object (or its absence) under the next version, which is written into it.
    pub fn commit(&mut self, at: Timestamp, author: &str, key: Key, object: Option<Value>) -> Option<Arc<Value>> {
        self.version += 1;
        let after = object.map(|mut object| {
            json::set(&mut object, "/metadata/resourceVersion", self.version.to_string());
            Arc::new(object)
        });
        let before = match &after {
            Some(object) => self.objects.insert(key.clone(), object.clone()),
            None => self.objects.remove(&key),
        };
        self.log.push_back(Entry { version: self.version, at, author: author.into(), key, before, after: after.clone() });
        self.forget();
        after
    }

    /// Keeps the last so many changes from now on.
    pub fn keep(&mut self, changes: usize) {
        self.keep = changes;
        self.forget();
    }

    fn forget(&mut self) {
        let surplus = self.log.len().saturating_sub(self.keep);
        self.log.drain(..surplus);
    }

    /// Forgets every change up to now: watches and continued lists from before it get 410.
    pub fn compact(&mut self) {
        self.log.clear();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sim::clock::DAWN;

    #[test]
    fn the_past_can_be_read_back_until_it_is_compacted() {
        let mut store = Store::new(100);
        let key = Key::new("pods", "a", "one");
        store.commit(DAWN, "alice", key.clone(), Some(json!({"v": 1})));
        let then = store.version();
        store.commit(DAWN, "alice", key.clone(), Some(json!({"v": 2})));
        store.commit(DAWN, "alice", key.clone(), None);
        assert_eq!(store.list_at("pods", "", then).unwrap()[&key]["v"], 1);
        assert_eq!(store.after(then).unwrap().unwrap().version, then + 1);
        assert!(store.after(store.version()).unwrap().is_none());
        store.compact();
        assert_eq!(store.list_at("pods", "", then).unwrap_err().code, 410);
        assert_eq!(store.after(then).unwrap_err().reason, "Expired");
    }
}
