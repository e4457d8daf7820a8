//! Revisions: pod templates, named by a fingerprint.
//!
//! Guarantee: two templates that differ never go by one name in one decision, if one of them is live or under release. Ten digits are a name
//! for people, and two templates with the same ten are found in seconds by whoever looks for them; so the whole digest of what is live and of
//! what is being released is on record, and a template with another digest and the same ten digits gets a longer name.
//! Assumption: nobody finds two templates with one SHA-256.
//! Caveat: a release or a live version that an older Stepgate put on record has no digest there until it is next looked at.

use std::{fmt::Write as _, sync::Arc};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    api::{POD_TEMPLATE_HASH, RolloutStatus},
    core::facts::Snapshot,
};

/// Length of a revision's name, in hex digits.
pub const LENGTH: usize = 10;

/// Length of the name of a template that has the first ten digits in common with another one.
const LONG: usize = 40;

/// The digest of a pod template: SHA-256 over its canonical JSON, 64 hex digits.
///
/// Canonical: keys sorted, no insignificant space, no nulls (an absent field and a null one mean the same to Kubernetes), and
/// without `pod-template-hash`, so that a Deployment's template and its ReplicaSet's have the same revision.
///
/// ```
/// use serde_json::json;
/// use stepgate::core::facts::revision::digest;
///
/// let ours = json!({"spec": {"containers": []}, "metadata": {"labels": {"app": "hello"}}});
/// let replica_set = json!({"metadata": {"creationTimestamp": null, "labels": {"app": "hello", "pod-template-hash": "5d4f"}}, "spec": {"containers": []}});
/// assert_eq!(digest(&ours), digest(&replica_set));
/// ```
pub fn digest(template: &Value) -> String {
    let mut text = String::new();
    write_canonical(template, &mut Vec::new(), &mut text);
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().fold(String::with_capacity(2 * digest.len()), |mut name, byte| {
        let _ = write!(name, "{byte:02x}");
        name
    })
}

/// The name of a digest: its first 10 digits.
pub fn name(digest: &str) -> String {
    digest.get(..LENGTH).unwrap_or(digest).to_owned()
}

/// The revision of a pod template, as long as no other template has the same name.
pub fn revision(template: &Value) -> String {
    name(&digest(template))
}

/// The names of the digests on record.
#[derive(Debug)]
struct Record(Vec<(String, String)>);

impl Record {
    fn of(status: &RolloutStatus) -> Self {
        let release = status.release.as_ref().map(|release| (release.revision.clone(), release.digest.clone()));
        let stable = status.stable.as_ref().map(|stable| (stable.revision.clone(), stable.digest.clone()));
        Self(release.into_iter().chain(stable).filter(|(_, digest)| !digest.is_empty()).collect())
    }

    /// The name of a template, where it is not the first ten digits of its digest.
    fn rename(&self, digest: &str) -> Option<String> {
        let short = name(digest);
        match self.0.iter().find(|(_, known)| known == digest) {
            Some((known, _)) => (*known != short).then(|| known.clone()),
            None => self.0.iter().any(|(known, _)| *known == short).then(|| digest.get(..LONG).unwrap_or(digest).to_owned()),
        }
    }

    /// The revision that digits stand for, if they are those of one digest on record and of no other.
    fn meant(&self, digits: &str) -> Option<&str> {
        let mut fitting = self.0.iter().filter(|(_, digest)| digest.starts_with(digits));
        let (name, digest) = fitting.next()?;
        fitting.all(|(_, other)| other == digest).then_some(name.as_str())
    }
}

impl Snapshot {
    /// The same, with every template under its own name: see the module. The request is for what its digits stand for.
    #[must_use]
    pub fn resolved(mut self) -> Self {
        let record = Record::of(&self.status);
        for deployment in &mut self.deployments {
            if let Some(name) = record.rename(&deployment.digest) {
                Arc::make_mut(deployment).revision = name;
            }
        }
        for set in &mut self.replica_sets {
            if let Some(name) = record.rename(&set.digest) {
                Arc::make_mut(set).revision = name;
            }
        }
        let asked = self.rollout.spec.request.as_ref().map(|request| request.revision.as_str());
        let meant = asked.and_then(|digits| record.meant(digits).filter(|meant| *meant != digits)).map(str::to_owned);
        if let Some(meant) = meant
            && let Some(request) = &mut Arc::make_mut(&mut self.rollout.spec).request
        {
            request.revision = meant;
        }
        self
    }
}

fn write_canonical<'a>(value: &'a Value, path: &mut Vec<&'a str>, out: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut keys: Vec<&'a String> =
                fields.keys().filter(|key| !fields[key.as_str()].is_null() && !is_hash_label(path, key)).collect();
            keys.sort();
            out.push('{');
            for (i, key) in keys.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                let _ = write!(out, "{}:", Value::from(key.as_str()));
                path.push(key);
                write_canonical(&fields[key.as_str()], path, out);
                path.pop();
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                path.push("[]");
                write_canonical(item, path, out);
                path.pop();
            }
            out.push(']');
        }
        scalar => {
            let _ = write!(out, "{scalar}");
        }
    }
}

fn is_hash_label(path: &[&str], key: &str) -> bool {
    key == POD_TEMPLATE_HASH && path == ["metadata", "labels"]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_revision_is_ten_hex_digits() {
        let name = revision(&json!({"spec": {}}));
        assert!(name.len() == LENGTH && name.chars().all(|c| c.is_ascii_hexdigit() && !c.is_ascii_uppercase()), "{name}");
    }

    fn status(release: Option<&str>, stable: &str) -> RolloutStatus {
        let at = "2026-11-21T14:00:00Z";
        let release = release.map(|digest| {
            json!({"revision": if name(digest) == name(stable) { &digest[..LONG] } else { &digest[..LENGTH] }, "digest": digest, "startedAt": at, "size": 1,
                "policy": {"steps": [{"weight": 100}]}})
        });
        serde_json::from_value(json!({"stable": {"revision": name(stable), "digest": stable}, "release": release})).unwrap()
    }

    #[test]
    fn a_template_with_the_digits_of_another_one_goes_by_another_name() {
        let [live, twin, other] = ["a", "b", "c"].map(|end| format!("09d314a47a{}", end.repeat(54)));
        let new = "1".repeat(64);
        let at_rest = Record::of(&status(None, &live));
        assert_eq!(at_rest.rename(&live), None);
        assert_eq!(at_rest.rename(&new), None);
        assert_eq!(at_rest.rename(&twin).as_deref(), Some(&twin[..LONG]), "it is not what runs");
        let releasing = Record::of(&status(Some(&twin), &live));
        assert_eq!(releasing.rename(&twin).as_deref(), Some(&twin[..LONG]), "the name that it was released by stays");
        assert_eq!(releasing.rename(&other).as_deref(), Some(&other[..LONG]));
        let without = Record::of(&serde_json::from_value(json!({"stable": {"revision": name(&live)}})).unwrap());
        assert_eq!(without.rename(&twin), None, "an older status has ten digits and nothing else");
    }

    #[test]
    fn digits_that_two_revisions_have_in_common_stand_for_neither() {
        let [live, twin] = ["a", "b"].map(|end| format!("09d314a47a{}", end.repeat(54)));
        let releasing = Record::of(&status(Some(&twin), &live));
        assert_eq!(releasing.meant(&twin[..LENGTH]), None);
        assert_eq!(releasing.meant(&twin[..=LENGTH]), Some(&twin[..LONG]));
        assert_eq!(releasing.meant(&twin), Some(&twin[..LONG]));
        assert_eq!(releasing.meant(&live), Some(&live[..LENGTH]));
        assert_eq!(releasing.meant("ffffffffff"), None);
        let new = "1".repeat(64);
        assert_eq!(Record::of(&status(Some(&new), &live)).meant(&new[..LENGTH]), Some(&new[..LENGTH]));
    }

    #[test]
    fn the_order_of_keys_does_not_matter_but_that_of_lists_does() {
        assert_eq!(revision(&json!({"a": 1, "b": [1, 2]})), revision(&json!({"b": [1, 2], "a": 1})));
        assert_ne!(revision(&json!({"b": [1, 2]})), revision(&json!({"b": [2, 1]})));
    }

    #[test]
    fn only_the_label_of_the_template_itself_is_left_out() {
        let plain = json!({"metadata": {"labels": {"app": "hello"}}, "spec": {}});
        let elsewhere = json!({"metadata": {"labels": {"app": "hello"}}, "spec": {"nodeSelector": {"pod-template-hash": "x"}}});
        assert_ne!(revision(&plain), revision(&elsewhere));
    }
}
