//! The pool of control planes: a tenant finds nothing of the one before, and there are never more
//! than it may have.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::LazyLock,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use testbed::{Lease, Options, Pool, Tools, environment::root, eventually};
use tokio::sync::Mutex;

const LIMIT: Duration = Duration::from_secs(60);

/// A pool of two, so that a test can lease all of it.
static POOL: LazyLock<Pool> = LazyLock::new(|| Pool::of_at_most(2));

/// One test at a time: they share the pool.
static ALONE: Mutex<()> = Mutex::const_new(());

/// The changes that a tenant can make to a control plane without CRDs of its own.
const DIRT: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: left, finalizers: [example.com/for-ever] }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: left, namespace: default, finalizers: [example.com/for-ever] }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: left, namespace: left }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: left }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: User, name: left }]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: { name: left }
spec:
  matchConstraints:
    resourceRules: [{ apiGroups: [""], apiVersions: [v1], operations: [CREATE, DELETE], resources: [secrets] }]
  validations: [{ expression: "false", message: left by another }]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: { name: left }
spec: { policyName: left, validationActions: [Deny] }
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: { name: left }
spec:
  reinvocationPolicy: Never
  matchConstraints:
    resourceRules: [{ apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [secrets] }]
  mutations:
    - patchType: JSONPatch
      jsonPatch: { expression: "[JSONPatch{op: 'add', path: '/stringData', value: {'left': 'by-another'}}]" }
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: { name: left }
spec: { policyName: left }
"#;

const SECRET: [&str; 5] = ["create", "secret", "generic", "mine", "--dry-run=server"];

async fn lease() -> Result<Lease> {
    POOL.lease(Options::default()).await
}

/// Returns the API servers that this process has started and not ended.
fn api_servers() -> Result<BTreeSet<String>> {
    let ours = Command::new("ps").args(["--ppid", &std::process::id().to_string(), "-o", "pid=,comm="]).output()?;
    let lines = String::from_utf8(ours.stdout)?;
    Ok(lines.lines().filter(|line| line.contains("kube-apiserver")).map(str::to_owned).collect())
}

/// Changes, adds and deletes, and waits until the API server acts upon it.
async fn make_dirty(cluster: &Lease) -> Result<()> {
    cluster.apply_yaml(DIRT).await?;
    for line in [
        "label namespace default left=true",
        "delete clusterrole system:discovery",
        "delete --wait=false namespace left",
        "patch clusterrole view --type=merge -p {\"rules\":[]}",
    ] {
        cluster.kubectl(&line.split(' ').collect::<Vec<_>>()).await?.success()?;
    }
    fs::write(cluster.file("left"), "behind")?;
    eventually(LIMIT, "the policies and the binding to be in effect", async || {
        let refused = cluster.kubectl(&SECRET).await?.refusal()?;
        ensure!(refused.contains("left by another"), "{refused}");
        cluster.kubectl(&["get", "secrets", "--as=left"]).await?.success()
    })
    .await?;
    cluster.kubectl(&["delete", "validatingadmissionpolicybinding", "left"]).await?.success()?;
    eventually(LIMIT, "the other policy to be in effect", async || {
        let made = cluster.kubectl(&[&SECRET[..], &["-o", "json"]].concat()).await?.success()?;
        ensure!(made.contains("YnktYW5vdGhlcg"), "{made}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_lease_finds_nothing_that_an_earlier_one_left() -> Result<()> {
    let _alone = ALONE.lock().await;
    // The pool has no other control plane.
    let (_other, first) = (lease().await?, lease().await?);
    let url = first.url();
    let everything = [
        "get",
        "namespaces,configmaps,serviceaccounts,clusterroles,clusterrolebindings,validatingadmissionpolicies,\
         validatingadmissionpolicybindings,mutatingadmissionpolicies,mutatingadmissionpolicybindings",
        "-A",
        "-o",
        "jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.uid} {.metadata.labels} {.rules}{\"\\n\"}{end}",
    ];
    let before = first.kubectl(&everything).await?.success()?;
    make_dirty(&first).await?;
    assert_ne!(first.kubectl(&everything).await?.success()?, before);
    drop(first);
    let second = lease().await?;
    assert_eq!(second.url(), url, "it was cleaned, and not replaced");
    // The change is in effect at once, and not only in the end.
    let refused = second.kubectl(&["get", "secrets", "--as=left"]).await?.refusal()?;
    assert!(refused.contains("forbidden"), "{refused}");
    let made = second.kubectl(&[&SECRET[..], &["-o", "json"]].concat()).await?.success()?;
    assert!(!made.contains("YnktYW5vdGhlcg"), "{made}");
    second.kubectl(&["get", "--raw=/version", "--as=anybody"]).await?.success().context("a role that was put back")?;
    assert_eq!(second.kubectl(&everything).await?.success()?, before);
    assert!(!second.file("left").exists());
    Ok(())
}

#[tokio::test]
async fn a_changed_definition_is_restored_for_the_next_lease() -> Result<()> {
    let _alone = ALONE.lock().await;
    let options = || Options { kustomizations: vec![root("deploy/kustomize/crds").into()], ..Options::default() };
    let lease = async || POOL.lease(options()).await;
    let (_other, first) = (lease().await?, lease().await?);
    let url = first.url();
    let name = "passwordresetrequests.cognito-reset.dev";
    let definition = first.kubectl(&["get", "crd", name, "-o", "json"]).await?.success()?;
    let looser = definition.replace("\"Skip\"", "\"Skip\", \"left\"");
    assert_ne!(definition, looser);
    first.apply_yaml(&looser).await?;
    let odd = "apiVersion: cognito-reset.dev/v1alpha1\nkind: PasswordResetRequest\nmetadata: {name: odd}\nspec: \
               {userPoolID: eu-west-1_Example01, username: odd, ifResetRequired: left}\n";
    eventually(LIMIT, "the looser definition", async || first.apply_yaml(odd).await).await?;
    drop(first);
    for _ in 0..3 {
        let next = lease().await?;
        assert_eq!(next.url(), url, "it was cleaned, and not replaced");
        // The change is in effect at once, and not only in the end.
        let refused = next.as_admin().apply(odd).await?.refusal()?;
        assert!(refused.contains("Unsupported value"), "{refused}");
        assert_eq!(next.kubectl(&["get", "prr", "-A", "-o", "name"]).await?.success()?, "");
        next.kubectl(&["label", "crd", name, "left=true"]).await?.success()?;
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_put_back_is_replaced() -> Result<()> {
    let _alone = ALONE.lock().await;
    let (_other, first) = (lease().await?, lease().await?);
    let url = first.url();
    // The admission plugin caches the quotas that it has read for 30 s.
    first.kubectl(&["create", "quota", "left", "--hard=secrets=0"]).await?.success()?;
    drop(first);
    let mut second = lease().await?;
    let restarted = second.url();
    assert_ne!(restarted, url);
    second.restart_api_server().await?;
    drop(second);
    assert_ne!(lease().await?.url(), restarted);
    Ok(())
}

#[tokio::test]
async fn a_test_that_panics_gives_its_control_plane_back() -> Result<()> {
    let _alone = ALONE.lock().await;
    let task = tokio::spawn(async {
        let leased = lease().await?;
        leased.kubectl(&["create", "namespace", "of-a-panic"]).await?.success()?;
        assert!(leased.url().is_empty(), "a panic on purpose");
        anyhow::Ok(())
    });
    assert!(task.await.unwrap_err().is_panic());
    // The test leases both control planes, so that it gets the one in question.
    for leased in [lease().await?, lease().await?] {
        let refused = leased.kubectl(&["get", "namespace", "of-a-panic"]).await?.refusal()?;
        assert!(refused.contains("not found"), "{refused}");
    }
    Ok(())
}

#[tokio::test]
async fn there_are_never_more_than_two_control_planes() -> Result<()> {
    let _alone = ALONE.lock().await;
    let special = || Options { fsync: true, ..Options::default() };
    let most = std::sync::atomic::AtomicUsize::new(0);
    let count = async || {
        loop {
            most.fetch_max(api_servers().map_or(9, |ours| ours.len()), std::sync::atomic::Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let tenants = async {
        let one = async |options: Options| {
            let leased = POOL.lease(options.clone()).await?;
            ensure!(leased.options() == &options, "{:?}", leased.options());
            leased.kubectl(&["get", "namespaces"]).await?.success()
        };
        let all = [special(), Options::default(), Options::default(), special(), Options::default()];
        futures::future::try_join_all(all.into_iter().map(one)).await
    };
    tokio::select! {
        () = count() => {}
        done = tenants => { done?; }
    }
    assert_eq!(most.into_inner(), 2);
    Ok(())
}

/// This is not a test: the test below starts it as a process of its own, from this very program.
#[tokio::test]
async fn tenant() -> Result<()> {
    let Some(end) = std::env::var_os("TESTBED_TEST_TENANT") else { return Ok(()) };
    Tools::locate().await?;
    let leased = lease().await?;
    println!("\nlease: {} {}", leased.url(), leased.directory().display());
    match end.to_str() {
        Some("abort") => std::process::abort(),
        Some("panic") => panic!("on purpose"),
        _ => Ok(()),
    }
}

#[tokio::test]
async fn nothing_outlives_the_process_however_it_ends() -> Result<()> {
    let _alone = ALONE.lock().await;
    let start = |end| {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--exact", "tenant", "--nocapture"]).env("TESTBED_TEST_TENANT", end).stdout(Stdio::piped());
        anyhow::Ok((end, command.spawn()?))
    };
    for started in ["returns", "panic", "abort"].map(start) {
        let (end, process) = started?;
        let output = process.wait_with_output()?;
        assert_eq!(output.status.success(), end == "returns", "{}", output.status);
        let shown = String::from_utf8(output.stdout)?;
        let line = shown.lines().find_map(|line| line.strip_prefix("lease: "));
        let line = line.with_context(|| format!("the process that {end} got no lease, and printed: {shown}"))?;
        let (url, directory) = line.split_once(' ').context("no directory")?;
        let address = url.trim_start_matches("https://");
        eventually(LIMIT, "the server to be gone", async || {
            std::net::TcpStream::connect(address).is_err().then_some(())
        })
        .await?;
        eventually(LIMIT, "its directory to be gone", async || (!Path::new(directory).exists()).then_some(())).await?;
    }
    Ok(())
}
