//! One replica of the operator, with a fault proxy of its own before the API server and one before
//! Cognito.

use std::{
    collections::BTreeMap,
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{
        Mutex as Lock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    sync::{Mutex, MutexGuard},
    time::{sleep, timeout},
};

use crate::{FaultProxy, Operator, OperatorBuilder};

/// The time between two looks at the process. The kubelet would take longer to start a container
/// again.
const LOOK: Duration = Duration::from_millis(200);
/// The time to wait for a page of a process that may be frozen.
const PAGE: Duration = Duration::from_millis(300);

/// A wall clock that the replica uses in place of the machine's: the crate `clock`.
#[derive(Debug)]
pub(super) struct Clock(File);

impl Clock {
    /// Creates the file at `path`, and makes the replica use it.
    fn create(path: &Path, library: &Path, builder: OperatorBuilder) -> Result<(Self, OperatorBuilder)> {
        ensure!(library.exists(), "there is no {}: build it first (cargo build --package clock)", library.display());
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
        file.set_len(16)?;
        Ok((Self(file), builder.env("LD_PRELOAD", library).env("TESTBED_CLOCK", path)))
    }

    /// Sets the clock ahead or back, or right again with 0.
    pub(super) fn set(&self, seconds: i64) -> Result<()> {
        self.0.write_all_at(&seconds.to_ne_bytes(), 0).context("failed to set a clock")
    }

    /// Returns how often a program has read a wrong time.
    pub(super) fn reads(&self) -> Result<u64> {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, 8).context("failed to read a clock")?;
        Ok(u64::from_ne_bytes(bytes))
    }
}

/// The replica. It ends when dropped.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) name: &'static str,
    pub(super) api: FaultProxy,
    pub(super) cognito: FaultProxy,
    pub(super) clock: Clock,
    /// The lock that a fault holds while it stops or kills the process, so that it is the only one.
    pub(super) process: Mutex<()>,
    builder: Lock<OperatorBuilder>,
    operator: Mutex<Option<Operator>>,
    log: PathBuf,
    exits: Lock<BTreeMap<String, usize>>,
    peak: AtomicU64,
}

impl Replica {
    pub(super) fn new(
        name: &'static str,
        directory: &Path,
        library: &Path,
        (api, cognito): (FaultProxy, FaultProxy),
        builder: OperatorBuilder,
    ) -> Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let (clock, builder) = Clock::create(&directory.join(format!("{name}.clock")), library, builder)?;
        let builder = builder.log_file(&log).args([format!("--identity={name}")]);
        Ok(Self {
            name,
            api,
            cognito,
            clock,
            process: Mutex::default(),
            builder: Lock::new(builder),
            operator: Mutex::default(),
            log,
            exits: Lock::default(),
            peak: AtomicU64::new(0),
        })
    }

    /// Starts it with these further arguments, after killing it if it runs.
    pub(super) async fn start_with(&self, arguments: &[&str]) -> Result<()> {
        let builder = {
            let mut builder = self.builder.lock().unwrap_or_else(PoisonError::into_inner);
            *builder = builder.clone().args(arguments.iter().copied());
            builder.clone()
        };
        let mut operator = self.operator.lock().await;
        *operator = None;
        *operator = Some(builder.start()?);
        Ok(())
    }

    fn start_again(&self, operator: &mut Option<Operator>) -> Result<()> {
        // Each start chooses a free port: the old one may have been taken.
        *operator = Some(self.builder.lock().unwrap_or_else(PoisonError::into_inner).start()?);
        Ok(())
    }

    /// Kills it (SIGKILL). Returns false if it had ended by itself.
    pub(super) async fn kill(&self) -> Result<bool> {
        let mut operator = self.operator.lock().await;
        let Some(running) = operator.as_mut() else { return Ok(false) };
        if running.exit_status().is_some() {
            return Ok(false);
        }
        running.sigkill().await?;
        *operator = None;
        Ok(true)
    }

    /// Starts it again if it does not run.
    pub(super) async fn ensure_running(&self) -> Result<()> {
        let mut operator = self.operator.lock().await;
        if let Some(running) = operator.as_mut() {
            let Some(status) = running.exit_status() else { return Ok(()) };
            let mut exits = self.exits.lock().unwrap_or_else(PoisonError::into_inner);
            *exits.entry(status.to_string()).or_default() += 1;
        }
        self.start_again(&mut operator)
    }

    /// Keeps the process running, forever, as the kubelet would.
    pub(super) async fn supervise(&self) -> Result<()> {
        loop {
            // A fault that holds the process decides what happens to it.
            if let Ok(_free) = self.process.try_lock() {
                self.ensure_running().await?;
                self.weigh().await;
            }
            sleep(LOOK).await;
        }
    }

    /// Returns how often the process has ended by itself, by exit status.
    pub(super) fn exits(&self) -> BTreeMap<String, usize> {
        self.exits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn weigh(&self) {
        let Some(pid) = self.operator.lock().await.as_ref().and_then(Operator::pid) else { return };
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let peak =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        self.peak.fetch_max(peak.unwrap_or_default(), Ordering::Relaxed);
    }

    /// Returns the peak resident memory of its processes, in KiB.
    pub(super) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// Returns the running process and its state in the kernel (`T` when stopped).
    pub(super) async fn state(&self) -> Option<(u32, char)> {
        let pid = self.operator.lock().await.as_ref().and_then(Operator::pid)?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some((pid, stat.rsplit_once(") ")?.1.chars().next()?))
    }

    pub(super) async fn operator(&self) -> MutexGuard<'_, Option<Operator>> {
        self.operator.lock().await
    }

    /// Returns the text of `/readyz`; `None` if the process does not respond.
    pub(super) async fn leadership(&self) -> Option<String> {
        let operator = self.operator.lock().await;
        let page = timeout(PAGE, operator.as_ref()?.page("/readyz")).await.ok()?.ok()?;
        Some(page.1.trim().to_owned())
    }

    /// Returns the logs of all its processes.
    pub(super) fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}
