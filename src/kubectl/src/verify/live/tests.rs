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
            Finding::Altered,
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
    let ended = || {
        let fields = json!({"ticket": "INC-1", "evidence": "NeverSent", "settledAt": "2030-01-01T10:00:02Z"});
        attempt("a", fields)
    };
    let done = |attempts: Value| json!({"attempts": attempts, "effect": "NotPerformed"});
    let with = |mut record: Value, field: &str, value: Value| {
        record[field] = value;
        record
    };
    let without = |mut record: Value, field: &str| {
        record[field] = Value::Null;
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
        (json!({"attempts": [open()]}), done(json!([ended()])), Finding::WentOn),
        (json!({"attempts": [open()]}), done(json!([other("ticket", "INC-2")])), Finding::Altered),
        (json!({"attempts": [open()]}), done(json!([attempt("a", json!({}))])), Finding::Altered),
        (json!({"attempts": [open()]}), done(json!([other("reason", "x")])), Finding::Altered),
        (json!({"attempts": [open()]}), json!({"attempts": [other("sentAt", "x")]}), Finding::Altered),
        // Settled, and claimed again.
        (json!({"attempts": [open()]}), json!({"attempts": [ended(), next()]}), Finding::WentOn),
        // An open claim gets no effect without its evidence, and is never taken over.
        (json!({"attempts": [open()]}), done(json!([open()])), Finding::Altered),
        (json!({"attempts": [open()]}), done(json!([other("evidence", "NeverSent")])), Finding::Altered),
        (json!({"attempts": [open()]}), json!({"attempts": [open(), next()]}), Finding::Altered),
        // The order stays, and what is claimed comes last.
        (done(json!([ended(), next()])), done(json!([next(), ended()])), Finding::Altered),
        (done(json!([ended()])), json!({"attempts": [next(), ended()]}), Finding::Altered),
        (
            done(json!([ended(), next()])),
            json!({"attempts": [next(), ended(), attempt("c", json!({}))]}),
            Finding::Altered,
        ),
        // What has another field is of another schema.
        (early(), with(early(), "note", json!("x")), Finding::Altered),
        (with(early(), "note", json!("x")), with(early(), "note", json!("y")), Finding::Altered),
        (early(), with(with(early(), "schema", json!(2)), "note", json!("x")), Finding::WentOn),
        (with(early(), "note", json!("x")), with(early(), "schema", json!(2)), Finding::Altered),
        // The closing reads the user again or keeps what is known, and nothing was performed.
        (done(json!([settled()])), without(closed(), "userSub"), Finding::Altered),
        (
            json!({"attempts": [settled()], "effect": "Performed"}),
            with(closed(), "effect", json!("Performed")),
            Finding::Altered,
        ),
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
fn attempts_are_omitted_only_beyond_the_most_kept() {
    let numbered = |numbers: std::ops::Range<usize>| -> Vec<Value> {
        let fields = || json!({"settledAt": "2030-01-01T10:00:02Z", "evidence": "NeverSent"});
        numbers.map(|number| attempt(&format!("a-{number}"), fields())).collect()
    };
    let done = |attempts: Vec<Value>, omitted: usize| json!({"attempts": attempts, "effect": "NotPerformed", "omittedAttempts": omitted});
    let with_first = [numbered(0..1), numbered(2..17)].concat();
    for (before, after, wanted) in [
        (done(numbered(0..16), 0), done(numbered(1..17), 1), Finding::WentOn),
        // The first one may be kept.
        (done(numbered(0..16), 0), done(with_first, 1), Finding::WentOn),
        (done(numbered(0..2), 0), done(numbered(30..46), 30), Finding::WentOn),
        (done(numbered(0..16), 0), done(numbered(1..17), 0), Finding::Altered),
        // Claims that are neither listed nor counted, or counted and not made.
        (done(numbered(0..16), 0), done(numbered(2..18), 1), Finding::Altered),
        (done(numbered(0..16), 0), done(numbered(1..17), 5), Finding::Altered),
        (done(numbered(0..3), 0), done(numbered(1..4), 1), Finding::Altered),
        (done(numbered(0..16), 5), done(numbered(1..17), 5), Finding::Altered),
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
