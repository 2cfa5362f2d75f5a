//! What holds a reset back, what lets it go on, and what is written meanwhile.

#![allow(clippy::indexing_slicing, reason = "of JSON, which answers null")]

mod common;

use std::time::Duration;

use anyhow::{Result, ensure};
use common::{Bench, LIMIT, condition};
use http::Method;
use testbed::{Fault, Matcher, Reply, eventually};

#[tokio::test]
async fn a_request_waits_for_its_grant_whichever_is_applied_first() -> Result<()> {
    let bench = Bench::start().await?;
    let _operator = bench.run().await?;
    bench.kubectl(&["delete", "upg", "everyone"]).await?;
    bench.ask("early").await?;
    bench.becomes("early", "Pending/UserPoolNotGranted").await?;
    // The kill switch outvotes whatever else is applied, so that no step opens the gate for a moment.
    bench.grant("kill-switch", "namespaces: [\"*\"]\nsuspend: true").await?;
    bench.becomes("early", "Pending/GrantSuspended").await?;
    bench.grant("one", "namespaces: [default]\nroleARN: arn:aws:iam::123456789012:role/one").await?;
    bench
        .grant(
            "two",
            "namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: default}}\nroleARN: arn:aws:iam::123456789012:role/two",
        )
        .await?;
    bench.ask("late").await?;
    bench.becomes("late", "Pending/GrantSuspended").await?;
    bench.kubectl(&["delete", "upg", "kill-switch"]).await?;
    bench.becomes("late", "Pending/AmbiguousGrant").await?;
    bench.grant("kill-switch", "namespaces: [\"*\"]\nsuspend: true").await?;
    bench.becomes("late", "Pending/GrantSuspended").await?;
    bench.kubectl(&["delete", "upg", "one", "two"]).await?;
    bench.grant("expiring", "namespaceSelector: {matchLabels: {team: support}}\nrequireExpiration: true").await?;
    bench.kubectl(&["delete", "upg", "kill-switch"]).await?;
    bench.becomes("late", "Pending/UserPoolNotGranted").await?;
    bench.kubectl(&["label", "namespace", "default", "team=support"]).await?;
    bench.becomes("late", "Pending/ExpirationRequired").await?;
    assert_eq!((bench.calls("early"), bench.calls("late")), (0, 0));
    bench.grant("named", "namespaces: [default]\nusernamePattern: \"early|la.*\"").await?;
    for name in ["early", "late"] {
        assert_eq!(bench.ended(name).await?, "Succeeded/ResetAccepted", "{name}");
        assert_eq!(bench.calls(name), 1, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_grant_tells_whether_it_can_match() -> Result<()> {
    let bench = Bench::start().await?;
    let _operator = bench.run().await?;
    bench.grant("broken", "namespaces: [default]\nusernamePattern: \"(\"").await?;
    bench.grant("nowhere", "namespaces: [not-there-yet]").await?;
    let ready = async |name: &str, wanted: &str| {
        eventually(LIMIT, format!("{name} to be {wanted}"), async || {
            let grant = bench.get("upg", name).await?;
            let ready = condition(&grant, "Ready");
            let seen = format!("{}/{}", ready["status"], ready["reason"]).replace('"', "");
            ensure!(seen == wanted, "{seen}");
            anyhow::Ok(grant)
        })
        .await
    };
    let broken = ready("broken", "False/InvalidUsernamePattern").await?;
    assert_eq!(condition(&broken, "Stalled")["status"], "True");
    ready("everyone", "True/Valid").await?;
    let nowhere = ready("nowhere", "False/NoNamespaceMatches").await?;
    assert!(condition(&nowhere, "Stalled").is_null());
    bench.kubectl(&["create", "namespace", "not-there-yet"]).await?;
    ready("nowhere", "True/Valid").await?;
    Ok(())
}

#[tokio::test]
async fn suspended_expired_and_late_requests_are_not_sent() -> Result<()> {
    let bench = Bench::start().await?;
    let _operator = bench.run().await?;
    for name in ["held", "expired", "late"] {
        bench.users.create_user(&bench.pool, name).await?;
    }
    bench.apply(&bench.request("held", "held", "suspend: true")).await?;
    bench.apply(&bench.request("expired", "expired", "expirationTime: \"2020-01-01T00:00:00Z\"")).await?;
    bench.apply(&bench.request("late", "late", "suspend: true\ndeadlineSeconds: 2")).await?;
    assert_eq!(bench.ended("expired").await?, "Failed/Expired");
    assert_eq!(bench.ended("late").await?, "Failed/DeadlineExceeded");
    bench.becomes("held", "Pending/Suspended").await?;
    // That nothing will be sent stands in the ledger before it is told, and holds for whoever applies it again.
    for (name, evidence) in [("expired", "Expired"), ("late", "DeadlineExceeded")] {
        let record = bench.record(name).await?.unwrap_or_default();
        assert_eq!((&record["effect"], &record["attempts"][0]["evidence"]), (&"NotPerformed".into(), &evidence.into()));
        bench.kubectl(&["delete", "prr", name]).await?;
        bench.apply(&bench.request(name, name, "")).await?;
        assert_eq!(bench.ended(name).await?, format!("Failed/{evidence}"));
        let again = bench.get("prr", name).await?;
        let message = condition(&again, "Ready")["message"].to_string();
        assert!(message.contains("use a new name"), "{message}");
    }
    assert_eq!((bench.calls("held"), bench.calls("expired"), bench.calls("late")), (0, 0, 0));
    bench.kubectl(&["patch", "prr", "held", "--type=merge", "-p", r#"{"spec":{"suspend":false}}"#]).await?;
    assert_eq!(bench.ended("held").await?, "Succeeded/ResetAccepted");
    Ok(())
}

#[tokio::test]
async fn skip_sends_nothing_where_the_user_already_has_to_reset_and_waits_where_that_cannot_be_read() -> Result<()> {
    let bench = Bench::start().await?;
    let _operator = bench.run().await?;
    for name in ["skipped", "resent", "unreadable"] {
        bench.users.create_user(&bench.pool, name).await?;
    }
    bench.users.reset(&bench.pool, "skipped").await?;
    bench.users.reset(&bench.pool, "resent").await?;
    bench.apply(&bench.request("skipped", "skipped", "ifResetRequired: Skip")).await?;
    bench.apply(&bench.request("resent", "resent", "ifResetRequired: Resend")).await?;
    assert_eq!(bench.ended("skipped").await?, "Succeeded/AlreadyResetRequired");
    assert_eq!(bench.ended("resent").await?, "Succeeded/ResetAccepted");
    assert_eq!((bench.calls("skipped"), bench.calls("resent")), (0, 1));
    let denied = Fault::Respond(Reply::aws_error(400, "AccessDeniedException"));
    let rule = bench.cognito.always(Matcher::operation("AdminGetUser"), denied);
    bench.apply(&bench.request("unreadable", "unreadable", "ifResetRequired: Skip")).await?;
    // The wait is short here, so it is not shown; it must not be sent all the same.
    eventually(LIMIT, "the user to be read several times", async || (rule.hits() >= 3).then_some(())).await?;
    assert_eq!(bench.calls("unreadable"), 0);
    rule.remove();
    assert_eq!(bench.ended("unreadable").await?, "Succeeded/ResetAccepted");
    Ok(())
}

#[tokio::test]
async fn a_role_is_assumed_for_the_request_and_its_session_is_named_and_tagged_after_it() -> Result<()> {
    let bench = Bench::start().await?;
    let _operator = bench.run().await?;
    bench.kubectl(&["delete", "upg", "everyone"]).await?;
    let role = "arn:aws:iam::123456789012:role/password-reset";
    bench.grant("with-role", &format!("namespaces: [default]\nroleARN: {role}\nexternalID: our-cluster")).await?;
    bench.ask("with-role").await?;
    assert_eq!(bench.ended("with-role").await?, "Succeeded/ResetAccepted");
    let uid = bench.kubectl(&["get", "prr", "with-role", "-o", "jsonpath={.metadata.uid}"]).await?;
    let assumed = bench
        .cognito
        .requests()
        .into_iter()
        .find(|request| String::from_utf8_lossy(&request.seen.body).contains("Action=AssumeRole"));
    let assumed = assumed.map(|request| String::from_utf8_lossy(&request.seen.body).into_owned()).unwrap_or_default();
    for part in [
        &format!("RoleSessionName=prr-{uid}"),
        "ExternalId=our-cluster",
        "cognito-reset.dev",
        "Value=with-role",
        "Value=default",
    ] {
        assert!(assumed.contains(part), "{part} in {assumed}");
    }
    let record = bench.record("with-role").await?.unwrap_or_default();
    assert_eq!(record["attempts"][0]["roleARN"], role);
    assert_eq!(record["attempts"][0]["grants"][0], "with-role");
    Ok(())
}

#[tokio::test]
async fn without_credentials_nothing_is_claimed() -> Result<()> {
    let bench = Bench::start().await?;
    let bare = bench.operator().without_env("AWS_ACCESS_KEY_ID").without_env("AWS_SECRET_ACCESS_KEY");
    let operator = bench.run_with(bare.args(["--retry-initial=1s", "--retry-max=10s"])).await?;
    bench.ask("bare").await?;
    bench.becomes("bare", "Pending/AwsCredentialsUnavailable").await?;
    assert!(bench.record("bare").await?.is_none());
    assert_eq!(bench.calls("bare"), 0);
    drop(operator);
    let _operator = bench.run().await?;
    assert_eq!(bench.ended("bare").await?, "Succeeded/ResetAccepted");
    Ok(())
}

#[tokio::test]
async fn nothing_is_written_at_rest() -> Result<()> {
    let bench = Bench::start().await?;
    let _operator = bench.run().await?;
    bench.ask("done").await?;
    bench.ended("done").await?;
    bench.users.create_user(&bench.pool, "held").await?;
    bench.apply(&bench.request("held", "held", "suspend: true")).await?;
    bench.becomes("held", "Pending/Suspended").await?;
    // The Event of the end is the last write; the sweep's reads tell that time goes on.
    let events = async || Ok::<_, anyhow::Error>(!bench.kubectl(&["get", "events", "-o", "name"]).await?.is_empty());
    eventually(LIMIT, "the event", async || events().await.ok().filter(|seen| *seen)).await?;
    let told =
        |seen: &testbed::Seen| seen.method == Method::PUT && seen.path.contains("userpoolgrants/everyone/status");
    let grant_writes = bench.api.requests().iter().filter(|request| told(&request.seen)).count();
    assert_eq!(grant_writes, 1, "a grant is told of once, when all namespaces are known");
    bench.api.forget();
    let sweeps =
        || bench.api.requests().iter().filter(|request| request.seen.path.contains("passwordresetrecords")).count();
    eventually(LIMIT, "several sweeps", async || (sweeps() >= 4).then_some(())).await?;
    let writes: Vec<_> =
        bench.api.requests().into_iter().filter(|request| request.seen.method != Method::GET).collect();
    assert!(writes.is_empty(), "{writes:?}");
    Ok(())
}

#[tokio::test]
async fn an_object_that_cannot_be_parsed_is_reported_and_stops_nobody() -> Result<()> {
    let bench = Bench::start().await?;
    bench.ask("good").await?;
    bench.ask("bad").await?;
    // Looser definitions, as a newer release may bring them, and a value that this operator does not know.
    let crd = bench.get("crd", "passwordresetrequests.cognito-reset.dev").await?.to_string();
    let looser = crd.replace(r#""enum":["Resend","Skip"]"#, r#""maxLength":20"#);
    assert_ne!(crd, looser);
    bench.kubectl(&["delete", "prr", "bad"]).await?;
    bench.apply(&looser).await?;
    eventually(LIMIT, "the looser definition", async || {
        bench.apply(&bench.request("bad", "bad", "ifResetRequired: Perhaps")).await
    })
    .await?;
    let operator = bench.run().await?;
    assert_eq!(bench.ended("good").await?, "Succeeded/ResetAccepted");
    eventually(LIMIT, "the event", async || {
        let events = bench.kubectl(&["get", "events", "-o", "jsonpath={.items[*].reason}"]).await?;
        ensure!(events.contains("NotUnderstood"), "{events}");
        anyhow::Ok(())
    })
    .await?;
    let (_, metrics) = operator.page("/metrics").await?;
    assert!(metrics.contains("cognito_reset_objects_not_understood_total"), "{metrics}");
    assert!(operator.logs().contains("unable to understand an object"));
    bench.ask("later").await?;
    assert_eq!(bench.ended("later").await?, "Succeeded/ResetAccepted");
    assert_eq!(bench.calls("bad"), 0);
    Ok(())
}

#[tokio::test]
async fn the_budget_of_a_region_spaces_the_calls() -> Result<()> {
    let bench = Bench::start().await?;
    let names: Vec<_> = (0..6).map(|number| format!("paced-{number}")).collect();
    for name in &names {
        bench.ask(name).await?;
    }
    let _operator = bench.run_with(bench.operator().args(["--rate=2"])).await?;
    for name in &names {
        assert_eq!(bench.ended(name).await?, "Succeeded/ResetAccepted", "{name}");
    }
    let calls = bench.cognito.operation("AdminResetUserPassword");
    let span =
        calls.last().map(|call| call.at).zip(calls.first().map(|call| call.at)).map(|(last, first)| last - first);
    // Five pauses of half a second lie between six calls; less would be over the budget.
    assert!(span >= Some(Duration::from_millis(2400)), "{span:?}");
    Ok(())
}
