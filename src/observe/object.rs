//! What the facts of every kind have from an object's metadata.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

pub(super) fn version<K: kube::Resource>(object: &K) -> String {
    object.meta().resource_version.clone().unwrap_or_default()
}

pub(super) fn created<K: kube::Resource>(object: &K) -> Timestamp {
    object.meta().creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}

pub(super) fn controller(owners: &[OwnerReference]) -> Option<String> {
    owners.iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.clone())
}

/// The protocol of a port; the one that Kubernetes takes where none is written.
pub fn protocol(protocol: Option<&String>) -> String {
    protocol.map_or_else(|| "TCP".to_owned(), Clone::clone)
}
