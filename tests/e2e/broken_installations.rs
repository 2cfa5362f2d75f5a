//! Ten ways in which an installation is broken. Each time one place says what is wrong and what to
//! do. docs/troubleshooting.md lists the places.

mod aws;
mod cluster;

use anyhow::{Result, ensure};
use serde_json::Value;
use testbed::environment::{Environment, LIMIT, condition};
use testbed::{Operator, OperatorBuilder, eventually};

/// Waits until the operator has logged one line that contains all of this.
async fn logs(operator: &Operator, parts: &[&str]) -> Result<()> {
    eventually(LIMIT, format!("a line of the log to say {parts:?}"), async || {
        let logs = operator.logs();
        let says = logs.lines().any(|line| parts.iter().all(|part| line.contains(part)));
        ensure!(says, "{logs}");
        anyhow::Ok(())
    })
    .await
}

/// Starts an operator that cannot start, and returns its last line.
async fn last_line(operator: &OperatorBuilder) -> Result<String> {
    let mut operator = operator.start()?;
    let status = operator.wait_exit(LIMIT).await?;
    let logs = operator.logs();
    ensure!(!status.success(), "{logs}");
    Ok(logs.trim_end().lines().last().unwrap_or_default().to_owned())
}

/// Fails unless the text contains all of this.
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing: {text}");
    }
}

/// Returns the message of a condition of a grant, once it has this reason.
async fn message(env: &Environment, grant: &str, type_: &str, reason: &str) -> Result<String> {
    eventually(LIMIT, format!("the grant {grant} to become {reason}"), async || {
        let found: Value = condition(&env.get("poolgrant", grant).await?, type_);
        ensure!(found["reason"] == reason, "{found}");
        Ok(found["message"].as_str().unwrap_or_default().to_owned())
    })
    .await
}

/// Returns the message of the request's Ready condition, once the request shows this state.
async fn waits(env: &Environment, name: &str, state: &str) -> Result<String> {
    env.becomes(name, state).await?;
    let ready = condition(&env.get("prr", name).await?, "Ready");
    Ok(ready["message"].as_str().unwrap_or_default().to_owned())
}
