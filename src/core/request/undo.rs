//! Going back to a revision that was live before. While a release is under way that is to take it back; afterwards it is a release of the
//! older revision, whose template (or `workload.live`) whoever asks writes with their own rights: the controller never does.

use jiff::Timestamp;

use crate::{
    api::{
        rollout::{Request, RequestAction},
        status::Rejected,
    },
    core::{
        decision::draft::Draft,
        history,
        view::View,
        why::{refusal::Refusal, words::reason},
    },
};

/// What becomes of an `Undo` that is sent while no release is under way.
///
/// # Errors
/// In words for who has sent it: another revision is live, or none could be released in its place.
pub fn judge(view: &View<'_>, request: &Request, refusal: Option<&Refusal>) -> Result<&'static str, String> {
    let Request { revision, to, .. } = request;
    let (to, Some(live)) = (to.as_deref().unwrap_or_default(), live(view)) else {
        return Err("no version is recorded as the live one yet; wait until the Rollout is Healthy".into());
    };
    let status = &view.snapshot.status;
    let rejected = |revision: &str| status.rejected.iter().find(|rejected| rejected.revision == revision);
    if live == to && rejected(revision).is_some() {
        return Ok("the abandoned revision was taken back already, and stays held");
    }
    if live != revision {
        return Err(format!("revision {live} is live, not {revision}; send it for {live} to abandon that one"));
    }
    if let Some(Rejected { reason, .. }) = rejected(to) {
        return Err(format!(
            "revision {to} is held itself ({reason}); write its template and send a Retry request to release it all the same"
        ));
    }
    refusal.map_or(Ok("the abandoned revision is held from now on"), |refusal| Err(refusal.to_string()))
}

/// Puts on record that the live revision is abandoned, so that it does not come back when somebody writes it again.
pub fn abandon(view: &View<'_>, draft: &mut Draft, request: &Request) {
    // One that was taken back already is held for the reason that it was taken back for.
    if live(view) == Some(&request.revision) {
        let (revision, instead) = (request.revision.clone(), instead(request));
        history::reject(&mut draft.status, Rejected { revision, reason: reason(request), gate: String::new(), instead, at: view.now });
    }
}

/// Puts on record that a revision which is being taken back already is given up by request too. What it was taken back for stays its reason.
pub fn give_up(draft: &mut Draft, request: &Request, revision: String, now: Timestamp) {
    let new = |revision| Rejected { revision, reason: reason(request), gate: String::new(), instead: String::new(), at: now };
    let known = draft.status.rejected.iter().find(|rejected| rejected.revision == revision).cloned();
    let known = known.unwrap_or_else(|| new(revision));
    let instead = if request.action == RequestAction::Undo { instead(request) } else { known.instead };
    history::reject(&mut draft.status, Rejected { instead, ..known });
}

fn live<'a>(view: &View<'a>) -> Option<&'a str> {
    view.live().map(|live| live.replica_set.revision.as_str())
}

/// The revision that a request puts in the place of the one that it abandons; empty where it is no `Undo`.
pub fn instead(request: &Request) -> String {
    request.to.clone().filter(|_| request.action == RequestAction::Undo).unwrap_or_default()
}
