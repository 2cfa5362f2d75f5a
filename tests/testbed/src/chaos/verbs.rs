//! The requests that the operator sends to the API server, by `deploy/permissions.yaml`, and their
//! faults: two closed lists.

use std::time::Duration;

use http::{Method, header::ACCEPT};

use super::environment::RETENTION;
use crate::{Matcher, Seen};

/// A kind of request that the operator sends to the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verb {
    GetRequest,
    /// Reads the request's metadata for a record whose retention has passed, to see if the request
    /// still exists.
    GetRequestMetadata,
    ListRequests,
    /// Lists the requests that have ended, have a time to live and are not kept by a label.
    ListEndedRequests,
    WatchRequests,
    UpdateStatus,
    /// Writes the status of a request that cannot be read.
    PatchStatus,
    DeleteRequest,
    GetRecord,
    /// Lists the records whose claim is open.
    ListOpenRecords,
    /// Lists all records, for those whose retention has passed.
    ListRecords,
    CreateRecord,
    UpdateRecord,
    DeleteRecord,
    ListGrants,
    WatchGrants,
    UpdateGrantStatus,
    /// Writes the status of a grant that cannot be read.
    PatchGrantStatus,
    ListHolds,
    WatchHolds,
    UpdateHoldStatus,
    /// Writes the status of a hold that cannot be read.
    PatchHoldStatus,
    /// Confirms the labels of a namespace.
    GetNamespace,
    ListNamespaces,
    WatchNamespaces,
    CreateEvent,
    PatchEvent,
    GetLease,
    CreateLease,
    UpdateLease,
}

impl Verb {
    pub(super) const ALL: [Self; 30] = [
        Self::GetRequest,
        Self::GetRequestMetadata,
        Self::ListRequests,
        Self::ListEndedRequests,
        Self::WatchRequests,
        Self::UpdateStatus,
        Self::PatchStatus,
        Self::DeleteRequest,
        Self::GetRecord,
        Self::ListOpenRecords,
        Self::ListRecords,
        Self::CreateRecord,
        Self::UpdateRecord,
        Self::DeleteRecord,
        Self::ListGrants,
        Self::WatchGrants,
        Self::UpdateGrantStatus,
        Self::PatchGrantStatus,
        Self::ListHolds,
        Self::WatchHolds,
        Self::UpdateHoldStatus,
        Self::PatchHoldStatus,
        Self::GetNamespace,
        Self::ListNamespaces,
        Self::WatchNamespaces,
        Self::CreateEvent,
        Self::PatchEvent,
        Self::GetLease,
        Self::CreateLease,
        Self::UpdateLease,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::GetRequest => "get request",
            Self::GetRequestMetadata => "get request, of an old record",
            Self::ListRequests => "list requests",
            Self::ListEndedRequests => "list requests, to be collected",
            Self::WatchRequests => "watch requests",
            Self::UpdateStatus => "update status",
            Self::PatchStatus => "patch status (unreadable)",
            Self::DeleteRequest => "delete request",
            Self::GetRecord => "get record",
            Self::ListOpenRecords => "list records, open",
            Self::ListRecords => "list records, to be collected",
            Self::CreateRecord => "create record",
            Self::UpdateRecord => "update record",
            Self::DeleteRecord => "delete record",
            Self::ListGrants => "list grants",
            Self::WatchGrants => "watch grants",
            Self::UpdateGrantStatus => "update grant status",
            Self::PatchGrantStatus => "patch grant status (unreadable)",
            Self::ListHolds => "list holds",
            Self::WatchHolds => "watch holds",
            Self::UpdateHoldStatus => "update hold status",
            Self::PatchHoldStatus => "patch hold status (unreadable)",
            Self::GetNamespace => "get namespace",
            Self::ListNamespaces => "list namespaces",
            Self::WatchNamespaces => "watch namespaces",
            Self::CreateEvent => "create event",
            Self::PatchEvent => "patch event",
            Self::GetLease => "get lease",
            Self::CreateLease => "create lease",
            Self::UpdateLease => "update lease",
        }
    }

    /// Returns true if it only exists with the Lease.
    pub(super) const fn is_of_lease(self) -> bool {
        matches!(self, Self::GetLease | Self::CreateLease | Self::UpdateLease)
    }

    pub(super) const fn is_watch(self) -> bool {
        matches!(self, Self::WatchRequests | Self::WatchGrants | Self::WatchHolds | Self::WatchNamespaces)
    }

    /// Returns true if a replica sends it when it starts: to meet one, a replica has to be killed.
    pub(super) const fn is_at_start(self) -> bool {
        matches!(self, Self::ListRequests | Self::ListGrants | Self::ListHolds | Self::ListNamespaces)
    }

    /// Returns true if only a replica that has worked for some seconds sends it: for an event that
    /// repeats itself, or for a record that is one of many.
    pub(super) const fn is_rare(self) -> bool {
        matches!(self, Self::PatchEvent | Self::DeleteRecord)
    }

    /// Returns the time after the start of a run before which it is not sent.
    pub(super) const fn not_before(self) -> Duration {
        match self {
            Self::GetRequestMetadata | Self::DeleteRecord => RETENTION.saturating_add(Duration::from_secs(5)),
            _ => Duration::ZERO,
        }
    }

    /// Returns the matcher that distinguishes it from all other requests.
    pub(super) fn matcher(self) -> Matcher {
        let path = |method, path: &'static str| Matcher::path(method, path);
        let get = |path: &'static str, watches: bool| {
            Matcher::path(Method::GET, path).and(move |seen| seen.path.contains("watch=") == watches)
        };
        let asks = |what: &'static str| move |seen: &Seen| seen.path.contains(what);
        let of_metadata = |seen: &Seen| {
            let accepted = seen.headers.get(ACCEPT).and_then(|accepted| accepted.to_str().ok());
            accepted.is_some_and(|accepted| accepted.contains("PartialObjectMetadata"))
        };
        match self {
            Self::GetRequest => path(Method::GET, "/passwordresetrequests/").and(move |seen| !of_metadata(seen)),
            Self::GetRequestMetadata => path(Method::GET, "/passwordresetrequests/").and(of_metadata),
            Self::ListRequests => get("/passwordresetrequests?", false).and(asks("outcome%3DPending")),
            Self::ListEndedRequests => get("/passwordresetrequests?", false).and(asks("labelSelector")),
            Self::WatchRequests => get("/passwordresetrequests?", true),
            Self::UpdateStatus => path(Method::PUT, "/passwordresetrequests/"),
            Self::PatchStatus => path(Method::PATCH, "/passwordresetrequests/").and(asks("/status")),
            Self::DeleteRequest => path(Method::DELETE, "/passwordresetrequests/"),
            Self::GetRecord => path(Method::GET, "/passwordresetrecords/"),
            Self::ListOpenRecords => get("/passwordresetrecords?", false).and(asks("effect")),
            // At its start, an operator lists a single record to see that the resource is defined.
            Self::ListRecords => {
                get("/passwordresetrecords?", false).and(move |seen| !asks("effect")(seen) && asks("limit=500")(seen))
            }
            Self::CreateRecord => path(Method::POST, "/passwordresetrecords"),
            Self::UpdateRecord => path(Method::PUT, "/passwordresetrecords/"),
            Self::DeleteRecord => path(Method::DELETE, "/passwordresetrecords/"),
            Self::ListGrants => get("/userpoolgrants?", false).and(asks("limit=500")),
            Self::WatchGrants => get("/userpoolgrants?", true),
            Self::UpdateGrantStatus => path(Method::PUT, "/userpoolgrants/"),
            Self::PatchGrantStatus => path(Method::PATCH, "/userpoolgrants/"),
            Self::ListHolds => get("/userpoolholds?", false).and(asks("limit=500")),
            Self::WatchHolds => get("/userpoolholds?", true),
            Self::UpdateHoldStatus => path(Method::PUT, "/userpoolholds/"),
            Self::PatchHoldStatus => path(Method::PATCH, "/userpoolholds/"),
            Self::GetNamespace => {
                Matcher::new(|seen| seen.method == Method::GET && seen.path.starts_with("/api/v1/namespaces/"))
            }
            Self::ListNamespaces => get("/namespaces?", false),
            Self::WatchNamespaces => get("/namespaces?", true),
            Self::CreateEvent => path(Method::POST, "/events"),
            Self::PatchEvent => path(Method::PATCH, "/events/"),
            Self::GetLease => path(Method::GET, "/leases/"),
            Self::CreateLease => path(Method::POST, "/leases"),
            Self::UpdateLease => path(Method::PUT, "/leases/"),
        }
    }
}

/// The response of the API server, or of something before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Break {
    /// An error with this status; nothing was done.
    Respond(u16),
    /// The same, and it was done all the same.
    AnswerAfter(u16),
    LostBefore,
    LostAfter,
    /// The request is done, too late for the timeout.
    Late,
}

impl Break {
    pub(super) const ALL: [Self; 9] = [
        Self::Respond(409),
        Self::Respond(429),
        Self::Respond(500),
        Self::Respond(503),
        Self::Respond(504),
        Self::AnswerAfter(504),
        Self::LostBefore,
        Self::LostAfter,
        Self::Late,
    ];

    pub(super) fn name(self) -> String {
        match self {
            Self::Respond(status) => format!("{status}"),
            Self::AnswerAfter(status) => format!("{status} after it was done"),
            Self::LostBefore => "lost before it was done".to_owned(),
            Self::LostAfter => "reply lost after it was done".to_owned(),
            Self::Late => "done after the time limit".to_owned(),
        }
    }

    /// Returns true if the fault differs from the others at this verb: a watch is never done, so
    /// there is no "after" to it.
    pub(super) const fn suits(self, verb: Verb) -> bool {
        !(verb.is_watch() && matches!(self, Self::AnswerAfter(_) | Self::LostAfter))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use http::{HeaderMap, HeaderValue};
    use serde_json::Value;

    use super::*;

    /// Returns the resource and the verb as RBAC has them, and a request as the operator sends it.
    fn example(verb: Verb) -> (&'static str, &'static str, Method, &'static str) {
        let (requests, records) = ("passwordresetrequests", "passwordresetrecords");
        match verb {
            Verb::GetRequest | Verb::GetRequestMetadata => {
                (requests, "get", Method::GET, "/namespaces/default/passwordresetrequests/a")
            }
            Verb::ListRequests => (
                requests,
                "list",
                Method::GET,
                "/passwordresetrequests?&fieldSelector=status.outcome%3DPending&limit=25",
            ),
            Verb::ListEndedRequests => (
                requests,
                "list",
                Method::GET,
                "/passwordresetrequests?&fieldSelector=status.outcome%21%3DPending%2Cspec.ttl%21%3D&labelSelector=%21l&limit=10",
            ),
            Verb::WatchRequests => (
                requests,
                "watch",
                Method::GET,
                "/passwordresetrequests?&watch=true&timeoutSeconds=3&fieldSelector=status.outcome%3DPending",
            ),
            Verb::UpdateStatus => (
                "passwordresetrequests/status",
                "update",
                Method::PUT,
                "/namespaces/default/passwordresetrequests/a/status?",
            ),
            Verb::PatchStatus => (
                "passwordresetrequests/status",
                "patch",
                Method::PATCH,
                "/namespaces/default/passwordresetrequests/a/status?",
            ),
            Verb::DeleteRequest => (requests, "delete", Method::DELETE, "/namespaces/default/passwordresetrequests/a?"),
            Verb::GetRecord => (records, "get", Method::GET, "/passwordresetrecords/r2-a"),
            Verb::ListOpenRecords => {
                (records, "list", Method::GET, "/passwordresetrecords?&fieldSelector=effect%3D&limit=500")
            }
            Verb::ListRecords => (records, "list", Method::GET, "/passwordresetrecords?&limit=500"),
            Verb::CreateRecord => (records, "create", Method::POST, "/passwordresetrecords?"),
            Verb::UpdateRecord => (records, "update", Method::PUT, "/passwordresetrecords/r2-a?"),
            Verb::DeleteRecord => (records, "delete", Method::DELETE, "/passwordresetrecords/r2-a?"),
            Verb::ListGrants => ("userpoolgrants", "list", Method::GET, "/userpoolgrants?&limit=500"),
            Verb::WatchGrants => ("userpoolgrants", "watch", Method::GET, "/userpoolgrants?&watch=true"),
            Verb::UpdateGrantStatus => ("userpoolgrants/status", "update", Method::PUT, "/userpoolgrants/own/status?"),
            Verb::PatchGrantStatus => ("userpoolgrants/status", "patch", Method::PATCH, "/userpoolgrants/own/status?"),
            Verb::ListHolds => ("userpoolholds", "list", Method::GET, "/userpoolholds?&limit=500"),
            Verb::WatchHolds => ("userpoolholds", "watch", Method::GET, "/userpoolholds?&watch=true"),
            Verb::UpdateHoldStatus => ("userpoolholds/status", "update", Method::PUT, "/userpoolholds/stop/status?"),
            Verb::PatchHoldStatus => ("userpoolholds/status", "patch", Method::PATCH, "/userpoolholds/stop/status?"),
            Verb::GetNamespace => ("namespaces", "get", Method::GET, "/api/v1/namespaces/team"),
            Verb::ListNamespaces => ("namespaces", "list", Method::GET, "/api/v1/namespaces?&limit=500"),
            Verb::WatchNamespaces => ("namespaces", "watch", Method::GET, "/api/v1/namespaces?&watch=true"),
            Verb::CreateEvent => {
                ("events", "create", Method::POST, "/apis/events.k8s.io/v1/namespaces/default/events?")
            }
            Verb::PatchEvent => {
                ("events", "patch", Method::PATCH, "/apis/events.k8s.io/v1/namespaces/default/events/a?")
            }
            Verb::GetLease => ("leases", "get", Method::GET, "/namespaces/operator/leases/it"),
            Verb::CreateLease => ("leases", "create", Method::POST, "/namespaces/operator/leases?"),
            Verb::UpdateLease => ("leases", "update", Method::PUT, "/namespaces/operator/leases/it?"),
        }
    }

    #[test]
    fn every_right_of_the_operator_has_its_verb_here() {
        let rights: Vec<Value> = serde_saphyr::from_str(include_str!("../../../../deploy/permissions.yaml")).unwrap();
        let mut wanted = BTreeSet::new();
        for right in &rights {
            let verbs = right["verbs"].as_array().unwrap().iter().map(|verb| verb.as_str().unwrap());
            // An admission policy checks `settle`. The operator sends no request with it.
            verbs.filter(|verb| *verb != "settle").for_each(|verb| {
                wanted.insert((right["resource"].as_str().unwrap(), verb));
            });
        }
        let found: BTreeSet<_> =
            Verb::ALL.map(example).into_iter().map(|(resource, verb, ..)| (resource, verb)).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn each_verb_differs_from_all_others() {
        for sent in Verb::ALL {
            let (_, _, method, path) = example(sent);
            let mut headers = HeaderMap::new();
            if sent == Verb::GetRequestMetadata {
                headers.insert(
                    ACCEPT,
                    HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"),
                );
            }
            let seen = Seen { method, path: path.into(), headers, body: bytes::Bytes::new() };
            let met: Vec<_> = Verb::ALL.into_iter().filter(|verb| verb.matcher().is_about(&seen)).collect();
            assert_eq!(met, [sent]);
        }
    }
}
