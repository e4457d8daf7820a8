//! `stepgate install`: everything the cluster needs, as YAML for one `kubectl apply -f -`. Nothing is sent from here.

use std::{
    fmt::{self, Write as _},
    str::FromStr,
};

use super::crds;

const NAMESPACE: &str = include_str!("install/namespace.yaml");
const RBAC: &str = include_str!("install/rbac.yaml");
const CONTROLLER: &str = include_str!("install/controller.yaml");

/// The namespace that the embedded files are written for.
const WRITTEN_FOR: &str = "stepgate-system";
/// An image as `docker build -t` would name it; where it is pulled from is for whoever installs to say.
const DEFAULT_IMAGE: &str = concat!("stepgate:", env!("CARGO_PKG_VERSION"));

/// An admission policy, and the Kubernetes release that first understood it.
struct AdmissionPolicy {
    name: &'static str,
    since: KubeVersion,
    text: &'static str,
}

macro_rules! admission_policy {
    ($name:literal, $minor:literal) => {
        AdmissionPolicy {
            name: $name,
            since: KubeVersion($minor),
            text: include_str!(concat!("../../../policies/admission/", $name, ".yaml")),
        }
    };
}

const ADMISSION: [AdmissionPolicy; 7] = [
    admission_policy!("pause", 36),
    admission_policy!("pin", 36),
    admission_policy!("floor", 36),
    admission_policy!("held", 30),
    admission_policy!("handover", 30),
    admission_policy!("who", 36),
    admission_policy!("right", 30),
];

/// What `stepgate install` takes.
#[derive(clap::Args, Clone, Debug)]
pub struct InstallArgs {
    /// Namespace of the controller
    #[arg(long, value_name = "NAME", default_value = WRITTEN_FOR)]
    pub namespace: NamespaceName,

    /// Image of the controller
    #[arg(long, env = "STEPGATE_IMAGE", default_value = DEFAULT_IMAGE)]
    pub image: ImageName,

    /// Controllers to run: one acts, the others stand by
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=5))]
    pub replicas: u8,

    /// Kubernetes release of the cluster; admission policies that it does not understand are left out
    #[arg(long, value_name = "1.MINOR", default_value = "1.36")]
    pub kube_version: KubeVersion,

    /// Leave the namespace out, because it is there already
    #[arg(long)]
    pub without_namespace: bool,

    /// Leave the controller's Deployment out, because it runs elsewhere; its account and rights stay in
    #[arg(long)]
    pub without_controller: bool,

    /// Leave the admission policies out
    #[arg(long)]
    pub without_policies: bool,
}

/// All objects as one YAML stream, in an order that works in one `kubectl apply`, again and again.
///
/// # Errors
/// When a definition cannot be written as YAML, which would be a bug of ours.
pub fn render(args: &InstallArgs) -> anyhow::Result<String> {
    let InstallArgs { namespace, image, replicas, kube_version, without_namespace, without_controller, without_policies } = args;
    let (policies, left_out): (Vec<_>, Vec<_>) =
        ADMISSION.iter().filter(|_| !without_policies).partition(|policy| policy.since <= *kube_version);

    let mut parts = vec![header(*kube_version, &left_out)?];
    if !without_namespace {
        parts.push(NAMESPACE.to_owned());
    }
    // Long before the policies: one whose parameters' kind is missing when it is first looked at works only seconds after that kind comes.
    parts.push(crds::stream()?);
    parts.push(RBAC.to_owned());
    if !without_controller {
        parts.push(with_value(&with_value(CONTROLLER, "REPLICAS", &replicas.to_string()), "IMAGE", &image.0));
    }
    parts.extend(policies.iter().map(|policy| policy.text.to_owned()));
    Ok(parts.join("---\n").replace(WRITTEN_FOR, &namespace.0))
}

fn header(kube_version: KubeVersion, left_out: &[&AdmissionPolicy]) -> anyhow::Result<String> {
    let mut text = format!(
        "# Stepgate {}: stepgate install | kubectl apply -f -\n# Then, for policies to refer to: stepgate presets | kubectl apply -f -\n",
        env!("CARGO_PKG_VERSION"),
    );
    for policy in left_out {
        writeln!(
            text,
            "# Left out: admission policy {}, which needs Kubernetes {}; this is for {kube_version}.",
            policy.name, policy.since
        )?;
    }
    Ok(text)
}

/// Puts a value into the line that ends with `# MARK`.
fn with_value(text: &str, mark: &str, value: &str) -> String {
    let end = format!(" # {mark}");
    let line = |line: &str| match line.strip_suffix(&end).and_then(|line| line.split_once(": ")) {
        Some((key, _)) => format!("{key}: {value}\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// Name of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceName(String);

impl FromStr for NamespaceName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let fits = (1..=63).contains(&text.len()) && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-');
        if fits { Ok(Self(text.to_owned())) } else { Err("a namespace is named with at most 63 small letters, digits and inner hyphens") }
    }
}

impl fmt::Display for NamespaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name of an image: registry, path, and tag or digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageName(String);

impl FromStr for ImageName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = |c: char| c.is_ascii_alphanumeric() || "./:@_-".contains(c);
        if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(known) {
            Ok(Self(text.to_owned()))
        } else {
            Err("an image is named as in registry.example/stepgate:0.1.0")
        }
    }
}

/// A release of Kubernetes 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KubeVersion(u16);

impl FromStr for KubeVersion {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut numbers = text.trim_start_matches('v').split('.');
        match (numbers.next(), numbers.next().map(str::parse)) {
            (Some("1"), Some(Ok(minor))) => Ok(Self(minor)),
            _ => Err("a release of Kubernetes is written as in 1.36"),
        }
    }
}

impl fmt::Display for KubeVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::Value;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        install: InstallArgs,
    }

    fn installed(args: &[&str]) -> (String, Vec<Value>) {
        let cli = Cli::try_parse_from([&["stepgate"], args].concat()).unwrap();
        let text = render(&cli.install).unwrap();
        let objects = serde_saphyr::from_multiple(&text).unwrap();
        (text, objects)
    }

    fn kinds(objects: &[Value]) -> Vec<&str> {
        objects.iter().map(|object| object["kind"].as_str().unwrap()).collect()
    }

    #[test]
    fn what_others_need_comes_before_them() {
        let (_, objects) = installed(&[]);
        let kinds = kinds(&objects);
        let first = |kind| kinds.iter().position(|k| *k == kind).unwrap();
        let order = ["Namespace", "CustomResourceDefinition", "ServiceAccount", "Deployment", "MutatingAdmissionPolicy"].map(first);
        assert!(order.is_sorted(), "{kinds:?}");
    }

    #[test]
    fn every_object_can_be_found_by_its_label() {
        let (_, objects) = installed(&[]);
        for object in objects.iter().filter(|object| object["kind"] != "CustomResourceDefinition") {
            assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/part-of"], "stepgate", "{object}");
        }
    }

    #[test]
    fn another_namespace_is_another_account_in_every_policy() {
        let (text, _) = installed(&["--namespace", "delivery"]);
        assert!(!text.contains(WRITTEN_FOR));
        assert_eq!(text.matches("system:serviceaccount:delivery:stepgate").count(), 4);
    }

    // design §5
    #[test]
    fn a_policy_with_parameters_fails_open_one_without_fails_closed_and_all_can_be_opted_out_of() {
        let (_, objects) = installed(&[]);
        for policy in objects.iter().filter(|object| object["kind"].as_str().unwrap().ends_with("AdmissionPolicy")) {
            let (name, spec) = (&policy["metadata"]["name"], &policy["spec"]);
            assert_eq!(spec["failurePolicy"], if spec["paramKind"].is_null() { "Fail" } else { "Ignore" }, "{name}");
            let out = serde_json::json!([{ "key": "stepgate.dev/admission", "operator": "NotIn", "values": ["disabled"] }]);
            assert_eq!(spec["matchConstraints"]["namespaceSelector"]["matchExpressions"], out, "{name}");
        }
    }

    #[test]
    fn image_and_replicas_are_those_asked_for() {
        let (_, objects) = installed(&["--image", "registry.example/stepgate:1", "--replicas", "1"]);
        let controller = objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
        assert_eq!(controller["spec"]["replicas"], 1);
        assert_eq!(controller["spec"]["template"]["spec"]["containers"][0]["image"], "registry.example/stepgate:1");
    }

    #[test]
    fn parts_can_be_left_out() {
        let (_, objects) = installed(&["--without-namespace", "--without-controller", "--without-policies"]);
        let kinds = kinds(&objects);
        assert!(kinds.iter().all(|kind| *kind != "Namespace" && *kind != "Deployment" && !kind.contains("Admission")), "{kinds:?}");
        assert!(kinds.contains(&"ServiceAccount"));
    }

    #[test]
    fn an_older_cluster_gets_the_policies_it_understands_and_is_told_of_the_others() {
        let (text, objects) = installed(&["--kube-version", "1.34"]);
        assert!(kinds(&objects).iter().all(|kind| !kind.starts_with("Mutating")));
        assert_eq!(kinds(&objects).iter().filter(|kind| **kind == "ValidatingAdmissionPolicy").count(), 3);
        assert!(text.contains("# Left out: admission policy pause, which needs Kubernetes 1.36; this is for 1.34.\n"));
    }

    #[test]
    fn nothing_is_too_large_for_a_client_side_apply() {
        let (_, objects) = installed(&[]);
        for object in &objects {
            assert!(object.to_string().len() < 256 * 1024, "{}", object["metadata"]["name"]);
        }
    }

    #[test]
    fn a_name_that_would_break_out_of_the_yaml_is_refused() {
        assert!("a: b".parse::<NamespaceName>().is_err());
        assert!("image\nkind: Secret".parse::<ImageName>().is_err());
        assert!("registry.example:5000/team/stepgate@sha256:00ff".parse::<ImageName>().is_ok());
        assert!("2.0".parse::<KubeVersion>().is_err());
    }
}
