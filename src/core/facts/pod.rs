//! Pods, as far as decisions look at them.

use jiff::Timestamp;

use crate::core::facts::{labels::Labels, port::ContainerPort};

/// A pod.
#[derive(Clone, Debug)]
pub struct PodFacts {
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    pub labels: Labels,
    /// uid of the controlling owner.
    pub owner: Option<String>,
    /// When its deletion was first seen.
    pub deleting_since: Option<Timestamp>,
    /// Failed or Succeeded: it will never serve again.
    pub finished: bool,
    /// The Ready condition, and since when it is what it is.
    pub ready: bool,
    pub ready_since: Option<Timestamp>,
    /// Whether it was ready at any time, as far as can be told.
    pub was_ready: bool,
    /// Not ready because its node does not answer: the node lifecycle controller takes the Ready condition away, and leaves ContainersReady,
    /// which only the kubelet writes.
    pub node_lost: bool,
    /// When a container failed last and was started again, after the pod had been ready for the first time.
    pub last_restart: Option<Timestamp>,
    /// The same of the time before: its surroundings may not have been there yet. It counts against nobody.
    pub restart_at_start: Option<Timestamp>,
    /// What keeps it from running, in the words of the kubelet or the scheduler.
    pub trouble: Option<String>,
    pub ip: Option<String>,
    /// Ports of its containers, then of its sidecars.
    pub ports: Vec<ContainerPort>,
    pub host_network: bool,
    pub node: Option<String>,
}

impl PodFacts {
    /// Whether it has been told to end.
    pub fn deleting(&self) -> bool {
        self.deleting_since.is_some()
    }

    /// Whether it can take new connections.
    pub fn serves(&self) -> bool {
        self.ready && !self.deleting() && !self.finished
    }

    /// Whether it has been ready for `min_ready_seconds`.
    pub fn is_available(&self, min_ready_seconds: i64, now: Timestamp) -> bool {
        self.serves()
            && (min_ready_seconds == 0 || self.ready_since.is_some_and(|since| now.as_second() - since.as_second() >= min_ready_seconds))
    }
}
