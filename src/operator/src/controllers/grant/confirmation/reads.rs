//! The reads that confirm: whole lists and namespaces in their present state.
//!
//! Without a resourceVersion, a read contains every write that was complete before it was sent. A
//! response that a cache has stored confirms nothing, and neither does one of which that is
//! unknown.

use std::{fmt, time::Duration};

use cognito_reset_core::grants::{self, ListedObject, Version, Versions};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Client, Resource, ResourceExt,
    api::{GetParams, ListParams, ObjectList},
    core::{PartialObjectMeta, Request, request::Error as BuildError},
};
use serde::de::DeserializeOwned;

use crate::kube::{
    response::{Response, send},
    store::{StoreError, within},
};

/// Returns the versions of all objects of a kind.
pub(super) async fn versions<K>(client: &Client, timeout: Duration) -> Result<Versions, StoreError>
where
    K: Resource<DynamicType = ()> + Clone + fmt::Debug,
{
    let request = Request::new(K::url_path(&(), None)).list_metadata(&ListParams::default());
    let list: Vec<PartialObjectMeta<K>> = whole(current(client, request, timeout).await?)?;
    let version = |object: &PartialObjectMeta<K>| {
        (object.metadata.name.clone().unwrap_or_default(), Version::of(&object.metadata))
    };
    Ok(list.iter().map(version).collect())
}

/// Returns all objects of the kind `K`, parsed as `T`.
pub(super) async fn objects<K, T>(client: &Client, timeout: Duration) -> Result<Vec<ListedObject<T>>, StoreError>
where
    K: Resource<DynamicType = ()>,
    T: Resource + Clone + fmt::Debug + DeserializeOwned,
{
    let request = Request::new(K::url_path(&(), None)).list(&ListParams::default());
    let list = whole(current(client, request, timeout).await?)?;
    let listed = |object: T| ListedObject { name: object.name_any(), version: Version::of(object.meta()), object };
    Ok(list.into_iter().map(listed).collect())
}

/// Returns a namespace, `None` if it does not exist.
pub(super) async fn namespace(
    client: &Client,
    name: &str,
    timeout: Duration,
) -> Result<Option<grants::Namespace>, StoreError> {
    let request = Request::new(Namespace::url_path(&(), None)).get_metadata(name, &GetParams::default());
    match current::<PartialObjectMeta<Namespace>>(client, request, timeout).await {
        Ok(read) => Ok(Some(grants::Namespace { uid: read.uid(), labels: read.labels().clone() })),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the parsed response to a request.
async fn current<T: DeserializeOwned>(
    client: &Client,
    request: Result<http::Request<Vec<u8>>, BuildError>,
    timeout: Duration,
) -> Result<T, StoreError> {
    let request = request.map_err(kube::Error::BuildRequest).map_err(StoreError::Client)?;
    let Response { server_time, body } = within(timeout, send(client, request)).await?;
    if server_time.is_none() {
        return Err(StoreError::NotCurrent);
    }
    serde_json::from_slice(&body).map_err(kube::Error::SerdeError).map_err(StoreError::Client)
}

/// Returns the objects of a list that the API server returned as a whole.
fn whole<K: Clone>(list: ObjectList<K>) -> Result<Vec<K>, StoreError> {
    let is_whole = list.metadata.continue_.is_none_or(|token| token.is_empty());
    let has_version = list.metadata.resource_version.is_some_and(|version| !version.is_empty());
    if is_whole && has_version { Ok(list.items) } else { Err(StoreError::AnotherList) }
}
