//! Guarded reads and writes of requests and records, each within a timeout.

use std::{future::Future, time::Duration};

use cognito_reset_api::{PasswordResetRecord, PasswordResetRequest};
use cognito_reset_core::{
    machine::{ApiFailure, StatusWrite, Written},
    panics::{Panicked, caught},
    refusal::{ErrorResponse, Refuser},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{GetParams, ListParams, PostParams},
    core::{DeserializeGuard, Request},
};
use thiserror::Error;
use tokio::time::timeout;
use tracing::warn;

use crate::kube::{
    errors::of_client,
    response::{Response, send},
};

const PAGE: u32 = 500;

/// Requests and records in the API server.
#[derive(Clone)]
pub(crate) struct Store {
    client: Client,
    api_timeout: Duration,
}

/// A request that was read.
pub(crate) struct ReadRequest {
    /// The request, if it exists.
    pub(crate) request: Option<PasswordResetRequest>,
    /// The API server's time, if the response has one.
    pub(crate) server_time: Option<Timestamp>,
}

/// A failed call to the API server.
#[derive(Debug, Error)]
pub enum StoreError {
    /// No response in time. A write may or may not have been applied.
    #[error("no response from the API server within {0:?}")]
    NoResponse(Duration),
    /// An error of the client: a response that is an error, or none.
    #[error("{}", of_client(.0))]
    Client(#[source] kube::Error),
    /// A panic of the client. A write may or may not have been applied.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// A list of another kind than the requested one.
    #[error("the response is not the requested list")]
    AnotherList,
    /// A response that may be of any age.
    #[error("the response has no Date, or a cache has stored it")]
    NotCurrent,
}

impl StoreError {
    /// Returns the meaning of the API server's response for a write, or `None` without a response
    /// that is an error.
    fn response(&self) -> Option<ErrorResponse> {
        match self {
            Self::Client(kube::Error::Api(status)) => Some(ErrorResponse::of(status)),
            Self::Client(_) | Self::NoResponse(_) | Self::Panicked(_) | Self::AnotherList | Self::NotCurrent => None,
        }
    }

    /// Returns the refuser, if nothing was written and the same write will be refused again.
    pub(crate) fn refuser(&self) -> Option<Refuser> {
        match self.response()? {
            ErrorResponse::Refused(refuser) => Some(refuser),
            ErrorResponse::Conflict | ErrorResponse::NotFound | ErrorResponse::Inconclusive => None,
        }
    }

    /// Returns true if the API server responded, or a proxy did. A response that cannot be parsed
    /// is one too: it proves as little about a write as any other.
    const fn is_response(&self) -> bool {
        match self {
            Self::Client(kube::Error::Api(_) | kube::Error::SerdeError(_) | kube::Error::FromUtf8(_))
            | Self::AnotherList
            | Self::NotCurrent => true,
            Self::Client(_) | Self::NoResponse(_) | Self::Panicked(_) => false,
        }
    }

    pub(crate) fn is_conflict(&self) -> bool {
        self.response() == Some(ErrorResponse::Conflict)
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.response() == Some(ErrorResponse::NotFound)
    }
}

impl From<StoreError> for ApiFailure {
    fn from(error: StoreError) -> Self {
        let detail = error.to_string();
        match (error.refuser(), error.is_response()) {
            (Some(by), _) => Self::Refused { by, detail },
            (None, true) => Self::Responded { detail },
            (None, false) => Self::NoResponse { detail },
        }
    }
}

/// Returns the metadata that guards a write.
fn guard(metadata: &ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: metadata.name.clone(),
        namespace: metadata.namespace.clone(),
        uid: metadata.uid.clone(),
        resource_version: metadata.resource_version.clone(),
        ..ObjectMeta::default()
    }
}

/// Returns the record, or a substitute for one that cannot be parsed.
pub(crate) fn understood(read: DeserializeGuard<PasswordResetRecord>) -> PasswordResetRecord {
    read.0.unwrap_or_else(|invalid| PasswordResetRecord::not_understood(invalid.metadata))
}

/// Calls the API server, and fails without a response within `api_timeout`.
pub(crate) async fn within<T>(
    api_timeout: Duration,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, StoreError> {
    match timeout(api_timeout, caught(call)).await {
        Ok(Ok(result)) => result.map_err(StoreError::Client),
        Ok(Err(panicked)) => Err(StoreError::Panicked(panicked)),
        Err(_) => Err(StoreError::NoResponse(api_timeout)),
    }
}

impl Store {
    /// Returns a store whose calls have `api_timeout` as their timeout.
    #[must_use]
    pub(crate) fn new(client: Client, api_timeout: Duration) -> Self {
        Self { client, api_timeout }
    }

    fn requests(&self, namespace: &str) -> Api<PasswordResetRequest> {
        Api::namespaced(self.client.clone(), namespace)
    }

    fn records(&self) -> Api<PasswordResetRecord> {
        Api::all(self.client.clone())
    }

    /// The same, for reading: a newer operator may have written what this one cannot parse.
    fn records_of_anybody(&self) -> Api<DeserializeGuard<PasswordResetRecord>> {
        Api::all(self.client.clone())
    }

    async fn call<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Result<T, StoreError> {
        within(self.api_timeout, call).await
    }

    /// Reads the request, and the API server's time.
    ///
    /// # Errors
    /// Returns an error if the API server returns neither it nor its absence.
    pub(crate) async fn request(&self, namespace: &str, name: &str) -> Result<ReadRequest, StoreError> {
        let path = PasswordResetRequest::url_path(&(), Some(namespace));
        let request = Request::new(path).get(name, &GetParams::default()).map_err(kube::Error::BuildRequest);
        let request = request.map_err(StoreError::Client)?;
        match self.call(send(&self.client, request)).await {
            Ok(Response { server_time, body }) => {
                let request = serde_json::from_slice(&body).map_err(kube::Error::SerdeError);
                Ok(ReadRequest { request: Some(request.map_err(StoreError::Client)?), server_time })
            }
            Err(StoreError::Client(kube::Error::Api(status))) if status.is_not_found() => {
                Ok(ReadRequest { request: None, server_time: None })
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the record, within `time_left` if that is shorter than the timeout of the store.
    ///
    /// # Errors
    /// Returns an error if the API server returns neither it nor its absence.
    pub(crate) async fn record(
        &self,
        name: &str,
        time_left: Option<Duration>,
    ) -> Result<Option<PasswordResetRecord>, StoreError> {
        let read = within(self.shortest(time_left), self.records_of_anybody().get_opt(name)).await?.map(understood);
        if read.as_ref().is_some_and(PasswordResetRecord::is_of_newer_schema) {
            warn!(record = %name, "skipped a record that a newer operator wrote");
        }
        Ok(read)
    }

    /// A page of the records whose claim is open, and how to go on. One that cannot be read is no
    /// reason to miss the others.
    ///
    /// # Errors
    /// Returns an error if the API server does not return it.
    pub(crate) async fn open_records(
        &self,
        page: Option<String>,
    ) -> Result<(Vec<DeserializeGuard<PasswordResetRecord>>, Option<String>), StoreError> {
        let mut params = ListParams::default().fields("effect=").limit(PAGE);
        params.continue_token = page;
        let list = self.call(self.records_of_anybody().list(&params)).await?;
        Ok((list.items, list.metadata.continue_.filter(|token| !token.is_empty())))
    }

    /// Creates the record, or replaces it if it has a resourceVersion, within `time_left` if that
    /// is shorter than the timeout of the store.
    pub(crate) async fn write_record(&self, record: &PasswordResetRecord, time_left: Option<Duration>) -> Written {
        let (params, name, records) = (PostParams::default(), record.name_any(), self.records());
        let time_left = self.shortest(time_left);
        let written = if record.metadata.resource_version.is_some() {
            within(time_left, records.replace(&name, &params, record)).await
        } else {
            within(time_left, records.create(&params, record)).await
        };
        match written {
            Ok(stored) => Written::Stored(stored.into()),
            Err(error) if error.is_conflict() => Written::Conflict,
            Err(error) if error.is_not_found() => Written::NotFound,
            Err(error) => Written::Failed(error.into()),
        }
    }

    /// Writes a request's status, guarded by the uid and resourceVersion of the object that it was
    /// made from. Of the rest of its metadata, which may be a thousand times as long, a write of
    /// the status changes nothing, so it is not sent.
    ///
    /// # Errors
    /// Returns an error if it is unknown whether the status was written, or if the API server
    /// refuses.
    pub(crate) async fn write_status(&self, request: &PasswordResetRequest) -> Result<StatusWrite, StoreError> {
        let api = self.requests(&request.namespace().unwrap_or_default());
        let (spec, status) = (request.spec.clone(), request.status.clone());
        let written = PasswordResetRequest { metadata: guard(&request.metadata), spec, status };
        match self.call(api.replace_status(&request.name_any(), &PostParams::default(), &written)).await {
            Ok(_) => Ok(StatusWrite::Applied),
            Err(error) if error.is_conflict() => Ok(StatusWrite::Conflict),
            Err(error) if error.is_not_found() => Ok(StatusWrite::NotFound),
            Err(error) => Err(error),
        }
    }

    fn shortest(&self, time_left: Option<Duration>) -> Duration {
        time_left.map_or(self.api_timeout, |left| left.min(self.api_timeout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_error(code: u16) -> StoreError {
        let status = kube::core::Status::failure("made up by the test", "").with_code(code);
        StoreError::Client(kube::Error::Api(status.boxed()))
    }

    #[test]
    fn failure_says_if_there_was_a_response_and_who_refused() {
        let unparsable = || serde_json::from_str::<u8>("{").unwrap_err();
        let not_text = || String::from_utf8(vec![0xff]).unwrap_err();
        for (error, responded, refused) in [
            (client_error(403), true, true),
            (client_error(404), true, false),
            (client_error(409), true, false),
            (client_error(503), true, false),
            (StoreError::Client(kube::Error::SerdeError(unparsable())), true, false),
            (StoreError::Client(kube::Error::FromUtf8(not_text())), true, false),
            (StoreError::AnotherList, true, false),
            (StoreError::NotCurrent, true, false),
            (StoreError::Client(kube::Error::Service("connection refused".into())), false, false),
            (StoreError::NoResponse(Duration::from_secs(5)), false, false),
            (StoreError::Panicked(Panicked), false, false),
        ] {
            let failure = ApiFailure::from(error);
            assert_eq!((failure.is_response(), failure.refuser().is_some()), (responded, refused), "{failure}");
        }
    }

    #[test]
    fn conflict_is_not_a_missing_object() {
        let of = |code| (client_error(code).is_conflict(), client_error(code).is_not_found());
        assert_eq!([of(409), of(404), of(403)], [(true, false), (false, true), (false, false)]);
    }
}
