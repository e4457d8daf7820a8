use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{KeepAlive, Kind, Load, Outcome, Plan, now};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nX-Version: v1\r\nX-Pod: a\r\nContent-Length: 2\r\n\r\nok";

/// A server that treats every connection in the same way.
async fn server<F, Fut>(treat: F) -> SocketAddr
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(treat(stream));
        }
    });
    address
}

/// Reads a request; false at the end of the connection.
async fn read(stream: &mut TcpStream) -> bool {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return false;
        }
    }
    true
}

async fn answer_once(mut stream: TcpStream, answer: &str) {
    if read(&mut stream).await {
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

async fn answer_always(mut stream: TcpStream, answer: &str) {
    while read(&mut stream).await {
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

fn plan(target: SocketAddr, rate: f64, most: usize) -> Plan {
    Plan { rate, most, timeout: Duration::from_millis(500), ..Plan::new(target) }
}

fn kept(target: SocketAddr) -> Plan {
    Plan { rate: 0.0, keep_alive: KeepAlive { connections: 1, rate: 100.0 }, longest: Duration::from_millis(300), ..Plan::new(target) }
}

async fn all(plan: Plan) -> super::Report {
    let mut load = Load::start(plan);
    while let Some(request) = load.ended.recv().await {
        load.report.add(request);
    }
    load.report
}

#[tokio::test]
async fn every_request_is_recorded_with_version_and_pod() {
    let report = all(plan(server(|stream| answer_once(stream, ANSWER)).await, 500.0, 50)).await;
    assert_eq!((report.total(), report.failed().len()), (50, 0), "{report}");
    assert!(report.requests.iter().all(|request| request.version.as_deref() == Some("v1") && request.pod.as_deref() == Some("a")));
    let shares = report.shares(report.started_at, now());
    assert!(shares["v1"] > 0.99 && shares.len() == 1, "{shares:?}");
    assert_eq!(report.windows(Duration::from_secs(60)).len(), 1);
}

#[tokio::test]
async fn requests_are_sent_by_the_clock_when_no_answer_comes() {
    let deaf = server(|stream| async move {
        tokio::time::sleep(Duration::from_secs(10)).await;
        drop(stream);
    });
    let started = now();
    let report = all(plan(deaf.await, 200.0, 40)).await;
    assert!(now().duration_since(started) < Duration::from_secs(2));
    assert!(report.requests.iter().all(|request| request.outcome == Outcome::Timeout), "{report}");
}

#[tokio::test]
async fn a_refused_a_cut_and_a_bad_answer_are_three_different_failures() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let cut = server(|stream| answer_once(stream, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")).await;
    let bad = server(|stream| answer_once(stream, "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")).await;
    for (target, expected) in [(closed, Outcome::Refused), (cut, Outcome::Eof), (bad, Outcome::Status(500))] {
        let report = all(plan(target, 100.0, 3)).await;
        assert_eq!(report.failed().len(), 3);
        assert!(report.requests.iter().all(|request| request.outcome == expected), "{expected}: {report}");
    }
}

#[tokio::test]
async fn a_kept_connection_carries_many_requests() {
    let report = all(kept(server(|stream| answer_always(stream, ANSWER)).await)).await;
    assert_eq!(report.requests[0].kind, Kind::Opened);
    assert!(report.total() > 10 && report.requests[1..].iter().all(|request| request.kind == Kind::Kept), "{report}");
}

#[tokio::test]
async fn a_connection_that_the_server_closed_between_two_requests_is_opened_again() {
    let report = all(kept(server(|stream| answer_once(stream, ANSWER)).await)).await;
    assert!(
        report.total() > 10 && report.requests.iter().all(|request| request.kind == Kind::Opened && !request.outcome.is_failure()),
        "{report}"
    );
}

#[tokio::test]
async fn a_request_cut_on_a_reused_connection_is_counted_apart() {
    let cut = server(|mut stream| async move {
        if read(&mut stream).await {
            stream.write_all(ANSWER.as_bytes()).await.unwrap();
            read(&mut stream).await;
        }
    });
    let report = all(kept(cut.await)).await;
    assert!(report.failed().is_empty() && !report.failed_kept().is_empty(), "{report}");
}

#[tokio::test]
async fn a_chunked_answer_ends_with_its_last_chunk() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n0\r\n\r\n\r\n0\r\n\r\n";
    let report = all(kept(server(|stream| answer_always(stream, chunked)).await)).await;
    assert!(report.failed().is_empty() && report.requests[1..].iter().all(|request| request.kind == Kind::Kept), "{report}");
}

#[tokio::test]
async fn requests_come_from_the_chosen_addresses() {
    let target = server(|mut stream| async move {
        let answer = format!("HTTP/1.1 200 OK\r\nX-Version: {}\r\nContent-Length: 0\r\n\r\n", stream.peer_addr().unwrap().ip());
        if read(&mut stream).await {
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let sources = ["127.0.0.2", "127.0.0.3"].map(|text| text.parse().unwrap()).to_vec();
    let report = all(Plan { sources, ..plan(target.await, 200.0, 10) }).await;
    let shares = report.shares(report.started_at, now());
    assert!(["127.0.0.2", "127.0.0.3"].iter().all(|source| (shares[*source] - 0.5).abs() < 0.01), "{shares:?}");
    let seen = report.versions_by_source();
    assert!(seen.iter().all(|(source, versions)| versions[..] == [source.to_string().as_str()]), "{seen:?}");
}

#[tokio::test]
async fn stopping_waits_for_the_answers_under_way() {
    let slow = server(|stream| async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        answer_once(stream, ANSWER).await;
    });
    let load = Load::start(plan(slow.await, 100.0, 1000));
    tokio::time::sleep(Duration::from_millis(150)).await;
    let report = load.stop().await;
    assert!(report.total() >= 10 && report.failed().is_empty(), "{report}");
}
