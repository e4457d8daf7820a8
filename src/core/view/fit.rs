//! Whether a Service reaches a version: its owner's part of the selector selects the version's pods, and each of its ports is a port of them.
//!
//! A port that names its target means whatever number each pod has under that name, so that two versions may differ in it. A port that
//! targets a number fits every pod: what a container declares is information, and only a connection tells whether it listens there.

use crate::core::{
    facts::{
        deployment::{DeploymentFacts, template_labels},
        labels::Labels,
        pod::PodFacts,
        port::{ContainerPort, ServicePort, ports_of},
        service::ServiceFacts,
    },
    view::View,
    why::refusal::{
        Refusal,
        service::{Lacking, Mismatch, Named},
    },
};

/// Why a Service does not reach pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// Keys of the selector that the pods do not have with that value, as `key=value`, and what they have instead.
    Selector { wanted: Vec<String>, found: Vec<String> },
    /// A port whose target no container of the pods names with that protocol, and the names that they have for it.
    Port { port: ServicePort, known: Vec<String> },
}

/// Everything that keeps a Service with this selector and these ports from pods with these labels and container ports.
pub fn misfits(selector: &Labels, ports: &[ServicePort], labels: &Labels, container_ports: &[ContainerPort]) -> Vec<Misfit> {
    let missing = ports.iter().filter(|port| port.number(container_ports).is_none()).map(|port| Misfit::Port {
        port: port.clone(),
        known: container_ports
            .iter()
            .filter(|known| known.protocol == port.protocol && !known.name.is_empty())
            .map(|known| known.name.clone())
            .collect(),
    });
    selector_misfit(selector, labels).into_iter().chain(missing).collect()
}

fn selector_misfit(selector: &Labels, labels: &Labels) -> Option<Misfit> {
    let wrong: Vec<_> = selector.iter().filter(|(key, value)| labels.get(*key) != Some(*value)).collect();
    let found = |key: &String| labels.get(key).map_or_else(|| format!("no label {key}"), |value| format!("{key}={value}"));
    (!wrong.is_empty()).then(|| Misfit::Selector {
        wanted: wrong.iter().map(|(key, value)| format!("{key}={value}")).collect(),
        found: wrong.iter().map(|(key, _)| found(key)).collect(),
    })
}

impl<'a> View<'a> {
    /// The Deployments of both sides, as far as they exist before a release: the user's, or the live version and the one that is to be.
    pub fn side_deployments(&self) -> Vec<&'a DeploymentFacts> {
        let wanted = self.wanted().filter(|wanted| wanted.uid != self.hello.uid);
        std::iter::once(self.hello).chain(wanted).collect()
    }
}

/// Why a Service does not reach the pods of a Deployment's template.
pub fn misses_template(view: &View<'_>, service: &ServiceFacts, named: Named, side: &DeploymentFacts) -> Option<Refusal> {
    let (owner, ports) = (view.keys().owners(&service.selector), ports_of(&side.template));
    let first = misfits(&owner, &service.ports, &template_labels(side), &ports).into_iter().next()?;
    Some(refused(service, named, &side.name, Lacking::Template, first))
}

fn refused(service: &ServiceFacts, named: Named, deployment: &str, lacking: Lacking, misfit: Misfit) -> Refusal {
    let (service, deployment) = (service.name.clone(), deployment.to_owned());
    match misfit {
        Misfit::Selector { wanted, found } => {
            Refusal::ServiceNotSelecting { service, named, deployment, mismatch: Mismatch { wanted, found } }
        }
        Misfit::Port { port, known } => Refusal::PortMissing { service, named, port, deployment, lacking, known },
    }
}

/// Before a move to a weight: a Service that does not reach both sides, each as its template or, of a live version that is in no template any
/// more, its pods are. At 100 % it is the new version's clients alone that are moved.
pub fn unreachable(view: &View<'_>, weight: u8) -> Option<Refusal> {
    let live = view.live().filter(|live| weight < 100 && live.replica_set.revision != view.hello.revision);
    view.services().into_iter().find_map(|service| {
        let templates = view.side_deployments().into_iter().filter(|side| weight < 100 || view.is_wanted(&side.revision));
        let owner = view.keys().owners(&service.selector);
        let of_live = || {
            // One pod alone may have been relabelled by its owner.
            let of = |pod: &PodFacts| misfits(&owner, &service.ports, &pod.labels, &pod.ports).into_iter().next();
            let found: Option<Vec<Misfit>> = live.as_ref()?.pods.iter().map(|pod| of(pod)).collect();
            let first = found?.into_iter().next()?;
            Some(refused(service, Named::Services, &view.hello.name, Lacking::LiveVersion, first))
        };
        templates.into_iter().find_map(|side| misses_template(view, service, Named::Services, side)).or_else(of_live)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::core::facts::port::TargetPort;

    fn ports(ports: &Value) -> Vec<ServicePort> {
        let port = |port: &Value| ServicePort {
            name: port["name"].as_str().unwrap_or_default().to_owned(),
            port: serde_json::from_value(port["port"].clone()).expect("a number"),
            protocol: port["protocol"].as_str().unwrap_or("TCP").to_owned(),
            target: match port.get("targetPort").unwrap_or(&port["port"]) {
                Value::String(name) => TargetPort::Name(name.clone()),
                number => TargetPort::Number(serde_json::from_value(number.clone()).expect("a number")),
            },
        };
        ports.as_array().expect("a list").iter().map(port).collect()
    }

    fn containers(containers: &Value) -> Vec<ContainerPort> {
        ports_of(&json!({"spec": {"containers": containers}}))
    }

    /// The ports that lead nowhere, as `name->target`.
    fn nowhere(service: &Value, template: &[ContainerPort]) -> Vec<String> {
        let found = misfits(&Labels::new(), &ports(service), &Labels::new(), template);
        found
            .into_iter()
            .map(|misfit| match misfit {
                Misfit::Port { port, known } => format!("{}->{} of {known:?}", port.name, port.target),
                Misfit::Selector { .. } => "selector".to_owned(),
            })
            .collect()
    }

    #[test]
    fn a_named_target_is_looked_up_by_name_and_protocol() {
        let one = |ports: Value| containers(&json!([{"ports": ports}]));
        let http = json!([{"port": 80, "targetPort": "http"}]);
        let fifteen = "a-port-name-of-1";
        for (service, template, expected) in [
            (http.clone(), one(json!([{"name": "http", "containerPort": 8080}])), vec![]),
            (http.clone(), one(json!([{"name": "http", "containerPort": 9090}])), vec![]),
            (http.clone(), one(json!([{"name": "web", "containerPort": 8080}])), vec![r#"->http of ["web"]"#]),
            (http.clone(), one(json!([{"containerPort": 8080}])), vec!["->http of []"]),
            (http.clone(), one(json!([])), vec!["->http of []"]),
            // Of another protocol it is another port.
            (http.clone(), one(json!([{"name": "http", "containerPort": 8080, "protocol": "UDP"}])), vec!["->http of []"]),
            (
                json!([{"name": "dns", "port": 53, "targetPort": "dns", "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "targetPort": "dns"}]),
                one(json!([{"name": "dns", "containerPort": 53, "protocol": "UDP"}])),
                vec!["dns-tcp->dns of []"],
            ),
            (
                json!([{"name": "sig", "port": 1, "targetPort": "sig", "protocol": "SCTP"}]),
                one(json!([{"name": "sig", "containerPort": 1, "protocol": "SCTP"}])),
                vec![],
            ),
            // A number fits whatever is declared, and without a target it is the port's own.
            (json!([{"port": 80, "targetPort": 8080}]), one(json!([{"containerPort": 9090}])), vec![]),
            (json!([{"port": 80}]), one(json!([])), vec![]),
            // Two ports of one number, names of fifteen letters, a port that both sides lack beside one that they have.
            (
                json!([{"name": "a", "port": 80, "targetPort": "http"}, {"name": "b", "port": 81, "targetPort": "http"}]),
                one(json!([{"name": "http", "containerPort": 8080}])),
                vec![],
            ),
            (json!([{"port": 80, "targetPort": &fifteen[..15]}]), one(json!([{"name": &fifteen[..15], "containerPort": 1}])), vec![]),
            (
                json!([{"name": "http", "port": 80, "targetPort": "http"}, {"name": "admin", "port": 81, "targetPort": "admin"}]),
                one(json!([{"name": "http", "containerPort": 8080}])),
                vec![r#"admin->admin of ["http"]"#],
            ),
            // A headless Service may have no port.
            (json!([]), one(json!([])), vec![]),
        ] {
            assert_eq!(nowhere(&service, &template), expected, "{service}");
        }
    }

    #[test]
    fn a_hundred_ports_are_all_looked_at() {
        let many: Value = (1..=100).map(|i| json!({"name": format!("p{i}"), "port": i, "targetPort": format!("p{i}")})).collect();
        let have = (1..100).map(|i| json!({"name": format!("p{i}"), "containerPort": i})).collect::<Vec<_>>();
        let found = misfits(&Labels::new(), &ports(&many), &Labels::new(), &containers(&json!([{"ports": have}])));
        let [Misfit::Port { port, .. }] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(port.name, "p100");
    }

    #[test]
    fn every_key_of_a_selector_is_compared() {
        let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Labels>();
        let twenty: Labels = (0..20).map(|i| (format!("key-{i:02}"), "x".to_owned())).collect();
        let mut nineteen = twenty.clone();
        nineteen.remove("key-07");
        for (selector, pods, wanted, found) in [
            (labels(&[("app", "hello"), ("version", "v2")]), labels(&[("app", "hello"), ("version", "v1")]), "version=v2", "version=v1"),
            (twenty.clone(), nineteen, "key-07=x", "no label key-07"),
        ] {
            let expected = Misfit::Selector { wanted: vec![wanted.to_owned()], found: vec![found.to_owned()] };
            assert_eq!(misfits(&selector, &[], &pods, &[]), [expected]);
        }
        assert_eq!(misfits(&twenty, &[], &twenty, &[]), []);
    }
}
