//! `report`: the rows and totals are those of the records.

use std::process::Stdio;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testbed::environment::{Environment, plugin};

/// Performs a reset of alice and of bob, and one of nobody, which fails.
pub(super) async fn some_resets(env: &Environment) -> Result<()> {
    for user in ["alice", "bob"] {
        env.users.create_user(&env.pool, user).await?;
    }
    env.apply(&env.request("alice", "alice", "ticket: INC-1\nreason: \"=cmd|' /C calc'!A0\"")).await?;
    env.apply(&env.request("bob", "bob", "ticket: INC-2\nonBehalfOf: \"a|b\"")).await?;
    env.apply(&env.request("nobody", "nobody", "ticket: INC-2")).await?;
    for (name, wanted) in [
        ("alice", "Succeeded/ResetAccepted"),
        ("bob", "Succeeded/ResetAccepted"),
        ("nobody", "Failed/UserNotFoundException"),
    ] {
        assert_eq!(env.ended(name).await?, wanted);
    }
    Ok(())
}

#[tokio::test]
async fn a_report_has_the_rows_and_totals_of_the_records() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    some_resets(&env).await?;
    let report = env.plugin(&["report", "--pool", &env.pool, "-o", "json"]).await?.success()?;
    let report: Value = serde_json::from_str(&report)?;
    let records = env.list("prrec").await?;
    for effect in ["Performed", "NotPerformed", "Unknown"] {
        let of_records = records.iter().filter(|record| record["effect"] == effect).count();
        assert_eq!(report["totals"]["effects"][effect], of_records, "{effect}");
    }
    assert_eq!(report["totals"]["records"], 3);
    let times = report["rows"].as_array().context("no rows")?.iter().map(|row| row["time"].as_str());
    assert!(times.clone().is_sorted() && times.count() == 3, "oldest first: {report}");
    let row = |name: &str| {
        let rows = report["rows"].as_array().and_then(|rows| rows.iter().find(|row| row["request"] == name));
        rows.cloned().with_context(|| format!("no row of {name} in {report}"))
    };
    let (alice, nobody) = (row("alice")?, row("nobody")?);
    let record = env.record("alice").await?.context("no record")?;
    assert_eq!(alice["aws-request-id"], record["attempts"][0]["awsRequestID"]);
    for (column, cell) in [
        ("requester", json!("unverified")),
        ("requester-authenticated", json!("no")),
        ("approver", Value::Null),
        ("approver-authenticated", Value::Null),
        ("ticket-claimed", json!("INC-1")),
        ("password", json!("Invalidated")),
        ("grants", json!("everyone")),
    ] {
        assert_eq!(alice[column], cell, "{column}");
    }
    assert_eq!((&nobody["effect"], &nobody["password"]), (&json!("NotPerformed"), &json!("Unchanged")));
    let csv = env.plugin(&["report", "-o", "csv"]).await?;
    assert!(csv.stdout.contains("\"'=cmd|' /C calc'!A0\""), "{csv}");
    assert!(csv.stderr.contains("3 records (of all times): 2 Performed, 1 NotPerformed"), "{csv}");
    let md = env.plugin(&["report", "-o", "md", "--ticket", "INC-2"]).await?.success()?;
    assert!(md.contains("| a\\|b |") && md.contains("2 records") && !md.contains("alice"), "{md}");
    let table = env.plugin(&["report", "--since", "1h"]).await?;
    assert!(table.stdout.starts_with("TIME") && table.stdout.lines().count() == 4, "{table}");
    let other = env.plugin(&["report", "-n", "kube-system"]).await?;
    assert!(other.ok && other.stdout.is_empty() && other.stderr.contains("0 records"), "{other}");
    nobody_reads(&env).await
}

/// Runs commands into a pipe that is closed, as `head` closes it.
async fn nobody_reads(env: &Environment) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let out = directory.path().to_str().context("no text")?;
    for command in [
        &["report", "-o", "csv"][..],
        &["report", "-o", "json"],
        &["report", "-o", "md"],
        &["report"],
        &["list"],
        &["status"],
        &["explain", "alice"],
        &["export", "--out", out],
        &["completion", "bash"],
        &["create", "carol", "--pool", &env.pool, "--ticket", "INC-3", "--dry-run=client", "-o", "yaml"],
    ] {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let mut process = tokio::process::Command::new(plugin());
        process.args(command).env("KUBECONFIG", env.cluster.kubeconfig()).env("HOME", out).stdout(writer);
        let run = process.stderr(Stdio::piped()).spawn()?.wait_with_output().await?;
        let stderr = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{command:?}: {} {stderr}", run.status);
        assert!(!stderr.contains("error") && !stderr.contains("panicked"), "{command:?}: {stderr}");
    }
    Ok(())
}
