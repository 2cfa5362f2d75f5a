//! Compares the schemas that the API server serves with those of this version. A field or value
//! that a CRD does not have is dropped or rejected. In the ledger that is an error; elsewhere the
//! operator works without it.
//!
//! The schemas are read from the OpenAPI document of the API group, which every authenticated user
//! may read, so no permission on CustomResourceDefinitions is needed.

use std::time::Duration;

use cognito_reset_api::PasswordResetRecord;
use cognito_reset_core::schemas::{Missing, compare};
use http::Request;
use kube::{Client, Resource};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::kube::{
    response::send,
    store::{StoreError, within},
};

/// The time for which a difference has to last: the API server publishes the schemas of a CRD some
/// time after the CRD.
const SETTLED: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(500);

/// Returns what the CRDs of the cluster lack; nothing if the API server does not show their
/// schemas.
pub(super) async fn missing(client: &Client, api_timeout: Duration) -> Missing {
    let end = Instant::now() + SETTLED;
    loop {
        let found = match document(client, api_timeout).await {
            Ok(document) => compare(&cognito_reset_api::crds(), &document),
            Err(error) => {
                warn!(%error, "unable to compare the CRDs with this version: the API server does not show their schemas");
                return Missing::default();
            }
        };
        if found.is_empty() || Instant::now() > end {
            return found;
        }
        sleep(PAUSE).await;
    }
}

async fn document(client: &Client, api_timeout: Duration) -> Result<Value, StoreError> {
    let (group, version) = (PasswordResetRecord::group(&()), PasswordResetRecord::version(&()));
    let read = async {
        let request = Request::get(format!("/openapi/v3/apis/{group}/{version}")).body(Vec::new());
        let response = send(client, request.map_err(kube::Error::HttpError)?).await?;
        serde_json::from_slice(&response.body).map_err(kube::Error::SerdeError)
    };
    within(api_timeout, read).await
}
