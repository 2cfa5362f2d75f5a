//! The servers and the two replicas, with the permissions and arguments of `deploy/`.

use std::{
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{
    random::Random,
    replica::Replica,
    server::{GRANTS, HOLDS, LEASES, REQUESTS, Server},
};
use crate::{Cognito, ControlPlane, Deployment, FaultProxy, Moto, Operator, Options, Tools, eventually};

const READY: Duration = Duration::from_secs(60);

/// The retention of records. A request is only applied again while its record is younger: see
/// `traffic.rs`.
pub(super) const RETENTION: Duration = Duration::from_secs(45);

/// Changes to the CRDs, as a newer release may make them, so that they accept objects that no
/// operator can read.
const LOOSER: [(&str, &str); 3] = [
    (
        "passwordresetrequests.cognito-reset.dev",
        r#"[{"op":"remove","path":"/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/ifResetRequired/enum"}]"#,
    ),
    (
        "userpoolgrants.cognito-reset.dev",
        r#"[{"op":"replace","path":"/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/maxPendingPerNamespace","value":{"x-kubernetes-preserve-unknown-fields":true}}]"#,
    ),
    (
        "userpoolholds.cognito-reset.dev",
        r#"[{"op":"remove","path":"/spec/versions/0/schema/openAPIV3Schema/properties/spec/required"}]"#,
    ),
];

/// The grant that goes and comes back.
pub(super) const GUEST: &str = "guest";

/// Short timeouts, so that a cycle is short. An open claim of another replica is waited for 7 s:
/// claim, call and 5 s.
const QUICK: &[&str] = &[
    "--call-timeout=1s",
    "--read-timeout=1s",
    "--connect-timeout=1s",
    "--claim-timeout=1s",
    "--api-timeout=1s",
    "--watch-timeout=3s",
    "--retry-initial=200ms",
    "--retry-max=1s",
    "--probe-pause=100ms",
    "--sweep-interval=1s",
    "--retention-scan-interval=1s",
    "--retention-rate=30",
    "--rate=200",
    "--log-format=text",
];

/// The programs that are started.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The operator.
    pub operator: PathBuf,
    /// The library of the crate `clock`.
    pub clock: PathBuf,
    /// The root of the repository.
    pub repository: PathBuf,
}

/// The running servers and replicas. All of them end when this value is dropped.
pub(super) struct Environment {
    // Fields drop in this order: the operators before the servers that they use.
    pub(super) replicas: [Replica; 2],
    pub(super) cluster: Mutex<ControlPlane>,
    pub(super) server: Server,
    pub(super) users: Cognito,
    pub(super) pool: String,
    pub(super) versions: String,
    /// The path of the operator's Lease.
    lease: String,
    leased: AtomicBool,
    /// The number of invalid objects so far.
    unreadable: AtomicUsize,
    _moto: Moto,
}

impl Environment {
    /// Starts the servers, applies `deploy/`, and makes the replicas ready to be started.
    pub(super) async fn start(programs: &Programs) -> Result<Self> {
        ensure!(programs.operator.exists(), "there is no operator at {}: make build", programs.operator.display());
        let tools = Tools::locate().await?;
        let options = Options { fsync: true, ..Options::default() };
        let (cluster, moto) = tokio::try_join!(ControlPlane::start(&tools, options), Moto::start(&tools))?;
        let base = programs.repository.join("deploy/kustomize/base");
        let kubectl = cluster.as_admin().in_directory(&programs.repository);
        for line in [
            "apply -k deploy/kustomize/crds",
            "wait --for=condition=Established crd --all --timeout=60s",
            "apply -k deploy/kustomize/base",
        ] {
            kubectl.run(&line.split(' ').collect::<Vec<_>>()).await?.success()?;
        }
        for (crd, patch) in LOOSER {
            kubectl.run(&["patch", "crd", crd, "--type=json", "-p", patch]).await?.success()?;
        }
        let deployment = Deployment::render(&kubectl, &base).await?;
        let token = cluster.service_account_token(&deployment.namespace, &deployment.service_account).await?;
        let users = moto.cognito();
        let pool = users.create_pool("eu-west-1").await?;
        let replica = async |name| {
            let api = FaultProxy::start(&cluster.url(), Some(cluster.ca_pem())).await?;
            let cognito = FaultProxy::start(moto.url(), None).await?;
            let builder = Operator::builder(&programs.operator)
                .deployment(&deployment)
                .kubeconfig(&cluster.kubeconfig_for(&token, Some(&api.url()))?)
                .cognito(&cognito.url())
                .sts(&cognito.url())
                .args(QUICK.iter().copied())
                .args([format!("--record-retention={}s", RETENTION.as_secs())]);
            Replica::new(name, cluster.directory(), &programs.clock, (api, cognito), builder)
        };
        let replicas = [replica("replica-a").await?, replica("replica-b").await?];
        let server = Server::of(&cluster)?;
        for name in ["user", "role", GUEST] {
            server.insist(Method::POST, GRANTS, Some(&grant(&pool, name)), &[201, 409]).await?;
        }
        let versions = versions(&server, programs).await?;
        let lease = format!("{LEASES}/{}/leases/cognito-reset-operator", deployment.namespace);
        let (cluster, leased) = (Mutex::new(cluster), AtomicBool::new(true));
        Ok(Self {
            replicas,
            cluster,
            server,
            users,
            pool,
            versions,
            lease,
            leased,
            unreadable: AtomicUsize::new(0),
            _moto: moto,
        })
    }

    /// Starts both replicas (again), with the lease or without.
    pub(super) async fn start_replicas(&self, leased: bool) -> Result<()> {
        self.leased.store(leased, Ordering::Relaxed);
        for replica in &self.replicas {
            let _alone = replica.process.lock().await;
            let arguments = [format!("--lease={leased}"), "--lease-duration=2s".to_owned()];
            replica.start_with(&arguments.each_ref().map(String::as_str)).await?;
        }
        self.worker(&mut Random::new(0)).await?;
        Ok(())
    }

    /// Returns true if the replicas use the Lease at present.
    pub(super) fn leased(&self) -> bool {
        self.leased.load(Ordering::Relaxed)
    }

    /// Returns a replica that works: the leader, or without a Lease any that responds.
    pub(super) async fn worker(&self, random: &mut Random) -> Result<&Replica> {
        let first = random.below(2);
        eventually(READY, "a replica that works", async || {
            for replica in [&self.replicas[first], &self.replicas[1 - first]] {
                if replica.leadership().await.as_deref() == Some("leader") {
                    return Some(replica);
                }
            }
            None
        })
        .await
    }

    /// Deletes the Lease, as a user may.
    pub(super) async fn delete_lease(&self) -> Result<()> {
        self.server.insist(Method::DELETE, &self.lease, None, &[200, 404]).await?;
        Ok(())
    }

    /// Takes the grant of guests away, or brings it back.
    pub(super) async fn grant_guests(&self, granted: bool) -> Result<()> {
        let grant = grant(&self.pool, GUEST);
        if granted {
            self.server.insist(Method::POST, GRANTS, Some(&grant), &[201, 409]).await?;
        } else {
            self.server.insist(Method::DELETE, &format!("{GRANTS}/{GUEST}"), None, &[200, 404]).await?;
        }
        Ok(())
    }

    /// Suspends the existing grant of guests, or releases it.
    pub(super) async fn suspend_guests(&self, suspend: bool) -> Result<()> {
        let change = json!({ "spec": { "suspend": suspend } });
        self.server.insist(Method::PATCH, &format!("{GRANTS}/{GUEST}"), Some(&change), &[200]).await?;
        Ok(())
    }

    /// Creates a request that no operator can read, and returns its path. It never leads to a
    /// reset.
    pub(super) async fn make_unreadable_request(&self) -> Result<String> {
        let spec = json!({ "userPoolID": self.pool, "username": "nobody", "ifResetRequired": "Perhaps" });
        self.make_object(REQUESTS, "PasswordResetRequest", &spec).await
    }

    /// Creates such a grant, for a namespace that does not exist.
    pub(super) async fn make_unreadable_grant(&self) -> Result<String> {
        let spec = json!({ "userPoolID": self.pool, "namespaces": ["none-such"], "maxPendingPerNamespace": "few" });
        self.make_object(GRANTS, "UserPoolGrant", &spec).await
    }

    /// Creates a hold of a namespace that does not exist, which an operator can read or not.
    pub(super) async fn make_hold(&self, readable: bool) -> Result<String> {
        let mut spec = json!({ "userPoolID": self.pool, "namespaces": ["none-such"] });
        if readable {
            spec["reason"] = "chaos".into();
        }
        self.make_object(HOLDS, "UserPoolHold", &spec).await
    }

    async fn make_object(&self, path: &str, kind: &str, spec: &Value) -> Result<String> {
        let name = format!("unreadable-{}", self.unreadable.fetch_add(1, Ordering::Relaxed));
        let object = json!({
            "apiVersion": "cognito-reset.dev/v1alpha1", "kind": kind, "metadata": { "name": name }, "spec": spec,
        });
        self.server.insist(Method::POST, path, Some(&object), &[201, 409]).await?;
        Ok(format!("{path}/{name}"))
    }

    /// Returns any of the replicas.
    pub(super) fn any(&self, random: &mut Random) -> &Replica {
        random.pick(&self.replicas)
    }

    /// Takes what passed the proxies before `end`.
    pub(super) fn take_before(&self, end: Instant) -> impl Iterator<Item = (&'static str, crate::Recorded)> {
        self.replicas.iter().flat_map(move |replica| {
            let passed = [&replica.api, &replica.cognito].into_iter().flat_map(move |proxy| proxy.take_before(end));
            passed.map(|passed| (replica.name, passed))
        })
    }
}

/// Returns the grant of the users whose name begins with its own. The users of `role` are reset
/// with a role that has to be assumed, in the account in which the emulator has its pools.
fn grant(pool: &str, name: &str) -> Value {
    let mut grant = json!({
        "apiVersion": "cognito-reset.dev/v1alpha1", "kind": "UserPoolGrant", "metadata": { "name": name },
        "spec": { "userPoolID": pool, "namespaces": ["*"], "usernamePattern": format!("{name}-.*") },
    });
    if name == "role" {
        grant["spec"]["roleARN"] = "arn:aws:iam::123456789012:role/cognito-reset".into();
        grant["spec"]["externalID"] = "chaos".into();
    }
    grant
}

async fn versions(server: &Server, programs: &Programs) -> Result<String> {
    let version = server.get("/version").await?;
    let output = Command::new(&programs.operator).arg("--version").output().context("failed to run the operator")?;
    let own = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let commit = commit(programs).unwrap_or_else(|| "unknown commit".to_owned());
    let kubernetes = version["gitVersion"].as_str().unwrap_or_default().to_owned();
    Ok(format!("{own} ({commit}), kube-apiserver {kubernetes}, etcd with fsync, moto in place of Cognito"))
}

/// Returns the commit that the operator was built from: that of the repository, if it was built
/// there.
fn commit(programs: &Programs) -> Option<String> {
    let repository = programs.repository.canonicalize().ok()?;
    if !programs.operator.canonicalize().ok()?.starts_with(&repository) {
        return None;
    }
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(&repository).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let hash = git(&["rev-parse", "--short", "HEAD"])?;
    let changes = git(&["status", "--porcelain", "--", "src", "deploy"])?;
    Some(format!("commit {hash}{}", if changes.is_empty() { "" } else { " with changes" }))
}

/// Returns the name of an object at this place.
pub(super) fn name_of(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}
