//! The load: requests that end in each way, and faults of Cognito and of the API server.

use std::time::Duration;

use anyhow::{Result, ensure};
use http::Method;
use testbed::{
    Fault, Matcher, Reply,
    environment::{Environment, LIMIT},
    eventually,
};
use tokio::time::interval;

/// The number of seconds of the load.
const SECONDS: usize = 24;
/// The second in which the faults begin.
const FAULTS: usize = 8;
/// The requests that wait for a person when the load ends.
const WAITING: [&str; 2] = ["suspended", "other-pool"];

/// Creates requests each second, injects faults for a while, and returns when each request has
/// ended or waits for a person.
pub async fn run(env: &Environment) -> Result<()> {
    env.apply(&env.request("suspended", "someone", "suspend: true")).await?;
    let not_granted = env.request("other-pool", "someone", "").replace(&env.pool, "eu-west-1_NotGranted");
    env.apply(&not_granted).await?;
    let mut second = interval(Duration::from_secs(1));
    for number in 0..SECONDS {
        second.tick().await;
        if number == FAULTS {
            faults(env);
        }
        requests(env, number).await?;
    }
    unfinished_ends(env).await
}

/// Creates the requests of one second: two that succeed, now and then one that fails, and one that
/// ends as Unknown.
async fn requests(env: &Environment, number: usize) -> Result<()> {
    let mut manifests = Vec::new();
    for name in [format!("first-{number}"), format!("second-{number}")] {
        env.users.create_user(&env.pool, &name).await?;
        manifests.push(env.request(&name, &name, ""));
    }
    if number.is_multiple_of(3) {
        manifests.push(env.request(&format!("absent-{number}"), "nobody", ""));
    }
    if number.is_multiple_of(5) {
        let expired = env.request(&format!("expired-{number}"), "nobody", "notAfter: \"2020-01-01T00:00:00Z\"");
        manifests.push(expired);
    }
    if number == FAULTS {
        env.users.create_user(&env.pool, "lost").await?;
        manifests.push(env.request("lost", "lost", ""));
    }
    env.apply(&manifests.join("\n---\n")).await?;
    Ok(())
}

/// Has Cognito throttle and lose a response, and the API server fail and reject writes.
fn faults(env: &Environment) {
    env.cognito.always(Matcher::reset_of("lost"), Fault::Respond(Reply::aws_error(500, "InternalErrorException")));
    let throttled = || Fault::Respond(Reply::aws_error(400, "TooManyRequestsException"));
    let not_lost =
        |operation| Matcher::operation(operation).and(|seen| seen.user().is_some_and(|(_, name)| name != "lost"));
    env.cognito.times(6, not_lost("AdminResetUserPassword"), throttled());
    env.cognito.times(3, not_lost("AdminGetUser"), throttled());
    let status = || Matcher::path(Method::PUT, "/status");
    env.api.times(2, status(), Fault::Respond(Reply::kubernetes_error(503, "ServiceUnavailable")));
    env.api.times(2, status(), Fault::Respond(Reply::kubernetes_error(403, "Forbidden")));
}

async fn unfinished_ends(env: &Environment) -> Result<()> {
    eventually(LIMIT, "all requests to end", async || unfinished(env).await).await
}

/// Returns an error that names the pending requests that do not wait for a person.
///
/// # Errors
/// See above.
pub async fn unfinished(env: &Environment) -> Result<()> {
    let requests = env.list("prr").await?;
    let is_pending = |request: &&serde_json::Value| request["status"]["outcome"] == "Pending";
    let names = requests.iter().filter(is_pending).map(|request| request["metadata"]["name"].as_str().unwrap_or("-"));
    let pending: Vec<_> = names.filter(|name| !WAITING.contains(name)).collect();
    ensure!(pending.is_empty(), "pending: {pending:?}");
    Ok(())
}
