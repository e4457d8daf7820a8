//! Shares in whole pods: percent, counts, rotations.

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

/// `part` of `whole`, in percent, rounded; 0 of 0 is 0.
pub fn percent(part: i32, whole: impl Into<i64>) -> u8 {
    let whole = whole.into();
    if whole <= 0 {
        return 0;
    }
    u8::try_from((i64::from(part) * 200 + whole) / (whole * 2)).unwrap_or(100)
}

/// Canary pods beside `size` stable ones that give `weight` by counts alone: `round(w*N/(100-w))`, at least 1, at most `size`.
pub fn by_counts(weight: u8, size: i32) -> i32 {
    let (weight, size) = (i64::from(weight.min(50)), i64::from(size));
    let rest = 100 - weight;
    let pods = (2 * weight * size + rest) / (2 * rest);
    i32::try_from(pods.clamp(1, size.max(1))).unwrap_or(1)
}

/// The numbers of canary and stable pods in rotation that come nearest to `weight`, with c <= N, 1 <= m <= N and c + m >= N.
///
/// Of two that are equally near the one with more pods in rotation is taken, then the one with fewer canary pods. Quick at any size: only
/// where whole pods cannot give the weight exactly, which never happens from 9,900 pods on, are the numbers gone through.
pub fn by_rotation(weight: u8, size: i32) -> (i32, i32) {
    let (weight, size) = (i64::from(weight.clamp(1, 99)), i64::from(size.max(1)));
    let (canary, stable) = exactly(weight, size).unwrap_or_else(|| nearest(weight, size));
    (i32::try_from(canary).unwrap_or(i32::MAX), i32::try_from(stable).unwrap_or(i32::MAX))
}

/// The numbers of canary and stable pods that have clients at a weight, where clients are to keep their version: the sets are nested.
///
/// Up to 50 % all stable pods are in, above all of the canary's. The more weight, the more canary pods and the fewer stable ones: no step
/// takes a pod of the canary out again, so that a client which has come there stays.
pub fn nested(weight: u8, size: i32) -> (i32, i32) {
    let (weight, size) = (weight.clamp(1, 99), size.max(1));
    if weight <= 50 { (by_counts(weight, size), size) } else { (size, by_counts(100 - weight, size)) }
}

/// The largest rotation that gives the weight exactly, where there is one.
fn exactly(weight: i64, size: i64) -> Option<(i64, i64)> {
    // A multiple of so many pods splits into whole pods.
    let unit = (1..=100).find(|unit| unit * weight % 100 == 0)?;
    // The larger part is at most the size of a side.
    let total = size * 100 / weight.max(100 - weight) / unit * unit;
    let canary = total * weight / 100;
    (total >= size).then_some((canary, total - canary))
}

fn nearest(weight: i64, size: i64) -> (i64, i64) {
    // |c/(c+m) - w/100| as a fraction over (c+m)*100, compared by cross-multiplication.
    let distance = |canary: i64, stable: i64| ((canary * 100 - weight * (canary + stable)).abs(), canary + stable);
    let nearer = |a: (i64, i64), b: (i64, i64)| (a.0 * b.1).cmp(&(b.0 * a.1));
    // The more stable pods beside so many of the canary, the smaller its share: the nearest is on either side of the exact number.
    let beside = |canary: i64| {
        let stable = canary * (100 - weight) / weight;
        [stable, stable + 1].map(|stable| (canary, stable.clamp((size - canary).max(1), size)))
    };
    (1..=size)
        .flat_map(beside)
        .min_by(|a, b| nearer(distance(a.0, a.1), distance(b.0, b.1)).then((b.0 + b.1).cmp(&(a.0 + a.1))).then(a.0.cmp(&b.0)))
        .unwrap_or((1, 1))
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
