//! The `stepgate` command, which is also `kubectl stepgate` when found under that name.

use std::{io::IsTerminal, process::ExitCode};

use stepgate::cli::{
    Cli,
    exit::Exit,
    output::{self, Output, Reader},
};
use terminal_size::terminal_size;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let (cli, program) = Cli::read(std::env::args_os());
    let filter = EnvFilter::try_from_env("STEPGATE_LOG").unwrap_or_else(|_| EnvFilter::new(cli.log_filter()));
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).init();
    // Takes colours out where there is no terminal, or NO_COLOR is set.
    let mut stdout = anstream::stdout();
    let reader = match terminal_size() {
        Some((columns, _)) if stdout.is_terminal() => Reader::Terminal { columns: columns.0.into() },
        _ => Reader::Program,
    };
    match cli.run(program, &mut Output::new(&mut stdout, reader)).await {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("{}: {}", program.as_str(), output::causes(&error));
            Exit::Otherwise.into()
        }
    }
}
