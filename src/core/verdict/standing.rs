//! One check of a release: what it has seen, and what that is worth.

use serde::{Deserialize, Serialize};

use super::compare::{self, CompareCheck};
use super::config::{Check, Rule};
use super::limit::LimitCheck;
use super::tick::{PairTick, Tick};

/// What was counted for one check in one tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Of the canary alone, for [`Rule::Limit`].
    One(Tick),
    /// Of the canary alone, where it is known only between what the failures lie, for [`Rule::Limit`]: the buckets of a histogram.
    Between { surely: Tick, possibly: Tick },
    /// Of both sides, for [`Rule::Compare`] and [`Rule::Both`].
    Pair(PairTick),
}

/// How one check stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Standing {
    pub limit: Option<LimitCheck>,
    pub compare: Option<CompareCheck>,
    /// What was counted in this step, for the sentences.
    pub step: PairTick,
}

impl Standing {
    pub fn of(check: &Check) -> Self {
        let (limit, margin) = check.rule.parts();
        Standing {
            limit: limit.map(|limit| LimitCheck::new(limit, check.sampling, check.evidence_per_second)),
            compare: margin.map(|margin| CompareCheck::with_caps(margin, check.sampling, compare::STABLE_CAP, check.compare_evidence())),
            step: PairTick::default(),
        }
    }

    /// Whether it is the state of this check, and one that can be reached.
    pub fn is_of(&self, check: &Check) -> bool {
        let (limit, margin) = check.rule.parts();
        let of_limit = match (&self.limit, limit) {
            (Some(standing), Some(limit)) => standing.is_of(limit, check.sampling, check.evidence_per_second),
            (None, None) => true,
            _ => false,
        };
        of_limit
            && match (&self.compare, margin) {
                (Some(standing), Some(margin)) => standing.is_of(margin, check.sampling, check.compare_evidence()),
                (None, None) => true,
                _ => false,
            }
    }

    /// Whether a bet was made. None where the outcome is not of the check's kind.
    pub fn observe(&mut self, outcome: Outcome) -> Option<bool> {
        match (outcome, &mut self.limit, &mut self.compare) {
            (Outcome::One(tick), Some(limit), None) => {
                limit.observe(tick);
                self.step.canary = self.step.canary.and(tick);
                Some(!tick.is_empty())
            }
            (Outcome::Between { surely, possibly }, Some(limit), None) => {
                limit.observe_between(surely, possibly);
                self.step.canary = self.step.canary.and(surely);
                Some(!surely.is_empty())
            }
            (Outcome::Pair(pair), limit, Some(compare)) => {
                if let Some(limit) = limit {
                    limit.observe(pair.canary);
                }
                self.step = self.step.and(pair);
                Some(compare.observe(pair).is_some() || limit.is_some() && !pair.canary.is_empty())
            }
            _ => None,
        }
    }

    /// Where two things are asked for at once, the smaller wealth: a bet that holds as long as one of the two is innocent.
    pub fn log_wealth(&self) -> f64 {
        let limit = self.limit.as_ref().map(|limit| limit.book().log_wealth());
        let compare = self.compare.as_ref().map(|compare| compare.book().log_wealth());
        limit.unwrap_or(f64::INFINITY).min(compare.unwrap_or(f64::INFINITY))
    }

    /// Where two things are asked for at once, both must be evident.
    pub fn log_promotion(&self) -> f64 {
        let limit = self.limit.as_ref().map(LimitCheck::log_promotion);
        let compare = self.compare.as_ref().map(CompareCheck::log_promotion);
        limit.unwrap_or(f64::INFINITY).min(compare.unwrap_or(f64::INFINITY))
    }
}

impl Rule {
    /// The limit, and the margin over the stable version.
    pub(super) fn parts(self) -> (Option<f64>, Option<f64>) {
        match self {
            Rule::Limit { limit } => (Some(limit), None),
            Rule::Compare { margin } => (None, Some(margin)),
            Rule::Both { limit, margin } => (Some(limit), Some(margin)),
        }
    }
}

impl Check {
    /// Where a limit is asked for as well, `evidence_per_second` is about the limit.
    fn compare_evidence(&self) -> f64 {
        match self.rule {
            Rule::Both { .. } => compare::EVIDENCE_PER_SECOND,
            Rule::Limit { .. } | Rule::Compare { .. } => self.evidence_per_second,
        }
    }
}
