//! What the rules look at: both Deployments, and the one whose template a release would bring.

use std::iter;

use crate::core::{facts::deployment::DeploymentFacts, view::View, why::refusal::Refusal};

/// What one rule finds, when it is asked.
pub fn one<'a>(rule: impl FnOnce() -> Option<Refusal> + 'a) -> impl Iterator<Item = Refusal> + 'a {
    iter::once_with(rule).flatten()
}

/// The Deployments of both sides, as far as they exist before a release: the user's, or the live version and the one that is to be.
pub fn sides<'a>(view: &View<'a>) -> Vec<&'a DeploymentFacts> {
    view.side_deployments()
}

/// The Deployment whose template a release would bring.
pub fn subject<'a>(view: &View<'a>) -> &'a DeploymentFacts {
    view.wanted().unwrap_or(view.hello)
}
