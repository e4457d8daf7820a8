//! The flags that lead to a cluster.

use std::path::PathBuf;

use clap::Args;

use crate::show::caller::{Caller, Program};

/// Which cluster, and where in it.
#[derive(Args, Clone, Debug, Default)]
pub struct ClusterArgs {
    /// Namespace [default: that of the kubeconfig context]
    #[arg(short, long, value_name = "NAMESPACE", help_heading = "Cluster")]
    pub namespace: Option<String>,

    /// Context of the kubeconfig [default: the current one]
    #[arg(long, value_name = "NAME", help_heading = "Cluster")]
    pub context: Option<String>,

    /// Kubeconfig file [default: $KUBECONFIG, then ~/.kube/config]
    #[arg(long, value_name = "FILE", help_heading = "Cluster")]
    pub kubeconfig: Option<PathBuf>,
}

impl ClusterArgs {
    /// How the user called `program` with these flags.
    pub fn caller(&self, program: Program) -> Caller {
        let Self { namespace, context, kubeconfig } = self;
        Caller::new(program, namespace.as_deref(), context.as_deref(), kubeconfig.as_deref())
    }
}
