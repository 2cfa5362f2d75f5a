//! The servers start, answer, and are gone afterwards.

use std::time::Duration;

use anyhow::Result;
use testbed::{ControlPlane, Moto, Options, Tools, eventually};

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_control_plane_has_rbac_tokens_and_controllers_and_survives_restarts() -> Result<()> {
    let tools = Tools::locate().await?;
    let mut cluster = ControlPlane::start(&tools, Options { controller_manager: true, ..Options::default() }).await?;
    cluster.kubectl(&["create", "namespace", "here"]).await?.success()?;
    cluster.kubectl(&["create", "serviceaccount", "robot", "-n", "here"]).await?.success()?;

    let token = cluster.service_account_token("here", "robot").await?;
    let robot = cluster.as_admin().with_kubeconfig(&cluster.kubeconfig_for(&token, None)?);
    let who = robot.run(&["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]).await?.success()?;
    assert_eq!(who, "system:serviceaccount:here:robot");
    let refusal = robot.run(&["get", "secrets", "-n", "here"]).await?.refusal()?;
    assert!(refusal.contains("forbidden"), "{refusal}");

    cluster.restart_api_server().await?;
    cluster.restart_etcd().await?;
    cluster.kubectl(&["delete", "namespace", "here", "--timeout=30s"]).await?.success()?;
    let data = cluster.directory().to_owned();
    assert!(data.exists());
    drop(cluster);
    eventually(LIMIT, "the data to be removed", async || (!data.exists()).then_some(())).await
}

#[tokio::test]
async fn the_emulator_has_the_four_kinds_of_users() -> Result<()> {
    let moto = Moto::start(&Tools::locate().await?).await?;
    let cognito = moto.cognito();
    let pool = cognito.create_pool("eu-central-1").await?;
    assert!(pool.starts_with("eu-central-1_"), "{pool}");
    cognito.create_user(&pool, "zoë").await?;
    cognito.create_disabled_user(&pool, "disabled").await?;
    cognito.create_unconfirmed_user(&pool, "unconfirmed").await?;
    cognito.create_user_without_address(&pool, "unreachable").await?;

    assert_eq!(cognito.user_status(&pool, "zoë").await?, "CONFIRMED");
    cognito.reset(&pool, "zoë").await?;
    assert_eq!(cognito.user_status(&pool, "zoë").await?, "RESET_REQUIRED");
    cognito.confirm(&pool, "zoë").await?;
    assert_eq!(cognito.user_status(&pool, "zoë").await?, "CONFIRMED");
    for (username, code) in [
        ("disabled", "NotAuthorizedException"),
        ("unconfirmed", "NotAuthorizedException"),
        ("unreachable", "InvalidParameterException"),
        ("nobody", "UserNotFoundException"),
    ] {
        let problem = cognito.reset(&pool, username).await.unwrap_err().to_string();
        assert!(problem.contains(code), "{username}: {problem}");
    }
    Ok(())
}
