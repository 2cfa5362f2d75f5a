//! The servers start and respond, and are gone afterwards.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::Result;
use testbed::{ControlPlane, Moto, Options, Tools, eventually};

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_control_plane_has_rbac_and_tokens_and_survives_restarts() -> Result<()> {
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

#[tokio::test]
async fn the_first_build_of_the_servers_succeeds_or_says_why_not() -> Result<()> {
    let tools = Tools::locate().await?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools");
    let directory = tempfile::tempdir()?;
    let (cache, programs) = (directory.path().join("cache/cognito-reset-operator"), directory.path().join("bin"));
    fs::create_dir_all(&cache)?;
    fs::create_dir(&programs)?;
    // The emulator is there already: its environment goes by the name that its pins give it.
    let moto = tools.moto_server();
    let environment = moto.ancestors().nth(2).expect("moto_server is in a virtual environment");
    symlink(environment, cache.join(environment.file_name().expect("a name")))?;
    let program = |name: &str, text: &str| -> Result<()> {
        let path = programs.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n"))?;
        Ok(fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?)
    };
    let run = |builds: &str| -> Result<_> {
        program("go", &format!("if [ \"$1\" = env ]; then echo go99.0; exit; fi\n{builds}"))?;
        let path = format!("{}:{}", programs.display(), std::env::var("PATH")?);
        let mut command = Command::new(&script);
        command
            .env("PATH", path)
            .env("XDG_CACHE_HOME", directory.path().join("cache"))
            .env("TOOLS_MINUTE", "3")
            .env_remove("KUBEBUILDER_ASSETS");
        Ok(command.output()?)
    };
    // `go build -mod=readonly -o DIRECTORY …` leaves etcd under its package's name. The script
    // looks after the build late, and never when a "minute" of three seconds is just full. It
    // reports the progress all the same.
    program("sleep", "exec /bin/sleep 4")?;
    let failed = run("/bin/sleep 1; exit 3")?;
    let shown = String::from_utf8_lossy(&failed.stderr);
    assert!(!failed.status.success() && shown.contains("could not be built"), "{shown}");
    assert!(shown.contains("still building, 1 min so far"), "{shown}");
    fs::remove_file(programs.join("sleep"))?;
    for builds in ["touch \"$4/server\"", "echo 'built again' >&2; exit 1"] {
        let output = run(builds)?;
        let shown = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {shown}", output.status);
        assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 2);
    }
    Ok(())
}
