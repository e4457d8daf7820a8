//! The TCP gate: each pod takes a connection.

use crate::{
    api::policy::{Pace, TcpGate},
    core::{decision::watch::Check, gate::each_pod::EachPod},
};

impl EachPod for TcpGate {
    const NAME: &'static str = "tcp";

    fn pace(&self) -> Pace<'_> {
        self.pace()
    }

    fn check(&self) -> Check {
        Check::Tcp(self.clone())
    }
}
