//! There is one call for each request, regardless of how often it is applied and how many replicas
//! see it.

use anyhow::Result;
use http::Method;
use serde_json::Value;
use testbed::environment::{Environment, LIMIT, condition};
use testbed::{Fault, Matcher, Options, eventually};

#[tokio::test]
async fn a_request_applied_again_shows_what_happened() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    env.ask("again").await?;
    assert_eq!(env.ended("again").await?, "Succeeded/ResetAccepted");
    let first = env.get("prr", "again").await?;
    // The user finishes the reset in between: there must be no second one all the same.
    env.users.confirm(&env.pool, "again").await?;
    env.kubectl(&["delete", "prr", "again"]).await?;
    env.apply(&env.request("again", "again", "")).await?;
    assert_eq!(env.ended("again").await?, "Succeeded/AlreadyPerformed");
    let second = env.get("prr", "again").await?;
    let message = condition(&second, "Ready")["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("nothing was sent") && message.contains("use a new name"), "{message}");
    for field in ["awsRequestID", "recordRef", "userSub", "startTime"] {
        assert_eq!(first["status"][field], second["status"][field], "{field}");
    }
    assert_eq!(env.calls("again"), 1);
    assert_eq!(env.users.user_status(&env.pool, "again").await?, "CONFIRMED");
    Ok(())
}

#[tokio::test]
async fn a_refusal_is_shown_again_without_another_call() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    env.apply(&env.request("typo", "nobody", "")).await?;
    assert_eq!(env.ended("typo").await?, "Failed/UserNotFoundException");
    env.kubectl(&["delete", "prr", "typo"]).await?;
    env.users.create_user(&env.pool, "nobody").await?;
    env.apply(&env.request("typo", "nobody", "")).await?;
    assert_eq!(env.ended("typo").await?, "Failed/UserNotFoundException");
    assert_eq!(env.calls("nobody"), 1);
    env.apply(&env.request("typo-mended", "nobody", "")).await?;
    assert_eq!(env.ended("typo-mended").await?, "Succeeded/ResetAccepted");
    Ok(())
}

#[tokio::test]
async fn a_namespace_deleted_and_created_again_brings_no_second_reset() -> Result<()> {
    let env = Environment::start_with(Options { controller_manager: true, ..Options::default() }).await?;
    let _operator = env.run().await?;
    env.users.create_user(&env.pool, "alice").await?;
    let manifest = env.request("reset-alice", "alice", "").replace("namespace: default", "namespace: team");
    let wait = ["wait", "prr/reset-alice", "-n", "team", "--for=jsonpath={.status.completionTime}", "--timeout=60s"];
    for _ in 0..2 {
        env.kubectl(&["create", "namespace", "team"]).await?;
        env.apply(&manifest).await?;
        env.kubectl(&wait).await?;
        env.kubectl(&["delete", "namespace", "team", "--timeout=60s"]).await?;
    }
    assert_eq!(env.calls("alice"), 1);
    Ok(())
}

#[tokio::test]
async fn a_status_dropped_by_a_restore_is_written_again_as_it_was() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    env.ask("restored").await?;
    assert_eq!(env.ended("restored").await?, "Succeeded/ResetAccepted");
    let dropped = [
        "patch",
        "prr",
        "restored",
        "--subresource=status",
        "--type=json",
        "-p",
        r#"[{"op":"remove","path":"/status"}]"#,
    ];
    env.kubectl(&dropped).await?;
    assert_eq!(env.ended("restored").await?, "Succeeded/ResetAccepted");
    assert_eq!(env.calls("restored"), 1);
    Ok(())
}

#[tokio::test]
async fn the_same_name_for_another_user_is_another_request() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    for username in ["alice", "bob"] {
        env.users.create_user(&env.pool, username).await?;
        env.apply(&env.request("reset", username, "")).await?;
        assert_eq!(env.ended("reset").await?, "Succeeded/ResetAccepted", "{username}");
        env.kubectl(&["delete", "prr", "reset"]).await?;
    }
    assert_eq!((env.calls("alice"), env.calls("bob")), (1, 1));
    Ok(())
}

#[tokio::test]
async fn an_outcome_is_not_written_to_a_namesake() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    for user in ["alice", "bob"] {
        env.users.create_user(&env.pool, user).await?;
    }
    let status = Matcher::path(Method::PUT, "passwordresetrequests/shared/status");
    let rule = env.api.once(status, Fault::Hold);
    env.apply(&env.request("shared", "alice", "")).await?;
    let held = rule.held(LIMIT).await?;
    env.kubectl(&["delete", "prr", "shared"]).await?;
    // Another request of the name has turns of its own.
    env.apply(&env.request("shared", "bob", "suspend: true")).await?;
    env.becomes("shared", "Pending/Suspended").await?;
    held.release();
    // It is rejected for a request that has an outcome.
    let goes_on = env.kubectl(&["patch", "prr", "shared", "--type=merge", "-p", r#"{"spec":{"suspend":false}}"#]).await;
    assert_eq!(env.ended("shared").await?, "Succeeded/ResetAccepted");
    assert_eq!((env.calls("alice"), env.calls("bob")), (1, 1), "the second one has the outcome of the first");
    goes_on?;
    Ok(())
}

#[tokio::test]
async fn two_replicas_make_one_call_with_a_lease_and_without() -> Result<()> {
    let env = Environment::start().await?;
    for (kind, lease) in [("alone", None), ("leased", Some("5s"))] {
        let _first = env.run_with(env.replica("first", lease)).await?;
        let _second = env.run_with(env.replica("second", lease)).await?;
        let names: Vec<_> = (0..12).map(|number| format!("{kind}-{number}")).collect();
        for name in &names {
            env.users.create_user(&env.pool, name).await?;
        }
        let all: String = names.iter().map(|name| format!("---\n{}", env.request(name, name, ""))).collect();
        env.apply(&all).await?;
        for name in &names {
            assert_eq!(env.ended(name).await?, "Succeeded/ResetAccepted", "{name}");
            assert_eq!(env.calls(name), 1, "{name}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_replica_lets_another_finish_its_open_claim() -> Result<()> {
    let env = Environment::start().await?;
    let patient = ["--call-timeout=30s", "--read-timeout=2s"];
    let _first = env.run_with(env.operator().args(patient).args(["--identity=first"])).await?;
    let call = env.cognito.once(Matcher::reset_of("slow"), Fault::HoldReply);
    env.ask("slow").await?;
    let held = call.held(LIMIT).await?;
    let _second = env.run_with(env.operator().args(patient).args(["--identity=second"])).await?;
    env.becomes("slow", "Pending/AwaitingPriorAttempt").await?;
    held.release();
    assert_eq!(env.ended("slow").await?, "Succeeded/ResetAccepted");
    assert_eq!(env.calls("slow"), 1);
    Ok(())
}

#[tokio::test]
async fn an_open_claim_whose_request_is_gone_is_resolved() -> Result<()> {
    let env = Environment::start().await?;
    let write = env.api.once(Matcher::path(Method::PUT, "/passwordresetrecords"), Fault::Hold);
    let mut operator = env.run().await?;
    env.ask("orphan").await?;
    let held = write.held(LIMIT).await?;
    operator.sigkill().await?;
    held.lose();
    env.kubectl(&["delete", "prr", "orphan"]).await?;
    let _operator = env.run().await?;
    let record = eventually(LIMIT, "the orphan to be settled", async || {
        env.record("orphan").await.ok().flatten().filter(|record| record["effect"] != Value::Null)
    })
    .await?;
    assert_eq!(record["effect"], "Performed");
    assert_eq!(record["attempts"][0]["evidence"], "UserStatusCheck");
    assert_eq!(env.calls("orphan"), 1);
    Ok(())
}

#[tokio::test]
async fn a_thawed_replica_records_what_it_learns_and_sends_nothing() -> Result<()> {
    let env = Environment::start().await?;
    let first = env.run_with(env.operator().args(["--identity=first"])).await?;
    let call = env.cognito.once(Matcher::reset_of("frozen"), Fault::Hold);
    env.ask("frozen").await?;
    let held = call.held(LIMIT).await?;
    first.sigstop()?;
    let _second = env.run_with(env.operator().args(["--identity=second"])).await?;
    assert_eq!(env.ended("frozen").await?, "Unknown/OutcomeUnknown");
    held.release();
    first.sigcont()?;
    let record = eventually(LIMIT, "the holder to settle its claim", async || {
        env.record("frozen").await.ok().flatten().filter(|record| record["effect"] == "Performed")
    })
    .await?;
    assert_eq!(record["attempts"].as_array().map(Vec::len), Some(1), "{record}");
    assert_eq!(env.state("frozen").await?, "Unknown/OutcomeUnknown", "a status is written once");
    assert_eq!(env.calls("frozen"), 1);
    Ok(())
}
