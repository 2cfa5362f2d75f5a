//! A forward proxy, as companies have them: `tests/testbed/connect-proxy`, a process of its own.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::{
    Tools,
    process::{Process, server},
};

const START_LIMIT: Duration = Duration::from_secs(30);

/// The running proxy. It ends when dropped.
#[derive(Debug)]
pub struct ConnectProxy {
    process: Process,
    port: u16,
    _directory: TempDir,
}

impl ConnectProxy {
    /// Starts a proxy with these arguments, which the script describes.
    ///
    /// # Errors
    /// When it does not start, with the end of its log.
    pub async fn start(tools: &Tools, arguments: &[&str]) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("proxy-").tempdir().context("no temporary directory")?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("connect-proxy");
        let mut command = server(&tools.python(), directory.path());
        command.arg(script).args(arguments);
        let log = directory.path().join("proxy.log");
        let mut process = Process::spawn("the proxy", &mut command, &log, Some(directory.path()))?;
        let port_of = |log: &str| log.lines().find_map(|line| line.strip_prefix("port ")?.parse().ok());
        let seen = log.clone();
        process
            .ready(START_LIMIT, async || std::fs::read_to_string(&seen).is_ok_and(|log| port_of(&log).is_some()))
            .await?;
        let port = port_of(&process.logs()).context("the proxy printed no port")?;
        Ok(Self { process, port, _directory: directory })
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The connections that were requested so far, as lines such as `CONNECT 127.0.0.1:443 200`.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.process.logs().lines().filter(|line| !line.starts_with("port ")).map(str::to_owned).collect()
    }
}
