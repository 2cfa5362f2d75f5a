//! The environment of a test's operator: a leased control plane, a user pool, and a fault proxy
//! before each.

mod installed;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use crate::{
    Cognito, Deployment, Fault, FaultProxy, Kubectl, KubectlResult, Lease, Matcher, Moto, Operator, OperatorBuilder,
    Options, Pool, Reply, Rule, eventually,
};
use anyhow::{Result, bail, ensure};
use http::Method;
use serde_json::Value;
use tokio::sync::OnceCell;

pub use self::installed::base;

/// The time that anything may take on a busy machine; a test ends as soon as the state is there.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The error of a start to which the API server did not respond in time.
const NO_RESPONSE: &str = "no response from the API server within";

/// Short times, so that a wait or a retry is seen soon.
pub const QUICK: &[&str] = &[
    "--call-timeout=2s",
    "--read-timeout=2s",
    "--claim-timeout=3s",
    "--api-timeout=3s",
    "--retry-initial=200ms",
    "--retry-max=1s",
    "--probe-pause=100ms",
    "--sweep-interval=1s",
    // A killed holder would keep the next one waiting; tests/e2e/lease.rs tests the Lease.
    "--lease=false",
    "--log=debug",
];

/// Returns the options of a control plane that has only the CRDs.
#[must_use]
pub fn with_definitions() -> Options {
    Options { kustomizations: vec![installed::definitions()], ..Options::default() }
}

/// The servers, with the CRDs and the base of `deploy/` applied.
#[derive(Debug)]
pub struct Environment {
    /// The proxy between the operator and the API server.
    pub api: FaultProxy,
    /// The proxy between the operator and Cognito.
    pub cognito: FaultProxy,
    /// An administrator of Cognito.
    pub users: Cognito,
    /// The id of this test's own user pool.
    pub pool: String,
    deployment: Deployment,
    /// The kubeconfig of the operator's account, through the proxy.
    pub kubeconfig: PathBuf,
    _moto: Arc<Moto>,
    /// The control plane. It returns to the pool after the proxies have stopped.
    pub cluster: Lease,
}

impl Environment {
    /// Leases the servers, and makes a pool and a grant for every namespace.
    pub async fn start() -> Result<Self> {
        Self::start_with(Options::default()).await
    }

    /// Starts with these options beside what is applied.
    pub async fn start_with(options: Options) -> Result<Self> {
        let kustomizations = vec![installed::definitions(), base()];
        let cluster = Pool::of_this_process().lease(Options { kustomizations, ..options }).await?;
        let deployment = rendered_base(cluster.as_admin()).await?;
        Self::among(cluster, deployment).await
    }

    /// Applies an overlay to a control plane that has only the CRDs.
    pub async fn install(cluster: Lease, overlay: &Path) -> Result<Self> {
        let deployment = Deployment::render(cluster.as_admin(), overlay).await?;
        cluster.apply_yaml(&deployment.yaml).await?;
        Self::among(cluster, deployment).await
    }

    /// Makes a pool and a grant for every namespace in a control plane in which this Deployment is
    /// installed.
    pub async fn among(cluster: Lease, deployment: Deployment) -> Result<Self> {
        let moto = Pool::of_this_process().emulator().await?;
        let token = cluster.service_account_token(&deployment.namespace, &deployment.service_account).await?;
        let api = FaultProxy::start(&cluster.url(), Some(cluster.ca_pem())).await?;
        let cognito = FaultProxy::start(moto.url(), None).await?;
        let kubeconfig = cluster.kubeconfig_for(&token, Some(&api.url()))?;
        let users = moto.cognito();
        let pool = users.create_pool("eu-west-1").await?;
        let env = Self { cluster, _moto: moto, api, cognito, users, pool, deployment, kubeconfig };
        env.grant("everyone", "namespaces: [\"*\"]").await?;
        Ok(env)
    }

    /// Returns the operator as `deploy/` starts it, with short times.
    #[must_use]
    pub fn operator(&self) -> OperatorBuilder {
        Operator::builder(binary())
            .deployment(&self.deployment)
            .kubeconfig(&self.kubeconfig)
            .cognito(&self.cognito.url())
            .sts(&self.cognito.url())
            .args(QUICK.iter().copied())
    }

    /// Writes a kubeconfig of the operator's account without the proxy.
    ///
    /// # Errors
    /// If the API server gives no token.
    pub async fn direct_kubeconfig(&self) -> Result<PathBuf> {
        let Deployment { namespace, service_account, .. } = &self.deployment;
        let token = self.cluster.service_account_token(namespace, service_account).await?;
        self.cluster.kubeconfig_for(&token, None)
    }

    /// Returns one of several replicas, with a Lease of this duration, or without.
    #[must_use]
    pub fn replica(&self, identity: &str, lease: Option<&str>) -> OperatorBuilder {
        let named = self.operator().args([format!("--identity={identity}")]);
        match lease {
            Some(duration) => named.args(["--lease=true".to_owned(), format!("--lease-duration={duration}")]),
            None => named,
        }
    }

    /// Starts it and waits until it is ready.
    pub async fn run(&self) -> Result<Operator> {
        self.run_with(self.operator()).await
    }

    /// Starts an operator with other arguments, and waits until it is ready. A start to which a
    /// busy API server did not respond in time is repeated, as the kubelet would do.
    pub async fn run_with(&self, builder: OperatorBuilder) -> Result<Operator> {
        let end = Instant::now() + LIMIT;
        loop {
            let mut operator = builder.start()?;
            let Err(problem) = operator.wait_ready(LIMIT).await else { return Ok(operator) };
            let is_busy = !operator.is_running() && operator.logs().contains(NO_RESPONSE);
            if !is_busy || Instant::now() > end {
                return Err(problem);
            }
        }
    }

    /// Returns the output of `kubectl` for an administrator.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.cluster.as_admin().run(arguments).await?.success()
    }

    /// Runs the kubectl plugin as an administrator, in the namespace `default`.
    pub async fn plugin(&self, arguments: &[&str]) -> Result<KubectlResult> {
        self.plugin_with_input(arguments, "").await
    }

    /// Runs the kubectl plugin with something on its standard input.
    pub async fn plugin_with_input(&self, arguments: &[&str], input: &str) -> Result<KubectlResult> {
        self.cluster.as_admin().with_program(plugin()).run_with_input(arguments, input).await
    }

    /// Applies manifests as an administrator.
    pub async fn apply(&self, yaml: &str) -> Result<String> {
        self.cluster.as_admin().apply(yaml).await?.success()
    }

    /// Returns the message with which the API server refuses.
    pub async fn refused(&self, yaml: &str) -> Result<String> {
        self.cluster.as_admin().apply(yaml).await?.refusal()
    }

    /// Applies a grant for the pool with these further lines of spec.
    pub async fn grant(&self, name: &str, spec: &str) -> Result<()> {
        let spec = indent(spec);
        self.apply(&format!(
            "apiVersion: cognito-reset.dev/v1alpha1\nkind: UserPoolGrant\nmetadata: {{name: {name}}}\nspec:\n  userPoolID: {}\n{spec}",
            self.pool
        ))
        .await?;
        Ok(())
    }

    /// Applies a hold with these lines of spec.
    pub async fn hold(&self, name: &str, spec: &str) -> Result<()> {
        let spec = indent(spec);
        let head =
            format!("apiVersion: cognito-reset.dev/v1alpha1\nkind: UserPoolHold\nmetadata: {{name: {name}}}\nspec:\n");
        self.apply(&format!("{head}  reason: incident 1042\n{spec}")).await?;
        Ok(())
    }

    /// Applies a hold, and waits until the operator applies it. The watches of the operator are not
    /// ordered among each other.
    pub async fn hold_in_force(&self, name: &str, spec: &str) -> Result<()> {
        self.hold(name, spec).await?;
        eventually(LIMIT, format!("the hold {name} to be in force"), async || {
            let ready = condition(&self.get("poolhold", name).await?, "Ready");
            ensure!(ready["status"] == "True" && ready["reason"] == "InForce", "{ready}");
            anyhow::Ok(())
        })
        .await
    }

    /// Returns the manifest of a request in the namespace `default`, with these further lines of
    /// spec.
    #[must_use]
    pub fn request(&self, name: &str, username: &str, spec: &str) -> String {
        let spec = indent(spec);
        format!(
            "apiVersion: cognito-reset.dev/v1alpha1\nkind: PasswordResetRequest\nmetadata: {{name: {name}, namespace: default}}\nspec:\n  userPoolID: {}\n  username: {username}\n{spec}",
            self.pool
        )
    }

    /// Creates a pool in a Region with a grant for all namespaces, and returns its id. A failed
    /// delivery stops the calls of its pool, and lost responses those of its Region.
    pub async fn another_pool(&self, region: &str, name: &str) -> Result<String> {
        let pool = self.users.create_pool(region).await?;
        self.apply(&format!(
            "apiVersion: cognito-reset.dev/v1alpha1\nkind: UserPoolGrant\nmetadata: {{name: pool-of-{name}}}\nspec:\n  userPoolID: {pool}\n  namespaces: [\"*\"]"
        ))
        .await?;
        Ok(pool)
    }

    /// Responds to reads of a request as a cache would that has stored its present state.
    pub async fn cache(&self, name: &str) -> Result<Rule> {
        let path = format!("/passwordresetrequests/{name}");
        let raw = format!("/apis/cognito-reset.dev/v1alpha1/namespaces/default{path}");
        let body = self.kubectl(&["get", "--raw", &raw]).await?;
        let stored = Reply::new(200, body).header("content-type", "application/json").header("age", "0");
        Ok(self.api.always(Matcher::path(Method::GET, &path), Fault::Respond(stored)))
    }

    /// Applies a request for a new confirmed user of the same name as the request.
    pub async fn ask(&self, name: &str) -> Result<()> {
        self.users.create_user(&self.pool, name).await?;
        self.apply(&self.request(name, name, "")).await?;
        Ok(())
    }

    /// Returns an object as `kubectl get -o json` shows it; one with a namespace is in `default`.
    /// kubectl itself takes 0.1 s.
    pub async fn get(&self, kind: &str, name: &str) -> Result<Value> {
        Ok(without_managed_fields(self.cluster.read(&format!("{}/{name}", collection(kind)?)).await?))
    }

    /// Returns true if such an object exists. An object with a namespace is in `default`.
    ///
    /// # Errors
    /// If the API server does not say so.
    pub async fn exists(&self, kind: &str, name: &str) -> Result<bool> {
        Ok(self.list(kind).await?.iter().any(|object| object["metadata"]["name"] == name))
    }

    /// Returns all objects of a kind; those with a namespace are in `default`.
    pub async fn list(&self, kind: &str) -> Result<Vec<Value>> {
        let mut list = self.cluster.read(collection(kind)?).await?;
        match list["items"].take() {
            Value::Array(items) => Ok(items.into_iter().map(without_managed_fields).collect()),
            other => bail!("no items of {kind}: {other}"),
        }
    }

    /// Waits until the request has ended, and returns its outcome and reason, such as
    /// `Succeeded/ResetAccepted`.
    pub async fn ended(&self, name: &str) -> Result<String> {
        eventually(LIMIT, format!("{name} to end"), async || {
            let seen = self.state(name).await?;
            ensure!(!seen.starts_with("Pending"), "{seen}");
            Ok(seen)
        })
        .await
    }

    /// Waits until the request shows this outcome and reason.
    pub async fn becomes(&self, name: &str, wanted: &str) -> Result<()> {
        eventually(LIMIT, format!("{name} to become {wanted}"), async || {
            let seen = self.state(name).await?;
            ensure!(seen == wanted, "{seen}");
            anyhow::Ok(())
        })
        .await
    }

    /// Waits until the message of the request's Ready condition has these words. On a busy machine
    /// an earlier attempt may have failed for another cause, so it is not enough to wait for a
    /// reason and then to read the message.
    ///
    /// # Errors
    /// If it does not have them within [`LIMIT`], with the last message.
    pub async fn says(&self, name: &str, words: &str) -> Result<()> {
        eventually(LIMIT, format!("{name} to say {words:?}"), async || {
            let ready = condition(&self.get("prr", name).await?, "Ready");
            ensure!(text(&ready["message"]).contains(words), "{ready}");
            anyhow::Ok(())
        })
        .await
    }

    /// Returns the outcome and the reason of Ready.
    pub async fn state(&self, name: &str) -> Result<String> {
        let request = self.get("prr", name).await?;
        Ok(format!("{}/{}", text(&request["status"]["outcome"]), text(&condition(&request, "Ready")["reason"])))
    }

    /// Returns the record of the request with this name, if it exists.
    pub async fn record(&self, name: &str) -> Result<Option<Value>> {
        Ok(self.list("prrec").await?.into_iter().find(|record| record["request"]["name"] == name))
    }

    /// Returns the number of calls of AdminResetUserPassword for the user that arrived at the proxy
    /// before Cognito.
    #[must_use]
    pub fn calls(&self, username: &str) -> usize {
        self.cognito.resets_of(&self.pool, username).received
    }
}

/// Returns the path of the objects of a kind, by the name that kubectl accepts.
fn collection(kind: &str) -> Result<&'static str> {
    Ok(match kind {
        "prr" => "/apis/cognito-reset.dev/v1alpha1/namespaces/default/passwordresetrequests",
        "prrec" => "/apis/cognito-reset.dev/v1alpha1/passwordresetrecords",
        "poolgrant" => "/apis/cognito-reset.dev/v1alpha1/userpoolgrants",
        "poolhold" => "/apis/cognito-reset.dev/v1alpha1/userpoolholds",
        "crd" => "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        "namespace" => "/api/v1/namespaces",
        "serviceaccount" => "/api/v1/namespaces/default/serviceaccounts",
        "clusterrole" => "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        "events" => "/apis/events.k8s.io/v1/namespaces/default/events",
        other => bail!("where are objects of the kind {other}?"),
    })
}

fn without_managed_fields(mut object: Value) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    object
}

/// The base of `deploy/`, rendered once.
async fn rendered_base(kubectl: &Kubectl) -> Result<Deployment> {
    static RENDERED: OnceCell<Deployment> = OnceCell::const_new();
    RENDERED.get_or_try_init(|| async { Deployment::render(kubectl, &base()).await }).await.cloned()
}

/// Returns one condition of an object; null if it is absent.
#[must_use]
pub fn condition(object: &Value, type_: &str) -> Value {
    let conditions = object["status"]["conditions"].as_array();
    conditions.and_then(|all| all.iter().find(|one| one["type"] == type_)).cloned().unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

fn indent(yaml: &str) -> String {
    yaml.lines().map(|line| format!("  {line}\n")).collect()
}

/// Returns a path in the repository.
#[must_use]
pub fn root(path: &str) -> String {
    format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"))
}

/// The variable that names the operator to test.
const BINARY: &str = "COGNITO_RESET_OPERATOR_BIN";

/// The program under test: what `COGNITO_RESET_OPERATOR_BIN` names, else a debug build that is made
/// for this process.
///
/// # Panics
/// Where nothing is there by that name, or the build fails: another program in its place would be
/// tested unnoticed.
pub fn binary() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let Some(named) = std::env::var_os(BINARY).map(PathBuf::from) else { return build("cognito-reset-operator") };
        assert!(named.exists(), "there is no operator at {}: build it, or unset the variable", named.display());
        named
    })
}

/// The kubectl plugin under test: a debug build that is made for this process.
///
/// # Panics
/// Where the build fails.
pub fn plugin() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| build("kubectl-cognito_reset"))
}

/// Builds with the features of the whole workspace, so that the dependencies of the tests are not
/// built again.
fn build(name: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "build",
            "--locked",
            "--workspace",
            &format!("--bin={name}"),
            "--message-format=json-render-diagnostics",
        ])
        .current_dir(root(""))
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo cannot be run, and it builds the program");
    assert!(output.status.success(), "{name} cannot be built: cargo's message above says why");
    let messages = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>().filter_map(Result::ok);
    let programs = messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    programs.last().expect("cargo has built the program and does not say where it is")
}
