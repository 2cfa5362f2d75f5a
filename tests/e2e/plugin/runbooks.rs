//! The runbooks of `deploy/runbooks`. There is no kubelet: the API server admits the Pod of a
//! runbook, and the test runs the command of its container as a process, by the token of its
//! account and with a folder for each volume.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{
    KubectlResult,
    environment::{Environment, plugin, root},
};

/// The path of the plugin in the image, which tests of the image check.
const PROGRAM: &str = "/usr/local/bin/kubectl-cognito_reset";
const POOL: &str = "eu-west-1_Example01";

/// A runbook that is applied, with the volumes of its claims.
struct Runbook<'a> {
    env: &'a Environment,
    documents: Vec<Value>,
    /// One folder for each claim, and each ConfigMap.
    volumes: TempDir,
}

impl<'a> Runbook<'a> {
    /// Applies a runbook with the pool of the test in place of that of the example.
    async fn apply(env: &'a Environment, name: &str, namespace: &str) -> Result<Self> {
        if !env.kubectl(&["get", "namespaces", "-o", "name"]).await?.contains(namespace) {
            env.kubectl(&["create", "namespace", namespace]).await?;
        }
        let restricted = "pod-security.kubernetes.io/enforce=restricted";
        env.kubectl(&["label", "--overwrite", "namespace", namespace, restricted]).await?;
        let text = fs::read_to_string(root(&format!("deploy/runbooks/{name}")))?.replace(POOL, &env.pool);
        env.apply(&text).await?;
        Ok(Self { env, documents: documents(&text)?, volumes: tempfile::tempdir()? })
    }

    fn of_kind(&self, kind: &str) -> Result<&Value> {
        self.documents.iter().find(|it| it["kind"] == kind).with_context(|| format!("no {kind}"))
    }

    /// Lets the API server admit the Pod of this template, and returns it.
    async fn admitted(&self, namespace: &Value, template: &Value) -> Result<Value> {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "namespace": namespace},
            "spec": template["spec"]});
        let create = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
        let made = self.env.cluster.as_admin().run_with_input(&create, &pod.to_string()).await?;
        ensure!(!made.stderr.contains("Warning"), "{made}");
        Ok(serde_json::from_str(&made.success()?)?)
    }

    /// Runs the only container of a Pod.
    async fn run(&self, pod: &Value) -> Result<KubectlResult> {
        let spec = &pod["spec"];
        let [container] = spec["containers"].as_array().map_or(&[][..], Vec::as_slice) else { bail!("{spec}") };
        ensure!(container["command"] == json!([PROGRAM]) && container.get("env").is_none(), "{container}");
        let mounts = self.mounts(spec, container)?;
        let arguments = container["args"].as_array().context("no arguments")?.iter();
        let arguments = arguments.map(|it| Ok(mapped(it.as_str().context("no text")?, &mounts)));
        let arguments = arguments.collect::<Result<Vec<String>>>()?;
        let (namespace, account) = (&pod["metadata"]["namespace"], &spec["serviceAccountName"]);
        let (namespace, account) = (namespace.as_str().unwrap_or_default(), account.as_str().unwrap_or_default());
        let token = self.env.cluster.service_account_token(namespace, account).await?;
        let kubectl = self.env.cluster.as_admin().with_kubeconfig(&self.env.cluster.kubeconfig_for(&token, None)?);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        kubectl.with_program(plugin()).run(&arguments).await
    }

    /// Returns each path of a mount with the folder in its place.
    fn mounts(&self, spec: &Value, container: &Value) -> Result<Vec<(String, PathBuf)>> {
        let volumes = spec["volumes"].as_array().context("no volumes")?;
        let mut mounts = Vec::new();
        for mount in container["volumeMounts"].as_array().context("no mounts")? {
            let path = mount["mountPath"].as_str().context("no path")?;
            let Some(volume) = volumes.iter().find(|it| it["name"] == mount["name"]) else { bail!("{mount}") };
            // The token of the account, which the kubeconfig has.
            if volume.get("projected").is_some() {
                continue;
            }
            mounts.push((path.to_owned(), self.folder(volume)?));
        }
        Ok(mounts)
    }

    /// Returns the folder of a volume. That of a ConfigMap has its files.
    fn folder(&self, volume: &Value) -> Result<PathBuf> {
        if let Some(claim) = volume["persistentVolumeClaim"]["claimName"].as_str() {
            ensure!(self.of_kind("PersistentVolumeClaim")?["metadata"]["name"] == claim, "{volume}");
            let folder = self.volumes.path().join(claim);
            fs::create_dir_all(&folder)?;
            return Ok(folder);
        }
        let map = self.of_kind("ConfigMap")?;
        ensure!(volume["configMap"]["name"] == map["metadata"]["name"], "{volume}");
        let folder = self.volumes.path().join("map");
        fs::create_dir_all(&folder)?;
        for (name, text) in map["data"].as_object().context("no data")? {
            fs::write(folder.join(name), text.as_str().context("no text")?)?;
        }
        Ok(folder)
    }
}

fn documents(text: &str) -> Result<Vec<Value>> {
    text.split("\n---\n").map(|document| Ok(serde_saphyr::from_str(document)?)).collect()
}

/// Returns an argument with the folders in place of the paths of the mounts.
fn mapped(argument: &str, mounts: &[(String, PathBuf)]) -> String {
    mounts.iter().fold(argument.to_owned(), |argument, (path, folder)| {
        argument.replace(&format!("={path}"), &format!("={}", folder.display()))
    })
}

/// Returns the names of the files, sorted.
fn files(folder: &Path) -> Result<Vec<String>> {
    let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

#[tokio::test]
async fn the_job_resets_its_list_once_however_often_it_runs() -> Result<()> {
    let env = Environment::start().await?;
    let users = ["alice@example.com", "bob@example.com"];
    for user in users {
        env.users.create_user(&env.pool, user).await?;
    }
    let _operator = env.run().await?;
    let runbook = Runbook::apply(&env, "job.yaml", "support").await?;
    let job = runbook.of_kind("Job")?;
    let pod = runbook.admitted(&job["metadata"]["namespace"], &job["spec"]["template"]).await?;
    assert_eq!(job["spec"]["backoffLimit"], json!(2));
    is_bounded(&job["spec"]["template"]["spec"]["containers"][0]["args"]);
    for _ in 0..2 {
        let run = runbook.run(&pod).await?;
        assert!(run.code == Some(0) && run.stdout.contains("2 succeeded, 0 failed, 0 unknown"), "{run}");
    }
    // Somebody deletes a request: its reset is not repeated, and the Job does not say that it was.
    let name = env.kubectl(&["get", "prr", "-n", "support", "-o", "name"]).await?;
    let name = name.lines().next().context("no request")?.to_owned();
    env.kubectl(&["delete", "-n", "support", &name]).await?;
    let again = runbook.run(&pod).await?;
    assert_eq!(again.code, Some(5), "{again}");
    assert_eq!(users.map(|user| env.calls(user)), [1, 1]);
    let rules = &job["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"];
    assert_eq!(rules, &json!([1, 2, 4]));
    Ok(())
}

/// The requests end after three runs have waited for them: later, nobody looks at what is sent.
fn is_bounded(arguments: &Value) {
    for argument in ["--timeout=30m", "--not-after=2h"] {
        assert!(arguments.as_array().is_some_and(|all| all.contains(&json!(argument))), "{argument}: {arguments}");
    }
}

#[tokio::test]
async fn the_cron_job_continues_its_chain_of_exports() -> Result<()> {
    let env = Environment::start().await?;
    let _operator = env.run().await?;
    env.ask("alice").await?;
    assert_eq!(env.ended("alice").await?, "Succeeded/ResetAccepted");
    let runbook = Runbook::apply(&env, "cronjob.yaml", "cognito-reset-audit").await?;
    let cron = runbook.of_kind("CronJob")?;
    assert_eq!(cron["spec"]["concurrencyPolicy"], "Forbid");
    let template = &cron["spec"]["jobTemplate"]["spec"]["template"];
    let pod = runbook.admitted(&cron["metadata"]["namespace"], template).await?;
    let ledger = runbook.volumes.path().join("ledger");
    may_only_read(&env).await?;
    let mut weaker = pod.clone();
    weaker["spec"]["securityContext"]["runAsNonRoot"] = json!(false);
    let refused = runbook.admitted(&cron["metadata"]["namespace"], &weaker).await.err().context("not restricted")?;
    assert!(refused.to_string().contains("violates PodSecurity"), "{refused}");
    // What a run that was killed leaves: a draft, and a ledger file without its manifest.
    fs::create_dir(&ledger)?;
    let draft = ".kubectl-cognito_reset.ledger-20300101T000000Z.manifest.json.1-2.draft";
    fs::write(ledger.join(draft), "{\n  \"records\": [")?;
    fs::write(ledger.join("ledger-20300101T000000Z.ndjson"), "{}\n")?;
    let first = runbook.run(&pod).await?;
    assert!(first.ok && first.stderr.contains("1 record (of all times): 1 Performed"), "{first}");
    assert!(first.stderr.contains("not part of the chain") && first.stderr.contains("1 draft left"), "{first}");
    assert!(first.stderr.contains("this is the first export of a chain") && !first.stderr.contains("uid"), "{first}");

    env.ask("bob").await?;
    assert_eq!(env.ended("bob").await?, "Succeeded/ResetAccepted");
    let second = runbook.run(&pod).await?;
    assert!(second.ok && second.stderr.contains("1 record (since "), "{second}");
    let manifests: Vec<String> = files(&ledger)?.into_iter().filter(|name| name.ends_with(".manifest.json")).collect();
    let [before, newest] = manifests.as_slice() else { bail!("{manifests:?}") };
    assert!(second.stderr.contains(&format!("the export before is {before}\n")), "{second}");
    for (manifest, shown) in [(before, "1 export with 1 record"), (newest, "2 exports with 2 records")] {
        let path = ledger.join(manifest).display().to_string();
        let verified = env.plugin(&["verify", &path, "--live"]).await?;
        assert!(verified.ok && verified.stderr.contains(&format!("{shown}, 0 differences")), "{verified}");
    }
    assert_eq!((env.calls("alice"), env.calls("bob")), (1, 1));
    // The newest export has only bob: with the one before, it is the whole ledger.
    let alice = env.record("alice").await?.context("no record")?["metadata"]["name"].clone();
    let alice = alice.as_str().context("no name")?;
    env.kubectl(&["delete", "prrec", alice]).await?;
    let removed = env.plugin(&["verify", &ledger.join(newest).display().to_string(), "--live"]).await?;
    let wanted = format!("the cluster: removed: record {alice}\n");
    assert!(removed.code == Some(1) && removed.stdout.starts_with(&wanted), "{removed}");
    Ok(())
}

/// The account of the CronJob may read the ledger and the name of the cluster, and change nothing.
async fn may_only_read(env: &Environment) -> Result<()> {
    for (verb, resource, wanted) in [
        ("list", "passwordresetrecords.cognito-reset.dev", "yes"),
        ("delete", "passwordresetrecords.cognito-reset.dev", "no"),
        ("create", "passwordresetrequests.cognito-reset.dev", "no"),
        ("get", "namespaces/kube-system", "yes"),
        ("get", "namespaces/default", "no"),
        ("get", "secrets", "no"),
    ] {
        let account = "--as=system:serviceaccount:cognito-reset-audit:export-ledger";
        let may = env.cluster.as_admin().run(&["auth", "can-i", verb, resource, "-A", account]).await?;
        assert_eq!(may.stdout.trim(), wanted, "{may}");
    }
    Ok(())
}

/// No test runs the template: Argo Workflows is not here. Its parameters, and the flags of the
/// command, are checked.
#[tokio::test]
async fn the_workflow_template_uses_its_parameters() -> Result<()> {
    let text = fs::read_to_string(root("deploy/runbooks/argo-workflow.yaml"))?;
    let [template] = &documents(&text)?[..] else { bail!("not one document") };
    let reset = &template["spec"]["templates"][0];
    assert_eq!((&template["kind"], &template["spec"]["entrypoint"]), (&json!("WorkflowTemplate"), &reset["name"]));
    assert_eq!(reset["container"]["command"], json!([PROGRAM]));
    let arguments = reset["container"]["args"].as_array().context("no arguments")?;
    let mut arguments: Vec<String> = arguments.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect();
    for parameter in reset["inputs"]["parameters"].as_array().context("no parameters")? {
        let name = parameter["name"].as_str().context("no name")?;
        let reference = format!("{{{{inputs.parameters.{name}}}}}");
        let value = if name == "pool" { POOL } else { "help-4711" };
        assert!(arguments.iter().any(|argument| argument.contains(&reference)), "{name}");
        arguments = arguments.iter().map(|argument| argument.replace(&reference, value)).collect();
    }
    assert_eq!(reset["retryStrategy"]["limit"], "2");
    is_bounded(&reset["container"]["args"]);
    arguments.retain(|argument| argument != "--wait" && !argument.starts_with("--timeout"));
    let at = arguments.iter().position(|argument| argument == "--").context("no --")?;
    arguments.insert(at, "--dry-run=client".to_owned());
    let run = tokio::process::Command::new(plugin()).args(&arguments).env_clear().output().await?;
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert!(String::from_utf8_lossy(&run.stdout).contains("for help-4711"), "{run:?}");
    Ok(())
}
