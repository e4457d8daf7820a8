//! Asks every loop of the controller how it is. Nothing ticks: a loop is woken only when somebody asks.

use std::time::Duration;

use tokio::{
    sync::{broadcast, mpsc},
    time::{Instant, timeout_at},
};

use crate::api::status::Phase;

/// How long a loop may take to answer: a call for the Lease at most, and less than the kubelet waits.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Questions that may be open at a time.
const QUESTIONS: usize = 16;

/// What a loop says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which loop: `namespace shop`.
    pub who: String,
    pub state: State,
    /// The phases of its Rollouts.
    pub phases: Vec<Phase>,
}

/// How a loop is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It sees what it needs.
    Ready,
    /// It waits for this.
    NotYet(String),
    /// It has waited for so long that nobody else is to wait for it.
    Late,
    /// It will not recover by itself.
    Broken(String),
}

/// All answers to one question.
#[derive(Debug)]
pub struct Answers {
    pub reports: Vec<Report>,
    /// Loops that did not answer: they hang.
    pub silent: usize,
}

/// Asks the loops.
#[derive(Clone, Debug)]
pub struct Pulse(broadcast::Sender<mpsc::Sender<Report>>);

/// A loop's ear.
#[derive(Debug)]
pub struct Listener(broadcast::Receiver<mpsc::Sender<Report>>);

/// Somebody asks how the loop is.
#[derive(Debug)]
pub struct Question(mpsc::Sender<Report>);

impl Default for Pulse {
    fn default() -> Self {
        Self(broadcast::Sender::new(QUESTIONS))
    }
}

impl Pulse {
    /// One more loop, which has to answer from now on, for as long as its ear exists.
    pub fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
    }

    /// Asks all loops.
    pub async fn ask(&self) -> Answers {
        let end = Instant::now() + PATIENCE;
        // Room for all of them, so that none waits for the one that asks.
        let (sender, mut receiver) = mpsc::channel(self.0.receiver_count() + 1);
        let asked = self.0.send(sender).unwrap_or_default();
        let mut reports = Vec::with_capacity(asked);
        while reports.len() < asked
            && let Ok(Some(report)) = timeout_at(end, receiver.recv()).await
        {
            reports.push(report);
        }
        Answers { silent: asked - reports.len(), reports }
    }
}

impl Listener {
    /// Waits until somebody asks. May be dropped at any time: the question stays.
    pub async fn asked(&mut self) -> Question {
        loop {
            match self.0.recv().await {
                Ok(sender) => return Question(sender),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                // Nobody can ask any more.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

impl Question {
    /// Answers, without waiting; nobody may be listening any more.
    pub fn answer(self, report: Report) {
        let _ = self.0.try_send(report);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turning(pulse: &Pulse, who: &'static str) -> tokio::task::JoinHandle<()> {
        let mut ear = pulse.listen();
        tokio::spawn(async move {
            loop {
                ear.asked().await.answer(Report { who: who.to_owned(), state: State::Ready, phases: Vec::new() });
            }
        })
    }

    #[tokio::test(start_paused = true)]
    async fn every_loop_answers() {
        let pulse = Pulse::default();
        let _loops = (turning(&pulse, "a"), turning(&pulse, "b"));
        let Answers { reports, silent } = pulse.ask().await;
        assert_eq!((reports.len(), silent), (2, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_hangs_is_missed_even_after_many_questions() {
        let pulse = Pulse::default();
        let (_turning, _hanging) = (turning(&pulse, "a"), pulse.listen());
        for _ in 0..2 * QUESTIONS {
            let Answers { reports, silent } = pulse.ask().await;
            assert_eq!((reports.len(), silent), (1, 1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_has_ended_is_not_missed() {
        let pulse = Pulse::default();
        drop(pulse.listen());
        assert_eq!(pulse.ask().await.silent, 0);
    }
}
