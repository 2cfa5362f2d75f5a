//! The parts of a cluster that run Pods, faked: a node of KWOK, which reports every Pod as ready,
//! and a binder in place of the scheduler.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::{Method, Request, header};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::sleep};

use crate::{
    ControlPlane,
    control_plane::ADMIN_TOKEN,
    environment::condition,
    eventually,
    helm::packaging,
    http_client::HttpClient,
    port::Port,
    process::{Process, server},
};

const NAME: &str = "testbed";
const LIMIT: Duration = Duration::from_secs(60);
/// Pause between two looks for Pods without a node.
const PAUSE: Duration = Duration::from_millis(100);

/// A node on which nothing runs. Pods become ready on it at once, regardless of their image and
/// their probes.
#[derive(Debug)]
pub struct Node {
    kwok: Process,
    _port: Port,
    binder: JoinHandle<()>,
}

impl Node {
    /// Starts KWOK and the binder, and waits until the node is ready. Deployments need a control
    /// plane with [`workloads`](crate::Options::workloads).
    ///
    /// # Errors
    /// If the node does not become ready.
    pub async fn start(cluster: &ControlPlane) -> Result<Self> {
        let directory = cluster.directory();
        let stages = directory.join("stages.yaml");
        std::fs::write(&stages, include_str!("node/stages.yaml"))?;
        let port = Port::reserve()?;
        let mut command = server(&packaging().join("kwok"), directory);
        command
            .arg(format!("--kubeconfig={}", cluster.kubeconfig().display()))
            .arg(format!("--config={}", stages.display()))
            .arg(format!("--server-address={port}"))
            .args(["--manage-all-nodes=true", "--node-ip=127.0.0.1", "--cidr=10.1.0.0/16"]);
        let kwok = Process::spawn("kwok", &mut command, &directory.join("kwok.log"), None)?;
        let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": NAME, "labels": { "kubernetes.io/os": "linux" } } });
        let (status, output) = cluster.request(Method::POST, "/api/v1/nodes", Some(&node)).await?;
        ensure!(status.is_success(), "{output}");
        let this = Self { kwok, _port: port, binder: tokio::spawn(Binder::of(cluster)?.run()) };
        let ready = eventually(LIMIT, "the node to be ready", async || {
            let node = cluster.read(&format!("/api/v1/nodes/{NAME}")).await?;
            let ready = condition(&node, "Ready");
            ensure!(ready["status"] == "True", "{ready}");
            anyhow::Ok(())
        });
        ready.await.with_context(|| this.kwok.logs())?;
        Ok(this)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.binder.abort();
    }
}

/// Assigns every Pod to the node.
struct Binder {
    url: String,
    client: HttpClient,
}

impl Binder {
    fn of(cluster: &ControlPlane) -> Result<Self> {
        Ok(Self { url: cluster.url(), client: HttpClient::new(Some(cluster.ca_pem()))? })
    }

    async fn run(self) {
        loop {
            // What fails is repeated: an API server may be busy.
            let _ = self.bind_all().await;
            sleep(PAUSE).await;
        }
    }

    async fn bind_all(&self) -> Result<()> {
        let pods = self.send(Method::GET, "/api/v1/pods?fieldSelector=spec.nodeName%3D", None).await?;
        for pod in pods["items"].as_array().into_iter().flatten() {
            let text = |field: &str| pod["metadata"][field].as_str().context("a Pod without a name");
            let (namespace, name) = (text("namespace")?, text("name")?);
            let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/binding");
            let binding = json!({
                "apiVersion": "v1", "kind": "Binding", "metadata": { "name": name },
                "target": { "apiVersion": "v1", "kind": "Node", "name": NAME },
            });
            self.send(Method::POST, &path, Some(&binding)).await?;
        }
        Ok(())
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(header::AUTHORIZATION, format!("Bearer {ADMIN_TOKEN}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body.map(Value::to_string).unwrap_or_default()))?;
        let response = self.client.exchange(request).await?;
        Ok(serde_json::from_slice(response.body())?)
    }
}
