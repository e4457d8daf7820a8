//! Approvals: judged, and put on record.

use crate::{
    api::{
        policy::Gate,
        rollout::Request,
        status::{Approval, Release},
    },
    core::{
        decision::draft::Draft,
        gate::approval::{awaited, of},
        view::View,
    },
};

/// What becomes of an approval that is sent now.
///
/// # Errors
/// In words for who has sent it: no gate waits for it.
pub fn judge(view: &View<'_>, release: &Release) -> Result<&'static str, String> {
    if !awaited(view, release).is_empty() {
        return Ok("the gate is approved");
    }
    let asking: Vec<&Gate> = release.policy.gates.iter().filter(|gate| gate.approval.is_some()).collect();
    let sentence = if asking.is_empty() {
        "no gate of this release asks for an approval"
    } else if asking.iter().all(|gate| of(release, &gate.name).is_some()) {
        "every gate that asks for an approval has it already"
    } else {
        "no gate waits for an approval yet"
    };
    Err(sentence.to_owned())
}

/// Puts on record who approves what holds the release now.
pub fn give(view: &View<'_>, draft: &mut Draft, request: &Request) {
    let Some(release) = &mut draft.status.release else { return };
    let (by, verified) = (&request.by, view.snapshot.stamped);
    let given = awaited(view, release).into_iter().map(|gate| Approval { gate, by: by.clone(), verified, at: view.now });
    release.approvals.extend(given);
}
