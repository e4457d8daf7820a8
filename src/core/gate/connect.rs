//! Before the first client: a connection to each pod of the canary, at every TCP port to which a Service leads. Nobody has to ask for it.

use crate::{
    api::status::Phase,
    core::{
        decision::watch::{Check, Probe, Target},
        facts::{pod::PodFacts, port::ServicePort},
        view::{View, side::Side},
        why::Why,
    },
};

/// The protocol that a connection can be tried on.
const TCP: &str = "TCP";

/// A TCP port of a Service, where it reaches a pod.
struct Door<'a> {
    service: &'a str,
    port: &'a ServicePort,
    pod: &'a PodFacts,
    number: u16,
}

/// Every TCP port of every Service on every ready pod of a side, each number of a pod once.
fn doors<'a>(view: &View<'a>, side: &Side<'a>) -> Vec<Door<'a>> {
    let mut found: Vec<Door<'a>> = Vec::new();
    for pod in side.ready() {
        let first = found.len();
        for service in view.services() {
            for port in service.ports.iter().filter(|port| port.protocol == TCP) {
                let Some(number) = port.number(&pod.ports) else { continue };
                if found[first..].iter().all(|door| door.number != number) {
                    found.push(Door { service: &service.name, port, pod, number });
                }
            }
        }
    }
    found
}

/// The name under which what a connection has shown is kept; no gate has such a name.
fn key(number: u16) -> String {
    format!("port {number}")
}

/// The connections that are to be tried before the first client: to each TCP port of each Service, on every ready pod of the canary.
pub fn probes(view: &View<'_>, phase: Phase, canary: &Side<'_>) -> Vec<Probe> {
    if phase != Phase::Preparing {
        return Vec::new();
    }
    let live = view.live();
    let target = |pod: &PodFacts, number| Some(Target { uid: pod.uid.clone(), name: pod.name.clone(), ip: pod.ip.clone()?, port: number });
    let control = |port: &ServicePort| live.as_ref().and_then(|live| live.ready().find_map(|pod| target(pod, port.number(&pod.ports)?)));
    let probe = |door: &Door<'_>| {
        let pod = target(door.pod, door.number)?;
        Some(Probe { gate: key(door.number), check: Check::Connect, pod, control: control(door.port) })
    };
    doors(view, canary).iter().filter_map(probe).collect()
}

/// The first port at which a pod of the canary has not taken a connection. One that the live side does not take either says nothing of the
/// new version: the way there is closed to Stepgate, such as by a NetworkPolicy.
pub fn closed(view: &View<'_>, canary: &Side<'_>) -> Option<Why> {
    doors(view, canary).into_iter().filter(|door| door.pod.ip.is_some()).find_map(|door| {
        let seen = view.snapshot.probes.get(&(key(door.number), door.pod.uid.clone()));
        let is_open = seen.is_some_and(|seen| seen.successes > 0 || seen.unknown.is_some());
        (!is_open).then(|| Why::Connecting {
            service: door.service.to_owned(),
            port: door.port.to_string(),
            pod: door.pod.name.clone(),
            number: door.number,
            last: seen.map(|seen| seen.last.clone()),
            until: None,
        })
    })
}
