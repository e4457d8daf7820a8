//! What each command says about itself, and how what the others print begins: read it as a user would, and see every change of it.

use std::process::Command;

use stepgate::show::caller::Program;

/// What the program prints, whatever the environment of the test, without the spaces at the ends of lines.
fn printed(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_stepgate")).env_clear().args(args).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

#[test]
fn the_help_of_every_command() {
    let command = stepgate::cli::command(Program::Stepgate);
    let mut pages = vec![format!("$ stepgate --help\n{}", printed(&["--help"]))];
    for command in command.get_subcommands().map(clap::Command::get_name) {
        pages.push(format!("$ stepgate {command} --help\n{}", printed(&[command, "--help"])));
    }
    insta::assert_snapshot!("help", pages.join("\n"));
}

#[test]
fn how_what_is_printed_begins() {
    let manual = tempfile::tempdir().unwrap();
    let manual = manual.path().to_str().unwrap();
    let mut said = Vec::new();
    for (command, lines) in [
        ("install", 8),
        ("install --kube-version 1.32 --without-controller", 8),
        ("presets", 4),
        ("presets worker", 4),
        ("crds", 4),
        ("uninstall", 12),
        ("completion bash", 3),
        ("completion zsh", 3),
        ("completion fish", 3),
        ("man DIR", 1),
    ] {
        let args: Vec<&str> = command.split(' ').map(|word| if word == "DIR" { manual } else { word }).collect();
        let text = printed(&args).replace(manual, "DIR");
        let begin: Vec<&str> = text.lines().take(lines).collect();
        said.push(format!("$ stepgate {command}\n{}\n", begin.join("\n")));
    }
    insta::assert_snapshot!("begin", said.join("\n"));
}
