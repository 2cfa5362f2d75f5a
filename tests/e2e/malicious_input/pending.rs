//! Many pending requests of the largest content that the API server accepts.

use testbed::{Deployment, environment::base};

use super::*;

const REQUESTS: usize = 10_000;

/// Returns the name of a request, as long as a name can be.
fn name(number: usize) -> String {
    format!("{number:0253}")
}

/// Returns a request of a user pool that no grant names, with each text as long as the CRD accepts.
fn large() -> Value {
    let key = "\u{1f511}";
    let metadata: BTreeMap<String, String> = (0..4).map(|it| (format!("k{it}"), key.repeat(511))).collect();
    json!({
        "apiVersion": "cognito-reset.dev/v1alpha1", "kind": "PasswordResetRequest",
        "metadata": { "name": name(0), "namespace": "default" },
        "spec": {
            "userPoolID": format!("eu-west-1_{}", "a".repeat(45)), "username": key.repeat(128), "clientMetadata": metadata,
            "reason": key.repeat(1024), "ticket": key.repeat(256), "onBehalfOf": key.repeat(256),
        },
    })
}

/// Creates all requests: the first by the API server, which accepts it, and the others as its
/// copies.
async fn create(env: &Environment) -> Result<()> {
    let path = "/apis/cognito-reset.dev/v1alpha1/namespaces/default/passwordresetrequests";
    let (status, output) = env.cluster.request(Method::POST, path, Some(&large())).await?;
    ensure!(status == http::StatusCode::CREATED, "{status}: {output}");
    let key = format!("/registry/cognito-reset.dev/passwordresetrequests/default/{}", name(0));
    env.cluster.store_copies(&key, (1..REQUESTS).map(name)).await
}

/// Returns the memory limit of the Deployment, in bytes.
async fn shipped_limit(env: &Environment) -> Result<usize> {
    let base = Deployment::render(env.cluster.as_admin(), &base()).await?;
    let deployment = base.manifests.iter().find(|it| it["kind"] == "Deployment").context("no Deployment")?;
    let limit = deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"].as_str();
    let mebibytes = limit.and_then(|limit| limit.strip_suffix("Mi")).context("no limit in MiB")?;
    Ok(mebibytes.parse::<usize>()? << 20)
}

#[tokio::test]
async fn ten_thousand_large_requests_fit_into_the_memory_limit() -> Result<()> {
    let mut env = Environment::start().await?;
    env.cluster.is_used_up();
    create(&env).await?;
    let limit = shipped_limit(&env).await?;
    // Without the proxy, which would keep each of the large requests that it passes on.
    let direct = env.direct_kubeconfig().await?;
    let mut operator = env.run_with(env.operator().kubeconfig(&direct).memory_limit(limit)).await?;
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
