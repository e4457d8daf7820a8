//! Whole releases, played on a model of the cluster.

pub mod model;

mod affinity;
mod declared;
mod histories;
mod managed;
mod native;
mod owner;
mod preview;
mod reach;
mod scripts;
mod trusted;
mod undo;
mod waits;
mod workers;
mod zero;
