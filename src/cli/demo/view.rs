//! A scene as text: pure.

use std::time::Duration;

use jiff::Timestamp;

use super::scene::WIDEST;
use crate::{
    api::status::{GateState, GateStatus, Phase, RolloutStatus},
    show::text::{cut, lines, seconds, thousands, with_clock_times},
};

use super::{
    paint::{Look, Paint},
    scene::{Act, Event, Pod, PodState, Role, Scene, Tally, Version},
};

const BAR: usize = 28;
const EVENTS: usize = 4;
/// Where what belongs to a title begins.
const INDENT: usize = 15;
/// So many lines for what is waited for, always, so that nothing jumps.
const WHY: usize = 2;

/// What a terminal has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub columns: usize,
    pub rows: usize,
}

/// A text that knows how wide it is, whatever colours are in it.
struct Line {
    text: String,
    width: usize,
    /// Where the next text begins.
    column: usize,
    room: usize,
    paint: Paint,
}

impl Line {
    fn new(room: Room, paint: Paint) -> Self {
        Self { text: String::new(), width: 0, column: 0, room: room.columns.min(WIDEST), paint }
    }

    /// Adds what fits; the rest is cut, with a mark.
    fn add(mut self, look: Option<Look>, text: &str) -> Self {
        if text.is_empty() {
            return self;
        }
        let gap = self.column.min(self.room).saturating_sub(self.width);
        self.text.push_str(&" ".repeat(gap));
        self.width += gap;
        let cut = cut(text, self.room - self.width);
        self.width += cut.chars().count();
        match look {
            Some(look) => self.text.push_str(&self.paint.paint(look, cut)),
            None => self.text.push_str(&cut),
        }
        self
    }

    fn plain(self, text: &str) -> Self {
        self.add(None, text)
    }

    fn look(self, look: Look, text: &str) -> Self {
        self.add(Some(look), text)
    }

    /// Goes on at this column; not back.
    fn at(mut self, column: usize) -> Self {
        self.column = column;
        self
    }

    /// Adds a text at the right edge.
    fn right(self, look: Look, text: &str) -> Self {
        let column = self.room.saturating_sub(text.chars().count() + 1);
        self.at(column).look(look, text)
    }

    fn end(self) -> String {
        self.text
    }
}

/// The scene as lines, none wider than the room or 100 columns. Where there is no room for a line a pod, a version has one line; where
/// there is none for that either, the last lines are missing.
pub fn frame(scene: &Scene, room: Room, paint: Paint) -> Vec<String> {
    let line = || Line::new(room, paint);
    let draw = |detail| {
        let mut lines = head(scene, &line);
        lines.extend(standing(scene, &line));
        lines.extend(tree(scene, detail, &line));
        lines.push(String::new());
        lines.extend(measures(scene, &line));
        lines.extend(events(&scene.events, &line));
        lines.push(clients(scene, &line));
        lines
    };
    let mut lines = draw(Detail::Pods);
    if lines.len() > room.rows {
        lines = draw(Detail::Versions);
    }
    lines.truncate(room.rows);
    lines
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    Pods,
    Versions,
}

fn head(scene: &Scene, line: &dyn Fn() -> Line) -> Vec<String> {
    let title = line()
        .plain(" ")
        .look(Look::Strong, "stepgate demo")
        .right(Look::Faint, &format!("{} requests a second, each on a connection of its own   {}", scene.rate, seconds(scene.elapsed)));
    let act = match &scene.act {
        Some(Act { number, of, command, promise }) => [
            line().plain(" ").look(Look::Strong, &format!("{number} of {of}")).at(9).plain("$ ").look(Look::Strong, command).end(),
            line().at(11).look(Look::Faint, promise).end(),
        ],
        None => [line().plain(" a Deployment of four pods, a Service and a Rollout on an embedded cluster").end(), String::new()],
    };
    let [first, second] = act;
    vec![title.end(), String::new(), first, second, String::new()]
}

/// Phase, steps, what is waited for and until when.
fn standing(scene: &Scene, line: &dyn Fn() -> Line) -> Vec<String> {
    let status = &scene.status;
    let mut first = line().plain(" ").look(look_of(status.phase), &phase(status)).at(INDENT);
    for (mark, look, weight) in steps(status) {
        let begin = first.width.max(first.column);
        let text = format!(" {weight} %");
        first = first.look(look, mark).plain(&text).at(begin + text.chars().count() + 4);
    }
    if let Some(until) = until(status, scene.now) {
        let left = Duration::try_from(until.duration_since(scene.now)).unwrap_or_default();
        first = first.right(Look::Faint, &format!("{} left", seconds(left)));
    }
    let room = line().room - INDENT.min(line().room);
    let mut why = lines(&with_clock_times(&status.why), room.max(1));
    if why.len() > WHY {
        let rest = why.split_off(WHY - 1).join(" ");
        why.push(rest);
    }
    why.resize(WHY, String::new());
    std::iter::once(first).chain(why.iter().map(|why| line().at(INDENT).plain(why))).map(Line::end).collect()
}

fn phase(status: &RolloutStatus) -> String {
    status.phase.map_or_else(|| "Starting".to_owned(), |phase| format!("{phase:?}"))
}

fn look_of(phase: Option<Phase>) -> Look {
    match phase {
        Some(Phase::Healthy) => Look::Good,
        Some(Phase::RollingBack | Phase::RolledBack) => Look::Bad,
        Some(Phase::Pending) | None => Look::Faint,
        Some(Phase::Preparing | Phase::Progressing | Phase::Baking | Phase::Promoting) => Look::Canary,
    }
}

/// The steps of the release under way, each with a mark: done, under way, to come.
fn steps(status: &RolloutStatus) -> Vec<(&'static str, Look, u8)> {
    let Some(release) = &status.release else { return Vec::new() };
    let (asked, held) = status.step.as_ref().map_or((0, false), |step| (step.weight, step.since.is_some()));
    let back = release.rollback.is_some();
    let began = release.traffic_since.is_some();
    let mark = |weight: u8| {
        if weight < asked || (weight == asked && status.phase == Some(Phase::Promoting)) {
            ("✔", Look::Good)
        } else if weight > asked || !began {
            ("○", Look::Faint)
        } else if back {
            ("✘", Look::Bad)
        } else if held {
            ("●", Look::Canary)
        } else {
            ("◌", Look::Canary)
        }
    };
    let marked = release.policy.steps.iter().map(|step| (mark(step.weight), step.weight));
    marked.map(|((mark, look), weight)| (mark, look, weight)).collect()
}

/// When the wait under way is over at the latest.
fn until(status: &RolloutStatus, now: Timestamp) -> Option<Timestamp> {
    let (step, release) = (status.step.as_ref()?, status.release.as_ref()?);
    let deadline = step.waiting_since.and_then(|since| since.checked_add(release.policy.progress_deadline.0).ok());
    let settled = step.since.filter(|since| *since > now);
    deadline.or(settled).or(step.until).filter(|until| *until > now)
}

fn tree(scene: &Scene, detail: Detail, line: &dyn Fn() -> Line) -> Vec<String> {
    let mut lines = vec![line().plain(" ").look(Look::Strong, "hello").end()];
    for (index, version) in scene.versions.iter().enumerate() {
        let last = index + 1 == scene.versions.len();
        lines.push(trunk(version, last, line));
        if detail == Detail::Pods {
            let stem = if last { "   " } else { "│  " };
            lines.extend(version.pods.iter().enumerate().map(|(i, pod)| leaf(pod, stem, i + 1 == version.pods.len(), line)));
        }
    }
    lines
}

fn trunk(version: &Version, last: bool, line: &dyn Fn() -> Line) -> String {
    let (look, role) = match version.role {
        Role::Stable => (Look::Stable, "stable"),
        Role::Canary => (Look::Canary, "canary"),
        Role::Leaving => (Look::Faint, "leaving"),
    };
    let ready = version.pods.iter().filter(|pod| pod.state == PodState::Ready).count();
    let whole = version.pods.iter().filter(|pod| pod.state != PodState::Ending).count();
    let line = line().plain(if last { " └─ " } else { " ├─ " }).look(look, &format!("{:<4}{role:<9}", version.name));
    let line = line.plain(&format!("{ready} of {whole} ready")).at(34);
    match version.share {
        Some(share) => {
            let full = cells(share);
            line.look(look, &"█".repeat(full)).look(Look::Faint, &"░".repeat(BAR - full)).plain(&format!(" {share:>3.0} %")).end()
        }
        None => line.end(),
    }
}

/// How many cells of the bar a share fills: none only for nothing, all only for everything.
fn cells(share: f64) -> usize {
    let most = if share >= 100.0 { BAR } else { BAR - 1 };
    (1..=most).filter(|cell| share > 0.0 && share * 28.0 / 100.0 + 0.5 >= f64::from(u32::try_from(*cell).unwrap_or(0))).count()
}

fn leaf(pod: &Pod, stem: &str, last: bool, line: &dyn Fn() -> Line) -> String {
    let (mark, look, state) = match pod.state {
        PodState::Starting => ("◌", Look::Faint, "starting"),
        PodState::Ready => ("●", Look::Good, "ready"),
        PodState::NotReady => ("○", Look::Doubtful, "not ready"),
        PodState::Crashing => ("✘", Look::Bad, "crashing"),
        PodState::Ending => ("◌", Look::Faint, "ending"),
    };
    let line = line().plain(&format!(" {stem}{} ", if last { "└─" } else { "├─" })).look(look, mark).plain(&format!(" {}", pod.name));
    let line = line.at(44).look(look, &format!("{state:<11}"));
    match (pod.takes_clients, pod.answers) {
        (true, answers) => line.plain(&format!("{answers:>3} answers/s")).end(),
        (false, 0) => line.look(Look::Faint, "no clients").end(),
        (false, answers) => line.look(Look::Faint, &format!("{answers:>3} answers/s, the last ones")).end(),
    }
}

/// Weights and gates.
fn measures(scene: &Scene, line: &dyn Fn() -> Line) -> Vec<String> {
    let mut lines = Vec::new();
    let share = scene.versions.iter().find(|version| version.role == Role::Canary).and_then(|version| version.share);
    if let (Some(traffic), Some(_)) = (&scene.status.traffic, &scene.status.release) {
        let percent = |percent: Option<f64>| percent.map_or_else(|| "  -  ".to_owned(), |percent| format!("{percent:>3.0} %"));
        let [asked, routed, measured] = [Some(traffic.desired.into()), traffic.routed.map(f64::from), share].map(percent);
        let text = format!("asked {asked}   routed {routed}   measured by the clients {measured}");
        lines.push(line().plain(" ").look(Look::Strong, "weight").at(10).plain(&text).end());
    }
    for (index, gate) in scene.status.gates.iter().enumerate() {
        let title = if index == 0 { "gates" } else { "" };
        lines.push(self::gate(gate, line().plain(" ").look(Look::Strong, title).at(10)));
    }
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

fn gate(gate: &GateStatus, line: Line) -> String {
    let GateStatus { name, kind: _, state, value, threshold, since: _, message } = gate;
    let (mark, look) = match state {
        GateState::Passing => ("✔", Look::Good),
        GateState::Failing => ("✘", Look::Bad),
        GateState::Pending => ("◌", Look::Faint),
        GateState::NoData => ("?", Look::Doubtful),
    };
    let line = line.look(look, mark).plain(&format!(" {name:<9} {value}; needs {threshold}"));
    if message.is_empty() { line.end() } else { line.plain("   ").look(look, message).end() }
}

fn events(events: &[Event], line: &dyn Fn() -> Line) -> Vec<String> {
    let shown = events.iter().rev().take(EVENTS).rev();
    let mut lines: Vec<String> = shown
        .enumerate()
        .map(|(index, Event { elapsed, reason, note, is_warning })| {
            let look = if *is_warning { Look::Doubtful } else { Look::Good };
            let line = line().plain(" ").look(Look::Strong, if index == 0 { "events" } else { "" }).at(10);
            line.look(Look::Faint, &format!("{:>6}  ", seconds(*elapsed))).look(look, &format!("{reason:<16}")).plain(" ").plain(note).end()
        })
        .collect();
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

fn clients(scene: &Scene, line: &dyn Fn() -> Line) -> String {
    let Tally { requests, bad, failed } = &scene.tally;
    let line = line().plain(" ").look(Look::Strong, "clients").at(10).plain(&format!("{} requests, ", thousands(*requests)));
    let line = line.look(if *failed == 0 { Look::Good } else { Look::Bad }, &format!("{} failed", thousands(*failed)));
    if *bad == 0 {
        line.end()
    } else {
        line.plain(", ").look(Look::Doubtful, &format!("{} bad answers of the bad version", thousands(*bad))).end()
    }
}

/// The scene in one line, for a reader that is no terminal. Two scenes with an equal [`gist`] need only one.
pub fn line(scene: &Scene) -> String {
    let answering = scene.versions.iter().filter_map(|version| Some((&version.name, version.share.filter(|share| *share > 0.0)?)));
    let shares: Vec<String> = answering.map(|(name, share)| format!("{name} {share:.0} %")).collect();
    let seen = format!("{}; {} failed", shares.join(", "), scene.tally.failed);
    let weight = scene.status.traffic.as_ref().map_or_else(|| "-".to_owned(), |traffic| format!("{} %", traffic.desired));
    let why = with_clock_times(&scene.status.why);
    format!("{:>7}  {:<12} {weight:>5}  {seen:<27}  {why}", seconds(scene.elapsed), phase(&scene.status))
}

/// What makes a scene worth another line.
pub fn gist(scene: &Scene) -> String {
    format!("{:?} {:?} {}", scene.status.phase, scene.status.traffic.as_ref().map(|traffic| traffic.desired), scene.status.why)
}

/// What the demo does next, for a reader that is no terminal.
pub fn heading(act: &Act) -> String {
    format!("\n$ {}        # {}\n", act.command, act.promise)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ROOM: Room = Room { columns: 100, rows: 39 };

    fn pod(name: &str, state: PodState, answers: usize) -> Pod {
        Pod { name: name.to_owned(), state, takes_clients: answers > 0, answers }
    }

    /// Half-way through a release whose gate has just begun to fail.
    fn scene() -> Scene {
        let status = json!({
            "phase": "Progressing",
            "why": "holding 50 % until 2026-11-21T14:19:09Z",
            "release": {
                "revision": "0d3c79e08d", "startedAt": "2026-11-21T14:18:50Z", "size": 4, "trafficSince": "2026-11-21T14:18:55Z",
                "policy": {"steps": [{"weight": 25}, {"weight": 50}, {"weight": 100}], "gates": []},
            },
            "step": {"index": 2, "of": 3, "display": "2/3", "weight": 50, "since": "2026-11-21T14:19:05Z", "until": "2026-11-21T14:19:09Z"},
            "traffic": {"desired": 50, "routed": 50},
            "gates": [
                {"name": "ready", "kind": "readiness", "state": "Passing", "value": "2 of 2 ready", "threshold": "2 ready",
                 "since": "2026-11-21T14:19:00Z"},
                {"name": "healthz", "kind": "http", "state": "Pending", "value": "1 of 2 pods pass", "threshold": "3 in a row on every pod",
                 "since": "2026-11-21T14:19:07Z", "message": "1 failed in a row, last: status 500"},
            ],
        });
        let stable = vec![pod("hello-6c9f-2xk4p", PodState::Ready, 52), pod("hello-6c9f-x8fjk", PodState::Ready, 50)];
        let canary = vec![pod("hello-0d3c79-b6c9-f7jp2", PodState::Ready, 98), pod("hello-0d3c79-b6c9-k8rfk", PodState::Starting, 0)];
        let event = |elapsed, reason: &str, note: &str, is_warning| Event {
            elapsed: Duration::from_millis(elapsed),
            reason: reason.to_owned(),
            note: note.to_owned(),
            is_warning,
        };
        Scene {
            elapsed: Duration::from_millis(12_340),
            rate: 200,
            act: Some(Act { number: 2, of: 3, command: "kubectl set image deployment/hello hello=hello:v3".into(), promise: "breaks" }),
            now: "2026-11-21T14:19:07.5Z".parse().unwrap(),
            status: serde_json::from_value(status).unwrap(),
            versions: vec![
                Version { name: "v2".into(), role: Role::Stable, share: Some(51.0), pods: stable },
                Version { name: "v3".into(), role: Role::Canary, share: Some(49.0), pods: canary },
            ],
            events: vec![
                event(900, "Accepted", "is older than those that are shown", false),
                event(3000, "ReleaseStarted", "releasing revision 0d3c79e08d (stepgate.test/hello:v3)", false),
                event(5000, "WeightConfirmed", "25 % of the clients are on revision 0d3c79e08d", false),
                event(9000, "WeightConfirmed", "50 % of the clients are on revision 0d3c79e08d", false),
                event(12_100, "SelectorContested", &"a note that is longer than the line ".repeat(3), true),
            ],
            tally: Tally { requests: 12_345, bad: 7, failed: 0 },
        }
    }

    #[test]
    fn a_frame_shows_the_tree_what_is_awaited_and_what_clients_got() {
        insta::assert_snapshot!(frame(&scene(), ROOM, Paint::Plain).join("\n"), @r#"
        stepgate demo                      200 requests a second, each on a connection of its own   12.3 s

        2 of 3  $ kubectl set image deployment/hello hello=hello:v3
                  breaks

        Progressing   ✔ 25 %   ● 50 %   ○ 100 %                                                 1.5 s left
                      holding 50 % until 14:19:09Z

        hello
        ├─ v2  stable   2 of 2 ready     ██████████████░░░░░░░░░░░░░░  51 %
        │  ├─ ● hello-6c9f-2xk4p                   ready       52 answers/s
        │  └─ ● hello-6c9f-x8fjk                   ready       50 answers/s
        └─ v3  canary   1 of 2 ready     ██████████████░░░░░░░░░░░░░░  49 %
           ├─ ● hello-0d3c79-b6c9-f7jp2            ready       98 answers/s
           └─ ◌ hello-0d3c79-b6c9-k8rfk            starting   no clients

        weight   asked  50 %   routed  50 %   measured by the clients  49 %
        gates    ✔ ready     2 of 2 ready; needs 2 ready
                 ◌ healthz   1 of 2 pods pass; needs 3 in a row on every pod   1 failed in a row, last: st…

        events    3.0 s  ReleaseStarted   releasing revision 0d3c79e08d (stepgate.test/hello:v3)
                  5.0 s  WeightConfirmed  25 % of the clients are on revision 0d3c79e08d
                  9.0 s  WeightConfirmed  50 % of the clients are on revision 0d3c79e08d
                 12.1 s  SelectorContested a note that is longer than the line a note that is longer than …

        clients  12,345 requests, 0 failed, 7 bad answers of the bad version
        "#);
    }

    #[test]
    fn before_the_first_release_there_is_nothing_to_measure() {
        let early = Scene {
            act: None,
            status: RolloutStatus::default(),
            versions: Vec::new(),
            events: Vec::new(),
            tally: Tally::default(),
            ..scene()
        };
        insta::assert_snapshot!(frame(&early, ROOM, Paint::Plain).join("\n"), @r#"
        stepgate demo                      200 requests a second, each on a connection of its own   12.3 s

        a Deployment of four pods, a Service and a Rollout on an embedded cluster


        Starting


        hello

        clients  0 requests, 0 failed
        "#);
    }

    #[test]
    fn no_line_is_wider_than_the_room_and_no_frame_is_higher() {
        for (columns, rows) in [(1, 1), (20, 5), (60, 18), (80, 23), (100, 39), (300, 100)] {
            for paint in [Paint::Plain, Paint::Colours] {
                let lines = frame(&scene(), Room { columns, rows }, paint);
                assert!(lines.len() <= rows, "{} lines in {rows} rows", lines.len());
                let widest = lines.iter().map(|line| without_colours(line).chars().count()).max().unwrap();
                assert!(widest <= columns.min(WIDEST), "{widest} characters in {columns} columns");
            }
        }
    }

    #[test]
    fn colours_add_nothing_but_colours() {
        let plain = frame(&scene(), ROOM, Paint::Plain);
        let coloured = frame(&scene(), ROOM, Paint::Colours);
        assert_ne!(plain, coloured);
        assert_eq!(plain, coloured.iter().map(|line| without_colours(line)).collect::<Vec<_>>());
    }

    #[test]
    fn a_version_has_one_line_where_there_is_no_room_for_its_pods() {
        let lines = frame(&scene(), Room { columns: 100, rows: 23 }, Paint::Plain);
        assert!(lines.iter().any(|line| line.contains("v3  canary   1 of 2 ready")), "{lines:#?}");
        assert!(!lines.iter().any(|line| line.contains("f7jp2")), "{lines:#?}");
        assert!(lines.last().unwrap().contains("12,345 requests"), "{lines:#?}");
    }

    #[test]
    fn a_bar_is_full_only_for_everything_and_empty_only_for_nothing() {
        for (share, full) in [(0.0, 0), (0.1, 0), (50.0, 14), (99.9, 27), (100.0, 28)] {
            assert_eq!(cells(share), full, "{share} %");
        }
    }

    #[test]
    fn a_wait_for_pods_ends_with_its_deadline_and_a_hold_when_it_is_over() {
        let mut scene = scene();
        assert_eq!(until(&scene.status, scene.now).unwrap().to_string(), "2026-11-21T14:19:09Z");
        scene.status.step.as_mut().unwrap().waiting_since = "2026-11-21T14:19:06Z".parse().ok();
        assert_eq!(until(&scene.status, scene.now).unwrap().to_string(), "2026-11-21T14:29:06Z");
    }

    #[test]
    fn a_scene_fits_into_one_line() {
        assert_eq!(line(&scene()), " 12.3 s  Progressing   50 %  v2 51 %, v3 49 %; 0 failed   holding 50 % until 14:19:09Z");
    }

    fn without_colours(text: &str) -> String {
        let mut parts = text.split('\x1b');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |text, part| text + part.split_once('m').map_or("", |(_, rest)| rest))
    }
}
