//! Events (`events.k8s.io/v1`): one per transition.

use std::{collections::VecDeque, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};

use crate::{
    core::{
        decision::notice::{Notice, Reason},
        facts::RolloutFacts,
    },
    visible,
    vitals::metrics::{Metrics, Write, WriteOutcome},
};

/// How long the API server may take for an Event; one that is lost is lost.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest note that the API server takes.
const NOTE_LENGTH: usize = 1024;
/// The longest name of an object.
const NAME_LENGTH: usize = 253;
/// How many notices are remembered, so that a decision that is made again does not tell again.
const REMEMBERED: usize = 16;

/// Tells people what happened to one Rollout, each thing once.
pub struct Recorder {
    client: Client,
    instance: String,
    metrics: Metrics,
    told: VecDeque<Notice>,
    count: u64,
}

impl Recorder {
    /// A recorder that speaks as `instance`, the name of the controller's pod.
    pub fn new(client: Client, instance: String, metrics: Metrics) -> Self {
        Self { client, instance, metrics, told: VecDeque::new(), count: 0 }
    }

    /// Tells of notices; in the background, without waiting.
    pub fn tell(&mut self, rollout: &RolloutFacts, notices: Vec<Notice>, now: Timestamp) {
        for notice in notices {
            if notice.reason == Reason::ReleaseStarted {
                self.told.clear();
            }
            if self.told.contains(&notice) {
                continue;
            }
            tracing::info!(rollout = %format_args!("{}/{}", rollout.namespace, rollout.name), reason = %notice.reason, "{}", visible::line(&notice.note));
            let event = self.event(rollout, &notice, now);
            self.told.push_back(notice);
            if self.told.len() > REMEMBERED {
                self.told.pop_front();
            }
            let api: Api<Event> = Api::namespaced(self.client.clone(), &rollout.namespace);
            let metrics = self.metrics.clone();
            tokio::spawn(async move {
                let outcome = match tokio::time::timeout(TIMEOUT, api.create(&PostParams::default(), &event)).await {
                    Ok(Ok(_)) => WriteOutcome::Ok,
                    Ok(Err(error)) => {
                        tracing::debug!(%error, "an Event was not taken");
                        WriteOutcome::Error
                    }
                    Err(_) => {
                        tracing::debug!("an Event was not taken in time");
                        WriteOutcome::Timeout
                    }
                };
                metrics.wrote(&Write { kind: "Event", verb: "create", outcome });
            });
        }
    }

    fn event(&mut self, rollout: &RolloutFacts, notice: &Notice, now: Timestamp) -> Event {
        self.count += 1;
        let mut note = visible::line(&notice.note).into_owned();
        if note.len() > NOTE_LENGTH {
            let end = (0..=NOTE_LENGTH - 3).rev().find(|i| note.is_char_boundary(*i)).unwrap_or(0);
            note.truncate(end);
            note.push_str("...");
        }
        Event {
            metadata: ObjectMeta {
                name: Some(event_name(&rollout.name, now, self.count)),
                namespace: Some(rollout.namespace.clone()),
                ..ObjectMeta::default()
            },
            action: Some("Release".into()),
            event_time: Some(MicroTime(now)),
            note: Some(note),
            reason: Some(notice.reason.to_string()),
            regarding: Some(ObjectReference {
                api_version: Some("stepgate.dev/v1alpha1".into()),
                kind: Some("Rollout".into()),
                name: Some(rollout.name.clone()),
                namespace: Some(rollout.namespace.clone()),
                uid: Some(rollout.uid.clone()),
                ..ObjectReference::default()
            }),
            reporting_controller: Some("stepgate.dev/controller".into()),
            reporting_instance: Some(self.instance.clone()),
            type_: Some(if notice.reason.is_warning() { "Warning" } else { "Normal" }.into()),
            ..Event::default()
        }
    }
}

/// A name that no other Event of the Rollout has; a long name of the Rollout is cut.
fn event_name(rollout: &str, now: Timestamp, count: u64) -> String {
    let suffix = format!(".{:x}{count:x}", now.as_nanosecond());
    let room = NAME_LENGTH - suffix.len();
    let stem = rollout.get(..room).unwrap_or(rollout).trim_end_matches(['-', '.']);
    format!("{stem}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_a_rollout_with_the_longest_name_has_a_name() {
        let now = "2026-11-21T10:00:00Z".parse().expect("a time");
        assert_eq!(event_name("hello", now, 10), "hello.18ea0717bd2c4000a");
        let dotted = "a.".repeat(126) + "b";
        for rollout in ["a".repeat(253), dotted] {
            let name = event_name(&rollout, now, u64::MAX);
            assert!(name.len() <= NAME_LENGTH && !name.contains(".."), "{name}");
        }
    }
}
