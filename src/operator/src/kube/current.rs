//! Reads that are known to be current.
//!
//! Without a resourceVersion, a read contains every write that was complete before it was sent. A
//! response that a cache has stored shows nothing of the present, and neither does one of which
//! that is unknown.

use std::time::Duration;

use kube::{Client, api::ObjectList, core::request::Error as BuildError};
use serde::de::DeserializeOwned;

use crate::kube::{
    response::{Response, send},
    store::{StoreError, within},
};

/// Returns the parsed response to a request.
///
/// # Errors
/// Returns an error if there is no response in time, if it is not a success, or if it may be of any
/// age.
pub(crate) async fn current<T: DeserializeOwned>(
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

/// Returns a list, or one page of it, and the token of the next page.
///
/// # Errors
/// Returns the errors of [`current`], and one if the response is not a list in a state that the API
/// server names.
pub(crate) async fn list<K: Clone + DeserializeOwned>(
    client: &Client,
    request: Result<http::Request<Vec<u8>>, BuildError>,
    timeout: Duration,
) -> Result<(Vec<K>, Option<String>), StoreError> {
    let ObjectList { metadata, items, .. } = current::<ObjectList<K>>(client, request, timeout).await?;
    let has_version = metadata.resource_version.is_some_and(|version| !version.is_empty());
    let next = metadata.continue_.filter(|token| !token.is_empty());
    if has_version { Ok((items, next)) } else { Err(StoreError::AnotherList) }
}
