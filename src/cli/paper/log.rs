//! The log: one line an event, whatever is told in it.

use std::io::{self, Write};

use crate::visible;

/// Writes each event of the log as one line. A line break in the words of somebody else would begin a line that looks like one of ours.
#[derive(Debug)]
pub struct Lines<W>(pub W);

impl<W: Write> Write for Lines<W> {
    /// Takes one event, with the line break at its end: that is how the log's formatter writes.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.trim_end_matches('\n').replace('\n', " ");
        self.0.write_all(format!("{}\n", visible::screen(&line)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_whatever_its_words_are() {
        let kept = Kept::default();
        let writer = kept.clone();
        let log = tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(move || Lines(writer.clone())).finish();
        tracing::subscriber::with_default(log, || {
            tracing::info!(
                reason = "Aborted",
                "by eve: x\n INFO stepgate: rollout=prod/pay reason=RequestDone Approve by ada\u{1b}[2K\u{202e}"
            );
            tracing::info!("the next");
        });
        let log = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines.len(), 2, "{log}");
        assert!(
            lines[0].contains("by eve: x  INFO stepgate: rollout=prod/pay") && lines[0].ends_with("\\u{202e} reason=\"Aborted\""),
            "{log}"
        );
        assert_eq!(visible::line(lines[0]), lines[0]);
    }
}
