//! The shell around the core: watches turn objects into facts, decisions into API calls.

pub mod act;
pub mod actor;
pub mod clock;
pub mod election;
pub mod lease;
pub mod namespace;
pub mod observe;
pub mod readable;
pub mod recorder;
pub mod run;
pub mod store;
