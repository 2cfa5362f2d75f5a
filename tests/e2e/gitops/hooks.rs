//! A hook with `generateName` is a new request at each sync. The policy of `deploy/gitops/` rejects
//! it.

use anyhow::{Result, ensure};
use testbed::environment::{LIMIT, root};
use testbed::eventually;

use super::Cluster;

const POLICY: &str = "deploy/gitops/refuse-generated-hooks.yaml";
const HOOKS: [&str; 2] = ["argocd.argoproj.io/hook: Sync", "helm.sh/hook: post-install"];

impl Cluster {
    /// Returns a hook as Argo CD sends it, which computes the name of one with a `generateName`.
    fn hook(&self, metadata: &str, user: &str) -> String {
        self.0.request("unnamed", user, "").replacen("name: unnamed", metadata, 1)
    }

    fn generated(&self, sync: u32, mark: &str, user: &str) -> String {
        let name = format!("reset-3f2a91c-sync-{sync}");
        self.hook(&format!("name: {name}, generateName: reset-, annotations: {{{mark}}}"), user)
    }
}

#[tokio::test]
async fn a_hook_of_generated_name_resets_at_each_sync() -> Result<()> {
    let cluster = Cluster::start().await?;
    let env = &cluster.0;
    let _operator = env.run().await?;
    env.users.create_user(&env.pool, "hooked").await?;
    for sync in 1..=2 {
        cluster.run(&["create", "-f", "-"], &cluster.generated(sync, HOOKS[0], "hooked")).await?.success()?;
        ensure!(env.ended(&format!("reset-3f2a91c-sync-{sync}")).await? == "Succeeded/ResetAccepted");
    }
    ensure!(env.calls("hooked") == 2, "each sync asks for a reset of its own");
    Ok(())
}

#[tokio::test]
async fn a_hook_of_generated_name_is_rejected_by_the_policy() -> Result<()> {
    let cluster = Cluster::start().await?;
    let env = &cluster.0;
    env.kubectl(&["apply", "-f", &root(POLICY)]).await?;
    let create = ["create", "--dry-run=server", "-f", "-"];
    for mark in HOOKS {
        eventually(LIMIT, "the policy to take effect", async || {
            let refused = cluster.run(&create, &cluster.generated(1, mark, "hooked")).await?.refusal()?;
            ensure!(refused.contains("a hook with generateName makes another reset at each sync"), "{refused}");
            anyhow::Ok(())
        })
        .await?;
        let named = format!("name: reset-hooked-inc-1, annotations: {{{mark}}}");
        cluster.run(&create, &cluster.hook(&named, "hooked")).await?.success()?;
    }
    // A user who creates a request by hand may let the API server generate its name.
    cluster.run(&create, &cluster.hook("generateName: reset-hooked-", "hooked")).await?.success()?;
    Ok(())
}
