//! Nothing that the operator or an approver writes is a difference from Git.

use anyhow::{Context, Result, ensure};
use testbed::environment::{Environment, LIMIT, root};
use testbed::eventually;

use super::{CONTROLLER, Cluster, Tool};

const APPROVE: &str = r#"{"spec":{"approved":true}}"#;

/// Starts with the stamp in effect, a grant that requires an approval, and bob who may approve.
async fn two_people() -> Result<Cluster> {
    let cluster = Cluster::start().await?;
    let env = &cluster.0;
    env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    env.grant("strict", "namespaces: [default]\nrequireApproval: true").await?;
    env.kubectl(&["create", "rolebinding", "bob", "--clusterrole=cognito-reset-approver", "--user=bob"]).await?;
    let stamp = root("deploy/kustomize/components/stamp-requester/mutatingadmissionpolicy.yaml");
    env.kubectl(&["apply", "-f", &stamp]).await?;
    eventually(LIMIT, "the stamp to take effect", async || {
        let create = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
        let made = cluster.run(&create, &env.request("probe", "x", "")).await?;
        ensure!(made.stdout.contains(CONTROLLER), "{made}");
        anyhow::Ok(())
    })
    .await?;
    Ok(cluster)
}

/// Applies three times, and fails if anything is written or a difference is shown.
async fn leaves_it_alone(cluster: &Cluster, tool: Tool, name: &str, manifest: &str) -> Result<()> {
    let version = async || Ok::<_, anyhow::Error>(cluster.metadata(name).await?["resourceVersion"].clone());
    let before = version().await?;
    for _ in 0..3 {
        cluster.sync(tool, manifest).await?;
        ensure!(version().await? == before, "{name} was written");
    }
    let diff: Vec<_> = ["diff"].into_iter().chain(tool.apply().iter().copied().skip(1)).collect();
    let diff = cluster.run(&diff, manifest).await?;
    ensure!(diff.ok && diff.stdout.is_empty(), "{diff}");
    Ok(())
}

async fn observed(env: &Environment, name: &str) -> Result<()> {
    eventually(LIMIT, format!("{name} to be observed"), async || {
        let request = env.get("prr", name).await?;
        ensure!(request["status"]["observedGeneration"] == request["metadata"]["generation"], "{request}");
        anyhow::Ok(())
    })
    .await
}

#[tokio::test]
async fn a_sync_writes_nothing_before_and_after_approval_and_end() -> Result<()> {
    let cluster = two_people().await?;
    let env = &cluster.0;
    let _operator = env.run().await?;
    let mut manifests = Vec::new();
    for tool in Tool::ALL {
        let name = tool.name();
        env.users.create_user(&env.pool, name).await?;
        let spec = "notAfter: \"2036-01-01T02:00:00+02:00\"\nreason: phishing\nclientMetadata: {channel: git}";
        let manifest = tool.marked(&env.request(name, name, spec), name);
        cluster.sync(tool, &manifest).await?;
        manifests.push((tool, name, manifest));
    }
    for (tool, name, manifest) in &manifests {
        eventually(LIMIT, format!("the user of {name}"), async || {
            let status = env.get("prr", name).await?["status"].clone();
            ensure!(status["userSub"].is_string(), "{status}");
            anyhow::Ok(())
        })
        .await?;
        env.becomes(name, "Pending/AwaitingApproval").await?;
        leaves_it_alone(&cluster, *tool, name, manifest).await.context("before the approval")?;
    }
    env.hold_in_force("stop", "").await?;
    for (tool, name, manifest) in &manifests {
        env.becomes(name, "Pending/UserPoolHeld").await?;
        let approve = ["patch", "prr", name, "--type=merge", "-p", APPROVE, "--as=bob"];
        env.kubectl(&approve).await?;
        observed(env, name).await?;
        leaves_it_alone(&cluster, *tool, name, manifest).await.context("after the approval")?;
    }
    env.kubectl(&["delete", "poolhold", "stop"]).await?;
    for (tool, name, manifest) in &manifests {
        ensure!(env.ended(name).await? == "Succeeded/ResetAccepted");
        leaves_it_alone(&cluster, *tool, name, manifest).await.context("after the end")?;
        ensure!(env.get("prr", name).await?["spec"]["approvedBy"]["username"] == "bob");
        ensure!(env.calls(name) == 1, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn replace_cannot_take_an_approval_back() -> Result<()> {
    let cluster = two_people().await?;
    let env = &cluster.0;
    let _operator = env.run().await?;
    let name = "replaced";
    env.users.create_user(&env.pool, name).await?;
    let manifest = Tool::ArgoClientSide.marked(&env.request(name, name, ""), name);
    cluster.sync(Tool::ArgoClientSide, &manifest).await?;
    env.becomes(name, "Pending/AwaitingApproval").await?;
    let replace = ["replace", "-f", "-"];
    cluster.run(&replace, &manifest).await?.success()?;
    env.kubectl(&["patch", "prr", name, "--type=merge", "-p", APPROVE, "--as=bob"]).await?;
    ensure!(env.ended(name).await? == "Succeeded/ResetAccepted");
    let refused = cluster.run(&replace, &manifest).await?.refusal()?;
    ensure!(refused.contains("an approval cannot be withdrawn"), "{refused}");
    ensure!(env.calls(name) == 1);
    Ok(())
}

#[tokio::test]
async fn suspend_outlasts_a_sync_only_if_git_leaves_it_out() -> Result<()> {
    let cluster = Cluster::start().await?;
    let env = &cluster.0;
    let _operator = env.run().await?;
    let suspend = |name: &'static str, value: &'static str| {
        let patch = if value == "true" { r#"{"spec":{"suspend":true}}"# } else { r#"{"spec":{"suspend":false}}"# };
        async move { env.kubectl(&["patch", "prr", name, "--type=merge", "-p", patch]).await }
    };
    // Held, so that it is pending while it is suspended.
    env.hold_in_force("stop", "").await?;
    for (name, spec) in [("left-out", ""), ("written", "suspend: false")] {
        env.users.create_user(&env.pool, name).await?;
        let manifest = Tool::ArgoServerSide.marked(&env.request(name, name, spec), name);
        cluster.sync(Tool::ArgoServerSide, &manifest).await?;
        env.becomes(name, "Pending/UserPoolHeld").await?;
        suspend(name, "true").await?;
        cluster.sync(Tool::ArgoServerSide, &manifest).await?;
    }
    let manifest = Tool::ArgoServerSide.marked(&env.request("prepared", "prepared", "suspend: true"), "prepared");
    cluster.sync(Tool::ArgoServerSide, &manifest).await?;
    suspend("prepared", "false").await?;
    cluster.sync(Tool::ArgoServerSide, &manifest).await?;
    ensure!(env.get("prr", "prepared").await?["spec"]["suspend"] == true, "suspended again");
    env.kubectl(&["delete", "poolhold", "stop"]).await?;
    ensure!(env.ended("written").await? == "Succeeded/ResetAccepted", "self-heal has released it");
    env.becomes("left-out", "Pending/Suspended").await?;
    ensure!(env.calls("left-out") == 0);
    // A release by hand of what Git suspends: the next sync suspends it again, or fails if it has
    // ended.
    let manifest = Tool::ArgoServerSide.marked(&env.request("left-out", "left-out", "suspend: true"), "left-out");
    cluster.sync(Tool::ArgoServerSide, &manifest).await?;
    suspend("left-out", "false").await?;
    ensure!(env.ended("left-out").await? == "Succeeded/ResetAccepted");
    let refused = cluster.run(Tool::ArgoServerSide.apply(), &manifest).await?.refusal()?;
    ensure!(refused.contains("suspend may change only while the outcome is Pending"), "{refused}");
    ensure!(env.calls("left-out") == 1);
    Ok(())
}
