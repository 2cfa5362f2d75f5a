//! The call by which a user is read before a reset: what each choice reads, and what it proves.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use testbed::environment::{Environment, LIMIT, condition};
use testbed::{Fault, Matcher, Operator, Reply, Responder, Seen, eventually};

/// The e-mail address of a user whose user name is another one.
const ADDRESS: &str = "user@example.com";
/// The calls of ListUsers per second that the operator makes at most, of the 30 of the quota.
const LISTS_PER_SECOND: f64 = 15.0;

/// Starts an operator whose only grant has these further lines.
async fn granted(env: &Environment, spec: &str) -> Result<Operator> {
    env.grant("everyone", &format!("namespaces: [\"*\"]\n{spec}")).await?;
    env.run().await
}

/// Returns the numbers of calls of AdminGetUser and of ListUsers so far.
fn reads(env: &Environment) -> (usize, usize) {
    (env.cognito.operation("AdminGetUser").len(), env.cognito.operation("ListUsers").len())
}

async fn attempt(env: &Environment, name: &str) -> Result<(Value, Value)> {
    let record = env.record(name).await?.with_context(|| format!("{name} has no record"))?;
    Ok((record["attempts"][0].clone(), record["userSub"].clone()))
}

async fn password(env: &Environment, name: &str) -> Result<Value> {
    Ok(env.get("prr", name).await?["status"]["password"].clone())
}

#[tokio::test]
async fn list_reads_no_user_and_proves_nothing_after_a_lost_call() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = granted(&env, "userStateSource: ListUsers").await?;
    env.ask("good").await?;
    assert_eq!(env.ended("good").await?, "Succeeded/ResetAccepted");
    assert_eq!((reads(&env), env.calls("good")), ((0, 1), 1));
    let (good, sub) = attempt(&env, "good").await?;
    assert_eq!((&good["userStateSource"], &good["userStatusBefore"]), (&json!("ListUsers"), &Value::Null));
    assert!(sub.is_string(), "the user name is one that the user keeps");

    env.cognito.once(Matcher::reset_of("lost"), Fault::ForwardThenLose);
    env.ask("lost").await?;
    assert_eq!(env.ended("lost").await?, "Unknown/OutcomeUnknown");
    assert_eq!((password(&env, "lost").await?, env.calls("lost")), (json!("Invalidated"), 1));
    assert!(env.cognito.operation("AdminGetUser").iter().all(|read| is_about(&read.seen, "lost")), "{:?}", reads(&env));
    let (lost, _) = attempt(&env, "lost").await?;
    assert_eq!((&lost["evidence"], &lost["userStatusAfter"]), (&json!("Inconclusive"), &json!("RESET_REQUIRED")));
    Ok(())
}

fn is_about(seen: &Seen, username: &str) -> bool {
    seen.user().is_some_and(|(_, name)| name == username)
}

#[tokio::test]
async fn nobody_is_read_where_the_grants_say_none() -> Result<()> {
    let env = Environment::start().await?;
    // The flag is the default of grants without a source.
    let operator = env.run_with(env.operator().args(["--user-state-source=None"])).await?;
    env.ask("good").await?;
    assert_eq!(env.ended("good").await?, "Succeeded/ResetAccepted");
    let (good, sub) = attempt(&env, "good").await?;
    assert_eq!((&good["userStateSource"], sub), (&json!("None"), Value::Null));
    env.cognito.once(Matcher::reset_of("lost"), Fault::ForwardThenLose);
    env.ask("lost").await?;
    assert_eq!(env.ended("lost").await?, "Unknown/OutcomeUnknown");
    assert_eq!((password(&env, "lost").await?, env.calls("lost")), (json!("Unknown"), 1));

    // What needs the user waits, and names the way out.
    env.users.create_user(&env.pool, "skipped").await?;
    env.users.reset(&env.pool, "skipped").await?;
    env.apply(&env.request("skipped", "skipped", "ifResetRequired: Skip")).await?;
    env.becomes("skipped", "Pending/UserStateNotRead").await?;
    env.says("skipped", "set userStateSource to AdminGetUser or ListUsers").await?;
    env.hold_in_force("somebody", "usernames: [somebody]").await?;
    env.ask("held").await?;
    env.becomes("held", "Pending/UserPoolHeld").await?;
    env.says("held", "userStateSource").await?;
    assert_eq!((reads(&env), env.calls("skipped"), env.calls("held")), ((0, 0), 0, 0), "{}", operator.logs());

    // The grant over the flag.
    env.grant("everyone", "namespaces: [\"*\"]\nuserStateSource: ListUsers").await?;
    assert_eq!(env.ended("skipped").await?, "Succeeded/AlreadyResetRequired");
    assert_eq!(env.ended("held").await?, "Succeeded/ResetAccepted", "the hold names another user");
    assert_eq!((reads(&env).0, env.calls("skipped"), env.calls("held")), (0, 0, 1));
    Ok(())
}

#[tokio::test]
async fn pattern_without_a_read_is_refused_or_never_matches() -> Result<()> {
    let env = Environment::start().await?;
    let grant = |source: &str| {
        format!(
            "apiVersion: cognito-reset.dev/v1alpha1\nkind: UserPoolGrant\nmetadata: {{name: everyone}}\nspec: {{userPoolID: {}, namespaces: [\"*\"], usernamePattern: \".*\"{source}}}",
            env.pool
        )
    };
    let refusal = env.refused(&grant(", userStateSource: None")).await?;
    assert!(refusal.contains("set userStateSource to AdminGetUser or ListUsers"), "{refusal}");
    env.apply(&grant("")).await?;
    let _operator = env.run_with(env.operator().args(["--user-state-source=None"])).await?;
    env.ask("alice").await?;
    env.becomes("alice", "Pending/NoMatchingGrant").await?;
    eventually(LIMIT, "the grant to say why", async || {
        let ready = condition(&env.get("poolgrant", "everyone").await?, "Ready");
        ensure!(ready["reason"] == "UserStateNotRead", "{ready}");
        anyhow::Ok(())
    })
    .await?;
    env.apply(&grant(", userStateSource: ListUsers")).await?;
    assert_eq!(env.ended("alice").await?, "Succeeded/ResetAccepted");
    assert_eq!(reads(&env), (0, 1));
    Ok(())
}

#[tokio::test]
async fn pattern_compares_the_user_whom_a_list_finds_by_an_alias() -> Result<()> {
    let mut env = Environment::start().await?;
    let new = json!({ "PoolName": "by-address", "UsernameAttributes": ["email"] });
    let pool = env.users.call("eu-west-1", "CreateUserPool", &new).await?;
    pool.pointer("/UserPool/Id").and_then(Value::as_str).context("no pool")?.clone_into(&mut env.pool);
    let sub = env.users.create_user(&env.pool, ADDRESS).await?;
    env.grant(
        "addresses",
        "namespaces: [default]\nuserStateSource: ListUsers\nusernamePattern: \".*@example\\\\.com\"",
    )
    .await?;
    let _operator = env.run().await?;
    // By the `sub`, which is the user name in such a pool, and by the address.
    env.apply(&env.request("by-sub", &sub, "")).await?;
    assert_eq!(env.ended("by-sub").await?, "Succeeded/ResetAccepted");
    assert_eq!(attempt(&env, "by-sub").await?.1, json!(sub));
    env.apply(&env.request("by-address", ADDRESS, "")).await?;
    assert_eq!(env.ended("by-address").await?, "Succeeded/ResetAccepted");
    assert_eq!(attempt(&env, "by-address").await?.1, Value::Null, "an address can become another user's");
    assert_eq!(reads(&env), (0, 3), "one filter for the sub, and two for the address");
    // An empty list proves nothing: the user may exist.
    env.apply(&env.request("nobody", "nobody@example.com", "")).await?;
    eventually(LIMIT, "the user to be listed several times", async || (reads(&env).1 >= 3 + 2 * 2).then_some(()))
        .await?;
    assert!(env.state("nobody").await?.starts_with("Pending/"), "{}", env.state("nobody").await?);
    assert_eq!((env.calls("nobody@example.com"), reads(&env).0), (0, 0));
    // A name that a pattern excludes, by a spelling that it would match.
    env.grant("addresses", "namespaces: [default]\nuserStateSource: ListUsers\nusernamePattern: \"[^@]+\"").await?;
    env.users.confirm(&env.pool, ADDRESS).await?;
    env.apply(&env.request("excluded", &sub, "")).await?;
    env.becomes("excluded", "Pending/NoMatchingGrant").await?;
    assert_eq!(env.calls(&sub), 1);
    Ok(())
}

#[tokio::test]
async fn another_process_probes_nobody_whom_the_claim_did_not_read() -> Result<()> {
    let env = Environment::start().await?;
    // The source at the claim, and that of the grant when the claim is resolved.
    for (source, later, end) in [("None", "ListUsers", "Unknown"), ("ListUsers", "None", "Invalidated")] {
        let name = source.to_lowercase();
        env.cognito.forget();
        let effect = env.api.once(Matcher::path(Method::PUT, "/passwordresetrecords"), Fault::Hold);
        let mut operator = granted(&env, &format!("userStateSource: {source}")).await?;
        env.ask(&name).await?;
        let held = effect.held(LIMIT).await?;
        operator.sigkill().await?;
        effect.remove();
        held.lose();
        let _after = granted(&env, &format!("userStateSource: {later}")).await?;
        assert_eq!(env.ended(&name).await?, "Unknown/OutcomeUnknown", "{source}");
        assert_eq!((password(&env, &name).await?, env.calls(&name)), (json!(end), 1), "{source}");
        assert_eq!(reads(&env).0 > 0, source == "ListUsers", "{source}: {:?}", reads(&env));
    }
    Ok(())
}

#[tokio::test]
async fn lists_keep_half_of_their_quota_at_any_rate() -> Result<()> {
    const USERS: usize = 40;
    let env = Environment::start().await?;
    // Each address takes two calls, because nobody has it as a user name.
    let list = |seen: &Seen| {
        let filter = seen.json()["Filter"].as_str().unwrap_or_default().to_owned();
        let address = filter.strip_prefix("email = \"").and_then(|rest| rest.strip_suffix('"'));
        let user = |address: &str| {
            let name = address.split('@').next().unwrap_or_default();
            let sub = json!({ "Name": "sub", "Value": format!("sub-of-{name}") });
            let verified = json!({ "Name": "email_verified", "Value": "true" });
            let attributes = json!([sub, { "Name": "email", "Value": address }, verified]);
            json!({ "Username": name, "UserStatus": "CONFIRMED", "Attributes": attributes })
        };
        let users: Vec<_> = address.map(user).into_iter().collect();
        Reply::new(200, json!({ "Users": users }).to_string()).header("content-type", "application/x-amz-json-1.1")
    };
    let accepted = Reply::new(200, "{}").header("content-type", "application/x-amz-json-1.1");
    env.cognito.always(Matcher::operation("ListUsers"), Fault::Compute(Responder::new(list)));
    env.cognito.always(Matcher::operation("AdminResetUserPassword"), Fault::Respond(accepted));
    env.grant("everyone", "namespaces: [\"*\"]\nuserStateSource: ListUsers").await?;
    let _operator =
        env.run_with(env.operator().args(["--rate=1000", "--read-timeout=30s", "--call-timeout=30s"])).await?;
    let requests =
        (0..USERS).map(|number| env.request(&format!("list-{number}"), &format!("{number}@example.com"), ""));
    env.apply(&requests.collect::<Vec<_>>().join("\n---\n")).await?;
    for number in 0..USERS {
        assert_eq!(env.ended(&format!("list-{number}")).await?, "Succeeded/ResetAccepted");
    }
    let lists = env.cognito.operation("ListUsers");
    assert_eq!(lists.len(), 2 * USERS);
    let (first, last) = (lists.first().context("no list")?.at, lists.last().context("no list")?.at);
    let seconds = last.duration_since(first).as_secs_f64();
    // The calls of the first turn and of the last one have no whole period.
    let rate = (lists.len() - 4) as f64 / seconds;
    assert!(rate <= LISTS_PER_SECOND, "{rate} calls a second: {} in {seconds} s", lists.len());
    assert!(Duration::from_secs_f64(seconds) >= Duration::from_secs(4), "{seconds} s");
    assert_eq!(env.cognito.operation("AdminGetUser").len(), 0);
    Ok(())
}
