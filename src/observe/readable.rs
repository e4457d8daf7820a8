//! Objects of our kinds that this version of Stepgate may not understand.

use kube::core::{DeserializeGuard, error_boundary::InvalidObject};

/// An object that cannot be read, say because a newer version of Stepgate defines its kind. It counts as absent, so that nothing is done
/// on half an understanding, and its neighbours are none the worse.
pub struct Unreadable {
    pub name: String,
    pub uid: String,
    pub resource_version: String,
}

/// The object, where it can be read. Where not, the log says why.
///
/// # Errors
/// What is known of it all the same.
pub fn readable<K: kube::Resource<DynamicType = ()>>(DeserializeGuard(object): DeserializeGuard<K>) -> Result<K, Unreadable> {
    object.map_err(|InvalidObject { error, metadata }| {
        let (name, namespace) = (metadata.name.unwrap_or_default(), metadata.namespace.unwrap_or_default());
        tracing::warn!(namespace, name, "this {} cannot be read and is left alone: {error}", K::kind(&()));
        Unreadable { name, uid: metadata.uid.unwrap_or_default(), resource_version: metadata.resource_version.unwrap_or_default() }
    })
}
