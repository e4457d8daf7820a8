use clap::{Parser, Subcommand};
use stepgate::cli::{crds, install, presets, uninstall};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Crds(crds::CrdsArgs),
    Install(install::InstallArgs),
    Presets(presets::PresetsArgs),
    Uninstall(uninstall::UninstallArgs),
}

fn main() -> anyhow::Result<()> {
    let text = match Cli::parse().command {
        Command::Crds(args) => crds::run(&args)?,
        Command::Install(args) => install::render(&args)?,
        Command::Presets(args) => presets::render(&args)?,
        Command::Uninstall(args) => uninstall::render(&args),
    };
    print!("{text}");
    Ok(())
}
