//! Commands to a release: written into `spec.request`, and answered by the controller in `status.requests`.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

use anyhow::bail;
use clap::Args;
use futures::StreamExt;
use jiff::Timestamp;
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    api::{
        Rollout, RolloutStatus, Span,
        rollout::{Request, RequestAction},
        status::RequestRecord,
    },
    cli::paper::{exit::Exit, output::Output},
    core::{request::undo::instead, why::words::what},
    show::{caller::Caller, next::CONTROLLERS, standing::unanswered},
    visible,
};

use super::{Cluster, answered, args::ClusterArgs, follow};

/// How often a write is tried again because the Rollout has changed since it was read. In mid-release it changes every few seconds.
pub const ATTEMPTS: u32 = 5;

/// What every command to a release takes.
#[derive(Args, Clone, Debug)]
pub struct RequestArgs {
    /// Rollout
    #[arg(value_name = "NAME")]
    pub name: String,

    /// Insist on this revision: refused, with nothing written, if it is not the one under release
    #[arg(long, value_name = "REVISION")]
    pub revision: Option<String>,

    /// Why, for the record
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub reason: String,

    /// How long to wait for the controller's answer
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub timeout: Span,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// What can be asked of a release. (Going back to an older revision is asked of the Rollout: [`crate::cli::command::undo`].)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steer {
    Promote,
    PromoteFull,
    Abort,
    Approve,
    Retry,
}

impl From<Steer> for RequestAction {
    fn from(steer: Steer) -> Self {
        match steer {
            Steer::Promote => Self::Promote,
            Steer::PromoteFull => Self::PromoteFull,
            Steer::Abort => Self::Abort,
            Steer::Approve => Self::Approve,
            Steer::Retry => Self::Retry,
        }
    }
}

/// Why a request is not written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("no controller has looked at Rollout {name} yet, so there is nothing to {action:?}")]
    NotSeen { name: String, action: RequestAction },
    #[error("no release of Rollout {name} is under way, so there is nothing to {action:?}{serving}")]
    NothingUnderRelease { name: String, action: RequestAction, serving: String },
    #[error("no revision of Rollout {name} was rejected, so there is nothing to Retry")]
    NothingRejected { name: String },
    #[error("revision {found} of Rollout {name} is {state}, not {insisted}; nothing was written")]
    AnotherRevision { name: String, found: String, state: &'static str, insisted: String },
    #[error(
        "an earlier request for Rollout {name} ({action:?} of revision {revision}) has no answer yet, and would be lost; is a controller running?"
    )]
    Unanswered { name: String, action: RequestAction, revision: String },
}

/// The request that carries out `steer` on the revision under release, or, for `Retry`, on the one that was rejected.
///
/// # Errors
/// When there is no such revision, when it is not the one insisted on, or when an earlier request would be lost. An `Abort` never waits
/// for an earlier request.
pub fn draft(
    rollout: &Rollout,
    steer: Steer,
    insisted: Option<&str>,
    reason: &str,
    id: String,
    caller: &Caller,
) -> Result<Request, Refusal> {
    let (name, action) = (rollout.name_any(), steer.into());
    let Some(status) = &rollout.status else { return Err(Refusal::NotSeen { name, action }) };
    let (revision, state) = match steer {
        Steer::Retry => (rejected(status).ok_or_else(|| Refusal::NothingRejected { name: name.clone() })?, "the rejected one"),
        Steer::Promote | Steer::PromoteFull | Steer::Abort | Steer::Approve => {
            let release = status.release.as_ref();
            let nothing = || {
                let undo = caller.command(&format!("undo {name}"));
                let undo = if steer == Steer::Abort { format!("; to go back all the same: {undo}") } else { String::new() };
                Refusal::NothingUnderRelease { name: name.clone(), action, serving: serving(rollout) + &undo }
            };
            (release.map(|release| release.revision.clone()).ok_or_else(nothing)?, "under release")
        }
    };
    if let Some(insisted) = insisted.filter(|insisted| *insisted != revision) {
        return Err(Refusal::AnotherRevision { name, found: revision, state, insisted: insisted.to_owned() });
    }
    if let Some(earlier) = unanswered(rollout).filter(|_| steer != Steer::Abort) {
        return Err(Refusal::Unanswered { name, action: earlier.action, revision: earlier.revision.clone() });
    }
    Ok(Request { id, action, revision, to: None, reason: visible::line(reason).into_owned(), by: String::new() })
}

/// The revision that a Retry is for: the one that is being taken back, or the one that is held.
fn rejected(status: &RolloutStatus) -> Option<String> {
    let rejected = |revision: &str| status.rejected.iter().any(|rejected| rejected.revision == revision);
    let canary = status.canary.as_ref().map(|canary| canary.revision.clone());
    canary.filter(|revision| rejected(revision)).or_else(|| status.rejected.last().map(|rejected| rejected.revision.clone()))
}

fn serving(rollout: &Rollout) -> String {
    let does = if rollout.spec.is_worker() { "has all pods" } else { "serves all clients" };
    let stable = rollout.status.as_ref().and_then(|status| status.stable.as_ref());
    stable.map(|stable| format!("; revision {} {does}", stable.revision)).unwrap_or_default()
}

/// A unique name for a request: the time, which tells a reader when it was made, and 32 random bits.
pub fn id(now: Timestamp) -> String {
    let random = RandomState::new().build_hasher().finish();
    format!("{}-{:08x}", now.strftime("%Y-%m-%dT%H:%M:%SZ"), random & 0xffff_ffff)
}

/// A change of one field of the spec, good for the version that was read only.
fn change(rollout: &Rollout, field: &str, value: &Value) -> anyhow::Result<Patch<Rollout>> {
    Ok(Patch::Json(serde_json::from_value(json!([
        {"op": "replace", "path": "/metadata/resourceVersion", "value": rollout.resource_version()},
        {"op": "add", "path": format!("/spec/{field}"), "value": value},
    ]))?))
}

/// The answer to a write of the version that was read; none where the object has changed since.
///
/// # Errors
/// See [`answered`].
pub async fn unless_changed<T>(write: impl Future<Output = Result<T, kube::Error>>) -> anyhow::Result<Option<T>> {
    answered(async {
        match write.await {
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
            other => other.map(Some),
        }
    })
    .await
}

/// Reads a Rollout, decides on a value for a field of its spec, and writes it; again from the start, if the Rollout has changed
/// meanwhile. Nothing is written where there is nothing to write.
///
/// # Errors
/// What the decision or the API server refused.
pub async fn write<T>(
    cluster: &Cluster,
    name: &str,
    field: &str,
    decide: impl Fn(&Rollout) -> anyhow::Result<(T, Option<Value>)>,
) -> anyhow::Result<(T, Rollout)> {
    for _ in 0..ATTEMPTS {
        let rollout = cluster.rollout(name).await?;
        let (decided, value) = decide(&rollout)?;
        let Some(value) = value else { return Ok((decided, rollout)) };
        let (api, patch) = (cluster.rollouts(), change(&rollout, field, &value)?);
        if let Some(written) = unless_changed(api.patch(name, &PatchParams::default(), &patch)).await? {
            return Ok((decided, written));
        }
    }
    bail!("Rollout {name} changed {ATTEMPTS} times between reading and writing it; nothing was written, so try again")
}

/// Sends a command to the release and waits for what becomes of it.
///
/// # Errors
/// When it is not written ([`Refusal`]), or the controller refuses it.
pub async fn run(args: &RequestArgs, steer: Steer, cluster: &Cluster, out: &mut Output<'_>) -> anyhow::Result<Exit> {
    let RequestArgs { name: _, revision, reason, timeout: _, cluster: _ } = args;
    let draft = |rollout: &Rollout, id| Ok((draft(rollout, steer, revision.as_deref(), reason, id, &cluster.caller)?, ()));
    ask(args, cluster, out, draft).await.map(|(exit, ())| exit)
}

/// Sends a request that is made from the Rollout as it is, and waits for what becomes of it.
///
/// # Errors
/// What `draft` refuses, and what the controller refuses.
pub async fn ask<T>(
    args: &RequestArgs,
    cluster: &Cluster,
    out: &mut Output<'_>,
    draft: impl Fn(&Rollout, String) -> anyhow::Result<(Request, T)>,
) -> anyhow::Result<(Exit, T)> {
    let RequestArgs { name, revision: _, reason: _, timeout, cluster: _ } = args;
    let id = id(cluster.clock.now());
    let ((request, decided), _) = write(cluster, name, "request", |rollout| {
        let (request, decided) = draft(rollout, id.clone())?;
        let value = serde_json::to_value(&request)?;
        Ok(((request, decided), Some(value)))
    })
    .await?;
    let what = what(request.action, &request.revision, &instead(&request));
    let Some(record) = until(cluster, name, timeout.0, |rollout| answer(rollout, &id)).await? else {
        out.print(&format!("{name}: {what} is written (request {id}), but {}\n", silence(*timeout)))?;
        return Ok((Exit::TimedOut, decided));
    };
    if let Some(why) = record.outcome.strip_prefix("refused: ") {
        bail!("the controller refused the {what}: {why}");
    }
    out.print(&format!("{name}: {what} is {}\n", record.outcome))?;
    Ok((Exit::Done, decided))
}

fn answer(rollout: &Rollout, id: &str) -> Option<RequestRecord> {
    rollout.status.as_ref()?.requests.iter().find(|record| record.id == id).cloned()
}

/// What is said where no controller answers.
pub fn silence(timeout: Span) -> String {
    format!("no controller has answered within {timeout}; it takes effect as soon as one runs ({CONTROLLERS})")
}

/// Waits for something to be seen on a Rollout; none when it was not in time.
///
/// # Errors
/// When the Rollout is deleted meanwhile, or can no longer be watched.
pub async fn until<T>(cluster: &Cluster, name: &str, timeout: Duration, seen: impl Fn(&Rollout) -> Option<T>) -> anyhow::Result<Option<T>> {
    let mut changes = follow(cluster.rollouts(), name).boxed();
    let wait = async {
        while let Some(change) = changes.next().await {
            match change? {
                Some(rollout) => {
                    if let Some(found) = seen(&rollout) {
                        return Ok(Some(found));
                    }
                }
                None => bail!("Rollout {name} was deleted meanwhile"),
            }
        }
        Ok(None)
    };
    tokio::time::timeout(timeout, wait).await.unwrap_or(Ok(None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::sample::{NEW, OLD, caller, now, rollout},
        show::caller::Program,
    };

    fn drafted(place: &str, steer: Steer, insisted: Option<&str>) -> Result<Request, String> {
        draft(&rollout(place), steer, insisted, "looks good", "one".to_owned(), &caller()).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn the_command_that_is_suggested_leads_to_the_same_rollout() {
        let caller = Caller::new(Program::Plugin, Some("shop"), Some("prod"), None);
        let refused = draft(&rollout("healthy"), Steer::Abort, None, "", "one".to_owned(), &caller).unwrap_err().to_string();
        assert!(refused.ends_with("; to go back all the same: kubectl stepgate undo hello -n shop --context prod"), "{refused}");
    }

    #[test]
    fn a_request_is_for_the_revision_under_release() {
        for place in ["preparing", "holding", "paused", "baking", "promoting", "rolling back"] {
            let request = drafted(place, Steer::Abort, None).unwrap();
            assert_eq!((request.revision.as_str(), request.reason.as_str(), request.by.as_str()), (NEW, "looks good", ""), "{place}");
        }
        assert!(drafted("holding", Steer::Promote, Some(NEW)).is_ok());
    }

    #[test]
    fn a_retry_is_for_the_revision_that_was_rejected() {
        for place in ["rolling back", "kept", "rolled back"] {
            assert_eq!(drafted(place, Steer::Retry, None).unwrap().revision, NEW, "{place}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_before_it_is_written() {
        use Steer::{Abort, Promote, Retry};
        for (place, action, insisted, sentence) in [
            ("unseen", Promote, None, "no controller has looked at Rollout hello yet, so there is nothing to Promote"),
            (
                "healthy",
                Abort,
                None,
                "no release of Rollout hello is under way, so there is nothing to Abort; revision 3f9c1ab27d serves all clients; to go back all the same: stepgate undo hello",
            ),
            ("healthy", Retry, None, "no revision of Rollout hello was rejected, so there is nothing to Retry"),
            ("holding", Promote, Some(OLD), "revision 0d3c79e08d of Rollout hello is under release, not 3f9c1ab27d; nothing was written"),
            (
                "rolled back",
                Retry,
                Some(OLD),
                "revision 0d3c79e08d of Rollout hello is the rejected one, not 3f9c1ab27d; nothing was written",
            ),
            (
                "unanswered",
                Promote,
                None,
                "an earlier request for Rollout hello (Abort of revision 0d3c79e08d) has no answer yet, and would be lost; is a controller running?",
            ),
        ] {
            assert_eq!(drafted(place, action, insisted), Err(sentence.to_owned()), "{place} {action:?}");
        }
    }

    #[test]
    fn an_abort_waits_for_no_earlier_request() {
        assert!(drafted("unanswered", Steer::Abort, None).is_ok());
    }

    #[test]
    fn an_id_tells_its_time_and_is_not_given_twice() {
        let (one, other) = (id(now()), id(now()));
        assert!(one.starts_with("2026-11-21T14:18:25Z-") && one.len() == 29, "{one}");
        assert_ne!(one, other);
    }

    #[test]
    fn a_write_carries_the_version_that_was_read() {
        let Patch::Json(patch) = change(&rollout("holding"), "paused", &json!(true)).unwrap() else { panic!("another kind of patch") };
        assert_eq!(
            serde_json::to_value(patch).unwrap(),
            json!([{"op": "replace", "path": "/metadata/resourceVersion", "value": "41"}, {"op": "add", "path": "/spec/paused", "value": true}])
        );
    }
}
