//! What is shown of one Rollout: a screen, or a line. Pure.

use anstyle::Style;
use jiff::Timestamp;
use kube::ResourceExt;

use crate::show::facts::state;
use crate::{
    api::{
        Rollout, RolloutStatus,
        status::{GateState, GateStatus, Phase, Preview, Traffic, Version},
    },
    core::why::words::{Names, who},
    show::{
        caller::Caller,
        next::next,
        standing::{holds, last, shares, since, unanswered},
        text::{from_now, length, seen_from, wrap},
    },
};

use super::ink::{BAD, Cell, FAINT, GOOD, STRONG, WAITS, cell, paint, table};

/// Where the values of the screen begin.
const MARGIN: &str = "           ";

/// One line that says where a Rollout stands; equal lines mean that nothing worth telling has changed.
pub fn line(rollout: &Rollout) -> String {
    let name = rollout.name_any();
    let Some(status) = &rollout.status else { return format!("{name}: no controller has looked at it yet") };
    let weight = status.traffic.as_ref().map(|traffic| format!(" {}", weight(rollout, traffic))).unwrap_or_default();
    format!("{name}: {}{weight}: {}", phase(status), status.why)
}

fn phase(status: &RolloutStatus) -> String {
    format!("{:?}", status.phase.unwrap_or(Phase::Pending))
}

/// A phase in the colour of how things go.
pub fn phase_cell(status: Option<&RolloutStatus>) -> Cell {
    let Some(status) = status else { return cell(WAITS, "Unknown") };
    let style = match status.phase {
        _ if holds(status, "Stalled") => BAD,
        Some(Phase::Healthy) => GOOD,
        Some(Phase::RollingBack | Phase::RolledBack) => BAD,
        _ => WAITS,
    };
    cell(style, phase(status))
}

/// A weight as it was asked for, and what the data plane gives; without Services, what the pods are.
pub fn weight(rollout: &Rollout, traffic: &Traffic) -> String {
    let given = if rollout.spec.is_worker() { "of the pods" } else { "routed" };
    match traffic.routed {
        Some(routed) if routed == traffic.desired => format!("{routed} %"),
        Some(routed) => format!("{} % ({routed} % {given})", traffic.desired),
        None => format!("{} % (on the move)", traffic.desired),
    }
}

/// The share of the clients from before the release, where affinity makes it another one than that of the connections.
fn apart(traffic: &Traffic) -> Option<u8> {
    traffic.clients.filter(|clients| traffic.routed != Some(*clients))
}

/// The screen of one Rollout, in lines of about `columns`.
pub fn screen(rollout: &Rollout, caller: &Caller, now: Timestamp, columns: usize) -> String {
    let mut screen = heading(rollout, now);
    if let Some(status) = &rollout.status {
        screen.push_str(&versions(rollout, status));
        screen.push('\n');
    }
    let labelled = |label: &str, text: &str| format!("  {label:<9}{}\n", wrap(text, columns, MARGIN));
    for (label, text) in facts(rollout, now) {
        screen.push_str(&labelled(label, &text));
    }
    if let Some(status) = rollout.status.as_ref().filter(|status| !status.gates.is_empty()) {
        screen.push_str(&under("gates", &gates(&status.gates, now)));
    }
    let commands: Vec<Vec<Cell>> =
        next(rollout, caller).into_iter().map(|next| vec![cell(STRONG, next.command), next.does.into()]).collect();
    screen.push_str(&under("next", &table(MARGIN, &commands)));
    screen
}

/// A table under its label, which stands on its first line.
fn under(label: &str, table: &str) -> String {
    format!("  {label:<9}{}", table.trim_start())
}

fn heading(rollout: &Rollout, now: Timestamp) -> String {
    let name = format!("{}/{}", rollout.namespace().unwrap_or_default(), rollout.name_any());
    let status = rollout.status.as_ref();
    let phase = phase_cell(status);
    let for_ = status.and_then(since).map(|since| format!(" for {}", length(since, now))).unwrap_or_default();
    let step = status.and_then(|status| status.step.as_ref());
    let step = step.map(|step| format!(", step {} of {}", step.index, step.of)).unwrap_or_default();
    format!("{}  {}{for_}{step}\n", paint(STRONG, &name), paint(phase.style, &phase.text))
}
/// The Deployment and its versions, as a tree.
fn versions(rollout: &Rollout, status: &RolloutStatus) -> String {
    let shares = shares(status);
    let whose = match status.traffic.as_ref().and_then(apart) {
        _ if rollout.spec.is_worker() => "the pods",
        Some(_) => "new clients",
        None => "the clients",
    };
    let share = |share: Option<u8>| share.map_or_else(|| "on the move".to_owned(), |share| format!("{share} % of {whose}"));
    let mut rows = Vec::new();
    if let Some(stable) = &status.stable {
        rows.push(version("stable", stable, pods(stable), share(shares.map(|(stable, _)| stable))));
    }
    if let Some(canary) = &status.canary {
        // Its last counts are on record, but its pods are gone.
        let held = status.phase == Some(Phase::RolledBack);
        // A version of the user's own keeps its pods.
        let (role, pods) = match (held, canary.name.is_empty()) {
            (true, true) => ("held", cell(BAD, "no pods")),
            (true, false) => ("held", pods(canary)),
            (false, _) => ("canary", pods(canary)),
        };
        rows.push(version(role, canary, pods, share(shares.map(|(_, canary)| canary))));
    }
    let count = rows.len();
    for (i, row) in rows.iter_mut().enumerate() {
        row.insert(0, cell(FAINT, if i + 1 == count { "└─" } else { "├─" }));
    }
    let deployments: Vec<String> = rollout.spec.workload.deployments().map(str::to_owned).collect();
    format!("  {}\n{}", Names("Deployment", &deployments), table("  ", &rows))
}

fn version(role: &str, version: &Version, pods: Cell, share: String) -> Vec<Cell> {
    vec![role.into(), cell(STRONG, &version.revision), pods, share.into(), cell(FAINT, version.images.join(", "))]
}

fn pods(version: &Version) -> Cell {
    let style = if version.ready >= version.replicas { GOOD } else { WAITS };
    cell(style, format!("{}/{} pods ready", version.ready, version.replicas))
}

/// What is to be said in sentences, with its label.
fn facts(rollout: &Rollout, now: Timestamp) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    let Some(status) = &rollout.status else {
        return vec![("why", "no controller has looked at it yet".to_owned())];
    };
    if let Some(traffic) = &status.traffic {
        facts.push(("weight", weight(rollout, traffic)));
        if let Some(moved) = apart(traffic) {
            facts.push(("clients", format!("{moved} % of those from before the release have moved; affinity keeps the others")));
        }
    }
    facts.extend(preview(status).map(|text| ("preview", text)));
    facts.push(("why", seen_from(&status.why, now)));
    if rollout.spec.paused && status.release.is_none() {
        facts.push(("paused", "spec.paused is true: the next release stays before its first client, or pod".to_owned()));
    }
    if let Some(last) = last(rollout, now) {
        facts.push(("last", format!("{}, {}", last.what, from_now(last.at, now))));
    }
    if let Some(request) = unanswered(rollout) {
        facts.push(("request", format!("{:?} of revision {} is not answered yet", request.action, request.revision)));
    } else if let Some(record) = status.requests.last().filter(|_| status.release.is_some()) {
        let by = if record.by.is_empty() { String::new() } else { format!(" by {}", who(&record.by, record.verified)) };
        facts.push(("request", format!("{:?}{by}: {}", record.action, record.outcome)));
    }
    facts
}

/// Where the version under release is reached before its clients are, or why it is not.
fn preview(status: &RolloutStatus) -> Option<String> {
    let Preview { service, address, message } = status.preview.as_ref()?;
    match (address.as_str(), message.as_str()) {
        ("", "") => None,
        ("", message) => Some(format!("Service {service} does not show the new version: {message}")),
        (address, _) => Some(address.to_owned()),
    }
}

/// The gates, each with its value, its threshold and since when it is as it is.
fn gates(gates: &[GateStatus], now: Timestamp) -> String {
    let rows: Vec<Vec<Cell>> = gates
        .iter()
        .map(|gate| {
            let held = format!("for {}", length(gate.since, now));
            vec![
                cell(style(gate.state), state(gate.state)),
                gate.name.as_str().into(),
                gate.value.as_str().into(),
                format!("needs {}", gate.threshold).into(),
                held.into(),
                cell(FAINT, &gate.message),
            ]
        })
        .collect();
    table(MARGIN, &rows)
}

/// The colour of how things go.
fn style(state: GateState) -> Style {
    match state {
        GateState::Passing => GOOD,
        GateState::Failing => BAD,
        GateState::Pending | GateState::NoData => WAITS,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::sample::{PLACES, caller, now, rollout};

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    fn shown(place: &str) -> String {
        plain(&screen(&rollout(place), &caller(), now(), 100))
    }

    #[test]
    #[allow(clippy::too_many_lines, reason = "the screens are as long as they are")]
    fn a_screen_for_every_place() {
        let screens: Vec<String> = PLACES.iter().map(|place| format!("--- {place}\n{}", shown(place))).collect();
        insta::assert_snapshot!(screens.join("\n"), @r"
        --- unseen
        shop/hello  Unknown
          why      no controller has looked at it yet
          next     kubectl get pods -A -l app.kubernetes.io/name=stepgate  see whether a controller runs

        --- pending
        shop/hello  Pending
          Deployment hello

          why      waiting for Deployment hello to finish the roll-out it is in; its result becomes the live
                   version
          next     stepgate explain hello  see what was found

        --- healthy
        shop/hello  Healthy for 4m17s
          Deployment hello
          └─  stable  3f9c1ab27d  4/4 pods ready  100 % of the clients  hello:v1

          why      revision 3f9c1ab27d serves all clients
          last     revision 3f9c1ab27d was promoted, 4m17s ago
          next     kubectl set image deployment/hello CONTAINER=IMAGE  release another version

        --- refused
        shop/hello  Healthy
          Deployment hello
          └─  stable  3f9c1ab27d  4/4 pods ready  100 % of the clients  hello:v1

          why      Service metrics also sends clients to these pods and would show them both versions
                   unasked; add to services, or to unmanagedServices where that is meant
          next     stepgate explain hello  see what was found

        --- preparing
        shop/hello  Preparing for 1m5s, step 1 of 4
          Deployment hello
          ├─  stable  3f9c1ab27d  4/4 pods ready  100 % of the clients  hello:v1
          └─  canary  0d3c79e08d  1/1 pods ready  0 % of the clients    hello:v2

          why      waiting for gate healthz to pass, until 14:27:20Z (in 8m55s) at the latest
          last     the release began, 1m5s ago
          gates    passing  ready    1 of 1 ready      needs 1 ready                  for 45s
                   passing  healthz  1 of 1 pods pass  needs 3 in a row on every pod  for 35s
          next     stepgate explain hello  see what it waits for
                   stepgate abort hello    take the release back

        --- holding
        shop/hello  Progressing for 30s, step 1 of 4
          Deployment hello
          ├─  stable  3f9c1ab27d  4/4 pods ready  80 % of the clients  hello:v1
          └─  canary  0d3c79e08d  1/1 pods ready  20 % of the clients  hello:v2

          weight   25 % (20 % routed)
          why      holding 25 % until 14:19:06Z (in 41s)
          last     25 % was in effect, 19s ago
          gates    passing  ready    1 of 1 ready      needs 1 ready                  for 45s
                   passing  healthz  1 of 1 pods pass  needs 3 in a row on every pod  for 35s
          next     stepgate promote hello  end this hold
                   stepgate abort hello    take the release back

        --- waiting
        shop/hello  Progressing for 30s, step 2 of 4
          Deployment hello
          ├─  stable  3f9c1ab27d  4/4 pods ready  80 % of the clients  hello:v1
          └─  canary  0d3c79e08d  1/4 pods ready  20 % of the clients  hello:v2

          weight   50 % (20 % routed)
          why      waiting for 4 canary pods to be available, until 14:28:20Z (in 9m55s) at the latest: pod
                   hello-0d3c79-674d6d9bdd-7r9g9: ImagePullBackOff: Back-off pulling image
          last     the first clients were moved, 30s ago
          gates    passing  ready    1 of 1 ready      needs 1 ready                  for 45s
                   passing  healthz  1 of 1 pods pass  needs 3 in a row on every pod  for 35s
          next     stepgate explain hello  see what it waits for
                   stepgate abort hello    take the release back

        --- paused
        shop/hello  Progressing for 30s, step 1 of 4
          Deployment hello
          ├─  stable  3f9c1ab27d  4/4 pods ready  80 % of the clients  hello:v1
          └─  canary  0d3c79e08d  1/1 pods ready  20 % of the clients  hello:v2

          weight   25 % (20 % routed)
          why      paused at 25 % by spec.paused; set it to false to go on
          last     25 % was in effect, 19s ago
          gates    passing  ready    1 of 1 ready      needs 1 ready                  for 45s
                   passing  healthz  1 of 1 pods pass  needs 3 in a row on every pod  for 35s
          next     stepgate resume hello  let the release go on
                   stepgate abort hello   take the release back

        --- asking
        shop/hello  Preparing for 1m5s, step 1 of 4
          Deployment hello
          ├─  stable  3f9c1ab27d  4/4 pods ready  100 % of the clients  hello:v1
          └─  canary  0d3c79e08d  1/1 pods ready  0 % of the clients    hello:v2

          why      waiting at 0 % for the approval of gate sign-off; send an Approve request for revision
                   0d3c79e08d
          last     the release began, 1m5s ago
          gates    passing  ready     1 of 1 ready      needs 1 ready                  for 45s
                   passing  healthz   1 of 1 pods pass  needs 3 in a row on every pod  for 35s
                   pending  sign-off  nobody yet        needs an approval              for 35s
          next     stepgate approve hello --revision 0d3c79e08d  approve it, so that the release goes on
                   stepgate abort hello                          take the release back

        --- baking
        shop/hello  Baking for 15s, step 4 of 4
          Deployment hello
          ├─  stable  3f9c1ab27d  4/4 pods ready  0 % of the clients    hello:v1
          └─  canary  0d3c79e08d  4/4 pods ready  100 % of the clients  hello:v2

          weight   100 %
          why      all clients are on the new version; the previous one is kept warm until 14:23:10Z (in
                   4m45s)
          last     the last step was over, 15s ago
          request  Promote by alice: done: the hold is over
          gates    passing  ready    1 of 1 ready      needs 1 ready                  for 45s
                   passing  healthz  1 of 1 pods pass  needs 3 in a row on every pod  for 35s
          next     stepgate promote hello  let the old version go now
                   stepgate abort hello    go back to the old version

        --- promoting
        shop/hello  Promoting, step 4 of 4
          Deployment hello
          ├─  stable  3f9c1ab27d  4/4 pods ready  0 % of the clients    hello:v1
          └─  canary  0d3c79e08d  4/4 pods ready  100 % of the clients  hello:v2

          weight   100 %
          why      waiting for all pods of the new version to be available before the new pods are handed
                   over
          last     the first clients were moved, 30s ago
          gates    passing  ready    1 of 1 ready      needs 1 ready                  for 45s
                   passing  healthz  1 of 1 pods pass  needs 3 in a row on every pod  for 35s
          next     stepgate wait hello --for=succeeded  wait until it is over

        --- rolling back
        shop/hello  RollingBack for 5s, step 1 of 4
          Deployment hello
          ├─  stable  3f9c1ab27d  4/4 pods ready  100 % of the clients  hello:v1
          └─  canary  0d3c79e08d  1/1 pods ready  0 % of the clients    hello:v2

          weight   0 %
          why      clients are back on the old version (gate healthz: 3 failures in a row on pod
                   hello-0d3c79-674d6d9bdd-7r9g9: status 500); removing the canary
          last     all clients were back on the old version, 4s ago
          gates    passing  ready    1 of 1 ready      needs 1 ready                  for 45s
                   failing  healthz  0 of 1 pods pass  needs 3 in a row on every pod  for 35s  3 failed in a row, last: status 500
          next     stepgate wait hello --for=rolled-back  wait until it is over

        --- kept
        shop/hello  RollingBack for 5s, step 1 of 4
          Deployment hello
          ├─  stable  3f9c1ab27d  4/4 pods ready  100 % of the clients  hello:v1
          └─  canary  0d3c79e08d  1/1 pods ready  0 % of the clients    hello:v2

          weight   0 %
          why      clients are back on the old version (gate healthz: 3 failures in a row on pod
                   hello-0d3c79-674d6d9bdd-7r9g9: status 500); the canary is kept without clients until a
                   Retry or Abort request
          last     all clients were back on the old version, 4s ago
          gates    passing  ready    1 of 1 ready      needs 1 ready                  for 45s
                   failing  healthz  0 of 1 pods pass  needs 3 in a row on every pod  for 35s  3 failed in a row, last: status 500
          next     stepgate retry hello  release it again from the first step
                   stepgate abort hello  remove the canary

        --- rolled back
        shop/hello  RolledBack for 22s
          Deployment hello
          ├─  stable  3f9c1ab27d  4/4 pods ready  100 % of the clients  hello:v1
          └─  held    0d3c79e08d  no pods         0 % of the clients    hello:v2

          why      revision 0d3c79e08d was taken back (gate healthz: 3 failures in a row on pod
                   hello-0d3c79-674d6d9bdd-7r9g9: status 500) and is held; change the template, or send a
                   Retry request for it
          last     revision 0d3c79e08d was rolled back at 25 %: gate healthz: 3 failures in a row on pod
                   hello-0d3c79-674d6d9bdd-7r9g9: status 500, 22s ago
          next     kubectl set image deployment/hello CONTAINER=IMAGE  release a better version
                   stepgate retry hello                                release it again, once its cause is gone

        --- unanswered
        shop/hello  Progressing for 30s, step 1 of 4
          Deployment hello
          ├─  stable  3f9c1ab27d  4/4 pods ready  80 % of the clients  hello:v1
          └─  canary  0d3c79e08d  1/1 pods ready  20 % of the clients  hello:v2

          weight   25 % (20 % routed)
          why      holding 25 % until 14:19:06Z (in 41s)
          last     25 % was in effect, 19s ago
          request  Abort of revision 0d3c79e08d is not answered yet
          gates    passing  ready    1 of 1 ready      needs 1 ready                  for 45s
                   passing  healthz  1 of 1 pods pass  needs 3 in a row on every pod  for 35s
          next     stepgate promote hello  end this hold
                   stepgate abort hello    take the release back
        ");
    }

    #[test]
    fn one_line_for_every_place() {
        let lines: Vec<String> = PLACES.iter().map(|place| line(&rollout(place))).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        hello: no controller has looked at it yet
        hello: Pending: waiting for Deployment hello to finish the roll-out it is in; its result becomes the live version
        hello: Healthy: revision 3f9c1ab27d serves all clients
        hello: Healthy: Service metrics also sends clients to these pods and would show them both versions unasked; add to services, or to unmanagedServices where that is meant
        hello: Preparing: waiting for gate healthz to pass, until 2026-11-21T14:27:20Z at the latest
        hello: Progressing 25 % (20 % routed): holding 25 % until 2026-11-21T14:19:06Z
        hello: Progressing 50 % (20 % routed): waiting for 4 canary pods to be available, until 2026-11-21T14:28:20Z at the latest: pod hello-0d3c79-674d6d9bdd-7r9g9: ImagePullBackOff: Back-off pulling image
        hello: Progressing 25 % (20 % routed): paused at 25 % by spec.paused; set it to false to go on
        hello: Preparing: waiting at 0 % for the approval of gate sign-off; send an Approve request for revision 0d3c79e08d
        hello: Baking 100 %: all clients are on the new version; the previous one is kept warm until 2026-11-21T14:23:10Z
        hello: Promoting 100 %: waiting for all pods of the new version to be available before the new pods are handed over
        hello: RollingBack 0 %: clients are back on the old version (gate healthz: 3 failures in a row on pod hello-0d3c79-674d6d9bdd-7r9g9: status 500); removing the canary
        hello: RollingBack 0 %: clients are back on the old version (gate healthz: 3 failures in a row on pod hello-0d3c79-674d6d9bdd-7r9g9: status 500); the canary is kept without clients until a Retry or Abort request
        hello: RolledBack: revision 0d3c79e08d was taken back (gate healthz: 3 failures in a row on pod hello-0d3c79-674d6d9bdd-7r9g9: status 500) and is held; change the template, or send a Retry request for it
        hello: Progressing 25 % (20 % routed): holding 25 % until 2026-11-21T14:19:06Z
        ");
    }

    #[test]
    fn a_narrow_terminal_gets_shorter_lines() {
        let screen = plain(&screen(&rollout("waiting"), &caller(), now(), 60));
        let why = screen.lines().skip_while(|line| !line.starts_with("  why")).take_while(|line| !line.starts_with("  last"));
        assert!(why.clone().count() > 2 && why.clone().all(|line| line.chars().count() <= 60), "{screen}");
    }

    #[test]
    fn what_goes_wrong_is_red() {
        assert!(screen(&rollout("rolled back"), &caller(), now(), 100).contains("\u{1b}[31mRolledBack\u{1b}[0m"));
    }

    #[test]
    fn the_preview_is_shown_while_it_is_there() {
        let shown = |preview: serde_json::Value| {
            let mut rollout = rollout("preparing");
            rollout.status.as_mut().unwrap().preview = serde_json::from_value(preview).unwrap();
            let screen = plain(&screen(&rollout, &caller(), now(), 200));
            screen.lines().find(|line| line.contains("preview")).map(str::to_owned)
        };
        let preview = |address: &str, message: &str| shown(json!({"service": "hello-next", "address": address, "message": message}));
        assert_eq!(preview("http://hello-next.shop:8080", "").as_deref(), Some("  preview  http://hello-next.shop:8080"));
        assert_eq!(preview("", ""), None);
        assert_eq!(preview("", "REASON").as_deref(), Some("  preview  Service hello-next does not show the new version: REASON"));
    }

    #[test]
    fn connections_and_clients_are_told_apart_where_affinity_keeps_them() {
        let mut rollout = rollout("holding");
        rollout.status.as_mut().unwrap().traffic.as_mut().unwrap().clients = Some(0);
        let screen = plain(&screen(&rollout, &caller(), now(), 100));
        let line = |label: &str| screen.lines().find(|line| line.contains(label)).unwrap_or_default();
        assert!(line("stable").contains("80 % of new clients") && line("canary").contains("20 % of new clients"), "{screen}");
        assert_eq!(line("those from before"), "  clients  0 % of those from before the release have moved; affinity keeps the others");
    }
}
