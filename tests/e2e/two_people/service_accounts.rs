//! Users with the built-in roles `edit` and `admin` act as every service account of the namespace.

use testbed::Kubectl;

use super::*;

const RUNNER: &str = "system:serviceaccount:default:runner";
const APPROVE: &str = r#"{"spec":{"approved":true}}"#;

/// Nora has `edit` in two namespaces, may ask and approve in `default`, and may not create there.
struct Nora(Environment);

impl Nora {
    async fn start() -> Result<Self> {
        let env = Environment::start().await?;
        env.kubectl(&["create", "namespace", "other"]).await?;
        // The servers of the test have no controller that aggregates `edit` from this role.
        for namespace in ["default", "other"] {
            let role = ["create", "rolebinding", "edit", "--clusterrole=system:aggregate-to-edit", "--user=nora"];
            env.kubectl(&[&role[..], &["-n", namespace]].concat()).await?;
            env.kubectl(&["create", "serviceaccount", "runner", "-n", namespace]).await?;
        }
        let requests = "--resource=passwordresetrequests.cognito-reset.dev";
        env.kubectl(&["create", "clusterrole", "ask", "--verb=create,get,patch", requests]).await?;
        for account in ["default:runner", "other:runner"] {
            let (name, account) = (account.replace(':', "-"), format!("--serviceaccount={account}"));
            env.kubectl(&["create", "rolebinding", &name, "--clusterrole=ask", &account]).await?;
            let name = format!("{name}-approves");
            env.kubectl(&["create", "rolebinding", &name, "--clusterrole=cognito-reset-approver", &account]).await?;
        }
        let approver = "--clusterrole=cognito-reset-approver";
        env.kubectl(&["create", "rolebinding", "nora-approves", approver, "--user=nora"]).await?;
        env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
        env.grant("strict", "namespaces: [default]\nrequireApproval: true").await?;
        env.kubectl(&["apply", "-f", &root(STAMP)]).await?;
        eventually(LIMIT, "the stamp to take effect", async || {
            let create = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
            let made = env.cluster.as_admin().run_with_input(&create, &env.request("probe", "x", "")).await?;
            ensure!(made.stdout.contains("\"admin\""), "{made}");
            anyhow::Ok(())
        })
        .await?;
        Ok(Self(env))
    }

    /// Returns kubectl with a token of the account that nora has made herself.
    async fn as_account_of(&self, namespace: &str) -> Result<Kubectl> {
        let token = self.0.kubectl(&["create", "token", "runner", "-n", namespace, "--as=nora"]).await?;
        let kubeconfig = self.0.cluster.kubeconfig_for(token.trim(), None)?;
        Ok(self.0.cluster.as_admin().with_kubeconfig(&kubeconfig))
    }

    /// Asks as this account, and approves as nora.
    async fn ask_and_approve(&self, account: &Kubectl, name: &str) -> Result<()> {
        self.0.users.create_user(&self.0.pool, name).await?;
        account.apply(&self.0.request(name, name, "")).await?.success()?;
        self.0.kubectl(&["patch", "prr", name, "--type=merge", "-p", APPROVE, "--as=nora"]).await?;
        Ok(())
    }
}

#[tokio::test]
async fn account_of_the_namespace_is_no_second_person() -> Result<()> {
    let nora = Nora::start().await?;
    let env = &nora.0;
    let _operator = env.run().await?;
    let by_token = nora.as_account_of("default").await?;
    nora.ask_and_approve(&by_token, "by-token").await?;
    // Impersonation needs no token.
    env.users.create_user(&env.pool, "impersonated").await?;
    let (as_nora, impersonate) = ("--as=nora", ["auth", "can-i", "impersonate", "serviceaccounts"]);
    assert_eq!(env.kubectl(&[&impersonate[..], &[as_nora]].concat()).await?.trim(), "yes");
    let create = ["create", "-f", "-", &format!("--as={RUNNER}")];
    let manifest = env.request("impersonated", "impersonated", "");
    env.cluster.as_admin().run_with_input(&create, &manifest).await?.success()?;
    env.kubectl(&["patch", "prr", "impersonated", "--type=merge", "-p", APPROVE, as_nora]).await?;
    for name in ["by-token", "impersonated"] {
        env.becomes(name, "Pending/RequesterNotIndependent").await?;
        env.says(name, &format!("\"{RUNNER}\" to approvalServiceAccounts")).await?;
        assert_eq!(env.calls(name), 0, "{name}");
    }
    // The other way round: somebody asks, and the account approves.
    env.ask("approved-by-account").await?;
    by_token.run(&["patch", "prr", "approved-by-account", "--type=merge", "-p", APPROVE]).await?.success()?;
    env.becomes("approved-by-account", "Pending/ApproverNotIndependent").await?;
    env.says("approved-by-account", RUNNER).await?;
    Ok(())
}

/// A limit of the operator, which cannot see that nora acts as an account of another namespace, or
/// as one that the grant names.
#[tokio::test]
async fn named_account_and_account_of_another_namespace_count() -> Result<()> {
    let nora = Nora::start().await?;
    let env = &nora.0;
    let _operator = env.run().await?;
    nora.ask_and_approve(&nora.as_account_of("other").await?, "from-elsewhere").await?;
    assert_eq!(env.ended("from-elsewhere").await?, "Succeeded/ResetAccepted");
    nora.ask_and_approve(&nora.as_account_of("default").await?, "named").await?;
    env.becomes("named", "Pending/RequesterNotIndependent").await?;
    let naming = format!("namespaces: [default]\nrequireApproval: true\napprovalServiceAccounts: [\"{RUNNER}\"]");
    env.grant("strict", &naming).await?;
    assert_eq!(env.ended("named").await?, "Succeeded/ResetAccepted");
    Ok(())
}
