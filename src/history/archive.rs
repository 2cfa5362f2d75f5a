//! Reads the history page by page, reads one object of it afresh, and deletes it: each call within a time limit.

use std::{collections::BTreeMap, future::Future, time::Duration};

use http::{HeaderMap, header};
use http_body_util::{BodyExt, Limited};
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ManagedFieldsEntry, ObjectMeta, Time};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, ListParams, Preconditions},
    client::Body,
    core::{DeserializeGuard, PartialObjectMeta, Request, Status},
};
use serde::Deserialize;

use super::{
    judge::{Guard, Presence},
    tracked::Mark,
    ttl,
};
use crate::{
    api::{PasswordResetRecord, PasswordResetRequest, RequestRef},
    reset::store::{StoreError, understood, within},
};

/// Of a page.
const REQUESTS: u32 = 10;
const RECORDS: u32 = 500;
/// The most bytes of a page: more than so many objects can have that etcd takes.
const MAX_PAGE: usize = 32 << 20;

/// What is looked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Finished requests with the label of [`ttl`].
    Request,
    /// All records.
    Record,
}

impl Kind {
    /// The name, for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Record => "record",
        }
    }

    fn list(self) -> (String, ListParams) {
        match self {
            // People write their metadata, up to 1.5 MiB each: so few at a time.
            Self::Request => (
                PasswordResetRequest::url_path(&(), None),
                ListParams::default().labels(ttl::LABEL).fields("status.outcome!=Pending").limit(REQUESTS),
            ),
            Self::Record => (PasswordResetRecord::url_path(&(), None), ListParams::default().limit(RECORDS)),
        }
    }
}

/// Some of what there is.
#[derive(Debug)]
pub struct Page {
    /// The API server's time when it answered; `None` where it does not say.
    pub now: Option<Timestamp>,
    /// Their metadata.
    pub items: Vec<ObjectMeta>,
    /// How to go on.
    pub next: Option<String>,
}

#[derive(Deserialize)]
struct Listed {
    kind: String,
    metadata: ListMeta,
    /// `null` where there is none.
    items: Option<Vec<Item>>,
}

#[derive(Deserialize)]
struct Item {
    metadata: Lean,
}

/// The metadata that is asked for, without what anybody may attach by the megabyte.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lean {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    managed_fields: Option<Vec<LeanEntry>>,
}

#[derive(Deserialize)]
struct LeanEntry {
    subresource: Option<String>,
    time: Option<Time>,
}

impl From<Lean> for ObjectMeta {
    fn from(lean: Lean) -> Self {
        let asked_for = |map: Option<BTreeMap<String, String>>| {
            let mut map = map?;
            map.retain(|key, _| key == ttl::LABEL || Mark::ALL.iter().any(|mark| mark.key() == key));
            Some(map)
        };
        let entry = |LeanEntry { subresource, time }| ManagedFieldsEntry { subresource, time, ..Default::default() };
        Self {
            name: lean.name,
            namespace: lean.namespace,
            uid: lean.uid,
            resource_version: lean.resource_version,
            creation_timestamp: lean.creation_timestamp,
            deletion_timestamp: lean.deletion_timestamp,
            labels: asked_for(lean.labels),
            annotations: asked_for(lean.annotations),
            managed_fields: lean.managed_fields.map(|entries| entries.into_iter().map(entry).collect()),
            ..Self::default()
        }
    }
}

/// Requests and records in the API server.
#[derive(Clone)]
pub struct Archive {
    client: Client,
    limit: Duration,
}

impl Archive {
    /// Every call gets `limit` to be answered.
    #[must_use]
    pub const fn new(client: Client, limit: Duration) -> Self {
        Self { client, limit }
    }

    async fn call<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Result<T, StoreError> {
        within(self.limit, call).await
    }

    /// The first page, or the one that a page before named. Where the server has forgotten what the pages are of, it says
    /// how to go on with what there is now.
    ///
    /// # Errors
    /// Where the API server does not answer with a page.
    pub async fn page(&self, kind: Kind, token: Option<String>) -> Result<Page, StoreError> {
        match self.list(kind, token).await {
            Err(StoreError::Client(kube::Error::Api(status))) if status.code == 410 => {
                match status.metadata.as_ref().and_then(|metadata| metadata.continue_.clone()) {
                    Some(token) => self.list(kind, Some(token)).await,
                    None => Err(StoreError::Client(kube::Error::Api(status))),
                }
            }
            answer => answer,
        }
    }

    async fn list(&self, kind: Kind, token: Option<String>) -> Result<Page, StoreError> {
        let (path, mut params) = kind.list();
        params.continue_token = token;
        let request = Request::new(path).list_metadata(&params);
        let request = request.map_err(|error| StoreError::Client(kube::Error::BuildRequest(error)))?;
        let (now, body) = self
            .call(async {
                let answer = self.client.send(request.map(Body::from)).await?;
                let (head, body) = answer.into_parts();
                let body = Limited::new(body, MAX_PAGE).collect().await.map_err(kube::Error::Service)?.to_bytes();
                if head.status.is_success() {
                    return Ok((server_time(&head.headers), body));
                }
                let said: Option<Status> = serde_json::from_slice(&body).ok();
                let said = said.unwrap_or_else(|| Status::failure("", "NotAStatus").with_code(head.status.as_u16()));
                Err(kube::Error::Api(said.boxed()))
            })
            .await?;
        let listed: Listed =
            serde_json::from_slice(&body).map_err(|error| StoreError::Client(kube::Error::SerdeError(error)))?;
        if listed.kind != "PartialObjectMetadataList" {
            return Err(StoreError::NotMetadata);
        }
        let next = listed.metadata.continue_.filter(|token| !token.is_empty());
        Ok(Page { now, items: listed.items.into_iter().flatten().map(|item| item.metadata.into()).collect(), next })
    }

    /// The record, read afresh; `None` where there is none.
    ///
    /// # Errors
    /// Where the API server does not answer with it or its absence.
    pub async fn record(&self, name: &str) -> Result<Option<PasswordResetRecord>, StoreError> {
        let api: Api<DeserializeGuard<PasswordResetRecord>> = Api::all(self.client.clone());
        Ok(self.call(api.get_opt(name)).await?.map(understood))
    }

    /// The request, read afresh; `None` where there is none.
    ///
    /// # Errors
    /// Where the API server does not answer with it or its absence, or it cannot be understood.
    pub async fn request(&self, namespace: &str, name: &str) -> Result<Option<PasswordResetRequest>, StoreError> {
        let api: Api<PasswordResetRequest> = Api::namespaced(self.client.clone(), namespace);
        self.call(api.get_opt(name)).await
    }

    /// Whether there is a request of this namespace and name, read afresh.
    ///
    /// # Errors
    /// Where the API server does not answer, or says that there is none in words that may be of something on the way.
    pub async fn presence(&self, of: &RequestRef) -> Result<Presence, StoreError> {
        let api: Api<PasswordResetRequest> = Api::namespaced(self.client.clone(), &of.namespace);
        match self.call(api.get_metadata(&of.name)).await {
            Ok(_) => Ok(Presence::Present),
            Err(StoreError::Client(kube::Error::Api(said))) if is_absence(&said, &of.name) => Ok(Presence::Absent),
            Err(error) => Err(error),
        }
    }

    /// Deletes a request in that one state; `false` where it has changed since, or is gone.
    ///
    /// # Errors
    /// Where it cannot be told whether it was deleted, or the API server refuses.
    pub async fn delete_request(&self, namespace: &str, name: &str, guard: Guard) -> Result<bool, StoreError> {
        let api: Api<PartialObjectMeta<PasswordResetRequest>> = Api::namespaced(self.client.clone(), namespace);
        self.delete(api, name, guard).await
    }

    /// Deletes a record in that one state; `false` where it has changed since, or is gone.
    ///
    /// # Errors
    /// Where it cannot be told whether it was deleted, or the API server refuses.
    pub async fn delete_record(&self, name: &str, guard: Guard) -> Result<bool, StoreError> {
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

/// The API server's time, as it says with its answer. An answer that something on the way has kept is as old as that says.
fn server_time(headers: &HeaderMap) -> Option<Timestamp> {
    let mut dates = headers.get_all(header::DATE).iter();
    match (dates.next(), dates.next(), headers.get(header::AGE)) {
        (Some(date), None, None) => DateTimeParser::new().parse_timestamp(date.to_str().ok()?).ok(),
        (Some(_), _, _) | (None, _, _) => None,
    }
}

/// Whether a refusal is the API server's word that there is no such request: something on the way, or a server without
/// the definition, answers 404 as well, but does not name the object.
fn is_absence(said: &Status, name: &str) -> bool {
    let names = said.details.as_ref().is_some_and(|details| {
        details.name == name
            && details.kind == PasswordResetRequest::plural(&())
            && details.group == PasswordResetRequest::group(&())
    });
    said.code == 404 && said.reason == "NotFound" && names
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_servers_time_is_known_only_from_one_date_of_a_fresh_answer() {
        let date = |text: &'static str| (header::DATE, HeaderValue::from_static(text));
        let good = date("Tue, 24 Nov 2026 21:55:58 GMT");
        let age = (header::AGE, HeaderValue::from_static("0"));
        let seen = Some(Timestamp::constant(1_795_557_358, 0));
        for (name, headers, wanted) in [
            ("one", vec![good.clone()], seen),
            ("none", vec![], None),
            ("two", vec![good.clone(), good.clone()], None),
            ("of a cache", vec![good, age], None),
            ("no date", vec![date("now")], None),
            ("a part", vec![date("Tue, 24 Nov 2026")], None),
            ("another weekday", vec![date("Wed, 24 Nov 2026 21:55:58 GMT")], None),
        ] {
            let mut map = HeaderMap::new();
            for (key, value) in headers {
                map.append(key, value);
            }
            assert_eq!(server_time(&map), wanted, "{name}");
        }
    }

    #[test]
    fn of_metadata_only_what_the_judge_asks_for_is_kept() {
        let metadata = json!({
            "name": "reset", "namespace": "team-a", "uid": "7", "resourceVersion": "8", "generation": 3,
            "creationTimestamp": "2026-11-24T21:55:58Z", "deletionTimestamp": "2026-11-25T21:55:58Z",
            "labels": { ttl::LABEL: "x", "much": "more" }, "finalizers": ["a/b"],
            "annotations": { Mark::ArgoTrackingId.key(): "y", "kubectl.kubernetes.io/last-applied-configuration": "{}" },
            "managedFields": [{ "manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
                "fieldsV1": { "f:status": {} }, "subresource": "status", "time": "2026-11-24T21:56:58Z" }],
        });
        let lean: Lean = serde_json::from_value(metadata).unwrap();
        let kept = json!({
            "name": "reset", "namespace": "team-a", "uid": "7", "resourceVersion": "8",
            "creationTimestamp": "2026-11-24T21:55:58Z", "deletionTimestamp": "2026-11-25T21:55:58Z",
            "labels": { ttl::LABEL: "x" }, "annotations": { Mark::ArgoTrackingId.key(): "y" },
            "managedFields": [{ "subresource": "status", "time": "2026-11-24T21:56:58Z" }],
        });
        assert_eq!(serde_json::to_value(ObjectMeta::from(lean)).unwrap(), kept);
    }

    fn not_found() -> Value {
        json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 404,
            "reason": "NotFound", "message": "passwordresetrequests.cognito-reset.dev \"reset\" not found",
            "details": { "name": "reset", "group": "cognito-reset.dev", "kind": "passwordresetrequests" } })
    }

    #[test]
    fn only_a_404_that_names_the_very_request_is_its_absence() {
        let with = |path: &str, value: Value| {
            let mut changed = not_found();
            *changed.pointer_mut(path).unwrap() = value;
            changed
        };
        for (name, said, wanted) in [
            ("of the API server", not_found(), true),
            ("of another name", with("/details/name", json!("other")), false),
            ("of another resource", with("/details/kind", json!("namespaces")), false),
            ("of another group", with("/details/group", json!("")), false),
            ("without the definition", with("/details", json!({})), false),
            ("without details", with("/details", Value::Null), false),
            ("of another reason", with("/reason", json!("Forbidden")), false),
            ("of another code", with("/code", json!(403)), false),
        ] {
            assert_eq!(is_absence(&serde_json::from_value(said).unwrap(), "reset"), wanted, "{name}");
        }
        let made_up = Status::failure("page not found", "Failed to parse error data").with_code(404);
        assert!(!is_absence(&made_up, "reset"));
    }
}
