//! Ports: those that a Service has, and those that containers declare.

use std::fmt;

use serde_json::Value;

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Empty where the Service has one port without a name.
    pub name: String,
    pub port: i32,
    pub protocol: String,
    pub target: TargetPort,
}

/// Where a port of a Service leads to in a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    Number(u16),
    /// A container port, by name.
    Name(String),
}

/// A port that a container declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerPort {
    pub name: String,
    pub protocol: String,
    pub number: u16,
}

/// `http (80)`, or `80`.
impl fmt::Display for ServicePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() { write!(f, "{}", self.port) } else { write!(f, "{} ({})", self.name, self.port) }
    }
}

impl fmt::Display for TargetPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// The number of a container port by its name and protocol: the first one, as Kubernetes looks it up.
pub fn named(ports: &[ContainerPort], name: &str, protocol: &str) -> Option<u16> {
    ports.iter().find(|port| port.name == name && port.protocol == protocol).map(|port| port.number)
}

impl ServicePort {
    /// The number at which it reaches pods with these ports.
    pub fn number(&self, ports: &[ContainerPort]) -> Option<u16> {
        match &self.target {
            TargetPort::Number(number) => Some(*number),
            TargetPort::Name(name) => named(ports, name, &self.protocol),
        }
    }
}

/// The ports of a pod template: those of its containers, then those of its sidecars (init containers that keep running).
pub fn ports_of(template: &Value) -> Vec<ContainerPort> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let spec = &template["spec"];
    let sidecars = list(&spec["initContainers"]).into_iter().filter(|container| container["restartPolicy"] == "Always");
    let ports = list(&spec["containers"]).into_iter().chain(sidecars).flat_map(|container| list(&container["ports"]));
    ports
        .filter_map(|port| {
            Some(ContainerPort {
                name: port["name"].as_str().unwrap_or_default().to_owned(),
                protocol: port["protocol"].as_str().unwrap_or("TCP").to_owned(),
                number: u16::try_from(port["containerPort"].as_i64()?).ok()?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_container_that_has_the_name_counts_and_sidecars_come_last() {
        let template = json!({"spec": {
            "initContainers": [
                {"name": "setup", "ports": [{"name": "once", "containerPort": 1}]},
                {"name": "mesh", "restartPolicy": "Always", "ports": [{"name": "http", "containerPort": 15001}, {"name": "mesh", "containerPort": 15002}]},
                {"name": "setup-2"},
            ],
            "containers": [
                {"name": "a", "ports": [{"name": "http", "containerPort": 8080}]},
                {"name": "b", "ports": [{"name": "http", "containerPort": 9090}]},
                {"name": "c"}, {"name": "d"}, {"name": "e"},
            ],
        }});
        let ports = ports_of(&template);
        for (name, number) in [("http", Some(8080)), ("mesh", Some(15002)), ("once", None)] {
            assert_eq!(named(&ports, name, "TCP"), number, "{name}");
        }
    }
}
