//! What is forgotten and deleted, when, and what never is: on the real API server, with short times.

#![allow(clippy::indexing_slicing, reason = "of JSON, which answers null")]

mod common;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cognito_reset_api::{Action, RequestRef, record::SCHEMA};
use cognito_reset_core::{
    ledger::Identity,
    retention::{gitops::Tracker, policy::KEEP},
};
use common::{Bench, LIMIT};
use http::Method;
use serde_json::{Value, json};
use testbed::{Fault, Matcher, Operator, Recorded, Reply, eventually};

const RETENTION: Duration = Duration::from_secs(5);
const FAR: &str = "notAfter: \"2100-01-01T00:00:00Z\"";

/// Forgets after five seconds, and looks every second. An open claim is never taken over.
async fn operator(bench: &Bench) -> Result<Operator> {
    let times = [
        format!("--record-retention={}s", RETENTION.as_secs()),
        "--retention-scan-interval=1s".into(),
        "--claim-timeout=1h".into(),
        "--collect-rate=100".into(),
    ];
    bench.run_with(bench.operator().args(times)).await
}

/// One number of the operator's metrics; 0 where it has none.
async fn metric(operator: &Operator, name: &str) -> Result<i64> {
    let (_, text) = operator.page("/metrics").await?;
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("cognito_reset_{name} ")));
    line.map_or(Ok(0), |number| number.trim().parse().with_context(|| text.clone()))
}

/// Waits until all of a kind was looked through, from first to last, after this was called.
async fn looked_through(operator: &Operator, kind: &str) -> Result<()> {
    let name = format!("retention_last_scan_timestamp_seconds{{kind=\"{kind}\"}}");
    let first = eventually(LIMIT, "a first look", async || {
        let seen = metric(operator, &name).await?;
        ensure!(seen > 0, "none yet");
        Ok(seen)
    })
    .await?;
    // The looks are a second apart, and short: of two more, the last has begun after the first was seen.
    eventually(LIMIT, format!("looks through every {kind}"), async || {
        let seen = metric(operator, &name).await?;
        ensure!(seen >= first + 3, "{first}, then {seen}");
        anyhow::Ok(())
    })
    .await
}

fn identity(bench: &Bench, name: &str) -> Identity {
    let request = RequestRef { namespace: "default".into(), name: name.into() };
    Identity { action: Action::PasswordReset, request, user_pool_id: bench.pool.clone(), username: name.into() }
}

/// A record of the request and the user of this name, claimed by somebody who is gone, with these fields besides.
fn record(bench: &Bench, name: &str, fields: &Value) -> Value {
    let mut record = json!({
        "apiVersion": "cognito-reset.dev/v1alpha1", "kind": "PasswordResetRecord",
        "metadata": { "name": identity(bench, name).record_name() }, "schema": SCHEMA, "action": "PasswordReset",
        "request": { "namespace": "default", "name": name }, "userPoolID": bench.pool, "username": name,
        "attempts": [{ "id": "8f0a", "operatorInstance": "gone", "requestUID": "gone", "requestedBy": { "username": "unverified" },
            "claimedAt": "2026-01-01T00:00:00Z" }],
    });
    for (key, value) in fields.as_object().into_iter().flatten() {
        record[key] = value.clone();
    }
    record
}

async fn reset(bench: &Bench, name: &str, spec: &str) -> Result<()> {
    bench.users.create_user(&bench.pool, name).await?;
    bench.apply(&bench.request(name, name, spec)).await?;
    ensure!(bench.ended(name).await? == "Succeeded/ResetAccepted", "{name}");
    Ok(())
}

async fn is_gone(bench: &Bench, kind: &str, name: &str) -> Result<bool> {
    let found = bench.kubectl(&["get", kind, name, "--ignore-not-found", "-o", "name"]).await?;
    Ok(found.is_empty())
}

async fn goes(bench: &Bench, kind: &str, name: &str) -> Result<()> {
    eventually(LIMIT, format!("{kind} {name} to be deleted"), async || {
        ensure!(is_gone(bench, kind, name).await?, "it is there");
        anyhow::Ok(())
    })
    .await
}

fn sent(bench: &Bench, method: &Method, part: &str) -> Vec<Recorded> {
    let fits = |request: &Recorded| request.seen.method == *method && request.seen.path.contains(part);
    bench.api.requests().into_iter().filter(fits).collect()
}

/// From the first answered write to the deletion of it.
fn lived(bench: &Bench, write: (&Method, &str), deletion: &str) -> Result<Duration> {
    let first = |method, part: &str| -> Result<Instant> {
        let found =
            sent(bench, method, part).into_iter().find(|request| request.status.is_some_and(|it| it.is_success()));
        Ok(found.with_context(|| format!("no {method} of {part}"))?.at)
    };
    Ok(first(&Method::DELETE, deletion)?.duration_since(first(write.0, write.1)?))
}

#[tokio::test]
async fn a_record_is_forgotten_when_its_retention_has_passed_and_nothing_needs_it_any_more() -> Result<()> {
    let bench = Bench::start().await?;
    let operator = operator(&bench).await?;
    let settled = json!({ "effect": "Performed" });
    let mut misnamed = record(&bench, "misnamed", &settled);
    misnamed["metadata"]["name"] = "r2-misnamed".into();
    let newer = json!({ "effect": "Performed", "schema": SCHEMA + 1 });
    for record in [record(&bench, "open", &json!({})), record(&bench, "newer", &newer), misnamed] {
        bench.apply(&record.to_string()).await?;
    }
    reset(&bench, "present", "").await?;
    reset(&bench, "expiring", FAR).await?;
    reset(&bench, "gone", "").await?;
    let name = |of| identity(&bench, of).record_name();
    assert_eq!(bench.get("prrec", &name("expiring")).await?["notAfter"], "2100-01-01T00:00:00Z");
    bench.kubectl(&["delete", "prr", "gone", "expiring"]).await?;
    goes(&bench, "prrec", &name("gone")).await?;
    // The API server's times are whole seconds: one less is the least that five can be.
    let age = lived(&bench, (&Method::PUT, &name("gone")), &name("gone"))?;
    assert!(age >= RETENTION - Duration::from_secs(1), "{age:?}");
    // By now, all others have been old enough as well.
    looked_through(&operator, "record").await?;
    for kept in [name("open"), name("newer"), name("present"), name("expiring"), "r2-misnamed".into()] {
        assert!(!is_gone(&bench, "prrec", &kept).await?, "{kept}: {}", operator.logs());
    }
    let collected = "retention_deleted_total{kind=\"record\"}";
    assert_eq!(metric(&operator, collected).await?, 1);

    // What is forgotten can be asked for anew; the documentation says so.
    bench.users.confirm(&bench.pool, "gone").await?;
    bench.apply(&bench.request("gone", "gone", "")).await?;
    assert_eq!(bench.ended("gone").await?, "Succeeded/ResetAccepted");
    assert_eq!((bench.calls("gone"), bench.calls("expiring")), (2, 1));
    // As soon as its request is gone, a record is nobody's any more.
    bench.kubectl(&["delete", "prr", "present"]).await?;
    goes(&bench, "prrec", &name("present")).await?;
    assert!(!operator.logs().contains("alice"));
    Ok(())
}

#[tokio::test]
async fn a_record_whose_request_comes_back_in_between_stays_and_remembers_it() -> Result<()> {
    let bench = Bench::start().await?;
    let _operator = operator(&bench).await?;
    reset(&bench, "back", "").await?;
    let name = identity(&bench, "back").record_name();
    let deletion = bench.api.once(Matcher::path(Method::DELETE, &name), Fault::Hold);
    bench.kubectl(&["delete", "prr", "back"]).await?;
    let held = deletion.held(LIMIT).await?;
    // Read, judged and on its way to be forgotten: then the request is applied again, with an expiry that it had not.
    bench.apply(&bench.request("back", "back", FAR)).await?;
    assert_eq!(bench.ended("back").await?, "Succeeded/AlreadyPerformed");
    bench.kubectl(&["delete", "prr", "back"]).await?;
    bench.api.forget();
    held.release();
    // The next one that is old enough is looked at after it, and goes.
    reset(&bench, "next", "").await?;
    bench.kubectl(&["delete", "prr", "next"]).await?;
    goes(&bench, "prrec", &identity(&bench, "next").record_name()).await?;
    assert_eq!(bench.get("prrec", &name).await?["notAfter"], "2100-01-01T00:00:00Z");
    assert_eq!(bench.calls("back"), 1);
    Ok(())
}

#[tokio::test]
async fn nothing_is_forgotten_on_a_made_up_404_without_the_servers_time_or_for_ever() -> Result<()> {
    let bench = Bench::start().await?;
    let forgetful = operator(&bench).await?;
    reset(&bench, "kept", "").await?;
    let name = identity(&bench, "kept").record_name();
    let request = || Matcher::path(Method::GET, "/passwordresetrequests/kept");
    for (what, reply) in [
        ("a page", Reply::new(404, "404 page not found")),
        ("a Status that names nothing", Reply::kubernetes_error(404, "NotFound")),
    ] {
        let rule = bench.api.always(request(), Fault::Respond(reply));
        eventually(LIMIT, format!("{what} to be met twice"), async || {
            ensure!(rule.hits() >= 2, "{}", rule.hits());
            anyhow::Ok(())
        })
        .await?;
        rule.remove();
        assert!(!is_gone(&bench, "prrec", &name).await?, "{what}");
    }
    assert!(metric(&forgetful, "retention_errors_total{kind=\"record\"}").await? >= 4);
    drop(forgetful);

    // A page without a Date, as something on the way may make it.
    let page = bench.kubectl(&["get", "--raw", "/apis/cognito-reset.dev/v1alpha1/passwordresetrecords"]).await?;
    let mut page: Value = serde_json::from_str(&page)?;
    page["kind"] = "PartialObjectMetadataList".into();
    page["apiVersion"] = "meta.k8s.io/v1".into();
    let undated = Reply::new(200, page.to_string()).header("content-type", "application/json").header("age", "0");
    let list = Matcher::path(Method::GET, "/passwordresetrecords?").and(|seen| !seen.path.contains("effect"));
    let rule = bench.api.always(list, Fault::Respond(undated));
    bench.kubectl(&["delete", "prr", "kept"]).await?;
    let timeless = operator(&bench).await?;
    eventually(LIMIT, "undated pages", async || {
        ensure!(rule.hits() >= 3, "{}", rule.hits());
        anyhow::Ok(())
    })
    .await?;
    assert!(timeless.logs().contains("response has no date"), "{}", timeless.logs());
    drop(timeless);
    rule.remove();
    assert!(!is_gone(&bench, "prrec", &name).await?);

    bench.api.forget();
    let never = bench.operator().args(["--record-retention=0", "--retention-scan-interval=1s"]);
    let never = bench.run_with(never).await?;
    looked_through(&never, "request").await?;
    // At the start one record is asked for, to see that they are served.
    let lists = sent(&bench, &Method::GET, "/passwordresetrecords?");
    let looks = lists.iter().filter(|list| !list.seen.path.contains("effect") && !list.seen.path.ends_with("limit=1"));
    assert_eq!(looks.count(), 0, "{lists:?}");
    drop(never);
    let _forgetful = operator(&bench).await?;
    goes(&bench, "prrec", &name).await
}

#[tokio::test]
async fn a_finished_request_is_deleted_when_its_time_to_live_has_passed_and_no_other_one_is() -> Result<()> {
    let bench = Bench::start().await?;
    let operator = bench.run().await?;
    bench.users.create_user(&bench.pool, "waits").await?;
    bench.apply(&bench.request("waits", "waits", "suspend: true\nttlSecondsAfterFinished: 0")).await?;
    reset(&bench, "without", "").await?;
    reset(&bench, "long", "ttlSecondsAfterFinished: 3600").await?;
    bench.users.create_user(&bench.pool, "short").await?;
    bench.apply(&bench.request("short", "short", "ttlSecondsAfterFinished: 3")).await?;
    goes(&bench, "prr", "short").await?;
    let age = lived(&bench, (&Method::PUT, "/short/status"), "/passwordresetrequests/short")?;
    assert!(age >= Duration::from_secs(2), "{age:?}");
    looked_through(&operator, "request").await?;
    for name in ["without", "long"] {
        assert!(!is_gone(&bench, "prr", name).await?, "{name}");
    }
    assert_eq!(bench.stands("waits").await?, "Pending/Suspended");

    // The ledger knows it still.
    bench.users.confirm(&bench.pool, "short").await?;
    bench.apply(&bench.request("short", "short", "")).await?;
    assert_eq!(bench.ended("short").await?, "Succeeded/AlreadyPerformed");
    assert_eq!(bench.calls("short"), 1);
    // With nothing to live, it goes as soon as it has ended.
    bench.kubectl(&["patch", "prr", "waits", "--type=merge", "-p", r#"{"spec":{"suspend":false}}"#]).await?;
    goes(&bench, "prr", "waits").await?;
    assert_eq!(bench.calls("waits"), 1);
    looked_through(&operator, "request").await?;
    assert!(!is_gone(&bench, "prr", "short").await?, "off by default");
    assert_eq!(metric(&operator, "retention_deleted_total{kind=\"request\"}").await?, 2);
    // Of a request the operator writes the status and nothing else.
    assert!(sent(&bench, &Method::PATCH, "/passwordresetrequests/").is_empty());
    let written = sent(&bench, &Method::PUT, "/passwordresetrequests/");
    assert!(written.iter().all(|request| request.seen.path.contains("/status")), "{written:?}");
    Ok(())
}

#[tokio::test]
async fn a_request_that_is_replaced_after_its_end_is_deleted_all_the_same() -> Result<()> {
    let bench = Bench::start().await?;
    let operator = bench.run().await?;
    // Its deletion is held up until it has been replaced.
    let refusal = Fault::Respond(Reply::kubernetes_error(409, "Conflict"));
    let deletion = bench.api.always(Matcher::path(Method::DELETE, "/passwordresetrequests/replaced"), refusal);
    bench.users.create_user(&bench.pool, "replaced").await?;
    let manifest = bench.request("replaced", "replaced", "ttlSecondsAfterFinished: 0");
    bench.apply(&manifest.replace("{name:", "{labels: {team: support}, name:")).await?;
    assert_eq!(bench.ended("replaced").await?, "Succeeded/ResetAccepted");
    bench.cluster.as_admin().run_with_input(&["replace", "-f", "-"], &manifest).await?.success()?;
    let replaced = bench.get("prr", "replaced").await?;
    assert!(replaced["metadata"]["labels"].is_null() && replaced["status"]["outcome"] == "Succeeded", "{replaced}");
    deletion.remove();
    goes(&bench, "prr", "replaced").await?;
    assert_eq!(metric(&operator, "retention_deleted_total{kind=\"request\"}").await?, 1);
    assert_eq!(bench.calls("replaced"), 1);
    Ok(())
}

#[tokio::test]
async fn a_request_with_the_label_that_keeps_it_stays_for_as_long_as_it_is_there() -> Result<()> {
    let bench = Bench::start().await?;
    let operator = bench.run().await?;
    let refusal = Fault::Respond(Reply::kubernetes_error(409, "Conflict"));
    let deletion = bench.api.always(Matcher::path(Method::DELETE, "/passwordresetrequests/later"), refusal);
    // One is applied with the label, and another gets it after its end, before it is deleted.
    bench.users.create_user(&bench.pool, "first").await?;
    let manifest = bench.request("first", "first", "ttlSecondsAfterFinished: 0");
    bench.apply(&manifest.replace("{name:", &format!("{{labels: {{{KEEP}: \"\"}}, name:"))).await?;
    assert_eq!(bench.ended("first").await?, "Succeeded/ResetAccepted");
    reset(&bench, "later", "ttlSecondsAfterFinished: 0").await?;
    eventually(LIMIT, "it to be due", async || (deletion.hits() > 0).then_some(())).await?;
    bench.kubectl(&["label", "prr", "later", &format!("{KEEP}=audit-2026")]).await?;
    deletion.remove();
    // One more that ends after both have the label: when it has gone, the sweep has been there.
    reset(&bench, "goes", "ttlSecondsAfterFinished: 0").await?;
    goes(&bench, "prr", "goes").await?;
    looked_through(&operator, "request").await?;
    for name in ["first", "later"] {
        assert!(!is_gone(&bench, "prr", name).await?, "{name}");
        bench.kubectl(&["label", "prr", name, &format!("{KEEP}-")]).await?;
        goes(&bench, "prr", name).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_death_before_or_after_the_end_is_written_leaves_nothing_to_mend() -> Result<()> {
    let bench = Bench::start().await?;
    for (name, fault, left) in [("before", Fault::Hold, "Pending"), ("after", Fault::HoldReply, "Succeeded")] {
        let status = Matcher::path(Method::PUT, &format!("/passwordresetrequests/{name}/status"));
        let rule = bench.api.once(status, fault);
        let mut first = bench.run().await?;
        bench.users.create_user(&bench.pool, name).await?;
        bench.apply(&bench.request(name, name, "ttlSecondsAfterFinished: 1")).await?;
        let held = rule.held(LIMIT).await?;
        first.sigkill().await?;
        held.lose();
        assert_eq!(bench.get("prr", name).await?["status"]["outcome"], left, "{name}");
        let _second = bench.run().await?;
        goes(&bench, "prr", name).await?;
        assert_eq!(bench.calls(name), 1, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_finished_request_that_cannot_be_understood_hides_no_other_one() -> Result<()> {
    let bench = Bench::start().await?;
    // As a newer release may bring it: an outcome that this operator does not know.
    let crd = bench.get("crd", "passwordresetrequests.cognito-reset.dev").await?.to_string();
    let looser = crd.replace(r#""enum":["Pending","Succeeded","Failed","Unknown"]"#, r#""maxLength":20"#);
    assert_ne!(crd, looser);
    bench.apply(&looser).await?;
    bench.apply(&bench.request("a-newer", "newer", "suspend: true\nttlSecondsAfterFinished: 0")).await?;
    eventually(LIMIT, "the looser definition", async || {
        let patch = r#"{"status":{"outcome":"Cancelled","completionTime":"2026-01-01T00:00:00Z"}}"#;
        bench.kubectl(&["patch", "prr", "a-newer", "--subresource=status", "--type=merge", "-p", patch]).await
    })
    .await?;
    let operator = bench.run().await?;
    reset(&bench, "understood", "ttlSecondsAfterFinished: 0").await?;
    goes(&bench, "prr", "understood").await?;
    assert!(!is_gone(&bench, "prr", "a-newer").await?);
    assert!(metric(&operator, "retention_errors_total{kind=\"request\"}").await? > 0);
    assert!(operator.logs().contains("unable to parse an object; it is not deleted"), "{}", operator.logs());
    Ok(())
}

/// Waits for the Event that a time to live is not applied.
async fn told_of(bench: &Bench, name: &str, note: &str) -> Result<()> {
    eventually(LIMIT, format!("the event about {name}"), async || {
        let selector = format!("--field-selector=regarding.name={name},reason=TTLNotApplied");
        let list = bench.kubectl(&["get", "events.events.k8s.io", &selector, "-o", "json"]).await?;
        let list: Value = serde_json::from_str(&list)?;
        let noted = list["items"].as_array().into_iter().flatten().filter_map(|event| event["note"].as_str());
        ensure!(noted.clone().any(|said| said.contains(note)), "{:?}", noted.collect::<Vec<_>>());
        anyhow::Ok(())
    })
    .await
}

#[tokio::test]
async fn what_argo_cd_or_flux_tracks_is_not_deleted_and_an_event_says_so() -> Result<()> {
    let bench = Bench::start().await?;
    let operator = bench.run().await?;
    let marks = [("argo", Tracker::ArgoTrackingId, "annotations"), ("flux", Tracker::FluxKustomization, "labels")];
    for (name, mark, place) in marks {
        bench.users.create_user(&bench.pool, name).await?;
        let manifest = bench.request(name, name, "ttlSecondsAfterFinished: 0");
        let tracked = format!("{{{place}: {{{}: app}}, name:", mark.key());
        bench.apply(&manifest.replace("{name:", &tracked)).await?;
        assert_eq!(bench.ended(name).await?, "Succeeded/ResetAccepted");
        told_of(&bench, name, mark.key()).await?;
    }
    // Tracked only after it has ended: its deletion is held up until then.
    let refusal = Fault::Respond(Reply::kubernetes_error(409, "Conflict"));
    let deletion = bench.api.always(Matcher::path(Method::DELETE, "/passwordresetrequests/later"), refusal);
    reset(&bench, "later", "ttlSecondsAfterFinished: 0").await?;
    eventually(LIMIT, "it to be due", async || (deletion.hits() > 0).then_some(())).await?;
    bench.kubectl(&["annotate", "prr", "later", &format!("{}=app", Tracker::ArgoTrackingId.key())]).await?;
    told_of(&bench, "later", Tracker::ArgoTrackingId.key()).await?;
    deletion.remove();
    looked_through(&operator, "request").await?;
    for name in ["argo", "flux", "later"] {
        assert!(!is_gone(&bench, "prr", name).await?, "{name}");
    }
    // Let go, it is deleted.
    bench.kubectl(&["annotate", "prr", "later", &format!("{}-", Tracker::ArgoTrackingId.key())]).await?;
    goes(&bench, "prr", "later").await
}
