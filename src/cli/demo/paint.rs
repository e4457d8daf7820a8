//! Colours, or none.

use std::fmt::Display;

/// Whether to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    Colours,
    Plain,
}

/// What a text is to look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    Strong,
    Faint,
    Good,
    Bad,
    Doubtful,
    Stable,
    Canary,
}

impl Paint {
    /// The text in this look. Pad it before: what is added has no width, but counts as characters.
    pub fn paint(self, look: Look, text: impl Display) -> String {
        let code = match look {
            Look::Strong => "1",
            Look::Faint => "2",
            Look::Good => "32",
            Look::Bad => "31",
            Look::Doubtful => "33",
            Look::Stable => "34",
            Look::Canary => "36",
        };
        match self {
            Self::Colours => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Plain => text.to_string(),
        }
    }
}
