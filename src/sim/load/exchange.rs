//! One HTTP/1.1 request and its answer on an open connection.

use std::io::ErrorKind;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Outcome, Plan};

/// Longest answer that is read; more counts as malformed.
const LONGEST: usize = 1 << 20;

/// What is to become of the connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Close,
    Keep,
}

/// A complete answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    /// `X-Version` header.
    pub version: Option<String>,
    /// `X-Pod` header.
    pub pod: Option<String>,
    /// Whether the connection may carry another request.
    pub reusable: bool,
}

/// How the end of a body is recognised.
#[derive(Clone, Copy)]
enum Body {
    Length(usize),
    Chunked,
    UntilEof,
}

/// False once the other side has closed or said anything unasked: a request sent now would be lost through nobody's fault.
pub(super) fn is_idle(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Sends the plan's request and reads the whole answer.
///
/// Where the server announces that it will close, it may do so first: then no port of this machine stays in `TIME_WAIT`. What happens to
/// the connection after a complete answer is not a failure.
pub(super) async fn exchange(stream: &mut TcpStream, plan: &Plan, then: Then) -> Result<Answer, Outcome> {
    let connection = if then == Then::Close { "close" } else { "keep-alive" };
    let request =
        format!("GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: stepgate-load\r\nConnection: {connection}\r\n\r\n", plan.path, plan.host);
    stream.write_all(request.as_bytes()).await.map_err(|error| Outcome::from(&error))?;
    let mut received = Vec::with_capacity(1024);
    let mut answer: Option<(Answer, usize, Body)> = None;
    loop {
        let count = match stream.read_buf(&mut received).await {
            Ok(count) => count,
            Err(_) if answer.as_ref().is_some_and(|(_, head, body)| is_complete(&received[*head..], *body)) => 0,
            Err(error) => return Err(Outcome::from(&error)),
        };
        if answer.is_none()
            && let Some(length) = end_of_head(&received)
        {
            let (parsed, body) = parse(&received[..length]).ok_or(Outcome::Malformed)?;
            answer = Some((parsed, length, body));
        }
        if let Some((answer, head, body)) = &answer {
            let complete = is_complete(&received[*head..], *body);
            if (complete && (then == Then::Keep || answer.reusable)) || (count == 0 && (complete || matches!(body, Body::UntilEof))) {
                break;
            }
        }
        if count == 0 {
            return Err(Outcome::Eof);
        }
        if received.len() > LONGEST {
            return Err(Outcome::Malformed);
        }
    }
    let (answer, ..) = answer.ok_or(Outcome::Eof)?;
    Ok(answer)
}

fn end_of_head(received: &[u8]) -> Option<usize> {
    received.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn parse(head: &[u8]) -> Option<(Answer, Body)> {
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let mut status_line = lines.next()?.split(' ');
    if !status_line.next()?.starts_with("HTTP/1.") {
        return None;
    }
    let status: u16 = status_line.next()?.parse().ok()?;
    let mut answer = Answer { status, version: None, pod: None, reusable: true };
    let mut body = if matches!(status, 204 | 304) { Body::Length(0) } else { Body::UntilEof };
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "x-version" => answer.version = Some(value.to_owned()),
            "x-pod" => answer.pod = Some(value.to_owned()),
            "connection" if value.eq_ignore_ascii_case("close") => answer.reusable = false,
            "content-length" => body = Body::Length(value.parse().ok()?),
            "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => body = Body::Chunked,
            _ => {}
        }
    }
    answer.reusable &= !matches!(body, Body::UntilEof);
    Some((answer, body))
}

fn is_complete(received: &[u8], body: Body) -> bool {
    match body {
        Body::Length(length) => received.len() >= length,
        Body::Chunked => is_last_chunk_here(received),
        Body::UntilEof => false,
    }
}

fn is_last_chunk_here(mut rest: &[u8]) -> bool {
    loop {
        let Some(line) = rest.windows(2).position(|window| window == b"\r\n") else { return false };
        let size = std::str::from_utf8(&rest[..line]).ok().and_then(|text| usize::from_str_radix(text.split(';').next()?.trim(), 16).ok());
        let Some(size) = size else { return false };
        if size == 0 {
            // Trailers end with an empty line, like a head.
            return rest[line..].windows(4).any(|window| window == b"\r\n\r\n");
        }
        let Some(next) = rest.get(line + 2 + size + 2..) else { return false };
        rest = next;
    }
}
