//! Holds the engine against a file of vectors: inputs and results of an independent calculation to 50 digits.
//!
//! Each section of the file is a list of cases of one formula. A number matches where it differs by at most
//! `1e-9 * max(1, |expected|)`; `null` is the logarithm of an impossible bet.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use stepgate::core::verdict::bounds::{lower, upper};
use stepgate::core::verdict::compare::{CompareCheck, projection};
use stepgate::core::verdict::limit::{LimitCheck, block, promotion};
use stepgate::core::verdict::logs::combine;
use stepgate::core::verdict::{Check, Config, Engine, Outcome, PairTick, Rule, Ruling, Sampling, Tick, book};

const TOLERANCE: f64 = 1e-9;

/// How much was held against the file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Matched {
    pub cases: usize,
    pub values: usize,
}

/// # Errors
/// The first difference, or what keeps the file from being read.
pub fn check(text: &str) -> Result<Matched, String> {
    let sections: Map<String, Value> = serde_json::from_str(text).map_err(|error| format!("not a file of vectors: {error}"))?;
    let mut matched = Matched::default();
    for (section, cases) in sections.into_iter().filter(|(section, _)| section != "meta") {
        let case: fn(Value) -> Result<usize, String> = match section.as_str() {
            "grid" => |case| grid(&read(case)?),
            "slo_block" => |case| slo_block(&read(case)?),
            "slo_stream" => |case| slo_stream(&read(case)?),
            "promote_block" => |case| promote_block(&read(case)?),
            "promote_stream" => |case| promote_stream(&read(case)?),
            "bounds" => |case| bounds(&read(case)?),
            "ripr" => |case| ripr(&read(case)?),
            "compare_stream" => |case| compare_stream(&read(case)?),
            "combine" => |case| combined(&read(case)?),
            "verdict_stream" => |case| verdict_stream(&read(case)?),
            _ => return Err(format!("{section}: no such section")),
        };
        let cases: Vec<Value> = serde_json::from_value(cases).map_err(|error| format!("{section}: {error}"))?;
        for (index, value) in cases.into_iter().enumerate() {
            let name = value.get("name").and_then(Value::as_str).map(|name| format!(" ({name})")).unwrap_or_default();
            matched.values += case(value).map_err(|difference| format!("{section}[{index}]{name}: {difference}"))?;
            matched.cases += 1;
        }
    }
    if matched.values == 0 { Err("there is nothing to match".to_owned()) } else { Ok(matched) }
}

fn read<T: DeserializeOwned>(case: Value) -> Result<T, String> {
    serde_json::from_value(case).map_err(|error| error.to_string())
}

/// One number. Says that one value matched.
fn same(what: &str, found: f64, expected: Option<f64>) -> Result<usize, String> {
    let expected = expected.unwrap_or(f64::NEG_INFINITY);
    // Two infinities are equal, and have no difference.
    #[allow(clippy::float_cmp, reason = "infinities are compared")]
    let matches = found == expected || (found - expected).abs() <= TOLERANCE * expected.abs().max(1.0);
    if matches { Ok(1) } else { Err(format!("{what}: found {found}, expected {expected}")) }
}

fn all_same(what: &str, found: &[f64], expected: &[Option<f64>]) -> Result<usize, String> {
    if found.len() != expected.len() {
        return Err(format!("{what}: found {} numbers, expected {}", found.len(), expected.len()));
    }
    found.iter().zip(expected).enumerate().map(|(index, (found, expected))| same(&format!("{what}[{index}]"), *found, *expected)).sum()
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<usize, String> {
    if found == expected { Ok(1) } else { Err(format!("{what}: found {found:?}, expected {expected:?}")) }
}

/// The first tick at which the evidence is enough for an error rate.
fn first_at(logs: &[f64], rate: f64) -> Option<usize> {
    logs.iter().position(|log| *log >= -rate.ln())
}

#[derive(Deserialize)]
struct Grid {
    base: f64,
    q: Vec<Option<f64>>,
}

fn grid(case: &Grid) -> Result<usize, String> {
    all_same("q", &book::rates(case.base), &case.q)
}

#[derive(Deserialize)]
struct Block {
    limit: f64,
    n: u64,
    k: u64,
    log_e: Option<f64>,
}

fn slo_block(case: &Block) -> Result<usize, String> {
    same("log_e", block(case.limit, Tick::of(case.n, case.k, Duration::ZERO)), case.log_e)
}

#[derive(Deserialize)]
struct PromoteBlock {
    limit: f64,
    n_eff: f64,
    k_eff: f64,
    log_e: Option<f64>,
}

fn promote_block(case: &PromoteBlock) -> Result<usize, String> {
    same("log_e", promotion(case.limit, case.n_eff, case.k_eff), case.log_e)
}

#[derive(Deserialize)]
struct Bounds {
    n: f64,
    k: f64,
    alpha: f64,
    beta: f64,
    lower: Option<f64>,
    upper: Option<f64>,
}

fn bounds(case: &Bounds) -> Result<usize, String> {
    Ok(same("lower", lower(case.n, case.k, case.alpha), case.lower)? + same("upper", upper(case.n, case.k, case.beta), case.upper)?)
}

#[derive(Deserialize)]
struct OneTick {
    total: u64,
    failed: u64,
    #[serde(default)]
    secs: f64,
    #[serde(default)]
    new_step: bool,
}

impl OneTick {
    fn tick(&self) -> Tick {
        Tick::of(self.total, self.failed, Duration::from_secs_f64(self.secs))
    }
}

#[derive(Deserialize)]
struct SloStream {
    limit: f64,
    alpha: f64,
    sampling: Sampling,
    ticks: Vec<OneTick>,
    log_wealth: Vec<Option<f64>>,
    rollback_at: Option<usize>,
    final_log_reserve: Option<f64>,
    final_log_bets: Vec<Option<f64>>,
}

fn slo_stream(case: &SloStream) -> Result<usize, String> {
    let mut check = LimitCheck::new(case.limit, case.sampling, 1.0);
    let mut wealth = Vec::new();
    for tick in &case.ticks {
        // In these streams the step is a mark of its tick: one without requests marks nothing.
        if tick.new_step && tick.total > 0 {
            check.begin_step();
        }
        check.observe(tick.tick());
        wealth.push(check.book().log_wealth());
    }
    Ok(all_same("log_wealth", &wealth, &case.log_wealth)?
        + equal("rollback_at", &first_at(&wealth, case.alpha), &case.rollback_at)?
        + same("final_log_reserve", check.book().log_reserve(), case.final_log_reserve)?
        + all_same("final_log_bets", check.book().log_bets(), &case.final_log_bets)?)
}

#[derive(Deserialize)]
struct PromoteStream {
    limit: f64,
    beta: f64,
    evidence_per_second: f64,
    ticks: Vec<OneTick>,
    log_e: Vec<Option<f64>>,
    ready_at: Option<usize>,
    n_eff: Option<f64>,
    k_eff: Option<f64>,
    upper: Option<f64>,
}

fn promote_stream(case: &PromoteStream) -> Result<usize, String> {
    let mut check = LimitCheck::new(case.limit, Sampling::Bursty, case.evidence_per_second);
    let mut evidence = Vec::new();
    for tick in &case.ticks {
        if tick.new_step {
            check.begin_step();
        }
        check.observe(tick.tick());
        evidence.push(check.log_promotion());
    }
    let (total, failed) = check.effective();
    Ok(all_same("log_e", &evidence, &case.log_e)?
        + equal("ready_at", &first_at(&evidence, case.beta), &case.ready_at)?
        + same("n_eff", total, case.n_eff)?
        + same("k_eff", failed, case.k_eff)?
        + same("upper", upper(total, failed, case.beta), case.upper)?)
}

#[derive(Deserialize)]
struct Ripr {
    m_stable: f64,
    m_canary: f64,
    theta_s: f64,
    theta_c: f64,
    delta: f64,
    theta_s0: Option<f64>,
}

fn ripr(case: &Ripr) -> Result<usize, String> {
    same("theta_s0", projection(case.m_stable, case.m_canary, case.theta_s, case.theta_c, case.delta), case.theta_s0)
}

#[derive(Deserialize)]
struct BothTick {
    canary_total: u64,
    canary_failed: u64,
    stable_total: u64,
    stable_failed: u64,
    secs: f64,
    #[serde(default)]
    new_step: bool,
}

#[derive(Deserialize)]
struct CompareStream {
    allowed_increase: f64,
    alpha: f64,
    beta: f64,
    sampling: Sampling,
    stable_cap: f64,
    evidence_per_second: f64,
    ticks: Vec<BothTick>,
    stable_rate_used: Vec<Option<f64>>,
    log_wealth: Vec<Option<f64>>,
    rollback_at: Option<usize>,
    promote_log_e: Vec<Option<f64>>,
    promote_ready_at: Option<usize>,
}

fn compare_stream(case: &CompareStream) -> Result<usize, String> {
    let mut check = CompareCheck::with_caps(case.allowed_increase, case.sampling, case.stable_cap, case.evidence_per_second);
    let (mut bases, mut wealth, mut evidence) = (Vec::new(), Vec::new(), Vec::new());
    for tick in &case.ticks {
        if tick.new_step {
            check.begin_step();
        }
        let elapsed = Duration::from_secs_f64(tick.secs);
        let canary = Tick::of(tick.canary_total, tick.canary_failed, elapsed);
        let base = check.observe(PairTick { canary, stable: Tick::of(tick.stable_total, tick.stable_failed, elapsed) });
        bases.push(base.unwrap_or(f64::NEG_INFINITY));
        wealth.push(check.book().log_wealth());
        evidence.push(check.log_promotion());
    }
    Ok(all_same("stable_rate_used", &bases, &case.stable_rate_used)?
        + all_same("log_wealth", &wealth, &case.log_wealth)?
        + equal("rollback_at", &first_at(&wealth, case.alpha), &case.rollback_at)?
        + all_same("promote_log_e", &evidence, &case.promote_log_e)?
        + equal("promote_ready_at", &first_at(&evidence, case.beta), &case.promote_ready_at)?)
}

#[derive(Deserialize)]
struct Combine {
    weights: Vec<f64>,
    log_e: Vec<f64>,
    combined: Option<f64>,
}

fn combined(case: &Combine) -> Result<usize, String> {
    same("combined", combine(case.weights.iter().copied().zip(case.log_e.iter().copied())), case.combined)
}

#[derive(Deserialize)]
struct VerdictTick {
    secs: f64,
    samples: Vec<(u64, u64)>,
    #[serde(default)]
    new_step: bool,
}

#[derive(Deserialize)]
struct VerdictStream {
    limits: Vec<f64>,
    alpha: f64,
    beta: f64,
    min_hold: f64,
    max_hold: f64,
    no_data_after: f64,
    evidence_per_second: f64,
    sampling: Sampling,
    ticks: Vec<VerdictTick>,
    log_wealth: Vec<Option<f64>>,
    verdict: Vec<String>,
}

fn verdict_stream(case: &VerdictStream) -> Result<usize, String> {
    let check = |limit: &f64| Check {
        sampling: case.sampling,
        evidence_per_second: case.evidence_per_second,
        ..Check::new("limit", Rule::Limit { limit: *limit })
    };
    let config = Config {
        checks: case.limits.iter().map(check).collect(),
        false_rollback_rate: case.alpha,
        missed_regression_rate: case.beta,
        min_hold: Duration::from_secs_f64(case.min_hold),
        hold: Duration::from_secs_f64(case.max_hold),
        no_traffic_after: Duration::from_secs_f64(case.no_data_after),
    };
    let mut engine = Engine::new(config).map_err(|error| error.to_string())?;
    let (mut wealth, mut rulings) = (Vec::new(), Vec::new());
    for tick in &case.ticks {
        if tick.new_step {
            engine.begin_step();
        }
        let elapsed = Duration::from_secs_f64(tick.secs);
        for (check, (total, failed)) in tick.samples.iter().enumerate() {
            engine.observe(check, Outcome::One(Tick::of(*total, *failed, elapsed))).map_err(|error| error.to_string())?;
        }
        engine.end_tick(elapsed);
        wealth.push(engine.log_wealth());
        rulings.push(word(engine.ruling()).to_owned());
    }
    let difference = rulings.iter().zip(&case.verdict).position(|(found, expected)| found != expected);
    if let Some(tick) = difference {
        equal(&format!("verdict[{tick}]"), &rulings[tick], &case.verdict[tick])?;
    }
    Ok(all_same("log_wealth", &wealth, &case.log_wealth)? + equal("verdicts", &rulings.len(), &case.verdict.len())? + rulings.len() - 1)
}

fn word(ruling: Ruling) -> &'static str {
    match ruling {
        Ruling::RollBack => "rollback",
        Ruling::NoData => "no-data",
        Ruling::Watch => "watch",
        Ruling::Promote => "promote",
        Ruling::HoldElapsed => "hold-elapsed",
        Ruling::Wait => "wait",
    }
}
