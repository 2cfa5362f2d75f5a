//! The image as the project's scripts build it, and a registry for it.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use testbed::environment::{LIMIT, root};
use testbed::eventually;
use tokio::sync::OnceCell;

/// Runs a program, and returns its standard output without the last line break.
pub(super) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?} cannot be run"))?;
    let shown = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {shown}{}", String::from_utf8_lossy(&output.stdout));
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

/// The tools that `.ci/image` pins.
#[derive(Debug)]
pub(super) struct Tools(PathBuf);

impl Tools {
    pub(super) fn build() -> Result<Self> {
        Ok(Self(output(Command::new(root(".ci/image/tools")).stderr(Stdio::inherit()))?.into()))
    }

    pub(super) fn runc(&self) -> PathBuf {
        self.0.join("runc")
    }

    /// Returns the default seccomp profile, or null where runc was built without seccomp.
    pub(super) fn seccomp(&self) -> Result<serde_json::Value> {
        if !output(Command::new(self.runc()).arg("--version"))?.contains("libseccomp") {
            eprintln!("image: the container runs without a seccomp profile, see .ci/image/tools");
            return Ok(serde_json::Value::Null);
        }
        Ok(serde_json::from_str(&output(&mut Command::new(self.0.join("seccomp")))?)?)
    }

    pub(super) fn crane(&self, arguments: &[&str]) -> Result<String> {
        output(Command::new(self.0.join("crane")).args(arguments))
    }
}

/// Returns a static operator: that under test, or a release build that is made here.
pub(super) fn program() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("COGNITO_RESET_OPERATOR_BIN") {
        return Ok(named.into());
    }
    output(Command::new(root(".ci/build")).env_remove("CARGO_TARGET_DIR").stderr(Stdio::inherit()))?;
    Ok(root("target/release/cognito-reset-operator").into())
}

/// Returns the architecture of this machine, in the words of OCI.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Builds the image into a folder, and returns what the script prints.
pub(super) fn build(program: &Path, folder: &Path) -> Result<String> {
    output(Command::new(root(".ci/image/build")).arg(program).arg(architecture()).arg(folder))
}

/// Returns the folder of the image, which is built once.
pub(super) async fn built() -> Result<&'static Path> {
    static FOLDER: OnceCell<PathBuf> = OnceCell::const_new();
    let made = FOLDER.get_or_try_init(async || {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("image");
        let shown = build(&program()?, &folder)?;
        println!("{shown}");
        anyhow::Ok(folder)
    });
    Ok(made.await?)
}

/// A registry on a port of its own. It ends when dropped.
#[derive(Debug)]
pub(super) struct Registry {
    address: String,
    process: Child,
}

impl Registry {
    pub(super) async fn start(tools: &Tools, folder: &Path) -> Result<Self> {
        let log = folder.join("registry.log");
        let output = std::fs::File::create(&log)?;
        // It ends with its standard input, and so also when this process is killed.
        let process = Command::new("sh")
            .args(["-c", r#""$0" registry serve --address=127.0.0.1:0 & read -r _; kill $!"#])
            .arg(tools.0.join("crane"))
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        let port = eventually(LIMIT, "the port of the registry", async || {
            let text = std::fs::read_to_string(&log)?;
            let port = text.split_once("serving on port ").and_then(|(_, rest)| rest.lines().next());
            port.map(str::to_owned).with_context(|| text.clone())
        });
        Ok(Self { address: format!("127.0.0.1:{}", port.await?), process })
    }

    /// Returns a reference of this registry.
    pub(super) fn named(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// The time in which an operator that is asked to end has ended.
pub(super) const END: Duration = Duration::from_secs(30);
