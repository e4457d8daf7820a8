//! One Rollout: what was decided for it, what is under way, and when to look again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{task::AbortHandle, time::Instant};

use crate::{
    act::{CallError, Calls, Target, Written},
    api::{RolloutStatus, status::Outcome},
    core::{
        decision::Decision,
        decision::{
            action::Action,
            notice::{Notice, Reason},
            record::{Difference, difference},
        },
        facts::object::Object,
    },
    events::Recorder,
    observe::RolloutSeen,
    probe::Probes,
};

/// How long counts and sentences may trail before they are written on their own.
const DETAIL_DELAY: Duration = Duration::from_secs(2);
/// Waits after a failed call: from the first to the longest, doubled each time.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(15);
/// The same for what takes clients off a bad version.
const LONGEST_PIN_BACKOFF: Duration = Duration::from_secs(1);
/// Labels on pods that are written at once; more are paced at ten a second.
const LABEL_BURST: usize = 10;
const LABEL_PACE: Duration = Duration::from_millis(100);
/// When the admission policies are asked for again where they were not seen to act: a policy takes about a second to be in effect.
const GUARD_RETRIES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(10)];

/// What is kept of one Rollout between decisions. Nothing of it is needed: a new controller decides the same from the cluster.
pub struct Actor {
    pub probes: Probes,
    pub recorder: Recorder,
    /// The status as decided last; may be ahead of the one on record.
    decided: Option<RolloutStatus>,
    written: Option<RolloutStatus>,
    in_flight: Option<InFlight>,
    batches: u64,
    failures: u32,
    not_before: Option<Instant>,
    wake_at: Option<Instant>,
    detail_since: Option<Instant>,
    guard: Guard,
    preview: PreviewWrites,
    /// Whether the admission policies stamp who sends a request, as it was found out for the one with this id.
    stamped: Option<(String, bool)>,
    pods_read_at: Option<Timestamp>,
}

#[derive(Debug)]
struct InFlight {
    number: u64,
    /// Its first action, where that is a way back.
    way_back: Option<Action>,
    task: AbortHandle,
}

impl InFlight {
    /// What takes clients off a bad version waits for nothing but what does the same.
    fn yields_to(&self, decision: &Decision) -> bool {
        let way_back = decision.actions.first().filter(|action| action.is_way_back());
        way_back.is_some_and(|action| self.way_back.as_ref().is_none_or(|under_way| action.leads_elsewhere(under_way)))
    }
}

/// What is known of the admission policies.
#[derive(Debug, Default)]
struct Guard {
    acts: Option<bool>,
    tries: usize,
    ask_at: Option<Instant>,
}

/// How the writes of the preview go: what fails there is tried again in its own time, and keeps nothing else waiting.
#[derive(Debug, Default)]
struct PreviewWrites {
    failures: u32,
    not_before: Option<Instant>,
    told: bool,
}

/// What a batch of calls came to.
#[derive(Debug)]
pub struct Done {
    number: u64,
    pub written: Vec<Written>,
    /// The first call that failed, if one did.
    pub failure: Option<CallError>,
    /// What became of the write of the preview, if there was one; none of the failures above.
    preview: Option<Result<(), CallError>>,
    /// The status, if it was written.
    pub status: Option<RolloutStatus>,
}

/// A batch to be carried out: actions in order, then the status.
#[derive(Debug)]
pub struct Batch {
    number: u64,
    target: Target,
    actions: Vec<Action>,
    status: Option<RolloutStatus>,
    /// How a release ended, if that status is the first to say so.
    ended: Option<Outcome>,
}

impl Actor {
    /// An actor that knows nothing yet.
    pub fn new(recorder: Recorder) -> Self {
        Self {
            probes: Probes::default(),
            recorder,
            decided: None,
            written: None,
            in_flight: None,
            batches: 0,
            failures: 0,
            not_before: None,
            wake_at: None,
            detail_since: None,
            guard: Guard::default(),
            preview: PreviewWrites::default(),
            stamped: None,
            pods_read_at: None,
        }
    }

    /// The status to decide from: the one decided last, or the one on record.
    pub fn status(&self, seen: &RolloutSeen) -> RolloutStatus {
        self.decided.clone().or_else(|| seen.status.clone()).unwrap_or_default()
    }

    /// Whether the admission policies act; none while that is not known or is to be asked again.
    pub fn guarded(&self) -> Option<bool> {
        match self.guard.acts {
            Some(false) if self.guard.ask_at.is_some_and(|at| at <= Instant::now()) => None,
            acts => acts,
        }
    }

    /// Whether the admission policies stamp who sends a request; none while that was not found out since this one was seen.
    pub fn stamped(&self, seen: &RolloutSeen) -> Option<bool> {
        let request = seen.facts.spec.request.as_ref()?;
        self.stamped.as_ref().filter(|(id, _)| *id == request.id).map(|(_, acts)| *acts)
    }

    /// When the pods were last read from the API server itself.
    pub fn pods_read_at(&self) -> Option<Timestamp> {
        self.pods_read_at
    }

    /// When to decide again at the latest.
    pub fn wake_at(&self) -> Option<Instant> {
        self.wake_at
    }

    /// What is decided on next: a status that is not ours was written by another controller, and counts; except that a release which was
    /// being taken back still is.
    pub fn seen(&mut self, seen: &RolloutSeen) {
        if self.decided.is_none() {
            self.written.clone_from(&seen.status);
        }
        let foreign = self.in_flight.is_none() && self.written.is_some() && seen.status != self.written && seen.status != self.decided;
        if !foreign {
            return;
        }
        let latched = |status: &RolloutStatus| {
            status
                .release
                .as_ref()
                .filter(|release| release.rollback.is_some())
                .map(|release| (release.revision.clone(), release.started_at))
        };
        let release = |status: &RolloutStatus| status.release.as_ref().map(|release| (release.revision.clone(), release.started_at));
        let keep = self.decided.as_ref().and_then(latched).is_some_and(|ours| seen.status.as_ref().and_then(release) == Some(ours));
        if !keep {
            self.decided = None;
        }
        self.written.clone_from(&seen.status);
    }

    /// Something happened: a call that failed may be made again at once.
    pub fn stir(&mut self) {
        if self.failures <= 2 {
            self.not_before = None;
        }
    }

    /// Whether a decision is left for the end of the batch under way, which may be about to change what it was made on. Not where it takes
    /// clients off a bad version, nor where it is the first to find one: that it was seen counts, whatever is seen later.
    pub fn postpones(&mut self, decision: &Decision) -> bool {
        let is_taken_back = |status: &RolloutStatus| status.release.as_ref().is_some_and(|release| release.rollback.is_some());
        let finds = is_taken_back(&decision.status) && !self.decided.as_ref().is_some_and(is_taken_back);
        let postponed = self.in_flight.as_ref().is_some_and(|in_flight| !in_flight.yields_to(decision)) && !finds;
        if postponed {
            self.wake_at = None;
        }
        postponed
    }

    /// Takes a decision: what is to be carried out now, if anything is and nothing else is under way.
    ///
    /// What takes clients off a bad version waits for nothing: it ends whatever is under way. Half-done calls do no harm, because each
    /// carries the version it was decided on.
    pub fn take(&mut self, seen: &RolloutSeen, decision: Decision, wake_at: Option<Instant>) -> Option<Batch> {
        let yields = self.in_flight.as_ref().is_none_or(|in_flight| in_flight.yields_to(&decision));
        let Decision { mut actions, status, .. } = decision;
        // What is due already has just been decided on; the end of the call under way, or of the wait after a failure, leads to the next
        // decision. To be called again at once would be to spin until then.
        let now = Instant::now();
        self.wake_at = [wake_at, self.guard.ask_at].into_iter().flatten().filter(|at| *at > now).min();
        if let Some(not_before) = self.preview.not_before.filter(|at| *at > now) {
            let decided = actions.len();
            actions.retain(|action| !matches!(action, Action::PinPreview { .. }));
            if actions.len() < decided {
                self.wake(not_before);
            }
        }
        let difference = difference(seen.status.as_ref(), &status);
        self.decided = Some(status.clone());
        if !yields {
            return None;
        }
        if let Some(in_flight) = self.in_flight.take() {
            in_flight.task.abort();
        }
        if let Some(not_before) = self.not_before.filter(|at| *at > Instant::now()) {
            self.wake(not_before);
            return None;
        }
        let last = |status: &RolloutStatus| status.history.last().cloned();
        let ended = last(&status).filter(|entry| seen.status.as_ref().and_then(last).as_ref() != Some(entry)).map(|entry| entry.outcome);
        let status_due = match difference {
            Difference::Nothing => {
                self.detail_since = None;
                false
            }
            Difference::Transition => true,
            Difference::Detail => {
                let due = *self.detail_since.get_or_insert_with(Instant::now) + DETAIL_DELAY;
                if due > Instant::now() {
                    self.wake(due);
                }
                due <= Instant::now()
            }
        };
        if actions.is_empty() && !status_due {
            return None;
        }
        let rollout = Object { name: seen.name.clone(), uid: seen.uid.clone(), resource_version: seen.resource_version.clone() };
        self.batches += 1;
        Some(Batch {
            number: self.batches,
            target: Target { rollout, finalizers: seen.finalizers.clone() },
            actions,
            status: status_due.then_some(status),
            ended,
        })
    }

    /// Another controller leads from here: what is under way ends, nothing is probed, and what was decided and not written is forgotten,
    /// because that one may have moved on by the time this one leads again.
    pub fn stand_by(&mut self) {
        if let Some(in_flight) = self.in_flight.take() {
            in_flight.task.abort();
        }
        self.probes = Probes::default();
        self.decided = None;
        self.written = None;
        self.failures = 0;
        self.not_before = None;
        self.wake_at = None;
        self.detail_since = None;
        self.guard = Guard::default();
        self.preview = PreviewWrites::default();
        self.stamped = None;
        self.pods_read_at = None;
    }

    /// The batch that was taken last is under way.
    pub fn started(&mut self, way_back: Option<Action>, task: AbortHandle) {
        self.in_flight = Some(InFlight { number: self.batches, way_back, task });
    }

    /// A batch is through; gives what people are to be told of it. One that was cut off in favour of another may still tell what it had done.
    pub fn finished(&mut self, done: &Done, now: Timestamp) -> Option<Notice> {
        let pins = self.in_flight.take_if(|in_flight| in_flight.number == done.number)?.way_back.is_some();
        if let Some(status) = &done.status {
            self.written = Some(status.clone());
            self.detail_since = None;
        }
        for written in &done.written {
            match written {
                Written::Pods(_) => self.pods_read_at = Some(now),
                Written::Guarded(acts) => self.guard.answered(*acts),
                Written::Stamped { id, acts } => self.stamped = Some((id.clone(), *acts)),
                _ => {}
            }
        }
        if done.failure.is_some() {
            self.failures += 1;
            let longest = if pins { LONGEST_PIN_BACKOFF } else { LONGEST_BACKOFF };
            self.not_before = Some(Instant::now() + backoff(self.failures, longest));
        } else {
            self.failures = 0;
            self.not_before = None;
        }
        self.preview.ended(done.preview.as_ref()?)
    }

    /// The admission policies are to be asked for again: a release has ended, or they may have changed.
    pub fn ask_guard_again(&mut self) {
        if self.guard.acts == Some(false) {
            self.guard = Guard::default();
        }
    }

    /// What is known of the admission policies may be days old: before something relies on them that cannot be taken back they are asked
    /// for again, whatever they did then.
    pub fn forget_guard(&mut self) {
        self.guard = Guard::default();
    }

    fn wake(&mut self, at: Instant) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
}

/// The wait after so many failures in a row; none after the first.
fn backoff(failures: u32, longest: Duration) -> Duration {
    if failures == 1 { Duration::ZERO } else { FIRST_BACKOFF.saturating_mul(1 << failures.min(12)).min(longest) }
}

impl PreviewWrites {
    /// A write is through. Of failures in a row people are told once.
    fn ended(&mut self, result: &Result<(), CallError>) -> Option<Notice> {
        let Err(error) = result else {
            *self = Self::default();
            return None;
        };
        self.failures += 1;
        self.not_before = Some(Instant::now() + backoff(self.failures, LONGEST_BACKOFF));
        if self.told || matches!(error, CallError::Conflict) {
            return None;
        }
        self.told = true;
        let note = format!("the preview (spec.preview) could not be written, which holds nothing else up; it is tried again: {error}");
        Some(Notice { reason: Reason::PreviewUnavailable, note })
    }
}

impl Guard {
    fn answered(&mut self, acts: bool) {
        self.ask_at = if acts { None } else { GUARD_RETRIES.get(self.tries).map(|wait| Instant::now() + *wait) };
        self.tries += 1;
        self.acts = Some(acts);
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        if let Some(in_flight) = &self.in_flight {
            in_flight.task.abort();
        }
    }
}

impl Batch {
    /// Its first action, where that takes clients off a bad version.
    pub fn way_back(&self) -> Option<&Action> {
        self.actions.first().filter(|action| action.is_way_back())
    }

    /// Carries it out. `may_write` is asked before every call: leadership may be lost at any moment.
    pub async fn carry_out(self, calls: &Calls, may_write: impl Fn() -> bool) -> Done {
        let mut done = Done { number: self.number, written: Vec::new(), failure: None, preview: None, status: None };
        let mut labels = 0;
        let mut rollout = self.target.rollout.clone();
        for action in &self.actions {
            if !may_write() {
                return done;
            }
            if matches!(action, Action::LabelPod { .. }) {
                labels += 1;
                if labels > LABEL_BURST {
                    tokio::time::sleep(LABEL_PACE).await;
                }
            }
            let is_preview = matches!(action, Action::PinPreview { .. });
            match calls.perform(&self.target, action).await {
                Err(error) if is_preview => {
                    log_failure(&rollout, action, &error);
                    if matches!(error, CallError::Conflict) {
                        done.written.extend(calls.read_again(action).await);
                    }
                    done.preview = Some(Err(error));
                }
                Ok(written) => {
                    if is_preview {
                        done.preview = Some(Ok(()));
                    }
                    if let Some(Written::Rollout(seen)) = &written {
                        rollout.resource_version.clone_from(&seen.resource_version);
                    }
                    done.written.extend(written);
                }
                Err(error) => {
                    log_failure(&rollout, action, &error);
                    let conflict = matches!(error, CallError::Conflict);
                    done.failure = Some(error);
                    if conflict {
                        done.written.extend(calls.read_again(action).await);
                        return done;
                    }
                    // What keeps failing must not keep the status from being told.
                    break;
                }
            }
        }
        let Some(status) = self.status.filter(|_| may_write()) else { return done };
        match calls.write_status(&rollout, &status).await {
            Ok(written) => {
                if let Some(outcome) = self.ended {
                    calls.metrics.released(outcome);
                }
                done.written.push(written);
                done.status = Some(status);
            }
            Err(error) => {
                if matches!(error, CallError::Conflict) {
                    done.written.extend(calls.read_rollout(&rollout.name).await);
                } else {
                    tracing::warn!(rollout = rollout.name, %error, "the status was not written");
                }
                done.failure = Some(error);
            }
        }
        done
    }
}

/// A conflict is the ordinary answer to a decision on facts that have changed; anything else is for the operator.
fn log_failure(rollout: &Object, action: &Action, error: &CallError) {
    let mut name = format!("{action:?}");
    name.truncate(name.find([' ', '{']).unwrap_or(name.len()));
    if matches!(error, CallError::Conflict) {
        tracing::debug!(rollout = rollout.name, action = name, "the object has changed meanwhile; deciding again");
    } else {
        tracing::warn!(rollout = rollout.name, action = name, error = %error, "a call failed");
    }
}

/// The actors of a namespace, by name of their Rollout.
pub type Actors = BTreeMap<Arc<str>, Actor>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_that_cannot_be_written_is_told_once_and_tried_ever_more_slowly() {
        let mut writes = PreviewWrites::default();
        assert!(writes.ended(&Err(CallError::Conflict)).is_none(), "a conflict is an ordinary answer");
        let told: Vec<Notice> = (0..20).filter_map(|_| writes.ended(&Err(CallError::Timeout))).collect();
        assert!(told.len() == 1 && told[0].note.contains("no answer within 5s"), "{told:?}");
        let wait = writes.not_before.map(|at| at.duration_since(Instant::now()));
        assert!(wait.is_some_and(|wait| wait > LONGEST_BACKOFF / 2), "{wait:?}");
        assert!(writes.ended(&Ok(())).is_none() && writes.not_before.is_none());
        assert!(writes.ended(&Err(CallError::Timeout)).is_some(), "what fails anew is told anew");
    }
}
