//! Who leads, decided purely from a Lease (`coordination.k8s.io/v1`); `election.rs` reads and writes it.
//!
//! **Guarantee:** as long as monotonic clocks run equally fast to within a third, never two of those that follow these rules lead at
//! once, however late or lost calls and watch events are, and whenever the Lease is deleted. It rests on four rules:
//!
//! 1. Every write carries the resourceVersion that was seen, so it goes through only if nobody else has written since.
//! 2. Who writes leads for [`RENEW_DEADLINE`] from when that write was *sent*: before anybody can have seen it.
//! 3. Somebody else's Lease is over when *we* have not seen it change for its duration, which is longer, on our own monotonic clock.
//!    Wall clocks are written for people to read, and never compared.
//! 4. A Lease that is missing is made, but making it is not taking it: a creation is conditional on no version, and one that comes late
//!    could follow another creation and deletion. A new Lease is waited out like a held one, because its predecessor may have been deleted
//!    under a leader that has not seen it.
//!
//! **Assumption:** nobody else writes a holder into the Lease, or takes one out.
//!
//! **Caveat:** a lease is not a fence. A call that was sent before the deadline may arrive after it, and a machine that is suspended
//! may not count that time. That is why every write of the controller carries the resourceVersion of what it was decided on, too.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use tokio::time::Instant;

use crate::observe::store::order;

/// How long others wait after the last change of the Lease before they take it: the standby has acted within 4 s (design §11).
pub const LEASE_DURATION: Duration = Duration::from_secs(3);
/// How long a renewal is good for, from when it was sent: a third less than [`LEASE_DURATION`], for clocks that differ and for calls on their way.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(2);
/// How long after a renewal the next one is sent.
pub const RENEW_EVERY: Duration = Duration::from_secs(1);
/// How long one call may take: a renewal that gets no answer is tried once more before the deadline.
pub const CALL_TIMEOUT: Duration = Duration::from_millis(450);
/// The pause after a renewal that failed: the deadline is near.
const RENEW_RETRY: Duration = Duration::from_millis(50);
/// The pause after a take-over that failed: the API server may be starting.
const ACQUIRE_RETRY: Duration = Duration::from_millis(500);

/// Who holds a Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// It is new, and nobody has taken it.
    NobodyYet,
    /// Its last holder gave it back.
    Released,
    Named(String),
}

/// What a Lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseFacts {
    pub holder: Holder,
    /// For how long after a change, as its holder promises.
    pub duration: Duration,
}

impl LeaseFacts {
    /// What `lease` says. A duration that is missing is ours.
    pub fn of(lease: &Lease) -> Self {
        let spec = lease.spec.clone().unwrap_or_default();
        let duration = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
        let holder = match spec.holder_identity.filter(|holder| !holder.is_empty()) {
            Some(name) => Holder::Named(name),
            None if spec.renew_time.is_some() => Holder::Released,
            None => Holder::NobodyYet,
        };
        Self { holder, duration: duration.map_or(LEASE_DURATION, Duration::from_secs) }
    }
}

/// The Lease as it was seen last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// None: there is no Lease.
    pub lease: Option<LeaseFacts>,
    /// The version that was told of last; empty where it is not known.
    version: String,
    /// When it was last seen to change, by our own clock.
    pub changed: Instant,
}

impl Seen {
    /// What is known once a watch or an answer has told of a Lease, or of there being none (whose version may not be known).
    ///
    /// A watch that trails does not undo what an answer said; a version that is known already is no change. Any other version is one,
    /// even if its holder only was annotated by somebody: that costs a wait, never a second leader.
    pub fn told(known: Option<Self>, lease: Option<LeaseFacts>, resource_version: Option<&str>, now: Instant) -> Self {
        if let Some(known) = known {
            let stale = resource_version.is_some_and(|version| version == known.version || order(version) < order(&known.version));
            if stale || (known.lease.is_none() && lease.is_none()) {
                return known;
            }
            return Self { lease, version: resource_version.map_or(known.version, str::to_owned), changed: now };
        }
        Self { lease, version: resource_version.unwrap_or_default().to_owned(), changed: now }
    }

    fn is_held_by(&self, identity: &str) -> bool {
        self.lease.as_ref().is_some_and(|lease| matches!(&lease.holder, Holder::Named(name) if name == identity))
    }
}

/// One that leads or wants to.
#[derive(Clone, Debug)]
pub struct Me {
    /// Unique to this process: a Lease that names it was written by it.
    pub identity: String,
    /// When the last write that succeeded was sent; none while not leading.
    pub renewed: Option<Instant>,
    /// When the last attempt to write ended.
    pub tried: Option<Instant>,
}

impl Me {
    /// One that does not lead.
    pub fn new(identity: String) -> Self {
        Self { identity, renewed: None, tried: None }
    }

    /// Until when it leads, unless it renews; none while it does not lead.
    pub fn leads_until(&self) -> Option<Instant> {
        self.renewed.map(|sent| sent + RENEW_DEADLINE)
    }

    /// Whether the Lease names it.
    pub fn holds(&self, seen: Option<&Seen>) -> bool {
        seen.is_some_and(|seen| seen.is_held_by(&self.identity))
    }
}

/// What to do about the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make it, without a name in it. Nobody leads by that.
    Create,
    /// Write our name into it.
    Acquire,
    /// Write our name into it once more.
    Renew,
    /// Nothing until then, or until it is seen to change.
    Wait(Option<Instant>),
    /// Stop leading, at once.
    Lost(Loss),
}

/// Why one that led leads no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The Lease names somebody else, or nobody.
    Displaced,
    /// The Lease was deleted.
    Deleted,
    /// No renewal succeeded in time.
    Late,
}

/// Decides what to do about the Lease. `seen` is none before it was first looked for.
pub fn decide(seen: Option<&Seen>, me: &Me, now: Instant) -> Step {
    match (seen, me.leads_until()) {
        (Some(seen), Some(end)) if seen.is_held_by(&me.identity) => {
            let due = me.renewed.map_or(now, |sent| sent + RENEW_EVERY).max(me.tried.map_or(now, |tried| tried + RENEW_RETRY));
            if now >= end {
                Step::Lost(Loss::Late)
            } else if now >= due {
                Step::Renew
            } else {
                Step::Wait(Some(due.min(end)))
            }
        }
        (Some(Seen { lease: Some(_), .. }), Some(_)) => Step::Lost(Loss::Displaced),
        (_, Some(_)) => Step::Lost(Loss::Deleted),
        (Some(seen), None) => {
            let (free, step) = match &seen.lease {
                None => (seen.changed, Step::Create),
                Some(LeaseFacts { holder: Holder::Released, .. }) => (seen.changed, Step::Acquire),
                // Written by this process, and by nobody since.
                Some(_) if seen.is_held_by(&me.identity) => (seen.changed, Step::Acquire),
                Some(LeaseFacts { duration, .. }) => (seen.changed + *duration, Step::Acquire),
            };
            let due = me.tried.map_or(free, |tried| free.max(tried + ACQUIRE_RETRY));
            if now >= due { step } else { Step::Wait(Some(due)) }
        }
        (None, None) => Step::Wait(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Milliseconds after a common start.
    type Millis = u64;

    const ME: &str = "me";
    const NEW: &str = "nobody yet";

    fn lease(holder: &str, seconds: u64) -> LeaseFacts {
        let holder = match holder {
            "" => Holder::Released,
            NEW => Holder::NobodyYet,
            name => Holder::Named(name.to_owned()),
        };
        LeaseFacts { holder, duration: Duration::from_secs(seconds) }
    }

    fn at(start: Instant, millis: Millis) -> Instant {
        start + Duration::from_millis(millis)
    }

    /// The Lease and when it changed; when our last success was sent; when our last attempt ended; now.
    type Row = (Option<(Option<LeaseFacts>, Millis)>, Option<Millis>, Option<Millis>, Millis, Expected);

    #[derive(Debug)]
    enum Expected {
        Create,
        Acquire,
        Renew,
        WaitUntil(Millis),
        Wait,
        Lost(Loss),
    }
    use Expected::{Acquire, Create, Lost, Renew, Wait, WaitUntil};

    #[test]
    fn each_situation_has_one_step() {
        let rows: Vec<(&str, Row)> = vec![
            ("nothing is known yet", (None, None, None, 9_000, Wait)),
            ("no Lease", (Some((None, 100)), None, None, 100, Create)),
            ("no Lease, and making it failed", (Some((None, 0)), None, Some(100), 100, WaitUntil(600))),
            (
                "a new Lease: another one may just have been deleted",
                (Some((Some(lease(NEW, 3)), 100)), None, None, 3_099, WaitUntil(3_100)),
            ),
            ("a new Lease that nobody took", (Some((Some(lease(NEW, 3)), 100)), None, None, 3_100, Acquire)),
            ("released", (Some((Some(lease("", 3)), 1_000)), None, None, 1_000, Acquire)),
            ("held by another", (Some((Some(lease("other", 3)), 1_000)), None, None, 3_999, WaitUntil(4_000))),
            ("not seen to change for its duration", (Some((Some(lease("other", 3)), 1_000)), None, None, 4_000, Acquire)),
            ("its holder promises more than we would", (Some((Some(lease("other", 15)), 0)), None, None, 14_999, WaitUntil(15_000))),
            ("names us, but we had lost it: nobody else can have it", (Some((Some(lease(ME, 3)), 0)), None, None, 100, Acquire)),
            ("a take-over failed", (Some((Some(lease("", 3)), 0)), None, Some(100), 599, WaitUntil(600))),
            ("a take-over failed a while ago", (Some((Some(lease("", 3)), 0)), None, Some(100), 600, Acquire)),
            ("renewed", (Some((Some(lease(ME, 3)), 10)), Some(0), Some(10), 999, WaitUntil(1_000))),
            ("to be renewed", (Some((Some(lease(ME, 3)), 10)), Some(0), Some(10), 1_000, Renew)),
            ("a renewal failed", (Some((Some(lease(ME, 3)), 10)), Some(0), Some(1_450), 1_450, WaitUntil(1_500))),
            ("to be tried again", (Some((Some(lease(ME, 3)), 10)), Some(0), Some(1_450), 1_500, Renew)),
            ("no time is left to try again", (Some((Some(lease(ME, 3)), 10)), Some(0), Some(1_980), 1_980, WaitUntil(2_000))),
            (
                "not renewed in time, counted from the sending",
                (Some((Some(lease(ME, 3)), 10)), Some(0), Some(1_980), 2_000, Lost(Loss::Late)),
            ),
            ("another one has it", (Some((Some(lease("other", 3)), 500)), Some(0), Some(10), 500, Lost(Loss::Displaced))),
            ("somebody emptied it", (Some((Some(lease("", 3)), 500)), Some(0), Some(10), 500, Lost(Loss::Displaced))),
            ("deleted under us", (Some((None, 500)), Some(0), Some(10), 500, Lost(Loss::Deleted))),
        ];
        let start = Instant::now();
        for (name, (seen, renewed, tried, now, expected)) in rows {
            let seen = seen.map(|(lease, changed)| Seen { lease, version: String::new(), changed: at(start, changed) });
            let me = Me {
                identity: ME.to_owned(),
                renewed: renewed.map(|millis| at(start, millis)),
                tried: tried.map(|millis| at(start, millis)),
            };
            let expected = match expected {
                Create => Step::Create,
                Acquire => Step::Acquire,
                Renew => Step::Renew,
                WaitUntil(millis) => Step::Wait(Some(at(start, millis))),
                Wait => Step::Wait(None),
                Lost(loss) => Step::Lost(loss),
            };
            assert_eq!(decide(seen.as_ref(), &me, at(start, now)), expected, "{name}");
        }
    }

    #[test]
    fn only_another_version_is_a_change() {
        let start = Instant::now();
        let told = |known: &Seen, lease: Option<LeaseFacts>, version: Option<&str>| {
            Seen::told(Some(known.clone()), lease, version, at(start, 500))
        };
        let known = Seen::told(None, Some(lease("a", 3)), Some("9"), start);
        assert_eq!(told(&known, Some(lease("a", 3)), Some("9")), known, "the same again, as after a new list");
        assert_eq!(told(&known, Some(lease("b", 3)), Some("8")), known, "a watch that trails");
        assert_eq!(told(&known, Some(lease("a", 3)), Some("10")).changed, at(start, 500), "a renewal");
        assert_eq!(told(&known, None, Some("8")), known, "the removal of its predecessor");
        let gone = told(&known, None, None);
        assert_eq!((gone.lease.as_ref(), gone.changed), (None, at(start, 500)), "a list without it");
        assert_eq!(Seen::told(Some(gone.clone()), None, Some("11"), at(start, 900)).changed, gone.changed, "gone already");
    }

    #[test]
    fn what_a_lease_does_not_say_is_assumed() {
        let facts = |spec: serde_json::Value| LeaseFacts::of(&serde_json::from_value(serde_json::json!({"spec": spec})).unwrap());
        assert_eq!(facts(serde_json::json!({"holderIdentity": ""})), LeaseFacts { holder: Holder::NobodyYet, duration: LEASE_DURATION });
        assert_eq!(LeaseFacts::of(&Lease::default()), LeaseFacts { holder: Holder::NobodyYet, duration: LEASE_DURATION });
        assert_eq!(facts(serde_json::json!({"renewTime": "2026-11-21T10:00:00.000000Z"})).holder, Holder::Released);
        assert_eq!(facts(serde_json::json!({"holderIdentity": "a", "leaseDurationSeconds": 15})).duration, Duration::from_secs(15));
    }

    /// Design §11: a standby has acted within 4 s of a kill. One renewal may have been written just before it.
    #[test]
    fn the_numbers_leave_room_for_what_they_have_to() {
        assert!(RENEW_EVERY + CALL_TIMEOUT + RENEW_RETRY + CALL_TIMEOUT < RENEW_DEADLINE, "a second attempt fits in");
        assert!(RENEW_DEADLINE * 3 <= LEASE_DURATION * 2, "a third for clocks and calls on their way");
    }
}
