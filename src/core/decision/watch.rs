//! What is to be observed for the gates from now on.

use crate::api::policy::HttpGate;

/// What a probe does.
#[derive(Clone, Debug, PartialEq)]
pub enum Check {
    /// A request, as a gate asks for it.
    Http(HttpGate),
    /// A connection, closed as soon as it stands.
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
