//! Who leads: never two at once, and soon another one.
//!
//! | module | what runs | against |
//! |---|---|---|
//! | `model` | the pure decision alone: frozen processes, clocks of different speed, calls that arrive late or never | a model of one object |
//! | `embedded` | the election as it is | the embedded cluster on a bad day, in paused time |
//! | `real` | the election as it is | the API server of `STEPGATE_KUBECONFIG`, over lines that are cut |

mod embedded;
#[path = "../kubectl/mod.rs"]
mod kubectl;
mod line;
mod model;
mod real;
