//! What is wrong with the versions of a declared pair.

use std::fmt;

use crate::core::why::words::Names;

/// Why versions are not a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadPair {
    /// The template of a version does not have the label.
    NoVersionLabel { deployment: String, label: String },
    /// Two versions have the same value of it.
    SameVersion { deployments: [String; 2], label: String, value: String },
    /// Two Deployments select the same pods.
    SameSelector { deployments: [String; 2] },
    /// A port that is not the same on both.
    PortsDiffer { deployments: [String; 2], ports: [String; 2] },
    /// The Services name different versions, so that none is the live one.
    ServicesDisagree { versions: Vec<String>, label: String },
    /// A Service has clients on pods that are of none of the versions.
    UnknownVersion { service: String, label: String, value: String, known: Vec<String> },
    /// `idle: ScaleToZero` where nothing keeps a Service from being taken back to 0 pods.
    IdleUnguarded { label: String },
}

impl BadPair {
    /// The reason of condition `Accepted`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoVersionLabel { .. } => "NoVersionLabel",
            Self::SameVersion { .. } => "SameVersion",
            Self::SameSelector { .. } => "SameSelector",
            Self::PortsDiffer { .. } => "PortsDiffer",
            Self::ServicesDisagree { .. } => "ServicesDisagree",
            Self::UnknownVersion { .. } => "UnknownVersion",
            Self::IdleUnguarded { .. } => "IdleUnguarded",
        }
    }

    /// Whether it leaves open which version the Services mean.
    pub fn leaves_live_open(&self) -> bool {
        match self {
            Self::SameVersion { .. } | Self::ServicesDisagree { .. } | Self::UnknownVersion { .. } => true,
            Self::NoVersionLabel { .. } | Self::SameSelector { .. } | Self::PortsDiffer { .. } | Self::IdleUnguarded { .. } => false,
        }
    }
}

impl fmt::Display for BadPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVersionLabel { deployment, label } => write!(
                f,
                "the template of Deployment {deployment} (workload.versions) has no label {label} (workload.versionLabel), so its pods cannot be told from the others'; add it to spec.template.metadata.labels"
            ),
            Self::SameVersion { deployments: [one, other], label, value } => write!(
                f,
                "the pods of Deployments {one} and {other} (workload.versions) both have {label}={value} (workload.versionLabel); give each version a value of its own"
            ),
            Self::SameSelector { deployments: [one, other] } => write!(
                f,
                "Deployments {one} and {other} (workload.versions) have the same spec.selector, so that each counts the other's pods as its own; make one of them anew, with the version label in its selector"
            ),
            Self::PortsDiffer { deployments: [one, other], ports: [found, instead] } => write!(
                f,
                "the pods of Deployment {one} have {found}, but those of Deployment {other} have {instead}, so a Service cannot serve both; make the container ports of workload.versions the same"
            ),
            Self::ServicesDisagree { versions, label } => write!(
                f,
                "the Services (services) select {} by their label {label}, so it cannot be told which version is live; let all of them select the same one",
                Names("Deployment", versions)
            ),
            Self::UnknownVersion { service, label, value, known } => write!(
                f,
                "Service {service} (services) selects {label}={value} and has clients there, but the versions (workload.versions) are {}; correct the selector, or list the Deployment of that version",
                known.join(", ")
            ),
            Self::IdleUnguarded { label } => write!(
                f,
                "idle is ScaleToZero, but no admission policy holds the key {label} of the Services' selectors: whoever applies a Service as it was would take its clients to 0 pods; install the policies, or set idle: Keep"
            ),
        }
    }
}
