//! The command that comes next, for each place where a Rollout can stand. Pure.

use std::iter;

use kube::ResourceExt;

use crate::api::{Rollout, RolloutStatus, status::Phase};

use super::{
    caller::Caller,
    standing::{awaits_approval, before, holds, keeps_canary, waits_for_owner},
};

/// Shows whether a controller runs, wherever it is installed.
pub const CONTROLLERS: &str = "kubectl get pods -A -l app.kubernetes.io/name=stepgate";

/// A command, and what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    pub command: String,
    pub does: &'static str,
}

/// The commands that are natural now, the most natural one first.
pub fn next(rollout: &Rollout, caller: &Caller) -> Vec<Next> {
    let name = rollout.name_any();
    let own = |verb: &str, does| Next { command: caller.command(&verb.replace("NAME", &name)), does };
    let kubectl = |words: &str, does| Next { command: caller.kubectl(words), does };
    let release = |does| {
        if let Some(deployment) = &rollout.spec.workload.deployment {
            kubectl(&format!("set image deployment/{deployment} CONTAINER=IMAGE"), does)
        } else {
            let patch = r#"{"spec":{"workload":{"live":"VERSION"}}}"#;
            kubectl(&format!("patch rollouts.stepgate.dev {name} --type=merge -p '{patch}'"), does)
        }
    };
    let Some(status) = &rollout.status else {
        return vec![Next { command: CONTROLLERS.to_owned(), does: "see whether a controller runs" }];
    };
    let (explain, abort) = (own("explain NAME", "see what was found"), own("abort NAME", "take the release back"));
    if status.release.is_some() && rollout.spec.paused && !is_going_back(status) {
        return vec![own("resume NAME", "let the release go on"), abort];
    }
    if let Some(release) = status.release.as_ref().filter(|_| awaits_approval(status)) {
        // Of what is seen here, and of nothing that may have come in its place by then.
        let approve = format!("approve NAME --revision {}", release.revision);
        return vec![own(&approve, "approve it, so that the release goes on"), abort];
    }
    if let Some(deployment) = rollout.spec.workload.deployment.as_ref().filter(|_| waits_for_owner(status)) {
        let resume = format!("rollout resume deployment/{deployment}");
        return vec![kubectl(&resume, "end its owner's pause, so that a new template is released"), explain];
    }
    match status.phase {
        None | Some(Phase::Pending) => vec![explain],
        Some(Phase::Healthy) if !holds(status, "Ready") => vec![explain],
        Some(Phase::Healthy) => {
            let live = status.stable.as_ref().map(|stable| stable.revision.as_str()).unwrap_or_default();
            let undo = before(status, live).map(|_| own("undo NAME", "go back to the version that was live before"));
            iter::once(release("release another version")).chain(undo).collect()
        }
        Some(Phase::Progressing) if status.step.as_ref().is_some_and(|step| step.since.is_some() && step.waiting_since.is_none()) => {
            vec![own("promote NAME", "end this hold"), abort]
        }
        Some(Phase::Preparing | Phase::Progressing) => vec![own("explain NAME", "see what it waits for"), abort],
        Some(Phase::Baking) => vec![own("promote NAME", "let the old version go now"), own("abort NAME", "go back to the old version")],
        Some(Phase::Promoting) => vec![own("wait NAME --for=succeeded", "wait until it is over")],
        Some(Phase::RollingBack) if keeps_canary(status) => {
            vec![own("retry NAME", "release it again from the first step"), own("abort NAME", "remove the canary")]
        }
        Some(Phase::RollingBack) => vec![own("wait NAME --for=rolled-back", "wait until it is over")],
        Some(Phase::RolledBack) => vec![release("release a better version"), own("retry NAME", "release it again, once its cause is gone")],
    }
}

fn is_going_back(status: &RolloutStatus) -> bool {
    status.release.as_ref().is_some_and(|release| release.rollback.is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::show::caller::Program;

    #[test]
    fn an_owners_pause_is_ended_by_its_owner() {
        let condition = json!({
            "type": "Paused", "status": "True", "reason": "PausedByOwner", "message": "", "lastTransitionTime": "2026-11-21T14:00:00Z",
        });
        let rollout: Rollout = serde_json::from_value(json!({
            "apiVersion": "stepgate.dev/v1alpha1",
            "kind": "Rollout",
            "metadata": {"name": "hello"},
            "spec": {"workload": {"deployment": "web"}, "services": ["web"]},
            "status": {"phase": "Healthy", "conditions": [condition]},
        }))
        .unwrap();
        let first = next(&rollout, &Caller::new(Program::Stepgate, Some("shop"), None, None)).remove(0);
        assert_eq!(first.command, "kubectl rollout resume deployment/web -n shop");
    }
}
