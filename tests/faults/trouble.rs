//! What goes wrong in a run. Everything is a function of the seed, so that a run can be played again.

use std::time::Duration;

use stepgate::sim::{
    cluster::Component,
    fault::{Fault, Rates},
    seed::Seed,
    server::problem::Problem,
};

use crate::pair::Pair;

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Trouble {
    /// To write number `n` of the first controller.
    Write(u64, Fault),
    /// Around that write: it is held up for a moment, and this happens in between.
    Around(u64, Mishap),
    /// This many percent of everything goes wrong, for the first two minutes.
    Weather(f64),
    /// Every watch ends within two seconds.
    ShortWatches,
    /// Two controllers from the start.
    Two,
}

/// Something that happens beside the controller.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mishap {
    /// Watches show nothing new for three seconds.
    Freeze,
    /// Watches show nothing new for three seconds, and the controller dies and comes back in the middle of it.
    FreezeAndCrash,
    /// The log is compacted: every watch has to list again.
    Compact,
    /// A part of the cluster stands still for three seconds.
    Stop(Component),
    /// A second controller comes up and stays.
    Second,
    /// The controller dies and comes back with a clock that is so many seconds ahead.
    Skew(i64),
    /// A pod of this version is deleted.
    DeletePod(&'static str),
    /// A pod of this side is not ready and ready in turns, for six seconds.
    Flap(Side),
    /// A person edits.
    Edit(Edit),
}

/// One of the two sides, as they are at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Live,
    Canary,
}

/// What a person does at the wrong moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    Image(&'static str),
    /// Of a declared pair: the version that is to be live.
    Live(&'static str),
    /// Of a declared pair: the Deployment of this version gets the image of that one.
    ImageOf(&'static str, &'static str),
    /// So many pods of the Deployment of this version.
    Scale(&'static str, u32),
    /// `kubectl apply` of the Service's manifest, with force.
    Selector,
    Unpause,
    Abort,
    Promote,
    DeleteCanary,
    DeleteRollout,
    /// The Rollout is paused for five seconds.
    Hold,
}

/// The faults of a single write.
pub fn of_a_write() -> Vec<Fault> {
    vec![
        Fault::CrashBefore,
        Fault::CrashAfter,
        Fault::LoseAnswer,
        Fault::AnswerInstead(Problem::timeout()),
        Fault::Conflict,
        Fault::Refuse(Problem::too_many_requests()),
        Fault::Refuse(Problem::internal("a fault of the test")),
        Fault::Refuse(Problem::timeout()),
        Fault::Delay(Duration::from_secs(8)),
    ]
}

/// A clock that is off by a time zone.
const HOUR: i64 = 3_600;

/// What may happen around a write without changing how the story ends.
pub fn mishaps() -> Vec<Mishap> {
    use Mishap::*;
    let stops = [Component::Deployments, Component::ReplicaSets, Component::Slices, Component::Proxy, Component::Collector].map(Stop);
    let skews = [3, -3, HOUR, -HOUR].map(Skew);
    let flaps = [Side::Live, Side::Canary].map(Flap);
    [Freeze, FreezeAndCrash, Compact, Second].into_iter().chain(skews).chain(flaps).chain(stops).collect()
}

/// What may happen around a write and may well change how the story ends: it still has to end well.
pub fn edits(pair: Pair) -> Vec<Mishap> {
    use Edit::*;
    let own = match pair {
        Pair::Managed => vec![Image("v1"), Image("v2"), Image("v9"), Scale("v1", 6), Scale("v1", 2), Unpause, DeleteCanary],
        Pair::Declared { .. } => {
            vec![Live("v1"), Live("v2"), ImageOf("v2", "v9"), Scale("v1", 6), Scale("v1", 2), Scale("v2", 6), Scale("v2", 2)]
        }
    };
    let edits = own.into_iter().chain([Selector, Abort, Promote, DeleteRollout, Hold]);
    [Mishap::DeletePod("v1"), Mishap::DeletePod("v2")].into_iter().chain(edits.map(Mishap::Edit)).collect()
}

/// Bad weather: rates for a line.
pub fn weather(percent: f64) -> Rates {
    Rates::all(percent)
}

/// Any troubles at all, from a seed: one to three of them, in a story of so many writes.
pub fn any(seed: &mut Seed, pair: Pair, writes: u64) -> Vec<Trouble> {
    let count = 1 + seed.below(3);
    (0..count)
        .map(|_| {
            let number = 1 + seed.below(writes);
            match seed.below(10) {
                0..4 => Trouble::Write(number, pick(seed, of_a_write())),
                4 | 5 => Trouble::Around(number, pick(seed, mishaps())),
                6 | 7 => Trouble::Around(number, pick(seed, edits(pair))),
                8 => Trouble::Weather(pick(seed, vec![2.0, 5.0, 15.0])),
                _ => pick(seed, vec![Trouble::ShortWatches, Trouble::Two]),
            }
        })
        .collect()
}

fn pick<T>(seed: &mut Seed, mut from: Vec<T>) -> T {
    from.swap_remove(usize::try_from(seed.below(from.len() as u64)).unwrap_or(0))
}

/// Whether the story must end as if nothing had gone wrong.
pub fn keeps_the_end(troubles: &[Trouble]) -> bool {
    troubles.iter().all(|trouble| !matches!(trouble, Trouble::Around(_, Mishap::Edit(_) | Mishap::DeletePod(_))))
}

/// Whether the release may be taken back because of it, rightly: a canary that is not ready has failed, and a clock that is an hour ahead sees
/// an hour without progress where one has just begun.
pub fn may_take_back(troubles: &[Trouble]) -> bool {
    let is_reason = |trouble: &Trouble| matches!(trouble, Trouble::Around(_, Mishap::Flap(Side::Canary) | Mishap::Skew(HOUR)));
    troubles.iter().any(is_reason)
}

/// Whether a wait for an adoption may be over before it has begun, so that the Deployment rolls itself.
pub fn may_roll(troubles: &[Trouble]) -> bool {
    troubles.iter().any(|trouble| matches!(trouble, Trouble::Around(_, Mishap::Skew(HOUR))))
}
