//! Any number of fault points of the simulation, beyond the fixed set of `cargo test --test faults`:
//!
//! ```text
//! cargo run --release --example faults -- --seeds 1000 --first 1     stories and troubles drawn from seeds 1 to 1000
//! cargo run --release --example faults -- --seeds 1 --first 17 --trace   seed 17 again, with everything that was written
//! cargo run --release --example faults -- --story held --every 1     every single fault at every write of one story
//! cargo run --release --example faults -- --story held --point 123   one of those again, with everything that was written
//! ```

#![allow(
    clippy::disallowed_methods,
    clippy::enum_glob_use,
    reason = "the stage has a clock and tasks, and a script reads better in short words"
)]
#![allow(clippy::expect_used, dead_code, reason = "the modules are those of the tests, which say so by failing")]

use clap::Parser;
use stepgate::sim::seed::Seed;

#[path = "../tests/faults/law.rs"]
mod law;
#[path = "../tests/faults/pair.rs"]
mod pair;
#[path = "../tests/faults/point.rs"]
mod point;
#[path = "../tests/faults/scenario.rs"]
mod scenario;
#[path = "../tests/faults/stage.rs"]
mod stage;
#[path = "../tests/faults/trouble.rs"]
mod trouble;

use point::{Point, judge, play_all};
use scenario::Scenario;

/// Play faults on the embedded cluster.
#[derive(Parser, Debug)]
struct Args {
    /// How many seeds
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Stories whose name begins so
    #[arg(long, default_value = "")]
    story: String,
    /// Instead of seeds: every so-manieth of all single faults
    #[arg(long)]
    every: Option<usize>,
    /// Instead of seeds: this one of a story's single faults
    #[arg(long)]
    point: Option<usize>,
    /// Show what was written
    #[arg(long)]
    trace: bool,
}

fn main() {
    let args = Args::parse();
    let stories: Vec<(Scenario, u64)> = scenario::all()
        .into_iter()
        .filter(|scenario| scenario.name.starts_with(&args.story))
        .map(|scenario| (scenario.clone(), point::writes(&scenario)))
        .collect();
    let mut points: Vec<(&Scenario, String, Point)> = Vec::new();
    if args.every.is_some() || args.point.is_some() {
        for (story, writes) in &stories {
            let all = point::exhaustive(story, *writes).into_iter().enumerate();
            let chosen = all.filter(|(i, _)| args.point.map_or_else(|| i % args.every.unwrap_or(1) == 0, |point| point == *i));
            points.extend(chosen.map(|(i, point)| (story, format!("--story {:?} --point {i}", story.name), point)));
        }
    } else {
        for seed in args.first..args.first + args.seeds {
            let chosen = Seed::new(seed).fork("story").below(stories.len() as u64);
            let (story, writes) = &stories[usize::try_from(chosen).unwrap_or(0)];
            points.push((story, format!("--seeds 1 --first {seed}"), point::drawn(seed, story, *writes)));
        }
    }
    if args.trace || args.point.is_some() {
        for (story, _, point) in &points {
            let (wrong, report) = judge(story, point);
            println!("{} {:?}\n  {}\n{}\n  {}", story.name, point.troubles, report.trace.join("\n  "), report.end, wrong.join("\n  "));
        }
        return;
    }
    let began = tokio::time::Instant::now();
    let tally = play_all(&points, |line| println!("{line}"));
    println!("{} points in {:?}, {} failed", tally.points, began.elapsed(), tally.failed.len());
    std::process::exit(i32::from(!tally.failed.is_empty()));
}
