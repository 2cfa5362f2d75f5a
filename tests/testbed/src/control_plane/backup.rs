//! etcd's snapshots, taken and put back with the tools that an administrator uses.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use super::{ControlPlane, etcd_ready, start_etcd};

/// The variable that names the folders of programs.
const PATH: &str = "PATH";

impl ControlPlane {
    /// Stops kube-apiserver and etcd, has `restore` make a new data directory, and starts both on
    /// it.
    ///
    /// `restore` gets the environment that a script needs: `PATH` with the tools, `NEW_DATA_DIR`,
    /// `MEMBER_FLAGS`.
    ///
    /// # Errors
    /// When the script fails, with what it said, or a server does not become ready.
    pub async fn restore_etcd(&mut self, restore: &str, environment: &[(&str, &str)]) -> Result<()> {
        self.kill_api_server().await?;
        self.kill_etcd().await?;
        let fresh = self.home.path().join("etcd-restored");
        let peer = self.etcd_at.peer.url();
        let member = format!("--name=default --initial-cluster=default={peer} --initial-advertise-peer-urls={peer}");
        let fresh_text = fresh.display().to_string();
        let environment = [environment, &[("NEW_DATA_DIR", fresh_text.as_str()), ("MEMBER_FLAGS", member.as_str())]];
        self.script(restore, &environment.concat()).await?;
        let data = self.home.path().join("etcd");
        std::fs::remove_dir_all(&data).context("the old data cannot be removed")?;
        std::fs::rename(&fresh, &data).context("the restored data cannot be put into place")?;
        self.etcd = start_etcd(&self.tools, self.home.path(), &self.etcd_at, self.options.fsync)?;
        etcd_ready(&mut self.etcd, &self.client, &self.etcd_at).await?;
        self.restart_api_server().await
    }

    /// Runs a script as an administrator on a machine of the control plane: `kubectl`, `etcdctl`
    /// and `etcdutl` are at hand and configured, and the variables given are set. The folders of a
    /// `PATH` among them come first. Ends at the first command that fails.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub async fn script(&self, text: &str, environment: &[(&str, &str)]) -> Result<String> {
        self.tools.etcd_tools()?;
        let own = std::env::var_os(PATH).unwrap_or_default();
        let first =
            environment.iter().filter(|(name, _)| *name == PATH).flat_map(|(_, path)| std::env::split_paths(path));
        let search = first.chain([self.tools.directory().to_owned()]).chain(std::env::split_paths(&own));
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", text])
            .current_dir(self.home.path())
            .env_clear()
            .env(PATH, std::env::join_paths(search)?)
            .env("HOME", self.home.path())
            .env("KUBECONFIG", self.kubeconfig())
            .env("ETCDCTL_ENDPOINTS", self.etcd_at.client.url())
            .envs(environment.iter().copied().filter(|(name, _)| *name != PATH))
            .kill_on_drop(true)
            .output()
            .await
            .context("bash cannot be run")?;
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!(
                "the script ended with {}: {shown}{}\n{text}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(shown)
    }

    /// A file in the temporary directory.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        Path::new(self.home.path()).join(name)
    }
}
