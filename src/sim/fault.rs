//! What may go wrong between one client and the server, and a record of everything that went over.
//!
//! Each client has a [`Line`]. It numbers the client's writes from 1, draws faults from a seed, carries out planned ones, and can cut the
//! client off before or after any write, as a crash would. Two runs with the same seed and the same requests meet the same faults.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::watch;

use super::{
    clock::after,
    seed::Seed,
    server::{problem::Problem, request::Request},
};

/// How often each fault happens, in percent of the requests it can happen to.
#[derive(Clone, Debug)]
pub struct Rates {
    /// 429, nothing done.
    pub too_many_requests: f64,
    /// 500, nothing done.
    pub internal: f64,
    /// 504, nothing done.
    pub timeout: f64,
    /// Done, but the answer is lost: the connection breaks or a 504 comes instead.
    pub lost_answer: f64,
    /// Somebody writes the object a moment before: a write that is guarded by its version answers 409.
    pub conflict: f64,
    /// The request takes up to [`Rates::longest_delay`].
    pub delay: f64,
    pub longest_delay: Duration,
    /// The watch ends within [`Rates::longest_watch`], cleanly or not.
    pub dropped_watch: f64,
    pub longest_watch: Duration,
    /// The watch is behind by up to [`Rates::longest_lag`].
    pub stale_watch: f64,
    pub longest_lag: Duration,
}

impl Rates {
    /// Nothing goes wrong.
    pub const NONE: Self = Self {
        too_many_requests: 0.0,
        internal: 0.0,
        timeout: 0.0,
        lost_answer: 0.0,
        conflict: 0.0,
        delay: 0.0,
        longest_delay: Duration::from_secs(2),
        dropped_watch: 0.0,
        longest_watch: Duration::from_secs(60),
        stale_watch: 0.0,
        longest_lag: Duration::from_secs(5),
    };

    /// A bad day: every fault in `percent` of the cases.
    pub fn all(percent: f64) -> Self {
        Self {
            too_many_requests: percent,
            internal: percent,
            timeout: percent,
            lost_answer: percent,
            conflict: percent,
            delay: percent,
            dropped_watch: percent,
            stale_watch: percent,
            ..Self::NONE
        }
    }
}

/// One fault, to be planned for a certain write.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// This answer, nothing done.
    Refuse(Problem),
    /// Done, but the connection breaks before the answer.
    LoseAnswer,
    /// Done, but the answer is this.
    AnswerInstead(Problem),
    /// Somebody else writes the object first.
    Conflict,
    /// It takes this long, half of it before it is done.
    Delay(Duration),
    /// The client is cut off, nothing done. It never hears anything again.
    CrashBefore,
    /// Done, and the client is cut off.
    CrashAfter,
}

/// A request that went over a line.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub at: Timestamp,
    /// Number of the write; reads, watches and dry runs have none.
    pub write: Option<u64>,
    pub method: String,
    pub path: String,
    pub body: String,
    /// The status of the answer, or 0 where none was given.
    pub code: u16,
}

/// The line between one client and the server. Clones are the same line.
#[derive(Clone, Debug)]
pub struct Line {
    state: Arc<Mutex<State>>,
    cut: Arc<watch::Sender<bool>>,
}

#[derive(Debug)]
struct State {
    seed: Seed,
    rates: Rates,
    latency: (Duration, Duration),
    planned: BTreeMap<u64, Fault>,
    writes: u64,
    records: Vec<Record>,
    /// While set, watches show nothing that happened later.
    frozen: Option<Timestamp>,
}

/// What happens to one request.
#[derive(Debug)]
pub(super) struct Fate {
    pub before: Duration,
    pub after: Duration,
    pub fault: Option<Fault>,
    pub record: usize,
}

/// What happens to one watch.
#[derive(Debug)]
pub(super) struct WatchFate {
    pub lag: Duration,
    /// When it breaks, and whether cleanly.
    pub cut: Option<(Timestamp, bool)>,
}

impl Line {
    /// A good line: one to three milliseconds each way, no faults.
    pub fn new(seed: u64) -> Self {
        let state = State {
            seed: Seed::new(seed).fork("line"),
            rates: Rates::NONE,
            latency: (Duration::from_millis(1), Duration::from_millis(3)),
            planned: BTreeMap::new(),
            writes: 0,
            records: Vec::new(),
            frozen: None,
        };
        Self { state: Arc::new(Mutex::new(state)), cut: Arc::new(watch::Sender::new(false)) }
    }

    /// The same line with these rates from now on.
    #[must_use]
    pub fn with_rates(self, rates: Rates) -> Self {
        self.lock().rates = rates;
        self
    }

    /// The same line with this time each way from now on.
    #[must_use]
    pub fn with_latency(self, least: Duration, most: Duration) -> Self {
        self.lock().latency = (least, most);
        self
    }

    /// Changes the rates: zero them to let a run come to rest.
    pub fn set_rates(&self, rates: Rates) {
        self.lock().rates = rates;
    }

    /// Plans a fault for write number `write`, counted from 1.
    pub fn plan(&self, write: u64, fault: Fault) {
        self.lock().planned.insert(write, fault);
    }

    /// Writes so far, failed ones included.
    pub fn writes(&self) -> u64 {
        self.lock().writes
    }

    /// Everything that went over, in order.
    pub fn records(&self) -> Vec<Record> {
        self.lock().records.clone()
    }

    /// Forgets the records (not the numbering).
    pub fn clear_records(&self) {
        self.lock().records.clear();
    }

    /// Holds back all events from `now` on, bookmarks included, until [`Line::thaw`].
    pub fn freeze(&self, now: Timestamp) {
        self.lock().frozen = Some(now);
    }

    /// Lets held-back events through.
    pub fn thaw(&self) {
        self.lock().frozen = None;
        self.cut.send_modify(|_| {});
    }

    /// Cuts the client off now: nothing more is done for it, and it hears nothing more.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Whether the client has been cut off.
    pub fn is_cut(&self) -> bool {
        *self.cut.borrow()
    }

    /// Waits until the client is cut off: the moment to drop it, as a crash would.
    pub async fn crashed(&self) {
        let mut cut = self.cut.subscribe();
        // Cannot fail: the sender lives as long as this line.
        drop(cut.wait_for(|cut| *cut).await);
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<bool> {
        self.cut.subscribe()
    }

    pub(super) fn frozen(&self) -> Option<Timestamp> {
        self.lock().frozen
    }

    pub(super) fn request(&self, now: Timestamp, request: &Request) -> Fate {
        let state = &mut *self.lock();
        let write = request.is_write().then(|| {
            state.writes += 1;
            state.writes
        });
        let (mut before, mut after) = (state.seed.between(state.latency), state.seed.between(state.latency));
        let fault = write.and_then(|number| state.planned.remove(&number)).or_else(|| state.draw(write.is_some()));
        if let Some(Fault::Delay(delay)) = &fault {
            before += *delay / 2;
            after += *delay / 2;
        }
        state.records.push(Record {
            at: now,
            write,
            method: request.method.clone(),
            path: request.path.clone(),
            body: String::from_utf8_lossy(&request.body).into_owned(),
            code: 0,
        });
        Fate { before, after, fault, record: state.records.len() - 1 }
    }

    pub(super) fn answered(&self, record: usize, code: u16) {
        if let Some(record) = self.lock().records.get_mut(record) {
            record.code = code;
        }
    }

    pub(super) fn watch(&self, now: Timestamp) -> WatchFate {
        let state = &mut *self.lock();
        let lag = if state.seed.chance(state.rates.stale_watch) {
            state.seed.between((Duration::ZERO, state.rates.longest_lag))
        } else {
            state.seed.between(state.latency)
        };
        let cut = state.seed.chance(state.rates.dropped_watch).then(|| {
            let length = state.seed.between((Duration::from_millis(1), state.rates.longest_watch));
            (after(now, length), state.seed.chance(50.0))
        });
        WatchFate { lag, cut }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn draw(&mut self, write: bool) -> Option<Fault> {
        let Rates { too_many_requests, internal, timeout, lost_answer, conflict, delay, longest_delay, .. } = self.rates;
        let seed = &mut self.seed;
        if seed.chance(too_many_requests) {
            Some(Fault::Refuse(Problem::too_many_requests()))
        } else if seed.chance(internal) {
            Some(Fault::Refuse(Problem::internal("a fault of the simulation")))
        } else if seed.chance(timeout) {
            Some(Fault::Refuse(Problem::timeout()))
        } else if seed.chance(lost_answer) {
            Some(if seed.chance(50.0) { Fault::LoseAnswer } else { Fault::AnswerInstead(Problem::timeout()) })
        } else if write && seed.chance(conflict) {
            Some(Fault::Conflict)
        } else if seed.chance(delay) {
            Some(Fault::Delay(seed.between((Duration::ZERO, longest_delay))))
        } else {
            None
        }
    }
}
