//! Every change goes through here: POST, PUT and PATCH of clients, and the writes of the cluster's own controllers. Deletions go on
//! in `delete`.
//!
//! The order is the real one: merge, take over what a client may not change, default, mutate by policy, validate, validate by policy,
//! compare with what is stored, commit.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    ApiServer, Reply,
    admission::{self, Review},
    apply::{self, Ownership, Will},
    call::{Call, Operation, Part},
    defaults, event,
    kinds::{Generation, Kind, is_errand},
    patch,
    problem::{Cause, Problem},
    request::{Request, Target},
    scale,
    store::Key,
    strict, validate,
};
use crate::sim::{clock::seconds, json};

impl ApiServer {
    pub(super) fn write(&mut self, now: Timestamp, target: &Target, request: &Request) -> Result<Reply, Problem> {
        let dry_run =
            request.dry_run() || (request.method == "DELETE" && request.json().is_ok_and(|body| !json::items(&body, "/dryRun").is_empty()));
        let mut call = Call { dry_run, ..Call::new(now, &request.user) };
        if !request.param("fieldManager").is_empty() {
            request.param("fieldManager").clone_into(&mut call.manager);
        }
        let kind = &target.kind;
        if is_errand(kind, &target.subresource) {
            return self.errand(&mut call, target, request);
        }
        let part = match target.subresource.as_str() {
            "status" => Part::Status,
            "scale" => Part::Scale,
            _ => Part::Whole,
        };
        let (code, object) = match (request.method.as_str(), target.name.is_empty()) {
            ("POST", true) => {
                let mut object = body(&mut call, kind, part, request)?;
                // Who owns what of it is not known before its first apply.
                json::unset(&mut object, "/metadata/managedFields");
                (201, self.create_at(&mut call, kind, &target.namespace, object)?)
            }
            ("PUT", false) => {
                let body = body(&mut call, kind, part, request)?;
                (200, self.update(&mut call, kind, &target.key(), part, |_| Ok(body))?)
            }
            ("PATCH", false) => self.patch(&mut call, target, part, request)?,
            ("DELETE", false) if part == Part::Whole => (200, self.delete_request(&mut call, target, request)?),
            ("DELETE", true) => return self.delete_collection(&mut call, target, request),
            _ => return Err(Problem::method_not_allowed()),
        };
        let body = match part {
            Part::Scale => scale::of(kind, &object),
            _ if kind.is_core_event() => event::to_core(&object),
            _ => (*object).clone(),
        };
        Ok(Reply::Answer { code, warnings: call.warnings, body })
    }

    /// Stores a new object; `apiVersion`, `kind` and `metadata.namespace` say where.
    ///
    /// # Errors
    /// As a POST.
    pub fn create(&mut self, call: &mut Call, object: Value) -> Result<Arc<Value>, Problem> {
        let (api_version, kind) = (json::text(&object, "/apiVersion"), json::text(&object, "/kind"));
        let kind = self.kinds.named(api_version, kind).ok_or_else(Problem::no_such_path)?.clone();
        let namespace = json::namespace(&object).to_owned();
        self.create_at(call, &kind, &namespace, object)
    }

    pub(super) fn create_at(
        &mut self,
        call: &mut Call,
        kind: &Arc<Kind>,
        namespace: &str,
        mut object: Value,
    ) -> Result<Arc<Value>, Problem> {
        check_namespace(&object, namespace)?;
        if kind.namespaced {
            self.namespace_takes_new_objects(kind, namespace, json::name(&object))?;
            json::set(&mut object, "/metadata/namespace", namespace);
        }
        if !json::text(&object, "/metadata/resourceVersion").is_empty() {
            return Err(Problem::bad_request("resourceVersion should not be set on objects to be created"));
        }
        if json::name(&object).is_empty() {
            let base: String = json::text(&object, "/metadata/generateName").chars().take(58).collect();
            if base.is_empty() {
                let cause = Cause::required("metadata.name", "name or generateName is required");
                return Err(Problem::invalid(kind, "", &[cause]));
            }
            json::set(&mut object, "/metadata/name", format!("{base}{}", self.seed.suffix(5)));
        }
        json::set(&mut object, "/metadata/uid", self.seed.uid());
        json::set(&mut object, "/metadata/creationTimestamp", seconds(call.now));
        for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
            json::unset(&mut object, &format!("/metadata/{field}"));
        }
        match kind.generation {
            Generation::Never => drop(json::unset(&mut object, "/metadata/generation")),
            _ => json::set(&mut object, "/metadata/generation", 1),
        }
        if kind.status {
            json::unset(&mut object, "/status");
        }
        if kind.is_core_event() {
            object = event::from_core(&object);
        }
        self.complete(kind, None, &mut object);
        admission::mutate(self, &Review { call, kind, part: Part::Whole, old: None }, &mut object);
        validate::create(kind, &object)?;
        let key = Key::new(&kind.stored_as(), namespace, json::name(&object));
        if self.store.get(&key).is_some() {
            return Err(Problem::already_exists(kind, &key.name));
        }
        if self.ownership == Ownership::SinceCreation && call.operation == Operation::Update {
            apply::posted(call, kind, &mut object);
        }
        Ok(self.commit(call, kind, key, object))
    }

    fn namespace_takes_new_objects(&self, kind: &Kind, namespace: &str, name: &str) -> Result<(), Problem> {
        let Some(home) = self.get("namespaces", "", namespace) else {
            let namespaces = self.kinds.find("", "namespaces").ok_or_else(Problem::no_such_path)?;
            return Err(Problem::not_found(namespaces, namespace));
        };
        if json::deleting(home) {
            let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
            let mut problem = Problem::forbidden(kind, name, &why);
            problem.details["causes"] = json!([{ "reason": "NamespaceTerminating", "field": "metadata.namespace" }]);
            return Err(problem);
        }
        Ok(())
    }

    /// Changes a stored object by `change`, which gets the object (its Scale for [`Part::Scale`]) as it is now. A result without
    /// `resourceVersion` is taken as a change of the newest version.
    ///
    /// # Errors
    /// As a PUT.
    pub fn update(
        &mut self,
        call: &mut Call,
        kind: &Arc<Kind>,
        key: &Key,
        part: Part,
        change: impl FnOnce(&Value) -> Result<Value, Problem>,
    ) -> Result<Arc<Value>, Problem> {
        let current = self.find(key, kind)?.clone();
        let mut next = match part {
            Part::Scale => scale::apply(kind, &current, &change(&scale::of(kind, &current))?),
            _ if kind.is_core_event() => event::from_core(&change(&event::to_core(&current))?),
            _ => change(&current)?,
        };
        check_preconditions(kind, &current, &next)?;
        take_over(kind, part, &current, &mut next);
        self.complete(kind, Some(&current), &mut next);
        admission::mutate(self, &Review { call, kind, part, old: Some(&current) }, &mut next);
        validate::update(kind, part, &current, &next)?;
        if part != Part::Status {
            admission::validate(self, &mut Review { call, kind, part, old: Some(&current) }, &next)?;
        }
        if part != Part::Status && call.operation == Operation::Update {
            apply::track(call, kind, &current, &mut next, self.ownership);
        }
        raise_generation(kind, part, &current, &mut next);
        if next == *current {
            return Ok(current);
        }
        if json::deleting(&next)
            && json::items(&next, "/metadata/finalizers").is_empty()
            && json::int(&next, "/metadata/deletionGracePeriodSeconds") == 0
        {
            if !call.dry_run {
                self.remove(call, kind, key.clone());
            }
            return Ok(Arc::new(next));
        }
        Ok(self.commit(call, kind, key.clone(), next))
    }

    /// Defaults.
    fn complete(&self, kind: &Arc<Kind>, old: Option<&Value>, object: &mut Value) {
        json::set(object, "/apiVersion", if kind.is_core_event() { "events.k8s.io/v1".into() } else { kind.api_version() });
        json::set(object, "/kind", kind.kind.clone());
        match &kind.schema {
            Some(schema) => schema.complete(object),
            None => defaults::complete(self, kind, old, object),
        }
    }

    pub(super) fn commit(&mut self, call: &Call, kind: &Arc<Kind>, key: Key, object: Value) -> Arc<Value> {
        if call.dry_run {
            return Arc::new(object);
        }
        let stored = self.store.commit(call.now, &call.user, key, Some(object)).unwrap_or_default();
        if kind.plural == "customresourcedefinitions" {
            super::schema::register(&mut self.kinds, &stored);
        }
        stored
    }

    fn patch(&mut self, call: &mut Call, target: &Target, part: Part, request: &Request) -> Result<(u16, Arc<Value>), Problem> {
        let kind = &target.kind;
        if request.content_type == "application/apply-patch+yaml" && part == Part::Whole {
            return self.apply(call, target, request);
        }
        let body = request.json()?;
        if request.content_type != "application/json-patch+json" && !body.is_object() {
            return Err(Problem::bad_request("error decoding patch: it is not an object"));
        }
        let patched = |current: &Value| match request.content_type.as_str() {
            "application/json-patch+json" => patch::json_patch(current, &body),
            "application/merge-patch+json" => Ok(patch::merge(current, &body)),
            "application/strategic-merge-patch+json" if !kind.is_custom() => super::strategic::merge(current, &body),
            other => Err(Problem::unsupported_media_type(other)),
        };
        let mut warnings = Vec::new();
        let object = self.update(call, kind, &target.key(), part, |current| {
            let mut next = patched(current)?;
            if !next.is_object() {
                return Err(Problem::unprocessable("the result of the patch is not an object"));
            }
            if part == Part::Whole {
                let sent = next.clone();
                warnings = strict::check(kind, &mut next, request).map_err(|why| Problem::unreadable(&sent, &why))?;
            }
            Ok(next)
        })?;
        call.warnings.extend(warnings);
        Ok((200, object))
    }

    /// Server-side apply.
    fn apply(&mut self, call: &mut Call, target: &Target, request: &Request) -> Result<(u16, Arc<Value>), Problem> {
        let (kind, key) = (&target.kind, target.key());
        if request.param("fieldManager").is_empty() {
            return Err(Problem::invalid_options("PatchOptions", &Cause::required("fieldManager", "is required for apply patch")));
        }
        call.operation = Operation::Apply;
        let mut applied = body(call, kind, Part::Whole, request)?;
        json::drop_nulls(&mut applied);
        if json::text(&applied, "/apiVersion").is_empty() || json::text(&applied, "/kind").is_empty() {
            return Err(Problem::bad_request("invalid object type: an apply has to name apiVersion and kind"));
        }
        if !json::items(&applied, "/metadata/managedFields").is_empty() {
            return Err(Problem::bad_request("metadata.managedFields must be nil"));
        }
        if self.store.get(&key).is_none() {
            check_address(&applied, &key.namespace, &key.name)?;
            let object = apply::created(call, kind, applied);
            return Ok((201, self.create_at(call, kind, &target.namespace, object)?));
        }
        let will = if request.param("force") == "true" { Will::Force } else { Will::Ask };
        let by = call.clone();
        let object = self.update(call, kind, &key, Part::Whole, |live| apply::merged(&by, kind, live, &applied, will))?;
        Ok((200, object))
    }
}

/// The object that a POST or PUT carries, checked against its address.
fn body(call: &mut Call, kind: &Kind, part: Part, request: &Request) -> Result<Value, Problem> {
    let mut body = request.json()?;
    if !body.is_object() {
        return Err(Problem::bad_request("the body of the request is not an object"));
    }
    let (api_version, name) = match part {
        Part::Scale => ("autoscaling/v1".to_owned(), "Scale"),
        _ => (kind.api_version(), kind.kind.as_str()),
    };
    let (given_version, given_kind) = (json::text(&body, "/apiVersion"), json::text(&body, "/kind"));
    if (!given_version.is_empty() && given_version != api_version) || (!given_kind.is_empty() && given_kind != name) {
        return Err(Problem::bad_request(format!(
            "{given_kind} in version {given_version:?} cannot be handled as a {name}: the object provided is unrecognized (expected {api_version})"
        )));
    }
    if part == Part::Whole {
        let unreadable = |why| format!("{0} in version {1:?} cannot be handled as a {0}: {why}", kind.kind, kind.version);
        call.warnings.extend(strict::check(kind, &mut body, request).map_err(|why| Problem::bad_request(unreadable(why)))?);
    }
    Ok(body)
}

fn check_preconditions(kind: &Kind, current: &Value, next: &Value) -> Result<(), Problem> {
    let (found, asked) = (json::text(current, "/metadata/resourceVersion"), json::text(next, "/metadata/resourceVersion"));
    let name = json::name(current);
    if asked.is_empty() && !kind.unconditional_update {
        let cause = Cause::invalid("metadata.resourceVersion", &json!(0), "must be specified for an update");
        return Err(Problem::invalid(kind, name, &[cause]));
    }
    let (uid, asked_uid) = (json::uid(current), json::uid(next));
    if !asked_uid.is_empty() && asked_uid != uid {
        let why = format!("Precondition failed: UID in precondition: {asked_uid}, UID in object meta: {uid}");
        return Err(Problem::conflict(kind, name, &why));
    }
    if !asked.is_empty() && asked != found {
        return Err(Problem::stale(kind, name));
    }
    check_address(next, json::namespace(current), name)
}

/// An object may be sent without its namespace, but has its name, and neither is another than that of its address.
fn check_address(object: &Value, namespace: &str, name: &str) -> Result<(), Problem> {
    if json::name(object) != name {
        return Err(Problem::bad_request("the name of the object does not match the name on the URL"));
    }
    check_namespace(object, namespace)
}

fn check_namespace(object: &Value, namespace: &str) -> Result<(), Problem> {
    if !json::namespace(object).is_empty() && json::namespace(object) != namespace {
        return Err(Problem::bad_request("the namespace of the provided object does not match the namespace sent on the request"));
    }
    Ok(())
}

/// Puts back everything that this kind of write may not change.
fn take_over(kind: &Kind, part: Part, current: &Value, next: &mut Value) {
    if part == Part::Status {
        let mut merged = current.clone();
        json::copy(next, &mut merged, "/status");
        if !kind.is_custom() {
            // Built-in kinds let annotations pass here: the Deployment controller sets its revision so.
            json::copy(next, &mut merged, "/metadata/annotations");
        }
        *next = merged;
    } else if kind.status {
        json::copy(current, next, "/status");
    }
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
        "generateName",
    ] {
        json::copy(current, next, &format!("/metadata/{field}"));
    }
    for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
        let path = format!("/metadata/{field}");
        let empty = next.pointer(&path).is_some_and(|value| match value {
            Value::Object(fields) => fields.is_empty(),
            Value::Array(items) => items.is_empty(),
            other => other.is_null(),
        });
        if empty {
            json::unset(next, &path);
        }
    }
}

fn raise_generation(kind: &Kind, part: Part, current: &Value, next: &mut Value) {
    let differs = |path: &str| current.pointer(path) != next.pointer(path);
    let content = |object: &Value| {
        let mut object = object.clone();
        json::unset(&mut object, "/metadata");
        json::unset(&mut object, "/status");
        object
    };
    let raised = part != Part::Status
        && match kind.generation {
            Generation::Never => false,
            Generation::Spec => differs("/spec"),
            Generation::SpecAndAnnotations => differs("/spec") || differs("/metadata/annotations"),
            Generation::Content => content(current) != content(next),
            Generation::ContentAndLabels => content(current) != content(next) || differs("/metadata/labels"),
        };
    if raised {
        json::set(next, "/metadata/generation", json::int(current, "/metadata/generation") + 1);
    }
}
