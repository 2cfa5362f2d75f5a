//! The obstacles of a command: permissions, clusters that are not ready, and refusals halfway. Each
//! has a clear message, and the same command finishes what it began.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use http::Method;
use testbed::{
    Fault, Kubectl, Matcher, Options, Pool, Reply,
    environment::{Environment, plugin},
};

use super::line::Line;

/// The commands that need the cluster, with arguments that it has nothing for.
const COMMANDS: &[&[&str]] = &[
    &["create", "alice", "--pool", "eu-west-1_Example01", "--ticket", "INC-7", "--yes"],
    &["watch", "--timeout", "0"],
    &["explain", "absent"],
    &["explain", "--user", "alice", "--pool", "eu-west-1_Example01"],
    &["list"],
    &["status"],
    &["suspend", "absent"],
    &["resume", "absent"],
    &["approve", "absent"],
    &["hold", "eu-west-1_Example01", "--reason", "incident"],
    &["release", "absent"],
    &["prune", "--keep-since", "30d", "--all"],
    &["report"],
];

/// Runs each command, and checks that it is refused, with these words alone on standard error.
async fn each_is_refused(plugin: &Kubectl, flags: &[&str], words: &str) -> Result<()> {
    for command in COMMANDS {
        let result = plugin.run(&[command, flags].concat()).await?;
        ensure!(result.code == Some(5) && result.stdout.is_empty(), "{result}");
        ensure!(result.stderr.starts_with("error: cannot ") && result.stderr.contains(words), "{result}");
    }
    Ok(())
}

#[tokio::test]
async fn each_command_says_that_there_are_no_crds() -> Result<()> {
    let cluster = Pool::of_this_process().lease(Options::default()).await?;
    let plugin = cluster.as_admin().with_program(plugin());
    each_is_refused(&plugin, &[], "this cluster has no CRDs of cognito-reset.dev: install the operator, or").await
}

#[tokio::test]
async fn each_command_says_what_it_lacks_to_reach_the_cluster() -> Result<()> {
    let env = Environment::start().await?;
    let admin = env.cluster.as_admin().with_program(plugin());
    each_is_refused(&admin, &["--as", "nobody"], "you lack the permission").await?;
    let line = Line::of(&env).await?;
    line.proxy.close().await;
    each_is_refused(&line.plugin, &[], "the API server does not respond").await?;
    let create = ["create", "alice", "--pool", &env.pool, "--ticket", "INC-7", "--yes", "-n"];
    for (namespace, code, words) in [
        ("nowhere", 5, "namespaces \"nowhere\" not found: create it, or name another one with -n"),
        ("No Name", 2, "the name of a namespace has up to 63 lower case letters"),
    ] {
        let result = admin.run(&[&create[..], &[namespace]].concat()).await?;
        ensure!(result.code == Some(code) && result.stderr.contains(words), "{result}");
    }
    ensure!(env.list("prr").await?.is_empty(), "a request was created");
    Ok(())
}

#[tokio::test]
async fn the_same_command_finishes_a_list_refused_halfway() -> Result<()> {
    const USERS: [&str; 6] = ["ann", "bob", "cat", "dan", "eve", "fay"];
    let env = Environment::start().await?;
    for user in USERS {
        env.users.create_user(&env.pool, user).await?;
    }
    let line = Line::of(&env).await?;
    let number = AtomicUsize::new(0);
    let fourth = Matcher::path(Method::POST, "/passwordresetrequests")
        .and(move |seen| !seen.path.contains("dryRun") && number.fetch_add(1, Ordering::SeqCst) == 3);
    let quota = Reply::kubernetes_error(403, "Forbidden");
    let refusal = line.proxy.always(fourth, Fault::Respond(quota));
    let flags = ["--pool", &env.pool, "--ticket", "INC-7", "--yes", "--wait", "--timeout"];
    let create = [&["create"], &USERS[..], &flags].concat();
    let halfway = line.plugin.run(&[&create[..], &["0"]].concat()).await?;
    ensure!(halfway.code == Some(5) && refusal.hits() == 1, "{halfway}");
    ensure!(halfway.stderr.contains("of 6 were created") && halfway.stderr.contains("; the same command"), "{halfway}");

    // No operator runs yet.
    let there = env.list("prr").await?.len();
    ensure!((1..USERS.len()).contains(&there), "{there}");
    let rest = line.plugin.run(&[&create[..], &["0"]].concat()).await?;
    let counts = format!("{} created, {there} unchanged", USERS.len() - there);
    ensure!(rest.code == Some(3) && rest.stderr.contains(&counts), "{rest}");
    ensure!(rest.stderr.contains("timed out, and nothing shows that an operator runs"), "{rest}");
    ensure!(rest.stderr.contains("`kubectl cognito-reset doctor`; to go on watching:"), "{rest}");
    ensure!(rest.stdout.ends_with("6 pending (6 without a status yet)\n"), "{rest}");

    let _operator = env.run().await?;
    let done = line.plugin.run(&[&create[..], &["60"]].concat()).await?;
    ensure!(done.code == Some(0) && done.stdout.ends_with("\n6 succeeded, 0 failed, 0 unknown, 0 pending\n"), "{done}");
    let called = USERS.iter().find(|user| env.calls(user) != 1);
    ensure!(called.is_none(), "{}", called.context("a user")?);
    Ok(())
}
