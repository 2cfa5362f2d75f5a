//! The approval that `requireApproval` of a grant demands: it is given once, by somebody other than
//! the requester, and the API server proves who gave it.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::environment::{Environment, LIMIT, root};
use testbed::{Fault, KubectlResult, Matcher, Recorded, Reply, eventually};

const APPROVE: &str = r#"{"spec":{"approved":true}}"#;
const WITHDRAW: &str = r#"{"spec":{"approved":false}}"#;

/// Mallory has every permission in the namespace `default`, bob approves there, carol may patch,
/// and erin has every permission in the cluster.
pub(crate) struct People(pub(crate) Environment);

impl People {
    pub(crate) async fn start() -> Result<Self> {
        let env = Environment::start().await?;
        env.kubectl(&["create", "clusterrole", "all", "--verb=*", "--resource=*.*"]).await?;
        let requests = "--resource=passwordresetrequests.cognito-reset.dev";
        env.kubectl(&["create", "clusterrole", "patch", "--verb=get,patch,update", requests]).await?;
        for (user, role) in [("mallory", "all"), ("bob", "cognito-reset-approver"), ("carol", "patch")] {
            let (role, user_flag) = (format!("--clusterrole={role}"), format!("--user={user}"));
            env.kubectl(&["create", "rolebinding", user, &role, &user_flag]).await?;
        }
        env.kubectl(&["create", "clusterrolebinding", "erin", "--clusterrole=cluster-admin", "--user=erin"]).await?;
        env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
        env.grant("strict", "namespaces: [default]\nrequireApproval: true").await?;
        let people = Self(env);
        people.policy_is_in_effect().await?;
        Ok(people)
    }

    /// Starts with the stamp, once it takes effect.
    pub(crate) async fn stamped() -> Result<Self> {
        let people = Self::start().await?;
        let stamp = root("deploy/kustomize/components/stamp-requester/mutatingadmissionpolicy.yaml");
        people.0.kubectl(&["apply", "-f", &stamp]).await?;
        eventually(LIMIT, "the stamp to take effect", async || {
            let create = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
            let made = people.run("mallory", &create, &people.0.request("probe", "x", "")).await?;
            ensure!(made.stdout.contains("\"mallory\""), "{made}");
            anyhow::Ok(())
        })
        .await?;
        Ok(people)
    }

    /// Policies take effect a moment after they are created.
    async fn policy_is_in_effect(&self) -> Result<()> {
        self.0.apply(&self.0.request("probe", "x", "suspend: true")).await?;
        eventually(LIMIT, "the policy to take effect", async || {
            let patch = ["patch", "prr", "probe", "--type=merge", "--dry-run=server", "-p", APPROVE];
            let output = self.run("carol", &patch, "").await?.refusal()?;
            ensure!(output.contains("requires the verb approve"), "{output}");
            anyhow::Ok(())
        })
        .await?;
        self.0.kubectl(&["delete", "prr", "probe"]).await?;
        Ok(())
    }

    pub(crate) async fn run(&self, user: &str, arguments: &[&str], input: &str) -> Result<KubectlResult> {
        let user = format!("--as={user}");
        let arguments: Vec<_> = arguments.iter().copied().chain([user.as_str()]).collect();
        self.0.cluster.as_admin().run_with_input(&arguments, input).await
    }

    async fn patch(&self, user: &str, name: &str, patch: &str) -> Result<KubectlResult> {
        self.run(user, &["patch", "prr", name, "--type=merge", "-p", patch], "").await
    }

    /// Mallory asks, for a new user of the same name as the request.
    pub(crate) async fn ask(&self, name: &str, spec: &str) -> Result<String> {
        self.0.users.create_user(&self.0.pool, name).await?;
        let request = self.0.request(name, name, spec);
        self.run("mallory", &["apply", "-f", "-"], &request).await?.success()?;
        Ok(request)
    }

    async fn spec(&self, name: &str) -> Result<Value> {
        Ok(self.0.get("prr", name).await?["spec"].clone())
    }
}

#[tokio::test]
async fn a_request_waits_for_the_approval_of_another_user() -> Result<()> {
    let people = People::stamped().await?;
    let env = &people.0;
    let _operator = env.run().await?;
    let file = people.ask("asked", "").await?;
    env.becomes("asked", "Pending/AwaitingApproval").await?;
    // A user with every permission in the namespace has this verb too, and still cannot approve a
    // request of their own.
    let can = people.run("mallory", &["auth", "can-i", "approve", "prr/asked"], "").await?;
    assert_eq!(can.stdout.trim(), "yes");
    for (user, says) in
        [("mallory", "the requester cannot approve their own request"), ("carol", "requires the verb approve")]
    {
        let refused = people.patch(user, "asked", APPROVE).await?.refusal()?;
        assert!(refused.contains(says), "{user}: {refused}");
    }
    let dave = people.patch("dave", "asked", APPROVE).await?.refusal()?;
    assert!(dave.contains("cannot get resource"), "{dave}");
    env.becomes("asked", "Pending/AwaitingApproval").await?;
    assert_eq!(env.calls("asked"), 0);

    let forged = r#"{"spec":{"approved":true,"approvedBy":{"username":"root","uid":"0"}}}"#;
    people.patch("bob", "asked", forged).await?.success()?;
    assert_eq!(people.spec("asked").await?["approvedBy"], json!({ "username": "bob" }), "the stamp overwrites");
    assert_eq!(env.ended("asked").await?, "Succeeded/ResetAccepted");
    assert_eq!(env.calls("asked"), 1);
    let attempt = env.record("asked").await?.unwrap_or_default()["attempts"][0].clone();
    assert_eq!(attempt["requestedBy"], json!({ "username": "mallory" }));
    assert_eq!(attempt["approvedBy"], json!({ "username": "bob" }));
    // The operator writes statuses alone: it can neither approve, nor release a suspended request.
    people.ask("by-operator", "suspend: true").await?;
    let operator = "system:serviceaccount:cognito-reset-system:cognito-reset-operator";
    for patch in [APPROVE, r#"{"spec":{"suspend":false}}"#] {
        let refused = people.patch(operator, "by-operator", patch).await?.refusal()?;
        assert!(refused.contains("cannot patch resource"), "{refused}");
    }
    // The file as it was written changes nothing.
    let again = people.run("mallory", &["apply", "-f", "-"], &file).await?.success()?;
    assert!(again.contains("unchanged"), "{again}");
    Ok(())
}

#[tokio::test]
async fn an_approver_sees_whom_a_request_is_for() -> Result<()> {
    let people = People::stamped().await?;
    let env = &people.0;
    let _operator = env.run().await?;
    let alias = "alias@corp.example";
    env.users.create_user(&env.pool, alias).await?;
    let read = env.cognito.always(Matcher::operation("AdminGetUser"), user_of_alias("ceo", "sub-7"));
    people.run("mallory", &["apply", "-f", "-"], &env.request("by-alias", alias, "")).await?.success()?;
    env.becomes("by-alias", "Pending/AwaitingApproval").await?;
    let status = env.get("prr", "by-alias").await?["status"].clone();
    assert_eq!((&status["userName"], &status["userSub"]), (&json!("ceo"), &json!("sub-7")));
    let table = env.kubectl(&["get", "prr", "by-alias", "-o", "wide"]).await?;
    assert!(table.contains("ceo") && table.contains("sub-7"), "{table}");
    // Nothing that a tenant does causes another read.
    for label in ["a=b", "a=c"] {
        env.kubectl(&["label", "--overwrite", "prr", "by-alias", label]).await?;
    }
    env.grant("elsewhere", "namespaces: [elsewhere]").await?;
    people.ask("later", "").await?;
    env.becomes("later", "Pending/AwaitingApproval").await?;
    let is_of_alias = |read: &Recorded| read.seen.user().is_some_and(|(_, user)| user == alias);
    assert_eq!(env.cognito.operation("AdminGetUser").iter().filter(|read| is_of_alias(read)).count(), 1);
    assert!(env.record("by-alias").await?.is_none() && env.calls(alias) == 0);
    people.patch("bob", "by-alias", APPROVE).await?.success()?;
    assert_eq!(env.ended("by-alias").await?, "Succeeded/ResetAccepted");
    read.remove();
    Ok(())
}

/// The response of AdminGetUser for an alias, which means this user.
pub(crate) fn user_of_alias(username: &str, sub: &str) -> Fault {
    let email = json!({ "Name": "email", "Value": "alias@corp.example" });
    let user = json!({
        "Username": username, "UserStatus": "CONFIRMED", "Enabled": true,
        "UserAttributes": [{ "Name": "sub", "Value": sub }, email],
    });
    Fault::Respond(Reply::new(200, user.to_string()))
}

#[tokio::test]
async fn an_approval_does_not_count_for_another_user() -> Result<()> {
    let people = People::stamped().await?;
    let env = &people.0;
    let _operator = env.run().await?;
    let alias = "alias@corp.example";
    env.users.create_user(&env.pool, alias).await?;
    let get_user = || Matcher::operation("AdminGetUser");
    let shown = |status: &Value| (status["userName"].clone(), status["userSub"].clone());
    let read = env.cognito.always(get_user(), user_of_alias("clerk", "sub-1"));
    people.run("mallory", &["apply", "-f", "-"], &env.request("moved", alias, "")).await?.success()?;
    env.becomes("moved", "Pending/AwaitingApproval").await?;
    assert_eq!(shown(&env.get("prr", "moved").await?["status"]), (json!("clerk"), json!("sub-1")));
    read.remove();
    // The alias has moved to another user.
    let read = env.cognito.always(get_user(), user_of_alias("ceo", "sub-2"));
    people.patch("bob", "moved", APPROVE).await?.success()?;
    assert_eq!(env.ended("moved").await?, "Failed/UserChanged");
    assert_eq!(env.calls(alias), 0);
    assert_eq!(shown(&env.get("prr", "moved").await?["status"]), (json!("ceo"), json!("sub-2")));
    let record = env.record("moved").await?.unwrap_or_default();
    assert_eq!((&record["closed"]["cause"], &record["userSub"]), (&json!("UserChanged"), &json!("sub-2")));
    // A new request, approved for that user, is performed.
    people.run("mallory", &["apply", "-f", "-"], &env.request("again", alias, "")).await?.success()?;
    env.becomes("again", "Pending/AwaitingApproval").await?;
    people.patch("bob", "again", APPROVE).await?.success()?;
    assert_eq!(env.ended("again").await?, "Succeeded/ResetAccepted");
    read.remove();
    Ok(())
}

#[tokio::test]
async fn an_approval_naming_a_uid_is_refused_for_a_namesake() -> Result<()> {
    let people = People::stamped().await?;
    let env = &people.0;
    people.ask("swapped", "").await?;
    let looked_at = env.get("prr", "swapped").await?["metadata"]["uid"].clone();
    people.run("mallory", &["delete", "prr", "swapped"], "").await?.success()?;
    env.users.create_user(&env.pool, "somebody-else").await?;
    let swapped = env.request("swapped", "somebody-else", "");
    people.run("mallory", &["apply", "-f", "-"], &swapped).await?.success()?;
    let approval = json!({ "metadata": { "uid": looked_at }, "spec": { "approved": true } }).to_string();
    let refused = people.patch("bob", "swapped", &approval).await?.refusal()?;
    assert!(refused.contains("uid"), "{refused}");
    assert_eq!(people.spec("swapped").await?["approved"], false);
    Ok(())
}

#[tokio::test]
async fn an_approval_is_given_once_while_pending_and_never_changed() -> Result<()> {
    let people = People::stamped().await?;
    let env = &people.0;
    for spec in ["approved: true", "approvedBy: {username: bob}", "approved: true\napprovedBy: {username: bob}"] {
        for user in ["mallory", "erin"] {
            let request = env.request("born-approved", "someone", spec);
            let refused = people.run(user, &["create", "-f", "-"], &request).await;
            let refused = refused?.refusal()?;
            assert!(refused.contains("a request is never approved on creation"), "{user} {spec}: {refused}");
        }
    }
    let file = people.ask("held", "suspend: true").await?;
    for patch in [r#"{"spec":{"approvedBy":{"username":"bob"}}}"#, r#"{"spec":{"suspend":true}}"#] {
        people.patch("bob", "held", patch).await?.success()?;
        assert!(people.spec("held").await?["approvedBy"].is_null(), "{patch}");
    }
    people.patch("bob", "held", APPROVE).await?.success()?;
    let bob = json!({ "username": "bob" });
    assert_eq!(people.spec("held").await?["approvedBy"], bob);
    for user in ["bob", "mallory", "erin"] {
        let refused = people.patch(user, "held", WITHDRAW).await?.refusal()?;
        assert!(refused.contains("an approval cannot be withdrawn"), "{user}: {refused}");
        for patch in [
            r#"{"spec":{"approvedBy":{"username":"root"}}}"#,
            r#"{"spec":{"approvedBy":null}}"#,
            APPROVE,
            r#"{"metadata":{"labels":{"a":"b"}}}"#,
        ] {
            people.patch(user, "held", patch).await?.success()?;
            assert_eq!(people.spec("held").await?["approvedBy"], bob, "{user} {patch}");
        }
    }
    let again = people.run("mallory", &["apply", "-f", "-"], &file).await?.success()?;
    assert!(again.contains("unchanged"), "{again}");
    let replaced = people.run("mallory", &["replace", "-f", "-"], &file).await?.refusal()?;
    assert!(replaced.contains("an approval cannot be withdrawn"), "{replaced}");

    let exported = env.kubectl(&["get", "prr", "held", "-o", "yaml"]).await?;
    let of_this_one = |line: &&str| !line.contains("resourceVersion:") && !line.contains("  uid: ");
    let exported = exported.lines().filter(of_this_one).collect::<Vec<_>>().join("\n");
    env.kubectl(&["delete", "prr", "held"]).await?;
    let refused = people.run("mallory", &["create", "-f", "-"], &exported).await?.refusal()?;
    assert!(refused.contains("a request is never approved on creation"), "{refused}");

    let _operator = env.run().await?;
    people.ask("over", "notAfter: \"2020-01-01T00:00:00Z\"").await?;
    assert_eq!(env.ended("over").await?, "Failed/Expired", "an approval that is missing keeps nothing from expiring");
    let refused = people.patch("bob", "over", APPROVE).await?.refusal()?;
    assert!(refused.contains("can be approved only while the outcome is Pending"), "{refused}");
    people.ask("late", "deadlineSeconds: 1").await?;
    assert_eq!(env.ended("late").await?, "Failed/DeadlineExceeded");
    // An approver may change `suspend`, and no other field.
    people.ask("let-go", "suspend: true").await?;
    people.patch("bob", "let-go", APPROVE).await?.success()?;
    env.becomes("let-go", "Pending/Suspended").await?;
    people.patch("bob", "let-go", r#"{"spec":{"suspend":false}}"#).await?.success()?;
    assert_eq!(env.ended("let-go").await?, "Succeeded/ResetAccepted");
    Ok(())
}

#[tokio::test]
async fn an_approver_is_recorded_as_admission_sees_them() -> Result<()> {
    let people = People::stamped().await?;
    let env = &people.0;
    env.kubectl(&["create", "serviceaccount", "approver"]).await?;
    let role = "--clusterrole=cognito-reset-approver";
    env.kubectl(&["create", "rolebinding", "approver", role, "--serviceaccount=default:approver"]).await?;
    let token = env.cluster.service_account_token("default", "approver").await?;
    let account = env.cluster.as_admin().with_kubeconfig(&env.cluster.kubeconfig_for(&token, None)?);
    people.ask("by-account", "suspend: true").await?;
    account.run(&["patch", "prr", "by-account", "--type=merge", "-p", APPROVE]).await?.success()?;
    let uid = env.get("serviceaccount", "approver").await?["metadata"]["uid"].clone();
    let wanted = json!({ "username": "system:serviceaccount:default:approver", "uid": uid });
    assert_eq!(people.spec("by-account").await?["approvedBy"], wanted);

    // An administrator who acts as the requester is the requester, and one who acts as bob is bob.
    people.ask("as-another", "suspend: true").await?;
    people.patch("mallory", "as-another", APPROVE).await?.refusal()?;
    people.patch("bob", "as-another", APPROVE).await?.success()?;
    assert_eq!(people.spec("as-another").await?["approvedBy"], json!({ "username": "bob" }));
    // The same uid under another name is the same user.
    let create = ["create", "-f", "-", "--as-uid=7"];
    people.run("mallory", &create, &env.request("renamed", "someone", "suspend: true")).await?.success()?;
    let patch = ["patch", "prr", "renamed", "--type=merge", "-p", APPROVE, "--as-uid=7"];
    let refused = people.run("bob", &patch, "").await?.refusal()?;
    assert!(refused.contains("the requester cannot approve their own request"), "{refused}");
    people.patch("bob", "renamed", APPROVE).await?.success()?;
    Ok(())
}

#[tokio::test]
async fn approval_without_the_stamp_is_denied_with_a_reason() -> Result<()> {
    let people = People::start().await?;
    let env = &people.0;
    let _operator = env.run().await?;
    people.ask("unverified", "").await?;
    env.becomes("unverified", "Pending/RequesterUnverified").await?;
    env.says("unverified", "stamp-requester").await?;
    for forged in [
        r#"{"spec":{"approved":true,"approvedBy":{"username":"root"}}}"#,
        r#"{"spec":{"approved":true,"approvedBy":{"username":"bob","uid":"made-up"}}}"#,
    ] {
        let refused = people.patch("bob", "unverified", forged).await?.refusal()?;
        assert!(refused.contains("spec.approvedBy must name the user who approves"), "{refused}");
    }
    people.patch("bob", "unverified", APPROVE).await?.success()?;
    // The approval counts if requester and approver both name themselves, because a policy refuses
    // the names of others. It does not count if only one of them does.
    people.ask("half", "requestedBy: {username: mallory}").await?;
    env.becomes("half", "Pending/AwaitingApproval").await?;
    people.patch("bob", "half", APPROVE).await?.success()?;
    env.becomes("half", "Pending/ApproverUnverified").await?;
    let refused = people.patch("bob", "half", r#"{"spec":{"approvedBy":{"username":"bob"}}}"#).await?.refusal()?;
    assert!(refused.contains("approvedBy is written once, with the approval"), "{refused}");
    people.ask("truly", "requestedBy: {username: mallory}").await?;
    let truly = r#"{"spec":{"approved":true,"approvedBy":{"username":"bob"}}}"#;
    people.patch("bob", "truly", truly).await?.success()?;
    assert_eq!(env.ended("truly").await?, "Succeeded/ResetAccepted");
    for (name, reason) in [("unverified", "RequesterUnverified"), ("half", "ApproverUnverified")] {
        env.becomes(name, &format!("Pending/{reason}")).await?;
        assert_eq!(env.calls(name), 0, "{name}");
    }
    Ok(())
}
