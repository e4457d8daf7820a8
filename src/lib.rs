pub mod api;
pub mod cli;
pub mod controller;
pub mod core;
pub mod gate;
pub mod serve;
