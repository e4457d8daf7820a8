//! `stepgate undo`, as a user runs it.

use std::process::{Command, Output};

use super::Scenario;
use crate::world::HELLO;

impl Scenario {
    /// Runs it; returns what it printed.
    pub async fn undo(&self, args: &[&str]) -> String {
        self.try_undo(args).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same, where a refusal is part of the scenario.
    ///
    /// # Errors
    /// What it printed, if it did not end well.
    pub async fn try_undo(&self, args: &[&str]) -> Result<String, String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stepgate"));
        command.args(["undo", HELLO, "-n", &self.namespace]).arg("--kubeconfig").arg(&self.cluster.kubeconfig).args(args);
        let run = move || command.output().expect("the built binary");
        let Output { status, stdout, stderr } = tokio::task::spawn_blocking(run).await.expect("a command does not panic");
        let said = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        if status.success() { Ok(said(&stdout)) } else { Err(format!("{status}: {}{}", said(&stdout), said(&stderr))) }
    }
}
