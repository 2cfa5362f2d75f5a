//! Two requests of one user, by two spellings: a reset is credited to the request that made it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use testbed::environment::{Environment, LIMIT, condition};
use testbed::{Fault, Matcher, Reply, eventually};

/// The e-mail address of the user, which is one of the two spellings.
const ADDRESS: &str = "user@example.com";

/// Creates a pool whose users sign in by e-mail, so that Cognito takes address and `sub` as
/// Username, and one user in it. Returns the `sub`.
async fn user_with_two_spellings(env: &mut Environment) -> Result<String> {
    let new = json!({ "PoolName": "by-address", "UsernameAttributes": ["email"] });
    let pool = env.users.call("eu-west-1", "CreateUserPool", &new).await?;
    pool.pointer("/UserPool/Id").and_then(Value::as_str).context("no pool")?.clone_into(&mut env.pool);
    env.grant("by-address", "namespaces: [default]").await?;
    env.users.create_user(&env.pool, ADDRESS).await
}

/// Matches reads of the user by this spelling.
fn reads_of(username: &str) -> Matcher {
    let username = username.to_owned();
    Matcher::operation("AdminGetUser").and(move |seen| seen.user().is_some_and(|(_, user)| user == username))
}

/// Waits until the API server's clock is so far past the last write of the record of this request
/// that its reset cannot be taken for a later one.
async fn until_long_ago(env: &Environment, name: &str) -> Result<()> {
    let probe = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "generateName": "clock-" } });
    let now = async || {
        let path = "/api/v1/namespaces/default/configmaps?dryRun=All";
        let (status, created) = env.cluster.request(Method::POST, path, Some(&probe)).await?;
        ensure!(status.is_success(), "{created}");
        anyhow::Ok(created["metadata"]["creationTimestamp"].as_str().context("no time")?.parse::<jiff::Timestamp>()?)
    };
    let path = format!("/apis/cognito-reset.dev/v1alpha1/passwordresetrecords/{}", record_name(env, name).await?);
    let record = env.cluster.read(&path).await?;
    let times = record["metadata"]["managedFields"].as_array().context("no managed fields")?;
    let written = times.iter().filter_map(|entry| entry["time"].as_str()).max().context("no time of a write")?;
    let written: jiff::Timestamp = written.parse()?;
    eventually(LIMIT, "the reset to be long ago", async || {
        let now = now().await?;
        ensure!(now.duration_since(written).as_secs() > 6, "{now}");
        anyhow::Ok(())
    })
    .await
}

async fn record_name(env: &Environment, name: &str) -> Result<String> {
    let record = env.record(name).await?.context("no record")?;
    Ok(record["metadata"]["name"].as_str().context("no name")?.to_owned())
}

#[tokio::test]
async fn a_reset_is_credited_to_the_request_that_made_it() -> Result<()> {
    let mut env = Environment::start().await?;
    let sub = user_with_two_spellings(&mut env).await?;
    // Two replicas without a Lease, since one alone may let the other request wait.
    let patient = ["--call-timeout=30s"];
    let first = env.run_with(env.operator().args(patient).args(["--identity=first"])).await?;
    let second = env.run_with(env.operator().args(patient).args(["--identity=second"])).await?;
    let lost = env.cognito.once(Matcher::reset_of(ADDRESS), Fault::Hold);
    env.apply(&env.request("lost", ADDRESS, "")).await?;
    let call = lost.held(LIMIT).await?;
    // The call has not reached Cognito, and never does. Meanwhile another request resets the user.
    env.apply(&env.request("performed", &sub, "")).await?;
    assert_eq!(env.ended("performed").await?, "Succeeded/ResetAccepted");
    call.lose();
    assert_eq!(env.ended("lost").await?, "Unknown/OutcomeUnknown", "{}\n{}", first.logs(), second.logs());
    assert_eq!(env.users.user_status(&env.pool, ADDRESS).await?, "RESET_REQUIRED");
    let request = env.get("prr", "lost").await?;
    assert_eq!(request["status"]["password"], "Invalidated");
    let message = condition(&request, "Ready")["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("it is unknown whether this request caused that"), "{message}");
    let record = env.record("lost").await?.context("no record")?;
    let attempt = &record["attempts"][0];
    assert_eq!((&attempt["evidence"], &attempt["userStatusAfter"]), (&json!("Inconclusive"), &json!("RESET_REQUIRED")));
    assert!(attempt["stateReadAfter"].is_string(), "{record}");
    assert_eq!(record["userSub"], sub);
    let both = env.kubectl(&["get", "prrec", "-o", "name", "--field-selector", &format!("userSub={sub}")]).await?;
    assert_eq!(both.lines().count(), 2, "{both}");
    Ok(())
}

#[tokio::test]
async fn one_process_resets_a_user_by_one_spelling_at_a_time() -> Result<()> {
    let mut env = Environment::start().await?;
    let sub = user_with_two_spellings(&mut env).await?;
    let operator = env.run_with(env.operator().args(["--call-timeout=30s"])).await?;
    let first = env.cognito.once(Matcher::reset_of(&sub), Fault::Hold);
    env.apply(&env.request("first", &sub, "")).await?;
    let call = first.held(LIMIT).await?;
    env.apply(&env.request("second", ADDRESS, "")).await?;
    let read_by_address = || {
        let reads = env.cognito.operation("AdminGetUser").into_iter();
        reads.filter(|read| read.seen.user().is_some_and(|(_, user)| user == ADDRESS)).count()
    };
    eventually(LIMIT, "the second request to read the user", async || (read_by_address() > 0).then_some(())).await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!((env.calls(ADDRESS), read_by_address()), (0, 1), "{}", operator.logs());
    assert!(env.record("second").await?.is_none(), "it is claimed");
    call.release();
    assert_eq!(env.ended("first").await?, "Succeeded/ResetAccepted");
    assert_eq!(env.ended("second").await?, "Succeeded/ResetAccepted");
    assert_eq!((env.calls(&sub), env.calls(ADDRESS)), (1, 1));
    Ok(())
}

#[tokio::test]
async fn a_reset_of_long_ago_does_not_count() -> Result<()> {
    let mut env = Environment::start().await?;
    let sub = user_with_two_spellings(&mut env).await?;
    let operator = env.run().await?;
    env.apply(&env.request("earlier", &sub, "")).await?;
    assert_eq!(env.ended("earlier").await?, "Succeeded/ResetAccepted");
    env.users.confirm(&env.pool, ADDRESS).await?;
    until_long_ago(&env, "earlier").await?;
    env.cognito.once(Matcher::reset_of(ADDRESS), Fault::ForwardThenLose);
    env.apply(&env.request("later", ADDRESS, "")).await?;
    assert_eq!(env.ended("later").await?, "Succeeded/ConfirmedByProbe", "{}", operator.logs());
    Ok(())
}

#[tokio::test]
async fn a_record_without_sub_may_be_of_the_user() -> Result<()> {
    let mut env = Environment::start().await?;
    let sub = user_with_two_spellings(&mut env).await?;
    let patient = ["--call-timeout=30s"];
    let first = env.run_with(env.operator().args(patient).args(["--identity=first"])).await?;
    let second = env.run_with(env.operator().args(patient).args(["--identity=second"])).await?;
    let denied = Fault::Respond(Reply::aws_error(400, "AccessDeniedException"));
    env.cognito.always(reads_of(&sub), denied);
    let reply = env.cognito.once(Matcher::reset_of(ADDRESS), Fault::HoldReply);
    env.apply(&env.request("lost", ADDRESS, "")).await?;
    let reply = reply.held(LIMIT).await?;
    env.apply(&env.request("unread", &sub, "")).await?;
    assert_eq!(env.ended("unread").await?, "Succeeded/ResetAccepted");
    assert!(env.record("unread").await?.context("no record")?["userSub"].is_null());
    reply.lose();
    assert_eq!(env.ended("lost").await?, "Unknown/OutcomeUnknown", "{}\n{}", first.logs(), second.logs());
    Ok(())
}

#[tokio::test]
async fn a_probe_is_not_believed_while_records_cannot_be_listed() -> Result<()> {
    let env = Environment::start().await?;
    let operator = env.run().await?;
    let lists = Matcher::path(Method::GET, "passwordresetrecords?").and(|seen| seen.path.contains("userSub"));
    let rule = env.api.always(lists, Fault::Respond(Reply::kubernetes_error(503, "ServiceUnavailable")));
    env.cognito.once(Matcher::reset_of("unlisted"), Fault::ForwardThenLose);
    env.ask("unlisted").await?;
    eventually(LIMIT, "several lists", async || (rule.hits() >= 4).then_some(())).await?;
    assert!(env.state("unlisted").await?.starts_with("Pending"));
    assert!(env.record("unlisted").await?.context("no record")?["effect"].is_null());
    rule.remove();
    assert_eq!(env.ended("unlisted").await?, "Succeeded/ConfirmedByProbe", "{}", operator.logs());
    assert_eq!(env.calls("unlisted"), 1);
    Ok(())
}
