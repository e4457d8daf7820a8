//! What a real controller manager was seen to do, run here: pauses, adoption, twins, proportions. Names as in the evidence: RS1 has the old
//! template, RS2 the new one.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    api::POD_TEMPLATE_HASH,
    sim::{
        Setup, World,
        clock::{DAWN, after},
        json, sample,
        server::{Reply, admission::Admission, request::Request},
    },
};

/// A cluster without policies, its time, and `hello` at version v1.
struct Lab {
    world: World,
    now: Timestamp,
}

const HELLO: &str = "/apis/apps/v1/namespaces/default/deployments/hello";
const CANARY: &str = "/apis/apps/v1/namespaces/default/deployments/hello-canary";

impl Lab {
    fn new(replicas: u32) -> Self {
        Self::with_spec(replicas, &json!({}))
    }

    fn with_spec(replicas: u32, spec: &Value) -> Self {
        let world = World::new(&Setup { admission: Admission::none(), ..Setup::default() });
        let mut lab = Self { world, now: DAWN };
        let mut deployment = sample::deployment("default", "hello", "v1", replicas);
        json_patch::merge(&mut deployment["spec"], spec);
        lab.send("POST", "/apis/apps/v1/namespaces/default/deployments", &deployment);
        lab.send("POST", "/api/v1/namespaces/default/services", &sample::service("default", "hello"));
        lab.run(10);
        lab
    }

    fn run(&mut self, seconds: u64) {
        self.run_for(Duration::from_secs(seconds));
    }

    fn run_for(&mut self, length: Duration) {
        let end = after(self.now, length);
        while let Some(next) = self.world.step(self.now).filter(|next| *next <= end) {
            self.now = next.max(self.now);
        }
        self.now = end;
        self.world.step(end);
    }

    /// Sends a request and expects success.
    fn send(&mut self, method: &str, path: &str, body: &Value) -> Value {
        let content_type = match (method, body) {
            ("PATCH", Value::Array(_)) => "application/json-patch+json",
            ("PATCH", _) => "application/merge-patch+json",
            _ => "application/json",
        };
        let request = Request::new(method, path, "alice").with_body(content_type, body);
        let Reply::Answer { code, body, .. } = self.world.handle(self.now, &request) else { panic!("a watch") };
        assert!(code < 300, "{method} {path}: {body}");
        body
    }

    fn hello(&mut self, patch: &Value) {
        self.send("PATCH", HELLO, patch);
    }

    fn deployment(&self) -> &Value {
        self.world.get("deployments.apps", "default", "hello").unwrap()
    }

    /// The `ReplicaSet` of a version whose name begins so.
    fn set(&self, prefix: &str, version: &str) -> Value {
        self.sets(version).into_iter().find(|set| json::name(set).starts_with(prefix)).unwrap_or(Value::Null)
    }

    fn sets(&self, version: &str) -> Vec<Value> {
        let of_version = |set: &Value| json::text(set, "/spec/template/spec/containers/0/image") == format!("hello:{version}");
        self.world.api.list("replicasets.apps", "default").map(|set| (**set).clone()).filter(of_version).collect()
    }

    fn size(&self, version: &str) -> i64 {
        self.sets(version).iter().map(|set| json::int(set, "/spec/replicas")).sum()
    }

    /// Uids of the pods of a version that are not terminating.
    fn pods(&self, version: &str) -> BTreeSet<String> {
        let of_version = |pod: &&std::sync::Arc<Value>| {
            json::text(pod, "/spec/containers/0/image") == format!("hello:{version}") && !json::deleting(pod)
        };
        self.world.api.list("pods", "default").filter(of_version).map(|pod| json::uid(pod).to_owned()).collect()
    }

    fn pause_with(&mut self, version: &str) {
        self.hello(&json!({"spec": {"paused": true, "template": sample::template("hello", version)}}));
        self.run(2);
    }

    /// A canary Deployment with hello's own selector and template, ready.
    fn canary(&mut self, version: &str, replicas: u32) {
        let mut canary = sample::deployment("default", "hello-canary", version, replicas);
        canary["spec"]["selector"] = json!({"matchLabels": {"app": "hello"}});
        canary["spec"]["template"] = sample::template("hello", version);
        self.send("POST", "/apis/apps/v1/namespaces/default/deployments", &canary);
        self.run(5);
    }

    fn surge(&mut self, surge: &str) {
        self.hello(&json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": surge}}}}));
        self.run(1);
    }

    /// The adoption's one write.
    fn hand_over(&mut self, set: &Value, replicas: u32) {
        let owner = json!([{
            "apiVersion": "apps/v1", "kind": "Deployment", "name": "hello", "uid": json::uid(self.deployment()), "controller": true, "blockOwnerDeletion": true,
        }]);
        let annotations = json!({"deployment.kubernetes.io/desired-replicas": replicas.to_string(), "deployment.kubernetes.io/max-replicas": (2 * replicas).to_string()});
        let path = format!("/apis/apps/v1/namespaces/default/replicasets/{}", json::name(set));
        let version = json::text(set, "/metadata/resourceVersion");
        self.send("PATCH", &path, &json!({"metadata": {"resourceVersion": version, "ownerReferences": owner, "annotations": annotations}}));
    }

    fn progressing(&self) -> (&str, &str) {
        let condition = json::condition(self.deployment(), "Progressing").unwrap();
        (json::text(condition, "/status"), json::text(condition, "/reason"))
    }
}

// Evidence, section 3.
#[test]
fn a_paused_template_makes_no_replica_set_and_says_so() {
    let mut lab = Lab::new(3);
    let before = lab.pods("v1");
    lab.pause_with("v2");
    lab.run(10);
    assert!(lab.sets("v2").is_empty());
    assert_eq!(lab.pods("v1"), before);
    assert_eq!(lab.progressing(), ("Unknown", "DeploymentPaused"));
    assert_eq!(lab.deployment()["status"]["observedGeneration"], lab.deployment()["metadata"]["generation"]);
    assert_eq!(lab.deployment()["status"].get("updatedReplicas"), None);
}

// Evidence, section 1: scaling while paused works, on the template that runs.
#[test]
fn scaling_while_paused_makes_pods_of_the_old_template() {
    let mut lab = Lab::new(4);
    lab.pause_with("v2");
    lab.hello(&json!({"spec": {"replicas": 5}}));
    lab.run(5);
    assert_eq!((lab.pods("v1").len(), lab.pods("v2").len()), (5, 0));
}

// Evidence, section 6: 25 of 25.
#[test]
fn going_back_to_the_running_template_and_resuming_restarts_no_pod() {
    let mut lab = Lab::new(4);
    let before = lab.pods("v1");
    lab.pause_with("v2");
    lab.hello(&json!({"spec": {"paused": null, "template": sample::template("hello", "v1")}}));
    lab.run(20);
    assert_eq!(lab.pods("v1"), before);
    assert_eq!(lab.progressing(), ("True", "NewReplicaSetAvailable"));
}

// Evidence, section 6.
#[test]
fn of_two_templates_set_while_paused_only_the_last_gets_a_replica_set() {
    let mut lab = Lab::new(2);
    lab.pause_with("v2");
    lab.pause_with("v3");
    lab.hello(&json!({"spec": {"paused": false}}));
    lab.run(20);
    assert!(lab.sets("v2").is_empty());
    assert_eq!((lab.size("v1"), lab.size("v3")), (0, 2));
}

// Evidence, section 3: "while paused, if the pending template equals a zero-size history RS, KCM still renumbers that RS".
#[test]
fn a_pending_template_from_the_history_is_renumbered_while_paused() {
    let mut lab = Lab::new(2);
    lab.hello(&json!({"spec": {"template": sample::template("hello", "v2")}}));
    lab.run(20);
    lab.pause_with("v1");
    assert_eq!(json::annotation(&lab.set("hello", "v1"), "deployment.kubernetes.io/revision"), Some("3"));
    assert_eq!(json::annotation(&lab.set("hello", "v1"), "deployment.kubernetes.io/revision-history"), Some("1"));
    assert_eq!((lab.size("v1"), lab.size("v2")), (0, 2));
}

// Evidence, section 5.
#[test]
fn the_new_set_taken_to_zero_while_paused_brings_the_old_one_back_to_full_size() {
    let mut lab = Lab::with_spec(4, &json!({"minReadySeconds": 2}));
    let before = lab.pods("v1");
    lab.hello(&json!({"spec": {"template": sample::template("hello", "v2")}}));
    lab.run_for(Duration::from_millis(40));
    lab.hello(&json!({"spec": {"paused": true}}));
    lab.run(3);
    assert!(lab.size("v2") > 0 && lab.size("v1") > 0, "caught in the middle: {} and {}", lab.size("v1"), lab.size("v2"));
    let name = json::name(&lab.set("hello", "v2")).to_owned();
    lab.send("PATCH", &format!("/apis/apps/v1/namespaces/default/replicasets/{name}"), &json!({"spec": {"replicas": 0}}));
    lab.run(10);
    assert_eq!((lab.size("v1"), lab.size("v2")), (4, 0));
    assert!(lab.pods("v1").intersection(&before).count() >= 3, "the surviving pods are kept");
}

// Evidence, section 5: the same when the old set has no pods any more puts the new one back.
#[test]
fn the_only_set_taken_to_zero_while_paused_comes_back_itself() {
    let mut lab = Lab::new(4);
    lab.hello(&json!({"spec": {"template": sample::template("hello", "v2")}}));
    lab.run(30);
    lab.hello(&json!({"spec": {"paused": true}}));
    lab.run(1);
    let name = json::name(&lab.set("hello", "v2")).to_owned();
    lab.send("PATCH", &format!("/apis/apps/v1/namespaces/default/replicasets/{name}"), &json!({"spec": {"replicas": 0}}));
    lab.run(10);
    assert_eq!((lab.size("v1"), lab.size("v2")), (0, 4));
}

// Evidence, section 2: "T3 applied in the middle of the hand-over: finish without unpausing: set RS1.spec.replicas=0 -> KCM brings RS2 to N".
#[test]
fn the_old_set_taken_to_zero_while_paused_with_a_third_template_finishes_the_second() {
    let mut lab = Lab::with_spec(4, &json!({"minReadySeconds": 2}));
    lab.hello(&json!({"spec": {"template": sample::template("hello", "v2")}}));
    lab.run_for(Duration::from_millis(60));
    lab.pause_with("v3");
    assert!(lab.size("v1") > 0 && lab.size("v2") > 0);
    let name = json::name(&lab.set("hello", "v1")).to_owned();
    lab.send("PATCH", &format!("/apis/apps/v1/namespaces/default/replicasets/{name}"), &json!({"spec": {"replicas": 0}}));
    lab.run(10);
    assert_eq!((lab.size("v1"), lab.size("v2"), lab.size("v3")), (0, 4, 0));
}

// Evidence, section 3.
#[test]
fn a_canary_deployment_with_the_same_selector_is_left_alone_by_its_neighbour() {
    let mut lab = Lab::new(3);
    lab.pause_with("v2");
    lab.canary("v2", 2);
    let canary = lab.pods("v2");
    lab.hello(&json!({"spec": {"replicas": 5}}));
    lab.run(5);
    assert_eq!((lab.pods("v1").len(), &lab.pods("v2")), (5, &canary));
    lab.hello(&json!({"spec": {"replicas": 3}}));
    lab.run(20);
    assert_eq!((lab.pods("v1").len(), &lab.pods("v2")), (3, &canary));
    assert_eq!(
        json::controller(&lab.set("hello-canary", "v2")).map(|owner| json::text(owner, "/name").to_owned()).as_deref(),
        Some("hello-canary")
    );
}

/// Design section 3, adoption, steps 2 to 4. Gives the pods of the canary before it.
fn adopt(lab: &mut Lab, replicas: u32) -> BTreeSet<String> {
    let pods = lab.pods("v2");
    lab.send("PATCH", CANARY, &json!({"spec": {"paused": true}}));
    lab.run(1);
    if json::text(lab.deployment(), "/spec/strategy/type") == "RollingUpdate" {
        lab.surge("100%");
    }
    let set = lab.set("hello-canary", "v2");
    lab.hand_over(&set, replicas);
    let mut waited = Duration::ZERO;
    while lab.size("v1") > 0 {
        lab.run_for(Duration::from_millis(10));
        waited += Duration::from_millis(10);
        assert_eq!(lab.size("v2"), i64::from(replicas), "the adopted set is never cut");
        assert!(waited < Duration::from_secs(2), "the old set is drained within a moment");
    }
    lab.run(15);
    lab.send("DELETE", CANARY, &json!({"propagationPolicy": "Background"}));
    lab.run(2);
    if json::text(lab.deployment(), "/spec/strategy/type") == "RollingUpdate" {
        lab.hello(&json!({"spec": {"paused": false, "strategy": {"rollingUpdate": {"maxSurge": "25%"}}}}));
    } else {
        lab.hello(&json!({"spec": {"paused": false}}));
    }
    lab.run(20);
    pods
}

// Evidence, section 11.
#[test]
fn an_adopted_replica_set_keeps_every_pod_and_completes_the_deployment() {
    for replicas in [1, 4, 8] {
        let mut lab = Lab::new(replicas);
        lab.pause_with("v2");
        lab.canary("v2", replicas);
        let pods = adopt(&mut lab, replicas);
        assert_eq!(lab.pods("v2"), pods);
        assert_eq!((lab.size("v1"), lab.pods("v1").len()), (0, 0));
        assert_eq!(lab.progressing(), ("True", "NewReplicaSetAvailable"));
        assert_eq!(json::annotation(lab.deployment(), "deployment.kubernetes.io/revision"), Some("2"));
        assert_eq!(lab.sets("v2").len(), 1, "the paused canary makes no second set");
    }
}

// Evidence, section 11: N = 1, strategy Recreate.
#[test]
fn an_adoption_works_with_recreate() {
    let mut lab = Lab::with_spec(1, &json!({"strategy": {"type": "Recreate"}}));
    lab.pause_with("v2");
    lab.canary("v2", 1);
    let pods = adopt(&mut lab, 1);
    assert_eq!(lab.pods("v2"), pods);
    assert_eq!(lab.progressing(), ("True", "NewReplicaSetAvailable"));
}

// Evidence, section 11: "going back to a template that is still in the history, without step 0: the older twin wins".
#[test]
fn an_older_twin_in_the_history_wins_over_the_adopted_set_and_restarts_everything() {
    let mut lab = Lab::new(2);
    lab.hello(&json!({"spec": {"template": sample::template("hello", "v2")}}));
    lab.run(20);
    lab.hello(&json!({"spec": {"template": sample::template("hello", "v1")}}));
    lab.run(20);
    lab.pause_with("v2");
    lab.canary("v2", 2);
    let pods = lab.pods("v2");
    lab.send("PATCH", CANARY, &json!({"spec": {"paused": true}}));
    lab.run(1);
    lab.surge("100%");
    let set = lab.set("hello-canary", "v2");
    lab.hand_over(&set, 2);
    lab.run(5);
    lab.hello(&json!({"spec": {"paused": false}}));
    lab.run(30);
    assert!(lab.pods("v2").is_disjoint(&pods), "every pod has been replaced");
}

// The same with step 0: the empty twin is deleted first.
#[test]
fn with_the_twin_deleted_first_the_adopted_set_is_kept() {
    let mut lab = Lab::new(2);
    lab.hello(&json!({"spec": {"template": sample::template("hello", "v2")}}));
    lab.run(20);
    lab.hello(&json!({"spec": {"template": sample::template("hello", "v1")}}));
    lab.run(20);
    lab.pause_with("v2");
    let twin = lab.set("hello", "v2");
    let preconditions = json!({"uid": json::uid(&twin), "resourceVersion": json::text(&twin, "/metadata/resourceVersion")});
    lab.send(
        "DELETE",
        &format!("/apis/apps/v1/namespaces/default/replicasets/{}", json::name(&twin)),
        &json!({"preconditions": preconditions}),
    );
    lab.canary("v2", 2);
    let pods = adopt(&mut lab, 2);
    assert_eq!(lab.pods("v2"), pods);
}

// Evidence, section 7, H6.
#[test]
fn a_canary_that_is_not_paused_starts_another_set_when_its_own_is_taken() {
    let mut lab = Lab::new(4);
    lab.pause_with("v2");
    lab.canary("v2", 4);
    lab.surge("100%");
    let set = lab.set("hello-canary", "v2");
    lab.hand_over(&set, 4);
    lab.run(3);
    assert_eq!(lab.pods("v2").len(), 8);
}

// Evidence, section 7, S2: 8 pods against 6. Seen: surge 25 %, 2 of 8 kept; surge 100 %, 3 of 8 kept and RS1 grown to 9.
#[test]
fn a_larger_set_that_is_adopted_is_cut_whatever_the_surge() {
    for (surge, kept, old) in [("25%", 2, 6), ("100%", 3, 9)] {
        let mut lab = Lab::new(6);
        lab.pause_with("v2");
        lab.canary("v2", 8);
        lab.send("PATCH", CANARY, &json!({"spec": {"paused": true}}));
        lab.surge(surge);
        let set = lab.set("hello-canary", "v2");
        lab.hand_over(&set, 6);
        lab.run(1);
        assert_eq!((lab.size("v2"), lab.size("v1")), (kept, old), "surge {surge}");
    }
}

// Evidence, section 7, S12: the template was reverted before the hand-over: the adopted set is an old one and goes.
#[test]
fn a_set_adopted_after_the_template_was_reverted_is_drained() {
    let mut lab = Lab::new(4);
    lab.pause_with("v2");
    lab.canary("v2", 4);
    lab.send("PATCH", CANARY, &json!({"spec": {"paused": true}}));
    lab.surge("100%");
    lab.hello(&json!({"spec": {"template": sample::template("hello", "v1")}}));
    lab.run(1);
    let set = lab.set("hello-canary", "v2");
    lab.hand_over(&set, 4);
    lab.run(5);
    assert_eq!((lab.size("v1"), lab.size("v2")), (4, 0));
}

// Evidence, section 7, H7: an orphaned set is adopted by the paused neighbour.
#[test]
fn an_orphaned_set_is_adopted_by_the_deployment_that_selects_it() {
    let mut lab = Lab::new(4);
    lab.pause_with("v2");
    lab.canary("v2", 4);
    let pods = lab.pods("v2");
    lab.send("DELETE", CANARY, &json!({"propagationPolicy": "Orphan"}));
    lab.run(5);
    assert_eq!(lab.pods("v2"), pods);
    assert_eq!(json::controller_uid(&lab.set("hello-canary", "v2")), json::uid(lab.deployment()));
}

// Evidence, section 4.
#[test]
fn a_pod_without_its_hash_is_released_and_replaced_and_other_labels_are_left_alone() {
    let mut lab = Lab::new(2);
    let pod = lab.world.api.list("pods", "default").next().map(|pod| json::name(pod).to_owned()).unwrap();
    let path = format!("/api/v1/namespaces/default/pods/{pod}");
    lab.send("PATCH", &path, &json!({"metadata": {"labels": {"stepgate.dev/rotation": "in"}}}));
    lab.run(5);
    assert_eq!(lab.pods("v1").len(), 2);
    lab.send("PATCH", &path, &json!({"metadata": {"labels": {POD_TEMPLATE_HASH: null}}}));
    lab.run(5);
    assert_eq!(lab.pods("v1").len(), 3);
    assert!(json::controller(lab.world.get("pods", "default", &pod).unwrap()).is_none());
}

// Evidence, section 4: the replacement of a labelled pod has no label.
#[test]
fn the_replacement_of_a_pod_with_a_rotation_label_has_none() {
    let mut lab = Lab::new(1);
    let pod = lab.world.api.list("pods", "default").next().map(|pod| json::name(pod).to_owned()).unwrap();
    let path = format!("/api/v1/namespaces/default/pods/{pod}");
    lab.send("PATCH", &path, &json!({"metadata": {"labels": {"stepgate.dev/rotation": "in"}}}));
    lab.send("DELETE", &path, &json!({}));
    lab.run(10);
    let pods: Vec<_> = lab.world.api.list("pods", "default").collect();
    assert_eq!(pods.len(), 1);
    assert_eq!(json::label(pods[0], "stepgate.dev/rotation"), None);
}

#[test]
fn a_roll_out_that_makes_no_progress_says_so_after_its_deadline() {
    let mut lab = Lab::with_spec(2, &json!({"progressDeadlineSeconds": 30}));
    lab.hello(&json!({"spec": {"template": sample::with_env(sample::template("hello", "v2"), "READY", "never")}}));
    lab.run(20);
    assert_eq!(lab.progressing(), ("True", "ReplicaSetUpdated"));
    lab.run(20);
    assert_eq!(lab.progressing(), ("False", "ProgressDeadlineExceeded"));
    assert_eq!(lab.pods("v1").len(), 2, "nothing of the old version was given up");
}

#[test]
fn a_recreate_makes_nothing_new_before_everything_old_has_gone() {
    let mut lab = Lab::with_spec(2, &json!({"strategy": {"type": "Recreate"}}));
    lab.hello(&json!({"spec": {"template": sample::template("hello", "v2")}}));
    lab.run_for(Duration::from_millis(1500));
    assert_eq!((lab.world.api.list("pods", "default").count(), lab.pods("v2").len()), (2, 0), "the old ones are still terminating");
    lab.run(10);
    assert_eq!((lab.size("v1"), lab.pods("v2").len()), (0, 2));
}

#[test]
fn history_beyond_its_limit_is_cleaned_up() {
    let mut lab = Lab::with_spec(1, &json!({"revisionHistoryLimit": 1}));
    for version in ["v2", "v3", "v4"] {
        lab.hello(&json!({"spec": {"template": sample::template("hello", version)}}));
        lab.run(20);
    }
    assert_eq!(["v1", "v2", "v3", "v4"].map(|version| lab.sets(version).len()), [0, 0, 1, 1]);
}
