//! Which objects a request wants to see, and in which form.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    event,
    kinds::Kind,
    problem::Problem,
    request::{Request, Target},
    selector::{FieldTests, Labels},
    store::Key,
    table,
};
use crate::sim::json;

/// Which objects a request wants to see, and in which form.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// `""`: all namespaces.
    pub namespace: String,
    pub labels: Labels,
    pub fields: FieldTests,
    /// Rows of a Table instead of objects.
    pub table: bool,
    /// Metadata only.
    pub partial: bool,
}

impl View {
    pub(super) fn of(target: &Target, request: &Request) -> Result<Self, Problem> {
        Ok(Self {
            namespace: target.namespace.clone(),
            labels: Labels::parse(request.param("labelSelector"))?,
            fields: FieldTests::parse(request.param("fieldSelector"), &target.kind.plural)?,
            table: request.accept.contains("as=Table"),
            partial: request.accept.contains("as=PartialObjectMetadata"),
        })
    }

    pub(super) fn covers(&self, key: &Key) -> bool {
        self.namespace.is_empty() || key.namespace == self.namespace
    }

    pub(super) fn selects(&self, kind: &Kind, object: &Value) -> bool {
        self.labels.matches(object) && self.fields.matches(&present(kind, object))
    }

    /// The object as this request gets it.
    pub(super) fn render(&self, kind: &Kind, object: &Value, now: Timestamp) -> Value {
        let object = present(kind, object);
        if self.table {
            table::of_list(kind, [&object], &json!({ "resourceVersion": json::text(&object, "/metadata/resourceVersion") }), now)
        } else if self.partial {
            json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"] })
        } else {
            object
        }
    }
}

/// The object as its own kind shows it: Events have two.
pub(super) fn present(kind: &Kind, object: &Value) -> Value {
    if kind.is_core_event() { event::to_core(object) } else { object.clone() }
}
