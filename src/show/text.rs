//! Text for people: times seen from now, numbers with their nouns, wrapped lines. Pure.

use std::time::Duration;

use jiff::Timestamp;

/// Text in lines of at most `columns`, the further ones indented. A word that is longer stays whole.
pub fn wrap(text: &str, columns: usize, indent: &str) -> String {
    lines(text, columns.saturating_sub(indent.chars().count())).join(&format!("\n{indent}"))
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

/// The first `room` characters; where some are missing, the last one shown says so.
pub fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    text.chars().take(room.saturating_sub(1)).chain(std::iter::once('…').filter(|_| room > 0)).collect()
}

/// The text in lines of at most `room` characters, broken at spaces; a word that is longer has a line of its own.
pub fn lines(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// `12.3 s`.
pub fn seconds(length: Duration) -> String {
    format!("{:.1} s", length.as_secs_f64())
}

/// `12,345`.
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A sentence with every time in it written as `write` does.
pub fn with_times(sentence: &str, write: impl Fn(Timestamp) -> String) -> String {
    let words = sentence.split(' ').map(|word| {
        let bare = word.trim_matches([',', ';', ':', '(', ')']);
        bare.parse().map_or_else(|_| word.to_owned(), |time| word.replace(bare, &write(time)))
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A sentence with times of day in the place of full times: `until 2026-11-21T14:19:06Z` becomes `until 14:19:06Z`.
pub fn with_clock_times(sentence: &str) -> String {
    with_times(sentence, |time| time.strftime("%H:%M:%SZ").to_string())
}

/// A number with its noun: `1 step`, `1,200 steps`.
pub fn counted(number: usize, noun: &str) -> String {
    format!("{} {noun}{}", thousands(number), if number == 1 { "" } else { "s" })
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
    fn a_long_sentence_is_wrapped_under_itself() {
        assert_eq!(wrap("one two three four", 12, "   "), "one two\n   three\n   four");
        assert_eq!(wrap("indivisible", 4, ""), "indivisible");
    }

    #[test]
    fn what_is_cut_says_so_and_fits() {
        assert_eq!(cut("hello", 5), "hello");
        assert_eq!(cut("hello", 4), "hel…");
        assert_eq!(cut("hello", 0), "");
    }

    #[test]
    fn lines_are_broken_at_spaces_and_lose_no_word() {
        assert_eq!(lines("a gate has failed", 8), ["a gate", "has", "failed"]);
        assert_eq!(lines("a hello-6a5851-564fb654f8 b", 8), ["a", "hello-6a5851-564fb654f8", "b"]);
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn a_full_time_becomes_a_time_of_day_and_nothing_else_changes() {
        assert_eq!(
            with_clock_times("waiting, until 2026-11-21T14:19:06Z at the latest: 3 of 4 (2026-11-21T14:19:07Z); 12:00"),
            "waiting, until 14:19:06Z at the latest: 3 of 4 (14:19:07Z); 12:00"
        );
    }
}
