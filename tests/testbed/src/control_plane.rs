//! A Kubernetes control plane: etcd, kube-apiserver and, on request, kube-controller-manager.

mod backup;
mod keys;

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

pub(crate) use self::keys::{Keys, random_uid};
use crate::{
    Kubectl, KubectlResult, Tools,
    http_client::HttpClient,
    pki::Pki,
    port::Port,
    process::{Process, server},
};

pub(crate) const ADMIN_TOKEN: &str = "testbed-admin";
const AUDIT_LOG: &str = "audit.log";
const START_LIMIT: Duration = Duration::from_secs(60);
/// The controllers that delete namespaces and orphans, make service accounts, and give the built-in
/// roles their rules.
const CONTROLLERS: &str = "namespace-controller,garbage-collector-controller,serviceaccount-controller,\
                           root-ca-certificate-publisher-controller,clusterrole-aggregation-controller";

/// The controllers of Deployments, and those that their Pods need.
const WORKLOADS: &str = ",deployment-controller,replicaset-controller,disruption-controller";

/// The options of a control plane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Kustomizations that are applied to it, in this order.
    pub kustomizations: Vec<PathBuf>,
    /// Starts kube-controller-manager too, for the deletion of namespaces and garbage collection.
    pub controller_manager: bool,
    /// Starts kube-controller-manager with the controllers of Deployments as well. A
    /// [`Node`](crate::Node) runs their Pods.
    pub workloads: bool,
    /// True if etcd waits for the disk, as it does in a real cluster.
    pub fsync: bool,
    /// The file with the policy of the API server's audit log. Without a policy there is no log.
    pub audit_policy: Option<PathBuf>,
    /// Further arguments of kube-apiserver.
    pub api_server_arguments: Vec<String>,
}

impl Options {
    /// Returns true if a control plane with these options can be restored from what is stored
    /// alone: only kube-apiserver writes there, and its audit log does not matter.
    pub(crate) fn is_common(&self) -> bool {
        let Self { kustomizations: _, controller_manager, workloads, fsync, audit_policy, api_server_arguments } = self;
        !controller_manager && !workloads && !fsync && audit_policy.is_none() && api_server_arguments.is_empty()
    }
}

/// A running control plane, with RBAC and the default admission plugins. It ends when dropped, and
/// its data is deleted.
#[derive(Debug)]
pub struct ControlPlane {
    // Fields drop in this order: the servers first, and then what they use.
    controller_manager: Option<Process>,
    api_server: Process,
    etcd: Process,
    kubectl: Kubectl,
    tools: Tools,
    options: Options,
    etcd_at: EtcdPorts,
    port: Port,
    pki: Pki,
    client: HttpClient,
    kubeconfigs: AtomicUsize,
    home: TempDir,
}

impl ControlPlane {
    /// Starts a control plane, and waits until it is ready.
    ///
    /// # Errors
    /// When a server does not become ready, with the end of its log.
    pub async fn start(tools: &Tools, options: Options) -> Result<Self> {
        let home = tempfile::Builder::new().prefix("control-plane-").tempdir().context("no temporary directory")?;
        let pki = Pki::create(home.path())?;
        let client = HttpClient::new(Some(&pki.ca_pem))?;
        let port = Port::reserve()?;
        let etcd_at = EtcdPorts::reserve()?;
        let mut etcd = start_etcd(tools, home.path(), &etcd_at, options.fsync)?;
        etcd_ready(&mut etcd, &client, &etcd_at).await?;
        std::fs::write(home.path().join("users.csv"), format!("{ADMIN_TOKEN},admin,admin,\"system:masters\"\n"))?;
        let kubeconfig = home.path().join("admin.kubeconfig");
        std::fs::write(&kubeconfig, kubeconfig_text(&https(&port), Some(&pki.ca), &token_of(ADMIN_TOKEN)))?;
        let kubectl = Kubectl::new(tools, kubeconfig, home.path());
        let api_server = start_api_server(tools, home.path(), &pki, &etcd_at.client, &port, &options)?;
        let mut this = Self {
            controller_manager: None,
            api_server,
            etcd,
            kubectl,
            tools: tools.clone(),
            options,
            etcd_at,
            port,
            pki,
            client,
            kubeconfigs: AtomicUsize::new(0),
            home,
        };
        this.wait_ready().await?;
        if this.options.controller_manager || this.options.workloads {
            this.start_controller_manager().await?;
        }
        for kustomization in &this.options.kustomizations {
            this.install(kustomization).await?;
        }
        Ok(this)
    }

    /// Applies a kustomization, and waits until what it defines is served.
    async fn install(&self, kustomization: &Path) -> Result<()> {
        let path = kustomization.to_str().context("the path of a kustomization is not UTF-8")?;
        let applied = self.kubectl(&["apply", "-k", path, "-o", "name"]).await?.success()?;
        let definitions: Vec<_> = applied.lines().filter(|name| name.starts_with("customresourcedefinition")).collect();
        if !definitions.is_empty() {
            let wait = ["wait", "--for=condition=Established", "--timeout=60s"];
            self.kubectl(&[&wait[..], &definitions].concat()).await?.success()?;
        }
        Ok(())
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let (client, url) = (&self.client, format!("{}/readyz", https(&self.port)));
        self.api_server.ready(START_LIMIT, async || client.is_ok(&url, Some(ADMIN_TOKEN)).await).await
    }

    async fn start_controller_manager(&mut self) -> Result<()> {
        let mut command = server(&self.tools.kube_controller_manager()?, self.home.path());
        command
            .arg(format!("--kubeconfig={}", self.kubectl.kubeconfig.display()))
            .arg(format!("--controllers={CONTROLLERS}{}", if self.options.workloads { WORKLOADS } else { "" }))
            // It serves nothing.
            .arg("--secure-port=0")
            .args(["--leader-elect=false", "--kube-api-qps=500", "--kube-api-burst=1000"]);
        let log = self.home.path().join("kube-controller-manager.log");
        let mut process = Process::spawn("kube-controller-manager", &mut command, &log, None)?;
        let kubectl = &self.kubectl;
        // The controllers first create a service account in every namespace.
        let get = ["get", "serviceaccount", "default", "--namespace=default"];
        process.ready(START_LIMIT, async || kubectl.run(&get).await.is_ok_and(|result| result.ok)).await?;
        self.controller_manager = Some(process);
        Ok(())
    }

    /// Kills kube-apiserver, as a crash would. etcd keeps running.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill_api_server(&mut self) -> Result<()> {
        self.api_server.kill().await
    }

    /// Starts kube-apiserver again on its port, killing it first when it runs, and waits until it
    /// is ready.
    ///
    /// # Errors
    /// When it does not become ready, with the end of its log.
    pub async fn restart_api_server(&mut self) -> Result<()> {
        self.kill_api_server().await?;
        let home = self.home.path();
        self.api_server =
            start_api_server(&self.tools, home, &self.pki, &self.etcd_at.client, &self.port, &self.options)?;
        self.wait_ready().await
    }

    /// Kills etcd, as a crash would. kube-apiserver keeps running.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill_etcd(&mut self) -> Result<()> {
        self.etcd.kill().await
    }

    /// Starts etcd again on its ports and its data, killing it first when it runs, and waits until
    /// it and the API server are ready.
    ///
    /// # Errors
    /// When one of them does not become ready, with the end of its log.
    pub async fn restart_etcd(&mut self) -> Result<()> {
        self.kill_etcd().await?;
        self.etcd = start_etcd(&self.tools, self.home.path(), &self.etcd_at, self.options.fsync)?;
        etcd_ready(&mut self.etcd, &self.client, &self.etcd_at).await?;
        self.wait_ready().await
    }

    /// Returns the options that it was started with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// `https://127.0.0.1:PORT` of kube-apiserver.
    #[must_use]
    pub fn url(&self) -> String {
        https(&self.port)
    }

    /// The authority that signed its certificate.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.pki.ca_pem
    }

    /// A temporary directory that lives as long as this.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.home.path()
    }

    /// The kubeconfig of an administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubectl.kubeconfig
    }

    /// A kubeconfig with this token; `server` in place of the API server itself, for a proxy. (Over
    /// plain http the operator's client sends the token, and kubectl does not.)
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn kubeconfig_for(&self, token: &str, server: Option<&str>) -> Result<PathBuf> {
        let url = server.map_or_else(|| self.url(), str::to_owned);
        let authority = url.starts_with("https:").then_some(self.pki.ca.as_path());
        self.write_kubeconfig(&kubeconfig_text(&url, authority, &token_of(token)))
    }

    /// A kubeconfig with a client certificate for this user, who has no uid.
    ///
    /// # Errors
    /// When the certificate cannot be made or the file not be written.
    pub fn kubeconfig_by_certificate(&self, username: &str) -> Result<PathBuf> {
        let (certificate, key) = self.pki.client(self.home.path(), username)?;
        let user = serde_json::json!({ "client-certificate": certificate, "client-key": key });
        self.write_kubeconfig(&kubeconfig_text(&self.url(), Some(&self.pki.ca), &user))
    }

    fn write_kubeconfig(&self, text: &str) -> Result<PathBuf> {
        let number = self.kubeconfigs.fetch_add(1, Ordering::Relaxed);
        let path = self.home.path().join(format!("user-{number}.kubeconfig"));
        std::fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
        Ok(path)
    }

    /// A kubeconfig of the administrator by way of `server`, a proxy.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn admin_kubeconfig_by_way_of(&self, server: &str) -> Result<PathBuf> {
        self.kubeconfig_for(ADMIN_TOKEN, Some(server))
    }

    /// A token of a service account that exists, as its Pod would get one, for a day.
    ///
    /// # Errors
    /// When the API server does not give one.
    pub async fn service_account_token(&self, namespace: &str, name: &str) -> Result<String> {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
        let body = serde_json::json!({ "spec": { "expirationSeconds": 86_400 } });
        let (status, output) = self.request(Method::POST, &path, Some(&body)).await?;
        let token = output.pointer("/status/token").and_then(Value::as_str);
        Ok(token.with_context(|| format!("no token: {status}, {}", output["message"]))?.to_owned())
    }

    /// Returns `kubectl` as an administrator.
    #[must_use]
    pub fn as_admin(&self) -> &Kubectl {
        &self.kubectl
    }

    /// Sends a request as an administrator, and gives the status and the JSON of the response; a
    /// PATCH is a merge patch. Much cheaper than `kubectl` for what a test does again and again.
    ///
    /// # Errors
    /// When there is no response.
    pub async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, Value)> {
        self.request_with_text(method, path, body.map(Value::to_string).unwrap_or_default()).await
    }

    /// Like [`request`](Self::request), but sends the body to the letter: a parser would write
    /// numbers and escapes in its own form.
    ///
    /// # Errors
    /// When there is no response.
    pub async fn request_with_text(&self, method: Method, path: &str, body: String) -> Result<(StatusCode, Value)> {
        self.request_with_headers(method, path, body, &[]).await
    }

    /// Like [`request_with_text`](Self::request_with_text), with further headers, such as those of
    /// an impersonation that `kubectl` cannot send: it writes no key of `userInfo.extra` in
    /// capitals.
    ///
    /// # Errors
    /// When there is no response.
    pub async fn request_with_headers(
        &self,
        method: Method,
        path: &str,
        body: String,
        headers: &[(&str, &str)],
    ) -> Result<(StatusCode, Value)> {
        let kind = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url()))
            .header(header::AUTHORIZATION, format!("Bearer {ADMIN_TOKEN}"))
            .header(header::CONTENT_TYPE, kind);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = request.body(Full::<Bytes>::from(body))?;
        let response = self.client.exchange(request).await?;
        Ok((response.status(), serde_json::from_slice(response.body()).unwrap_or_default()))
    }

    /// All kinds that are served, as kubectl asks for them.
    pub(crate) async fn aggregated_discovery(&self) -> Result<(StatusCode, Value)> {
        let request = Request::get(format!("{}/apis", self.url()))
            .header(header::AUTHORIZATION, format!("Bearer {ADMIN_TOKEN}"))
            .header(header::ACCEPT, "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
            .body(Full::default())?;
        let response = self.client.exchange(request).await?;
        Ok((response.status(), serde_json::from_slice(response.body()).unwrap_or_default()))
    }

    /// Reads a path of the API, such as `/api/v1/namespaces/default`, as an administrator.
    ///
    /// # Errors
    /// When the response is not a success, with what it says.
    pub async fn read(&self, path: &str) -> Result<Value> {
        let end = Instant::now() + START_LIMIT;
        loop {
            let (status, output) = self.request(Method::GET, path, None).await?;
            if status.is_success() {
                return Ok(output);
            }
            // This happens after a change to a CRD. kubectl repeats the request as well.
            let later = status == StatusCode::TOO_MANY_REQUESTS && Instant::now() < end;
            anyhow::ensure!(later, "{path} returns {status}: {}", output["message"]);
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Runs `kubectl` as an administrator. A failure of the command is in the result.
    ///
    /// # Errors
    /// When it cannot be run at all.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<KubectlResult> {
        self.kubectl.run(arguments).await
    }

    /// Applies documents as an administrator.
    ///
    /// # Errors
    /// When one is refused, with what was said.
    pub async fn apply_yaml(&self, yaml: &str) -> Result<String> {
        self.kubectl.apply(yaml).await?.success()
    }

    /// The audit log so far, one JSON object a line.
    ///
    /// # Errors
    /// When there is none: it takes an audit policy.
    pub fn audit_log(&self) -> Result<String> {
        std::fs::read_to_string(self.home.path().join(AUDIT_LOG)).context("there is no audit log")
    }

    /// Returns the process id of kube-apiserver, while it runs.
    #[must_use]
    pub fn api_server_pid(&self) -> Option<u32> {
        self.api_server.pid()
    }

    /// Returns the log of kube-apiserver.
    #[must_use]
    pub fn api_server_logs(&self) -> String {
        self.api_server.logs()
    }
}

fn https(port: &Port) -> String {
    format!("https://{port}")
}

/// The ports of etcd, which are the same when it is started again.
#[derive(Debug)]
struct EtcdPorts {
    client: Port,
    peer: Port,
}

impl EtcdPorts {
    fn reserve() -> Result<Self> {
        Ok(Self { client: Port::reserve()?, peer: Port::reserve()? })
    }
}

async fn etcd_ready(etcd: &mut Process, client: &HttpClient, at: &EtcdPorts) -> Result<()> {
    let health = format!("{}/health", at.client.url());
    etcd.ready(START_LIMIT, async || client.is_ok(&health, None).await).await
}

fn start_etcd(tools: &Tools, home: &Path, at: &EtcdPorts, fsync: bool) -> Result<Process> {
    let (url, peer) = (at.client.url(), at.peer.url());
    let mut command = server(&tools.etcd(), home);
    command
        .arg(format!("--data-dir={}", home.join("etcd").display()))
        .args([format!("--listen-client-urls={url}"), format!("--advertise-client-urls={url}")])
        .args([format!("--listen-peer-urls={peer}"), format!("--initial-advertise-peer-urls={peer}")])
        .args([format!("--initial-cluster=default={peer}"), "--log-level=warn".to_owned()]);
    if !fsync {
        command.arg("--unsafe-no-fsync");
    }
    Process::spawn("etcd", &mut command, &home.join("etcd.log"), Some(home))
}

fn start_api_server(
    tools: &Tools,
    home: &Path,
    pki: &Pki,
    etcd: &Port,
    port: &Port,
    options: &Options,
) -> Result<Process> {
    let mut command = server(&tools.kube_apiserver(), home);
    command
        .args([format!("--etcd-servers={}", etcd.url()), format!("--secure-port={}", port.number())])
        .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none"])
        .args(["--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/24"])
        .arg(format!("--token-auth-file={}", home.join("users.csv").display()))
        .arg(format!("--cert-dir={}", home.display()))
        .arg(format!("--client-ca-file={}", pki.ca.display()))
        .arg(format!("--tls-cert-file={}", pki.serving_certificate.display()))
        .arg(format!("--tls-private-key-file={}", pki.serving_key.display()))
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .arg(format!("--service-account-signing-key-file={}", pki.token_key.display()))
        .arg(format!("--service-account-key-file={}", pki.token_public_key.display()))
        .args(&options.api_server_arguments);
    if let Some(policy) = &options.audit_policy {
        command
            .arg(format!("--audit-policy-file={}", policy.display()))
            .arg(format!("--audit-log-path={}", home.join(AUDIT_LOG).display()));
    }
    Process::spawn("kube-apiserver", &mut command, &home.join("kube-apiserver.log"), None)
}

/// JSON is YAML, and quotes itself.
fn token_of(token: &str) -> serde_json::Value {
    serde_json::json!({ "token": token })
}

fn kubeconfig_text(server: &str, ca: Option<&Path>, user: &serde_json::Value) -> String {
    let mut cluster = serde_json::json!({ "server": server });
    if let Some(ca) = ca {
        cluster["certificate-authority"] = ca.display().to_string().into();
    }
    serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "testbed",
        "contexts": [{ "name": "testbed", "context": { "cluster": "testbed", "user": "testbed" } }],
        "clusters": [{ "name": "testbed", "cluster": cluster }],
        "users": [{ "name": "testbed", "user": user }],
    })
    .to_string()
}
