//! What `stepgate install` prints goes in by one apply, and what `stepgate uninstall` prints takes it out.

use std::{
    env,
    io::Write as _,
    process::{Command, Stdio},
};

use crate::{
    kubectl::{Kubectl, STEPGATE, cluster, eventually, say},
    world::{World, stepgate},
};

const OURS: &str = "crd,clusterrole,clusterrolebinding,mutatingadmissionpolicies,mutatingadmissionpolicybindings,validatingadmissionpolicies,validatingadmissionpolicybindings,namespaces";

fn ours(kubectl: &Kubectl) -> Vec<String> {
    let all = kubectl.run(&["get", OURS, "-o", "name"]).out;
    all.lines()
        .filter(|line| line.ends_with("stepgate.dev") || line.contains("/stepgate"))
        .filter(|line| !line.contains("namespace/stepgate-") || line.ends_with("/stepgate-system"))
        .map(str::to_owned)
        .collect()
}

fn uninstall(kubectl: &Kubectl) {
    let mut shell = Command::new("sh").env("KUBECONFIG", kubectl.kubeconfig()).stdin(Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(stepgate(&["uninstall"]).as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success());
}

/// Takes everything of ours out of the cluster, so that it runs alone: `cargo test --test admission -- --ignored`.
#[test]
#[ignore = "takes Stepgate out of the cluster; run it alone"]
fn an_installation_goes_in_by_one_apply_and_out_without_a_trace() {
    let Some(kubectl) = cluster() else { return };
    if env::var_os("STEPGATE_DISPOSABLE").is_none() {
        say("SKIPPED: it would take Stepgate out of the cluster (set STEPGATE_DISPOSABLE=1)");
        return;
    }
    uninstall(&kubectl);
    assert_eq!(ours(&kubectl), Vec::<String>::new(), "before");

    // No image of ours is needed to see that the objects are right.
    let text = stepgate(&["install", "--image", "stepgate.test/stepgate:none"]);
    let cache = tempfile::tempdir().unwrap();
    let fresh = format!("--cache-dir={}", cache.path().display());
    let first = kubectl.feed(&["apply", &fresh, "-f", "-"], &text);
    assert_eq!(first.err, "", "warnings");
    let count = text.lines().filter(|line| line.starts_with("kind: ")).count();
    assert_eq!(first.out.lines().filter(|line| line.ends_with(" created")).count(), count);

    let second = kubectl.feed(&["apply", "-f", "-"], &text);
    // kubectl calls any PodDisruptionBudget configured, changed or not.
    assert!(second.out.lines().all(|line| line.ends_with(" unchanged") || line.contains("poddisruptionbudget")), "{}", second.out);
    kubectl.feed(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &text);
    kubectl.feed(&["apply", "-f", "-"], &stepgate(&["presets"]));

    // In effect, and the controller's account has the rights that its work takes, and no others.
    drop(World::at_rest("installed"));
    let controller = kubectl.user(STEPGATE);
    let can = |what: &str| controller.try_run(&[&["auth", "can-i"], &what.split(' ').collect::<Vec<_>>()[..]].concat()).ok;
    for may in [
        "patch deployments.apps -A",
        "create deployments.apps -A",
        "patch replicasets.apps -A",
        "delete replicasets.apps -A",
        "patch pods -A",
        "patch services -A",
        "watch endpointslices.discovery.k8s.io -A",
        "create events.events.k8s.io -A",
        "patch rollouts.stepgate.dev --subresource=status -A",
        "patch rollouts.stepgate.dev -A",
        "list clusterrolloutpolicies.stepgate.dev",
        "update leases.coordination.k8s.io -n stepgate-system",
    ] {
        assert!(can(may), "cannot {may}");
    }
    for may_not in [
        "get secrets -A",
        "get configmaps -A",
        "create pods -A",
        "delete pods -A",
        "create pods --subresource=exec -A",
        "delete services -A",
        "create services -A",
        "update leases.coordination.k8s.io -n default",
        "patch deployments.apps --subresource=scale -A",
        "update rollouts.stepgate.dev -A",
        "list namespaces",
        "delete rollouts.stepgate.dev -A",
        "create rollouts.stepgate.dev -A",
        "patch nodes",
        "patch clusterroles",
    ] {
        assert!(!can(may_not), "can {may_not}");
    }

    uninstall(&kubectl);
    eventually("nothing of ours is left", || ours(&kubectl).is_empty());
}

#[test]
fn the_controllers_pods_are_of_the_restricted_kind() {
    let Some(world) = World::bare("restricted", &["pod-security.kubernetes.io/enforce=restricted"]) else { return };
    let text = stepgate(&["install", "--without-namespace", "--namespace", &world.namespace, "--image", "stepgate.test/stepgate:none"]);
    let controller = text.split("---\n").find(|document| document.contains("kind: Deployment")).unwrap();
    let answer = world.user.feed(&["apply", "--dry-run=server", "-f", "-"], controller);
    assert!(!answer.err.contains("PodSecurity"), "{}", answer.err);
    // And a pod of it, which is where it is enforced.
    let deployment: serde_json::Value = serde_saphyr::from_str(controller).unwrap();
    let mut pod = deployment["spec"]["template"].clone();
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    pod["metadata"]["name"] = "controller".into();
    pod["spec"]["serviceAccountName"] = "default".into();
    // The class comes with the installation, and nothing is installed here.
    pod["spec"].as_object_mut().unwrap().remove("priorityClassName");
    eventually("the namespace's own account is there", || world.user.try_run(&["get", "serviceaccount", "default"]).ok);
    world.user.feed(&["create", "--dry-run=server", "-f", "-"], &pod.to_string());
}
