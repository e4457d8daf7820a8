//! Several checks of one release: roll back, promote, or wait.
//!
//! The checks share a purse, so that the chance of a false rollback is that of the configuration and not the sum over the checks. The
//! engine's state is what its [`serde`] form holds; a controller that keeps it goes on where its predecessor stood. One that has lost it
//! begins anew with [`Engine::restarted`], at twice the threshold each time: over any number of restarts the chance of a false
//! rollback stays below twice the configured one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bounds::{lower, upper};
use super::compare::CompareCheck;
use super::config::{Config, ConfigError};
use super::limit::LimitCheck;
use super::logs::combine;
use super::sentence::{MOST_ODDS, Ruling, Verdict, Why};
use super::standing::{Outcome, Standing};
use super::tick::{PairTick, real, seconds};

/// There is no such check, or its rule needs another kind of outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("check {0} does not exist, or needs counts of another kind")]
pub struct Misplaced(pub usize);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Saved", rename_all = "camelCase")]
pub struct Engine {
    config: Config,
    checks: Vec<Standing>,
    #[serde(with = "seconds")]
    step_elapsed: Duration,
    #[serde(with = "seconds")]
    idle: Duration,
    restarts: u32,
    /// A check has made a bet since the last end of a tick.
    has_data: bool,
    /// Why it was rolled back, as it stood at that moment. Nothing that is seen later changes it.
    rolled_back: Option<Why>,
}

impl Engine {
    /// # Errors
    /// The configuration has no meaning.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Engine::restarted(config, 0)
    }

    /// A judge that has lost what its predecessors saw in this release, for the `restarts`-th time.
    ///
    /// # Errors
    /// The configuration has no meaning.
    pub fn restarted(config: Config, restarts: u32) -> Result<Self, ConfigError> {
        config.validate()?;
        let checks = config.checks.iter().map(Standing::of).collect();
        let (step_elapsed, idle) = Default::default();
        Ok(Engine { config, checks, step_elapsed, idle, restarts, has_data: false, rolled_back: None })
    }

    /// The load changes. Evidence against the canary stays; evidence for a promotion is gathered anew.
    pub fn begin_step(&mut self) {
        for check in &mut self.checks {
            check.limit.iter_mut().for_each(LimitCheck::begin_step);
            check.compare.iter_mut().for_each(CompareCheck::begin_step);
            check.step = PairTick::default();
        }
        (self.step_elapsed, self.idle) = (Duration::ZERO, Duration::ZERO);
    }

    /// Takes in what one check has counted in this tick. Once a tick and check.
    ///
    /// # Errors
    /// There is no such check, or it needs an outcome of another kind. Nothing is taken in.
    pub fn observe(&mut self, check: usize, outcome: Outcome) -> Result<(), Misplaced> {
        let standing = self.checks.get_mut(check).ok_or(Misplaced(check))?;
        self.has_data |= standing.observe(outcome).ok_or(Misplaced(check))?;
        Ok(())
    }

    /// All checks have been observed, `elapsed` after the last tick.
    pub fn end_tick(&mut self, elapsed: Duration) {
        self.step_elapsed = self.step_elapsed.saturating_add(elapsed);
        self.idle = if self.has_data { Duration::ZERO } else { self.idle.saturating_add(elapsed) };
        self.has_data = false;
        if !self.is_rolled_back() && self.log_wealth() >= self.threshold() {
            self.rolled_back = Some(why(self, Ruling::RollBack));
        }
    }

    /// What the evidence against the canary is worth, over all checks, as a logarithm.
    pub fn log_wealth(&self) -> f64 {
        combine(self.purses())
    }

    /// The share of each check in the purse, and what it has won.
    fn purses(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        let all: f64 = self.config.checks.iter().map(|check| check.weight).sum();
        self.config.checks.iter().zip(&self.checks).map(move |(check, standing)| (check.weight / all, standing.log_wealth()))
    }

    /// The evidence that is enough for a rollback, as a logarithm.
    pub fn threshold(&self) -> f64 {
        f64::from(self.restarts) * std::f64::consts::LN_2 - self.config.false_rollback_rate.ln()
    }

    /// Half-way to a rollback, in logarithms: 10:1 of 100:1.
    fn suspicion(&self) -> f64 {
        self.threshold() / 2.0
    }

    fn enough_to_promote(&self) -> f64 {
        -self.config.missed_regression_rate.ln()
    }

    /// Whether the evidence has been enough for a rollback at the end of a tick. It stays so.
    pub fn is_rolled_back(&self) -> bool {
        self.rolled_back.is_some()
    }

    pub fn ruling(&self) -> Ruling {
        if self.is_rolled_back() {
            Ruling::RollBack
        } else if self.idle >= self.config.no_traffic_after {
            Ruling::NoData
        } else if self.log_wealth() >= self.suspicion() || self.shared_incident().is_some() {
            Ruling::Watch
        } else if self.is_ready() && self.step_elapsed >= self.config.min_hold {
            Ruling::Promote
        } else if self.step_elapsed >= self.config.hold {
            Ruling::HoldElapsed
        } else {
            Ruling::Wait
        }
    }

    pub fn verdict(&self) -> Verdict {
        let ruling = self.ruling();
        Verdict::of(ruling, self.rolled_back.clone().unwrap_or_else(|| why(self, ruling)))
    }

    fn is_ready(&self) -> bool {
        self.checks.iter().all(|check| check.log_promotion() >= self.enough_to_promote())
    }

    /// A check whose canary breaks its limit, as the stable version does: no case for a rollback, and none for more load.
    fn shared_incident(&self) -> Option<usize> {
        let breaks = |check: &Standing| check.limit.as_ref().is_some_and(|limit| limit.book().log_wealth() >= self.suspicion());
        self.checks.iter().position(|check| check.compare.is_some() && breaks(check))
    }

    /// What was configured. A saved engine of another configuration is no use: its bets were against other limits.
    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn restarts(&self) -> u32 {
        self.restarts
    }
}

fn why(engine: &Engine, ruling: Ruling) -> Why {
    let config = &engine.config;
    let index = deciding(engine, ruling);
    let (check, standing) = (&config.checks[index], &engine.checks[index]);
    let (limit, margin) = check.rule.parts();
    let restarts = f64::from(engine.restarts);
    Why {
        check: check.name.clone(),
        counted: check.counted,
        fault: check.fault,
        step: standing.step,
        step_elapsed: engine.step_elapsed,
        idle: engine.idle,
        limit,
        margin,
        bounds: standing.limit.as_ref().map(|limit| {
            let (total, failed) = limit.effective();
            (lower(total, failed, config.false_rollback_rate), upper(total, failed, config.missed_regression_rate))
        }),
        evidence: engine.log_wealth().exp().min(MOST_ODDS),
        rollback_at: engine.threshold().exp(),
        // The thresholds of the restarts before were smaller: α + α/2 + ... + α/2^r in all.
        false_rollbacks_one_in: 1.0 / (config.false_rollback_rate * (2.0 - 0.5f64.powf(restarts))),
        confidence: 1.0 - config.missed_regression_rate,
        is_shared: ruling == Ruling::Watch && engine.shared_incident().is_some(),
        eta_seconds: eta(engine, standing, check.evidence_per_second),
    }
}

/// The check that the sentence is about: the one that has won most where the evidence is against the canary, else the one that lacks
/// most for a promotion.
fn deciding(engine: &Engine, ruling: Ruling) -> usize {
    let against = || engine.purses().map(|(share, log)| share.ln() + log).enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
    let lacking = || engine.checks.iter().map(Standing::log_promotion).enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
    let found = match ruling {
        Ruling::RollBack => against(),
        Ruling::Watch => return engine.shared_incident().unwrap_or_else(|| against().map_or(0, |(index, _)| index)),
        Ruling::NoData | Ruling::Promote | Ruling::HoldElapsed | Ruling::Wait => lacking(),
    };
    found.map_or(0, |(index, _)| index)
}

fn eta(engine: &Engine, standing: &Standing, evidence_per_second: f64) -> Option<f64> {
    let limit = standing.limit.as_ref().filter(|_| standing.compare.is_none())?;
    let rate = (real(standing.step.canary.total) / engine.step_elapsed.as_secs_f64()).min(evidence_per_second);
    let left = limit.clean_requests_missing(engine.config.missed_regression_rate) / rate;
    left.is_finite().then_some(left)
}

/// What is on record, before it is known whether it makes sense.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Saved {
    config: Config,
    checks: Vec<Standing>,
    #[serde(with = "seconds")]
    step_elapsed: Duration,
    #[serde(with = "seconds")]
    idle: Duration,
    restarts: u32,
    has_data: bool,
    rolled_back: Option<Why>,
}

impl TryFrom<Saved> for Engine {
    type Error = ConfigError;

    fn try_from(saved: Saved) -> Result<Self, ConfigError> {
        let Saved { config, checks, step_elapsed, idle, restarts, has_data, rolled_back } = saved;
        config.validate()?;
        if checks.len() != config.checks.len() || !checks.iter().zip(&config.checks).all(|(standing, check)| standing.is_of(check)) {
            return Err(ConfigError::OtherChecks);
        }
        Ok(Engine { config, checks, step_elapsed, idle, restarts, has_data, rolled_back })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Check, Rule, Tick};
    use super::*;

    const TICK: Duration = Duration::from_secs(5);

    fn engine(rule: Rule) -> Engine {
        Engine::new(Config::new(vec![Check::new("check", rule)])).unwrap()
    }

    fn play(engine: &mut Engine, ticks: u64, canary: (u64, u64), stable: (u64, u64)) -> Ruling {
        let tick = |(total, failed)| Tick::of(total, failed, TICK);
        for _ in 0..ticks {
            let outcome = match engine.config.checks[0].rule {
                Rule::Limit { .. } => Outcome::One(tick(canary)),
                _ => Outcome::Pair(PairTick { canary: tick(canary), stable: tick(stable) }),
            };
            engine.observe(0, outcome).unwrap();
            engine.end_tick(TICK);
        }
        engine.ruling()
    }

    #[test]
    fn silence_alone_never_rolls_back_and_never_promotes() {
        let mut engine = engine(Rule::Limit { limit: 0.05 });
        play(&mut engine, 200, (5, 0), (0, 0));
        assert_eq!(engine.ruling(), Ruling::Promote);
        assert_eq!(play(&mut engine, 12, (0, 0), (0, 0)), Ruling::NoData);
        assert_eq!(play(&mut engine, 1000, (0, 0), (0, 0)), Ruling::NoData);
        assert_eq!(play(&mut engine, 1, (5, 0), (0, 0)), Ruling::Promote);
    }

    #[test]
    fn a_rollback_stays_one_and_keeps_its_reason() {
        let mut engine = engine(Rule::Limit { limit: 0.01 });
        assert_eq!(play(&mut engine, 2, (5, 5), (0, 0)), Ruling::RollBack);
        let said = engine.verdict().to_string();
        engine.begin_step();
        assert_eq!(play(&mut engine, 1000, (5, 0), (0, 0)), Ruling::RollBack);
        assert_eq!(engine.verdict().to_string(), said);
    }

    #[test]
    fn an_incident_of_both_sides_holds_the_release_and_does_not_roll_it_back() {
        let both = Rule::Both { limit: 0.01, margin: 0.005 };
        let mut engine = engine(both);
        assert_eq!(play(&mut engine, 100, (50, 5), (450, 45)), Ruling::Watch);
        assert!(matches!(engine.verdict(), Verdict::Watch(why) if why.is_shared));
        let mut alone = self::engine(Rule::Limit { limit: 0.01 });
        assert_eq!(play(&mut alone, 100, (50, 5), (450, 45)), Ruling::RollBack);
        let mut worse = self::engine(both);
        assert_eq!(play(&mut worse, 100, (50, 5), (450, 0)), Ruling::RollBack);
    }

    #[test]
    fn each_restart_without_its_record_asks_for_twice_the_evidence() {
        let config = Config::new(vec![Check::new("check", Rule::Limit { limit: 0.01 })]);
        for (restarts, odds) in [(0, 100.0), (1, 200.0), (4, 1600.0)] {
            let engine = Engine::restarted(config.clone(), restarts).unwrap();
            assert!((engine.threshold().exp() - odds).abs() < 1e-9, "{restarts}");
        }
    }

    #[test]
    fn a_record_of_other_checks_or_of_impossible_numbers_is_refused() {
        let mut engine = engine(Rule::Both { limit: 0.01, margin: 0.005 });
        play(&mut engine, 3, (5, 1), (45, 1));
        let saved = serde_json::to_value(&engine).unwrap();
        assert!(serde_json::from_value::<Engine>(saved.clone()).is_ok());
        for (path, value) in [
            ("/config/checks/0/rule/both/limit", 0.02),
            ("/checks/0/limit/limit", 0.02),
            ("/checks/0/compare/margin", 0.02),
            ("/checks/0/limit/book/logReserve", 3.0),
            ("/checks/0/limit/effectiveFailed", -3.0),
        ] {
            let mut spoilt = saved.clone();
            *spoilt.pointer_mut(path).expect(path) = value.into();
            assert!(serde_json::from_value::<Engine>(spoilt).is_err(), "{path}");
        }
    }

    #[test]
    fn counts_of_another_kind_are_refused_and_change_nothing() {
        let mut engine = engine(Rule::Compare { margin: 0.005 });
        let before = engine.clone();
        assert_eq!(engine.observe(0, Outcome::One(Tick::of(5, 5, TICK))), Err(Misplaced(0)));
        assert_eq!(engine.observe(1, Outcome::Pair(PairTick::default())), Err(Misplaced(1)));
        assert_eq!(engine, before);
    }
}
