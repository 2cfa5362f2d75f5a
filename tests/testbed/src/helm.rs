//! The packaging tools, built by the script `.ci/packaging/tools`, and the Helm chart.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use anyhow::{Context, Result, ensure};

use crate::{Kubectl, environment::root};

/// The directory of the chart in the repository.
pub const CHART: &str = "deploy/helm/cognito-reset-operator";

/// Returns the directory of helm, kwok and the CRDs of the Prometheus operator. Builds them if this
/// machine has none yet: minutes, once, with progress on standard error.
///
/// # Panics
/// If they cannot be built. The script prints the reason.
pub fn packaging() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let output = Command::new(root(".ci/packaging/tools"))
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .expect(".ci/packaging/tools cannot be run");
        assert!(output.status.success(), "the packaging tools cannot be built: the message above says why");
        PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
    })
}

impl Kubectl {
    /// Returns `helm` for the same user and cluster.
    #[must_use]
    pub fn helm(&self) -> Self {
        Self { program: packaging().join("helm"), ..self.clone() }
    }
}

/// Renders the chart as a release of this name without a cluster.
///
/// # Errors
/// If helm rejects the values, with its message.
pub fn render_chart(release: &str, namespace: &str, arguments: &[&str]) -> Result<String> {
    let home = tempfile::tempdir().context("no temporary directory")?;
    let output = Command::new(packaging().join("helm"))
        .args(["template", release, &root(CHART), "--namespace", namespace])
        .args(arguments)
        .env_clear()
        .env("HOME", home.path())
        .stdin(Stdio::null())
        .output()
        .context("helm cannot be run")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
