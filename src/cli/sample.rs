//! Rollouts to show: one in each place where a Rollout can stand.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    api::Rollout,
    show::caller::{Caller, Program},
};

/// The version that is live before a release.
pub const OLD: &str = "3f9c1ab27d";
/// The version under release.
pub const NEW: &str = "0d3c79e08d";

/// The time at which the samples are looked at.
pub fn now() -> Timestamp {
    "2026-11-21T14:18:25Z".parse().unwrap()
}

/// Somebody who typed `stepgate`.
pub fn caller() -> Caller {
    Caller::new(Program::Stepgate, None, None, None)
}

/// A Rollout with this status.
pub fn with_status(status: &Value) -> Rollout {
    serde_json::from_value(json!({
        "apiVersion": "stepgate.dev/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "hello", "namespace": "shop", "generation": 3, "resourceVersion": "41", "creationTimestamp": "2026-11-20T09:00:00Z"},
        "spec": {"workload": {"deployment": "hello"}, "services": ["hello"], "policyRef": {"name": "quarters"}},
        "status": status,
    }))
    .unwrap()
}

/// The places, by name.
pub const PLACES: [&str; 15] = [
    "unseen",
    "pending",
    "healthy",
    "refused",
    "preparing",
    "holding",
    "waiting",
    "paused",
    "asking",
    "baking",
    "promoting",
    "rolling back",
    "kept",
    "rolled back",
    "unanswered",
];

/// A Rollout in one of [`PLACES`].
pub fn rollout(place: &str) -> Rollout {
    let mut rollout = match place {
        "unseen" => with_status(&Value::Null),
        "unanswered" => rollout("holding"),
        place => with_status(&status(place)),
    };
    if place == "paused" {
        rollout.spec.paused = true;
    }
    if place == "unanswered" {
        let request = json!({"id": "2026-11-21T14:18:24Z-00c0ffee", "action": "Abort", "revision": NEW});
        rollout.spec.request = serde_json::from_value(request).unwrap();
    }
    rollout
}

fn version(revision: &str, tag: &str, ready: i32, replicas: i32) -> Value {
    json!({"revision": revision, "hash": revision[..5], "images": [format!("hello:{tag}")], "ready": ready, "replicas": replicas})
}

fn release(rollback: &Value) -> Value {
    let policy = json!({
        "steps": [{"weight": 25, "hold": "1m"}, {"weight": 50, "hold": "1m"}, {"weight": 75, "hold": "1m"}, {"weight": 100, "hold": "1m"}],
        "gates": [{"name": "healthz", "http": {"path": "/healthz", "port": "http"}}],
    });
    json!({"revision": NEW, "startedAt": "2026-11-21T14:17:20Z", "size": 4, "policy": policy, "maxWeight": 25, "rollback": rollback})
}

fn step(index: u32, weight: u8) -> Value {
    json!({"index": index, "of": 4, "display": format!("{index}/4"), "weight": weight})
}

fn gates(healthz: &str, value: &str, message: &str) -> Value {
    json!([
        {"name": "ready", "kind": "readiness", "state": "Passing", "value": "1 of 1 ready", "threshold": "1 ready", "since": "2026-11-21T14:17:40Z"},
        {"name": "healthz", "kind": "http", "state": healthz, "value": value, "threshold": "3 in a row on every pod", "since": "2026-11-21T14:17:50Z", "message": message},
    ])
}

fn condition(type_: &str, status: bool, reason: &str, message: &str) -> Value {
    let status = if status { "True" } else { "False" };
    json!({"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-11-21T14:17:20Z"})
}

/// The status of a release under way.
fn releasing(phase: &str, why: &str) -> Value {
    json!({
        "phase": phase, "why": why, "observedGeneration": 3,
        "stable": version(OLD, "v1", 4, 4), "canary": version(NEW, "v2", 1, 1),
        "release": release(&Value::Null), "step": step(1, 25), "gates": gates("Passing", "1 of 1 pods pass", ""),
    })
}

fn status(place: &str) -> Value {
    let gate_failed = "gate healthz: 3 failures in a row on pod hello-0d3c79-674d6d9bdd-7r9g9: status 500";
    let asked_for = format!("waiting at 0 % for the approval of gate sign-off; send an Approve request for revision {NEW}");
    let mut status = match place {
        "pending" | "healthy" | "refused" | "rolled back" => json!({"observedGeneration": 3, "stable": version(OLD, "v1", 4, 4)}),
        "preparing" => releasing("Preparing", "waiting for gate healthz to pass, until 2026-11-21T14:27:20Z at the latest"),
        "holding" => releasing("Progressing", "holding 25 % until 2026-11-21T14:19:06Z"),
        "waiting" => releasing(
            "Progressing",
            "waiting for 4 canary pods to be available, until 2026-11-21T14:28:20Z at the latest: pod hello-0d3c79-674d6d9bdd-7r9g9: ImagePullBackOff: Back-off pulling image",
        ),
        "paused" => releasing("Progressing", "paused at 25 % by spec.paused; set it to false to go on"),
        "asking" => releasing("Preparing", &asked_for),
        "baking" => releasing("Baking", "all clients are on the new version; the previous one is kept warm until 2026-11-21T14:23:10Z"),
        "promoting" => {
            releasing("Promoting", "waiting for all pods of the new version to be available before the new pods are handed over")
        }
        "rolling back" => releasing("RollingBack", &format!("clients are back on the old version ({gate_failed}); removing the canary")),
        "kept" => releasing(
            "RollingBack",
            &format!(
                "clients are back on the old version ({gate_failed}); the canary is kept without clients until a Retry or Abort request"
            ),
        ),
        other => panic!("no such place: {other}"),
    };
    let moving = |status: &mut Value, weight: u8, routed: u8| {
        status["release"]["trafficSince"] = json!("2026-11-21T14:17:55Z");
        status["traffic"] = json!({"desired": weight, "routed": routed});
    };
    match place {
        "pending" => {
            status = json!({"phase": "Pending", "observedGeneration": 3,
                "why": "waiting for Deployment hello to finish the roll-out it is in; its result becomes the live version"});
        }
        "healthy" => serve(&mut status, gate_failed),
        "refused" => {
            let why = "Service metrics also sends clients to these pods and would show them both versions unasked; add to services, or to unmanagedServices where that is meant";
            status["phase"] = json!("Healthy");
            status["why"] = json!(why);
            status["conditions"] = json!([
                condition("Ready", false, "Healthy", why),
                condition("Stalled", true, "Healthy", why),
                condition("Accepted", false, "UnlistedService", why)
            ]);
        }
        "holding" | "paused" => {
            moving(&mut status, 25, 20);
            status["step"]["since"] = json!("2026-11-21T14:18:06Z");
            if place == "paused" {
                status["step"]["held"] = json!("12s");
                status["conditions"] =
                    json!([condition("Paused", true, "PausedBySpec", ""), condition("Stalled", false, "Progressing", "")]);
            } else {
                status["step"]["until"] = json!("2026-11-21T14:19:06Z");
            }
        }
        "asking" => ask(&mut status),
        "waiting" => {
            moving(&mut status, 50, 20);
            status["canary"] = version(NEW, "v2", 1, 4);
            status["step"] = step(2, 50);
            status["step"]["waitingSince"] = json!("2026-11-21T14:18:20Z");
        }
        "baking" | "promoting" => {
            moving(&mut status, 100, 100);
            status["canary"] = version(NEW, "v2", 4, 4);
            status["step"] = step(4, 100);
            if place == "baking" {
                status["step"]["since"] = json!("2026-11-21T14:18:10Z");
                status["step"]["until"] = json!("2026-11-21T14:23:10Z");
                status["requests"] =
                    json!([{"id": "a", "action": "Promote", "by": "alice", "verified": true, "outcome": "done: the hold is over"}]);
            }
        }
        "rolling back" | "kept" => {
            moving(&mut status, 0, 0);
            status["gates"] = gates("Failing", "0 of 1 pods pass", "3 failed in a row, last: status 500");
            status["release"]["rollback"] = json!({"reason": "GateFailed", "message": gate_failed, "gate": "healthz",
                "at": "2026-11-21T14:18:20Z", "confirmedAt": "2026-11-21T14:18:21Z"});
            status["rejected"] = json!([{"revision": NEW, "reason": gate_failed, "gate": "healthz", "at": "2026-11-21T14:18:20Z"}]);
            if place == "kept" {
                status["conditions"] =
                    json!([condition("Paused", true, "KeptForDebugging", ""), condition("Stalled", true, "RollingBack", "")]);
            }
        }
        "rolled back" => hold_back(&mut status, gate_failed),
        _ => {}
    }
    status
}

/// At rest, after two releases.
fn serve(status: &mut Value, gate_failed: &str) {
    status["phase"] = json!("Healthy");
    status["why"] = json!(format!("revision {OLD} serves all clients"));
    status["conditions"] = json!([condition("Ready", true, "Healthy", "")]);
    status["history"] = json!([
        ended(NEW, "v2", "RolledBack", "2026-11-21T13:50:00Z", "2026-11-21T13:51:10Z", 50, gate_failed),
        ended(OLD, "v1", "Promoted", "2026-11-21T14:05:00Z", "2026-11-21T14:14:08Z", 100, ""),
    ]);
    let asked = json!([{"action": "Promote", "by": "alice", "verified": true}, {"action": "PromoteFull", "by": "bob"}]);
    status["history"][1]["asked"] = asked;
}

/// A gate that waits for somebody's approval.
fn ask(status: &mut Value) {
    let gate = json!({"name": "sign-off", "kind": "approval", "state": "Pending", "value": "nobody yet",
        "threshold": "an approval", "since": "2026-11-21T14:17:50Z"});
    status["gates"].as_array_mut().unwrap().push(gate);
    status["conditions"] = json!([condition("Paused", true, "ApprovalAwaited", "")]);
}

/// A revision that was rejected and is held.
fn hold_back(status: &mut Value, gate_failed: &str) {
    status["phase"] = json!("RolledBack");
    status["why"] =
        json!(format!("revision {NEW} was taken back ({gate_failed}) and is held; change the template, or send a Retry request for it"));
    status["canary"] = version(NEW, "v2", 1, 1);
    status["conditions"] = json!([condition("Ready", false, "RolledBack", ""), condition("Stalled", true, "RolledBack", "")]);
    status["rejected"] = json!([{"revision": NEW, "reason": gate_failed, "gate": "healthz", "at": "2026-11-21T14:18:00Z"}]);
    status["history"] = json!([ended(NEW, "v2", "RolledBack", "2026-11-21T14:17:20Z", "2026-11-21T14:18:03Z", 25, gate_failed)]);
}

fn ended(revision: &str, tag: &str, outcome: &str, from: &str, to: &str, weight: u8, reason: &str) -> Value {
    json!({"revision": revision, "images": [format!("hello:{tag}")], "outcome": outcome, "startedAt": from, "endedAt": to, "maxWeight": weight, "reason": reason})
}
