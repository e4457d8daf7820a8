//! What must never happen (design §8), checked on every change that was ever stored.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use stepgate::{
    api::{HANDOVER, HELD, POD_TEMPLATE_HASH, ROLLOUT_UID, ROTATION, policy::When, status::Release},
    core::{gate::approval::missing, share::by_counts},
    sim::{
        json,
        server::{
            admission::STEPGATE,
            store::{Entry, Key, Store},
        },
    },
};

use crate::pair::{Pair, SIZE};

const EVENTS: &str = "events.events.k8s.io";
/// A controller acts on what it read up to two seconds ago (design §8.2), and a little later.
const TOLERANCE: SignedDuration = SignedDuration::from_millis(2_600);

/// The cluster as it was at one version of the log, and what was wrong up to there.
#[derive(Debug)]
pub struct Law {
    now: BTreeMap<Key, Arc<Value>>,
    cursor: u64,
    /// When each pod was ready last, and when it became so; by uid.
    was_ready: BTreeMap<String, Timestamp>,
    ready_since: BTreeMap<String, Timestamp>,
    /// When each Deployment was last given another size by somebody else, and the size that it had.
    resized: BTreeMap<String, (Timestamp, i64)>,
    /// uids of the pods that have ever been ready, by their hash.
    worked: BTreeMap<String, BTreeSet<String>>,
    /// The fewest pods that the owner has asked for.
    least_asked: Option<i64>,
    /// uids of pods by version.
    pub started: BTreeMap<String, BTreeSet<String>>,
    /// Writes of ours, Events apart.
    pub writes: Vec<(Timestamp, String)>,
    pub broken: Vec<String>,
    pair: Pair,
    guarded: bool,
}

impl Law {
    pub fn new(store: &Store, pair: Pair, guarded: bool) -> Self {
        Self {
            now: BTreeMap::new(),
            cursor: store.oldest(),
            was_ready: BTreeMap::new(),
            ready_since: BTreeMap::new(),
            resized: BTreeMap::new(),
            worked: BTreeMap::new(),
            least_asked: None,
            started: BTreeMap::new(),
            writes: Vec::new(),
            broken: Vec::new(),
            pair,
            guarded,
        }
    }

    /// Reads the log up to its end.
    pub fn read(&mut self, store: &Store) {
        while let Ok(Some(entry)) = store.after(self.cursor) {
            self.cursor = entry.version;
            if &*entry.author == STEPGATE {
                self.judge(entry);
            }
            self.apply(entry);
        }
    }

    /// Objects of a resource, as of now.
    pub fn all<'a>(&'a self, resource: &'a str) -> impl Iterator<Item = &'a Arc<Value>> {
        self.now
            .range(Key::new(resource, "default", "")..)
            .take_while(move |(key, _)| &*key.resource == resource && key.namespace == "default")
            .map(|(_, object)| object)
    }

    pub fn get(&self, resource: &str, name: &str) -> Option<&Arc<Value>> {
        self.now.get(&Key::new(resource, "default", name))
    }

    fn apply(&mut self, entry: &Entry) {
        if &*entry.key.resource == EVENTS {
            return;
        }
        let is_owners = &*entry.key.resource == "deployments.apps" && &*entry.author != STEPGATE;
        if let (true, Some(before), Some(after)) = (is_owners, &entry.before, &entry.after) {
            let size = |object: &Value| json::int(object, "/spec/replicas");
            if size(before) != size(after) {
                self.resized.insert(entry.key.name.clone(), (entry.at, size(before)));
            }
        }
        match &entry.after {
            Some(object) => drop(self.now.insert(entry.key.clone(), object.clone())),
            None => drop(self.now.remove(&entry.key)),
        }
        if &*entry.key.resource == "deployments.apps" && &*entry.key.name == "hello" {
            let asked = entry.after.as_ref().map_or(0, |hello| json::int(hello, "/spec/replicas"));
            self.least_asked = Some(self.least_asked.map_or(asked, |least| least.min(asked)));
        }
        if &*entry.key.resource != "pods" {
            return;
        }
        let ready = |object: &Option<Arc<Value>>| object.as_ref().is_some_and(|pod| serves(pod));
        if let Some(pod) = entry.after.as_ref().filter(|pod| serves(pod)) {
            let hash = json::label(pod, POD_TEMPLATE_HASH).unwrap_or_default().to_owned();
            self.worked.entry(hash).or_default().insert(json::uid(pod).to_owned());
        }
        let Some(pod) = entry.after.as_ref().or(entry.before.as_ref()) else { return };
        let uid = json::uid(pod).to_owned();
        self.started.entry(version(pod).to_owned()).or_default().insert(uid.clone());
        match (ready(&entry.before), ready(&entry.after)) {
            (true, false) => drop(self.was_ready.insert(uid, entry.at)),
            (false, true) => drop(self.ready_since.insert(uid, entry.at)),
            _ => {}
        }
    }

    fn judge(&mut self, entry: &Entry) {
        let resource = &*entry.key.resource;
        if resource != EVENTS {
            let (before, after) = (entry.before.as_deref().unwrap_or(&Value::Null), entry.after.as_deref().unwrap_or(&Value::Null));
            let changed = changes(before, after);
            self.writes.push((entry.at, format!("{resource} {} {}", entry.key.name, changed.join(" "))));
            self.judge_fields(entry, resource, &changed);
        }
        match resource {
            "services" if self.is_preview(&entry.key.name) => self.judge_preview(entry),
            "services" => {
                self.judge_selector(entry);
                self.judge_affinity(entry);
            }
            "rollouts.stepgate.dev" => self.judge_status(entry),
            "deployments.apps" => self.judge_work(entry),
            _ => {}
        }
    }

    /// Whether the Rollout has Services, whose clients are moved.
    fn has_services(&self) -> bool {
        self.all("rollouts.stepgate.dev").next().is_none_or(|rollout| !json::items(rollout, "/spec/services").is_empty())
    }

    /// Without Services every pod works: nothing is made before a release is on record and approved, what was ended stays ended, and no canary
    /// pod is ended before as many others are asked for as the owner wants.
    fn judge_work(&mut self, entry: &Entry) {
        let object = entry.after.as_ref().or(entry.before.as_ref()).cloned().unwrap_or_default();
        if self.has_services() || json::label(&object, ROLLOUT_UID).is_none() {
            return;
        }
        if entry.before.is_none() {
            let rollout = self.all("rollouts.stepgate.dev").next().cloned().unwrap_or_default();
            if json::fields(&rollout, "/status/release").is_none() || json::fields(&rollout, "/status/release/rollback").is_some() {
                self.breaks(entry, "makes a canary without a release on record");
            }
            // design §8.3
            let release = rollout.pointer("/status/release").and_then(|release| serde_json::from_value::<Release>(release.clone()).ok());
            let gates = release.map(|release| missing(&release, &[When::BeforeTraffic], 0)).unwrap_or_default();
            if !gates.is_empty() {
                self.breaks(entry, &format!("makes a canary that nobody has approved: {}", gates.join(", ")));
            }
            return;
        }
        let replicas =
            |deployment: &Option<Arc<Value>>| deployment.as_ref().map_or(0, |deployment| json::int(deployment, "/spec/replicas"));
        // design §8.3: at 0 it is being taken back, whoever has forgotten it.
        if replicas(&entry.before) == 0 && replicas(&entry.after) > 0 {
            self.breaks(entry, "lets a version work again that was taken back");
        }
        if replicas(&entry.after) >= replicas(&entry.before) {
            return;
        }
        let asked = json::int(self.get("deployments.apps", "hello").unwrap_or(&Arc::default()), "/spec/replicas");
        let others = self.all("replicasets.apps").filter(|set| json::controller_uid(set) != json::uid(&object));
        let others: i64 = others.map(|set| json::int(set, "/spec/replicas")).sum();
        let left = replicas(&entry.after) + others;
        // What its owner has just changed the Deployment controller may not have carried out yet.
        if left < asked.min(SIZE.into()) {
            let what = format!("leaves {left} of {asked} pods at work");
            self.breaks(entry, &what);
        }
    }

    fn breaks(&mut self, entry: &Entry, what: &str) {
        self.broken.push(format!("{} {} {}: {what}", entry.at, entry.key.resource, entry.key.name));
    }

    // design §8.5
    fn judge_fields(&mut self, entry: &Entry, resource: &str, changed: &[String]) {
        let (Some(before), Some(after)) = (&entry.before, &entry.after) else {
            self.judge_existence(entry, resource);
            return;
        };
        let ours = json::label(before, ROLLOUT_UID).is_some();
        let handover = label_path("labels", HANDOVER);
        let held = label_path("labels", HELD);
        let upwards = json::int(after, "/spec/replicas") > json::int(before, "/spec/replicas");
        let owned = [self.pair.key(), ROTATION].map(|key| format!("/spec/selector/{}", escape(key)));
        let counts = ["desired-replicas", "max-replicas"].map(|key| label_path("annotations", &format!("deployment.kubernetes.io/{key}")));
        let emptied = self.may_be_emptied(after);
        let allowed = |path: &str| match resource {
            "rollouts.stepgate.dev" => path.starts_with("/status") || path.starts_with("/metadata/finalizers"),
            "deployments.apps" if self.pair.is_declared() => path == "/spec/replicas" && (upwards || emptied),
            "replicasets.apps" if self.pair.is_declared() => false,
            "deployments.apps" if ours => path != "/spec/template" && !path.starts_with("/spec/template/"),
            "deployments.apps" => {
                path == "/spec/paused"
                    || path == held
                    || path == "/spec/strategy/rollingUpdate/maxSurge"
                    || path == handover
                    || (path == "/spec/replicas" && upwards)
            }
            "replicasets.apps" => {
                path.starts_with("/metadata/ownerReferences") || path == "/spec/replicas" || counts.iter().any(|known| known == path)
            }
            "services" => owned.iter().any(|known| known == path) || path.starts_with("/spec/sessionAffinity"),
            "pods" => path == label_path("labels", ROTATION),
            _ => false,
        };
        if let Some(path) = changed.iter().find(|path| !allowed(path)) {
            let what = format!("wrote {path}, which is not ours");
            self.breaks(entry, &what);
        }
    }

    /// `idle: ScaleToZero`: once the release is past its end on record, for a version that no Service has a client on, where the policies
    /// keep it so.
    fn may_be_emptied(&self, deployment: &Value) -> bool {
        let past = |rollout: &Value| {
            json::text(rollout, "/status/phase") == "Promoting" && json::text(rollout, "/status/release/policy/idle") == "ScaleToZero"
        };
        let labels = json::fields(deployment, "/spec/template/metadata/labels");
        let selects = |service: &Value| {
            let selector = json::fields(service, "/spec/selector").into_iter().flatten();
            selector.into_iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
        };
        self.guarded
            && json::int(deployment, "/spec/replicas") == 0
            && self.all("rollouts.stepgate.dev").any(|rollout| past(rollout))
            && !self.all("services").any(|service| selects(service))
    }

    fn judge_existence(&mut self, entry: &Entry, resource: &str) {
        let object = entry.before.as_ref().or(entry.after.as_ref()).cloned().unwrap_or_default();
        let deleted = entry.after.is_none();
        let fine = match resource {
            "deployments.apps" => json::label(&object, ROLLOUT_UID).is_some(),
            "replicasets.apps" => {
                !self.pair.is_declared()
                    && deleted
                    && json::int(&object, "/spec/replicas") == 0
                    && json::int(&object, "/status/replicas") == 0
            }
            "rollouts.stepgate.dev" => deleted && json::deleting(&object),
            _ => false,
        };
        if !fine {
            self.breaks(entry, if deleted { "deleted what is not ours" } else { "created what we do not create" });
        }
    }

    fn judge_selector(&mut self, entry: &Entry) {
        let Some(service) = entry.after.clone() else { return };
        let Some(rollout) = self.all("rollouts.stepgate.dev").next().cloned() else { return };
        let (pair, key) = (self.pair, self.pair.key());
        let selector = json::fields(&service, "/spec/selector").cloned().unwrap_or_default();
        let owners = selector
            .iter()
            .filter(|(name, _)| ![key, ROTATION].contains(&name.as_str()))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let live = self.live_value(&rollout);
        let to_live = selector.get(key).and_then(Value::as_str) == Some(&live);
        let (selected, could): (Vec<_>, Vec<_>) = (self.pods(&selector, entry.at), self.pods(&owners, entry.at));
        // design §8.2; the way back counts only what is there.
        let name = if pair.is_declared() { json::text(&rollout, "/status/stable/name") } else { "hello" };
        let size = self.get("deployments.apps", name).map_or(0, |deployment| json::int(deployment, "/spec/replicas"));
        let resized = self.resized.get(name).filter(|(when, _)| entry.at.duration_since(*when) <= TOLERANCE);
        let had = resized.map_or(size, |(_, had)| *had);
        let size = usize::try_from(size.min(had)).unwrap_or(0);
        if !to_live && selected.len() < size.min(could.len()) {
            let what = format!("leaves {} of {} pods ({size} wanted)", selected.len(), could.len());
            self.breaks(entry, &what);
        }
        if to_live && selected.is_empty() && !could.is_empty() {
            self.breaks(entry, "leaves no pod although there are some");
        }
        // design §8.3
        let strangers = selected.iter().filter(|pod| serves(pod)).any(|pod| json::label(pod, key) != Some(&live));
        if !strangers || json::fields(&rollout, "/status/release").is_none() {
            return;
        }
        // Without admission policies a Deployment rolls by itself for a moment; versions of the user's own do not.
        if json::fields(&rollout, "/status/release/rollback").is_some() && (self.guarded || pair.is_declared()) {
            let of_canary = selected.iter().any(|pod| serves(pod) && self.is_of_canary(pod));
            if of_canary {
                self.breaks(entry, "sends clients to a revision that is being taken back");
            }
        } else if json::text(&rollout, "/status/release/trafficSince").is_empty() {
            self.breaks(entry, "sends clients to a revision before that is on record");
        }
    }

    fn is_preview(&self, service: &str) -> bool {
        self.all("rollouts.stepgate.dev").any(|rollout| json::text(rollout, "/spec/preview") == service)
    }

    /// The preview has no clients: it may have no pod. It shows the version under release or is as its owner wrote it, and which Service it is
    /// is on record before it is written.
    fn judge_preview(&mut self, entry: &Entry) {
        let Some((rollout, service)) = self.all("rollouts.stepgate.dev").next().cloned().zip(entry.after.clone()) else { return };
        if json::text(&rollout, "/status/preview/service") != &*entry.key.name {
            self.breaks(entry, "writes a preview that is not on record");
        }
        let hash = json::text(&service, "/spec/selector/pod-template-hash");
        let is_open = json::fields(&service, "/spec/selector").is_some_and(|selector| selector.keys().eq(["app"]));
        if !is_open && (hash.is_empty() || hash == json::text(&rollout, "/status/stable/hash")) {
            self.breaks(entry, "shows something else than the version under release");
        }
    }

    /// What the owner had, and what is set instead, is on record before either is written.
    fn judge_affinity(&mut self, entry: &Entry) {
        let (Some(before), Some(after)) = (&entry.before, &entry.after) else { return };
        let seconds = |service: &Value| {
            let is_set = json::text(service, "/spec/sessionAffinity") == "ClientIP";
            is_set.then(|| json::int(service, "/spec/sessionAffinityConfig/clientIP/timeoutSeconds"))
        };
        let (had, has) = (seconds(before), seconds(after));
        let Some(rollout) = self.all("rollouts.stepgate.dev").next().filter(|_| had != has).cloned() else { return };
        let is_known = |held: &Value| {
            let (set, owners) = (held["timeoutSeconds"].as_i64(), held["ownersTimeoutSeconds"].as_i64());
            (had, has) == (owners, set) || (had, has) == (set, owners)
        };
        if !json::items(&rollout, "/status/affinity").iter().any(is_known) {
            let what = format!("changes an affinity from {had:?} to {has:?}, which is not on record");
            self.breaks(entry, &what);
        }
    }

    /// uids of the pods behind the Service, by its endpoints: of slices that have each of its ports.
    pub fn routed(&self) -> BTreeSet<String> {
        let name = |port: &Value| json::text(port, "/name").to_owned();
        let ports: BTreeSet<String> =
            self.get("services", "hello").map(|service| json::items(service, "/spec/ports").iter().map(name).collect()).unwrap_or_default();
        let slices = self.all("endpointslices.discovery.k8s.io");
        let slices = slices.filter(|slice| json::label(slice, "kubernetes.io/service-name") == Some("hello"));
        let slices = slices.filter(|slice| json::items(slice, "/ports").iter().map(name).collect::<BTreeSet<_>>().is_superset(&ports));
        let endpoints =
            slices.flat_map(|slice| json::items(slice, "/endpoints")).filter(|endpoint| json::flag(endpoint, "/conditions/ready"));
        endpoints.map(|endpoint| json::text(endpoint, "/targetRef/uid").to_owned()).collect()
    }

    /// What the pods of the live side have in the label that tells the sides apart.
    pub fn live_value(&self, rollout: &Value) -> String {
        self.value_of(&rollout["status"]["stable"])
    }

    /// The same of a version, as status tells of it.
    fn value_of(&self, version: &Value) -> String {
        if !self.pair.is_declared() {
            return json::text(version, "/hash").to_owned();
        }
        let deployment = self.get("deployments.apps", json::text(version, "/name"));
        let labels = deployment.and_then(|deployment| json::fields(deployment, "/spec/template/metadata/labels"));
        labels.and_then(|labels| labels.get(self.pair.key())).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// Whether a pod is of the version under release.
    pub fn is_of_canary(&self, pod: &Value) -> bool {
        if self.pair.is_declared() {
            let canary = self.all("rollouts.stepgate.dev").next().map(|rollout| self.value_of(&rollout["status"]["canary"]));
            return canary.is_some_and(|value| !value.is_empty() && json::label(pod, self.pair.key()) == Some(&value));
        }
        let set = self.all("replicasets.apps").find(|set| json::uid(set) == json::controller_uid(pod));
        let deployment =
            set.and_then(|set| self.all("deployments.apps").find(|deployment| json::uid(deployment) == json::controller_uid(set)));
        deployment.is_some_and(|deployment| json::label(deployment, ROLLOUT_UID).is_some() && !json::deleting(deployment))
    }

    /// Pods that clients of a selector would reach, those included that were ready a moment ago.
    fn pods(&self, selector: &json::Fields, at: Timestamp) -> Vec<Arc<Value>> {
        let matches = |pod: &Value| selector.iter().all(|(key, value)| json::label(pod, key) == value.as_str());
        let recently = |pod: &Value| self.was_ready.get(json::uid(pod)).is_some_and(|was| at.duration_since(*was) <= TOLERANCE);
        let selected = self.all("pods").filter(|pod| matches(pod));
        selected.filter(|pod| serves(pod) || recently(pod)).cloned().collect()
    }

    // design §8.6
    fn judge_status(&mut self, entry: &Entry) {
        let (Some(before), Some(after)) = (&entry.before, &entry.after) else { return };
        let step = |rollout: &Value, field: &str| rollout.pointer(&format!("/status/step/{field}")).cloned().unwrap_or_default();
        if json::text(after, "/status/phase") != "Progressing"
            || step(after, "since").is_null()
            // It had begun when canary pods were lost, and is on record as one that waits for others.
            || !step(after, "waitingSince").is_null()
            || step(before, "since") == step(after, "since")
        {
            return;
        }
        if !self.has_services() {
            return self.judge_work_confirmed(entry, after);
        }
        let Some(service) = self.get("services", "hello").cloned() else { return };
        let selector = json::fields(&service, "/spec/selector").cloned().unwrap_or_default();
        let settled = |uid: &str| {
            let old = |times: &BTreeMap<String, Timestamp>| times.get(uid).is_none_or(|time| entry.at.duration_since(*time) > TOLERANCE);
            old(&self.was_ready) && old(&self.ready_since)
        };
        let matches = |pod: &Value| selector.iter().all(|(key, value)| json::label(pod, key) == value.as_str());
        let wanted: BTreeSet<String> =
            self.all("pods").filter(|pod| matches(pod) && serves(pod)).map(|pod| json::uid(pod).to_owned()).collect();
        let routed = self.routed();
        if let Some(odd) = wanted.symmetric_difference(&routed).find(|uid| settled(uid)) {
            let pod = self.all("pods").find(|pod| json::uid(pod) == odd).map_or("of the past", |pod| json::name(pod));
            let how = if routed.contains(odd) { "is an endpoint still" } else { "is none yet" };
            let what = format!("a hold begins before the endpoints follow the selector: pod {pod} {how}");
            self.breaks(entry, &what);
        }
        let canary = self.value_of(&after["status"]["canary"]);
        if json::int(after, "/status/step/weight") == 100 && selector.get(self.pair.key()).and_then(Value::as_str) != Some(&canary) {
            self.breaks(entry, "the hold of 100 % begins while the Service is not pinned to the canary");
        }
    }

    // design §8.6: without Services a weight is confirmed by the pods that it asks for. What has become of them since is judged elsewhere.
    fn judge_work_confirmed(&mut self, entry: &Entry, rollout: &Value) {
        let weight = u8::try_from(json::int(rollout, "/status/step/weight")).unwrap_or(100);
        let needed = by_counts(weight, self.least_asked.and_then(|asked| i32::try_from(asked).ok()).unwrap_or(1));
        let worked = self.worked.get(json::text(rollout, "/status/canary/hash")).map_or(0, BTreeSet::len);
        if i32::try_from(worked).is_ok_and(|worked| worked < needed) {
            let what = format!("the hold of {weight} % begins when {worked} of {needed} pods of the canary have ever been ready");
            self.breaks(entry, &what);
        }
    }
}

/// Whether a pod can take new connections.
pub fn serves(pod: &Value) -> bool {
    !json::deleting(pod) && json::condition(pod, "Ready").is_some_and(|condition| condition["status"] == "True")
}

/// The version of a pod, by its variable.
pub fn version(pod: &Value) -> &str {
    let variables = json::items(pod, "/spec/containers/0/env");
    variables.iter().find(|variable| variable["name"] == "VERSION").map_or("", |variable| json::text(variable, "/value"))
}

fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn label_path(map: &str, key: &str) -> String {
    format!("/metadata/{map}/{}", escape(key))
}

/// Paths of the leaves that differ; what every write changes is left out.
fn changes(before: &Value, after: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(before, after, &mut String::new(), &mut found);
    found.retain(|path| !matches!(path.as_str(), "/metadata/resourceVersion" | "/metadata/generation"));
    found
}

fn walk(before: &Value, after: &Value, path: &mut String, found: &mut Vec<String>) {
    if before == after {
        return;
    }
    let none = json::Fields::new();
    let (fields, more) = match (before, after) {
        (Value::Object(before), Value::Object(after)) => (before, after),
        (Value::Null, Value::Object(after)) if !path.is_empty() => (&none, after),
        (Value::Object(before), Value::Null) if !path.is_empty() => (before, &none),
        _ => return found.push(path.clone()),
    };
    let keys: BTreeSet<&String> = fields.keys().chain(more.keys()).collect();
    for key in keys {
        let length = path.len();
        path.push('/');
        path.push_str(&escape(key));
        walk(fields.get(key).unwrap_or(&Value::Null), more.get(key).unwrap_or(&Value::Null), path, found);
        path.truncate(length);
    }
}
