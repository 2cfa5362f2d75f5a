//! An operator that is stopped while the API server refuses what happened.

use anyhow::{Context, Result, ensure};

use super::{Bench, LIMIT, RESET, Refusing, policy};

#[tokio::test]
async fn an_operator_that_stops_names_the_records_whose_effect_would_be_lost() -> Result<()> {
    let bench = Bench::start().await?;
    let mut operator = bench.run_with(bench.operator().args(["--shutdown-timeout=1s"])).await?;
    bench.ask("before").await?;
    assert_eq!(bench.ended("before").await?, RESET);
    let name = |record: serde_json::Value| record["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let before = name(bench.record("before").await?.context("no record")?);
    let yaml = policy("frozen-records", &["UPDATE"], &["passwordresetrecords"], "false");
    let probe = ["label", "--dry-run=server", "--overwrite", "prrec", &before, "probe=probe"];
    let refusing = Refusing { bench: &bench, operator: &operator };
    refusing.enforce(&yaml, &probe, "").await?;
    bench.ask("sent").await?;
    refusing.says("sent", &["password invalidated"]).await?;
    let sent = name(bench.record("sent").await?.context("no record")?);
    operator.sigterm()?;
    ensure!(!operator.wait_exit(LIMIT).await?.success(), "nothing was left to do");
    let log = operator.logs();
    let warnings = log.lines().filter(|line| line.contains("their outcome may be Unknown")).collect::<Vec<_>>();
    // When it is told to stop, and when it gives up.
    assert_eq!(warnings.len(), 2, "{log}");
    assert!(warnings.iter().all(|line| line.contains(&sent) && !line.contains(&before)), "{warnings:?}");
    bench.kubectl(&["delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", "frozen-records"]).await?;
    // Here the user tells the next one what happened.
    let _operator = bench.run().await?;
    assert_eq!(bench.ended("sent").await?, "Succeeded/ConfirmedByProbe");
    assert_eq!(bench.calls("sent"), 1);
    Ok(())
}
