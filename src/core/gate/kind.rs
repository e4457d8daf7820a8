//! What a kind of gate says, and what all kinds have in common.
//!
//! The struct that a user fills in is the kind: a new one is a field of [`Gate`], a file of its own here, and a line in [`Gate::kind`].

use crate::{
    api::{
        Span,
        policy::{Gate, When},
        status::{GateState, Phase, Release, RollbackReason},
    },
    core::{
        decision::watch::Probe,
        facts::deployment::DeploymentFacts,
        view::{View, side::Side},
        why::refusal::Refusal,
    },
};

/// A kind of gate.
pub trait Kind {
    /// What status calls it.
    fn name(&self) -> &'static str;

    /// How the gate is found to be now.
    fn judge(&self, ask: &Ask<'_>) -> Judgement;

    /// What takes the release back.
    fn failure(&self, _: &Ask<'_>) -> Option<Failure> {
        None
    }

    /// What must be probed for it.
    fn probes(&self, _: &Ask<'_>) -> Vec<Probe> {
        Vec::new()
    }

    /// Whether every ready pod of the side has passed it. What is awaited elsewhere, pods and people, is not asked for here.
    fn has_passed(&self, _: &Ask<'_>) -> bool {
        true
    }

    /// What keeps gate `gate` from ever working with the pods of a Deployment.
    fn problem(&self, _gate: &str, _subject: &DeploymentFacts) -> Option<Refusal> {
        None
    }

    /// How long it takes at least to pass gate `gate`, and what takes that long.
    fn least_time(&self, _gate: &str) -> Option<(Span, String)> {
        None
    }
}

impl Gate {
    /// The kind that is set. Rules of the schema see to it that it is exactly one.
    pub fn kind(&self) -> Option<&dyn Kind> {
        let Gate { name: _, when: _, readiness, http, tcp, grpc, approval } = self;
        let kinds = [
            readiness.as_ref().map(|kind| kind as &dyn Kind),
            http.as_ref().map(|kind| kind as &dyn Kind),
            tcp.as_ref().map(|kind| kind as &dyn Kind),
            grpc.as_ref().map(|kind| kind as &dyn Kind),
            approval.as_ref().map(|kind| kind as &dyn Kind),
        ];
        kinds.into_iter().flatten().next()
    }
}

/// What a gate is asked about.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    pub gate: &'a Gate,
    pub view: &'a View<'a>,
    pub release: &'a Release,
    pub phase: Phase,
    pub side: Option<&'a Side<'a>>,
}

impl Ask<'_> {
    /// Whether the gate is checked in this phase. Readiness always is.
    pub fn is_active(&self) -> bool {
        let at = |when| self.gate.when.contains(&when);
        match self.phase {
            Phase::Preparing => at(When::BeforeTraffic),
            Phase::Progressing => at(When::DuringSteps),
            Phase::Baking | Phase::Promoting => at(When::DuringSteps) || at(When::BeforePromotion),
            Phase::Pending | Phase::Healthy | Phase::RollingBack | Phase::RolledBack => false,
        }
    }
}

/// A gate that failed, in the words of the rollback it causes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub gate: String,
    pub reason: RollbackReason,
    pub message: String,
}

/// A gate, as it is found to be now.
pub struct Judgement {
    pub state: GateState,
    pub value: String,
    pub threshold: String,
    pub message: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_gate_is_of_the_kind_that_is_set() {
        for (set, name) in [
            (json!({"readiness": {}}), Some("readiness")),
            (json!({"http": {"path": "/", "port": 80}}), Some("http")),
            (json!({"tcp": {"port": 80}}), Some("tcp")),
            (json!({"grpc": {"port": 80}}), Some("grpc")),
            (json!({"approval": {}}), Some("approval")),
            (json!({}), None),
        ] {
            let mut gate = json!({"name": "gate"});
            json_patch::merge(&mut gate, &set);
            let gate: Gate = serde_json::from_value(gate).unwrap();
            assert_eq!(gate.kind().map(Kind::name), name, "{set}");
        }
    }
}
