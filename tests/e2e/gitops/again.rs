//! No tool makes a second reset by applying, replacing, deleting or creating the same request.

use anyhow::{Result, ensure};

use super::{Cluster, Tool};

/// The same object: nothing is decided again.
const SAME: &str = "Succeeded/ResetAccepted";
/// Another object of the same name: the ledger says that the reset was made.
const ANOTHER: &str = "Succeeded/AlreadyPerformed";

/// A way in which a tool writes a request that has ended.
#[derive(Clone, Copy, Debug)]
enum Way {
    SelfHeal,
    Replace,
    Force,
    PruneAndAdd,
    PruneInForeground,
    AnotherTracker,
    IfNotPresent,
    IfNotPresentAfterPrune,
    HookOfFixedName,
}

impl Way {
    const ALL: [(Self, &str); 9] = [
        (Self::SelfHeal, SAME),
        (Self::Replace, SAME),
        (Self::Force, ANOTHER),
        (Self::PruneAndAdd, ANOTHER),
        (Self::PruneInForeground, ANOTHER),
        (Self::AnotherTracker, SAME),
        (Self::IfNotPresent, SAME),
        (Self::IfNotPresentAfterPrune, ANOTHER),
        (Self::HookOfFixedName, ANOTHER),
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::SelfHeal => "self-heal",
            Self::Replace => "replace",
            Self::Force => "force",
            Self::PruneAndAdd => "prune-and-add",
            Self::PruneInForeground => "prune-in-foreground",
            Self::AnotherTracker => "another-tracker",
            Self::IfNotPresent => "if-not-present",
            Self::IfNotPresentAfterPrune => "if-not-present-after-prune",
            Self::HookOfFixedName => "hook-of-fixed-name",
        }
    }

    /// Returns the tool that has this way.
    const fn tool(self) -> Tool {
        match self {
            Self::SelfHeal | Self::Replace | Self::Force | Self::HookOfFixedName => Tool::ArgoClientSide,
            Self::PruneInForeground | Self::AnotherTracker => Tool::ArgoServerSide,
            Self::PruneAndAdd | Self::IfNotPresent | Self::IfNotPresentAfterPrune => Tool::Flux,
        }
    }

    async fn go(self, cluster: &Cluster, manifest: &str) -> Result<()> {
        let (name, tool) = (self.name(), self.tool());
        let delete = ["delete", "prr", name];
        let admin = async |arguments: &[&str]| cluster.0.kubectl(arguments).await.map(drop);
        match self {
            Self::SelfHeal => {
                admin(&["annotate", "prr", name, "argocd.argoproj.io/tracking-id-"]).await?;
                admin(&["label", "prr", name, "edited=by-hand"]).await?;
                cluster.sync(tool, manifest).await
            }
            Self::Replace => cluster.run(&["replace", "-f", "-"], manifest).await?.success().map(drop),
            Self::Force => cluster.run(&["replace", "--force", "-f", "-"], manifest).await?.success().map(drop),
            Self::PruneAndAdd => {
                cluster.run(&delete, "").await?.success()?;
                cluster.sync(tool, manifest).await
            }
            Self::PruneInForeground => {
                cluster.run(&["delete", "prr", name, "--cascade=foreground", "--wait=false"], "").await?.success()?;
                // The garbage collector would remove the finalizer of the deletion.
                cluster.sync(tool, manifest).await?;
                finalized_by(cluster, name, "null").await?;
                cluster.sync(tool, manifest).await
            }
            Self::AnotherTracker => {
                cluster.sync(Tool::Flux, &Tool::Flux.marked(&cluster.0.request(name, name, ""), name)).await?;
                admin(&["label", "prr", name, "app.kubernetes.io/instance=another"]).await
            }
            Self::IfNotPresent => {
                let refused = cluster.run(&["create", "-f", "-"], manifest).await?.refusal()?;
                ensure!(refused.contains("already exists"), "{refused}");
                Ok(())
            }
            Self::IfNotPresentAfterPrune => {
                cluster.run(&delete, "").await?.success()?;
                cluster.run(&["create", "-f", "-"], manifest).await?.success().map(drop)
            }
            Self::HookOfFixedName => {
                admin(&["annotate", "prr", name, "argocd.argoproj.io/hook=Sync"]).await?;
                finalized_by(cluster, name, r#"["argocd.argoproj.io/hook-finalizer"]"#).await?;
                admin(&["delete", "prr", name, "--wait=false"]).await?;
                // Argo CD removes its finalizer before it creates the hook again.
                ensure!(cluster.metadata(name).await?["deletionTimestamp"].is_string());
                finalized_by(cluster, name, "null").await?;
                cluster.run(&["create", "-f", "-"], manifest).await?.success().map(drop)
            }
        }
    }
}

/// Sets the finalizers of a request.
async fn finalized_by(cluster: &Cluster, name: &str, finalizers: &str) -> Result<()> {
    let patch = format!(r#"{{"metadata":{{"finalizers":{finalizers}}}}}"#);
    cluster.0.kubectl(&["patch", "prr", name, "--type=merge", "-p", &patch]).await?;
    Ok(())
}

#[tokio::test]
async fn nothing_that_a_tool_repeats_resets_twice() -> Result<()> {
    let cluster = Cluster::start().await?;
    let operator = cluster.0.run().await?;
    for (way, _) in Way::ALL {
        let manifest = cluster.reset(way.tool(), way.name(), "").await?;
        way.go(&cluster, &manifest).await?;
    }
    for (way, wanted) in Way::ALL {
        let ended = cluster.0.ended(way.name()).await?;
        ensure!(ended == wanted, "{way:?}: {ended}");
    }
    drop(operator);
    // The same once more, by an operator that remembers nothing.
    let _operator = cluster.0.run().await?;
    let last = Way::PruneAndAdd;
    let manifest = last.tool().marked(&cluster.0.request(last.name(), last.name(), ""), last.name());
    last.go(&cluster, &manifest).await?;
    ensure!(cluster.0.ended(last.name()).await? == ANOTHER);
    for (way, _) in Way::ALL {
        cluster.is_reset_once(way.name()).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_edit_is_rejected_and_a_new_name_is_a_new_reset() -> Result<()> {
    let cluster = Cluster::start().await?;
    let env = &cluster.0;
    let _operator = env.run().await?;
    let name = "renamed";
    let manifest = cluster.reset(Tool::Flux, name, "reason: phishing").await?;
    let edited = manifest.replace("phishing", "another");
    for arguments in [Tool::Flux.apply(), Tool::ArgoClientSide.apply(), &["replace", "-f", "-"]] {
        let refused = cluster.run(arguments, &edited).await?.refusal()?;
        ensure!(refused.contains("reason is immutable: create a new request under a new name"), "{refused}");
    }
    cluster.is_reset_once(name).await?;
    cluster.run(&["delete", "prr", name], "").await?.success()?;
    cluster.sync(Tool::Flux, &Tool::Flux.marked(&env.request("renamed-2", name, ""), "renamed-2")).await?;
    ensure!(env.ended("renamed-2").await? == "Succeeded/ResetAccepted");
    ensure!(env.calls(name) == 2, "the new name asks for another reset");
    Ok(())
}
