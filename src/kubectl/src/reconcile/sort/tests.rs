use serde_json::{Value, json};

use super::*;
use crate::ledger::{
    Entry,
    tests::{attempt, stored},
};

const AT: &str = "2030-01-01T10:00:01Z";

fn call(id: Option<&str>, time: &str) -> Call {
    Call {
        time: time.parse().unwrap(),
        event_id: None,
        request_id: id.map(str::to_owned),
        pool: Some("eu-west-1_Example01".into()),
        sub: Some("sub-1".into()),
        caller: Some("arn:aws:iam::1:user/console".into()),
        error: None,
    }
}

fn record(name: &str, effect: &str, attempts: &[Value]) -> PasswordResetRecord {
    Entry::new(stored(name, json!({"effect": effect, "attempts": attempts}))).record.unwrap()
}

fn answered(id: &str) -> Value {
    attempt(id, json!({"awsRequestID": format!("aws-{id}"), "evidence": "CognitoResponse", "sentAt": AT}))
}

fn lost(id: &str) -> Value {
    attempt(id, json!({"evidence": "Inconclusive", "sentAt": AT, "settledAt": "2030-01-01T10:00:30Z"}))
}

/// Returns class, request, way and note of each pair.
fn sorted(range: Range, pool: Option<&str>, calls: Vec<Call>, records: &[PasswordResetRecord]) -> Vec<String> {
    let mut sorter = Sorter::new(range, pool.map(str::to_owned));
    calls.into_iter().for_each(|call| sorter.add_call(call));
    let mut pairs: Vec<Pair> = records.iter().flat_map(|record| sorter.add_record(record)).collect();
    pairs.extend(sorter.finish());
    let shown = |pair: &Pair| {
        let cells = pair.cells();
        assert_eq!(cells.len(), COLUMNS.len());
        let of = |name: &str| COLUMNS.iter().position(|column| column.name == name).map(|at| cells[at].as_str());
        ["found-in", "request", "matched-by", "note"].map(|name| of(name).unwrap()).join("/")
    };
    pairs.iter().map(shown).collect()
}

#[test]
fn a_pair_has_the_time_of_sending_or_the_nearest_known() {
    let claimed = attempt("a", json!({"evidence": "Inconclusive"}));
    let later = "2030-01-01T10:00:07Z";
    for (attempts, calls, wanted) in [
        (&[answered("a")][..], vec![call(Some("aws-a"), later)], AT),
        (&[claimed], vec![], "2030-01-01T10:00:00.5Z"),
        (&[], vec![call(None, later)], later),
    ] {
        let mut sorter = Sorter::new(Range::default(), None);
        calls.into_iter().for_each(|call| sorter.add_call(call));
        let mut pairs = sorter.add_record(&record("one", "Performed", attempts));
        pairs.extend(sorter.finish());
        assert_eq!(pairs.iter().map(|pair| pair.moment().to_string()).collect::<Vec<_>>(), [wanted]);
    }
}

#[test]
fn calls_are_in_both_or_only_in_one() {
    let unsent = attempt("n", json!({"evidence": "NeverSent"}));
    let records = [record("one", "Performed", &[answered("a")]), record("two", "Performed", &[unsent, answered("b")])];
    let calls = vec![call(Some("aws-a"), AT), call(Some("aws-a"), AT), call(Some("aws-x"), AT)];
    assert_eq!(
        sorted(Range::default(), None, calls.clone(), &records),
        ["both/one/request id/", "ledger only/two//", "CloudTrail only///",]
    );
    let mut sorter = Sorter::new(Range::default(), None);
    calls.into_iter().for_each(|call| sorter.add_call(call));
    sorter.add_record(&records[1]);
    assert_eq!((sorter.repeated, sorter.unsent), (1, 1));
}

#[test]
fn a_lost_response_is_found_by_session_or_by_sub_and_time() {
    let session = |uid: &str, time: &str| Call {
        caller: Some(format!("arn:aws:sts::1:assumed-role/resets/prr-{uid}")),
        ..call(Some("aws-y"), time)
    };
    let late = "2030-01-01T11:00:00Z";
    let other_pool = Call { pool: Some("eu-west-1_Other".into()), ..call(None, AT) };
    for (calls, wanted) in [
        (vec![session("request-l", AT)], &["both/one/session/CloudTrail shows that it succeeded"][..]),
        (
            vec![call(None, AT), session("request-l", AT)],
            &["both/one/session/CloudTrail shows that it succeeded", "CloudTrail only///"],
        ),
        (vec![call(Some("aws-z"), AT)], &["both/one/sub and time/CloudTrail shows that it succeeded"]),
        (
            vec![session("another", AT)],
            &["ledger only/one//no response is known; it may never have arrived", "CloudTrail only///"],
        ),
        (
            vec![session("request-l", late)],
            &["ledger only/one//no response is known; it may never have arrived", "CloudTrail only///"],
        ),
        (vec![other_pool], &["ledger only/one//no response is known; it may never have arrived", "CloudTrail only///"]),
    ] {
        let records = [record("one", "Unknown", &[lost("l")])];
        assert_eq!(sorted(Range::default(), None, calls.clone(), &records), wanted, "{calls:?}");
    }
}

#[test]
fn a_call_that_cannot_be_of_the_attempt_is_not_its() {
    // The claim is at 10:00:00.5.
    let lost = |fields: Value| attempt("l", fields);
    for (fields, time, is_both) in [
        // Nothing but the claim is known: its process ended.
        (json!({}), "2030-01-01T09:59:00Z", false),
        (json!({}), "2030-01-01T09:59:30Z", true),
        (json!({}), "2030-01-01T10:06:00Z", true),
        (json!({}), "2030-01-01T10:06:01Z", false),
        (json!({}), "2030-02-01T10:00:00Z", false),
        // Settled by another process, an hour later.
        (json!({"settledAt": "2030-01-01T11:00:00Z", "evidence": "Inconclusive"}), "2030-01-01T10:30:00Z", false),
        (json!({"settledAt": "2030-01-01T11:00:00Z", "evidence": "UserStatusCheck"}), "2030-01-01T10:06:00Z", true),
        // Sent late, after a slow claim.
        (json!({"sentAt": "2030-01-01T10:04:00Z"}), "2030-01-01T10:10:00Z", true),
        // Settled at once.
        (json!({"sentAt": AT, "settledAt": AT, "evidence": "Inconclusive"}), "2030-01-01T10:01:02Z", false),
    ] {
        let mut record = record("one", "Unknown", &[lost(fields.clone())]);
        if fields.get("settledAt").is_none() {
            record.spec.effect = None;
        }
        let pairs = sorted(Range::default(), None, vec![call(None, time)], &[record]);
        assert_eq!(pairs.len() == 1, is_both, "{fields} {time}: {pairs:?}");
    }
}

#[test]
fn results_and_users_that_differ_are_noted() {
    let refused = Call { error: Some("UserNotFoundException".into()), ..call(Some("aws-a"), AT) };
    let other = Call { sub: Some("sub-2".into()), ..call(Some("aws-a"), AT) };
    let records = [record("one", "Performed", &[answered("a")])];
    assert_eq!(sorted(Range::default(), None, vec![refused], &records), ["both/one/request id/the results differ"]);
    assert_eq!(sorted(Range::default(), None, vec![other], &records), ["both/one/request id/the users differ"]);
}

#[test]
fn what_the_operator_concluded_is_compared_with_the_call() {
    let (differ, succeeded) = ("the results differ", "CloudTrail shows that it succeeded");
    let of = |evidence: &str, code: Option<&str>| {
        let fields = json!({"evidence": evidence, "sentAt": AT, "exceptionCode": code});
        attempt("l", fields)
    };
    for (effect, evidence, code, error, wanted) in [
        (Some(Effect::Performed), "UserStatusCheck", None, None, ""),
        (Some(Effect::Performed), "UserStatusCheck", None, Some("NotAuthorizedException"), differ),
        // Cognito's response was read, and the user's state decided.
        (
            Some(Effect::Performed),
            "UserStatusCheck",
            Some("InternalErrorException"),
            Some("InternalErrorException"),
            "",
        ),
        (Some(Effect::NotPerformed), "UserStatusCheck", None, None, differ),
        (Some(Effect::NotPerformed), "UserStatusCheck", None, Some("NotAuthorizedException"), ""),
        (Some(Effect::Unknown), "Inconclusive", None, None, succeeded),
        (Some(Effect::Unknown), "Inconclusive", None, Some("NotAuthorizedException"), ""),
        (Some(Effect::Unknown), "Inconclusive", Some("InternalErrorException"), None, differ),
        (None, "Inconclusive", None, None, succeeded),
    ] {
        let mut record = record("one", "Unknown", &[of(evidence, code)]);
        record.spec.effect = effect;
        let call = Call { error: error.map(str::to_owned), ..call(None, AT) };
        let pairs = sorted(Range::default(), None, vec![call], &[record]);
        assert_eq!(pairs, [format!("both/one/sub and time/{wanted}")], "{effect:?} {evidence} {code:?} {error:?}");
    }
}

#[test]
fn an_event_without_a_request_id_is_counted_once() {
    let event = |id: &str| Call { event_id: Some(id.into()), ..call(None, AT) };
    let mut sorter = Sorter::new(Range::default(), None);
    [event("e-1"), event("e-1"), event("e-2")].into_iter().for_each(|call| sorter.add_call(call));
    assert_eq!((sorter.repeated, sorter.finish().len()), (1, 2));
}

#[test]
fn range_and_pool_limit_what_is_compared() {
    let range = Range { since: Some("2030-01-01T10:00:01Z".parse().unwrap()), until: None };
    // The claim is before the range, and the call in it.
    let records = [record("one", "Performed", &[answered("a")]), record("two", "Performed", &[answered("b")])];
    let early = call(Some("aws-e"), "2030-01-01T09:00:00Z");
    let other = Call { pool: Some("eu-west-1_Other".into()), ..call(Some("aws-o"), AT) };
    let nowhere = Call { pool: None, ..call(Some("aws-p"), AT) };
    let calls = vec![call(Some("aws-a"), AT), early, other, nowhere];
    let wanted = ["both/one/request id/", "CloudTrail only///"];
    assert_eq!(sorted(range, Some("eu-west-1_Example01"), calls, &records), wanted);
}
