//! An older operator among records of a newer one: it leaves them alone, and says so.

use anyhow::{Context, Result, ensure};
use cognito_reset_api::{Action, RequestRef, record::SCHEMA};
use cognito_reset_core::ledger::Identity;
use http::Method;
use serde_json::{Value, json};
use testbed::environment::{Environment, LIMIT};
use testbed::{Fault, Matcher, eventually};

const NEWER: i64 = SCHEMA + 1;
const NOT_USABLE: &str = "Pending/RecordNotUsable";

fn record_name(env: &Environment, name: &str) -> String {
    let request = RequestRef { namespace: "default".into(), name: name.into() };
    Identity { action: Action::PasswordReset, request, user_pool_id: env.pool.clone(), username: name.into() }
        .record_name()
}

/// Returns the record of the request and the user of this name, with these fields in place of an
/// open claim's.
fn record(env: &Environment, name: &str, schema: i64, fields: &Value) -> Value {
    let mut record = json!({
        "apiVersion": "cognito-reset.dev/v1alpha1",
        "kind": "PasswordResetRecord",
        "metadata": { "name": record_name(env, name) },
        "schema": schema, "action": "PasswordReset",
        "request": { "namespace": "default", "name": name },
        "userPoolID": env.pool,
        "username": name,
        "attempts": [attempt(&json!({}))],
    });
    merge(&mut record, fields);
    record
}

fn attempt(fields: &Value) -> Value {
    let mut attempt = json!({
        "id": "8f0a", "operatorInstance": "newer", "requestUID": "gone", "requestedBy": { "username": "unverified" },
        "claimedAt": "2026-01-01T00:00:00Z",
    });
    merge(&mut attempt, fields);
    attempt
}

fn merge(object: &mut Value, fields: &Value) {
    for (key, value) in fields.as_object().into_iter().flatten() {
        object[key] = value.clone();
    }
}

fn settled(effect: &str, evidence: &str) -> Value {
    json!({ "effect": effect, "attempts": [attempt(&json!({ "evidence": evidence, "settledAt": "2026-01-01T00:00:01Z" }))] })
}

fn closed(cause: &str) -> Value {
    json!({ "effect": "NotPerformed", "closed": {
        "cause": cause, "closedAt": "2026-01-01T00:00:01Z", "operatorInstance": "newer", "requestUID": "gone",
        "requestedBy": { "username": "unverified" },
    } })
}

/// Returns records that a newer operator may have written, as far as today's CRDs accept them.
/// Those with the effect `NotPerformed` are the most tempting: if their schema were today's, they
/// would be claimed again.
fn newer_records() -> Vec<(&'static str, Value)> {
    let mut more = settled("NotPerformed", "Unreachable");
    merge(&mut more, &json!({ "deliveries": [{ "medium": "EMAIL" }] }));
    more["attempts"][0]["channel"] = "EMAIL".into();
    vec![
        ("open", json!({})),
        ("performed", settled("Performed", "CognitoResponse")),
        ("unknown", settled("Unknown", "Inconclusive")),
        ("not-performed", settled("NotPerformed", "Unreachable")),
        ("more-fields", more),
        ("late", settled("NotPerformed", "NeverSent")),
        ("closed", closed("Expired")),
        ("expired", json!({})),
    ]
}

/// Returns records that need newer CRDs as well: they have values and shapes that this operator
/// cannot even parse.
fn strange_records() -> Vec<(&'static str, Value)> {
    vec![
        ("strange-evidence", settled("NotPerformed", "Withdrawn")),
        ("strange-effect", settled("Reverted", "CognitoResponse")),
        ("strange-cause", closed("Withdrawn")),
        ("strange-open", json!({ "attempts": [attempt(&json!({ "evidence": "Promised" }))] })),
        ("strange-shape", json!({ "attempts": null, "calls": { "first": "8f0a" } })),
    ]
}

/// Changes the CRD so that it accepts everything that a newer release may write.
async fn apply_newer_definitions(env: &Environment) -> Result<()> {
    let mut crd = env.get("crd", "passwordresetrecords.cognito-reset.dev").await?;
    let schema = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    loosen(schema);
    env.apply(&crd.to_string()).await?;
    Ok(())
}

fn loosen(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            for strict in ["enum", "required", "x-kubernetes-validations"] {
                // A property may have such a name; its value is an object.
                if fields.get(strict).is_some_and(Value::is_array) {
                    fields.remove(strict);
                }
            }
            if fields.get("type").is_some_and(|type_| type_ == "object") {
                fields.insert("x-kubernetes-preserve-unknown-fields".to_owned(), true.into());
            }
            fields.values_mut().for_each(loosen);
        }
        Value::Array(all) => all.iter_mut().for_each(loosen),
        _ => {}
    }
}

async fn create(env: &Environment, record: &Value) -> Result<()> {
    let admin = env.cluster.as_admin();
    // The definitions may have changed a moment ago; fields that they do not know are dropped.
    let arguments = ["create", "--validate=ignore", "-f", "-"];
    eventually(LIMIT, "the record to be taken", async || {
        admin.run_with_input(&arguments, &record.to_string()).await?.success()
    })
    .await?;
    Ok(())
}

async fn stored(env: &Environment, name: &str) -> Result<Value> {
    let name = record_name(env, name);
    let json = env.kubectl(&["get", "prrec", &name, "-o", "json", "--show-managed-fields"]).await?;
    Ok(serde_json::from_str(&json)?)
}

/// Returns the request for this record. Its time is over, which must not end it either.
fn request(env: &Environment, name: &str) -> String {
    env.request(
        name,
        name,
        match name {
            "late" => "deadlineSeconds: 1",
            "expired" => "notAfter: \"2020-01-01T00:00:00Z\"",
            _ => "",
        },
    )
}

/// Applies the requests before a running operator, and starts another one before them, past their
/// deadlines.
async fn requests_wait(env: &Environment, names: &[&str]) -> Result<testbed::Operator> {
    let mut operator = env.run().await?;
    for name in names {
        env.users.create_user(&env.pool, name).await?;
        env.apply(&request(env, name)).await?;
    }
    for name in names {
        env.becomes(name, NOT_USABLE).await?;
        env.says(name, "nothing is sent").await?;
        env.says(name, "if the operator is older than the record, upgrade it").await?;
    }
    // Its deadline is over after that of all others that have such a short one.
    env.apply(&env.request("clock", "clock", "suspend: true\ndeadlineSeconds: 1")).await?;
    ensure!(env.ended("clock").await? == "Failed/DeadlineExceeded");
    operator.sigkill().await?;
    env.api.forget();
    let operator = env.run().await?;
    for name in names {
        let path = format!("/passwordresetrecords/{}", record_name(env, name));
        let looks = || env.api.requests().iter().filter(|request| request.seen.path.contains(&path)).count();
        eventually(LIMIT, format!("{name} to be looked at"), async || (looks() > 0).then_some(())).await?;
    }
    // A whole reset takes longer than any consequence of these reads.
    env.ask("ordinary").await?;
    ensure!(env.ended("ordinary").await? == "Succeeded/ResetAccepted");
    for name in names {
        let stands = env.state(name).await?;
        ensure!(stands == NOT_USABLE, "{name}: {stands}");
    }
    Ok(operator)
}

/// Deletes the requests, and waits until the reads of orphaned claims could have resolved a claim
/// of today's schema.
async fn records_without_requests_wait(env: &Environment, names: &[&str]) -> Result<()> {
    env.kubectl(&["delete", "prr", "--all"]).await?;
    for name in names {
        ensure!(env.get("prr", name).await.is_err(), "{name} is still there");
    }
    env.users.create_user(&env.pool, "orphan").await?;
    create(env, &record(env, "orphan", SCHEMA, &json!({}))).await?;
    eventually(LIMIT, "the orphan to be resolved", async || {
        let effect = stored(env, "orphan").await?["effect"].clone();
        ensure!(effect == "Unknown", "{effect}");
        anyhow::Ok(())
    })
    .await
}

async fn are_left_alone(env: &Environment, records: &[(&str, Value)]) -> Result<()> {
    let names: Vec<_> = records.iter().map(|(name, _)| *name).collect();
    let mut before = Vec::new();
    for (name, fields) in records {
        create(env, &record(env, name, NEWER, fields)).await?;
        before.push(stored(env, name).await?);
    }
    let _operator = requests_wait(env, &names).await?;
    records_without_requests_wait(env, &names).await?;
    for (name, before) in names.iter().zip(&before) {
        assert_eq!(stored(env, name).await?, *before, "{name}");
        assert_eq!(env.cognito.resets_of_user(name), 0, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn records_of_a_newer_schema_are_left_alone() -> Result<()> {
    let env = Environment::start().await?;
    are_left_alone(&env, &newer_records()).await
}

#[tokio::test]
async fn invalid_records_are_left_alone_and_delay_no_other_one() -> Result<()> {
    let env = Environment::start().await?;
    apply_newer_definitions(&env).await?;
    let records: Vec<_> = newer_records().into_iter().chain(strange_records()).collect();
    are_left_alone(&env, &records).await?;
    let kept = stored(&env, "more-fields").await?;
    assert_eq!((&kept["deliveries"][0]["medium"], &kept["attempts"][0]["channel"]), (&json!("EMAIL"), &json!("EMAIL")));
    Ok(())
}

#[tokio::test]
async fn a_response_after_a_newer_operator_took_over_is_not_written() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run_with(env.operator().args(["--call-timeout=30s"])).await?;
    let call = env.cognito.once(Matcher::reset_of("handed-over"), Fault::HoldReply);
    env.ask("handed-over").await?;
    let held = call.held(LIMIT).await?;
    let mut taken = env.get("prrec", &record_name(&env, "handed-over")).await?;
    taken["schema"] = NEWER.into();
    taken["effect"] = "Unknown".into();
    taken["attempts"][0]["evidence"] = "Inconclusive".into();
    env.apply(&taken.to_string()).await.context("the newer operator's write")?;
    let before = stored(&env, "handed-over").await?;
    held.release();
    env.becomes("handed-over", NOT_USABLE).await?;
    assert_eq!(stored(&env, "handed-over").await?, before);
    assert_eq!(env.calls("handed-over"), 1);
    let writes = |request: &testbed::Recorded| {
        request.seen.method == Method::PUT
            && request.status == Some(http::StatusCode::OK)
            && request.seen.path.contains("/passwordresetrecords/")
    };
    assert_eq!(env.api.requests().iter().filter(|request| writes(request)).count(), 0);
    Ok(())
}

#[tokio::test]
async fn a_record_of_an_earlier_version_ends_the_start() -> Result<()> {
    let env = Environment::start().await?;
    let mut old = record(&env, "old", 1, &settled("Performed", "CognitoResponse"));
    old["metadata"]["name"] = format!("r1-{}", "0".repeat(64)).into();
    env.apply(&record(&env, "today", 1, &settled("Performed", "CognitoResponse")).to_string()).await?;
    env.apply(&old.to_string()).await?;
    let mut operator = env.operator().start()?;
    let status = operator.wait_exit(LIMIT).await?;
    let logs = operator.logs();
    assert!(!status.success(), "{logs}");
    let last = logs.trim_end().lines().last().unwrap_or_default();
    for part in ["error: failed to start", "r1-0000", "kubectl delete prrec --all"] {
        assert!(last.contains(part), "{part}: {logs}");
    }
    env.kubectl(&["delete", "prrec", &format!("r1-{}", "0".repeat(64))]).await?;
    let _operator = env.run().await?;
    Ok(())
}
