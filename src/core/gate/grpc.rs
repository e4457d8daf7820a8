//! The gRPC gate: each pod says by the standard health protocol that it serves.

use crate::{
    api::policy::{GrpcGate, Pace},
    core::{decision::watch::Check, gate::each_pod::EachPod},
};

impl EachPod for GrpcGate {
    const NAME: &'static str = "grpc";

    fn pace(&self) -> Pace<'_> {
        self.pace()
    }

    fn check(&self) -> Check {
        Check::Grpc(self.clone())
    }
}
