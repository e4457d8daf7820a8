//! How each kind of pair keeps its live side, gets its canary, and ends a release.

pub mod declared;
pub mod managed;

use crate::{api::status::Rollback, core::view::side::Side};

/// How a release has ended, as far as its workload can tell. What that means for the release is the machine's to say.
#[derive(Clone)]
pub enum End<'a> {
    /// This side is the live one from now on.
    Promoted(Side<'a>),
    /// It cannot be made permanent and is to be rolled back.
    Failed(Rollback),
}
