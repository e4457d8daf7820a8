//! Where the demo is shown: in place on a terminal, line by line elsewhere, or not at all.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write as _},
};

use crate::cli::paper::output::is_screen;

use super::{
    paint::Paint,
    scene::Scene,
    view::{self, Room},
};

/// What a terminal has that does not say.
const USUAL: Room = Room { columns: 80, rows: 24 };
/// A frame between these is shown at once, by terminals that know them; others ignore them.
const BEGIN_FRAME: &str = "\x1b[?2026h";
const END_FRAME: &str = "\x1b[?2026l";
const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// Where the demo is shown.
#[derive(Debug)]
pub enum Screen {
    /// Drawn in place; so many lines stand there now.
    Live { paint: Paint, drawn: usize },
    /// A line for each change; the gist of the last one.
    Lines { told: String },
    /// Nothing until the end.
    Silent,
}

impl Screen {
    /// What standard output and the environment ask for: a terminal gets a live view, with colours unless `NO_COLOR` is set.
    pub fn of_stdout() -> Self {
        if is_screen() { Self::Live { paint: colours(), drawn: 0 } } else { Self::Lines { told: String::new() } }
    }

    /// Shows a scene.
    pub fn show(&mut self, scene: &Scene) {
        match self {
            Self::Live { paint, drawn } => {
                let lines = view::frame(scene, room(), *paint);
                write(&redrawn(&lines, *drawn));
                *drawn = lines.len();
            }
            Self::Lines { told } => {
                let gist = view::gist(scene);
                if *told != gist {
                    write(&format!("{}\n", view::line(scene)));
                    *told = gist;
                }
            }
            Self::Silent => {}
        }
    }

    /// A release begins.
    pub fn begin(&mut self, scene: &Scene) {
        if let (Self::Lines { .. }, Some(act)) = (&*self, &scene.act) {
            write(&format!("{}\n", view::heading(act)));
        }
    }

    /// Takes the live view away, so that what follows stands in its place.
    pub fn clear(&mut self) {
        if let Self::Live { drawn, .. } = self {
            let up = if *drawn == 0 { String::new() } else { format!("\x1b[{drawn}A") };
            write(&format!("{up}\r{CLEAR_BELOW}{SHOW_CURSOR}"));
            *drawn = 0;
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if matches!(self, Self::Live { drawn: 1.., .. }) {
            write(SHOW_CURSOR);
        }
    }
}

/// The lines in the place of so many that stand there.
fn redrawn(lines: &[String], drawn: usize) -> String {
    let mut text = format!("{BEGIN_FRAME}{HIDE_CURSOR}");
    if drawn > 0 {
        // Writing to a String cannot fail.
        let _ = write!(text, "\x1b[{drawn}A\r");
    }
    for line in lines {
        let _ = writeln!(text, "{line}{CLEAR_LINE}");
    }
    text + CLEAR_BELOW + END_FRAME
}

/// Colours, unless somebody objects (no-color.org).
pub fn colours() -> Paint {
    let objects = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if objects || !io::stdout().is_terminal() { Paint::Plain } else { Paint::Colours }
}

/// The last row is the cursor's.
fn room() -> Room {
    terminal_size::terminal_size()
        .map_or(USUAL, |(columns, rows)| Room { columns: usize::from(columns.0), rows: usize::from(rows.0).saturating_sub(1) })
}

fn write(text: &str) {
    let mut out = io::stdout().lock();
    // Nobody to see it is no reason to end: what counts is how the demo ends.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
