//! Grants, holds and labels are confirmed by reads, so that the state of the watches does not
//! matter: a hold, a deleted grant and a removed label take effect in a bounded time, or nothing is
//! sent.

use std::time::Duration;

use anyhow::{Result, ensure};
use testbed::environment::{Environment, LIMIT};
use testbed::{Fault, Matcher, Reply, Rule, eventually};

/// The `--grant-freshness` of these tests, which is the default.
const FRESHNESS: Duration = Duration::from_secs(5);

/// Pauses between attempts that are long enough for the status to show the wait.
const SHOWN: [&str; 2] = ["--retry-initial=5s", "--retry-max=5s"];

/// The lists of grants and holds.
const LISTS: [&str; 2] = ["/userpoolgrants?", "/userpoolholds?"];

/// Requests for a page of the API server with this part of its path: a watch, or something else.
fn reads(part: &'static str, watch: bool) -> Matcher {
    Matcher::path(http::Method::GET, part).and(move |seen| seen.path.contains("watch=true") == watch)
}

/// Breaks the watches of grants, holds and namespaces in the same way.
fn break_watches(env: &Environment, fault: &Fault) -> Vec<Rule> {
    let kinds = ["/userpoolgrants?", "/userpoolholds?", "/api/v1/namespaces?"];
    kinds.map(|kind| env.api.always(reads(kind, true), fault.clone())).to_vec()
}

/// Returns the ways in which a watch shows nothing.
fn broken() -> [(&'static str, Fault); 3] {
    [
        ("frozen", Fault::Freeze(Duration::ZERO)),
        ("refused", Fault::Respond(Reply::kubernetes_error(403, "Forbidden"))),
        ("cut", Fault::Cut(Duration::ZERO)),
    ]
}

#[tokio::test]
async fn new_hold_stops_resets_in_time_despite_broken_watches() -> Result<()> {
    let env = Environment::start().await?;
    for (how, fault) in broken() {
        let rules = break_watches(&env, &fault);
        let mut operator = env.run().await?;
        let before = format!("before-{how}");
        env.ask(&before).await?;
        assert_eq!(env.ended(&before).await?, "Succeeded/ResetAccepted");
        // The bound begins when the hold is stored.
        env.hold("stop", "").await?;
        tokio::time::sleep(FRESHNESS).await;
        env.ask(how).await?;
        env.becomes(how, "Pending/UserPoolHeld").await?;
        assert_eq!(env.calls(how), 0, "{how}");
        // A deletion takes effect in the same way.
        env.kubectl(&["delete", "poolhold", "stop"]).await?;
        assert_eq!(env.ended(how).await?, "Succeeded/ResetAccepted");
        env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
        tokio::time::sleep(FRESHNESS).await;
        let late = format!("late-{how}");
        env.ask(&late).await?;
        env.becomes(&late, "Pending/NoMatchingGrant").await?;
        assert_eq!(env.calls(&late), 0, "{how}");
        env.grant("everyone", "namespaces: [\"*\"]").await?;
        assert_eq!(env.ended(&late).await?, "Succeeded/ResetAccepted");
        operator.sigkill().await?;
        rules.iter().for_each(Rule::remove);
    }
    Ok(())
}

#[tokio::test]
async fn new_hold_stops_resets_in_time_without_watches_and_lists() -> Result<()> {
    let env = Environment::start().await?;
    let watches = break_watches(&env, &Fault::Freeze(Duration::ZERO));
    let _operator = env.run_with(env.operator().args(SHOWN)).await?;
    env.ask("before").await?;
    assert_eq!(env.ended("before").await?, "Succeeded/ResetAccepted");
    let lists = LISTS.map(|kind| env.api.always(reads(kind, false), Fault::Freeze(Duration::ZERO)));
    env.hold("stop", "").await?;
    tokio::time::sleep(FRESHNESS).await;
    env.ask("held").await?;
    env.becomes("held", "Pending/GrantsNotConfirmed").await?;
    assert_eq!(env.calls("held"), 0);
    lists.iter().for_each(Rule::remove);
    env.becomes("held", "Pending/UserPoolHeld").await?;
    env.kubectl(&["delete", "poolhold", "stop"]).await?;
    assert_eq!(env.ended("held").await?, "Succeeded/ResetAccepted");
    watches.iter().for_each(Rule::remove);
    Ok(())
}

#[tokio::test]
async fn label_taken_away_stops_resets_despite_broken_watches() -> Result<()> {
    let env = Environment::start().await?;
    env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    env.grant("labelled", "namespaceSelector: {matchLabels: {resets: allowed}}").await?;
    for (how, fault) in broken() {
        env.kubectl(&["label", "namespace", "default", "resets=allowed"]).await?;
        let rules = break_watches(&env, &fault);
        let mut operator = env.run_with(env.operator().args(SHOWN)).await?;
        let allowed = format!("allowed-{how}");
        env.ask(&allowed).await?;
        assert_eq!(env.ended(&allowed).await?, "Succeeded/ResetAccepted");
        env.kubectl(&["label", "namespace", "default", "resets-"]).await?;
        tokio::time::sleep(FRESHNESS).await;
        let late = format!("late-{how}");
        env.ask(&late).await?;
        env.becomes(&late, "Pending/NoMatchingGrant").await?;
        assert_eq!(env.calls(&late), 0, "{how}");
        operator.sigkill().await?;
        rules.iter().for_each(Rule::remove);
    }
    Ok(())
}

#[tokio::test]
async fn labels_that_cannot_be_read_allow_nothing() -> Result<()> {
    let env = Environment::start().await?;
    env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    env.grant("labelled", "namespaceSelector: {matchLabels: {resets: allowed}}").await?;
    env.kubectl(&["label", "namespace", "default", "resets=allowed"]).await?;
    let _operator = env.run_with(env.operator().args(SHOWN)).await?;
    env.ask("allowed").await?;
    assert_eq!(env.ended("allowed").await?, "Succeeded/ResetAccepted");
    // Without a read of the namespace its labels are not confirmed.
    let read = Matcher::path(http::Method::GET, "/api/v1/namespaces/default");
    let denied = env.api.always(read, Fault::Respond(Reply::kubernetes_error(403, "Forbidden")));
    tokio::time::sleep(FRESHNESS).await;
    env.ask("unconfirmed").await?;
    env.becomes("unconfirmed", "Pending/GrantsNotConfirmed").await?;
    assert_eq!(env.calls("unconfirmed"), 0);
    denied.remove();
    assert_eq!(env.ended("unconfirmed").await?, "Succeeded/ResetAccepted");
    Ok(())
}

#[tokio::test]
async fn nothing_is_sent_while_grants_cannot_be_confirmed() -> Result<()> {
    let env = Environment::start().await?;
    let operator = env.run_with(env.operator().args(SHOWN)).await?;
    for (name, kind) in ["grants", "holds"].into_iter().zip(LISTS) {
        let rule = env.api.always(reads(kind, false), Fault::Hold);
        eventually(LIMIT, "the operator to be no longer ready", async || {
            let (status, text) = operator.page("/readyz").await?;
            ensure!(status == 503 && text.contains("not confirmed"), "{status} {text}");
            anyhow::Ok(())
        })
        .await?;
        env.ask(name).await?;
        env.becomes(name, "Pending/GrantsNotConfirmed").await?;
        assert_eq!(env.calls(name), 0, "{name}");
        eventually(LIMIT, "the gauge to exceed the limit", async || {
            let (_, metrics) = operator.page("/metrics").await?;
            let age =
                metrics.lines().find_map(|line| line.strip_prefix("cognito_reset_grant_confirmation_age_seconds "));
            let age: f64 = age.unwrap_or("0").parse()?;
            ensure!(age > FRESHNESS.as_secs_f64(), "{age}");
            anyhow::Ok(())
        })
        .await?;
        rule.release_all().await;
        assert_eq!(env.ended(name).await?, "Succeeded/ResetAccepted");
        eventually(LIMIT, "the operator to be ready again", async || {
            let (status, text) = operator.page("/readyz").await?;
            ensure!(status == 200, "{status} {text}");
            anyhow::Ok(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn hold_after_the_claim_stops_the_call() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run_with(env.operator().args(["--claim-timeout=30s", "--api-timeout=30s"])).await?;
    let claim = Matcher::path(http::Method::POST, "/passwordresetrecords");
    let rule = env.api.once(claim, Fault::HoldReply);
    env.ask("claimed").await?;
    let reply = rule.held(LIMIT).await?;
    env.hold("stop", "").await?;
    tokio::time::sleep(FRESHNESS).await;
    reply.release();
    env.becomes("claimed", "Pending/UserPoolHeld").await?;
    assert_eq!(env.calls("claimed"), 0);
    let record = env.record("claimed").await?.unwrap_or_default();
    assert_eq!(record["attempts"][0]["evidence"], "NeverSent", "{record}");
    env.kubectl(&["delete", "poolhold", "stop"]).await?;
    assert_eq!(env.ended("claimed").await?, "Succeeded/ResetAccepted");
    assert_eq!(env.calls("claimed"), 1);
    Ok(())
}
