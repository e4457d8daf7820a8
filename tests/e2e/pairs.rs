//! Versions that are all Deployments of the user's own (`workload.versions`): clients are moved between pods that are there.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use stepgate::api::{
    RolloutStatus,
    rollout::RequestAction,
    status::{Outcome, Phase},
};
use tokio::time;

use crate::{
    scenario::{Plan, Pods, Scenario, Style},
    world::{HELLO, Kind, VERSION, World, text},
};

/// A readiness probe's period, the controller's reaction, and kube-proxy's next sync: about a second, and room for a busy machine.
const OFF_THE_TRAFFIC: Duration = Duration::from_secs(10);

/// Blue and green of so many pods each; blue is live.
fn pair(plan: Plan, replicas: usize) -> Plan {
    plan.replicas(replicas).versions(&[("blue", "v1"), ("green", "v2")])
}

/// One step, and a previous version that stays warm for so long.
fn flip(plan: Plan, keep_previous: &str) -> Plan {
    pair(plan, 3).policy(&json!({"steps": [{"weight": 100}], "keepPrevious": keep_previous}))
}

/// Steps that are held at this weight for long enough to do something.
fn holding(plan: Plan, weight: u8) -> Plan {
    let steps = [25, 50, 75, 100].map(|step| json!({"weight": step, "hold": if step == weight { "10m" } else { "300ms" }}));
    plan.policy(&json!({"steps": steps}))
}

/// A release to green that is held at this weight.
async fn at(plan: Plan, weight: u8) -> Scenario {
    let mut s = holding(pair(plan, 3), weight).start().await;
    s.set_live("green").await;
    s.wait_for_weight(weight).await;
    s
}

fn names(version: &str) -> impl Fn(&World) -> bool {
    let version = Some(version.to_owned());
    move |world| world.selector(HELLO).remove(VERSION) == version
}

fn outcomes(status: &RolloutStatus) -> Vec<Outcome> {
    status.history.iter().map(|entry| entry.outcome).collect()
}

/// Blue serves, and green is rejected; its pods are there.
async fn expect_rejection(s: &mut Scenario) -> RolloutStatus {
    let status = s.wait_for_phase(Phase::RolledBack).await;
    assert_eq!(status.stable.as_ref().map(|stable| stable.name.as_str()), Some("hello-blue"));
    assert_eq!(status.canary.as_ref().map(|canary| canary.name.as_str()), Some("hello-green"));
    assert_eq!((status.rejected.len(), status.history.last().map(|entry| entry.outcome)), (1, Some(Outcome::RolledBack)));
    assert!(names("blue")(&s.timeline.borrow().now));
    status
}

async fn readiness_lost_at(plan: Plan, weight: u8, pods: Pods) {
    let mut s = at(plan, weight).await;
    let before = s.uids();
    let failed_at = s.behave(pods, "ready=false").await;
    expect_rejection(&mut s).await;
    s.assert_no_answer("v2", failed_at, OFF_THE_TRAFFIC);
    assert_eq!(s.uids(), before, "a version of the user's own keeps its pods");
    s.finish().await;
}

/// Scales a version as its owner.
async fn scale(s: &mut Scenario, version: &str, replicas: usize) {
    s.allowance.pods_change = true;
    s.kubectl(&["scale", "deployment", &format!("{HELLO}-{version}"), &format!("--replicas={replicas}")], &Value::Null).await;
}

/// A Rollout that is refused for this reason, with words of the sentence that says so, and that writes nothing.
async fn refused(plan: Plan, reason: &str, words: &str) {
    let mut s = plan.start_without_clients().await;
    let message = s.wait_for_refusal(HELLO, reason).await;
    assert!(message.contains(words), "{message}");
    assert_eq!(s.service_writes(), 1, "the Service was made, and that was all");
    s.finish().await;
}

crate::scenarios! {
    async fn swap_their_roles_and_nobody_restarts(plan: Plan) {
        let mut s = pair(plan, 4).start().await;
        let before = s.uids();
        s.set_live("green").await;
        for weight in [25, 50, 75, 100] {
            let routed = s.wait_for_weight(weight).await.traffic.and_then(|traffic| traffic.routed);
            assert_eq!(routed, Some(weight), "both have all their pods, so that the rotation label gives every quarter");
        }
        let status = s.wait_for_live("green").await;
        assert_eq!((outcomes(&status), status.rejected.len()), (vec![Outcome::Promoted], 0));
        assert_eq!(s.uids(), before);
        s.finish().await;
    }

    async fn flip_and_flip_back_by_one_write_each(plan: Plan) {
        let mut s = flip(plan, "1m").start().await;
        let (before, writes) = (s.uids(), s.service_writes());
        s.set_live("green").await;
        s.wait_for_phase(Phase::Baking).await;
        assert_eq!(s.service_writes(), writes + 1);
        let back_at = Instant::now();
        s.set_live("blue").await;
        let status = s.wait_for_live("blue").await;
        assert_eq!((s.service_writes(), outcomes(&status)), (writes + 2, vec![Outcome::Superseded]));
        assert!(status.rejected.is_empty(), "nobody has said that green is bad: {:?}", status.rejected);
        s.assert_no_answer("v2", back_at, OFF_THE_TRAFFIC);
        assert_eq!(s.uids(), before);
        s.finish().await;
    }

    async fn are_released_back_and_forth(plan: Plan) {
        let mut s = flip(plan, "500ms").start().await;
        let before = s.uids();
        for live in ["green", "blue", "green", "blue"] {
            s.set_live(live).await;
            s.wait_for_live(live).await;
        }
        assert_eq!(outcomes(&s.status()), [Outcome::Promoted; 4]);
        assert_eq!(s.uids(), before);
        s.finish().await;
    }

    async fn abort_in_the_bake_is_one_write(plan: Plan) {
        let mut s = flip(plan, "10m").start().await;
        s.set_live("green").await;
        s.wait_for_phase(Phase::Baking).await;
        let (writes, at) = (s.service_writes(), Instant::now());
        s.request(RequestAction::Abort).await;
        expect_rejection(&mut s).await;
        assert_eq!(s.service_writes(), writes + 1);
        s.assert_no_answer("v2", at, OFF_THE_TRAFFIC);
        s.set_live("blue").await;
        s.wait_for_live("blue").await;
        s.finish().await;
    }

    async fn lose_their_readiness_at_50(plan: Plan) {
        readiness_lost_at(plan, 50, Pods::Canary).await;
    }

    async fn lose_one_pods_readiness_at_100(plan: Plan) {
        readiness_lost_at(plan, 100, Pods::OneCanary).await;
    }

    async fn that_answer_500_to_checks_get_no_client(plan: Plan) {
        let mut plan = pair(plan, 2).pods_change();
        plan.manifests.versions[1]["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "HEALTH", "value": "500"}]);
        let mut s = plan.start().await;
        s.set_live("green").await;
        let status = expect_rejection(&mut s).await;
        let gate = status.rejected.last().map(|rejected| rejected.gate.as_str());
        assert_eq!((gate, status.history.last().map(|entry| entry.max_weight)), (Some("healthz"), Some(0)));
        s.stop_clients().await;
        assert_eq!(s.report().first_answer("v2").map(|request| request.sent_at), None);
        s.finish().await;
    }

    async fn three_of_them_have_clients_two_at_a_time(plan: Plan) {
        let plan = plan.replicas(2).versions(&[("blue", "v1"), ("green", "v2"), ("red", "v3")]);
        let mut s = plan.hold("1s").start().await;
        let before = s.uids();
        s.set_live("green").await;
        s.wait_for_weight(75).await;
        s.set_live("red").await;
        let status = s.wait_for_live("red").await;
        assert_eq!(outcomes(&status), [Outcome::Superseded, Outcome::Promoted]);
        assert_eq!(s.uids(), before);
        s.finish().await;
    }

    async fn one_without_pods_is_scaled_up_first(plan: Plan) {
        let mut plan = pair(plan, 4).hold("1s");
        plan.manifests.versions[1]["spec"]["replicas"] = json!(0);
        let mut s = plan.start().await;
        s.set_live("green").await;
        let routed = s.wait_for_weight(25).await.traffic.and_then(|traffic| traffic.routed);
        assert_eq!((s.timeline.borrow().now.size("hello-green"), routed), (1, Some(20)), "one pod beside four");
        s.wait_for_live("green").await;
        assert_eq!(["hello-blue", "hello-green"].map(|name| s.timeline.borrow().now.size(name)), [4, 4]);
        s.finish().await;
    }

    async fn a_service_that_names_none_is_pinned_to_the_live_one(plan: Plan) {
        // For a moment the live version is on record and the Service not yet pinned: what its owner has written.
        let plan = pair(plan, 2).gaps().service(&json!({"spec": {"selector": {"version": null}}}));
        let mut s = plan.start().await;
        s.wait_until("the Service to name blue", names("blue")).await;
        s.set_live("green").await;
        s.wait_for_live("green").await;
        s.finish().await;
    }

    async fn a_service_that_names_another_one_than_live_begins_a_release(plan: Plan) {
        let plan = pair(plan, 2).service(&json!({"spec": {"selector": {"version": "green"}}}));
        let mut s = plan.start_without_clients().await;
        s.start_clients(100.0).await;
        let status = s.wait_for_live("blue").await;
        assert_eq!(outcomes(&status), [Outcome::Promoted]);
        s.finish().await;
    }

    async fn survive_a_controller_that_is_killed_in_mid_flip(plan: Plan) {
        let mut s = flip(plan, "300ms").start().await;
        let before = s.uids();
        let lives = ["green", "blue"].into_iter().cycle().take(8);
        for (live, after) in lives.zip((0..).map(|number| Duration::from_millis(150) * number)) {
            s.set_live(live).await;
            time::sleep(after).await;
            s.kill9();
            s.start_controller();
            s.wait_for_live(live).await;
        }
        assert_eq!(outcomes(&s.status()), [Outcome::Promoted; 8]);
        assert_eq!(s.uids(), before);
        s.finish().await;
    }

    async fn deleting_the_rollout_at_75_leaves_the_service_with_the_live_one(plan: Plan) {
        let mut s = at(plan, 75).await;
        let before = s.uids();
        s.delete_rollout().await;
        s.wait_until("the Rollout to be gone", |world| world.get(Kind::Rollout, HELLO).is_none()).await;
        assert!(names("blue")(&s.timeline.borrow().now));
        assert_eq!(s.uids(), before);
        s.finish().await;
    }
}

crate::scenarios! {
    async fn a_live_one_that_is_set_to_zero_gets_its_pods_before_its_clients(plan: Plan) {
        let mut s = at(plan, 100).await;
        scale(&mut s, "blue", 0).await;
        s.wait_until("no pod of blue", |world| world.live_pods(&BTreeMap::from([(VERSION.to_owned(), "blue".to_owned())])).next().is_none()).await;
        s.request(RequestAction::Abort).await;
        expect_rejection(&mut s).await;
        assert_eq!(s.timeline.borrow().now.size("hello-blue"), 3);
        s.finish().await;
    }

    async fn a_live_one_that_is_deleted_leaves_its_place_to_the_other(plan: Plan) {
        let mut s = at(plan.pods_change(), 75).await;
        s.kubectl(&["delete", "deployment", "hello-blue"], &Value::Null).await;
        let status = s.wait_for_live("green").await;
        assert_eq!(outcomes(&status), [Outcome::Unguarded]);
        s.finish().await;
    }

    async fn a_new_template_of_the_one_under_release_begins_again(plan: Plan) {
        let mut s = holding(pair(plan, 2), 50).start().await;
        s.set_live("green").await;
        s.wait_for_weight(50).await;
        s.allowance.pods_change = true;
        s.kubectl(&["set", "image", "deployment/hello-green", "hello=stepgate.test/hello:v4"], &Value::Null).await;
        s.wait_for("the first release to be given up", |status| outcomes(status) == [Outcome::Superseded]).await;
        s.wait_for_weight(50).await;
        s.request(RequestAction::Promote).await;
        s.wait_for_healthy("v4").await;
        s.finish().await;
    }

    async fn whose_template_has_no_version_label_are_refused(plan: Plan) {
        let plan = pair(plan, 1).rollout(&json!({"spec": {"workload": {"versionLabel": "track"}}}));
        refused(plan, "NoVersionLabel", "the template of Deployment hello-blue (workload.versions) has no label track (workload.versionLabel)").await;
    }

    async fn of_the_same_version_are_refused(plan: Plan) {
        let mut plan = pair(plan, 1);
        for labels in ["/spec/selector/matchLabels", "/spec/template/metadata/labels"] {
            plan.manifests.versions[1].pointer_mut(labels).expect("labels")[VERSION] = json!("blue");
        }
        let words = "the pods of Deployments hello-blue and hello-green (workload.versions) both have version=blue";
        refused(plan, "SameVersion", words).await;
    }

    async fn with_other_ports_are_refused(plan: Plan) {
        let mut plan = pair(plan, 1).pods_change().rollout(&json!({"spec": {"workload": {"live": "hello-green"}}}));
        plan.manifests.versions[1]["spec"]["template"]["spec"]["containers"][0]["ports"] = json!([{"name": "web", "containerPort": 8080}]);
        refused(plan, "PortMissing", "named http (TCP), but the pods of Deployment hello-green have no port of that name").await;
    }

    async fn that_do_not_exist_are_refused(plan: Plan) {
        let workload = json!({"versions": ["hello-blue", "hello-green", "hello-grey"], "live": "hello-grey"});
        let plan = pair(plan, 1).rollout(&json!({"spec": {"workload": workload}}));
        refused(plan, "DeploymentNotFound", "Deployment hello-grey (workload.live) does not exist in this namespace").await;
    }

    async fn between_which_the_services_disagree_are_refused(plan: Plan) {
        let mut plan = pair(plan, 1).rollout(&json!({"spec": {"services": ["hello", "other"]}}));
        let mut other = plan.manifests.service.clone();
        crate::scenario::merge(&mut other, &json!({"metadata": {"name": "other", "labels": {"e2e": "true"}}, "spec": {"selector": {"version": "green"}}}));
        plan.manifests.others.push(other);
        refused(plan, "ServicesDisagree", "select Deployments hello-blue, hello-green by their label version").await;
    }

    async fn behind_a_service_of_the_version_key_alone_are_refused(plan: Plan) {
        let plan = pair(plan, 1).service(&json!({"spec": {"selector": {"app": null}}}));
        refused(plan, "ServiceUnsuitable", "selects by version alone").await;
    }
}

crate::scenarios_with_guard! { On:
    async fn idle_ones_have_no_pods_until_their_next_release(plan: Plan) {
        let mut s = flip(plan, "1s").policy(&json!({"idle": "ScaleToZero"})).start().await;
        for (live, idle) in [("green", "blue"), ("blue", "green")] {
            s.set_live(live).await;
            s.wait_for_live(live).await;
            let of_it = BTreeMap::from([(VERSION.to_owned(), idle.to_owned())]);
            s.wait_until(&format!("no pod of {idle}"), |world| world.live_pods(&of_it).next().is_none()).await;
            let sizes = [live, idle].map(|name| s.timeline.borrow().now.size(&format!("{HELLO}-{name}")));
            assert_eq!(sizes, [3, 0], "{live} is live");
        }
        s.finish().await;
    }

    async fn an_idle_one_that_a_service_made_anew_names_gets_no_client(plan: Plan) {
        let mut s = flip(plan, "1s").service_breaks().policy(&json!({"idle": "ScaleToZero"})).start().await;
        s.set_live("green").await;
        s.wait_for_live("green").await;
        s.forget_clients().await;
        // No policy sees a Service that is created. Its owner has it as it was: with blue, which has no pods.
        let of_it = |world: &World, pointer: &str| world.get(Kind::Service, HELLO).map(|known| text(known, pointer).to_owned());
        let known = s.timeline.borrow().now.clone();
        let mut service = s.manifests.service.clone();
        service["spec"]["clusterIP"] = json!(of_it(&known, "/spec/clusterIP"));
        s.kubectl(&["replace", "--force", "-f", "-"], &service).await;
        let is_new = |world: &World| of_it(world, "/metadata/uid").is_some_and(|uid| Some(uid) != of_it(&known, "/metadata/uid"));
        s.wait_until("a new Service, to name green", |world| is_new(world) && names("green")(world)).await;
        s.start_clients(100.0).await;
        s.finish().await;
    }

    async fn git_may_go_on_naming_the_first_one(plan: Plan) {
        let mut s = pair(plan, 3).start().await;
        let tool = s.apply_again_and_again(Style::Force, Duration::from_millis(500));
        for live in ["green", "blue", "green"] {
            s.set_live(live).await;
            s.wait_for_live(live).await;
        }
        let (applied, refused) = tool.stop().await;
        assert!(applied > 2 && refused.is_empty(), "{applied} applies: {}", refused.join("\n"));
        assert_eq!(outcomes(&s.status()), [Outcome::Promoted; 3]);
        s.finish().await;
    }
}

crate::scenarios_with_guard! { Off:
    async fn idle_ones_need_the_policies(plan: Plan) {
        let mut s = flip(plan, "1s").policy(&json!({"idle": "ScaleToZero"})).start().await;
        s.set_live("green").await;
        let message = s.wait_for_refusal(HELLO, "IdleUnguarded").await;
        assert!(message.contains("no admission policy holds the key version"), "{message}");
        assert!(s.status().release.is_none() && names("blue")(&s.timeline.borrow().now));
        s.patch_rollout(&json!({"spec": {"policy": {"idle": "Keep"}}})).await;
        s.wait_for_live("green").await;
        s.finish().await;
    }
}
