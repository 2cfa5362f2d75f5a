//! `explain`, `list` and `status`: what they say is what requests, records and Events say.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::{
    KubectlResult,
    environment::{Environment, LIMIT, plugin},
    eventually,
};

/// Runs the plugin as another user.
async fn as_user(env: &Environment, user: &str, arguments: &[&str]) -> Result<KubectlResult> {
    let user = format!("--as={user}");
    let arguments: Vec<_> = arguments.iter().copied().chain([user.as_str()]).collect();
    env.cluster.as_admin().with_program(plugin()).run(&arguments).await
}

#[tokio::test]
async fn a_success_and_a_failure_are_explained_from_the_record() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    env.ask("alice").await?;
    env.apply(&env.request("nobody", "nobody", "ticket: INC-7")).await?;
    assert_eq!(env.ended("alice").await?, "Succeeded/ResetAccepted");
    assert_eq!(env.ended("nobody").await?, "Failed/UserNotFoundException");
    let success = eventually(LIMIT, "the Event", async || {
        let text = env.plugin(&["explain", "alice"]).await?.success()?;
        ensure!(text.contains("Event ResetAccepted"), "{text}");
        Ok(text)
    })
    .await?;
    let attempt = env.record("alice").await?.unwrap_or_default()["attempts"][0].clone();
    let id = attempt["awsRequestID"].as_str().unwrap_or("-").to_owned();
    for part in [
        "1 call was sent to Cognito for this request, at 20",
        "claimed under grant everyone",
        &format!("Cognito accepted the reset (AWS request {id})"),
        "somebody who is not authenticated",
        "does not report whether a code reached the user",
    ] {
        assert!(success.contains(part), "{part}: {success}");
    }
    let failure = env.plugin(&["explain", "nobody"]).await?.success()?;
    for part in ["Cognito returned UserNotFoundException", "The user does not exist.", "ticket INC-7 (not verified)"] {
        assert!(failure.contains(part), "{part}: {failure}");
    }
    // The next command is one that runs.
    let next = failure.lines().find_map(|line| line.trim().strip_prefix("kubectl cognito-reset "));
    let next = next.unwrap_or_default().replace("NEW-NAME", "another");
    let arguments: Vec<_> = next.split(' ').chain(["--yes"]).collect();
    let created = env.plugin(&arguments).await?;
    assert!(created.ok && created.stderr.contains("1 created"), "{created}");

    let list = env.plugin(&["list", "--outcome", "failed", "--ticket", "INC-7"]).await?.success()?;
    assert!(list.contains("UserNotFoundException") && !list.contains("alice"), "{list}");
    let names = env.plugin(&["list", "-A", "--pool", &env.pool, "-o", "name"]).await?.success()?;
    assert_eq!(names.lines().count(), 3, "{names}");
    let json = env.plugin(&["list", "-o", "json"]).await?.success()?;
    assert_eq!(serde_json::from_str::<Value>(&json)?["items"].as_array().map(Vec::len), Some(3));
    env.hold("incident", "").await?;
    let status = env.plugin(&["status"]).await?.success()?;
    assert!(status.contains("3 requests in namespace default") && status.contains("incident 1042"), "{status}");
    let status: Value = serde_json::from_str(&env.plugin(&["status", "-o", "json"]).await?.success()?)?;
    assert_eq!((&status["requests"], &status["holds"][0]["reason"]), (&json!(3), &json!("incident 1042")), "{status}");
    Ok(())
}

#[tokio::test]
async fn an_earlier_reset_is_never_explained_as_this_one() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    env.ask("alice").await?;
    assert_eq!(env.ended("alice").await?, "Succeeded/ResetAccepted");
    let first = env.get("prr", "alice").await?["metadata"]["uid"].as_str().unwrap_or("-").to_owned();
    env.kubectl(&["delete", "prr", "alice"]).await?;
    let gone = env.plugin(&["explain", "alice"]).await?.success()?;
    assert!(gone.contains("the request is gone; its record has the effect Performed"), "{gone}");
    env.apply(&env.request("alice", "alice", "")).await?;
    assert_eq!(env.ended("alice").await?, "Succeeded/AlreadyPerformed");
    let text = env.plugin(&["explain", "alice"]).await?.success()?;
    for part in [
        "Nothing was sent to Cognito for this request.".to_owned(),
        format!("An earlier request object of this name (uid {first}) performed the reset at 20"),
        format!("claimed under grant everyone for an earlier request object (uid {first})"),
    ] {
        assert!(text.contains(&part), "{part}: {text}");
    }
    let status = env.plugin(&["status", "-A"]).await?.success()?;
    assert!(status.contains("Succeeded without a reset now   1"), "{status}");
    assert_eq!(env.calls("alice"), 1);
    Ok(())
}

#[tokio::test]
async fn a_requester_sees_what_the_requests_say() -> Result<()> {
    let env = Environment::start().await?;
    let role = ["create", "rolebinding", "rita", "--clusterrole=cognito-reset-requester", "--user=rita"];
    env.kubectl(&role).await?;
    let _operator = env.run().await?;
    env.ask("alice").await?;
    env.apply(&env.request("later", "alice", "suspend: true")).await?;
    assert_eq!(env.ended("alice").await?, "Succeeded/ResetAccepted");
    env.becomes("later", "Pending/Suspended").await?;
    let text = as_user(&env, "rita", &["explain", "alice"]).await?.success()?;
    for part in
        ["Succeeded, ResetAccepted", "Not shown", "you may not read records", "cognito-reset-auditor", "list Events"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let both = as_user(&env, "rita", &["explain", "--user", "alice", "--pool", &env.pool]).await?;
    assert!(both.ok && both.stderr.contains("only the requests of namespace default"), "{both}");
    assert!(both.stdout.contains("default/later") && both.stdout.contains("default/alice"), "{both}");
    // The next command, as it is printed, lets the request go on for any requester.
    assert!(both.stdout.contains("kubectl cognito-reset resume later -n default\n"), "{both}");
    assert!(!format!("{text}{}", both.stdout).contains("--as"), "{text}{both}");
    as_user(&env, "rita", &["resume", "later", "-n", "default"]).await?.success()?;
    let hidden = as_user(&env, "rita", &["status"]).await?;
    assert!(hidden.ok && hidden.stderr.contains("Holds are not shown"), "{hidden}");
    let refused = as_user(&env, "rita", &["list", "-A"]).await?;
    assert_eq!(refused.code, Some(5), "{refused}");
    let auditor = env.plugin(&["explain", "--user", "alice", "--pool", &env.pool]).await?;
    assert!(auditor.stdout.contains("call was sent to Cognito") && auditor.stderr.is_empty(), "{auditor}");
    let elsewhere = ["explain", "--user", "alice", "--pool", &env.pool, "-n", "kube-public"];
    let elsewhere = env.plugin(&elsewhere).await?;
    assert!(elsewhere.code == Some(5) && elsewhere.stderr.contains("only the requests of namespace"), "{elsewhere}");
    let own = as_user(&env, "rita", &["explain", "--user", "alice", "--pool", &env.pool, "-n", "default"]).await?;
    assert!(own.ok && own.stdout.contains("default/alice"), "{own}");
    Ok(())
}

#[tokio::test]
async fn hidden_characters_of_arguments_are_escaped() -> Result<()> {
    let env = Environment::start().await?;
    let none = env.plugin(&["explain", "--user", "a\u{1b}[2J,b=c", "--pool", &env.pool]).await?;
    assert!(none.code == Some(5) && none.stderr.contains("user a\\u001b[2J,b=c in pool"), "{none}");
    let refused = env.plugin(&["explain", "../x\u{1b}"]).await?;
    assert_eq!(refused.code, Some(2), "{refused}");
    assert!(refused.stderr.contains("../x\\u001b is not the name"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn lists_of_several_pages_are_complete() -> Result<()> {
    const USERS: usize = 510;
    let env = Environment::start().await?;
    let users: String = (0..USERS).map(|number| format!("user-{number}\n")).collect();
    let create = ["create", "--from", "-", "--yes", "--pool", &env.pool, "--ticket", "INC-7"];
    env.plugin_with_input(&create, &users).await?.success()?;
    let list: Value = serde_json::from_str(&env.plugin(&["list", "-o", "json"]).await?.success()?)?;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(USERS));
    let table = env.plugin(&["list", "--ticket", "INC-7"]).await?.success()?;
    assert_eq!(table.lines().count(), USERS + 1, "one header");
    let status = env.plugin(&["status", "--ticket", "INC-7"]).await?.success()?;
    assert!(status.starts_with(&format!("{USERS} requests in namespace default, ticket INC-7\n")), "{status}");
    assert!(status.contains(&format!("\nwithout a status yet   {USERS}\n")), "{status}");
    Ok(())
}
