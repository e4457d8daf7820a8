//! The command line: one file a command.

pub mod crds;
pub mod install;
pub mod presets;
pub mod uninstall;
