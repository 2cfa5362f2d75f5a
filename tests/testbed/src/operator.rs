//! The operator as a process that can be stopped, frozen and killed.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::process::Command;

use crate::{Deployment, http_client::HttpClient, port::Port, process::Process};

const LISTEN_FLAG: &str = "--listen";
/// The operator calls only AWS, unless this variable says that it is in a test.
const TEST_ENDPOINTS: &str = "COGNITO_RESET_ALLOW_TEST_ENDPOINTS";
const LISTEN_VARIABLE: &str = "COGNITO_RESET_LISTEN";

/// The settings of an operator to start. Its environment holds what is set here and nothing else
/// but `PATH` and a `HOME` of its own.
#[derive(Clone, Debug)]
pub struct OperatorBuilder {
    program: PathBuf,
    arguments: Vec<String>,
    environment: BTreeMap<String, OsString>,
    log: Option<PathBuf>,
    memory_limit: Option<usize>,
}

impl OperatorBuilder {
    /// The arguments and the environment of the Deployment.
    #[must_use]
    pub fn deployment(mut self, deployment: &Deployment) -> Self {
        self.arguments.clone_from(&deployment.arguments);
        for (name, value) in &deployment.environment {
            self = self.env(name, value);
        }
        self
    }

    /// Sets another program, which starts the operator with its own arguments and environment.
    #[must_use]
    pub fn program(mut self, path: &Path) -> Self {
        path.clone_into(&mut self.program);
        self
    }

    /// Sets the API server and the operator's identity there.
    #[must_use]
    pub fn kubeconfig(self, path: &Path) -> Self {
        self.env("KUBECONFIG", path)
    }

    /// Sets the address of Cognito: the emulator, or a proxy before it.
    #[must_use]
    pub fn cognito(self, url: &str) -> Self {
        self.env(TEST_ENDPOINTS, "true").env("AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER", url)
    }

    /// Sets the address of STS.
    #[must_use]
    pub fn sts(self, url: &str) -> Self {
        self.env(TEST_ENDPOINTS, "true").env("AWS_ENDPOINT_URL_STS", url)
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item: Into<String>>>(mut self, arguments: I) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// Removes a variable, such as the credentials.
    #[must_use]
    pub fn without_env(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// Sets the file for its output, in place of a temporary one. The content of the file stays.
    #[must_use]
    pub fn log_file(mut self, path: &Path) -> Self {
        self.log = Some(path.to_owned());
        self
    }

    /// Limits the memory that it can allocate, in bytes. A container's limit counts less: of what
    /// is allocated only the touched part.
    #[must_use]
    pub const fn memory_limit(mut self, bytes: usize) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    fn command(&self) -> Command {
        let Some(limit) = self.memory_limit else { return Command::new(&self.program) };
        let mut command = Command::new("sh");
        command.args(["-c", r#"ulimit -d "$0" && exec "$@""#, &(limit / 1024).to_string()]).arg(&self.program);
        command
    }

    /// Starts it, without waiting for anything. Its port is a free one, regardless of the
    /// arguments.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(&self) -> Result<Operator> {
        let directory = tempfile::Builder::new().prefix("operator-").tempdir().context("no temporary directory")?;
        let port = Port::reserve()?;
        let (listen, url) = (port.to_string(), port.url());
        let mut command = self.command();
        command
            .args(with_listen(&self.arguments, &listen))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", directory.path())
            .envs(&self.environment)
            .env(LISTEN_VARIABLE, &listen);
        let log = self.log.clone().unwrap_or_else(|| directory.path().join("operator.log"));
        let process = Process::spawn("the operator", &mut command, &log, Some(directory.path()))?;
        Ok(Operator { process, _port: port, url, client: HttpClient::new(None)?, _directory: directory })
    }
}

/// Returns the arguments, with the value of `--listen`, if there is one, replaced by `address`.
fn with_listen(arguments: &[String], address: &str) -> Vec<String> {
    let mut after_flag = false;
    let replace = |argument: &String| {
        let replaced = if after_flag {
            address.to_owned()
        } else if argument.starts_with("--listen=") {
            format!("{LISTEN_FLAG}={address}")
        } else {
            argument.clone()
        };
        after_flag = argument == LISTEN_FLAG;
        replaced
    };
    arguments.iter().map(replace).collect()
}

/// A started operator. It is killed when dropped.
#[derive(Debug)]
pub struct Operator {
    process: Process,
    _port: Port,
    url: String,
    client: HttpClient,
    _directory: TempDir,
}

impl Operator {
    /// Begins to describe a start of this program, with made-up AWS credentials.
    #[must_use]
    pub fn builder(program: &Path) -> OperatorBuilder {
        let (program, environment) = (program.to_owned(), BTreeMap::new());
        OperatorBuilder { program, arguments: Vec::new(), environment, log: None, memory_limit: None }
            .env("AWS_ACCESS_KEY_ID", "testbed")
            .env("AWS_SECRET_ACCESS_KEY", "testbed")
            .env("AWS_REGION", "eu-west-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
    }

    /// `http://127.0.0.1:PORT` of its probes and metrics.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits until `/readyz` says so.
    ///
    /// # Errors
    /// When it ends or the limit does, with the end of its log.
    pub async fn wait_ready(&mut self, limit: Duration) -> Result<()> {
        let (client, url) = (&self.client, format!("{}/readyz", self.url));
        self.process.ready(limit, async || client.is_ok(&url, None).await).await
    }

    /// Reads a page, such as `/metrics`, as text.
    ///
    /// # Errors
    /// When there is no response.
    pub async fn page(&self, path: &str) -> Result<(http::StatusCode, String)> {
        let request = http::Request::get(format!("{}{path}", self.url)).body(http_body_util::Full::default())?;
        let response = self.client.exchange(request).await?;
        Ok((response.status(), String::from_utf8_lossy(response.body()).into_owned()))
    }

    /// Returns all its output.
    #[must_use]
    pub fn logs(&self) -> String {
        self.process.logs()
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// The most memory that it has had at once, in bytes.
    ///
    /// # Errors
    /// When it has ended, and where the kernel does not say so.
    pub fn peak_memory(&self) -> Result<usize> {
        self.memory("VmHWM:")
    }

    /// The memory that it has now and that is not mapped from a file, in bytes.
    ///
    /// # Errors
    /// As for [`peak_memory`](Self::peak_memory).
    pub fn anonymous_memory(&self) -> Result<usize> {
        self.memory("RssAnon:")
    }

    fn memory(&self, name: &str) -> Result<usize> {
        let pid = self.pid().context("it has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
        Ok(line.trim().trim_end_matches(" kB").parse::<usize>()? * 1024)
    }

    /// Returns true if it has scanned all objects of a kind, `record` or `request`, for those to
    /// delete.
    ///
    /// # Errors
    /// When its metrics cannot be read.
    pub async fn has_scanned(&self, kind: &str) -> Result<bool> {
        let (_, metrics) = self.page("/metrics").await?;
        let series = format!("cognito_reset_retention_last_scan_timestamp_seconds{{kind=\"{kind}\"}} ");
        Ok(metrics.lines().filter_map(|line| line.strip_prefix(&series)).any(|time| time != "0"))
    }

    /// Returns true if it still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// Returns its exit status, if it has ended.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.process.ended()
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn sigkill(&mut self) -> Result<()> {
        self.process.kill().await
    }

    /// Asks it to end (SIGTERM).
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn sigterm(&self) -> Result<()> {
        self.process.signal(Signal::TERM)
    }

    /// Freezes it (SIGSTOP).
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn sigstop(&self) -> Result<()> {
        self.process.signal(Signal::STOP)
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn sigcont(&self) -> Result<()> {
        self.process.signal(Signal::CONT)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it still runs after the limit, with the end of its log.
    pub async fn wait_exit(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.process.wait(limit).await
    }
}

#[cfg(test)]
mod tests {
    use super::with_listen;

    #[test]
    fn the_listen_argument_is_replaced_in_both_spellings() {
        let arguments = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        for (given, expected) in [
            (&["run", "--listen", ":8080", "-v"][..], &["run", "--listen", "HERE", "-v"][..]),
            (&["run", "--listen=:8080"], &["run", "--listen=HERE"]),
            (&["run"], &["run"]),
        ] {
            assert_eq!(with_listen(&arguments(given), "HERE"), arguments(expected));
        }
    }
}
