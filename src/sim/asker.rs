//! Gates without a network: a probe is one request, or one connection, to a simulated pod.

use futures::future::BoxFuture;

use crate::{
    api::policy::HttpGate,
    core::decision::watch::Target,
    probe::http::{Answer, Ask},
};

use super::{Sim, Visit, cluster::proxy::Endpoint};

impl Ask for Sim {
    fn ask<'a>(&'a self, gate: &'a HttpGate, target: &'a Target) -> BoxFuture<'a, Answer> {
        Box::pin(async move {
            let endpoint = Endpoint { address: target.ip.clone(), port: target.port };
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

    fn connect<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Answer> {
        let endpoint = Endpoint { address: target.ip.clone(), port: target.port };
        let takes = self.look(|world, now| world.takes_connections(now, &endpoint));
        Box::pin(async move { if takes { Answer::Connected } else { Answer::None("connection refused".into()) } })
    }
}
