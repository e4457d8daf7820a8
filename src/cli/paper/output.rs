//! Where a command prints, and in which form.

use std::{
    borrow::Cow,
    ffi::OsStr,
    io::{self, IsTerminal, Stdout, Write},
};

use anstream::{AutoStream, ColorChoice, adapter::strip_str};
use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;
use terminal_size::terminal_size;

use crate::visible;

/// The form of an output for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Data {
    Json,
    Yaml,
}

/// A value as one JSON or YAML document that ends with a line break.
///
/// # Errors
/// When the value cannot be written so, which would be a bug of ours.
pub fn document<T: Serialize>(form: Data, value: &T) -> anyhow::Result<String> {
    let text = match form {
        Data::Json => serde_json::to_string_pretty(value)?,
        Data::Yaml => serde_saphyr::to_string(value)?,
    };
    Ok(format!("{}\n", text.trim_end()))
}

/// An error with its causes, each said once: many repeat those below them. Words of others in it are made visible; of several lines the
/// further ones are indented, so that none of them can be taken for a message of its own.
pub fn causes(error: &anyhow::Error) -> String {
    let said = chain(error);
    let lines: Vec<Cow<'_, str>> = said.trim_end().split('\n').map(visible::line).collect();
    lines.join("\n  ")
}

fn chain(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.as_str() {
        "" => cause,
        told if told.contains(&cause) => said,
        _ => format!("{said}: {cause}"),
    })
}

/// The reader of the output has closed it: it has heard enough, and there is nobody left to print for.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output any more")]
pub struct Closed;

/// What reads the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A terminal with so many columns.
    Terminal { columns: usize },
    /// A file, a pipe, another program.
    Program,
}

impl Reader {
    /// Columns for sentences: as many as a terminal has, 100 elsewhere.
    pub fn columns(self) -> usize {
        match self {
            Self::Terminal { columns } => columns,
            Self::Program => 100,
        }
    }
}

/// Whether text has colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    Kept,
    TakenOut,
}

/// Whether standard output is a screen that can be drawn anew: a terminal, unless it says that it knows no more than lines.
pub fn is_screen() -> bool {
    io::stdout().is_terminal() && can_move(std::env::var_os("TERM").as_deref())
}

/// Whether a terminal of that type moves its cursor where it is told.
fn can_move(terminal: Option<&OsStr>) -> bool {
    terminal != Some(OsStr::new("dumb"))
}

/// The output of a command.
pub struct Output<'a> {
    to: &'a mut dyn Write,
    pub reader: Reader,
    colours: Colours,
}

impl<'a> Output<'a> {
    /// An output that is read by `reader`.
    pub fn new(to: &'a mut dyn Write, reader: Reader, colours: Colours) -> Self {
        Self { to, reader, colours }
    }

    /// Standard output, with colours where a terminal shows them and nobody objects by `NO_COLOR`.
    pub fn of(stdout: &'a mut Stdout) -> Self {
        let colours = if AutoStream::choice(&*stdout) == ColorChoice::Never { Colours::TakenOut } else { Colours::Kept };
        let reader = match terminal_size() {
            Some((columns, _)) if is_screen() => Reader::Terminal { columns: columns.0.into() },
            _ => Reader::Program,
        };
        Self::new(stdout, reader, colours)
    }

    /// Prints, at once.
    ///
    /// # Errors
    /// [`Closed`], or when it cannot be written for another reason.
    pub fn print(&mut self, text: &str) -> anyhow::Result<()> {
        let text = self.coloured(text);
        self.write(&text)
    }

    /// Prints a screen in place of the one of `height` lines above the cursor. Lines are not wrapped by the terminal meanwhile, so that each
    /// takes one row.
    ///
    /// # Errors
    /// See [`Output::print`].
    pub fn print_over(&mut self, height: usize, screen: &str) -> anyhow::Result<()> {
        let up = if height == 0 { String::new() } else { format!("\u{1b}[{height}A") };
        // Whoever wants no colours wants one screen all the same, not one a second.
        let text = format!("{up}\u{1b}[J\u{1b}[?7l{}\u{1b}[?7h", self.coloured(screen));
        self.write(&text)
    }

    fn coloured<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.colours {
            Colours::Kept => visible::screen(text),
            // Escapes of others are made visible before ours are taken out, and not taken out with them.
            Colours::TakenOut => Cow::Owned(strip_str(&visible::screen(text)).to_string()),
        }
    }

    fn write(&mut self, text: &str) -> anyhow::Result<()> {
        match self.to.write_all(text.as_bytes()).and_then(|()| self.to.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Closed.into()),
            other => other.context("the output could not be written"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_cause_that_was_told_is_not_told_again() {
        let error = anyhow::anyhow!("No such file").context("cannot read x: No such file").context("no cluster");
        assert_eq!(causes(&error), "no cluster: cannot read x: No such file");
    }

    #[test]
    fn the_words_of_others_forge_no_line_of_an_error() {
        let error = anyhow::anyhow!("unknown field \"spec.\u{1b}[31mx\"\r\nstepgate: all is well\n");
        assert_eq!(causes(&error), "unknown field \"spec.\\u{1b}[31mx\" \n  stepgate: all is well");
    }

    #[test]
    fn a_closed_pipe_is_told_from_a_full_disk() {
        let printed = |kind| Output::new(&mut Broken(kind), Reader::Program, Colours::Kept).print("text").unwrap_err();
        assert!(printed(io::ErrorKind::BrokenPipe).is::<Closed>());
        assert!(!printed(io::ErrorKind::StorageFull).is::<Closed>());
    }

    #[test]
    fn only_colours_and_line_breaks_reach_the_terminal() {
        for (colours, expected) in [
            (Colours::Kept, "\u{1b}[31mbad\u{1b}[0m \\u{1b}]52;c;eA==\\u{7}\\u{d}\n"),
            (Colours::TakenOut, "bad \\u{1b}]52;c;eA==\\u{7}\\u{d}\n"),
        ] {
            let mut printed = Vec::new();
            let text = "\u{1b}[31mbad\u{1b}[0m \u{1b}]52;c;eA==\u{7}\r\n";
            Output::new(&mut printed, Reader::Program, colours).print(text).unwrap();
            assert_eq!(String::from_utf8(printed).unwrap(), expected);
        }
    }

    fn drawn(height: usize, colours: Colours) -> String {
        let mut drawn = Vec::new();
        Output::new(&mut drawn, Reader::Terminal { columns: 80 }, colours).print_over(height, "\u{1b}[1ma\u{1b}[0m\n").unwrap();
        String::from_utf8(drawn).unwrap()
    }

    #[test]
    fn a_screen_is_drawn_over_the_one_before_it() {
        assert_eq!(drawn(0, Colours::Kept), "\u{1b}[J\u{1b}[?7l\u{1b}[1ma\u{1b}[0m\n\u{1b}[?7h");
        assert_eq!(drawn(3, Colours::Kept), "\u{1b}[3A\u{1b}[J\u{1b}[?7l\u{1b}[1ma\u{1b}[0m\n\u{1b}[?7h");
    }

    #[test]
    fn without_colours_a_screen_is_drawn_over_the_one_before_it_too() {
        assert_eq!(drawn(3, Colours::TakenOut), "\u{1b}[3A\u{1b}[J\u{1b}[?7la\n\u{1b}[?7h");
    }

    #[test]
    fn a_dumb_terminal_is_not_drawn_on() {
        for (terminal, can) in [(None, true), (Some("xterm-256color"), true), (Some("dumb"), false)] {
            assert_eq!(can_move(terminal.map(OsStr::new)), can, "{terminal:?}");
        }
    }
}
