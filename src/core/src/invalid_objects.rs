//! Returns the status of an object that cannot be parsed. Pure.

pub mod backlog;

use cognito_reset_api::{
    Outcome,
    conditions::{ConditionType, GrantReason, HoldReason, Reason, Truth, WaitReason, conditions},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use serde_json::{Value, json};

use crate::machine::status;

/// The maximum length of a report, in characters.
pub const MAX_TEXT: usize = 300;

/// The kind of an object that cannot be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A request.
    Request,
    /// A grant.
    Grant,
    /// A hold.
    Hold,
    /// A record.
    Record,
}

/// Returns the message for people. `error` quotes no value of the object.
#[must_use]
pub fn message(kind: Kind, error: &str) -> String {
    match kind {
        Kind::Request => format!(
            "this operator cannot parse the request: {error}. Nothing is sent for it: create a corrected one under a new name, or upgrade the operator"
        ),
        Kind::Grant => format!(
            "this operator cannot parse the grant: {error}. It allows nothing: correct it, or upgrade the operator"
        ),
        Kind::Hold => format!(
            "this operator cannot parse the hold: {error}. It holds every request of the pool and the namespaces that could be parsed, or every request of the cluster if none could: create a corrected one and delete this one, or upgrade the operator"
        ),
        Kind::Record => {
            format!("this operator cannot parse the record: {error}. It is not touched: upgrade the operator")
        }
    }
}

/// Returns a merge patch for the subresource `status` that reports the error, guarded by the uid
/// and resourceVersion of the object that was read. Returns `None` if the status reports it
/// already, or if the object has ended. `current` is its current status, which may have any shape.
#[must_use]
pub fn patch(kind: Kind, metadata: &ObjectMeta, current: &Value, error: &str, now: Timestamp) -> Option<Value> {
    let generation = metadata.generation;
    let before: Vec<Condition> =
        current.get("conditions").cloned().and_then(|all| serde_json::from_value(all).ok()).unwrap_or_default();
    let (wanted, reason, more): (_, Reason, _) = match kind {
        Kind::Request => {
            let pending = Outcome::Pending.as_str();
            if current.get("outcome").is_some_and(|outcome| outcome != pending) {
                // An operator that could parse the request has performed or closed it.
                return None;
            }
            (
                status::waiting(WaitReason::InvalidObject).conditions(),
                WaitReason::InvalidObject.into(),
                json!({ "outcome": pending }),
            )
        }
        // Counts for an earlier spec are no longer valid.
        Kind::Grant => (
            vec![(ConditionType::Ready, Truth::False), (ConditionType::Stalled, Truth::True)],
            GrantReason::InvalidObject.into(),
            json!({ "matchedNamespaces": null, "conflictsWith": null }),
        ),
        Kind::Hold => (
            vec![(ConditionType::Ready, Truth::False), (ConditionType::Stalled, Truth::True)],
            HoldReason::InvalidObject.into(),
            // The count is kept up to date separately, and a report must not remove it.
            json!({}),
        ),
        // A record has no status.
        Kind::Record => return None,
    };
    let updated = conditions(&before, &wanted, reason, &message(kind, error), generation, now);
    if updated == before && current.get("observedGeneration").and_then(Value::as_i64) == generation {
        return None;
    }
    let mut status = json!({ "observedGeneration": generation, "conditions": updated });
    if let (Some(status), Value::Object(more)) = (status.as_object_mut(), more) {
        status.extend(more);
    }
    let guard = json!({ "uid": metadata.uid, "resourceVersion": metadata.resource_version });
    Some(json!({ "metadata": guard, "status": status }))
}

/// Returns a parser's error about an object as one line, without the values that it quotes.
///
/// The texts of parsers quote values without marks
/// (`Unknown variant alice. Expected one of Resend, Skip`), and nested parsers may write any text.
/// So nothing is removed from the text: only words that this program has put into it are kept.
#[must_use]
pub fn without_values(text: &str) -> String {
    const QUOTING: [&str; 5] = ["Invalid type", "Invalid value", "Invalid length", "Unknown variant", "Unknown field"];
    const NAMING: [&str; 2] = ["Missing field", "Duplicate field"];
    let of_a_field = |mistake: &&&str| {
        let field = text.strip_prefix(**mistake).and_then(|rest| rest.strip_prefix(' '));
        field.is_some_and(|field| !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    };
    if NAMING.iter().any(|mistake| of_a_field(&mistake)) {
        return text.chars().take(MAX_TEXT).collect();
    }
    if let Some(field) = unknown_field(text) {
        return format!("Unknown field {field}");
    }
    let Some(mistake) = QUOTING.iter().find(|mistake| text.starts_with(**mistake)) else {
        return "a value cannot be read".to_owned();
    };
    // A value may contain the same words; the text after their last occurrence is not part of it.
    let expected = text.rsplit_once(". Expected ").map_or("something else", |(_, expected)| expected);
    format!("{mistake}. Expected {expected}").chars().filter(|it| !it.is_control()).take(MAX_TEXT).collect()
}

/// Returns the name of a field that this version does not know. The CRD has it, or it would not be
/// stored, unless somebody's CRD keeps every field; a name that no CRD would have is not returned.
fn unknown_field(text: &str) -> Option<&str> {
    const LONGEST: usize = 64;
    let rest = text.strip_prefix("Unknown field ")?;
    // The report of a watch is shortened already.
    let name = rest.split_once(". Expected ").map_or(rest, |(name, _)| name);
    let is_plain = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.len() <= LONGEST
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_plain.then_some(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "of JSON, which answers null")]

    use cognito_reset_api::PasswordResetRequest;
    use kube::core::DeserializeGuard;

    use super::*;

    fn metadata() -> ObjectMeta {
        ObjectMeta {
            uid: Some("7".into()),
            resource_version: Some("8".into()),
            generation: Some(2),
            ..ObjectMeta::default()
        }
    }

    fn patched(kind: Kind, current: &Value, second: i64) -> Option<Value> {
        patch(kind, &metadata(), current, "Missing field username", Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn invalid_objects_report_the_problem_and_the_way_out() {
        for (kind, wanted, words) in [
            (
                Kind::Request,
                "Succeeded=Unknown Ready=Unknown PasswordInvalidated=Unknown Reconciling=True",
                ["Missing field username. Nothing is sent", "under a new name, or upgrade the operator"],
            ),
            (
                Kind::Grant,
                "Ready=False Stalled=True",
                ["Missing field username. It allows nothing", "correct it, or upgrade the operator"],
            ),
            (
                Kind::Hold,
                "Ready=False Stalled=True",
                ["Missing field username. It holds every request", "delete this one, or upgrade the operator"],
            ),
        ] {
            let patch = patched(kind, &json!({}), 1).unwrap();
            assert_eq!(patch["metadata"], json!({ "uid": "7", "resourceVersion": "8" }));
            let status = &patch["status"];
            assert_eq!(status["observedGeneration"], 2);
            let conditions: Vec<Condition> = serde_json::from_value(status["conditions"].clone()).unwrap();
            let shown: Vec<_> = conditions.iter().map(|it| format!("{}={}", it.type_, it.status)).collect();
            assert_eq!(shown.join(" "), wanted);
            for condition in conditions {
                assert_eq!((condition.reason.as_str(), condition.observed_generation), ("InvalidObject", Some(2)));
                assert!(words.iter().all(|word| condition.message.contains(word)), "{}", condition.message);
            }
        }
    }

    #[test]
    fn longest_message_fits_into_a_condition_and_an_event() {
        for kind in [Kind::Request, Kind::Grant, Kind::Hold, Kind::Record] {
            assert!(message(kind, &"a".repeat(MAX_TEXT)).len() < 600, "{kind:?}");
        }
    }

    #[test]
    fn report_removes_counts_of_a_grant_and_keeps_that_of_a_hold() {
        let current = json!({ "matchedNamespaces": 3, "heldRequests": 3 });
        for (kind, member, wanted) in [
            (Kind::Grant, "matchedNamespaces", Some(Value::Null)),
            (Kind::Grant, "conflictsWith", Some(Value::Null)),
            (Kind::Hold, "heldRequests", None),
        ] {
            let patch = patched(kind, &current, 1).unwrap();
            assert_eq!(patch["status"].get(member).cloned(), wanted, "{kind:?}: {member}");
        }
    }

    #[test]
    fn same_report_is_not_written_again_and_keeps_transition_times() {
        for kind in [Kind::Request, Kind::Grant, Kind::Hold] {
            let first =
                patched(kind, &json!({ "matchedNamespaces": 3, "heldRequests": 3 }), 1).unwrap()["status"].clone();
            assert_eq!(patched(kind, &first, 2), None, "{kind:?}");
            let mut older = first.clone();
            older["observedGeneration"] = json!(1);
            let again = patched(kind, &older, 2).unwrap()["status"].clone();
            assert_eq!(again, first, "{kind:?}");
        }
    }

    #[test]
    fn ended_request_keeps_its_status_and_a_record_has_none() {
        for outcome in ["Succeeded", "Failed", "Unknown", "OfANewerOperator"] {
            assert_eq!(patched(Kind::Request, &json!({ "outcome": outcome }), 1), None, "{outcome}");
        }
        assert!(patched(Kind::Request, &json!({ "outcome": "Pending" }), 1).is_some());
        assert_eq!(patched(Kind::Record, &json!({}), 1), None);
    }

    #[test]
    fn a_status_of_any_shape_is_replaced() {
        for current in [json!(null), json!([]), json!({ "conditions": 7 }), json!({ "conditions": [{ "type": 7 }] })] {
            for kind in [Kind::Request, Kind::Grant, Kind::Hold] {
                assert!(patched(kind, &current, 1).is_some(), "{kind:?} {current}");
            }
        }
    }

    fn reported(spec: Value) -> String {
        let object = json!({ "metadata": { "name": "reset" }, "spec": spec });
        let guarded: DeserializeGuard<PasswordResetRequest> = serde_json::from_value(object).unwrap();
        without_values(&guarded.0.unwrap_err().error)
    }

    #[test]
    fn a_report_of_an_object_says_what_is_wrong_and_quotes_no_value() {
        let user = json!("alice. Expected `alice\n\"alice");
        for (spec, wanted) in [
            (json!({ "userPoolID": "p_1" }), "Missing field username"),
            (json!({ "userPoolID": "p_1", "username": ["alice"] }), "Invalid type. Expected a string"),
            (json!({ "userPoolID": "p_1", "username": "a", "suspend": user }), "Invalid type. Expected a boolean"),
            (json!({ "userPoolID": "p_1", "username": "a", "deadlineSeconds": 0.5 }), "Invalid type. Expected i64"),
            (json!({ "userPoolID": "p_1", "username": "a", "weekdays": "alice" }), "Unknown field weekdays"),
            (
                json!({ "userPoolID": "p_1", "username": "a", "ifResetRequired": user }),
                "Unknown variant. Expected one of Resend, Skip",
            ),
            (
                json!({ "userPoolID": "p_1", "username": "a", "notAfter": user }),
                "Invalid value. Expected a time such as 2036-01-01T00:00:00Z as notAfter",
            ),
        ] {
            assert_eq!(reported(spec), wanted);
            assert_eq!(without_values(wanted), wanted, "shortened again");
        }
    }

    #[test]
    fn foreign_numbers_are_written_back_unchanged() {
        let number = "2.434422246840973e+266";
        let text = format!(
            r#"{{"metadata":{{"managedFields":[{{"fieldsV1":{number}}}]}},"spec":{{"userPoolID":"eu-west-1_A","username":"a"}}}}"#
        );
        let read: PasswordResetRequest = serde_json::from_str(&text).unwrap();
        let written = serde_json::to_string(&read).unwrap();
        assert!(written.contains(number), "{written}");
    }
}
