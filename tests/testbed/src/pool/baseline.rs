//! The state of a control plane before the first lease, and how to restore it.

use std::{collections::BTreeSet, ffi::OsString, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use tokio::time::{Instant, sleep};

use super::{definitions, in_effect};
use crate::{ControlPlane, control_plane::Keys};

/// The time for which etcd must stay unchanged. kube-apiserver still writes about what was just
/// installed.
const AT_REST: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(30);
/// The number of comparisons and restores of the state. Writes in flight may arrive in between.
const ROUNDS: usize = 5;

/// The kinds that can be restored while kube-apiserver runs. Either it caches nothing of them, or
/// [`in_effect`] waits until its caches are up to date.
const CLEANED: &[&str] = &[
    "/registry/cognito-reset.dev/",
    "/registry/clusterrolebindings/",
    "/registry/clusterroles/",
    "/registry/configmaps/",
    "/registry/deployments/",
    "/registry/events/",
    "/registry/leases/",
    "/registry/mutatingadmissionpolicies/",
    "/registry/mutatingadmissionpolicybindings/",
    "/registry/namespaces/",
    "/registry/networkpolicies/",
    "/registry/poddisruptionbudgets/",
    "/registry/pods/",
    "/registry/rolebindings/",
    "/registry/roles/",
    "/registry/secrets/",
    "/registry/serviceaccounts/",
    "/registry/validatingadmissionpolicies/",
    "/registry/validatingadmissionpolicybindings/",
];

/// All keys of etcd with their values, and the files in the directory of the control plane.
#[derive(Debug, Default)]
pub(super) struct Baseline {
    keys: Keys,
    files: BTreeSet<OsString>,
}

impl Baseline {
    /// Waits until all policies are in effect and kube-apiserver writes nothing more, and takes the
    /// state.
    pub(super) async fn of(cluster: &ControlPlane) -> Result<Self> {
        in_effect::policies(cluster).await?;
        let (mut keys, end) = (at_rest(cluster).await?, Instant::now() + LIMIT);
        // The canaries are not part of the state.
        while keys.keys().any(|key| in_effect::is_canary(key)) {
            ensure!(Instant::now() < end, "the canaries do not go");
            let canaries: Vec<_> = keys.keys().filter(|key| in_effect::is_canary(key)).cloned().collect();
            cluster.store(canaries.iter().map(|key| (key.as_str(), None))).await?;
            keys = at_rest(cluster).await?;
        }
        Ok(Self { keys, files: files(cluster)? })
    }

    /// Deletes what is new, puts back what was changed or deleted, waits until this is in effect,
    /// and compares again.
    ///
    /// # Errors
    /// If the control plane cannot be cleaned.
    pub(super) async fn restore(&mut self, cluster: &ControlPlane) -> Result<()> {
        self.remove_files(cluster)?;
        for _ in 0..ROUNDS {
            let now = cluster.keys().await?;
            let differing = self.differing(&now);
            if differing.is_empty() {
                return Ok(());
            }
            // Definitions that were changed. One that was added or deleted also changes discovery,
            // and is not restored.
            let is_definition = |key: &&String| {
                key.starts_with(definitions::KEYS) && now.contains_key(*key) && self.keys.contains_key(*key)
            };
            let (definitions, others): (Vec<_>, Vec<_>) = differing.iter().partition(is_definition);
            for key in &others {
                ensure!(CLEANED.iter().any(|kind| key.starts_with(kind)), "{key} was changed");
            }
            let writes = others.iter().map(|key| (key.as_str(), self.keys.get(*key).map(Vec::as_slice)));
            cluster.store(writes).await?;
            for key in definitions {
                let definition = self.keys.get(key).map(Vec::as_slice).unwrap_or_default();
                let stored = definitions::replace(cluster, key, definition).await?;
                self.keys.insert(key.clone(), stored);
            }
            in_effect::after_changes_of(cluster, &others).await?;
        }
        bail!("it keeps changing")
    }

    fn differing(&self, now: &Keys) -> Vec<String> {
        let gone = self.keys.keys().filter(|key| !now.contains_key(*key));
        let changed = now.iter().filter(|(key, value)| self.keys.get(*key) != Some(value)).map(|(key, _)| key);
        gone.chain(changed).cloned().collect()
    }

    fn remove_files(&self, cluster: &ControlPlane) -> Result<()> {
        for name in files(cluster)?.difference(&self.files) {
            let path = cluster.directory().join(name);
            let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            removed.with_context(|| format!("failed to remove {}", path.display()))?;
        }
        Ok(())
    }
}

async fn at_rest(cluster: &ControlPlane) -> Result<Keys> {
    let end = Instant::now() + LIMIT;
    let (mut keys, mut since) = (cluster.keys().await?, Instant::now());
    while since.elapsed() < AT_REST {
        ensure!(Instant::now() < end, "it does not come to rest");
        sleep(Duration::from_millis(100)).await;
        let now = cluster.keys().await?;
        if now != keys {
            (keys, since) = (now, Instant::now());
        }
    }
    Ok(keys)
}

fn files(cluster: &ControlPlane) -> Result<BTreeSet<OsString>> {
    let entries = std::fs::read_dir(cluster.directory()).context("the control plane's directory cannot be read")?;
    entries.map(|entry| Ok(entry?.file_name())).collect()
}
