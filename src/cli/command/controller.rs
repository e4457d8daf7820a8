//! `stepgate controller`: runs the controller until it is told to end.

use std::net::SocketAddr;

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{net::TcpListener, sync::watch};

use crate::{
    cli::cluster::{self, args::ClusterArgs},
    clock::Clock,
    controller::run::{self, Options},
    lease::{
        election::{self, Election},
        leadership::Leadership,
    },
    serve::health::Health,
    vitals::Vitals,
};

/// The API server takes the part before the slash for the field manager of our writes.
const USER_AGENT: &str = concat!("stepgate/", env!("CARGO_PKG_VERSION"));

/// Namespaces that 1,024 open files suffice for.
const NAMESPACES_OF_1024: u32 = 140;

/// Where the kubelet asks, if nothing else is said.
const HEALTH: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 8080);

/// Run the controller.
#[derive(Args, Debug)]
pub struct ControllerArgs {
    /// Work on the Rollouts of this namespace only
    #[arg(long, value_name = "NAMESPACE")]
    watch_namespace: Option<String>,

    /// Name of this copy, in Events and in the lease
    #[arg(long, env = "POD_NAME", default_value = "stepgate")]
    instance: String,

    /// Act only while holding the lease, so that several copies may run; by default wherever a lease namespace is known
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    leader_elect: Option<bool>,

    /// Namespace of the lease `stepgate`
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE")]
    lease_namespace: Option<String>,

    /// Address for /healthz, /readyz and /metrics; empty: none [default: 0.0.0.0:8080]
    #[arg(long, value_name = "ADDRESS")]
    health_addr: Option<String>,
}

/// Runs the controller until SIGTERM or SIGINT.
///
/// # Errors
/// When the cluster cannot be found, its credentials cannot be read, or an address that was asked for cannot be listened on.
pub async fn run(args: ControllerArgs) -> anyhow::Result<()> {
    let ControllerArgs { watch_namespace, instance, leader_elect, lease_namespace, health_addr } = args;
    let lease_namespace = lease(leader_elect, lease_namespace)?;
    let health = listener(health_addr.as_deref()).await?;
    raise_file_limit();
    let client = cluster::client(&ClusterArgs::default(), USER_AGENT).await?;
    let told_to_end = crate::cli::signal::told_to_end()?;

    let clock = Clock::starting_at(Timestamp::now());
    let vitals = Vitals::default();
    let (leads, leadership) = watch::channel(if lease_namespace.is_some() { Leadership::Standby } else { Leadership::Alone });
    let lead = async {
        match lease_namespace {
            Some(namespace) => {
                let Vitals { metrics, process, pulse: _ } = vitals.clone();
                let election = Election::new(client.clone(), &namespace, election::identity(&instance), clock, metrics, process.listen());
                election.run(&leads, told_to_end).await;
            }
            None => told_to_end.await,
        }
    };
    let served = async {
        match health {
            Some(listener) => Health::new(vitals.clone(), leadership.clone()).serve(listener).await,
            None => std::future::pending().await,
        }
    };
    let options = Options { namespace: watch_namespace, instance: instance.clone() };
    tokio::select! {
        ended = run::run(client.clone(), options, clock, leadership.clone(), vitals.clone()) => ended,
        () = served => Ok(()),
        // By then the lease is given back.
        () = lead => Ok(()),
    }
}

/// A connection for each watch of each namespace, and one for each probe: many container runtimes start a process with room for 1,024 files
/// and let it take more.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!(%error, "the limit of open files stays at {:?}: about {NAMESPACES_OF_1024} namespaces for each 1,024", limit.current);
    }
}

/// The namespace of the lease, if one is to be held.
fn lease(leader_elect: Option<bool>, namespace: Option<String>) -> anyhow::Result<Option<String>> {
    match (leader_elect, namespace.filter(|namespace| !namespace.is_empty())) {
        (Some(false), _) => Ok(None),
        (_, Some(namespace)) => Ok(Some(namespace)),
        (Some(true), None) => anyhow::bail!("--leader-elect needs --lease-namespace (or POD_NAMESPACE)"),
        (None, None) => {
            tracing::info!("no lease namespace is known: acting as the only controller");
            Ok(None)
        }
    }
}

/// Nobody may be listening on the default address for a reason, such as a second controller on a developer's machine; inside a cluster
/// the kubelet will miss it.
async fn listener(address: Option<&str>) -> anyhow::Result<Option<TcpListener>> {
    match address {
        Some("") => Ok(None),
        Some(address) => {
            Ok(Some(TcpListener::bind(address).await.with_context(|| format!("--health-addr {address} cannot be listened on"))?))
        }
        None => match TcpListener::bind(HEALTH).await {
            Ok(listener) => Ok(Some(listener)),
            Err(error) => {
                tracing::warn!(%error, "{HEALTH} cannot be listened on: going on without /healthz, /readyz and /metrics");
                Ok(None)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_files_may_be_opened_as_the_process_may_ask_for() {
        let maximum = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: Some(512), maximum }).unwrap();
        raise_file_limit();
        assert_eq!(getrlimit(Resource::Nofile).current, maximum);
    }

    #[test]
    fn a_lease_is_held_wherever_its_namespace_is_known() {
        let there = || Some("there".to_owned());
        for (leader_elect, namespace, expected) in [
            (None, None, Some(None)),
            (None, there(), Some(there())),
            (Some(true), there(), Some(there())),
            (Some(true), None, None),
            (Some(true), Some(String::new()), None),
            (Some(false), there(), Some(None)),
        ] {
            assert_eq!(lease(leader_elect, namespace.clone()).ok(), expected, "{leader_elect:?} {namespace:?}");
        }
    }
}
