//! The Lease: one replica works, the others are on standby, and an operator without a leader
//! reports it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use http::Method;
use testbed::environment::{Environment, LIMIT};
use testbed::{Fault, Matcher, Operator, eventually};

const LEASES: &str = "/leases/cognito-reset-operator";

/// Waits until `/readyz` and the metric show this state of a replica.
async fn reports(operator: &Operator, state: &str) -> Result<()> {
    eventually(LIMIT, format!("a replica to report {state:?}"), async || {
        let (status, text) = operator.page("/readyz").await?;
        ensure!(text.trim() == state && status.is_success() == (state != "no-leader-seen"), "{status}: {text}");
        let (_, metrics) = operator.page("/metrics").await?;
        let one: Vec<_> = metrics.lines().filter(|line| line.starts_with("cognito_reset_leadership{")).collect();
        let wanted = format!("cognito_reset_leadership{{state=\"{state}\"}} 1");
        ensure!(
            one.iter().filter(|line| line.ends_with(" 1")).count() == 1 && one.contains(&wanted.as_str()),
            "{one:?}"
        );
        anyhow::Ok(())
    })
    .await
}

/// Lets a request settle, and returns the replica that did it.
async fn worker(env: &Environment, name: &str) -> Result<String> {
    env.ask(name).await?;
    assert_eq!(env.ended(name).await?, "Succeeded/ResetAccepted", "{name}");
    assert_eq!(env.calls(name), 1, "{name}");
    let record = env.record(name).await?.unwrap_or_default();
    Ok(record["attempts"][0]["operatorInstance"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_stopping_leader_hands_over_before_its_lease_expires() -> Result<()> {
    let env = Environment::start().await?;
    let lease = Some("10m");
    let mut first = env.run_with(env.replica("first", lease)).await?;
    reports(&first, "leader").await?;
    let second = env.run_with(env.replica("second", lease)).await?;
    reports(&second, "standby").await?;
    assert_eq!(worker(&env, "by-the-first").await?, "first");
    first.sigterm()?;
    let stopped = Instant::now();
    reports(&second, "leader").await?;
    println!("hand-over after SIGTERM: {:?}", stopped.elapsed());
    assert!(first.wait_exit(LIMIT).await?.success(), "{}", first.logs());
    assert_eq!(worker(&env, "by-the-second").await?, "second");
    Ok(())
}

#[tokio::test]
async fn a_killed_leader_is_replaced_when_its_lease_has_expired() -> Result<()> {
    let env = Environment::start().await?;
    let lease = Some("3s");
    let mut first = env.run_with(env.replica("same-pod", lease)).await?;
    reports(&first, "leader").await?;
    // A process that is started again in its Pod has the same name, and is another holder all the
    // same.
    let second = env.run_with(env.replica("same-pod", lease)).await?;
    reports(&second, "standby").await?;
    first.sigkill().await?;
    let killed = Instant::now();
    reports(&second, "leader").await?;
    println!("hand-over after SIGKILL, with a lease of 3 s: {:?}", killed.elapsed());
    worker(&env, "by-the-second").await?;
    Ok(())
}

#[tokio::test]
async fn a_thawed_leader_stops_and_nothing_is_sent_twice() -> Result<()> {
    let env = Environment::start().await?;
    let lease = Some("3s");
    let mut first = env.run_with(env.replica("first", lease)).await?;
    reports(&first, "leader").await?;
    let second = env.run_with(env.replica("second", lease)).await?;
    let call = env.cognito.once(Matcher::reset_of("frozen"), Fault::HoldReply);
    env.ask("frozen").await?;
    let held = call.held(LIMIT).await?;
    first.sigstop()?;
    reports(&second, "leader").await?;
    assert_eq!(env.ended("frozen").await?, "Succeeded/ConfirmedByProbe");
    held.release();
    first.sigcont()?;
    let status = first.wait_exit(LIMIT).await?;
    assert!(!status.success() && first.logs().contains("failed to keep the lease"), "{status}: {}", first.logs());
    assert_eq!(env.calls("frozen"), 1);
    assert_eq!(worker(&env, "by-the-second").await?, "second");
    Ok(())
}

#[tokio::test]
async fn a_leader_that_cannot_renew_stops() -> Result<()> {
    let env = Environment::start().await?;
    let mut leader = env.run_with(env.replica("leader", Some("10s"))).await?;
    reports(&leader, "leader").await?;
    let lost = env.api.times(2, Matcher::path(Method::PUT, LEASES), Fault::ForwardThenLose);
    eventually(LIMIT, "two renewals whose replies were lost", async || (lost.hits() == 2).then_some(())).await?;
    assert_eq!(worker(&env, "still-leading").await?, "leader");
    let renewals = |env: &Environment| {
        let put = |seen: &&testbed::Recorded| seen.seen.method == Method::PUT && seen.seen.path.contains(LEASES);
        env.api.requests().iter().filter(put).count()
    };
    let before = renewals(&env);
    eventually(LIMIT, "further renewals", async || (renewals(&env) > before + 2).then_some(())).await?;
    assert!(leader.is_running(), "{}", leader.logs());
    env.api.always(Matcher::path(Method::PUT, LEASES), Fault::LoseBefore);
    let status = leader.wait_exit(LIMIT).await?;
    assert!(!status.success() && leader.logs().contains("failed to keep the lease"), "{status}: {}", leader.logs());
    Ok(())
}

#[tokio::test]
async fn a_leader_that_loses_its_lease_finishes_its_calls() -> Result<()> {
    let env = Environment::start().await?;
    let replica = env.replica("leader", Some("3s")).args(["--call-timeout=30s"]);
    let mut leader = env.run_with(replica).await?;
    reports(&leader, "leader").await?;
    let [accepted, refused] =
        ["accepted", "refused"].map(|name| env.cognito.once(Matcher::reset_of(name), Fault::HoldReply));
    env.ask("accepted").await?;
    // There is no user of this name.
    env.apply(&env.request("refused", "refused", "")).await?;
    let held = [accepted.held(LIMIT).await?, refused.held(LIMIT).await?];
    env.api.always(Matcher::path(Method::PUT, LEASES), Fault::LoseBefore);
    eventually(LIMIT, "the leader to begin its stop", async || {
        ensure!(leader.logs().contains("finishing the calls in flight"), "{}", leader.logs());
        anyhow::Ok(())
    })
    .await?;
    env.ask("after").await?;
    held.into_iter().for_each(|held| held.release());
    assert_eq!(env.ended("accepted").await?, "Succeeded/ResetAccepted");
    assert_eq!(env.ended("refused").await?, "Failed/UserNotFoundException");
    for name in ["accepted", "refused"] {
        let record = env.record(name).await?.unwrap_or_default();
        let attempt = &record["attempts"][0];
        ensure!(attempt["sentAt"].is_string() && attempt["evidence"] == "CognitoResponse", "{record}");
    }
    let status = leader.wait_exit(LIMIT).await?;
    assert!(!status.success() && leader.logs().contains("failed to keep the lease"), "{status}: {}", leader.logs());
    assert_eq!((env.state("after").await?.as_str(), env.calls("after")), ("Pending/Pending", 0));
    Ok(())
}

#[tokio::test]
async fn effect_that_only_a_former_leader_knows_is_not_given_up() -> Result<()> {
    let env = Environment::start().await?;
    let replica = env.replica("leader", Some("3s")).args(["--call-timeout=30s", "--shutdown-timeout=1s"]);
    let mut leader = env.run_with(replica).await?;
    reports(&leader, "leader").await?;
    let held = env.cognito.once(Matcher::reset_of("accepted"), Fault::HoldReply);
    env.ask("accepted").await?;
    let held = held.held(LIMIT).await?;
    env.api.close().await;
    held.release();
    eventually(LIMIT, "the leader to begin its stop with the effect", async || {
        let logs = leader.logs();
        ensure!(logs.contains("finishing the calls in flight") && logs.contains("unable to store an effect"), "{logs}");
        anyhow::Ok(())
    })
    .await?;
    let ended = leader.wait_exit(Duration::from_secs(4)).await;
    ensure!(ended.is_err(), "it ended without storing the effect: {}", leader.logs());
    env.api.open().await?;
    assert_eq!(env.ended("accepted").await?, "Succeeded/ResetAccepted");
    let status = leader.wait_exit(LIMIT).await?;
    assert!(!status.success() && leader.logs().contains("failed to keep the lease"), "{status}: {}", leader.logs());
    Ok(())
}

#[tokio::test]
async fn replicas_without_a_leader_say_so() -> Result<()> {
    let env = Environment::start().await?;
    // A holder that does not exist holds the Lease for an hour.
    let ghost = "apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {name: cognito-reset-operator, namespace: cognito-reset-system}\nspec: {holderIdentity: ghost, leaseDurationSeconds: 3600}\n";
    env.apply(ghost).await?;
    let replica = env.replica("replica", Some("2s")).start()?;
    reports(&replica, "no-leader-seen").await?;
    env.ask("waits").await?;
    assert_eq!(env.state("waits").await?, "Pending/Pending");
    env.kubectl(&["delete", "lease", "cognito-reset-operator", "-n", "cognito-reset-system"]).await?;
    reports(&replica, "leader").await?;
    assert_eq!(env.ended("waits").await?, "Succeeded/ResetAccepted");
    Ok(())
}

#[tokio::test]
async fn operator_without_a_lease_is_alive_while_it_gets_responses() -> Result<()> {
    let env = Environment::start().await?;
    let operator = env.run_with(env.operator().args(["--lease=false", "--liveness-timeout=3s"])).await?;
    let is_alive = async |wanted: u16| {
        eventually(LIMIT, format!("/livez to return {wanted}"), async || {
            let (status, text) = operator.page("/livez").await?;
            ensure!(status == wanted, "{status}: {text}");
            anyhow::Ok(text)
        })
        .await
    };
    is_alive(200).await?;
    env.api.close().await;
    let text = is_alive(503).await?;
    ensure!(text.starts_with("not alive: no response from the API server for "), "{text}");
    env.api.open().await?;
    is_alive(200).await?;
    worker(&env, "afterwards").await?;
    Ok(())
}

#[tokio::test]
async fn of_many_that_start_at_once_one_leads() -> Result<()> {
    let env = Environment::start().await?;
    let start = |number| env.replica(&format!("replica-{number}"), Some("20s")).start();
    let replicas = (0..4).map(start).collect::<Result<Vec<_>>>()?;
    let leaders = eventually(LIMIT, "every replica to know what it is", async || {
        let mut leaders = 0;
        for replica in &replicas {
            let (status, text) = replica.page("/readyz").await?;
            ensure!(status.is_success(), "{text}");
            leaders += usize::from(text.trim() == "leader");
        }
        anyhow::Ok(leaders)
    })
    .await?;
    assert_eq!(leaders, 1);
    Ok(())
}
