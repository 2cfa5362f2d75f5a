//! The files of `deploy/gitops/` on a real API server.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::environment::root;

use super::{Cluster, Tool, installation};

#[tokio::test]
async fn requests_of_the_example_repositories_are_accepted() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.0.kubectl(&["create", "namespace", "support"]).await?;
    for (repository, tool) in [("argocd", Tool::ArgoServerSide), ("flux", Tool::Flux)] {
        let path = root(&format!("deploy/gitops/examples/{repository}/requests"));
        let manifests = cluster.0.kubectl(&["kustomize", &path]).await?;
        ensure!(manifests.contains("kind: PasswordResetRequest"), "{manifests}");
        let apply: Vec<_> = tool.apply().iter().copied().chain(["--validate=strict", "--dry-run=server"]).collect();
        cluster.run(&apply, &manifests).await?.success().context(repository)?;
    }
    Ok(())
}

#[tokio::test]
async fn the_patch_of_argocd_cm_keeps_other_entries() -> Result<()> {
    let cluster = Cluster::start().await?;
    let env = &cluster.0;
    env.kubectl(&["create", "namespace", "argocd"]).await?;
    let create = ["create", "configmap", "argocd-cm", "-n", "argocd", "--from-literal=url=https://argocd.example.com"];
    env.kubectl(&create).await?;
    env.cluster.script(&installation()?, &[]).await?;
    let patched = env.kubectl(&["get", "configmap", "argocd-cm", "-n", "argocd", "-o", "json"]).await?;
    let data = serde_json::from_str::<Value>(&patched)?["data"].clone();
    ensure!(data["url"] == "https://argocd.example.com", "{data}");
    for kind in ["PasswordResetRequest", "UserPoolGrant", "UserPoolHold"] {
        let script = &data[format!("resource.customizations.health.cognito-reset.dev_{kind}")];
        let path = format!("deploy/gitops/argocd/resource_customizations/cognito-reset.dev/{kind}/health.lua");
        ensure!(*script == std::fs::read_to_string(root(&path))?, "{kind}: {script}");
    }
    Ok(())
}
