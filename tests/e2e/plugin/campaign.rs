//! A list of many users in a terminal, with a Cognito that is slow, throttles and reaches its mail
//! limit, and a connection that is lost; and two people with the same list.

use std::{
    fmt::Write as _,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use http::Method;
use serde_json::Value;
use testbed::{
    Fault, KubectlResult, Matcher, Reply, Seen,
    environment::{Environment, LIMIT},
    eventually,
};

use super::line::Line;

const USERS: usize = 500;
/// The number of requests after whose creation the first command is interrupted.
const SOME: usize = 40;
/// One of this many resets is throttled.
const THROTTLED: usize = 60;

/// Returns the name of a user.
fn user(number: usize) -> String {
    format!("user-{number:03}@example.com")
}

/// Creates users in Cognito, and a CSV file that lists them as a spreadsheet writes it.
async fn users(env: &Environment, count: usize) -> Result<PathBuf> {
    let mut csv = "\u{feff}id;\"e-mail\"\r\n".to_owned();
    for number in 0..count {
        let user = user(number);
        env.users.create_user(&env.pool, &user).await?;
        write!(csv, "{number};\"{user}\"\r\n")?;
    }
    let file = env.cluster.directory().join("users.csv");
    std::fs::write(&file, csv)?;
    Ok(file)
}

/// Returns the arguments of `create` for such a file.
fn create<'a>(env: &'a Environment, file: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let from = ["create", "--from", file, "--column", "e-mail", "--delimiter", ";"];
    let of = ["--pool", &env.pool, "--ticket", "INC-7", "--wait"];
    from.iter().chain(&of).chain(more).copied().collect()
}

/// Makes Cognito slow. It throttles now and then, and reaches its mail limit at one user.
fn troubles(env: &Environment, limited: &str) {
    let resets = || Matcher::operation("AdminResetUserPassword");
    let number = AtomicUsize::new(0);
    let now_and_then = move |_: &Seen| number.fetch_add(1, Ordering::SeqCst) % THROTTLED == THROTTLED - 1;
    let limit = Fault::Respond(Reply::aws_error(400, "LimitExceededException"));
    env.cognito.always(Matcher::reset_of(limited), limit);
    let throttled = Fault::Respond(Reply::aws_error(400, "TooManyRequestsException"));
    env.cognito.always(resets().and(now_and_then), throttled);
    env.cognito.always(resets(), Fault::Delay(Duration::from_millis(100)));
}

/// Returns the number of requests that the plugin has asked the API server to store.
fn posted(line: &Line) -> usize {
    let is_post = |seen: &Seen| seen.method == Method::POST && !seen.path.contains("dryRun");
    line.proxy.requests().iter().filter(|request| is_post(&request.seen) && request.status.is_some()).count()
}

/// Checks that each user was reset once, except for the one of the mail limit.
fn each_once(env: &Environment, limited: Option<&str>) {
    let resets = env.cognito.resets();
    for ((_, user), count) in &resets {
        let wanted = usize::from(Some(user.as_str()) != limited);
        assert_eq!((count.accepted, count.forwarded), (wanted, wanted), "{user}: {count:?}");
    }
}

/// Returns the counts of the ticket as `status` shows them: succeeded, failed, unknown, pending.
async fn status(env: &Environment) -> Result<Vec<usize>> {
    let text = env.plugin(&["status", "--ticket", "INC-7"]).await?.success()?;
    let count = |outcome: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(outcome));
        line.and_then(|line| line.trim().parse().ok()).with_context(|| format!("no {outcome} in {text}"))
    };
    ["Succeeded ", "Failed ", "Unknown ", "Pending "].into_iter().map(count).collect()
}

#[tokio::test]
async fn a_campaign_among_faults_resets_each_user_once() -> Result<()> {
    let env = Environment::start().await?;
    let (file, limited) = (users(&env, USERS).await?, user(USERS * 3 / 5));
    let file = file.to_str().context("a path")?;
    troubles(&env, &limited);
    let line = Line::of(&env).await?;
    let operator = env.run_with(env.operator().args(["--rate=50"])).await?;

    // Ctrl-C while the requests are created.
    let mut first = line.typed(&create(&env, file, &[]))?;
    first.shows(&format!("Create {USERS} requests?"), LIMIT).await?;
    first.types("\n")?;
    eventually(LIMIT, "some requests", async || {
        ensure!(posted(&line) >= SOME, "{}", posted(&line));
        anyhow::Ok(())
    })
    .await?;
    first.interrupt()?;
    assert_eq!(first.ended(LIMIT).await?.code(), Some(130), "{}", first.written());
    assert!(env.list("prr").await?.len() < USERS, "the interruption came too late");

    // Two lost connections, and Ctrl-C when deliveries fail.
    let watches = line.watches();
    let mut second = line.typed(&create(&env, file, &[]))?;
    second.shows(" requests?", LIMIT).await?;
    second.types("\n")?;
    line.attached_after(watches).await?;
    line.cut().await?;
    line.cut().await?;
    second.shows("LimitExceededException", LIMIT).await?;
    second.interrupt()?;
    assert_eq!(second.ended(LIMIT).await?.code(), Some(130), "{}", second.written());
    let shown = second.written();
    assert!(shown.contains("\n  kubectl cognito-reset watch --ticket INC-7 "), "{shown}");

    // The delivery works again; an operator that starts does not know that it failed.
    drop(operator);
    let _operator = env.run_with(env.operator().args(["--rate=50"])).await?;
    let all = create(&env, file, &["--yes"]);
    let last = line.plugin.run(&all).await?;
    assert_eq!(last.code, Some(4), "{last}");
    let totals = format!("\n{} succeeded, 0 failed, 1 unknown, 0 pending\n", USERS - 1);
    assert!(last.stdout.ends_with(&totals), "{last}");
    each_once(&env, Some(&limited));
    assert_eq!(env.cognito.resets().len(), USERS);
    assert_eq!(status(&env).await?, [USERS - 1, 0, 1, 0]);
    let report = env.plugin(&["report", "--ticket", "INC-7", "-o", "json"]).await?.success()?;
    let report: Value = serde_json::from_str(&report)?;
    let effects = &report["totals"]["effects"];
    assert_eq!((&effects["Performed"], &effects["Unknown"]), (&(USERS - 1).into(), &1.into()), "{effects}");

    let calls = env.cognito.resets();
    let again = line.plugin.run(&all).await?;
    assert!(again.code == Some(4) && again.stdout.ends_with(&totals), "{again}");
    assert!(again.stderr.contains(&format!("0 created, {USERS} unchanged")), "{again}");
    assert_eq!(env.cognito.resets(), calls);
    Ok(())
}

#[tokio::test]
async fn two_people_with_one_list_reset_each_user_once() -> Result<()> {
    const SHARED: usize = 60;
    let env = Environment::start().await?;
    let file = users(&env, SHARED).await?;
    let file = file.to_str().context("a path")?;
    let _operator = env.run_with(env.operator().args(["--rate=50"])).await?;
    let all = create(&env, file, &["--yes"]);
    let (one, other) = tokio::join!(env.plugin(&all), env.plugin(&all));
    let (one, other) = (one?, other?);
    for result in [&one, &other] {
        let totals = format!("\n{SHARED} succeeded, 0 failed, 0 unknown, 0 pending\n");
        assert!(result.code == Some(0) && result.stdout.ends_with(&totals), "{result}");
    }
    let created = |result: &KubectlResult| {
        let line = result.stderr.lines().find(|line| line.contains(" created, ")).unwrap_or_default();
        line.split(' ').next().and_then(|count| count.parse::<usize>().ok())
    };
    assert_eq!(created(&one).zip(created(&other)).map(|(one, other)| one + other), Some(SHARED), "{one} {other}");
    each_once(&env, None);
    assert_eq!((env.cognito.resets().len(), env.list("prr").await?.len()), (SHARED, SHARED));
    Ok(())
}
