//! Labels, and selectors over them.

use std::collections::BTreeMap;

use serde_json::Value;

/// Labels or selectors, as Kubernetes writes them.
pub type Labels = BTreeMap<String, String>;

/// A label selector.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selector {
    /// As it was written, to be given to the canary byte for byte.
    pub raw: Value,
    pub match_labels: Labels,
    pub expressions: Vec<Expression>,
}

/// One `matchExpressions` entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    pub key: String,
    pub operator: String,
    pub values: Vec<String>,
}

impl Selector {
    /// Whether an object with these labels is selected. An operator that is not known selects nothing.
    pub fn matches(&self, labels: &Labels) -> bool {
        subset(&self.match_labels, labels)
            && self.expressions.iter().all(|Expression { key, operator, values }| match (operator.as_str(), labels.get(key)) {
                ("In", Some(value)) => values.contains(value),
                ("NotIn", value) => value.is_none_or(|value| !values.contains(value)),
                ("Exists", value) => value.is_some(),
                ("DoesNotExist", value) => value.is_none(),
                _ => false,
            })
    }
}

/// Whether every pair of `wanted` is in `labels`.
pub fn subset(wanted: &Labels, labels: &Labels) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}
