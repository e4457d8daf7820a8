//! One probe: a request to a pod, judged by its status, or a connection to one of its ports.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use reqwest::{Client, Url};
use tokio::net::TcpStream;

use crate::{
    api::{
        Span,
        policy::{HttpGate, Method},
    },
    core::decision::watch::{Check, Target},
};

/// Bodies are read up to this size and no further: they do not matter, but a server may wait for its answer to be taken.
const BODY_LIMIT: usize = 64 * 1024;

/// What became of one probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An HTTP status.
    Status(u16),
    /// A connection stands.
    Connected,
    /// No answer: refused, timed out, or not HTTP.
    None(String),
}

/// Sends the requests of probes: over the network, or into an embedded cluster.
pub trait Ask: Send + Sync {
    /// Sends one request. How long it may take is not its concern.
    fn ask<'a>(&'a self, gate: &'a HttpGate, target: &'a Target) -> BoxFuture<'a, Answer>;

    /// Opens one connection and closes it.
    fn connect<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Answer>;
}

impl Check {
    /// From one probe to the next.
    pub fn period(&self) -> Span {
        match self {
            Self::Http(gate) => gate.period,
            Self::Connect => Span::seconds(1),
        }
    }

    /// How long one may take.
    pub fn timeout(&self) -> Span {
        match self {
            Self::Http(gate) => gate.timeout,
            Self::Connect => Span::seconds(1),
        }
    }
}

/// Whatever sends the requests of all probes.
pub type Asker = Arc<dyn Ask>;

impl Ask for Client {
    fn ask<'a>(&'a self, gate: &'a HttpGate, target: &'a Target) -> BoxFuture<'a, Answer> {
        Box::pin(ask(self, gate, target))
    }

    fn connect<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Answer> {
        Box::pin(async {
            match TcpStream::connect((target.ip.as_str(), target.port)).await {
                Ok(_) => Answer::Connected,
                Err(error) => Answer::None(error.to_string()),
            }
        })
    }
}

/// The client of all probes: no proxy, no redirect, a new connection each time, so that a probe tells what a new client would see.
///
/// # Errors
/// When the system has no usable source of randomness or the like.
pub fn client() -> Result<Client, reqwest::Error> {
    Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .user_agent(concat!("stepgate/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Sends one probe and waits for its answer, at most the check's timeout.
pub async fn probe(asker: &dyn Ask, check: &Check, target: &Target) -> Answer {
    let answer = match check {
        Check::Http(gate) => asker.ask(gate, target),
        Check::Connect => asker.connect(target),
    };
    tokio::time::timeout(check.timeout().0, answer).await.unwrap_or_else(|_| Answer::None(format!("no answer within {}", check.timeout())))
}

async fn ask(client: &Client, gate: &HttpGate, target: &Target) -> Answer {
    let host = if target.ip.contains(':') { format!("[{}]", target.ip) } else { target.ip.clone() };
    let Ok(url) = Url::parse(&format!("http://{host}:{}{}", target.port, gate.path)) else {
        return Answer::None(format!("{} is not a path that can be asked for", gate.path));
    };
    let method = match gate.method {
        Method::Get => reqwest::Method::GET,
        Method::Head => reqwest::Method::HEAD,
    };
    // The clock of the gate bounds the whole; this one bounds the connection alone, which may have no answer at all.
    let request = client.request(method, url).timeout(gate.timeout.0.max(Duration::from_millis(10)));
    match request.send().await {
        Ok(mut response) => {
            let status = response.status().as_u16();
            let mut read = 0;
            while read < BODY_LIMIT {
                match response.chunk().await {
                    Ok(Some(chunk)) => read += chunk.len(),
                    // The status has been said; a body that breaks off does not unsay it.
                    Ok(None) | Err(_) => break,
                }
            }
            Answer::Status(status)
        }
        Err(error) => Answer::None(in_a_word(&error)),
    }
}

fn in_a_word(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    if error.is_timeout() { "no answer in time".to_owned() } else { cause.to_string() }
}

/// Whether a status is among those expected: numbers and ranges, `200-399` or `200,204`.
pub fn is_expected(expected: &str, status: u16) -> bool {
    expected.split(',').any(|part| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        matches!((from.trim().parse::<u16>(), to.trim().parse::<u16>()), (Ok(from), Ok(to)) if (from..=to).contains(&status))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_numbers_and_ranges() {
        for (expected, status, ok) in
            [("200-399", 302, true), ("200-399", 500, false), ("200,204", 204, true), ("200,204", 201, false), ("200", 200, true)]
        {
            assert_eq!(is_expected(expected, status), ok, "{expected} {status}");
        }
    }
}
