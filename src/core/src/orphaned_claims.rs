//! Decides which open claims no running process works on. Pure.

use cognito_reset_api::{Outcome, PasswordResetRecord, PasswordResetRequest};
use kube::core::DeserializeGuard;

use crate::{ledger::Identity, watched_namespaces::WatchedNamespaces};

/// A record from the list of open claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed<'a> {
    /// A record that this operator can read and write.
    Readable(Identity),
    /// A record that only a newer operator can read and write. It is not touched.
    OfNewerOperator,
    /// A record of a request in a namespace that this operator does not watch. It is not touched:
    /// its call may be in flight for longer than this operator knows.
    Elsewhere,
    /// A record that cannot be parsed, with the parser's error. It is reported and not touched.
    Invalid(&'a str),
}

impl<'a> Listed<'a> {
    /// Classifies a record of the list.
    #[must_use]
    pub fn of(record: &'a DeserializeGuard<PasswordResetRecord>, watched: &WatchedNamespaces) -> Self {
        match &record.0 {
            Ok(record) if !watched.contains(&record.spec.request.namespace) => Self::Elsewhere,
            Ok(record) if record.is_of_newer_schema() => Self::OfNewerOperator,
            Ok(record) => Self::Readable(Identity::of_record(record)),
            Err(invalid) => Self::Invalid(&invalid.error),
        }
    }
}

/// Returns true if an open claim has no pending request, so that no reconcile of a request resolves
/// it. `request` is the request of the claim's namespace and name, if it exists.
///
/// A request of that name may be for another user by now. A request that has ended may have an open
/// claim if the ledger was restored after a restore of etcd.
#[must_use]
pub fn is_orphaned(claim: &Identity, request: Option<&PasswordResetRequest>) -> bool {
    let is_pending = |request: &PasswordResetRequest| {
        Identity::of_request(request) == *claim && request.outcome() == Outcome::Pending
    };
    !request.is_some_and(is_pending)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(name: &str, username: &str, outcome: Option<&str>) -> PasswordResetRequest {
        let status = outcome.map(|outcome| json!({ "outcome": outcome }));
        let request = json!({
            "metadata": { "namespace": "support", "name": name },
            "spec": { "userPoolID": "eu-west-1_Example01", "username": username },
            "status": status,
        });
        serde_json::from_value(request).unwrap()
    }

    #[test]
    fn claim_is_orphaned_unless_its_own_request_is_pending() {
        let claim = Identity::of_request(&request("reset", "alice", None));
        assert!(is_orphaned(&claim, None));
        for (request, orphaned) in [
            (request("reset", "alice", None), false),
            (request("reset", "alice", Some("Pending")), false),
            (request("reset", "alice", Some("Succeeded")), true),
            (request("reset", "alice", Some("Failed")), true),
            (request("reset", "alice", Some("Unknown")), true),
            (request("reset", "bob", None), true),
            (request("other", "alice", None), true),
        ] {
            assert_eq!(is_orphaned(&claim, Some(&request)), orphaned, "{request:?}");
        }
    }

    fn record(schema: &Value) -> DeserializeGuard<PasswordResetRecord> {
        let record = json!({
            "apiVersion": "cognito-reset.dev/v1alpha1", "kind": "PasswordResetRecord", "metadata": { "name": "r2-0" },
            "schema": schema, "action": "PasswordReset",
            "request": { "namespace": "support", "name": "reset" },
            "userPoolID": "eu-west-1_Example01", "username": "alice", "attempts": [],
        });
        serde_json::from_value(record).unwrap()
    }

    #[test]
    fn only_a_record_of_a_known_schema_is_resolved() {
        let claim = Identity::of_request(&request("reset", "alice", None));
        for watched in [WatchedNamespaces::All, ["support"].into()] {
            assert_eq!(Listed::of(&record(&json!(1)), &watched), Listed::Readable(claim.clone()));
            assert_eq!(Listed::of(&record(&json!(1_000)), &watched), Listed::OfNewerOperator);
            assert!(
                matches!(Listed::of(&record(&json!("one")), &watched), Listed::Invalid(error) if !error.is_empty())
            );
        }
    }

    #[test]
    fn claim_of_an_unwatched_namespace_is_left_alone() {
        let watched = WatchedNamespaces::from(["shops", "supports"]);
        for schema in [1, 1_000] {
            assert_eq!(Listed::of(&record(&json!(schema)), &watched), Listed::Elsewhere, "{schema}");
        }
    }
}
