//! The embedded cluster on real sockets: every pod is an HTTP server on a loopback address of its own, and every Service a loopback
//! address whose connections go each to one of its endpoints, as kube-proxy would send them. A pod with a port `control` can be told there
//! to behave otherwise: `POST /set?ready=false`, with the settings of [`super::cluster::process`].
//!
//! What is answered and where a connection goes is decided by the [`World`], as under virtual time; this module only carries bytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as Guard},
    ops::ControlFlow,
    time::Duration,
};

use bytes::Bytes;
use futures::stream;
use http::{Method, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpSocket, TcpStream},
    task::{AbortHandle, JoinSet},
};

use super::{
    Sim, Visit, World,
    cluster::{Id, proxy::Endpoint},
    json,
    server::request::parse_query,
};

type Content = UnsyncBoxBody<Bytes, Infallible>;

/// Every address that begins with 127 is this machine, without configuration, on Linux. An embedded cluster has the first of these
/// networks that no other one has, so that they do not meet on any port.
const NETWORKS: std::ops::RangeInclusive<u8> = 77..=108;
/// How far the network of a cluster's Services is from that of its pods: past the last one of these.
const SERVICES: u8 = 100;
/// The port that is taken where it is free.
const PORT: u16 = 8080;
const BACKLOG: u32 = 1024;
/// How long to leave a listener alone that takes no connection, for want of file descriptors most likely.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// A part of the loopback network, kept for one embedded cluster as long as this lives.
///
/// One port serves all addresses: no other process of this machine has it on all of them, and no other embedded cluster has it here.
#[derive(Debug)]
pub struct Loopback {
    network: [u8; 2],
    port: u16,
    _guard: Guard,
}

/// An address of the loopback network cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}: {source}; every pod gets a loopback address of its own, which Linux allows to everybody and other \
     systems do not: run this on Linux, or in a container"
)]
pub struct NoAddress {
    address: SocketAddr,
    source: io::Error,
}

impl Loopback {
    /// Takes port 8080 of a network of its own; where another process has that port everywhere, one that is free.
    ///
    /// # Errors
    /// Where this machine does not let a process listen on any address of 127.0.0.0/8, as Linux does.
    pub fn reserve() -> Result<Self, NoAddress> {
        let reserve = |network: u8, port| {
            let network = [127, network];
            let address = SocketAddr::from(([network[0], network[1], 255, 254], port));
            let guard = Guard::bind(address).map_err(|source| NoAddress { address, source })?;
            let port = guard.local_addr().map_or(PORT, |address| address.port());
            Ok(Self { network, port, _guard: guard })
        };
        NETWORKS.clone().find_map(|network| reserve(network, PORT).ok()).map_or_else(|| reserve(*NETWORKS.start(), 0), Ok)
    }

    /// The first two numbers of the pods' addresses, for [`super::Setup::pod_network`].
    pub fn pod_network(&self) -> [u8; 2] {
        self.network
    }

    /// The first two numbers of the addresses that Services are given, for [`super::Setup::service_network`].
    pub fn service_network(&self) -> [u8; 2] {
        let [first, second] = self.network;
        [first, second + SERVICES]
    }

    /// An address for a Service, and the port that Services and pods are to have.
    pub fn service(&self) -> SocketAddr {
        let [first, second] = self.network;
        SocketAddr::from(([first, second, 0, 1], self.port))
    }
}

/// The sockets of one embedded cluster.
#[derive(Debug)]
pub struct Sockets {
    sim: Sim,
    open: BTreeMap<SocketAddr, Open>,
    /// Addresses that are not to be had, and of which that has been said.
    missing: BTreeSet<SocketAddr>,
}

/// A socket that is listened on, and the task that does; the task ends with this, and its connections with it.
#[derive(Debug)]
struct Open {
    behind: Behind,
    task: AbortHandle,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a connection leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Behind {
    Pod(Endpoint),
    Control(Id),
    Service(Id, u16),
}

impl Sockets {
    /// Moves the cluster in real time, for ever, and opens and closes the sockets of its pods and Services as they come and go; those with
    /// a loopback address, no others. A port that this process may not have, or that another one has, is a port that nobody listens on:
    /// which ports there are is decided by whoever writes to the cluster.
    ///
    /// A pod takes connections from before anybody can learn that it does until its process has ended.
    pub async fn run(sim: Sim) -> Infallible {
        let mut sockets = Self { sim: sim.clone(), open: BTreeMap::new(), missing: BTreeSet::new() };
        sim.run_seen(|world, now| {
            sockets.follow(world, now);
            ControlFlow::Continue(())
        })
        .await
    }

    fn follow(&mut self, world: &World, now: Timestamp) {
        let wanted: BTreeMap<SocketAddr, Behind> = pods(world, now).chain(controls(world)).chain(services(world)).collect();
        self.open.retain(|address, open| wanted.get(address) == Some(&open.behind));
        self.missing.retain(|address| wanted.contains_key(address));
        for (address, behind) in wanted {
            if self.open.contains_key(&address) {
                continue;
            }
            match listen(address) {
                Ok(listener) => {
                    let task = tokio::spawn(accept(self.sim.clone(), listener, behind.clone())).abort_handle();
                    self.open.insert(address, Open { behind, task });
                    self.missing.remove(&address);
                }
                Err(error) if self.missing.insert(address) => tracing::warn!(%address, %error, "nobody listens here"),
                Err(_) => {}
            }
        }
    }
}

fn pods(world: &World, now: Timestamp) -> impl Iterator<Item = (SocketAddr, Behind)> {
    world.kubelet().listening(now).filter_map(|endpoint| Some((loopback(&endpoint.address, endpoint.port)?, Behind::Pod(endpoint))))
}

fn controls(world: &World) -> impl Iterator<Item = (SocketAddr, Behind)> {
    let control = |(endpoint, pod): (Endpoint, &Id)| Some((loopback(&endpoint.address, endpoint.port)?, Behind::Control(pod.clone())));
    world.kubelet().controls().filter_map(control)
}

fn services(world: &World) -> impl Iterator<Item = (SocketAddr, Behind)> {
    world.api.list("services", "").flat_map(|service| {
        let port = |port| u16::try_from(json::int(port, "/port")).ok();
        let address = json::text(service, "/spec/clusterIP");
        let ports: BTreeSet<u16> = json::items(service, "/spec/ports").iter().filter_map(port).collect();
        ports.into_iter().filter_map(|port| Some((loopback(address, port)?, Behind::Service(Id::of(service), port))))
    })
}

fn loopback(address: &str, port: u16) -> Option<SocketAddr> {
    let address: Ipv4Addr = address.parse().ok()?;
    address.is_loopback().then(|| SocketAddr::new(IpAddr::V4(address), port))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // Connections of a pod that had this address before may linger in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(sim: Sim, listener: TcpListener, behind: Behind) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, client)) => drop(connections.spawn(connection(sim.clone(), stream, client, behind.clone()))),
            Err(error) => {
                tracing::warn!(%error, "a connection was not taken");
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
    }
}

async fn connection(sim: Sim, stream: TcpStream, client: SocketAddr, behind: Behind) {
    let sim = &sim;
    match &behind {
        Behind::Pod(endpoint) => serve(stream, |request| async move { answer(sim, endpoint, request.uri().path()).await }).await,
        Behind::Control(pod) => serve(stream, |request| async move { Ok(tell(sim, pod, &request)) }).await,
        Behind::Service(service, port) => relay(sim, stream, client, service, *port).await,
    }
}

/// The application closes a connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the application closed the connection")]
struct Closed;

/// The application's side of a connection.
async fn serve<F, A>(stream: TcpStream, answer: F)
where
    F: Fn(Request<Incoming>) -> A,
    A: Future<Output = Result<Response<Content>, Closed>>,
{
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new());
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service_fn(answer)).await {
        tracing::debug!(%error, "a connection to a pod broke");
    }
}

async fn answer(sim: &Sim, endpoint: &Endpoint, path: &str) -> Result<Response<Content>, Closed> {
    let (visit, process, now) = sim.look(|world, now| {
        let visit = world.knock(now, endpoint, path);
        let kubelet = world.kubelet();
        (visit, kubelet.pod_at(&endpoint.address).and_then(|pod| kubelet.process(pod)).cloned(), now)
    });
    match visit {
        Visit::Answered { pod, code, version, after, .. } => {
            tokio::time::sleep(after).await;
            let pod = pod.map(|pod| pod.name).unwrap_or_default();
            let mut response = Response::builder().status(code).header("X-Version", &version).header("X-Pod", pod);
            // The client is to look for another pod. A connection that was closed without a word may have a request on its way.
            if process.as_ref().is_some_and(|process| process.terminated.is_some()) {
                response = response.header(header::CONNECTION, "close");
            }
            if let Some(process) = process.as_ref().filter(|_| code == StatusCode::FOUND.as_u16()) {
                response = response.header(header::LOCATION, &process.settings.redirect_to);
            }
            let is_endless = process.is_some_and(|process| process.is_endless(path, now));
            response.body(if is_endless { endless() } else { text(format!("{version}\n")) }).map_err(|_| Closed)
        }
        Visit::Hangs { .. } => std::future::pending().await,
        Visit::Refused { .. } | Visit::NoEndpoint => Err(Closed),
    }
}

fn text(text: String) -> Content {
    Full::new(Bytes::from(text)).boxed_unsync()
}

fn endless() -> Content {
    let chunk = Bytes::from(vec![b'x'; 64 << 10]);
    StreamBody::new(stream::repeat_with(move || Ok(Frame::data(chunk.clone())))).boxed_unsync()
}

/// What is posted to a control port: all of the query or nothing of it.
fn tell(sim: &Sim, pod: &Id, request: &Request<Incoming>) -> Response<Content> {
    let status = match (request.method(), request.uri().path()) {
        (&Method::POST, "/set") => {
            let settings = parse_query(request.uri().query().unwrap_or_default());
            let told = sim.with(|world, now| world.tell_all(now, pod, &settings));
            if told { StatusCode::OK } else { StatusCode::BAD_REQUEST }
        }
        _ => StatusCode::NOT_FOUND,
    };
    let mut response = Response::new(text(format!("{status}\n")));
    *response.status_mut() = status;
    response
}

/// A Service's side: an endpoint is chosen for the connection, and bytes are copied until both ends have closed.
async fn relay(sim: &Sim, mut stream: TcpStream, client: SocketAddr, service: &Id, port: u16) {
    let endpoint = sim.look(|world, now| world.connect(now, service, port, &client.ip().to_string()));
    let address = endpoint.and_then(|endpoint| loopback(&endpoint.address, endpoint.port));
    let pod = match address {
        Some(address) => TcpStream::connect(address).await.ok(),
        None => None,
    };
    let Some(mut pod) = pod else {
        // As near to a refusal as a connection comes that has been taken: a reset. Without it this is an ordinary end, to the same effect.
        drop(stream.set_zero_linger());
        return;
    };
    if let Err(error) = copy_bidirectional(&mut stream, &mut pod).await {
        tracing::debug!(%error, "a connection through a Service broke");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sim::{
        Setup,
        load::{Load, Outcome, Plan, Report},
        sample,
        server::request::Request as Ask,
    };

    fn ask(sim: &Sim, method: &str, path: &str, body: &serde_json::Value) {
        let content_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        sim.with(|world, now| world.handle(now, &Ask::new(method, path, "alice").with_body(content_type, body)));
    }

    /// Two pods behind a Service, on sockets.
    fn cluster(loopback: &Loopback) -> Sim {
        let sim = Sim::new(&Setup { pod_network: loopback.pod_network(), ..Setup::default() });
        let (address, port) = (loopback.service().ip(), loopback.service().port());
        let mut deployment = sample::deployment("default", "hello", "v1", 2);
        let container = &mut deployment["spec"]["template"]["spec"]["containers"][0];
        container["ports"] = json!([{"name": "http", "containerPort": port}, {"name": "control", "containerPort": port.wrapping_add(1)}]);
        container["env"] = json!([{"name": "LAME_DUCK", "value": "100ms"}]);
        let mut service = sample::service("default", "hello");
        service["spec"]["clusterIP"] = address.to_string().into();
        service["spec"]["ports"][0]["port"] = port.into();
        ask(&sim, "POST", "/apis/apps/v1/namespaces/default/deployments", &deployment);
        ask(&sim, "POST", "/api/v1/namespaces/default/services", &service);
        tokio::spawn(Sockets::run(sim.clone()));
        sim
    }

    async fn requests(loopback: &Loopback, most: usize) -> Report {
        let load = Load::start(Plan { rate: 100.0, most, ..Plan::new(loopback.service()) });
        tokio::time::sleep(Duration::from_millis(10 * most as u64 + 200)).await;
        load.stop().await
    }

    async fn endpoints(sim: &Sim, loopback: &Loopback, number: usize) {
        let count = || sim.look(|world, _| world.endpoints(&Id::new("default", "hello"), loopback.service().port()).len());
        while count() != number {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test]
    async fn a_service_spreads_connections_over_its_pods_and_refuses_them_without_one() {
        let loopback = Loopback::reserve().unwrap();
        let sim = cluster(&loopback);
        endpoints(&sim, &loopback, 2).await;
        let report = requests(&loopback, 40).await;
        assert!(report.requests.iter().all(|request| request.outcome == Outcome::Status(200)), "{report}");
        let pods: BTreeSet<&String> = report.requests.iter().filter_map(|request| request.pod.as_ref()).collect();
        assert_eq!(pods.len(), 2, "40 connections met {pods:?}");
        ask(&sim, "PATCH", "/apis/apps/v1/namespaces/default/deployments/hello", &json!({"spec": {"replicas": 0}}));
        endpoints(&sim, &loopback, 0).await;
        let report = requests(&loopback, 5).await;
        assert!(report.requests.iter().all(|request| request.outcome.is_unanswered()), "{report}");
    }

    #[tokio::test]
    async fn a_pod_can_be_told_to_behave_otherwise_and_takes_all_of_it_or_nothing() {
        let loopback = Loopback::reserve().unwrap();
        let sim = cluster(&loopback);
        endpoints(&sim, &loopback, 2).await;
        let port = loopback.service().port();
        let pod = sim.look(|world, _| json::text(world.api.list("pods", "default").next().unwrap(), "/status/podIP").to_owned());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let tell = async |settings: &str| {
            let url = format!("http://{pod}:{}/set?{settings}", port.wrapping_add(1));
            client.post(url).send().await.unwrap().status().as_u16()
        };
        let get = async |path: &str| client.get(format!("http://{pod}:{port}{path}")).send().await.unwrap();
        assert_eq!((tell("health=500&ready=perhaps").await, get("/healthz").await.status().as_u16()), (400, 200));
        assert_eq!((tell("health=500").await, get("/healthz").await.status().as_u16()), (200, 500));
        assert_eq!(tell("health=endless").await, 200);
        let (mut body, mut read) = (get("/healthz").await, 0);
        while read < 1 << 20 {
            read += body.chunk().await.unwrap().unwrap().len();
        }
        assert_eq!(tell("ready=false").await, 200);
        endpoints(&sim, &loopback, 1).await;
    }

    #[tokio::test]
    async fn an_address_that_somebody_else_has_is_left_to_him_and_taken_when_it_is_free() {
        let loopback = Loopback::reserve().unwrap();
        let somebody = Guard::bind(loopback.service()).unwrap();
        let sim = cluster(&loopback);
        endpoints(&sim, &loopback, 2).await;
        drop(somebody);
        // The next readiness probe moves the cluster.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let report = requests(&loopback, 5).await;
        assert!(report.requests.iter().all(|request| request.outcome == Outcome::Status(200)), "{report}");
    }

    #[test]
    fn two_embedded_clusters_do_not_meet() {
        let (one, two) = (Loopback::reserve().unwrap(), Loopback::reserve().unwrap());
        assert_ne!(one.pod_network(), two.pod_network());
    }

    #[test]
    fn an_address_that_is_not_to_be_had_is_named_with_the_way_out() {
        let error = NoAddress { address: SocketAddr::from(([127, 77, 0, 3], 8080)), source: io::ErrorKind::AddrNotAvailable.into() };
        insta::assert_snapshot!(error.to_string(), @r#"
        cannot listen on 127.77.0.3:8080: address not available; every pod gets a loopback address of its own, which Linux allows to everybody and other systems do not: run this on Linux, or in a container
        "#);
    }
}
