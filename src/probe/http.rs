//! One probe: a request to a pod, judged by its status, a health check by gRPC, or a connection to one of its ports.

use std::{convert::Infallible, error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use reqwest::{Client, Url};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use crate::{
    api::{
        Span,
        policy::{GrpcGate, HttpGate, Method, Scheme},
    },
    core::decision::watch::{Check, Target},
};

use super::{
    answer::{USER_AGENT, address},
    grpc, tls,
};

pub use super::answer::Answer;

/// Bodies are read up to this size and no further: they do not matter, but a server may wait for its answer to be taken.
const BODY_LIMIT: usize = 64 * 1024;

/// Sends the requests of probes: over the network, or into an embedded cluster.
pub trait Ask: Send + Sync {
    /// Sends one request. How long it may take is not its concern.
    fn ask<'a>(&'a self, gate: &'a HttpGate, target: &'a Target) -> BoxFuture<'a, Answer>;

    /// Makes one health check by gRPC.
    fn grpc<'a>(&'a self, gate: &'a GrpcGate, target: &'a Target) -> BoxFuture<'a, Answer>;

    /// Opens one connection and closes it.
    fn connect<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Answer>;
}

impl Check {
    /// From one probe to the next.
    pub fn period(&self) -> Span {
        match self {
            Self::Http(gate) => gate.period,
            Self::Tcp(gate) => gate.period,
            Self::Grpc(gate) => gate.period,
            Self::Connect => Span::seconds(1),
        }
    }

    /// How long one may take.
    pub fn timeout(&self) -> Span {
        match self {
            Self::Http(gate) => gate.timeout,
            Self::Tcp(gate) => gate.timeout,
            Self::Grpc(gate) => gate.timeout,
            Self::Connect => Span::seconds(1),
        }
    }
}

/// Whatever sends the requests of all probes.
pub type Asker = Arc<dyn Ask>;

/// The network: a new connection for each request, so that a probe tells what a new client would see.
#[derive(Clone)]
pub struct Network {
    http: Client,
    tls: TlsConnector,
}

impl Network {
    /// # Errors
    /// When the system has no usable source of randomness or the like.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { http: client()?, tls: tls::connector()? })
    }
}

impl Ask for Network {
    fn ask<'a>(&'a self, gate: &'a HttpGate, target: &'a Target) -> BoxFuture<'a, Answer> {
        match gate.scheme {
            Scheme::Http => Box::pin(ask(&self.http, gate, target)),
            Scheme::Https => Box::pin(async {
                match encrypted(&self.tls, gate, target).await {
                    Ok(status) => Answer::Status(status),
                    Err(error) => Answer::None(cause(&*error)),
                }
            }),
        }
    }

    fn grpc<'a>(&'a self, gate: &'a GrpcGate, target: &'a Target) -> BoxFuture<'a, Answer> {
        Box::pin(grpc::check(gate, target))
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

/// The client of all requests without TLS: no proxy, no redirect, a new connection each time.
///
/// # Errors
/// When the system has no usable source of randomness or the like.
pub fn client() -> Result<Client, reqwest::Error> {
    Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).pool_max_idle_per_host(0).user_agent(USER_AGENT).build()
}

/// Sends one probe and waits for its answer, at most the check's timeout.
pub async fn probe(asker: &dyn Ask, check: &Check, target: &Target) -> Answer {
    let answer = match check {
        Check::Http(gate) => asker.ask(gate, target),
        Check::Grpc(gate) => asker.grpc(gate, target),
        Check::Tcp(_) | Check::Connect => asker.connect(target),
    };
    tokio::time::timeout(check.timeout().0, answer).await.unwrap_or_else(|_| Answer::None(format!("no answer within {}", check.timeout())))
}

async fn ask(client: &Client, gate: &HttpGate, target: &Target) -> Answer {
    let Some(url) = url(gate, target) else {
        return Answer::None(format!("{} is not a path that can be asked for", gate.path));
    };
    let method = method(gate);
    // The clock of the gate bounds the whole; this one bounds the connection alone, which may have no answer at all.
    let request = client.request(method, url).headers(headers(gate)).timeout(gate.timeout.0.max(Duration::from_millis(10)));
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

/// The same by TLS. The HTTP client has TLS of its own, but wants one provider of cryptography for the whole process.
async fn encrypted(tls: &TlsConnector, gate: &HttpGate, target: &Target) -> Result<u16, Box<dyn Error + Send + Sync>> {
    let url = url(gate, target).ok_or_else(|| format!("{} is not a path that can be asked for", gate.path))?;
    let named = gate.host.as_deref().map(|host| host.split(':').next().unwrap_or(host));
    let name = ServerName::try_from(named.unwrap_or(&target.ip).to_owned())?;
    let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let mut request = Request::builder().method(method(gate)).uri(path).body(Empty::<Bytes>::new())?;
    let all = request.headers_mut();
    all.insert(header::HOST, HeaderValue::try_from(address(target))?);
    all.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    all.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    for (name, value) in &headers(gate) {
        all.insert(name, value.clone());
    }
    let tcp = TcpStream::connect((target.ip.as_str(), target.port)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(tls.connect(name, tcp).await?)).await?;
    // Its end is told to whoever waits for the answer.
    let carry = async {
        let _ = connection.await;
        std::future::pending::<Infallible>().await
    };
    let exchange = async {
        let mut response = sender.send_request(request).await?;
        let mut read = 0;
        // The status has been said; a body that breaks off does not unsay it.
        while let Some(Ok(frame)) = response.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read >= BODY_LIMIT {
                break;
            }
        }
        Ok(response.status().as_u16())
    };
    tokio::select! {
        status = exchange => status,
        never = carry => match never {},
    }
}

fn url(gate: &HttpGate, target: &Target) -> Option<Url> {
    Url::parse(&format!("http://{}{}", address(target), gate.path)).ok()
}

fn method(gate: &HttpGate) -> http::Method {
    match gate.method {
        Method::Get => http::Method::GET,
        Method::Head => http::Method::HEAD,
    }
}

/// The headers that the gate names, and its host. What is no header is refused where policies are written.
fn headers(gate: &HttpGate) -> HeaderMap {
    let own = gate.headers.iter().map(|header| (header.name.as_str(), header.value.as_str()));
    let pairs = own.chain(gate.host.iter().map(|host| ("host", host.as_str())));
    pairs.filter_map(|(name, value)| Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_str(value).ok()?))).collect()
}

fn in_a_word(error: &reqwest::Error) -> String {
    if error.is_timeout() { "no answer in time".to_owned() } else { cause(error) }
}

/// What is behind an error, and all that is between.
fn cause(error: &dyn Error) -> String {
    error.source().map_or_else(|| error.to_string(), cause)
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
    use serde_json::json;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };
    use tokio_rustls::{
        TlsAcceptor,
        rustls::{
            ServerConfig,
            crypto::ring,
            pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        },
    };

    use super::*;

    /// Nobody's certificate and its key, made for these tests and past their end: neither keeps anything safe.
    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIBdjCCAR2gAwIBAgIUS08mAfakxfu4+xAcWBJDTQfKO7kwCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGbm9ib2R5MB4XDTI2MTIwMTAyMDkzMVoXDTI2MTIwMjAyMDkz
MVowETEPMA0GA1UEAwwGbm9ib2R5MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
6npK8+lorIGYDHcqIGixVis9C5DvboE00YJn366xZ3vmMyo6J8L+1dAWe/k8+JEn
58DYVp+c4Ze5KignghriHqNTMFEwHQYDVR0OBBYEFO641K4QsWospiw58JW/L33D
ZmN/MB8GA1UdIwQYMBaAFO641K4QsWospiw58JW/L33DZmN/MA8GA1UdEwEB/wQF
MAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIgHkS3AiT6W6+etS/HtkdImv+uObp7vk4M
f/h3CohWe6gCIGhpt5L8iP+U6MnWSNugqzX2mWMWEH8woAHBEAOV6fTW
-----END CERTIFICATE-----";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgmjD5GuGadkgO/OZA
u1gj14MtDI2VHTbBLO8VKdbgoayhRANCAATqekrz6WisgZgMdyogaLFWKz0LkO9u
gTTRgmffrrFne+YzKjonwv7V0BZ7+Tz4kSfnwNhWn5zhl7kqKCeCGuIe
-----END PRIVATE KEY-----";

    /// Answers one request with 200 and gives it back, with the name that was asked for by TLS.
    async fn answer_once(listener: TcpListener, tls: bool) -> (String, Option<String>) {
        async fn answer(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin) -> String {
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await.unwrap();
            stream.shutdown().await.unwrap();
            String::from_utf8_lossy(&request[..length]).to_lowercase()
        }
        let (tcp, _) = listener.accept().await.unwrap();
        if !tls {
            return (answer(tcp).await, None);
        }
        let certificate = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        let stream = TlsAcceptor::from(Arc::new(config)).accept(tcp).await.unwrap();
        let name = stream.get_ref().1.server_name().map(str::to_owned);
        (answer(stream).await, name)
    }

    #[tokio::test]
    async fn a_request_is_what_the_gate_says_with_tls_and_without() {
        let headers = json!([{"name": "X-Probe", "value": "gate"}, {"name": "user-agent", "value": "mine"}]);
        for (scheme, host, named) in [
            ("HTTP", None, None),
            ("HTTP", Some("shop.example"), None),
            ("HTTPS", None, None),
            ("HTTPS", Some("shop.example:8443"), Some("shop.example")),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = tokio::spawn(answer_once(listener, scheme == "HTTPS"));
            let gate: HttpGate =
                serde_json::from_value(json!({"path": "/a?b=<c>", "port": port, "scheme": scheme, "host": host, "headers": headers}))
                    .unwrap();
            let target = Target { uid: "1".to_owned(), name: "pod".to_owned(), ip: "127.0.0.1".to_owned(), port };
            let answer = Network::new().unwrap().ask(&gate, &target).await;
            assert_eq!(answer, Answer::Status(204), "{scheme} {host:?}");
            let (request, name) = server.await.unwrap();
            assert_eq!(name.as_deref(), named, "{scheme} {host:?}");
            let host = host.map_or_else(|| address(&target), str::to_owned);
            assert!(request.starts_with("get /a?b=%3cc%3e http/1.1\r\n"), "{request}");
            for line in [format!("host: {host}"), "x-probe: gate".to_owned(), "user-agent: mine".to_owned()] {
                assert_eq!(request.lines().filter(|found| *found == line).count(), 1, "{line} in {request}");
            }
        }
    }

    #[tokio::test]
    async fn a_server_without_tls_gives_no_answer_to_a_request_by_tls() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(answer_once(listener, false));
        let gate: HttpGate = serde_json::from_value(json!({"path": "/", "port": port, "scheme": "HTTPS"})).unwrap();
        let target = Target { uid: "1".to_owned(), name: "pod".to_owned(), ip: "127.0.0.1".to_owned(), port };
        let answer = Network::new().unwrap().ask(&gate, &target).await;
        assert!(matches!(answer, Answer::None(_)), "{answer:?}");
        server.abort();
    }

    #[test]
    fn statuses_are_numbers_and_ranges() {
        for (expected, status, ok) in
            [("200-399", 302, true), ("200-399", 500, false), ("200,204", 204, true), ("200,204", 201, false), ("200", 200, true)]
        {
            assert_eq!(is_expected(expected, status), ok, "{expected} {status}");
        }
    }
}
