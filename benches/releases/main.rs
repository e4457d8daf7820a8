//! Timings of releases on the real cluster, beside the peers' and beside the same act done by hand: `tests/bench`, which brings a cluster
//! up as the peers' was and calls
//!
//! ```text
//! cargo bench --bench releases -- --runs 20 --write
//! ```
//!
//! All times are between events that one process sees in its own watches, or between a command and what clients see. Nothing is dropped.

#![allow(clippy::disallowed_methods, reason = "a measurement has a clock")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    dead_code,
    unused_imports,
    reason = "the scenarios are those of the end-to-end tests"
)]

#[path = "../../tests/controller/mod.rs"]
mod controller;
#[path = "../../tests/e2e/scenario/mod.rs"]
mod scenario;
#[path = "../../tests/e2e/world/mod.rs"]
mod world;

mod measure;
mod report;

use clap::Parser;

use scenario::Guard;

/// Measure releases on a real cluster
#[derive(Parser, Debug)]
struct Args {
    /// How often each thing is done
    #[arg(long, default_value_t = 20)]
    runs: usize,
    /// Only measurements whose name begins so
    #[arg(long, default_value = "")]
    only: String,
    /// Write BENCHMARKS.md
    #[arg(long)]
    write: bool,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let args = Args::parse();
    if !measure::audit::is_there() {
        eprintln!("no requests will be counted: the API server keeps no audit log (AUDIT=1 tests/cluster/cluster up, and its env)");
    }
    let mut sections = Vec::new();
    for measurement in measure::ALL.iter().filter(|measurement| measurement.name.starts_with(&args.only)) {
        eprintln!("{} ...", measurement.name);
        scenario::run(&format!("bench-{}", measurement.name), Guard::On, async |plan| {
            sections.push((measurement.group, measurement.run(plan, args.runs).await));
        });
        // Each time: what was measured so far is not lost with a measurement that fails.
        if args.write {
            report::write(&report::tables(&sections), args.runs);
        }
    }
    println!("{}", report::tables(&sections));
    for row in sections.iter().flat_map(|(_, rows)| rows).filter(|row| row.samples.is_empty()) {
        eprintln!("not measured: {}", row.what);
    }
}
