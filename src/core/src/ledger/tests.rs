//! The rules of the ledger: naming, reading, claiming and settling a record.

use cognito_reset_api::{CloseCause, Exception, Origin};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::*;

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
const WAITS: Waits = Waits { backoff: BACKOFF, in_flight: SignedDuration::from_secs(45) };
const BACKOFF: Backoff = Backoff { initial: SignedDuration::from_secs(10), max: SignedDuration::from_secs(600) };
const EFFECTS: [Effect; 3] = [Effect::NotPerformed, Effect::Unknown, Effect::Performed];
const EVIDENCE: [Evidence; 5] = [
    Evidence::CognitoResponse,
    Evidence::UserStatusCheck,
    Evidence::NeverSent,
    Evidence::Unreachable,
    Evidence::Inconclusive,
];

fn at(seconds: i64) -> Timestamp {
    NOW + SignedDuration::from_secs(seconds)
}

fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

fn identity_of(namespace: &str, name: &str, pool: &str, username: &str) -> Identity {
    Identity {
        action: Action::PasswordReset,
        request: RequestRef { namespace: namespace.into(), name: name.into() },
        user_pool_id: pool.into(),
        username: username.into(),
    }
}

fn identity() -> Identity {
    identity_of("team-a", "reset-alice", "eu-west-1_Example01", "alice")
}

fn attempt(id: &str) -> Attempt {
    let origin = Origin { grants: vec!["everyone".into()], ..Origin::new("operator-1", "uid") };
    Attempt { user_status_before: Some(UserStatus::Confirmed), ..Attempt::new(id.into(), origin, Time(at(-90))) }
}

fn ended(id: &str, evidence: Option<Evidence>, code: Option<&str>) -> Attempt {
    Attempt { settled_at: Some(Time(at(-60))), evidence, exception_code: code.map(str::to_owned), ..attempt(id) }
}

fn unreachable(id: &str) -> Attempt {
    ended(id, Some(Evidence::Unreachable), None)
}

fn throttled(id: &str) -> Attempt {
    ended(id, Some(Evidence::CognitoResponse), Some("TooManyRequestsException"))
}

fn record(effect: Option<Effect>, attempts: Vec<Attempt>) -> PasswordResetRecord {
    let mut record = claimed(None, &identity(), attempt("none"));
    record.metadata.resource_version = Some("7".into());
    record.spec.user_sub = Some("sub".into());
    record.spec.effect = effect;
    record.spec.attempts = attempts;
    record
}

fn ended_without_call() -> Closed {
    Closed {
        cause: CloseCause::Expired,
        exception_code: None,
        user_status: None,
        closed_at: Time(at(-30)),
        ungranted: false,
        origin: Origin::new("operator-1", "uid"),
    }
}

/// Returns the record with a closing, and everything else as it is.
fn with_closing(mut record: PasswordResetRecord) -> PasswordResetRecord {
    record.spec.closed = Some(ended_without_call());
    record
}

fn ids(record: &PasswordResetRecord) -> Vec<&str> {
    record.spec.attempts.iter().map(|attempt| attempt.id.as_str()).collect()
}

/// Reads a record that is seen for the first time.
fn seen(record: &PasswordResetRecord) -> Ledger {
    view(Some(record), &identity(), &WAITS, SignedDuration::ZERO, NOW)
}

fn retryable_from(ledger: &Ledger) -> Timestamp {
    let Ledger::Retryable { not_before, .. } = ledger else { panic!("{ledger:?}") };
    *not_before
}

#[test]
fn a_records_name_is_frozen() {
    // printf 'PasswordReset\nteam-a\nreset-alice\neu-west-1_Example01\nalice' | sha256sum
    let cases = [
        (identity(), "r2-786d07f3c3d98bc8b066ab98bac02846d33c65977bff4dfdf0f2fed3fae26cef"),
        (
            identity_of("team-a", "reset-alice", "eu-west-1_Example01", "Åsa.漢字"),
            "r2-87b1934107602c0c851f6cc97eacf54ddd14e814e0334336fc5abf05d9a32bc3",
        ),
        (
            identity_of("team-ar", "eset-alice", "eu-west-1_Example01", "alice"),
            "r2-32fb347fcf1db59f330fc35a0e20f8aefa616f4b1a3cf91523b1e7670ea52497",
        ),
        (
            identity_of("team-a", "reset-alicee", "u-west-1_Example01", "alice"),
            "r2-d6b96d2fec17c6e0d4f0d231898b868c5eeb6e06dc44bc945e8f43f3caaa932c",
        ),
        (
            identity_of("team-a", "reset-alice", "eu-west-1_Example0", "1alice"),
            "r2-f4b71167cb26a6a23fc3d1bb824b36bb2d1491ae5a8655b8fe1d4ab6796450a8",
        ),
    ];
    for (identity, name) in cases {
        assert_eq!(identity.record_name(), name, "{identity:?}");
    }
}

#[test]
fn another_requests_or_newer_operators_record_is_not_usable() {
    let mut newer = record(Some(Effect::NotPerformed), vec![unreachable("a")]);
    newer.spec.schema = SCHEMA + 1;
    let mut newer_and_open = record(None, vec![attempt("a")]);
    newer_and_open.spec.schema = SCHEMA + 1;
    let of = |identity: Identity| claimed(None, &identity, attempt("a"));
    let cases = [
        ("no attempt", record(None, vec![])),
        ("no attempt, and an effect", record(Some(Effect::NotPerformed), vec![])),
        ("closed with an open claim", with_closing(record(None, vec![attempt("a")]))),
        ("closed without effect or attempt", with_closing(record(None, vec![]))),
        ("closed though performed", with_closing(record(Some(Effect::Performed), vec![attempt("a")]))),
        ("closed though unknown", with_closing(record(Some(Effect::Unknown), vec![attempt("a")]))),
        ("newer", newer),
        ("not to be parsed", PasswordResetRecord::not_understood(ObjectMeta::default())),
        ("newer and open", newer_and_open),
        ("namespace", of(identity_of("team-b", "reset-alice", "eu-west-1_Example01", "alice"))),
        ("name", of(identity_of("team-a", "reset-bob", "eu-west-1_Example01", "alice"))),
        ("pool", of(identity_of("team-a", "reset-alice", "eu-west-1_Example02", "alice"))),
        ("user", of(identity_of("team-a", "reset-alice", "eu-west-1_Example01", "Alice"))),
    ];
    for (name, record) in cases {
        assert_eq!(seen(&record), Ledger::NotUsable, "{name}");
    }
    assert_eq!(view(None, &identity(), &WAITS, SignedDuration::ZERO, NOW), Ledger::Absent);
}

#[test]
fn call_may_be_in_flight_until_its_claim_was_seen_long_enough() {
    let open = record(None, vec![unreachable("a"), attempt("b")]);
    for (observed_for, in_flight_until) in [(0, Some(at(45))), (40, Some(at(5))), (45, None), (50, None)] {
        assert_eq!(
            view(Some(&open), &identity(), &WAITS, seconds(observed_for), NOW),
            Ledger::Open { in_flight_until, baseline: Baseline::Known(UserStatus::Confirmed) }
        );
    }
}

#[test]
fn last_attempt_is_observed_while_open_or_retryable() {
    let mut newer = record(None, vec![attempt("b")]);
    newer.spec.schema = SCHEMA + 1;
    for (what, record, wanted) in [
        ("open", record(None, vec![unreachable("a"), attempt("b")]), Some("b")),
        ("retryable", record(Some(Effect::NotPerformed), vec![attempt("a"), unreachable("b")]), Some("b")),
        ("refused", record(Some(Effect::NotPerformed), vec![ended("b", Some(Evidence::CognitoResponse), None)]), None),
        ("closed", with_closing(record(Some(Effect::NotPerformed), vec![unreachable("b")])), None),
        ("closed with an open claim", with_closing(record(None, vec![attempt("b")])), None),
        ("performed", record(Some(Effect::Performed), vec![attempt("b")]), None),
        ("unknown", record(Some(Effect::Unknown), vec![attempt("b")]), None),
        ("without attempts", record(None, vec![]), None),
        ("newer", newer, None),
        ("of another user", claimed(None, &identity_of("team-a", "reset-alice", "p", "bob"), attempt("b")), None),
    ] {
        let found = observed(&record, &identity()).map(|attempt| attempt.id.as_str());
        assert_eq!(found, wanted, "{what}");
        let waits = matches!(seen(&record), Ledger::Open { .. } | Ledger::Retryable { .. });
        assert_eq!(waits, wanted.is_some(), "{what}");
    }
}

#[test]
fn attempt_is_retryable_only_after_a_proven_transient_failure() {
    let mut cases = vec![
        (Some(Evidence::NeverSent), None, Some(RetryReason::ClaimTimedOut)),
        (Some(Evidence::Unreachable), None, Some(RetryReason::CognitoUnreachable)),
        (Some(Evidence::CognitoResponse), None, None),
        (Some(Evidence::CognitoResponse), Some("BrandNewException"), None),
        (Some(Evidence::CognitoResponse), Some("---"), None),
        (Some(Evidence::UserStatusCheck), None, None),
        (Some(Evidence::Inconclusive), None, None),
        (None, None, None),
    ];
    for exception in Exception::ALL {
        let reason = match Class::of(*exception) {
            Class::Throttled => Some(RetryReason::Throttled),
            Class::Blocked => Some(RetryReason::Cognito(*exception)),
            Class::Refused | Class::Ambiguous | Class::AmbiguousFailure => None,
        };
        cases.push((Some(Evidence::CognitoResponse), Some(exception.code()), reason));
        for evidence in [Some(Evidence::UserStatusCheck), Some(Evidence::Inconclusive), None] {
            cases.push((evidence, Some(exception.code()), None));
        }
    }
    for (evidence, code, reason) in cases {
        let ledger = seen(&record(Some(Effect::NotPerformed), vec![ended("a", evidence, code)]));
        let wanted = reason.map_or(Ledger::Settled(Effect::NotPerformed), |reason| Ledger::Retryable {
            not_before: retryable_from(&ledger),
            reason,
            not_reset_before: evidence == Some(Evidence::CognitoResponse),
        });
        assert_eq!(ledger, wanted, "{evidence:?} {code:?}");
    }
}

#[test]
fn performed_and_unknown_are_final_with_any_evidence() {
    let codes = Exception::ALL.iter().map(|exception| Some(exception.code())).chain([None, Some("BrandNew")]);
    for code in codes {
        for evidence in EVIDENCE.map(Some).into_iter().chain([None]) {
            for effect in [Effect::Unknown, Effect::Performed] {
                let record = record(Some(effect), vec![ended("a", evidence, code)]);
                assert_eq!(seen(&record), Ledger::Settled(effect), "{evidence:?} {code:?}");
            }
        }
    }
}

#[test]
fn a_first_claim_makes_a_new_record() {
    let record = claimed(None, &identity(), attempt("a"));
    assert_eq!(record.name_any(), identity().record_name());
    assert_eq!(record.metadata.resource_version, None);
    assert_eq!(
        record.spec,
        RecordFields {
            schema: SCHEMA,
            action: Action::PasswordReset,
            request: identity().request,
            user_pool_id: "eu-west-1_Example01".into(),
            username: "alice".into(),
            user_sub: None,
            not_after: None,
            effect: None,
            attempts: vec![attempt("a")],
            closed: None,
            omitted_attempts: 0,
        }
    );
}

#[test]
fn another_claim_opens_the_record_again_and_keeps_what_it_knows() {
    let before = record(Some(Effect::NotPerformed), vec![unreachable("a"), unreachable("b")]);
    let after = claimed(Some(&before), &identity(), attempt("c"));
    let mut wanted = before.clone();
    wanted.spec.effect = None;
    wanted.spec.attempts.push(attempt("c"));
    assert_eq!(after, wanted);
    assert_eq!(attempts(&after), 3);
}

#[test]
fn a_closed_record_is_settled_and_keeps_what_it_knows() {
    let tried = || record(Some(Effect::NotPerformed), vec![unreachable("a"), throttled("b")]);
    for (what, existing) in [("unclaimed", None), ("retryable", Some(tried()))] {
        let after = closed(existing.as_ref(), &identity(), ended_without_call());
        let mut wanted = existing.unwrap_or_else(|| empty(&identity()));
        wanted.spec.effect = Some(Effect::NotPerformed);
        wanted.spec.closed = Some(ended_without_call());
        assert_eq!(after, wanted, "{what}");
        assert_eq!(seen(&after), Ledger::Settled(Effect::NotPerformed), "{what}");
        assert_eq!(attempts(&after), if what == "retryable" { 2 } else { 0 }, "{what}");
    }
}

#[test]
fn a_record_has_the_time_of_its_closing_or_last_attempt() {
    let settled = record(Some(Effect::NotPerformed), vec![attempt("a"), unreachable("b")]);
    for (what, record, wanted) in [
        ("open", record(None, vec![unreachable("a"), attempt("b")]), Some(at(-90))),
        ("settled", settled.clone(), Some(at(-60))),
        ("closed", with_closing(settled), Some(at(-30))),
        ("closed before an attempt", closed(None, &identity(), ended_without_call()), Some(at(-30))),
        ("neither", record(Some(Effect::NotPerformed), vec![]), None),
    ] {
        assert_eq!(changed_at(&record), wanted, "{what}");
    }
}

#[test]
fn a_throttled_attempt_is_kept_and_counted() {
    let before = record(Some(Effect::NotPerformed), vec![unreachable("a"), throttled("b")]);
    assert_eq!(attempts(&before), 2);
    let after = claimed(Some(&before), &identity(), attempt("c"));
    assert_eq!(ids(&after), ["a", "b", "c"]);
    assert_eq!((attempts(&after), after.spec.omitted_attempts), (3, 0));
}

#[test]
fn a_retry_knows_that_the_user_did_not_have_to_reset() {
    use UserStatus::{Confirmed, ForceChangePassword, ResetRequired, Unknown};
    let seeing = |before, attempt: Attempt| Attempt { user_status_before: before, ..attempt };
    let denied = |id| ended(id, Some(Evidence::CognitoResponse), Some("AccessDeniedException"));
    let never_sent = |id| ended(id, Some(Evidence::NeverSent), None);
    for (what, attempts, wanted) in [
        ("throttled", vec![seeing(Some(Confirmed), throttled("a"))], true),
        ("blocked", vec![seeing(Some(ForceChangePassword), denied("a"))], true),
        ("earlier", vec![seeing(Some(Confirmed), throttled("a")), seeing(None, denied("b"))], true),
        ("it had to reset", vec![seeing(Some(ResetRequired), throttled("a"))], false),
        ("not known", vec![seeing(Some(Unknown), throttled("a"))], false),
        ("not read", vec![seeing(None, throttled("a"))], false),
        // What the operator itself observed is no response that could be wrong.
        ("no connection", vec![unreachable("a")], false),
        ("never sent", vec![never_sent("a")], false),
    ] {
        let ledger = seen(&record(Some(Effect::NotPerformed), attempts.clone()));
        let Ledger::Retryable { not_reset_before, .. } = ledger else { panic!("{what}: {ledger:?}") };
        assert_eq!(not_reset_before, wanted, "{what}");
        for (before, contradicts) in [(Some(ResetRequired), wanted), (Some(Confirmed), false), (None, false)] {
            let next = attempts.iter().cloned().chain([seeing(before, attempt("z"))]).collect();
            assert_eq!(is_contradicted(&record(Some(Effect::Unknown), next)), contradicts, "{what}, then {before:?}");
        }
    }
    assert!(!is_contradicted(&record(None, vec![])));
}

#[test]
fn an_attempt_that_was_not_sent_has_no_time_of_sending() {
    let sent = Attempt { sent_at: Some(Time(at(-70))), ..attempt("a") };
    for (evidence, kept) in [
        (Evidence::NeverSent, false),
        (Evidence::Unreachable, false),
        (Evidence::CognitoResponse, true),
        (Evidence::UserStatusCheck, true),
        (Evidence::Inconclusive, true),
    ] {
        for sent_at in [None, Some(at(-65))] {
            let finding = Finding {
                attempt_id: "a".into(),
                settlement: Settlement { effect: Effect::NotPerformed, evidence },
                cause: None,
                code: None,
                sent_at,
                aws_request_id: None,
                user_status_after: None,
            };
            let mut settled = sent.clone();
            finding.put_into(&mut settled);
            assert_eq!(settled.sent_at.is_some(), kept, "{evidence:?}");
        }
    }
}

#[test]
fn a_record_lists_the_last_sixteen_attempts_and_counts_the_rest() {
    let mut record = claimed(None, &identity(), unreachable("0"));
    for number in 1..40 {
        record = claimed(Some(&record), &identity(), unreachable(&number.to_string()));
        assert_eq!(attempts(&record), number + 1);
        assert_eq!(record.spec.omitted_attempts, (number - 15).max(0));
    }
    let wanted: Vec<_> = (24..40).map(|number| number.to_string()).collect();
    assert_eq!(ids(&record), wanted);
    record.spec.omitted_attempts = i64::MAX;
    assert_eq!(attempts(&record), i64::MAX);
    assert_eq!(claimed(Some(&record), &identity(), attempt("a")).spec.omitted_attempts, i64::MAX);
}

#[test]
fn a_response_that_the_users_state_may_contradict_is_kept() {
    let mut record = claimed(None, &identity(), unreachable("0"));
    for id in ["told", "again"] {
        record = claimed(Some(&record), &identity(), throttled(id));
    }
    for number in 1..40 {
        record = claimed(Some(&record), &identity(), unreachable(&number.to_string()));
    }
    let wanted: Vec<_> = std::iter::once("told".to_owned()).chain((25..40).map(|number| number.to_string())).collect();
    assert_eq!(ids(&record), wanted);
    assert_eq!(attempts(&record), 42);
    let last = Attempt { user_status_before: Some(UserStatus::ResetRequired), ..attempt("last") };
    assert!(is_contradicted(&claimed(Some(&record), &identity(), last)));
}

#[test]
fn an_effect_is_written_only_where_knowledge_grows() {
    const WRITTEN: &[(Option<Effect>, Effect)] = &[
        (None, Effect::NotPerformed),
        (None, Effect::Unknown),
        (None, Effect::Performed),
        (Some(Effect::Unknown), Effect::Performed),
    ];
    for before in EFFECTS.map(Some).into_iter().chain([None]) {
        for effect in EFFECTS {
            let finding = |attempt_id: &str| Finding {
                attempt_id: attempt_id.into(),
                settlement: Settlement { effect, evidence: Evidence::CognitoResponse },
                cause: None,
                code: Some("LimitExceededException".into()),
                sent_at: None,
                aws_request_id: Some("aws".into()),
                user_status_after: Some(UserStatus::ResetRequired),
            };
            let stored = record(before, vec![unreachable("a"), attempt("b")]);
            let mut written = stored.clone();
            written.spec.effect = Some(effect);
            written.spec.attempts[1] = Attempt {
                settled_at: Some(Time(NOW)),
                evidence: Some(Evidence::CognitoResponse),
                cause: None,
                exception_code: Some("LimitExceededException".into()),
                aws_request_id: Some("aws".into()),
                user_status_after: Some(UserStatus::ResetRequired),
                ..attempt("b")
            };
            let wanted = match WRITTEN.contains(&(before, effect)) {
                true => Settling::Write(Box::new(written)),
                false => Settling::Unchanged,
            };
            assert_eq!(settled(&stored, &finding("b"), NOW), wanted, "{before:?} {effect:?}");
            let mut newer = stored.clone();
            newer.spec.schema = SCHEMA + 1;
            assert_eq!(settled(&newer, &finding("b"), NOW), Settling::Unchanged, "newer: {before:?} {effect:?}");
            for other in ["a", "c"] {
                assert_eq!(
                    settled(&stored, &finding(other), NOW),
                    Settling::Unchanged,
                    "{before:?} {effect:?} {other}"
                );
            }
            assert_eq!(settled(&record(before, vec![]), &finding("b"), NOW), Settling::Unchanged);
            assert_eq!(settled(&with_closing(stored.clone()), &finding("b"), NOW), Settling::Unchanged);
        }
    }
}

#[test]
fn stored_claim_is_ours_only_while_open_and_with_our_id() {
    let wanted = record(None, vec![attempt("a")]);
    assert!(is_same_claim(&wanted, &wanted));
    let mut newer = wanted.clone();
    newer.spec.schema = SCHEMA + 1;
    let strange = PasswordResetRecord::not_understood(ObjectMeta::default());
    let another = record(None, vec![attempt("b")]);
    let settled = record(Some(Effect::NotPerformed), vec![attempt("a")]);
    let closed = with_closing(wanted.clone());
    for (what, stored) in
        [("newer", newer), ("strange", strange), ("another", another), ("settled", settled), ("closed", closed)]
    {
        assert!(!is_same_claim(&stored, &wanted), "{what}");
    }
}

#[test]
fn an_effect_forgets_what_was_known_less_well() {
    let sent_at = Some(Time(at(-70)));
    let unsure = Attempt {
        user_status_after: Some(UserStatus::Confirmed),
        sent_at: sent_at.clone(),
        ..ended("a", None, Some("BrandNew"))
    };
    let finding = Finding {
        attempt_id: "a".into(),
        settlement: Settlement { effect: Effect::Performed, evidence: Evidence::CognitoResponse },
        cause: None,
        code: None,
        sent_at: None,
        aws_request_id: None,
        user_status_after: None,
    };
    let Settling::Write(written) = settled(&record(Some(Effect::Unknown), vec![unsure]), &finding, NOW) else {
        panic!("the record stays as it is");
    };
    let wanted = Attempt { sent_at, settled_at: Some(Time(NOW)), ..ended("a", Some(Evidence::CognitoResponse), None) };
    assert_eq!(written.spec.attempts, [wanted]);
}

#[test]
fn delay_doubles_to_a_maximum_and_is_spread_over_its_upper_half() {
    let cases = [(0, 10), (1, 20), (2, 40), (5, 320), (6, 600), (7, 600), (63, 600), (usize::MAX, 600)];
    for (number, full) in cases {
        let delays: Vec<_> = (0..500).map(|id| BACKOFF.after(number, &id.to_string())).collect();
        let (shortest, longest) = (delays.iter().min().unwrap(), delays.iter().max().unwrap());
        assert!(*shortest >= seconds(full) / 2 && *longest <= seconds(full), "{number}: {shortest}..{longest}");
        assert!(*shortest < seconds(full) * 51 / 100 && *longest > seconds(full) * 99 / 100, "{number}");
    }
    assert_eq!(BACKOFF.after(3, "a"), BACKOFF.after(3, "a"));
}

#[test]
fn the_time_between_attempts_never_overflows() {
    let day = seconds(86_400);
    for (initial, max) in [(day, SignedDuration::MAX), (SignedDuration::MAX, SignedDuration::MAX)] {
        for id in 0..500 {
            assert!(Backoff { initial, max }.after(usize::MAX, &id.to_string()) >= day);
        }
    }
    let endless = Backoff { initial: SignedDuration::MAX, max: SignedDuration::MAX };
    let unreached = record(Some(Effect::NotPerformed), vec![unreachable("a")]);
    let waits = Waits { backoff: endless, in_flight: SignedDuration::MAX };
    let ledger = view(Some(&unreached), &identity(), &waits, SignedDuration::ZERO, NOW);
    assert_eq!(retryable_from(&ledger), Timestamp::MAX);
}

#[test]
fn next_attempts_delay_depends_on_its_predecessors() {
    let never_sent = |id: &str| ended(id, Some(Evidence::NeverSent), None);
    let cases = [
        ("the first", vec![unreachable("a")], 0, 10),
        ("the third", vec![unreachable("a"), unreachable("b"), unreachable("c")], 0, 40),
        ("with omitted ones", vec![unreachable("a")], 3, 80),
        ("throttled: the lane slows down", vec![unreachable("a"), unreachable("b"), throttled("c")], 9, 10),
        ("after throttled ones, which are not its kind", vec![throttled("a"), throttled("b"), unreachable("c")], 0, 10),
        (
            "never sent: the API server may be in trouble",
            vec![unreachable("a"), never_sent("b"), never_sent("c")],
            0,
            40,
        ),
    ];
    for (name, attempts, omitted, full) in cases {
        let mut record = record(Some(Effect::NotPerformed), attempts);
        record.spec.omitted_attempts = omitted;
        let delay = retryable_from(&seen(&record)).duration_since(at(-60));
        assert!(delay >= seconds(full) / 2 && delay <= seconds(full), "{name}: {delay}");
    }
}

#[test]
fn next_attempt_is_at_most_one_delay_after_the_last_was_seen() {
    // A clock that was an hour fast has left its time in the record. The operator does not wait for
    // that hour.
    for settled_at in [Some(at(1)), Some(at(3600)), Some(at(86_400 * 365)), Some(Timestamp::MAX), None] {
        let attempt = Attempt { settled_at: settled_at.map(Time), ..unreachable("a") };
        let record = record(Some(Effect::NotPerformed), vec![attempt]);
        let after = |observed_for| {
            let ledger = view(Some(&record), &identity(), &WAITS, seconds(observed_for), NOW);
            retryable_from(&ledger).duration_since(NOW)
        };
        let delay = after(0);
        assert!(delay >= seconds(5) && delay <= seconds(10), "{settled_at:?}: {delay}");
        assert_eq!(after(4), delay - seconds(4), "{settled_at:?}");
        assert_eq!(after(10), SignedDuration::ZERO, "{settled_at:?}");
    }
}

#[test]
fn record_remembers_the_latest_expiry_in_whole_seconds() {
    let second = Some(at(60));
    let part = Timestamp::new(at(60).as_second(), 1).ok();
    for (name, before, expires, after) in [
        ("nothing", None, None, None),
        ("the first", None, second, second),
        ("a later one", second, Some(at(61)), Some(at(61))),
        ("an earlier one", second, Some(at(59)), second),
        ("none any more", second, None, second),
        ("a part of a second", second, part, Some(at(61))),
        ("the last moment that there is", second, Some(Timestamp::MAX), Some(Timestamp::MAX)),
    ] {
        let mut known = record(Some(Effect::Performed), vec![attempt("a")]);
        known.spec.not_after = before.map(Time);
        assert_eq!(remembered(&remembering(known, expires)), after, "{name}");
    }
}
