//! The embedded API server over HTTP on a loopback address, for `kubectl` and everything else that reads a kubeconfig.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{Line, Sim};

/// Who asks, unless a request says that it is for somebody else, or brings somebody's token.
pub const ADMIN: &str = "kubernetes-admin";
/// How long to leave the listener alone when it takes no connection, for want of file descriptors most likely.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// A port of this machine on which an embedded cluster is served.
///
/// It is open to every process of the machine, without TLS and without asking who it is, which is why it is bound to 127.0.0.1: what is
/// behind it runs nothing and ends with this process.
#[derive(Debug)]
pub struct Http {
    listener: TcpListener,
    address: SocketAddr,
}

impl Http {
    /// Takes a port; 0 is any that is free.
    ///
    /// # Errors
    /// Where the port is taken.
    pub async fn bind(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// A kubeconfig for it.
    pub fn kubeconfig(&self) -> String {
        let Self { address, .. } = self;
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: stepgate-demo\nclusters:\n- name: stepgate-demo\n  cluster: {{server: \"http://{address}\"}}\n\
             contexts:\n- name: stepgate-demo\n  context: {{cluster: stepgate-demo, user: {ADMIN}, namespace: default}}\nusers:\n- name: {ADMIN}\n  user: {{}}\n"
        )
    }

    /// Serves, for ever. Connections end with this future.
    pub async fn run(self, sim: Sim) -> Infallible {
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            match self.listener.accept().await {
                Ok((stream, _)) => drop(connections.spawn(connection(sim.clone(), stream))),
                Err(error) => {
                    tracing::warn!(%error, "a connection was not taken");
                    tokio::time::sleep(EXHAUSTED).await;
                }
            }
        }
    }
}

async fn connection(sim: Sim, stream: TcpStream) {
    // A line without faults, and one for each request: a line remembers what went over it.
    let service = service_fn(|request: Request<Incoming>| sim.serve(request, ADMIN, Line::new(0)));
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new());
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection to the API server broke");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::sim::{Setup, server::request::Request as Ask};

    const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

    /// What is sent up to and with this mark.
    async fn until(stream: &mut TcpStream, mark: &str) -> String {
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).ends_with(mark) {
            seen.push(tokio::time::timeout(Duration::from_secs(10), stream.read_u8()).await.unwrap().unwrap());
        }
        String::from_utf8(seen).unwrap()
    }

    #[tokio::test]
    async fn a_watch_tells_of_a_change_when_it_happens_and_only_on_this_machine() {
        let sim = Sim::new(&Setup::default());
        let http = Http::bind(0).await.unwrap();
        let address = http.address;
        assert!(address.ip().is_loopback());
        tokio::spawn(http.run(sim.clone()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let version = sim.look(|world, _| world.api.version());
        let get = format!("GET {CONFIG_MAPS}?watch=true&resourceVersion={version} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        stream.write_all(get.as_bytes()).await.unwrap();
        let head = until(&mut stream, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("application/json") && head.contains("chunked"), "{head}");
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "told"}});
        let post = Ask::new("POST", CONFIG_MAPS, "alice").with_body("application/json", &object);
        sim.with(|world, now| world.handle(now, &post));
        let chunk = until(&mut stream, "\n\r\n").await;
        assert!(chunk.contains(r#""type":"ADDED""#) && chunk.contains(r#""name":"told""#), "{chunk}");
    }
}
