//! The keys of a Service's selector that are Stepgate's, and what they say.

use crate::{
    api::{POD_TEMPLATE_HASH, ROTATION, ROTATION_IN},
    core::facts::labels::Labels,
};

/// What Stepgate's keys in a Service's selector say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// None of our keys: the selector is the owner's.
    Open,
    /// Pods of one side only: those whose side label has this value.
    Side(String),
    /// Pods that carry the rotation label only.
    Rotation,
}

/// The selector keys that are Stepgate's: the label that tells the sides of a pair apart, and the rotation label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys<'a> {
    pub side: &'a str,
}

/// Those of a managed pair, whose sides differ in the label that Kubernetes gives them.
pub const MANAGED: Keys<'static> = Keys { side: POD_TEMPLATE_HASH };

impl<'a> Keys<'a> {
    /// Both of them.
    pub fn all(self) -> [&'a str; 2] {
        [self.side, ROTATION]
    }

    /// The pin found in a selector. A selector with both keys counts as pinned to the side, the narrower of the two to undo.
    pub fn pin(self, selector: &Labels) -> Pin {
        match (selector.get(self.side), selector.get(ROTATION)) {
            (Some(value), _) => Pin::Side(value.clone()),
            (None, Some(_)) => Pin::Rotation,
            (None, None) => Pin::Open,
        }
    }

    /// The key and value that a pin puts into a selector.
    pub fn entry(self, pin: &Pin) -> Option<(&'a str, &str)> {
        match pin {
            Pin::Open => None,
            Pin::Side(value) => Some((self.side, value)),
            Pin::Rotation => Some((ROTATION, ROTATION_IN)),
        }
    }

    /// The owner's selector with this pin.
    pub fn apply(self, pin: &Pin, selector: &Labels) -> Labels {
        let mut pinned = self.owners(selector);
        pinned.extend(self.entry(pin).map(|(key, value)| (key.to_owned(), value.to_owned())));
        pinned
    }

    /// A selector without the keys that are ours.
    pub fn owners(self, selector: &Labels) -> Labels {
        selector.iter().filter(|(key, _)| !self.all().contains(&key.as_str())).map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{
        share::{by_counts, by_rotation, nested},
        traffic::selectors::split::Split,
    };
    use proptest::prelude::*;

    #[test]
    fn counts_come_as_near_as_whole_pods_allow() {
        for (weight, size, pods) in [(25, 4, 1), (50, 4, 4), (1, 4, 1), (25, 10, 3), (20, 4, 1), (50, 1, 1), (33, 6, 3)] {
            assert_eq!(by_counts(weight, size), pods, "{weight} % of {size}");
        }
    }

    #[test]
    fn rotation_takes_the_nearest_share_that_keeps_the_capacity() {
        for (weight, size, pair) in [(75, 4, (3, 1)), (75, 3, (3, 1)), (75, 10, (9, 3)), (75, 1, (1, 1)), (25, 4, (1, 3)), (99, 4, (4, 1))]
        {
            assert_eq!(by_rotation(weight, size), pair, "{weight} % of {size}");
        }
    }

    #[test]
    fn nested_rotation_has_all_stable_pods_up_to_50_and_all_of_the_canarys_above() {
        for (weight, size, pair) in [
            (25, 4, (1, 4)),
            (50, 4, (4, 4)),
            (75, 4, (4, 1)),
            (60, 10, (10, 7)),
            (75, 10, (10, 3)),
            (99, 10, (10, 1)),
            (75, 1, (1, 1)),
            (99, i32::MAX, (i32::MAX, 21_691_754)),
        ] {
            assert_eq!(nested(weight, size), pair, "{weight} % of {size}");
        }
    }

    #[test]
    fn any_number_of_pods_is_split_at_once() {
        for (weight, size, pair) in [
            (75, 1_000_000, (999_999, 333_333)),
            (50, 1_000_000, (1_000_000, 1_000_000)),
            (1, 9_899, (99, 9_801)),
            (99, i32::MAX, (2_147_483_646, 21_691_754)),
        ] {
            assert_eq!(by_rotation(weight, size), pair, "{weight} % of {size}");
            assert_eq!(Split::Rotation { canary: pair.0, stable: pair.1 }.share(size), weight, "{weight} % of {size}");
        }
        assert_eq!(by_counts(25, i32::MAX), 715_827_882);
        assert_eq!(Split::Counts { canary: i32::MAX }.share(i32::MAX), 50);
    }

    #[test]
    fn a_pin_is_read_back_and_leaves_the_owners_keys() {
        let owner: Labels = [("app".to_owned(), "hello".to_owned())].into();
        for keys in [MANAGED, Keys { side: "version" }] {
            for pin in [Pin::Open, Pin::Rotation, Pin::Side("5d4f".into())] {
                let pinned = keys.apply(&pin, &keys.apply(&Pin::Side("other".into()), &owner));
                assert_eq!(keys.pin(&pinned), pin);
                assert_eq!(keys.owners(&pinned), owner);
            }
        }
    }

    proptest! {
        #[test]
        fn rotation_never_takes_capacity_away(weight in 1u8..100, size in 1i32..60) {
            let (canary, stable) = by_rotation(weight, size);
            prop_assert!(canary >= 1 && stable >= 1 && canary <= size && stable <= size && canary + stable >= size);
        }

        #[test]
        fn rotation_takes_the_best_of_all_pairs(weight in 1u8..100, size in 1i32..120) {
            let share = |(canary, stable): (i32, i32)| f64::from(canary) / f64::from(canary + stable);
            let off = |pair| (share(pair) - f64::from(weight) / 100.0).abs();
            let all = (1..=size).flat_map(|canary| ((size - canary).max(1)..=size).map(move |stable| (canary, stable)));
            let best = all.map(off).fold(f64::INFINITY, f64::min);
            prop_assert!(off(by_rotation(weight, size)) <= best + 1e-12);
        }

        #[test]
        fn more_weight_never_means_fewer_canary_pods(weight in 1u8..50, size in 1i32..200) {
            prop_assert!(by_counts(weight, size) <= by_counts(weight + 1, size));
        }

        #[test]
        fn nested_rotation_only_adds_canary_pods_and_only_takes_stable_ones_away(weight in 1u8..99, size in 1i32..200) {
            let ((canary, stable), (more, fewer)) = (nested(weight, size), nested(weight + 1, size));
            prop_assert!(canary <= more && fewer <= stable);
            prop_assert!(canary >= 1 && fewer >= 1 && more <= size && stable <= size && canary + stable >= size);
        }
    }
}
