//! `/healthz`, `/readyz` and `/metrics`, on plain HTTP for the kubelet and Prometheus.

use std::{convert::Infallible, time::Duration};

use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use hyper::{body::Body, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};

use crate::{
    lease::leadership::Leadership,
    vitals::{
        Vitals,
        pulse::{Answers, State},
    },
};

/// How long one connection may last, which is one request.
const CONNECTION: Duration = Duration::from_secs(10);
/// How many may be open at a time: anybody in the cluster can reach this port.
const CONNECTIONS: usize = 32;
const OPEN_METRICS: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// What can be asked for.
#[derive(Clone, Debug)]
pub struct Health {
    pub vitals: Vitals,
    pub leadership: watch::Receiver<Leadership>,
}

impl Health {
    /// Serves until it is aborted.
    pub async fn serve(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            if connections.len() >= CONNECTIONS {
                connections.join_next().await;
            }
            while connections.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((stream, _)) => drop(connections.spawn(timeout(CONNECTION, self.clone().connection(stream)))),
                Err(error) => {
                    // Out of file descriptors, most likely: asking again at once would not help.
                    tracing::warn!(%error, "a connection to the health port was not taken");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn connection(self, stream: TcpStream) {
        let this = &self;
        let service = service_fn(|request| async move { Ok::<_, Infallible>(this.answer(&request).await) });
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).keep_alive(false);
        if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
            tracing::debug!(%error, "a connection to the health port broke");
        }
    }

    async fn answer<B: Body>(&self, request: &Request<B>) -> Response<String> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return response(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET\n".to_owned());
        }
        let Vitals { metrics, pulse } = &self.vitals;
        match request.uri().path() {
            "/healthz" => judge(&pulse.ask().await, |state| match state {
                State::Broken(why) => Some(why),
                State::Ready | State::NotYet(_) => None,
            }),
            "/readyz" => judge(&pulse.ask().await, |state| match state {
                State::Broken(why) | State::NotYet(why) => Some(why),
                State::Ready => None,
            }),
            "/metrics" => {
                let phases = pulse.ask().await.reports.into_iter().flat_map(|report| report.phases);
                let leads = self.leadership.borrow().may_write();
                match metrics.text(phases, leads) {
                    Ok(text) => response(StatusCode::OK, OPEN_METRICS, text),
                    Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{error}\n")),
                }
            }
            _ => response(StatusCode::NOT_FOUND, PLAIN, "/healthz, /readyz or /metrics\n".to_owned()),
        }
    }
}

/// 200 if no loop is silent or complains, else 503 and why.
fn judge(answers: &Answers, complaint: fn(&State) -> Option<&String>) -> Response<String> {
    let Answers { reports, silent } = answers;
    let mut lines: Vec<String> =
        reports.iter().filter_map(|report| complaint(&report.state).map(|why| format!("{}: {why}\n", report.who))).collect();
    if *silent > 0 {
        let answered: Vec<&str> = reports.iter().map(|report| report.who.as_str()).collect();
        lines.push(format!("{silent} loops do not answer; these do: {}\n", answered.join(", ")));
    }
    if lines.is_empty() {
        response(StatusCode::OK, PLAIN, "ok\n".to_owned())
    } else {
        response(StatusCode::SERVICE_UNAVAILABLE, PLAIN, lines.concat())
    }
}

fn response(status: StatusCode, content_type: HeaderValue, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vitals::pulse::Report;

    /// What is answered, while one loop is in that state.
    async fn asked(state: State, method: Method, path: &str) -> (u16, String) {
        let vitals = Vitals::default();
        let mut ear = vitals.pulse.listen();
        let turning = tokio::spawn(async move {
            loop {
                ear.asked().await.answer(Report { who: "namespace shop".to_owned(), state: state.clone(), phases: Vec::new() });
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_leads, leadership) = watch::channel(Leadership::Standby);
        let serving = tokio::spawn(Health { vitals, leadership }.serve(listener));
        let response = crate::probe::http::client().unwrap().request(method, format!("http://{address}{path}")).send().await.unwrap();
        let answer = (response.status().as_u16(), response.text().await.unwrap());
        serving.abort();
        turning.abort();
        answer
    }

    #[tokio::test]
    async fn the_kubelet_is_told_what_is_the_matter() {
        let waiting = || State::NotYet("Pods have not been listed yet".to_owned());
        let broken = || State::Broken("it has ended".to_owned());
        for (state, path, expected) in [
            (State::Ready, "/healthz", (200, "ok\n")),
            (State::Ready, "/readyz", (200, "ok\n")),
            (waiting(), "/healthz", (200, "ok\n")),
            (waiting(), "/readyz", (503, "namespace shop: Pods have not been listed yet\n")),
            (broken(), "/healthz", (503, "namespace shop: it has ended\n")),
            (broken(), "/readyz", (503, "namespace shop: it has ended\n")),
            (State::Ready, "/", (404, "/healthz, /readyz or /metrics\n")),
        ] {
            let (code, text) = asked(state.clone(), Method::GET, path).await;
            assert_eq!((code, text.as_str()), expected, "{state:?} {path}");
        }
    }

    #[tokio::test]
    async fn metrics_can_be_scraped_and_nothing_can_be_written() {
        let (code, text) = asked(State::Ready, Method::GET, "/metrics").await;
        assert!(code == 200 && text.contains("stepgate_leader 0\n") && text.ends_with("# EOF\n"), "{text}");
        assert_eq!(asked(State::Ready, Method::POST, "/healthz").await.0, 405);
    }
}
