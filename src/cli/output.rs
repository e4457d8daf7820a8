//! Where a command prints, and in which form.

use std::io::{self, Write};

use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;

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

/// An error with its causes, each said once: many repeat those below them.
pub fn causes(error: &anyhow::Error) -> String {
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

/// The output of a command.
pub struct Output<'a> {
    to: &'a mut dyn Write,
    pub reader: Reader,
}

impl<'a> Output<'a> {
    /// An output that is read by `reader`. Colours are written always: `to` takes them out where they are not wanted.
    pub fn new(to: &'a mut dyn Write, reader: Reader) -> Self {
        Self { to, reader }
    }

    /// Prints, at once.
    ///
    /// # Errors
    /// [`Closed`], or when it cannot be written for another reason.
    pub fn print(&mut self, text: &str) -> anyhow::Result<()> {
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
    fn a_closed_pipe_is_told_from_a_full_disk() {
        let printed = |kind| Output::new(&mut Broken(kind), Reader::Program).print("text").unwrap_err();
        assert!(printed(io::ErrorKind::BrokenPipe).is::<Closed>());
        assert!(!printed(io::ErrorKind::StorageFull).is::<Closed>());
    }
}
