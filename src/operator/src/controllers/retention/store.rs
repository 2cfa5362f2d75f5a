//! Lists records and finished requests page by page, reads one object again, and deletes it, each
//! call with a timeout.

use std::{future::Future, time::Duration};

use cognito_reset_api::{PasswordResetRecord, PasswordResetRequest, RequestRef};
use cognito_reset_core::{
    refusal::is_absence,
    retention::{
        page::Page,
        policy::{Guard, KEEP, Presence},
    },
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, ListParams, Preconditions},
    core::{DeserializeGuard, PartialObjectMeta, Request},
};

use crate::kube::{
    response::{Response, send},
    store::{StoreError, understood, within},
};

/// Selects the records of requests that were never granted.
const UNGRANTED: &str = "closed.ungranted=true";
/// Selects finished requests with a time to live. An absent field counts as empty.
const FINISHED: &str = "status.outcome!=Pending,spec.ttlSecondsAfterFinished!=";
/// The number of requests on a page.
const REQUESTS: u32 = 10;
const RECORDS: u32 = 500;
/// The number of whole records on a page. Most have a few kilobytes.
const WHOLE_RECORDS: u32 = 200;

/// The kind of the scanned objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Finished requests with a time to live and without the label [`KEEP`].
    Request,
    /// All records.
    Record,
    /// The records of requests that ended without ever being granted or claimed.
    UngrantedRecord,
}

impl Kind {
    /// All kinds.
    pub(crate) const ALL: [Self; 3] = [Self::Request, Self::Record, Self::UngrantedRecord];

    /// Returns the name, for logs and metrics.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Record => "record",
            Self::UngrantedRecord => "ungranted-record",
        }
    }

    /// Returns the request for a page: whole requests, because their end is in their status, whole
    /// records of ungranted requests, because of their expiry, and of other records only the
    /// metadata, unless the namespaces of their requests are asked for.
    fn list(
        self,
        Listing { namespace, of_all }: Listing<'_>,
        token: Option<String>,
    ) -> kube::Result<http::Request<Vec<u8>>> {
        let params = ListParams { continue_token: token, ..ListParams::default() };
        let request = match self {
            // People write requests, of up to 1.5 MiB each, so a page has few of them.
            Self::Request => {
                let params = params.fields(FINISHED).labels(&format!("!{KEEP}")).limit(REQUESTS);
                Request::new(PasswordResetRequest::url_path(&(), namespace)).list(&params)
            }
            Self::Record if !of_all => {
                Request::new(PasswordResetRecord::url_path(&(), None)).list(&params.limit(WHOLE_RECORDS))
            }
            Self::Record => {
                Request::new(PasswordResetRecord::url_path(&(), None)).list_metadata(&params.limit(RECORDS))
            }
            Self::UngrantedRecord => {
                let params = params.fields(UNGRANTED).limit(WHOLE_RECORDS);
                Request::new(PasswordResetRecord::url_path(&(), None)).list(&params)
            }
        };
        request.map_err(kube::Error::BuildRequest)
    }

    /// Returns the kind that the response names.
    const fn list_kind(self, listing: Listing<'_>) -> &'static str {
        match self {
            Self::Request => "PasswordResetRequestList",
            Self::Record if listing.of_all => "PartialObjectMetadataList",
            Self::Record | Self::UngrantedRecord => "PasswordResetRecordList",
        }
    }
}

/// The objects of a scan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listing<'a> {
    /// The namespace, if only the requests of one are listed.
    pub(crate) namespace: Option<&'a str>,
    /// True if the records of requests of all namespaces are treated alike.
    pub(crate) of_all: bool,
}

/// Accesses requests and records in the API server.
#[derive(Clone)]
pub(crate) struct RetentionStore {
    client: Client,
    api_timeout: Duration,
}

impl RetentionStore {
    /// Creates a store whose calls have the timeout `api_timeout`.
    #[must_use]
    pub(crate) const fn new(client: Client, api_timeout: Duration) -> Self {
        Self { client, api_timeout }
    }

    async fn call<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Result<T, StoreError> {
        within(self.api_timeout, call).await
    }

    /// Returns the first page, or the one that an earlier page named. If the API server no longer
    /// has the snapshot of these pages, it returns how to continue with the current state.
    ///
    /// # Errors
    /// Returns an error if the API server does not respond with a page.
    pub(crate) async fn page(
        &self,
        kind: Kind,
        listing: Listing<'_>,
        token: Option<String>,
    ) -> Result<Page, StoreError> {
        match self.list(kind, listing, token).await {
            Err(StoreError::Client(kube::Error::Api(status))) if status.code == 410 => {
                match status.metadata.as_ref().and_then(|metadata| metadata.continue_.clone()) {
                    Some(token) => self.list(kind, listing, Some(token)).await,
                    None => Err(StoreError::Client(kube::Error::Api(status))),
                }
            }
            listed => listed,
        }
    }

    async fn list(&self, kind: Kind, listing: Listing<'_>, token: Option<String>) -> Result<Page, StoreError> {
        let request = kind.list(listing, token).map_err(StoreError::Client)?;
        let Response { server_time: now, body } = self.call(send(&self.client, request)).await?;
        let (of_kind, page) =
            Page::parse(&body, now).map_err(|error| StoreError::Client(kube::Error::SerdeError(error)))?;
        if of_kind != kind.list_kind(listing) {
            return Err(StoreError::AnotherList);
        }
        Ok(page)
    }

    /// Reads a record; `None` if it does not exist.
    ///
    /// # Errors
    /// Returns an error if the API server returns neither the record nor its absence.
    pub(crate) async fn record(&self, name: &str) -> Result<Option<PasswordResetRecord>, StoreError> {
        let api: Api<DeserializeGuard<PasswordResetRecord>> = Api::all(self.client.clone());
        Ok(self.call(api.get_opt(name)).await?.map(understood))
    }

    /// Reads a request; `None` if it does not exist.
    ///
    /// # Errors
    /// Returns an error if the API server returns neither the request nor its absence, or if it
    /// cannot be parsed.
    pub(crate) async fn request(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<PasswordResetRequest>, StoreError> {
        let api: Api<PasswordResetRequest> = Api::namespaced(self.client.clone(), namespace);
        self.call(api.get_opt(name)).await
    }

    /// Reads whether a request of this namespace and name exists.
    ///
    /// # Errors
    /// Returns an error if the API server does not respond, or if a 404 may come from an
    /// intermediary.
    pub(crate) async fn presence(&self, of: &RequestRef) -> Result<Presence, StoreError> {
        let api: Api<PasswordResetRequest> = Api::namespaced(self.client.clone(), &of.namespace);
        match self.call(api.get_metadata(&of.name)).await {
            Ok(_) => Ok(Presence::Present),
            Err(StoreError::Client(kube::Error::Api(said))) if is_absence::<PasswordResetRequest>(&said, &of.name) => {
                Ok(Presence::Absent)
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes a request in this state; `false` if it has changed since, or is gone.
    ///
    /// # Errors
    /// Returns an error if it is not known whether it was deleted, or if the API server rejects the
    /// deletion.
    pub(crate) async fn delete_request(&self, namespace: &str, name: &str, guard: Guard) -> Result<bool, StoreError> {
        let api: Api<PartialObjectMeta<PasswordResetRequest>> = Api::namespaced(self.client.clone(), namespace);
        self.delete(api, name, guard).await
    }

    /// Deletes a record in this state; `false` if it has changed since, or is gone.
    ///
    /// # Errors
    /// Returns an error if it is not known whether it was deleted, or if the API server rejects the
    /// deletion.
    pub(crate) async fn delete_record(&self, name: &str, guard: Guard) -> Result<bool, StoreError> {
        let api: Api<PartialObjectMeta<PasswordResetRecord>> = Api::all(self.client.clone());
        self.delete(api, name, guard).await
    }

    async fn delete<K>(&self, api: Api<PartialObjectMeta<K>>, name: &str, guard: Guard) -> Result<bool, StoreError>
    where
        K: Resource + Clone + std::fmt::Debug,
    {
        let Guard { uid, resource_version } = guard;
        let only = Preconditions { uid: Some(uid), resource_version: Some(resource_version) };
        match self.call(api.delete(name, &DeleteParams::default().preconditions(only))).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_conflict() || error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
