//! Parses a page of records or requests, and keeps only the fields that the policy needs. Attached
//! metadata of any size is dropped. Pure.

use std::collections::BTreeMap;

use cognito_reset_api::Outcome;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ManagedFieldsEntry, ObjectMeta, Time};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::retention::{
    gitops::Tracker,
    policy::{KEEP, Life},
};

/// One page of a list.
#[derive(Debug)]
pub struct Page {
    /// The API server's time of the response; `None` if the response does not contain it.
    pub now: Option<Timestamp>,
    /// The objects on the page, or the location of an object that cannot be parsed.
    pub items: Vec<Result<Item, Place>>,
    /// The token of the next page.
    pub next: Option<String>,
}

/// The location of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The namespace; empty if it has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// The fields of an object that the policy needs.
#[derive(Debug, PartialEq)]
pub struct Item {
    /// Its metadata, without other attached data.
    pub metadata: ObjectMeta,
    /// The end and the time to live, for a request.
    pub life: Life,
    /// The expiry that a record remembers.
    pub not_after: Option<Timestamp>,
    /// The namespace of the request of a record, unless only the metadata was listed.
    pub request_namespace: Option<String>,
}

impl Page {
    /// Returns the page, and the kind that the response names.
    ///
    /// # Errors
    /// Returns an error if the body is not a list.
    pub fn parse(body: &[u8], now: Option<Timestamp>) -> serde_json::Result<(String, Self)> {
        let Listed { kind, metadata, items } = serde_json::from_slice(body)?;
        let items = items.into_iter().flatten().map(|Guarded(item)| item).collect();
        let next = metadata.continue_.filter(|token| !token.is_empty());
        Ok((kind, Self { now, items, next }))
    }
}

#[derive(Deserialize)]
struct Listed {
    kind: String,
    metadata: ListMeta,
    /// `null` if there is none.
    items: Option<Vec<Guarded>>,
}

/// An object, or its location. An object that cannot be parsed must not hide the others.
struct Guarded(Result<Item, Place>);

impl<'de> Deserialize<'de> for Guarded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Objects are parsed one at a time, so that a page holds little more than its bytes and one
        // object.
        let whole = Value::deserialize(deserializer)?;
        let text = |path| whole.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let place = Place { namespace: text("/metadata/namespace"), name: text("/metadata/name") };
        Ok(Self(serde_json::from_value(whole).map(TrimmedObject::into).map_err(|_| place)))
    }
}

#[derive(Deserialize)]
struct TrimmedObject {
    metadata: TrimmedMetadata,
    #[serde(default)]
    spec: TrimmedSpec,
    status: Option<TrimmedStatus>,
    /// Of a record, whose fields are not in a `spec`.
    #[serde(rename = "notAfter")]
    not_after: Option<Time>,
    /// Of a record.
    request: Option<TrimmedRequestRef>,
}

#[derive(Deserialize)]
struct TrimmedRequestRef {
    namespace: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TrimmedSpec {
    ttl_seconds_after_finished: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TrimmedStatus {
    #[serde(default)]
    outcome: Outcome,
    completion_time: Option<Time>,
}

impl From<TrimmedObject> for Item {
    fn from(TrimmedObject { metadata, spec, status, not_after, request }: TrimmedObject) -> Self {
        let status = status.unwrap_or_default();
        let life = Life {
            seconds: spec.ttl_seconds_after_finished,
            outcome: status.outcome,
            completed: status.completion_time.map(|time| time.0),
        };
        Self {
            metadata: metadata.into(),
            life,
            not_after: not_after.map(|time| time.0),
            request_namespace: request.map(|request| request.namespace),
        }
    }
}

/// The metadata that the policy needs, without other attached data of any size.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TrimmedMetadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    managed_fields: Option<Vec<TrimmedEntry>>,
}

#[derive(Deserialize)]
struct TrimmedEntry {
    subresource: Option<String>,
    time: Option<Time>,
}

impl From<TrimmedMetadata> for ObjectMeta {
    fn from(metadata: TrimmedMetadata) -> Self {
        let asked_for = |map: Option<BTreeMap<String, String>>| {
            let mut map = map?;
            map.retain(|key, _| key == KEEP || Tracker::ALL.iter().any(|tracker| tracker.key() == key));
            Some(map)
        };
        let entry = |TrimmedEntry { subresource, time }| ManagedFieldsEntry { subresource, time, ..Default::default() };
        Self {
            name: metadata.name,
            namespace: metadata.namespace,
            uid: metadata.uid,
            resource_version: metadata.resource_version,
            creation_timestamp: metadata.creation_timestamp,
            deletion_timestamp: metadata.deletion_timestamp,
            labels: asked_for(metadata.labels),
            annotations: asked_for(metadata.annotations),
            managed_fields: metadata.managed_fields.map(|entries| entries.into_iter().map(entry).collect()),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(object: Value) -> Result<Item, Place> {
        serde_json::from_value::<Guarded>(object).unwrap().0
    }

    #[test]
    fn only_the_fields_that_the_policy_needs_are_kept() {
        let object = json!({
            "metadata": {
                "name": "reset", "namespace": "team-a", "uid": "7", "resourceVersion": "8", "generation": 3,
                "creationTimestamp": "2026-11-24T21:55:58Z", "deletionTimestamp": "2026-11-25T21:55:58Z",
                "labels": { KEEP: "x", "much": "more" }, "finalizers": ["a/b"],
                "annotations": { Tracker::ArgoTrackingId.key(): "y", "kubectl.kubernetes.io/last-applied-configuration": "{}" },
                "managedFields": [{ "manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
                    "fieldsV1": { "f:status": {} }, "subresource": "status", "time": "2026-11-24T21:56:58Z" }],
            },
            "spec": { "username": "alice", "ttlSecondsAfterFinished": 60 },
            "status": { "outcome": "Failed", "completionTime": "2026-11-24T21:56:58Z", "conditions": [] },
        });
        let kept = json!({
            "name": "reset", "namespace": "team-a", "uid": "7", "resourceVersion": "8",
            "creationTimestamp": "2026-11-24T21:55:58Z", "deletionTimestamp": "2026-11-25T21:55:58Z",
            "labels": { KEEP: "x" }, "annotations": { Tracker::ArgoTrackingId.key(): "y" },
            "managedFields": [{ "subresource": "status", "time": "2026-11-24T21:56:58Z" }],
        });
        let item = parsed(object).unwrap();
        assert_eq!(serde_json::to_value(item.metadata).unwrap(), kept);
        let completed = Some(Timestamp::constant(1_795_557_418, 0));
        assert_eq!(item.life, Life { seconds: Some(60), outcome: Outcome::Failed, completed });
        assert_eq!((item.not_after, item.request_namespace), (None, None));
        let request = json!({ "namespace": "team-b", "name": "reset" });
        let record = json!({ "metadata": {}, "notAfter": "2026-11-24T21:56:58Z", "closed": {}, "request": request });
        let record = parsed(record).unwrap();
        assert_eq!((record.not_after, record.request_namespace.as_deref()), (completed, Some("team-b")));
    }

    #[test]
    fn invalid_object_hides_no_other_and_has_its_location() {
        let metadata = json!({ "name": "reset", "namespace": "team-a" });
        let of = |spec, status| json!({ "metadata": metadata, "spec": spec, "status": status });
        let items = [
            ("understood", of(json!({}), json!({})), true),
            ("of a record", json!({ "metadata": metadata }), true),
            ("without a time to live", of(json!({ "ttlSecondsAfterFinished": null }), json!({})), true),
            ("with a time to live in words", of(json!({ "ttlSecondsAfterFinished": "1h" }), json!({})), false),
            ("with half a second", of(json!({ "ttlSecondsAfterFinished": 0.5 }), json!({})), false),
            ("with an outcome of a newer operator", of(json!({}), json!({ "outcome": "Cancelled" })), false),
            ("with an end at no time", of(json!({}), json!({ "completionTime": "soon" })), false),
            ("with an expiry at no time", json!({ "metadata": metadata, "notAfter": "soon" }), false),
            ("with a spec in words", of(json!("none"), json!({})), false),
            ("without a status", of(json!({}), Value::Null), true),
            ("with managed fields of no time", json!({ "metadata": { "managedFields": [{ "time": 1 }] } }), false),
            ("that is none", json!("reset"), false),
        ];
        let objects: Vec<&Value> = items.iter().map(|(_, object, _)| object).collect();
        let list = json!({ "kind": "PasswordResetRequestList", "metadata": {}, "items": objects });
        let (kind, page) = Page::parse(list.to_string().as_bytes(), None).unwrap();
        assert_eq!((kind.as_str(), page.items.len()), ("PasswordResetRequestList", items.len()));
        for ((name, object, understood), found) in items.iter().zip(page.items) {
            assert_eq!(found.is_ok(), *understood, "{name}");
            let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
            if let Err(place) = found {
                assert_eq!(place, Place { namespace: text("namespace"), name: text("name") }, "{name}");
            }
        }
    }
}
