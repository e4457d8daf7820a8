//! Objects, as an action names them: with the version that the decision was made on.

use crate::core::facts::{
    deployment::{DeploymentFacts, ReplicaSetFacts},
    pod::PodFacts,
    service::ServiceFacts,
};

/// An object, as it was when the decision was made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    pub name: String,
    pub uid: String,
    pub resource_version: String,
}

impl DeploymentFacts {
    /// The Deployment, as an action names it.
    pub fn object(&self) -> Object {
        Object { name: self.name.clone(), uid: self.uid.clone(), resource_version: self.resource_version.clone() }
    }
}

impl ReplicaSetFacts {
    /// The ReplicaSet, as an action names it.
    pub fn object(&self) -> Object {
        Object { name: self.name.clone(), uid: self.uid.clone(), resource_version: self.resource_version.clone() }
    }
}

impl PodFacts {
    /// The pod, as an action names it.
    pub fn object(&self) -> Object {
        Object { name: self.name.clone(), uid: self.uid.clone(), resource_version: self.resource_version.clone() }
    }
}

impl ServiceFacts {
    /// The Service, as an action names it.
    pub fn object(&self) -> Object {
        Object { name: self.name.clone(), uid: String::new(), resource_version: self.resource_version.clone() }
    }
}
