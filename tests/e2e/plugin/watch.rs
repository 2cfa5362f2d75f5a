//! `watch` and `create --wait`: what they print, how they end, and what a lost connection changes.

use std::collections::BTreeSet;

use anyhow::Result;
use testbed::{KubectlResult, environment::Environment};

use super::line::Line;

async fn resume(env: &Environment, name: &str) -> Result<()> {
    env.kubectl(&["patch", "prr", name, "--type=merge", "-p", r#"{"spec":{"suspend":false}}"#]).await?;
    env.ended(name).await?;
    Ok(())
}

async fn suspended(env: &Environment, name: &str) -> Result<()> {
    env.users.create_user(&env.pool, name).await?;
    env.apply(&env.request(name, name, "suspend: true\nticket: INC-7")).await?;
    env.becomes(name, "Pending/Suspended").await
}

#[tokio::test]
async fn a_watch_survives_two_lost_connections() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    for name in ["first", "second", "third"] {
        suspended(&env, name).await?;
    }
    let line = Line::of(&env).await?;
    let watch = async { line.plugin.run(&["watch", "--ticket", "INC-7"]).await };
    let outside = async {
        line.attached_after(0).await?;
        for name in ["first", "second"] {
            let watches = line.watches();
            line.proxy.close().await;
            resume(&env, name).await?;
            line.proxy.open().await?;
            line.attached_after(watches).await?;
        }
        resume(&env, "third").await
    };
    let (result, done) = tokio::join!(watch, outside);
    done?;
    let result: KubectlResult = result?;
    assert!(result.ok, "{result}");
    for name in ["first", "second", "third"] {
        assert_eq!(result.stdout.matches(&format!("{name}: Succeeded/ResetAccepted\n")).count(), 1, "{result}");
        assert_eq!(env.calls(name), 1, "{name}");
    }
    assert!(result.stdout.ends_with("\n3 succeeded, 0 failed, 0 unknown, 0 pending\n"), "{result}");
    assert_eq!(result.stderr.matches("is lost").count(), 2, "{result}");
    assert_eq!(result.stderr.matches("the connection is back").count(), 2, "{result}");
    Ok(())
}

#[tokio::test]
async fn create_waits_for_its_users_and_sends_once() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    env.users.create_user(&env.pool, "alice").await?;
    // Of the same ticket, and not in the list.
    env.apply(&env.request("other", "other", "suspend: true\nticket: INC-7")).await?;
    let create = ["create", "--pool", &env.pool, "--ticket", "INC-7", "--from", "-", "--yes", "--wait"];
    let first = env.plugin_with_input(&create, "alice\nghost\n").await?;
    assert_eq!(first.code, Some(1), "{first}");
    assert!(first.stdout.contains(": Succeeded/ResetAccepted\n"), "{first}");
    assert!(first.stdout.contains(": Failed/UserNotFoundException: "), "{first}");
    assert!(first.stdout.ends_with("\n1 succeeded, 1 failed, 0 unknown, 0 pending\n"), "{first}");
    let again = env.plugin_with_input(&create, "alice\nghost\n").await?;
    assert_eq!(again.code, Some(1), "{again}");
    assert!(again.stderr.contains("0 created, 2 unchanged"), "{again}");
    let sorted = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(sorted(&again.stdout), sorted(&first.stdout));
    let alone = env.plugin_with_input(&create, "alice\n").await?;
    assert_eq!((alone.code, env.calls("alice")), (Some(0), 1), "{alone}");
    Ok(())
}

#[tokio::test]
async fn a_watch_ends_by_timeout_or_interrupt() -> Result<()> {
    let env = Environment::start().await?;
    let operator = env.run().await?;
    suspended(&env, "held").await?;
    let late = env.plugin(&["watch", "--ticket", "INC-7", "--timeout", "0"]).await?;
    assert_eq!(late.code, Some(3), "{late}");
    assert_eq!(late.stdout, "0 succeeded, 0 failed, 0 unknown, 1 pending (1 Suspended)\n");
    assert!(late.stderr.contains("\n  kubectl cognito-reset watch --ticket INC-7 -n default\n"), "{late}");
    let none = env.plugin(&["watch", "held", "absent"]).await?;
    assert!(none.code == Some(5) && none.stderr.contains("no request absent"), "{none}");

    let line = Line::of(&env).await?;
    let interrupted = line.interrupted(&["watch", "held", "-o", "json"]).await?;
    let stderr = String::from_utf8_lossy(&interrupted.stderr);
    assert_eq!(interrupted.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("\n  kubectl cognito-reset watch held -n default\n"), "{stderr}");
    let stdout = String::from_utf8_lossy(&interrupted.stdout);
    assert!(stdout.starts_with(r#"{"deleted":0,"event":"tally""#), "{stdout}");
    assert_eq!(env.state("held").await?, "Pending/Suspended");

    // A deletion is reported as such, and the operator is not needed for it.
    drop(operator);
    let watch = async { line.plugin.run(&["watch", "held"]).await };
    let delete = async {
        line.attached_after(line.watches()).await?;
        env.kubectl(&["delete", "prr", "held"]).await
    };
    let (result, deleted) = tokio::join!(watch, delete);
    deleted?;
    let result: KubectlResult = result?;
    assert!(result.code == Some(4) && result.stdout.starts_with("held: deleted before"), "{result}");
    Ok(())
}
