//! Whole releases as scripts, each with the committed trace of what is written, told and reported in it.
//!
//! A script is a text file with one happening a line; its trace stands beside it and is compared to the byte. Where a change of behaviour is
//! meant, `INSTA_UPDATE=always cargo test --lib core::tests::scripts` writes the traces anew, and the diff shows what is different.

use serde_json::Value;

use crate::{
    api::{
        rollout::{Request, RequestAction},
        status::Phase,
    },
    core::{
        facts::observed::ProbeFacts,
        tests::model::{Crash, Model, VERSIONS, policy},
    },
};

/// The scripts, by name.
const SCRIPTS: [(&str, &str); 14] = [
    ("adoption", include_str!("scripts/adoption.txt")),
    ("roll", include_str!("scripts/roll.txt")),
    ("readiness_lost", include_str!("scripts/readiness_lost.txt")),
    ("abort_in_rotation", include_str!("scripts/abort_in_rotation.txt")),
    ("superseded_while_baking", include_str!("scripts/superseded_while_baking.txt")),
    ("affinity_and_undo", include_str!("scripts/affinity_and_undo.txt")),
    ("preview_and_gate", include_str!("scripts/preview_and_gate.txt")),
    ("controller_dies", include_str!("scripts/controller_dies.txt")),
    ("unpaused", include_str!("scripts/unpaused.txt")),
    ("deleted", include_str!("scripts/deleted.txt")),
    ("worker", include_str!("scripts/worker.txt")),
    ("worker_back", include_str!("scripts/worker_back.txt")),
    ("versions", include_str!("scripts/versions.txt")),
    ("versions_back", include_str!("scripts/versions_back.txt")),
];

/// Plays a script and returns its trace.
fn play(script: &str) -> String {
    let mut lines = script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let spec = lines.next().expect("a policy");
    let spec: Value = serde_json::from_str(spec.strip_prefix("policy ").expect("a policy first")).expect("JSON");
    let pair = lines.next().expect("a pair");
    let (kind, sizes) = pair.split_once(' ').expect("a kind and its sizes");
    let sizes: Vec<i32> = sizes.split(' ').map(|size| size.parse().expect("a number of pods")).collect();
    let mut model = match kind {
        "managed" => Model::new(sizes[0], policy(spec)),
        "worker" => Model::worker(sizes[0], policy(spec)),
        "versions" => Model::declared(&sizes, policy(spec)),
        other => panic!("no such pair: {other}"),
    };
    model.log = Some(Vec::new());
    for line in lines {
        model.say(&format!("> {line}"));
        happen(&mut model, line);
    }
    model.log.unwrap_or_default().join("\n")
}

fn happen(model: &mut Model, line: &str) {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    match verb {
        "until" => until(model, rest),
        "image" => model.set_image(rest),
        "live" => model.set_live(VERSIONS.into_iter().find(|name| *name == rest).expect("a version")),
        "scale" => model.scale(rest.parse().expect("a number of pods")),
        "preview" => model.add_preview(rest),
        "request" => request(model, rest),
        "unready" => model.set_ready(rest, false),
        "ready" => model.set_ready(rest, true),
        "broken" => model.broken.push(rest.to_owned()),
        "fails" => fails(model, rest),
        "dies" => drop(model.control(Crash::After(rest.parse().expect("a number of writes")))),
        "unpause" => model.unpause(),
        "delete" => model.rollout.deleting = true,
        "wait" => model.tick(rest.parse().expect("milliseconds")),
        other => panic!("no such happening: {other}"),
    }
}

/// Everybody in turn until a weight has been held for a moment, or a phase is there; at the end of a release until it is over.
fn until(model: &mut Model, what: &str) {
    if let Some(weight) = what.strip_prefix("weight ") {
        let weight: u8 = weight.parse().expect("a weight");
        model.run(|model| {
            let step = model.status().step.as_ref();
            step.is_some_and(|at| at.weight == weight && at.since.is_some_and(|since| since < model.now))
        });
        return;
    }
    if let Some(text) = what.strip_prefix("says ") {
        model.run(|model| model.status().why.contains(text));
        return;
    }
    let (phase, is_over) = match what {
        "rest" => (Phase::Healthy, true),
        "rolled back" => (Phase::RolledBack, true),
        "preparing" => (Phase::Preparing, false),
        "progressing" => (Phase::Progressing, false),
        "baking" => (Phase::Baking, false),
        "promoting" => (Phase::Promoting, false),
        "rolling back" => (Phase::RollingBack, false),
        "gone" => {
            model.run(|model| !model.rollout.has_finalizer);
            return;
        }
        other => panic!("no such state: {other}"),
    };
    // What has just happened is taken up first.
    let begin = model.now;
    model.run(|model| model.now > begin && model.phase() == phase && model.status().release.is_none() == is_over);
    if is_over {
        // What is left to be taken away is taken away.
        let end = model.now.as_second() + 5;
        model.run(|model| model.now.as_second() >= end);
    }
}

fn request(model: &mut Model, what: &str) {
    let (action, to) = what.split_once(' ').map_or((what, None), |(action, number)| (action, Some(number)));
    let action: RequestAction = serde_json::from_value(Value::from(action)).expect("an action");
    let status = model.status();
    let released = status.release.as_ref().map(|release| &release.revision);
    let live = status.stable.as_ref().map(|stable| &stable.revision);
    let revision = if action == RequestAction::Retry { Some(&model.wanted().revision) } else { released.or(live) };
    let revision = revision.cloned().unwrap_or_default();
    let to = to.map(|number| model.revision_of(number.parse().expect("the number of a version")));
    let (id, by) = (model.now.to_string(), "alice".to_owned());
    model.edit_spec(|spec| spec.request = Some(Request { id, action, revision, to, reason: String::new(), by }));
}

/// The probes of a gate fail on every pod of this image.
fn fails(model: &mut Model, what: &str) {
    let (gate, image) = what.split_once(' ').expect("a gate and an image");
    let uids: Vec<String> = model.pods_of(image).iter().map(|pod| pod.uid.clone()).collect();
    for uid in uids {
        let seen = ProbeFacts { successes: 0, failures: 3, last: "500 Internal Server Error".into(), failing_since: None, unknown: None };
        model.probes.insert((gate.to_owned(), uid), seen);
    }
}

#[test]
fn every_release_is_written_told_and_reported_as_it_always_was() {
    for (name, script) in SCRIPTS {
        let trace = play(script);
        insta::with_settings!({snapshot_path => "scripts", prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_snapshot!(name, trace);
        });
    }
}
