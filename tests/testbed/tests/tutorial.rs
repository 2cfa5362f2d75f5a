//! The tutorial, run as it is written: with `make up` and `make down`, on the real servers.

use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use testbed::{
    Page, Session,
    environment::{binary, root},
};

/// Runs a script in the repository, with the operator under test.
fn bash(script: &str) -> Result<Output> {
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(root(""))
        .env("COGNITO_RESET_OPERATOR_BIN", binary())
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .env_remove("KUBECONFIG")
        .stdin(Stdio::null())
        .output();
    output.context("bash cannot be run")
}

/// Stops what `make up` has started, when dropped.
struct Down;

impl Drop for Down {
    fn drop(&mut self) {
        let stopped = bash("make down");
        if !stopped.is_ok_and(|output| output.status.success()) {
            eprintln!("`make down` failed: what `make up` started may still run");
        }
    }
}

#[test]
fn the_tutorial_shows_what_its_commands_print() -> Result<()> {
    let page = Page::read("docs/tutorial.md")?;
    let mut session = Session::default();
    for name in ["start", "grant", "request", "reset", "again", "ledger", "failures", "hold", "held", "stop"] {
        session = session.then(page.session(name)?);
    }
    let running = bash("cd target/testbed && ! flock --nonblock lock true")?.status.success();
    ensure!(!running, "`make up` is running, and the tutorial begins with it: stop it first, by `make down`");
    let _down = Down;
    let output = bash(&session.script())?;
    let shown = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{shown}\n{}", String::from_utf8_lossy(&output.stderr));
    session.compare(&shown)
}
