//! How the demo went: judged, as a table, and as JSON. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    time::Duration,
};

use serde::Serialize;

use super::scene::Tally;
use crate::{
    api::status::{HistoryEntry, Outcome},
    show::text::{counted, lines, thousands, with_clock_times},
    sim::load::{self, Request},
};

use super::{
    paint::{Look, Paint},
    scenario::{Release, Scenario},
    scene::WIDEST,
};

/// Where a remark begins.
const REMARK: usize = 6;

/// How the demo went.
#[derive(Serialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether every release went as it had to, and no request failed.
    pub as_told: bool,
    pub releases: Vec<Played>,
    pub requests: usize,
    /// Requests without a good answer, the bad answers of a version that gives them on purpose excepted.
    pub failed: usize,
    /// Answers by version.
    pub answers: BTreeMap<String, usize>,
    /// The longest that a request was sent after it was due, in seconds: the trust that the numbers deserve.
    pub lateness: f64,
    pub timeline: Vec<Entry>,
}

/// What the Rollout said, and when.
#[derive(Serialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Seconds since the demo began.
    pub at: f64,
    pub phase: String,
    /// The weight asked for, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<u8>,
    /// What the endpoints give, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routed: Option<u8>,
    pub why: String,
}

/// How one release went.
#[derive(Serialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Played {
    pub scenario: Scenario,
    pub version: String,
    pub outcome: Option<Outcome>,
    /// Why it was taken back, if it was.
    pub reason: String,
    /// From the new image to the end, in seconds.
    pub seconds: f64,
    /// How long each weight was in effect, in the order in which they were.
    pub weights: Vec<AtWeight>,
    pub answers: BTreeMap<String, usize>,
    pub bad_answers: usize,
    /// From a client's first bad answer to the last new connection that met the bad version, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub back_after: Option<f64>,
    pub failed: usize,
    /// The pods that were tested and serve on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kept_pods: Vec<String>,
    /// What did not go as it had to.
    pub deviations: Vec<String>,
}

/// How long a weight was in effect.
#[derive(Serialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AtWeight {
    pub weight: u8,
    pub seconds: f64,
}

/// A pod, as far as its identity goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    pub name: String,
    pub uid: String,
    pub restarts: i64,
}

/// What was found out about one release.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    pub release: &'a Release,
    /// The release in `status.history`; none if it is not there.
    pub history: Option<HistoryEntry>,
    pub length: Duration,
    /// The weights in effect, each with its length.
    pub weights: Vec<(u8, Duration)>,
    /// Requests sent while it went on.
    pub requests: Vec<&'a Request>,
    /// Pods of the new version that were ready at 100 %.
    pub tested: BTreeSet<Identity>,
    /// Pods that serve in the end.
    pub serving: BTreeSet<Identity>,
}

/// Whether a request got a bad answer from a version that gives bad answers on purpose. Such an answer is what a release of that version
/// costs until it is taken back; any other failure is Stepgate's.
pub fn is_bad_answer(request: &Request, releases: &[Release]) -> bool {
    let on_purpose = |release: &Release| release.scenario == Scenario::Bad && request.version.as_ref() == Some(&release.version);
    request.outcome.is_failure() && releases.iter().any(on_purpose)
}

/// Counts what clients have seen so far.
pub fn tally(seen: &load::Report, releases: &[Release]) -> Tally {
    let failures = seen.failed();
    let bad = failures.iter().filter(|request| is_bad_answer(request, releases)).count();
    Tally { requests: seen.total(), bad, failed: failures.len() - bad }
}

/// Answers by version.
pub fn answers<'a>(requests: impl Iterator<Item = &'a Request>) -> BTreeMap<String, usize> {
    let mut answers = BTreeMap::new();
    for version in requests.filter_map(|request| request.version.clone()) {
        *answers.entry(version).or_default() += 1;
    }
    answers
}

/// Judges a release.
pub fn judge(facts: Facts<'_>) -> Played {
    let Facts { release, history, length, weights, requests, tested, serving } = facts;
    let own = std::slice::from_ref(release);
    let bad: Vec<&&Request> = requests.iter().filter(|request| is_bad_answer(request, own)).collect();
    let failed = requests.iter().filter(|request| request.outcome.is_failure()).count() - bad.len();
    let last = requests.iter().filter(|request| request.version.as_ref() == Some(&release.version)).map(|request| request.sent_at).max();
    let first = bad.iter().map(|request| request.ended_at()).min();
    let back_after = first.zip(last).map(|(first, last)| last.saturating_duration_since(first).as_secs_f64());
    let kept_pods = tested.intersection(&serving).map(|pod| pod.name.clone()).collect();
    let mut played = Played {
        scenario: release.scenario,
        version: release.version.clone(),
        outcome: history.as_ref().map(|history| history.outcome),
        reason: history.as_ref().map(|history| history.reason.clone()).unwrap_or_default(),
        seconds: length.as_secs_f64(),
        weights: weights.into_iter().map(|(weight, length)| AtWeight { weight, seconds: length.as_secs_f64() }).collect(),
        answers: answers(requests.iter().copied()),
        bad_answers: bad.len(),
        back_after,
        failed,
        kept_pods,
        deviations: Vec::new(),
    };
    played.deviations = deviations(&played, &tested, &serving);
    played
}

fn deviations(played: &Played, tested: &BTreeSet<Identity>, serving: &BTreeSet<Identity>) -> Vec<String> {
    let Played { scenario, version, outcome, weights, answers, bad_answers, failed, .. } = played;
    let mut found = Vec::new();
    match outcome {
        Some(outcome) if *outcome == scenario.expected() => {}
        Some(outcome) => found.push(format!("ended as {outcome:?}, not as {:?}", scenario.expected())),
        None => found.push(format!("did not end; {:?} was expected", scenario.expected())),
    }
    let reached = weights.iter().map(|at| at.weight).max().unwrap_or(0);
    if reached != scenario.reaches() {
        found.push(format!("reached {reached} %, not {} %", scenario.reaches()));
    }
    let met = answers.get(version).copied().unwrap_or(0);
    if *scenario == Scenario::Crash && met > 0 {
        found.push(format!("{version} answered {}", counted(met, "request")));
    }
    if *scenario == Scenario::Bad && *bad_answers == 0 {
        found.push(format!("no client got a bad answer of {version}, so there was nothing to take back"));
    }
    if *scenario == Scenario::Good {
        found.extend(tested.iter().filter(|pod| pod.restarts > 0).map(|pod| format!("pod {} has restarted", pod.name)));
        found.extend(tested.difference(serving).map(|pod| format!("pod {} was tested and is not as it was", pod.name)));
        found.extend(serving.difference(tested).map(|pod| format!("pod {} serves and was not tested", pod.name)));
    }
    if *failed > 0 {
        found.push(format!("{} failed", counted(*failed, "request")));
    }
    found
}

/// The table at the end, and what is worth saying about each release.
pub fn table(report: &Report, paint: Paint) -> String {
    let weights: BTreeSet<u8> =
        report.releases.iter().flat_map(|played| &played.weights).map(|at| at.weight).filter(|weight| *weight > 0).collect();
    let mut head = vec!["release".to_owned(), "outcome".to_owned(), "took".to_owned()];
    head.extend(weights.iter().map(|weight| format!("{weight} %")));
    head.extend(["back in", "bad", "failed", "answers by version"].map(str::to_owned));
    let rows: Vec<Vec<String>> = report.releases.iter().map(|played| row(played, &weights)).collect();
    let width = |column: usize| rows.iter().chain([&head]).map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = format!("{}\n", paint.paint(Look::Strong, aligned(&head, &widths)));
    // Writing to a String cannot fail.
    for (played, cells) in report.releases.iter().zip(&rows) {
        let look = if played.deviations.is_empty() { Look::Good } else { Look::Bad };
        let _ = writeln!(text, "{}", paint.paint(look, aligned(cells, &widths)));
    }
    let _ = writeln!(text, "{}", paint.paint(Look::Faint, legend(&weights)));
    for played in &report.releases {
        let _ = write!(text, "\n{}", remarks(played, paint));
    }
    let bad: usize = report.releases.iter().map(|played| played.bad_answers).sum();
    let as_told = if bad == 0 { String::new() } else { format!("{}, as told; ", counted(bad, "bad answer")) };
    let failed = paint.paint(if report.failed == 0 { Look::Good } else { Look::Bad }, format!("{} failed", thousands(report.failed)));
    let late = (report.lateness * 1000.0).ceil();
    let _ = writeln!(text, "\n {}, each sent within {late:.0} ms of its time; {as_told}{failed}", counted(report.requests, "request"));
    text
}

fn legend(weights: &BTreeSet<u8>) -> String {
    let columns = match (weights.first(), weights.last()) {
        (Some(first), Some(last)) if first != last => format!(" {first} % to {last} %: time at that weight;"),
        (Some(only), _) => format!(" {only} %: time at that weight;"),
        _ => String::new(),
    };
    format!("{columns} back in: first bad answer to last client on that version")
}

/// Text to the left, numbers to the right.
fn aligned(cells: &[String], widths: &[usize]) -> String {
    let padded = cells.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
        let is_text = column < 2 || column + 1 == cells.len();
        if is_text { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
    });
    format!(" {}", padded.collect::<Vec<_>>().join("  ")).trim_end().to_owned()
}

fn row(played: &Played, weights: &BTreeSet<u8>) -> Vec<String> {
    let outcome = match played.outcome {
        Some(Outcome::Promoted) => "promoted",
        Some(Outcome::RolledBack) => "taken back",
        Some(Outcome::Superseded) => "superseded",
        Some(Outcome::Unguarded) => "unguarded",
        Some(Outcome::ScaledToZero) => "scaled to zero",
        None => "no end",
    };
    let length = |length: f64| if length > 0.0 { format!("{length:.1} s") } else { "-".to_owned() };
    let at = |weight: &u8| length(played.weights.iter().filter(|at| at.weight == *weight).map(|at| at.seconds).sum());
    let mut cells = vec![format!("{} {}", played.version, played.scenario.name()), outcome.to_owned(), length(played.seconds)];
    cells.extend(weights.iter().map(at));
    cells.push(played.back_after.map_or_else(|| "-".to_owned(), |back| format!("{back:.2} s")));
    cells.push(thousands(played.bad_answers));
    cells.push(thousands(played.failed));
    cells.push(played.answers.iter().map(|(version, count)| format!("{version} {}", thousands(*count))).collect::<Vec<_>>().join(", "));
    cells
}

/// What the table does not say.
fn remarks(played: &Played, paint: Paint) -> String {
    let Played { scenario, version, reason, kept_pods, deviations, .. } = played;
    let told = match scenario {
        Scenario::Good => format!(
            "promoted by adoption: the {} pods that were tested serve now, none has restarted: {}",
            kept_pods.len(),
            kept_pods.join(" ")
        ),
        Scenario::Bad => format!("taken back: {}", with_clock_times(reason)),
        Scenario::Crash => format!("taken back before a client met it: {}", with_clock_times(reason)),
    };
    let told = if played.outcome == Some(scenario.expected()) { Some((told, None)) } else { None };
    let deviations = deviations.iter().map(|deviation| (format!("not as told: {deviation}"), Some(Look::Bad)));
    let mut text = String::new();
    let lines =
        told.into_iter().chain(deviations).flat_map(|(text, look)| lines(&text, WIDEST - REMARK).into_iter().map(move |line| (line, look)));
    for (index, (line, look)) in lines.enumerate() {
        let title = if index == 0 { version.as_str() } else { "" };
        let line = look.map_or_else(|| line.clone(), |look| paint.paint(look, &line));
        // Writing to a String cannot fail.
        let _ = writeln!(text, " {title:<4} {line}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::sim::load::{Kind, Outcome as Met};

    fn request(from: Instant, at: u64, version: &str, status: u16) -> Request {
        let sent_at = from + Duration::from_millis(at);
        let version = (!version.is_empty()).then(|| version.to_owned());
        let outcome = if version.is_some() { Met::Status(status) } else { Met::Refused };
        let latency = Duration::from_millis(10);
        Request { kind: Kind::New, due_at: sent_at, sent_at, latency, outcome, version, pod: None, source: None }
    }

    fn pods(names: &[(&str, i64)]) -> BTreeSet<Identity> {
        names.iter().map(|(name, restarts)| Identity { name: (*name).into(), uid: format!("{name}-uid"), restarts: *restarts }).collect()
    }

    fn history(outcome: Outcome, reason: &str) -> HistoryEntry {
        let at = "2026-11-21T14:19:09Z".parse().unwrap();
        let (revision, reason) = ("0d3c79e08d".to_owned(), reason.to_owned());
        HistoryEntry {
            revision,
            images: vec![],
            outcome,
            started_at: at,
            ended_at: at,
            max_weight: 50,
            reason,
            replaced: String::new(),
            asked: vec![],
        }
    }

    fn weights(weights: &[(u8, u64)]) -> Vec<(u8, Duration)> {
        weights.iter().map(|(weight, seconds)| (*weight, Duration::from_secs(*seconds))).collect()
    }

    fn release(scenario: Scenario) -> Release {
        Release::of(&[scenario]).remove(0)
    }

    fn facts<'a>(release: &'a Release, requests: &'a [Request]) -> Facts<'a> {
        Facts {
            release,
            history: Some(history(release.scenario.expected(), "gate healthz: 3 failures in a row, until 2026-11-21T14:19:09Z")),
            length: Duration::from_secs(20),
            weights: weights(&[(0, 3), (release.scenario.reaches(), 5)]),
            requests: requests.iter().collect(),
            tested: pods(&[("a", 0), ("b", 0)]),
            serving: pods(&[("a", 0), ("b", 0)]),
        }
    }

    #[test]
    fn bad_answers_of_the_bad_version_are_no_failures_and_give_the_time_it_took() {
        let from = Instant::now();
        let requests =
            [request(from, 0, "v2", 200), request(from, 100, "v2", 500), request(from, 800, "v2", 500), request(from, 900, "v1", 200)];
        let release = release(Scenario::Bad);
        let played = judge(facts(&release, &requests));
        assert_eq!((played.bad_answers, played.failed, played.back_after), (2, 0, Some(0.69)));
        assert_eq!(played.deviations, [""; 0]);
    }

    #[test]
    fn whatever_else_fails_is_a_failure() {
        let from = Instant::now();
        let requests = [request(from, 0, "v2", 500), request(from, 1, "v1", 500), request(from, 2, "", 0)];
        let release = release(Scenario::Bad);
        let played = judge(facts(&release, &requests));
        assert_eq!((played.bad_answers, played.failed), (1, 2));
        assert_eq!(played.deviations, ["2 requests failed"]);
    }

    #[test]
    fn what_does_not_go_as_told_is_said() {
        let from = Instant::now();
        let met = [request(from, 0, "v2", 200)];
        let good = release(Scenario::Good);
        let restarted = Facts { serving: pods(&[("a", 1), ("b", 0)]), ..facts(&good, &met) };
        let again = Facts { tested: pods(&[("a", 1), ("b", 0)]), ..restarted.clone() };
        let unended = Facts { history: None, weights: weights(&[(25, 5)]), ..facts(&good, &met) };
        let (bad, crash) = (release(Scenario::Bad), release(Scenario::Crash));
        let promoted = Facts { history: Some(history(Outcome::Promoted, "")), weights: weights(&[(100, 5)]), ..facts(&bad, &met) };
        let told: Vec<String> = [restarted, again, unended, promoted, facts(&crash, &met)]
            .into_iter()
            .map(|facts| judge(facts).deviations.join("\n"))
            .collect();
        insta::assert_snapshot!(told.join("\n--\n"), @r#"
        pod a was tested and is not as it was
        pod a serves and was not tested
        --
        pod a has restarted
        --
        did not end; Promoted was expected
        reached 25 %, not 100 %
        --
        ended as Promoted, not as RolledBack
        reached 100 %, not 50 %
        no client got a bad answer of v2, so there was nothing to take back
        --
        v2 answered 1 request
        "#);
    }

    #[test]
    fn the_table_has_a_row_a_release_and_fits_into_100_columns() {
        let from = Instant::now();
        let releases = Release::of(&[Scenario::Good, Scenario::Bad, Scenario::Crash]);
        let first: Vec<Request> = (0..1500).map(|at| request(from, at, if at % 2 == 0 { "v1" } else { "v2" }, 200)).collect();
        let second = [request(from, 0, "v2", 200), request(from, 1, "v3", 500), request(from, 900, "v3", 500)];
        let third = [request(from, 0, "v2", 200), request(from, 2, "", 0)];
        let good = Facts { weights: weights(&[(0, 3), (25, 5), (50, 4), (75, 3), (100, 6)]), ..facts(&releases[0], &first) };
        let bad = Facts { weights: weights(&[(25, 5), (50, 1), (0, 2)]), ..facts(&releases[1], &second) };
        let played = vec![judge(good), judge(bad), judge(facts(&releases[2], &third))];
        let report = Report {
            as_told: false,
            releases: played,
            requests: 1505,
            failed: 1,
            answers: BTreeMap::new(),
            lateness: 0.0123,
            timeline: Vec::new(),
        };
        let table = table(&report, Paint::Plain);
        assert!(table.lines().all(|line| line.chars().count() <= WIDEST), "{table}");
        insta::assert_snapshot!(table, @r#"
        release   outcome       took   25 %   50 %   75 %  100 %  back in  bad  failed  answers by version
        v2 good   promoted    20.0 s  5.0 s  4.0 s  3.0 s  6.0 s        -    0       0  v1 750, v2 750
        v3 bad    taken back  20.0 s  5.0 s  1.0 s      -      -   0.89 s    2       0  v2 1, v3 2
        v4 crash  taken back  20.0 s      -      -      -      -        -    0       1  v2 1
        25 % to 100 %: time at that weight; back in: first bad answer to last client on that version

        v2   promoted by adoption: the 2 pods that were tested serve now, none has restarted: a b

        v3   taken back: gate healthz: 3 failures in a row, until 14:19:09Z

        v4   taken back before a client met it: gate healthz: 3 failures in a row, until 14:19:09Z
             not as told: 1 request failed

        1,505 requests, each sent within 13 ms of its time; 2 bad answers, as told; 1 failed
        "#);
    }
}
