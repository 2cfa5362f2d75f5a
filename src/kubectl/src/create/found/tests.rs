use serde_json::{Value, json};

use super::*;
use crate::ledger::tests::{attempt, stored};

const ALICE: &str = "inc-7-alice";

fn record(namespace: &str, name: &str, fields: Value) -> Entry {
    let mut stored = stored("r2-x", json!({"request": {"namespace": namespace, "name": name}}));
    if let (Value::Object(stored), Value::Object(fields)) = (&mut stored, fields) {
        stored.extend(fields);
    }
    Entry::new(stored)
}

fn attempted(effect: &str, evidence: &str, code: Option<&str>) -> Value {
    let settled = json!({"settledAt": "2030-01-01T10:00:05Z", "evidence": evidence, "exceptionCode": code});
    json!({"effect": effect, "attempts": [attempt("a", settled)]})
}

fn performed() -> Value {
    attempted("Performed", "CognitoResponse", None)
}

fn found(entries: &[Entry]) -> Found {
    let mut found = Found::default();
    let names = HashMap::from([("alice", ALICE), ("bob", "inc-7-bob")]);
    entries.iter().for_each(|entry| found.add_record(entry, "support", &names));
    found
}

fn wanted() -> [Wanted; 2] {
    ["alice", "bob"].map(|user| Wanted { name: format!("inc-7-{user}"), username: user.to_owned() })
}

#[test]
fn a_record_of_a_wanted_name_says_if_something_is_sent() {
    let closed = json!({"effect": "NotPerformed", "closed": {
        "cause": "Expired", "closedAt": "2030-01-01T10:00:00Z", "operatorInstance": "pod",
        "requestUID": "u", "requestedBy": {"username": "carol"},
    }});
    for (fields, effect) in [
        (performed(), Some("Performed")),
        (attempted("Unknown", "Inconclusive", None), Some("Unknown")),
        (attempted("NotPerformed", "CognitoResponse", Some("UserNotFoundException")), Some("NotPerformed")),
        (closed, Some("NotPerformed")),
        (json!({"attempts": [attempt("a", json!({}))]}), Some("open")),
        // This is tried again.
        (attempted("NotPerformed", "Unreachable", None), None),
    ] {
        let entry = record("support", ALICE, fields);
        assert!(entry.record.is_ok(), "{:?}", entry.record);
        let found = found(std::slice::from_ref(&entry));
        assert_eq!(found.ended.get("alice").copied(), effect, "{}", entry.line());
        assert_eq!(found.earlier, Earlier::default(), "{}", entry.line());
        assert_eq!(found.sending(&wanted()).len(), if effect.is_some() { 1 } else { 2 }, "{}", entry.line());
        let says = effect.map(|effect| {
            format!("1 of these users, by a request of the same name that was deleted: 1 {effect}; nothing is sent for it now; a request of another name sends again")
        });
        assert_eq!(found.ended(&wanted()), says, "{}", entry.line());
    }
}

#[test]
fn a_record_of_another_name_is_an_earlier_reset() {
    let of = |namespace, name| record(namespace, name, performed());
    let others = [of("support", "inc-6-alice"), of("elsewhere", ALICE), of("support", "inc-7-bob")];
    let all = found(&others);
    assert!(all.ended.is_empty());
    assert_eq!(
        all.earlier.resets(&wanted(), false).as_deref(),
        Some(
            "1 of these users, by 3 requests of other names, the last at 2030-01-01T10:00:05Z; the user is reset again"
        )
    );
    let mut other_user = performed();
    other_user["username"] = "dave".into();
    assert_eq!(found(&[record("support", ALICE, other_user)]), Found::default());
    for (name, fields) in [
        ("inc-6-alice", attempted("Unknown", "Inconclusive", None)),
        ("inc-6-alice", json!({"schema": 99})),
        (ALICE, json!({"schema": 99})),
    ] {
        let open = found(&[record("support", name, fields)]).earlier;
        assert!(open.resets(&wanted(), false).is_none() && open.still_open(&wanted()).is_some(), "{open:?}");
    }
    let refused = attempted("NotPerformed", "CognitoResponse", Some("UserNotFoundException"));
    assert_eq!(found(&[record("support", "inc-6-alice", refused)]), Found::default());
}

#[test]
fn a_request_and_its_record_are_one_reset() {
    let mut found = found(&[record("support", "inc-6-alice", performed())]);
    let request = json!({
        "metadata": {"namespace": "support", "name": "inc-6-alice"}, "spec": {"username": "alice"},
        "status": {"outcome": "Succeeded"},
    });
    found.earlier.add(&serde_json::from_value(request).expect("a request"));
    let remark = found.earlier.resets(&wanted(), false).expect("a remark");
    assert!(remark.contains("by 1 request of another name"), "{remark}");
}

#[test]
fn the_remark_says_who_is_reset_again() {
    let record_of = |user: &str| {
        let mut fields = performed();
        fields["username"] = user.into();
        record("support", "inc-6", fields)
    };
    for (users, skips, says) in [
        (&["alice"][..], false, "; the user is reset again"),
        (&["alice", "bob"], false, "; they are reset again"),
        (&["alice"], true, "; the user is skipped if a reset is still required, and otherwise reset again"),
        (&["alice", "bob"], true, "; those who still have to reset are skipped, and the others reset again"),
    ] {
        let records: Vec<_> = users.iter().map(|user| record_of(user)).collect();
        let remark = found(&records).earlier.resets(&wanted(), skips).expect("a remark");
        assert!(remark.ends_with(says), "{remark}");
    }
}
