//! What is posted to an object rather than written into it: the eviction of a pod, the wish for a token of a service account.

use std::time::Duration;

use serde_json::{Value, json};

use crate::sim::clock::{after, seconds};

use super::{
    ApiServer, DeleteOptions, Reply,
    call::Call,
    problem::Problem,
    request::{Request, Target},
};

/// For how long a token says that it is good. It is asked for nowhere.
const LIFETIME: Duration = Duration::from_secs(3600);

impl ApiServer {
    /// Does the errand. What else its body asks for, such as an audience, is not read: nobody here would heed it.
    pub(super) fn errand(&mut self, call: &mut Call, target: &Target, request: &Request) -> Result<Reply, Problem> {
        if request.method != "POST" {
            return Err(Problem::method_not_allowed());
        }
        let body = if target.subresource == "eviction" { self.evict(call, target)? } else { self.token(call, target)? };
        Ok(Reply::Answer { code: 201, warnings: Vec::new(), body })
    }

    /// No disruption budget stands in the way.
    fn evict(&mut self, call: &mut Call, target: &Target) -> Result<Value, Problem> {
        self.delete(call, &target.key(), &DeleteOptions::default())?;
        Ok(json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 }))
    }

    /// A token is the name of the one who may use it.
    fn token(&self, call: &Call, target: &Target) -> Result<Value, Problem> {
        let Target { kind, namespace, name, .. } = target;
        self.find(&target.key(), kind)?;
        Ok(json!({
            "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
            "metadata": { "name": name, "namespace": namespace, "creationTimestamp": seconds(call.now) },
            "spec": { "audiences": [], "expirationSeconds": LIFETIME.as_secs(), "boundObjectRef": null },
            "status": {
                "token": format!("system:serviceaccount:{namespace}:{name}"),
                "expirationTimestamp": seconds(after(call.now, LIFETIME)),
            },
        }))
    }
}
