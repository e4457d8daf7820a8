//! DELETE: one object, or all that a selector finds. What has finalizers or a grace period stays until they are over.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::sim::{
    clock::{after, seconds},
    json,
};

use super::{
    ApiServer, Reply,
    call::Call,
    kinds::{Generation, Kind},
    problem::Problem,
    request::{Request, Target},
    store::Key,
};

/// How to delete.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeleteOptions {
    /// Only the object of this uid.
    pub uid: String,
    /// Only in this version.
    pub resource_version: String,
    /// `Background` (the default), `Foreground` or `Orphan`.
    pub propagation: String,
    /// Seconds that a pod gets; its own where absent.
    pub grace: Option<i64>,
}

impl DeleteOptions {
    fn parse(request: &Request) -> Result<Self, Problem> {
        let body = if request.body.is_empty() { Value::Null } else { request.json()? };
        let either = |path: &str, param: &str| {
            Some(json::text(&body, path)).filter(|text| !text.is_empty()).unwrap_or(request.param(param)).to_owned()
        };
        Ok(Self {
            uid: json::text(&body, "/preconditions/uid").into(),
            resource_version: json::text(&body, "/preconditions/resourceVersion").into(),
            propagation: either("/propagationPolicy", "propagationPolicy"),
            grace: body.pointer("/gracePeriodSeconds").and_then(Value::as_i64).or_else(|| request.param("gracePeriodSeconds").parse().ok()),
        })
    }
}

impl ApiServer {
    /// A client's DELETE of one object: the object as long as it is still there, or the word that it is gone.
    pub(super) fn delete_request(&mut self, call: &mut Call, target: &Target, request: &Request) -> Result<Arc<Value>, Problem> {
        let left = self.delete(call, &target.key(), &DeleteOptions::parse(request)?)?;
        Ok(left.unwrap_or_else(|| Arc::new(deleted(&target.kind, &target.name))))
    }

    pub(super) fn delete_collection(&mut self, call: &mut Call, target: &Target, request: &Request) -> Result<Reply, Problem> {
        let get = Request { method: "GET".into(), accept: String::new(), ..request.clone() };
        let Reply::Answer { body, .. } = self.read(call.now, target, &get)? else { return Err(Problem::method_not_allowed()) };
        let options = DeleteOptions::parse(request)?;
        for object in json::items(&body, "/items") {
            self.delete(call, &Key::new(&target.kind.stored_as(), json::namespace(object), json::name(object)), &options)?;
        }
        Ok(Reply::ok(body))
    }

    pub(super) fn remove(&mut self, call: &Call, kind: &Kind, key: Key) {
        if kind.plural == "customresourcedefinitions" {
            let definition = self.store.get(&key).cloned().unwrap_or_default();
            let (group, plural) =
                (json::text(&definition, "/spec/group").to_owned(), json::text(&definition, "/spec/names/plural").to_owned());
            let theirs: Vec<Key> = self.store.list(&key.name, "").map(|(key, _)| key.clone()).collect();
            for key in theirs {
                self.store.commit(call.now, &call.user, key, None);
            }
            self.kinds.remove(&group, &plural);
        }
        self.store.commit(call.now, &call.user, key, None);
    }

    /// Deletes an object. Gives it back as long as it is still there: finalizers, a pod's grace period.
    ///
    /// # Errors
    /// `NotFound`, and `Conflict` for a precondition that does not hold.
    pub fn delete(&mut self, call: &mut Call, key: &Key, options: &DeleteOptions) -> Result<Option<Arc<Value>>, Problem> {
        let kind = self.kinds.stored(&key.resource).ok_or_else(Problem::no_such_path)?.clone();
        let current = self.find(key, &kind)?.clone();
        for (field, asked) in [("uid", &options.uid), ("resourceVersion", &options.resource_version)] {
            let found = json::text(&current, &format!("/metadata/{field}"));
            if !asked.is_empty() && asked != found {
                let field = if field == "uid" { "UID" } else { "ResourceVersion" };
                return Err(Problem::conflict(
                    &kind,
                    &key.name,
                    &format!("Precondition failed: {field} in precondition: {asked}, {field} in object meta: {found}"),
                ));
            }
        }
        let mut next = (*current).clone();
        let finalizer = match options.propagation.as_str() {
            "Foreground" => Some("foregroundDeletion"),
            "Orphan" => Some("orphan"),
            _ if kind.plural == "namespaces" => Some("kubernetes"),
            _ => None,
        };
        let mut finalizers = json::items(&next, "/metadata/finalizers").to_vec();
        if let Some(finalizer) = finalizer.filter(|finalizer| !json::deleting(&next) && !finalizers.iter().any(|known| known == finalizer))
        {
            finalizers.push(finalizer.into());
            json::set(&mut next, "/metadata/finalizers", finalizers.clone());
        }
        let grace = grace(&kind, &current, options);
        let sooner = json::deleting(&current) && grace < json::int(&current, "/metadata/deletionGracePeriodSeconds");
        if finalizers.is_empty() && grace == 0 {
            if !call.dry_run {
                self.remove(call, &kind, key.clone());
            }
            return Ok(None);
        }
        if !json::deleting(&current) || sooner {
            let grace_time = std::time::Duration::from_secs(u64::try_from(grace).unwrap_or(0));
            json::set(&mut next, "/metadata/deletionTimestamp", seconds(after(call.now, grace_time)));
            json::set(&mut next, "/metadata/deletionGracePeriodSeconds", grace);
            if kind.generation != Generation::Never && !sooner {
                json::set(&mut next, "/metadata/generation", json::int(&current, "/metadata/generation") + 1);
            }
        }
        if next == *current {
            return Ok(Some(current));
        }
        Ok(Some(self.commit(call, &kind, key.clone(), next)))
    }
}

/// Seconds until the object may go: pods on a node are asked to stop first.
fn grace(kind: &Kind, current: &Value, options: &DeleteOptions) -> i64 {
    let running = kind.plural == "pods"
        && !json::text(current, "/spec/nodeName").is_empty()
        && !matches!(json::text(current, "/status/phase"), "Failed" | "Succeeded");
    if !running {
        return 0;
    }
    let own = json::int(current, "/spec/terminationGracePeriodSeconds");
    let asked = options.grace.unwrap_or(own).max(0);
    if json::deleting(current) { asked.min(json::int(current, "/metadata/deletionGracePeriodSeconds")) } else { asked }
}

fn deleted(kind: &Kind, name: &str) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": { "name": name, "group": kind.group, "kind": kind.plural } })
}
