//! The signals that end a command which goes on for as long as it is left alone.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for SIGTERM or SIGINT, neither of which ends the process by itself from here on.
pub(super) fn told_to_end() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
