//! A namespace of the cluster for one test, and one controller that judges all states at once.

use std::{collections::BTreeMap, fs, thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    controller::{self, Cluster, Controller},
    kubectl::{Kubectl, cluster, eventually, unique},
    states::{Objects, canary_name, states},
};

/// How long everything has to stand still for it to count as standing still: longer than any first wait after a failed call.
const STILL: Duration = Duration::from_secs(4);

/// It is deleted with everything in it when this is dropped.
pub struct Namespace {
    pub name: String,
    kubectl: Kubectl,
    admin: Kubectl,
}

impl Namespace {
    pub fn create(name: &str) -> Self {
        let (name, admin) = (unique(name), cluster().unwrap());
        admin.run(&["create", "namespace", &name]);
        Self { kubectl: admin.namespace(&name), admin, name }
    }

    /// Lets user `author` write Rollouts, and update the Deployment and the Service named `mine`.
    pub fn let_the_author_write_rollouts(&self) {
        let role = |name: &str, rest: &[&str]| drop(self.kubectl.run(&[&["create", "role", name], rest].concat()));
        role("rollouts", &["--verb=create,update", "--resource=rollouts.stepgate.dev"]);
        role("mine", &["--verb=update", "--resource=deployments.apps", "--resource=services", "--resource-name=mine"]);
        for role in ["rollouts", "mine"] {
            self.kubectl.run(&["create", "rolebinding", role, &format!("--role={role}"), "--user=author"]);
        }
        let author = self.kubectl.user("author");
        eventually("the author has his rights", || {
            author.try_run(&["auth", "can-i", "create", "rollouts.stepgate.dev"]).ok
                && author.try_run(&["auth", "can-i", "update", "services/mine"]).ok
        });
    }

    fn make(&self, objects: Vec<Value>) {
        self.kubectl.feed(&["create", "-f", "-"], &json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string());
    }

    /// All objects of a kind, by name.
    fn all(&self, kind: &str) -> BTreeMap<String, Value> {
        let list = self.kubectl.get(&[kind]);
        let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
        list["items"].as_array().unwrap().iter().map(|object| (name(object), object.clone())).collect()
    }

    /// The versions of everything that the controller could write.
    fn versions(&self) -> BTreeMap<String, Value> {
        let kinds = "rollouts.stepgate.dev,deployments,replicasets,pods,services,events.events.k8s.io";
        let list = self.kubectl.get(&[kinds]);
        let version =
            |object: &Value| (format!("{} {}", object["kind"], object["metadata"]["name"]), object["metadata"]["resourceVersion"].clone());
        list["items"].as_array().unwrap().iter().map(version).collect()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Whatever fails here must not hide why a test failed.
        let rollouts = self.kubectl.try_run(&["get", "rollouts.stepgate.dev", "-o", "name"]).out;
        for rollout in rollouts.lines() {
            self.kubectl.try_run(&["patch", rollout, "--type=merge", "-p", r#"{"metadata": {"finalizers": null}}"#]);
        }
        self.admin.try_run(&["delete", "namespace", &self.name, "--wait=false"]);
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

fn owners_part(object: &Value) -> Value {
    let metadata = &object["metadata"];
    json!({ "spec": object["spec"], "labels": metadata["labels"], "finalizers": metadata["finalizers"], "owners": metadata["ownerReferences"] })
}

/// Rows of the table, each with names of its own.
struct Rows {
    refused: Vec<(String, Objects, String, String)>,
    accepted: Vec<(String, Objects)>,
}

fn rows() -> Rows {
    let (states, mut number) = (states(), 0);
    let mut next = || {
        number += 1;
        format!("hello-{number:02}")
    };
    Rows {
        refused: states
            .refused
            .iter()
            .map(|row| {
                let name = next();
                (row.state.clone(), row.objects.renamed(&name), row.reason.clone(), row.says.replace("hello", &name))
            })
            .collect(),
        accepted: states.accepted.iter().map(|row| (row.state.clone(), row.objects.renamed(&next()))).collect(),
    }
}

#[test]
fn one_controller_says_it_writes_nothing_else_and_keeps_still() {
    let Some(installed) = Cluster::from_env() else { return };
    let mut rows = rows();
    let namespace = Namespace::create("inputs-states");
    eventually("the namespace's own account is there", || namespace.kubectl.try_run(&["get", "serviceaccount", "default"]).ok);

    let all = || rows.refused.iter().map(|row| &row.1).chain(rows.accepted.iter().map(|row| &row.1));
    namespace.make(all().filter_map(|objects| objects.deployment.clone()).collect());
    // With the defaults filled in, a template has another revision, and the canary another name.
    let deployments = namespace.all("deployments");
    let canary = |objects: &Objects| canary_name(objects.deployment_name().and_then(|name| deployments.get(name)));
    namespace.make(all().flat_map(|objects| objects.others(&canary(objects))).collect());
    // What is older has been made in an earlier second.
    thread::sleep(Duration::from_millis(1100));
    namespace.make(all().filter_map(|objects| objects.service.clone()).chain(all().map(|objects| objects.rollout.clone())).collect());
    for row in &mut rows.refused {
        row.3 = row.3.replace("CANARY", &canary(&row.1));
    }
    let made = (namespace.all("deployments"), namespace.all("services"));

    let folder = controller::folder().join(&namespace.name);
    fs::create_dir_all(&folder).unwrap();
    let mut controller = Controller::new(&installed.controller, &namespace.name, &folder);
    controller.start();
    let waiting = || {
        let rollouts = namespace.all("rollouts.stepgate.dev");
        let mut waiting = Vec::new();
        for (state, objects, reason, says) in &rows.refused {
            let (expected, found) = (Some(("False".into(), reason.clone(), says.clone())), accepted(&rollouts[objects.rollout_name()]));
            if found != expected {
                waiting.push(format!("{state}\n  said:     {found:?}\n  expected: {expected:?}"));
            }
        }
        for (state, objects) in &rows.accepted {
            let rollout = &rollouts[objects.rollout_name()];
            if rollout["status"]["phase"] != "Healthy" || condition(rollout, "Guarded").is_none() {
                waiting.push(format!("{state}: {:?} {}", accepted(rollout), rollout["status"]["why"]));
            }
        }
        waiting
    };
    let start = std::time::Instant::now();
    while !waiting().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(30), "{}\n{}", waiting().join("\n"), controller.tail(20));
        thread::sleep(Duration::from_millis(500));
    }

    eventually("nothing is written any more", || {
        let before = namespace.versions();
        thread::sleep(STILL);
        before == namespace.versions()
    });
    assert!(controller.ended().is_none(), "{}", controller.tail(20));
    let noise: Vec<String> = controller
        .tail(usize::MAX)
        .lines()
        .filter(|line| ["panic", "WARN", "ERROR"].iter().any(|word| line.contains(word)))
        .map(str::to_owned)
        .collect();
    assert!(noise.is_empty(), "{}", noise.join("\n"));

    let rollouts = namespace.all("rollouts.stepgate.dev");
    for (state, objects, ..) in &rows.refused {
        assert_eq!(rollouts[objects.rollout_name()]["metadata"]["finalizers"], Value::Null, "{state}: more than status was written");
    }
    for (before, after) in [(made.0, namespace.all("deployments")), (made.1, namespace.all("services"))] {
        let parts = |objects: &BTreeMap<String, Value>| {
            objects.iter().map(|(name, object)| (name.clone(), owners_part(object))).collect::<BTreeMap<_, _>>()
        };
        assert_eq!(parts(&before), parts(&after), "what is the owner's was written");
    }
    tell_of_all(&namespace, &rows);
    answer_requests(&namespace);

    namespace.kubectl.run(&["delete", "rollouts.stepgate.dev", "--all", "--timeout=30s"]);
    drop(controller);
    let _ = fs::remove_dir_all(folder);
}

/// Every Rollout has an Event, whatever its name is.
fn tell_of_all(namespace: &Namespace, rows: &Rows) {
    let events = namespace.all("events.events.k8s.io");
    let told =
        |rollout: &str| events.values().any(|event| event["regarding"]["name"] == rollout && event["regarding"]["kind"] == "Rollout");
    let names = rows.refused.iter().map(|row| row.1.rollout_name()).chain(rows.accepted.iter().map(|row| row.1.rollout_name()));
    let silent: Vec<&str> = names.filter(|name| !told(name)).collect();
    assert!(silent.is_empty(), "no Event of {silent:?}");
}

/// Requests that came too early are answered all the same, each once.
fn answer_requests(namespace: &Namespace) {
    let asked: Vec<Value> =
        namespace.all("rollouts.stepgate.dev").into_values().filter(|rollout| !rollout["spec"]["request"].is_null()).collect();
    assert!(!asked.is_empty(), "no row has a request");
    for rollout in asked {
        let answers = rollout["status"]["requests"].as_array().unwrap();
        assert_eq!(answers.len(), 1, "{answers:?}");
        assert_eq!(answers[0]["outcome"], "refused: no release is under way (phase Pending)");
    }
}
