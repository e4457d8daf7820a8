//! The embedded cluster: an API server, the controllers of a small Kubernetes cluster, and pods, all in this process.
//!
//! It answers as a real cluster answers wherever Stepgate or `kubectl` could tell the difference, and it is deterministic: one seed, one
//! clock, one log of events, no threads. Under tokio's paused time an hour of a release takes milliseconds.
//!
//! | module | holds |
//! |---|---|
//! | [`server`] | the API server, sans-IO: a request and the time go in, an answer or a watch comes out |
//! | [`cluster`] | what makes objects come true: Deployment, `ReplicaSet` and `EndpointSlice` controllers, garbage collector, kubelet, proxy |
//! | [`world`] | both under one roof, moved by `step(now)` |
//! | [`fault`] | what may go wrong between a client and the server, planned from a seed |
//! | [`front`] | the world as a `kube::Client`, without a socket; `Sim` also answers the probes of HTTP gates |
//! | [`http`] | the API server over HTTP on a loopback address, with a kubeconfig |
//! | [`sockets`] | the same on real sockets and in real time: pods and Services on loopback addresses |
//! | [`timeline`] | what a Rollout's status has said, and when |
//! | [`stage`] | a Deployment, its Service and its Rollout, and a controller: what the demo and `simulate` play on |
//! | [`load`] | clients over real sockets: an open-loop HTTP client that records every answer |

mod asker;
pub mod clock;
pub mod cluster;
pub mod fault;
pub mod front;
pub mod http;
pub mod json;
pub mod load;
pub mod sample;
pub mod seed;
pub mod server;
pub mod sockets;
pub mod stage;
pub mod timeline;
pub mod world;

#[cfg(test)]
mod tests;

pub use self::http::Http;
pub use fault::Line;
pub use front::Sim;
pub use sockets::{Loopback, Sockets};
pub use world::{Setup, Visit, World};
