//! The embedded cluster, which the same scenarios are played on, and those that need more of a cluster than it has.

use std::io::Write as _;

use crate::controller::{Cluster, Reality};

const NO_AUTOSCALER: &str = "it has no autoscaler";
const NO_QUOTAS: &str = "it has no quotas";
const HTTP_ALONE: &str = "its application speaks HTTP at one port, and nothing else";
const ROOM_FOR_ALL: &str = "its node has room for everything";

/// Scenarios that are played on real clusters only, and what the embedded one lacks for them. Nothing else is a reason: a scenario that
/// passes on a real cluster and fails on the embedded one has found a difference.
const LEFT_OUT: [(&str, &str); 9] = [
    ("that_sees_half_idle_pods_does_not_starve_the_release", NO_AUTOSCALER),
    ("that_scales_up_in_the_middle_of_an_adoption", NO_AUTOSCALER),
    ("that_scales_down_in_the_middle_of_an_adoption", NO_AUTOSCALER),
    ("a_quota_that_keeps_the_canary_out", NO_QUOTAS),
    ("a_node_without_room_for_the_canary", ROOM_FOR_ALL),
    ("of_grpc_passes_what_serves_and_rejects_what_does_not", HTTP_ALONE),
    ("of_grpc_for_a_service_that_nobody_has_is_a_failure", HTTP_ALONE),
    ("by_tls_is_answered_by_a_server_whose_certificate_nobody_knows", HTTP_ALONE),
    ("of_tcp_to_a_port_that_only_the_old_version_has_is_a_failure", HTTP_ALONE),
];

/// Whether the scenario is left out on this cluster, which is said aloud.
pub(super) fn is_left_out(name: &str, cluster: &Cluster) -> bool {
    if cluster.reality == Reality::Real {
        return false;
    }
    let lacking = LEFT_OUT.iter().find(|(left_out, _)| *left_out == name).map(|(_, lacking)| lacking);
    if let Some(lacking) = lacking {
        // Past the test runner's capture, which keeps what passing tests print to itself.
        writeln!(std::io::stderr(), "LEFT OUT on the embedded cluster: {name}: {lacking}").expect("a standard error");
    }
    lacking.is_some()
}
