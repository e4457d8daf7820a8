//! What the controller counts.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::Registry,
};

use crate::api::status::{Outcome, Phase};

use super::pulse::{Answers, State};

/// Counters; clones count together.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    decisions: Counter,
    releases: Family<Released, Counter>,
    writes: Family<Write, Counter>,
}

/// A call to the API server that writes.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Write {
    /// With its subresource: `Deployment/scale`.
    pub kind: &'static str,
    pub verb: &'static str,
    pub outcome: WriteOutcome,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
pub enum WriteOutcome {
    Ok,
    /// The object had changed meanwhile.
    Conflict,
    Timeout,
    Error,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Released {
    outcome: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct InPhase {
    phase: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct InState {
    state: &'static str,
}

/// What only the moment of asking can tell.
#[derive(Debug)]
pub struct Moment<'a> {
    /// Of the loops of the namespaces.
    pub answers: &'a Answers,
    /// Whether this controller is the one that acts.
    pub leads: bool,
}

const STATES: [&str; 5] = ["Ready", "Listing", "Late", "Broken", "Silent"];

fn state(state: &State) -> &'static str {
    match state {
        State::Ready => "Ready",
        State::NotYet(_) => "Listing",
        State::Late => "Late",
        State::Broken(_) => "Broken",
    }
}

const PHASES: [Phase; 8] = [
    Phase::Pending,
    Phase::Healthy,
    Phase::Preparing,
    Phase::Progressing,
    Phase::Baking,
    Phase::Promoting,
    Phase::RollingBack,
    Phase::RolledBack,
];

impl Metrics {
    /// A decision was made.
    pub fn decided(&self) {
        self.decisions.inc();
    }

    /// A release has ended, and that is on record.
    pub fn released(&self, outcome: Outcome) {
        self.releases.get_or_create(&Released { outcome: format!("{outcome:?}") }).inc();
    }

    /// A write was answered, or not.
    pub fn wrote(&self, write: &Write) {
        self.writes.get_or_create(write).inc();
    }

    /// All of it as `OpenMetrics` text, with what only the moment of asking can tell: the phases of the Rollouts, how the loops of the
    /// namespaces are, and whether this controller leads. Nothing of it names an object.
    ///
    /// # Errors
    /// Never, as far as is known: writing into memory does not fail.
    pub fn text(&self, moment: &Moment<'_>) -> Result<String, std::fmt::Error> {
        let Moment { answers: Answers { reports, silent }, leads } = moment;
        let Self { decisions, releases, writes } = self.clone();
        let rollouts = Family::<InPhase, Gauge>::default();
        let in_phase = |phase: Phase| rollouts.get_or_create_owned(&InPhase { phase: format!("{phase:?}") });
        // Zeros are shown too: what is absent cannot be told from what is not counted.
        for gauge in PHASES.into_iter().map(in_phase) {
            gauge.set(0);
        }
        for gauge in reports.iter().flat_map(|report| &report.phases).copied().map(in_phase) {
            gauge.inc();
        }
        let namespaces = Family::<InState, Gauge>::default();
        for state in STATES {
            namespaces.get_or_create(&InState { state }).set(0);
        }
        for report in reports {
            namespaces.get_or_create(&InState { state: state(&report.state) }).inc();
        }
        namespaces.get_or_create(&InState { state: "Silent" }).set(i64::try_from(*silent).unwrap_or(i64::MAX));
        let leader = Gauge::<i64>::default();
        leader.set(i64::from(*leads));

        let mut registry = Registry::with_prefix("stepgate");
        registry.register("build", "The version that runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        registry.register("leader", "Whether this controller is the one that acts", leader);
        registry.register(
            "namespaces",
            "Namespaces with Rollouts, by how their loops are: Late cannot list, Silent does not answer",
            namespaces,
        );
        registry.register("rollouts", "Rollouts in each phase, as this controller sees them", rollouts);
        registry.register("decisions", "Decisions made", decisions);
        registry.register("releases", "Releases that have ended, by their outcome", releases);
        registry.register("api_writes", "Calls to the API server that write, by what became of them", writes);
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::pulse::Report;
    use super::*;

    #[test]
    fn everything_that_is_counted_can_be_read() {
        let metrics = Metrics::default();
        metrics.decided();
        metrics.released(Outcome::RolledBack);
        metrics.wrote(&Write { kind: "Service", verb: "patch", outcome: WriteOutcome::Conflict });
        let report = |state, phases| Report { who: "namespace shop".to_owned(), state, phases };
        let reports = vec![report(State::Ready, vec![Phase::Healthy, Phase::Healthy]), report(State::Late, vec![Phase::Baking])];
        let text = metrics.text(&Moment { answers: &Answers { reports, silent: 3 }, leads: true }).unwrap();
        // Within a name the order is nobody's business.
        let mut lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("# HELP") && !line.ends_with(" 0")).collect();
        lines.sort_unstable();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        # EOF
        # TYPE stepgate_api_writes counter
        # TYPE stepgate_build info
        # TYPE stepgate_decisions counter
        # TYPE stepgate_leader gauge
        # TYPE stepgate_namespaces gauge
        # TYPE stepgate_releases counter
        # TYPE stepgate_rollouts gauge
        stepgate_api_writes_total{kind="Service",verb="patch",outcome="Conflict"} 1
        stepgate_build_info{version="0.1.0"} 1
        stepgate_decisions_total 1
        stepgate_leader 1
        stepgate_namespaces{state="Late"} 1
        stepgate_namespaces{state="Ready"} 1
        stepgate_namespaces{state="Silent"} 3
        stepgate_releases_total{outcome="RolledBack"} 1
        stepgate_rollouts{phase="Baking"} 1
        stepgate_rollouts{phase="Healthy"} 2
        "#);
    }
}
