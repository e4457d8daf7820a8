//! One file a command.

pub mod completion;
pub mod controller;
pub mod crds;
pub mod explain;
pub mod history;
pub mod install;
pub mod lint;
pub mod list;
pub mod man;
pub mod pause;
pub mod plan;
pub mod presets;
pub mod status;
pub mod steer;
pub mod undo;
pub mod uninstall;
pub mod wait;
