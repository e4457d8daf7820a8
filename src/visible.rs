//! Text that somebody else wrote, made harmless where it becomes a screen, a log line or an Event.
//!
//! A reason of a request, the words of a kubelet and the name of an image may hold any character. On a terminal an escape sequence can move
//! the cursor, colour a forged line or write the clipboard; a line break forges a second line of a log; a bidirectional control shows words
//! in another order than the one in which they are read by a program.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};

/// The form of a text that is visible as it is, for the schema: [`line()`] gives it back unchanged.
pub const PATTERN: &str =
    r"^[^\p{Cc}\x{061C}\x{180E}\x{200B}\x{200E}\x{200F}\x{2028}-\x{202E}\x{2060}-\x{206F}\x{FEFF}\x{FFF9}-\x{FFFB}\x{E0000}-\x{E007F}]*$";

/// The same text on one line, with every character visible: line breaks and tabs become spaces, other control characters and those that
/// have no width or turn the direction of text become escapes, as in `\u{1b}`. Text without any of them is given back as it is, so doing it
/// twice does what doing it once does.
///
/// ```
/// use stepgate::visible::line;
///
/// assert_eq!(line("broken\u{1b}[2K\r\nphase Healthy"), r"broken\u{1b}[2K phase Healthy");
/// assert_eq!(line("größer als 5 ms"), "größer als 5 ms");
/// ```
pub fn line(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| is_break(c) || is_hidden(c)) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            // One break, written with two characters.
            '\r' if chars.peek() == Some(&'\n') => {}
            c if is_break(c) => shown.push(' '),
            c => show(c, &mut shown),
        }
    }
    Cow::Owned(shown)
}

/// Text of several lines that Stepgate wrote itself, with colours and foreign words in it: line breaks, tabs and colours stay (`ESC [ digits
/// m` and nothing else that begins with ESC), the rest is as in [`line()`].
pub fn screen(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let colour = colour(rest);
        if colour.is_empty() {
            show(c, &mut shown);
            rest = &rest[c.len_utf8()..];
        } else {
            shown.push_str(colour);
            rest = &rest[colour.len()..];
        }
    }
    Cow::Owned(shown)
}

/// Reads a text, and makes it visible: for fields of status and of requests, whose readers are people.
///
/// # Errors
/// Where there is no text.
pub fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    String::deserialize(from).map(owned)
}

/// The same for a list of texts.
///
/// # Errors
/// Where there is no list of texts.
pub fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Vec::<String>::deserialize(from)?.into_iter().map(owned).collect())
}

/// [`line()`] of a text that is not needed any more.
pub fn owned(text: String) -> String {
    match line(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(shown) => shown,
    }
}

fn show(c: char, to: &mut String) {
    if is_hidden(c) {
        to.extend(c.escape_unicode());
    } else {
        to.push(c);
    }
}

/// The colour that a text begins with, or nothing.
fn colour(text: &str) -> &str {
    let Some(sequence) = text.strip_prefix("\u{1b}[") else { return "" };
    let numbers = sequence.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
    if numbers.starts_with('m') { &text[..=text.len() - numbers.len()] } else { "" }
}

/// What ends a line or moves along it. NEL, LINE SEPARATOR and PARAGRAPH SEPARATOR end one in some programs.
fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\t' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// What a person does not see: C0, DEL and C1 controls; marks, embeddings, overrides and isolates of direction; and characters without
/// width, except the joiners that emoji and some scripts are written with.
fn is_hidden(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t'))
        || matches!(
            c,
            '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The payload of the review: a title, the clipboard, and a forged line over the one that is there.
    const PAYLOAD: &str = "x\u{1b}]0;owned\u{7}\u{1b}]52;c;b3duZWQ=\u{7}\u{1b}[2K\r\u{1b}[32mphase Healthy: nothing to do\u{1b}[0m\n";

    #[test]
    fn nothing_of_a_hostile_text_reaches_a_terminal() {
        assert_eq!(
            line(PAYLOAD),
            r"x\u{1b}]0;owned\u{7}\u{1b}]52;c;b3duZWQ=\u{7}\u{1b}[2K \u{1b}[32mphase Healthy: nothing to do\u{1b}[0m "
        );
        for (text, shown) in [
            ("\u{9b}2J", r"\u{9b}2J"),
            ("\u{7f}", r"\u{7f}"),
            ("a\u{202e}b", r"a\u{202e}b"),
            ("a\u{2066}b\u{2069}", r"a\u{2066}b\u{2069}"),
            ("in\u{200b}visible", r"in\u{200b}visible"),
            ("one\u{2028}two\u{85}three\r\nfour\tfive", "one two three four five"),
            ("\u{1f469}\u{200d}\u{1f4bb}", "\u{1f469}\u{200d}\u{1f4bb}"),
        ] {
            assert_eq!(line(text), shown, "{text:?}");
        }
    }

    #[test]
    fn the_schema_takes_what_is_visible_and_nothing_else() {
        let pattern = regex::Regex::new(PATTERN).unwrap();
        let differing = ('\u{0}'..=char::MAX).find(|c| pattern.is_match(&c.to_string()) != (line(&c.to_string()) == c.to_string()));
        assert_eq!(differing, None);
    }

    #[test]
    fn a_screen_keeps_its_lines_and_colours_and_nothing_else() {
        let ours = "  \u{1b}[1mwhy\u{1b}[0m\tone\n  \u{1b}[38;5;9mtwo\u{1b}[0m\n";
        assert_eq!(screen(ours), ours);
        for (text, shown) in [
            ("\u{1b}[2K", r"\u{1b}[2K"),
            ("\u{1b}]52;c;eA==\u{7}", r"\u{1b}]52;c;eA==\u{7}"),
            ("a\rb", r"a\u{d}b"),
            ("\u{1b}[31", r"\u{1b}[31"),
            ("\u{1b}[?25m", r"\u{1b}[?25m"),
            ("\u{1b}", r"\u{1b}"),
        ] {
            assert_eq!(screen(text), shown, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_visible_stays_as_it_is(text in any::<String>()) {
            let once = line(&text).into_owned();
            prop_assert!(!once.chars().any(|c| is_break(c) || is_hidden(c)), "{once:?}");
            prop_assert_eq!(&line(&once), &once);
        }
    }
}
