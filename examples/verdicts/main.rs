//! The judge of `stepgate::core::verdict`, measured: how often it is wrong, and how soon it sees a bad canary, beside the counters of two
//! peers.
//!
//! ```text
//! cargo run --release --example verdicts                     10,000 releases a cell, the same in every run
//! cargo run --release --example verdicts -- --runs 500       fewer
//! cargo run --release --example verdicts -- check FILE       hold the engine against vectors; exits 1 at the first difference
//! ```

mod draw;
mod judges;
mod peers;
mod table;
mod vectors;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measure the verdicts.
#[derive(Parser, Debug)]
struct Args {
    /// How many releases a cell
    #[arg(long, default_value_t = 10_000)]
    runs: u64,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Hold the engine against a file of vectors, as made by tests/verdict/reference.py
    Check { file: PathBuf },
}

fn main() -> ExitCode {
    let args = Args::parse();
    let kept = match args.command {
        None => table::print(args.runs).map_err(|error| error.to_string()),
        Some(Command::Check { file }) => check(&file).map(|()| true),
    };
    match kept {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn check(file: &PathBuf) -> Result<(), String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let vectors::Matched { cases, values } = vectors::check(&text)?;
    println!("{cases} cases with {values} values match");
    Ok(())
}
