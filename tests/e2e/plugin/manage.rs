//! `suspend`, `resume`, `approve`, `hold`, `release` and `prune`: what is changed, and what is not.

use anyhow::{Result, ensure};
use cognito_reset_core::retention::gitops::Tracker;
use http::Method;
use serde_json::json;
use testbed::environment::{Environment, LIMIT, plugin};
use testbed::{Fault, KubectlResult, Matcher, eventually};

use crate::approval::{People, user_of_alias};

#[tokio::test]
async fn a_ticket_is_suspended_and_resumed() -> Result<()> {
    let env = Environment::start().await?;
    env.hold("until-seen", "").await?;
    let operator = env.run().await?;
    for (name, ticket) in [("a", "INC-7"), ("b", "INC-7"), ("other", "INC-70")] {
        env.users.create_user(&env.pool, name).await?;
        env.apply(&env.request(name, name, &format!("ticket: {ticket}"))).await?;
    }
    let suspend = ["suspend", "--ticket", "INC-7"];
    let first = env.plugin(&suspend).await?;
    assert!(first.ok && first.stderr.contains("2 suspended"), "{first}");
    assert!(first.stderr.contains("does not stop a call that is in flight"), "{first}");
    let again = env.plugin(&suspend).await?;
    assert!(again.ok && again.stderr.contains("0 suspended, 2 suspended before"), "{again}");
    env.kubectl(&["delete", "poolhold", "until-seen"]).await?;
    assert_eq!(env.ended("other").await?, "Succeeded/ResetAccepted");
    for name in ["a", "b"] {
        env.becomes(name, "Pending/Suspended").await?;
    }
    let nobody = env.plugin(&["suspend", "--ticket", "inc-8"]).await?;
    assert_eq!(nobody.code, Some(5), "{nobody}");
    assert!(nobody.stderr.contains("no request of ticket inc-8"), "{nobody}");
    let absent = env.plugin(&["suspend", "absent"]).await?;
    assert!(absent.code == Some(5) && absent.stderr.contains("there is no request absent in namespace"), "{absent}");
    let ended = env.plugin(&["suspend", "other"]).await?;
    assert_eq!(ended.code, Some(5), "{ended}");
    assert!(ended.stderr.contains("1 had ended and cannot be changed"), "{ended}");
    // A selection may have requests that another user has taken out.
    let unasked = env.plugin(&["resume", "--ticket", "INC-7"]).await?;
    assert!(unasked.code == Some(2) && unasked.stderr.contains("pass --yes; nothing was resumed"), "{unasked}");
    // A name with a typing error holds up no other, and is no success.
    let missing = env.plugin(&["resume", "a", "missing"]).await?;
    assert_eq!(missing.code, Some(5), "{missing}");
    for says in ["missing: there is no such request in namespace default", "1 resumed"] {
        assert!(missing.stderr.contains(says), "{missing}");
    }
    let resumed = env.plugin(&["resume", "--ticket", "INC-7", "--pool", &env.pool, "--yes"]).await?;
    assert!(resumed.ok && resumed.stderr.contains("1 resumed"), "{resumed}");
    for name in ["a", "b"] {
        assert_eq!(env.ended(name).await?, "Succeeded/ResetAccepted");
    }
    drop(operator);
    Ok(())
}

impl People {
    async fn approve(&self, user: &str, more: &[&str]) -> Result<KubectlResult> {
        self.0.plugin(&[&["approve", "--as", user], more].concat()).await
    }
}

#[tokio::test]
async fn an_approval_is_for_the_user_that_is_shown() -> Result<()> {
    let people = People::start().await?;
    let env = &people.0;
    let alias = "alias@corp.example";
    env.users.create_user(&env.pool, alias).await?;
    let read = env.cognito.always(Matcher::operation("AdminGetUser"), user_of_alias("ceo", "sub-7"));
    let spec = "requestedBy: {username: mallory}\nticket: HELP-1\nreason: by telephone";
    people.run("mallory", &["create", "-f", "-"], &env.request("a", alias, spec)).await?.success()?;
    // Nobody has read the user yet.
    let unseen = people.approve("bob", &["a", "--yes"]).await?;
    assert_eq!(unseen.code, Some(5), "{unseen}");
    assert!(unseen.stderr.contains("approval would be for an unseen user"), "{unseen}");
    let _operator = env.run().await?;
    env.becomes("a", "Pending/AwaitingApproval").await?;
    eventually(LIMIT, "the user to be shown", async || {
        ensure!(env.get("prr", "a").await?["status"]["userSub"] == "sub-7", "not yet");
        anyhow::Ok(())
    })
    .await?;
    for (arguments, code) in [(&["a"][..], 2), (&["--ticket", "HELP-1", "--yes"], 2), (&["--all"], 2)] {
        let refused = people.approve("bob", arguments).await?;
        assert_eq!(refused.code, Some(code), "{refused}");
        assert!(refused.stderr.contains("nothing was approved"), "{refused}");
    }
    for (user, says) in [
        ("mallory", "the requester cannot approve their own request"),
        ("carol", "approving requires the verb approve"),
        ("carol", "the ClusterRole cognito-reset-approver grants it"),
        ("dave", "you lack the permission"),
    ] {
        let refused = people.approve(user, &["a", "--yes"]).await?;
        assert_eq!(refused.code, Some(5), "{refused}");
        assert!(refused.stderr.contains(says), "{refused}");
    }
    let approved = people.approve("bob", &["a", "--yes"]).await?;
    assert!(approved.ok && approved.stdout.contains("/a approved"), "{approved}");
    for shown in ["alias@corp.example", "ceo (sub sub-7)", "mallory (authenticated)", "HELP-1", "by telephone"] {
        assert!(approved.stderr.contains(shown), "{shown}: {approved}");
    }
    // No policy stamps: the plugin wrote the name.
    assert_eq!(env.get("prr", "a").await?["spec"]["approvedBy"], json!({ "username": "bob" }));
    assert_eq!(env.ended("a").await?, "Succeeded/ResetAccepted");
    let ended = people.approve("bob", &["a", "--yes"]).await?;
    assert!(ended.code == Some(5) && ended.stderr.contains("has ended as Succeeded"), "{ended}");
    read.remove();
    let nobody = env.request("nobody", "nobody", "requestedBy: {username: mallory}");
    people.run("mallory", &["create", "-f", "-"], &nobody).await?.success()?;
    eventually(LIMIT, "the missing user to be shown", async || {
        let nobody = people.approve("bob", &["nobody", "--yes"]).await?;
        ensure!(nobody.code == Some(5), "{nobody}");
        ensure!(nobody.stderr.contains("has no user nobody") && !nobody.stderr.contains("--unseen-user"), "{nobody}");
        anyhow::Ok(())
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn an_approval_is_refused_for_a_namesake() -> Result<()> {
    let people = People::stamped().await?;
    let env = &people.0;
    env.kubectl(&["create", "serviceaccount", "approver"]).await?;
    let role = "--clusterrole=cognito-reset-approver";
    env.kubectl(&["create", "rolebinding", "approver", role, "--serviceaccount=default:approver"]).await?;
    let token = env.cluster.service_account_token("default", "approver").await?;
    let kubeconfig = env.cluster.kubeconfig_for(&token, Some(&env.api.url()))?;
    let account = env.cluster.as_admin().with_program(plugin()).with_kubeconfig(&kubeconfig);
    people.ask("swapped", "").await?;
    let patches = || Matcher::path(Method::PATCH, "/passwordresetrequests/swapped");
    let approve = ["approve", "swapped", "--unseen-user", "--yes"];
    let held = env.api.once(patches(), Fault::Hold);
    let swap = async {
        let held = held.held(LIMIT).await?;
        people.run("mallory", &["delete", "prr", "swapped"], "").await?.success()?;
        let other = env.request("swapped", "somebody-else", "");
        people.run("mallory", &["create", "-f", "-"], &other).await?.success()?;
        held.release();
        anyhow::Ok(())
    };
    let (refused, swapped) = tokio::join!(account.run(&approve), swap);
    let (refused, ()) = (refused?, swapped?);
    assert_eq!(refused.code, Some(5), "{refused}");
    assert!(refused.stderr.contains("was deleted and created again since it was shown"), "{refused}");
    assert_eq!(env.get("prr", "swapped").await?["spec"]["approved"], false);
    // A change of the same object that is not about what was shown does not prevent the approval.
    let held = env.api.once(patches(), Fault::Hold);
    let label = async {
        let held = held.held(LIMIT).await?;
        env.kubectl(&["label", "prr", "swapped", "a=b"]).await?;
        held.release();
        anyhow::Ok(())
    };
    let (approved, labelled) = tokio::join!(account.run(&approve), label);
    labelled?;
    let approved = approved?;
    assert!(approved.ok, "{approved}");
    let by = env.get("prr", "swapped").await?["spec"]["approvedBy"]["username"].clone();
    assert_eq!(by, "system:serviceaccount:default:approver");
    Ok(())
}

#[tokio::test]
async fn a_hold_is_waited_for_and_released() -> Result<()> {
    let env = Environment::start().await?;
    let responder = "--clusterrole=cognito-reset-responder";
    env.kubectl(&["create", "clusterrolebinding", "rita", responder, "--user=rita"]).await?;
    let hold = ["hold", &env.pool, "--reason", "incident 1042", "--as", "rita"];
    // Without an operator, nobody applies it.
    let late = env.plugin(&[&hold[..], &["--timeout", "1s"]].concat()).await?;
    assert_eq!(late.code, Some(3), "{late}");
    assert!(late.stderr.contains("was not seen in force within 1s") && late.stdout.contains("created"), "{late}");
    assert!(late.stderr.contains("its status does not say yet that an operator applies it"), "{late}");
    let operator = env.run().await?;
    env.ask("held").await?;
    env.becomes("held", "Pending/UserPoolHeld").await?;
    let name = env.list("poolhold").await?[0]["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    eventually(LIMIT, "the hold to show the request", async || {
        let same = env.plugin(&hold).await?;
        ensure!(same.ok && same.stdout.contains(&format!("{name} unchanged")), "{same}");
        ensure!(same.stderr.contains("it holds 1 pending request"), "{same}");
        ensure!(same.stderr.contains(&format!("kubectl cognito-reset release {name} ")), "{same}");
        anyhow::Ok(())
    })
    .await?;
    let other = env.plugin(&["hold", "--all-pools", "--reason", "another", "--name", &name, "--as", "rita"]).await?;
    assert!(other.code == Some(5) && other.stderr.contains("exists and holds something else"), "{other}");
    let nothing = ["hold", &env.pool, "--reason", "r", "--namespaces", "suport", "--name", "typing-error"];
    let nothing = env.plugin(&nothing).await?;
    assert!(nothing.code == Some(5) && nothing.stderr.contains("is not ready"), "{nothing}");
    let unasked = env.plugin(&["release", &name, "--as", "rita"]).await?;
    assert!(unasked.code == Some(2) && unasked.stderr.contains("incident 1042"), "{unasked}");
    assert_eq!(env.calls("held"), 0);
    let released = env.plugin(&["release", &name, "--yes", "--as", "rita"]).await?;
    assert!(released.ok && released.stderr.contains("may hold the same requests: typing-error"), "{released}");
    assert_eq!(env.ended("held").await?, "Succeeded/ResetAccepted");
    drop(operator);
    Ok(())
}

#[tokio::test]
async fn only_finished_requests_of_nobody_are_pruned() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    for name in ["done", "tracked", "kept"] {
        env.ask(name).await?;
        assert_eq!(env.ended(name).await?, "Succeeded/ResetAccepted");
    }
    env.apply(&env.request("waits", "waits", "suspend: true")).await?;
    env.becomes("waits", "Pending/Suspended").await?;
    env.kubectl(&["annotate", "prr", "tracked", &format!("{}=x", Tracker::ArgoTrackingId.key())]).await?;
    env.kubectl(&["label", "prr", "kept", "cognito-reset.dev/keep=audit"]).await?;
    let records = env.list("prrec").await?.len();
    let recent = env.plugin(&["prune", "--all", "--keep-since", "1d", "--yes"]).await?;
    assert!(recent.ok && recent.stderr.contains("0 requests ended before"), "{recent}");
    // The API server's times are whole seconds: the end of the last request has to be over.
    let prune = ["prune", "--all", "--keep-since", "0"];
    let dry_run = eventually(LIMIT, "the request to be old enough", async || {
        let dry_run = env.plugin(&[&prune[..], &["--dry-run=server"]].concat()).await?;
        ensure!(dry_run.ok && dry_run.stderr.contains("1 deleted (server dry run)"), "{dry_run}");
        anyhow::Ok(dry_run)
    })
    .await?;
    for kept in ["1 kept: not finished", "1 kept: with the label", "1 kept: tracked by Argo CD"] {
        assert!(dry_run.stderr.contains(kept), "{kept}: {dry_run}");
    }
    assert!(env.exists("prr", "done").await?);
    let unasked = env.plugin(&prune).await?;
    assert!(unasked.code == Some(2) && unasked.stderr.contains("nothing was deleted"), "{unasked}");
    let pruned = env.plugin(&[&prune[..], &["--yes"]].concat()).await?;
    assert!(pruned.ok && pruned.stdout.contains("/done deleted"), "{pruned}");
    let left = env.list("prr").await?;
    let mut left: Vec<_> = left.iter().filter_map(|request| request["metadata"]["name"].as_str()).collect();
    left.sort_unstable();
    assert_eq!(left, ["kept", "tracked", "waits"]);
    assert_eq!(env.list("prrec").await?.len(), records);
    Ok(())
}
