//! An operator and CRDs of different releases. `make skew` runs the first test with an operator and
//! with CRDs of another commit.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::environment::{Environment, LIMIT, condition};
use testbed::eventually;

const PLURALS: [&str; 4] = ["passwordresetrequests", "passwordresetrecords", "userpoolgrants", "userpoolholds"];
const OLDER: &str = "the CRDs are older than this operator";
/// Names a folder with the CRDs of another release.
const CRDS: &str = "SKEW_CRDS";

/// Returns the schema of `spec`, or of the whole object for a record.
fn schema<'a>(crd: &'a mut Value, place: &str) -> Result<&'a mut Value> {
    let root = "/spec/versions/0/schema/openAPIV3Schema";
    crd.pointer_mut(&format!("{root}{place}")).with_context(|| format!("no {place}"))
}

/// Changes a CRD, and waits until the API server shows its schema so.
async fn change(env: &Environment, plural: &str, change: impl Fn(&mut Value) -> Result<()>) -> Result<()> {
    let name = format!("{plural}.cognito-reset.dev");
    let mut crd = env.get("crd", &name).await?;
    change(&mut crd)?;
    let patch = json!([{ "op": "replace", "path": "/spec", "value": crd["spec"] }]).to_string();
    env.kubectl(&["patch", "crd", &name, "--type=json", "-p", &patch]).await?;
    Ok(())
}

/// Removes a field, and the rules that mention it.
async fn remove(env: &Environment, plural: &str, place: &str, field: &str) -> Result<()> {
    change(env, plural, |crd| {
        let fields = schema(crd, &format!("{place}/properties"))?.as_object_mut().context("no fields")?;
        ensure!(fields.remove(field).is_some(), "no field {field}");
        for place in [place, ""] {
            if let Some(rules) = schema(crd, place)?["x-kubernetes-validations"].as_array_mut() {
                rules.retain(|rule| !rule["rule"].to_string().contains(field));
            }
        }
        Ok(())
    })
    .await
}

/// Waits until the API server accepts this, or refuses it.
async fn accepts(env: &Environment, manifest: &str, accepted: bool) -> Result<()> {
    eventually(LIMIT, format!("{manifest} to be accepted: {accepted}"), async || {
        let output = env.cluster.as_admin().run_with_input(&["apply", "--dry-run=server", "-f", "-"], manifest).await?;
        ensure!(output.ok == accepted, "{output:?}");
        anyhow::Ok(())
    })
    .await
}

fn grant(env: &Environment, name: &str, spec: &str) -> String {
    let spec = format!("spec: {{userPoolID: {}, namespaces: ['*'], {spec}}}", env.pool);
    format!("apiVersion: cognito-reset.dev/v1alpha1\nkind: UserPoolGrant\nmetadata: {{name: {name}}}\n{spec}")
}

async fn is_performed_once(env: &Environment, name: &str) -> Result<()> {
    env.ask(name).await?;
    ensure!(env.ended(name).await? == "Succeeded/ResetAccepted");
    env.kubectl(&["delete", "prr", name]).await?;
    env.apply(&env.request(name, name, "")).await?;
    ensure!(env.ended(name).await? == "Succeeded/AlreadyPerformed");
    ensure!(env.calls(name) == 1);
    Ok(())
}

#[tokio::test]
async fn other_releases_work_together_or_end_the_start() -> Result<()> {
    let env = Environment::start().await?;
    let folder = std::env::var_os(CRDS).map(PathBuf::from);
    if let Some(folder) = &folder {
        for plural in PLURALS {
            let path = folder.join(format!("{plural}.yaml"));
            env.kubectl(&["replace", "-f", path.to_str().context("not UTF-8")?]).await?;
        }
    }
    let mut operator = env.operator().start()?;
    if let Err(problem) = operator.wait_ready(LIMIT).await {
        let logs = operator.logs();
        ensure!(folder.is_some() && !operator.is_running() && logs.contains(OLDER), "{problem:#}: {logs}");
        println!("{}", logs.trim_end().lines().last().unwrap_or_default());
        return Ok(());
    }
    is_performed_once(&env, "alice").await
}

#[tokio::test]
async fn fields_that_older_crds_lack_are_named_and_not_needed() -> Result<()> {
    let env = Environment::start().await?;
    for field in ["maxResetsPerMinute", "sessionTags", "userStateSource"] {
        remove(&env, "userpoolgrants", "/properties/spec", field).await?;
    }
    remove(&env, "passwordresetrequests", "/properties/status", "password").await?;
    let narrowed = grant(&env, "narrowed", "maxResetsPerMinute: 5");
    accepts(&env, &narrowed, false).await?;
    let operator = env.run().await?;
    let logs = operator.logs();
    let line = logs.lines().find(|line| line.contains(OLDER)).with_context(|| logs.clone())?;
    for part in ["userpoolgrants spec.userStateSource", "passwordresetrequests status.password", "install the CRDs"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    // The author of a grant learns that its limit would be lost.
    let refused = env.refused(&narrowed).await?;
    assert!(refused.contains("unknown field \"spec.maxResetsPerMinute\""), "{refused}");
    is_performed_once(&env, "alice").await
}

#[tokio::test]
async fn a_ledger_that_would_lose_a_field_ends_the_start() -> Result<()> {
    let env = Environment::start().await?;
    let attempt = "/properties/attempts/items";
    remove(&env, "passwordresetrecords", attempt, "userStateSource").await?;
    let mut operator = env.operator().start()?;
    let status = operator.wait_exit(LIMIT).await?;
    let logs = operator.logs();
    assert!(!status.success(), "{logs}");
    let last = logs.trim_end().lines().last().unwrap_or_default();
    for part in [OLDER, "passwordresetrecords attempts[].userStateSource", "crds.enabled", "kubectl apply -k"] {
        assert!(last.contains(part), "{part}: {last}");
    }
    Ok(())
}

/// Adds what a next release may add: fields that narrow, values and columns.
async fn next_release(env: &Environment) -> Result<()> {
    let text = json!({ "type": "string", "maxLength": 64 });
    change(env, "userpoolgrants", |crd| {
        schema(crd, "/properties/spec/properties")?["weekdays"] = text.clone();
        let tags = schema(crd, "/properties/spec/properties/sessionTags/enum")?;
        tags.as_array_mut().context("no values")?.push("Short".into());
        let columns = crd["spec"]["versions"][0]["additionalPrinterColumns"].as_array_mut().context("no columns")?;
        columns.push(json!({ "name": "Weekdays", "type": "string", "jsonPath": ".spec.weekdays" }));
        Ok(())
    })
    .await?;
    for (plural, place) in [
        ("passwordresetrequests", "/properties/spec/properties"),
        ("userpoolholds", "/properties/spec/properties"),
        ("passwordresetrecords", "/properties/attempts/items/properties"),
    ] {
        change(env, plural, |crd| {
            schema(crd, place)?["weekdays"] = text.clone();
            Ok(())
        })
        .await?;
    }
    accepts(env, &grant(env, "probe", "weekdays: Monday"), true).await?;
    accepts(env, &env.request("probe", "probe", "weekdays: Monday"), true).await
}

#[tokio::test]
async fn a_field_of_newer_crds_that_narrows_is_never_ignored() -> Result<()> {
    let env = Environment::start().await?;
    next_release(&env).await?;
    let operator = env.run().await?;
    assert!(!operator.logs().contains(OLDER), "{}", operator.logs());
    is_performed_once(&env, "alice").await?;
    // A request with a condition that this operator does not know.
    env.users.create_user(&env.pool, "bob").await?;
    env.apply(&env.request("bob", "bob", "weekdays: Monday")).await?;
    env.becomes("bob", "Pending/InvalidObject").await?;
    env.says("bob", "Unknown field weekdays. Nothing is sent").await?;
    // Grants with one, or with a value that it does not know.
    env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    let role = "roleARN: arn:aws:iam::111122223333:role/other, sessionTags: Short";
    for (name, spec) in [("narrowed", "weekdays: Monday"), ("tagged", role)] {
        env.apply(&grant(&env, name, spec)).await?;
        eventually(LIMIT, format!("the grant {name} to be invalid"), async || {
            let ready = condition(&env.get("poolgrant", name).await?, "Ready");
            let says = ready["message"].as_str().is_some_and(|text| text.contains("upgrade the operator"));
            ensure!(ready["reason"] == "InvalidObject" && says, "{ready}");
            anyhow::Ok(())
        })
        .await?;
    }
    env.ask("carol").await?;
    env.becomes("carol", "Pending/NoMatchingGrant").await?;
    // A hold with one holds what it would hold without it.
    env.apply(&grant(&env, "everyone", "suspend: false")).await?;
    assert_eq!(env.ended("carol").await?, "Succeeded/ResetAccepted");
    env.hold_in_force("narrowed", "weekdays: Monday").await?;
    env.ask("dave").await?;
    env.becomes("dave", "Pending/UserPoolHeld").await?;
    assert_eq!(["bob", "dave"].map(|name| env.calls(name)), [0, 0]);
    Ok(())
}
