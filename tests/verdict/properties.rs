//! What holds of the engine for any input.

use std::time::Duration;

use proptest::prelude::*;
use stepgate::core::verdict::limit::LimitCheck;
use stepgate::core::verdict::{Check, Config, Engine, Outcome, PairTick, Rule, Sampling, Tick};

use crate::draw::Draw;

const TICK: Duration = Duration::from_secs(5);

/// More than any canary that there will be: 2^53.
const MOST: u64 = 1 << 53;

fn sampling() -> impl Strategy<Value = Sampling> {
    prop_oneof![Just(Sampling::Bursty), Just(Sampling::Independent)]
}

fn limit() -> impl Strategy<Value = f64> {
    prop_oneof![Just(1e-6), Just(0.01), Just(0.999_999), 1e-6..0.999_999]
}

fn tick() -> impl Strategy<Value = Tick> {
    let total = prop_oneof![Just(0), Just(1), 1..100u64, 1..MOST, Just(MOST)];
    (total, 0.0..=1.0).prop_map(|(total, share)| Tick::of(total, part(total, share), TICK))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "any part will do")]
fn part(total: u64, share: f64) -> u64 {
    (total as f64 * share) as u64
}

/// A tick, and whether it is the first of a step.
fn ticks() -> impl Strategy<Value = Vec<(PairTick, bool)>> {
    let pair = (tick(), tick()).prop_map(|(canary, stable)| PairTick { canary, stable });
    prop::collection::vec((pair, prop::bool::weighted(0.1)), 0..60)
}

/// All rules at once, in one purse.
fn engine(limit: f64, sampling: Sampling) -> Engine {
    let margin = limit.clamp(1e-6, 0.5);
    let rules = [Rule::Limit { limit }, Rule::Compare { margin }, Rule::Both { limit, margin }];
    Engine::new(Config::new(rules.map(|rule| Check { sampling, ..Check::new("check", rule) }).to_vec())).unwrap()
}

fn play(engine: &mut Engine, (pair, new_step): &(PairTick, bool)) {
    if *new_step {
        engine.begin_step();
    }
    engine.observe(0, Outcome::One(pair.canary)).unwrap();
    engine.observe(1, Outcome::Pair(*pair)).unwrap();
    engine.observe(2, Outcome::Pair(*pair)).unwrap();
    engine.end_tick(TICK);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_number_is_a_number_and_every_verdict_has_a_sentence(limit in limit(), sampling in sampling(), ticks in ticks()) {
        let mut engine = engine(limit, sampling);
        for tick in &ticks {
            play(&mut engine, tick);
            prop_assert!(!engine.log_wealth().is_nan());
            let said = engine.verdict().to_string();
            prop_assert!(!said.contains("NaN") && !said.contains("inf"), "{}", said);
        }
    }

    #[test]
    fn a_record_taken_in_the_middle_leads_to_the_same_verdicts(limit in limit(), sampling in sampling(), ticks in ticks(), at in 0..60usize) {
        let mut whole = engine(limit, sampling);
        let mut broken = engine(limit, sampling);
        for (index, tick) in ticks.iter().enumerate() {
            if index == at {
                broken = serde_json::from_str(&serde_json::to_string(&broken).unwrap()).unwrap();
            }
            play(&mut whole, tick);
            play(&mut broken, tick);
            prop_assert_eq!(whole.ruling(), broken.ruling());
            prop_assert!((whole.log_wealth() - broken.log_wealth()).abs() <= 1e-9 * whole.log_wealth().abs().max(1.0));
        }
    }

    #[test]
    fn a_tick_without_requests_changes_no_evidence(limit in limit(), sampling in sampling(), ticks in ticks()) {
        let mut engine = engine(limit, sampling);
        for tick in &ticks {
            play(&mut engine, tick);
            let before = engine.log_wealth();
            play(&mut engine, &(PairTick::default(), false));
            prop_assert_eq!(engine.log_wealth(), before);
        }
    }

    #[test]
    fn a_step_that_begins_lowers_no_evidence(limit in limit(), sampling in sampling(), ticks in ticks()) {
        let mut engine = engine(limit, sampling);
        for tick in &ticks {
            play(&mut engine, tick);
            let before = engine.log_wealth();
            engine.begin_step();
            prop_assert_eq!(engine.log_wealth(), before);
        }
    }

    /// With the failures of a tick the evidence against a canary rises, as soon as more fail than the limit allows.
    #[test]
    fn more_failures_in_a_tick_are_more_evidence(limit in limit(), sampling in sampling(), total in 1..1000u64, failed in 0..1000u64) {
        let of = |failed: u64| {
            let mut check = LimitCheck::new(limit, sampling, 1.0);
            check.observe(Tick::of(total, failed.min(total), TICK));
            check
        };
        let (less, more) = (of(failed), of(failed + 1));
        prop_assert!(more.book().log_wealth() >= less.book().log_wealth() - 1e-12);
        prop_assert!(more.log_promotion() <= less.log_promotion() + 1e-12);
    }

    #[test]
    fn the_sentence_of_a_promotion_is_true_of_its_bound(limit in 0.001..0.5, ticks in ticks()) {
        let check = Check::new("check", Rule::Limit { limit });
        let mut engine = Engine::new(Config::new(vec![check])).unwrap();
        for (pair, _) in &ticks {
            engine.observe(0, Outcome::One(pair.canary)).unwrap();
            engine.end_tick(TICK);
            if let stepgate::core::verdict::Verdict::Promote(why) = engine.verdict() {
                prop_assert!(why.bounds.is_some_and(|(lower, upper)| lower <= upper && upper <= limit + 1e-12), "{:?}", why);
            }
        }
    }
}

/// Ville's inequality, played: of 2,000 canaries exactly at their limit at most 1% is rolled back in 30 minutes, up to chance (three
/// standard deviations).
#[test]
fn a_canary_at_its_limit_is_seldom_rolled_back() {
    let runs = 2000;
    for (limit, per_tick) in [(0.01, 5), (0.05, 50)] {
        let rolled_back = (0..runs)
            .filter(|run| {
                let mut draw = Draw::new(*run);
                let mut check = LimitCheck::new(limit, Sampling::Bursty, 1.0);
                (0..360).any(|_| {
                    check.observe(Tick::of(per_tick, draw.failures(per_tick, limit), TICK));
                    check.book().log_wealth() >= 100f64.ln()
                })
            })
            .count();
        // 1% of 2,000, and three times the square root of 2,000 * 0.01 * 0.99.
        assert!(rolled_back <= 20 + 13, "limit {limit}: {rolled_back} of {runs}");
    }
}
