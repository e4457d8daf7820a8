//! What is checked, and how often the judge may be wrong.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::compare;
use super::tick::{Sampling, seconds};

/// What one check asks of the canary.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Rule {
    /// At most this share of its requests fails.
    Limit { limit: f64 },
    /// Its failure rate exceeds that of the stable version by at most this.
    Compare { margin: f64 },
    /// Rolled back only where it breaks the limit *and* is worse than the stable version; promoted on evidence only where it keeps both.
    Both { limit: f64, margin: f64 },
}

/// What is counted, for the sentences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Counted {
    #[default]
    Requests,
    Probes,
}

/// What makes one of them a failed one, for the sentences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fault {
    #[default]
    Failed,
    SlowerThan(#[serde(with = "seconds")] Duration),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    pub name: String,
    pub rule: Rule,
    pub sampling: Sampling,
    /// As how many requests a second count for a promotion at most.
    pub evidence_per_second: f64,
    /// The check's share of the purse, beside the weights of the others.
    pub weight: f64,
    pub counted: Counted,
    pub fault: Fault,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    pub checks: Vec<Check>,
    /// The chance that a canary that keeps every limit is rolled back, in the whole release.
    pub false_rollback_rate: f64,
    /// The chance that a canary that breaks its limit passes a step on evidence.
    pub missed_regression_rate: f64,
    /// No step is shorter than this, whatever the evidence: some failures need time.
    #[serde(with = "seconds")]
    pub min_hold: Duration,
    /// After so long a step is over without evidence. What then happens is the caller's choice.
    #[serde(with = "seconds")]
    pub hold: Duration,
    /// After so long without a request there is no data.
    #[serde(with = "seconds")]
    pub no_traffic_after: Duration,
}

/// A configuration that has no meaning.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    #[error("there is no check")]
    NoCheck,
    #[error("check {0}: the limit {1} is not between 0 and 1")]
    Limit(String, f64),
    #[error("check {0}: the allowed increase {1} is not above 0 and at most 0.5")]
    Margin(String, f64),
    #[error("check {0}: {1} requests a second is not above 0")]
    EvidencePerSecond(String, f64),
    #[error("check {0}: the weight {1} is not above 0")]
    Weight(String, f64),
    #[error("the false rollback rate {0} is not above 0 and at most 0.5")]
    FalseRollbackRate(f64),
    #[error("the missed regression rate {0} is not above 0 and at most 0.5")]
    MissedRegressionRate(f64),
    #[error("the saved state belongs to other checks")]
    OtherChecks,
}

impl Check {
    pub fn new(name: &str, rule: Rule) -> Self {
        let evidence_per_second = match rule {
            Rule::Limit { .. } | Rule::Both { .. } => 1.0,
            Rule::Compare { .. } => compare::EVIDENCE_PER_SECOND,
        };
        let (sampling, counted, fault) = Default::default();
        Check { name: name.to_owned(), rule, sampling, evidence_per_second, weight: 1.0, counted, fault }
    }
}

impl Config {
    /// With the error rates and times that policies have where they say nothing else.
    pub fn new(checks: Vec<Check>) -> Self {
        Config {
            checks,
            false_rollback_rate: 0.01,
            missed_regression_rate: 0.05,
            min_hold: Duration::from_secs(60),
            hold: Duration::from_secs(300),
            no_traffic_after: Duration::from_secs(60),
        }
    }

    /// # Errors
    /// A rate, limit, weight or number of requests is outside of what has a meaning.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let Config { checks, false_rollback_rate, missed_regression_rate, min_hold: _, hold: _, no_traffic_after: _ } = self;
        if checks.is_empty() {
            return Err(ConfigError::NoCheck);
        }
        checks.iter().try_for_each(Check::validate)?;
        // Written so that a number that is none is refused as well.
        let is_rate = |rate: f64| rate > 0.0 && rate <= 0.5;
        if !is_rate(*false_rollback_rate) {
            return Err(ConfigError::FalseRollbackRate(*false_rollback_rate));
        }
        if !is_rate(*missed_regression_rate) {
            return Err(ConfigError::MissedRegressionRate(*missed_regression_rate));
        }
        Ok(())
    }
}

impl Check {
    fn validate(&self) -> Result<(), ConfigError> {
        let (limit, margin) = match self.rule {
            Rule::Limit { limit } => (Some(limit), None),
            Rule::Compare { margin } => (None, Some(margin)),
            Rule::Both { limit, margin } => (Some(limit), Some(margin)),
        };
        let name = || self.name.clone();
        if let Some(limit) = limit.filter(|limit| !(*limit > 0.0 && *limit < 1.0)) {
            return Err(ConfigError::Limit(name(), limit));
        }
        if let Some(margin) = margin.filter(|margin| !(*margin > 0.0 && *margin <= 0.5)) {
            return Err(ConfigError::Margin(name(), margin));
        }
        if !(self.evidence_per_second > 0.0 && self.evidence_per_second.is_finite()) {
            return Err(ConfigError::EvidencePerSecond(name(), self.evidence_per_second));
        }
        if !(self.weight > 0.0 && self.weight.is_finite()) {
            return Err(ConfigError::Weight(name(), self.weight));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_meaning_is_refused() {
        let with = |rule| Config::new(vec![Check::new("c", rule)]).validate();
        for limit in [0.0, 1.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(with(Rule::Limit { limit }), Err(ConfigError::Limit(..))), "{limit}");
            assert!(matches!(with(Rule::Both { limit, margin: 0.1 }), Err(ConfigError::Limit(..))), "{limit}");
        }
        for margin in [0.0, 0.6, -1.0, f64::NAN] {
            assert!(matches!(with(Rule::Compare { margin }), Err(ConfigError::Margin(..))), "{margin}");
        }
        for rate in [0.0, 0.51, f64::NAN] {
            let good = Config::new(vec![Check::new("c", Rule::Limit { limit: 0.01 })]);
            assert!(matches!(Config { false_rollback_rate: rate, ..good.clone() }.validate(), Err(ConfigError::FalseRollbackRate(_))));
            assert!(matches!(Config { missed_regression_rate: rate, ..good }.validate(), Err(ConfigError::MissedRegressionRate(_))));
        }
        assert_eq!(Config::new(Vec::new()).validate(), Err(ConfigError::NoCheck));
        assert_eq!(with(Rule::Both { limit: 0.01, margin: 0.005 }), Ok(()));
    }
}
