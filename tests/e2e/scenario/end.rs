//! How a scenario ends: the assertions that all of them share, and what is kept of one that failed.

use std::{fs, time::Duration};

use serde_json::Value;
use stepgate::{api::status::Phase, sim::load::Report};
use tokio::time;

use super::Scenario;
use crate::world::{HELLO, Kind, leftovers, violations};

/// How long the last pods and objects may take to go.
const CLEANUP: Duration = Duration::from_secs(20);

impl Scenario {
    /// Stops the clients and asserts: no request failed, no invariant was broken, nothing of ours is left; then deletes the Rollout and
    /// asserts that again, ends the controller, and deletes the namespace.
    pub async fn finish(mut self) {
        let phase = self.status().phase;
        let at_rest = matches!(phase, None | Some(Phase::Healthy | Phase::RolledBack | Phase::Pending));
        assert!(at_rest, "the scenario ends in phase {phase:?}");
        // A template that does not serve stays held, also when the Rollout has been deleted.
        let held = matches!(phase, None | Some(Phase::RolledBack));
        self.assert_nothing_left(held, "at rest").await;
        self.stop_clients().await;
        if self.exists(Kind::Rollout, HELLO) {
            self.delete_rollout().await;
            self.wait_until("the Rollout to be gone", |world| world.get(Kind::Rollout, HELLO).is_none()).await;
            self.assert_nothing_left(held, "after the deletion of the Rollout").await;
        }
        if self.controller.is_started() {
            let ended = self.sigterm().await;
            assert!(ended.success(), "the controller ended with {ended} after SIGTERM");
        }
        self.assert_invariants();
        self.print_counts();
        self.remove().await;
    }

    /// Deletes the namespace, without any assertion.
    pub async fn remove(self) {
        if std::env::var_os("STEPGATE_KEEP").is_none() {
            self.kubectl(&["delete", "namespace", &self.namespace, "--wait=false"], &Value::Null).await;
            // Kept only after failures.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }

    /// Ends the clients, whatever they saw.
    pub async fn forget_clients(&mut self) {
        if let Some(load) = self.load.take() {
            load.stop().await;
        }
    }

    /// Asserts that no write so far has broken an invariant.
    pub fn assert_invariants(&self) {
        let found = violations(&self.timeline.borrow(), &self.allowance);
        assert!(found.is_empty(), "the witness saw:\n{}", found.join("\n"));
    }

    /// Ends the clients and asserts that none of their requests failed through anybody's fault but the scenario's.
    pub async fn stop_clients(&mut self) {
        let Some(load) = self.load.take() else { return };
        let report = load.stop().await;
        eprintln!("{}: {report}  sent at most {:.0?} late", self.namespace, report.lateness());
        let failed = report.failed();
        let own = |version: &Option<String>| version.as_ref().is_some_and(|version| self.bad.contains(version));
        let failed: Vec<_> = failed.into_iter().filter(|request| request.outcome.is_unanswered() || !own(&request.version)).collect();
        assert!(failed.is_empty(), "{} of {} requests failed:\n{}", failed.len(), report.total(), report.describe(&failed, 20));
        self.report = Some(report);
    }

    /// What the clients saw, once they were stopped.
    pub fn report(&self) -> &Report {
        self.report.as_ref().expect("stopped clients")
    }

    async fn assert_nothing_left(&mut self, paused: bool, when: &str) {
        let limit = time::Instant::now() + CLEANUP;
        loop {
            let found = leftovers(&self.timeline.borrow(), paused);
            if found.is_empty() {
                return;
            }
            assert!(time::Instant::now() < limit, "{when} there is still:\n  {}", found.join("\n  "));
            time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn print_counts(&self) {
        let timeline = self.timeline.borrow();
        let counts = timeline.counts();
        let words: Vec<String> = counts.iter().map(|((kind, name), count)| format!("{kind:?} {name} {count}")).collect();
        eprintln!("{}: writes by anybody: {}", self.namespace, words.join(", "));
    }

    fn describe(&mut self) -> String {
        let status = self.status();
        let events = [
            "get",
            "events",
            "--sort-by=.metadata.creationTimestamp",
            "-o",
            "custom-columns=T:.lastTimestamp,E:.eventTime,R:.reason,O:.regarding.name,O2:.involvedObject.name,M:.note,M2:.message",
        ];
        let events = self.cluster.kubectl(&self.namespace, &events, "").unwrap_or_else(|error| error);
        let events: Vec<&str> = events.lines().collect();
        let clients = self.load.as_mut().map(|load| load.report().to_string()).unwrap_or_default();
        let ended = self.controller.ended().map(|status| format!(" (ended: {status})")).unwrap_or_default();
        format!(
            "==== {}\n---- why: {}\n---- status\n{}\n---- last writes\n{}\n---- events\n{}\n---- clients\n{clients}\n---- controller{ended}\n{}\n",
            self.namespace,
            status.why,
            serde_json::to_string_pretty(&status).unwrap_or_default(),
            self.timeline.borrow().describe(60),
            events[events.len().saturating_sub(25)..].join("\n"),
            self.controller.tail(40),
        )
    }
}

impl Drop for Scenario {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let found = violations(&self.timeline.borrow(), &self.allowance);
        eprintln!("{}---- witness\n{}\n---- kept in {}", self.describe(), found.join("\n"), self.folder.display());
        // The test has failed already; what cannot be saved or removed now must not hide why.
        let _ = fs::write(self.folder.join("timeline.txt"), self.timeline.borrow().describe(usize::MAX));
        self.controller.kill9();
        if std::env::var_os("STEPGATE_KEEP").is_none() {
            let no_finalizer = ["patch", "rollout", HELLO, "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#];
            let _ = self.cluster.kubectl(&self.namespace, &no_finalizer, "");
            let _ = self.cluster.kubectl(&self.namespace, &["delete", "namespace", &self.namespace, "--wait=false"], "");
        }
    }
}
