//! `create`: what is created, and that the same command creates nothing again.

use anyhow::{Result, ensure};
use testbed::{
    environment::{Environment, LIMIT, plugin, root},
    eventually,
};

const REFUSE: &str = "deploy/kustomize/components/refuse-unverified/validatingadmissionpolicy.yaml";

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
    assert_eq!(refused.code, Some(2), "{refused}");
    assert!(refused.stderr.contains("--reason: "), "{refused}");
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

#[tokio::test]
async fn the_screen_shows_what_the_list_means() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    env.ask("alice").await?;
    env.ended("alice").await?;
    env.hold("incident", "usernames: [bob]").await?;
    // The request of another namespace resets the same user.
    env.kubectl(&["create", "namespace", "elsewhere"]).await?;
    env.apply(&env.request("bob", "bob", "").replace("namespace: default", "namespace: elsewhere")).await?;
    env.kubectl(&["patch", "poolgrant", "everyone", "--type=merge", "-p", r#"{"spec":{"maxResetsPerMinute":30}}"#])
        .await?;
    let shown = env.plugin(&create(&env, &["alice", "bob", "--dry-run=server", "--mail-quota", "1"])).await?;
    assert!(shown.ok && env.list("prr").await?.len() == 1, "{shown}");
    for wanted in [
        "new           2\n",
        "reset before  1 of these users, by 1 request of another name, the last at 2",
        "still open    1 of these users, by requests that wait",
        "grants        1 allowed by everyone; 1 held\n",
        "holds         1 held by incident until it is deleted: incident 1042\n",
        "time          at least 2 s, not counting the holds, at 10 resets a second for the account and Region (the default of the operator: its Deployment cognito-reset-system/cognito-reset-operator sets no --rate), and 30 a minute by the grant everyone\n",
        "messages      up to 2, more than the 1 of --mail-quota",
        "to stop it: kubectl cognito-reset suspend --ticket HELP-1 --pool eu-west-1_",
        "2 new, 0 unchanged; nothing was created",
    ] {
        assert!(shown.stderr.contains(wanted), "{wanted} {shown}");
    }
    Ok(())
}

#[tokio::test]
async fn the_screen_knows_what_deleted_requests_did() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    env.ask("alice").await?;
    env.ended("alice").await?;
    env.kubectl(&["delete", "prr", "alice"]).await?;
    let same = env.plugin(&create(&env, &["alice", "--name", "alice", "--dry-run=server"])).await?;
    assert!(same.ok && same.stderr.contains("ended before  1 of these users, by a request of the same name"), "{same}");
    assert!(!same.stderr.contains("messages"), "{same}");
    let other = env.plugin(&create(&env, &["alice", "bob", "--dry-run=server"])).await?;
    assert!(other.stderr.contains("reset before  1 of these users, by 1 request of another name, the last"), "{other}");
    Ok(())
}

#[tokio::test]
async fn what_was_created_is_counted_where_output_fails() -> Result<()> {
    let env = Environment::start().await?;
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full")?;
    let output = std::process::Command::new(plugin())
        .args(create(&env, &["alice", "bob", "--yes", "-o", "name"]))
        .env("KUBECONFIG", env.cluster.kubeconfig())
        .stdin(std::process::Stdio::null())
        .stdout(full)
        .output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{stderr}");
    assert!(stderr.contains("2 of 2 were created; the same command goes on"), "{stderr}");
    assert_eq!(env.list("prr").await?.len(), 2);
    let past = env.plugin(&create(&env, &["carol", "--yes", "--not-after", "2020-01-01T00:00:00Z"])).await?;
    assert!(past.code == Some(2) && past.stderr.contains("--not-after: "), "{past}");
    let again = env.plugin(&create(&env, &["alice", "--yes", "--not-after", "2020-01-01T00:00:00Z"])).await?;
    assert!(again.ok && again.stderr.contains("keep their own notAfter"), "{again}");
    Ok(())
}

#[tokio::test]
async fn a_requester_names_themselves_where_a_policy_demands_it() -> Result<()> {
    let env = Environment::start().await?;
    let role = "--clusterrole=cognito-reset-requester";
    env.kubectl(&["create", "rolebinding", "requesters", role, "--user=jane"]).await?;
    env.kubectl(&["apply", "-f", &root(REFUSE)]).await?;
    eventually(LIMIT, "the policy to take effect", async || {
        let request = env.request("probe", "probe", "");
        let dry_run = ["create", "--dry-run=server", "-f", "-"];
        let probe = env.cluster.as_admin().run_with_input(&dry_run, &request).await?;
        ensure!(probe.stderr.contains("into spec.requestedBy"), "{probe}");
        anyhow::Ok(())
    })
    .await?;
    let jane = env.cluster.kubeconfig_by_certificate("jane")?;
    let jane = env.cluster.as_admin().with_program(plugin()).with_kubeconfig(&jane);
    let shown = jane.run(&create(&env, &["alice", "--dry-run=server"])).await?;
    assert!(shown.ok, "{shown}");
    for wanted in [
        "grants    not known: you lack",
        "holds     not known: you lack",
        "cannot be read (you lack",
        "you may not list all requests",
        "only requests that exist were searched",
    ] {
        assert!(shown.stderr.contains(wanted), "{wanted} {shown}");
    }
    let created = jane.run(&create(&env, &["alice", "--yes"])).await?;
    assert!(created.ok, "{created}");
    assert_eq!(env.list("prr").await?[0]["spec"]["requestedBy"]["username"], "jane");
    Ok(())
}
