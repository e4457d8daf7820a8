//! An empty embedded cluster, served to whoever has its kubeconfig: what the scenarios of `tests/e2e` run on when they do not run on a
//! real one.
//!
//! ```text
//! cargo run --example embedded -- --kubeconfig FILE
//! STEPGATE_KUBECONFIG=FILE cargo test --test e2e
//! ```
//!
//! Pods and Services are reachable from this machine, at the ports that their manifests name: below 1024 that takes root, or the sysctl
//! `net.ipv4.ip_unprivileged_port_start`.

#![allow(clippy::disallowed_methods, reason = "a cluster has a clock and tasks")]

use std::{fs, net::TcpListener, path::PathBuf};

use anyhow::Context;
use clap::Parser;
use jiff::Timestamp;
use stepgate::sim::{Http, Loopback, Setup, Sim, Sockets, server::Ownership};

/// Of the Service of `examples/hello`, of its pods, and of their control.
const PORTS: [u16; 3] = [80, 8080, 8081];
/// Some minutes of a busy cluster, as in etcd. More would be gigabytes in the end.
const KEPT_CHANGES: usize = 20_000;

/// Serve an empty embedded cluster, until interrupted.
#[derive(Parser, Debug)]
struct Args {
    /// Where its kubeconfig is written to, once it is there
    #[arg(long, value_name = "FILE")]
    kubeconfig: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { kubeconfig } = Args::parse();
    tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(std::io::stderr).init();
    let loopback = Loopback::reserve()?;
    for port in PORTS {
        let address = loopback.service().ip();
        TcpListener::bind((address, port)).with_context(|| format!("the cluster needs port {port} of its addresses, such as {address}"))?;
    }
    let sim = Sim::new(&Setup {
        start: Timestamp::now(),
        pod_network: loopback.pod_network(),
        service_network: loopback.service_network(),
        ownership: Ownership::SinceCreation,
        kept_changes: KEPT_CHANGES,
        ..Setup::default()
    });
    let http = Http::bind(0).await.context("cannot take a port of 127.0.0.1")?;
    let text = http.kubeconfig();
    let mut moved = tokio::spawn(Sockets::run(sim.clone()));
    let mut served = tokio::spawn(http.run(sim));
    fs::write(&kubeconfig, text).with_context(|| format!("cannot write to {}", kubeconfig.display()))?;
    // Neither ends but by a panic.
    let ended = tokio::select! {
        ended = &mut moved => ended,
        ended = &mut served => ended,
    };
    match ended? {}
}
