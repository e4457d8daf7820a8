//! What a running controller tells over HTTP: whether it is alive and ready, and what it has done.

pub mod health;
