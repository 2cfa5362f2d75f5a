//! The objects that are installed before a test: by default those of `deploy/kustomize`, and with
//! `TESTBED_INSTALL=chart` those of the Helm chart.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::{Context, Result};

use super::root;
use crate::helm::render_chart;

/// The variable that chooses between `kustomize`, the default, and `chart`.
const VARIABLE: &str = "TESTBED_INSTALL";
/// The release whose objects have the names of the base.
const RELEASE: &str = "cognito-reset-operator";
const NAMESPACE: &str = "cognito-reset-system";
/// The base has no stamp, and the tests install it where they need it.
const AS_THE_BASE: [&str; 2] = ["--set", "policies.stampRequester=false"];

/// Returns the kustomization of the CRDs.
#[must_use]
pub fn definitions() -> PathBuf {
    installed().0.clone()
}

/// Returns the kustomization of the operator, without its CRDs.
#[must_use]
pub fn base() -> PathBuf {
    installed().1.clone()
}

fn installed() -> &'static (PathBuf, PathBuf) {
    static INSTALLED: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    INSTALLED.get_or_init(|| match std::env::var(VARIABLE).as_deref() {
        Err(_) | Ok("kustomize") => (root("deploy/kustomize/crds").into(), root("deploy/kustomize/base").into()),
        Ok("chart") => from_chart().expect("the chart cannot be rendered"),
        Ok(other) => panic!("{VARIABLE} is {other}: set it to kustomize or chart"),
    })
}

/// Renders the chart into two kustomizations.
fn from_chart() -> Result<(PathBuf, PathBuf)> {
    let folder = PathBuf::from(root("target")).join("installed-chart").join(std::process::id().to_string());
    let all = render_chart(RELEASE, NAMESPACE, &AS_THE_BASE)?;
    let is_definition = |object: &&str| object.contains("\nkind: CustomResourceDefinition\n");
    let (definitions, base): (Vec<_>, Vec<_>) = all.split("\n---\n").partition(is_definition);
    // Helm makes the namespace on its own.
    let namespace = fs::read_to_string(root("deploy/kustomize/base/namespace.yaml"))?;
    let base = [base, vec![&namespace]].concat();
    Ok((
        kustomization(&folder.join("crds"), &definitions.join("\n---\n"))?,
        kustomization(&folder.join("base"), &base.join("\n---\n"))?,
    ))
}

fn kustomization(folder: &Path, manifests: &str) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    fs::write(folder.join("manifests.yaml"), manifests)?;
    fs::write(folder.join("kustomization.yaml"), "resources: [manifests.yaml]\n")?;
    Ok(folder.to_owned())
}
