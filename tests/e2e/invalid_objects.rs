//! Objects that the operator cannot read, because they were stored under other CRDs. The operator
//! reports each once: in its status regardless of its content, or by an Event if the API server
//! refuses that status. Events reach objects with the longest names.

use crate::logs;
use anyhow::{Context, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use testbed::environment::{Environment, LIMIT, condition};
use testbed::{Fault, Matcher, Reply, eventually};

const INVALID: &str = "Pending/InvalidObject";
const SCHEMA: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";

/// Stores objects under another CRD, and restores the right one.
pub(crate) async fn taken_under(
    env: &Environment,
    plural: &str,
    change: impl Fn(&mut Value),
    objects: &[String],
) -> Result<()> {
    let name = format!("{plural}.cognito-reset.dev");
    let right = env.get("crd", &name).await?;
    let mut other = right.clone();
    change(other.pointer_mut(SCHEMA).context("no schema")?);
    let replaced = async |spec: &Value| -> Result<()> {
        let patch = json!([{ "op": "replace", "path": "/spec", "value": spec }]).to_string();
        env.kubectl(&["patch", "crd", &name, "--type=json", "-p", &patch]).await?;
        Ok(())
    };
    replaced(&other["spec"]).await?;
    for object in objects {
        eventually(LIMIT, "the other definition", async || env.apply(object).await).await?;
    }
    replaced(&right["spec"]).await?;
    let probe = objects[0].replace("metadata: {name: ", "metadata: {name: probe-");
    let dry = ["apply", "--dry-run=server", "-f", "-"];
    eventually(LIMIT, "the right definition", async || {
        env.cluster.as_admin().run_with_input(&dry, &probe).await?.refusal()
    })
    .await?;
    Ok(())
}

/// Returns the patches by which the operator wrote the status of the object.
fn status_writes(env: &Environment, plural: &str, name: &str) -> Vec<Value> {
    let path = format!("/{plural}/{name}/status");
    let patches = env.api.requests().into_iter().filter(|it| it.seen.method == Method::PATCH);
    patches.filter(|it| it.seen.path.contains(&path)).map(|it| it.seen.json()).collect()
}

/// Returns how often the operator has read the object by itself.
fn looks(env: &Environment, name: &str) -> usize {
    let selector = format!("metadata.name%3D{name}");
    env.api.requests().iter().filter(|it| it.seen.path.contains(&selector)).count()
}

async fn events_about(env: &Environment, name: &str, reason: &str) -> Result<Vec<Value>> {
    let events = env.list("events").await?.into_iter();
    Ok(events.filter(|it| it["regarding"]["name"] == name && it["reason"] == reason).collect())
}

async fn the_event(env: &Environment, name: &str, reason: &str) -> Result<Value> {
    eventually(LIMIT, format!("the event {reason} of {name}"), async || {
        let mut events = events_about(env, name, reason).await?;
        ensure!(events.len() == 1, "{events:?}");
        Ok(events.remove(0))
    })
    .await
}

/// Defines `notAfter` as an earlier version did.
fn by_format(spec: &mut Value) {
    spec["properties"]["notAfter"] = json!({ "type": "string", "format": "date-time" });
    if let Some(rules) = spec["x-kubernetes-validations"].as_array_mut() {
        rules.retain(|rule| rule["fieldPath"] != ".notAfter");
    }
}

/// Defines a limit of any type.
fn with_any_limit(spec: &mut Value) {
    spec["properties"]["maxPendingPerNamespace"] =
        json!({ "x-kubernetes-preserve-unknown-fields": true, "description": "any" });
}

#[tokio::test]
async fn a_request_with_an_invalid_time_reports_it_once() -> Result<()> {
    let times = [
        ("never", "\"9999-12-31T23:59:59Z\""),
        ("fraction", "\"2036-01-01T00:00:00.1234567891Z\""),
        ("offset", "\"2036-01-01T00:00:00+99:99\""),
        ("tail", "\"2036-01-01T00:00:00Ztail\""),
    ];
    let env = Environment::start().await?;
    let mut objects = Vec::new();
    for (name, time) in times {
        env.users.create_user(&env.pool, name).await?;
        objects.push(env.request(name, name, &format!("deadlineSeconds: 1\nnotAfter: {time}")));
    }
    taken_under(&env, "passwordresetrequests", by_format, &objects).await?;
    let mut operator = env.run().await?;
    for (name, time) in times {
        env.becomes(name, INVALID).await?;
        let object = env.get("prr", name).await?;
        let shown: Vec<_> = ["Succeeded", "Ready", "PasswordInvalidated", "Reconciling"]
            .map(|type_| condition(&object, type_)["status"].clone())
            .to_vec();
        assert_eq!(json!(shown), json!(["Unknown", "Unknown", "Unknown", "True"]), "{name}");
        assert_eq!(object["status"]["observedGeneration"], 1, "{name}");
        let event = the_event(&env, name, "InvalidObject").await?;
        for output in [condition(&object, "Ready")["message"].to_string(), event["note"].to_string()] {
            assert!(output.contains("notAfter. Nothing is sent"), "{name}: {output}");
            assert!(
                output.contains("create a corrected one under a new name, or upgrade the operator"),
                "{name}: {output}"
            );
            assert!(!output.contains(time.trim_matches('"')), "{name}: {output}");
        }
    }
    // A valid request's deadline is later than theirs and passes meanwhile; then another process
    // reads them.
    env.apply(&env.request("clock", "clock", "suspend: true\ndeadlineSeconds: 1")).await?;
    assert_eq!(env.ended("clock").await?, "Failed/DeadlineExceeded");
    operator.sigkill().await?;
    for (name, _) in times {
        let status_writes = status_writes(&env, "passwordresetrequests", name);
        assert_eq!(status_writes.len(), 1, "{name}: {status_writes:?}");
        assert!(
            status_writes[0]["metadata"]["uid"].is_string()
                && status_writes[0]["metadata"]["resourceVersion"].is_string()
        );
    }
    env.api.forget();
    let operator = env.run().await?;
    for (name, _) in times {
        eventually(LIMIT, format!("a look at {name}"), async || (looks(&env, name) > 0).then_some(())).await?;
    }
    // Another change brings it through the watch again.
    env.kubectl(&["label", "prr", "never", "seen=again"]).await?;
    env.ask("ordinary").await?;
    assert_eq!(env.ended("ordinary").await?, "Succeeded/ResetAccepted");
    for (name, _) in times {
        assert_eq!(env.state(name).await?, INVALID);
        assert_eq!(status_writes(&env, "passwordresetrequests", name), Vec::<Value>::new(), "{name}: reported again");
        assert_eq!((looks(&env, name), env.calls(name), env.record(name).await?), (1, 0, None), "{name}");
        assert_eq!(events_about(&env, name, "InvalidObject").await?.len(), 1, "{name}");
    }
    logs::is_sound(&operator.logs())
}

#[tokio::test]
async fn an_event_reports_an_invalid_object_whose_status_is_refused() -> Result<()> {
    let env = Environment::start().await?;
    // The format accepts a list, and no rule can check it ever after.
    let list = env.request("list", "list", "notAfter: []");
    let read = env.request("good", "list", "notAfter: 2036-01-01T00:00:00.1234567891Z");
    let first_fails = env.request("fails", "list", "notAfter: []");
    taken_under(&env, "passwordresetrequests", by_format, &[list, read, first_fails]).await?;
    let once = |name: &str, code, reason| {
        let path = format!("/passwordresetrequests/{name}/status");
        env.api.once(Matcher::path(Method::PATCH, &path), Fault::Respond(Reply::kubernetes_error(code, reason)))
    };
    let failing = once("good", 503, "ServiceUnavailable");
    // A transient refusal does not prevent the report of a lasting one.
    let passing = [once("list", 409, "Conflict"), once("fails", 503, "ServiceUnavailable")];
    let operator = env.run().await?;
    let lasting = "The status cannot be written: the API server responded with 422 Invalid for spec";
    let note = the_event(&env, "list", "InvalidObject").await?["note"].to_string();
    assert!(note.contains("cannot parse the request") && note.contains(lasting), "{note}");
    eventually(LIMIT, "the report of the lasting refusal", async || {
        let events = events_about(&env, "fails", "InvalidObject").await?;
        let notes: Vec<_> = events.iter().map(|event| event["note"].to_string()).collect();
        ensure!(notes.len() == 2 && notes.iter().any(|note| note.contains(lasting)), "{notes:?}");
        anyhow::Ok(())
    })
    .await?;
    assert_eq!(passing.map(|fault| fault.hits()), [1, 1]);
    assert_eq!(env.state("list").await?, "Pending/Pending");
    // A status that was refused once is written a moment later, and the only Event is that of the
    // failure.
    env.becomes("good", INVALID).await?;
    assert_eq!(failing.hits(), 1);
    let note = the_event(&env, "good", "InvalidObject").await?["note"].to_string();
    assert!(note.contains("503"), "{note}");
    eventually(LIMIT, "another try", async || {
        (status_writes(&env, "passwordresetrequests", "list").len() > 2).then_some(())
    })
    .await?;
    assert_eq!(events_about(&env, "list", "InvalidObject").await?.len(), 1);
    logs::is_sound(&operator.logs())
}

#[tokio::test]
async fn an_invalid_grant_allows_nothing_until_it_is_corrected() -> Result<()> {
    let env = Environment::start().await?;
    env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    let grant = |limit: &str| {
        format!(
            "apiVersion: cognito-reset.dev/v1alpha1\nkind: UserPoolGrant\nmetadata: {{name: some}}\nspec:\n  userPoolID: {}\n  namespaces: [default]\n  maxPendingPerNamespace: {limit}\n",
            env.pool
        )
    };
    env.apply(&grant("5")).await?;
    let becomes = async |ready: &str, reason: &str| {
        eventually(LIMIT, format!("the grant to be {ready}"), async || {
            let object = env.get("poolgrant", "some").await?;
            let condition = condition(&object, "Ready");
            ensure!(condition["status"] == ready && condition["reason"] == reason, "{condition}");
            ensure!(condition["observedGeneration"] == object["metadata"]["generation"], "{object}");
            anyhow::Ok(object)
        })
        .await
    };
    let operator = env.run().await?;
    becomes("True", "Valid").await?;
    taken_under(&env, "userpoolgrants", with_any_limit, &[grant("few")]).await?;
    let object = becomes("False", "InvalidObject").await?;
    assert_eq!(condition(&object, "Stalled")["status"], "True");
    assert_eq!(object["status"]["matchedNamespaces"], Value::Null);
    let note = the_event(&env, "some", "InvalidObject").await?["note"].to_string();
    for output in [condition(&object, "Ready")["message"].to_string(), note] {
        assert!(output.contains("Expected i64. It allows nothing") && !output.contains("few"), "{output}");
    }
    env.ask("waiting").await?;
    env.becomes("waiting", "Pending/NoMatchingGrant").await?;
    assert_eq!(status_writes(&env, "userpoolgrants", "some").len(), 1);
    env.apply(&grant("5")).await?;
    let object = becomes("True", "Valid").await?;
    assert_eq!(condition(&object, "Stalled"), Value::Null);
    assert_eq!(env.ended("waiting").await?, "Succeeded/ResetAccepted");
    logs::is_sound(&operator.logs())
}

#[tokio::test]
async fn an_event_reaches_an_object_whose_name_is_of_any_length() -> Result<()> {
    let env = Environment::start().await?;
    let operator = env.run().await?;
    // kube's Recorder names an Event after its object, and has room for 236 characters of it.
    for length in [236, 237, 253] {
        // The name has as few letters as possible between dots, so that a cut at any place meets a
        // dot.
        let name = format!("n{length}{}", ".a".repeat(length))[..length].trim_end_matches('.').to_owned();
        let name = format!("{name}{}", "z".repeat(length - name.len()));
        env.users.create_user(&env.pool, "alice").await.ok();
        env.apply(&env.request(&name, "alice", "")).await?;
        assert_eq!(env.ended(&name).await?, "Succeeded/ResetAccepted");
        let event = the_event(&env, &name, "ResetAccepted").await?;
        let request = env.get("prr", &name).await?;
        let (regarding, metadata) = (&event["regarding"], &request["metadata"]);
        assert_eq!((&regarding["name"], &regarding["uid"]), (&metadata["name"], &metadata["uid"]));
        assert_eq!((&event["type"], &event["action"]), (&json!("Normal"), &json!("Reset")));
        assert_eq!(event["reportingController"], "cognito-reset-operator");
        assert_eq!(event["note"], condition(&request, "Ready")["message"]);
        let described = env.kubectl(&["describe", "prr", &name]).await?;
        assert!(described.contains("ResetAccepted") && !described.contains("Events:  <none>"), "{described}");
        env.grant(&name, "namespaces: [none-such]").await?;
        the_event(&env, &name, "NoNamespaceMatches").await?;
        env.kubectl(&["delete", "poolgrant", &name]).await?;
    }
    let (_, metrics) = operator.page("/metrics").await?;
    assert!(metrics.contains("cognito_reset_events_dropped_total 0"), "{metrics}");
    logs::is_sound(&operator.logs())
}
