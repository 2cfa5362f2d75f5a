//! Grants that limit the turns of their requests.

use super::*;

/// The resets per minute of the grant with a rate of its own.
const SLOW: f64 = 60.0;
/// The requests of the grant with limits, and of the grant without.
const BACKLOGS: (usize, usize) = (30, 90);
/// The percentage of the grant with a share of its own.
const SHARE: usize = 10;

/// Starts with a backlog of each of two grants, of which one has these limits.
async fn start(limits: &str) -> Result<(Environment, Operator)> {
    let env = Environment::start().await?;
    accept_all(&env);
    env.kubectl(&["create", "namespace", "limited"]).await?;
    env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    env.grant("with-limits", &format!("namespaces: [limited]\n{limits}")).await?;
    env.grant("without", "namespaces: [default]").await?;
    create_many(&env, "limited", &env.pool, "limited", BACKLOGS.0).await?;
    create_many(&env, "default", &env.pool, "free", BACKLOGS.1).await?;
    let operator = env.run_with(patient(&env, RATE)).await?;
    called(&env, BACKLOGS.0 + BACKLOGS.1).await?;
    Ok((env, operator))
}

/// Returns the times of the calls for requests with this prefix.
fn calls_of(calls: &[(Instant, String, String)], prefix: &str) -> Vec<Instant> {
    calls.iter().filter(|(_, _, user)| user.starts_with(prefix)).map(|(at, ..)| *at).collect()
}

/// Returns the number of calls by the grant with limits before the last one of the other grant.
fn beside_the_other(env: &Environment) -> Result<usize> {
    let calls = calls(env);
    let last = *calls_of(&calls, "free").last().context("no call of the other grant")?;
    Ok(calls_of(&calls, "limited").into_iter().filter(|at| *at < last).count())
}

#[tokio::test]
async fn a_grant_at_its_rate_keeps_it_and_slows_down_no_other() -> Result<()> {
    let (env, _operator) = start(&format!("maxResetsPerMinute: {SLOW}")).await?;
    let limited = calls_of(&calls(&env), "limited");
    let (first, last) = (limited[0], limited[BACKLOGS.0 - 1]);
    // A turn that begins late does not delay the next one, so that a call may seem early.
    let allowed = SLOW / 60.0 * (last - first + IN_FLIGHT).as_secs_f64() + 1.0;
    println!("{} calls by the grant with a rate in {:?}", BACKLOGS.0, last - first);
    assert!(limited.len() as f64 <= allowed, "{} calls, and {allowed} are allowed", limited.len());
    let beside = beside_the_other(&env)?;
    println!("{beside} of them before the last of {} by the other grant", BACKLOGS.1);
    assert!(beside < BACKLOGS.0 / 2, "{beside} calls");
    Ok(())
}

#[tokio::test]
async fn a_grant_takes_its_share_while_others_wait_and_then_all() -> Result<()> {
    let (env, _operator) = start(&format!("maxSharePercent: {SHARE}")).await?;
    let beside = beside_the_other(&env)?;
    let allowed = 2 + (BACKLOGS.1 + beside) * SHARE / 100 + SLOTS / 2;
    println!("{beside} calls by the grant with a share beside {} others", BACKLOGS.1);
    assert!(beside <= allowed, "{beside} calls, and {allowed} are allowed");
    assert!(beside >= BACKLOGS.1 * SHARE / 200, "{beside} calls: the grant has waited for the others");
    Ok(())
}

#[tokio::test]
async fn a_request_names_the_limit_of_its_grant() -> Result<()> {
    let env = Environment::start().await?;
    accept_all(&env);
    env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    env.grant("one-per-minute", "namespaces: [default]\nmaxResetsPerMinute: 1").await?;
    let _operator = env.run_with(patient(&env, RATE)).await?;
    create_many(&env, "default", &env.pool, "waits", 3).await?;
    eventually(LIMIT, "two requests to name the grant", async || {
        let requests = env.list("prr").await?;
        let ready = requests.iter().map(|request| testbed::environment::condition(request, "Ready"));
        let says = "UserPoolGrant one-per-minute limits its resets per minute to 1 (maxResetsPerMinute)";
        let waiting = ready.filter(|ready| {
            ready["reason"] == "RateLimited" && ready["message"].as_str().is_some_and(|message| message.contains(says))
        });
        let number = waiting.count();
        ensure!(number == 2, "{number}");
        anyhow::Ok(())
    })
    .await?;
    assert_eq!(calls(&env).len(), 1);
    // A higher limit takes effect at once.
    env.grant("one-per-minute", "namespaces: [default]\nmaxResetsPerMinute: 1800").await?;
    called(&env, 3).await
}
