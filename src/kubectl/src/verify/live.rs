//! Compares an export with the ledger of the cluster. A record that went on since the export, as
//! the operator writes records, is no difference.

use serde_json::Value;

use crate::export::part::is_after;

/// The parts of a record that never change.
const FIXED: [&str; 7] =
    ["/metadata/uid", "/metadata/creationTimestamp", "/action", "/request", "/userPoolID", "/username", "/kind"];

/// The finding about a record of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is as it was exported.
    Same,
    /// It was written after the export, in a way that the rules of records allow.
    WentOn,
    /// It was written first after the export.
    New,
    /// It differs from the export in a way that the rules of records exclude, or although it was
    /// not written since.
    Altered,
    /// It was there at the export, and is not in it.
    Missing,
}

/// Compares a record of the cluster with the exported one, if there is one. `exported_at` is the
/// resource version of the export.
#[must_use]
pub fn judge(exported: Option<&Value>, live: &Value, exported_at: &str) -> Finding {
    let later = is_after(live, exported_at);
    match exported {
        None if later => Finding::New,
        None => Finding::Missing,
        Some(exported) if exported == live => Finding::Same,
        Some(exported) if later && continues(exported, live) => Finding::WentOn,
        Some(_) => Finding::Altered,
    }
}

/// Returns true if a record can have become the other one: nothing that was settled has changed.
fn continues(before: &Value, after: &Value) -> bool {
    let fixed = FIXED.iter().all(|path| before.pointer(path) == after.pointer(path));
    let closed = before.get("closed").is_none_or(|closed| after.get("closed") == Some(closed));
    fixed && closed && effect_continues(before, after) && attempts_continue(before, after)
}

fn effect_continues(before: &Value, after: &Value) -> bool {
    let effect = |record: &Value| record.get("effect").and_then(Value::as_str).map(str::to_owned);
    match (effect(before).as_deref(), effect(after).as_deref()) {
        (Some("Performed"), after) => after == Some("Performed"),
        (Some("Unknown"), after) => matches!(after, Some("Unknown" | "Performed")),
        (Some("NotPerformed"), after_effect) if last_id(before) == last_id(after) => {
            after_effect == Some("NotPerformed")
        }
        _ => true,
    }
}

fn attempts(record: &Value) -> &[Value] {
    record.get("attempts").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn last_id(record: &Value) -> Option<&Value> {
    attempts(record).last().and_then(|attempt| attempt.get("id"))
}

/// Returns true if each attempt whose effect is final is still there, or is counted as omitted.
fn attempts_continue(before: &Value, after: &Value) -> bool {
    let omitted = |record: &Value| record.get("omittedAttempts").and_then(Value::as_u64).unwrap_or(0);
    let effect = before.get("effect").and_then(Value::as_str);
    let (mut gone, mut same) = (0, true);
    for attempt in attempts(before) {
        let last = attempt.get("id") == last_id(before);
        // The last one is settled later, or a holder that returns learns that it was performed.
        let open = last && matches!(effect, None | Some("Unknown"));
        match attempts(after).iter().find(|later| later.get("id") == attempt.get("id")) {
            None => gone += 1,
            Some(later) if open => same &= later.get("requestUID") == attempt.get("requestUID"),
            Some(later) => same &= later == attempt,
        }
    }
    let omitted_since = omitted(after).checked_sub(omitted(before));
    same && omitted_since.is_some_and(|since| since >= gone)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ledger::tests::{attempt, stored};

    fn record(version: &str, fields: Value) -> Value {
        let mut record = stored("one", fields);
        record["metadata"]["resourceVersion"] = json!(version);
        record
    }

    #[test]
    fn what_the_operator_may_write_is_no_difference() {
        let settled = || attempt("a", json!({"settledAt": "2030-01-01T10:00:02Z", "evidence": "CognitoResponse"}));
        let other = || attempt("a", json!({"settledAt": "2030-01-01T10:00:02Z", "evidence": "NeverSent"}));
        let open = || attempt("a", json!({}));
        let next = || attempt("b", json!({}));
        let closed = || json!({"cause": "Expired"});
        for (before, after, wanted) in [
            (json!({"attempts": [open()]}), json!({"attempts": [settled()], "effect": "Performed"}), Finding::WentOn),
            (
                json!({"attempts": [settled()], "effect": "NotPerformed"}),
                json!({"attempts": [settled(), next()]}),
                Finding::WentOn,
            ),
            (
                json!({"attempts": [settled()], "effect": "NotPerformed"}),
                json!({"attempts": [settled()], "effect": "NotPerformed", "closed": closed()}),
                Finding::WentOn,
            ),
            (
                json!({"attempts": [settled()], "effect": "NotPerformed"}),
                json!({"attempts": [next()], "omittedAttempts": 1, "effect": "Performed"}),
                Finding::WentOn,
            ),
            (
                json!({"attempts": [other()], "effect": "Unknown"}),
                json!({"attempts": [settled()], "effect": "Performed"}),
                Finding::WentOn,
            ),
            (
                json!({"attempts": [settled()], "effect": "NotPerformed"}),
                json!({"attempts": [settled()], "effect": "Performed"}),
                Finding::Altered,
            ),
            (
                json!({"attempts": [settled()], "effect": "Performed"}),
                json!({"attempts": [other()], "effect": "Performed"}),
                Finding::Altered,
            ),
            (
                json!({"attempts": [settled()], "effect": "Performed"}),
                json!({"attempts": [settled()], "effect": "NotPerformed"}),
                Finding::Altered,
            ),
            (
                json!({"attempts": [settled()], "effect": "NotPerformed"}),
                json!({"attempts": [next()], "effect": "Performed"}),
                Finding::Altered,
            ),
            (
                json!({"effect": "NotPerformed", "closed": closed()}),
                json!({"effect": "NotPerformed", "closed": {"cause": "UserChanged"}}),
                Finding::Altered,
            ),
            (json!({"attempts": [open()]}), json!({"attempts": [open()], "username": "bob"}), Finding::Altered),
        ] {
            let (before, after) = (record("90", before), record("120", after));
            assert_eq!(judge(Some(&before), &after, "100"), wanted, "{before} {after}");
        }
    }

    #[test]
    fn a_record_that_was_not_written_since_has_to_be_the_same() {
        let open = || json!({"attempts": [attempt("a", json!({}))]});
        let settled = || json!({"attempts": [attempt("a", json!({}))], "effect": "Performed"});
        assert_eq!(judge(Some(&record("90", open())), &record("90", open()), "100"), Finding::Same);
        assert_eq!(judge(Some(&record("90", open())), &record("90", settled()), "100"), Finding::Altered);
        assert_eq!(judge(None, &record("101", open()), "100"), Finding::New);
        assert_eq!(judge(None, &record("99", open()), "100"), Finding::Missing);
    }
}
