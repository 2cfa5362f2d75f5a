//! The paths of the servers: built, installed or given, by the script `tests/testbed/tools`.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail};
use tokio::{process::Command, sync::OnceCell};

/// The programs that the testbed starts.
#[derive(Clone, Debug)]
pub struct Tools {
    control_plane: PathBuf,
    moto_server: PathBuf,
}

impl Tools {
    /// Finds the programs, and builds them when this machine has none yet: minutes, once, with
    /// progress on standard error. Asked once per process.
    ///
    /// # Errors
    /// What is missing and how to get it was printed by the script; the error says which script.
    pub async fn locate() -> Result<Self> {
        static FOUND: OnceCell<Tools> = OnceCell::const_new();
        FOUND.get_or_try_init(Self::run_script).await.cloned()
    }

    async fn run_script() -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools");
        let output = Command::new(&script)
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("failed to run {}", script.display()))?;
        if !output.status.success() {
            bail!("{} ended with {}: its message above says what is missing", script.display(), output.status);
        }
        let text = String::from_utf8(output.stdout).context("the tools script printed a path that is not UTF-8")?;
        match text.lines().collect::<Vec<_>>().as_slice() {
            [control_plane, moto_server] => {
                Ok(Self { control_plane: control_plane.into(), moto_server: moto_server.into() })
            }
            lines => bail!("the tools script printed {} lines, and two were expected: {text}", lines.len()),
        }
    }

    /// The directory of the control plane's programs, for a PATH.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.control_plane
    }

    /// The program `etcd`.
    #[must_use]
    pub fn etcd(&self) -> PathBuf {
        self.control_plane.join("etcd")
    }

    /// The program `kube-apiserver`.
    #[must_use]
    pub fn kube_apiserver(&self) -> PathBuf {
        self.control_plane.join("kube-apiserver")
    }

    /// The program `kubectl`.
    #[must_use]
    pub fn kubectl(&self) -> PathBuf {
        self.control_plane.join("kubectl")
    }

    /// The program `kube-controller-manager`.
    ///
    /// # Errors
    /// When `KUBEBUILDER_ASSETS` is set to a directory that lacks it, as the usual downloads do.
    pub fn kube_controller_manager(&self) -> Result<PathBuf> {
        let path = self.control_plane.join("kube-controller-manager");
        if !path.exists() {
            bail!(
                "kube-controller-manager is not in {}, and deleting namespaces needs it: put it there, or unset \
                 KUBEBUILDER_ASSETS to have it built",
                self.control_plane.display()
            );
        }
        Ok(path)
    }

    /// Checks that `etcdctl` and `etcdutl` are in the [`directory`](Self::directory).
    ///
    /// # Errors
    /// When `KUBEBUILDER_ASSETS` is set to a directory that lacks them, as the usual downloads do.
    pub fn etcd_tools(&self) -> Result<()> {
        for tool in ["etcdctl", "etcdutl"] {
            if !self.control_plane.join(tool).exists() {
                bail!(
                    "{tool} is not in {}, and restoring etcd needs it: put it there, or unset KUBEBUILDER_ASSETS to \
                     have it built",
                    self.control_plane.display()
                );
            }
        }
        Ok(())
    }

    /// The Python that has the packages of the emulator.
    #[must_use]
    pub fn python(&self) -> PathBuf {
        self.moto_server.with_file_name("python3")
    }

    /// The program `moto_server`.
    #[must_use]
    pub fn moto_server(&self) -> &Path {
        &self.moto_server
    }
}
