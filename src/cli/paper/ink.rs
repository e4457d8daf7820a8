//! Colours, and tables of coloured cells. Pure.

use anstyle::{AnsiColor, Style};

/// Something that is as it should be.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Something that is wrong.
pub const BAD: Style = AnsiColor::Red.on_default();
/// Something that is under way or waits.
pub const WAITS: Style = AnsiColor::Yellow.on_default();
/// A name that the eye looks for.
pub const STRONG: Style = Style::new().bold();
/// Something that is there for completeness.
pub const FAINT: Style = Style::new().dimmed();

/// Text in a style.
pub fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// A cell of a table.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    pub text: String,
    pub style: Style,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), style: Style::new() }
    }
}

/// A cell in a style.
pub fn cell(style: Style, text: impl Into<String>) -> Cell {
    Cell { text: text.into(), style }
}

/// Rows with their cells below each other, two spaces apart. The last cell of a row may be of any length.
pub fn table(indent: &str, rows: &[Vec<Cell>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.text.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    rows.iter().map(|row| indent.to_owned() + &line(row, &widths) + "\n").collect()
}

fn line(row: &[Cell], widths: &[usize]) -> String {
    let used = row.iter().rposition(|cell| !cell.text.is_empty()).map_or(0, |last| last + 1);
    let mut text = String::new();
    for (i, (cell, width)) in row.iter().zip(widths).enumerate().take(used) {
        text.push_str(&if cell.style == Style::new() { cell.text.clone() } else { paint(cell.style, &cell.text) });
        if i + 1 < used {
            text.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.text.chars().count()) + 2));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_what_is_seen_not_by_colour_codes() {
        let rows = vec![vec![cell(GOOD, "passing"), "ready".into(), "".into()], vec![cell(BAD, "no"), "healthz".into(), "x".into()]];
        let text = table("  ", &rows);
        assert!(text.contains("\u{1b}[32mpassing\u{1b}[0m"), "{text:?}");
        assert_eq!(anstream::adapter::strip_str(&text).to_string(), "  passing  ready\n  no       healthz  x\n");
    }
}
