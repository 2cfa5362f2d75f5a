//! The API server as an administrator sees it, past every proxy.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{ControlPlane, control_plane::ADMIN_TOKEN, http_client::HttpClient};

pub(super) const REQUESTS: &str = "/apis/cognito-reset.dev/v1alpha1/namespaces/default/passwordresetrequests";
pub(super) const RECORDS: &str = "/apis/cognito-reset.dev/v1alpha1/passwordresetrecords";
pub(super) const HOLDS: &str = "/apis/cognito-reset.dev/v1alpha1/userpoolholds";
pub(super) const GRANTS: &str = "/apis/cognito-reset.dev/v1alpha1/userpoolgrants";
/// The path of the Leases, to be followed by a namespace.
pub(super) const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces";

/// The time for which a request is repeated until the API server does it: it may be killed just
/// now.
const PATIENCE: Duration = Duration::from_secs(90);

/// A client of the API server.
#[derive(Debug)]
pub(super) struct Server {
    client: HttpClient,
    url: String,
}

impl Server {
    pub(super) fn of(cluster: &ControlPlane) -> Result<Self> {
        Ok(Self { client: HttpClient::new(Some(cluster.ca_pem()))?, url: cluster.url() })
    }

    fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Request<Full<Bytes>>> {
        let kind = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        Ok(Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(header::AUTHORIZATION, format!("Bearer {ADMIN_TOKEN}"))
            .header(header::CONTENT_TYPE, kind)
            .body(Full::from(body.map(Value::to_string).unwrap_or_default()))?)
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, Value)> {
        let response = self.client.exchange(self.request(method, path, body)?).await?;
        Ok((response.status(), serde_json::from_slice(response.body()).unwrap_or_default()))
    }

    /// Repeats a request until the response has one of these statuses.
    pub(super) async fn insist(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        wanted: &[u16],
    ) -> Result<(StatusCode, Value)> {
        self.insist_until(Instant::now() + PATIENCE, method, path, body, wanted).await
    }

    /// Does the same, with the last try before `end`.
    pub(super) async fn insist_until(
        &self,
        end: Instant,
        method: Method,
        path: &str,
        body: Option<&Value>,
        wanted: &[u16],
    ) -> Result<(StatusCode, Value)> {
        loop {
            let response = self.send(method.clone(), path, body).await;
            match &response {
                Ok((status, _)) if wanted.contains(&status.as_u16()) => return response,
                Ok((status, output)) if Instant::now() > end => bail!("{method} {path} ends with {status}: {output}"),
                Err(_) if Instant::now() > end => return response,
                Ok(_) | Err(_) => sleep(Duration::from_millis(200)).await,
            }
        }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value> {
        Ok(self.insist(Method::GET, path, None, &[200]).await?.1)
    }

    /// Returns all objects, and the version of the list.
    pub(super) async fn list(&self, path: &str) -> Result<(Vec<Value>, String)> {
        let mut list = self.get(path).await?;
        let version = list.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default().to_owned();
        let items = list.get_mut("items").and_then(Value::as_array_mut).context("a list without items")?;
        Ok((std::mem::take(items), version))
    }

    /// A watch that has begun.
    pub(super) async fn watch(&self, path: &str, version: &str) -> Result<Response<Incoming>> {
        let path = format!("{path}?watch=true&timeoutSeconds=3600&resourceVersion={version}");
        let response = self.client.send(self.request(Method::GET, &path, None)?).await?;
        if response.status() != StatusCode::OK {
            bail!("the watch of {path} is refused with {}", response.status());
        }
        Ok(response)
    }
}
