//! boto3 in a loop, for comparison: no ledger, no budget, no audit trail.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use testbed::Tools;
use tokio::process::Command;

use crate::{cognito::Cognito, figures::Figures};

/// Resets users with boto3 in this number of threads.
///
/// # Errors
/// Returns an error if the script fails.
pub async fn run(number: usize, threads: usize) -> Result<Figures> {
    let (tools, cognito) = (Tools::locate().await?, Cognito::start().await?);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/boto3_loop.py");
    let output = Command::new(tools.python())
        .args([script, cognito.url(), &number.to_string(), &threads.to_string()])
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await?;
    ensure!(output.status.success(), "the loop with boto3 ended with {}", output.status);
    let seconds: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().context("no time in the output")?;
    let resets = cognito.resets();
    ensure!(resets == number, "{number} resets were expected, and {resets} made");
    #[expect(clippy::cast_precision_loss, reason = "a number of requests")]
    let rate = resets as f64 / seconds;
    Ok(Figures { scenario: format!("boto3, {threads} threads"), resets, seconds, rate, ..Figures::default() })
}
