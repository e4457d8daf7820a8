//! No release under way: what is live, whether a release is to begin, and whether anything of ours is left over.

pub mod declared;
pub mod managed;
