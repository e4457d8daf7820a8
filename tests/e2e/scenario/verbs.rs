//! What users, tools, pods and fate do in a scenario, and how it waits.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use stepgate::{
    api::{POD_TEMPLATE_HASH, Rollout, RolloutStatus, rollout::RequestAction, status::Phase},
    sim::load::Report,
};
use tokio::time;

use super::{PATIENCE, Scenario, merge};
use crate::world::{HELLO, Kind, World, text};

/// Some pods of the scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pods {
    /// All of the version under release.
    Canary,
    /// One of them.
    OneCanary,
    /// All of the version that is live.
    Stable,
    /// One of them.
    OneStable,
}

impl Scenario {
    /// A new image, as a user's patch; Git follows.
    pub async fn set_image(&mut self, image: &str) {
        self.manifests.set_image(image);
        let container = json!({"name": HELLO, "image": format!("stepgate.test/hello:{image}")});
        self.patch_deployment(&json!({"spec": {"template": {"spec": {"containers": [container]}}}})).await;
    }

    /// A new image and an environment variable of the application in one write; Git follows.
    pub async fn set_image_and_env(&mut self, image: &str, name: &str, value: &str) {
        self.env.insert(name.into(), value.into());
        self.manifests.set_image(image);
        self.manifests.set_env(&self.env);
        let container = json!({"name": HELLO, "image": format!("stepgate.test/hello:{image}"), "env": [{"name": name, "value": value}]});
        self.patch_deployment(&json!({"spec": {"template": {"spec": {"containers": [container]}}}})).await;
    }

    /// `kubectl scale`; Git follows.
    pub async fn scale(&mut self, replicas: usize) {
        self.allowance.pods_change = true;
        self.manifests.deployment["spec"]["replicas"] = json!(replicas);
        self.kubectl(&["scale", "deployment", HELLO, &format!("--replicas={replicas}")], &Value::Null).await;
    }

    /// The version of a declared pair that is to be live; Git follows.
    pub async fn set_live(&mut self, version: &str) {
        let live = json!({"spec": {"workload": {"live": format!("{HELLO}-{version}")}}});
        merge(&mut self.manifests.rollout, &live);
        self.patch_rollout(&live).await;
    }

    /// A strategic merge patch on the Deployment.
    pub async fn patch_deployment(&self, patch: &Value) {
        let patch = patch.to_string();
        self.kubectl(&["patch", "deployment", HELLO, "--field-manager=user", "-p", &patch], &Value::Null).await;
    }

    /// A request for the revision under release; returns its id.
    pub async fn request(&self, action: RequestAction) -> String {
        let revision = self.status().canary.expect("a version under release").revision;
        self.request_for(action, &revision).await
    }

    /// A request for any revision; returns its id.
    pub async fn request_for(&self, action: RequestAction, revision: &str) -> String {
        let id = format!("{action:?}-{}", Timestamp::now());
        self.patch_rollout(&json!({"spec": {"request": {"id": id, "action": action, "revision": revision, "reason": "e2e"}}})).await;
        id
    }

    pub async fn pause(&self) {
        self.patch_rollout(&json!({"spec": {"paused": true}})).await;
    }

    pub async fn resume(&self) {
        self.patch_rollout(&json!({"spec": {"paused": false}})).await;
    }

    /// A merge patch on the Rollout.
    pub async fn patch_rollout(&self, patch: &Value) {
        let rollouts: Api<Rollout> = Api::namespaced(self.client.clone(), &self.namespace);
        rollouts.patch(HELLO, &PatchParams::default(), &Patch::Merge(patch)).await.expect("a patch on the Rollout");
    }

    /// Deletes the Rollout without waiting.
    pub async fn delete_rollout(&self) {
        let rollouts: Api<Rollout> = Api::namespaced(self.client.clone(), &self.namespace);
        rollouts.delete(HELLO, &DeleteParams::default()).await.expect("a deletion of the Rollout");
    }

    /// Tells pods to behave differently, such as `ready=false`, `health=500` or `crash=true`; returns the moment.
    ///
    /// Bad answers of the version that is told so are expected from then on.
    pub async fn behave(&mut self, pods: Pods, setting: &str) -> Instant {
        self.allowance.pods_change = true;
        if setting.starts_with("fail") {
            self.expect_bad_answers();
        }
        let now = Instant::now();
        for address in self.addresses(pods) {
            let url = format!("http://{address}:8081/set?{setting}");
            let answer = reqwest::Client::new().post(url).timeout(Duration::from_secs(10)).send().await;
            // A pod that was told to crash does not answer.
            if !setting.starts_with("crash") {
                answer.expect("the pod's control port").error_for_status().expect("a setting that the pod knows");
            }
        }
        now
    }

    /// Requests may be answered badly by the version under release.
    pub fn expect_bad_answers(&mut self) {
        let images = self.status().canary.map(|canary| canary.images).unwrap_or_default();
        self.bad.extend(images.iter().filter_map(|image| Some(image.rsplit_once(':')?.1.to_owned())));
    }

    /// Deletes pods, which end as well-behaved pods do.
    pub async fn delete_pods(&mut self, pods: Pods) {
        self.allowance.pods_change = true;
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        for name in self.pods(pods).iter().map(|pod| text(pod, "/metadata/name")) {
            api.delete(name, &DeleteParams::default()).await.expect("a deletion of a pod");
        }
    }

    /// The pods, without those that are ending.
    pub fn pods(&self, pods: Pods) -> Vec<Value> {
        let status = self.status();
        let side = if matches!(pods, Pods::Stable | Pods::OneStable) { status.stable } else { status.canary };
        let hash = side.expect("a version of that side").hash;
        assert!(!hash.is_empty(), "no pods of that side yet");
        let labels = BTreeMap::from([(POD_TEMPLATE_HASH.to_owned(), hash)]);
        let timeline = self.timeline.borrow();
        let most = if matches!(pods, Pods::OneCanary | Pods::OneStable) { 1 } else { usize::MAX };
        timeline.now.live_pods(&labels).take(most).cloned().collect()
    }

    /// Addresses of pods.
    pub fn addresses(&self, pods: Pods) -> Vec<String> {
        self.pods(pods).iter().map(|pod| text(pod, "/status/podIP").to_owned()).filter(|address| !address.is_empty()).collect()
    }

    /// uids of all pods of the application, without those that are ending.
    pub fn uids(&self) -> BTreeSet<String> {
        let labels = BTreeMap::from([("app".to_owned(), HELLO.to_owned())]);
        self.timeline.borrow().now.live_pods(&labels).map(|pod| text(pod, "/metadata/uid").to_owned()).collect()
    }

    /// Writes to the Service so far, by anybody.
    pub fn service_writes(&self) -> usize {
        self.timeline.borrow().counts().get(&(Kind::Service, HELLO)).copied().unwrap_or_default()
    }

    /// The Rollout's status as last seen.
    pub fn status(&self) -> RolloutStatus {
        self.timeline.borrow().now.status(HELLO)
    }

    /// Waits until the Rollout's status is so, and returns it.
    pub async fn wait_for(&mut self, what: &str, is_so: impl Fn(&RolloutStatus) -> bool) -> RolloutStatus {
        self.wait_patiently(PATIENCE, what, is_so).await
    }

    /// The same, for as long as it may take.
    pub async fn wait_patiently(&mut self, patience: Duration, what: &str, is_so: impl Fn(&RolloutStatus) -> bool) -> RolloutStatus {
        self.wait_at_most(patience, what, |world| is_so(&world.status(HELLO))).await;
        self.status()
    }

    /// Waits until the Rollout is in this phase.
    pub async fn wait_for_phase(&mut self, phase: Phase) -> RolloutStatus {
        self.wait_for(&format!("phase {phase:?}"), |status| status.phase == Some(phase)).await
    }

    /// Waits until the step of this weight is confirmed, settled and held.
    pub async fn wait_for_weight(&mut self, weight: u8) -> RolloutStatus {
        let since = |status: &RolloutStatus| status.step.as_ref().filter(|step| step.weight == weight)?.since;
        let status = self.wait_for(&format!("weight {weight} to be held"), |status| since(status).is_some()).await;
        // The hold's begin is known before it comes.
        let settling = since(&status).and_then(|since| Duration::try_from(since.duration_since(Timestamp::now())).ok());
        time::sleep(settling.unwrap_or_default()).await;
        status
    }

    /// Waits until the version with this image is live and nothing is being released.
    pub async fn wait_for_healthy(&mut self, image: &str) -> RolloutStatus {
        let live = |status: &RolloutStatus| {
            status.phase == Some(Phase::Healthy) && status.stable.as_ref().is_some_and(|stable| has_image(&stable.images, image))
        };
        self.wait_for(&format!("{image} to be live"), live).await
    }

    /// Waits until this version of a declared pair is live and nothing is being released.
    pub async fn wait_for_live(&mut self, version: &str) -> RolloutStatus {
        let name = format!("{HELLO}-{version}");
        let live = |status: &RolloutStatus| {
            status.phase == Some(Phase::Healthy) && status.stable.as_ref().is_some_and(|stable| stable.name == name)
        };
        self.wait_for(&format!("{name} to be live"), live).await
    }

    /// Waits until condition Accepted of a Rollout is False for this reason, and returns its message.
    pub async fn wait_for_refusal(&mut self, rollout: &str, reason: &str) -> String {
        let accepted = |world: &World| {
            let condition = world.status(rollout).conditions.into_iter().find(|condition| condition.type_ == "Accepted")?;
            (condition.status == "False").then_some((condition.reason, condition.message))
        };
        let refused = |world: &World| accepted(world).is_some_and(|(found, _)| found == reason);
        self.wait_until(&format!("Rollout {rollout} to be refused: {reason}"), refused).await;
        accepted(&self.timeline.borrow().now).expect("just seen").1
    }

    /// Waits until the namespace's objects are so.
    pub async fn wait_until(&mut self, what: &str, is_so: impl Fn(&World) -> bool) {
        self.wait_at_most(PATIENCE, what, is_so).await;
    }

    async fn wait_at_most(&mut self, patience: Duration, what: &str, is_so: impl Fn(&World) -> bool) {
        let mut timeline = self.timeline.clone();
        let limit = time::Instant::now() + patience;
        loop {
            let changed = time::timeout(Duration::from_millis(200), timeline.wait_for(|timeline| is_so(&timeline.now)));
            if changed.await.is_ok() {
                return;
            }
            if let Some(status) = self.controller.ended() {
                panic!("the controller ended ({status}) while the scenario waited for {what}");
            }
            assert!(time::Instant::now() < limit, "waited {patience:?} in vain for {what}");
        }
    }

    /// Waits until an adoption has begun: the label that records it is on the Deployment.
    pub async fn wait_for_hand_over(&mut self) {
        let label = "/metadata/labels/stepgate.dev~1handover";
        self.wait_until("a hand-over", |world| world.get(Kind::Deployment, HELLO).is_some_and(|hello| hello.pointer(label).is_some()))
            .await;
    }

    pub fn kill9(&mut self) {
        self.controller.kill9();
    }

    pub fn start_controller(&mut self) {
        self.controller.start();
    }

    #[allow(dead_code, reason = "the benchmarks fill many namespaces")]
    pub fn restart_for_all_namespaces(&mut self) {
        self.controller.kill9();
        self.controller.watch_all_namespaces();
        self.controller.start();
    }

    pub async fn sigterm(&mut self) -> std::process::ExitStatus {
        self.controller.sigterm().await
    }

    #[allow(dead_code, reason = "the benchmarks measure its memory")]
    pub fn controller_pid(&self) -> u32 {
        self.controller.pid().expect("a running controller")
    }

    /// What the clients have seen so far.
    pub fn clients(&mut self) -> &Report {
        self.load.as_mut().expect("running clients").report()
    }

    /// Asserts that no new connection got an answer of this version once `limit` had passed after the moment.
    pub fn assert_no_answer(&mut self, version: &str, after: Instant, limit: Duration) {
        let report = self.clients();
        if let Some(request) = report.last_answer(version, after + limit) {
            let late = request.sent_at.duration_since(after);
            panic!("{version} answered a request sent {late:.3?} after it had failed; at most {limit:?} is right");
        }
    }

    /// Asserts that no request failed that was sent later than `limit` after the moment, and lets the others be.
    pub async fn assert_failures_only_within(&mut self, after: Instant, limit: Duration) {
        let load = self.load.take().expect("running clients");
        let report = load.stop().await;
        let late: Vec<_> =
            report.failed().into_iter().filter(|request| request.sent_at > after + limit || request.sent_at < after).collect();
        assert!(late.is_empty(), "{} requests failed outside the {limit:?}:\n{}", late.len(), report.describe(&late, 20));
    }

    /// Whether an object is there.
    pub fn exists(&self, kind: Kind, name: &str) -> bool {
        self.timeline.borrow().now.get(kind, name).is_some()
    }
}

/// Whether the first of these images is `stepgate.test/hello:<tag>`.
pub fn has_image(images: &[String], tag: &str) -> bool {
    images.first().is_some_and(|image| image.ends_with(&format!(":{tag}")))
}
