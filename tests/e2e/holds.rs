//! Holds: what they hold, for how long, and who may write them. A hold that cannot be read holds
//! what it names, or else everything.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::environment::{Environment, LIMIT, condition};
use testbed::{Fault, Matcher, Reply, eventually};

use crate::{invalid_objects::taken_under, logs};

/// Waits until the hold shows that the operator applies it, and holds so many requests.
async fn holds(env: &Environment, name: &str, requests: i64) -> Result<()> {
    eventually(LIMIT, format!("{name} to hold {requests}"), async || {
        let hold = env.get("poolhold", name).await?;
        let (ready, status) = (condition(&hold, "Ready"), &hold["status"]);
        ensure!(ready["status"] == "True" && ready["reason"] == "InForce", "{hold}");
        ensure!(status["heldRequests"] == requests, "{hold}");
        ensure!(status["observedGeneration"] == hold["metadata"]["generation"], "{hold}");
        anyhow::Ok(())
    })
    .await
}

async fn release(env: &Environment, name: &str) -> Result<()> {
    env.kubectl(&["delete", "poolhold", name]).await?;
    Ok(())
}

/// Asks for a reset of a user in a namespace other than `default`.
async fn ask_in(env: &Environment, namespace: &str, name: &str) -> Result<()> {
    env.users.create_user(&env.pool, name).await?;
    let request = env.request(name, name, "").replace("namespace: default", &format!("namespace: {namespace}"));
    env.apply(&request).await?;
    Ok(())
}

#[tokio::test]
async fn hold_of_a_pool_or_of_all_holds_until_it_is_deleted() -> Result<()> {
    let env = Environment::start().await?;
    let operator = env.run().await?;
    env.hold_in_force("another", "userPoolID: eu-west-1_Another01").await?;
    for (name, spec) in [("pool", format!("userPoolID: {}", env.pool)), ("all", String::new())] {
        env.hold_in_force(name, &spec).await?;
        env.ask(name).await?;
        env.becomes(name, "Pending/UserPoolHeld").await?;
        let ready = condition(&env.get("prr", name).await?, "Ready");
        let says = format!("nothing is sent while the UserPoolHold {name} exists; its reason: incident 1042");
        assert_eq!(ready["message"], says);
        holds(&env, name, 1).await?;
        // No grant opens a hold, and neither does an approval.
        env.grant("more", "namespaces: [default]").await?;
        env.kubectl(&["delete", "poolgrant", "more"]).await?;
        env.hold("second", "namespaces: [default]").await?;
        env.says(name, "and 1 more").await?;
        release(&env, name).await?;
        env.says(name, "UserPoolHold second exists").await?;
        assert_eq!(env.calls(name), 0, "{name}");
        release(&env, "second").await?;
        assert_eq!(env.ended(name).await?, "Succeeded/ResetAccepted");
        assert_eq!(env.calls(name), 1, "{name}");
    }
    holds(&env, "another", 0).await?;
    logs::is_sound(&operator.logs())
}

#[tokio::test]
async fn hold_of_namespaces_holds_no_other_namespace() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    env.hold("typing-error", "namespaces: [suport]").await?;
    eventually(LIMIT, "the hold to say that it matches nothing", async || {
        let ready = condition(&env.get("poolhold", "typing-error").await?, "Ready");
        ensure!(ready["status"] == "False" && ready["reason"] == "NoNamespaceMatches", "{ready}");
        anyhow::Ok(())
    })
    .await?;
    env.hold_in_force("here", "namespaces: [default, later]").await?;
    for namespace in ["elsewhere", "later"] {
        env.kubectl(&["create", "namespace", namespace]).await?;
    }
    env.ask("here").await?;
    ask_in(&env, "later", "later").await?;
    ask_in(&env, "elsewhere", "elsewhere").await?;
    env.becomes("here", "Pending/UserPoolHeld").await?;
    holds(&env, "here", 2).await?;
    let outcome = ["get", "prr", "elsewhere", "-n", "elsewhere", "-o", "jsonpath={.status.outcome}"];
    eventually(LIMIT, "the request of another namespace to end", async || {
        let seen = env.kubectl(&outcome).await?;
        ensure!(seen == "Succeeded", "{seen}");
        anyhow::Ok(())
    })
    .await?;
    assert_eq!((env.calls("here"), env.calls("later"), env.calls("elsewhere")), (0, 0, 1));
    release(&env, "here").await?;
    assert_eq!(env.ended("here").await?, "Succeeded/ResetAccepted");
    Ok(())
}

#[tokio::test]
async fn hold_of_a_user_holds_every_name_of_the_user() -> Result<()> {
    let env = Environment::start().await?;
    let operator = env.run().await?;
    let sub = env.users.create_user(&env.pool, "by-sub").await?;
    // Every user of the emulator has the e-mail address user@example.com.
    for (name, held) in [("by-sub", sub.as_str()), ("by-alias", "User@Example.com"), ("by-name", "BY-name")] {
        env.hold_in_force(name, &format!("usernames: [somebody, {held}]")).await?;
        if name != "by-sub" {
            env.users.create_user(&env.pool, name).await?;
        }
        env.apply(&env.request(name, name, "")).await?;
        env.becomes(name, "Pending/UserPoolHeld").await?;
        holds(&env, name, 1).await?;
        assert_eq!(env.calls(name), 0, "{name}");
        assert!(env.record(name).await?.is_none(), "{name} is claimed");
        release(&env, name).await?;
        assert_eq!(env.ended(name).await?, "Succeeded/ResetAccepted");
    }
    // A user who cannot be read may be one of those who are held. The request is tried again.
    env.hold_in_force("others", "usernames: [somebody]").await?;
    let denied = Fault::Respond(Reply::aws_error(400, "AccessDeniedException"));
    let rule = env.cognito.always(Matcher::operation("AdminGetUser"), denied);
    env.ask("unreadable").await?;
    eventually(LIMIT, "several reads", async || (rule.hits() >= 3).then_some(())).await?;
    assert_eq!(env.calls("unreadable"), 0);
    rule.remove();
    assert_eq!(env.ended("unreadable").await?, "Succeeded/ResetAccepted");
    logs::is_sound(&operator.logs())
}

#[tokio::test]
async fn hold_applies_until_right_before_the_claim() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run_with(env.operator().args(["--read-timeout=30s"])).await?;
    for (name, spec) in [("all", ""), ("user", "usernames: [user]")] {
        // The user is being read, which comes right before the claim.
        let reads =
            Matcher::operation("AdminGetUser").and(move |seen| seen.user().is_some_and(|(_, user)| user == name));
        let rule = env.cognito.once(reads, Fault::Hold);
        env.ask(name).await?;
        let held = rule.held(LIMIT).await?;
        env.hold(name, spec).await?;
        holds(&env, name, 1).await?;
        held.release();
        env.becomes(name, "Pending/UserPoolHeld").await?;
        assert!(env.record(name).await?.is_none(), "{name} is claimed");
        assert_eq!(env.calls(name), 0, "{name}");
        release(&env, name).await?;
        assert_eq!(env.ended(name).await?, "Succeeded/ResetAccepted");
    }
    Ok(())
}

#[tokio::test]
async fn hold_survives_a_restart_of_the_operator() -> Result<()> {
    let env = Environment::start().await?;
    let mut first = env.run().await?;
    env.hold_in_force("stop", "").await?;
    env.ask("held").await?;
    env.becomes("held", "Pending/UserPoolHeld").await?;
    first.sigkill().await?;
    env.ask("new").await?;
    // A replica that has not read the holds yet does not begin.
    let lists = env.api.always(
        Matcher::path(http::Method::GET, "/userpoolholds?").and(|seen| seen.path.contains("limit=500")),
        Fault::Respond(Reply::kubernetes_error(503, "ServiceUnavailable")),
    );
    let mut second = env.operator().start()?;
    eventually(LIMIT, "the holds to be asked for", async || (lists.hits() >= 2).then_some(())).await?;
    assert_eq!((env.calls("held"), env.calls("new")), (0, 0));
    lists.remove();
    second.wait_ready(LIMIT).await?;
    env.becomes("new", "Pending/UserPoolHeld").await?;
    holds(&env, "stop", 2).await?;
    assert_eq!((env.calls("held"), env.calls("new")), (0, 0));
    Ok(())
}

/// Lets a hold have no reason, without which the operator cannot parse it.
pub(crate) fn without_reason(spec: &mut Value) {
    spec["required"] = json!([]);
}

fn unreadable(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: cognito-reset.dev/v1alpha1\nkind: UserPoolHold\nmetadata: {{name: {name}}}\nspec: {{usernames: [nobody]{spec}}}\n"
    )
}

#[tokio::test]
async fn unreadable_hold_holds_what_it_names_or_else_all() -> Result<()> {
    let env = Environment::start().await?;
    let operator = env.run().await?;
    let others = [
        unreadable("pool", ", userPoolID: eu-west-1_Another01"),
        unreadable("namespaces", ", namespaces: [elsewhere]"),
    ];
    taken_under(&env, "userpoolholds", without_reason, &others).await?;
    let invalid = async |name: &str, held: u32| {
        eventually(LIMIT, format!("{name} to be invalid"), async || {
            let hold = env.get("poolhold", name).await?;
            let (ready, stalled) = (condition(&hold, "Ready"), condition(&hold, "Stalled"));
            ensure!(ready["reason"] == "InvalidObject" && stalled["status"] == "True", "{hold}");
            let message = ready["message"].to_string();
            ensure!(message.contains("Missing field reason. It holds every request of the pool"), "{message}");
            ensure!(hold["status"]["heldRequests"] == held, "{hold}");
            anyhow::Ok(())
        })
        .await
    };
    invalid("pool", 0).await?;
    invalid("namespaces", 0).await?;
    env.ask("free").await?;
    assert_eq!(env.ended("free").await?, "Succeeded/ResetAccepted");
    let ours = unreadable("ours", &format!(", userPoolID: {}, namespaces: [default]", env.pool));
    taken_under(&env, "userpoolholds", without_reason, &[ours, unreadable("everything", "")]).await?;
    invalid("ours", 0).await?;
    invalid("everything", 0).await?;
    env.ask("held").await?;
    env.becomes("held", "Pending/UserPoolHeld").await?;
    env.says("held", "this operator cannot parse the UserPoolHold everything and 1 more").await?;
    invalid("ours", 1).await?;
    invalid("everything", 1).await?;
    release(&env, "everything").await?;
    env.says("held", "this operator cannot parse the UserPoolHold ours, and holds every request that it may match")
        .await?;
    assert_eq!(env.calls("held"), 0);
    release(&env, "ours").await?;
    assert_eq!(env.ended("held").await?, "Succeeded/ResetAccepted");
    logs::is_sound(&operator.logs())
}

#[tokio::test]
async fn suspended_grant_allows_nothing_and_holds_nothing() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    env.grant("everyone", "namespaces: [\"*\"]\nsuspend: true").await?;
    env.ask("waits").await?;
    env.becomes("waits", "Pending/GrantSuspended").await?;
    env.grant("broken", "namespaces: [default]\nusernamePattern: \"(\"\nsuspend: true").await?;
    eventually(LIMIT, "the broken grant to say so", async || {
        let ready = condition(&env.get("poolgrant", "broken").await?, "Ready");
        ensure!(ready["reason"] == "InvalidUsernamePattern", "{ready}");
        anyhow::Ok(())
    })
    .await?;
    env.grant("another", "namespaces: [default]").await?;
    assert_eq!(env.ended("waits").await?, "Succeeded/ResetAccepted");
    Ok(())
}

#[tokio::test]
async fn responder_may_hold_and_release_and_nothing_else() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    let role = "--clusterrole=cognito-reset-responder";
    env.kubectl(&["create", "clusterrolebinding", "on-call", role, "--user=rita"]).await?;
    let as_rita = async |arguments: &[&str], input: &str| {
        let arguments: Vec<_> = arguments.iter().copied().chain(["--as=rita"]).collect();
        env.cluster.as_admin().run_with_input(&arguments, input).await
    };
    let stop = "apiVersion: cognito-reset.dev/v1alpha1\nkind: UserPoolHold\nmetadata: {name: stop}\nspec: {reason: an incident}";
    eventually(LIMIT, "the role to take effect", async || as_rita(&["create", "-f", "-"], stop).await?.success())
        .await?;
    holds(&env, "stop", 0).await?;
    env.ask("held").await?;
    env.becomes("held", "Pending/UserPoolHeld").await?;
    let grant = format!(
        "apiVersion: cognito-reset.dev/v1alpha1\nkind: UserPoolGrant\nmetadata: {{name: mine}}\nspec: {{userPoolID: {}, namespaces: [\"*\"]}}",
        env.pool
    );
    let refused = as_rita(&["create", "-f", "-"], &grant).await?.refusal()?;
    assert!(refused.contains("cannot create resource \"userpoolgrants\""), "{refused}");
    let request = env.request("hers", "someone", "");
    let refused = as_rita(&["create", "-f", "-"], &request).await?.refusal()?;
    assert!(refused.contains("cannot create resource \"passwordresetrequests\""), "{refused}");
    for (verb, resource) in [
        ("get", "passwordresetrequests"),
        ("get", "passwordresetrecords"),
        ("get", "userpoolgrants"),
        ("update", "userpoolholds"),
        ("patch", "userpoolholds"),
        ("deletecollection", "userpoolholds"),
    ] {
        let can = as_rita(&["auth", "can-i", verb, &format!("{resource}.cognito-reset.dev"), "-A"], "").await?;
        assert_eq!(can.stdout.trim(), "no", "{verb} {resource}");
    }
    as_rita(&["delete", "poolhold", "stop"], "").await?.success()?;
    assert_eq!(env.ended("held").await?, "Succeeded/ResetAccepted");
    Ok(())
}
