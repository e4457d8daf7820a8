//! The record that an adoption has begun: a label on the user's Deployment that names the revision and keeps the owner's `maxSurge`.
//!
//! A label and not an annotation: the Deployment controller copies a Deployment's annotations to its ReplicaSets, where ours would stay for good.

use serde_json::Value;

use crate::api::{HANDOVER, status::Phase};

use super::view::View;

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
