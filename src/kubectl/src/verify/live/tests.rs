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
fn what_no_operator_writes_is_an_alteration() {
    let settled = || attempt("a", json!({"settledAt": "2030-01-01T10:00:02Z", "evidence": "NeverSent"}));
    let (open, next) = (|| attempt("a", json!({"ticket": "INC-1"})), || attempt("b", json!({})));
    let other = |field: &str, value: &str| attempt("a", json!({"ticket": "INC-1", field: value}));
    let done = |attempts: Value| json!({"attempts": attempts, "effect": "NotPerformed"});
    let with = |mut record: Value, field: &str, value: Value| {
        record[field] = value;
        record
    };
    let early = || with(done(json!([settled()])), "notAfter", json!("2030-01-02T00:00:00Z"));
    let closed = || with(done(json!([settled()])), "closed", json!({"cause": "Expired"}));
    for (before, after, wanted) in [
        // The user is read again for another claim, or for the closing.
        (done(json!([settled()])), with(done(json!([settled()])), "userSub", json!("sub-2")), Finding::Altered),
        (done(json!([settled()])), with(closed(), "userSub", json!("sub-2")), Finding::WentOn),
        (closed(), with(closed(), "userSub", json!("sub-2")), Finding::Altered),
        (done(json!([settled()])), json!({"attempts": [settled(), next()], "userSub": "sub-2"}), Finding::WentOn),
        // The time until which it is kept, and the schema, only grow.
        (early(), with(early(), "notAfter", json!("2030-01-03T00:00:00Z")), Finding::WentOn),
        (early(), with(early(), "notAfter", json!("2030-01-01T00:00:00Z")), Finding::Altered),
        (early(), done(json!([settled()])), Finding::Altered),
        (early(), with(early(), "schema", json!(2)), Finding::WentOn),
        (with(early(), "schema", json!(2)), early(), Finding::Altered),
        // What was claimed stays.
        (json!({"attempts": [open()]}), done(json!([other("evidence", "NeverSent")])), Finding::WentOn),
        (json!({"attempts": [open()]}), done(json!([other("ticket", "INC-2")])), Finding::Altered),
        (json!({"attempts": [open()]}), done(json!([attempt("a", json!({}))])), Finding::Altered),
        (json!({"attempts": [open()]}), done(json!([other("reason", "x")])), Finding::Altered),
        (json!({"attempts": [open()]}), json!({"attempts": [other("sentAt", "x")]}), Finding::Altered),
        // Settled, and claimed again.
        (json!({"attempts": [open()]}), json!({"attempts": [other("cause", "Dns"), next()]}), Finding::WentOn),
        // Nothing is claimed after an effect, or a closing.
        (
            json!({"attempts": [settled()], "effect": "Performed"}),
            json!({"attempts": [settled(), next()], "effect": "Performed"}),
            Finding::Altered,
        ),
        (closed(), with(closed(), "attempts", json!([settled(), next()])), Finding::Altered),
        (done(json!([settled()])), with(done(json!([settled()])), "omittedAttempts", json!(3)), Finding::Altered),
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
