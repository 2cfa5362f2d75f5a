//! `doctor`: what it finds in healthy and in broken installations, and what its bundle leaves out.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::environment::{Environment, LIMIT, condition, plugin};
use testbed::{KubectlResult, Options, Pool, eventually};

/// Returns the findings of `-o json` with this severity, each as `SUBJECT: TEXT`.
fn found(result: &KubectlResult, severity: &str) -> Result<Vec<String>> {
    let findings: Vec<Value> = serde_json::from_str(&result.stdout).with_context(|| result.to_string())?;
    let found = findings.iter().filter(|finding| finding["severity"] == severity);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(found.map(|finding| format!("{}: {}", text(&finding["subject"]), text(&finding["text"]))).collect())
}

/// Fails unless one of the findings begins like this.
fn has(findings: &[String], begin: &str) {
    assert!(findings.iter().any(|finding| finding.starts_with(begin)), "{begin:?} is missing: {findings:#?}");
}

/// Reports the replicas of the operator as ready, as its controllers would, and waits until the
/// operator has looked at the grant.
async fn settled(env: &Environment) -> Result<()> {
    let status = r#"{"status":{"observedGeneration":1,"replicas":2,"readyReplicas":2}}"#;
    let patch = ["patch", "deployment", "cognito-reset-operator", "-n", "cognito-reset-system"];
    env.kubectl(&[&patch[..], &["--subresource=status", "--type=merge", "-p", status]].concat()).await?;
    eventually(LIMIT, "the grant to be ready", async || {
        let ready = condition(&env.get("poolgrant", "everyone").await?, "Ready");
        ensure!(ready["status"] == "True", "{ready}");
        anyhow::Ok(())
    })
    .await
}

#[tokio::test]
async fn a_healthy_installation_has_nothing_to_report() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run_with(env.replica("one", Some("10s"))).await?;
    settled(&env).await?;
    let result = env.plugin(&["doctor", "--pool", &env.pool, "-o", "json"]).await?;
    assert_eq!((found(&result, "fail")?, found(&result, "warn")?, result.code), (vec![], vec![], Some(0)), "{result}");
    assert_eq!(found(&result, "skipped")?, Vec::<String>::new());
    let ok = found(&result, "ok")?;
    for subject in [
        "you: admin",
        "permissions: in namespace default you may create requests",
        "crds: installed",
        "schemas: the CRDs have every field",
        "version: operator and plugin are",
        "account: system:serviceaccount:cognito-reset-system:cognito-reset-operator has every",
        "policies: ledger, requester and approval",
        "leader: one_",
        "grants: everyone allows",
        "holds: no hold applies",
        "region: the pool is in eu-west-1",
        "backlog: no request is pending in namespace default",
        "clock: your clock and that of the API server agree",
    ] {
        has(&ok, subject);
    }
    let lines = env.plugin(&["doctor", "--pool", &env.pool]).await?;
    assert_eq!(lines.stdout.lines().count(), ok.len(), "{lines}");
    // The same with a hold, which an operator reports and a responder wrote.
    env.hold_in_force("incident", "").await?;
    let held = env.plugin(&["doctor", "-A"]).await?;
    assert_eq!(held.code, Some(5), "{held}");
    assert!(held.stdout.starts_with("fail") && held.stdout.contains("incident has held every pool"), "{held}");
    Ok(())
}

#[tokio::test]
async fn a_cluster_without_crds_is_named_first() -> Result<()> {
    let cluster = Pool::of_this_process().lease(Options::default()).await?;
    let plugin = cluster.as_admin().with_program(plugin());
    let shown = plugin.run(&["doctor"]).await?;
    assert_eq!(shown.code, Some(5), "{shown}");
    let crds = shown.stdout.lines().find(|line| line.contains("crds")).unwrap_or_default();
    assert!(crds.starts_with("fail") && crds.contains("kubectl apply -k deploy/kustomize/crds"), "{shown}");
    let nowhere = plugin.run(&["doctor", "--kubeconfig", "/nowhere"]).await?;
    assert_eq!(nowhere.code, Some(2), "{nowhere}");
    Ok(())
}

#[tokio::test]
async fn what_is_missing_is_reported_with_the_way_out() -> Result<()> {
    let env = Environment::start().await?;
    env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    env.kubectl(&["delete", "clusterrolebinding", "cognito-reset-operator"]).await?;
    env.kubectl(&["delete", "validatingadmissionpolicybinding", "cognito-reset-settle"]).await?;
    let result = eventually(LIMIT, "the account to lack its permissions", async || {
        let result = env.plugin(&["doctor", "--pool", &env.pool, "-o", "json"]).await?;
        ensure!(result.stdout.contains("lacks get passwordresetrequests"), "{result}");
        Ok(result)
    })
    .await?;
    assert_eq!(result.code, Some(5), "{result}");
    let failed = found(&result, "fail")?;
    has(&failed, "leader: there is no Lease cognito-reset-operator: no operator has started here");
    has(&failed, "grants: no UserPoolGrant allows");
    has(&found(&result, "warn")?, "policies: the policy cognito-reset-settle is not there");
    let refused = env.plugin(&["doctor", "--pool", "x y"]).await?;
    assert_eq!(refused.code, Some(2), "{refused}");
    assert!(refused.stderr.contains("--pool"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn a_requester_sees_what_a_requester_may() -> Result<()> {
    let env = Environment::start().await?;
    let role = "--clusterrole=cognito-reset-requester";
    env.kubectl(&["create", "rolebinding", "support", role, "--user=support"]).await?;
    let result = eventually(LIMIT, "the role to be in effect", async || {
        let result = env.plugin(&["doctor", "--as", "support", "-o", "json"]).await?;
        ensure!(result.stdout.contains("you may create requests"), "{result}");
        Ok(result)
    })
    .await?;
    assert_eq!(found(&result, "fail")?, Vec::<String>::new(), "{result}");
    assert_eq!(result.code, Some(0), "{result}");
    let skipped = found(&result, "skipped")?;
    for subject in ["leader:", "operator:", "account:", "policies:", "grants: you may not list grants", "holds:"] {
        has(&skipped, subject);
    }
    assert!(result.stdout.contains("the ClusterRole cognito-reset-auditor allows it"), "{result}");
    has(&found(&result, "ok")?, "backlog: no request is pending");
    Ok(())
}

#[tokio::test]
async fn a_bundle_has_no_marked_user() -> Result<()> {
    const MARKED: &str = "marked-user";
    let env = Environment::start().await?;
    let _operator = env.run_with(env.replica("one", Some("10s"))).await?;
    env.ask(MARKED).await?;
    assert_eq!(env.ended(MARKED).await?, "Succeeded/ResetAccepted");
    env.hold("incident", "usernames: [marked-user]").await?;
    let texts = "ticket: marked-user\nreason: marked-user called\nonBehalfOf: marked-user\nsuspend: true";
    env.apply(&env.request("waits", MARKED, texts)).await?;
    env.kubectl(&["annotate", "prr", "waits", "note=marked-user"]).await?;
    let file = env.cluster.directory().join("bundle.json");
    let path = file.to_str().context("the path")?;
    let user = ["--as", "marked-user@example.com", "--as-group", "system:masters"];
    let written = env.plugin(&[&["doctor", "--bundle", path][..], &user].concat()).await?;
    assert!(written.stderr.contains("read it before you publish it"), "{written}");
    assert!(written.stdout.contains(MARKED), "the findings on the screen name you: {written}");
    let text = std::fs::read_to_string(&file)?;
    assert!(!text.contains("marked"), "{text}");
    let bundle: Value = serde_json::from_str(&text)?;
    let requests = bundle["requests"]["items"].as_array().context("requests")?;
    let record = &bundle["records"]["items"][0];
    assert_eq!(requests.len(), 2);
    assert_eq!(record["effect"], "Performed");
    assert!(requests.iter().any(|request| request["metadata"]["name"] == record["request"]["name"]), "{bundle}");
    assert_eq!(bundle["holds"]["items"][0]["spec"]["usernames"][0], record["username"], "they stay comparable");
    let again = env.plugin(&["doctor", "--bundle", path]).await?;
    assert!(again.code == Some(2) && again.stderr.contains("name a new one"), "{again}");
    Ok(())
}

#[tokio::test]
async fn a_request_that_waits_shows_its_cause() -> Result<()> {
    let env = Environment::start().await?;
    let without = env.replica("one", Some("10s")).without_env("AWS_ACCESS_KEY_ID").without_env("AWS_SECRET_ACCESS_KEY");
    let _operator = env.run_with(without.args(["--retry-initial=5s", "--retry-max=5s"])).await?;
    env.ask("alice").await?;
    env.becomes("alice", "Pending/AwsCredentialsUnavailable").await?;
    let shown = env.plugin(&["doctor"]).await?;
    assert_eq!(shown.code, Some(5), "{shown}");
    let first = shown.stdout.lines().next().unwrap_or_default();
    assert!(first.contains("1 request waits as AwsCredentialsUnavailable, the oldest default/alice"), "{shown}");
    assert!(first.contains("give the operator's service account an IAM role"), "{shown}");
    let nowhere = env.plugin(&["doctor", "-n", "suport"]).await?;
    assert!(nowhere.stdout.contains("the namespace suport does not exist; name another one with -n"), "{nowhere}");
    Ok(())
}
