//! What people are shown, as data and sentences: where a Rollout stands, why, and which command comes next. Pure: the command line, and
//! whatever else shows a Rollout, prints it.

pub mod caller;
pub mod facts;
pub mod next;
pub mod standing;
pub mod text;
