//! policies/admission/right.yaml

use serde_json::json;

use crate::{
    kubectl::{Answer, eventually},
    world::{World, rollout},
};

/// A user who may write Rollouts, and update only what is named `mine` or `mine-N`.
const BOB: &str = "bob";

fn world(test: &str) -> Option<World> {
    let world = World::at_rest(test)?;
    let user = &world.user;
    user.run(&["create", "role", "rollouts", "--verb=get,list,create,update,patch", "--resource=rollouts.stepgate.dev"]);
    user.run(&["create", "role", "deployment", "--verb=update", "--resource=deployments.apps", "--resource-name=mine"]);
    let mut services = vec!["create", "role", "services", "--verb=update", "--resource=services"];
    let names: Vec<String> = (1..=16).map(|n| format!("--resource-name=mine-{n}")).collect();
    services.extend(names.iter().map(String::as_str));
    user.run(&services);
    for role in ["rollouts", "deployment", "services"] {
        user.run(&["create", "rolebinding", role, &format!("--role={role}"), "--user=bob", "--user=carol"]);
    }
    user.run(&["create", "role", "approve", "--verb=approve", "--resource=rollouts.stepgate.dev"]);
    user.run(&["create", "rolebinding", "approve", "--role=approve", "--user=carol"]);
    eventually("the rights are there", || {
        let may = |user: &str, args: &[&str]| world.user.user(user).try_run(&[&["auth", "can-i"], args].concat()).ok;
        may(BOB, &["create", "rollouts.stepgate.dev"])
            && may(BOB, &["update", "services/mine-16"])
            && may("carol", &["approve", "rollouts.stepgate.dev"])
    });
    Some(world)
}

fn create(world: &World, name: &str, deployment: &str, services: &[&str]) -> Answer {
    world.user.user(BOB).pipe(&["create", "-f", "-"], &rollout(name, deployment, services).to_string())
}

fn ask(world: &World, user: &str, name: &str, id: &str, action: &str) -> Answer {
    let patch = json!({ "spec": { "request": { "id": id, "action": action, "revision": "2222222222" } } }).to_string();
    world.user.user(user).try_run(&["patch", "rollout", name, "--type=merge", "-p", &patch])
}

#[test]
fn all_sixteen_services_are_checked() {
    let Some(world) = world("right-services") else { return };
    let names: Vec<String> = (1..=16).map(|n| format!("mine-{n}")).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    let answer = create(&world, "mine", "mine", &names);
    assert!(answer.ok, "{answer:?}");
    for place in [0, 2, 15] {
        let kept = std::mem::replace(&mut names[place], "theirs");
        let answer = create(&world, "second", "mine", &names);
        assert!(
            !answer.ok && answer.err.contains("you may not update Service theirs, so you may not name it in a Rollout"),
            "{place}: {answer:?}"
        );
        names[place] = kept;
    }
}

#[test]
fn a_service_cannot_be_slipped_in_later() {
    let Some(world) = world("right-later") else { return };
    assert!(create(&world, "mine", "mine", &["mine-1"]).ok);
    let services = |names: &[&str]| json!({ "spec": { "services": names } }).to_string();
    let bob = world.user.user(BOB);
    let answer = bob.try_run(&["patch", "rollout", "mine", "--type=merge", "-p", &services(&["mine-1", "theirs"])]);
    assert!(!answer.ok && answer.err.contains("you may not update Service theirs"), "{answer:?}");
    bob.run(&["patch", "rollout", "mine", "--type=merge", "-p", &services(&["mine-1", "mine-2"])]);
}

#[test]
fn a_preview_is_checked_beside_sixteen_services() {
    let Some(world) = world("right-preview") else { return };
    let names: Vec<String> = (1..=15).map(|n| format!("mine-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let preview = |preview: &str| json!({ "spec": { "preview": preview } }).to_string();
    let bob = world.user.user(BOB);
    assert!(create(&world, "mine", "mine", &names).ok);
    let answer = bob.try_run(&["patch", "rollout", "mine", "--type=merge", "-p", &preview("theirs")]);
    assert!(!answer.ok && answer.err.contains("you may not update Service theirs, so you may not name it in a Rollout"), "{answer:?}");
    bob.run(&["patch", "rollout", "mine", "--type=merge", "-p", &preview("mine-16")]);
    let mut full = rollout("full", "mine", &[&names[..], &["mine-16"]].concat());
    full["spec"]["preview"] = json!("theirs");
    let answer = bob.pipe(&["create", "-f", "-"], &full.to_string());
    assert!(!answer.ok && answer.err.contains("you may not update Service theirs"), "{answer:?}");
}

#[test]
fn what_was_named_by_others_may_stay_while_something_else_is_changed() {
    let Some(world) = world("right-else") else { return };
    // `hello` was named by the admin.
    world.user.user(BOB).run(&["patch", "rollout", "hello", "--type=merge", "-p", r#"{"spec": {"paused": true}}"#]);
    assert!(ask(&world, BOB, "hello", "1", "Abort").ok);
}

#[test]
fn to_shorten_a_release_takes_the_verb_approve() {
    let Some(world) = world("right-approve") else { return };
    let answer = ask(&world, BOB, "hello", "1", "PromoteFull");
    assert!(!answer.ok && answer.err.contains(r#"PromoteFull needs the verb "approve" on Rollout hello"#), "{answer:?}");
    let answer = ask(&world, BOB, "hello", "1", "Approve");
    assert!(!answer.ok && answer.err.contains(r#"Approve needs the verb "approve" on Rollout hello"#), "{answer:?}");
    assert!(ask(&world, BOB, "hello", "1", "Promote").ok);
    assert!(ask(&world, "carol", "hello", "2", "PromoteFull").ok);
    assert!(ask(&world, "carol", "hello", "4", "Approve").ok);
    // Carol's request stands: Bob may change something else beside it, but not ask again by it.
    world.user.user(BOB).run(&["patch", "rollout", "hello", "--type=merge", "-p", r#"{"spec": {"paused": true}}"#]);
    assert!(!ask(&world, BOB, "hello", "3", "PromoteFull").ok);
}

#[test]
fn the_clusters_own_roles_carry_the_rights() {
    let Some(world) = world("right-roles") else { return };
    for (role, may, may_not) in [
        ("view", &["list rollouts.stepgate.dev", "get rolloutpolicies.stepgate.dev"][..], &["create rollouts.stepgate.dev"][..]),
        (
            "edit",
            &["list rollouts.stepgate.dev", "create rollouts.stepgate.dev", "delete rolloutpolicies.stepgate.dev"],
            &["approve rollouts.stepgate.dev"],
        ),
        ("admin", &["approve rollouts.stepgate.dev", "create rollouts.stepgate.dev"], &["create clusterrolloutpolicies.stepgate.dev"]),
    ] {
        let user = format!("{role}-user");
        world.user.run(&["create", "rolebinding", &user, &format!("--clusterrole={role}"), &format!("--user={user}")]);
        let can = |what: &str| {
            let args: Vec<&str> = ["auth", "can-i"].into_iter().chain(what.split(' ')).collect();
            world.user.user(&user).try_run(&args).ok
        };
        eventually(&format!("{role} may do its part"), || may.iter().all(|what| can(what)));
        assert!(may_not.iter().all(|what| !can(what)), "{role}");
    }
}
