//! What is to be observed for the gates from now on.

use crate::api::policy::{GrpcGate, HttpGate, TcpGate};

/// What a probe does.
#[derive(Clone, Debug, PartialEq)]
pub enum Check {
    /// A request, as a gate asks for it.
    Http(HttpGate),
    /// A connection, as a gate asks for it.
    Tcp(TcpGate),
    /// A call of the health service, as a gate asks for it.
    Grpc(GrpcGate),
    /// A connection, closed as soon as it stands: to a port to which a Service leads.
    Connect,
}

/// A probe to be run for as long as decisions ask for it: a gate on a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    pub gate: String,
    pub check: Check,
    pub pod: Target,
    /// A pod of the live side, asked the same where `pod` does not answer at all.
    pub control: Option<Target>,
}

/// An address of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    pub uid: String,
    pub name: String,
    pub ip: String,
    pub port: u16,
}
