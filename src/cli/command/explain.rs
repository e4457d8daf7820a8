//! `stepgate explain`: why a Rollout is where it is, as a chain of facts.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use clap::Args;
use k8s_openapi::api::{
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
    events::v1::Event,
};
use kube::{Api, ResourceExt, api::ListParams};

use crate::{
    act,
    api::{ClusterRolloutPolicy, PolicySpec, Rollout, RolloutPolicy, rollout::PolicyKind},
    cli::{
        cluster::{Cluster, answered, args::ClusterArgs},
        paper::{
            exit::Exit,
            ink::{BAD, FAINT, GOOD, STRONG, paint},
            output::Output,
        },
    },
    core::facts::Snapshot,
    observe,
    show::{
        facts::{Fact, Sign, fact, facts, told},
        text::wrap,
    },
};

/// Events that are shown.
const EVENTS: usize = 6;
/// Where the facts begin.
const MARGIN: &str = "               ";

/// What `stepgate explain` takes.
#[derive(Args, Clone, Debug)]
pub struct ExplainArgs {
    /// Rollout
    #[arg(value_name = "NAME")]
    name: String,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

fn mark(sign: Sign) -> String {
    match sign {
        Sign::Good => paint(GOOD, "+"),
        Sign::Bad => paint(BAD, "!"),
        Sign::Neutral => paint(FAINT, "."),
    }
}

/// Explains.
///
/// # Errors
/// When there is no such Rollout, or the cluster does not let it, or what it names, be read.
pub async fn run(args: &ExplainArgs, cluster: &Cluster, out: &mut Output<'_>) -> anyhow::Result<Exit> {
    let ExplainArgs { name, cluster: _ } = args;
    let rollout = cluster.rollout(name).await?;
    let snapshot = Box::pin(observe(&rollout, cluster)).await?;
    let events = events(&rollout, cluster).await;
    let now = cluster.clock.now();
    let mut facts = facts(&rollout, &snapshot, now);
    // Whoever may see the rest may not be allowed to see Events.
    facts.extend(match &events {
        Ok(events) => told(events, now),
        Err(error) => vec![fact("event", Sign::Neutral, format!("none can be read: {error:#}"))],
    });
    out.print(&render(&rollout, &facts, out.reader.columns()))?;
    Ok(Exit::Done)
}

/// What the controller would decide on, read now. What its probes have seen is in the status only.
async fn observe(rollout: &Rollout, cluster: &Cluster) -> anyhow::Result<Snapshot> {
    let (client, namespace, all) = (&cluster.client, cluster.namespace.as_str(), ListParams::default());
    let replica_sets = Api::namespaced_with(client.clone(), namespace, &act::replica_sets());
    let (deployments, services, slices, pods) = (
        cluster.deployments(),
        Api::<Service>::namespaced(client.clone(), namespace),
        Api::<EndpointSlice>::namespaced(client.clone(), namespace),
        Api::<Pod>::namespaced(client.clone(), namespace),
    );
    let rollouts = cluster.rollouts();
    let (deployments, replica_sets, pods, services, slices, rollouts, policy) = futures::try_join!(
        answered(deployments.list(&all)),
        answered(replica_sets.list(&all)),
        answered(pods.list(&all)),
        answered(services.list(&all)),
        answered(slices.list(&all)),
        answered(rollouts.list(&all)),
        policy(rollout, cluster),
    )?;
    let seen = observe::rollout(rollout);
    let slices: Vec<_> = slices.iter().map(observe::slice).collect();
    let now = cluster.clock.now();
    let others = rollouts.iter().map(observe::rollout).filter(|other| other.uid != seen.uid && !other.facts.deleting);
    Ok(Snapshot {
        status: rollout.status.clone().unwrap_or_default(),
        rollout: seen.facts,
        on_record: rollout.status.clone(),
        policy: policy.map(Arc::new),
        deployments: deployments.iter().map(|object| Arc::new(observe::deployment(object))).collect(),
        replica_sets: replica_sets.iter().map(|object| Arc::new(observe::replica_set(object))).collect(),
        pods: pods.iter().map(|pod| Arc::new(observe::pod(pod, None, now))).collect(),
        services: services.iter().map(|service| Arc::new(observe::service_facts(&observe::service(service), slices.iter()))).collect(),
        rivals: others.map(|other| other.rival()).collect(),
        probes: BTreeMap::new(),
        guarded: None,
        stamped: None,
        pods_read_at: Some(now),
    }
    .resolved())
}

async fn policy(rollout: &Rollout, cluster: &Cluster) -> anyhow::Result<Option<PolicySpec>> {
    let client = cluster.client.clone();
    match (&rollout.spec.policy, &rollout.spec.policy_ref) {
        (Some(policy), _) => Ok(Some(policy.clone())),
        (None, None) => Ok(None),
        (None, Some(reference)) => match reference.kind {
            PolicyKind::RolloutPolicy => {
                let api: Api<RolloutPolicy> = Api::namespaced(client, &cluster.namespace);
                Ok(answered(api.get_opt(&reference.name)).await?.map(|policy| policy.spec.0))
            }
            PolicyKind::ClusterRolloutPolicy => {
                let api: Api<ClusterRolloutPolicy> = Api::all(client);
                Ok(answered(api.get_opt(&reference.name)).await?.map(|policy| policy.spec.0))
            }
        },
    }
}

/// The last Events of a Rollout, the newest first.
async fn events(rollout: &Rollout, cluster: &Cluster) -> anyhow::Result<Vec<Event>> {
    let api: Api<Event> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let of_this = ListParams::default().fields(&format!("regarding.kind=Rollout,regarding.name={}", rollout.name_any()));
    let mut events = answered(api.list(&of_this)).await?.items;
    events.sort_by_key(|event| Reverse(event.event_time.as_ref().map(|time| time.0)));
    events.truncate(EVENTS);
    Ok(events)
}

/// The facts, a paragraph each, what they are about on the left.
pub fn render(rollout: &Rollout, facts: &[Fact], columns: usize) -> String {
    let heading = format!("{}/{}", rollout.namespace().unwrap_or_default(), rollout.name_any());
    let mut lines = vec![paint(STRONG, &heading)];
    let mut before = "";
    for Fact { about, sign, text: said } in facts {
        let label = if *about == before { "" } else { about };
        let mark = mark(*sign);
        lines.push(format!("  {label:<11}{mark} {}", wrap(said, columns, MARGIN)));
        before = about;
    }
    lines.join("\n") + "\n"
}
