//! Many pending requests of the largest content that the API server accepts.

use std::path::Path;

use cognito_reset_api::PasswordResetRequest;
use futures::{StreamExt, TryStreamExt};
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use testbed::{Deployment, environment::root};

use super::*;

const REQUESTS: usize = 10_000;
/// The number of requests that are created at the same time.
const ABREAST: usize = 48;

/// Returns a request of a user pool that no grant names, with each text as long as the CRD accepts.
fn large(number: usize) -> Result<PasswordResetRequest> {
    let key = "\u{1f511}";
    let metadata: BTreeMap<String, String> = (0..4).map(|it| (format!("k{it}"), key.repeat(511))).collect();
    Ok(serde_json::from_value(json!({
        "metadata": { "name": format!("{number:0253}"), "namespace": "default" },
        "spec": {
            "userPoolID": format!("eu-west-1_{}", "a".repeat(45)), "username": key.repeat(128), "clientMetadata": metadata,
            "reason": key.repeat(1024), "ticket": key.repeat(256), "onBehalfOf": key.repeat(256),
        },
    }))?)
}

/// Returns the memory limit of the Deployment, in bytes.
async fn shipped_limit(env: &Environment) -> Result<usize> {
    let base = Deployment::render(env.cluster.as_admin(), Path::new(&root("deploy/kustomize/base"))).await?;
    let deployment = base.manifests.iter().find(|it| it["kind"] == "Deployment").context("no Deployment")?;
    let limit = deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"].as_str();
    let mebibytes = limit.and_then(|limit| limit.strip_suffix("Mi")).context("no limit in MiB")?;
    Ok(mebibytes.parse::<usize>()? << 20)
}

#[tokio::test]
async fn ten_thousand_large_requests_fit_into_the_memory_limit() -> Result<()> {
    let env = Environment::start().await?;
    // Another test of this process may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(env.cluster.kubeconfig())?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let requests: Api<PasswordResetRequest> = Api::namespaced(Client::try_from(config)?, "default");
    let create = async |number| {
        requests.create(&PostParams::default(), &large(number)?).await?;
        anyhow::Ok(())
    };
    futures::stream::iter((0..REQUESTS).map(create)).buffer_unordered(ABREAST).try_collect::<Vec<()>>().await?;
    let limit = shipped_limit(&env).await?;
    let mut operator = env.run_with(env.operator().memory_limit(limit)).await?;
    env.ask("small").await?;
    // It is looked at after those that are there already.
    eventually(LIMIT * 10, "the granted request to end", async || {
        let state = env.state("small").await?;
        ensure!(state == "Succeeded/ResetAccepted", "{state}");
        anyhow::Ok(())
    })
    .await?;
    let pending = format!("cognito_reset_requests_pending{{reason=\"NoMatchingGrant\"}} {REQUESTS}");
    eventually(LIMIT * 10, "every request to be considered", async || {
        let (_, metrics) = operator.page("/metrics").await?;
        let waiting = metrics.lines().find(|line| line.contains("requests_pending{")).unwrap_or_default().to_owned();
        ensure!(metrics.contains(&pending), "{waiting}");
        anyhow::Ok(())
    })
    .await?;
    let peak = operator.peak_memory()?;
    println!("at most {peak} bytes with {REQUESTS} pending requests; the limit is {limit}");
    ensure!(operator.is_running(), "{}", operator.logs());
    assert!(peak < limit / 2, "{peak} bytes, with a limit of {limit}");
    Ok(())
}
