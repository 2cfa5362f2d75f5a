//! The reads that confirm: whole lists and namespaces in their present state.

use std::{fmt, time::Duration};

use cognito_reset_core::grants::{self, ListedObject, Version, Versions};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Client, Resource, ResourceExt,
    api::{GetParams, ListParams},
    core::{PartialObjectMeta, Request, request::Error as BuildError},
};
use serde::de::DeserializeOwned;

use crate::kube::{
    current::{current, list},
    store::StoreError,
};

/// Returns the versions of all objects of a kind.
pub(super) async fn versions<K>(client: &Client, timeout: Duration) -> Result<Versions, StoreError>
where
    K: Resource<DynamicType = ()> + Clone + fmt::Debug,
{
    let request = Request::new(K::url_path(&(), None)).list_metadata(&ListParams::default());
    let all: Vec<PartialObjectMeta<K>> = whole(client, request, timeout).await?;
    let version = |object: &PartialObjectMeta<K>| {
        (object.metadata.name.clone().unwrap_or_default(), Version::of(&object.metadata))
    };
    Ok(all.iter().map(version).collect())
}

/// Returns all objects of the kind `K`, parsed as `T`.
pub(super) async fn objects<K, T>(client: &Client, timeout: Duration) -> Result<Vec<ListedObject<T>>, StoreError>
where
    K: Resource<DynamicType = ()>,
    T: Resource + Clone + fmt::Debug + DeserializeOwned,
{
    let request = Request::new(K::url_path(&(), None)).list(&ListParams::default());
    let all = whole(client, request, timeout).await?;
    let listed = |object: T| ListedObject { name: object.name_any(), version: Version::of(object.meta()), object };
    Ok(all.into_iter().map(listed).collect())
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

/// Returns the objects of a list that the API server returned as a whole.
async fn whole<K: Clone + DeserializeOwned>(
    client: &Client,
    request: Result<http::Request<Vec<u8>>, BuildError>,
    timeout: Duration,
) -> Result<Vec<K>, StoreError> {
    match list(client, request, timeout).await? {
        (items, None) => Ok(items),
        (_, Some(_)) => Err(StoreError::AnotherList),
    }
}
