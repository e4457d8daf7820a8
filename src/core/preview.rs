//! The preview: a Service of the user's that reaches the version under release alone, before any client does.
//!
//! It carries no client, so that nothing waits for it: no weight, no confirmation, no way back. It is written after everything else that is
//! decided. What is to be written follows from what is found; on record before is only which Service it is, so that it gets back what its
//! owner wrote whatever becomes of `spec.preview`.

use std::ops::ControlFlow::{Break, Continue};

use crate::{
    api::status::{Preview, Release},
    core::{
        accept::{rival, service},
        decision::{
            action::Action,
            draft::Draft,
            notice::Reason,
            wait::{Part, Wait},
        },
        facts::{pin::Pin, service::ServiceFacts},
        view::{View, declared::Pair, handover, side::Side},
        why::{
            Why,
            refusal::{Refusal, service::Named},
        },
    },
};

/// Where a Service is reached from within the cluster.
pub fn address(service: &str, namespace: &str, port: Option<i32>) -> String {
    let home = if namespace.is_empty() { String::new() } else { format!(".{namespace}") };
    let port = port.filter(|port| *port != 80).map(|port| format!(":{port}")).unwrap_or_default();
    format!("http://{service}{home}{port}")
}

/// The version that the preview is to reach: the canary, also once its pods are the user's Deployment's own. None while there is none.
pub fn shown<'a>(view: &View<'a>) -> Option<Side<'a>> {
    if handover::is_past_return(view) {
        return view.successor();
    }
    let ends = view.canary_deployment().is_some_and(|deployment| deployment.deleting);
    view.canary().filter(|_| !ends)
}

/// Writes the preview where it is not what it should be, last of all, and says what it shows.
pub fn follow(view: &View<'_>, draft: &mut Draft, wait: &Wait) {
    let named = view.snapshot.rollout.spec.preview.as_deref();
    is_gone(draft);
    if draft.status.preview.as_ref().is_some_and(|held| Some(held.service.as_str()) != named) && give_back(view, draft).is_break() {
        return;
    }
    let Some(name) = named else { return };
    if draft.status.preview.is_none() {
        // What a release would be refused for is told as that, and is not Stepgate's to write.
        let is_refused = || draft.status.release.is_none() && service::preview_problem(view).is_some();
        if draft.status.stable.is_none() || is_anothers(view, draft) || is_refused() {
            return;
        }
        draft.status.preview = Some(Preview { service: name.to_owned(), ..Preview::default() });
    }
    let said = show(view, draft, wait, name);
    let before = view.snapshot.status.preview.as_ref().map(|before| before.message.as_str()).unwrap_or_default();
    if let Err(problem) = &said
        && problem != before
    {
        draft.notice(Reason::PreviewUnavailable, problem.clone());
    }
    if let Some(preview) = &mut draft.status.preview {
        match said {
            Ok(address) => preview.address = address,
            Err(problem) => preview.message = problem,
        }
    }
}

/// That no version under release is reached by it any more.
pub fn is_gone(draft: &mut Draft) {
    if let Some(preview) = &mut draft.status.preview {
        preview.address.clear();
        preview.message.clear();
    }
}

/// Takes the preview to what it is to be. Gives the address of the version under release, nothing where it does not show it yet or no more, or
/// what keeps it from showing it.
fn show(view: &View<'_>, draft: &mut Draft, wait: &Wait, name: &str) -> Result<String, String> {
    let Some(target) = target(view, draft, wait).filter(|_| !is_anothers(view, draft)) else { return Ok(String::new()) };
    let Some(service) = view.service(name) else {
        return match &draft.status.release {
            Some(_) => Err(Refusal::ServiceNotFound { services: vec![name.to_owned()], named: Named::Preview }.to_string()),
            None => Ok(String::new()),
        };
    };
    if view.pin(service) == target {
        let is_there = draft.status.release.is_some() && shown(view).is_some_and(|side| side.pin() == target);
        let address = || address(name, &view.snapshot.rollout.namespace, service.first_port());
        return Ok(if is_there { address() } else { String::new() });
    }
    // A key of ours is taken off whatever else is wrong. To put one on where the Service means other pods would be an outage of theirs.
    if target != Pin::Open
        && let Some(problem) = service::preview_problem(view)
    {
        return Err(problem.to_string());
    }
    write(view, draft, service, target);
    Ok(String::new())
}

/// What its selector is to be; none where it stays as it is.
fn target(view: &View<'_>, draft: &Draft, wait: &Wait) -> Option<Pin> {
    match (view.release(), &draft.status.release) {
        (None, None) => at_rest(view),
        (Some(_), Some(release)) => in_release(view, wait, release),
        // What begins or ends in this very decision is followed by the next one.
        (None, Some(_)) | (Some(_), None) => None,
    }
}

fn at_rest(view: &View<'_>) -> Option<Pin> {
    match view.pair {
        Pair::Declared(_) => view.live().map(|live| live.pin()),
        Pair::Managed { .. } => Some(view.rest_pin()),
    }
}

/// Clients go back first: until they are there it shows what it did. A canary that is kept is there to be looked at.
fn in_release(view: &View<'_>, wait: &Wait, release: &Release) -> Option<Pin> {
    if release.rollback.is_some() && !matches!(wait.why, Why::KeptForDebugging { .. }) {
        return None;
    }
    match shown(view) {
        Some(side) => Some(side.pin()),
        None if release.traffic_since.is_none() => at_rest(view),
        None => None,
    }
}

/// Whether another Rollout has it, or it cannot be told which version is live: then it is not written.
fn is_anothers(view: &View<'_>, draft: &Draft) -> bool {
    draft.refusal.as_ref().is_some_and(Refusal::leaves_live_open) || rival::rival(view).is_some()
}

fn write(view: &View<'_>, draft: &mut Draft, service: &ServiceFacts, to: Pin) {
    let recorded = view.is_recorded().then_some(view.snapshot.status.preview.as_ref()).flatten();
    let is_on_record = recorded.is_some_and(|recorded| recorded.service == service.name);
    // A way back is alone in its batch.
    if is_on_record && view.snapshot.rollout.has_finalizer && !draft.actions.iter().any(Action::is_way_back) {
        draft.act(Action::PinPreview { service: service.object(), side_key: view.keys().side.to_owned(), to });
    }
}

/// Gives the Service on record what it is at rest, once nobody asks for it as a preview any more, and then forgets it.
pub fn give_back(view: &View<'_>, draft: &mut Draft) -> Part {
    let Some(Preview { service: name, .. }) = draft.status.preview.clone() else { return Continue(()) };
    let spec = &view.snapshot.rollout.spec;
    let is_named_elsewhere = spec.services.contains(&name) || view.snapshot.rivals.iter().any(|other| other.services.contains(&name));
    let service = view.service(&name).filter(|_| !is_named_elsewhere && !is_anothers(view, draft));
    match (service, at_rest(view)) {
        // One without a key of ours has what its owner wrote.
        (Some(service), Some(rest)) if view.pin(service) != rest && view.pin(service) != Pin::Open => {
            write(view, draft, service, rest);
            Break(())
        }
        _ => {
            draft.status.preview = None;
            Continue(())
        }
    }
}
