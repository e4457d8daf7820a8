//! How far a hand-over is: a label on the user's Deployment that names the revision and keeps the owner's `maxSurge`, and the pods that are there.
//!
//! A label and not an annotation: the Deployment controller copies a Deployment's annotations to its ReplicaSets, where ours would stay for good.

use serde_json::Value;

use crate::{
    api::{HANDOVER, status::Phase},
    core::view::{View, declared::Pair, side::Side},
};

/// Whether the pods of the release belong to the user's Deployment already: from here on it is finished, not called off.
pub fn is_past_return(view: &View<'_>) -> bool {
    let late = matches!(view.snapshot.status.phase, Some(Phase::Baking | Phase::Promoting)) || view.handover();
    late && view.successor().is_some() && view.canary().is_none()
}

/// The label's value: `3f9c1ab27d.25pct`, `3f9c1ab27d.1`, or `3f9c1ab27d.none` where the strategy has no `maxSurge`.
pub fn label(revision: &str, max_surge: Option<&Value>) -> String {
    let kept = match max_surge {
        Some(Value::Number(pods)) => pods.to_string(),
        Some(Value::String(text)) => text.replace('%', "pct"),
        _ => "none".to_owned(),
    };
    format!("{revision}.{kept}")
}

/// The owner's `maxSurge` in a label's value.
pub fn max_surge(label: &str) -> Option<Value> {
    let (_, kept) = label.split_once('.')?;
    match kept.strip_suffix("pct") {
        Some(percent) => percent.parse::<u32>().ok().map(|percent| Value::from(format!("{percent}%"))),
        None => kept.parse::<u32>().ok().map(Value::from),
    }
}

impl View<'_> {
    /// Whether the hand-over label is on the Deployment.
    pub fn is_labelled_for_handover(&self) -> bool {
        self.hello.labels.contains_key(HANDOVER)
    }

    /// Whether an adoption has left anything on the Deployment: its label, or, where somebody took that off, the open `maxSurge`.
    pub fn handover(&self) -> bool {
        self.is_labelled_for_handover() || self.left_open().is_some()
    }

    /// Whether it is the owner who has paused the Deployment, so that it stays paused and its template is not released: nothing of ours is
    /// under way, and no write of ours or of the admission policies is on record as having paused it.
    pub fn is_paused_by_owner(&self) -> bool {
        let status = &self.snapshot.status;
        let resting = matches!(status.phase, None | Some(Phase::Pending | Phase::Healthy)) && status.release.is_none();
        self.hello.paused && !self.hello.held && resting && !self.handover()
    }

    /// The owner's `maxSurge`, to be given back: from the label, else from the canary, which was made with the same strategy.
    pub fn kept_max_surge(&self) -> Option<Value> {
        self.hello.labels.get(HANDOVER).and_then(|label| max_surge(label)).or_else(|| self.left_open())
    }

    fn left_open(&self) -> Option<Value> {
        let late = matches!(self.snapshot.status.phase, Some(Phase::Promoting | Phase::RollingBack));
        let open = self.hello.max_surge().and_then(Value::as_str) == Some("100%");
        let owners = self.ours().find_map(|canary| canary.max_surge().cloned())?;
        (late && open && owners.as_str() != Some("100%")).then_some(owners)
    }
}

/// Whether the old pods may be going already, so that clients could not be taken back to them: the Deployment rolls itself, or the previous
/// version is scaled to 0. Where the new version itself is gone there is no other way than back.
pub fn is_rolling(view: &View<'_>, phase: Phase) -> bool {
    let has_begun = match view.pair {
        Pair::Managed { .. } => has_begun(view),
        Pair::Declared(_) => view.canary().is_some(),
    };
    phase == Phase::Promoting && has_begun
}

/// Whether the Deployment has begun to roll: it has pods of the new revision beside the canary's.
pub fn has_begun(view: &View<'_>) -> bool {
    !view.hello.paused || view.successor().is_some_and(|successor| successor.replica_set.replicas > 0 || !successor.pods.is_empty())
}

/// The canary's pods, where the Deployment has them already: the hand-over was on its way when the way back began.
pub fn adopted<'a>(view: &View<'a>) -> Option<Side<'a>> {
    view.successor().filter(|_| view.hello.paused && view.canary().is_none() && view.canary_deployment().is_some())
}

/// Whether the Deployment has the canary's pods already and has let all of the old ones go, so that there is nothing left to go back to.
pub fn is_too_late(view: &View<'_>, live: &Side<'_>) -> bool {
    view.is_worker() && live.replica_set.replicas == 0 && adopted(view).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_owners_surge_is_read_back_from_the_label() {
        for surge in [json!("25%"), json!("100%"), json!(1), json!(0)] {
            let label = label("3f9c1ab27d", Some(&surge));
            assert!(label.chars().all(|c| c.is_ascii_alphanumeric() || c == '.') && label.len() <= 63, "{label} is no label value");
            assert_eq!(max_surge(&label), Some(surge));
        }
        assert_eq!(max_surge(&label("3f9c1ab27d", None)), None);
        assert_eq!(max_surge("written-by-hand"), None);
    }
}
