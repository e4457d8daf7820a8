//! Which `ReplicaSet` is the new one, its revision, and its creation.

use serde_json::{Value, json};

use crate::{
    api::POD_TEMPLATE_HASH,
    sim::{
        cluster::owner_reference,
        json,
        seed::hash,
        server::{call::Part, problem::Problem},
    },
};

use super::{
    DESIRED_REPLICAS, Look, MAX_REPLICAS, ME, REVISION, REVISION_HISTORY, Set, Sets,
    set::{bare, same_template},
};

/// Annotations of a Deployment that its `ReplicaSets` do not get.
const OWN: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];

/// Characters of a revision history before its oldest entries go.
const HISTORY_LIMIT: usize = 2000;

impl Look<'_, '_> {
    /// New and old, with the new one's annotations and both revisions brought up to date. The oldest of several with the same template is
    /// the new one.
    pub(super) fn sort(&mut self, owned: &[Set], create: bool) -> Result<Sets, Problem> {
        let template = self.deployment.pointer("/spec/template").cloned().unwrap_or_default();
        let new = owned.iter().position(|set| same_template(&set.0["spec"]["template"], &template));
        let old: Vec<Set> = owned.iter().enumerate().filter(|(at, _)| Some(*at) != new).map(|(_, set)| set.clone()).collect();
        let revision = old.iter().map(Set::revision).max().unwrap_or(0) + 1;
        let new = match new.map(|at| owned[at].clone()) {
            Some(found) => Some(self.refresh(found, revision)?),
            None if create => Some(self.create(&template, &old, revision)?),
            None => None,
        };
        Ok(Sets { new, old })
    }

    fn refresh(&mut self, mut set: Set, revision: i64) -> Result<Set, Problem> {
        let annotated = self.annotate(&mut set, revision, true);
        let min_ready = json::int(&self.deployment, "/spec/minReadySeconds");
        if annotated || json::int(&set.0, "/spec/minReadySeconds") != min_ready {
            json::set(&mut set.0, "/spec/minReadySeconds", min_ready);
            return self.context.put(ME, set.0, Part::Whole).map(Set);
        }
        let mut changed = self.set_revision(json::annotation(&set.0, REVISION).unwrap_or_default());
        if self.has_deadline() && json::condition(&self.deployment, "Progressing").is_none() {
            let message = format!("Found new replica set {:?}", set.name());
            self.set_condition("Progressing", "True", "FoundNewReplicaSet", &message);
            changed = true;
        }
        if changed {
            self.put_status()?;
        }
        Ok(set)
    }

    fn create(&mut self, template: &Value, old: &[Set], revision: i64) -> Result<Set, Problem> {
        let hash = self.template_hash(template);
        let name = format!("{}-{hash}", json::name(&self.deployment));
        let mut template = template.clone();
        json::set(&mut template, &format!("/metadata/labels/{POD_TEMPLATE_HASH}"), hash.clone());
        let mut selector = self.deployment.pointer("/spec/selector").cloned().unwrap_or_default();
        json::set(&mut selector, &format!("/matchLabels/{POD_TEMPLATE_HASH}"), hash);
        let mut set = Set(json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": name, "namespace": json::namespace(&self.deployment), "labels": template["metadata"]["labels"],
                "ownerReferences": [owner_reference(&self.deployment)],
            },
            "spec": { "replicas": 0, "minReadySeconds": json::int(&self.deployment, "/spec/minReadySeconds"), "selector": selector, "template": template },
        }));
        let size = self.new_size(&old.iter().chain([&set]).cloned().collect::<Vec<_>>(), &set);
        json::set(&mut set.0, "/spec/replicas", size);
        self.annotate(&mut set, revision, false);
        let mut call = self.context.call(ME);
        let created = match self.context.api.create(&mut call, set.0) {
            Ok(created) => Set((*created).clone()),
            Err(problem) if problem.reason == "AlreadyExists" => {
                let count = json::int(&self.deployment, "/status/collisionCount") + 1;
                json::set(&mut self.deployment, "/status/collisionCount", count);
                self.put_status()?;
                return Err(problem);
            }
            Err(problem) => {
                let message = format!("Failed to create new replica set {name:?}: {problem}");
                self.set_condition("Progressing", "False", "ReplicaSetCreateError", &message);
                self.put_status()?;
                return Err(problem);
            }
        };
        if size > 0 {
            self.event("ScalingReplicaSet", &format!("Scaled up replica set {name} from 0 to {size}"));
        }
        let mut changed = self.set_revision(&revision.to_string());
        if self.has_deadline() {
            self.set_condition("Progressing", "True", "NewReplicaSetCreated", &format!("Created new replica set {name:?}"));
            changed = true;
        }
        if changed {
            self.put_status()?;
        }
        Ok(created)
    }

    /// The same template gives the same hash, whatever the Deployment, as long as no name collided.
    fn template_hash(&self, template: &Value) -> String {
        const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        let collisions = json::int(&self.deployment, "/status/collisionCount");
        let digest = hash(format!("{}{}", bare(template), if collisions > 0 { collisions.to_string() } else { String::new() }).as_bytes());
        (digest & 0xffff_ffff).to_string().bytes().map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()])).collect()
    }

    fn annotate(&self, set: &mut Set, revision: i64, exists: bool) -> bool {
        let mut changed = false;
        for (key, value) in json::fields(&self.deployment, "/metadata/annotations").into_iter().flatten() {
            if !OWN.contains(&key.as_str()) {
                changed |= set.annotate(key, value.as_str().unwrap_or_default());
            }
        }
        let before = json::annotation(&set.0, REVISION).map(ToOwned::to_owned);
        if before.as_ref().is_some_and(|text| !text.is_empty() && text.parse::<i64>().is_err()) {
            return false;
        }
        if set.revision() < revision {
            set.annotate(REVISION, &revision.to_string());
            changed = true;
            if let Some(before) = before {
                let mut history: Vec<String> = json::annotation(&set.0, REVISION_HISTORY)
                    .unwrap_or_default()
                    .split(',')
                    .filter(|text| !text.is_empty())
                    .map(Into::into)
                    .collect();
                history.push(before);
                while history.len() > 1 && history.join(",").len() > HISTORY_LIMIT {
                    history.remove(0);
                }
                set.annotate(REVISION_HISTORY, &history.join(","));
            }
        }
        if !exists {
            changed |= set.annotate(DESIRED_REPLICAS, &self.replicas().to_string());
            changed |= set.annotate(MAX_REPLICAS, &(self.replicas() + self.max_surge()).to_string());
        }
        changed
    }

    fn set_revision(&mut self, revision: &str) -> bool {
        let annotations = json::fields_mut(&mut self.deployment, "/metadata/annotations");
        let changed = annotations.get(REVISION).and_then(Value::as_str) != Some(revision);
        annotations.insert(REVISION.into(), revision.into());
        changed
    }
}
