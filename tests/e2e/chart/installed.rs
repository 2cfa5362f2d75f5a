//! Installed by Helm with `--wait`. KWOK reports the Pods as ready, and the operator runs beside
//! the cluster with the arguments, the environment and the account of its Pods.

use anyhow::{Context, Result, ensure};
use testbed::environment::{Environment, LIMIT, binary};
use testbed::{Deployment, Lease, Node, Operator, Options, Pool, eventually};

use super::{Helm, NAMESPACE, RELEASE};

const CREATE: &str = "--create-namespace";

async fn cluster() -> Result<Lease> {
    Pool::of_this_process().lease(Options { workloads: true, ..Options::default() }).await
}

/// Returns the Deployment of the release's current revision.
async fn deployed(helm: &Helm) -> Result<Deployment> {
    Deployment::parse(helm.run(&["get", "manifest", RELEASE]).await?)
}

/// Starts one operator for each Pod of the release, with the Pod's name.
async fn replicas(env: &Environment, helm: &Helm) -> Result<Vec<Operator>> {
    let deployment = deployed(helm).await?;
    let list = ["get", "pods", "-n", NAMESPACE, "-o", "jsonpath={.items[*].metadata.name}"];
    let pods = env.kubectl(&list).await?;
    let mut operators = Vec::new();
    for pod in pods.split_whitespace() {
        let mut operator = Operator::builder(binary())
            .deployment(&deployment)
            .env("COGNITO_RESET_IDENTITY", pod)
            .kubeconfig(&env.direct_kubeconfig().await?)
            .cognito(&env.cognito.url())
            .sts(&env.cognito.url())
            .start()?;
        operator.wait_ready(LIMIT).await?;
        operators.push(operator);
    }
    Ok(operators)
}

async fn stop(operators: Vec<Operator>) -> Result<()> {
    for mut operator in operators {
        operator.sigterm()?;
        ensure!(operator.wait_exit(LIMIT).await?.success(), "{}", operator.logs());
    }
    Ok(())
}

#[tokio::test]
async fn an_installed_release_resets_and_keeps_the_ledger() -> Result<()> {
    let cluster = cluster().await?;
    let _node = Node::start(&cluster).await?;
    let helm = Helm(cluster.as_admin().helm());
    // As the page of the chart says.
    let admin = cluster.as_admin();
    admin.run(&["create", "namespace", NAMESPACE]).await?.success()?;
    let restricted = "pod-security.kubernetes.io/enforce=restricted";
    admin.run(&["label", "namespace", NAMESPACE, restricted]).await?.success()?;
    let notes = helm.apply("install", RELEASE, NAMESPACE, &[]).await?.success()?;
    assert!(notes.contains("is installed in the namespace cognito-reset-system"), "{notes}");
    assert!(!notes.contains("WARNING"), "{notes}");
    let first = deployed(&helm).await?;
    let env = Environment::among(cluster, first.clone()).await?;

    let operators = replicas(&env, &helm).await?;
    assert_eq!(operators.len(), 2);
    // The policy that stamps learns of a new kind some seconds after its CRD, and refuses until
    // then.
    env.users.create_user(&env.pool, "alice").await?;
    let request = env.request("alice", "alice", "");
    eventually(LIMIT, "the stamp to know the kind", async || env.apply(&request).await).await?;
    assert_eq!(env.ended("alice").await?, "Succeeded/ResetAccepted");
    let record = env.record("alice").await?.context("no record")?;
    let stamped = env.get("prr", "alice").await?["spec"]["requestedBy"].clone();
    assert_eq!(stamped["username"], "admin", "the chart installs the stamp: {stamped}");
    let lease = ["get", "lease", RELEASE, "-n", NAMESPACE, "-o", "jsonpath={.spec.holderIdentity}"];
    let holder = env.kubectl(&lease).await?;
    assert!(holder.starts_with("cognito-reset-operator-"), "a Pod holds the Lease: {holder}");
    stop(operators).await?;

    let more = ["--set=config.rate=5", "--set=replicas=1"];
    helm.apply("upgrade", RELEASE, NAMESPACE, &more).await?.success()?;
    let upgraded = deployed(&helm).await?;
    assert!(upgraded.arguments.contains(&"--rate=5".to_owned()), "{:?}", upgraded.arguments);
    helm.run(&["rollback", RELEASE, "1", "--wait", "--timeout=300s"]).await?;
    let back = deployed(&helm).await?;
    assert_eq!(back.arguments, first.arguments);
    let ready = ["get", "deployment", RELEASE, "-n", NAMESPACE, "-o", "jsonpath={.status.readyReplicas}"];
    assert_eq!(env.kubectl(&ready).await?, "2");

    helm.run(&["uninstall", RELEASE, "--wait", "--timeout=300s"]).await?;
    let gone = "clusterrole,clusterrolebinding,validatingadmissionpolicy,mutatingadmissionpolicy";
    let left =
        env.kubectl(&["get", gone, "-l", "app.kubernetes.io/part-of=cognito-reset-operator", "-o", "name"]).await?;
    assert_eq!(left, "", "what is left after the removal");
    assert_eq!(env.record("alice").await?.context("the ledger is gone")?["metadata"]["uid"], record["metadata"]["uid"]);

    helm.apply("install", RELEASE, NAMESPACE, &[]).await?.success()?;
    let operators = replicas(&env, &helm).await?;
    env.kubectl(&["delete", "prr", "alice"]).await?;
    env.apply(&env.request("alice", "alice", "")).await?;
    assert_eq!(env.ended("alice").await?, "Succeeded/AlreadyPerformed");
    assert_eq!(env.calls("alice"), 1);
    stop(operators).await
}

#[tokio::test]
async fn a_second_release_is_rejected_with_the_way_out() -> Result<()> {
    let cluster = cluster().await?;
    let _node = Node::start(&cluster).await?;
    let helm = Helm(cluster.as_admin().helm());
    helm.apply("install", RELEASE, NAMESPACE, &[CREATE]).await?.success()?;
    let said = helm.apply("install", "other", "elsewhere", &[CREATE]).await?.refusal()?;
    assert!(said.contains("already installed in this cluster, by the release cognito-reset-operator"), "{said}");
    assert!(said.contains("helm upgrade cognito-reset-operator --namespace cognito-reset-system"), "{said}");

    // Half of it is gone: an upgrade puts it back.
    let admin = cluster.as_admin();
    let half = ["delete", "clusterrole/cognito-reset-operator", "validatingadmissionpolicy/cognito-reset-settle"];
    admin.run(&half).await?.success()?;
    admin.run(&["delete", "deployment", RELEASE, "-n", NAMESPACE]).await?.success()?;
    helm.apply("upgrade", RELEASE, NAMESPACE, &[]).await?.success()?;
    admin
        .run(&["get", "clusterrole/cognito-reset-operator", "validatingadmissionpolicy/cognito-reset-settle"])
        .await?
        .success()?;

    // So does a removal that was interrupted after half of the objects.
    admin.run(&half).await?.success()?;
    helm.run(&["uninstall", RELEASE, "--wait", "--timeout=300s"]).await?;
    let said = helm.apply("install", "other", "elsewhere", &[CREATE]).await?.refusal()?;
    assert!(said.contains("the CRDs and the ledger belong to the release cognito-reset-operator"), "{said}");
    // The message ends with the command that hands them over.
    let command = said.split("kubectl annotate").nth(1).and_then(|rest| rest.lines().next()).context("no command")?;
    let words: Vec<_> = ["annotate"].into_iter().chain(command.split_whitespace()).collect();
    admin.run(&words).await?.success()?;
    helm.apply("install", "other", "elsewhere", &[CREATE]).await?.success()?;
    Ok(())
}

#[tokio::test]
async fn an_installation_of_kustomize_is_taken_over() -> Result<()> {
    let cluster = cluster().await?;
    let _node = Node::start(&cluster).await?;
    for part in ["crds", "base"] {
        let path = testbed::environment::root(&format!("deploy/kustomize/{part}"));
        cluster.kubectl(&["apply", "--server-side", "-k", &path]).await?.success()?;
    }
    let helm = Helm(cluster.as_admin().helm());
    let said = helm.apply("install", RELEASE, NAMESPACE, &[]).await?.refusal()?;
    assert!(said.contains("cannot be imported into the current release"), "{said}");
    // The selector of a Deployment cannot be changed.
    cluster.kubectl(&["delete", "deployment", RELEASE, "-n", NAMESPACE]).await?.success()?;
    helm.apply("install", RELEASE, NAMESPACE, &["--take-ownership", "--force-conflicts"]).await?.success()?;
    let role = cluster.read("/apis/rbac.authorization.k8s.io/v1/clusterroles/cognito-reset-operator").await?;
    assert_eq!(role["metadata"]["annotations"]["meta.helm.sh/release-name"], RELEASE);
    Ok(())
}

/// Returns the message with which helm refuses to install with these arguments.
async fn refused(helm: &Helm, arguments: &[&str]) -> Result<String> {
    helm.apply("install", RELEASE, NAMESPACE, &[arguments, &[CREATE]].concat()).await?.refusal()
}

#[tokio::test]
async fn a_cluster_without_the_apis_gets_a_message() -> Result<()> {
    // An API server that behaves like one of Kubernetes 1.35.
    let old = vec!["--emulated-version=1.35".to_owned()];
    let options = Options { workloads: true, api_server_arguments: old, ..Options::default() };
    let cluster = Pool::of_this_process().lease(options).await?;
    let _node = Node::start(&cluster).await?;
    let helm = Helm(cluster.as_admin().helm());
    let said = refused(&helm, &["--set=policies.stampRequester=true"]).await?;
    assert!(said.contains("policies.stampRequester is true, but the cluster does not serve"), "{said}");
    let said = refused(&helm, &["--set=metrics.podMonitor.enabled=true"]).await?;
    assert!(said.contains("metrics.podMonitor.enabled is true, but the cluster has no PodMonitor"), "{said}");
    let notes = helm.apply("install", RELEASE, NAMESPACE, &[CREATE]).await?.success()?;
    assert!(notes.contains("NOTE: requesters are not stamped"), "{notes}");
    let policies = cluster.read("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies").await?;
    let names: Vec<_> =
        policies["items"].as_array().into_iter().flatten().map(|policy| &policy["metadata"]["name"]).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    Ok(())
}

#[tokio::test]
async fn crds_that_are_not_kept_take_the_ledger_with_them() -> Result<()> {
    let cluster = cluster().await?;
    let _node = Node::start(&cluster).await?;
    let helm = Helm(cluster.as_admin().helm());
    let notes = helm.apply("install", RELEASE, NAMESPACE, &[CREATE, "--set=crds.keep=false"]).await?.success()?;
    assert!(notes.contains("WARNING: crds.keep is false"), "{notes}");
    helm.run(&["uninstall", RELEASE, "--wait", "--timeout=300s"]).await?;
    eventually(LIMIT, "the CRDs to be deleted", async || {
        let all = cluster.read("/apis/apiextensions.k8s.io/v1/customresourcedefinitions").await?;
        ensure!(all["items"].as_array().is_some_and(Vec::is_empty), "{}", all["items"].as_array().map_or(0, Vec::len));
        anyhow::Ok(())
    })
    .await
}
