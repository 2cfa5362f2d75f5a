//! `reconcile`: resets in the ledger, in CloudTrail, or in both. The events are written as AWS's
//! documentation describes them.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testbed::environment::Environment;

use super::report::some_resets;

#[tokio::test]
async fn resets_are_in_both_or_only_in_one() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    some_resets(&env).await?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("trail.json").display().to_string();
    let event = |id: &Value, error: Option<&str>| {
        json!({"eventName": "AdminResetUserPassword", "eventSource": "cognito-idp.amazonaws.com", "requestID": id,
            "eventTime": "2030-01-01T10:00:00Z", "errorCode": error, "userIdentity": {"arn": "arn:aws:iam::1:user/x"},
            "requestParameters": {"userPoolId": env.pool, "username": "HIDDEN_DUE_TO_SECURITY_REASONS"}})
    };
    let id = async |name: &str| -> Result<Value> {
        Ok(env.record(name).await?.context("no record")?["attempts"][0]["awsRequestID"].clone())
    };
    let mut events = vec![event(&id("alice").await?, None), event(&id("nobody").await?, Some("UserNotFoundException"))];
    std::fs::write(&file, json!({"Records": events}).to_string())?;
    let reconcile = ["reconcile", "--cloudtrail", &file, "--pool", &env.pool, "-o", "json"];
    let missing = env.plugin(&reconcile).await?;
    assert_eq!(missing.code, Some(1), "{missing}");
    events.push(event(&id("bob").await?, None));
    std::fs::write(&file, json!({"Records": events}).to_string())?;
    env.plugin(&reconcile).await?.success()?;
    // A wrong pool has nothing to compare, and that is said.
    let other = env.plugin(&["reconcile", "--cloudtrail", &file, "--pool", "eu-west-1_Other1234"]).await?;
    assert!(other.ok && other.stderr.contains("nothing was compared: neither"), "{other}");
    events.remove(0);
    let mut by_hand = event(&json!("by-hand"), None);
    by_hand["eventTime"] = json!("2020-01-01T10:00:00Z");
    events.push(by_hand);
    std::fs::write(&file, json!({"Records": events}).to_string())?;
    let sorted = env.plugin(&reconcile).await?;
    let sorted: Value = serde_json::from_str(&sorted.stdout)?;
    let rows = sorted["rows"].as_array().context("no rows")?;
    let mut found: Vec<_> = rows.iter().map(|row| format!("{} {}", row["found-in"], row["request"])).collect();
    // The call by hand is the oldest one.
    assert_eq!(found.first().context("no rows")?, "\"CloudTrail only\" null", "{sorted}");
    assert!(rows[1..].is_sorted_by_key(|row| row["ledger-time"].as_str()), "{sorted}");
    found.sort();
    let wanted = ["\"CloudTrail only\" null", "\"both\" \"bob\"", "\"both\" \"nobody\"", "\"ledger only\" \"alice\""];
    assert_eq!(found, wanted, "{sorted}");
    std::fs::write(&file, "{\"Records\": [\n{]}")?;
    let malformed = env.plugin(&reconcile).await?;
    assert_eq!(malformed.code, Some(2), "{malformed}");
    assert!(malformed.stderr.contains("trail.json") && malformed.stderr.contains("line 2"), "{malformed}");
    Ok(())
}
