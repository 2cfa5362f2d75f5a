//! Restoring a CustomResourceDefinition. kube-apiserver applies a changed definition some time
//! after it was stored, and nothing shows when. For this reason the definition is deleted and
//! stored again with another uid. Both steps are visible in discovery and in the response to a list
//! of its objects.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::Method;
use serde_json::Value;

use crate::{ControlPlane, control_plane::random_uid, eventually};

/// The prefix of the CRDs in etcd.
pub(super) const KEYS: &str = "/registry/apiextensions.k8s.io/customresourcedefinitions/";
const LIMIT: Duration = Duration::from_secs(30);

/// Restores a definition and returns the bytes that are stored now. Its objects have to be deleted
/// before.
pub(super) async fn replace(cluster: &ControlPlane, key: &str, definition: &[u8]) -> Result<Vec<u8>> {
    let mut definition: Value = serde_json::from_slice(definition).context("a definition is not JSON")?;
    definition["metadata"]["uid"] = random_uid().into();
    let stored = definition.to_string().into_bytes();
    let collection = Collection::of(&definition["spec"])?;
    cluster.store([(key, None)]).await?;
    collection.becomes(cluster, false).await?;
    cluster.store([(key, Some(stored.as_slice()))]).await?;
    collection.becomes(cluster, true).await?;
    Ok(stored)
}

/// The place of the objects of a CRD.
struct Collection {
    /// `/apis/GROUP/VERSION`
    version: String,
    plural: String,
}

impl Collection {
    fn of(spec: &Value) -> Result<Self> {
        let text = |pointer: &str| spec.pointer(pointer).and_then(Value::as_str).context("a definition without a name");
        let version = format!("/apis/{}/{}", text("/group")?, text("/version").or_else(|_| text("/versions/0/name"))?);
        Ok(Self { version, plural: text("/names/plural")?.to_owned() })
    }

    /// Waits until it is served, or until it is not.
    async fn becomes(&self, cluster: &ControlPlane, served: bool) -> Result<()> {
        let Self { version, plural } = self;
        eventually(LIMIT, format!("{plural} to be served: {served}"), async || {
            let (status, _) = cluster.request(Method::GET, &format!("{version}/{plural}"), None).await?;
            let (_, group) = cluster.request(Method::GET, version, None).await?;
            let (_, all) = cluster.aggregated_discovery().await?;
            let seen = (status.is_success(), named(&group, "name", plural), named(&all, "resource", plural));
            ensure!(seen == (served, served, served), "{status}, {seen:?}");
            Ok(())
        })
        .await
    }
}

/// Returns true if a field of this name has this value, at any depth.
fn named(value: &Value, field: &str, wanted: &str) -> bool {
    match value {
        Value::Object(fields) => {
            fields.iter().any(|(name, value)| (name == field && value == wanted) || named(value, field, wanted))
        }
        Value::Array(all) => all.iter().any(|value| named(value, field, wanted)),
        _ => false,
    }
}
