use cognito_reset_api::RecordFields;
use serde_json::{Value, json};

use super::*;
use crate::{
    explain::case::Happened,
    reasons::tests::states,
    request::{Id, Request},
    snapshot::snapshot,
};

const STYLE: Style<'_> = Style { width: Some(80), flags: Flags("--context prod") };

fn request(spec: Value, status: Value) -> Request {
    let metadata = json!({ "name": "reset-alice", "namespace": "support", "uid": "uid-1",
        "creationTimestamp": "2026-01-01T09:00:00Z" });
    serde_json::from_value(json!({ "metadata": metadata, "spec": spec, "status": status })).expect("a request")
}

fn spec() -> Value {
    json!({ "userPoolID": "eu-west-1_Example01", "username": "alice@example.com",
        "requestedBy": { "username": "carol" }, "ticket": "HELP-7", "onBehalfOf": "alice" })
}

fn status(outcome: &str, reason: &str, message: &str, password: &str) -> Value {
    let ready = json!({ "type": "Ready", "status": "Unknown", "reason": reason, "message": message,
        "lastTransitionTime": "2026-01-01T09:00:00Z" });
    let ended = (outcome != "Pending").then_some("2026-01-01T09:02:00Z");
    json!({ "outcome": outcome, "password": password, "completionTime": ended, "conditions": [ready] })
}

fn attempt(uid: &str, evidence: &str, more: Value) -> Value {
    let mut attempt = json!({ "id": "a", "operatorInstance": "operator-1", "requestUID": uid,
        "requestedBy": { "username": "carol", "extra": { "sessionName": "carol@corp" } },
        "approvedBy": { "username": "bob" }, "grants": ["support"], "claimedAt": "2026-01-01T09:01:00Z",
        "userStatusBefore": "CONFIRMED", "settledAt": "2026-01-01T09:01:02Z", "evidence": evidence });
    let more = more.as_object().cloned().unwrap_or_default();
    attempt.as_object_mut().expect("an object").extend(more);
    attempt
}

fn record(effect: Value, attempts: Value, closed: Value) -> PasswordResetRecord {
    let fields = json!({ "schema": 1, "action": "PasswordReset", "userPoolID": "eu-west-1_Example01",
        "request": { "namespace": "support", "name": "reset-alice" }, "username": "alice@example.com",
        "userSub": "sub-7", "effect": effect, "attempts": attempts, "closed": closed });
    let fields: RecordFields = serde_json::from_value(fields).expect("a record");
    PasswordResetRecord::new("r2-0a1b", fields)
}

fn accepted(uid: &str) -> PasswordResetRecord {
    let sent = json!({ "sentAt": "2026-01-01T09:01:01Z", "awsRequestID": "aws-1" });
    record(json!("Performed"), json!([attempt(uid, "CognitoResponse", sent)]), Value::Null)
}

fn case(request: Option<Request>, record: Seen<Option<PasswordResetRecord>>) -> Case {
    let id = Id { namespace: "support".into(), name: "reset-alice".into() };
    let is_gone = request.is_none();
    Case { id, request, is_gone, record, events: Seen::Shown(Vec::new()) }
}

fn hidden<T>() -> Seen<T> {
    Seen::Hidden("you may not read records".into())
}

fn succeeded() -> Case {
    let mut spec = spec();
    spec["approved"] = json!(true);
    spec["approvedBy"] = json!({ "username": "bob" });
    let status = status("Succeeded", "ResetAccepted", "password invalidated", "Invalidated");
    let at = "2026-01-01T09:02:01Z".parse().expect("a time");
    let message = "password invalidated".to_owned();
    let event = Happened { at, uid: "uid-1".into(), reason: "ResetAccepted".into(), message, count: 1 };
    let case = case(Some(request(spec, status)), Seen::Shown(Some(accepted("uid-1"))));
    Case { events: Seen::Shown(vec![event]), ..case }
}

fn already_performed() -> Request {
    request(spec(), status("Succeeded", "AlreadyPerformed", "nothing was sent now", "Invalidated"))
}

fn failed() -> Case {
    let status = status("Failed", "UserNotFoundException", "Cognito rejected the reset", "Unchanged");
    Case { events: Seen::Hidden("you may not list Events".into()), ..case(Some(request(spec(), status)), hidden()) }
}

#[test]
fn explanations_look_like_their_snapshots() {
    let gone = case(None, Seen::Shown(Some(accepted("uid-0"))));
    let performed = case(Some(already_performed()), Seen::Shown(Some(accepted("uid-0"))));
    let deadline = status("Failed", "DeadlineExceeded", "deadlineSeconds passed", "Unchanged");
    let refused = attempt("uid-1", "CognitoResponse", json!({ "exceptionCode": "AccessDeniedException" }));
    let closed = json!({ "cause": "DeadlineExceeded", "closedAt": "2026-01-02T09:00:00Z",
        "operatorInstance": "operator-1", "requestUID": "uid-1", "requestedBy": { "username": "unverified" } });
    let overdue = record(json!("NotPerformed"), json!([refused]), closed);
    let overdue = case(Some(request(spec(), deadline)), Seen::Shown(Some(overdue)));
    for (name, case) in [
        ("succeeded", succeeded()),
        ("failed", failed()),
        ("already-performed", performed),
        ("gone", gone),
        ("overdue", overdue),
    ] {
        for width in [80, 140] {
            snapshot(
                &format!("explain/snapshots/{name}-{width}.txt"),
                &full(&case, Style { width: Some(width), ..STYLE }),
            );
        }
        snapshot(&format!("explain/snapshots/{name}-brief.txt"), &brief(&case, true, STYLE));
    }
}

#[test]
fn every_state_has_a_meaning_and_advice() {
    for (state, mut object) in states() {
        object["metadata"]["creationTimestamp"] = json!("2026-01-01T09:00:00Z");
        let request: Request = serde_json::from_value(object.clone()).expect("a request");
        let nothing = request.nothing_was_sent();
        for record in [hidden(), Seen::Shown(None)] {
            let text = full(&case(Some(request.clone()), record), STYLE);
            // A user who got no code needs no command of anybody.
            let has_advice = text.contains("\n  Next      ") && text.contains("            kubectl ");
            let has_advice = has_advice || text.contains("the user asks for one by \"forgot password\"");
            assert!(text.contains("\n  Meaning   ") && has_advice, "{state}: {text}");
            assert!(!text.contains("does not know the reason") && !text.contains(" done"), "{state}: {text}");
            assert_eq!(text.contains("Nothing was sent to Cognito for this request."), nothing, "{state}: {text}");
            let breakable = |line: &str| line.trim().contains(' ') && !line.trim_start().starts_with("kubectl ");
            let wide = |line: &&str| line.chars().count() > 80 && breakable(line);
            assert_eq!(text.lines().find(wide), None, "{state}");
        }
    }
}

#[test]
fn a_reset_of_an_earlier_object_is_never_this_ones() {
    for record in [hidden(), Seen::Shown(None), Seen::Shown(Some(accepted("uid-0")))] {
        let has_record = matches!(record, Seen::Shown(Some(_)));
        let text = full(&case(Some(already_performed()), record), Style { width: None, ..STYLE });
        assert!(text.contains("Nothing was sent to Cognito for this request."), "{text}");
        assert!(text.contains("An earlier request object of this name"), "{text}");
        let which = "(uid uid-0) performed the reset at 2026-01-01T09:01:02Z, by attempt 1; record r2-0a1b.";
        assert_eq!(text.contains(which), has_record, "{text}");
    }
    // The result of an earlier object that failed.
    let refused = json!([attempt("uid-0", "CognitoResponse", json!({ "exceptionCode": "UserNotFoundException" }))]);
    let record = record(json!("NotPerformed"), refused, Value::Null);
    let request = request(spec(), status("Failed", "UserNotFoundException", "nothing was sent", "Unchanged"));
    let text = sentences(&case(Some(request), Seen::Shown(Some(record)))).join(" ");
    assert!(text.starts_with("Nothing was sent to Cognito for this request."), "{text}");
    assert!(text.ends_with("made attempt 1, which had no effect at 2026-01-01T09:01:02Z; record r2-0a1b."), "{text}");
}

#[test]
fn what_was_sent_is_what_the_record_proves() {
    let at = json!({ "sentAt": "2026-01-01T09:01:01Z" });
    let open = json!({ "evidence": null, "settledAt": null });
    let contradicted = json!({ "userStatusBefore": "RESET_REQUIRED", "id": "b" });
    let none = || json!({});
    for (effect, attempts, wanted) in [
        ("NotPerformed", vec![("NeverSent", none())], "Nothing was sent to Cognito for this request."),
        ("NotPerformed", vec![("Unreachable", none())], "Nothing was sent to Cognito for this request."),
        ("Performed", vec![("CognitoResponse", at.clone())], "1 call was sent to Cognito for this request, at 2026"),
        ("Performed", vec![("UserStatusCheck", none())], "1 call was sent to Cognito for this request."),
        ("Unknown", vec![("Inconclusive", at.clone())], "1 call was sent to Cognito for this request, at 2026"),
        ("Unknown", vec![("Inconclusive", none())], "It is not known whether a call was sent"),
        ("", vec![("NeverSent", open.clone())], "It is not known whether a call was sent"),
        (
            "Unknown",
            vec![("CognitoResponse", at.clone()), ("Inconclusive", none())],
            "1 call was sent to Cognito for this request, at 2026-01-01T09:01:01Z. It is not known whether another",
        ),
        (
            "Unknown",
            vec![("CognitoResponse", at.clone()), ("Inconclusive", contradicted)],
            "1 call was sent to Cognito for this request, at 2026-01-01T09:01:01Z.",
        ),
    ] {
        let attempts: Vec<_> = attempts.into_iter().map(|(evidence, more)| attempt("uid-1", evidence, more)).collect();
        let effect = if effect.is_empty() { Value::Null } else { json!(effect) };
        let record = record(effect, json!(attempts), Value::Null);
        let request = request(spec(), status("Unknown", "OutcomeUnknown", "", "Unknown"));
        let text = sentences(&case(Some(request), Seen::Shown(Some(record)))).join(" ");
        assert!(text.starts_with(wanted), "{attempts:?}: {text}");
        assert_eq!(text.contains("another"), wanted.contains("another"), "{text}");
    }
}

#[test]
fn hidden_characters_are_escaped_and_not_typed() {
    let mut spec = spec();
    let evil = "a\u{1b}[2J\u{202e}b\nc";
    for field in ["username", "ticket", "reason", "onBehalfOf"] {
        spec[field] = json!(evil);
    }
    spec["requestedBy"]["username"] = json!(evil);
    let request = request(spec, status("Failed", "Expired", evil, "Unchanged"));
    let mut record = accepted("uid-1");
    record.spec.attempts[0].exception_code = Some(evil.into());
    let text = full(&case(Some(request), Seen::Shown(Some(record))), Style { width: None, ..STYLE });
    assert!(text.contains("a\\u001b[2J\\u202eb\\u000ac"), "{text}");
    assert!(!text.chars().any(|it| it != '\n' && cognito_reset_core::escape::is_hidden(it)), "{text}");
    assert!(text.contains("create USER --pool eu-west-1_Example01 --name NEW-NAME -"), "{text}");
}

#[test]
fn the_newest_of_several_is_first() {
    let created = |name: &str, at: &str| {
        let mut of = request(spec(), json!({}));
        of.metadata.creation_timestamp = serde_json::from_value(json!(at)).expect("a time");
        let mut case = case(Some(of), hidden());
        case.id.name = name.into();
        case
    };
    let mut record = accepted("uid-0");
    record.metadata.creation_timestamp = serde_json::from_value(json!("2026-01-02T00:00:00Z")).expect("a time");
    let mut gone = case(None, Seen::Shown(Some(record)));
    gone.id.name = "gone".into();
    let mut cases = [
        created("old", "2026-01-01T00:00:00Z"),
        gone,
        created("b", "2026-01-03T00:00:00Z"),
        created("a", "2026-01-03T00:00:00Z"),
    ];
    Case::sort(&mut cases);
    assert_eq!(cases.map(|case| case.id.name), ["a", "b", "gone", "old"]);
}

#[test]
fn a_request_that_may_not_be_read_is_not_called_gone() {
    let unread = Case { is_gone: false, ..case(None, Seen::Shown(Some(accepted("uid-0")))) };
    let text = brief(&unread, true, STYLE);
    assert!(text.contains("you may not read the request; its record has the effect Performed"), "{text}");
    assert!(!text.contains("gone"), "{text}");
}

#[test]
fn advice_is_for_the_newest_and_for_what_waits() {
    let waits = || case(Some(request(spec(), status("Pending", "Suspended", "", "Unknown"))), hidden());
    let gone = || case(None, Seen::Shown(Some(accepted("uid-0"))));
    let advice = |cases: &[Case]| {
        let text = several(cases, STYLE);
        ["cognito-reset resume", "forgot password", "after the cause is fixed"].map(|it| text.matches(it).count())
    };
    for (cases, wanted) in [
        (vec![succeeded(), succeeded(), failed()], [0, 1, 0]),
        (vec![failed(), succeeded(), failed()], [0, 0, 1]),
        (vec![waits(), succeeded(), waits(), failed()], [2, 0, 0]),
        // A retry waits already.
        (vec![waits(), failed()], [1, 0, 0]),
        (vec![gone(), succeeded()], [0, 0, 0]),
    ] {
        assert_eq!(advice(&cases), wanted, "{}", several(&cases, STYLE));
    }
}

#[test]
fn the_commands_of_one_person_have_one_heading() {
    for (reason, wanted) in [
        ("Pending", "\n  Next      a platform administrator:\n            kubectl get deploy"),
        ("SelfApproval", "\n            a requester, for another approver:\n            kubectl cognito-reset create"),
    ] {
        let text =
            full(&case(Some(request(spec(), status("Pending", reason, "", "Unknown"))), Seen::Shown(None)), STYLE);
        assert!(text.contains(wanted), "{text}");
        assert!(text.matches("a platform administrator:").count() <= 1, "{text}");
    }
}
