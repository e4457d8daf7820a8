//! All states at once, on a real cluster, under one controller.

use std::{
    collections::BTreeMap,
    fs, thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    controller::{self, Cluster, Controller},
    kubectl::eventually,
    namespace::Namespace,
    states::{Objects, canary_name, states},
};

/// How long everything has to stand still for it to count as standing still: longer than any first wait after a failed call.
const STILL: Duration = Duration::from_secs(4);

/// The rows of the table, each with names of its own.
struct Rows {
    refused: Vec<Refused>,
    accepted: Vec<(String, Objects)>,
}

struct Refused {
    state: String,
    objects: Objects,
    reason: String,
    says: String,
}

impl Rows {
    fn of_table() -> Self {
        let table = states();
        let name = |number: usize| format!("hello-{number:02}");
        let count = table.refused.len();
        let refused = table.refused.into_iter().enumerate().map(|(number, row)| Refused {
            objects: row.objects.renamed(&name(number)),
            says: row.says.replace("hello", &name(number)),
            state: row.state,
            reason: row.reason,
        });
        let accepted = table.accepted.into_iter().enumerate().map(|(number, row)| (row.state, row.objects.renamed(&name(count + number))));
        Self { refused: refused.collect(), accepted: accepted.collect() }
    }

    fn objects(&self) -> impl Iterator<Item = &Objects> {
        self.refused.iter().map(|row| &row.objects).chain(self.accepted.iter().map(|(_, objects)| objects))
    }

    /// Makes all objects, and fills in the names that canaries would have.
    fn make(&mut self, namespace: &Namespace) {
        eventually("the namespace's own account is there", || namespace.kubectl.try_run(&["get", "serviceaccount", "default"]).ok);
        let make = |objects: Vec<Value>| namespace.make(&objects);
        make(self.objects().filter_map(|objects| objects.deployment.clone()).collect());
        // With the defaults filled in, a template has another revision, and the canary another name.
        let deployments = namespace.all("deployments");
        let canary = |objects: &Objects| canary_name(objects.deployment_name().and_then(|name| deployments.get(name)));
        make(self.objects().flat_map(|objects| objects.others(&canary(objects))).collect());
        // What is older has been made in an earlier second.
        thread::sleep(Duration::from_millis(1100));
        let services = self.objects().filter_map(|objects| objects.service.clone());
        make(services.chain(self.objects().map(|objects| objects.rollout.clone())).collect());
        for row in &mut self.refused {
            row.says = row.says.replace("CANARY", &canary(&row.objects));
        }
    }

    /// What is not yet said as it should be.
    fn unsaid(&self, namespace: &Namespace) -> Vec<String> {
        let rollouts = namespace.all("rollouts.stepgate.dev");
        let refused = self.refused.iter().filter_map(|row| {
            let found = accepted(&rollouts[row.objects.rollout_name()]);
            let expected = Some(("False".to_owned(), row.reason.clone(), row.says.clone()));
            (found != expected).then(|| format!("{}\n  said:     {found:?}\n  expected: {expected:?}", row.state))
        });
        let unusual = self.accepted.iter().filter_map(|(state, objects)| {
            let rollout = &rollouts[objects.rollout_name()];
            let at_rest = rollout["status"]["phase"] == "Healthy" && condition(rollout, "Guarded").is_some();
            (!at_rest).then(|| format!("{state}: {:?} {}", accepted(rollout), rollout["status"]["why"]))
        });
        refused.chain(unusual).collect()
    }
}

fn condition<'a>(rollout: &'a Value, type_: &str) -> Option<&'a Value> {
    rollout["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == type_)
}

fn accepted(rollout: &Value) -> Option<(String, String, String)> {
    let condition = condition(rollout, "Accepted")?;
    let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("reason"), text("message")))
}

/// What of each object is its owner's.
fn owners_parts(objects: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let part = |object: &Value| {
        let metadata = &object["metadata"];
        json!([object["spec"], metadata["labels"], metadata["finalizers"], metadata["ownerReferences"]])
    };
    objects.iter().map(|(name, object)| (name.clone(), part(object))).collect()
}

#[test]
fn one_controller_says_it_writes_nothing_else_and_keeps_still() {
    let Some(installed) = Cluster::from_env() else { return };
    let (mut rows, namespace) = (Rows::of_table(), Namespace::create("inputs-states"));
    rows.make(&namespace);
    let owners = || (owners_parts(&namespace.all("deployments")), owners_parts(&namespace.all("services")));
    let made = owners();

    let folder = controller::folder().join(&namespace.name);
    fs::create_dir_all(&folder).unwrap();
    let mut controller = Controller::new(&installed.controller, &namespace.name, &folder);
    controller.start();
    let start = Instant::now();
    while !rows.unsaid(&namespace).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(30), "{}\n{}", rows.unsaid(&namespace).join("\n"), controller.tail(20));
        thread::sleep(Duration::from_millis(500));
    }
    eventually("nothing is written any more", || {
        let before = namespace.versions();
        thread::sleep(STILL);
        before == namespace.versions()
    });

    assert_eq!(made, owners(), "what is the owner's was written");
    let rollouts = namespace.all("rollouts.stepgate.dev");
    for row in &rows.refused {
        let finalizers = &rollouts[row.objects.rollout_name()]["metadata"]["finalizers"];
        assert_eq!(*finalizers, Value::Null, "{}: more than status was written", row.state);
    }
    assert_no_noise(&mut controller);
    assert_all_are_told_of(&namespace, &rows);
    assert_requests_are_answered(rollouts.values());

    namespace.kubectl.run(&["delete", "rollouts.stepgate.dev", "--all", "--timeout=30s"]);
    drop(controller);
    let _ = fs::remove_dir_all(folder);
}

/// The controller runs, and has met nothing that it did not expect.
fn assert_no_noise(controller: &mut Controller) {
    assert!(controller.ended().is_none(), "{}", controller.tail(20));
    let log = controller.tail(usize::MAX);
    let noise: Vec<&str> = log.lines().filter(|line| ["panic", "WARN", "ERROR"].iter().any(|word| line.contains(word))).collect();
    assert!(noise.is_empty(), "{}", noise.join("\n"));
}

/// Every Rollout has an Event, whatever its name is.
fn assert_all_are_told_of(namespace: &Namespace, rows: &Rows) {
    let events = namespace.all("events.events.k8s.io");
    let told =
        |rollout: &str| events.values().any(|event| event["regarding"]["name"] == rollout && event["regarding"]["kind"] == "Rollout");
    let silent: Vec<&str> = rows.objects().map(Objects::rollout_name).filter(|name| !told(name)).collect();
    assert!(silent.is_empty(), "no Event of {silent:?}");
}

/// Requests that came too early are answered all the same, each once.
fn assert_requests_are_answered<'a>(rollouts: impl Iterator<Item = &'a Value>) {
    let asked: Vec<&Value> = rollouts.filter(|rollout| !rollout["spec"]["request"].is_null()).collect();
    assert!(!asked.is_empty(), "no row has a request");
    for rollout in asked {
        let answers = rollout["status"]["requests"].as_array().unwrap();
        assert_eq!(answers.len(), 1, "{answers:?}");
        // Pending, or Healthy by the time it was known whether the name under the request can be trusted.
        let outcome = answers[0]["outcome"].as_str().unwrap_or_default();
        assert!(outcome.starts_with("refused: no release is under way (phase "), "{outcome}");
    }
}
