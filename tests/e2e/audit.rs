//! The record, the request and the audit log show who had whom reset. The commands are those of
//! `docs/audit.md`.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::environment::{Environment, LIMIT, root};
use testbed::{Options, Page, eventually};

/// Returns the block of the page that has this name.
pub(crate) fn block(name: &str) -> Result<String> {
    Page::read("docs/audit.md")?.script(name)
}

/// Starts with an audit log, and the stamp in effect.
async fn start() -> Result<Environment> {
    let audit_policy = Some(root("deploy/audit/policy.yaml").into());
    let env = Environment::start_with(Options { audit_policy, ..Options::default() }).await?;
    env.kubectl(&["apply", "-f", &root("deploy/kustomize/components/stamp-requester/mutatingadmissionpolicy.yaml")])
        .await?;
    for user in ["carol", "erin"] {
        let user_flag = format!("--user={user}");
        env.kubectl(&["create", "clusterrolebinding", user, "--clusterrole=cluster-admin", &user_flag]).await?;
    }
    env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    env.grant("by-two", "namespaces: [\"*\"]\nrequireApproval: true").await?;
    eventually(LIMIT, "both policies to take effect", async || {
        let (stamped, refused) =
            (env.request("probe", "x", ""), env.request("probe", "x", "requestedBy: {username: x}"));
        let create = ["create", "--dry-run=server", "-o", "json", "--as=carol", "-f", "-"];
        let kubectl = env.cluster.as_admin();
        let made = kubectl.run_with_input(&create, &stamped).await?;
        ensure!(made.stdout.contains("\"username\": \"carol\""), "{made}");
        // The stamp overwrites what was forged, so that the other policy is seen by its annotation.
        kubectl.run_with_input(&create, &refused).await?.success()?;
        ensure!(env.cluster.audit_log()?.contains("cognito-reset-requester/requested-by"), "no annotation yet");
        Ok(())
    })
    .await?;
    Ok(env)
}

const CLAIMS: &str = "reason: reported a phishing mail\nticket: INC-1042\nonBehalfOf: dave\nifResetRequired: Resend";

/// Creates a request by carol, with an approval by erin. An administrator acts as both.
async fn ask(env: &Environment, name: &str, username: &str) -> Result<()> {
    env.users.create_user(&env.pool, username).await?;
    let request = env.request(name, username, CLAIMS);
    env.cluster.as_admin().run_with_input(&["create", "--as=carol", "-f", "-"], &request).await?.success()?;
    let approve = r#"{"spec":{"approved":true}}"#;
    env.kubectl(&["patch", "prr", name, "--as=erin", "--type=merge", "-p", approve]).await?;
    assert_eq!(env.ended(name).await?, "Succeeded/ResetAccepted");
    Ok(())
}

#[tokio::test]
async fn the_record_is_complete_without_its_request() -> Result<()> {
    let env = start().await?;
    let _operator = env.run().await?;
    ask(&env, "inc-1042", "alice").await?;
    let request = env.get("prr", "inc-1042").await?;
    env.kubectl(&["delete", "prr", "inc-1042"]).await?;
    let record = env.record("inc-1042").await?.context("no record")?;
    let attempt = &record["attempts"][0];
    for (field, wanted) in [
        ("requestedBy", json!({ "username": "carol" })),
        ("approvedBy", json!({ "username": "erin" })),
        ("onBehalfOf", json!("dave")),
        ("ticket", json!("INC-1042")),
        ("reason", json!("reported a phishing mail")),
        ("grants", json!(["by-two"])),
        ("requestUID", request["metadata"]["uid"].clone()),
        ("awsRequestID", request["status"]["awsRequestID"].clone()),
        ("evidence", json!("CognitoResponse")),
    ] {
        assert!(!wanted.is_null(), "{field}");
        assert_eq!(attempt[field], wanted, "{field}");
    }
    assert_eq!((&record["effect"], &record["userSub"]), (&json!("Performed"), &request["status"]["userSub"]));
    let time = |field: &str| attempt[field].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let (claimed, sent, settled) = (time("claimedAt"), time("sentAt"), time("settledAt"));
    assert!(claimed.is_some() && claimed <= sent && sent <= settled, "{attempt}");
    Ok(())
}

#[tokio::test]
async fn an_auditor_reads_everything_and_writes_nothing() -> Result<()> {
    let env = start().await?;
    let _operator = env.run().await?;
    ask(&env, "inc-1042", "alice").await?;
    let over = env.request("inc-7", "bob", "ticket: INC-7\nnotAfter: \"2020-01-01T00:00:00Z\"");
    env.cluster.as_admin().run_with_input(&["create", "--as=carol", "-f", "-"], &over).await?.success()?;
    assert_eq!(env.ended("inc-7").await?, "Failed/Expired");
    env.kubectl(&["create", "serviceaccount", "auditor"]).await?;
    let role = "--clusterrole=cognito-reset-auditor";
    env.kubectl(&["create", "clusterrolebinding", "auditor", role, "--serviceaccount=default:auditor"]).await?;
    let token = env.cluster.service_account_token("default", "auditor").await?;
    let kubeconfig = env.cluster.kubeconfig_for(&token, None)?.display().to_string();
    let auditor = env.cluster.as_admin().with_kubeconfig(kubeconfig.as_ref());
    for resource in ["passwordresetrequests", "passwordresetrecords", "userpoolgrants", "userpoolholds"] {
        let resource = format!("{resource}.cognito-reset.dev");
        for (verbs, allowed) in [
            (&["get", "list", "watch"][..], "yes"),
            (&["create", "update", "patch", "delete", "deletecollection", "settle"], "no"),
        ] {
            for verb in verbs {
                let output = auditor.run(&["auth", "can-i", verb, &resource, "-A"]).await?;
                assert_eq!(output.stdout.trim(), allowed, "{verb} {resource}");
            }
        }
    }
    assert_eq!(auditor.run(&["auth", "can-i", "get", "secrets", "-A"]).await?.stdout.trim(), "no");
    let as_auditor = [("KUBECONFIG", kubeconfig.as_str())];
    for (name, finds) in [
        ("all", &["inc-1042", "alice", "Performed", "carol", "erin", "dave", "INC-1042", "by-two", "Expired"][..]),
        ("sessions", &["inc-1042", "carol", "erin"]),
        ("user", &["name: inc-1042", "sentAt:", "awsRequestID:"]),
        ("ticket", &["default/inc-1042"]),
        ("closed", &["Expired\tdefault\tinc-7\tbob\tcarol"]),
        ("unknown", &[]),
        ("grants", &["by-two", env.pool.as_str()]),
    ] {
        let output = env.cluster.script(&block(name)?, &as_auditor).await?;
        for text in finds {
            assert!(output.contains(text), "{name}: {text} is not in {output}");
        }
        assert!(!finds.is_empty() || output.trim().is_empty(), "{name}: {output}");
        assert_eq!(output.contains("inc-7"), ["all", "sessions", "closed"].contains(&name), "{name}: {output}");
    }
    let other_ticket = block("ticket")?.replace("INC-1042", "INC-7");
    assert_eq!(env.cluster.script(&other_ticket, &as_auditor).await?.trim(), "default/inc-7");
    let period = block("period")?;
    let output = env.cluster.script(&period.replace("2026-10-01", "9999-01-01"), &as_auditor).await?;
    let rows: Vec<_> = output.lines().map(|line| line.split(',').collect::<Vec<_>>()).collect();
    ensure!(rows.len() == 3 && rows.iter().all(|row| row.len() == rows[0].len()), "{output}");
    for text in [r#""inc-1042""#, r#""carol",,"erin",,"dave","INC-1042","by-two",,"Performed","CognitoResponse","#] {
        assert!(output.contains(text), "{text} is not in {output}");
    }
    assert!(output.contains(r#""NotPerformed",,"Expired","#), "{output}");
    let later = env.cluster.script(&period.replace("2026-07-01", "9999-01-01"), &as_auditor).await?;
    assert_eq!(later.lines().count(), 1, "{later}");
    Ok(())
}

#[tokio::test]
async fn the_audit_log_shows_who_altered_records_and_policies() -> Result<()> {
    let env = start().await?;
    let _operator = env.run().await?;
    ask(&env, "inc-1042", "alice").await?;
    let log = env.cluster.file("audit.log").display().to_string();
    let find = async |name: &str| env.cluster.script(&block(name)?, &[("AUDIT_LOG", &log)]).await;
    assert_eq!(find("log-records").await?.trim(), "");
    let name = env.record("inc-1042").await?.context("no record")?["metadata"]["name"].clone();
    let name = name.as_str().context("no name")?;
    for (patch, accepted) in [
        (json!([{"op": "replace", "path": "/attempts/0/requestedBy/username", "value": "mallory"}]), true),
        (json!([{"op": "replace", "path": "/effect", "value": "NotPerformed"}]), false),
        (json!([{"op": "replace", "path": "/username", "value": "mallory"}]), false),
        (json!([{"op": "replace", "path": "/request/name", "value": "other"}]), false),
    ] {
        let patch = patch.to_string();
        let output = env.cluster.as_admin().run(&["patch", "prrec", name, "--type=json", "-p", &patch]).await?;
        assert_eq!(output.success().is_ok(), accepted, "{patch}");
    }
    env.kubectl(&["delete", "prrec", name]).await?;
    let found = find("log-records").await?;
    assert_eq!(found.lines().count(), 5, "{found}");
    assert!(found.lines().all(|line| line.contains(name) && line.contains("\tadmin\t")), "{found}");
    assert!(found.contains("\t422") && found.contains("\tdelete\t"), "{found}");
    let binding = "validatingadmissionpolicybinding";
    let before = env.cluster.script(&block("policies")?, &[]).await?;
    assert!(before.contains("cognito-reset-settle") && before.contains("--listen="), "{before}");
    env.kubectl(&["delete", binding, "cognito-reset-settle"]).await?;
    let found = find("log-policies").await?;
    assert!(found.contains("\tdelete\tvalidatingadmissionpolicybindings\tcognito-reset-settle\tadmin\t"), "{found}");
    Ok(())
}

#[tokio::test]
async fn the_audit_log_names_both_users_but_not_who_was_reset() -> Result<()> {
    let env = start().await?;
    let _operator = env.run().await?;
    ask(&env, "reset-of-today", "marked-0x5eed").await?;
    let log = env.cluster.file("audit.log").display().to_string();
    let find = async |name: &str| -> Result<Vec<Value>> {
        let output = env.cluster.script(&block(name)?, &[("AUDIT_LOG", &log)]).await?;
        Ok(output.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
    };
    let of_request = |event: &&Value| event["objectRef"]["name"] == "reset-of-today" && event["verb"] == "create";
    let asked = find("log-ticket").await?;
    let asked = asked.iter().find(of_request).context("the creation is not in the log")?;
    assert_eq!(asked["user"]["username"], "admin");
    assert_eq!(asked["impersonatedUser"]["username"], "carol");
    for (key, wanted) in
        [("requested-by", "carol"), ("user-pool", env.pool.as_str()), ("ticket", "INC-1042"), ("on-behalf-of", "dave")]
    {
        assert_eq!(asked["annotations"][format!("cognito-reset-requester/{key}")], wanted, "{key}");
    }
    let approvals = find("log-approved").await?;
    let approval = approvals.iter().find(|event| event["objectRef"]["name"] == "reset-of-today");
    let approval = approval.context("the approval is not in the log")?;
    assert_eq!(approval["user"]["username"], "admin");
    assert_eq!(approval["impersonatedUser"]["username"], "erin");
    for (key, wanted) in [("approved-by", "erin"), ("requested-by", "carol")] {
        assert_eq!(approval["annotations"][format!("cognito-reset-approval/{key}")], wanted, "{key}");
    }
    assert!(find("log-impersonated").await?.iter().any(|event| of_request(&event)));
    assert!(find("log-grants").await?.iter().any(|event| event["requestObject"]["spec"]["userPoolID"] == env.pool));
    env.hold("stop", "usernames: [marked-0x5eed]").await?;
    let held = find("log-holds").await?;
    assert!(held.iter().any(|event| event["objectRef"]["name"] == "stop" && event["verb"] == "create"));
    let log = env.cluster.audit_log()?;
    let written = |resource: &str, verb: &str| {
        let operator = "system:serviceaccount:cognito-reset-system:cognito-reset-operator";
        let mut events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.any(|event| {
            event["user"]["username"] == operator && event["verb"] == verb && event["objectRef"]["resource"] == resource
        })
    };
    assert!(written("passwordresetrecords", "create") && written("passwordresetrecords", "update"));
    assert!(!written("passwordresetrecords", "get"), "reads of the operator would drown the rest");
    assert!(!log.contains("marked-0x5eed"), "{:?}", log.lines().find(|line| line.contains("marked-0x5eed")));
    Ok(())
}
