//! What the controller does, in words and with times, for traces that people read.

use jiff::Timestamp;

use crate::{
    api::status::RolloutStatus,
    core::{
        decision::action::{Action, Rotation},
        facts::{pin::Pin, service::SessionAffinity},
        tests::model::Model,
    },
};

impl Model {
    /// Adds a line, with the seconds since the model began.
    pub fn say(&mut self, line: &str) {
        let begin: Timestamp = "2026-11-21T10:00:00Z".parse().expect("a time");
        let since = self.now.duration_since(begin);
        if let Some(log) = &mut self.log {
            log.push(format!("{:>5}.{:03} {line}", since.as_secs(), since.subsec_millis()));
        }
    }

    /// Adds a write, or a read.
    pub fn say_action(&mut self, action: &Action) {
        if self.log.is_some() {
            self.say(&describe(action));
        }
    }

    /// Adds what is reported.
    pub fn say_status(&mut self, status: &RolloutStatus) {
        let RolloutStatus { phase, why, step, traffic, .. } = status;
        let step = step.as_ref().map(|step| format!(", step {}", step.display)).unwrap_or_default();
        let percent = |share: Option<u8>| share.map_or_else(|| "?".to_owned(), |share| format!("{share}%"));
        let traffic = traffic.as_ref().map(|traffic| format!(", traffic {} of {}%", percent(traffic.routed), traffic.desired));
        let phase = phase.map(|phase| format!("{phase:?}")).unwrap_or_default();
        self.say(&format!("status {phase}{step}{}: {why}", traffic.unwrap_or_default()));
    }
}

fn describe(action: &Action) -> String {
    match action {
        Action::AddFinalizer => "add the finalizer".into(),
        Action::RemoveFinalizer => "remove the finalizer".into(),
        Action::ReadPods => "read the pods".into(),
        Action::ProbeGuard { deployment } => format!("ask whether Deployment {deployment} is guarded"),
        Action::ProbePin { service, side_key } => format!("ask whether key {side_key} of Service {service} is guarded"),
        Action::ProbeStamp { id: _ } => "ask whether requests are stamped".into(),
        Action::SetPaused { deployment, paused } => format!("Deployment {}: paused {paused}", deployment.name),
        Action::PinService { service, side_key, from, to, affinity } => {
            let affinity = affinity.map(|affinity| format!(", affinity {}", with(affinity))).unwrap_or_default();
            format!("Service {}: {} to {}{affinity}", service.name, by(side_key, from), by(side_key, to))
        }
        Action::PinPreview { service, side_key, to } => format!("Service {}, the preview: to {}", service.name, by(side_key, to)),
        Action::CreateCanary { name, body } => format!("Deployment {name}: created with {} replicas", body["spec"]["replicas"]),
        Action::ScaleCanary { deployment, replicas } => format!("Deployment {}: {replicas} replicas", deployment.name),
        Action::ScaleToZero { deployment } => format!("Deployment {}: 0 replicas, because it is idle", deployment.name),
        Action::ScaleReplicaSet { replica_set, replicas } => format!("ReplicaSet {}: {replicas} replicas", replica_set.name),
        Action::DeleteReplicaSet { replica_set } => format!("ReplicaSet {}: deleted", replica_set.name),
        Action::LabelPod { pod, rotation: Rotation::In } => format!("Pod {}: into rotation", pod.name),
        Action::LabelPod { pod, rotation: Rotation::Out } => format!("Pod {}: out of rotation", pod.name),
        Action::BeginHandover { deployment, label } => format!("Deployment {}: hand-over of {label} begins", deployment.name),
        Action::OpenSurge { deployment } => format!("Deployment {}: surge opened", deployment.name),
        Action::AdoptReplicaSet { replica_set, owner, size } => {
            format!("ReplicaSet {}: given to Deployment {} with {size} replicas", replica_set.name, owner.name)
        }
        Action::EndHandover { deployment, max_surge, paused } => {
            let surge = max_surge.as_ref().map(|surge| format!(", surge {surge}")).unwrap_or_default();
            let paused = paused.map(|paused| format!(", paused {paused}")).unwrap_or_default();
            format!("Deployment {}: hand-over ends{surge}{paused}", deployment.name)
        }
        Action::DeleteCanary { deployment, must_own_nothing } => {
            let checked = if *must_own_nothing { ", once it owns nothing" } else { "" };
            format!("Deployment {}: deleted{checked}", deployment.name)
        }
    }
}

fn by(side_key: &str, pin: &Pin) -> String {
    match pin {
        Pin::Open => "open".into(),
        Pin::Side(value) => format!("{side_key}={value}"),
        Pin::Rotation => "rotation".into(),
    }
}

fn with(affinity: SessionAffinity) -> String {
    match affinity {
        SessionAffinity::Off => "off".into(),
        SessionAffinity::ClientIp(seconds) => format!("{seconds}s"),
    }
}
