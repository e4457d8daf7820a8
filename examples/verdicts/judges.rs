//! Who judges a release in the simulation.

use std::time::Duration;

use stepgate::core::verdict::{Check, Config, Engine, Outcome, Rule, Ruling, Sampling};

use crate::peers::Peer;
use crate::world::World;

/// The limit of all judges, and by how much the canary may be worse than stable.
pub const LIMIT: f64 = 0.01;
pub const MARGIN: f64 = 0.005;

#[derive(Clone, Copy, Debug)]
pub enum Judge {
    Stepgate { rule: Rule, sampling: Sampling, tick: u64, promotes: Promotes },
    Peer(Peer),
}

/// Whether a release ends with a promotion on evidence, or goes on to the end of the simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promotes {
    Never,
    OnEvidence,
}

/// How a release ended, after so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    RolledBack(u64),
    Promoted(u64),
    Not,
}

impl Judge {
    pub const LIMIT: Judge =
        Judge::Stepgate { rule: Rule::Limit { limit: LIMIT }, sampling: Sampling::Bursty, tick: 5, promotes: Promotes::Never };
    pub const INDEPENDENT: Judge =
        Judge::Stepgate { rule: Rule::Limit { limit: LIMIT }, sampling: Sampling::Independent, tick: 5, promotes: Promotes::Never };
    pub const COMPARE: Judge =
        Judge::Stepgate { rule: Rule::Compare { margin: MARGIN }, sampling: Sampling::Bursty, tick: 5, promotes: Promotes::Never };
    pub const FLAGGER: Judge = Judge::Peer(Peer::Flagger { interval: 60, threshold: 5 });
    pub const FLAGGER_FAST: Judge = Judge::Peer(Peer::Flagger { interval: 10, threshold: 5 });
    pub const ARGO: Judge = Judge::Peer(Peer::Argo { interval: 60, failure_limit: 3 });
    pub const ARGO_STRICT: Judge = Judge::Peer(Peer::Argo { interval: 60, failure_limit: 0 });

    /// The judge, ready to promote on the evidence of one step.
    pub fn promoting(rule: Rule) -> Judge {
        Judge::Stepgate { rule, sampling: Sampling::Bursty, tick: 5, promotes: Promotes::OnEvidence }
    }

    /// One release of at most `seconds`.
    ///
    /// # Errors
    /// The engine refuses its configuration, or what it is shown.
    pub fn judge(self, world: World, seed: u64, seconds: u64) -> Result<Ended, Box<dyn std::error::Error>> {
        let mut run = world.run(seed);
        match self {
            Judge::Peer(peer) => {
                let mut checks = peer.checks();
                while run.now() < seconds {
                    let canary = run.canary(peer.interval());
                    if checks.check(canary.total, canary.failed, LIMIT) {
                        return Ok(Ended::RolledBack(run.now()));
                    }
                }
            }
            Judge::Stepgate { rule, sampling, tick, promotes } => {
                let elapsed = Duration::from_secs(tick);
                let mut engine = Engine::new(Config::new(vec![Check { sampling, ..Check::new("success-rate", rule) }]))?;
                while run.now() < seconds {
                    let outcome = match rule {
                        Rule::Limit { .. } => Outcome::One(run.canary(tick)),
                        Rule::Compare { .. } | Rule::Both { .. } => Outcome::Pair(run.pair(tick)),
                    };
                    engine.observe(0, outcome)?;
                    engine.end_tick(elapsed);
                    if engine.is_rolled_back() {
                        return Ok(Ended::RolledBack(run.now()));
                    }
                    if promotes == Promotes::OnEvidence && engine.ruling() == Ruling::Promote {
                        return Ok(Ended::Promoted(run.now()));
                    }
                }
            }
        }
        Ok(Ended::Not)
    }
}
