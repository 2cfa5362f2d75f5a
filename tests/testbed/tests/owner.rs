//! The servers and directories of the testbed end with the process that started them, also when
//! that process is killed.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};
use testbed::{Moto, Tools, eventually};

const LIMIT: Duration = Duration::from_secs(30);
const OWNER: &str = "TESTBED_TEST_OWNER";

/// This is not a test: the test below starts it as a process of its own, from this very program.
#[tokio::test]
async fn owner() -> Result<()> {
    if std::env::var_os(OWNER).is_none() {
        return Ok(());
    }
    let moto = Moto::start(&Tools::locate().await?).await?;
    println!("\nmoto: {} {}", moto.url().trim_start_matches("http://"), moto.directory().display());
    std::future::pending().await
}

#[tokio::test]
async fn a_server_and_its_directory_end_with_a_killed_owner() -> Result<()> {
    let mut owner = Command::new(std::env::current_exe()?)
        .args(["--exact", "owner", "--nocapture"])
        .env(OWNER, "1")
        // A server takes no settings from the environment of the process that starts it: this one
        // would keep Python from starting.
        .env("PYTHONHOME", "/nowhere")
        .stdout(Stdio::piped())
        .spawn()?;
    let lines = BufReader::new(owner.stdout.take().context("no output")?).lines();
    let line = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("moto: ").map(str::to_owned));
    let line = line.context("the owner has not started a server")?;
    let (address, directory) = line.split_once(' ').context("no directory")?;
    assert!(TcpStream::connect(address).is_ok() && Path::new(directory).exists());

    owner.kill()?;
    owner.wait()?;
    eventually(LIMIT, "the server to be gone", async || TcpStream::connect(address).is_err().then_some(())).await?;
    eventually(LIMIT, "its directory to be gone", async || (!Path::new(directory).exists()).then_some(())).await
}
