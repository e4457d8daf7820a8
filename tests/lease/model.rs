//! The pure decision in a world of arbitrary delays.
//!
//! Each elector has a clock of its own speed, can be frozen (a process that is stopped still believes what it believed), restarted or told
//! to end; its calls may arrive late, out of order or never, their answers too, and so may what the watch tells it.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use stepgate::{
    lease::rules::{CALL_TIMEOUT, Holder, LEASE_DURATION, LeaseFacts, Me, Seen, Step, decide},
    sim::seed::Seed,
};
use tokio::time::Instant;

const ELECTORS: usize = 3;
/// Microseconds of the world's clock.
type Micros = u64;
const SECOND: Micros = 1_000_000;
/// When faults end; after it the world comes to rest.
const CALM: Micros = 60 * SECOND;

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The process stands still for so many milliseconds.
    Freeze(u64),
    /// Its messages are lost for so many milliseconds.
    CutOff(u64),
    /// The process is killed; another one takes its place.
    Restart,
    /// It is told to end, gives the Lease back, and another one takes its place.
    Release,
    /// Somebody deletes the Lease.
    Delete,
}

/// The Lease on the server: its version, and its holder if it exists.
#[derive(Clone, Debug)]
struct Record {
    version: u64,
    holder: Option<Holder>,
}

#[derive(Debug)]
enum Message {
    Wake,
    /// A write comes to the server, on condition that the Lease has this version (none: does not exist).
    Arrive {
        call: u64,
        version: Option<u64>,
        holder: Holder,
    },
    /// The answer: whether it was done, and the Lease as it is.
    Answer {
        call: u64,
        done: bool,
        record: Record,
    },
    GiveUp {
        call: u64,
    },
    Told(Record),
    Fault(Fault),
}

struct Elector {
    me: Me,
    seen: Option<Seen>,
    /// The version that the next write is conditional on.
    known: Option<u64>,
    until: Option<Instant>,
    /// The call that is open, when it was sent, and whether it is to make a leader.
    call: Option<(u64, Instant, bool)>,
    /// Speed of its clock in percent.
    speed: u64,
    frozen: Micros,
    cut_off: Micros,
    told: Micros,
}

struct Model {
    base: Instant,
    seed: Seed,
    now: Micros,
    queue: BTreeMap<(Micros, u64), (usize, Message)>,
    count: u64,
    /// The version of the last change; none is repeated.
    version: u64,
    record: Record,
    electors: Vec<Elector>,
}

fn facts(record: &Record) -> Option<LeaseFacts> {
    record.holder.clone().map(|holder| LeaseFacts { holder, duration: LEASE_DURATION })
}

impl Model {
    fn new(seed: u64, speeds: [u64; ELECTORS], faults: &[(Micros, usize, Fault)]) -> Self {
        let elector = |speed| Elector {
            me: Me::new(String::new()),
            seen: None,
            known: None,
            until: None,
            call: None,
            speed,
            frozen: 0,
            cut_off: 0,
            told: 0,
        };
        let mut model = Self {
            base: Instant::now(),
            seed: Seed::new(seed),
            now: 0,
            queue: BTreeMap::new(),
            count: 0,
            version: 0,
            record: Record { version: 0, holder: None },
            electors: speeds.into_iter().map(elector).collect(),
        };
        (0..ELECTORS).for_each(|who| model.restart(who));
        for (at, who, fault) in faults {
            model.send(*at, *who, Message::Fault(*fault));
        }
        model
    }

    fn send(&mut self, at: Micros, who: usize, message: Message) {
        self.count += 1;
        self.queue.insert((at, self.count), (who, message));
    }

    /// What an elector's own clock shows.
    fn local(&self, who: usize) -> Instant {
        self.base + Duration::from_micros(self.now * self.electors[who].speed / 100)
    }

    /// When an elector's own clock will show that.
    fn when(&self, who: usize, at: Instant) -> Micros {
        let micros = u64::try_from(at.saturating_duration_since(self.base).as_micros()).unwrap();
        (micros * 100).div_ceil(self.electors[who].speed).max(self.now)
    }

    /// Mostly milliseconds, sometimes seconds; none for a message that is lost.
    fn delay(&mut self, who: usize) -> Option<Micros> {
        if self.now < self.electors[who].cut_off {
            return None;
        }
        let bad = self.now < CALM;
        match self.seed.below(100) {
            0..8 if bad => None,
            8..20 if bad => Some(self.seed.below(6 * SECOND)),
            20..40 if bad => Some(self.seed.below(SECOND)),
            _ => Some(1_000 + self.seed.below(10_000)),
        }
    }

    fn restart(&mut self, who: usize) {
        self.count += 1;
        let elector = &mut self.electors[who];
        elector.me = Me::new(format!("{who}-{}", self.count));
        (elector.seen, elector.known, elector.until, elector.call) = (None, None, None, None);
        (elector.frozen, elector.told) = (self.now, self.now);
        self.tell(who);
        self.send(self.now, who, Message::Wake);
    }

    /// The watch of one elector tells of the Lease as it is now: in order, but whenever it likes. A watch that breaks comes again.
    fn tell(&mut self, who: usize) {
        let delay = self.delay(who).unwrap_or(8 * SECOND).max(self.electors[who].cut_off.saturating_sub(self.now));
        let at = self.electors[who].told.max(self.now + delay);
        self.electors[who].told = at;
        self.send(at, who, Message::Told(self.record.clone()));
    }

    fn change(&mut self, holder: Option<Holder>) {
        self.version += 1;
        self.record = Record { version: self.version, holder };
        (0..ELECTORS).for_each(|who| self.tell(who));
    }

    fn see(&mut self, who: usize, record: &Record) {
        let now = self.local(who);
        let elector = &mut self.electors[who];
        let before = elector.seen.clone();
        elector.seen = Some(Seen::told(elector.seen.take(), facts(record), Some(&record.version.to_string()), now));
        if elector.seen != before {
            elector.known = record.holder.as_ref().map(|_| record.version);
        }
    }

    fn write(&mut self, who: usize, holder: Holder) -> u64 {
        self.count += 1;
        let (call, version) = (self.count, self.electors[who].known);
        if let Some(delay) = self.delay(who) {
            self.send(self.now + delay, who, Message::Arrive { call, version, holder });
        }
        call
    }

    /// What the loop of an elector does until it has to wait.
    fn turn(&mut self, who: usize) {
        while self.electors[who].call.is_none() {
            let now = self.local(who);
            let elector = &mut self.electors[who];
            match decide(elector.seen.as_ref(), &elector.me, now) {
                step @ (Step::Create | Step::Acquire | Step::Renew) => {
                    let limit = elector.me.leads_until().map_or(now + CALL_TIMEOUT, |end| end.min(now + CALL_TIMEOUT));
                    let claims = step != Step::Create;
                    let holder = if claims { Holder::Named(elector.me.identity.clone()) } else { Holder::NobodyYet };
                    let call = self.write(who, holder);
                    self.electors[who].call = Some((call, now, claims));
                    self.send(self.when(who, limit), who, Message::GiveUp { call });
                }
                Step::Lost(_) => (elector.until, elector.me.renewed) = (None, None),
                Step::Wait(Some(at)) => {
                    let at = self.when(who, at).max(self.now + 1);
                    return self.send(at, who, Message::Wake);
                }
                Step::Wait(None) => return,
            }
        }
    }

    fn handle(&mut self, who: usize, message: Message) {
        // The server and the outer world are never frozen.
        match message {
            Message::Arrive { call, version, holder } => {
                let done = version == self.record.holder.as_ref().map(|_| self.record.version);
                if done {
                    self.change(Some(holder));
                }
                if let Some(delay) = self.delay(who) {
                    self.send(self.now + delay, who, Message::Answer { call, done, record: self.record.clone() });
                }
                return;
            }
            Message::Fault(Fault::Delete) => {
                if self.record.holder.is_some() {
                    self.change(None);
                }
                return;
            }
            Message::Fault(Fault::Freeze(millis)) => return self.electors[who].frozen = self.now + millis * 1_000,
            Message::Fault(Fault::CutOff(millis)) => return self.electors[who].cut_off = self.now + millis * 1_000,
            Message::Fault(Fault::Restart) => return self.restart(who),
            _ => {}
        }
        if self.now < self.electors[who].frozen {
            return self.send(self.electors[who].frozen, who, message);
        }
        let now = self.local(who);
        match message {
            Message::Fault(Fault::Release) => {
                if self.electors[who].me.holds(self.electors[who].seen.as_ref()) {
                    self.electors[who].until = None;
                    self.write(who, Holder::Released);
                }
                return self.restart(who);
            }
            Message::Answer { call, done, record } => {
                let Some((_, sent, claims)) = self.electors[who].call.take_if(|(open, ..)| *open == call) else { return };
                self.see(who, &record);
                let elector = &mut self.electors[who];
                elector.me.tried = Some(now);
                if done && claims {
                    elector.me.renewed = Some(sent);
                    elector.until = elector.me.leads_until();
                }
            }
            Message::GiveUp { call } => {
                let elector = &mut self.electors[who];
                if elector.call.take_if(|(open, ..)| *open == call).is_none() {
                    return;
                }
                elector.me.tried = Some(now);
            }
            Message::Told(record) => self.see(who, &record),
            _ => {}
        }
        self.turn(who);
    }

    fn leaders(&self) -> Vec<usize> {
        // A frozen process counts: it may write as soon as it runs again.
        (0..ELECTORS).filter(|who| self.electors[*who].until.is_some_and(|until| self.local(*who) < until)).collect()
    }

    /// Runs to the end; how many changes of leader it saw.
    fn run(mut self, end: Micros) -> Result<usize, TestCaseError> {
        let (mut changes, mut last) = (0, None);
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((at, _), (who, message)) = entry.remove_entry();
            self.now = self.now.max(at);
            self.handle(who, message);
            let leaders = self.leaders();
            prop_assert!(leaders.len() <= 1, "{leaders:?} lead at {} ms", self.now / 1_000);
            if leaders.first().is_some_and(|leader| last != Some(*leader)) {
                (changes, last) = (changes + 1, leaders.first().copied());
            }
        }
        prop_assert_eq!(self.leaders().len(), 1, "nobody leads at rest");
        Ok(changes)
    }
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        (0..9_000u64).prop_map(Fault::Freeze),
        (0..9_000u64).prop_map(Fault::CutOff),
        Just(Fault::Restart),
        Just(Fault::Release),
        Just(Fault::Delete)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    // design §8.7
    #[test]
    fn two_never_lead_at_once(
        seed: u64,
        speeds in [85..115u64, 85..115u64, 85..115u64],
        faults in prop::collection::vec((0..CALM, 0..ELECTORS, fault()), 0..40),
    ) {
        Model::new(seed, speeds, &faults).run(CALM + 30 * SECOND)?;
    }
}

#[test]
fn the_model_sees_many_changes_of_leader() {
    let changes: usize = (0..50)
        .map(|seed| {
            let mut faults = Seed::new(seed).fork("faults");
            let faults: Vec<_> = (0..20).map(|i| (i * 3 * SECOND, usize::try_from(faults.below(3)).unwrap(), Fault::Restart)).collect();
            Model::new(seed, [100; ELECTORS], &faults).run(CALM + 30 * SECOND).unwrap()
        })
        .sum();
    assert!(changes > 150, "{changes}: the property would hold for lack of events");
}
