//! How many pods each side has.

/// The full size of a release: that of its start, or the Deployment's now where that is larger. Whoever takes over from a side of so many
/// pods must have as many.
pub fn full(at_start: i32, now: i32) -> i32 {
    at_start.max(now).max(1)
}

/// How many of `replicas` pods a share such as `75%` means, rounded up; all of them when it cannot be read.
pub fn share(min_ready: &str, replicas: i32) -> i32 {
    let percent = min_ready.trim_end_matches('%').parse::<i64>().unwrap_or(100).clamp(0, 100);
    i32::try_from((i64::from(replicas) * percent + 99) / 100).unwrap_or(replicas)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_full_size_follows_the_deployment_up_and_not_down() {
        for (start, now, size) in [(4, 4, 4), (4, 2, 4), (4, 6, 6), (4, 100, 100), (1, 1, 1)] {
            assert_eq!(full(start, now), size);
        }
    }

    #[test]
    fn a_share_is_rounded_up_to_whole_pods() {
        for (text, replicas, pods) in [("100%", 4, 4), ("75%", 4, 3), ("50%", 3, 2), ("1%", 10, 1), ("99%", 1, 1)] {
            assert_eq!(share(text, replicas), pods);
        }
    }
}
