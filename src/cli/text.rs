//! Words and numbers in the room that there is.

use std::time::Duration;

use jiff::Timestamp;

/// The first `room` characters; where some are missing, the last one shown says so.
pub fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    text.chars().take(room.saturating_sub(1)).chain(std::iter::once('…').filter(|_| room > 0)).collect()
}

/// The text in lines of at most `room` characters, broken at spaces; a word that is longer has a line of its own.
pub fn wrap(text: &str, room: usize) -> Vec<String> {
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

/// `1 request`, `2 requests`.
pub fn several(number: usize, noun: &str) -> String {
    format!("{} {noun}{}", thousands(number), if number == 1 { "" } else { "s" })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_says_so_and_fits() {
        assert_eq!(cut("hello", 5), "hello");
        assert_eq!(cut("hello", 4), "hel…");
        assert_eq!(cut("hello", 0), "");
    }

    #[test]
    fn lines_are_broken_at_spaces_and_lose_no_word() {
        assert_eq!(wrap("a gate has failed", 8), ["a gate", "has", "failed"]);
        assert_eq!(wrap("a hello-6a5851-564fb654f8 b", 8), ["a", "hello-6a5851-564fb654f8", "b"]);
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
