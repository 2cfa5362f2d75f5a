//! The gates that hold a request back, the changes that open them, and the status meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use http::Method;
use serde_json::Value;
use testbed::environment::{Environment, LIMIT, condition};
use testbed::{Fault, Matcher, Options, Reply, eventually};
use tokio::time::sleep;

#[tokio::test]
async fn a_request_waits_for_its_grant_in_either_order() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    env.ask("early").await?;
    env.becomes("early", "Pending/NoMatchingGrant").await?;
    // A hold has precedence over every grant, so that no step opens the gate for a moment. A
    // request without a grant does not show it.
    env.hold_in_force("kill-switch", "").await?;
    env.grant("one", "namespaces: [default]\nroleARN: arn:aws:iam::123456789012:role/one").await?;
    env
        .grant(
            "two",
            "namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: default}}\nroleARN: arn:aws:iam::123456789012:role/two",
        )
        .await?;
    env.ask("late").await?;
    env.becomes("late", "Pending/UserPoolHeld").await?;
    env.kubectl(&["delete", "poolhold", "kill-switch"]).await?;
    env.becomes("late", "Pending/ConflictingGrants").await?;
    env.hold_in_force("kill-switch", "").await?;
    env.becomes("late", "Pending/UserPoolHeld").await?;
    env.kubectl(&["delete", "poolgrant", "one", "two"]).await?;
    env.grant("expiring", "namespaceSelector: {matchLabels: {team: support}}\nrequireNotAfter: true").await?;
    env.kubectl(&["delete", "poolhold", "kill-switch"]).await?;
    env.becomes("late", "Pending/NoMatchingGrant").await?;
    env.kubectl(&["label", "namespace", "default", "team=support"]).await?;
    env.becomes("late", "Pending/NotAfterRequired").await?;
    assert_eq!((env.calls("early"), env.calls("late")), (0, 0));
    env.grant("named", "namespaces: [default]\nusernamePattern: \"early|la.*\"").await?;
    for name in ["early", "late"] {
        assert_eq!(env.ended(name).await?, "Succeeded/ResetAccepted", "{name}");
        assert_eq!(env.calls(name), 1, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_grant_reports_whether_it_can_match() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    env.grant("broken", "namespaces: [default]\nusernamePattern: \"(\"").await?;
    env.grant("nowhere", "namespaces: [not-there-yet]").await?;
    let ready = async |name: &str, wanted: &str| {
        eventually(LIMIT, format!("{name} to be {wanted}"), async || {
            let grant = env.get("poolgrant", name).await?;
            let ready = condition(&grant, "Ready");
            let seen = format!("{}/{}", ready["status"], ready["reason"]).replace('"', "");
            ensure!(seen == wanted, "{seen}");
            anyhow::Ok(grant)
        })
        .await
    };
    let broken = ready("broken", "False/InvalidUsernamePattern").await?;
    assert_eq!(condition(&broken, "Stalled")["status"], "True");
    ready("everyone", "True/Valid").await?;
    let nowhere = ready("nowhere", "False/NoNamespaceMatches").await?;
    assert!(condition(&nowhere, "Stalled").is_null());
    env.kubectl(&["create", "namespace", "not-there-yet"]).await?;
    ready("nowhere", "True/Valid").await?;
    Ok(())
}

/// Returns the grant, once one of its conditions is as wanted, such as `Ready
/// False/ConflictingGrants`.
async fn grant_says(env: &Environment, name: &str, wanted: &str) -> Result<serde_json::Value> {
    eventually(LIMIT, format!("{name} to say {wanted}"), async || {
        let grant = env.get("poolgrant", name).await?;
        let stands = condition(&grant, wanted.split(' ').next().unwrap_or_default());
        let seen = format!("{} {}/{}", stands["type"], stands["status"], stands["reason"]).replace('"', "");
        ensure!(seen == wanted, "{seen}");
        anyhow::Ok(grant)
    })
    .await
}

/// Waits for an Event of this type and reason about a grant.
async fn grant_event(env: &Environment, name: &str, wanted: &str) -> Result<()> {
    eventually(LIMIT, format!("the event {wanted} of {name}"), async || {
        let events = env.list("events").await?;
        let reported = |event: &Value| {
            let [type_, reason] = ["type", "reason"].map(|field| event[field].as_str().unwrap_or_default());
            event["regarding"]["name"] == name && format!("{type_} {reason}") == wanted
        };
        ensure!(events.iter().any(reported), "{events:?}");
        anyhow::Ok(())
    })
    .await
}

#[tokio::test]
async fn a_grant_reports_its_namespaces_and_conflicting_grants() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    let before = grant_says(&env, "everyone", "Ready True/Valid").await?["status"]["matchedNamespaces"].as_i64();
    env.kubectl(&["create", "namespace", "another"]).await?;
    eventually(LIMIT, "another namespace to be counted", async || {
        let seen = env.get("poolgrant", "everyone").await?["status"]["matchedNamespaces"].as_i64();
        ensure!(seen == before.map(|count| count + 1), "{seen:?}");
        anyhow::Ok(())
    })
    .await?;
    env.grant("by-role", "namespaces: [default]\nroleARN: arn:aws:iam::123456789012:role/one").await?;
    for (name, other) in [("everyone", "by-role"), ("by-role", "everyone")] {
        let grant = grant_says(&env, name, "Ready False/ConflictingGrants").await?;
        assert_eq!(grant["status"]["conflictsWith"], serde_json::json!([other]), "{name}");
        grant_event(&env, name, "Warning ConflictingGrants").await?;
    }
    env.kubectl(&["delete", "poolgrant", "by-role"]).await?;
    let alone = grant_says(&env, "everyone", "Ready True/Valid").await?;
    assert!(alone["status"]["conflictsWith"].is_null());
    grant_event(&env, "everyone", "Normal Valid").await?;
    Ok(())
}

#[tokio::test]
async fn a_grant_reports_whether_its_role_can_be_assumed() -> Result<()> {
    let env = Environment::start().await?;
    env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    let sts = || Matcher::new(|seen| String::from_utf8_lossy(&seen.body).contains("Action=AssumeRole"));
    let refuses = env.cognito.always(sts(), Fault::Respond(Reply::new(403, "<ErrorResponse/>")));
    let role = "arn:aws:iam::123456789012:role/password-reset";
    env.grant("by-role", &format!("namespaces: [default]\nroleARN: {role}\nexternalID: our-cluster")).await?;
    let _operator = env.run_with(env.operator().args(["--role-check-interval=2s"])).await?;
    let refused = grant_says(&env, "by-role", "RoleAssumable False/RoleNotAssumable").await?;
    assert_eq!(condition(&refused, "Ready")["status"], "True");
    grant_event(&env, "by-role", "Warning RoleNotAssumable").await?;
    env.ask("waits").await?;
    env.users.create_user(&env.pool, "other").await?;
    eventually(LIMIT, "the request's own try", async || (refuses.hits() >= 3).then_some(())).await?;
    assert!(env.record("waits").await?.is_none(), "nothing is claimed without the role");
    refuses.remove();
    grant_says(&env, "by-role", "RoleAssumable True/RoleAssumed").await?;
    grant_event(&env, "by-role", "Normal RoleAssumed").await?;
    assert_eq!(env.ended("waits").await?, "Succeeded/ResetAccepted");
    let uid = env.kubectl(&["get", "poolgrant", "by-role", "-o", "jsonpath={.metadata.uid}"]).await?;
    let trial = format!("RoleSessionName=role-check-{uid}");
    let trials = || {
        let bodies = env.cognito.requests().into_iter().map(|request| request.seen.body);
        bodies
            .map(|body| String::from_utf8_lossy(&body).into_owned())
            .filter(|body| body.contains(&trial))
            .collect::<Vec<_>>()
    };
    let first = trials().first().cloned().unwrap_or_default();
    for part in
        ["ExternalId=our-cluster", "cognito-reset.dev%2Fnamespace", "Value=by-role-----", "cognito-reset.dev%2Fuid"]
    {
        assert!(first.contains(part), "{part} in {first}");
    }
    // The trial is repeated, and its result does not change.
    env.api.forget();
    let so_far = trials().len();
    eventually(LIMIT, "further trials", async || (trials().len() >= so_far + 3).then_some(())).await?;
    let reported =
        env.api.requests().into_iter().filter(|request| request.seen.path.contains("userpoolgrants/by-role"));
    assert_eq!(reported.filter(|request| request.seen.method != Method::GET).count(), 0);
    Ok(())
}

#[tokio::test]
async fn only_the_oldest_pending_requests_of_a_namespace_proceed() -> Result<()> {
    let env = Environment::start().await?;
    env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    env.grant("limited", "namespaces: [\"*\"]\nmaxPendingPerNamespace: 2").await?;
    let _operator = env.run().await?;
    // Among requests of one second, the name decides.
    for name in ["a-held", "b-held", "c-waits", "d-waits", "e-waits"] {
        env.users.create_user(&env.pool, name).await?;
        let held = if name.ends_with("held") { "suspend: true" } else { "" };
        env.apply(&env.request(name, name, held)).await?;
        env.becomes(name, if held.is_empty() { "Pending/PendingLimitReached" } else { "Pending/Suspended" }).await?;
    }
    env.kubectl(&["create", "namespace", "elsewhere"]).await?;
    env.users.create_user(&env.pool, "elsewhere").await?;
    let elsewhere = env.request("elsewhere", "elsewhere", "").replace("namespace: default", "namespace: elsewhere");
    env.apply(&elsewhere).await?;
    eventually(LIMIT, "the other namespace's request to be sent", async || (env.calls("elsewhere") == 1).then_some(()))
        .await?;
    assert_eq!(["c-waits", "d-waits", "e-waits"].map(|name| env.calls(name)), [0, 0, 0]);
    // One place is enough for all waiting requests, one after the other, if the first one ends or
    // is deleted.
    env.kubectl(&["delete", "prr", "a-held"]).await?;
    for name in ["c-waits", "d-waits", "e-waits"] {
        assert_eq!(env.ended(name).await?, "Succeeded/ResetAccepted");
        assert_eq!(env.calls(name), 1, "{name}");
    }
    let sent: Vec<_> =
        env.cognito.operation("AdminResetUserPassword").iter().filter_map(|call| call.seen.user()).collect();
    let order: Vec<_> = sent.iter().map(|(_, user)| user.as_str()).filter(|user| user.ends_with("waits")).collect();
    assert_eq!(order, ["c-waits", "d-waits", "e-waits"]);
    env.becomes("b-held", "Pending/Suspended").await?;
    Ok(())
}

#[tokio::test]
async fn a_grant_taken_away_stops_what_has_not_been_claimed() -> Result<()> {
    let env = Environment::start().await?;
    let operator = env.operator().args(["--read-timeout=30s"]);
    let _operator = env.run_with(operator).await?;
    env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    env.kubectl(&["label", "namespace", "default", "team=support"]).await?;
    let suspend = ["patch", "poolgrant", "by-label", "--type=merge", "-p", r#"{"spec":{"suspend":true}}"#];
    let stricter = ["patch", "poolgrant", "by-label", "--type=merge", "-p", r#"{"spec":{"requireApproval":true}}"#];
    let here = ["patch", "poolgrant", "by-role", "--type=merge", "-p", r#"{"spec":{"namespaces":["default"]}}"#];
    for (name, change, wanted) in [
        ("suspended", &suspend[..], "Pending/GrantSuspended"),
        ("stricter", &stricter, "Pending/RequesterUnverified"),
        ("contradicted", &here, "Pending/ConflictingGrants"),
        ("unlabelled", &["label", "namespace", "default", "team-"], "Pending/NoMatchingGrant"),
        ("deleted", &["delete", "poolgrant", "by-label"], "Pending/NoMatchingGrant"),
    ] {
        env.kubectl(&["label", "namespace", "default", "team=support", "--overwrite"]).await?;
        env.grant(
            "by-label",
            "namespaceSelector: {matchLabels: {team: support}}\nsuspend: false\nrequireApproval: false",
        )
        .await?;
        env.grant("by-role", "namespaces: [elsewhere]\nroleARN: arn:aws:iam::123456789012:role/one").await?;
        // Its user is being read, which comes right before the claim.
        let reads =
            Matcher::operation("AdminGetUser").and(move |seen| seen.user().is_some_and(|(_, user)| user == name));
        let rule = env.cognito.once(reads, Fault::Hold);
        env.ask(name).await?;
        let (held, since) = (rule.held(LIMIT).await?, Instant::now());
        env.kubectl(change).await?;
        // Another request for the same user, which has to wait anyway, shows when the operator
        // knows of the change.
        let canary = format!("{name}-canary");
        env.apply(&env.request(&canary, name, "")).await?;
        env.becomes(&canary, wanted).await?;
        eventually(LIMIT, "what was read to be older than a second", async || {
            (since.elapsed() > Duration::from_millis(1200)).then_some(())
        })
        .await?;
        held.release();
        env.becomes(name, wanted).await?;
        assert!(env.record(name).await?.is_none(), "{name} is claimed");
        assert_eq!(env.calls(name), 0, "{name}");
        env.kubectl(&["delete", "prr", name, &canary]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn pattern_tests_the_user_and_not_the_spelling() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    env.grant("no-addresses", "namespaces: [default]\nusernamePattern: \"[^@]+\"").await?;
    // Cognito accepts the `sub` as a user name.
    let ceo = r#"{"Username":"by-sub","UserStatus":"CONFIRMED","Enabled":true,"UserAttributes":[{"Name":"sub","Value":"by-sub"},{"Name":"email","Value":"ceo@corp.example"}]}"#;
    let reads_of = |name: &'static str| {
        Matcher::operation("AdminGetUser").and(move |seen| seen.user().is_some_and(|(_, user)| user == name))
    };
    let read = env.cognito.always(reads_of("by-sub"), Fault::Respond(Reply::new(200, ceo)));
    env.ask("by-sub").await?;
    env.becomes("by-sub", "Pending/NoMatchingGrant").await?;
    // What was read is remembered: a change of a grant costs no other read.
    env.grant("elsewhere", "namespaces: [elsewhere]").await?;
    env.ask("plain").await?;
    assert_eq!(env.ended("plain").await?, "Succeeded/ResetAccepted");
    assert_eq!((read.hits(), env.calls("by-sub")), (1, 0));
    // An alias of a user whose name matches.
    let alias = "alias@corp.example";
    let named = r#"{"Username":"by-alias","UserStatus":"CONFIRMED","Enabled":true,"UserAttributes":[{"Name":"sub","Value":"7"},{"Name":"email","Value":"alias@corp.example"}]}"#;
    env.users.create_user(&env.pool, alias).await?;
    env.cognito.always(reads_of(alias), Fault::Respond(Reply::new(200, named)));
    env.apply(&env.request("by-alias", alias, "")).await?;
    assert_eq!(env.ended("by-alias").await?, "Succeeded/ResetAccepted");
    assert!(env.record("by-sub").await?.is_none(), "it is claimed");
    // A pattern allows nothing while the user cannot be read.
    let denied = Fault::Respond(Reply::aws_error(400, "AccessDeniedException"));
    let rule = env.cognito.always(reads_of("unread"), denied);
    env.ask("unread").await?;
    eventually(LIMIT, "the user to be read several times", async || (rule.hits() >= 3).then_some(())).await?;
    assert_eq!(env.calls("unread"), 0);
    rule.remove();
    assert_eq!(env.ended("unread").await?, "Succeeded/ResetAccepted");
    env.apply(&env.request("nobody", "nobody", "")).await?;
    assert_eq!(env.ended("nobody").await?, "Failed/UserNotFoundException");
    assert_eq!(env.calls("nobody"), 0);
    Ok(())
}

#[tokio::test]
async fn grant_that_asks_for_an_approval_does_not_block_another_one() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    // The role of the first grant counts only for what is approved.
    env.grant(
        "approved",
        "namespaces: [default]\nrequireApproval: true\nroleARN: arn:aws:iam::123456789012:role/reset",
    )
    .await?;
    env.ask("by-everyone").await?;
    assert_eq!(env.ended("by-everyone").await?, "Succeeded/ResetAccepted");
    // Before the user is read, the first pattern seems to decide on the role.
    env.kubectl(&["delete", "poolgrant", "everyone", "approved"]).await?;
    env.grant("a", "namespaces: [default]\nusernamePattern: \"a.*\"\nroleARN: arn:aws:iam::210987654321:role/reset")
        .await?;
    env.grant("b", "namespaces: [default]\nusernamePattern: \"bob\"").await?;
    let bob = r#"{"Username":"bob","UserStatus":"CONFIRMED","Enabled":true,"UserAttributes":[{"Name":"sub","Value":"8"},{"Name":"email","Value":"bob@corp.example"}]}"#;
    let reads = Matcher::operation("AdminGetUser").and(|seen| seen.user().is_some_and(|(_, user)| user == "alias"));
    env.cognito.always(reads, Fault::Respond(Reply::new(200, bob)));
    env.ask("alias").await?;
    assert_eq!(env.ended("alias").await?, "Succeeded/ResetAccepted");
    Ok(())
}

#[tokio::test]
async fn suspended_expired_and_late_requests_are_not_sent() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    for name in ["held", "expired", "late"] {
        env.users.create_user(&env.pool, name).await?;
    }
    env.apply(&env.request("held", "held", "suspend: true")).await?;
    env.apply(&env.request("expired", "expired", "notAfter: \"2020-01-01T00:00:00Z\"")).await?;
    env.apply(&env.request("late", "late", "suspend: true\ndeadlineSeconds: 2")).await?;
    assert_eq!(env.ended("expired").await?, "Failed/Expired");
    assert_eq!(env.ended("late").await?, "Failed/DeadlineExceeded");
    env.becomes("held", "Pending/Suspended").await?;
    // The ledger says that nothing will be sent before the status says so. It holds when the
    // request is applied again, too.
    for (name, cause) in [("expired", "Expired"), ("late", "DeadlineExceeded")] {
        let record = env.record(name).await?.unwrap_or_default();
        assert_eq!((&record["effect"], &record["closed"]["cause"]), (&"NotPerformed".into(), &cause.into()));
        assert_eq!(record.get("attempts"), None);
        env.kubectl(&["delete", "prr", name]).await?;
        env.apply(&env.request(name, name, "")).await?;
        assert_eq!(env.ended(name).await?, format!("Failed/{cause}"));
        let again = env.get("prr", name).await?;
        let message = condition(&again, "Ready")["message"].to_string();
        assert!(message.contains("use a new name"), "{message}");
    }
    assert_eq!((env.calls("held"), env.calls("expired"), env.calls("late")), (0, 0, 0));
    env.kubectl(&["patch", "prr", "held", "--type=merge", "-p", r#"{"spec":{"suspend":false}}"#]).await?;
    assert_eq!(env.ended("held").await?, "Succeeded/ResetAccepted");
    Ok(())
}

#[tokio::test]
async fn a_deadline_closes_nothing_without_the_time_of_the_server() -> Result<()> {
    let env = Environment::start().await?;
    env.users.create_user(&env.pool, "undated").await?;
    env.apply(&env.request("undated", "undated", "deadlineSeconds: 1")).await?;
    // A cache on the way: its Date is not the API server's present time.
    let rule = env.cache("undated").await?;
    sleep(Duration::from_secs(2)).await;
    let _operator = env.run().await?;
    env.becomes("undated", "Pending/ClockSkew").await?;
    assert_eq!(env.record("undated").await?, None);
    rule.remove();
    assert_eq!(env.ended("undated").await?, "Failed/DeadlineExceeded");
    assert_eq!(env.calls("undated"), 0);
    Ok(())
}

#[tokio::test]
async fn skip_sends_nothing_where_the_user_already_has_to_reset() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    for name in ["skipped", "resent", "unreadable", "unknown"] {
        env.users.create_user(&env.pool, name).await?;
    }
    env.users.reset(&env.pool, "skipped").await?;
    env.users.reset(&env.pool, "resent").await?;
    env.apply(&env.request("skipped", "skipped", "ifResetRequired: Skip")).await?;
    env.apply(&env.request("resent", "resent", "ifResetRequired: Resend")).await?;
    assert_eq!(env.ended("skipped").await?, "Succeeded/AlreadyResetRequired");
    assert_eq!(env.ended("resent").await?, "Succeeded/ResetAccepted");
    assert_eq!((env.calls("skipped"), env.calls("resent")), (0, 1));
    let denied = Fault::Respond(Reply::aws_error(400, "AccessDeniedException"));
    let rule = env.cognito.always(Matcher::operation("AdminGetUser"), denied);
    env.apply(&env.request("unreadable", "unreadable", "ifResetRequired: Skip")).await?;
    // The wait is short here, so it is not shown; nothing must be sent all the same.
    eventually(LIMIT, "the user to be read several times", async || (rule.hits() >= 3).then_some(())).await?;
    assert_eq!(env.calls("unreadable"), 0);
    rule.remove();
    assert_eq!(env.ended("unreadable").await?, "Succeeded/ResetAccepted");
    // Nothing is sent either if Cognito returns an unknown state.
    let unknown = Fault::Respond(Reply::new(200, r#"{"Username":"unknown","UserStatus":"UNKNOWN","Enabled":true}"#));
    let rule = env.cognito.always(Matcher::operation("AdminGetUser"), unknown);
    env.apply(&env.request("unknown", "unknown", "ifResetRequired: Skip")).await?;
    eventually(LIMIT, "the user to be read several times", async || (rule.hits() >= 3).then_some(())).await?;
    assert_eq!(env.calls("unknown"), 0);
    rule.remove();
    assert_eq!(env.ended("unknown").await?, "Succeeded/ResetAccepted");
    Ok(())
}

#[tokio::test]
async fn a_role_session_is_named_and_tagged_after_the_request() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    let role = "arn:aws:iam::123456789012:role/password-reset";
    env.grant("with-role", &format!("namespaces: [default]\nroleARN: {role}\nexternalID: our-cluster")).await?;
    env.ask("with-role").await?;
    assert_eq!(env.ended("with-role").await?, "Succeeded/ResetAccepted");
    let uid = env.kubectl(&["get", "prr", "with-role", "-o", "jsonpath={.metadata.uid}"]).await?;
    let assumed = env
        .cognito
        .requests()
        .into_iter()
        .find(|request| String::from_utf8_lossy(&request.seen.body).contains("RoleSessionName=prr-"));
    let assumed = assumed.map(|request| String::from_utf8_lossy(&request.seen.body).into_owned()).unwrap_or_default();
    for part in [
        &format!("RoleSessionName=prr-{uid}"),
        "ExternalId=our-cluster",
        "cognito-reset.dev",
        "Value=with-role",
        "Value=default",
    ] {
        assert!(assumed.contains(part), "{part} in {assumed}");
    }
    let record = env.record("with-role").await?.unwrap_or_default();
    assert_eq!(record["attempts"][0]["roleARN"], role);
    assert_eq!(record["attempts"][0]["grants"][0], "with-role");
    Ok(())
}

#[tokio::test]
async fn a_role_that_the_grant_no_longer_names_is_not_used() -> Result<()> {
    let env = Environment::start().await?;
    let operator = env.operator().args(["--read-timeout=30s"]);
    let _operator = env.run_with(operator).await?;
    env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    let naming = |role: &str| format!("namespaces: [default]\nroleARN: arn:aws:iam::123456789012:role/{role}");
    env.grant("with-role", &naming("one")).await?;
    // Its user is being read with the first role, which comes right before the claim.
    let rule = env.cognito.once(Matcher::operation("AdminGetUser"), Fault::Hold);
    env.ask("moved").await?;
    let held = rule.held(LIMIT).await?;
    env.grant("with-role", &naming("two")).await?;
    // The operator has written the status of the change, so it knows of the change.
    eventually(LIMIT, "the operator to see the other role", async || {
        let grant = env.get("poolgrant", "with-role").await.ok()?;
        (grant["status"]["observedGeneration"] == grant["metadata"]["generation"]).then_some(())
    })
    .await?;
    held.release();
    assert_eq!(env.ended("moved").await?, "Succeeded/ResetAccepted");
    let record = env.record("moved").await?.unwrap_or_default();
    assert_eq!(record["attempts"][0]["roleARN"], "arn:aws:iam::123456789012:role/two");
    // Each session has a key of its own, which the signature names.
    let requests = env.cognito.requests();
    let keys = |operation: &str| {
        let of = requests.iter().filter(|request| request.seen.operation() == Some(operation));
        let signed = of.filter_map(|request| request.seen.headers.get("authorization")?.to_str().ok());
        signed.filter_map(|text| text.split(['=', '/']).nth(1)).map(str::to_owned).collect::<Vec<_>>()
    };
    let (read, sent) = (keys("AdminGetUser"), keys("AdminResetUserPassword"));
    assert_eq!((read.len(), sent.len()), (2, 1), "{read:?} {sent:?}");
    assert!(read[0] != read[1] && read[1] == sent[0], "read with {read:?}, sent with {sent:?}");
    Ok(())
}

#[tokio::test]
async fn without_credentials_nothing_is_claimed() -> Result<()> {
    let env = Environment::start().await?;
    let bare = env.operator().without_env("AWS_ACCESS_KEY_ID").without_env("AWS_SECRET_ACCESS_KEY");
    let operator = env.run_with(bare.args(["--retry-initial=1s", "--retry-max=10s"])).await?;
    env.ask("bare").await?;
    env.becomes("bare", "Pending/AwsCredentialsUnavailable").await?;
    assert!(env.record("bare").await?.is_none());
    assert_eq!(env.calls("bare"), 0);
    drop(operator);
    let _operator = env.run().await?;
    assert_eq!(env.ended("bare").await?, "Succeeded/ResetAccepted");
    Ok(())
}

#[tokio::test]
async fn nothing_is_written_at_rest() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    env.ask("done").await?;
    env.ended("done").await?;
    env.users.create_user(&env.pool, "held").await?;
    env.apply(&env.request("held", "held", "suspend: true")).await?;
    env.becomes("held", "Pending/Suspended").await?;
    // The Event of the end is the last write. The reads of orphaned claims show that time goes on.
    let events = async || Ok::<_, anyhow::Error>(!env.list("events").await?.is_empty());
    eventually(LIMIT, "the event", async || events().await.ok().filter(|seen| *seen)).await?;
    let reported =
        |seen: &testbed::Seen| seen.method == Method::PUT && seen.path.contains("userpoolgrants/everyone/status");
    let grant_writes = env.api.requests().iter().filter(|request| reported(&request.seen)).count();
    assert_eq!(grant_writes, 1, "a grant has one status, once all namespaces are known");
    env.api.forget();
    let sweeps =
        || env.api.requests().iter().filter(|request| request.seen.path.contains("passwordresetrecords")).count();
    eventually(LIMIT, "several sweeps", async || (sweeps() >= 4).then_some(())).await?;
    let writes: Vec<_> = env.api.requests().into_iter().filter(|request| request.seen.method != Method::GET).collect();
    assert!(writes.is_empty(), "{writes:?}");
    Ok(())
}

#[tokio::test]
async fn an_invalid_object_is_reported_and_delays_no_other_one() -> Result<()> {
    let env = Environment::start().await?;
    env.ask("good").await?;
    env.ask("bad").await?;
    // Looser CRDs, as a newer release may have them, and a value that this operator does not know.
    let crd = env.get("crd", "passwordresetrequests.cognito-reset.dev").await?.to_string();
    let looser = crd.replace(r#""enum":["Resend","Skip"]"#, r#""maxLength":20"#);
    assert_ne!(crd, looser);
    env.kubectl(&["delete", "prr", "bad"]).await?;
    env.apply(&looser).await?;
    eventually(LIMIT, "the looser definition", async || {
        env.apply(&env.request("bad", "bad", "ifResetRequired: Perhaps")).await
    })
    .await?;
    let operator = env.run().await?;
    assert_eq!(env.ended("good").await?, "Succeeded/ResetAccepted");
    env.becomes("bad", "Pending/InvalidObject").await?;
    eventually(LIMIT, "the event", async || {
        let events = env.list("events").await?;
        ensure!(events.iter().any(|event| event["reason"] == "InvalidObject"), "{events:?}");
        anyhow::Ok(())
    })
    .await?;
    let (_, metrics) = operator.page("/metrics").await?;
    assert!(metrics.contains("cognito_reset_invalid_objects_total"), "{metrics}");
    assert!(operator.logs().contains("unable to parse an object"));
    env.ask("later").await?;
    assert_eq!(env.ended("later").await?, "Succeeded/ResetAccepted");
    assert_eq!(env.calls("bad"), 0);
    Ok(())
}

#[tokio::test]
async fn the_budget_of_a_region_spaces_the_calls() -> Result<()> {
    let env = Environment::start().await?;
    let names: Vec<_> = (0..6).map(|number| format!("paced-{number}")).collect();
    for name in &names {
        env.ask(name).await?;
    }
    let _operator = env.run_with(env.operator().args(["--rate=2"])).await?;
    for name in &names {
        assert_eq!(env.ended(name).await?, "Succeeded/ResetAccepted", "{name}");
    }
    let calls = env.cognito.operation("AdminResetUserPassword");
    let span =
        calls.last().map(|call| call.at).zip(calls.first().map(|call| call.at)).map(|(last, first)| last - first);
    // There are five pauses of half a second between six calls. On a busy machine the first call
    // may arrive late, but not by a whole pause.
    assert!(span >= Some(Duration::from_millis(2100)), "{span:?}");
    Ok(())
}

#[tokio::test]
async fn a_namespace_created_again_inherits_a_grant_by_name_alone() -> Result<()> {
    let env = Environment::start_with(Options { controller_manager: true, ..Options::default() }).await?;
    let _operator = env.run().await?;
    env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    let create = async || {
        env.kubectl(&["create", "namespace", "team"]).await?;
        env.kubectl(&["get", "namespace", "team", "-o", "jsonpath={.metadata.uid}"]).await
    };
    let asked = async |name: &str, wanted: &str| {
        env.users.create_user(&env.pool, name).await?;
        env.apply(&env.request(name, name, "").replace("namespace: default", "namespace: team")).await?;
        let reason = format!("--for=jsonpath={{.status.conditions[?(@.type=='Ready')].reason}}={wanted}");
        env.kubectl(&["wait", &format!("prr/{name}"), "-n", "team", &reason, "--timeout=60s"]).await
    };
    let by_uid = format!("namespaces: [team]\nnamespaceUIDs: [{}]", create().await?);
    env.grant("granted", &by_uid).await?;
    asked("by-uid", "ResetAccepted").await?;
    env.kubectl(&["delete", "namespace", "team", "--timeout=60s"]).await?;
    create().await?;
    asked("by-uid-again", "NoMatchingGrant").await?;
    env.grant("granted", "namespaces: [team]").await?;
    asked("by-name", "ResetAccepted").await?;
    assert_eq!((env.calls("by-uid"), env.calls("by-name")), (1, 1));
    Ok(())
}
