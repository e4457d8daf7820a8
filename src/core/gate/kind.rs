//! What all kinds of gate have in common.

use crate::api::{
    policy::{Gate, When},
    status::{GateState, Phase, RollbackReason},
};

/// A gate that failed, in the words of the rollback it causes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub gate: String,
    pub reason: RollbackReason,
    pub message: String,
}

/// A gate, as it is found to be now.
pub struct Judged {
    pub name: String,
    pub kind: &'static str,
    pub state: GateState,
    pub value: String,
    pub threshold: String,
    pub message: String,
}

/// Whether a gate is checked in a phase. Readiness always is.
pub fn is_active(gate: &Gate, phase: Phase) -> bool {
    let at = |when| gate.when.contains(&when);
    match phase {
        Phase::Preparing => at(When::BeforeTraffic),
        Phase::Progressing => at(When::DuringSteps),
        Phase::Baking | Phase::Promoting => at(When::DuringSteps) || at(When::BeforePromotion),
        Phase::Pending | Phase::Healthy | Phase::RollingBack | Phase::RolledBack => false,
    }
}
