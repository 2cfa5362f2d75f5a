//! The time and memory of the plugin, compared in the same run: with kubectl, and with a list of a
//! tenth of the users. `PLUGIN` names another build of it, such as one in release mode.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use testbed::environment::{Environment, plugin};

/// The number of times that each program is started.
const STARTS: usize = 15;
/// The longest time to the first line, as a multiple of kubectl's. The plugin under test is a debug
/// build, which is slower than the one that people use.
const DEBUG: f64 = 1.5;
/// The greatest memory of ten times the users, as a multiple. A page of a list has up to 500
/// requests, so that with 200 users less than half a page is held.
const GROWTH: f64 = 1.5;

/// Returns the plugin to measure.
fn measured() -> PathBuf {
    std::env::var_os("PLUGIN").map_or_else(|| plugin().to_owned(), PathBuf::from)
}

/// Starts a program as people do, by the kubeconfig of the environment.
fn command(env: &Environment, program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("HOME", env.cluster.directory())
        .env("KUBECONFIG", env.cluster.kubeconfig())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Returns the time until the program has printed its first line.
fn first_line(mut command: Command) -> Result<Duration> {
    use std::io::{BufRead as _, BufReader};
    let begin = Instant::now();
    let mut child = command.spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
    let time = begin.elapsed();
    child.wait()?;
    ensure!(line.starts_with("NAME "), "{line:?}");
    Ok(time)
}

/// Returns the shortest time: what the machine does meanwhile only adds to it.
fn shortest(times: &[Duration]) -> Result<Duration> {
    times.iter().min().copied().context("no times")
}

#[tokio::test]
async fn the_first_line_is_there_as_soon_as_that_of_kubectl() -> Result<()> {
    let env = Environment::start().await?;
    for number in 0..10 {
        env.apply(&env.request(&format!("waits-{number}"), "alice", "suspend: true")).await?;
    }
    let kubectl = env.cluster.as_admin().program();
    let plugin = measured();
    let (mut of_plugin, mut of_kubectl) = (Vec::new(), Vec::new());
    // One after the other, so that a busy machine slows both.
    for _ in 0..STARTS {
        of_plugin.push(first_line(command(&env, &plugin, &["list"]))?);
        of_kubectl.push(first_line(command(&env, kubectl, &["get", "prr"]))?);
    }
    let (of_plugin, of_kubectl) = (shortest(&of_plugin)?, shortest(&of_kubectl)?);
    println!("first line after {of_plugin:?}, that of kubectl after {of_kubectl:?}");
    ensure!(of_plugin <= of_kubectl.mul_f64(DEBUG), "{of_plugin:?}, and kubectl {of_kubectl:?}");
    Ok(())
}

/// Runs the plugin, and returns the most memory that it had, in KiB.
fn peak(env: &Environment, plugin: &Path, arguments: &[&str]) -> Result<u32> {
    let mut child = command(env, plugin, arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait()?.is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(now.unwrap_or_default());
        std::thread::sleep(Duration::from_millis(1));
    }
    ensure!(peak > 0, "{arguments:?} ended before its memory was read");
    Ok(peak)
}

#[tokio::test]
async fn memory_does_not_grow_with_the_users() -> Result<()> {
    let env = Environment::start().await?;
    let plugin = measured();
    let file = env.cluster.directory().join("users.txt");
    let from = file.to_str().context("a path")?;
    let flags = ["--pool", &env.pool, "--ticket", "INC-7", "--from", from];
    let create = [&["create"][..], &flags, &["--yes"]].concat();
    let wait = [&create[..], &["--wait", "--timeout", "0"]].concat();
    let mut peaks = Vec::new();
    for count in [200, 2_000] {
        let list: String = (0..count).map(|number| format!("user-{number}@example.com\n")).collect();
        std::fs::write(&file, list)?;
        let mut of_count = Vec::new();
        for arguments in [&create[..], &wait, &["list"], &["status"], &["watch", "--timeout", "0"]] {
            let command = arguments.first().copied().unwrap_or_default();
            of_count.push((command, peak(&env, &plugin, arguments)?));
        }
        println!("{count} users, peak KiB: {of_count:?}");
        peaks.push(of_count);
    }
    ensure!(env.list("prr").await?.len() == 2_000, "not all were created");
    let [few, many] = peaks.as_slice() else { anyhow::bail!("{peaks:?}") };
    for ((command, few), (_, many)) in few.iter().zip(many) {
        ensure!(f64::from(*many) <= f64::from(*few) * GROWTH, "{command}: {few} KiB, and {many} KiB");
    }
    Ok(())
}
