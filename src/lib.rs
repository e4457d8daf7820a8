pub mod api;
pub mod cli;
#[cfg(feature = "sim")]
pub mod sim;
