//! The rotation label: which pods carry it, and in which order it is put on and taken off.

use std::{
    collections::BTreeSet,
    ops::ControlFlow::{Break, Continue},
};

use crate::{
    api::{ROTATION, status::Release},
    core::{
        decision::{
            action::{Action, Rotation},
            draft::Draft,
            wait::Part,
        },
        facts::pod::PodFacts,
        traffic::selectors::{affinity, split::Split},
        view::{
            View,
            side::{Side, Sides, count},
        },
    },
};

/// Ready pods below which no write of ours may leave a Service.
pub fn enough(view: &View<'_>, sides: Sides<'_, '_>) -> i32 {
    let selectable = sides.canary.ready_count() + sides.live.map_or(0, Side::ready_count);
    view.hello.replicas.min(selectable)
}

/// Pods of the canary that a weight takes clients from no more, where clients are to keep their version: also those that are more than the
/// split counts on, because somebody scaled in between.
pub fn kept(release: &Release, weight: u8, canary: &Side<'_>) -> i32 {
    match affinity::seconds(&release.policy) {
        None => 0,
        Some(_) if weight > 50 => canary.ready_count(),
        Some(_) => count(canary.ready().filter(|pod| pod.labels.contains_key(ROTATION))),
    }
}

/// The pods that carry the rotation label for a split: those that do already, then by name. Missing pods of one side are made up for by
/// those of the other, so that the capacity stays: a live side that is down blocks nothing.
pub fn chosen<'a>(view: &View<'a>, sides: Sides<'a, '_>, canary: i32, stable: i32) -> Vec<&'a PodFacts> {
    let enough = enough(view, sides);
    let mut pods = first(sides.canary, canary.max(enough - sides.live.map_or(0, Side::ready_count)));
    let stable = stable.max(enough - count(pods.iter()));
    pods.extend(sides.live.map(|live| first(live, stable)).unwrap_or_default());
    pods
}

fn first<'a>(side: &Side<'a>, number: i32) -> Vec<&'a PodFacts> {
    let mut ready: Vec<&PodFacts> = side.ready().collect();
    ready.sort_by_key(|pod| (!pod.labels.contains_key(ROTATION), &pod.name));
    ready.truncate(usize::try_from(number).unwrap_or(0));
    ready
}

/// Puts exactly these pods into rotation: the missing ones in first, then the others out, so that every moment in between has at
/// least as many as both ends. Until that is done the weight is not what it should be.
pub fn label(view: &View<'_>, draft: &mut Draft, chosen: &[&PodFacts]) -> Part {
    // A step that is over in this very decision may have asked for labels to be taken off.
    draft.actions.retain(|action| !matches!(action, Action::LabelPod { rotation: Rotation::Out, .. }));
    let missing = chosen.iter().filter(|pod| !pod.labels.contains_key(ROTATION));
    let kept: BTreeSet<&str> = chosen.iter().map(|pod| pod.uid.as_str()).collect();
    let surplus = view.in_rotation().filter(|pod| !pod.deleting() && !kept.contains(pod.uid.as_str()));
    let labels: Vec<Action> = missing
        .map(|pod| Action::LabelPod { pod: pod.object(), rotation: Rotation::In })
        .chain(surplus.map(|pod| Action::LabelPod { pod: pod.object(), rotation: Rotation::Out }))
        .collect();
    if labels.is_empty() {
        return Continue(());
    }
    draft.actions.extend(labels);
    Break(())
}

/// Takes the rotation label off, where the split does not use it. Only after the selectors are confirmed.
pub fn retire_labels(view: &View<'_>, draft: &mut Draft, split: Split) {
    if !matches!(split, Split::Rotation { .. }) {
        draft.actions.extend(
            view.in_rotation().filter(|pod| !pod.deleting()).map(|pod| Action::LabelPod { pod: pod.object(), rotation: Rotation::Out }),
        );
    }
}
