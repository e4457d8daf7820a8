//! `stepgate undo`: goes back to a revision that was live before.

pub mod goal;

use anyhow::{anyhow, bail};
use clap::Args;
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use crate::{
    act,
    api::{
        HELD, HELD_BY_STEPGATE, POD_TEMPLATE_HASH, Rollout,
        rollout::{Request, RequestAction},
    },
    cli::{
        cluster::{
            Cluster, answered,
            request::{ATTEMPTS, RequestArgs, ask, unless_changed, write},
        },
        paper::{exit::Exit, output::Output},
    },
    observe,
};

use goal::{Found, Goal, Known, Refusal, Write, goal, has_ended};

/// What `stepgate undo` takes.
#[derive(Args, Clone, Debug)]
#[command(
    after_long_help = "While a release is under way, or the previous version is still kept warm, the release is taken back: one write on each \
    Service. Later the template of the older revision is written to the Deployment with your rights, and released; the revision that is \
    abandoned is held, so that it does not come back until a Retry, or until a version has been promoted that no undo led to. Of versions of \
    your own (workload.versions) live is set back, if the pods of the previous one are still there.\n\n\
    Exit codes: 0 done, 1 refused (or an error), 2 usage, 3 no controller has answered in time."
)]
pub struct UndoArgs {
    /// Go back to this revision [default: the one that was live before]
    #[arg(long, value_name = "REVISION")]
    to: Option<String>,

    #[command(flatten)]
    pub request: RequestArgs,
}

/// Takes the release back, or writes what releases the older revision.
///
/// # Errors
/// When there is nothing to undo or nothing to go back to ([`Refusal`]), when the controller refuses, or when the user may not write.
pub async fn run(args: &UndoArgs, cluster: &Cluster, out: &mut Output<'_>) -> anyhow::Result<Exit> {
    let UndoArgs { to, request } = args;
    let RequestArgs { name, revision, reason, timeout: _, cluster: _ } = request;
    let rollout = cluster.rollout(name).await?;
    // Clients are taken back also where the versions cannot be read.
    let (known, unread) = match versions(cluster, &rollout).await {
        Ok(known) => (known, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let decide = |rollout: &Rollout| goal(rollout, &known, to.as_deref(), revision.as_deref());
    let before = match (decide(&rollout), unread) {
        (Err(Refusal::NoTemplate { .. } | Refusal::NoVersion { .. } | Refusal::NothingBefore { .. }), Some(unread)) => return Err(unread),
        (decided, _) => decided?,
    };
    let seen = match before.write {
        // Whoever may not write it is told before anything is written.
        Write::Template(_, template) => Some(write_template(cluster, &rollout, template, Run::Dry).await?),
        Write::Nothing | Write::Live(_) => None,
    };
    let (written, asked) = ask(request, cluster, out, |rollout, id| {
        let goal = decide(rollout)?;
        let request = Request {
            id,
            action: RequestAction::Undo,
            revision: goal.abandoned.clone(),
            to: Some(goal.to.clone()),
            reason: reason.clone(),
            by: String::new(),
        };
        Ok((request, goal))
    })
    .await?;
    let later;
    let Goal { abandoned: _, to, write } = match (asked, written) {
        (Goal { abandoned, to, write: Write::Nothing }, Exit::Done) => {
            let now = cluster.rollout(name).await?;
            if has_ended(&now, &abandoned) {
                // It ended as this was asked for, so clients are on what is abandoned: the way back is a release of its own.
                later = versions(cluster, &now).await?;
                goal(&now, &later, Some(&to), Some(&abandoned))?
            } else {
                Goal { abandoned, to, write: Write::Nothing }
            }
        }
        (asked, _) => asked,
    };
    let follow = cluster.caller.command(&format!("wait {name} --for succeeded"));
    match (write, written) {
        (Write::Nothing, _) => {}
        (Write::Template(..) | Write::Live(_), Exit::TimedOut | Exit::Otherwise) => {
            out.print(&format!("{name}: nothing is written yet that releases revision {to}; run this again once a controller answers\n"))?;
        }
        (Write::Live(live), Exit::Done) => {
            set_live(cluster, &rollout, live).await?;
            out.print(&format!("{name}: workload.live is {live}; follow it with `{follow}`\n"))?;
        }
        (Write::Template(version, template), Exit::Done) => {
            let seen = match seen {
                Some(seen) => seen,
                None => write_template(cluster, &rollout, template, Run::Dry).await?,
            };
            write_template(cluster, &rollout, template, Run::Over(&seen)).await?;
            let (images, deployment) = (version.images.join(","), rollout.spec.workload.name());
            out.print(&format!(
                "{name}: the template of revision {to} ({images}) is written to Deployment {deployment}; follow it with `{follow}`\n"
            ))?;
        }
    }
    Ok(written)
}

/// The versions that there are: those in the Deployment's history, or the Deployments of a declared pair.
async fn versions(cluster: &Cluster, rollout: &Rollout) -> anyhow::Result<Vec<Known>> {
    let Some(name) = &rollout.spec.workload.deployment else { return declared(cluster, rollout).await };
    let api: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &act::replica_sets());
    let (deployment, all) = (deployment(cluster, name).await?, answered(api.list(&ListParams::default())).await?);
    let owner = deployment.uid();
    let sets = all.items.iter().map(|object| (observe::replica_set(object), object));
    let mut own: Vec<_> = sets.filter(|(set, _)| set.owner == owner && !set.deleting).collect();
    own.sort_by_key(|(set, _)| (set.created_at, set.name.clone()));
    let known =
        own.into_iter().map(|(set, object)| Known { revision: set.revision, images: set.images, found: Found::Template(template(object)) });
    Ok(known.collect())
}

/// A ReplicaSet's template, as the Deployment had it.
fn template(replica_set: &DynamicObject) -> Value {
    let mut template = replica_set.data["spec"]["template"].clone();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(POD_TEMPLATE_HASH);
    }
    template
}

async fn declared(cluster: &Cluster, rollout: &Rollout) -> anyhow::Result<Vec<Known>> {
    let mut known = Vec::new();
    for name in &rollout.spec.workload.versions {
        let Some(object) = answered(cluster.deployments().get_opt(name)).await? else { continue };
        let facts = observe::deployment(&object);
        let images = facts.images();
        known.push(Known { revision: facts.revision, images, found: Found::Version { name: name.clone(), ready: facts.status.ready } });
    }
    Ok(known)
}

async fn deployment(cluster: &Cluster, name: &str) -> anyhow::Result<DynamicObject> {
    let found = answered(cluster.deployments().get_opt(name)).await?;
    found.ok_or_else(|| anyhow!("there is no Deployment {name} in namespace {}", cluster.namespace))
}

/// Sets `workload.live`, unless somebody has set it meanwhile.
async fn set_live(cluster: &Cluster, seen: &Rollout, live: &str) -> anyhow::Result<()> {
    let name = seen.name_any();
    write(cluster, &name, "workload/live", |rollout| {
        let found = rollout.spec.workload.name();
        if found != seen.spec.workload.name() {
            bail!("workload.live of Rollout {name} is {found} meanwhile, which is left as it is; look at it, then run this again");
        }
        Ok(((), Some(json!(live))))
    })
    .await
    .map(drop)
}

/// Whether a write is to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run<'a> {
    /// No: it only shows whether it could be made.
    Dry,
    /// Yes, over the template of this revision and no other.
    Over(&'a str),
}

/// Writes a template to the Rollout's Deployment, and pauses it in the same write, as the admission policy would: the release begins before
/// the Deployment can roll by itself, and as a pause of Stepgate's: what its owner has paused stays so. Returns the revision of the template that it has had.
async fn write_template(cluster: &Cluster, rollout: &Rollout, template: &Value, run: Run<'_>) -> anyhow::Result<String> {
    let name = rollout.spec.workload.name();
    let params = PatchParams { dry_run: run == Run::Dry, ..PatchParams::default() };
    for _ in 0..ATTEMPTS {
        let deployment = deployment(cluster, name).await?;
        let facts = observe::deployment(&deployment);
        let found = facts.revision;
        if let Run::Over(seen) = run
            && seen != found
        {
            bail!(
                "Deployment {name} has got another template meanwhile (revision {found}), which is left as it is; look at it, then run this again"
            );
        }
        let mut labels = facts.labels;
        if !facts.paused {
            labels.insert(HELD.into(), HELD_BY_STEPGATE.into());
        }
        let patch: Patch<DynamicObject> = Patch::Json(serde_json::from_value(json!([
            {"op": "replace", "path": "/metadata/resourceVersion", "value": deployment.resource_version()},
            {"op": "replace", "path": "/spec/template", "value": template},
            {"op": "add", "path": "/spec/paused", "value": true},
            {"op": "add", "path": "/metadata/labels", "value": labels},
        ]))?);
        if unless_changed(cluster.deployments().patch(name, &params, &patch)).await?.is_some() {
            return Ok(found);
        }
    }
    bail!("Deployment {name} changed {ATTEMPTS} times between reading and writing it; its template was not written, so run this again")
}
