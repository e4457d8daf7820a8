//! A `GitOps` tool: what is in Git, applied again and again.

use std::time::Duration;

use serde_json::Value;
use tokio::{sync::oneshot, task::JoinHandle, time};

use super::Scenario;
use crate::controller::SYSTEM;

/// How a tool applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `kubectl apply`.
    Apply,
    /// `kubectl apply --server-side --force-conflicts`.
    Force,
}

impl Style {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Apply => &["apply", "-f", "-"],
            Self::Force => &["apply", "--server-side", "--force-conflicts", "--field-manager=gitops", "-f", "-"],
        }
    }
}

/// A tool at work.
pub struct Tool {
    stop: oneshot::Sender<()>,
    work: JoinHandle<(usize, Vec<String>)>,
}

impl Tool {
    /// Ends it; returns how often it applied, and what it was answered where that was a refusal.
    pub async fn stop(self) -> (usize, Vec<String>) {
        // Fails only if the tool has panicked, which `await` reports.
        let _ = self.stop.send(());
        self.work.await.expect("the tool's work")
    }
}

impl Scenario {
    /// Applies Deployment and Service as they are in Git now, from now on.
    pub fn apply_again_and_again(&self, style: Style, period: Duration) -> Tool {
        let (stop, mut stopped) = oneshot::channel();
        let (cluster, namespace, input) = (self.cluster.clone(), self.namespace.clone(), self.manifests.application().to_string());
        let work = tokio::spawn(async move {
            let (mut count, mut refused) = (0, Vec::new());
            let mut clock = time::interval(period);
            loop {
                tokio::select! {
                    _ = clock.tick() => {}
                    _ = &mut stopped => return (count, refused),
                }
                let (cluster, namespace, input) = (cluster.clone(), namespace.clone(), input.clone());
                let run = move || cluster.kubectl(&namespace, style.arguments(), &input);
                refused.extend(tokio::task::spawn_blocking(run).await.expect("kubectl does not panic").err());
                count += 1;
            }
        });
        Tool { stop, work }
    }

    /// `kubectl` in the scenario's namespace.
    pub async fn kubectl(&self, args: &[&str], input: &Value) -> String {
        self.try_kubectl(args, input).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same, where a refusal is part of the scenario.
    ///
    /// # Errors
    /// What it printed, if it failed.
    pub async fn try_kubectl(&self, args: &[&str], input: &Value) -> Result<String, String> {
        self.run_kubectl(&self.namespace, args, if input.is_null() { String::new() } else { input.to_string() }).await
    }

    /// `kubectl` in Stepgate's own namespace, with manifests as they are.
    pub async fn kubectl_as_admin(&self, args: &[&str], input: &str) -> String {
        self.run_kubectl(SYSTEM, args, input.to_owned()).await.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn run_kubectl(&self, namespace: &str, args: &[&str], input: String) -> Result<String, String> {
        let (cluster, namespace) = (self.cluster.clone(), namespace.to_owned());
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        let run = move || cluster.kubectl(&namespace, &args.iter().map(String::as_str).collect::<Vec<_>>(), &input);
        tokio::task::spawn_blocking(run).await.expect("kubectl does not panic")
    }
}
