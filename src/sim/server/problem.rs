//! What the server answers when it refuses: `metav1.Status`, with the reasons and codes of a real one.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::kinds::Kind;
pub use crate::schema::Cause;

/// A refusal.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// HTTP status.
    pub code: u16,
    /// Machine-readable reason, such as `NotFound`.
    pub reason: &'static str,
    /// The sentence that clients print.
    pub message: String,
    /// `details` of the Status: name, group, kind, causes.
    pub details: Value,
}

impl Problem {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Value::Null }
    }

    fn about(mut self, kind: &Kind, name: &str) -> Self {
        self.details = json!({ "name": name, "group": kind.group, "kind": kind.plural });
        self
    }

    fn with_causes(mut self, causes: &[Cause]) -> Self {
        let cause = |cause: &Cause| json!({ "reason": cause.reason, "message": cause.message, "field": cause.field });
        self.details["causes"] = causes.iter().map(cause).collect();
        self
    }

    /// 404: no object of that name.
    pub fn not_found(kind: &Kind, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} {name:?} not found", kind.resource())).about(kind, name)
    }

    /// 404: no such path.
    pub fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
    }

    /// 409: the name is taken.
    pub fn already_exists(kind: &Kind, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} {name:?} already exists", kind.resource())).about(kind, name)
    }

    /// 409: written since it was read.
    pub fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        Self::new(409, "Conflict", format!("Operation cannot be fulfilled on {} {name:?}: {why}", kind.resource())).about(kind, name)
    }

    /// 409 with the usual sentence for a stale `resourceVersion`.
    pub fn stale(kind: &Kind, name: &str) -> Self {
        Self::conflict(kind, name, "the object has been modified; please apply your changes to the latest version and try again")
    }

    /// 409: an apply would change fields of others, each named with its manager.
    pub fn apply_conflict(conflicts: &[(String, String)]) -> Self {
        let said = if let [(manager, field)] = conflicts {
            format!("1 conflict: conflict with {manager}: {field}")
        } else {
            let managers: BTreeSet<&String> = conflicts.iter().map(|(manager, _)| manager).collect();
            let fields = |manager: &&String| {
                let theirs = conflicts.iter().filter(|(other, _)| other == *manager);
                theirs.fold(format!("conflicts with {manager}:"), |said, (_, field)| format!("{said}\n- {field}"))
            };
            format!("{} conflicts: {}", conflicts.len(), managers.iter().map(fields).collect::<Vec<_>>().join("\n"))
        };
        let mut problem = Self::new(409, "Conflict", format!("Apply failed with {said}"));
        let cause = |(manager, field): &(String, String)| json!({ "reason": "FieldManagerConflict", "message": format!("conflict with {manager}"), "field": field });
        problem.details = json!({ "causes": conflicts.iter().map(cause).collect::<Vec<_>>() });
        problem
    }

    /// 422: the object as it would become is not valid.
    pub fn invalid(kind: &Kind, name: &str, causes: &[Cause]) -> Self {
        let said: Vec<String> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        let said = if said.len() == 1 { said.concat() } else { format!("[{}]", said.join(", ")) };
        let mut problem = Self::new(422, "Invalid", format!("{} {name:?} is invalid: {said}", kind.qualified())).with_causes(causes);
        problem.details["name"] = name.into();
        problem.details["group"] = kind.group.clone().into();
        problem.details["kind"] = kind.kind.clone().into();
        problem
    }

    /// 422: options of a request that are not valid.
    pub fn invalid_options(kind: &str, cause: &Cause) -> Self {
        let message = format!("{kind}.meta.k8s.io \"\" is invalid: {}: {}", cause.field, cause.message);
        Self::new(422, "Invalid", message).with_causes(std::slice::from_ref(cause))
    }

    /// 422: a patch whose result the server cannot read.
    pub fn unreadable(result: &Value, why: &str) -> Self {
        let cause = Cause::invalid("patch", &result.to_string().into(), why);
        Self::new(422, "Invalid", format!(" \"\" is invalid: {}: {}", cause.field, cause.message)).with_causes(&[cause])
    }

    /// 422: a patch that cannot be applied to the object as it is, a failed `test` included.
    pub fn unprocessable(why: &str) -> Self {
        let mut problem = Self::new(422, "Invalid", "the server rejected our request due to an error in our request");
        problem.details = json!({ "causes": [{ "message": why }] });
        problem
    }

    /// 403 by an admission policy that says no.
    pub fn denied(kind: &Kind, name: &str, policy: &str, why: &str) -> Self {
        let message = format!(
            "{} {name:?} is forbidden: ValidatingAdmissionPolicy '{policy}' with binding '{policy}' denied request: {why}",
            kind.resource()
        );
        Self::new(403, "Forbidden", message).about(kind, name)
    }

    /// 400: not understood.
    pub fn bad_request(why: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", why)
    }

    /// 403.
    pub fn forbidden(kind: &Kind, name: &str, why: &str) -> Self {
        Self::new(403, "Forbidden", format!("{} {name:?} is forbidden: {why}", kind.resource())).about(kind, name)
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        Self::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
    }

    /// 413: more than a server reads.
    pub fn too_large(limit: usize) -> Self {
        Self::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit}"))
    }

    /// 415.
    pub fn unsupported_media_type(found: &str) -> Self {
        Self::new(
            415,
            "UnsupportedMediaType",
            format!(
                "the body of the request was in an unknown format: {found:?}; JSON and YAML are read here, which kubectl apply and kubectl create -f send"
            ),
        )
    }

    /// 410: the version asked for is no longer kept.
    pub fn expired(asked: u64, oldest: u64) -> Self {
        Self::new(410, "Expired", format!("too old resource version: {asked} ({oldest})"))
    }

    /// 429, with a `Retry-After` of one second.
    pub fn too_many_requests() -> Self {
        let mut problem =
            Self::new(429, "TooManyRequests", "the server has received too many requests and has asked us to try again later");
        problem.details = json!({ "retryAfterSeconds": 1 });
        problem
    }

    /// 500.
    pub fn internal(why: &str) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {why}"))
    }

    /// 504.
    pub fn timeout() -> Self {
        Self::new(
            504,
            "Timeout",
            "the server was unable to return a response in the time allotted, but may still be processing the request",
        )
    }

    /// The `metav1.Status`.
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }
}
