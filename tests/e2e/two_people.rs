//! An approval counts if two people gave it: on Amazon EKS the person is in `userInfo.extra`, and a
//! service account of the request's own namespace is every user who may act as it.

mod service_accounts;

use anyhow::{Result, ensure};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use testbed::environment::{Environment, LIMIT, root};
use testbed::eventually;

use crate::audit::block;

const REQUESTS: &str = "/apis/cognito-reset.dev/v1alpha1/namespaces/default/passwordresetrequests";
const BY_SESSION: &str = "namespaces: [default]\nrequireApproval: true\napprovalIdentity: [SessionName]";
const STAMP: &str = "deploy/kustomize/components/stamp-requester/mutatingadmissionpolicy.yaml";
const REFUSE: &str = "deploy/kustomize/components/refuse-unverified/validatingadmissionpolicy.yaml";

/// A user of Amazon EKS: a session of a role, where the mapping names the role alone.
struct Session {
    role: &'static str,
    name: &'static str,
}

const ALICE: Session = Session { role: "support", name: "alice@example.com" };
const ALICE_AS_LEAD: Session = Session { role: "lead", name: "Alice@example.com" };
const BOB: Session = Session { role: "support", name: "bob@example.com" };
const BY_CLI: Session = Session { role: "lead", name: "EKSGetTokenAuth" };

impl Session {
    fn uid(&self) -> String {
        format!("aws-iam-authenticator:123456789012:AROA{}", self.role)
    }

    fn arn(&self) -> String {
        format!("arn:aws:sts::123456789012:assumed-role/{}/{}", self.role, self.name)
    }

    /// The user as requestedBy and approvedBy name it.
    fn named(&self) -> Value {
        let extra = json!({ "arn": self.arn(), "principalId": format!("AROA{}", self.role), "sessionName": self.name });
        json!({ "username": self.role, "uid": self.uid(), "extra": extra })
    }
}

/// A cluster in which the users of both roles may do everything in the namespace `default`.
struct Eks(Environment);

impl Eks {
    /// Starts with a component that takes effect for what a probe by alice shows.
    async fn start(component: &str, works: impl Fn(StatusCode, &Value) -> bool) -> Result<Self> {
        let env = Environment::start().await?;
        env.kubectl(&["create", "clusterrole", "all", "--verb=*", "--resource=*.*"]).await?;
        for role in ["support", "lead"] {
            env.kubectl(&["create", "rolebinding", role, "--clusterrole=all", &format!("--user={role}")]).await?;
        }
        env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
        env.grant("strict", BY_SESSION).await?;
        env.kubectl(&["apply", "-f", &root(component)]).await?;
        let eks = Self(env);
        eventually(LIMIT, "the component to take effect", async || {
            let dry_run = format!("{REQUESTS}?dryRun=All");
            let (status, said) = eks.send(&ALICE, Method::POST, &dry_run, eks.request("probe", json!({}))).await?;
            ensure!(works(status, &said), "{status} {said}");
            anyhow::Ok(())
        })
        .await?;
        Ok(eks)
    }

    async fn stamped() -> Result<Self> {
        Self::start(STAMP, |_, made| made["spec"]["requestedBy"]["username"] == "support").await
    }

    /// Sends a request as this session. The API server reads a header's key in lower case, and then
    /// decodes it.
    async fn send(&self, session: &Session, method: Method, path: &str, body: Value) -> Result<(StatusCode, Value)> {
        let (uid, arn, principal) = (session.uid(), session.arn(), format!("AROA{}", session.role));
        let headers = [
            ("Impersonate-User", session.role),
            ("Impersonate-Uid", &uid),
            ("Impersonate-Extra-Arn", &arn),
            ("Impersonate-Extra-Principal%49d", &principal),
            ("Impersonate-Extra-Session%4eame", session.name),
            ("Impersonate-Extra-Access%4bey%49d", "ASIAEXAMPLE"),
        ];
        self.0.cluster.request_with_headers(method, path, body.to_string(), &headers).await
    }

    fn request(&self, name: &str, more: Value) -> Value {
        let mut spec = json!({ "userPoolID": self.0.pool, "username": name });
        spec.as_object_mut().into_iter().for_each(|spec| spec.extend(more.as_object().cloned().unwrap_or_default()));
        let (api, kind) = ("cognito-reset.dev/v1alpha1", "PasswordResetRequest");
        json!({ "apiVersion": api, "kind": kind, "metadata": { "name": name, "namespace": "default" }, "spec": spec })
    }

    /// Creates a request as this session, for a user of the same name.
    async fn ask(&self, session: &Session, name: &str, more: Value) -> Result<(StatusCode, Value)> {
        self.send(session, Method::POST, REQUESTS, self.request(name, more)).await
    }

    async fn approve(&self, session: &Session, name: &str, more: Value) -> Result<(StatusCode, Value)> {
        let mut spec = json!({ "approved": true });
        spec.as_object_mut().into_iter().for_each(|spec| spec.extend(more.as_object().cloned().unwrap_or_default()));
        self.send(session, Method::PATCH, &format!("{REQUESTS}/{name}"), json!({ "spec": spec })).await
    }
}

/// Expects a rejection with these words.
fn rejected((status, said): (StatusCode, Value), words: &str) -> Result<()> {
    ensure!(status == StatusCode::FORBIDDEN, "{status} {said}");
    ensure!(said["message"].as_str().is_some_and(|message| message.contains(words)), "{said}");
    Ok(())
}

fn accepted((status, said): (StatusCode, Value)) -> Result<Value> {
    ensure!(status.is_success(), "{status} {said}");
    Ok(said)
}

#[tokio::test]
async fn sessions_are_stamped_compared_and_recorded() -> Result<()> {
    let eks = Eks::stamped().await?;
    let env = &eks.0;
    let _operator = env.run().await?;
    env.users.create_user(&env.pool, "asked").await?;
    let forged = json!({ "requestedBy": BOB.named() });
    let asked = accepted(eks.ask(&ALICE, "asked", forged).await?)?;
    assert_eq!(asked["spec"]["requestedBy"], ALICE.named(), "the allow-listed part, and no access key");
    env.becomes("asked", "Pending/AwaitingApproval").await?;
    for (session, words) in [
        (&ALICE, "the requester cannot approve their own request"),
        (&ALICE_AS_LEAD, "the requester cannot approve their own request"),
        (&BY_CLI, "does not identify a person"),
    ] {
        rejected(eks.approve(session, "asked", json!({})).await?, words)?;
    }
    accepted(eks.approve(&BOB, "asked", json!({})).await?)?;
    assert_eq!(env.ended("asked").await?, "Succeeded/ResetAccepted");
    let attempt = env.record("asked").await?.unwrap_or_default()["attempts"][0].clone();
    assert_eq!(attempt["requestedBy"], ALICE.named());
    assert_eq!(attempt["approvedBy"], BOB.named());
    let kubeconfig = env.cluster.kubeconfig().display().to_string();
    let listed = env.cluster.script(&block("sessions")?, &[("KUBECONFIG", &kubeconfig)]).await?;
    assert!(listed.contains(ALICE.name) && listed.contains(BOB.name), "{listed}");

    // What is too long for the CRD is left out and rejects nothing, but then names nobody either.
    let long = Session { role: "lead", name: "a-session-name-of-sixty-five-characters-which-is-one-too-many-xxx" };
    assert_eq!(long.name.len(), 65);
    env.users.create_user(&env.pool, "too-long").await?;
    let asked = accepted(eks.ask(&long, "too-long", json!({})).await?)?;
    assert_eq!(asked["spec"]["requestedBy"]["extra"]["sessionName"], Value::Null);
    accepted(eks.approve(&BOB, "too-long", json!({})).await?)?;
    env.becomes("too-long", "Pending/SelfApproval").await?;
    assert_eq!(env.calls("too-long"), 0);
    Ok(())
}

#[tokio::test]
async fn sessions_of_one_role_are_one_user_by_default() -> Result<()> {
    let eks = Eks::stamped().await?;
    let env = &eks.0;
    env.grant("strict", "namespaces: [default]\nrequireApproval: true").await?;
    let _operator = env.run().await?;
    env.users.create_user(&env.pool, "asked").await?;
    accepted(eks.ask(&ALICE, "asked", json!({})).await?)?;
    accepted(eks.approve(&BOB, "asked", json!({})).await?)?;
    env.becomes("asked", "Pending/SelfApproval").await?;
    env.says("asked", "approvalIdentity").await?;
    assert_eq!(env.calls("asked"), 0);
    // The approval is not lost: the grant decides whether it counts.
    env.grant("strict", BY_SESSION).await?;
    assert_eq!(env.ended("asked").await?, "Succeeded/ResetAccepted");
    Ok(())
}

#[tokio::test]
async fn without_a_stamp_two_people_write_their_own_names() -> Result<()> {
    let unnamed = |status, said: &Value| rejected((status, said.clone()), "write who you are").is_ok();
    let eks = Eks::start(REFUSE, unnamed).await?;
    let env = &eks.0;
    let _operator = env.run().await?;
    env.users.create_user(&env.pool, "asked").await?;
    for (who, words) in [
        (json!({}), "write who you are into spec.requestedBy: {username: 'support', uid: 'aws-iam-authenticator:"),
        (json!({ "requestedBy": { "username": "unverified" } }), "sessionName: 'alice@example.com'}"),
        (json!({ "requestedBy": BOB.named() }), "must name the user"),
        // Without the session, one person in two roles would be two users.
        (json!({ "requestedBy": { "username": "support", "uid": ALICE.uid() } }), "and completely"),
    ] {
        rejected(eks.ask(&ALICE, "asked", who).await?, words)?;
    }
    accepted(eks.ask(&ALICE, "asked", json!({ "requestedBy": ALICE.named() })).await?)?;
    env.becomes("asked", "Pending/AwaitingApproval").await?;
    for (who, words) in [
        (json!({}), "write who you are into spec.approvedBy"),
        (json!({ "approvedBy": ALICE.named() }), "spec.approvedBy must name the user"),
        (json!({ "approvedBy": { "username": "support", "uid": BOB.uid() } }), "and completely"),
    ] {
        rejected(eks.approve(&BOB, "asked", who).await?, words)?;
    }
    rejected(
        eks.approve(&ALICE_AS_LEAD, "asked", json!({ "approvedBy": ALICE_AS_LEAD.named() })).await?,
        "the requester cannot approve",
    )?;
    accepted(eks.approve(&BOB, "asked", json!({ "approvedBy": BOB.named() })).await?)?;
    assert_eq!(env.ended("asked").await?, "Succeeded/ResetAccepted");
    // Other updates do not need a name.
    accepted(eks.ask(&ALICE, "held", json!({ "requestedBy": ALICE.named(), "suspend": true })).await?)?;
    accepted(
        eks.send(&BOB, Method::PATCH, &format!("{REQUESTS}/held"), json!({ "spec": { "suspend": false } })).await?,
    )?;
    Ok(())
}
