//! Text for people: colours, tables, times seen from now, wrapped lines. Pure.

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;

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

/// Text in lines of at most `columns`, the further ones indented. A word that is longer stays whole.
pub fn wrap(text: &str, columns: usize, indent: &str) -> String {
    let mut lines = String::new();
    let mut used = indent.chars().count();
    for word in text.split(' ') {
        let length = word.chars().count();
        let first = lines.is_empty();
        if !first && used + 1 + length > columns {
            lines.push('\n');
            lines.push_str(indent);
            used = indent.chars().count();
        } else if !first {
            lines.push(' ');
            used += 1;
        }
        lines.push_str(word);
        used += length;
    }
    lines
}

/// A length of time in its two largest units: `41s`, `5m12s`, `3h5m`, `2d4h`. Parts of a second are left out.
pub fn length(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.duration_since(from).as_secs().max(0);
    let (large, small) = match seconds {
        0..60 => return format!("{seconds}s"),
        60..3_600 => ((seconds / 60, "m"), (seconds % 60, "s")),
        3_600..86_400 => ((seconds / 3_600, "h"), (seconds / 60 % 60, "m")),
        _ => ((seconds / 86_400, "d"), (seconds / 3_600 % 24, "h")),
    };
    if small.0 == 0 { format!("{}{}", large.0, large.1) } else { format!("{}{}{}{}", large.0, large.1, small.0, small.1) }
}

/// A time seen from now: `in 41s`, `41s ago`, `now`.
pub fn from_now(time: Timestamp, now: Timestamp) -> String {
    match time.duration_since(now).as_secs() {
        0 => "now".to_owned(),
        1.. => format!("in {}", length(now, time)),
        _ => format!("{} ago", length(time, now)),
    }
}

/// A sentence with its times seen from now: `until 2026-11-21T14:19:06Z` becomes `until 14:19:06Z (in 41s)`. Other days keep their
/// date.
pub fn seen_from(sentence: &str, now: Timestamp) -> String {
    let seen = |word: &str| {
        let bare = word.trim_end_matches([',', '.', ';', ':', ')']);
        let time: Timestamp = bare.parse().ok()?;
        let same_day = time.duration_since(now).abs().as_secs() < 43_200;
        let shown = if same_day { time.strftime("%H:%M:%SZ").to_string() } else { time.strftime("%Y-%m-%d %H:%M:%SZ").to_string() };
        Some(format!("{shown} ({}){}", from_now(time, now), &word[bare.len()..]))
    };
    sentence.split(' ').map(|word| seen(word).unwrap_or_else(|| word.to_owned())).collect::<Vec<_>>().join(" ")
}

/// A number with its noun: `1 step`, `4 steps`.
pub fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_length_of_time_has_at_most_two_units() {
        let start = at("2026-11-21T10:00:00Z");
        for (end, text) in [
            ("2026-11-21T10:00:00.9Z", "0s"),
            ("2026-11-21T10:00:41Z", "41s"),
            ("2026-11-21T10:05:00Z", "5m"),
            ("2026-11-21T10:05:12Z", "5m12s"),
            ("2026-11-21T13:05:59Z", "3h5m"),
            ("2026-11-23T14:10:00Z", "2d4h"),
            ("2026-11-21T09:00:00Z", "0s"),
        ] {
            assert_eq!(length(start, at(end)), text, "{end}");
        }
    }

    #[test]
    fn the_times_in_a_sentence_are_seen_from_now() {
        let now = at("2026-11-21T14:18:25Z");
        for (sentence, seen) in [
            ("holding 25 % until 2026-11-21T14:19:06Z", "holding 25 % until 14:19:06Z (in 41s)"),
            ("clients moved at 2026-11-21T14:18:20Z; all of them", "clients moved at 14:18:20Z (5s ago); all of them"),
            ("until 2026-11-23T14:18:25Z at the latest", "until 2026-11-23 14:18:25Z (in 2d) at the latest"),
            ("Deployment hello is paused.", "Deployment hello is paused."),
        ] {
            assert_eq!(seen_from(sentence, now), seen);
        }
    }

    #[test]
    fn columns_are_aligned_by_what_is_seen_not_by_colour_codes() {
        let rows = vec![vec![cell(GOOD, "passing"), "ready".into(), "".into()], vec![cell(BAD, "no"), "healthz".into(), "x".into()]];
        let text = table("  ", &rows);
        assert!(text.contains("\u{1b}[32mpassing\u{1b}[0m"), "{text:?}");
        assert_eq!(anstream::adapter::strip_str(&text).to_string(), "  passing  ready\n  no       healthz  x\n");
    }

    #[test]
    fn a_long_sentence_is_wrapped_under_itself() {
        assert_eq!(wrap("one two three four", 12, "   "), "one two\n   three\n   four");
        assert_eq!(wrap("indivisible", 4, ""), "indivisible");
    }
}
