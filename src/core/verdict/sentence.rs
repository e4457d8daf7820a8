//! The verdict in words.
//!
//! Evidence is given as odds ("14:1, rollback at 100:1"): what a bet of 1 against the canary has become. It is not the probability that
//! the canary is bad, and no sentence says so.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::config::{Counted, Fault};
use super::tick::{PairTick, Tick, seconds};

/// A verdict without its reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ruling {
    RollBack,
    NoData,
    Watch,
    Promote,
    HoldElapsed,
    Wait,
}

/// What is to happen to the release, and why.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    RollBack(Why),
    NoData(Why),
    /// Half-way to a rollback, or an incident of both sides: nothing is promoted until it fades.
    Watch(Why),
    Promote(Why),
    /// The time of the step is over, and the evidence is not enough. What follows is the caller's choice.
    HoldElapsed(Why),
    Wait(Why),
}

/// The numbers that a verdict rests on: those of the check that decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    pub check: String,
    pub counted: Counted,
    pub fault: Fault,
    /// What was counted in this step. Of the stable version only where it is compared.
    pub step: PairTick,
    #[serde(with = "seconds")]
    pub step_elapsed: Duration,
    #[serde(with = "seconds")]
    pub idle: Duration,
    pub limit: Option<f64>,
    pub margin: Option<f64>,
    /// Between what the failure rate of this step lies. Only where there is a limit.
    pub bounds: Option<(f64, f64)>,
    /// What all bets against the canary are worth: 14 is 14:1. At most [`MOST_ODDS`].
    pub evidence: f64,
    pub rollback_at: f64,
    /// At most one good canary in so many gets as far as a rollback.
    pub false_rollbacks_one_in: f64,
    /// 1 minus the missed regression rate.
    pub confidence: f64,
    /// The canary breaks its limit, and so does the stable version.
    pub is_shared: bool,
    /// How long it takes until there is evidence enough for a promotion, if nothing fails.
    pub eta_seconds: Option<f64>,
}

/// Odds beyond these say nothing more.
pub const MOST_ODDS: f64 = 1e6;

impl Verdict {
    pub(super) fn of(ruling: Ruling, why: Why) -> Self {
        match ruling {
            Ruling::RollBack => Verdict::RollBack(why),
            Ruling::NoData => Verdict::NoData(why),
            Ruling::Watch => Verdict::Watch(why),
            Ruling::Promote => Verdict::Promote(why),
            Ruling::HoldElapsed => Verdict::HoldElapsed(why),
            Ruling::Wait => Verdict::Wait(why),
        }
    }

    pub fn why(&self) -> &Why {
        match self {
            Verdict::RollBack(why)
            | Verdict::NoData(why)
            | Verdict::Watch(why)
            | Verdict::Promote(why)
            | Verdict::HoldElapsed(why)
            | Verdict::Wait(why) => why,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::RollBack(why) => write!(
                to,
                "Rolled back: {} in {}{}. Evidence against the canary {}, rollback at {}; a good canary gets here at most 1 time in {}.",
                why.seen(),
                time(why.step_elapsed),
                why.allowed(),
                odds(why.evidence),
                odds(why.rollback_at),
                why.false_rollbacks_one_in.floor()
            ),
            Verdict::NoData(why) => write!(
                to,
                "No data: no {} for {}. The release waits; without data it is neither promoted nor rolled back.",
                why.counted,
                time(why.idle)
            ),
            Verdict::Watch(why) if why.is_shared => write!(
                to,
                "Holding: canary at {} failures, stable at {} too. Looks shared, not caused by this release.",
                percent(why.step.canary.share()),
                percent(why.step.stable.share())
            ),
            Verdict::Watch(why) => write!(
                to,
                "Watching: evidence {} against the canary (rollback at {}). Promotion blocked until it fades.",
                odds(why.evidence),
                odds(why.rollback_at)
            ),
            Verdict::Promote(why) => write!(to, "Promoted after {}: {}, so {}.", time(why.step_elapsed), why.seen(), why.ruled_out()),
            Verdict::HoldElapsed(why) => {
                write!(to, "Hold elapsed after {}, evidence incomplete: {}{}.", time(why.step_elapsed), why.seen(), why.so_far())
            }
            Verdict::Wait(why) => write!(to, "Waiting: {}{}. {}", why.seen(), why.so_far(), why.against()),
        }
    }
}

impl Why {
    /// "1 of 120 probes failed", or the same of both sides.
    fn seen(&self) -> String {
        let Why { step: PairTick { canary, stable }, counted, fault, .. } = self;
        if canary.is_empty() {
            return format!("no {counted} yet");
        }
        match self.margin {
            None => format!("{} of {} {counted} {fault}", canary.failed, canary.total),
            Some(_) => format!("{} of {} {counted} {fault} at the canary, {}", canary.failed, canary.total, beside(*stable)),
        }
    }

    /// " (limit 1%)"
    fn allowed(&self) -> String {
        let limit = self.limit.map(|limit| format!("limit {}", percent(limit)));
        let margin = self.margin.map(|margin| format!("allowed increase {}", points(margin)));
        let parts: Vec<String> = limit.into_iter().chain(margin).collect();
        if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
    }

    /// What a promotion says of the canary.
    fn ruled_out(&self) -> String {
        let confidence = percent(self.confidence);
        match (self.limit.zip(self.bounds), self.margin) {
            (Some((limit, (_, upper))), None) => {
                format!("the {} is under {} (limit {}, {confidence} confidence)", self.rate(), percent(upper), percent(limit))
            }
            (Some((limit, (_, upper))), Some(margin)) => format!(
                "the {} is under {} (limit {}) and less than {} above stable ({confidence} confidence)",
                self.rate(),
                percent(upper),
                percent(limit),
                points(margin)
            ),
            (None, margin) => {
                format!("the {} is less than {} above stable ({confidence} confidence)", self.rate(), points(margin.unwrap_or_default()))
            }
        }
    }

    /// "; failure rate at most 5.3% so far, limit 1%"
    fn so_far(&self) -> String {
        match (self.limit.zip(self.bounds), self.margin) {
            _ if self.step.canary.is_empty() => String::new(),
            (Some((limit, (_, upper))), _) => format!("; {} at most {} so far, limit {}", self.rate(), percent(upper), percent(limit)),
            (None, Some(margin)) => format!("; allowed increase {}", points(margin)),
            (None, None) => String::new(),
        }
    }

    fn rate(&self) -> &'static str {
        match self.fault {
            Fault::Failed => "failure rate",
            Fault::SlowerThan(_) => "share of slow requests",
        }
    }

    fn against(&self) -> String {
        let none = if self.evidence <= 1.0 { "No evidence" } else { "Little evidence" };
        format!("{none} against the canary ({}, rollback at {}).", odds(self.evidence), odds(self.rollback_at))
    }
}

fn beside(stable: Tick) -> String {
    if stable.is_empty() { "none seen at stable".to_owned() } else { format!("{} of {} at stable", stable.failed, stable.total) }
}

impl fmt::Display for Counted {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Counted::Requests => "requests",
            Counted::Probes => "probes",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Failed => to.write_str("failed"),
            Fault::SlowerThan(limit) => write!(to, "took longer than {} ms", limit.as_millis()),
        }
    }
}

/// "707:1". Rounded down, so that what is short of a rollback does not read like one.
fn odds(odds: f64) -> String {
    match odds {
        odds if odds >= MOST_ODDS => "more than 1000000:1".to_owned(),
        // The threshold is e to the power of a logarithm, and may be a hair short of the whole number that it means.
        odds if odds >= 10.0 => format!("{}:1", (odds * (1.0 + 1e-12)).floor()),
        odds if odds >= 0.05 => format!("{odds:.1}:1"),
        _ => "less than 0.1:1".to_owned(),
    }
}

/// "5.3%", "0.997%", "1%": one place, of small numbers three digits.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let places = match percent {
        percent if percent >= 1.0 => 1,
        percent if percent >= 0.1 => 3,
        percent if percent >= 0.01 => 4,
        _ => 6,
    };
    format!("{}%", trimmed(percent, places))
}

/// "0.5 points"
fn points(share: f64) -> String {
    format!("{} points", trimmed(share * 100.0, 3))
}

fn trimmed(number: f64, places: usize) -> String {
    let text = format!("{number:.places$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// "10 s", "5m34s", "1h2m"
fn time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let part = |number: u64, unit: &str| if number == 0 { String::new() } else { format!("{number}{unit}") };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{}m{}", seconds / 60, part(seconds % 60, "s")),
        _ => format!("{}h{}", seconds / 3600, part(seconds % 3600 / 60, "m")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Check, Config, Engine, Outcome, Rule, Sampling};
    use super::*;

    const TICK: Duration = Duration::from_secs(5);

    /// How many times a tick is seen: requests and failures of the canary and of stable.
    type Ticks = (u64, (u64, u64), (u64, u64));

    fn said(check: &Check, ticks: &[Ticks]) -> String {
        let mut engine = Engine::new(Config::new(vec![check.clone()])).unwrap();
        for (times, canary, stable) in ticks {
            for _ in 0..*times {
                let tick = |(total, failed)| Tick::of(total, failed, TICK);
                let outcome = match check.rule {
                    Rule::Limit { .. } => Outcome::One(tick(*canary)),
                    _ => Outcome::Pair(PairTick { canary: tick(*canary), stable: tick(*stable) }),
                };
                engine.observe(0, outcome).unwrap();
                engine.end_tick(TICK);
            }
        }
        engine.verdict().to_string()
    }

    fn probes(limit: f64) -> Check {
        Check { counted: Counted::Probes, ..Check::new("probe", Rule::Limit { limit }) }
    }

    #[test]
    fn a_limit_in_words() {
        let none = (0, 0);
        let of =
            |ticks: &[(u64, (u64, u64))]| said(&probes(0.01), &ticks.iter().map(|(n, canary)| (*n, *canary, none)).collect::<Vec<_>>());
        insta::assert_snapshot!(
            [of(&[]), of(&[(23, (5, 0)), (1, (5, 1))]), of(&[(1, (5, 5))]), of(&[(2, (5, 5))]), of(&[(59, (5, 0)), (1, (5, 1))]), of(&[(1, (5, 0)), (12, none)])]
                .join("\n"),
            @r"
            Waiting: no probes yet. No evidence against the canary (1.0:1, rollback at 100:1).
            Waiting: 1 of 120 probes failed; failure rate at most 5.3% so far, limit 1%. No evidence against the canary (0.7:1, rollback at 100:1).
            Watching: evidence 12:1 against the canary (rollback at 100:1). Promotion blocked until it fades.
            Rolled back: 10 of 10 probes failed in 10 s (limit 1%). Evidence against the canary 707:1, rollback at 100:1; a good canary gets here at most 1 time in 100.
            Hold elapsed after 5m, evidence incomplete: 1 of 300 probes failed; failure rate at most 2.2% so far, limit 1%.
            No data: no probes for 1m. The release waits; without data it is neither promoted nor rolled back.
            "
        );
    }

    #[test]
    fn a_promotion_in_words() {
        let mut engine = Engine::new(Config { hold: Duration::from_mins(10), ..Config::new(vec![probes(0.01)]) }).unwrap();
        for _ in 0..334 {
            engine.observe(0, Outcome::One(Tick::of(1, 0, Duration::from_secs(1)))).unwrap();
            engine.end_tick(Duration::from_secs(1));
        }
        assert_eq!(
            engine.verdict().to_string(),
            "Promoted after 5m34s: 0 of 334 probes failed, so the failure rate is under 0.997% (limit 1%, 95% confidence)."
        );
    }

    #[test]
    fn a_comparison_in_words() {
        let compare = || Check::new("success-rate", Rule::Compare { margin: 0.005 });
        let both = || Check::new("success-rate", Rule::Both { limit: 0.05, margin: 0.02 });
        let slow = Check {
            fault: Fault::SlowerThan(Duration::from_millis(300)),
            sampling: Sampling::Independent,
            ..Check::new("latency", Rule::Limit { limit: 0.05 })
        };
        insta::assert_snapshot!(
            [
                said(&compare(), &[(10, (50, 15), (450, 1))]),
                said(&compare(), &[(50, (50, 0), (450, 0))]),
                said(&compare(), &[(2, (5, 0), (0, 0))]),
                said(&both(), &[(40, (50, 8), (450, 70))]),
                said(&both(), &[(59, (50, 0), (450, 0))]),
                said(&slow, &[(10, (50, 15), (0, 0))]),
                said(&slow, &[(10, (50, 2), (0, 0))]),
            ]
            .join("\n"),
            @r"
            Rolled back: 45 of 150 requests failed at the canary, 3 of 1350 at stable in 15 s (allowed increase 0.5 points). Evidence against the canary 138:1, rollback at 100:1; a good canary gets here at most 1 time in 100.
            Promoted after 4m10s: 0 of 2500 requests failed at the canary, 0 of 22500 at stable, so the failure rate is less than 0.5 points above stable (95% confidence).
            Waiting: 0 of 10 requests failed at the canary, none seen at stable; allowed increase 0.5 points. No evidence against the canary (1.0:1, rollback at 100:1).
            Holding: canary at 16% failures, stable at 15.6% too. Looks shared, not caused by this release.
            Promoted after 4m55s: 0 of 2950 requests failed at the canary, 0 of 26550 at stable, so the failure rate is under 1.1% (limit 5%) and less than 2 points above stable (95% confidence).
            Rolled back: 15 of 50 requests took longer than 300 ms in 5 s (limit 5%). Evidence against the canary 992347:1, rollback at 100:1; a good canary gets here at most 1 time in 100.
            Waiting: 20 of 500 requests took longer than 300 ms; share of slow requests at most 16.3% so far, limit 5%. No evidence against the canary (0.5:1, rollback at 100:1).
            "
        );
    }

    #[test]
    fn numbers_read_like_numbers() {
        assert_eq!(
            [0.01, 0.053, 0.009_972_13, 0.0005, 0.101, 1.0, 0.0].map(percent),
            ["1%", "5.3%", "0.997%", "0.05%", "10.1%", "100%", "0%"]
        );
        assert_eq!(
            [707.9, 99.999, 14.2, 0.7, 0.01, 1e6].map(odds),
            ["707:1", "99:1", "14:1", "0.7:1", "less than 0.1:1", "more than 1000000:1"]
        );
        assert_eq!([10, 60, 334, 3720].map(|s| time(Duration::from_secs(s))), ["10 s", "1m", "5m34s", "1h2m"]);
        assert_eq!(odds((-0.01f64.ln()).exp()), "100:1");
    }
}
