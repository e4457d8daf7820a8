//! The commands as a user runs them, with the real controller on the embedded cluster, in paused time.
//!
//! | module | what is held |
//! |---|---|
//! | `desk` | where the user sits: a cluster with `hello`, a controller, and a command line |
//! | `steer` | promote, abort, approve, retry, pause, resume |
//! | `undo` | undo |
//! | `watch` | status, list, history, explain, wait |
//! | `preview` | the same of a Rollout with a preview |
//! | `workers` | the same of a Rollout without Services |
//! | `examples` | the folders of `examples/`, walked through |
//! | `binary` | the program itself: its name, its exit codes, where it prints what |
//! | `simulate` | simulate |
//! | `terminal` | a watch on a real terminal |
//! | `help` | what each command says about itself |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test ends where it finds what must not be"
)]

mod binary;
mod desk;
mod examples;
mod help;
mod preview;
mod simulate;
mod steer;
mod terminal;
mod undo;
mod watch;
mod workers;
