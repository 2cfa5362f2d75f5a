//! An operator that is stopped while the API server refuses to store the effect.

use anyhow::{Context, Result, ensure};

use super::{Environment, LIMIT, RESET, Refusing, policy};

#[tokio::test]
async fn a_stopping_operator_names_the_records_it_cannot_settle() -> Result<()> {
    let env = Environment::start().await?;
    let mut operator = env.run_with(env.operator().args(["--shutdown-timeout=1s"])).await?;
    env.ask("before").await?;
    assert_eq!(env.ended("before").await?, RESET);
    let name = |record: serde_json::Value| record["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let before = name(env.record("before").await?.context("no record")?);
    let yaml = policy("frozen-records", &["UPDATE"], &["passwordresetrecords"], "false");
    let probe = ["label", "--dry-run=server", "--overwrite", "prrec", &before, "probe=probe"];
    let refusing = Refusing { env: &env, operator: &operator };
    refusing.enforce(&yaml, &probe, "").await?;
    env.ask("sent").await?;
    refusing.says("sent", &["password invalidated"]).await?;
    let sent = name(env.record("sent").await?.context("no record")?);
    operator.sigterm()?;
    ensure!(!operator.wait_exit(LIMIT).await?.success(), "nothing was left to do");
    let log = operator.logs();
    let warnings = log.lines().filter(|line| line.contains("their outcome may be Unknown")).collect::<Vec<_>>();
    // One warning when it has to stop, and one when it gives up.
    assert_eq!(warnings.len(), 2, "{log}");
    assert!(warnings.iter().all(|line| line.contains(&sent) && !line.contains(&before)), "{warnings:?}");
    env.kubectl(&["delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", "frozen-records"]).await?;
    // Here the user's state shows the next operator what happened.
    let _operator = env.run().await?;
    assert_eq!(env.ended("sent").await?, "Succeeded/ConfirmedByProbe");
    assert_eq!(env.calls("sent"), 1);
    Ok(())
}
