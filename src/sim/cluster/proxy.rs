//! Where a new connection to a Service goes: kube-proxy's table, behind the objects by the time a real one needs.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use super::{Context, Id, slice::SERVICE_NAME};
use crate::sim::{clock::after, json, seed::Seed};

/// The table of every Service.
#[derive(Debug, Default)]
pub struct Proxy {
    tables: BTreeMap<Id, Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// Service port and the endpoints behind it.
    ports: BTreeMap<u16, Vec<Endpoint>>,
    affinity: Option<Duration>,
    /// Where each client went last, and when.
    clients: BTreeMap<(String, u16), (Endpoint, Timestamp)>,
}

/// An address and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    pub address: String,
    pub port: u16,
}

impl Proxy {
    /// Takes over what the Service and its slices say now.
    pub(in crate::sim) fn sync(&mut self, context: &Context<'_>, id: &Id) {
        let Some(service) = context.api.get("services", &id.namespace, &id.name) else {
            self.tables.remove(id);
            return;
        };
        let slices: Vec<&Value> = context
            .api
            .list("endpointslices.discovery.k8s.io", &id.namespace)
            .map(|slice| &**slice)
            .filter(|slice| json::label(slice, SERVICE_NAME) == Some(&id.name))
            .collect();
        let table = self.tables.entry(id.clone()).or_default();
        table.ports = json::items(service, "/spec/ports")
            .iter()
            .map(|port| (number(port, "/port"), endpoints(&slices, json::text(port, "/name"))))
            .collect();
        table.affinity = (json::text(service, "/spec/sessionAffinity") == "ClientIP").then(|| {
            Duration::from_secs(u64::try_from(json::int(service, "/spec/sessionAffinityConfig/clientIP/timeoutSeconds")).unwrap_or(0))
        });
        let Table { ports, affinity, clients } = table;
        clients
            .retain(|(_, port), (endpoint, _)| affinity.is_some() && ports.get(port).is_some_and(|endpoints| endpoints.contains(endpoint)));
    }

    /// The endpoint of a new connection; nothing where the connection is refused.
    pub fn connect(&mut self, service: &Id, port: u16, client: &str, now: Timestamp, seed: &mut Seed) -> Option<Endpoint> {
        let table = self.tables.get_mut(service)?;
        let endpoints = table.ports.get(&port).filter(|endpoints| !endpoints.is_empty())?;
        let key = (client.to_owned(), port);
        let known = table.affinity.and_then(|timeout| table.clients.get(&key).filter(|(_, last)| now <= after(*last, timeout)));
        let chosen = match known {
            Some((endpoint, _)) => endpoint.clone(),
            None => endpoints[usize::try_from(seed.below(endpoints.len() as u64)).unwrap_or(0)].clone(),
        };
        if table.affinity.is_some() {
            table.clients.insert(key, (chosen.clone(), now));
        }
        Some(chosen)
    }

    /// The endpoints that new connections may get.
    pub fn endpoints(&self, service: &Id, port: u16) -> &[Endpoint] {
        self.tables.get(service).and_then(|table| table.ports.get(&port)).map(Vec::as_slice).unwrap_or_default()
    }
}

fn number(object: &Value, path: &str) -> u16 {
    u16::try_from(json::int(object, path)).unwrap_or(0)
}

/// Ready endpoints; where there is none, those that still serve while they terminate.
fn endpoints(slices: &[&Value], port: &str) -> Vec<Endpoint> {
    let of = |usable: fn(&Value) -> bool| -> Vec<Endpoint> {
        let mut found: Vec<Endpoint> = slices
            .iter()
            .filter_map(|slice| {
                let known = json::items(slice, "/ports").iter().find(|known| json::text(known, "/name") == port)?;
                Some((slice, number(known, "/port")))
            })
            .flat_map(|(slice, port)| {
                json::items(slice, "/endpoints").iter().filter(|endpoint| usable(endpoint)).map(move |endpoint| (endpoint, port))
            })
            .flat_map(|(endpoint, port)| {
                json::items(endpoint, "/addresses")
                    .iter()
                    .filter_map(Value::as_str)
                    .map(move |address| Endpoint { address: address.into(), port })
            })
            .collect();
        found.sort();
        found.dedup();
        found
    };
    let ready = of(|endpoint| json::flag(endpoint, "/conditions/ready"));
    if ready.is_empty() {
        of(|endpoint| json::flag(endpoint, "/conditions/serving") && json::flag(endpoint, "/conditions/terminating"))
    } else {
        ready
    }
}
