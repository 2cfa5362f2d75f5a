//! The API server as the bench uses it, and the requests that it has counted.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use http::Request;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// The API group of the operator.
const GROUP: &str = "cognito-reset.dev";
/// The namespace of the requests, unless a scenario has several.
pub const NAMESPACE: &str = "bench";
/// The pool of all requests.
pub const POOL: &str = "eu-west-1_Bench00001";
/// The number of concurrent creations.
const WRITERS: usize = 16;
/// The time between two looks at what is left to do.
const INTERVAL: Duration = Duration::from_millis(200);

/// The numbers of requests to the API server, by verb and resource.
pub type Requests = BTreeMap<String, u64>;

/// A client of an administrator, which counts its own requests.
pub struct ApiServer {
    client: Client,
    /// The number of own lists of requests.
    lists: AtomicU64,
    /// The number of own creations of requests.
    creations: AtomicU64,
}

impl ApiServer {
    /// Connects to the API server of a kubeconfig.
    ///
    /// # Errors
    /// Returns an error if the kubeconfig cannot be used.
    pub async fn connect(kubeconfig: &Path) -> Result<Self> {
        let (kubeconfig, options) = (Kubeconfig::read_from(kubeconfig)?, KubeConfigOptions::default());
        let client = Client::try_from(Config::from_custom_kubeconfig(kubeconfig, &options).await?)?;
        Ok(Self { client, lists: AtomicU64::default(), creations: AtomicU64::default() })
    }

    async fn send(&self, request: http::request::Builder, body: Option<&Value>) -> Result<Value> {
        let body = body.map(Value::to_string).unwrap_or_default().into_bytes();
        Ok(self.client.request(request.header("content-type", "application/json").body(body)?).await?)
    }

    /// Creates an object.
    ///
    /// # Errors
    /// Returns an error if the API server refuses it.
    pub async fn create(&self, path: &str, object: &Value) -> Result<Value> {
        self.send(Request::post(path), Some(object)).await
    }

    /// Creates the namespace and the grant for its requests.
    ///
    /// # Errors
    /// Returns an error if the API server refuses one.
    pub async fn allow(&self, namespace: &str) -> Result<()> {
        self.create("/api/v1/namespaces", &json!({ "metadata": { "name": namespace } })).await?;
        let grant = json!({
            "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "UserPoolGrant", "metadata": { "name": namespace },
            "spec": { "userPoolID": POOL, "namespaces": [namespace] },
        });
        self.create(&format!("/apis/{GROUP}/v1alpha1/userpoolgrants"), &grant).await?;
        Ok(())
    }

    /// Creates one request, for the user of its name.
    ///
    /// # Errors
    /// Returns an error if the API server refuses it.
    pub async fn create_request(&self, namespace: &str, name: &str) -> Result<()> {
        let request = json!({
            "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "PasswordResetRequest", "metadata": { "name": name },
            "spec": { "userPoolID": POOL, "username": format!("{name}@example.com"), "reason": "bench" },
        });
        self.creations.fetch_add(1, Ordering::Relaxed);
        self.create(&path(namespace), &request).await?;
        Ok(())
    }

    /// Creates requests with this prefix and number, several at a time.
    ///
    /// # Errors
    /// Returns an error if the API server refuses one.
    pub async fn create_requests(&self, namespace: &str, prefix: &str, number: usize) -> Result<()> {
        let all = stream::iter(
            (0..number).map(|index| async move { self.create_request(namespace, &format!("{prefix}-{index}")).await }),
        );
        all.buffer_unordered(WRITERS).try_collect().await
    }

    /// Writes an outcome into the status of requests, as if the operator had performed them.
    ///
    /// # Errors
    /// Returns an error if the API server refuses one.
    pub async fn finish_requests(&self, namespace: &str, prefix: &str, number: usize) -> Result<()> {
        let all = stream::iter(
            (0..number).map(|index| async move { self.finish_request(namespace, &format!("{prefix}-{index}")).await }),
        );
        all.buffer_unordered(WRITERS).try_collect().await
    }

    async fn finish_request(&self, namespace: &str, name: &str) -> Result<()> {
        let status = json!({ "status": { "outcome": "Succeeded" } });
        let patch = Request::patch(format!("{}/{name}/status", path(namespace)));
        let request =
            patch.header("content-type", "application/merge-patch+json").body(status.to_string().into_bytes())?;
        let _: Value = self.client.request(request).await?;
        Ok(())
    }

    /// Returns true if no request is pending any more.
    ///
    /// # Errors
    /// Returns an error if the API server does not respond.
    pub async fn is_done(&self) -> Result<bool> {
        self.lists.fetch_add(1, Ordering::Relaxed);
        let path =
            format!("/apis/{GROUP}/v1alpha1/passwordresetrequests?limit=1&fieldSelector=status.outcome%3DPending");
        let list = self.send(Request::get(path), None).await?;
        Ok(list["items"].as_array().is_none_or(Vec::is_empty))
    }

    /// Waits until no request is pending any more.
    ///
    /// # Errors
    /// Returns an error after the limit.
    pub async fn wait_done(&self, limit: Duration) -> Result<()> {
        let end = Instant::now() + limit;
        while !self.is_done().await? {
            ensure!(Instant::now() < end, "requests are still pending after {limit:?}");
            sleep(INTERVAL).await;
        }
        Ok(())
    }

    /// Returns the names of requests that have ended, as one watch shows them.
    ///
    /// # Errors
    /// Returns an error if the watch is refused.
    pub async fn ended(&self, namespace: &str) -> Result<impl Stream<Item = Result<String>> + use<>> {
        let watch = format!("{}?watch=true&timeoutSeconds=600", path(namespace));
        let events = self.client.request_events::<Value>(Request::get(watch).body(Vec::new())?).await?;
        Ok(events.filter_map(async |event| match event {
            Ok(kube::core::WatchEvent::Modified(object)) => {
                let has_ended = object["status"]["outcome"].as_str().is_some_and(|outcome| outcome != "Pending");
                object["metadata"]["name"].as_str().filter(|_| has_ended).map(|name| Ok(name.to_owned()))
            }
            Ok(_) => None,
            Err(error) => Some(Err(error.into())),
        }))
    }

    /// Returns the numbers of requests of everybody but this client, for the operator's kinds and
    /// for Events, since the start of the API server. A watch is counted when it ends, so watches
    /// are left out.
    ///
    /// # Errors
    /// Returns an error if the API server does not respond.
    pub async fn requests(&self) -> Result<Requests> {
        let text = self.client.request_text(Request::get("/metrics").body(Vec::new())?).await?;
        let mut found = Requests::new();
        for line in text.lines() {
            let Some((labels, value)) =
                line.strip_prefix("apiserver_request_total{").and_then(|it| it.split_once("} "))
            else {
                continue;
            };
            let label = |name: &str| {
                let (_, rest) = labels.split_once(&format!("{name}=\""))?;
                rest.split_once('"').map(|(value, _)| value)
            };
            let (verb, resource) = label("verb").zip(label("resource")).context("another format of metrics")?;
            if verb == "WATCH" || !(label("group") == Some(GROUP) || resource == "events") {
                continue;
            }
            let subresource = label("subresource").filter(|name| !name.is_empty()).map(|name| format!("/{name}"));
            let count: f64 = value.trim().parse()?;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
            let count = count as u64;
            *found.entry(format!("{verb} {resource}{}", subresource.unwrap_or_default())).or_default() += count;
        }
        for (key, own) in [("LIST passwordresetrequests", &self.lists), ("POST passwordresetrequests", &self.creations)]
        {
            if let Some(count) = found.get_mut(key) {
                *count = count.saturating_sub(own.load(Ordering::Relaxed));
            }
        }
        Ok(found)
    }
}

/// Returns the difference between two counts.
pub fn since(before: &Requests, now: &Requests) -> Requests {
    let difference = |(key, count): (&String, &u64)| {
        (key.clone(), count.saturating_sub(before.get(key).copied().unwrap_or_default()))
    };
    now.iter().map(difference).filter(|(_, count)| *count > 0).collect()
}

fn path(namespace: &str) -> String {
    format!("/apis/{GROUP}/v1alpha1/namespaces/{namespace}/passwordresetrequests")
}
