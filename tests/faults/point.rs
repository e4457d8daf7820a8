//! Fault points: a story, its troubles, a seed; and the verdict on each.

use std::{
    num::NonZero,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use stepgate::sim::seed::Seed;

use crate::{
    pair::SIZE,
    scenario::Scenario,
    stage::{End, Report, play},
    trouble::{self, Trouble},
};

/// One run to be made.
#[derive(Clone, Debug)]
pub struct Point {
    pub troubles: Vec<Trouble>,
    pub seed: u64,
}

/// The end that a story is to have.
pub fn expected(scenario: &Scenario) -> End {
    let (phase, serves, paused, outcomes) = scenario.end;
    End {
        phase: phase.map_or_else(|| "gone".into(), |phase| format!("{phase:?}")),
        serves: serves.into(),
        paused,
        outcomes: outcomes.iter().map(|outcome| (*outcome).to_owned()).collect(),
    }
}

/// Everything that is wrong with a run.
pub fn verdict(scenario: &Scenario, troubles: &[Trouble], report: &Report) -> Vec<String> {
    let mut wrong = report.broken.clone();
    let wanted = expected(scenario);
    // Without admission policies a controller that was away too long finds a roll-out that has gone too far to be held.
    let natively = !scenario.guarded && report.end.outcomes.iter().any(|outcome| outcome == "Unguarded");
    if trouble::keeps_the_end(troubles) && !report.missed && !natively {
        if report.end != wanted && !(trouble::may_take_back(troubles) && is_taken_back(&report.end)) {
            wrong.push(format!("ends: {}; wanted: {wanted}", report.end));
        }
        if report.end == wanted {
            wrong.extend(missized(scenario, report));
        }
        let pods = |version: &str| report.started.iter().find(|(known, _)| known == version).map_or(0, |(_, pods)| *pods);
        let rolls = scenario.policy["promotion"] == "Roll" || !scenario.guarded || trouble::may_roll(troubles);
        // The first version has been started before.
        let started = usize::try_from(if wanted.serves == "v1" { 2 * SIZE } else { SIZE }).unwrap_or(0);
        if report.end == wanted
            && wanted.outcomes.last().is_some_and(|outcome| outcome == "Promoted")
            && !rolls
            && pods(&wanted.serves) > started
        {
            wrong.push(format!("{} pods of {} were started for {started}", pods(&wanted.serves), wanted.serves));
        }
    }
    // design §7
    let is_promoted = |release: usize| report.end.outcomes.get(release).is_some_and(|outcome| outcome == "Promoted");
    if report.flapped.is_some_and(is_promoted) {
        wrong.push(format!("a canary that was not ready under traffic was promoted: {}", report.end));
    }
    if troubles.is_empty() {
        let size = usize::try_from(SIZE).unwrap_or(0);
        if scenario.services.is_empty() && report.least_at_work < size {
            wrong.push(format!("{} of {size} pods worked at a time", report.least_at_work));
        }
        if let Some(budget) = scenario.budget.filter(|budget| report.spent > *budget) {
            wrong.push(format!("{} writes, {budget} allowed", report.spent));
        }
        if report.idle > 0 {
            wrong.push(format!("{} writes changed nothing", report.idle));
        }
    }
    wrong
}

/// Whether the story has ended, or, where more was to come, gone on, with a release taken back.
fn is_taken_back(end: &End) -> bool {
    let is_over = end.serves == "v1" && matches!(end.phase.as_str(), "RolledBack" | "gone");
    is_over || end.outcomes.iter().any(|outcome| outcome == "RolledBack")
}

/// Versions of the user's own that do not ask for as many pods as they should in the end: the one that was live keeps its pods, and so does
/// the one that was taken back, but for `idle: ScaleToZero`.
fn missized(scenario: &Scenario, report: &Report) -> Option<String> {
    let is_promoted = report.end.outcomes.last().is_some_and(|outcome| outcome == "Promoted");
    let spare = if is_promoted && scenario.policy["idle"] == "ScaleToZero" { 0 } else { i64::from(SIZE) };
    let is_wrong = |(name, size): &&(String, i64)| {
        *size != if *name == scenario.pair.deployment(&report.end.serves) { i64::from(SIZE) } else { spare }
    };
    let wrong = report.sizes.iter().filter(|_| scenario.pair.is_declared()).find(is_wrong);
    wrong.map(|(name, size)| format!("Deployment {name} asks for {size} pods in the end"))
}

/// Plays a point; what is wrong with it, and the report.
pub fn judge(scenario: &Scenario, point: &Point) -> (Vec<String>, Report) {
    let report = play(scenario, &point.troubles, point.seed);
    (verdict(scenario, &point.troubles, &report), report)
}

/// Every single fault at every single write of a story.
pub fn exhaustive(scenario: &Scenario, writes: u64) -> Vec<Point> {
    let mishaps = || trouble::mishaps().into_iter().chain(trouble::edits(scenario.pair));
    let at = |number| {
        let faults = trouble::of_a_write().into_iter().map(move |fault| Trouble::Write(number, fault));
        faults.chain(mishaps().map(move |mishap| Trouble::Around(number, mishap)))
    };
    let mut points: Vec<Point> = (1..=writes).flat_map(at).map(|trouble| Point { troubles: vec![trouble], seed: 1 }).collect();
    points.push(Point { troubles: vec![Trouble::ShortWatches], seed: 1 });
    points.push(Point { troubles: vec![Trouble::Two], seed: 1 });
    points
}

/// The point of a seed.
pub fn drawn(number: u64, scenario: &Scenario, writes: u64) -> Point {
    let mut seed = Seed::new(number).fork("point");
    Point { troubles: trouble::any(&mut seed, scenario.pair, writes), seed: number }
}

/// What came of many points.
#[derive(Debug, Default)]
pub struct Tally {
    /// Those that were played to their end.
    pub points: usize,
    pub failed: Vec<String>,
}

/// Plays points on all processors; `told` hears of every failure at once.
pub fn play_all(points: &[(&Scenario, String, Point)], told: impl Fn(&str) + Sync) -> Tally {
    let (next, played, failed) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(2, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((scenario, replay, point)) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (wrong, _) = judge(scenario, point);
                    played.fetch_add(1, Ordering::Relaxed);
                    if let Some(first) = wrong.first() {
                        let line = format!(
                            "{}: {:?} ({replay})\n    {first}{}",
                            scenario.name,
                            point.troubles,
                            if wrong.len() > 1 { format!(" (and {} more)", wrong.len() - 1) } else { String::new() }
                        );
                        told(&line);
                        failed.lock().expect("no thread panics").push(line);
                    }
                }
            });
        }
    });
    Tally { points: played.into_inner(), failed: failed.into_inner().expect("no thread panics") }
}

/// The writes of every story, when nothing goes wrong.
pub fn writes(scenario: &Scenario) -> u64 {
    play(scenario, &[], 1).writes
}
