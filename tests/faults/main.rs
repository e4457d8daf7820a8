//! The real controller on the embedded cluster, with something going wrong at every one of its writes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]

mod law;
mod point;
mod scenario;
mod stage;
mod trouble;

use point::{Point, judge};

#[test]
fn every_story_ends_as_it_should_when_nothing_goes_wrong() {
    let mut failed = false;
    for scenario in scenario::all() {
        let began = std::time::Instant::now();
        let (wrong, report) = judge(&scenario, &Point { troubles: Vec::new(), seed: 1 });
        println!("{:<32} {} ({} writes, {} spent, {} after the last act, {} visits, {:?}) in {:?}", scenario.name, report.end, report.writes, report.spent, report.spent_after_last, report.visits, report.started, began.elapsed());
        if !wrong.is_empty() {
            failed = true;
            println!("  {}\n  {}", wrong.iter().take(8).cloned().collect::<Vec<_>>().join("\n  "), report.trace.join("\n  "));
        }
    }
    assert!(!failed);
}
