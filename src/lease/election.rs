//! Reads and writes the Lease that decides who leads: one watch, and a call a second while leading.

use std::{
    hash::{BuildHasher, RandomState},
    pin::pin,
};

use futures::StreamExt;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
    runtime::{
        WatchStreamExt,
        watcher::{self, watcher},
    },
};
use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    clock::{Clock, sleep_until},
    observe::watch::WatchBackoff,
    vitals::{
        metrics::{Metrics, Write, WriteOutcome},
        pulse::{Listener, Report, State},
    },
};

use super::{
    leadership::Leadership,
    rules::{CALL_TIMEOUT, LEASE_DURATION, LeaseFacts, Me, Seen, Step, decide},
};

/// Name of the Lease.
pub const NAME: &str = "stepgate";

/// A name that no other process has, and that people can find the pod by.
pub fn identity(pod: &str) -> String {
    format!("{pod}_{:016x}", RandomState::new().hash_one(pod))
}

/// One that stands by, and leads when nobody else does.
pub struct Election {
    api: Api<Lease>,
    clock: Clock,
    metrics: Metrics,
    pulse: Listener,
    me: Me,
    seen: Option<Seen>,
    /// The Lease of `seen`, in full: what others wrote into it stays.
    lease: Option<Lease>,
    /// Whether the last call failed; only the first of several is worth a warning.
    failing: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Create,
    Update,
}

/// Why a write did not go through.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error("somebody else has written the Lease")]
    Conflict,
    #[error("no answer in time")]
    Timeout,
    #[error(transparent)]
    Api(kube::Error),
}

impl Election {
    /// One that will write `identity`, which has to be unique, into the Lease of `namespace`.
    pub fn new(client: Client, namespace: &str, identity: String, clock: Clock, metrics: Metrics, pulse: Listener) -> Self {
        let api = Api::namespaced(client, namespace);
        Self { api, clock, metrics, pulse, me: Me::new(identity), seen: None, lease: None, failing: false }
    }

    /// Stands by and leads, in turns, until `stop`; then gives the Lease back, so that another one leads at once.
    ///
    /// Tells `leads` before anything that lets another one lead, so that it may stop in time.
    pub async fn run(mut self, leads: &watch::Sender<Leadership>, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let config = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
        let mut events = pin!(watcher(self.api.clone(), config).backoff(WatchBackoff::default()));
        let mut listed = false;
        loop {
            match decide(self.seen.as_ref(), &self.me, Instant::now()) {
                Step::Create => self.create().await,
                Step::Acquire | Step::Renew => self.claim(leads).await,
                Step::Lost(loss) => {
                    leads.send_replace(Leadership::Standby);
                    self.me.renewed = None;
                    tracing::warn!(identity = self.me.identity, ?loss, "no longer leads");
                }
                Step::Wait(until) => tokio::select! {
                    biased;
                    () = &mut stop => break,
                    question = self.pulse.asked() => question.answer(self.report()),
                    Some(event) = events.next() => match event {
                        Ok(watcher::Event::Apply(lease)) => self.told(lease),
                        Ok(watcher::Event::Delete(lease)) => self.told_gone(lease.metadata.resource_version.as_deref()),
                        Ok(watcher::Event::Init) => listed = false,
                        Ok(watcher::Event::InitApply(lease)) => {
                            listed = true;
                            self.told(lease);
                        }
                        Ok(watcher::Event::InitDone) if listed => {}
                        Ok(watcher::Event::InitDone) => self.told_gone(None),
                        Err(error) => self.failed("the Lease cannot be watched", &error),
                    },
                    () = sleep_until(until) => {}
                },
            }
        }
        self.release(leads).await;
    }

    fn report(&self) -> Report {
        let state = if self.seen.is_some() { State::Ready } else { State::NotYet("the Lease has not been looked for yet".to_owned()) };
        Report { who: "election".to_owned(), state, phases: Vec::new() }
    }

    fn told(&mut self, lease: Lease) {
        let before = self.seen.clone();
        self.seen =
            Some(Seen::told(self.seen.take(), Some(LeaseFacts::of(&lease)), lease.metadata.resource_version.as_deref(), Instant::now()));
        if self.seen != before {
            self.lease = Some(lease);
        }
    }

    fn told_gone(&mut self, resource_version: Option<&str>) {
        self.seen = Some(Seen::told(self.seen.take(), None, resource_version, Instant::now()));
        if self.seen.as_ref().is_some_and(|seen| seen.lease.is_none()) {
            self.lease = None;
        }
    }

    async fn create(&mut self) {
        let spec = LeaseSpec { lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(), ..LeaseSpec::default() };
        let lease = Lease { metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() }, spec: Some(spec) };
        match self.write(Verb::Create, &lease, Instant::now() + CALL_TIMEOUT).await {
            Ok(lease) => return self.told(lease),
            Err(WriteError::Conflict) => self.read().await,
            Err(error) => self.failed("the Lease cannot be made", &error),
        }
        self.me.tried = Some(Instant::now());
    }

    /// Writes our name into the Lease. The time of leading counts from here, not from the answer.
    async fn claim(&mut self, leads: &watch::Sender<Leadership>) {
        let Some(mut lease) = self.lease.clone() else { return };
        self.put_name_into(&mut lease);
        let sent = Instant::now();
        let limit = self.me.leads_until().map_or(sent + CALL_TIMEOUT, |end| end.min(sent + CALL_TIMEOUT));
        match self.write(Verb::Update, &lease, limit).await {
            Ok(lease) => {
                self.told(lease);
                self.failing = false;
                if self.me.renewed.replace(sent).is_none() {
                    tracing::info!(identity = self.me.identity, "leads");
                }
                if let Some(end) = self.me.leads_until() {
                    leads.send_replace(Leadership::Until(end));
                }
            }
            Err(WriteError::Conflict) => self.read().await,
            Err(error) => self.failed("the Lease cannot be written", &error),
        }
        self.me.tried = Some(Instant::now());
    }

    fn put_name_into(&self, lease: &mut Lease) {
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        let now = MicroTime(self.clock.now());
        if spec.holder_identity.as_deref() != Some(&self.me.identity) {
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions = Some(spec.lease_transitions.map_or(0, |transitions| transitions.saturating_add(1)));
        }
        spec.holder_identity = Some(self.me.identity.clone());
        spec.lease_duration_seconds = i32::try_from(LEASE_DURATION.as_secs()).ok();
        spec.renew_time = Some(now);
    }

    /// Writes the Lease; an update is refused if anybody has written it since it was seen.
    async fn write(&self, verb: Verb, lease: &Lease, limit: Instant) -> Result<Lease, WriteError> {
        let params = PostParams::default();
        let call = async {
            match verb {
                Verb::Create => self.api.create(&params, lease).await,
                Verb::Update => self.api.replace(NAME, &params, lease).await,
            }
        };
        let result = match timeout_at(limit, call).await {
            Err(_) => Err(WriteError::Timeout),
            Ok(Err(kube::Error::Api(status))) if matches!((status.code, verb), (409, _) | (404, Verb::Update)) => Err(WriteError::Conflict),
            Ok(answer) => answer.map_err(WriteError::Api),
        };
        let outcome = match &result {
            Ok(_) => WriteOutcome::Ok,
            Err(WriteError::Conflict) => WriteOutcome::Conflict,
            Err(WriteError::Timeout) => WriteOutcome::Timeout,
            Err(WriteError::Api(_)) => WriteOutcome::Error,
        };
        let verb = match verb {
            Verb::Create => "create",
            Verb::Update => "update",
        };
        self.metrics.wrote(&Write { kind: "Lease", verb, outcome });
        result
    }

    /// After a conflict, because the watch may trail or be silent.
    async fn read(&mut self) {
        match timeout(CALL_TIMEOUT, self.api.get_opt(NAME)).await {
            Ok(Ok(Some(lease))) => self.told(lease),
            Ok(Ok(None)) => self.told_gone(None),
            Ok(Err(error)) => self.failed("the Lease cannot be read", &error),
            Err(_) => self.failed("the Lease cannot be read", &WriteError::Timeout),
        }
    }

    /// Stops leading, then empties the Lease: the others see that by their watch, and need not wait until it ends.
    async fn release(&mut self, leads: &watch::Sender<Leadership>) {
        leads.send_replace(Leadership::Standby);
        self.me.renewed = None;
        // A second time, because a renewal without an answer may have got through.
        for _ in 0..2 {
            let Some(mut lease) = self.lease.clone().filter(|_| self.me.holds(self.seen.as_ref())) else { return };
            if let Some(spec) = &mut lease.spec {
                spec.holder_identity = Some(String::new());
                spec.renew_time = Some(MicroTime(self.clock.now()));
            }
            match self.write(Verb::Update, &lease, Instant::now() + CALL_TIMEOUT).await {
                Ok(_) => {
                    tracing::info!(identity = self.me.identity, "gave the Lease back");
                    return;
                }
                Err(WriteError::Conflict) => self.read().await,
                Err(error) => self.failed("the Lease was not given back", &error),
            }
        }
    }

    fn failed(&mut self, what: &str, error: &dyn std::fmt::Display) {
        if std::mem::replace(&mut self.failing, true) {
            tracing::debug!(identity = self.me.identity, %error, "{what}");
        } else {
            tracing::warn!(identity = self.me.identity, %error, "{what}");
        }
    }
}
