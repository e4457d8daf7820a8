//! How a command ends, for scripts.

use std::process::ExitCode;

/// How a command ended. An error is told on stderr and ends with 1; what is no command line ends with 2 before any command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, or as asked.
    Done,
    /// 1: the other outcome, or something was found.
    Otherwise,
    /// 3: it did not happen in time.
    TimedOut,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Otherwise => 1,
            Exit::TimedOut => 3,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_of_the_manual() {
        for (exit, code) in [(Exit::Done, 0), (Exit::Otherwise, 1), (Exit::TimedOut, 3)] {
            assert_eq!(ExitCode::from(exit), ExitCode::from(code), "{exit:?}");
        }
    }
}
