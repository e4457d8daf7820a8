//! What Kubernetes' controllers make of the objects: Deployments, ReplicaSets, pods, endpoints.

use serde_json::Value;

use crate::core::{
    facts::{
        deployment::{DeploymentFacts, DeploymentStatusFacts, ReplicaSetFacts},
        labels::subset,
        pod::PodFacts,
        port::{ServicePort, ports_of},
    },
    tests::model::{GRACE, Model, labels_of},
};

impl Model {
    /// The Deployment controller, the garbage collector, the ReplicaSet controller: one round.
    pub fn controllers(&mut self) {
        let deployments = self.deployments.clone();
        for deployment in &deployments {
            let mine = |set: &ReplicaSetFacts| set.owner.as_ref() == Some(&deployment.uid);
            let new = self.sets.iter().position(|set| mine(set) && set.revision == deployment.revision);
            let new = match new {
                Some(new) => Some(new),
                None if deployment.paused => None,
                None => Some(self.create_set(deployment)),
            };
            if deployment.paused {
                self.scale_paused(deployment, new);
            } else if let Some(new) = new {
                for set in self.sets.iter_mut().filter(|set| mine(set)) {
                    set.replicas = 0;
                }
                self.sets[new].replicas = deployment.replicas;
            }
            self.report(deployment, new);
        }
        let owners: Vec<String> = self.deployments.iter().map(|deployment| deployment.uid.clone()).collect();
        self.sets.retain(|set| set.owner.as_ref().is_some_and(|owner| owners.contains(owner)));
        self.pods_of_sets();
        self.check_work();
    }

    fn create_set(&mut self, deployment: &DeploymentFacts) -> usize {
        let uid = self.next_version();
        let image = deployment.template.pointer("/spec/containers/0/image").and_then(Value::as_str).unwrap_or_default();
        self.sets.push(ReplicaSetFacts {
            name: format!("{}-{}", deployment.name, deployment.revision),
            resource_version: uid.clone(),
            uid,
            deleting: false,
            owner: Some(deployment.uid.clone()),
            hash: format!("hash-{}", deployment.revision),
            revision: deployment.revision.clone(),
            digest: deployment.digest.clone(),
            replicas: 0,
            current: 0,
            created_at: self.now,
            images: vec![image.to_owned()],
        });
        self.sets.len() - 1
    }

    /// A paused Deployment with an adopted new ReplicaSet lets the old one go; with its newest at 0 it restores the other one.
    fn scale_paused(&mut self, deployment: &DeploymentFacts, new: Option<usize>) {
        let mine: Vec<usize> = (0..self.sets.len()).filter(|i| self.sets[*i].owner.as_ref() == Some(&deployment.uid)).collect();
        let active: Vec<usize> = mine.iter().copied().filter(|i| self.sets[*i].replicas > 0).collect();
        match (active.as_slice(), new) {
            // `FindActiveOrLatest` of the Deployment controller: with none active, the new one, or else the youngest.
            ([], _) => {
                if let Some(latest) = new.or_else(|| mine.into_iter().max_by_key(|i| self.sets[*i].created_at)) {
                    self.sets[latest].replicas = deployment.replicas;
                }
            }
            ([only], _) => self.sets[*only].replicas = deployment.replicas,
            (_, Some(new)) if self.sets[new].replicas >= deployment.replicas => {
                mine.iter().filter(|i| **i != new).for_each(|i| self.sets[*i].replicas = 0);
            }
            // Scaled in proportion: with a surge of 100% and two sets of one size each gets as many as are asked for.
            (_, Some(_)) if deployment.max_surge().and_then(Value::as_str) == Some("100%") => {
                for i in active {
                    self.sets[i].replicas = self.sets[i].replicas.max(deployment.replicas);
                }
            }
            _ => {}
        }
    }

    fn report(&mut self, deployment: &DeploymentFacts, new: Option<usize>) {
        let count = |set: &ReplicaSetFacts, pods: &[PodFacts]| {
            i32::try_from(pods.iter().filter(|pod| pod.owner.as_ref() == Some(&set.uid) && pod.serves()).count()).unwrap_or(0)
        };
        let mine: Vec<&ReplicaSetFacts> = self.sets.iter().filter(|set| set.owner.as_ref() == Some(&deployment.uid)).collect();
        let status = DeploymentStatusFacts {
            replicas: mine.iter().map(|set| set.current).sum(),
            updated: new.map_or(0, |new| self.sets[new].current),
            ready: mine.iter().map(|set| count(set, &self.pods)).sum(),
            available: mine.iter().map(|set| count(set, &self.pods)).sum(),
            progressing_reason: String::new(),
        };
        let known = self.deployments.iter_mut().find(|known| known.uid == deployment.uid).expect("the Deployment");
        known.status = status;
        known.observed_generation = known.generation;
    }

    fn pods_of_sets(&mut self) {
        let (sets, now) = (self.sets.clone(), self.now);
        for pod in &mut self.pods {
            if !sets.iter().any(|set| pod.owner.as_ref() == Some(&set.uid)) {
                pod.deleting_since.get_or_insert(now);
            }
        }
        for set in &sets {
            let alive = |pod: &PodFacts| pod.owner.as_ref() == Some(&set.uid) && !pod.deleting();
            let mut have = self.pods.iter().filter(|pod| alive(pod)).count();
            let want = usize::try_from(set.replicas).unwrap_or(0);
            while have < want {
                let pod = self.pod_of(set);
                self.pods.push(pod);
                have += 1;
            }
            for pod in self.pods.iter_mut().filter(|pod| alive(pod)).rev().take(have - want) {
                pod.deleting_since = Some(now);
            }
            self.set(&set.uid).current = set.replicas;
        }
    }

    fn pod_of(&mut self, set: &ReplicaSetFacts) -> PodFacts {
        let owner = self.deployments.iter().find(|deployment| set.owner.as_ref() == Some(&deployment.uid)).expect("its Deployment");
        let (mut labels, ports) = (labels_of(&owner.template), ports_of(&owner.template));
        labels.insert("pod-template-hash".to_owned(), set.hash.clone());
        let uid = self.next_version();
        PodFacts {
            name: format!("{}-{uid}", set.name),
            resource_version: uid.clone(),
            uid: uid.clone(),
            labels,
            owner: Some(set.uid.clone()),
            deleting_since: None,
            finished: false,
            ready: false,
            ready_since: None,
            was_ready: false,
            node_lost: false,
            last_restart: None,
            restart_at_start: None,
            trouble: None,
            ip: Some("10.0.0.1".into()),
            ports,
            host_network: false,
            node: None,
        }
    }

    /// The kubelet: pods become ready, and what is deleted goes.
    pub fn kubelet(&mut self) {
        let now = self.now;
        self.pods.retain(|pod| pod.deleting_since.is_none_or(|since| now.duration_since(since) < GRACE));
        let broken: Vec<String> =
            self.sets.iter().filter(|set| set.images.iter().any(|image| self.broken.contains(image))).map(|set| set.uid.clone()).collect();
        for pod in self
            .pods
            .iter_mut()
            .filter(|pod| !pod.ready && !pod.was_ready && pod.owner.as_ref().is_some_and(|owner| !broken.contains(owner)))
        {
            pod.ready = true;
            pod.was_ready = true;
            pod.ready_since = Some(now);
        }
    }

    /// The endpoints follow the selectors.
    pub fn endpoints(&mut self) {
        for service in &mut self.services {
            let selected: Vec<&PodFacts> = self.pods.iter().filter(|pod| pod.serves() && subset(&service.selector, &pod.labels)).collect();
            service.endpoints = selected.iter().map(|pod| pod.uid.clone()).collect();
            let behind = |port: &ServicePort| {
                let has = selected.iter().filter(|pod| port.number(&pod.ports).is_some());
                (port.name.clone(), has.map(|pod| pod.uid.clone()).collect())
            };
            service.reached = service.ports.iter().map(behind).collect();
        }
    }
}
