//! The API server, sans-IO. A request and the time go in; an answer, or a watch to be read, comes out. Nothing here waits, and nothing here
//! knows a clock, a socket or a thread.
//!
//! Guarantees: versions are global and rise by one with every change; a write that changes nothing takes none; a stale `resourceVersion`
//! answers 409 whatever the kind of write; a watch replayed from any kept version ends in the state that a list at its end shows.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

pub mod admission;
mod apply;
pub mod call;
pub mod defaults;
mod delete;
pub mod discovery;
mod errand;
pub mod event;
pub mod kinds;
mod owned;
pub mod patch;
pub mod problem;
pub mod read;
pub mod request;
pub mod scale;
pub mod schema;
pub mod selector;
pub mod store;
pub mod strategic;
pub mod strict;
pub mod table;
pub mod validate;
pub mod view;
pub mod watch;
pub mod write;

use admission::Admission;
pub use apply::Ownership;
pub use call::Call;
pub use delete::DeleteOptions;
use kinds::Kinds;
use problem::Problem;
use request::{Request, Target};
use store::{Key, Store};
use watch::Watch;

use super::seed::Seed;

/// How many changes the log keeps, unless told otherwise or compacted by hand.
pub const KEPT_CHANGES: usize = 100_000;
/// The first two numbers of Services' addresses, unless told otherwise.
pub const SERVICE_NETWORK: [u8; 2] = [10, 96];

/// The server: kinds, objects, log, admission policies.
#[derive(Debug)]
pub struct ApiServer {
    pub(super) kinds: Kinds,
    pub(super) store: Store,
    pub(super) seed: Seed,
    /// Stepgate's admission policies; each can be switched off.
    pub admission: Admission,
    pub ownership: Ownership,
    /// The first two numbers of the addresses that Services are given.
    pub service_network: [u8; 2],
}

/// What a request gets.
#[derive(Debug)]
pub enum Reply {
    /// Status, `Warning` texts, body: an object; a text that is sent as it is; `null`, which is sent as nothing.
    Answer { code: u16, warnings: Vec<String>, body: Value },
    /// A stream of events.
    Watch(Box<Watch>),
}

impl Reply {
    pub(super) fn ok(body: Value) -> Self {
        Self::Answer { code: 200, warnings: Vec::new(), body }
    }
}

impl ApiServer {
    /// A server with the built-in kinds and the namespaces `default`, `kube-system` and `stepgate-system`.
    pub fn new(seed: Seed, now: Timestamp) -> Self {
        let mut server = Self {
            kinds: Kinds::builtin(),
            store: Store::new(KEPT_CHANGES),
            seed,
            admission: Admission::default(),
            ownership: Ownership::default(),
            service_network: SERVICE_NETWORK,
        };
        for namespace in ["default", "kube-system", "stepgate-system"] {
            let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
            // Cannot fail: the names are valid and new.
            drop(server.create(&mut Call::new(now, "system:admin"), object));
        }
        server
    }

    /// Answers a request. Errors are answers too: a `metav1.Status` with its code.
    pub fn handle(&mut self, now: Timestamp, request: &Request) -> Reply {
        self.serve(now, request).unwrap_or_else(|problem| Reply::Answer {
            code: problem.code,
            warnings: Vec::new(),
            body: problem.status(),
        })
    }

    fn serve(&mut self, now: Timestamp, request: &Request) -> Result<Reply, Problem> {
        if request.method == "GET"
            && let Some(answer) = discovery::answer(&self.kinds, &request.path)
        {
            return Ok(Reply::ok(answer));
        }
        let target = Target::parse(&self.kinds, &request.path)?;
        match request.method.as_str() {
            "GET" => self.read(now, &target, request),
            "POST" | "PUT" | "PATCH" | "DELETE" => self.write(now, &target, request),
            _ => Err(Problem::method_not_allowed()),
        }
    }

    /// The version of the last change.
    pub fn version(&self) -> u64 {
        self.store.version()
    }

    /// An object as it is stored.
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<&Arc<Value>> {
        self.store.get(&Key::new(resource, namespace, name))
    }

    /// All objects of a resource (`deployments.apps`) in a namespace, `""` for all, by namespace and name.
    pub fn list<'a>(&'a self, resource: &str, namespace: &'a str) -> impl Iterator<Item = &'a Arc<Value>> {
        self.store.list(resource, namespace).map(|(_, object)| object)
    }

    /// Objects and log, to read.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The kinds it knows.
    pub fn kinds(&self) -> &Kinds {
        &self.kinds
    }

    /// Stores an object again as it is: a new version and an event, and nothing else.
    pub fn touch(&mut self, now: Timestamp, key: &Key) {
        if let Some(object) = self.store.get(key).map(|object| (**object).clone()) {
            self.store.commit(now, "somebody", key.clone(), Some(object));
        }
    }

    /// Keeps no more than so many changes.
    pub fn keep(&mut self, changes: usize) {
        self.store.keep(changes);
    }

    /// Forgets the log, as etcd's compaction does: the next event of any open watch is 410.
    pub fn compact(&mut self) {
        self.store.compact();
    }
}

#[cfg(test)]
mod tests;
