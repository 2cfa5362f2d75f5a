//! Requests that Velero restores: its default leaves the status out.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::environment::Environment;

use super::{Cluster, Tool};

/// A backup of one request and of its record.
struct Backup {
    request: Value,
    record: Value,
}

impl Backup {
    async fn of(cluster: &Cluster, name: &str) -> Result<Self> {
        let record = cluster.0.record(name).await?.context("no record")?;
        let record = cluster.backup("prrec", record["metadata"]["name"].as_str().unwrap_or_default()).await?;
        Ok(Self { request: cluster.backup("prr", name).await?, record })
    }
}

async fn create(env: &Environment, object: &Value) -> Result<()> {
    env.cluster.as_admin().run_with_input(&["create", "-f", "-"], &object.to_string()).await?.success()?;
    Ok(())
}

/// Stops the operator, deletes the requests and all records, as if the cluster was another one, and
/// restores the records if `with_records` is true, then the requests.
async fn move_to_another_cluster(cluster: &Cluster, backups: &[Backup], with_records: bool) -> Result<()> {
    let env = &cluster.0;
    env.kubectl(&["delete", "prr", "--all"]).await?;
    env.kubectl(&["delete", "prrec", "--all"]).await?;
    for backup in backups {
        if with_records {
            create(env, &backup.record).await?;
        }
    }
    for backup in backups {
        create(env, &backup.request).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_request_restored_without_status_is_not_reset_again() -> Result<()> {
    let cluster = Cluster::start().await?;
    let env = &cluster.0;
    let operator = env.run().await?;
    let names = ["same-cluster", "another-cluster"];
    let mut backups = Vec::new();
    for name in names {
        cluster.reset(Tool::ArgoServerSide, name, "").await?;
        backups.push(Backup::of(&cluster, name).await?);
    }
    // In the same cluster the record is still there.
    env.kubectl(&["delete", "prr", names[0]]).await?;
    create(env, &backups[0].request).await?;
    ensure!(env.ended(names[0]).await? == "Succeeded/AlreadyPerformed");
    drop(operator);
    move_to_another_cluster(&cluster, &backups, true).await?;
    let _operator = env.run().await?;
    for name in names {
        ensure!(env.ended(name).await? == "Succeeded/AlreadyPerformed", "{name}");
        cluster.is_reset_once(name).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_restore_without_records_is_stopped_by_not_after_alone() -> Result<()> {
    let cluster = Cluster::start().await?;
    let env = &cluster.0;
    let operator = env.run().await?;
    let mut backups = Vec::new();
    for (name, spec) in [("bounded", "notAfter: \"2036-01-01T00:00:00Z\""), ("unbounded", "")] {
        cluster.reset(Tool::Flux, name, spec).await?;
        backups.push(Backup::of(&cluster, name).await?);
    }
    drop(operator);
    // Instead of a wait until the time has passed.
    backups[0].request["spec"]["notAfter"] = json!("2020-01-01T00:00:00Z");
    move_to_another_cluster(&cluster, &backups, false).await?;
    let _operator = env.run().await?;
    ensure!(env.ended("bounded").await? == "Failed/Expired");
    cluster.is_reset_once("bounded").await?;
    ensure!(env.ended("unbounded").await? == "Succeeded/ResetAccepted");
    ensure!(env.calls("unbounded") == 2, "neither a record nor notAfter: the restore is a new request");
    Ok(())
}

#[tokio::test]
async fn a_restored_status_is_believed_and_resets_nothing() -> Result<()> {
    let cluster = Cluster::start().await?;
    let env = &cluster.0;
    let operator = env.run().await?;
    let name = "with-status";
    cluster.reset(Tool::Flux, name, "").await?;
    let mut status = env.get("prr", name).await?["status"].clone();
    // An approved request has another generation than its copy.
    status["observedGeneration"] = json!(7);
    let backup = Backup::of(&cluster, name).await?;
    env.kubectl(&["delete", "prr", name]).await?;
    create(env, &backup.request).await?;
    let patch = json!({ "status": status }).to_string();
    env.kubectl(&["patch", "prr", name, "--subresource=status", "--type=merge", "-p", &patch]).await?;
    let ended = env.ended(name).await?;
    ensure!(ended == "Succeeded/ResetAccepted", "{ended}");
    drop(operator);
    let _operator = env.run().await?;
    // The operator has read the request once a later one has ended.
    cluster.reset(Tool::Flux, "later", "").await?;
    ensure!(env.get("prr", name).await?["status"]["observedGeneration"] == 7, "the status is left as it is");
    cluster.is_reset_once(name).await
}

#[tokio::test]
async fn an_approved_request_is_not_restored() -> Result<()> {
    let cluster = Cluster::start().await?;
    let env = &cluster.0;
    let name = "approved";
    env.apply(&env.request(name, name, "")).await?;
    let mut request = cluster.backup("prr", name).await?;
    env.kubectl(&["delete", "prr", name]).await?;
    request["spec"]["approved"] = json!(true);
    let create = ["create", "-f", "-"];
    let refused = cluster.run(&create, &request.to_string()).await?.refusal()?;
    ensure!(refused.contains("a request is never approved on creation"), "{refused}");
    Ok(())
}
