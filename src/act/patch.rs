//! The merge patches of the actions, as values.

use serde_json::{Value, json};

use crate::{
    api::{HELD, HELD_BY_STEPGATE},
    core::facts::{
        object::Object,
        pin::{Keys, Pin},
        service::SessionAffinity,
    },
};

/// Annotations by which the Deployment controller scales its ReplicaSets in proportion.
const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";

pub(super) fn versioned(object: &Object, mut patch: Value) -> Value {
    patch["metadata"]["resourceVersion"] = json!(object.resource_version);
    patch
}

pub(super) fn pin_patch(keys: Keys<'_>, to: &Pin, affinity: Option<SessionAffinity>) -> Value {
    let selector: serde_json::Map<String, Value> = keys.all().map(|key| (key.to_owned(), Value::Null)).into_iter().collect();
    let mut patch = json!({"spec": {"selector": selector}});
    if let Some((key, value)) = keys.entry(to) {
        patch["spec"]["selector"][key] = json!(value);
    }
    match affinity {
        None => {}
        Some(SessionAffinity::Off) => {
            patch["spec"]["sessionAffinity"] = json!("None");
            patch["spec"]["sessionAffinityConfig"] = Value::Null;
        }
        Some(SessionAffinity::ClientIp(seconds)) => {
            patch["spec"]["sessionAffinity"] = json!("ClientIP");
            patch["spec"]["sessionAffinityConfig"] = json!({"clientIP": {"timeoutSeconds": seconds}});
        }
    }
    patch
}

/// `spec.paused`, and on record whose it is.
pub(super) fn pause_patch(paused: bool) -> Value {
    json!({"metadata": {"labels": {HELD: paused.then_some(HELD_BY_STEPGATE)}}, "spec": {"paused": paused}})
}

pub(super) fn surge_patch(max_surge: &Value) -> Value {
    json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": max_surge}}}})
}

pub(super) fn adoption_patch(owner: &Object, size: i32) -> Value {
    json!({
        "metadata": {
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "Deployment", "name": owner.name, "uid": owner.uid, "controller": true, "blockOwnerDeletion": true,
            }],
            "annotations": {DESIRED_REPLICAS: size.to_string(), MAX_REPLICAS: size.saturating_mul(2).to_string()},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::facts::pin::MANAGED;

    #[test]
    fn a_pin_names_all_keys_of_ours_so_that_none_is_left_over() {
        assert_eq!(
            pin_patch(MANAGED, &Pin::Side("5d4f".into()), None),
            json!({"spec": {"selector": {"pod-template-hash": "5d4f", "stepgate.dev/rotation": null}}})
        );
        assert_eq!(
            pin_patch(Keys { side: "version" }, &Pin::Rotation, None),
            json!({"spec": {"selector": {"version": null, "stepgate.dev/rotation": "in"}}})
        );
        assert_eq!(
            pin_patch(MANAGED, &Pin::Open, None),
            json!({"spec": {"selector": {"pod-template-hash": null, "stepgate.dev/rotation": null}}})
        );
    }

    #[test]
    fn an_affinity_that_is_given_back_leaves_no_time_behind() {
        let patch = |affinity| pin_patch(MANAGED, &Pin::Open, Some(affinity))["spec"].clone();
        let (set, off) = (patch(SessionAffinity::ClientIp(600)), patch(SessionAffinity::Off));
        assert_eq!(set["sessionAffinity"], "ClientIP");
        assert_eq!(set["sessionAffinityConfig"], json!({"clientIP": {"timeoutSeconds": 600}}));
        assert_eq!(off["sessionAffinity"], "None");
        assert!(off.as_object().is_some_and(|spec| spec["sessionAffinityConfig"].is_null()));
        assert!(pin_patch(MANAGED, &Pin::Open, None)["spec"].get("sessionAffinityConfig").is_none(), "what is not named stays");
    }
}
