//! Manifests in files, and what they tell of a cluster.

pub mod manifest;
pub mod policy;
pub mod world;
