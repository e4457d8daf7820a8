//! Pods, reduced to facts.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodSpec};
use kube::ResourceExt;

use crate::{
    core::facts::{pod::PodFacts, port::ContainerPort},
    visible,
};

use super::object::{controller, protocol, version};

/// A pod, seen `now`. `known` is what was known of it before: that it was ready once is not forgotten, nor since when it is ending.
pub fn pod(object: &Pod, known: Option<&PodFacts>, now: Timestamp) -> PodFacts {
    let (spec, status) = (object.spec.clone().unwrap_or_default(), object.status.clone().unwrap_or_default());
    let uid = object.uid().unwrap_or_default();
    let containers = status.container_statuses.unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let condition = conditions.iter().find(|condition| condition.type_ == "Ready");
    let ready = condition.is_some_and(|condition| condition.status == "True");
    let containers_ready = conditions.iter().any(|condition| condition.type_ == "ContainersReady" && condition.status == "True");
    let node_lost = condition.is_some() && !ready && containers_ready && spec.readiness_gates.as_ref().is_none_or(Vec::is_empty);
    let ready_since = condition.and_then(|condition| condition.last_transition_time.as_ref()).map(|time| time.0);
    // A pod that is not ready and was not watched from its start: its Ready condition changed after its containers had started, so it
    // was ready in between (times are whole seconds).
    let started =
        containers.iter().filter_map(|container| container.state.as_ref()?.running.as_ref()?.started_at.as_ref()).map(|time| time.0).max();
    let lost = !ready && started.is_some_and(|started| ready_since.is_some_and(|since| since > started));
    let known = known.filter(|known| known.uid == uid);
    let was_ready = ready || lost || known.is_some_and(|known| known.was_ready);
    let failed = last_failure(&containers);
    let restart_at_start = match known {
        Some(known) if known.was_ready => known.restart_at_start,
        None if lost => None,
        Some(_) | None => failed,
    };
    let deleting_since = object.metadata.deletion_timestamp.as_ref().map(|_| known.and_then(|known| known.deleting_since).unwrap_or(now));
    let phase = status.phase.unwrap_or_default();
    PodFacts {
        name: object.name_any(),
        resource_version: version(object),
        labels: object.labels().clone(),
        owner: controller(object.owner_references()),
        deleting_since,
        finished: matches!(phase.as_str(), "Failed" | "Succeeded"),
        ready,
        ready_since,
        was_ready,
        node_lost,
        last_restart: failed.filter(|failed| Some(*failed) > restart_at_start),
        restart_at_start,
        trouble: if node_lost { Some("its node does not answer".into()) } else { trouble(&containers, &conditions) },
        ip: status.pod_ip,
        ports: container_ports(&spec),
        host_network: spec.host_network.unwrap_or_default(),
        node: spec.node_name,
        uid,
    }
}

/// The ports of a pod, in the order in which Kubernetes looks a name up: those of the containers, then those of the sidecars.
fn container_ports(spec: &PodSpec) -> Vec<ContainerPort> {
    let sidecars = spec.init_containers.iter().flatten().filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            Some(ContainerPort {
                name: port.name.clone().unwrap_or_default(),
                protocol: protocol(port.protocol.as_ref()),
                number: u16::try_from(port.container_port).ok()?,
            })
        })
        .collect()
}

/// When a container ended last with a failure and was started again. One that ends with 0, as a sidecar may as a matter of course, has not
/// failed.
fn last_failure(containers: &[ContainerStatus]) -> Option<Timestamp> {
    let ended = containers.iter().filter_map(|container| container.last_state.as_ref()?.terminated.as_ref());
    ended.filter(|ended| ended.exit_code != 0).filter_map(|ended| ended.finished_at.as_ref()).map(|time| time.0).max()
}

/// What keeps a pod from running, in the kubelet's or the scheduler's words.
fn trouble(containers: &[ContainerStatus], conditions: &[k8s_openapi::api::core::v1::PodCondition]) -> Option<String> {
    let waiting = containers.iter().filter_map(|container| container.state.as_ref()?.waiting.as_ref()).find_map(|waiting| {
        let reason = waiting.reason.clone().filter(|reason| !matches!(reason.as_str(), "ContainerCreating" | "PodInitializing"))?;
        Some(waiting.message.as_ref().map_or_else(|| reason.clone(), |message| format!("{reason}: {message}")))
    });
    let unscheduled = || {
        let condition = conditions.iter().find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
        Some(format!("{}: {}", condition.reason.as_deref().unwrap_or("Unschedulable"), condition.message.as_deref().unwrap_or_default()))
    };
    waiting.or_else(unscheduled).map(visible::owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(ready: &str, containers: &str) -> PodFacts {
        let object = serde_json::from_value(json!({
            "metadata": {"name": "hello-1", "uid": "1"},
            "status": {"conditions": [{"type": "ContainersReady", "status": containers}, {"type": "Ready", "status": ready}]},
        }));
        pod(&object.expect("a pod"), None, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_pod_is_lost_with_its_node_where_the_kubelet_has_not_said_that_it_is_unready() {
        for (ready, containers, expected) in [("True", "True", false), ("False", "False", false), ("False", "True", true)] {
            assert_eq!(seen(ready, containers).node_lost, expected, "Ready={ready} ContainersReady={containers}");
        }
    }

    #[test]
    fn a_restart_counts_from_the_first_time_on_that_the_pod_was_ready_and_only_after_a_failure() {
        let at = |second: i64| Timestamp::from_second(second).expect("a time");
        let seen = |ready: bool, ended: Option<(i64, i32)>, known: Option<&PodFacts>| {
            let last = ended.map(|(second, code)| json!({"terminated": {"exitCode": code, "finishedAt": at(second).to_string()}}));
            let object = serde_json::from_value(json!({
                "metadata": {"name": "hello-1", "uid": "1"},
                "status": {
                    "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
                    "containerStatuses": [{"name": "hello", "image": "", "imageID": "", "ready": ready, "restartCount": 0, "lastState": last}],
                },
            }));
            pod(&object.expect("a pod"), known, at(100))
        };
        // It ends once at its start, becomes ready, and fails later.
        let start = seen(false, Some((1, 1)), None);
        let ready = seen(true, Some((1, 1)), Some(&start));
        let later = seen(true, Some((1, 1)), Some(&ready));
        let fails = seen(false, Some((9, 1)), Some(&later));
        let again = seen(true, Some((9, 1)), Some(&fails));
        let restarts = [&start, &ready, &later, &fails, &again].map(|pod| pod.last_restart);
        assert_eq!(restarts, [None, None, None, Some(at(9)), Some(at(9))]);
        // A sidecar that ends with 0.
        let ready = seen(true, None, None);
        assert_eq!(seen(true, Some((9, 0)), Some(&ready)).last_restart, None);
        // Nobody has seen what was before.
        assert_eq!(seen(true, Some((1, 1)), None).last_restart, None);
    }
}
