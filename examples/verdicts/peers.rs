//! How the counters of two peers decide, as their sources do: no statistics, a number of failed checks.
//!
//! Both get metrics without delay, which they do not have in a cluster, over a window of one minute, their default.

/// One minute of metrics.
const WINDOW: u64 = 60;

/// What a peer does with one check of its metric.
#[derive(Clone, Copy, Debug)]
pub enum Peer {
    /// Flagger (`pkg/controller/scheduler.go`): failed checks are counted over the whole rollout; the check after the one that reached the
    /// threshold rolls back. No data is a failed check.
    Flagger { interval: u64, threshold: u32 },
    /// Argo Rollouts (`analysis/analysis.go`): a run is over as soon as more measurements have failed than the limit allows.
    Argo { interval: u64, failure_limit: u32 },
}

/// The checks of one release.
#[derive(Clone, Debug)]
pub struct Checks {
    peer: Peer,
    /// Requests and failures of the intervals in the window, oldest first.
    window: Vec<(u64, u64)>,
    failed: u32,
}

impl Peer {
    pub fn interval(self) -> u64 {
        match self {
            Peer::Flagger { interval, .. } | Peer::Argo { interval, .. } => interval,
        }
    }

    pub fn checks(self) -> Checks {
        Checks { peer: self, window: Vec::new(), failed: 0 }
    }
}

impl Checks {
    /// One interval is over. Whether the release is rolled back.
    #[allow(clippy::cast_precision_loss, reason = "counts of a minute")]
    pub fn check(&mut self, total: u64, failed: u64, limit: f64) -> bool {
        if let Peer::Flagger { threshold, .. } = self.peer
            && self.failed >= threshold
        {
            return true;
        }
        self.window.push((total, failed));
        if self.window.len() as u64 > (WINDOW / self.peer.interval()).max(1) {
            self.window.remove(0);
        }
        let (total, failed) = self.window.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let is_bad = total == 0 || failed as f64 / total as f64 > limit;
        self.failed += u32::from(is_bad);
        matches!(self.peer, Peer::Argo { failure_limit, .. } if self.failed > failure_limit)
    }
}
