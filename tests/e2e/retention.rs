//! Retention on the real API server with short times: which records and requests are deleted, when,
//! and which never are.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cognito_reset_api::{Action, RequestRef, record::SCHEMA};
use cognito_reset_core::{
    ledger::Identity,
    retention::{gitops::Tracker, policy::KEEP},
};
use http::Method;
use serde_json::{Value, json};
use testbed::environment::{Environment, LIMIT};
use testbed::{Fault, Matcher, Operator, Recorded, Reply, eventually};

const RETENTION: Duration = Duration::from_secs(5);
const FAR: &str = "notAfter: \"2100-01-01T00:00:00Z\"";

/// Starts an operator with a retention of 5 s that scans every second. It never takes over an open
/// claim.
async fn operator(env: &Environment) -> Result<Operator> {
    let times = [
        format!("--record-retention={}s", RETENTION.as_secs()),
        "--retention-scan-interval=1s".into(),
        "--claim-timeout=1h".into(),
        "--retention-rate=100".into(),
    ];
    env.run_with(env.operator().args(times)).await
}

/// Returns one number of the operator's metrics; 0 if it has none.
async fn metric(operator: &Operator, name: &str) -> Result<i64> {
    let (_, text) = operator.page("/metrics").await?;
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("cognito_reset_{name} ")));
    line.map_or(Ok(0), |number| number.trim().parse().with_context(|| text.clone()))
}

/// Waits for a scan of all objects of a kind that began after this was called.
async fn looked_through(operator: &Operator, kind: &str) -> Result<()> {
    let name = format!("retention_last_scan_timestamp_seconds{{kind=\"{kind}\"}}");
    let first = eventually(LIMIT, "a first look", async || {
        let seen = metric(operator, &name).await?;
        ensure!(seen > 0, "none yet");
        Ok(seen)
    })
    .await?;
    // The scans are 1 s apart, and short: of two more, the last has begun after the first was seen.
    eventually(LIMIT, format!("looks through every {kind}"), async || {
        let seen = metric(operator, &name).await?;
        ensure!(seen >= first + 3, "{first}, then {seen}");
        anyhow::Ok(())
    })
    .await
}

fn identity(env: &Environment, name: &str) -> Identity {
    let request = RequestRef { namespace: "default".into(), name: name.into() };
    Identity { action: Action::PasswordReset, request, user_pool_id: env.pool.clone(), username: name.into() }
}

/// Returns a record of the request and the user of this name, claimed by a process that is gone,
/// with these fields besides.
fn record(env: &Environment, name: &str, fields: &Value) -> Value {
    let mut record = json!({
        "apiVersion": "cognito-reset.dev/v1alpha1", "kind": "PasswordResetRecord",
        "metadata": { "name": identity(env, name).record_name() }, "schema": SCHEMA, "action": "PasswordReset",
        "request": { "namespace": "default", "name": name }, "userPoolID": env.pool, "username": name,
        "attempts": [{ "id": "8f0a", "operatorInstance": "gone", "requestUID": "gone", "requestedBy": { "username": "unverified" },
            "claimedAt": "2026-01-01T00:00:00Z" }],
    });
    for (key, value) in fields.as_object().into_iter().flatten() {
        record[key] = value.clone();
    }
    record
}

async fn reset(env: &Environment, name: &str, spec: &str) -> Result<()> {
    env.users.create_user(&env.pool, name).await?;
    env.apply(&env.request(name, name, spec)).await?;
    ensure!(env.ended(name).await? == "Succeeded/ResetAccepted", "{name}");
    Ok(())
}

async fn is_gone(env: &Environment, kind: &str, name: &str) -> Result<bool> {
    Ok(!env.exists(kind, name).await?)
}

async fn goes(env: &Environment, kind: &str, name: &str) -> Result<()> {
    eventually(LIMIT, format!("{kind} {name} to be deleted"), async || {
        ensure!(is_gone(env, kind, name).await?, "it is there");
        anyhow::Ok(())
    })
    .await
}

fn sent(env: &Environment, method: &Method, part: &str) -> Vec<Recorded> {
    let fits = |request: &Recorded| request.seen.method == *method && request.seen.path.contains(part);
    env.api.requests().into_iter().filter(fits).collect()
}

/// Returns the time from the first successful write to its deletion.
async fn lived(env: &Environment, write: (&Method, &str), deletion: &str) -> Result<Duration> {
    let first = async |method: &Method, part: &str| {
        // An object can be gone before the response to its deletion has passed the proxy.
        eventually(LIMIT, format!("a successful {method} of {part}"), async || {
            let is_success = |request: &Recorded| request.status.is_some_and(|status| status.is_success());
            sent(env, method, part).into_iter().find(is_success).map(|request| request.at)
        })
        .await
    };
    Ok(first(&Method::DELETE, deletion).await?.duration_since(first(write.0, write.1).await?))
}

#[tokio::test]
async fn a_record_is_deleted_after_its_retention_unless_needed() -> Result<()> {
    let env = Environment::start().await?;
    let operator = operator(&env).await?;
    let settled = json!({ "effect": "Performed" });
    let mut misnamed = record(&env, "misnamed", &settled);
    misnamed["metadata"]["name"] = "r2-misnamed".into();
    let newer = json!({ "effect": "Performed", "schema": SCHEMA + 1 });
    for record in [record(&env, "open", &json!({})), record(&env, "newer", &newer), misnamed] {
        env.apply(&record.to_string()).await?;
    }
    reset(&env, "present", "").await?;
    reset(&env, "expiring", FAR).await?;
    reset(&env, "gone", "").await?;
    let name = |of| identity(&env, of).record_name();
    assert_eq!(env.get("prrec", &name("expiring")).await?["notAfter"], "2100-01-01T00:00:00Z");
    env.kubectl(&["delete", "prr", "gone", "expiring"]).await?;
    goes(&env, "prrec", &name("gone")).await?;
    // The API server's times are whole seconds: one less is the least that five can be.
    let age = lived(&env, (&Method::PUT, &name("gone")), &name("gone")).await?;
    assert!(age >= RETENTION - Duration::from_secs(1), "{age:?}");
    // By now, all other records have been old enough as well.
    looked_through(&operator, "record").await?;
    for kept in [name("open"), name("newer"), name("present"), name("expiring"), "r2-misnamed".into()] {
        assert!(!is_gone(&env, "prrec", &kept).await?, "{kept}: {}", operator.logs());
    }
    let collected = "retention_deleted_total{kind=\"record\"}";
    assert_eq!(metric(&operator, collected).await?, 1);

    // A reset whose record was deleted can be requested again, as the documentation says.
    env.users.confirm(&env.pool, "gone").await?;
    env.apply(&env.request("gone", "gone", "")).await?;
    assert_eq!(env.ended("gone").await?, "Succeeded/ResetAccepted");
    assert_eq!((env.calls("gone"), env.calls("expiring")), (2, 1));
    // A record that is old enough is deleted as soon as its request is gone.
    env.kubectl(&["delete", "prr", "present"]).await?;
    goes(&env, "prrec", &name("present")).await?;
    assert!(!operator.logs().contains("alice"));
    Ok(())
}

#[tokio::test]
async fn a_record_whose_request_comes_back_is_kept() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = operator(&env).await?;
    reset(&env, "back", "").await?;
    let name = identity(&env, "back").record_name();
    let deletion = env.api.once(Matcher::path(Method::DELETE, &name), Fault::Hold);
    env.kubectl(&["delete", "prr", "back"]).await?;
    let held = deletion.held(LIMIT).await?;
    // The record was read and its deletion is on its way. Then the request is applied again, with
    // an expiry that it did not have.
    env.apply(&env.request("back", "back", FAR)).await?;
    assert_eq!(env.ended("back").await?, "Succeeded/AlreadyPerformed");
    env.kubectl(&["delete", "prr", "back"]).await?;
    env.api.forget();
    held.release();
    // The scan comes to the next record that is old enough after it, and deletes that.
    reset(&env, "next", "").await?;
    env.kubectl(&["delete", "prr", "next"]).await?;
    goes(&env, "prrec", &identity(&env, "next").record_name()).await?;
    assert_eq!(env.get("prrec", &name).await?["notAfter"], "2100-01-01T00:00:00Z");
    assert_eq!(env.calls("back"), 1);
    Ok(())
}

#[tokio::test]
async fn no_record_is_deleted_on_a_forged_404_or_without_server_time() -> Result<()> {
    let env = Environment::start().await?;
    let forgetful = operator(&env).await?;
    reset(&env, "kept", "").await?;
    let name = identity(&env, "kept").record_name();
    let request = || Matcher::path(Method::GET, "/passwordresetrequests/kept");
    for (what, reply) in [
        ("a page", Reply::new(404, "404 page not found")),
        ("a Status that names nothing", Reply::kubernetes_error(404, "NotFound")),
    ] {
        let rule = env.api.always(request(), Fault::Respond(reply));
        eventually(LIMIT, format!("{what} to be met twice"), async || {
            ensure!(rule.hits() >= 2, "{}", rule.hits());
            anyhow::Ok(())
        })
        .await?;
        rule.remove();
        assert!(!is_gone(&env, "prrec", &name).await?, "{what}");
    }
    assert!(metric(&forgetful, "retention_errors_total{kind=\"record\"}").await? >= 4);
    drop(forgetful);

    // A page without a Date, as something on the way may make it.
    let page = env.kubectl(&["get", "--raw", "/apis/cognito-reset.dev/v1alpha1/passwordresetrecords"]).await?;
    let mut page: Value = serde_json::from_str(&page)?;
    page["kind"] = "PartialObjectMetadataList".into();
    page["apiVersion"] = "meta.k8s.io/v1".into();
    let undated = Reply::new(200, page.to_string()).header("content-type", "application/json").header("age", "0");
    let list = Matcher::path(Method::GET, "/passwordresetrecords?").and(|seen| !seen.path.contains("effect"));
    let rule = env.api.always(list, Fault::Respond(undated));
    env.kubectl(&["delete", "prr", "kept"]).await?;
    let timeless = operator(&env).await?;
    eventually(LIMIT, "undated pages", async || {
        ensure!(rule.hits() >= 3, "{}", rule.hits());
        anyhow::Ok(())
    })
    .await?;
    assert!(timeless.logs().contains("response has no Date"), "{}", timeless.logs());
    drop(timeless);
    rule.remove();
    assert!(!is_gone(&env, "prrec", &name).await?);

    env.api.forget();
    let never = env.operator().args(["--record-retention=0", "--retention-scan-interval=1s"]);
    let never = env.run_with(never).await?;
    looked_through(&never, "request").await?;
    // At the start, the operator lists one record to see that the API server serves them.
    let lists = sent(&env, &Method::GET, "/passwordresetrecords?");
    let looks = lists.iter().filter(|list| !list.seen.path.contains("effect") && !list.seen.path.ends_with("limit=1"));
    assert_eq!(looks.count(), 0, "{lists:?}");
    drop(never);
    let _forgetful = operator(&env).await?;
    goes(&env, "prrec", &name).await
}

#[tokio::test]
async fn only_a_finished_request_is_deleted_after_its_time_to_live() -> Result<()> {
    let env = Environment::start().await?;
    let operator = env.run().await?;
    env.users.create_user(&env.pool, "waits").await?;
    env.apply(&env.request("waits", "waits", "suspend: true\nttlSecondsAfterFinished: 0")).await?;
    reset(&env, "without", "").await?;
    reset(&env, "long", "ttlSecondsAfterFinished: 3600").await?;
    env.users.create_user(&env.pool, "short").await?;
    env.apply(&env.request("short", "short", "ttlSecondsAfterFinished: 3")).await?;
    goes(&env, "prr", "short").await?;
    let age = lived(&env, (&Method::PUT, "/short/status"), "/passwordresetrequests/short").await?;
    assert!(age >= Duration::from_secs(2), "{age:?}");
    looked_through(&operator, "request").await?;
    for name in ["without", "long"] {
        assert!(!is_gone(&env, "prr", name).await?, "{name}");
    }
    assert_eq!(env.state("waits").await?, "Pending/Suspended");

    // The ledger still has the record.
    env.users.confirm(&env.pool, "short").await?;
    env.apply(&env.request("short", "short", "")).await?;
    assert_eq!(env.ended("short").await?, "Succeeded/AlreadyPerformed");
    assert_eq!(env.calls("short"), 1);
    // With a time to live of 0, it is deleted as soon as it has ended.
    env.kubectl(&["patch", "prr", "waits", "--type=merge", "-p", r#"{"spec":{"suspend":false}}"#]).await?;
    goes(&env, "prr", "waits").await?;
    assert_eq!(env.calls("waits"), 1);
    looked_through(&operator, "request").await?;
    assert!(!is_gone(&env, "prr", "short").await?, "off by default");
    assert_eq!(metric(&operator, "retention_deleted_total{kind=\"request\"}").await?, 2);
    // The operator writes only the status of a request.
    assert!(sent(&env, &Method::PATCH, "/passwordresetrequests/").is_empty());
    let written = sent(&env, &Method::PUT, "/passwordresetrequests/");
    assert!(written.iter().all(|request| request.seen.path.contains("/status")), "{written:?}");
    Ok(())
}

#[tokio::test]
async fn a_finished_request_that_was_replaced_is_still_deleted() -> Result<()> {
    let env = Environment::start().await?;
    let operator = env.run().await?;
    // Its deletion is held up until it has been replaced.
    let refusal = Fault::Respond(Reply::kubernetes_error(409, "Conflict"));
    let deletion = env.api.always(Matcher::path(Method::DELETE, "/passwordresetrequests/replaced"), refusal);
    env.users.create_user(&env.pool, "replaced").await?;
    let manifest = env.request("replaced", "replaced", "ttlSecondsAfterFinished: 0");
    env.apply(&manifest.replace("{name:", "{labels: {team: support}, name:")).await?;
    assert_eq!(env.ended("replaced").await?, "Succeeded/ResetAccepted");
    env.cluster.as_admin().run_with_input(&["replace", "-f", "-"], &manifest).await?.success()?;
    let replaced = env.get("prr", "replaced").await?;
    assert!(replaced["metadata"]["labels"].is_null() && replaced["status"]["outcome"] == "Succeeded", "{replaced}");
    deletion.remove();
    goes(&env, "prr", "replaced").await?;
    assert_eq!(metric(&operator, "retention_deleted_total{kind=\"request\"}").await?, 1);
    assert_eq!(env.calls("replaced"), 1);
    Ok(())
}

#[tokio::test]
async fn a_request_is_kept_while_it_has_the_keep_label() -> Result<()> {
    let env = Environment::start().await?;
    let operator = env.run().await?;
    let refusal = Fault::Respond(Reply::kubernetes_error(409, "Conflict"));
    let deletion = env.api.always(Matcher::path(Method::DELETE, "/passwordresetrequests/later"), refusal);
    // One is applied with the label, and another gets it after its end, before it is deleted.
    env.users.create_user(&env.pool, "first").await?;
    let manifest = env.request("first", "first", "ttlSecondsAfterFinished: 0");
    env.apply(&manifest.replace("{name:", &format!("{{labels: {{{KEEP}: \"\"}}, name:"))).await?;
    assert_eq!(env.ended("first").await?, "Succeeded/ResetAccepted");
    reset(&env, "later", "ttlSecondsAfterFinished: 0").await?;
    eventually(LIMIT, "it to be due", async || (deletion.hits() > 0).then_some(())).await?;
    env.kubectl(&["label", "prr", "later", &format!("{KEEP}=audit-2026")]).await?;
    deletion.remove();
    // One more request ends after both have the label. Its deletion shows that the scan has passed
    // them.
    reset(&env, "goes", "ttlSecondsAfterFinished: 0").await?;
    goes(&env, "prr", "goes").await?;
    looked_through(&operator, "request").await?;
    for name in ["first", "later"] {
        assert!(!is_gone(&env, "prr", name).await?, "{name}");
        env.kubectl(&["label", "prr", name, &format!("{KEEP}-")]).await?;
        goes(&env, "prr", name).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_crash_around_the_final_status_leaves_nothing_to_repair() -> Result<()> {
    let env = Environment::start().await?;
    for (name, fault, left) in [("before", Fault::Hold, "Pending"), ("after", Fault::HoldReply, "Succeeded")] {
        let status = Matcher::path(Method::PUT, &format!("/passwordresetrequests/{name}/status"));
        let rule = env.api.once(status, fault);
        let mut first = env.run().await?;
        env.users.create_user(&env.pool, name).await?;
        env.apply(&env.request(name, name, "ttlSecondsAfterFinished: 1")).await?;
        let held = rule.held(LIMIT).await?;
        first.sigkill().await?;
        held.lose();
        assert_eq!(env.get("prr", name).await?["status"]["outcome"], left, "{name}");
        let _second = env.run().await?;
        goes(&env, "prr", name).await?;
        assert_eq!(env.calls(name), 1, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn an_invalid_finished_request_hides_no_other_one() -> Result<()> {
    let env = Environment::start().await?;
    // A request of a newer release: its outcome is unknown to this operator.
    let crd = env.get("crd", "passwordresetrequests.cognito-reset.dev").await?.to_string();
    let looser = crd.replace(r#""enum":["Pending","Succeeded","Failed","Unknown"]"#, r#""maxLength":20"#);
    assert_ne!(crd, looser);
    env.apply(&looser).await?;
    env.apply(&env.request("a-newer", "newer", "suspend: true\nttlSecondsAfterFinished: 0")).await?;
    eventually(LIMIT, "the looser definition", async || {
        let patch = r#"{"status":{"outcome":"Cancelled","completionTime":"2026-01-01T00:00:00Z"}}"#;
        env.kubectl(&["patch", "prr", "a-newer", "--subresource=status", "--type=merge", "-p", patch]).await
    })
    .await?;
    let operator = env.run().await?;
    reset(&env, "understood", "ttlSecondsAfterFinished: 0").await?;
    goes(&env, "prr", "understood").await?;
    assert!(!is_gone(&env, "prr", "a-newer").await?);
    assert!(metric(&operator, "retention_errors_total{kind=\"request\"}").await? > 0);
    assert!(operator.logs().contains("unable to parse an object; it is not deleted"), "{}", operator.logs());
    Ok(())
}

/// Waits for the Event that a time to live is not applied.
async fn has_event(env: &Environment, name: &str, note: &str) -> Result<()> {
    eventually(LIMIT, format!("the event about {name}"), async || {
        let events = env.list("events").await?;
        let of_it = |event: &&Value| event["regarding"]["name"] == name && event["reason"] == "TTLNotApplied";
        let noted = events.iter().filter(of_it).filter_map(|event| event["note"].as_str());
        ensure!(noted.clone().any(|output| output.contains(note)), "{:?}", noted.collect::<Vec<_>>());
        anyhow::Ok(())
    })
    .await
}

#[tokio::test]
async fn requests_tracked_by_argo_cd_or_flux_are_kept_with_an_event() -> Result<()> {
    let env = Environment::start().await?;
    let operator = env.run().await?;
    let marks = [("argo", Tracker::ArgoTrackingId, "annotations"), ("flux", Tracker::FluxKustomization, "labels")];
    for (name, mark, place) in marks {
        env.users.create_user(&env.pool, name).await?;
        let manifest = env.request(name, name, "ttlSecondsAfterFinished: 0");
        let tracked = format!("{{{place}: {{{}: app}}, name:", mark.key());
        env.apply(&manifest.replace("{name:", &tracked)).await?;
        assert_eq!(env.ended(name).await?, "Succeeded/ResetAccepted");
        has_event(&env, name, mark.key()).await?;
    }
    // The request is tracked only after it has ended: its deletion is held up until then.
    let refusal = Fault::Respond(Reply::kubernetes_error(409, "Conflict"));
    let deletion = env.api.always(Matcher::path(Method::DELETE, "/passwordresetrequests/later"), refusal);
    reset(&env, "later", "ttlSecondsAfterFinished: 0").await?;
    eventually(LIMIT, "it to be due", async || (deletion.hits() > 0).then_some(())).await?;
    env.kubectl(&["annotate", "prr", "later", &format!("{}=app", Tracker::ArgoTrackingId.key())]).await?;
    has_event(&env, "later", Tracker::ArgoTrackingId.key()).await?;
    deletion.remove();
    looked_through(&operator, "request").await?;
    for name in ["argo", "flux", "later"] {
        assert!(!is_gone(&env, "prr", name).await?, "{name}");
    }
    // It is deleted once it is not tracked any more.
    env.kubectl(&["annotate", "prr", "later", &format!("{}-", Tracker::ArgoTrackingId.key())]).await?;
    goes(&env, "prr", "later").await
}
