//! A `ReplicaSet` as the Deployment controller reads it.

use std::cmp::Ordering;

use serde_json::Value;

use crate::{api::POD_TEMPLATE_HASH, sim::json};

#[derive(Clone, Debug)]
pub(super) struct Set(pub Value);

impl Set {
    pub fn name(&self) -> &str {
        json::name(&self.0)
    }

    pub fn created(&self) -> &str {
        json::text(&self.0, "/metadata/creationTimestamp")
    }

    /// The replicas it is asked for.
    pub fn replicas(&self) -> i64 {
        json::int(&self.0, "/spec/replicas")
    }

    /// A number of its status.
    pub fn status(&self, field: &str) -> i64 {
        json::int(&self.0, &format!("/status/{field}"))
    }

    pub fn available(&self) -> i64 {
        self.status("availableReplicas")
    }

    /// The number in an annotation, if there is a proper one.
    pub fn number(&self, annotation: &str) -> Option<i64> {
        json::annotation(&self.0, annotation)?.parse().ok().filter(|number| (0..=i64::from(i32::MAX)).contains(number))
    }

    pub fn revision(&self) -> i64 {
        self.number(super::REVISION).unwrap_or(0)
    }

    /// Annotates; true if that changed anything.
    pub fn annotate(&mut self, key: &str, value: &str) -> bool {
        let annotations = json::fields_mut(&mut self.0, "/metadata/annotations");
        let changed = annotations.get(key).and_then(Value::as_str) != Some(value);
        annotations.insert(key.into(), value.into());
        changed
    }

    pub fn older_first(one: &Self, other: &Self) -> Ordering {
        (one.created(), one.name()).cmp(&(other.created(), other.name()))
    }

    /// Larger ones first, older ones first among equals.
    pub fn by_size_older_first(one: &Self, other: &Self) -> Ordering {
        other.replicas().cmp(&one.replicas()).then_with(|| Self::older_first(one, other))
    }

    /// Larger ones first, newer ones first among equals.
    pub fn by_size_newer_first(one: &Self, other: &Self) -> Ordering {
        other.replicas().cmp(&one.replicas()).then_with(|| Self::older_first(other, one))
    }
}

/// Whether two pod templates are equal but for the hash label.
pub(super) fn same_template(one: &Value, other: &Value) -> bool {
    bare(one) == bare(other)
}

/// The template without what the controllers add, and without empty maps, which mean the same as none.
pub(super) fn bare(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(POD_TEMPLATE_HASH);
    }
    for path in ["/metadata/labels", "/metadata/annotations"] {
        if json::fields(&template, path).is_some_and(json::Fields::is_empty) {
            json::unset(&mut template, path);
        }
    }
    template
}
