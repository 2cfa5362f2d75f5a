//! `kubectl`, as a person would run it.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail};
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::Tools;

/// `kubectl` with a kubeconfig and a home directory of its own.
#[derive(Clone, Debug)]
pub struct Kubectl {
    pub(crate) program: PathBuf,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) home: PathBuf,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) plugins: Option<PathBuf>,
}

/// The result of a `kubectl`.
#[derive(Clone, Debug)]
pub struct KubectlResult {
    command: String,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// True if it ended with 0.
    pub ok: bool,
    /// Its exit code; absent if a signal ended it.
    pub code: Option<i32>,
}

impl KubectlResult {
    /// The standard output of a success.
    ///
    /// # Errors
    /// When it failed, with what it said.
    pub fn success(self) -> Result<String> {
        if !self.ok {
            bail!("{self}");
        }
        Ok(self.stdout)
    }

    /// The standard error of a failure, for what is expected to be refused.
    ///
    /// # Errors
    /// When it did not fail.
    pub fn refusal(self) -> Result<String> {
        if self.ok {
            bail!("{} was expected to be refused, and was not: {}", self.command, self.stdout);
        }
        Ok(self.stderr)
    }
}

/// The command, what it said, and whether it failed.
impl fmt::Display for KubectlResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.ok { "succeeded" } else { "failed" };
        write!(f, "`{}` {verdict}: {}{}", self.command, self.stdout, self.stderr)
    }
}

impl Kubectl {
    /// Returns a `kubectl` for commands that need no server, such as `kubectl kustomize`. It keeps
    /// its files in `home`.
    #[must_use]
    pub fn alone(tools: &Tools, home: &Path) -> Self {
        Self {
            program: tools.kubectl(),
            kubeconfig: home.join("none"),
            home: home.to_owned(),
            directory: None,
            plugins: None,
        }
    }

    /// Returns a `kubectl` that uses this kubeconfig, and keeps its files in `home`.
    pub(crate) fn new(tools: &Tools, kubeconfig: PathBuf, home: &Path) -> Self {
        Self { program: tools.kubectl(), kubeconfig, home: home.to_owned(), directory: None, plugins: None }
    }

    /// Returns the same `kubectl` for another user, with that user's kubeconfig.
    #[must_use]
    pub fn with_kubeconfig(&self, kubeconfig: &Path) -> Self {
        Self { kubeconfig: kubeconfig.to_owned(), ..self.clone() }
    }

    /// Returns another program with the same environment, such as a plugin.
    #[must_use]
    pub fn with_program(&self, program: &Path) -> Self {
        Self { program: program.to_owned(), ..self.clone() }
    }

    /// Returns the same `kubectl` with this folder first in PATH, where it looks for plugins.
    #[must_use]
    pub fn with_plugins(&self, folder: &Path) -> Self {
        Self { plugins: Some(folder.to_owned()), ..self.clone() }
    }

    /// Returns the same `kubectl`, run in this directory, where relative paths start.
    #[must_use]
    pub fn in_directory(&self, directory: &Path) -> Self {
        Self { directory: Some(directory.to_owned()), ..self.clone() }
    }

    /// Returns the path of the program.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Runs it. A failure of the command is in the result.
    ///
    /// # Errors
    /// When it cannot be run at all.
    pub async fn run(&self, arguments: &[&str]) -> Result<KubectlResult> {
        self.run_with_input(arguments, "").await
    }

    /// Runs it with the output and errors of this process, as a terminal shows them. Returns true
    /// if it succeeded.
    ///
    /// # Errors
    /// When it cannot be run at all.
    pub async fn show(&self, arguments: &[&str]) -> Result<bool> {
        let mut process = self.command(arguments)?;
        if let Some(terminal) = std::env::var_os("TERM") {
            process.env("TERM", terminal);
        }
        let status = process.stdin(Stdio::null()).kill_on_drop(true).status().await;
        Ok(status.with_context(|| format!("failed to run {}", self.program.display()))?.success())
    }

    /// Runs it with something on its standard input, for `-f -`.
    ///
    /// # Errors
    /// When it cannot be run at all.
    pub async fn run_with_input(&self, arguments: &[&str], input: &str) -> Result<KubectlResult> {
        let program = self.program.file_name().unwrap_or_default().display();
        let command = format!("{program} {}", arguments.join(" "));
        let mut child = self
            .command(arguments)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("failed to run {}", self.program.display()))?;
        let mut stdin = child.stdin.take().context("kubectl has no standard input")?;
        let feed = async {
            // It may end without reading: its result has the reason.
            let _ = stdin.write_all(input.as_bytes()).await;
            drop(stdin);
        };
        let ((), output) = tokio::join!(feed, child.wait_with_output());
        let output = output.with_context(|| format!("failed to run {command}"))?;
        Ok(KubectlResult {
            command,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            ok: output.status.success(),
            code: output.status.code(),
        })
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut process = Command::new(&self.program);
        if let Some(directory) = &self.directory {
            process.current_dir(directory);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = self.plugins.iter().cloned().chain(std::env::split_paths(&path));
        process
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::join_paths(folders)?)
            .env("HOME", &self.home)
            .env("KUBECONFIG", &self.kubeconfig);
        Ok(process)
    }

    /// `kubectl apply -f -` of these documents.
    ///
    /// # Errors
    /// When it cannot be run at all; a refusal is in the result.
    pub async fn apply(&self, yaml: &str) -> Result<KubectlResult> {
        self.run_with_input(&["apply", "-f", "-"], yaml).await
    }
}
