//! What the controller costs while nothing happens.

use std::{
    fmt::Debug,
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use futures::{TryStreamExt, future, stream};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Pod, Service},
};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use stepgate::api::{Rollout, status::Phase};
use tokio::{sync::watch, time};

use super::{
    audit::{Asked, Window},
    end, held_at, new_version, start,
};
use crate::{
    report::{
        Row,
        Sample::{self, Count, Megabytes, Percent, Time},
    },
    scenario::{Manifests, Plan, Scenario},
    world::{HELLO, Timeline},
};

/// How long nothing happens before it counts as rest: the last Events and records are written by then.
const CALM: Duration = Duration::from_secs(30);

/// Requests are counted for so long.
const MINUTE: Duration = Duration::from_secs(60);

/// Writes under way at once: enough to keep the API server busy, few enough to leave it answering.
const AT_ONCE: usize = 12;

/// Rollouts in a namespace. The API server evaluates the admission policies once for every Rollout in the namespace of the object that is
/// written: with 500 in one namespace it answered after seconds.
const IN_A_NAMESPACE: usize = 50;

/// How often each command is asked.
const COMMANDS: usize = 20;

/// How long the cluster's own controllers may take to make and count the pods.
const PATIENCE: Duration = Duration::from_secs(600);

/// Requests a minute with one Rollout at rest, and with one that a person has stopped.
pub async fn requests(plan: Plan) -> Vec<Row> {
    let mut s = start(held_at(plan, 50)).await;
    time::sleep(CALM).await;
    let healthy = in_a_minute(&s).await;
    new_version(&mut s, "v2", 1).await;
    s.wait_for_weight(50).await;
    s.pause().await;
    time::sleep(CALM).await;
    let paused = in_a_minute(&s).await;
    end(s).await;
    let watches = [&healthy, &paused].into_iter().flatten().map(|asked| Count(asked.watches())).collect();
    vec![
        Row {
            what: "requests in a minute with a Rollout that is `Healthy`",
            bar: "0",
            peer: "0 (A), 66 (F)",
            samples: but_watches(healthy),
        },
        Row { what: "requests in a minute with a Rollout paused at 50 %", bar: "0", peer: "0 (A), 66 (F)", samples: but_watches(paused) },
        Row { what: "watches begun again in each of these minutes", bar: "", peer: "", samples: watches },
    ]
}

async fn in_a_minute(s: &Scenario) -> Option<Asked> {
    let window = Window::open();
    time::sleep(MINUTE).await;
    window.asked(s).await
}

fn but_watches(asked: Option<Asked>) -> Vec<Sample> {
    asked.into_iter().map(|asked| Count(asked.writes() + asked.reads())).collect()
}

/// Memory, processor time, requests, and the answers of the command line with so many Rollouts at rest, of four pods each, 50 in a namespace.
///
/// A node has room for some dozens of these pods, so no scheduler is told of them, and what a kubelet would say of them is said here.
pub async fn memory(plan: Plan, rollouts: usize) -> Vec<Row> {
    let mut s = plan.deployment(&json!({"spec": {"template": {"spec": {"schedulerName": "nobody"}}}})).start_without_clients().await;
    // The witness would keep every version of every pod.
    s.timeline = watch::channel(Timeline::new()).1;
    if rollouts > IN_A_NAMESPACE {
        s.restart_for_all_namespaces();
    }
    let begun = Instant::now();
    let [mut memory, mut share, mut requests, mut list, mut status] = [const { Vec::new() }; 5];
    if populate(&s, rollouts).await {
        eprintln!("{rollouts} Rollouts at rest after {:.0?}", begun.elapsed());
        time::sleep(CALM).await;
        let before = processor_time(s.controller_pid());
        let asked = in_a_minute(&s).await;
        let busy = processor_time(s.controller_pid()).saturating_sub(before);
        share.push(Percent(100.0 * busy.as_secs_f64() / MINUTE.as_secs_f64()));
        memory.push(Megabytes(resident(s.controller_pid())));
        requests.extend(but_watches(asked));
        list.extend((0..COMMANDS).map(|_| command(&["list", "-A"])));
        status.extend((0..COMMANDS).map(|_| command(&["status", HELLO, "-n", &s.namespace])));
    }
    // With the controller still at work: its finalizers would keep the namespace.
    let namespaces: Vec<String> = (0..rollouts.div_ceil(IN_A_NAMESPACE)).map(|number| namespace(&s, number)).collect();
    let mut delete = vec!["delete", "namespace", "--ignore-not-found", "--timeout=10m"];
    delete.extend(namespaces.iter().map(String::as_str));
    s.kubectl(&delete, &Value::Null).await;
    let mut rows = rows(rollouts, memory, share, requests);
    if rollouts > IN_A_NAMESPACE {
        rows.push(Row { what: "`stepgate list -A` of 1,000 Rollouts, the whole process", bar: "1 s", peer: "-", samples: list });
        rows.push(Row { what: "`stepgate status` of one of them, the whole process", bar: "100 ms", peer: "-", samples: status });
    }
    rows
}

/// From the start of a command to its end.
fn command(args: &[&str]) -> Sample {
    let kubeconfig = std::env::var_os("STEPGATE_KUBECONFIG").expect("the cluster under test");
    let mut command = Command::new(env!("CARGO_BIN_EXE_stepgate"));
    command.args(args).env("KUBECONFIG", kubeconfig).stdin(Stdio::null()).stdout(Stdio::null());
    let at = Instant::now();
    let ended = command.status().expect("the built binary");
    let took = at.elapsed();
    assert!(ended.success(), "stepgate {args:?}: {ended}");
    Time(took)
}

/// Whether so many Rollouts are `Healthy` in time; if not, it says why. No panic: what was made so far must be taken away again.
async fn populate(s: &Scenario, rollouts: usize) -> bool {
    let all_healthy = time::timeout(PATIENCE, async {
        future::try_join(make(s, rollouts), let_run(s, 4 * rollouts)).await?;
        while healthy(s).await? < rollouts {
            time::sleep(Duration::from_secs(2)).await;
        }
        Ok::<(), kube::Error>(())
    });
    let why = match all_healthy.await {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("{:?} of them are Healthy after {PATIENCE:?}", healthy(s).await),
    };
    eprintln!("{rollouts} Rollouts are not measured: {why}");
    false
}

fn rows(rollouts: usize, memory: Vec<Sample>, share: Vec<Sample>, requests: Vec<Sample>) -> Vec<Row> {
    let [what, of_a_core, in_a_minute, bar] = if rollouts > 50 {
        [
            "memory with 1,000 Rollouts of 4 pods (VmRSS)",
            "processor time with 1,000 Rollouts at rest, of a core",
            "requests in a minute with 1,000 Rollouts at rest",
            "96 MB",
        ]
    } else {
        [
            "memory with 50 Rollouts of 4 pods (VmRSS)",
            "processor time with 50 Rollouts at rest, of a core",
            "requests in a minute with 50 Rollouts at rest",
            "40 MB",
        ]
    };
    let [memory_peer, share_peer, requests_peer] =
        if rollouts > 50 { ["-"; 3] } else { ["89 MB (A), 67 MB (F)", "0.08 % (A), 2.4 % (F)", "0 (A), 3,300 (F)"] };
    vec![
        Row { what, bar, peer: memory_peer, samples: memory },
        Row { what: of_a_core, bar: "0.5 %", peer: share_peer, samples: share },
        Row { what: in_a_minute, bar: "0", peer: requests_peer, samples: requests },
    ]
}

/// The first namespace is the scenario's, the others are named after it.
fn namespace(s: &Scenario, number: usize) -> String {
    if number == 0 { s.namespace.clone() } else { format!("{}-{number}", s.namespace) }
}

/// The same application again and again, each under a name of its own; the first is there.
///
/// The next one is made when one is at rest and knows whether the admission policies act, which the controller finds out by a dry run each,
/// two at a time; what is measured is rest, not the way there.
async fn make(s: &Scenario, rollouts: usize) -> kube::Result<()> {
    for number in 1..rollouts.div_ceil(IN_A_NAMESPACE) {
        let made = json!({"metadata": {"name": namespace(s, number), "labels": {"stepgate-e2e": "true"}}});
        create::<Namespace>(&Api::all(s.client.clone()), made).await?;
    }
    let made = stream::iter((1..rollouts).map(Ok)).try_for_each_concurrent(AT_ONCE, |number| async move {
        let namespace = namespace(s, number / IN_A_NAMESPACE);
        let name = format!("{HELLO}-{number}");
        let Manifests { deployment, service, rollout, .. } = named(s.manifests.clone(), &name);
        create::<Deployment>(&Api::namespaced(s.client.clone(), &namespace), deployment).await?;
        create::<Service>(&Api::namespaced(s.client.clone(), &namespace), service).await?;
        let rollouts = Api::namespaced(s.client.clone(), &namespace);
        create::<Rollout>(&rollouts, rollout).await?;
        at_rest(&rollouts, &name).await
    });
    made.await
}

fn named(mut manifests: Manifests, name: &str) -> Manifests {
    let labels = json!({"app": name});
    let Manifests { deployment, service, rollout, .. } = &mut manifests;
    deployment["metadata"] = json!({"name": name, "labels": labels});
    deployment["spec"]["selector"]["matchLabels"] = labels.clone();
    deployment["spec"]["template"]["metadata"]["labels"] = labels.clone();
    service["metadata"] = json!({"name": name, "labels": labels});
    service["spec"]["selector"] = labels;
    rollout["metadata"]["name"] = json!(name);
    rollout["spec"]["workload"]["deployment"] = json!(name);
    rollout["spec"]["services"] = json!([name]);
    manifests
}

async fn at_rest(rollouts: &Api<Rollout>, name: &str) -> kube::Result<()> {
    loop {
        let status = rollouts.get_status(name).await?.status.unwrap_or_default();
        if status.phase == Some(Phase::Healthy) && status.conditions.iter().any(|condition| condition.type_ == "Guarded") {
            return Ok(());
        }
        time::sleep(Duration::from_millis(250)).await;
    }
}

async fn create<K>(api: &Api<K>, object: Value) -> kube::Result<()>
where
    K: Clone + Debug + DeserializeOwned + Serialize,
{
    let object: K = serde_json::from_value(object).expect("a manifest of its kind");
    api.create(&PostParams::default(), &object).await?;
    Ok(())
}

/// Says of every pod, once it is there, that it runs and is ready.
async fn let_run(s: &Scenario, pods: usize) -> kube::Result<()> {
    let mut running = 0;
    while running < pods {
        let waiting = Api::<Pod>::all(s.client.clone()).list_metadata(&ListParams::default().fields("status.phase=Pending")).await?;
        let names: Vec<_> = waiting.items.into_iter().filter_map(|pod| own(s, pod.metadata.namespace).zip(pod.metadata.name)).collect();
        let numbered = (running..).zip(&names).map(Ok);
        let patched = stream::iter(numbered).try_for_each_concurrent(AT_ONCE, |(number, (namespace, name))| async move {
            let api: Api<Pod> = Api::namespaced(s.client.clone(), namespace);
            api.patch_status(name, &PatchParams::default(), &Patch::Merge(running_pod(number))).await?;
            Ok::<(), kube::Error>(())
        });
        patched.await?;
        running += names.len();
        time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

/// The namespace, if it is the scenario's or named after it.
fn own(s: &Scenario, namespace: Option<String>) -> Option<String> {
    namespace.filter(|namespace| namespace.starts_with(&s.namespace))
}

/// The status of a pod with an address that leads nowhere.
fn running_pod(number: usize) -> Value {
    let address = format!("10.200.{}.{}", number / 250, number % 250 + 1);
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"]
        .map(|condition| json!({"type": condition, "status": "True", "lastTransitionTime": now}));
    let image = "stepgate.test/hello:v1";
    json!({"status": {
        "phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "startTime": now, "conditions": conditions,
        "containerStatuses": [{
            "name": HELLO, "image": image, "imageID": image, "containerID": format!("containerd://{number:064x}"), "ready": true,
            "started": true, "restartCount": 0, "state": {"running": {"startedAt": now}},
        }],
    }})
}

async fn healthy(s: &Scenario) -> kube::Result<usize> {
    let all = Api::<Rollout>::all(s.client.clone()).list(&ListParams::default()).await?.items;
    let healthy = |rollout: &Rollout| rollout.status.as_ref().and_then(|status| status.phase) == Some(Phase::Healthy);
    Ok(all.into_iter().filter(|rollout| healthy(rollout) && own(s, rollout.metadata.namespace.clone()).is_some()).count())
}

/// Resident memory of a process in megabytes of a million bytes.
fn resident(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the controller's status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kibibytes * 1024.0 / 1_000_000.0
}

/// Processor time that a process has used, in user and kernel mode.
fn processor_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the controller's times");
    // The name before it may have spaces. Ticks are hundredths of a second on every Linux that Kubernetes runs on.
    let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
    let ticks: u64 = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(10 * ticks)
}
