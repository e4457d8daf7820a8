//! `stepgate demo --serve`: the embedded cluster as something to play with, by `kubectl`.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context;

use crate::sim::Http;

/// A kubeconfig that is there as long as this.
#[derive(Debug)]
pub struct Kubeconfig(PathBuf);

impl Kubeconfig {
    /// Writes it into a file that is not there yet; without a name, into one among the temporary files.
    ///
    /// # Errors
    /// When there is a file of that name, which is left as it is, or none can be made.
    pub fn write(http: &Http, path: Option<&Path>) -> anyhow::Result<Self> {
        let own = || std::env::temp_dir().join(format!("stepgate-demo-{}.kubeconfig", std::process::id()));
        let path = std::path::absolute(path.map_or_else(own, Path::to_owned))?;
        let mut file = OpenOptions::new().write(true).create_new(true).open(&path).with_context(|| {
            format!("cannot write a new kubeconfig to {}; --kubeconfig names another file, which must not be there yet", path.display())
        })?;
        // From here on the file is ours, and goes whatever happens.
        let this = Self(path);
        file.write_all(http.kubeconfig().as_bytes()).with_context(|| format!("cannot write to {}", this.0.display()))?;
        Ok(this)
    }

    /// What to do with it.
    pub fn invitation(&self) -> String {
        format!(
            "An embedded cluster for kubectl 1.36 and stepgate, until Ctrl-C. In another terminal:\n\n    \
             export KUBECONFIG={}\n    \
             kubectl get rollouts,deployments,services,pods\n    \
             kubectl set image deployment/hello hello=stepgate.test/hello:v9      # a release\n    \
             kubectl set env deployment/hello FAIL=100 HEALTH=500                 # a bad one\n    \
             stepgate status hello -w\n",
            self.0.display()
        )
    }
}

impl Drop for Kubeconfig {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "the kubeconfig was not removed");
        }
    }
}
