//! A scenario: one namespace, one application, one controller, one client, one witness.

mod embedded;
mod end;
mod gitops;
mod manifest;
mod start;
mod undo;
mod verbs;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use kube::Client;
use serde_json::Value;
use stepgate::sim::load::{Load, Report};
use tokio::sync::watch;

use crate::{
    controller::{Cluster, Controller},
    world::{Allowance, Timeline},
};

pub use gitops::Style;
pub use manifest::Manifests;
pub use start::Plan;
pub use verbs::{Pods, has_image};

/// How long anything may take that has no limit of its own.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the admission policies act in the scenario's namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    On,
    Off,
}

/// A running scenario. Dropped in a panic it prints what is known and saves controller log and timeline.
pub struct Scenario {
    pub namespace: String,
    pub client: Client,
    pub guard: Guard,
    pub allowance: Allowance,
    pub manifests: Manifests,
    pub timeline: watch::Receiver<Timeline>,
    cluster: Cluster,
    controller: Controller,
    load: Option<Load>,
    longest: Duration,
    /// Clients with an address of their own.
    clients: u8,
    report: Option<Report>,
    /// The versions whose bad answers are the scenario's own doing.
    bad: Vec<String>,
    /// Where what is kept after a failure goes.
    folder: PathBuf,
    /// Environment variables of the application, as the scenario last set them.
    env: BTreeMap<String, String>,
}

/// Runs a scenario on a runtime of its own; without a cluster, or without what it needs of one, it only says so.
pub fn run<F: Future<Output = ()>>(name: &str, guard: Guard, scenario: impl FnOnce(Plan) -> F) {
    let Some(cluster) = Cluster::from_env() else { return };
    if embedded::is_left_out(name, &cluster) {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(scenario(Plan::new(name, guard, cluster)));
    runtime.shutdown_timeout(Duration::from_secs(1));
}

/// Makes two tests of each scenario: with the admission policies (`guarded`) and without (`unguarded`).
#[macro_export]
macro_rules! scenarios {
    ($($scenarios:tt)*) => {
        $crate::scenario_pairs! { cfg(all()); $($scenarios)* }
    };
}

/// The same for what takes too long for every run, or disturbs everybody else on the cluster.
#[macro_export]
macro_rules! scenarios_at_night {
    ($($scenarios:tt)*) => {
        $crate::scenario_pairs! { ignore = "`tests/run all` plays it"; $($scenarios)* }
    };
}

/// Two tests of each scenario, with an attribute.
#[macro_export]
macro_rules! scenario_pairs {
    ($attribute:meta; $($(#[$doc:meta])* async fn $name:ident($plan:ident: $type:ty) $body:block)*) => {$(
        $(#[$doc])*
        mod $name {
            use super::*;

            async fn scenario($plan: $type) $body

            #[test]
            #[$attribute]
            fn guarded() {
                $crate::scenario::run(stringify!($name), $crate::scenario::Guard::On, scenario);
            }

            #[test]
            #[$attribute]
            fn unguarded() {
                $crate::scenario::run(stringify!($name), $crate::scenario::Guard::Off, scenario);
            }
        }
    )*};
}

/// Makes one test of each scenario, for what makes sense only with (`On`) or only without (`Off`) the admission policies.
#[macro_export]
macro_rules! scenarios_with_guard {
    ($guard:ident: $($(#[$doc:meta])* async fn $name:ident($plan:ident: $type:ty) $body:block)*) => {$(
        $(#[$doc])*
        #[test]
        fn $name() {
            async fn scenario($plan: $type) $body
            $crate::scenario::run(stringify!($name), $crate::scenario::Guard::$guard, scenario);
        }
    )*};
}

/// A merge patch (RFC 7386) on a value in memory.
pub fn merge(value: &mut Value, patch: &Value) {
    json_patch::merge(value, patch);
}
