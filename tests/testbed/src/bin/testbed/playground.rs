//! The same servers, left running to play with.

use std::{
    fs::{File, TryLockError},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use testbed::eventually;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    environment::{Environment, output},
    samples::SPARE,
};

const STOP_LIMIT: Duration = Duration::from_secs(30);

/// The file that describes the running servers: it is written when all of them run, and removed
/// when they stop.
fn state_file() -> PathBuf {
    output().join("state.json")
}

/// The lock that the serving process holds for as long as it lives; it contains the process id.
fn lock_file() -> Result<File> {
    let directory = output();
    std::fs::create_dir_all(&directory).with_context(|| format!("failed to create {}", directory.display()))?;
    let path = directory.join("lock");
    File::options()
        .create(true)
        .read(true)
        .write(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("failed to open {}", path.display()))
}

/// Returns true if a process serves.
pub(crate) fn serves() -> Result<bool> {
    match lock_file()?.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(problem)) => Err(problem).context("failed to look at the lock"),
    }
}

/// Starts everything in the background, shows the progress, and prints how to use it.
pub(crate) async fn up(operator: &Path) -> Result<()> {
    if serves()? {
        println!("It runs already (`make down` stops it).");
        return usage();
    }
    let _ = std::fs::remove_file(state_file());
    let log_path = output().join("up.log");
    let log = File::create(&log_path).with_context(|| format!("failed to write {}", log_path.display()))?;
    let mut server = {
        use std::os::unix::process::CommandExt as _;
        Command::new(std::env::current_exe()?)
            .arg("serve")
            .arg("--operator")
            .arg(operator)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .context("failed to start the background process")?
    };
    let mut progress = File::open(&log_path)?;
    loop {
        let ended = server.try_wait()?;
        let mut news = Vec::new();
        progress.read_to_end(&mut news)?;
        std::io::stdout().write_all(&news)?;
        if state_file().exists() {
            return usage();
        }
        if let Some(status) = ended {
            bail!("it did not start ({status}): see above, or {}", log_path.display());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Runs everything until SIGTERM.
pub(crate) async fn serve(operator: &Path) -> Result<()> {
    let mut lock = lock_file()?;
    if lock.try_lock().is_err() {
        bail!("another one runs already");
    }
    lock.set_len(0).and_then(|()| write!(lock, "{}", std::process::id())).context("failed to write the lock")?;
    let mut terminate = signal(SignalKind::terminate())?;
    // The terminal that started it may be closed.
    let _hangup = signal(SignalKind::hangup())?;
    let environment = tokio::select! {
        environment = Environment::start(operator) => environment?,
        _ = terminate.recv() => return Ok(()),
    };
    let kubeconfig = output().join("kubeconfig");
    std::fs::copy(environment.cluster.kubeconfig(), &kubeconfig).context("failed to write the kubeconfig")?;
    let exports = format!(
        "export KUBECONFIG='{}'\nexport AUDIT_LOG='{}'\nexport PATH='{}':\"$PATH\"\n",
        kubeconfig.display(),
        environment.cluster.file("audit.log").display(),
        environment.tools.directory().display()
    );
    std::fs::write(output().join("env"), exports).context("failed to write the environment")?;
    let state = json!({
        "cognito": environment.proxy.url(),
        "operator": environment.operator.url(),
        "pool": environment.pool,
    });
    // The file is written whole or not at all: its presence means that everything runs.
    let draft = output().join("state.draft");
    std::fs::write(&draft, state.to_string()).context("failed to write the state")?;
    std::fs::rename(&draft, state_file()).context("failed to write the state")?;
    terminate.recv().await;
    let _ = std::fs::remove_file(state_file());
    drop(environment);
    Ok(())
}

/// Stops what [`up`] has started, and waits until it is gone.
pub(crate) async fn down() -> Result<()> {
    if !serves()? {
        let _ = std::fs::remove_file(state_file());
        println!("Nothing runs.");
        return Ok(());
    }
    let holder = std::io::read_to_string(lock_file()?).context("failed to read the lock")?;
    let pid = holder.parse().ok().and_then(Pid::from_raw).context("the lock names no process")?;
    kill_process(pid, Signal::TERM).context("failed to stop it")?;
    let gone = async || match serves() {
        Ok(false) => Ok(()),
        Ok(true) => Err("it still runs".to_owned()),
        Err(problem) => Err(problem.to_string()),
    };
    eventually(STOP_LIMIT, "everything to stop", gone).await?;
    println!("Stopped.");
    Ok(())
}

fn state() -> Result<Value> {
    let path = state_file();
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("{} is not there yet: it is still starting; try again in a moment", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))
}

fn usage() -> Result<()> {
    let state = state()?;
    let text = |field: &str| state[field].as_str().unwrap_or_default().to_owned();
    let samples = output();
    let samples = samples.display();
    println!(
        "
Everything runs. In this shell:

  source {samples}/env

  kubectl apply -f {samples}/grant.yaml -f {samples}/requests.yaml -f {samples}/ungranted.yaml
  kubectl get prr -A --watch

The README's own request works here, too, once these are applied: put this pool in place of eu-west-1_Example01; the grant
is there already, and {SPARE} is a user.

The user pool is {}, and Cognito (moto, behind a proxy that counts calls) is at {}.
The operator's metrics are at {}/metrics, its log is {samples}/operator.log.
The audit log of the API server is in $AUDIT_LOG (docs/audit.md).
`make down` stops everything.",
        text("pool"),
        text("cognito"),
        text("operator"),
    );
    Ok(())
}
