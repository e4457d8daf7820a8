//! The kinds the server knows: the built-in ones, and those that definitions add at run time.

use std::{collections::BTreeMap, sync::Arc};

use crate::schema::Schema;

/// What makes `metadata.generation` rise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// The kind has none.
    Never,
    /// A changed `spec`.
    Spec,
    /// A changed `spec`, or changed annotations, because they are copied to `ReplicaSets`.
    SpecAndAnnotations,
    /// Anything but metadata and status.
    Content,
    /// Anything but metadata, though labels count.
    ContentAndLabels,
}

/// Where the scale subresource finds its numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    pub spec_replicas: String,
    pub status_replicas: String,
}

/// One kind in one version.
#[derive(Clone, Debug)]
pub struct Kind {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub singular: String,
    pub kind: String,
    pub namespaced: bool,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    /// Whether there is a `/status`, so that spec and status are written apart.
    pub status: bool,
    pub scale: Option<Scale>,
    pub generation: Generation,
    /// Whether an update without `resourceVersion` is taken.
    pub unconditional_update: bool,
    /// What `kubectl get` shows beside the name, where a definition says that.
    pub columns: Vec<Column>,
    /// What its objects are held against, where a definition added it.
    pub schema: Option<Arc<Schema>>,
}

/// A column of a custom kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub type_: String,
    /// Where the cell is found, such as `.spec.steps[0].weight`.
    pub path: String,
    /// Above 0: only where more is asked for.
    pub priority: i64,
}

impl Kind {
    /// Whether a definition added it.
    pub fn is_custom(&self) -> bool {
        self.schema.is_some()
    }

    /// `deployments.apps`: the name in messages, and the key in the store.
    pub fn resource(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `Deployment.apps`.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.kind.clone() } else { format!("{}.{}", self.kind, self.group) }
    }

    /// `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Under which name objects of this kind are kept: Events of both groups are the same objects.
    pub fn stored_as(&self) -> String {
        if self.is_core_event() { "events.events.k8s.io".into() } else { self.resource() }
    }

    /// Whether this is the older of the two views of Events.
    pub fn is_core_event(&self) -> bool {
        self.plural == "events" && self.group.is_empty()
    }
}

/// All kinds, by group and plural.
#[derive(Clone, Debug)]
pub struct Kinds(BTreeMap<(String, String), Arc<Kind>>);

impl Kinds {
    /// The kind of a path.
    pub fn find(&self, group: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.0.get(&(group.to_owned(), plural.to_owned()))
    }

    /// The kind that objects call themselves.
    pub fn named(&self, api_version: &str, kind: &str) -> Option<&Arc<Kind>> {
        self.0.values().find(|known| known.kind == kind && known.api_version() == api_version)
    }

    /// The kind under which objects are stored.
    pub fn stored(&self, resource: &str) -> Option<&Arc<Kind>> {
        self.0.values().find(|known| known.resource() == resource)
    }

    /// All of them, by group and plural.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.0.values()
    }

    /// Adds a kind or replaces it.
    pub fn register(&mut self, kind: Kind) {
        self.0.insert((kind.group.clone(), kind.plural.clone()), Arc::new(kind));
    }

    /// Takes a kind away.
    pub fn remove(&mut self, group: &str, plural: &str) {
        self.0.remove(&(group.to_owned(), plural.to_owned()));
    }

    /// The built-in kinds.
    pub fn builtin() -> Self {
        let mut kinds = Self(BTreeMap::new());
        for (group_version, plural, kind, short, traits) in BUILTIN {
            let (group, version) = group_version.split_once('/').unwrap_or(("", group_version));
            let has = |word| traits.split(' ').any(|found| found == word);
            kinds.register(Kind {
                group: group.into(),
                version: version.into(),
                plural: (*plural).into(),
                singular: kind.to_lowercase(),
                kind: (*kind).into(),
                namespaced: !has("cluster"),
                short_names: short.split(' ').filter(|name| !name.is_empty()).map(Into::into).collect(),
                categories: if has("all") { vec!["all".into()] } else { Vec::new() },
                status: has("status"),
                scale: has("scale").then(|| Scale { spec_replicas: "/spec/replicas".into(), status_replicas: "/status/replicas".into() }),
                generation: match () {
                    () if *plural == "deployments" => Generation::SpecAndAnnotations,
                    () if *plural == "endpointslices" => Generation::ContentAndLabels,
                    () if has("spec") => Generation::Spec,
                    () => Generation::Never,
                },
                unconditional_update: !has("conditional"),
                columns: Vec::new(),
                schema: None,
            });
        }
        kinds
    }
}

/// Group and version, plural, kind, short names, traits.
const BUILTIN: &[(&str, &str, &str, &str, &str)] = &[
    ("v1", "namespaces", "Namespace", "ns", "cluster status"),
    ("v1", "nodes", "Node", "no", "cluster status"),
    ("v1", "pods", "Pod", "po", "status spec all"),
    ("v1", "services", "Service", "svc", "status all"),
    ("v1", "events", "Event", "ev", ""),
    ("v1", "configmaps", "ConfigMap", "cm", ""),
    ("v1", "secrets", "Secret", "", ""),
    ("v1", "serviceaccounts", "ServiceAccount", "sa", ""),
    ("v1", "persistentvolumeclaims", "PersistentVolumeClaim", "pvc", "status"),
    ("v1", "limitranges", "LimitRange", "limits", ""),
    ("v1", "resourcequotas", "ResourceQuota", "quota", "status"),
    ("events.k8s.io/v1", "events", "Event", "ev", ""),
    ("apps/v1", "deployments", "Deployment", "deploy", "status scale all"),
    ("apps/v1", "replicasets", "ReplicaSet", "rs", "status scale spec all"),
    ("discovery.k8s.io/v1", "endpointslices", "EndpointSlice", "", ""),
    ("coordination.k8s.io/v1", "leases", "Lease", "", "conditional"),
    ("autoscaling/v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", "hpa", "status all"),
    ("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget", "pdb", "status spec"),
    ("networking.k8s.io/v1", "ingresses", "Ingress", "ing", "status spec"),
    ("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy", "netpol", "spec"),
    ("rbac.authorization.k8s.io/v1", "roles", "Role", "", ""),
    ("rbac.authorization.k8s.io/v1", "rolebindings", "RoleBinding", "", ""),
    ("rbac.authorization.k8s.io/v1", "clusterroles", "ClusterRole", "", "cluster"),
    ("rbac.authorization.k8s.io/v1", "clusterrolebindings", "ClusterRoleBinding", "", "cluster"),
    ("apiextensions.k8s.io/v1", "customresourcedefinitions", "CustomResourceDefinition", "crd crds", "cluster status spec conditional"),
    ("admissionregistration.k8s.io/v1", "mutatingadmissionpolicies", "MutatingAdmissionPolicy", "", "cluster spec"),
    ("admissionregistration.k8s.io/v1", "mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding", "", "cluster spec"),
    ("admissionregistration.k8s.io/v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", "", "cluster status spec"),
    ("admissionregistration.k8s.io/v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", "", "cluster spec"),
];

/// Whether a kind has this subresource, and it is posted to an object rather than written into it.
pub(super) fn is_errand(kind: &Kind, subresource: &str) -> bool {
    matches!((kind.resource().as_str(), subresource), ("pods", "eviction") | ("serviceaccounts", "token"))
}
