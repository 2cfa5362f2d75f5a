//! One call for each request, however often it is applied and by however many replicas it is seen.

#![allow(clippy::indexing_slicing, reason = "of JSON, which answers null")]

mod common;

use anyhow::Result;
use common::{Bench, LIMIT, condition};
use http::Method;
use serde_json::Value;
use testbed::{Fault, Matcher, Options, eventually};

#[tokio::test]
async fn deleted_and_applied_again_a_request_is_told_what_happened() -> Result<()> {
    let bench = Bench::start().await?;
    let _operator = bench.run().await?;
    bench.ask("again").await?;
    assert_eq!(bench.ended("again").await?, "Succeeded/ResetAccepted");
    let first = bench.get("prr", "again").await?;
    // Somebody finishes the reset in between: it must not be asked for twice all the same.
    bench.users.confirm(&bench.pool, "again").await?;
    bench.kubectl(&["delete", "prr", "again"]).await?;
    bench.apply(&bench.request("again", "again", "")).await?;
    assert_eq!(bench.ended("again").await?, "Succeeded/AlreadyPerformed");
    let second = bench.get("prr", "again").await?;
    let message = condition(&second, "Ready")["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("nothing was sent") && message.contains("use a new name"), "{message}");
    for field in ["awsRequestID", "recordRef", "userSub", "startTime"] {
        assert_eq!(first["status"][field], second["status"][field], "{field}");
    }
    assert_eq!(bench.calls("again"), 1);
    assert_eq!(bench.users.user_status(&bench.pool, "again").await?, "CONFIRMED");
    Ok(())
}

#[tokio::test]
async fn a_refusal_is_told_again_and_not_asked_for_again() -> Result<()> {
    let bench = Bench::start().await?;
    let _operator = bench.run().await?;
    bench.apply(&bench.request("typo", "nobody", "")).await?;
    assert_eq!(bench.ended("typo").await?, "Failed/UserNotFoundException");
    bench.kubectl(&["delete", "prr", "typo"]).await?;
    bench.users.create_user(&bench.pool, "nobody").await?;
    bench.apply(&bench.request("typo", "nobody", "")).await?;
    assert_eq!(bench.ended("typo").await?, "Failed/UserNotFoundException");
    assert_eq!(bench.calls("nobody"), 1);
    bench.apply(&bench.request("typo-mended", "nobody", "")).await?;
    assert_eq!(bench.ended("typo-mended").await?, "Succeeded/ResetAccepted");
    Ok(())
}

#[tokio::test]
async fn a_namespace_deleted_and_created_again_brings_no_second_reset() -> Result<()> {
    let bench = Bench::start_with(Options { controller_manager: true, ..Options::default() }).await?;
    let _operator = bench.run().await?;
    bench.users.create_user(&bench.pool, "alice").await?;
    let manifest = bench.request("reset-alice", "alice", "").replace("namespace: default", "namespace: team");
    let wait = ["wait", "prr/reset-alice", "-n", "team", "--for=jsonpath={.status.completionTime}", "--timeout=60s"];
    for _ in 0..2 {
        bench.kubectl(&["create", "namespace", "team"]).await?;
        bench.apply(&manifest).await?;
        bench.kubectl(&wait).await?;
        bench.kubectl(&["delete", "namespace", "team", "--timeout=60s"]).await?;
    }
    assert_eq!(bench.calls("alice"), 1);
    Ok(())
}

#[tokio::test]
async fn a_status_dropped_as_by_a_restore_is_told_again_as_it_was() -> Result<()> {
    let bench = Bench::start().await?;
    let _operator = bench.run().await?;
    bench.ask("restored").await?;
    assert_eq!(bench.ended("restored").await?, "Succeeded/ResetAccepted");
    let dropped = [
        "patch",
        "prr",
        "restored",
        "--subresource=status",
        "--type=json",
        "-p",
        r#"[{"op":"remove","path":"/status"}]"#,
    ];
    bench.kubectl(&dropped).await?;
    assert_eq!(bench.ended("restored").await?, "Succeeded/ResetAccepted");
    assert_eq!(bench.calls("restored"), 1);
    Ok(())
}

#[tokio::test]
async fn the_same_name_for_another_user_is_another_request() -> Result<()> {
    let bench = Bench::start().await?;
    let _operator = bench.run().await?;
    for username in ["alice", "bob"] {
        bench.users.create_user(&bench.pool, username).await?;
        bench.apply(&bench.request("reset", username, "")).await?;
        assert_eq!(bench.ended("reset").await?, "Succeeded/ResetAccepted", "{username}");
        bench.kubectl(&["delete", "prr", "reset"]).await?;
    }
    assert_eq!((bench.calls("alice"), bench.calls("bob")), (1, 1));
    Ok(())
}

#[tokio::test]
async fn an_outcome_is_not_told_to_another_object_of_the_name() -> Result<()> {
    let bench = Bench::start().await?;
    let _operator = bench.run().await?;
    for user in ["alice", "bob"] {
        bench.users.create_user(&bench.pool, user).await?;
    }
    let told = Matcher::path(Method::PUT, "passwordresetrequests/shared/status");
    let rule = bench.api.once(told, Fault::Hold);
    bench.apply(&bench.request("shared", "alice", "")).await?;
    let held = rule.held(LIMIT).await?;
    bench.kubectl(&["delete", "prr", "shared"]).await?;
    bench.apply(&bench.request("shared", "bob", "")).await?;
    held.release();
    assert_eq!(bench.ended("shared").await?, "Succeeded/ResetAccepted");
    assert_eq!((bench.calls("alice"), bench.calls("bob")), (1, 1), "the second one was told the outcome of the first");
    Ok(())
}

#[tokio::test]
async fn two_replicas_make_one_call_for_each_request_with_a_lease_and_without() -> Result<()> {
    let bench = Bench::start().await?;
    for (kind, lease) in [("alone", None), ("leased", Some("5s"))] {
        let _first = bench.run_with(bench.replica("first", lease)).await?;
        let _second = bench.run_with(bench.replica("second", lease)).await?;
        let names: Vec<_> = (0..12).map(|number| format!("{kind}-{number}")).collect();
        for name in &names {
            bench.users.create_user(&bench.pool, name).await?;
        }
        let all: String = names.iter().map(|name| format!("---\n{}", bench.request(name, name, ""))).collect();
        bench.apply(&all).await?;
        for name in &names {
            assert_eq!(bench.ended(name).await?, "Succeeded/ResetAccepted", "{name}");
            assert_eq!(bench.calls(name), 1, "{name}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_replica_that_meets_the_open_claim_of_another_lets_it_finish() -> Result<()> {
    let bench = Bench::start().await?;
    let patient = ["--call-timeout=30s", "--read-timeout=2s"];
    let _first = bench.run_with(bench.operator().args(patient).args(["--identity=first"])).await?;
    let call = bench.cognito.once(Matcher::reset_of("slow"), Fault::HoldReply);
    bench.ask("slow").await?;
    let held = call.held(LIMIT).await?;
    let _second = bench.run_with(bench.operator().args(patient).args(["--identity=second"])).await?;
    bench.becomes("slow", "Pending/AwaitingPriorAttempt").await?;
    held.release();
    assert_eq!(bench.ended("slow").await?, "Succeeded/ResetAccepted");
    assert_eq!(bench.calls("slow"), 1);
    Ok(())
}

#[tokio::test]
async fn an_open_claim_whose_request_is_gone_is_resolved() -> Result<()> {
    let bench = Bench::start().await?;
    let write = bench.api.once(Matcher::path(Method::PUT, "/passwordresetrecords"), Fault::Hold);
    let mut operator = bench.run().await?;
    bench.ask("orphan").await?;
    let held = write.held(LIMIT).await?;
    operator.sigkill().await?;
    held.lose();
    bench.kubectl(&["delete", "prr", "orphan"]).await?;
    let _operator = bench.run().await?;
    let record = eventually(LIMIT, "the orphan to be settled", async || {
        bench.record("orphan").await.ok().flatten().filter(|record| record["effect"] != Value::Null)
    })
    .await?;
    assert_eq!(record["effect"], "Performed");
    assert_eq!(record["attempts"][0]["evidence"], "UserStatusCheck");
    assert_eq!(bench.calls("orphan"), 1);
    Ok(())
}

#[tokio::test]
async fn a_frozen_holder_that_comes_back_adds_what_it_learns_to_the_record_and_sends_nothing_again() -> Result<()> {
    let bench = Bench::start().await?;
    let first = bench.run_with(bench.operator().args(["--identity=first"])).await?;
    let call = bench.cognito.once(Matcher::reset_of("frozen"), Fault::Hold);
    bench.ask("frozen").await?;
    let held = call.held(LIMIT).await?;
    first.sigstop()?;
    let _second = bench.run_with(bench.operator().args(["--identity=second"])).await?;
    assert_eq!(bench.ended("frozen").await?, "Unknown/OutcomeUnknown");
    held.release();
    first.sigcont()?;
    let record = eventually(LIMIT, "the holder to settle its claim", async || {
        bench.record("frozen").await.ok().flatten().filter(|record| record["effect"] == "Performed")
    })
    .await?;
    assert_eq!(record["attempts"].as_array().map(Vec::len), Some(1), "{record}");
    assert_eq!(bench.stands("frozen").await?, "Unknown/OutcomeUnknown", "a status is written once");
    assert_eq!(bench.calls("frozen"), 1);
    Ok(())
}
