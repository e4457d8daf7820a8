//! From the embedded cluster and the clients to what is shown and judged.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use crate::{
    api::{POD_TEMPLATE_HASH, RolloutStatus},
    sim::{World, cluster::replica_set::is_ready, json as at, load, stage},
};

use super::{
    report::Identity,
    scene::{Pod, PodState, Role, Version},
};

/// How far back answers are counted for shares and rates.
const WINDOW: Duration = Duration::from_secs(1);

/// A pod as it is found.
#[derive(Clone, Debug)]
pub struct Found {
    pub identity: Identity,
    pub version: String,
    pub hash: String,
    pub state: PodState,
    pub takes_clients: bool,
}

/// The pods of the cluster, by name.
pub fn pods(world: &World, port: u16) -> Vec<Found> {
    let endpoints = world.endpoints(&stage::service(), port);
    let found = |pod: &Value| {
        let image = at::text(pod, "/spec/containers/0/image");
        let address = at::text(pod, "/status/podIP");
        Found {
            identity: Identity {
                name: at::name(pod).to_owned(),
                uid: at::uid(pod).to_owned(),
                restarts: at::int(pod, "/status/containerStatuses/0/restartCount"),
            },
            version: image.rsplit(':').next().unwrap_or_default().to_owned(),
            hash: at::label(pod, POD_TEMPLATE_HASH).unwrap_or_default().to_owned(),
            state: state(pod),
            takes_clients: endpoints.iter().any(|endpoint| endpoint.address == address),
        }
    };
    world.api.list("pods", stage::NAMESPACE).map(|pod| found(pod)).collect()
}

fn state(pod: &Value) -> PodState {
    let container = |path: &str| pod.pointer(&format!("/status/containerStatuses/0/{path}")).is_some();
    if at::deleting(pod) {
        PodState::Ending
    } else if is_ready(pod) {
        PodState::Ready
    } else if container("lastState/terminated") {
        PodState::Crashing
    } else if container("state/running") {
        PodState::NotReady
    } else {
        PodState::Starting
    }
}

/// The answers of the last second, by pod.
pub fn recent(report: &load::Report) -> BTreeMap<String, usize> {
    let mut answers = BTreeMap::new();
    let recent = report.requests.iter().rev().take_while(|request| request.ended_at().elapsed() < WINDOW);
    for pod in recent.filter_map(|request| request.pod.clone()) {
        *answers.entry(pod).or_default() += 1;
    }
    answers
}

/// The tree: the stable version, then the others in the order of their names.
pub fn versions(pods: &[Found], status: &RolloutStatus, answers: &BTreeMap<String, usize>) -> Vec<Version> {
    let mut by_version: BTreeMap<&str, Vec<&Found>> = BTreeMap::new();
    for pod in pods {
        by_version.entry(&pod.version).or_default().push(pod);
    }
    let total: usize = answers.values().sum();
    let version = |(name, pods): (&str, Vec<&Found>)| {
        let role = role(&pods, status);
        let pods: Vec<Pod> = pods.into_iter().map(|pod| shown(pod, answers)).collect();
        let answered: usize = pods.iter().map(|pod| pod.answers).sum();
        Version { name: name.to_owned(), role, share: share(answered, total), pods }
    };
    let mut versions: Vec<Version> = by_version.into_iter().map(version).collect();
    versions.sort_by_key(|version| version.role);
    versions
}

/// Not by the hash of the canary alone, which the status knows only a moment after its first pod is there.
fn role(pods: &[&Found], status: &RolloutStatus) -> Role {
    if pods.iter().all(|pod| pod.state == PodState::Ending) {
        Role::Leaving
    } else if status.stable.as_ref().is_some_and(|stable| pods.iter().any(|pod| pod.hash == stable.hash)) {
        Role::Stable
    } else if status.release.is_some() {
        Role::Canary
    } else {
        Role::Leaving
    }
}

fn shown(pod: &Found, answers: &BTreeMap<String, usize>) -> Pod {
    let Found { identity, state, takes_clients, .. } = pod;
    let answers = answers.get(&identity.name).copied().unwrap_or(0);
    Pod { name: identity.name.clone(), state: *state, takes_clients: *takes_clients, answers }
}

fn share(part: usize, whole: usize) -> Option<f64> {
    #[allow(clippy::cast_precision_loss, reason = "answers of one second")]
    (whole > 0).then(|| part as f64 * 100.0 / whole as f64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, version: &str, hash: &str, state: PodState) -> Found {
        let identity = Identity { name: name.to_owned(), uid: format!("{name}-uid"), restarts: 0 };
        Found { identity, version: version.to_owned(), hash: hash.to_owned(), state, takes_clients: true }
    }

    /// `v2` is live; with a release under way or not.
    fn status(release: bool) -> RolloutStatus {
        let begun = json!({"revision": "b", "startedAt": "2026-11-21T14:18:50Z", "size": 1, "policy": {"steps": [{"weight": 100}]}});
        let stable = json!({"revision": "a", "hash": "aa", "ready": 1, "replicas": 1});
        serde_json::from_value(json!({"stable": stable, "release": release.then_some(begun)})).unwrap()
    }

    fn roles(pods: &[Found], release: bool) -> Vec<(String, Role)> {
        versions(pods, &status(release), &BTreeMap::new()).into_iter().map(|version| (version.name, version.role)).collect()
    }

    #[test]
    fn the_stable_version_comes_first_and_a_version_whose_pods_all_end_last() {
        let pods = [
            pod("a", "v1", "zz", PodState::Ending),
            pod("b", "v2", "aa", PodState::Ready),
            pod("c", "v3", "bb", PodState::Starting),
            pod("d", "v3", "bb", PodState::Ending),
        ];
        let expected = |canary| vec![("v2".to_owned(), Role::Stable), ("v3".to_owned(), canary), ("v1".to_owned(), Role::Leaving)];
        assert_eq!(roles(&pods, true), expected(Role::Canary));
        assert_eq!(roles(&pods[1..3], false), expected(Role::Leaving)[..2]);
    }

    #[test]
    fn shares_are_shares_of_the_answers_and_nothing_without_any() {
        let pods = [pod("a", "v1", "aa", PodState::Ready), pod("b", "v2", "bb", PodState::Ready)];
        let shares = |answers: &[(&str, usize)]| -> Vec<Option<f64>> {
            let answers = answers.iter().map(|(pod, count)| ((*pod).to_owned(), *count)).collect();
            versions(&pods, &status(true), &answers).into_iter().map(|version| version.share).collect()
        };
        assert_eq!(shares(&[("b", 30), ("a", 10)]), [Some(25.0), Some(75.0)]);
        assert_eq!(shares(&[]), [None, None]);
    }
}
