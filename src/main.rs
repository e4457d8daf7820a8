//! The `stepgate` command, which is also `kubectl stepgate` when found under that name.

use std::process::ExitCode;

use anstream::{AutoStream, ColorChoice};
use stepgate::cli::{
    Cli,
    paper::{
        exit::Exit,
        log::Lines,
        output::{self, Output},
    },
};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let (cli, program) = Cli::read(std::env::args_os());
    let filter = EnvFilter::try_from_env("STEPGATE_LOG").unwrap_or_else(|_| EnvFilter::new(cli.log_filter()));
    let ansi = AutoStream::choice(&std::io::stderr()) != ColorChoice::Never;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Lines(std::io::stderr())).with_ansi(ansi).init();
    match cli.run(program, &mut Output::of(&mut std::io::stdout())).await {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("{}: {}", program.as_str(), output::causes(&error));
            Exit::Otherwise.into()
        }
    }
}
