//! What happens to the requests of a release.

use std::time::Duration;

use stepgate::core::verdict::{PairTick, Tick};

use crate::draw::Draw;

/// Stable has nine times the canary's requests: a step of 10%.
const STABLE: u64 = 9;

/// How the versions behave.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// Requests a second to the canary.
    pub rate: u64,
    pub stable: f64,
    /// The canary's failure rate, until `turns_at` and from then on.
    pub before: f64,
    pub after: f64,
    pub turns_at: u64,
    /// How long a spell lasts in which half of the canary's requests fail, on average and in seconds. `after` stays the mean.
    pub spells: Option<f64>,
}

/// One release.
#[derive(Clone, Debug)]
pub struct Run {
    world: World,
    draw: Draw,
    now: u64,
    in_spell: bool,
}

impl World {
    pub fn steady(rate: u64, stable: f64, canary: f64) -> Self {
        World { rate, stable, before: canary, after: canary, turns_at: 0, spells: None }
    }

    pub fn run(self, seed: u64) -> Run {
        let mut draw = Draw::new(seed);
        let in_spell = draw.part() < self.after / SPELL;
        Run { world: self, draw, now: 0, in_spell }
    }
}

/// How many of the requests fail in a spell.
const SPELL: f64 = 0.5;

impl Run {
    /// The requests of the next seconds to the canary.
    pub fn canary(&mut self, seconds: u64) -> Tick {
        let World { rate, before, after, turns_at, spells, stable: _ } = self.world;
        let failed = match spells {
            None => self.draw.failures(rate * seconds, if self.now < turns_at { before } else { after }),
            Some(length) => (0..seconds).map(|_| self.second_of_spells(length)).sum(),
        };
        self.now += seconds;
        Tick::of(rate * seconds, failed, Duration::from_secs(seconds))
    }

    /// The requests of the next seconds to both versions.
    pub fn pair(&mut self, seconds: u64) -> PairTick {
        let canary = self.canary(seconds);
        let total = STABLE * canary.total;
        let stable = Tick::of(total, self.draw.failures(total, self.world.stable), canary.elapsed);
        PairTick { canary, stable }
    }

    /// Spells begin and end by chance, so that the mean is kept.
    fn second_of_spells(&mut self, length: f64) -> u64 {
        let bad = self.world.after / SPELL;
        let turns = if self.in_spell { 1.0 / length } else { bad / (length * (1.0 - bad)) };
        if self.draw.part() < turns {
            self.in_spell = !self.in_spell;
        }
        if self.in_spell { self.draw.failures(self.world.rate, SPELL) } else { 0 }
    }

    pub fn now(&self) -> u64 {
        self.now
    }
}
