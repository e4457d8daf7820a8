//! Revisions: pod templates, named by a fingerprint.

use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::api::POD_TEMPLATE_HASH;

/// Length of a revision's name, in hex digits.
pub const LENGTH: usize = 10;

/// The revision of a pod template: SHA-256 over its canonical JSON, first 10 hex digits.
///
/// Canonical: keys sorted, no insignificant space, no nulls (an absent field and a null one mean the same to Kubernetes), and
/// without `pod-template-hash`, so that a Deployment's template and its ReplicaSet's have the same revision.
///
/// ```
/// use serde_json::json;
/// use stepgate::core::facts::revision::revision;
///
/// let ours = json!({"spec": {"containers": []}, "metadata": {"labels": {"app": "hello"}}});
/// let replica_set = json!({"metadata": {"creationTimestamp": null, "labels": {"app": "hello", "pod-template-hash": "5d4f"}}, "spec": {"containers": []}});
/// assert_eq!(revision(&ours), revision(&replica_set));
/// ```
pub fn revision(template: &Value) -> String {
    let mut text = String::new();
    write_canonical(template, &mut Vec::new(), &mut text);
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(LENGTH / 2).fold(String::with_capacity(LENGTH), |mut name, byte| {
        let _ = write!(name, "{byte:02x}");
        name
    })
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
