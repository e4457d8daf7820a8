//! What `stepgate undo` comes to: which revision is abandoned, for which one, and what is to be written for that. Pure.

use kube::ResourceExt;
use serde_json::Value;

use crate::show::standing::{before, rejected};
use crate::{
    api::{
        Rollout, RolloutStatus,
        rollout::RequestAction,
        status::{Phase, Rejected, Release},
    },
    cli::cluster::request::Refusal as RequestRefusal,
};

/// A version that there is.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    pub revision: String,
    pub images: Vec<String>,
    pub found: Found,
}

/// Where it was found.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// In the Deployment's history: a ReplicaSet with this template.
    Template(Value),
    /// As a Deployment of the user's own, with so many ready pods.
    Version { name: String, ready: i32 },
}

/// What an undo is to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal<'a> {
    pub abandoned: String,
    pub to: String,
    pub write: Write<'a>,
}

/// What is written beside the request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Write<'a> {
    /// Nothing: the release under way is taken back.
    Nothing,
    /// The template of a version.
    Template(&'a Known, &'a Value),
    /// The name of a version.
    Live(&'a str),
}

/// Why nothing is undone.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Request(#[from] RequestRefusal),
    #[error("no version of Rollout {name} is recorded as the live one, so there is nothing to undo; see `stepgate explain {name}`")]
    NothingLive { name: String },
    #[error("revision {revision} of Rollout {name} is {state} itself{others}")]
    Itself { name: String, revision: String, state: &'static str, others: Others },
    #[error(
        "Rollout {name} is on its way back to revision {to} already; follow it with `stepgate wait {name} --for succeeded`, or call that off \
         with `stepgate abort {name}`"
    )]
    OnItsWay { name: String, to: String },
    #[error("Rollout {name} remembers no version that was live before revision {live}{others}")]
    NothingBefore { name: String, live: String, others: Others },
    #[error(
        "no ReplicaSet has the template of revision {revision} any more; write that template yourself, and it is released like any other{others}"
    )]
    NoTemplate { revision: String, others: Others },
    #[error(
        "no Deployment of Rollout {name} has revision {revision}; deploy it to one of them, then set workload.live to that one{others}"
    )]
    NoVersion { name: String, revision: String, others: Others },
    #[error(
        "Deployment {deployment}, which has revision {revision}, has no ready pods to take clients back to; release it like any other \
         version, and it gets its pods first: kubectl -n {namespace} patch rollouts.stepgate.dev {name} --type=merge \
         -p '{{\"spec\":{{\"workload\":{{\"live\":\"{deployment}\"}}}}}}'"
    )]
    NoPods { name: String, namespace: String, deployment: String, revision: String },
    #[error(
        "revision {revision} is held as rejected ({reason}); to release it all the same, write its template, then run `stepgate retry {name}`"
    )]
    Held { name: String, revision: String, reason: String },
}

/// Revisions that could be gone back to, in the words that end a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Others(Vec<(String, String)>);

impl Others {
    fn but(known: &[Known], status: &RolloutStatus, revisions: &[&str]) -> Self {
        let is_other = |revision: &str| !revisions.contains(&revision) && rejected(status, revision).is_none();
        let others = known.iter().filter(|known| is_other(&known.revision));
        Self(others.map(|known| (known.revision.clone(), known.images.join(","))).collect())
    }
}

impl std::fmt::Display for Others {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("; there is no other one that --to could name");
        }
        let others: Vec<String> = self.0.iter().map(|(revision, images)| format!("{revision} ({images})")).collect();
        write!(f, "; --to can name {}", others.join(", "))
    }
}

/// What is to be done to go back to revision `to`, or, where none is named, to the one that was live before. `insisted` is the only one
/// that may be abandoned, where it is named.
///
/// # Errors
/// When there is nothing to abandon or nothing to go back to.
pub fn goal<'a>(rollout: &Rollout, known: &'a [Known], to: Option<&str>, insisted: Option<&str>) -> Result<Goal<'a>, Refusal> {
    let name = rollout.name_any();
    let Some(status) = &rollout.status else { return Err(RequestRefusal::NotSeen { name, action: RequestAction::Undo }.into()) };
    let Some(live) = status.stable.as_ref().map(|stable| stable.revision.as_str()) else { return Err(Refusal::NothingLive { name }) };
    let (abandoned, state) = abandoned(status, live, to);
    if let Some(insisted) = insisted.filter(|insisted| *insisted != abandoned) {
        let (found, insisted) = (abandoned.to_owned(), insisted.to_owned());
        return Err(RequestRefusal::AnotherRevision { name, found, state, insisted }.into());
    }
    if let Some(release) = status.release.as_ref().filter(|release| to.is_none() && insisted.is_none() && leads_back(status, release, live))
    {
        return Err(Refusal::OnItsWay { name, to: release.revision.clone() });
    }
    let to = match to {
        Some(to) if to == abandoned => {
            let others = Others::but(known, status, &[live, abandoned]);
            return Err(Refusal::Itself { name, revision: to.to_owned(), state, others });
        }
        Some(to) => to,
        None if abandoned != live => live,
        None => before(status, live).ok_or_else(|| Refusal::NothingBefore {
            name: name.clone(),
            live: live.to_owned(),
            others: Others::but(known, status, &[live]),
        })?,
    };
    let goal = |write| Goal { abandoned: abandoned.to_owned(), to: to.to_owned(), write };
    if to == live && status.release.is_some() {
        return Ok(goal(Write::Nothing));
    }
    if let Some(Rejected { reason, .. }) = rejected(status, to).filter(|_| to != live) {
        return Err(Refusal::Held { name, revision: to.to_owned(), reason: reason.clone() });
    }
    let Some(version) = known.iter().find(|known| known.revision == to) else {
        let (revision, others) = (to.to_owned(), Others::but(known, status, &[live, abandoned]));
        let declared = rollout.spec.workload.deployment.is_none();
        return Err(if declared { Refusal::NoVersion { name, revision, others } } else { Refusal::NoTemplate { revision, others } });
    };
    match &version.found {
        Found::Template(template) => Ok(goal(Write::Template(version, template))),
        Found::Version { name: deployment, ready: 0 } => Err(Refusal::NoPods {
            namespace: rollout.namespace().unwrap_or_default(),
            deployment: deployment.clone(),
            revision: to.to_owned(),
            name,
        }),
        Found::Version { name: deployment, .. } => Ok(goal(Write::Live(deployment))),
    }
}

/// The revision that is abandoned, and what it is: the one under release; the one that is held, where the live one is wanted instead; else
/// the live one.
fn abandoned<'a>(status: &'a RolloutStatus, live: &'a str, to: Option<&str>) -> (&'a str, &'static str) {
    if let Some(release) = &status.release {
        return (&release.revision, "under release");
    }
    let held = status.canary.as_ref().filter(|_| status.phase == Some(Phase::RolledBack) && to.is_none_or(|to| to == live));
    held.map_or((live, "live"), |held| (&held.revision, "held"))
}

/// Whether a release is what an earlier undo has led to. The same words once more, in haste, do not mean the way forward again.
fn leads_back(status: &RolloutStatus, release: &Release, live: &str) -> bool {
    release.rollback.is_none() && rejected(status, live).is_some_and(|abandoned| abandoned.instead == release.revision)
}

/// Whether the release of this revision has ended well, so that there is none any more that could be taken back.
pub fn has_ended(rollout: &Rollout, revision: &str) -> bool {
    let ended = |status: &RolloutStatus| status.release.is_none() && status.stable.as_ref().is_some_and(|live| live.revision == revision);
    rollout.status.as_ref().is_some_and(ended)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        api::rollout::Workload,
        cli::sample::{NEW, OLD, caller, rollout},
        show::next::next,
    };

    const OLDER: &str = "5e1f0c2d3a";

    fn found(revision: &str, image: &str) -> Known {
        Known { revision: revision.into(), images: vec![image.into()], found: Found::Template(json!({"of": image})) }
    }

    /// A place of the sample; "after older": [`OLD`] is live, and [`OLDER`] was before.
    fn place(place: &str) -> Rollout {
        if place != "after older" {
            return rollout(place);
        }
        let mut rollout = rollout("healthy");
        rollout.status.as_mut().unwrap().history.last_mut().unwrap().replaced = OLDER.into();
        rollout
    }

    /// What comes of it, in short: from, to, what is written.
    fn short(rollout: &Rollout, known: &[Known], to: Option<&str>, insisted: Option<&str>) -> Result<(String, String, String), String> {
        let goal = goal(rollout, known, to, insisted).map_err(|refusal| refusal.to_string())?;
        let write = match goal.write {
            Write::Nothing => "nothing".to_owned(),
            Write::Template(known, template) => format!("template of {}: {template}", known.images[0]),
            Write::Live(live) => format!("live: {live}"),
        };
        Ok((goal.abandoned, goal.to, write))
    }

    #[test]
    fn what_is_abandoned_for_what_follows_from_where_the_rollout_stands() {
        let known = [found(OLDER, "hello:v0"), found(OLD, "hello:v1"), found(NEW, "hello:v2")];
        let (v0, v1) = (r#"template of hello:v0: {"of":"hello:v0"}"#, r#"template of hello:v1: {"of":"hello:v1"}"#);
        for (at, to, from, back_to, write) in [
            ("preparing", None, NEW, OLD, "nothing"),
            ("holding", None, NEW, OLD, "nothing"),
            ("paused", None, NEW, OLD, "nothing"),
            ("unanswered", None, NEW, OLD, "nothing"),
            ("baking", None, NEW, OLD, "nothing"),
            ("baking", Some(OLD), NEW, OLD, "nothing"),
            ("baking", Some(OLDER), NEW, OLDER, v0),
            ("promoting", None, NEW, OLD, "nothing"),
            ("kept", None, NEW, OLD, "nothing"),
            ("rolled back", None, NEW, OLD, v1),
            ("rolled back", Some(OLD), NEW, OLD, v1),
            ("rolled back", Some(OLDER), OLD, OLDER, v0),
            ("after older", None, OLD, OLDER, v0),
            ("healthy", Some(OLDER), OLD, OLDER, v0),
        ] {
            let wanted = (from.to_owned(), back_to.to_owned(), write.to_owned());
            assert_eq!(short(&place(at), &known, to, None), Ok(wanted), "{at} {to:?}");
        }
        for at in ["holding", "baking"] {
            assert_eq!(short(&place(at), &[], None, None).unwrap().2, "nothing", "{at}: no version has to be known for that");
        }
    }

    #[test]
    fn what_cannot_be_undone_says_what_to_do() {
        let known = [found(OLDER, "hello:v0"), found(OLD, "hello:v1")];
        let held = format!(
            "revision {NEW} is held as rejected (gate healthz: 3 failures in a row on pod hello-0d3c79-674d6d9bdd-7r9g9: status 500); to release it all the same, write its template, then run `stepgate retry hello`"
        );
        for (at, to, insisted, sentence) in [
            ("unseen", None, None, "no controller has looked at Rollout hello yet, so there is nothing to Undo"),
            (
                "pending",
                None,
                None,
                "no version of Rollout hello is recorded as the live one, so there is nothing to undo; see `stepgate explain hello`",
            ),
            (
                "healthy",
                None,
                None,
                "Rollout hello remembers no version that was live before revision 3f9c1ab27d; --to can name 5e1f0c2d3a (hello:v0)",
            ),
            ("healthy", Some(OLD), None, "revision 3f9c1ab27d of Rollout hello is live itself; --to can name 5e1f0c2d3a (hello:v0)"),
            (
                "baking",
                Some(NEW),
                None,
                "revision 0d3c79e08d of Rollout hello is under release itself; --to can name 5e1f0c2d3a (hello:v0)",
            ),
            (
                "healthy",
                Some("0123456789"),
                None,
                "no ReplicaSet has the template of revision 0123456789 any more; write that template yourself, and it is released like any other; --to can name 5e1f0c2d3a (hello:v0)",
            ),
            ("rolled back", Some(NEW), None, &held),
            ("baking", None, Some(OLD), "revision 0d3c79e08d of Rollout hello is under release, not 3f9c1ab27d; nothing was written"),
            ("after older", None, Some(NEW), "revision 3f9c1ab27d of Rollout hello is live, not 0d3c79e08d; nothing was written"),
        ] {
            assert_eq!(short(&place(at), &known, to, insisted), Err(sentence.to_owned()), "{at} {to:?}");
        }
        let gone = short(&place("after older"), &[found(OLD, "hello:v1")], None, None);
        assert_eq!(
            gone,
            Err(format!(
                "no ReplicaSet has the template of revision {OLDER} any more; write that template yourself, and it is released like any other; there is no other one that --to could name"
            ))
        );
    }

    #[test]
    fn the_way_back_is_not_called_off_by_the_same_words_once_more() {
        let mut rollout = place("holding");
        let abandoned = json!([{"revision": OLD, "reason": "undone by request", "instead": NEW, "at": "2026-11-21T14:17:20Z"}]);
        rollout.status.as_mut().unwrap().rejected = serde_json::from_value(abandoned).unwrap();
        let known = [found(OLD, "hello:v1"), found(NEW, "hello:v2")];
        let on_its_way = format!(
            "Rollout hello is on its way back to revision {NEW} already; follow it with `stepgate wait hello --for succeeded`, or call that off with `stepgate abort hello`"
        );
        assert_eq!(short(&rollout, &known, None, None), Err(on_its_way));
        let called_off = Ok((NEW.to_owned(), OLD.to_owned(), "nothing".to_owned()));
        assert_eq!(short(&rollout, &known, Some(OLD), None), called_off, "whoever names a revision means it");
        assert_eq!(short(&rollout, &known, None, Some(NEW)), called_off);
    }

    #[test]
    fn a_release_that_is_over_cannot_be_taken_back() {
        for (at, revision, over) in [
            ("baking", NEW, false),
            ("rolling back", NEW, false),
            ("rolled back", NEW, false),
            ("healthy", OLD, true),
            ("unseen", NEW, false),
        ] {
            assert_eq!(has_ended(&place(at), revision), over, "{at}");
        }
    }

    #[test]
    fn what_was_abandoned_once_is_not_gone_back_to_by_itself() {
        let mut rollout = place("after older");
        let status = rollout.status.as_mut().unwrap();
        let undone = json!({"revision": OLDER, "outcome": "Promoted", "replaced": NEW, "startedAt": "2026-11-21T13:00:00Z",
            "endedAt": "2026-11-21T13:10:00Z", "maxWeight": 100});
        status.history.insert(0, serde_json::from_value(undone).unwrap());
        let rejected = json!([{"revision": OLDER, "reason": "undone by request", "instead": OLD, "at": "2026-11-21T14:05:00Z"}]);
        status.rejected = serde_json::from_value(rejected).unwrap();
        let known = [found(OLDER, "hello:v0"), found(OLD, "hello:v1"), found(NEW, "hello:v2")];
        assert_eq!(short(&rollout, &known, None, None).map(|(_, to, _)| to), Ok(NEW.to_owned()), "the one before that");
        // A third one has been promoted: it is held no longer.
        let status = rollout.status.as_mut().unwrap();
        status.rejected.clear();
        let asked = json!([{"action": "Undo", "by": "alice", "verified": true}]);
        status.history.last_mut().unwrap().asked = serde_json::from_value(asked).unwrap();
        assert_eq!(short(&rollout, &known, None, None).map(|(_, to, _)| to), Ok(NEW.to_owned()), "it is passed over all the same");
    }

    #[test]
    fn of_a_declared_pair_live_is_set_back_if_there_are_pods() {
        let mut rollout = place("after older");
        let versions = vec!["hello-blue".to_owned(), "hello-green".to_owned()];
        rollout.spec.workload = Workload { versions, live: Some("hello-green".into()), ..Workload::default() };
        let known = |ready| {
            let version = |name: &str, ready| Found::Version { name: name.into(), ready };
            let blue = Known { found: version("hello-blue", ready), ..found(OLDER, "hello:v0") };
            [blue, Known { found: version("hello-green", 4), ..found(OLD, "hello:v1") }]
        };
        assert_eq!(short(&rollout, &known(1), None, None), Ok((OLD.to_owned(), OLDER.to_owned(), "live: hello-blue".to_owned())));
        let said = short(&rollout, &known(0), None, None).unwrap_err();
        assert!(
            said.starts_with("Deployment hello-blue, which has revision 5e1f0c2d3a, has no ready pods to take clients back to;"),
            "{said}"
        );
        assert!(said.ends_with(r#"--type=merge -p '{"spec":{"workload":{"live":"hello-blue"}}}'"#), "{said}");
        let said = short(&rollout, &known(1)[1..], None, None).unwrap_err();
        assert!(said.starts_with("no Deployment of Rollout hello has revision 5e1f0c2d3a; deploy it to one of them,"), "{said}");
    }

    #[test]
    fn it_is_advised_where_there_is_something_to_go_back_to() {
        let advised = |place: &Rollout| next(place, &caller()).iter().any(|next| next.command == "stepgate undo hello");
        assert_eq!([advised(&place("after older")), advised(&place("healthy")), advised(&place("rolled back"))], [true, false, false]);
    }
}
