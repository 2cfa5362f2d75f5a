//! `create`: what is created, and that the same command creates nothing again.

use anyhow::{Result, ensure};
use testbed::environment::Environment;

/// The arguments of `create` for this pool and ticket.
fn create<'a>(env: &'a Environment, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["create", "--pool", &env.pool, "--ticket", "HELP-1"];
    arguments.extend(more);
    arguments
}

#[tokio::test]
async fn the_same_list_again_creates_nothing() -> Result<()> {
    let env = Environment::start().await?;
    let from = create(&env, &["--from", "-", "--yes"]);
    let first = env.plugin_with_input(&from, "alice\nbob\n").await?;
    assert!(first.ok && first.stderr.contains("2 created, 0 unchanged"), "{first}");
    let again = env.plugin_with_input(&from, "\u{feff}bob\r\nalice\r\ncarol\r\n").await?;
    assert!(again.ok && again.stderr.contains("1 created, 2 unchanged"), "{again}");
    let requests = env.list("prr").await?;
    ensure!(requests.len() == 3, "{requests:?}");
    for request in &requests {
        assert_eq!(request["spec"]["ticket"], "HELP-1");
        assert_eq!(request["metadata"]["labels"]["cognito-reset.dev/ticket"], "HELP-1");
    }
    Ok(())
}

#[tokio::test]
async fn a_list_with_a_bad_line_creates_nothing() -> Result<()> {
    let env = Environment::start().await?;
    let list = "id,mail\n1,alice@example.com\n2,bob smith\n";
    let from = create(&env, &["--from", "-", "--column", "mail", "--yes"]);
    let refused = env.plugin_with_input(&from, list).await?;
    assert_eq!(refused.code, Some(2), "{refused}");
    assert!(refused.stderr.contains("line 3") && refused.stderr.contains("nothing was sent"), "{refused}");
    let unasked = env.plugin_with_input(&create(&env, &["alice"]), "").await?;
    assert_eq!(unasked.code, Some(2), "{unasked}");
    let refused = env.plugin(&create(&env, &["alice", "--yes", "--reason", "two\nlines"])).await?;
    assert_eq!(refused.code, Some(5), "{refused}");
    assert!(refused.stderr.contains("spec.reason"), "{refused}");
    assert!(env.list("prr").await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_name_of_another_user_is_refused() -> Result<()> {
    let env = Environment::start().await?;
    env.apply(&env.request("mine", "alice", "")).await?;
    let same = env.plugin(&create(&env, &["alice", "--name", "mine", "--yes"])).await?;
    assert!(same.ok && same.stderr.contains("0 created, 1 unchanged"), "{same}");
    let refused = env.plugin(&create(&env, &["bob", "--name", "mine", "--yes"])).await?;
    assert_eq!(refused.code, Some(5), "{refused}");
    assert!(refused.stderr.contains("exists for another user") && !refused.stderr.contains("alice"), "{refused}");
    Ok(())
}
