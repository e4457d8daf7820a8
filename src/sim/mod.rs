//! What runs beside a release to try it out: clients that count their answers.
//!
//! Nothing here is used by the controller.

pub mod load;
