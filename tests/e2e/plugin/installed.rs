//! The plugin as people install it: by krew from an archive, with the completion of kubectl.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use testbed::{
    environment::{Environment, plugin, root},
    helm::packaging,
};

/// Runs a program, and returns its standard output.
fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?} cannot be run"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// Installs the plugin by krew, as from a file that was downloaded before, into `folder`.
fn install(folder: &Path) -> Result<()> {
    let (script, files) = (root(".ci/krew"), folder.join("files"));
    let platform = format!("linux-{}", if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" });
    output(Command::new(&script).arg("archive").arg(plugin()).arg(&platform).arg(&files))?;
    output(Command::new(&script).arg("manifest").arg(&files).arg("https://example.com/releases"))?;
    let archive = files.join(format!("kubectl-cognito_reset-{platform}.tar.gz"));
    output(
        Command::new(packaging().join("krew"))
            .arg("install")
            .arg(format!("--manifest={}", files.join("cognito-reset.yaml").display()))
            .arg(format!("--archive={}", archive.display()))
            .env("KREW_ROOT", folder)
            .env("KREW_NO_UPGRADE_CHECK", "1")
            .env("HOME", folder),
    )?;
    Ok(())
}

#[tokio::test]
async fn krew_installs_it_and_kubectl_completes_it() -> Result<()> {
    let env = Environment::start().await?;
    env.apply(&env.request("help-1", "alice", "suspend: true")).await?;
    let folder = tempfile::tempdir()?;
    install(folder.path())?;
    let bin = folder.path().join("bin");
    let kubectl = env.cluster.as_admin().with_plugins(&bin);
    let version = kubectl.run(&["cognito-reset", "--version"]).await?.success()?;
    assert!(version.starts_with("kubectl cognito-reset "), "{version}");

    let installed = kubectl.run(&["cognito-reset", "completion", "kubectl", "--install"]).await?.success()?;
    assert!(installed.contains("kubectl_complete-cognito_reset"), "{installed}");
    let completed = async |words: &[&str]| {
        let words = [&["__complete", "cognito-reset"], words].concat();
        anyhow::Ok(kubectl.run(&words).await?.success()?)
    };
    let commands = completed(&["cr"]).await?;
    assert!(commands.contains("create\tCreates"), "{commands}");
    let pools = completed(&["create", "alice", "--pool", ""]).await?;
    assert!(pools.contains(&env.pool), "{pools}");
    let requests = completed(&["explain", ""]).await?;
    assert!(requests.contains("help-1\tPending"), "{requests}");
    let namespaces = completed(&["create", "-n", "kube-s"]).await?;
    assert!(namespaces.contains("kube-system"), "{namespaces}");
    Ok(())
}
