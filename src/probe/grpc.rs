//! One health check by gRPC: the call `Check` of `grpc.health.v1.Health`, on a connection of its own.
//!
//! The messages have one field each, so they are written and read here, by the wire format of protocol buffers.

use std::convert::Infallible;

use bytes::Bytes;
use h2::{RecvStream, client};
use http::{HeaderMap, Request, StatusCode, header};
use tokio::net::TcpStream;

use super::answer::{Answer, USER_AGENT, address};
use crate::{api::policy::GrpcGate, core::decision::watch::Target};

const CHECK: &str = "/grpc.health.v1.Health/Check";
/// An answer has a few bytes; what is longer is none.
const LONGEST: usize = 1024;
/// What precedes a message: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// The only status of the answer that is good.
const SERVING: u64 = 1;

/// Asks one pod. How long it may take is the caller's concern.
pub async fn check(gate: &GrpcGate, target: &Target) -> Answer {
    match exchange(gate, target).await {
        Ok(Ok(())) => Answer::Serving,
        Ok(Err(reason)) => Answer::NotServing(reason),
        Err(reason) => Answer::None(reason),
    }
}

/// What the pod says, if it says anything; an error is no answer.
async fn exchange(gate: &GrpcGate, target: &Target) -> Result<Result<(), String>, String> {
    let tcp = TcpStream::connect((target.ip.as_str(), target.port)).await.map_err(|error| error.to_string())?;
    let (requests, connection) = client::handshake(tcp).await.map_err(|error| error.to_string())?;
    // Its end is told to whoever waits for the answer.
    let carry = async {
        let _ = connection.await;
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        answer = call(requests, gate, target) => answer.map_err(|error| error.to_string()),
        never = carry => match never {},
    }
}

async fn call(requests: client::SendRequest<Bytes>, gate: &GrpcGate, target: &Target) -> Result<Result<(), String>, h2::Error> {
    let request = Request::post(format!("http://{}{CHECK}", address(target)))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, USER_AGENT)
        .body(());
    // Nothing of it is the user's, so it is always a request.
    let Ok(request) = request else { return Ok(Err("the address cannot be asked".to_owned())) };
    let (response, mut stream) = requests.ready().await?.send_request(request, false)?;
    stream.send_data(Bytes::from(framed(&question(&gate.service))), true)?;
    let response = response.await?;
    if response.status() != StatusCode::OK {
        return Ok(Err(format!("HTTP status {}", response.status().as_u16())));
    }
    if let Some(refusal) = refusal(response.headers()) {
        return Ok(Err(refusal));
    }
    let mut body = response.into_body();
    let message = read(&mut body).await?;
    let refusal = body.trailers().await?.as_ref().and_then(refusal);
    Ok(refusal.map_or_else(|| judge(&message), Err))
}

async fn read(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut all = Vec::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        all.extend_from_slice(&part);
        if all.len() > LONGEST {
            break;
        }
    }
    Ok(all)
}

/// A status of gRPC that is not OK. Its message is the pod's own text, and is left out.
fn refusal(headers: &HeaderMap) -> Option<String> {
    let status = headers.get("grpc-status")?.to_str().ok()?.parse::<u32>().ok()?;
    let name = match status {
        0 => return None,
        4 => " (DEADLINE_EXCEEDED)",
        5 => " (NOT_FOUND)",
        7 => " (PERMISSION_DENIED)",
        12 => " (UNIMPLEMENTED)",
        13 => " (INTERNAL)",
        14 => " (UNAVAILABLE)",
        16 => " (UNAUTHENTICATED)",
        _ => "",
    };
    Some(format!("gRPC status {status}{name}"))
}

/// `HealthCheckRequest {string service = 1}`.
fn question(service: &str) -> Vec<u8> {
    if service.is_empty() {
        return Vec::new();
    }
    let mut message = vec![0x0a];
    let mut length = service.len();
    while length > 0x7f {
        message.push(length.to_le_bytes()[0] | 0x80);
        length >>= 7;
    }
    message.push(length.to_le_bytes()[0]);
    message.extend_from_slice(service.as_bytes());
    message
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[0], &length[..], message].concat()
}

/// What `HealthCheckResponse {ServingStatus status = 1}` says.
fn judge(framed: &[u8]) -> Result<(), String> {
    match status(framed) {
        Some(SERVING) => Ok(()),
        Some(2) => Err("NOT_SERVING".to_owned()),
        Some(3) => Err("SERVICE_UNKNOWN".to_owned()),
        Some(0) => Err("UNKNOWN".to_owned()),
        Some(other) => Err(format!("status {other} of the health protocol")),
        None => Err("an answer that is not of the health protocol".to_owned()),
    }
}

fn status(framed: &[u8]) -> Option<u64> {
    let (prefix, mut message) = framed.split_at_checked(PREFIX)?;
    let length = u32::from_be_bytes(prefix[1..].try_into().ok()?);
    if prefix[0] != 0 || u32::try_from(message.len()).ok()? != length {
        return None;
    }
    let mut status = 0;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match (tag >> 3, tag & 7) {
            (1, 0) => status = varint(&mut message)?,
            (_, 0) => drop(varint(&mut message)?),
            (_, 1) => message = message.get(8..)?,
            (_, 5) => message = message.get(4..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            _ => return None,
        }
    }
    Some(status)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for place in 0..10 {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << (7 * place);
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn an_answer_is_read_as_the_protocol_has_it() {
        for (answer, judged) in [
            (&[0, 0, 0, 0, 2, 8, 1][..], Ok(())),
            (&[0, 0, 0, 0, 2, 8, 2], Err("NOT_SERVING")),
            (&[0, 0, 0, 0, 2, 8, 3], Err("SERVICE_UNKNOWN")),
            (&[0, 0, 0, 0, 0], Err("UNKNOWN")),
            (&[0, 0, 0, 0, 3, 8, 0x80, 1], Err("status 128 of the health protocol")),
            // A field that this version does not know, before the one that counts.
            (&[0, 0, 0, 0, 5, 0x12, 1, b'x', 8, 1], Ok(())),
            (&[1, 0, 0, 0, 2, 8, 1], Err("an answer that is not of the health protocol")),
            (&[0, 0, 0, 0, 9, 8, 1], Err("an answer that is not of the health protocol")),
            (&[0, 0, 0, 0, 2, 0x12, 9], Err("an answer that is not of the health protocol")),
            (b"<html>", Err("an answer that is not of the health protocol")),
            (&[], Err("an answer that is not of the health protocol")),
        ] {
            assert_eq!(judge(answer), judged.map_err(str::to_owned), "{answer:?}");
        }
    }

    #[test]
    fn a_question_names_its_service_however_long() {
        assert_eq!(framed(&question("")), [0, 0, 0, 0, 0]);
        assert_eq!(framed(&question("a.B")), [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'.', b'B']);
        let long = question(&"x".repeat(253));
        assert_eq!((&long[..3], long.len()), (&[0x0a, 0xfd, 1][..], 256));
    }

    /// A server that has service `shop` and no other; what it is asked decides what it says.
    async fn serve(listener: TcpListener) {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(tcp).await.unwrap();
        while let Some(request) = connection.accept().await {
            let (request, mut respond) = request.unwrap();
            assert_eq!((request.uri().path(), &request.headers()["te"]), (CHECK, &"trailers".parse().unwrap()));
            tokio::spawn(async move {
                let asked = read(&mut request.into_body()).await.unwrap();
                let response = |status: &str| http::Response::builder().header("grpc-status", status).body(()).unwrap();
                if asked == framed(&question("shop")) {
                    let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
                    stream.send_data(Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]), false).unwrap();
                    stream.send_trailers(response("0").headers().clone()).unwrap();
                } else if asked == framed(&question("late")) {
                    let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
                    stream.send_trailers(response("14").headers().clone()).unwrap();
                } else {
                    respond.send_response(response("5"), true).unwrap();
                }
            });
        }
    }

    async fn asked(service: &str) -> Answer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(serve(listener));
        let gate: GrpcGate = serde_json::from_value(serde_json::json!({"port": port, "service": service})).unwrap();
        let answer = check(&gate, &Target { uid: "1".to_owned(), name: "pod".to_owned(), ip: "127.0.0.1".to_owned(), port }).await;
        server.abort();
        answer
    }

    #[tokio::test]
    async fn a_server_is_asked_for_one_service_and_its_status_counts_wherever_it_stands() {
        assert_eq!(asked("shop").await, Answer::Serving);
        assert_eq!(asked("").await, Answer::NotServing("gRPC status 5 (NOT_FOUND)".to_owned()));
        assert_eq!(asked("late").await, Answer::NotServing("gRPC status 14 (UNAVAILABLE)".to_owned()));
    }
}
