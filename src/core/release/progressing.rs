//! The steps: weight asked, confirmed, settled, held; then the next one.

use crate::{
    api::{
        policy::When,
        status::{Release, StepStatus},
    },
    core::{
        decision::{
            draft::Draft,
            notice::Reason,
            step::step,
            time::{after, bounded},
            wait::Flow,
        },
        facts::pin::Pin,
        gate::{self, approval, ask_for_approval},
        release::{baking::begin_bake, hold::hold_clock},
        traffic::{
            establish::{self, establish},
            selectors::affinity,
        },
        view::{
            View,
            side::{Side, Sides},
        },
        why::Why,
    },
};

/// At step i: weight asked, confirmed, settled, held; then the next step.
pub fn progress(view: &View<'_>, draft: &mut Draft, release: &Release, sides: Sides<'_, '_>) -> Flow {
    let steps = &release.policy.steps;
    let mut at = draft.status.step.clone().unwrap_or_else(|| step(steps, 1));
    if moved_on(view, release, &at, sides.canary) {
        at = step(steps, at.index + 1);
        draft.status.step = Some(at.clone());
    }
    loop {
        establish(view, draft, release, at.weight, sides)?;
        let waiting_since = draft.status.step.as_ref().and_then(|step| step.waiting_since);
        let hold = steps.iter().find(|step| step.weight == at.weight).map(|step| step.hold).unwrap_or_default();
        let settled_at = after(view.now, establish::settle(view, release));
        if at.since.is_none() {
            let keeps = affinity::seconds(&release.policy).is_some() && at.weight < 100;
            let subject = match (view.is_worker(), keeps) {
                (true, _) => "the pods are of",
                (false, true) => "new clients go to",
                (false, false) => "the clients are on",
            };
            draft.notice(Reason::WeightConfirmed, format!("{} % of {subject} revision {}", view.share(at.weight), release.revision));
        }
        let since = bounded(&mut at.since, settled_at);
        at.waiting_since = waiting_since;
        if let Some(release) = &mut draft.status.release {
            release.max_weight = release.max_weight.max(view.share(at.weight));
        }
        let clock = hold_clock(view, draft, &mut at, since, hold);
        draft.status.step = Some(at.clone());
        clock?;
        let names = gate::pending(view, release, When::DuringSteps, sides.canary);
        if !names.is_empty() {
            return Why::Gates { names, until: None }.within(release.policy.progress_deadline);
        }
        ask_for_approval(view, release, &[When::DuringSteps], at.weight)?;
        if at.index >= at.of {
            return begin_bake(view, draft, release);
        }
        at = step(steps, at.index + 1);
        draft.status.step = Some(at.clone());
    }
}

/// Whether the cluster is further than the status: the next step's writes were begun and their record lost.
fn moved_on(view: &View<'_>, release: &Release, at: &StepStatus, canary: &Side<'_>) -> bool {
    let over = at.since.is_some() && at.until.is_some_and(|until| until <= view.now) && at.index < at.of;
    if !over || !approval::missing(release, &[When::DuringSteps], at.weight).is_empty() {
        return false;
    }
    let pin_at = |index| {
        let weight = step(&release.policy.steps, index).weight;
        view.split(&release.policy, weight).pin(canary.value)
    };
    let next = pin_at(at.index + 1);
    let labelled = next == Pin::Rotation && view.in_rotation().next().is_some();
    pin_at(at.index) != next && (labelled || view.services().iter().any(|service| view.pin(service) == next))
}
