//! Mistakes on the side of AWS: credentials, role, Region and network.

use anyhow::Result;
use testbed::environment::Environment;
use testbed::{Fault, Matcher, Reply};
use tokio::net::{TcpSocket, TcpStream};

use super::{message, says, waits};

/// Pauses that are long enough to be shown in a status.
const PATIENT: [&str; 2] = ["--retry-initial=5s", "--retry-max=5s"];
const ROLE: &str = "arn:aws:iam::123456789012:role/cognito-reset";

#[tokio::test]
async fn without_credentials_the_request_says_how_to_give_them() -> Result<()> {
    let env = Environment::start().await?;
    let in_a_pod = env.operator().without_env("AWS_ACCESS_KEY_ID").without_env("AWS_SECRET_ACCESS_KEY");
    let _operator = env.run_with(in_a_pod.args(PATIENT)).await?;
    env.ask("alice").await?;
    let shown = waits(&env, "alice", "Pending/AwsCredentialsUnavailable").await?;
    says(&shown, &["no credentials are configured", "give the operator's service account an IAM role"]);
    assert!(env.record("alice").await?.is_none(), "nothing is claimed without credentials");
    Ok(())
}

#[tokio::test]
async fn a_wrong_role_is_shown_in_its_grant() -> Result<()> {
    let env = Environment::start().await?;
    let denied = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>";
    let denied = Fault::Respond(Reply::new(403, denied).header("content-type", "text/xml"));
    let assume = Matcher::new(|seen| String::from_utf8_lossy(&seen.body).contains("Action=AssumeRole"));
    let rule = env.cognito.always(assume, denied);
    let _operator = env.run_with(env.operator().args(PATIENT).args(["--role-check-interval=5s"])).await?;
    env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    env.grant("by-role", &format!("namespaces: [default]\nroleARN: {ROLE}")).await?;
    let shown = message(&env, "by-role", "RoleAssumable", "RoleNotAssumable").await?;
    says(&shown, &["STS denies the operator access to the role", "check its trust policy"]);
    env.ask("alice").await?;
    let shown = waits(&env, "alice", "Pending/AwsCredentialsUnavailable").await?;
    says(&shown, &["STS denies the operator access to the role"]);
    rule.remove();
    assert_eq!(env.ended("alice").await?, "Succeeded/ResetAccepted");
    Ok(())
}

#[tokio::test]
async fn a_pool_of_another_region_is_shown_in_the_request() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    // The right id in the wrong Region.
    let pool = env.pool.replace("eu-west-1", "eu-central-1");
    let spec = format!("spec: {{userPoolID: {pool}, namespaces: ['*']}}");
    env.apply(&format!(
        "apiVersion: cognito-reset.dev/v1alpha1\nkind: UserPoolGrant\nmetadata: {{name: wrong-region}}\n{spec}"
    ))
    .await?;
    env.apply(&env.request("alice", "alice", "").replace(&env.pool, &pool)).await?;
    let shown = waits(&env, "alice", "Failed/ResourceNotFoundException").await?;
    says(&shown, &["no such user pool", "the Region that userPoolID names before its last underscore", "new name"]);
    Ok(())
}

/// A server whose kernel drops connections, as a NetworkPolicy does.
struct Dropping {
    url: String,
    _kept: (tokio::net::TcpListener, Vec<TcpStream>),
}

impl Dropping {
    async fn start() -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind("127.0.0.1:0".parse()?)?;
        // Nothing accepts, so the queue is full after the first connections.
        let listener = socket.listen(0)?;
        let address = listener.local_addr()?;
        let mut waiting = Vec::new();
        while let Ok(stream) = tokio::time::timeout(QUEUED, TcpStream::connect(address)).await {
            waiting.push(stream?);
        }
        Ok(Self { url: format!("http://{address}"), _kept: (listener, waiting) })
    }
}

/// The time after which a connection on this machine is not in the queue.
const QUEUED: std::time::Duration = std::time::Duration::from_millis(500);

#[tokio::test]
async fn a_tight_network_policy_is_named_where_it_hinders() -> Result<()> {
    let env = Environment::start().await?;
    let nobody = Dropping::start().await?;
    let kubeconfig = env.cluster.kubeconfig_for("token", Some(&nobody.url))?;
    let shown = super::last_line(&env.operator().kubeconfig(&kubeconfig)).await?;
    says(&shown, &["failed to reach the Kubernetes API server", &nobody.url, "NetworkPolicies"]);
    let _operator =
        env.run_with(env.operator().cognito(&nobody.url).args(PATIENT).args(["--connect-timeout=1s"])).await?;
    env.ask("alice").await?;
    let shown = waits(&env, "alice", "Pending/CognitoUnreachable").await?;
    says(&shown, &["timed out", "nothing was sent", "NetworkPolicies"]);
    Ok(())
}
