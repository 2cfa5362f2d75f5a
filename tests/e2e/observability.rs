//! The metrics and the log of the operator, as docs/observability.md describes them.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::{
    environment::{Environment, LIMIT},
    eventually,
};

use crate::logs;

/// Returns the value of a series.
fn value(metrics: &str, series: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

#[tokio::test]
async fn durations_of_requests_and_calls_are_measured() -> Result<()> {
    let env = Environment::start().await?;
    let operator = env.run().await?;
    env.ask("measured").await?;
    assert_eq!(env.ended("measured").await?, "Succeeded/ResetAccepted");
    env.users.create_user(&env.pool, "expired").await?;
    env.apply(&env.request("expired", "expired", "notAfter: \"2020-01-01T00:00:00Z\"")).await?;
    assert_eq!(env.ended("expired").await?, "Failed/Expired");
    // The operator counts an outcome right after its status was written.
    let outcomes = "cognito_reset_request_creation_to_outcome_seconds_count";
    let metrics = eventually(LIMIT, "both outcomes to be counted", async || {
        let (_, metrics) = operator.page("/metrics").await?;
        let counted = metrics.lines().filter(|line| line.starts_with(outcomes)).count();
        ensure!(counted == 2, "{metrics}");
        anyhow::Ok(metrics)
    })
    .await?;
    let cognito = "cognito_request_duration_seconds";
    for (name, labels) in [
        ("request_creation_to_call_seconds", String::new()),
        ("request_creation_to_outcome_seconds", "{outcome=\"Succeeded\"}".into()),
        ("request_creation_to_outcome_seconds", "{outcome=\"Failed\"}".into()),
        (cognito, "{operation=\"AdminGetUser\",class=\"success\"}".into()),
        (cognito, "{operation=\"AdminResetUserPassword\",class=\"success\"}".into()),
    ] {
        let of = |suffix: &str| value(&metrics, &format!("cognito_reset_{name}_{suffix}{labels} "));
        assert_eq!(of("count"), Some(1.0), "{name}{labels}: {metrics}");
        let sum = of("sum").context("no sum")?;
        assert!((0.0..60.0).contains(&sum), "{name}{labels}: {sum} s");
    }
    Ok(())
}

#[tokio::test]
async fn log_lines_name_request_and_attempt_once() -> Result<()> {
    let env = Environment::start().await?;
    let operator = env.run_with(env.operator().args(["--log=warn,cognito_reset_operator=debug"])).await?;
    env.ask("logged").await?;
    assert_eq!(env.ended("logged").await?, "Succeeded/ResetAccepted");
    let record = env.record("logged").await?.context("no record")?;
    let attempt = record.pointer("/attempts/0/id").context("no attempt")?;
    // The operator logs the end right after the status was written.
    let log = eventually(LIMIT, "the end to be logged", async || {
        Some(operator.logs()).filter(|log| log.contains("request finished"))
    })
    .await?;
    logs::is_sound(&log)?;
    let entries = log.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    for (message, with_attempt) in
        [("command", false), ("called Cognito", true), ("settled an attempt", true), ("request finished", true)]
    {
        let entry = entries.iter().find(|entry| entry["message"] == message).context(message)?;
        assert_eq!((&entry["controller"], &entry["namespace"]), (&"request".into(), &"default".into()), "{entry}");
        assert_eq!(entry["name"], "logged", "{entry}");
        assert_eq!(entry.get("attempt"), with_attempt.then_some(attempt), "{entry}");
        assert!(entry.get("span").is_none() && entry.get("spans").is_none(), "{entry}");
    }
    // A parser keeps the last of two equal keys, so they have to be counted in the text.
    for line in log.lines() {
        for key in ["controller", "namespace", "name", "attempt"] {
            assert!(line.matches(&format!(",\"{key}\":")).count() <= 1, "{line}");
        }
    }
    Ok(())
}
