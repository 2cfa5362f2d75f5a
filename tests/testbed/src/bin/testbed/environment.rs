//! All servers and the operator, started in order.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use testbed::{ControlPlane, Deployment, FaultProxy, Moto, Operator, Options, Tools};

use crate::{
    samples,
    terminal::{Terminal, say},
};

const READY_LIMIT: Duration = Duration::from_secs(30);

/// The root of the repository.
pub(crate) fn repository() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap_or(root)
}

/// The directory for the files that the testbed writes for people.
pub(crate) fn output() -> PathBuf {
    repository().join("target").join("testbed")
}

/// Returns the kubectl plugin, which is built beside this program.
pub(crate) fn plugin() -> Result<PathBuf> {
    let program = std::env::current_exe().context("this program does not know its own path")?;
    let plugin = program.with_file_name("kubectl-cognito_reset");
    ensure!(plugin.exists(), "there is no kubectl plugin at {}: run `make testbed`", plugin.display());
    Ok(plugin)
}

/// The running servers and the operator. All of it ends when dropped.
pub(crate) struct Environment {
    // Fields drop in this order: the operator before the servers that it uses.
    pub(crate) operator: Operator,
    pub(crate) proxy: FaultProxy,
    pub(crate) moto: Moto,
    pub(crate) cluster: ControlPlane,
    pub(crate) tools: Tools,
    pub(crate) pool: String,
}

impl Environment {
    /// Starts the servers, makes the pool, writes the samples, applies `deploy/`, and starts the
    /// operator as the Deployment there says.
    pub(crate) async fn start(program: &Path) -> Result<Self> {
        ensure!(
            program.exists(),
            "there is no operator at {}: build it first (cargo build --release), or say --operator PATH",
            program.display()
        );
        let (root, output) = (repository(), output());
        let tools = Tools::locate().await?;
        say("Starting etcd, kube-apiserver, kube-controller-manager, and moto in place of Cognito");
        let audit_policy = Some(root.join("deploy/audit/policy.yaml"));
        let options = Options { controller_manager: true, audit_policy, ..Options::default() };
        let (cluster, moto) = tokio::try_join!(ControlPlane::start(&tools, options), Moto::start(&tools))?;
        // This proxy injects no fault: it counts the calls on their way to Cognito.
        let proxy = FaultProxy::start(moto.url(), None).await?;
        let pool = samples::create_pool(&moto.cognito()).await?;
        samples::write(&output, &pool)?;
        println!("API server {}, Cognito {}, user pool {pool}", cluster.url(), moto.url());

        say("Installing the CRDs and the operator's service account and permissions");
        let terminal = Terminal::new(cluster.as_admin(), &root);
        terminal.kubectl("apply -k deploy/kustomize/crds").await?;
        terminal.kubectl("wait --for=condition=Established crd --all --timeout=30s").await?;
        terminal.kubectl("apply -k deploy/kustomize/base").await?;
        terminal.kubectl("apply -f deploy/kustomize/components/stamp-requester/mutatingadmissionpolicy.yaml").await?;
        samples::stamped(&cluster).await?;

        let deployment = Deployment::render(cluster.as_admin(), &root.join("deploy/kustomize/base")).await?;
        let (namespace, account) = (&deployment.namespace, &deployment.service_account);
        say(&format!("Starting the operator as the Deployment says: {}", deployment.arguments.join(" ")));
        println!("as system:serviceaccount:{namespace}:{account}, on a free port, with Cognito at {}", proxy.url());
        let token = cluster.service_account_token(namespace, account).await?;
        let mut operator = Operator::builder(program)
            .deployment(&deployment)
            .kubeconfig(&cluster.kubeconfig_for(&token, None)?)
            .cognito(&proxy.url())
            .sts(&proxy.url())
            .log_file(&fresh(&output.join("operator.log"))?)
            .start()?;
        operator.wait_ready(READY_LIMIT).await?;
        println!("ready: {}/readyz", operator.url());
        Ok(Self { operator, proxy, moto, cluster, tools, pool })
    }
}

/// Creates an empty file in place of one that a former run has left.
fn fresh(path: &Path) -> Result<PathBuf> {
    std::fs::write(path, "").with_context(|| format!("failed to write {}", path.display()))?;
    Ok(path.to_owned())
}
