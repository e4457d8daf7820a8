//! Session affinity: for as long as a release lasts a client keeps the pod that it has, and with it its version.

use crate::api::policy::PolicySpec;

/// The longest time that Kubernetes takes, in seconds.
const LONGEST: i32 = 86_400;

/// For how many seconds a policy wants clients to be known by their address; none where it does not.
pub fn seconds(policy: &PolicySpec) -> Option<i32> {
    let timeout = policy.affinity.as_ref()?.client_ip.as_ref()?.timeout.0;
    let seconds = timeout.as_secs().saturating_add(u64::from(timeout.subsec_nanos() > 0));
    Some(i32::try_from(seconds).unwrap_or(LONGEST).clamp(1, LONGEST))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::model::policy;

    fn sticky(timeout: &str) -> PolicySpec {
        policy(json!({"steps": [{"weight": 100}], "affinity": {"clientIP": {"timeout": timeout}}}))
    }

    #[test]
    fn a_time_is_rounded_up_to_the_seconds_that_kubernetes_takes() {
        for (timeout, expected) in [("10m", 600), ("1s", 1), ("1s1ms", 2), ("24h", 86_400), ("10ms", 1), ("99h", 86_400)] {
            assert_eq!(seconds(&sticky(timeout)), Some(expected), "{timeout}");
        }
        assert_eq!(seconds(&policy(json!({"steps": [{"weight": 100}]}))), None);
    }
}
