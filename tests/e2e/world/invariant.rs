//! Design section 8, checked on every write of a run.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::{Duration, Instant},
};

use serde_json::Value;
use stepgate::api::{
    RolloutStatus,
    status::{Outcome, Phase},
};

use super::{
    objects::{HELLO, Kind, VERSION, World, is_worker, text, versions},
    ownership,
    timeline::{Change, Timeline},
};

/// How long a state may last that is over as soon as two writes have followed each other.
const PASSING: Duration = Duration::from_secs(1);

/// How long a roll-out of the Deployment's own may be in the endpoints before it is caught, on a machine that is busy with four scenarios.
const CAUGHT: Duration = Duration::from_secs(2);

/// How long a count of a queue worker's pods may be out of date: it is written down once it has lasted for two seconds.
const COUNTED: Duration = Duration::from_secs(3);

/// How long pods may take to start that the scenario has asked for.
const STARTED: Duration = Duration::from_secs(15);

/// What the scenario does itself, so that it cannot be held against the controller.
#[derive(Clone, Debug, Default)]
pub struct Allowance {
    /// The scenario makes pods unready, deletes them, scales, or starts pods that fail: their number and identity may change.
    pub pods_change: bool,
    /// The scenario asks for steps to be skipped.
    pub steps_skipped: bool,
    /// The scenario removes or breaks the Service.
    pub service_breaks: bool,
    /// No admission policy acts: a roll-out of the Deployment's own, or a tool that takes a pin away, is caught only once it is seen.
    pub unguarded: bool,
    /// Besides, nobody is there to see it.
    pub unwatched: bool,
    /// The API server is away at times: the witness misses versions of objects, and hears of some objects before others.
    pub gaps: bool,
}

/// One write, with the world before and after it.
pub(super) struct Moment {
    pub change: Change,
    pub before: Rc<World>,
    pub after: Rc<World>,
    /// The Rollout's status after the write.
    pub status: Rc<RolloutStatus>,
    /// Whether the versions are Deployments of the user's own; so they stay when the Rollout is gone.
    pub declared: bool,
    /// Whether the Rollout has no Services: a queue worker, whose pods work as soon as they are ready.
    pub worker: bool,
}

/// Everything that should not have happened, one sentence each; empty after a good run.
pub fn violations(timeline: &Timeline, allowance: &Allowance) -> Vec<String> {
    let moments = replay(timeline);
    let mut found = Vec::new();
    let mut look = |rule: &str, seen: Vec<(Instant, String)>| {
        found.extend(seen.into_iter().map(|(at, words)| {
            let at = at.duration_since(timeline.started_at).as_secs_f64();
            format!("{at:8.3}s {rule}: {words}")
        }));
    };
    if !allowance.service_breaks {
        look("a Service without endpoints (8.2)", lasting(&moments, PASSING, no_endpoints));
        look("too few pods selected (8.2)", each(&moments, |moment| small_selection(moment, allowance)));
    }
    let starved = |limit: Duration| lasting(&moments, limit, too_little_work);
    look(
        "too few pods at work (8.2)",
        if allowance.pods_change || allowance.unguarded { starved(STARTED) } else { starved(Duration::ZERO) },
    );
    // What the Service of a declared pair selects before it names a version for the first time, its owner wrote.
    let named = moments.iter().position(|moment| moment.declared && moment.after.selector(HELLO).contains_key(VERSION));
    look("more than two revisions (8.4)", lasting(&moments[named.unwrap_or(0)..], PASSING, third_revision));
    let untested = match (allowance.unguarded, allowance.unwatched) {
        (true, true) => Vec::new(),
        (true, false) => lasting(&moments, CAUGHT, untested_traffic),
        (false, _) if allowance.gaps => lasting(&moments, CAUGHT, untested_traffic),
        (false, _) => each(&moments, untested_traffic),
    };
    look("traffic before the gates or after a failure (8.3)", untested);
    // Without the policies another tool may write the selector at the very moment at which the status is written.
    let shown = |rule: fn(&Moment) -> Option<String>| match (allowance.gaps, allowance.unguarded) {
        (true, _) => lasting(&moments, CAUGHT, rule),
        (false, true) => lasting(&moments, PASSING, rule),
        (false, false) => each(&moments, rule),
    };
    look("hold before confirmation (8.6)", shown(hold_unconfirmed));
    // Pods of a queue worker come and go while the status is on its way.
    let is_worker = moments.last().is_some_and(|moment| moment.worker);
    let routed = if is_worker { lasting(&moments, COUNTED, routed_untrue) } else { shown(routed_untrue) };
    look("a status that is not so (8.8)", routed);
    look("a status that is not so (8.8)", each(&moments, conditions_untrue));
    look("phases out of order", each(&moments, phase_out_of_order));
    if !allowance.steps_skipped {
        look("steps out of order", each(&moments, step_out_of_order));
    }
    look("foreign fields written (8.5)", each(&moments, ownership::foreign_field));
    look("a write that changes nothing", each(&moments, ownership::pointless_write));
    if !allowance.unguarded {
        look("the same write again and again", ownership::loops(&moments));
    }
    if !allowance.pods_change {
        look("promoted pods restarted (8.5)", restarted(&moments));
    }
    found
}

fn replay(timeline: &Timeline) -> Vec<Moment> {
    let mut world = Rc::new(World::default());
    let mut status = Rc::new(RolloutStatus::default());
    let rollout = timeline.first(Kind::Rollout, HELLO);
    let declared = rollout.is_some_and(|rollout| !versions(rollout).is_empty());
    let worker = rollout.is_some_and(is_worker);
    let step = |change: Change| {
        let before = world.clone();
        let mut after = World::clone(&world);
        after.put(change.kind, &change.name, change.object.clone());
        if change.kind == Kind::Rollout && change.name == HELLO {
            status = Rc::new(after.status(HELLO));
        }
        world = Rc::new(after);
        Moment { change, before, after: world.clone(), status: status.clone(), declared, worker }
    };
    timeline.in_order().into_iter().map(step).collect()
}

fn each(moments: &[Moment], rule: impl Fn(&Moment) -> Option<String>) -> Vec<(Instant, String)> {
    let mut found: Vec<(Instant, String)> = moments.iter().filter_map(|moment| Some((moment.change.at, rule(moment)?))).collect();
    found.dedup_by(|a, b| a.1 == b.1);
    found
}

/// States that must not last longer than this.
fn lasting(moments: &[Moment], limit: Duration, rule: impl Fn(&Moment) -> Option<String>) -> Vec<(Instant, String)> {
    let mut found = Vec::new();
    let mut open: Option<(Instant, String)> = None;
    for moment in moments {
        match (rule(moment), &open) {
            (Some(words), None) => open = Some((moment.change.at, words)),
            (None, Some((since, words))) => {
                let lasted = moment.change.at.duration_since(*since);
                if lasted > limit {
                    found.push((*since, format!("{words}, for {lasted:.1?}")));
                }
                open = None;
            }
            _ => {}
        }
    }
    found.extend(open.map(|(since, words)| (since, format!("{words}, to the end"))));
    found
}

fn pair() -> BTreeMap<String, String> {
    BTreeMap::from([("app".to_owned(), HELLO.to_owned())])
}

// design §8.2
fn no_endpoints(moment: &Moment) -> Option<String> {
    let ready = moment.after.ready_pods(&pair());
    let known = moment.status.stable.is_some() && moment.after.get(Kind::Service, HELLO).is_some();
    (known && moment.after.endpoints(HELLO).is_empty() && !ready.is_empty())
        .then(|| format!("no endpoint while {} pods are ready", ready.len()))
}

// design §8.2
fn small_selection(moment: &Moment, allowance: &Allowance) -> Option<String> {
    let Moment { change, before, after, status, .. } = moment;
    let selector = after.selector(HELLO);
    if change.kind != Kind::Service || change.name != HELLO || before.selector(HELLO) == selector || selector.is_empty() {
        return None;
    }
    let stable = status.stable.as_ref()?;
    let selectable = after.ready_pods(&pair()).len();
    // A way back waits for nothing: the live side serves with what it has.
    let (back, size) = if stable.name.is_empty() {
        (selector.get(stepgate::api::POD_TEMPLATE_HASH) == Some(&stable.hash), after.size(HELLO))
    } else {
        (selector.get(VERSION) == after.version(&stable.name).as_ref(), after.size(&stable.name))
    };
    let least = if back || allowance.pods_change { selectable.min(1) } else { selectable.min(size) };
    let selected = after.ready_pods(&selector).len();
    (selected < least).then(|| format!("{selector:?} selects {selected} ready pods, at least {least} were there to be selected"))
}

// design §8.2: without Services as many pods work as their owner asks for
fn too_little_work(moment: &Moment) -> Option<String> {
    let known = moment.worker && moment.status.stable.is_some();
    let (ready, size) = (moment.after.ready_pods(&pair()).len(), moment.after.size(HELLO));
    (known && ready < size).then(|| format!("{ready} of {size} pods work"))
}

// design §8.4
fn third_revision(moment: &Moment) -> Option<String> {
    let world = &moment.after;
    if moment.declared {
        return third_version(moment);
    }
    let templates: BTreeSet<String> =
        world.live_pods(&pair()).filter_map(|pod| world.template(pod)).map(|template| template.to_string()).collect();
    (templates.len() > 2).then(|| format!("pods of {} templates", templates.len()))
}

// design §8.3: however many versions of a declared pair run, two have clients
fn third_version(moment: &Moment) -> Option<String> {
    let Moment { after, status, .. } = moment;
    let two = [Some(status.stable.as_ref()?), status.canary.as_ref()];
    let is_third = |pod: &String| after.hash(pod).is_some_and(|hash| two.iter().flatten().all(|version| version.hash != hash));
    let pod = after.endpoints(HELLO).into_iter().find(is_third)?;
    Some(format!("{pod} is an endpoint, and neither of the live version nor of the one under release"))
}

// design §8.3
fn untested_traffic(moment: &Moment) -> Option<String> {
    let Moment { after, status, .. } = moment;
    let stable = status.stable.as_ref().filter(|stable| !stable.hash.is_empty())?;
    let allowed = status.release.as_ref().is_some_and(|release| release.traffic_since.is_some()) && status.phase != Some(Phase::RolledBack);
    if allowed || status.phase == Some(Phase::Pending) {
        return None;
    }
    let is_other = |pod: &String| after.hash(pod).is_some_and(|hash| hash != stable.hash);
    let pod = reached(moment).into_iter().find(is_other)?;
    Some(format!(
        "{pod} is {} in {:?} though {} is the live hash",
        if moment.worker { "at work" } else { "an endpoint" },
        status.phase,
        stable.hash
    ))
}

// design §8.6
fn hold_unconfirmed(moment: &Moment) -> Option<String> {
    let Moment { change, before, status, .. } = moment;
    let step = status.step.as_ref()?;
    let since = step.since?;
    let earlier = before.status(HELLO).step.and_then(|earlier| earlier.since);
    // A hold that is over at once may be written down together with what ended it.
    let is_over = matches!(status.phase, Some(Phase::RollingBack | Phase::RolledBack));
    if change.kind != Kind::Rollout || earlier == Some(since) || is_over {
        return None;
    }
    let (old, new) = sides(moment)?;
    let wrong = match step.weight {
        // Without Services the old version works until the promotion.
        100 if !moment.worker => old > 0 || new == 0,
        _ => old == 0 || new == 0,
    };
    let share = 100 * new / (old + new).max(1);
    let routed = status.traffic.as_ref().and_then(|traffic| traffic.routed);
    if !wrong && routed.is_none_or(|routed| usize::from(routed).abs_diff(share) > 1) {
        return Some(format!("step {} is held at {share} % ({new} of {} endpoints), and status says {routed:?}", step.display, old + new));
    }
    wrong
        .then(|| format!("step {} ({} %) is held with {new} endpoints of the canary and {old} of the live side", step.display, step.weight))
}

// design §8.8
fn routed_untrue(moment: &Moment) -> Option<String> {
    let Moment { change, before, status, .. } = moment;
    let routed = status.traffic.as_ref()?.routed?;
    // Of clients only what has just been written is judged; the pods of a queue worker are there to be counted at any moment.
    if !moment.worker && (change.kind != Kind::Rollout || before.status(HELLO).traffic == status.traffic) {
        return None;
    }
    let (old, new) = sides(moment)?;
    let wrong = (routed == 0 && new > 0) || (routed == 100 && old > 0) || (routed > 0 && new == 0);
    wrong.then(|| format!("routed {routed} % with {new} endpoints of the canary and {old} of the live side"))
}

// A rejected template is what the owner asks for and does not get: kstatus calls that Failed
fn conditions_untrue(moment: &Moment) -> Option<String> {
    let status = &moment.status;
    if moment.change.kind != Kind::Rollout || status.phase != Some(Phase::RolledBack) {
        return None;
    }
    let expected = [("Ready", "False"), ("Stalled", "True"), ("Reconciling", "False")];
    let found = |type_: &str| status.conditions.iter().find(|condition| condition.type_ == type_).map(|condition| condition.status.clone());
    let (type_, expected) = expected.into_iter().find(|(type_, expected)| found(type_).as_deref() != Some(expected))?;
    Some(format!("RolledBack, but {type_} is {:?} and not {expected}: {}", found(type_), status.why))
}

/// Pods that take clients; without Services, pods that work.
fn reached(moment: &Moment) -> BTreeSet<String> {
    if moment.worker { moment.after.ready_pods(&pair()) } else { moment.after.endpoints(HELLO) }
}

/// Number of pods of the live side and of the canary that take clients, or work.
fn sides(moment: &Moment) -> Option<(usize, usize)> {
    let stable = &moment.status.stable.as_ref()?.hash;
    let canary = &moment.status.canary.as_ref()?.hash;
    let hashes: Vec<String> = reached(moment).iter().filter_map(|pod| moment.after.hash(pod)).collect();
    let count = |of: &String| hashes.iter().filter(|hash| *hash == of).count();
    Some((count(stable), count(canary)))
}

fn phase_out_of_order(moment: &Moment) -> Option<String> {
    use Phase::{Baking, Healthy, Pending, Preparing, Progressing, Promoting, RolledBack, RollingBack};
    if moment.change.kind != Kind::Rollout || moment.change.name != HELLO {
        return None;
    }
    let before = moment.before.status(HELLO);
    let from = before.phase;
    let to = moment.status.phase?;
    let ended = moment.status.history.last().map(|entry| entry.outcome);
    let is_canary = |deployment: &Value| text(deployment, "/metadata/name") != HELLO;
    let has_canary = !moment.declared && moment.before.all(Kind::Deployment).any(is_canary);
    // The roles of a declared pair are swapped by the status that says so: nothing has to be done first.
    let has_ended = before.history.last() != moment.status.history.last();
    let swapped = moment.declared && has_ended && ended == Some(Outcome::Promoted);
    let next: &[Phase] = match from? {
        // A new template is there already when the old one has been promoted.
        Promoting if ended == Some(Outcome::Promoted) => &[Healthy, Preparing, RollingBack],
        // What is left of the adoption is the Deployment's own roll-out, of no pods.
        Promoting if ended == Some(Outcome::ScaledToZero) => &[Healthy, Pending, RolledBack],
        // Without pods the template is held: whatever has pods again is the live version.
        _ if ended == Some(Outcome::ScaledToZero) && has_ended => &[RolledBack],
        Progressing | Baking if swapped => &[Healthy, Preparing],
        Pending => &[Healthy, Preparing],
        // What is held was written again.
        Healthy if !before.rejected.is_empty() => &[Preparing, RolledBack, Pending],
        Healthy => &[Preparing, Pending],
        // Where nothing was made yet, nothing is taken back.
        Preparing if !has_canary => &[Progressing, RollingBack, RolledBack, Pending],
        Preparing => &[Progressing, RollingBack, Pending],
        // A bake that is over before its record is written is not written down.
        Progressing => &[Baking, Promoting, RollingBack, Pending],
        Baking => &[Promoting, RollingBack, Pending],
        Promoting => &[Healthy, RollingBack],
        RollingBack => &[RolledBack, Preparing, Healthy, Pending],
        RolledBack => &[Preparing, Healthy, Pending],
    };
    (from != Some(to) && !next.contains(&to)).then(|| format!("{from:?} -> {to:?}"))
}

fn step_out_of_order(moment: &Moment) -> Option<String> {
    if moment.change.kind != Kind::Rollout || moment.change.name != HELLO {
        return None;
    }
    let before = moment.before.status(HELLO);
    let same_release = before.release.as_ref()?.started_at == moment.status.release.as_ref()?.started_at;
    let (from, to) = (before.step?.index, moment.status.step.as_ref()?.index);
    let forward = moment.status.phase == Some(Phase::Progressing);
    // A short step may be over before it has been written down.
    let steps = &moment.status.release.as_ref()?.policy.steps;
    let between = (1..).zip(steps).filter(|(index, _)| (from + 1..to).contains(index));
    let skipped = between.into_iter().any(|(_, step)| step.hold.0 >= PASSING);
    (same_release && forward && (to < from || skipped)).then(|| format!("from step {from} to step {to}"))
}

// design §8.5, last half
fn restarted(moments: &[Moment]) -> Vec<(Instant, String)> {
    let mut found = Vec::new();
    let mut tested: Option<BTreeSet<String>> = None;
    for moment in moments.iter().filter(|moment| moment.change.kind == Kind::Rollout && moment.change.name == HELLO) {
        let world = &moment.after;
        let uids = |hash: &str| -> BTreeSet<String> {
            let labels = BTreeMap::from([(stepgate::api::POD_TEMPLATE_HASH.to_owned(), hash.to_owned())]);
            world.live_pods(&labels).map(|pod| text(pod, "/metadata/uid").to_owned()).collect()
        };
        let status = &moment.status;
        match status.phase {
            Some(Phase::Baking) if tested.is_none() => tested = status.canary.as_ref().map(|canary| uids(&canary.hash)),
            Some(Phase::Healthy | Phase::Preparing) => {
                let promoted = status.history.last().is_some_and(|entry| entry.outcome == Outcome::Promoted);
                if let (Some(before), Some(stable), true) = (tested.take(), &status.stable, promoted) {
                    let after = uids(&stable.hash);
                    if after != before {
                        found.push((moment.change.at, format!("tested were {before:?}, there are {after:?}")));
                    }
                }
            }
            Some(Phase::RollingBack) => tested = None,
            _ => {}
        }
    }
    found
}
