//! The table: thousands of releases a cell, the same in every run.

use std::sync::atomic::{AtomicUsize, Ordering};

use stepgate::core::verdict::Rule;

use crate::judges::{Ended, Judge, LIMIT, MARGIN};
use crate::world::World;

type Failure = Box<dyn std::error::Error>;

/// What a cell is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    /// The canary is good: how many releases are rolled back.
    FalseRollbacks,
    /// The canary is bad: after how many seconds half of the releases are rolled back, and 95% of them.
    Detection,
    /// A step on evidence: how many releases pass it, and after how many seconds.
    Passed,
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    judge: Judge,
    world: World,
    asks: Asks,
    seconds: u64,
}

struct Row {
    name: String,
    cells: Vec<Cell>,
}

struct Table {
    title: String,
    columns: Vec<&'static str>,
    rows: Vec<Row>,
}

/// Releases of half an hour, promotions within an hour.
const RELEASE: u64 = 1800;
const STEP: u64 = 3600;

const JUDGES: [(&str, Judge); 7] = [
    ("**limit**", Judge::LIMIT),
    ("limit, independent", Judge::INDEPENDENT),
    ("**compare**", Judge::COMPARE),
    ("Flagger 5 of 1 min", Judge::FLAGGER),
    ("Flagger 5 of 10 s", Judge::FLAGGER_FAST),
    ("Argo limit 3", Judge::ARGO),
    ("Argo limit 0", Judge::ARGO_STRICT),
];

/// Prints all tables. Says whether what is promised was kept.
///
/// # Errors
/// The engine refuses its configuration.
pub fn print(runs: u64) -> Result<bool, Failure> {
    println!("{runs} releases a cell. Limit 1%, allowed increase 0.5 points, false rollback rate 1%, missed regression rate 5%.");
    println!("Percent: releases that were rolled back. Seconds: until half of the releases were rolled back / until 95% were.\n");
    let mut worst_rollbacks = 0.0f64;
    let mut worst_passes = 0.0f64;
    for table in [starts(1), starts(10), starts(100), late(), clustered()] {
        let answers = play(&table, runs)?;
        for (row, answers) in table.rows.iter().zip(&answers) {
            for (_, answer) in row.cells.iter().zip(answers).filter(|(cell, _)| is_promised(cell)) {
                worst_rollbacks = worst_rollbacks.max(answer.rolled_back);
            }
        }
        show(&table, &answers);
    }
    let table = promotions();
    let answers = play(&table, runs)?;
    for (row, answers) in table.rows.iter().zip(&answers) {
        for (cell, answer) in row.cells.iter().zip(answers) {
            if breaks_its_limit(cell) {
                worst_passes = worst_passes.max(answer.promoted);
            }
        }
    }
    show(&table, &answers);
    let tolerance = |rate: f64| 3.0 * (rate * (1.0 - rate) / real(runs)).sqrt();
    let (rollbacks, passes) = (0.01 + tolerance(0.01), 0.05 + tolerance(0.05));
    println!("Good canaries rolled back, at most: {} (promised 1%)", percent(worst_rollbacks));
    println!("Bad steps passed on evidence, at most: {} (promised 5%, and chance: {})", percent(worst_passes), percent(passes));
    Ok(worst_rollbacks <= rollbacks && worst_passes <= passes)
}

/// The canary keeps what the judge promises for, and its failures do not last longer than a tick.
fn is_promised(cell: &Cell) -> bool {
    matches!(cell.judge, Judge::Stepgate { .. }) && cell.asks == Asks::FalseRollbacks && cell.world.spells.is_none()
}

fn breaks_its_limit(cell: &Cell) -> bool {
    let World { stable, after, .. } = cell.world;
    match cell.judge {
        Judge::Stepgate { rule: Rule::Limit { limit }, .. } => after >= limit,
        Judge::Stepgate { rule: Rule::Compare { margin }, .. } => after >= stable + margin - 1e-12,
        _ => false,
    }
}

fn starts(rate: u64) -> Table {
    let rows = [0.0, 0.001, 0.01].into_iter().flat_map(|stable| {
        [0.0, 0.01, 0.05, 0.2, 1.0].into_iter().filter(move |more| stable + more <= 1.0).map(move |more| {
            let canary = stable + more;
            let cell = |(_, judge)| Cell {
                judge,
                world: World::steady(rate, stable, canary),
                asks: if more == 0.0 { Asks::FalseRollbacks } else { Asks::Detection },
                seconds: RELEASE,
            };
            let what = if more == 0.0 { ", **good**" } else { "" };
            Row { name: format!("{} to {}{what}", percent(stable), percent(canary)), cells: JUDGES.into_iter().map(cell).collect() }
        })
    });
    Table {
        title: format!("Requests to the canary: {rate}/s. Failure rate of stable to that of the canary, from the start"),
        columns: JUDGES.map(|(name, _)| name).to_vec(),
        rows: rows.collect(),
    }
}

fn late() -> Table {
    let row = |(turns_at, after): (u64, f64)| {
        let world = World { rate: 10, stable: 0.001, before: 0.001, after, turns_at, spells: None };
        let cell = |(_, judge)| Cell { judge, world, asks: Asks::Detection, seconds: turns_at + RELEASE };
        Row { name: format!("{turns_at} s good, then {}", percent(after)), cells: JUDGES.into_iter().map(cell).collect() }
    };
    Table {
        title: "Regression after a good time (0.1%), 10 requests a second; seconds from the change on, without a step that begins"
            .to_owned(),
        columns: JUDGES.map(|(name, _)| name).to_vec(),
        rows: [(300, 0.06), (900, 0.21), (1500, 0.06), (1500, 1.0)].map(row).into(),
    }
}

fn clustered() -> Table {
    let row = |length: f64| {
        let world = World { spells: Some(length), ..World::steady(10, 0.003, 0.003) };
        let cell = |(_, judge)| Cell { judge, world, asks: Asks::FalseRollbacks, seconds: RELEASE };
        Row { name: format!("spells of {length} s"), cells: JUDGES.into_iter().map(cell).collect() }
    };
    Table {
        title: "A good canary (mean 0.3%, 10 requests a second) whose failures come in spells: half of the requests fail".to_owned(),
        columns: JUDGES.map(|(name, _)| name).to_vec(),
        rows: [1.0, 2.0, 5.0, 10.0].map(row).into(),
    }
}

fn promotions() -> Table {
    let limit = Judge::promoting(Rule::Limit { limit: LIMIT });
    let compare = Judge::promoting(Rule::Compare { margin: MARGIN });
    let cell = |judge, rate, stable, canary| Cell { judge, world: World::steady(rate, stable, canary), asks: Asks::Passed, seconds: STEP };
    let row = |(name, canary): (&str, f64)| Row {
        name: format!("{}{name}", percent(canary)),
        cells: vec![
            cell(limit, 1, 0.001, canary),
            cell(limit, 10, 0.001, canary),
            cell(limit, 100, 0.001, canary),
            cell(compare, 10, 0.001, canary),
            cell(compare, 100, 0.001, canary),
        ],
    };
    let rows = [("", 0.0), ("", 0.001), ("", 0.003), (" (0.1% and the margin)", 0.006), (" (the limit)", 0.01), ("", 0.02), ("", 0.06)];
    Table {
        title: "One step, stable fails 0.1%: releases promoted on evidence within an hour; seconds until half of those, and 95% of those"
            .to_owned(),
        columns: vec!["limit, 1/s", "limit, 10/s", "limit, 100/s", "compare, 10/s", "compare, 100/s"],
        rows: rows.map(row).into(),
    }
}

/// What came out in a cell.
struct Answer {
    text: String,
    rolled_back: f64,
    promoted: f64,
}

/// All cells of a table, over the processors that there are. Each has seeds of its own, so that the order does not matter.
fn play(table: &Table, runs: u64) -> Result<Vec<Vec<Answer>>, Failure> {
    let cells: Vec<Cell> = table.rows.iter().flat_map(|row| row.cells.iter().copied()).collect();
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut answers: Vec<(usize, Answer)> = std::thread::scope(|scope| {
        let work = || {
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(cell) = cells.get(index) else { return Ok(done) };
                done.push((index, cell.play(index as u64, runs).map_err(|error| error.to_string())?));
            }
        };
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let joined = handles.into_iter().map(|handle| handle.join().unwrap_or_else(|_| Err("a cell panicked".to_owned())));
        joined.collect::<Result<Vec<_>, String>>()
    })?
    .into_iter()
    .flatten()
    .collect();
    answers.sort_by_key(|(index, _)| *index);
    let mut answers = answers.into_iter().map(|(_, answer)| answer);
    Ok(table.rows.iter().map(|row| answers.by_ref().take(row.cells.len()).collect()).collect())
}

impl Cell {
    fn play(&self, index: u64, runs: u64) -> Result<Answer, Failure> {
        let (mut rolled_back, mut promoted, mut too_early) = (Vec::new(), Vec::new(), 0);
        for run in 0..runs {
            match self.judge.judge(self.world, (index << 32) + run, self.seconds)? {
                Ended::RolledBack(after) if after > self.world.turns_at => rolled_back.push(after - self.world.turns_at),
                Ended::RolledBack(_) => too_early += 1,
                Ended::Promoted(after) => promoted.push(after),
                Ended::Not => {}
            }
        }
        let share = |ended: &[u64]| real(ended.len() as u64) / real(runs);
        let text = match self.asks {
            Asks::FalseRollbacks => percent(share(&rolled_back)),
            Asks::Detection => {
                let fair = runs - too_early;
                let early = if too_early == 0 { String::new() } else { format!(", {} before", percent(real(too_early) / real(runs))) };
                format!("{}{early}", detection(&mut rolled_back, fair))
            }
            Asks::Passed if promoted.is_empty() => percent(0.0),
            Asks::Passed => {
                let passed = promoted.len() as u64;
                format!("{}: {}", percent(share(&promoted)), detection(&mut promoted, passed))
            }
        };
        Ok(Answer { text, rolled_back: share(&rolled_back), promoted: share(&promoted) })
    }
}

/// "25/45": the time by which half of `of` releases had ended, and 95% of them; "–" where so many never did.
fn detection(times: &mut [u64], of: u64) -> String {
    times.sort_unstable();
    let by = |percent: u64| {
        let rank = usize::try_from((of * percent).div_ceil(100)).ok()?;
        times.get(rank.checked_sub(1)?).map(u64::to_string)
    };
    match (by(50), by(95)) {
        (Some(half), Some(most)) => format!("{half}/{most}"),
        (half, _) => format!("{}/– ({})", half.unwrap_or_else(|| "–".to_owned()), percent(real(times.len() as u64) / real(of.max(1)))),
    }
}

fn show(table: &Table, answers: &[Vec<Answer>]) {
    println!("**{}**\n\n| | {} |\n|---|{}", table.title, table.columns.join(" | "), "---|".repeat(table.columns.len()));
    for (row, answers) in table.rows.iter().zip(answers) {
        let answers: Vec<&str> = answers.iter().map(|answer| answer.text.as_str()).collect();
        println!("| {} | {} |", row.name, answers.join(" | "));
    }
    println!();
}

/// "0.34%", "12%", "0": two digits are what ten thousand releases can tell.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let text = if percent >= 9.95 { format!("{percent:.0}") } else { format!("{percent:.2}") };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text };
    if text == "0" { text } else { text + "%" }
}

#[allow(clippy::cast_precision_loss, reason = "numbers of releases")]
fn real(count: u64) -> f64 {
    count as f64
}
