//! What a watch tells, and how it goes on after it was interrupted.

use std::time::Duration;

use kube::runtime::utils::Backoff;

use super::{
    readable::Unreadable,
    store::{Fact, Store},
};

/// What a watch tells.
pub enum Change<T> {
    Apply(T),
    Delete(T),
    /// A complete list.
    Replace(Vec<T>),
    /// It cannot be read, and counts as absent.
    Forget(Unreadable),
}

impl<T> Change<T> {
    /// The objects that it tells of.
    pub fn facts(&self) -> &[T] {
        match self {
            Self::Apply(fact) | Self::Delete(fact) => std::slice::from_ref(fact),
            Self::Replace(facts) => facts,
            Self::Forget(_) => &[],
        }
    }

    /// The same, of something made of them.
    #[must_use]
    pub fn map<U>(self, reduce: impl Fn(T) -> U) -> Change<U> {
        match self {
            Self::Apply(fact) => Change::Apply(reduce(fact)),
            Self::Delete(fact) => Change::Delete(reduce(fact)),
            Self::Replace(facts) => Change::Replace(facts.into_iter().map(reduce).collect()),
            Self::Forget(unreadable) => Change::Forget(unreadable),
        }
    }
}

impl<T: Fact> Change<T> {
    /// Keeps it.
    pub fn store(self, store: &mut Store<T>) {
        match self {
            Self::Apply(fact) => store.apply(fact),
            Self::Delete(fact) => store.delete(&fact),
            Self::Replace(facts) => store.replace(facts),
            Self::Forget(Unreadable { name, uid, resource_version }) => store.forget(&name, &uid, &resource_version),
        }
    }
}

/// A watch that was interrupted begins again soon, at 0.1 s to 5 s: a controller without its watches is blind.
#[derive(Clone, Debug)]
pub struct WatchBackoff(Duration);

impl WatchBackoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(5);
}

impl Default for WatchBackoff {
    fn default() -> Self {
        Self(Self::FIRST)
    }
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = self.0;
        self.0 = (wait * 2).min(Self::LONGEST);
        Some(wait)
    }
}

impl Backoff for WatchBackoff {
    fn reset(&mut self) {
        *self = Self::default();
    }
}
