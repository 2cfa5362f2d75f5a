//! Mistakes in the cluster: CRDs, grants, versions, policies, and other installations.

use anyhow::{Result, ensure};
use http::Method;
use serde_json::json;
use testbed::environment::{Environment, LIMIT, root};
use testbed::{Fault, Matcher, Operator, Options, Pool, Reply, eventually};

use super::{last_line, logs, says, waits};

const INSTALL: [&str; 3] = ["install the CRDs", "Helm: set crds.enabled", "kubectl apply -k deploy/kustomize/crds"];

#[tokio::test]
async fn a_missing_crd_ends_the_start() -> Result<()> {
    let cluster = Pool::of_this_process().lease(Options::default()).await?;
    let operator = Operator::builder(testbed::environment::binary()).kubeconfig(cluster.kubeconfig());
    let shown = last_line(&operator.args(["run", "--lease=false"])).await?;
    says(&shown, &["passwordresetrequests.cognito-reset.dev"]);
    says(&shown, &INSTALL);
    Ok(())
}

#[tokio::test]
async fn a_request_without_a_grant_says_whom_to_ask() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    env.ask("alice").await?;
    let shown = waits(&env, "alice", "Pending/NoMatchingGrant").await?;
    says(&shown, &["no UserPoolGrant allows this namespace", "ask a platform administrator"]);
    Ok(())
}

#[tokio::test]
async fn an_old_cluster_ends_the_start() -> Result<()> {
    let env = Environment::start().await?;
    let version = json!({
        "major": "1", "minor": "31+", "gitVersion": "v1.31.9-eks-0", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "2025-01-01T00:00:00Z", "goVersion": "go1.23.0", "compiler": "gc", "platform": "linux/amd64",
    });
    let old = Reply::new(200, version.to_string()).header("content-type", "application/json");
    env.api.always(Matcher::path(Method::GET, "/version"), Fault::Respond(old));
    let shown = last_line(&env.operator()).await?;
    says(&shown, &["v1.31.9-eks-0", "1.32 or newer", "upgrade the cluster"]);
    Ok(())
}

#[tokio::test]
async fn a_policy_in_the_way_is_named() -> Result<()> {
    let env = Environment::start().await?;
    let operator = env.run().await?;
    let rule = json!({ "apiGroups": ["*"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["*"] });
    let spec = json!({
        "failurePolicy": "Fail", "matchConstraints": { "resourceRules": [rule] },
        "matchConditions": [{ "name": "records", "expression": "request.kind.kind == 'PasswordResetRecord' || object.metadata.name == 'probe'" }],
        "validations": [{ "expression": "has(object.metadata.labels)", "message": "no labels" }],
    });
    let api = "admissionregistration.k8s.io/v1";
    for object in [
        json!({ "apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": { "name": "labels" }, "spec": spec }),
        json!({ "apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding", "metadata": { "name": "labels" },
            "spec": { "policyName": "labels", "validationActions": ["Deny"] } }),
    ] {
        env.apply(&object.to_string()).await?;
    }
    let probe = env.request("probe", "probe", "");
    eventually(LIMIT, "the policy to be in force", async || {
        let create = ["create", "--dry-run=server", "-f", "-"];
        env.cluster.as_admin().run_with_input(&create, &probe).await?.refusal()
    })
    .await?;
    env.ask("alice").await?;
    let shown = waits(&env, "alice", "Pending/WriteRefused").await?;
    says(&shown, &["nothing was sent", "the ValidatingAdmissionPolicy labels", "has to accept the operator's writes"]);
    logs(&operator, &["the ValidatingAdmissionPolicy labels", "rejected the write of a record"]).await
}

#[tokio::test]
async fn two_installations_are_reported_and_reset_once() -> Result<()> {
    let env = Environment::start().await?;
    // Each leads by a Lease in a namespace of its own, as two releases do.
    let own = "cognito-reset-operator";
    let role = format!("--role={own}");
    let account = format!("--serviceaccount=cognito-reset-system:{own}");
    env.kubectl(&["create", "namespace", "second"]).await?;
    env.kubectl(&["create", "role", own, "--verb=create,get,update", "--resource=leases", "-n", "second"]).await?;
    env.kubectl(&["create", "rolebinding", own, &role, &account, "-n", "second"]).await?;
    let first = env.run_with(env.replica("first", Some("10s"))).await?;
    let second = env.replica("second", Some("10s")).args(["--lease-namespace=second"]);
    let second = env.run_with(second).await?;
    for operator in [&first, &second] {
        eventually(LIMIT, "both to lead", async || {
            let (_, state) = operator.page("/readyz").await?;
            ensure!(state.trim() == "leader", "{state}");
            anyhow::Ok(())
        })
        .await?;
    }
    // One claim waits, while the other operator claims the record.
    let claim = env.api.once(Matcher::path(Method::POST, "/passwordresetrecords"), Fault::Hold);
    env.ask("alice").await?;
    let held = claim.held(LIMIT).await?;
    eventually(LIMIT, "the record of the other one", async || {
        ensure!(env.record("alice").await?.is_some(), "none");
        anyhow::Ok(())
    })
    .await?;
    held.release();
    let words = "another operator claimed the record first; run one installation in a cluster";
    eventually(LIMIT, "one of them to say so", async || {
        let logs = [first.logs(), second.logs()];
        ensure!(logs.iter().any(|logs| logs.contains(words)), "{logs:?}");
        anyhow::Ok(())
    })
    .await?;
    env.ended("alice").await?;
    assert_eq!(env.calls("alice"), 1);
    let mut lost = 0;
    for operator in [&first, &second] {
        let (_, metrics) = operator.page("/metrics").await?;
        lost += metrics.lines().filter(|line| *line == "cognito_reset_claims_lost_total 1").count();
    }
    assert_eq!(lost, 1);
    Ok(())
}

#[tokio::test]
async fn an_uninstall_half_way_hangs_nothing_and_is_reported() -> Result<()> {
    let env = Environment::start().await?;
    let mut operator = env.run().await?;
    env.ask("before").await?;
    assert_eq!(env.ended("before").await?, "Succeeded/ResetAccepted");
    // The permissions are gone, and the operator is not.
    env.kubectl(&["delete", "clusterrolebinding", "cognito-reset-operator"]).await?;
    logs(&operator, &["403", "rejected by RBAC, for lack of a permission"]).await?;
    eventually(LIMIT, "the operator not to be ready", async || {
        let (status, text) = operator.page("/readyz").await?;
        ensure!(status == 503 && text.contains("grants"), "{status}: {text}");
        anyhow::Ok(())
    })
    .await?;
    let shown = last_line(&env.operator()).await?;
    says(&shown, &["missing permissions", "list userpoolgrants", "Helm: set rbac.create"]);
    // The CRDs are deleted with all that they define; no object waits for the operator.
    let base = root("deploy/kustomize/base/clusterrolebinding.yaml");
    env.kubectl(&["apply", "-f", &base]).await?;
    let crds = root("deploy/kustomize/crds");
    env.kubectl(&["delete", "-k", &crds, "--timeout=60s"]).await?;
    logs(&operator, &["unable to watch", "install the CRDs"]).await?;
    assert!(operator.is_running(), "{}", operator.logs());
    operator.sigkill().await?;
    says(&last_line(&env.operator()).await?, &INSTALL);
    Ok(())
}
