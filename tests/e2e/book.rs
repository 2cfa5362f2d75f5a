//! The how-to guides, whose commands are run as they are written, and whose outputs are compared.

use std::{os::unix::fs::symlink, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::environment::{Environment, LIMIT, plugin, root};
use testbed::{Options, Page, eventually};

/// The pool of the examples.
const POOL: &str = "eu-west-1_Example01";

/// A reader who follows a page, in a directory with the files that it shows and those of a clone.
struct Reader<'a> {
    env: &'a Environment,
    page: Page,
    directory: TempDir,
}

impl<'a> Reader<'a> {
    fn of(env: &'a Environment, page: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        for folder in ["deploy", "crds"] {
            symlink(Path::new(&root(folder)).canonicalize()?, directory.path().join(folder))?;
        }
        let page = Page::read(page)?.with(POOL, &env.pool);
        if page.fences().iter().any(|fence| fence.mark.is_some_and(|(key, _)| key == "file")) {
            page.write_files(directory.path())?;
        }
        Ok(Self { env, page, directory })
    }

    /// Runs a block of the page, and compares its output.
    async fn runs(&self, name: &str, environment: &[(&str, &str)]) -> Result<String> {
        let session = self.page.session(name)?;
        let script = format!("cd '{}'\n{}", self.directory.path().display(), session.script());
        let output = self.env.cluster.script(&script, environment).await?;
        session.compare(&output)?;
        Ok(output)
    }
}

/// Starts with this namespace, and with users.
async fn start(options: Options, namespace: &str, users: &[&str]) -> Result<Environment> {
    let env = Environment::start_with(options).await?;
    env.kubectl(&["create", "namespace", namespace]).await?;
    for user in users {
        env.users.create_user(&env.pool, user).await?;
    }
    Ok(env)
}

#[tokio::test]
async fn one_user_is_reset_as_the_page_says() -> Result<()> {
    let env = start(Options::default(), "support", &["alice"]).await?;
    let _operator = env.run().await?;
    Reader::of(&env, "docs/how-to/reset-one-user.md")?.runs("reset", &[]).await?;
    Reader::of(&env, "docs/grants.md")?.runs("stop", &[]).await?;
    Reader::of(&env, "docs/audit.md")?.runs("bind", &[]).await?;
    for name in ["bind-operator", "bind-requesters"] {
        Reader::of(&env, "docs/permissions.md")?.runs(name, &[]).await?;
    }
    assert_eq!(env.calls("alice"), 1);
    Ok(())
}

#[tokio::test]
async fn wrong_users_of_a_list_are_taken_out_as_the_page_says() -> Result<()> {
    let env = start(Options::default(), "support", &["alice", "bob", "carol", "dave"]).await?;
    for (kind, role) in [("rolebinding", "requester"), ("clusterrolebinding", "responder")] {
        let role = format!("--clusterrole=cognito-reset-{role}");
        let namespace = if kind == "rolebinding" { "support" } else { "" };
        env.kubectl(&["create", kind, "rita", &role, "--user=rita", "--namespace", namespace]).await?;
    }
    let rita = env.cluster.kubeconfig_by_certificate("rita")?.display().to_string();
    let _operator = env.run().await?;
    let reader = Reader::of(&env, "docs/how-to/reset-many-users.md")?;
    let path = plugin_folder()?;
    let path = path.path().to_str().context("the folder is not text")?;
    for step in ["hold", "create", "compare", "suspend", "release", "wait"] {
        reader.runs(step, &[("KUBECONFIG", &rita), ("PATH", path)]).await?;
    }
    let waiting = async || {
        let shown = env.plugin(&["status", "-n", "support"]).await?;
        ensure!(shown.stdout.contains("Suspended   2"), "{shown}");
        Ok(())
    };
    eventually(LIMIT, "the statuses to say Suspended", waiting).await?;
    for step in ["outcomes", "stop"] {
        reader.runs(step, &[("KUBECONFIG", &rita), ("PATH", path)]).await?;
    }
    let calls: Vec<_> = ["alice", "bob", "carol", "dave"].iter().map(|user| env.calls(user)).collect();
    assert_eq!(calls, [1, 1, 0, 0]);
    Ok(())
}

/// Returns a folder for PATH, in which kubectl finds the plugin.
fn plugin_folder() -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    symlink(plugin(), folder.path().join("kubectl-cognito_reset"))?;
    Ok(folder)
}

#[tokio::test]
async fn the_plugin_resets_a_list_as_the_page_says() -> Result<()> {
    let env = start(Options::default(), "support", &["alice", "bob"]).await?;
    let _operator = env.run().await?;
    let folder = plugin_folder()?;
    let path = folder.path().to_str().context("the folder is not text")?;
    let reader = Reader::of(&env, "docs/kubectl.md")?;
    for step in ["create", "look"] {
        reader.runs(step, &[("PATH", path)]).await?;
    }
    assert_eq!((env.calls("alice"), env.calls("bob")), (1, 1));
    Ok(())
}

#[tokio::test]
async fn a_job_that_runs_again_resets_nobody_twice() -> Result<()> {
    let env = start(Options::default(), "support", &["alice", "bob", "carol"]).await?;
    let _operator = env.run().await?;
    let reader = Reader::of(&env, "docs/how-to/ci-job.md")?;
    reader.runs("account", &[]).await?;
    let token = env.cluster.service_account_token("support", "reset-job").await?;
    let kubeconfig = env.cluster.kubeconfig_for(&token, None)?.display().to_string();
    let folder = tempfile::tempdir()?;
    symlink(plugin(), folder.path().join("kubectl-cognito_reset"))?;
    let path = folder.path().to_str().context("the folder is not text")?;
    let job = |user: &'static str| {
        [
            ("KUBECONFIG", &*kubeconfig),
            ("PATH", path),
            ("POOL", &*env.pool),
            ("TICKET", "HELP-4711"),
            ("RESET_USER", user),
        ]
    };
    for _ in 0..2 {
        let output = reader.runs("job", &job("alice")).await?;
        ensure!(output.contains("1 succeeded, 0 failed"), "{output}");
    }
    let failure = reader.runs("job", &job("nobody")).await.err().context("a failed reset does not fail the job")?;
    assert!(format!("{failure:#}").contains("exit status: 1"), "{failure:#}");

    for (file, user, steps) in
        [("reset-password.yml", "bob", "/jobs/reset/steps"), ("gitlab-ci.yml", "carol", "/reset-password/script")]
    {
        let [reset, explain @ ..] = &scripts(&reader.directory.path().join(file), steps)?[..] else { bail!("no step") };
        let of = |user| [&job(user)[..], &[("STARTED_BY", "erin"), ("GITLAB_USER_LOGIN", "erin")]].concat();
        for _ in 0..2 {
            let output = env.cluster.script(reset, &of(user)).await?;
            ensure!(output.contains("1 succeeded, 0 failed"), "{output}");
        }
        let failure = env.cluster.script(reset, &of("nobody")).await.err().context("no failure")?;
        assert!(format!("{failure:#}").contains("exit status: 1"), "{failure:#}");
        for explain in explain {
            let output = env.cluster.script(explain, &of("nobody")).await?;
            assert!(output.contains("UserNotFoundException"), "{output}");
        }
    }
    assert_eq!(["alice", "bob", "carol"].map(|user| env.calls(user)), [1, 1, 1]);
    let records = env.list("prrec").await?;
    let named = records.iter().filter(|record| record["attempts"][0]["onBehalfOf"] == "erin");
    assert_eq!(named.count(), 2, "{records:?}");
    Ok(())
}

/// Returns the scripts of the steps in a file of a CI system: texts, or objects with `run`.
fn scripts(file: &Path, steps: &str) -> Result<Vec<String>> {
    let file: Value = serde_saphyr::from_str(&std::fs::read_to_string(file)?)?;
    let steps = file.pointer(steps).and_then(Value::as_array).context("no steps")?;
    let script = |step: &Value| step.as_str().or_else(|| step["run"].as_str()).map(str::to_owned);
    steps.iter().map(|step| script(step).with_context(|| format!("no script: {step}"))).collect()
}

#[tokio::test]
async fn an_approver_follows_the_page() -> Result<()> {
    let env = start(Options::default(), "payroll", &["dave"]).await?;
    env.kubectl(&["apply", "-f", &root("deploy/kustomize/components/stamp-requester/mutatingadmissionpolicy.yaml")])
        .await?;
    env.kubectl(&["delete", "poolgrant", "everyone"]).await?;
    env.grant("by-two", "namespaces: [payroll]\nrequireApproval: true").await?;
    env.kubectl(&["create", "clusterrolebinding", "carol", "--clusterrole=cluster-admin", "--user=carol"]).await?;
    let spec = "reason: asked for by telephone, not verified\nticket: HELP-4712";
    let request = env.request("reset-help-4712", "dave", spec).replace("namespace: default", "namespace: payroll");
    let kubectl = env.cluster.as_admin();
    eventually(LIMIT, "the requester to be stamped", async || {
        let dry = ["create", "--dry-run=server", "-o", "json", "--as=carol", "-f", "-"];
        let made = kubectl.run_with_input(&dry, &request).await?.success()?;
        ensure!(made.contains("\"username\": \"carol\""), "{made}");
        Ok(())
    })
    .await?;
    kubectl.run_with_input(&["create", "--as=carol", "-f", "-"], &request).await?.success()?;
    let _operator = env.run().await?;
    let reader = Reader::of(&env, "docs/how-to/approve.md")?;
    reader.runs("bind", &[]).await?;
    let named = "--for=jsonpath={.status.userName}=dave";
    env.kubectl(&["wait", "-n", "payroll", "prr/reset-help-4712", named, "--timeout=60s"]).await?;
    let bob = env.cluster.kubeconfig_by_certificate("bob")?.display().to_string();
    for step in ["review", "approve", "end"] {
        reader.runs(step, &[("KUBECONFIG", &bob)]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_repositories_of_the_pages_can_be_applied() -> Result<()> {
    let env = start(Options::default(), "support", &[]).await?;
    for page in ["docs/how-to/argo-cd.md", "docs/how-to/flux.md"] {
        Reader::of(&env, page)?.runs("check", &[]).await.with_context(|| page)?;
    }
    Reader::of(&env, "docs/how-to/argo-cd.md")?.runs("grant", &[]).await?;
    Reader::of(&env, "docs/how-to/flux.md")?.runs("account", &[]).await?;
    let requests = root("deploy/gitops/examples/flux/requests");
    let account = "--as=system:serviceaccount:support:password-resets";
    let apply = ["apply", "--server-side", "--dry-run=server", account, "-k", requests.as_str()];
    eventually(LIMIT, "the account of Flux to be a requester", async || env.kubectl(&apply).await).await?;
    Ok(())
}

#[tokio::test]
async fn a_role_of_another_account_is_checked() -> Result<()> {
    let env = start(Options::default(), "shops", &[]).await?;
    let _operator = env.run().await?;
    Reader::of(&env, "docs/how-to/cross-account.md")?.runs("grant", &[]).await?;
    Ok(())
}

#[tokio::test]
async fn the_overlays_of_the_pages_can_be_applied() -> Result<()> {
    let env = Environment::start().await?;
    for (page, name, shown) in [
        ("docs/how-to/eks-identity.md", "annotate", None),
        ("docs/how-to/openshift.md", "apply", None),
        ("docs/how-to/vpc-endpoints.md", "endpoint", Some("AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER")),
        ("docs/how-to/govcloud-fips.md", "apply", Some("AWS_USE_FIPS_ENDPOINT")),
        // The generated name, in the volume of the patch.
        ("docs/network.md", "authorities", Some("cognito-reset-ca-")),
    ] {
        let reader = Reader::of(&env, page)?;
        std::fs::write(reader.directory.path().join("ca.crt"), "a certificate")?;
        reader.runs(name, &[]).await.with_context(|| page)?;
        let deployment = ["get", "deployment/cognito-reset-operator", "-n", "cognito-reset-system", "-o", "json"];
        let deployment = env.kubectl(&deployment).await?;
        assert!(shown.is_none_or(|shown| deployment.contains(shown)), "{page}: {deployment}");
    }
    Ok(())
}

#[tokio::test]
async fn a_restored_ledger_remembers_every_reset() -> Result<()> {
    let env = Environment::start().await?;
    let mut operator = env.run().await?;
    env.ask("alice").await?;
    assert_eq!(env.ended("alice").await?, "Succeeded/ResetAccepted");
    operator.sigterm()?;
    operator.wait_exit(LIMIT).await?;
    let reader = Reader::of(&env, "docs/how-to/backup.md")?;
    reader.runs("save", &[]).await?;
    // The new cluster.
    env.kubectl(&["delete", "prr", "alice"]).await?;
    env.kubectl(&["delete", "prrec", "--all"]).await?;
    reader.runs("restore", &[]).await?;
    env.apply(&env.request("alice", "alice", "")).await?;
    let _operator = env.run().await?;
    assert_eq!(env.ended("alice").await?, "Succeeded/AlreadyPerformed");
    assert_eq!(env.calls("alice"), 1);
    Ok(())
}

#[tokio::test]
async fn the_ledger_survives_the_operator_but_not_its_crds() -> Result<()> {
    let env = start(Options { controller_manager: true, ..Options::default() }, "support", &[]).await?;
    let mut operator = env.run().await?;
    env.ask("alice").await?;
    assert_eq!(env.ended("alice").await?, "Succeeded/ResetAccepted");
    let reader = Reader::of(&env, "docs/how-to/uninstall.md")?;
    reader.runs("hold", &[]).await?;
    operator.sigterm()?;
    operator.wait_exit(LIMIT).await?;
    reader.runs("remove", &[]).await?;
    let record = env.record("alice").await?.context("the record is gone")?;
    assert_eq!(record["effect"], json!("Performed"));
    reader.runs("delete", &[]).await?;
    let saved = std::fs::read_to_string(reader.directory.path().join("ledger.json"))?;
    assert!(saved.contains("\"effect\": \"Performed\""), "{saved}");
    assert_eq!(env.kubectl(&["get", "crd", "-o", "name"]).await?, "");
    Ok(())
}
