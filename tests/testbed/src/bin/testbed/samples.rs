//! The users in the pool, the objects that are applied, and their expected outcomes.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use testbed::{Cognito, ControlPlane, eventually};

const LIMIT: Duration = Duration::from_secs(30);

/// The namespace that the grant is for.
pub(crate) const GRANTED: &str = "support";
/// A namespace without a grant.
pub(crate) const UNGRANTED: &str = "elsewhere";
/// The one user who can be reset.
pub(crate) const CONFIRMED: &str = "confirmed";

/// The user of the README's own request, whom no sample resets.
pub(crate) const SPARE: &str = "alice";

/// A request, named `reset-` and its user, and its expected end.
pub(crate) struct Sample {
    pub(crate) user: &'static str,
    pub(crate) outcome: &'static str,
    pub(crate) reason: &'static str,
}

/// The requests of the namespace with the grant.
pub(crate) const SAMPLES: [Sample; 5] = [
    Sample { user: CONFIRMED, outcome: "Succeeded", reason: "ResetAccepted" },
    Sample { user: "disabled", outcome: "Failed", reason: "NotAuthorizedException" },
    Sample { user: "unconfirmed", outcome: "Failed", reason: "NotAuthorizedException" },
    Sample { user: "addressless", outcome: "Failed", reason: "InvalidParameterException" },
    Sample { user: "unknown", outcome: "Failed", reason: "UserNotFoundException" },
];

/// Makes the pool with its users, one of each kind.
pub(crate) async fn create_pool(cognito: &Cognito) -> Result<String> {
    let pool = cognito.create_pool("eu-west-1").await?;
    cognito.create_user(&pool, CONFIRMED).await?;
    cognito.create_user(&pool, SPARE).await?;
    cognito.create_disabled_user(&pool, "disabled").await?;
    cognito.create_unconfirmed_user(&pool, "unconfirmed").await?;
    cognito.create_user_without_address(&pool, "addressless").await?;
    Ok(pool)
}

/// Writes `grant.yaml`, `requests.yaml` and `ungranted.yaml`.
pub(crate) fn write(directory: &Path, pool: &str) -> Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("failed to create {}", directory.display()))?;
    let requests: String = SAMPLES.iter().map(|sample| request(GRANTED, sample.user, pool)).collect();
    for (name, text) in [
        ("grant.yaml", grant(pool)),
        ("requests.yaml", namespace(GRANTED) + &requests),
        ("ungranted.yaml", namespace(UNGRANTED) + &request(UNGRANTED, CONFIRMED, pool)),
    ] {
        let path = directory.join(name);
        std::fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}

/// Waits until the requester of a request is stamped: a policy takes effect a moment after it is
/// applied.
pub(crate) async fn stamped(cluster: &ControlPlane) -> Result<()> {
    let probe = request("default", "nobody", "eu-west-1_probe");
    let arguments = ["create", "--dry-run=server", "-o", "jsonpath={.spec.requestedBy.username}", "-f", "-"];
    eventually(LIMIT, "the requester to be stamped", async || {
        let stamp = cluster.as_admin().run_with_input(&arguments, &probe).await?.success()?;
        ensure!(stamp != "unverified", "{stamp}");
        Ok(())
    })
    .await
}

fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n")
}

fn grant(pool: &str) -> String {
    format!(
        "apiVersion: cognito-reset.dev/v1alpha1
kind: UserPoolGrant
metadata:
  name: demo
spec:
  userPoolID: {pool}
  namespaces:
    - {GRANTED}
"
    )
}

fn request(namespace: &str, user: &str, pool: &str) -> String {
    format!(
        "---
apiVersion: cognito-reset.dev/v1alpha1
kind: PasswordResetRequest
metadata:
  name: reset-{user}
  namespace: {namespace}
spec:
  userPoolID: {pool}
  username: {user}
  reason: A demonstration
"
    )
}
