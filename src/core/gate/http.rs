//! The HTTP gate: each pod is asked, and answers as the policy expects.

use crate::{
    api::policy::{HttpGate, Pace},
    core::{decision::watch::Check, gate::each_pod::EachPod},
};

impl EachPod for HttpGate {
    const NAME: &'static str = "http";

    fn pace(&self) -> Pace<'_> {
        self.pace()
    }

    fn check(&self) -> Check {
        Check::Http(self.clone())
    }
}
