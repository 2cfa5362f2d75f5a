//! The plugin as people install it: by krew from an archive, with the completion of kubectl.

use std::{
    path::{Path, PathBuf},
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

/// Packages a program as a release does, into `folder`. Returns the archive and krew's manifest.
fn package(program: &Path, folder: &Path) -> Result<(PathBuf, PathBuf)> {
    let (script, files) = (root(".ci/krew"), folder.join("files"));
    let platform = format!("linux-{}", if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" });
    output(Command::new(&script).arg("archive").arg(program).arg(&platform).arg(&files))?;
    output(Command::new(&script).arg("manifest").arg(&files).arg("https://example.com/releases"))?;
    Ok((files.join(format!("kubectl-cognito_reset-{platform}.tar.gz")), files.join("cognito-reset.yaml")))
}

/// Installs by krew, as from a file that was downloaded before, into `folder`.
fn install(archive: &Path, manifest: &Path, folder: &Path) -> Result<()> {
    output(
        Command::new(packaging().join("krew"))
            .arg("install")
            .arg(format!("--manifest={}", manifest.display()))
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
    let (archive, manifest) = package(plugin(), folder.path())?;
    install(&archive, &manifest, folder.path())?;
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

#[test]
fn krew_refuses_an_archive_that_its_manifest_does_not_name() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("program");
    std::fs::write(&program, "#!/bin/sh\n")?;
    let (archive, manifest) = package(&program, folder.path())?;
    let sum = output(Command::new("sha256sum").arg(&archive))?;
    let sum = sum.split(' ').next().context("a sum")?;
    let text = std::fs::read_to_string(&manifest)?;
    ensure!(text.contains(&format!("sha256: {sum}\n")), "{text}");
    ensure!(text.contains("  homepage: https://example.com\n"), "{text}");
    let again = tempfile::tempdir()?;
    let bytes = std::fs::read(&archive)?;
    ensure!(std::fs::read(package(&program, again.path())?.0)? == bytes, "the same program gives the same archive");
    install(&archive, &manifest, again.path())?;

    // Another program of the same name and form.
    std::fs::write(&program, "#!/bin/sh\nexit 1\n")?;
    let (other, _) = package(&program, &folder.path().join("other"))?;
    let other_root = folder.path().join("root");
    let refused = install(&other, &manifest, &other_root).expect_err("the sums differ").to_string();
    ensure!(refused.contains("checksum does not match"), "{refused}");
    ensure!(!other_root.join("bin/kubectl-cognito_reset").exists(), "nothing is installed");
    Ok(())
}
