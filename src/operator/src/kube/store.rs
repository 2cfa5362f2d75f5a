//! The guarded reads and writes of requests and records, each within a time limit.

use std::{future::Future, time::Duration};

use cognito_reset_api::{PasswordResetRecord, PasswordResetRequest};
use cognito_reset_core::{
    ledger::{self, Claimed, Finding, Settling},
    panics::{Panicked, caught},
    refusal::Refuser,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, PostParams},
    core::{DeserializeGuard, Status},
};
use thiserror::Error;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::warn;

use crate::kube::errors::of_client;

/// Before a write is repeated; doubled for each further time.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// At the most.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const PAGE: u32 = 500;

/// Requests and records in the API server.
#[derive(Clone)]
pub struct Store {
    client: Client,
    limit: Duration,
}

/// What went wrong with a call to the API server.
#[derive(Debug, Error)]
pub enum StoreError {
    /// No answer in time: a write may or may not have been applied.
    #[error("no answer from the API server within {0:?}")]
    NoAnswer(Duration),
    /// An answer, or none, as the client says.
    #[error("{}", of_client(.0))]
    Client(#[source] kube::Error),
    /// The client, or what works on the request, has panicked: a write may or may not have been applied.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// A list of another kind than the one that was asked for.
    #[error("the answer is not the list that was asked for")]
    AnotherList,
    /// Each write met a change since what it was made from had been read.
    #[error("the request or its record has changed {0} times while it was worked on")]
    Contended(u32),
}

impl StoreError {
    fn status(&self) -> Option<u16> {
        self.answer().map(|status| status.code)
    }

    fn answer(&self) -> Option<&Status> {
        match self {
            Self::Client(kube::Error::Api(status)) => Some(status),
            Self::Client(_) | Self::NoAnswer(_) | Self::Panicked(_) | Self::AnotherList | Self::Contended(_) => None,
        }
    }

    fn is_of_admission(&self) -> bool {
        self.answer().is_some_and(|status| Refuser::of(status).is_of_admission())
    }

    /// Whether the API server refused, so that nothing was written. Answers of 429 and 5xx may come from something on the
    /// way, after the write; but not where they say that admission refused, which comes before it.
    fn is_refusal(&self) -> bool {
        let refuses = |code: u16| (400..500).contains(&code) && code != 429 && code != 408;
        self.status().is_some_and(refuses) || self.is_of_admission()
    }

    /// Who refused, where nothing was written and the same write will be refused again. A conflict or an object that is
    /// gone is none of these.
    pub(crate) fn refuser(&self) -> Option<Refuser> {
        let refused = self.is_refusal() && !self.is_conflict() && !self.is_not_found();
        self.answer().filter(|_| refused).map(Refuser::of)
    }

    /// Whether the API server answered, or something on the way did.
    pub(crate) const fn is_answer(&self) -> bool {
        matches!(self, Self::Client(kube::Error::Api(_)))
    }

    pub(crate) fn is_conflict(&self) -> bool {
        self.status() == Some(409) && !self.is_of_admission()
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.status() == Some(404) && !self.is_of_admission()
    }
}

/// What came of writing a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is written.
    Written,
    /// The request has changed since it was read.
    Conflict,
    /// The request is gone.
    Gone,
}

/// What a write is guarded by.
fn guard(metadata: &ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: metadata.name.clone(),
        namespace: metadata.namespace.clone(),
        uid: metadata.uid.clone(),
        resource_version: metadata.resource_version.clone(),
        ..ObjectMeta::default()
    }
}

/// The record, or what stands for one that cannot be parsed.
pub(crate) fn understood(read: DeserializeGuard<PasswordResetRecord>) -> PasswordResetRecord {
    read.0.unwrap_or_else(|invalid| PasswordResetRecord::not_understood(invalid.metadata))
}

/// A call to the API server, answered within `limit` or failed.
pub(crate) async fn within<T>(limit: Duration, call: impl Future<Output = kube::Result<T>>) -> Result<T, StoreError> {
    match timeout(limit, caught(call)).await {
        Ok(Ok(result)) => result.map_err(StoreError::Client),
        Ok(Err(panicked)) => Err(StoreError::Panicked(panicked)),
        Err(_) => Err(StoreError::NoAnswer(limit)),
    }
}

impl Store {
    /// Every call gets `limit` to be answered.
    #[must_use]
    pub fn new(client: Client, limit: Duration) -> Self {
        Self { client, limit }
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
        within(self.limit, call).await
    }

    /// The request, read afresh.
    ///
    /// # Errors
    /// Where the API server does not answer with it or its absence.
    pub async fn request(&self, namespace: &str, name: &str) -> Result<Option<PasswordResetRequest>, StoreError> {
        self.call(self.requests(namespace).get_opt(name)).await
    }

    /// The record, read afresh.
    ///
    /// # Errors
    /// Where the API server does not answer with it or its absence.
    pub async fn record(&self, name: &str) -> Result<Option<PasswordResetRecord>, StoreError> {
        let read = self.call(self.records_of_anybody().get_opt(name)).await?.map(understood);
        if read.as_ref().is_some_and(PasswordResetRecord::is_of_newer_schema) {
            warn!(record = %name, "found a record of a newer operator; it is left alone");
        }
        Ok(read)
    }

    /// A page of the records whose claim is open, and how to go on. One that cannot be read is no reason to miss the others.
    ///
    /// # Errors
    /// Where the API server does not answer with it.
    pub async fn open_records(
        &self,
        page: Option<String>,
    ) -> Result<(Vec<DeserializeGuard<PasswordResetRecord>>, Option<String>), StoreError> {
        let mut params = ListParams::default().fields("effect=").limit(PAGE);
        params.continue_token = page;
        let list = self.call(self.records_of_anybody().list(&params)).await?;
        Ok((list.items, list.metadata.continue_.filter(|token| !token.is_empty())))
    }

    async fn write(&self, record: &PasswordResetRecord) -> Result<PasswordResetRecord, StoreError> {
        let params = PostParams::default();
        if record.metadata.resource_version.is_some() {
            self.call(self.records().replace(&record.name_any(), &params, record)).await
        } else {
            self.call(self.records().create(&params, record)).await
        }
    }

    /// Writes a claim, until `deadline` at the latest. The very same write is repeated while its
    /// reply is lost: only one can win, and a reply of 409 may be to our own earlier one.
    ///
    /// # Errors
    /// Where the API server refuses it, so that nothing was claimed.
    pub async fn claim(&self, record: &PasswordResetRecord, deadline: Instant) -> Result<Claimed, StoreError> {
        let name = record.name_any();
        let mut lost = false;
        let mut pause = FIRST_PAUSE;
        loop {
            let written = tokio::select! {
                written = self.write(record) => written,
                () = sleep_until(deadline) => return Ok(Claimed::TooLate),
            };
            match written {
                Ok(stored) => return Ok(Claimed::Ours(Box::new(stored))),
                Err(error) if error.is_conflict() => {
                    let standing = tokio::select! {
                        standing = self.record(&name) => standing,
                        () = sleep_until(deadline) => return Ok(Claimed::TooLate),
                    };
                    match standing {
                        Ok(standing) => return Ok(ledger::after_conflict(record, standing)),
                        Err(error) => warn!(%error, "unable to read the record after a conflict"),
                    }
                }
                Err(error) if error.is_refusal() && !lost => return Err(error),
                Err(error) => {
                    lost = true;
                    warn!(%error, record = %name, "unable to tell whether a claim was written");
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Writes a record without repeating it, and returns it as it stands then; `None` where another write was quicker.
    ///
    /// # Errors
    /// Where it cannot be told whether it was written, or the API server refuses.
    pub async fn write_once(&self, record: &PasswordResetRecord) -> Result<Option<PasswordResetRecord>, StoreError> {
        match self.write(record).await {
            Ok(stored) => Ok(Some(stored)),
            Err(error) if error.is_conflict() || error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes what is known of an attempt, unless the record already says as much. Returns the record as it then stands.
    ///
    /// `current` is the record as last seen.
    ///
    /// # Errors
    /// Where it cannot be told whether it was written, the API server refuses, or the record has changed.
    pub async fn settle(
        &self,
        current: &PasswordResetRecord,
        finding: &Finding,
    ) -> Result<PasswordResetRecord, StoreError> {
        match ledger::settled(current, finding, Timestamp::now()) {
            Settling::Stands => Ok(current.clone()),
            Settling::Write(record) => self.write(&record).await,
        }
    }

    /// Writes a request's status, guarded by the uid and resourceVersion of the object that it was made from. Of the
    /// rest of its metadata, which may be a thousand times as long, a write of the status changes nothing, so it is not sent.
    ///
    /// # Errors
    /// Where it cannot be told whether it was written, or the API server refuses.
    pub async fn tell(&self, request: &PasswordResetRequest) -> Result<Told, StoreError> {
        let api = self.requests(&request.namespace().unwrap_or_default());
        let (spec, status) = (request.spec.clone(), request.status.clone());
        let written = PasswordResetRequest { metadata: guard(&request.metadata), spec, status };
        match self.call(api.replace_status(&request.name_any(), &PostParams::default(), &written)).await {
            Ok(_) => Ok(Told::Written),
            Err(error) if error.is_conflict() => Ok(Told::Conflict),
            Err(error) if error.is_not_found() => Ok(Told::Gone),
            Err(error) => Err(error),
        }
    }
}
