//! The `stepgate` command, which is also `kubectl stepgate` when found under that name.

use std::{io::IsTerminal, process::ExitCode};

use clap::Parser;
use stepgate::cli::Cli;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("STEPGATE_LOG").unwrap_or_else(|_| EnvFilter::new(cli.log_filter()));
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).init();
    match cli.run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stepgate: {error:#}");
            ExitCode::FAILURE
        }
    }
}
