//! The operator among a real API server, the emulator, and a fault proxy before each.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::indexing_slicing, reason = "of JSON, which answers null")]

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use cognito_reset_core::escape::is_hidden;
use serde_json::Value;
use testbed::{
    Cognito, ControlPlane, Deployment, FaultProxy, Moto, Operator, OperatorBuilder, Options, Tools, eventually,
};

/// How long anything may take on a busy machine; a test ends as soon as the state is there.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Short times, so that what waits or is tried again is seen soon.
pub const QUICK: &[&str] = &[
    "--call-timeout=2s",
    "--read-timeout=2s",
    "--claim-timeout=3s",
    "--api-timeout=3s",
    "--retry-initial=200ms",
    "--retry-max=1s",
    "--probe-pause=100ms",
    "--sweep-interval=1s",
    // One that was killed would keep the next one waiting; what the lease does is in tests/lease.rs.
    "--lease=false",
    "--log=debug",
];

/// The servers, with the definitions applied.
pub struct Servers {
    pub cluster: ControlPlane,
    moto: Moto,
}

impl Servers {
    pub async fn start(options: Options) -> Result<Self> {
        let tools = Tools::locate().await?;
        let (cluster, moto) = tokio::try_join!(ControlPlane::start(&tools, options), Moto::start(&tools))?;
        let kubectl = cluster.as_admin();
        kubectl.run(&["apply", "-k", &root("deploy/kustomize/crds")]).await?.success()?;
        kubectl.run(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).await?.success()?;
        Ok(Self { cluster, moto })
    }

    /// Applies the base or an overlay, and gives a pool and a grant for every namespace.
    pub async fn install(self, kustomization: &Path) -> Result<Bench> {
        let Self { cluster, moto } = self;
        let kubectl = cluster.as_admin();
        let deployment = Deployment::render(kubectl, kustomization).await?;
        kubectl.apply(&deployment.yaml).await?.success()?;
        let token = cluster.service_account_token(&deployment.namespace, &deployment.service_account).await?;
        let api = FaultProxy::start(&cluster.url(), Some(cluster.ca_pem())).await?;
        let cognito = FaultProxy::start(moto.url(), None).await?;
        let kubeconfig = cluster.kubeconfig_for(&token, Some(&api.url()))?;
        let users = moto.cognito();
        let pool = users.create_pool("eu-west-1").await?;
        let bench = Bench { cluster, moto, api, cognito, users, pool, deployment, kubeconfig };
        bench.grant("everyone", "namespaces: [\"*\"]").await?;
        Ok(bench)
    }
}

/// Everything but the operator, with the definitions and the base of `deploy/` applied.
pub struct Bench {
    pub cluster: ControlPlane,
    pub moto: Moto,
    /// Before the API server, on the operator's way.
    pub api: FaultProxy,
    /// Before Cognito, on the operator's way.
    pub cognito: FaultProxy,
    pub users: Cognito,
    pub pool: String,
    deployment: Deployment,
    /// Of the operator's account, through the proxy.
    pub kubeconfig: PathBuf,
}

impl Bench {
    /// Starts it, with a pool and a grant for every namespace.
    pub async fn start() -> Result<Self> {
        Self::start_with(Options::default()).await
    }

    pub async fn start_with(options: Options) -> Result<Self> {
        Servers::start(options).await?.install(Path::new(&root("deploy/kustomize/base"))).await
    }

    /// The operator as `deploy/` starts it, with short times.
    pub fn operator(&self) -> OperatorBuilder {
        Operator::builder(&binary())
            .deployment(&self.deployment)
            .kubeconfig(&self.kubeconfig)
            .cognito(&self.cognito.url())
            .sts(&self.cognito.url())
            .args(QUICK.iter().copied())
    }

    /// One of several, with a lease of this duration, or without.
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

    pub async fn run_with(&self, builder: OperatorBuilder) -> Result<Operator> {
        let mut operator = builder.start()?;
        operator.wait_ready(LIMIT).await?;
        Ok(operator)
    }

    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.cluster.as_admin().run(arguments).await?.success()
    }

    pub async fn apply(&self, yaml: &str) -> Result<String> {
        self.cluster.as_admin().apply(yaml).await?.success()
    }

    /// What the API server says when it refuses.
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

    /// The manifest of a request in the namespace `default`, with these further lines of spec.
    pub fn request(&self, name: &str, username: &str, spec: &str) -> String {
        let spec = indent(spec);
        format!(
            "apiVersion: cognito-reset.dev/v1alpha1\nkind: PasswordResetRequest\nmetadata: {{name: {name}, namespace: default}}\nspec:\n  userPoolID: {}\n  username: {username}\n{spec}",
            self.pool
        )
    }

    /// Applies a request for a new confirmed user of the same name as the request.
    pub async fn ask(&self, name: &str) -> Result<()> {
        self.users.create_user(&self.pool, name).await?;
        self.apply(&self.request(name, name, "")).await?;
        Ok(())
    }

    pub async fn get(&self, kind: &str, name: &str) -> Result<Value> {
        let json = self.kubectl(&["get", kind, name, "-o", "json"]).await?;
        serde_json::from_str(&json).context("not JSON")
    }

    /// Waits until the request has ended, and gives its outcome and reason, such as `Succeeded/ResetAccepted`.
    pub async fn ended(&self, name: &str) -> Result<String> {
        eventually(LIMIT, format!("{name} to end"), async || {
            let seen = self.stands(name).await?;
            ensure!(!seen.starts_with("Pending"), "{seen}");
            Ok(seen)
        })
        .await
    }

    /// Waits until the request shows this outcome and reason.
    pub async fn becomes(&self, name: &str, wanted: &str) -> Result<()> {
        eventually(LIMIT, format!("{name} to become {wanted}"), async || {
            let seen = self.stands(name).await?;
            ensure!(seen == wanted, "{seen}");
            anyhow::Ok(())
        })
        .await
    }

    /// Outcome and the reason of Ready.
    pub async fn stands(&self, name: &str) -> Result<String> {
        let request = self.get("prr", name).await?;
        Ok(format!("{}/{}", text(&request["status"]["outcome"]), text(&condition(&request, "Ready")["reason"])))
    }

    /// The record of the request with this name, if there is one.
    pub async fn record(&self, name: &str) -> Result<Option<Value>> {
        let json = self.kubectl(&["get", "prrec", "-o", "json"]).await?;
        let list: Value = serde_json::from_str(&json)?;
        let records = list["items"].as_array().context("no items")?;
        Ok(records.iter().find(|record| record["request"]["name"] == name).cloned())
    }

    /// Calls of AdminResetUserPassword for the user that arrived before Cognito.
    pub fn calls(&self, username: &str) -> usize {
        self.cognito.resets_of(&self.pool, username).received
    }
}

/// One condition of an object; null where it is absent.
pub fn condition(object: &Value, type_: &str) -> Value {
    let conditions = object["status"]["conditions"].as_array();
    conditions.and_then(|all| all.iter().find(|one| one["type"] == type_)).cloned().unwrap_or_default()
}

/// Whether a log in JSON is one object a line, of a length that people read, and shows all that it holds.
pub fn is_sound(log: &str) -> Result<()> {
    for line in log.lines() {
        let entry: Value = serde_json::from_str(line).with_context(|| format!("no entry of a log: {line:?}"))?;
        ensure!(entry["timestamp"].is_string() && entry["level"].is_string(), "no entry of a log: {line:?}");
        ensure!(!line.chars().any(is_hidden), "hidden characters: {line:?}");
        ensure!(line.len() < 16 << 10, "{} bytes: {:.300}", line.len(), line);
    }
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

fn indent(yaml: &str) -> String {
    yaml.lines().map(|line| format!("  {line}\n")).collect()
}

/// A path in the repository.
pub fn root(path: &str) -> String {
    format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"))
}

/// The binary under test: the release build where it is named, else the one that cargo built for this test.
pub fn binary() -> PathBuf {
    let named = std::env::var_os("COGNITO_RESET_OPERATOR_BIN").map(PathBuf::from);
    // Another one in its place would be tested unnoticed.
    assert!(
        named.iter().all(|path| path.exists()),
        "there is no operator at {named:?}: build it, or unset the variable"
    );
    named.unwrap_or_else(|| env!("CARGO_BIN_EXE_cognito-reset-operator").into())
}

/// The most memory that the process has had at once, in bytes.
pub fn peak(operator: &Operator) -> Result<usize> {
    let pid = operator.pid().context("it has ended")?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<usize>()? * 1024)
}

/// Whether the operator has looked through the whole history of a kind.
pub async fn has_looked_through(operator: &Operator, kind: &str) -> Result<bool> {
    let (_, metrics) = operator.page("/metrics").await?;
    Ok(metrics.contains(&format!("retention_last_scan_timestamp_seconds{{kind=\"{kind}\"}}")))
}
