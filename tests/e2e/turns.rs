//! Turns: what they cost the API server, in which order they are handed out, and what stops them.
//!
//! The bounds are counts and ratios. A busy machine makes these tests slow and changes no result.

use std::{collections::BTreeSet, time::Duration, time::Instant};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt, TryStreamExt};
use http::Method;
use serde_json::{Value, json};
use testbed::environment::{Environment, LIMIT};
use testbed::{Fault, Matcher, Operator, OperatorBuilder, Recorded, Reply, Responder, Seen, eventually};
use tokio::time::sleep;

mod grants;

/// The number of requests that are created at the same time.
const ABREAST: usize = 16;
/// The number of resets at rest.
const SINGLES: usize = 20;
/// API requests for a reset at rest: read the request, create the record, write the effect, write
/// the status.
const AT_REST: usize = 4;
/// API requests for a reset of a backlog under a budget: those at rest, and a read of the request
/// and of the record when the request is seen first. On top come three (two reads and a status) for
/// each status that says that a request waits, at most 5 of which are written each second for all
/// requests together, and the pages of the first list. Measured were 6.2 for each of 240 resets.
/// The bound is one above 6, because a slow machine takes longer and so writes more of these
/// statuses.
const IN_A_BACKLOG: usize = 6 + 1;
/// The requests of a backlog that are created together.
const GROUP: usize = 60;
const GROUPS: [&str; 3] = ["zebra", "monkey", "ant"];
/// The calls per second in a backlog. The pace, and not the machine, limits them.
const RATE: usize = 20;
/// The calls that may overtake each other: each has a slot.
const SLOTS: usize = 16;
/// The time within which a call arrives that has begun before another one failed.
const IN_FLIGHT: Duration = Duration::from_secs(2);
/// The time before a pool whose delivery fails is tried, less what a busy machine may take.
const FIRST_TRY: Duration = Duration::from_secs(55);
/// The pending requests without a grant: those before the memory is measured, and those after.
const UNGRANTED: (usize, usize) = (1_000, 3_000);
/// The resident memory that the operator may take for each of them, in bytes. Measured were 832.
/// The bound is above the aim of 1 KiB, because the operator allocates for other things meanwhile.
const MEMORY: usize = 5 << 8;

/// Starts with times that a busy machine does not exceed, and without the scans that have nothing
/// to do with turns.
fn patient(env: &Environment, rate: usize) -> OperatorBuilder {
    let times = ["--call-timeout=30s", "--read-timeout=30s", "--claim-timeout=30s", "--api-timeout=30s"];
    let others = ["--sweep-interval=1h", "--retry-initial=5s", "--grant-freshness=60s"];
    env.operator().args(times).args(others).args([format!("--rate={rate}")])
}

/// Replies as Cognito would, without a delay: each user exists, and each reset is accepted.
fn accept_all(env: &Environment) {
    let reply = |body: &Value| Reply::new(200, body.to_string()).header("content-type", "application/x-amz-json-1.1");
    let user = move |seen: &Seen| {
        let (_, username) = seen.user().unwrap_or_default();
        let sub = json!([{ "Name": "sub", "Value": format!("sub-of-{username}") }]);
        reply(&json!({ "Username": username, "UserStatus": "CONFIRMED", "UserAttributes": sub }))
    };
    env.cognito.always(Matcher::operation("AdminGetUser"), Fault::Compute(Responder::new(user)));
    env.cognito.always(Matcher::operation("AdminResetUserPassword"), Fault::Respond(reply(&json!({}))));
}

/// Creates a request for a user of the same name.
async fn create(env: &Environment, namespace: &str, pool: &str, name: &str) -> Result<()> {
    let request = json!({
        "apiVersion": "cognito-reset.dev/v1alpha1", "kind": "PasswordResetRequest", "metadata": { "name": name },
        "spec": { "userPoolID": pool, "username": name },
    });
    let path = format!("/apis/cognito-reset.dev/v1alpha1/namespaces/{namespace}/passwordresetrequests");
    let (status, output) = env.cluster.request(Method::POST, &path, Some(&request)).await?;
    ensure!(status.is_success(), "{status}: {output}");
    Ok(())
}

/// Creates requests with this prefix and the numbers from 0.
async fn create_many(env: &Environment, namespace: &str, pool: &str, prefix: &str, number: usize) -> Result<()> {
    let all = (0..number).map(async |index| create(env, namespace, pool, &format!("{prefix}-{index}")).await);
    futures::stream::iter(all).buffer_unordered(ABREAST).try_collect().await
}

/// Returns the resets that arrived at Cognito: the time, the pool and the user of each.
fn calls(env: &Environment) -> Vec<(Instant, String, String)> {
    let resets = env.cognito.operation("AdminResetUserPassword").into_iter();
    resets.filter_map(|reset| reset.seen.user().map(|(pool, user)| (reset.at, pool, user))).collect()
}

/// Waits until this number of resets has arrived.
async fn called(env: &Environment, number: usize) -> Result<()> {
    eventually(LIMIT, format!("{number} calls"), async || {
        let seen = calls(env).len();
        ensure!(seen >= number, "{seen}");
        anyhow::Ok(())
    })
    .await
}

/// The API requests for requests and records, and for Events. Watches are left out: there is one
/// for the whole process.
#[derive(Debug, PartialEq)]
struct Cost {
    requests: usize,
    events: usize,
}

impl Cost {
    fn so_far(env: &Environment) -> Self {
        let all = env.api.requests();
        let count = |part: &str| all.iter().filter(|it| !is_watch(it) && it.seen.path.contains(part)).count();
        Self { requests: count("/passwordresetre"), events: count("/events") }
    }
}

fn is_watch(request: &Recorded) -> bool {
    request.seen.path.contains("watch=")
}

/// Waits until the operator sends nothing for requests and records for a second.
async fn quiet(env: &Environment) -> Result<Cost> {
    let (mut last, mut since) = (Cost::so_far(env), Instant::now());
    eventually(LIMIT, "the operator to have nothing to do", async || {
        let now = Cost::so_far(env);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        ensure!(since.elapsed() > Duration::from_secs(1), "{last:?}");
        anyhow::Ok(())
    })
    .await?;
    Ok(last)
}

#[tokio::test]
async fn a_reset_at_rest_costs_four_requests_and_an_event() -> Result<()> {
    let env = Environment::start().await?;
    accept_all(&env);
    let _operator = env.run_with(patient(&env, 100)).await?;
    env.api.forget();
    for number in 0..SINGLES {
        let name = format!("single-{number}");
        create(&env, "default", &env.pool, &name).await?;
        assert_eq!(env.ended(&name).await?, "Succeeded/ResetAccepted");
    }
    let cost = quiet(&env).await?;
    println!("{cost:?} for {SINGLES} resets");
    // Request and grants are read again if the read of a user took longer than a second.
    assert!(cost.requests <= AT_REST * SINGLES + SINGLES / 2, "{cost:?}");
    assert!(cost.events <= SINGLES, "{cost:?}");
    Ok(())
}

#[tokio::test]
async fn a_backlog_keeps_the_budget_the_order_and_the_cost() -> Result<()> {
    let env = Environment::start().await?;
    accept_all(&env);
    // The order by name is another one than the order by time, which has whole seconds.
    for group in GROUPS {
        create_many(&env, "default", &env.pool, group, GROUP).await?;
        sleep(Duration::from_secs(1)).await;
    }
    let number = GROUP * GROUPS.len();
    let _operator = env.run_with(patient(&env, RATE)).await?;
    called(&env, number).await?;
    let cost = quiet(&env).await?;
    let calls = calls(&env);
    println!("{cost:?} for {number} resets");
    assert_eq!(calls.len(), number);
    assert_eq!(calls.iter().map(|(_, _, user)| user).collect::<BTreeSet<_>>().len(), number, "a user was called twice");
    assert!(cost.requests <= IN_A_BACKLOG * number, "{cost:?}");
    assert!(cost.events <= number, "{cost:?}");
    let mut misplaced = Vec::new();
    for (index, (_, _, user)) in calls.iter().enumerate() {
        let (group, _) = user.split_once('-').context("another user")?;
        let first = GROUP * GROUPS.iter().position(|it| *it == group).context("another group")?;
        if !(first.saturating_sub(SLOTS)..first + GROUP + SLOTS).contains(&index) {
            misplaced.push((index, user));
        }
    }
    println!("called out of the order by creation: {misplaced:?}");
    assert!(misplaced.is_empty(), "{misplaced:?}");
    Ok(())
}

#[tokio::test]
async fn a_lone_request_among_many_is_called_within_two_turns() -> Result<()> {
    let env = Environment::start().await?;
    accept_all(&env);
    env.kubectl(&["create", "namespace", "lonely"]).await?;
    create_many(&env, "default", &env.pool, "crowd", 300).await?;
    // Slow enough that the watch shows a request before the next turn.
    let _operator = env.run_with(patient(&env, 2)).await?;
    called(&env, 3).await?;
    for name in ["first", "second"] {
        create(&env, "lonely", &env.pool, name).await?;
        let created = Instant::now();
        eventually(LIMIT, format!("the call for {name}"), async || (env.calls(name) > 0).then_some(())).await?;
        let calls = calls(&env);
        let others = calls.iter().filter(|(at, ..)| *at > created).take_while(|(_, _, user)| user != name).count();
        println!("{others} calls between the creation of {name} and its call");
        assert!(others <= 2, "{others} calls before that of {name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_failed_delivery_stops_its_pool_and_no_other() -> Result<()> {
    let env = Environment::start().await?;
    let healthy = env.another_pool("eu-west-1", "healthy").await?;
    let failing = env.pool.clone();
    let resets = Matcher::operation("AdminResetUserPassword");
    let of_pool = resets.and(move |seen| seen.user().is_some_and(|(pool, _)| pool == failing));
    env.cognito.always(of_pool, Fault::Respond(Reply::aws_error(400, "CodeDeliveryFailureException")));
    accept_all(&env);
    let _operator = env.run_with(patient(&env, 4)).await?;
    let (stopped, going_on) = tokio::join!(
        create_many(&env, "default", &env.pool, "stopped", 10),
        create_many(&env, "default", &healthy, "healthy", 20)
    );
    stopped.and(going_on)?;
    let of = |pool: &str| -> Vec<Instant> {
        calls(&env).into_iter().filter(|(_, called, _)| called == pool).map(|(at, ..)| at).collect()
    };
    eventually(LIMIT, "all calls of the healthy pool", async || {
        let seen = of(&healthy).len();
        ensure!(seen == 20, "{seen}");
        anyhow::Ok(())
    })
    .await?;
    eventually(LIMIT, "the others to say why they wait", async || {
        let requests = env.list("prr").await?;
        let reasons = requests.iter().filter(|it| it["status"]["outcome"] == "Pending").map(reason);
        let reasons = reasons.collect::<Vec<_>>();
        ensure!(reasons.iter().all(|reason| reason == "DeliveryFailing"), "{reasons:?}");
        ensure!(!reasons.is_empty());
        anyhow::Ok(())
    })
    .await?;
    // A call that began before the first failure was known may still arrive. The first try comes
    // after a minute.
    let calls = of(&env.pool);
    let first = *calls.first().context("no call of the pool")?;
    let later = calls.iter().map(|at| at.duration_since(first)).filter(|pause| *pause > IN_FLIGHT);
    let further = later.filter(|pause| *pause < FIRST_TRY).collect::<Vec<_>>();
    println!("{} calls of the pool whose delivery fails, of which {} later ones", calls.len(), further.len());
    assert!(further.is_empty(), "calls after the delivery has failed: {further:?}");
    Ok(())
}

/// Waits until the watch has shown the operator this number of requests with a reason.
async fn reports(operator: &Operator, reason: &str, number: usize) -> Result<()> {
    let series = format!("cognito_reset_requests_pending{{reason=\"{reason}\"}} ");
    eventually(LIMIT, format!("{number} requests with {reason}"), async || {
        let (_, metrics) = operator.page("/metrics").await?;
        let value = metrics.lines().find_map(|line| line.strip_prefix(&series)).context("there are none")?;
        ensure!(value == number.to_string(), "{value}");
        anyhow::Ok(())
    })
    .await
}

fn reason(request: &Value) -> String {
    testbed::environment::condition(request, "Ready")["reason"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn ungranted_requests_cost_no_requests_and_little_memory() -> Result<()> {
    let env = Environment::start().await?;
    accept_all(&env);
    for namespace in ["ungranted", "elsewhere"] {
        env.kubectl(&["create", "namespace", namespace]).await?;
    }
    env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    env.grant("by-name", "namespaces: [default]").await?;
    env.grant("by-label", "namespaceSelector: {matchLabels: {team: support}}").await?;
    let operator = env.run_with(patient(&env, 100)).await?;
    // The first ones also pay for what the operator allocates once.
    let mut memory = Vec::new();
    for (prefix, number) in [("first", UNGRANTED.0), ("waits", UNGRANTED.1)] {
        create_many(&env, "ungranted", &env.pool, prefix, number).await?;
        let reported = number + memory.first().map_or(0, |_| UNGRANTED.0);
        reports(&operator, "NoMatchingGrant", reported).await?;
        quiet(&env).await?;
        memory.push(operator.anonymous_memory()?);
    }
    let of_each = memory[1].saturating_sub(memory[0]) / UNGRANTED.1;
    println!("{memory:?} bytes: {of_each} bytes for each further request without a grant");
    assert!(of_each <= MEMORY, "{memory:?}: {of_each} for each");

    env.api.forget();
    for number in 0..10 {
        // Every second label is one that a grant selects.
        let label = format!("{}={number}", if number % 2 == 0 { "noise" } else { "team" });
        env.kubectl(&["label", "namespace", "elsewhere", "--overwrite", &label]).await?;
        create(&env, "default", &env.pool, &format!("granted-{number}")).await?;
        assert_eq!(env.ended(&format!("granted-{number}")).await?, "Succeeded/ResetAccepted");
    }
    env.kubectl(&["label", "namespace", "elsewhere", "--overwrite", "team=support"]).await?;
    let cost = quiet(&env).await?;
    println!("{cost:?} for 10 resets beside them, while labels change");
    let of_waiting = env.api.requests().into_iter().filter(|it| it.seen.path.contains("/namespaces/ungranted/"));
    assert_eq!(of_waiting.count(), 0, "API requests for requests that no label concerns");
    assert!(cost.requests <= (AT_REST + 1) * 10, "{cost:?}");
    Ok(())
}
