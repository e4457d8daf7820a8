//! Gates without a network: a probe is one request, or one connection, to a simulated pod.

use futures::future::BoxFuture;

use crate::{
    api::policy::{GrpcGate, HttpGate, Scheme},
    core::decision::watch::Target,
    probe::http::{Answer, Ask},
};

use super::{Sim, Visit, cluster::proxy::Endpoint};

impl Ask for Sim {
    fn ask<'a>(&'a self, gate: &'a HttpGate, target: &'a Target) -> BoxFuture<'a, Answer> {
        Box::pin(async move {
            let endpoint = Endpoint { address: target.ip.clone(), port: target.port };
            match (gate.scheme, self.look(|world, now| world.speaks_tls(now, &endpoint))) {
                // As a server answers whose port is of the other kind.
                (Scheme::Http, true) => return Answer::Status(400),
                (Scheme::Https, false) => return Answer::None("no TLS".into()),
                _ => {}
            }
            match self.look(|world, now| world.knock(now, &endpoint, &gate.path)) {
                Visit::Answered { code, after, .. } => {
                    tokio::time::sleep(after).await;
                    Answer::Status(code)
                }
                Visit::Hangs { .. } => std::future::pending().await,
                Visit::Refused { .. } | Visit::NoEndpoint => Answer::None("connection refused".into()),
            }
        })
    }

    /// The test application has the service `hello`, and is as healthy by gRPC as it is at `/healthz`.
    fn grpc<'a>(&'a self, gate: &'a GrpcGate, target: &'a Target) -> BoxFuture<'a, Answer> {
        Box::pin(async move {
            match self.health(target, "/healthz").await {
                Answer::None(reason) => Answer::None(reason),
                _ if !matches!(gate.service.as_str(), "" | "hello") => Answer::NotServing("gRPC status 5 (NOT_FOUND)".into()),
                answer => answer,
            }
        })
    }

    fn connect<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Answer> {
        let endpoint = Endpoint { address: target.ip.clone(), port: target.port };
        let takes = self.look(|world, now| world.takes_connections(now, &endpoint));
        Box::pin(async move { if takes { Answer::Connected } else { Answer::None("connection refused".into()) } })
    }
}

impl Sim {
    /// What a pod that answers there with a good status says by the health protocol of gRPC.
    pub async fn health(&self, target: &Target, path: &str) -> Answer {
        let endpoint = Endpoint { address: target.ip.clone(), port: target.port };
        match self.look(|world, now| world.knock(now, &endpoint, path)) {
            Visit::Answered { code, after, .. } => {
                tokio::time::sleep(after).await;
                if code < 400 { Answer::Serving } else { Answer::NotServing("NOT_SERVING".into()) }
            }
            Visit::Hangs { .. } => std::future::pending().await,
            Visit::Refused { .. } | Visit::NoEndpoint => Answer::None("connection refused".into()),
        }
    }
}
