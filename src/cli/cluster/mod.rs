//! The cluster that a command speaks to: its flags, its objects, its errors in words.

pub mod args;
pub mod request;

use std::{
    error::Error as _,
    future::{Future, ready},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use futures::{Stream, StreamExt};
use http::{HeaderValue, header::USER_AGENT as USER_AGENT_HEADER};
use jiff::Timestamp;
use kube::{
    Api, Client, Config, ResourceExt,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
    core::DynamicObject,
    runtime::{
        WatchStreamExt,
        watcher::{self, watch_object},
    },
};
use serde::de::DeserializeOwned;

use self::args::ClusterArgs;
use crate::{
    act,
    api::Rollout,
    clock::Clock,
    observe::watch::WatchBackoff,
    show::caller::{Caller, Program},
};

/// The API server takes the part before the slash for the field manager of a user's writes; the controller's have another one.
const USER_AGENT: &str = concat!("stepgate-cli/", env!("CARGO_PKG_VERSION"));
/// How long one call may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where Rollouts are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In the namespace of the [`Cluster`].
    Namespace,
    Everywhere,
}

impl Scope {
    pub fn rollouts(self, cluster: &Cluster) -> Api<Rollout> {
        match self {
            Self::Namespace => cluster.rollouts(),
            Self::Everywhere => Api::all(cluster.client.clone()),
        }
    }

    /// What is said where there is none.
    pub fn no_rollouts(self, cluster: &Cluster) -> String {
        match self {
            Self::Namespace => format!("no Rollouts in namespace {}\n", cluster.namespace),
            Self::Everywhere => "no Rollouts in any namespace\n".to_owned(),
        }
    }
}

/// A cluster, and how the user got there.
#[derive(Clone)]
pub struct Cluster {
    pub client: Client,
    pub namespace: String,
    pub clock: Clock,
    pub caller: Caller,
}

impl Cluster {
    /// The cluster that the flags and the environment name: inside one its service account, outside a kubeconfig context.
    ///
    /// # Errors
    /// When none is named, or its credentials cannot be read.
    pub async fn connect(args: &ClusterArgs, program: Program) -> anyhow::Result<Self> {
        let client = client(args, USER_AGENT).await?;
        let namespace = args.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
        Ok(Self { client, namespace, clock: Clock::starting_at(Timestamp::now()), caller: args.caller(program) })
    }

    /// The Rollouts of the namespace.
    pub fn rollouts(&self) -> Api<Rollout> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The Deployments of the namespace, raw.
    pub fn deployments(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &act::deployments())
    }

    /// One Rollout.
    ///
    /// # Errors
    /// When there is none of that name, with those that there are; see also [`answered`].
    pub async fn rollout(&self, name: &str) -> anyhow::Result<Rollout> {
        match answered(self.rollouts().get_opt(name)).await? {
            Some(rollout) => Ok(rollout),
            None => Err(self.no_such_rollout(name).await),
        }
    }

    async fn no_such_rollout(&self, name: &str) -> anyhow::Error {
        let namespace = &self.namespace;
        match answered(self.rollouts().list(&ListParams::default())).await {
            Ok(list) if list.items.is_empty() => anyhow!("there is no Rollout {name} in namespace {namespace}, nor any other"),
            Ok(list) => {
                let names: Vec<String> = list.items.iter().map(ResourceExt::name_any).collect();
                anyhow!("there is no Rollout {name} in namespace {namespace}; there are {}", names.join(", "))
            }
            // Whoever may read one Rollout may not be allowed to list them; but where the kind is unknown, that is the answer.
            Err(error) if error.is::<UnknownKind>() => error,
            Err(_) => anyhow!("there is no Rollout {name} in namespace {namespace}"),
        }
    }
}

/// A client for the cluster that the flags and the environment name. It says who it is, so that audit logs and field managers name it.
///
/// # Errors
/// See [`Cluster::connect`].
pub async fn client(args: &ClusterArgs, user_agent: &'static str) -> anyhow::Result<Client> {
    let ClusterArgs { namespace: _, context, kubeconfig } = args;
    let mut config = config(context.as_ref(), kubeconfig.as_ref()).await?;
    config.headers.push((USER_AGENT_HEADER, HeaderValue::from_static(user_agent)));
    Client::try_from(config).context("the cluster's address or credentials cannot be used")
}

async fn config(context: Option<&String>, kubeconfig: Option<&PathBuf>) -> anyhow::Result<Config> {
    let options = KubeConfigOptions { context: context.cloned(), ..KubeConfigOptions::default() };
    match (kubeconfig, context) {
        (Some(path), _) => {
            let file = Kubeconfig::read_from(path).with_context(|| format!("--kubeconfig {} cannot be read", path.display()))?;
            let wanted = || format!("--kubeconfig {} leads to no cluster", path.display());
            Config::from_custom_kubeconfig(file, &options).await.with_context(wanted)
        }
        (None, Some(name)) => Config::from_kubeconfig(&options).await.with_context(|| format!("--context {name} leads to no cluster")),
        (None, None) => Config::infer().await.map_err(|error| {
            // Where there is no service account, what is wrong with the kubeconfig is what a person can mend.
            let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            anyhow!(cause).context("no cluster: neither a service account nor a kubeconfig (KUBECONFIG, ~/.kube/config) leads to one")
        }),
    }
}

/// The cluster has no Rollouts because it does not know the kind.
#[derive(Debug, thiserror::Error)]
#[error("this cluster does not know Rollouts")]
pub struct UnknownKind;

impl UnknownKind {
    /// The same, with what to do about it.
    pub fn told(&self, caller: &Caller) -> anyhow::Error {
        anyhow!("{self}; make them known with `{}`", caller.install())
    }
}

/// The answer to a call, or why there is none in words.
///
/// # Errors
/// [`UnknownKind`]; what the API server refused; or that it did not answer within 30 s.
pub async fn answered<T>(call: impl Future<Output = Result<T, kube::Error>>) -> anyhow::Result<T> {
    match tokio::time::timeout(TIMEOUT, call).await {
        Ok(answer) => answer.map_err(in_words),
        Err(_) => bail!("the API server did not answer within {} s", TIMEOUT.as_secs()),
    }
}

fn in_words(error: kube::Error) -> anyhow::Error {
    match error {
        // An object that is not there is answered with its name, a kind that is not there without.
        kube::Error::Api(status) if status.code == 404 && !status.message.contains('"') => UnknownKind.into(),
        kube::Error::Api(status) => anyhow!("the API server refused: {}", status.message),
        other => anyhow::Error::new(other).context("the API server cannot be reached"),
    }
}

/// An object and its changes, from a watch that goes on after interruptions; none while it does not exist.
pub fn follow<K>(api: Api<K>, name: &str) -> impl Stream<Item = anyhow::Result<Option<K>>> + Send + use<K>
where
    K: kube::Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    lasting(watch_object(api, name).backoff(WatchBackoff::default()))
}

/// A watch without the errors that it gets over by itself; one that it cannot get over comes in words.
pub fn lasting<T: Send>(events: impl Stream<Item = Result<T, watcher::Error>> + Send) -> impl Stream<Item = anyhow::Result<T>> + Send {
    events.filter_map(|event| {
        ready(match event {
            Ok(event) => Some(Ok(event)),
            Err(error) => refused(error).map(Err),
        })
    })
}

fn refused(error: watcher::Error) -> Option<anyhow::Error> {
    use watcher::Error::{InitialListFailed, NoResourceVersion, WatchError, WatchFailed, WatchStartFailed};
    let refusal = match error {
        WatchError(status) => kube::Error::Api(status),
        InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) => error,
        NoResourceVersion => return None,
    };
    let is_final = matches!(&refusal, kube::Error::Api(status) if matches!(status.code, 401 | 403 | 404));
    is_final.then(|| in_words(refusal))
}
