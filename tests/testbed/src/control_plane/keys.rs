//! Reading and writing the state of a control plane in etcd: all objects of all kinds, without
//! admission and finalizers. kube-apiserver watches etcd, and sees such a write like one of another
//! kube-apiserver.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, RandomState},
};

use anyhow::{Context, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use super::ControlPlane;

/// The number of writes that etcd accepts in one transaction by default.
const WRITES: usize = 128;

/// The bytes that are stored in one transaction. etcd accepts 1.5 MiB.
const REQUEST: usize = 1 << 20;

/// The keys and values of etcd.
pub(crate) type Keys = BTreeMap<String, Vec<u8>>;

impl ControlPlane {
    /// Returns everything that is stored, without the leases that kube-apiserver renews while it
    /// runs.
    pub(crate) async fn keys(&self) -> Result<Keys> {
        let response = self.etcd("range", &json!({ "key": encode("/"), "range_end": encode("0") })).await?;
        let mut keys = Keys::new();
        for pair in response["kvs"].as_array().into_iter().flatten() {
            let (key, value) = (decode(&pair["key"])?, decode(&pair["value"])?);
            keys.insert(String::from_utf8(key).context("a key is not UTF-8")?, value);
        }
        keys.retain(|key, _| !is_heartbeat(key));
        Ok(keys)
    }

    /// Stores these values, and deletes the keys without a value.
    pub(crate) async fn store<'a>(&self, writes: impl IntoIterator<Item = (&'a str, Option<&'a [u8]>)>) -> Result<()> {
        let writes: Vec<_> = writes
            .into_iter()
            .map(|(key, value)| match value {
                Some(value) => json!({ "request_put": { "key": encode(key), "value": encode(value) } }),
                None => json!({ "request_delete_range": { "key": encode(key) } }),
            })
            .collect();
        for some in writes.chunks(WRITES) {
            self.etcd("txn", &json!({ "success": some })).await?;
        }
        Ok(())
    }

    /// Stores copies of a custom resource under these names, past the API server, which would check
    /// each of them for milliseconds. `key` is that of the original in etcd.
    ///
    /// # Errors
    /// If the original is not there, or if etcd refuses the copies.
    pub async fn store_copies(&self, key: &str, names: impl IntoIterator<Item = String>) -> Result<()> {
        let response = self.etcd("range", &json!({ "key": encode(key) })).await?;
        let original = decode(&response["kvs"][0]["value"])?;
        let mut copy: Value =
            serde_json::from_slice(&original).with_context(|| format!("no custom resource at {key}"))?;
        let (collection, _) = key.rsplit_once('/').context("a key without a name")?;
        let mut copies = Vec::new();
        for name in names {
            let key = format!("{collection}/{name}");
            copy["metadata"]["name"] = name.into();
            copy["metadata"]["uid"] = random_uid().into();
            copies.push((key, copy.to_string().into_bytes()));
        }
        for some in copies.chunks((REQUEST / original.len().max(1)).clamp(1, WRITES)) {
            self.store(some.iter().map(|(key, copy)| (key.as_str(), Some(copy.as_slice())))).await?;
        }
        Ok(())
    }

    async fn etcd(&self, operation: &str, body: &Value) -> Result<Value> {
        let request = Request::post(format!("{}/v3/kv/{operation}", self.etcd_at.client.url()))
            .body(Full::new(Bytes::from(body.to_string())))?;
        let response = self.client.exchange(request).await?;
        let output = String::from_utf8_lossy(response.body());
        anyhow::ensure!(
            response.status().is_success(),
            "etcd refused {operation} with {}: {output}",
            response.status()
        );
        serde_json::from_slice(response.body()).context("etcd's response is not JSON")
    }
}

fn is_heartbeat(key: &str) -> bool {
    key.starts_with("/registry/leases/kube-system/apiserver-") || key.starts_with("/registry/peerserverleases/")
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

fn decode(text: &Value) -> Result<Vec<u8>> {
    // An empty value is left out.
    STANDARD.decode(text.as_str().unwrap_or_default()).context("etcd's response is not base64")
}

/// Returns a uid for an object that is stored past the API server.
pub(crate) fn random_uid() -> String {
    let random = || RandomState::new().hash_one("uid");
    let hex = format!("{:016x}{:016x}", random(), random());
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("{}-{}-4{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}
