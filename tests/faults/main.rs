//! The real controller on the embedded cluster, with something going wrong at every one of its writes.
//!
//! A failure names the command that plays it again: `cargo run --example faults -- --story NAME --point NUMBER`.

#![allow(
    clippy::disallowed_methods,
    clippy::enum_glob_use,
    reason = "the stage has a clock and tasks, and a script reads better in short words"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    dead_code,
    reason = "a test says so by failing; the example uses more of the modules"
)]

mod law;
mod pair;
mod point;
mod scenario;
mod stage;
mod trouble;

use std::{collections::BTreeSet, io::Write, sync::LazyLock, time::Duration};

use point::{Point, judge, play_all};
use scenario::Scenario;
use stepgate::sim::{cluster::Component, fault::Fault};

/// At least so many points are played by the fixed set, a tenth of them in a build without optimisation.
const POINTS: usize = 2_000;

/// Every story, with all single faults at each of its writes.
static ALL: LazyLock<Vec<(Scenario, Vec<Point>)>> = LazyLock::new(|| {
    let points = |scenario: &Scenario| point::exhaustive(scenario, point::writes(scenario));
    scenario::all().into_iter().map(|scenario| (scenario.clone(), points(&scenario))).collect()
});

#[test]
fn every_story_ends_as_it_should_when_nothing_goes_wrong() {
    for scenario in scenario::all() {
        let (wrong, report) = judge(&scenario, &Point { troubles: Vec::new(), seed: 1 });
        assert!(wrong.is_empty(), "{}: {}\n  {}\n  {}", scenario.name, report.end, wrong.join("\n  "), report.trace.join("\n  "));
    }
}

#[test]
fn an_equal_seed_gives_an_equal_run() {
    let scenario = scenario::all().remove(0);
    let point = Point { troubles: vec![trouble::Trouble::Weather(15.0)], seed: 7 };
    assert_eq!(judge(&scenario, &point).1.trace, judge(&scenario, &point).1.trace);
}

/// What was found once: a story, and what went wrong in it.
fn assert_no_harm(story: &str, trouble: trouble::Trouble) {
    let scenario = scenario::all().into_iter().find(|scenario| scenario.name == story).unwrap();
    let (wrong, report) = judge(&scenario, &Point { troubles: vec![trouble], seed: 1 });
    assert!(wrong.is_empty(), "{}: {wrong:?}", report.end);
}

#[test]
fn a_rollout_deleted_before_its_deployment_could_be_held_goes() {
    assert_no_harm("unguarded", trouble::Trouble::Around(8, trouble::Mishap::Edit(trouble::Edit::DeleteRollout)));
}

#[test]
fn a_roll_out_that_was_paused_too_late_goes_on() {
    assert_no_harm("unguarded", trouble::Trouble::Write(7, Fault::Conflict));
}

#[test]
fn a_roll_out_that_began_in_mid_release_and_was_paused_half_way_ends() {
    assert_no_harm("unguarded", trouble::Trouble::Around(27, trouble::Mishap::Edit(trouble::Edit::Unpause)));
}

#[test]
fn a_rollout_deleted_before_its_first_release_leaves_nothing() {
    assert_no_harm("held", trouble::Trouble::Around(1, trouble::Mishap::Edit(trouble::Edit::DeleteRollout)));
}

#[test]
fn a_template_that_rolled_out_before_anybody_could_hold_it_and_was_replaced_goes() {
    assert_no_harm("reverted at 75", trouble::Trouble::Around(3, trouble::Mishap::Edit(trouble::Edit::Image("v9"))));
}

#[test]
fn a_proxy_that_begins_late_is_waited_for() {
    assert_no_harm("deleted at 50", trouble::Trouble::Around(1, trouble::Mishap::Stop(Component::Proxy)));
}

#[test]
fn clients_moved_to_a_canary_that_was_just_deleted_are_taken_back_at_once() {
    assert_no_harm("blue-green", trouble::Trouble::Around(10, trouble::Mishap::Edit(trouble::Edit::DeleteCanary)));
}

#[test]
fn a_twin_that_has_got_pods_meanwhile_is_not_deleted() {
    assert_no_harm("unready at 75, exact, unguarded", trouble::Trouble::Around(12, trouble::Mishap::Edit(trouble::Edit::Unpause)));
}

#[test]
fn what_was_decided_while_something_was_written_is_decided_again() {
    assert_no_harm("unready at 75, exact, unguarded", trouble::Trouble::Around(28, trouble::Mishap::Skew(-3)));
}

#[test]
fn a_second_controller_takes_up_what_the_first_has_written() {
    assert_no_harm("declared, there and back", trouble::Trouble::Around(3, trouble::Mishap::Second));
}

#[test]
fn a_template_that_comes_back_in_mid_roll_is_released_after_it() {
    assert_no_harm("roll", trouble::Trouble::Around(33, trouble::Mishap::Edit(trouble::Edit::Image("v1"))));
}

#[test]
fn the_way_back_does_not_wait_for_an_answer_to_the_move_of_all_clients() {
    assert_no_harm("unready at 75", trouble::Trouble::Write(23, Fault::Delay(Duration::from_secs(8))));
}

#[test]
fn nothing_is_promoted_on_the_strength_of_a_silent_watch() {
    assert_no_harm("declared, unready while baking", trouble::Trouble::Around(31, trouble::Mishap::Freeze));
}

/// A part of all single faults, evenly spread over stories, writes and kinds of fault. In a build without optimisation a tenth of them;
/// all of them with `STEPGATE_FAULTS=all`.
#[test]
fn no_single_fault_does_harm_or_changes_the_end() {
    let numbered = ALL.iter().flat_map(|(scenario, points)| {
        points.iter().enumerate().map(move |(i, point)| (scenario, format!("--story {:?} --point {i}", scenario.name), point.clone()))
    });
    let numbered: Vec<_> = numbered.collect();
    let all = numbered.len();
    let wanted = match std::env::var("STEPGATE_FAULTS").as_deref() {
        Ok("all") => all,
        _ if cfg!(debug_assertions) => POINTS / 10,
        _ => POINTS,
    };
    // Not every so-manieth: that number may have a divisor in common with that of the kinds of fault.
    let chosen: Vec<_> = (0..wanted).map(|i| numbered[i * all / wanted].clone()).collect();
    let began = tokio::time::Instant::now();
    let tally = play_all(&chosen, say);
    say(&format!("{} of {all} fault points in {:?}, {} failed", tally.points, began.elapsed(), tally.failed.len()));
    assert!(tally.points >= wanted, "{} of {wanted} points were played", tally.points);
    assert!(tally.failed.is_empty(), "{}", tally.failed.join("\n"));
}

#[test]
fn there_are_as_many_different_points_as_are_promised() {
    let troubles = |(scenario, points): &(Scenario, Vec<Point>)| {
        let name = scenario.name;
        points.iter().map(move |point| format!("{name}: {:?}", point.troubles)).collect::<Vec<_>>()
    };
    let different: BTreeSet<String> = ALL.iter().flat_map(troubles).collect();
    let all: usize = ALL.iter().map(|(_, points)| points.len()).sum();
    assert!(different.len() >= POINTS && different.len() == all, "{} different ones of {all}", different.len());
}

/// Past the capture of the test harness: how much was run is to be seen in any log.
fn say(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}
