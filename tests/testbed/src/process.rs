//! A child process that never outlives its owner.

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// Reads until its standard input ends, which happens when the owner is gone for any reason. Then
/// it kills the process and removes the directory that it is given.
const WATCHDOG: &str = r#"read -r _; kill -9 "$1"; [ -z "$2" ] || { sleep 1; rm -rf "$2"; }"#;

/// A child with its output in a log file. It is killed when dropped, and by a watchdog when the
/// owner is killed.
///
/// It has a process group of its own, so that an interrupt typed at a terminal only reaches the
/// owner.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    log: PathBuf,
    // It ends before `child` does: a watchdog must not outlive the process that it watches.
    watchdog: Option<Child>,
    child: Child,
}

impl Process {
    /// Starts `command`, appending what it prints to `log`; `scratch` is removed if the owner is
    /// killed.
    pub(crate) fn spawn(name: &'static str, command: &mut Command, log: &Path, scratch: Option<&Path>) -> Result<Self> {
        let output = std::fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("failed to open {name}'s log {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("failed to start {name}: {:?}", command.as_std().get_program()))?;
        let pid = child.id().with_context(|| format!("{name} ended at once"))?;
        let watchdog = Command::new("/bin/sh")
            .args(["-c", WATCHDOG, "watchdog", &pid.to_string()])
            .arg(scratch.unwrap_or_else(|| Path::new("")))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("failed to start a watchdog (/bin/sh)")?;
        Ok(Self { name, log: log.to_owned(), watchdog: Some(watchdog), child })
    }

    /// The process id, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends a signal. Nothing happens when the process has ended.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw) else {
            return Ok(());
        };
        kill_process(pid, signal).with_context(|| format!("failed to send {signal:?} to {}", self.name))
    }

    /// Kills it and waits until it is gone.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.with_context(|| format!("failed to kill {}", self.name))?;
        self.watchdog = None;
        Ok(())
    }

    /// Waits for its end.
    pub(crate) async fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        match tokio::time::timeout(limit, self.child.wait()).await {
            Ok(status) => {
                self.watchdog = None;
                Ok(status?)
            }
            Err(_) => Err(self.explain(&format!("still runs after {limit:?}"))),
        }
    }

    /// Its exit status, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// All it has printed.
    pub(crate) fn logs(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// An error about this process, with the end of its log.
    pub(crate) fn explain(&self, problem: &str) -> anyhow::Error {
        let logs = self.logs();
        let lines: Vec<&str> = logs.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(25)..).unwrap_or_default().join("\n  ");
        anyhow!("{} {problem}; the end of its log:\n  {tail}", self.name)
    }

    /// Polls `ready` until it says so. The end of the process, or of the limit, is an error with
    /// the end of the log.
    pub(crate) async fn ready(&mut self, limit: Duration, mut ready: impl AsyncFnMut() -> bool) -> Result<()> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            if let Some(status) = self.ended() {
                return Err(self.explain(&format!("ended with {status} before it was ready")));
            }
            if ready().await {
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                return Err(self.explain(&format!("was not ready within {limit:?}")));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Ends the process, and waits until it has ended: the directory that it writes to is likely to be
/// removed next.
impl Drop for Process {
    fn drop(&mut self) {
        self.watchdog = None;
        let _ = self.child.start_kill();
        for _ in 0..1000 {
            if self.ended().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A server to start. Its environment holds `PATH` and a `HOME` of its own and nothing else: many
/// servers take settings from variables (`ETCD_NAME`, `KUBE_FEATURE_…`, `PYTHONPATH`,
/// `HTTPS_PROXY`), and the user who runs the tests may have set some.
pub(crate) fn server(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", home);
    command
}
