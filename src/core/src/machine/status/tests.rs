//! Given this record, or this reason to wait, the request's status says that.

use cognito_reset_api::{Exception, FailureCause, Origin, conditions::ConditionType as Type};
use serde_json::json;

use super::*;
use crate::ledger::{Finding, Identity, Settling, claimed, settled};

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
const USER: &str = "alice@example.com";
const POOL: &str = "eu-west-1_Example01";
const EFFECTS: [Effect; 3] = [Effect::NotPerformed, Effect::Unknown, Effect::Performed];
const EVIDENCE: [Evidence; 5] = [
    Evidence::CognitoResponse,
    Evidence::UserStatusCheck,
    Evidence::NeverSent,
    Evidence::Unreachable,
    Evidence::Inconclusive,
];
const STATES: [UserStatus; 8] = [
    UserStatus::Unconfirmed,
    UserStatus::Confirmed,
    UserStatus::Archived,
    UserStatus::Compromised,
    UserStatus::Unknown,
    UserStatus::ResetRequired,
    UserStatus::ForceChangePassword,
    UserStatus::ExternalProvider,
];

fn at(seconds: i64) -> Timestamp {
    NOW + jiff::SignedDuration::from_secs(seconds)
}

fn request() -> PasswordResetRequest {
    let mut request = PasswordResetRequest::new(
        "reset-alice",
        serde_json::from_value(json!({ "userPoolID": POOL, "username": USER })).unwrap(),
    );
    request.metadata.namespace = Some("support".into());
    request.metadata.uid = Some("uid".into());
    request.metadata.generation = Some(2);
    request
}

fn attempt(id: &str) -> Attempt {
    Attempt {
        user_status_before: Some(UserStatus::Confirmed),
        ..Attempt::new(id.into(), Origin::new("operator-1", "uid"), Time(at(-90)))
    }
}

fn ended_as(evidence: Option<Evidence>, code: Option<&str>) -> Attempt {
    Attempt { settled_at: Some(Time(at(-60))), evidence, exception_code: code.map(str::to_owned), ..attempt("a") }
}

fn record(effect: Option<Effect>, attempt: Attempt) -> PasswordResetRecord {
    let mut record = claimed(None, &Identity::of_request(&request()), attempt);
    record.spec.effect = effect;
    record
}

/// Returns the record, closed for this cause and with this exception code.
fn closed_as(record: Option<&PasswordResetRecord>, cause: CloseCause, code: Option<&str>) -> PasswordResetRecord {
    let closed = Closed {
        cause,
        exception_code: code.map(str::to_owned),
        user_status: None,
        closed_at: Time(at(-60)),
        ungranted: false,
        origin: Origin::new("operator-1", "uid"),
    };
    ledger::closed(record, &Identity::of_request(&request()), closed)
}

fn update_of(effect: Effect, attempt: Attempt, uid: &str) -> StatusUpdate {
    ended(Some(&record(Some(effect), attempt)), Some(uid))
}

fn gist(update: &StatusUpdate) -> (Outcome, &'static str, Truth) {
    (update.outcome, update.reason.as_str(), update.invalidated)
}

/// The codes of a class, the unrecognized one among its own.
fn codes(class: Class) -> Vec<&'static str> {
    let known = Exception::ALL.iter().filter(|exception| Class::of(**exception) == class).map(|known| known.code());
    known.chain((class == Class::AmbiguousFailure).then_some("BrandNewException")).collect()
}

fn reason_of(code: &'static str) -> &'static str {
    if code == "BrandNewException" { "UnrecognizedError" } else { code }
}

#[test]
fn a_settled_record_gives_its_request_its_outcome() {
    use {Effect as E, Evidence as Ev, Outcome::*, Truth as T};
    let mut cases = vec![
        (E::Performed, Ev::CognitoResponse, None, (Succeeded, "ResetAccepted", T::True)),
        (E::Performed, Ev::UserStatusCheck, None, (Succeeded, "ConfirmedByProbe", T::True)),
        (E::Unknown, Ev::Inconclusive, None, (Unknown, "OutcomeUnknown", T::Unknown)),
    ];
    for code in codes(Class::Refused) {
        cases.push((E::NotPerformed, Ev::CognitoResponse, Some(code), (Failed, code, T::False)));
    }
    for code in [Class::Refused, Class::Throttled, Class::Blocked].into_iter().flat_map(codes) {
        cases.push((E::Performed, Ev::UserStatusCheck, Some(code), (Failed, code, T::True)));
    }
    for code in codes(Class::Ambiguous) {
        cases.push((E::Performed, Ev::UserStatusCheck, Some(code), (Succeeded, "ConfirmedByProbe", T::True)));
        cases.push((E::Unknown, Ev::Inconclusive, Some(code), (Unknown, code, T::Unknown)));
    }
    for code in codes(Class::AmbiguousFailure) {
        cases.push((E::Performed, Ev::UserStatusCheck, Some(code), (Failed, reason_of(code), T::True)));
        cases.push((E::Unknown, Ev::Inconclusive, Some(code), (Unknown, reason_of(code), T::Unknown)));
    }
    for (effect, evidence, code, wanted) in cases {
        let update = update_of(effect, ended_as(Some(evidence), code), "uid");
        assert_eq!(gist(&update), wanted, "{effect:?} {evidence:?} {code:?}");
    }
}

#[test]
fn an_unknown_outcome_is_invalidated_only_if_it_was_seen() {
    for code in [None, Some("InternalErrorException"), Some("BrandNewException")] {
        for after in STATES.map(Some).into_iter().chain([None]) {
            let attempt = Attempt { user_status_after: after, ..ended_as(Some(Evidence::Inconclusive), code) };
            let update = update_of(Effect::Unknown, attempt, "uid");
            let seen = after == Some(UserStatus::ResetRequired);
            assert_eq!(update.invalidated, if seen { Truth::True } else { Truth::Unknown }, "{after:?} {code:?}");
            assert_eq!(update.message.contains("the user has to reset"), seen, "{}", update.message);
        }
    }
}

#[test]
fn a_later_request_of_the_name_shows_the_earlier_outcome() {
    use {Effect as E, Evidence as Ev, Outcome::*, Truth as T};
    let performed = "nothing was sent now: an earlier request of this name reset the password at 2027-01-15T07:59:00Z";
    let recorded = "nothing was sent for this request: an earlier request of this name ended at 2027-01-15T07:59:00Z";
    let cases = [
        (E::Performed, Ev::CognitoResponse, None, (Succeeded, "AlreadyPerformed", T::True), performed),
        (E::Performed, Ev::UserStatusCheck, None, (Succeeded, "AlreadyPerformed", T::True), performed),
        (
            E::Performed,
            Ev::UserStatusCheck,
            Some("InternalErrorException"),
            (Succeeded, "AlreadyPerformed", T::True),
            performed,
        ),
        (
            E::Performed,
            Ev::UserStatusCheck,
            Some("LimitExceededException"),
            (Failed, "LimitExceededException", T::True),
            recorded,
        ),
        (
            E::NotPerformed,
            Ev::CognitoResponse,
            Some("UserNotFoundException"),
            (Failed, "UserNotFoundException", T::False),
            recorded,
        ),
        (E::Unknown, Ev::Inconclusive, None, (Unknown, "OutcomeUnknown", T::Unknown), recorded),
    ];
    for (effect, evidence, code, wanted, message) in cases {
        let attempt = ended_as(Some(evidence), code);
        for uid in [Some("another"), Some(""), None] {
            let update = ended(Some(&record(Some(effect), attempt.clone())), uid);
            assert_eq!(gist(&update), wanted, "{effect:?} {code:?}");
            assert!(update.message.starts_with(message), "{}", update.message);
            assert!(update.message.contains("use a new name"), "{}", update.message);
        }
        let own = update_of(effect, attempt.clone(), "uid").message;
        let other = update_of(effect, attempt, "another").message;
        assert_eq!(other.ends_with(&own), message == recorded, "{other}");
    }
}

#[test]
fn a_status_says_no_more_than_the_record_knows() {
    let codes: Vec<_> = Exception::ALL.iter().map(|known| known.code()).chain(["BrandNewException", "---"]).collect();
    for effect in EFFECTS {
        for evidence in EVIDENCE.map(Some).into_iter().chain([None]) {
            for code in codes.iter().copied().map(Some).chain([None]) {
                for after in [None, Some(UserStatus::Confirmed), Some(UserStatus::ResetRequired)] {
                    for uid in ["uid", "another"] {
                        let attempt = Attempt { user_status_after: after, ..ended_as(evidence, code) };
                        let update = update_of(effect, attempt, uid);
                        let case = format!("{effect:?} {evidence:?} {code:?} {after:?} {update:?}");
                        match effect {
                            Effect::NotPerformed => {
                                let wanted = (Outcome::Failed, Truth::False);
                                assert_eq!((update.outcome, update.invalidated), wanted, "{case}");
                            }
                            Effect::Unknown => assert_eq!(update.outcome, Outcome::Unknown, "{case}"),
                            Effect::Performed => assert_eq!(update.invalidated, Truth::True, "{case}"),
                        }
                        assert!(!update.message.contains(USER) && !update.message.contains(POOL), "{case}");
                        assert!(update.message.len() <= 1024, "{case}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_request_that_waits_says_what_ends_the_wait() {
    for (reason, says) in [
        (WaitReason::Suspended, "spec.suspend"),
        (WaitReason::NoMatchingGrant, "ask a platform administrator"),
        (WaitReason::ConflictingGrants, "roleARN, externalID or sessionTags"),
        (WaitReason::GrantsNotConfirmed, "could not confirm recently"),
        (WaitReason::UserPoolHeld, "UserPoolHold"),
        (WaitReason::GrantSuspended, "suspended"),
        (WaitReason::NotAfterRequired, "notAfter"),
        (WaitReason::AwaitingApproval, "spec.approved"),
        (WaitReason::RequesterUnverified, "stamp-requester"),
        (WaitReason::ApproverUnverified, "stamp-requester"),
        (WaitReason::RequesterNotIndependent, "as another user"),
        (WaitReason::ApproverNotIndependent, "another user approve"),
        (WaitReason::SelfApproval, "another user"),
        (WaitReason::SelfApproval, "approvalIdentity"),
        (WaitReason::PendingLimitReached, "maxPendingPerNamespace"),
        (WaitReason::RateLimited, "--rate"),
        (WaitReason::Throttled, "throttles"),
        (WaitReason::DeliveryFailing, "check how the pool delivers"),
        (WaitReason::AwsCredentialsUnavailable, "credentials"),
        (WaitReason::UserStateUnreadable, "cannot be read"),
        (WaitReason::AwaitingPriorAttempt, "waiting for an earlier attempt"),
        (WaitReason::CognitoUnreachable, "cannot connect"),
        (WaitReason::RegionNotServed, "another Region"),
        (WaitReason::ClaimTimedOut, "claim"),
        (WaitReason::ClockSkew, "check both clocks"),
        (WaitReason::RecordNotUsable, "upgrade it"),
    ] {
        let update = waiting(reason);
        assert!(update.message.contains(says), "{reason}: {}", update.message);
        assert_eq!(gist(&update), (Outcome::Pending, reason.as_str(), Truth::Unknown));
    }
}

#[test]
fn held_request_names_the_hold_and_its_reason() {
    let cause = HoldCause::Matches("é".repeat(300));
    let longest = held(&HeldBy { hold: "a".repeat(253), cause, others: usize::MAX });
    assert!(longest.message.chars().count() <= 1024 && longest.message.ends_with(&format!(": {}", "é".repeat(256))));
    for (cause, others, says) in [
        (HoldCause::Matches("incident 7".into()), 0, "while the UserPoolHold stop exists; its reason: incident 7"),
        (
            HoldCause::Matches("incident 7".into()),
            2,
            "while the UserPoolHold stop and 2 more exist; its reason: incident 7",
        ),
        (HoldCause::HoldUnreadable, 0, "cannot parse the UserPoolHold stop, and holds every request that it may match"),
        (HoldCause::UserUnreadable, 0, "the UserPoolHold stop names users, and this user cannot be read"),
        (HoldCause::UserUnreadable, 1, "the UserPoolHold stop and 1 more name users, and this user cannot be read"),
    ] {
        let update = held(&HeldBy { hold: "stop".into(), cause, others });
        assert!(update.message.contains(says), "{}", update.message);
        assert_eq!(gist(&update), (Outcome::Pending, "UserPoolHeld", Truth::Unknown));
    }
}

#[test]
fn a_wait_names_the_missing_part_if_it_is_known() {
    for cause in FailureCause::ALL {
        let update = unreachable(cause);
        assert_eq!(gist(&update), (Outcome::Pending, "CognitoUnreachable", Truth::Unknown));
        let wanted = match cause {
            FailureCause::Request => {
                "the request to Cognito could not be built; nothing was sent, retrying; see the operator's log"
                    .to_owned()
            }
            cause => format!(
                "cannot connect to Cognito ({}); nothing was sent, retrying; check the NetworkPolicies, the DNS and the proxy of the operator's Pod",
                cause.in_words()
            ),
        };
        assert_eq!(update.message, wanted);
    }
    let update = waiting_for(WaitReason::AwsCredentialsUnavailable, "no response in time");
    assert!(update.message.contains("could not be assumed (no response in time); retrying"), "{}", update.message);
}

#[test]
fn an_end_by_a_failed_read_says_that_nothing_was_sent() {
    let unknown = "an exception that this operator does not know";
    for (code, reason, named) in [
        (Some("UserNotFoundException"), "UserNotFoundException", "UserNotFoundException"),
        (Some("BrandNewException"), "UnrecognizedError", unknown),
        (None, "UnrecognizedError", unknown),
    ] {
        let update = ended(Some(&closed_as(None, CloseCause::UserReadRefused, code)), Some("uid"));
        assert_eq!(gist(&update), (Outcome::Failed, reason, Truth::False));
        assert_eq!(update.message, format!("Cognito returned {named} for AdminGetUser; nothing was sent"));
    }
}

#[test]
fn a_refused_write_names_its_consequence_and_the_refuser() {
    let policy = Refuser::ValidatingPolicy("owner-label".into());
    let by = "was rejected by the ValidatingAdmissionPolicy owner-label, which has to accept the operator's writes";
    let accepted = update_of(Effect::Performed, ended_as(Some(Evidence::CognitoResponse), None), "uid");
    let closing = RecordWrite::Close;
    for (write, invalidated, parts) in [
        (RecordWrite::Claim, Truth::Unknown, vec!["nothing was sent", "until the deadline"]),
        (RecordWrite::EarlierEffects, Truth::Unknown, vec!["nothing was sent", "earlier requests"]),
        (closing(CloseCause::DeadlineExceeded), Truth::Unknown, vec!["deadlineSeconds", "nothing is sent", "Pending"]),
        (closing(CloseCause::Expired), Truth::Unknown, vec!["notAfter has passed", "nothing is sent", "Pending"]),
        (closing(CloseCause::AlreadyResetRequired), Truth::Unknown, vec!["already has to reset", "nothing is sent"]),
        (closing(CloseCause::UserReadRefused), Truth::Unknown, vec!["rejects AdminGetUser", "nothing is sent"]),
        (closing(CloseCause::UserChanged), Truth::Unknown, vec!["not the one whom the status showed", "Pending"]),
        (RecordWrite::ExtendExpiry, Truth::True, vec!["password invalidated", "notAfter", "Pending"]),
    ] {
        let update = refused(write, Some(&policy), &accepted);
        assert_eq!(gist(&update), (Outcome::Pending, "WriteRefused", invalidated), "{write:?}");
        assert!(parts.iter().all(|part| update.message.contains(part)), "{}", update.message);
        assert!(update.message.contains(by), "{}", update.message);
    }
    let failing = refused(RecordWrite::EarlierEffects, None, &accepted).message;
    assert!(failing.contains("the write of the results of earlier requests into their records failed"), "{failing}");
}

#[test]
fn an_effect_that_is_not_stored_is_shown_as_afterwards() {
    use {Effect::*, Evidence::*, UserStatus::ResetRequired};
    let quota = Refuser::Quota("few".into());
    let failing = "The write of the record that says so failed";
    let refused = "The write of the record that says so was rejected by the ResourceQuota few, which has to accept the operator's writes";
    let open = ended_as(None, None);
    for (effect, evidence, code, after) in [
        (Performed, CognitoResponse, None, None),
        (Performed, UserStatusCheck, None, Some(ResetRequired)),
        (Performed, UserStatusCheck, Some("InternalErrorException"), Some(ResetRequired)),
        (Performed, UserStatusCheck, Some("CodeDeliveryFailureException"), Some(ResetRequired)),
        (NotPerformed, NeverSent, None, None),
        (NotPerformed, Unreachable, None, None),
        (NotPerformed, CognitoResponse, Some("TooManyRequestsException"), None),
        (NotPerformed, CognitoResponse, Some("AccessDeniedException"), None),
        (NotPerformed, CognitoResponse, Some("UserNotFoundException"), None),
        (Unknown, Inconclusive, None, None),
        (Unknown, Inconclusive, None, Some(ResetRequired)),
        (Unknown, Inconclusive, Some("BrandNewException"), Some(UserStatus::Confirmed)),
    ] {
        let finding = Finding {
            attempt_id: open.id.clone(),
            settlement: crate::ledger::Settlement { effect, evidence },
            cause: None,
            code: code.map(str::to_owned),
            sent_at: None,
            aws_request_id: None,
            user_status_after: after,
        };
        let Settling::Write(stored) = ledger::settled(&record(None, open.clone()), &finding, NOW) else {
            panic!("{effect:?} {evidence:?} is not written");
        };
        let afterwards = ended(Some(&stored), Some("uid"));
        let is_retried = ledger::last(&stored).and_then(ledger::retry_reason).is_some();
        for (refuser, ours, hindrance) in
            [(Some(&quota), true, refused), (None, true, failing), (Some(&quota), false, refused)]
        {
            let update = held_up(&open, &finding, refuser, ours);
            // That nothing happened is for the record alone to say.
            let invalidated = if afterwards.invalidated == Truth::True { Truth::True } else { Truth::Unknown };
            assert_eq!(gist(&update), (Outcome::Pending, "WriteRefused", invalidated), "{effect:?} {evidence:?}");
            let known = match (is_retried, code) {
                (false, _) => afterwards.message.clone(),
                (true, None) => "nothing was sent".into(),
                (true, Some(code)) => format!("Cognito returned {code}; nothing was changed"),
            };
            let of_whom = if ours { "" } else { "for an earlier request of this name: " };
            assert!(update.message.starts_with(&format!("{of_whom}{known}. {hindrance}; ")), "{}", update.message);
        }
    }
}

#[test]
fn a_message_names_only_a_response_that_was_read() {
    let unknown = update_of(Effect::Unknown, ended_as(Some(Evidence::Inconclusive), None), "uid");
    assert_eq!(
        unknown.message,
        "no response from Cognito was received; it is unknown whether the reset was made; nothing more will be sent"
    );
    let seen = Attempt {
        user_status_after: Some(UserStatus::ResetRequired),
        ..ended_as(Some(Evidence::Inconclusive), Some("BrandNewException"))
    };
    assert_eq!(
        update_of(Effect::Unknown, seen, "uid").message,
        "Cognito returned BrandNewException; the user has to reset the password now, but it is unknown whether this request caused that; nothing more will be sent"
    );
    assert_eq!(
        update_of(Effect::Performed, ended_as(Some(Evidence::UserStatusCheck), None), "uid").message,
        "password invalidated: no clear response from Cognito was received, but the user has to reset the password now and did not before the call"
    );
    assert_eq!(
        update_of(Effect::Performed, ended_as(Some(Evidence::CognitoResponse), None), "uid").message,
        "password invalidated; Cognito accepted a code for sending, but its delivery is unconfirmed"
    );
    let refused = update_of(
        Effect::NotPerformed,
        ended_as(Some(Evidence::CognitoResponse), Some("UserNotFoundException")),
        "uid",
    );
    assert_eq!(refused.message, "Cognito rejected the reset with UserNotFoundException; nothing was changed");
    let invented =
        update_of(Effect::Unknown, ended_as(Some(Evidence::Inconclusive), Some("Evil <b>\n\u{202e}Ex")), "uid");
    assert!(invented.message.starts_with("Cognito returned EvilbEx;"), "{}", invented.message);
}

#[test]
fn an_end_without_a_call_names_the_last_attempt() {
    use {EndReason::*, Evidence as Ev};
    let cases = [
        (Expired, None, "notAfter passed before the reset was performed; nothing was sent"),
        (DeadlineExceeded, None, "deadlineSeconds passed before the reset was performed; nothing was sent"),
        (
            Expired,
            Some(ended_as(Some(Ev::CognitoResponse), Some("AccessDeniedException"))),
            "notAfter passed before the reset was performed; the last attempt ended with AccessDeniedException; nothing was changed",
        ),
        (
            DeadlineExceeded,
            Some(ended_as(Some(Ev::CognitoResponse), Some("TooManyRequestsException"))),
            "deadlineSeconds passed before the reset was performed; the last attempt ended with Throttled; nothing was changed",
        ),
        (
            DeadlineExceeded,
            Some(ended_as(Some(Ev::Unreachable), None)),
            "deadlineSeconds passed before the reset was performed; the last attempt ended with CognitoUnreachable; nothing was changed",
        ),
    ];
    for (reason, attempt, message) in cases {
        let record = attempt.map(|attempt| record(Some(Effect::NotPerformed), attempt));
        let attempts = i64::from(message.contains("last attempt"));
        let cause = if reason == Expired { CloseCause::Expired } else { CloseCause::DeadlineExceeded };
        let record = closed_as(record.as_ref(), cause, None);
        let own = ended(Some(&record), Some("uid"));
        assert_eq!(gist(&own), (Outcome::Failed, reason.as_str(), Truth::False));
        assert_eq!(own.message, message);
        assert_eq!(status(&request(), Some(&record), &own, NOW).attempts, Some(attempts), "{message}");
        let other = ended(Some(&record), Some("another"));
        assert_eq!(gist(&other), gist(&own));
        assert!(other.message.contains("use a new name to try again") && other.message.ends_with(message), "{other:?}");
    }
    let skipped = closed_as(None, CloseCause::AlreadyResetRequired, None);
    let mut by_a_list = skipped.clone();
    by_a_list.spec.closed.as_mut().unwrap().origin.user_state_source = Some(UserStateSource::ListUsers);
    for (skipped, invalidated) in [(skipped, Truth::True), (by_a_list, Truth::Unknown)] {
        let update = ended(Some(&skipped), Some("uid"));
        assert_eq!(gist(&update), (Outcome::Succeeded, "AlreadyResetRequired", invalidated));
        assert_eq!(update.message.contains("ListUsers"), invalidated == Truth::Unknown);
        let update = ended(Some(&skipped), Some("another"));
        assert_eq!(gist(&update), (Outcome::Succeeded, "AlreadyResetRequired", invalidated));
        let shown = status(&request(), Some(&skipped), &update, NOW);
        assert_eq!((shown.start_time, shown.attempts, shown.record_ref.is_some()), (None, Some(0), true));
    }
}

#[test]
fn a_record_that_is_not_settled_says_nothing() {
    let closing = |effect, attempts| {
        let mut record = closed_as(Some(&record(None, attempt("a"))), CloseCause::AlreadyResetRequired, None);
        (record.spec.effect, record.spec.attempts) = (effect, attempts);
        record
    };
    let mut nothing = closing(Some(Effect::NotPerformed), vec![]);
    nothing.spec.closed = None;
    for record in [
        None,
        Some(record(None, attempt("a"))),
        Some(nothing),
        Some(closing(None, vec![])),
        Some(closing(Some(Effect::Unknown), vec![attempt("a")])),
        Some(closing(Some(Effect::Performed), vec![attempt("a")])),
    ] {
        let update = ended(record.as_ref(), Some("uid"));
        assert_eq!(gist(&update), (Outcome::Unknown, "OutcomeUnknown", Truth::Unknown));
    }
}

#[test]
fn a_status_is_made_of_the_record() {
    let mut record = record(None, Attempt { claimed_at: Time(at(-90)), ..attempt("a") });
    record.spec.user_sub = Some("sub".into());
    let waits = status(&request(), None, &waiting(WaitReason::Suspended), NOW);
    let open = status(&request(), Some(&record), &waiting(WaitReason::AwaitingPriorAttempt), NOW);
    let finding = Finding {
        attempt_id: "a".into(),
        settlement: crate::ledger::Settlement { effect: Effect::Performed, evidence: Evidence::CognitoResponse },
        cause: None,
        code: None,
        sent_at: None,
        aws_request_id: Some("aws".into()),
        user_status_after: None,
    };
    let Settling::Write(record) = settled(&record, &finding, at(1)) else { panic!("it is unchanged") };
    let end = status(&request(), Some(&record), &ended(Some(&record), Some("uid")), at(2));
    let fields = |status: &PasswordResetRequestStatus| {
        let mut fields = serde_json::to_value(status).unwrap();
        fields.as_object_mut().unwrap().remove("conditions");
        fields
    };
    let record_ref = json!({ "name": record.name_any() });
    assert_eq!(
        fields(&waits),
        json!({ "outcome": "Pending", "password": "Unknown", "observedGeneration": 2, "attempts": 0 })
    );
    assert_eq!(
        fields(&open),
        json!({
            "outcome": "Pending", "password": "Unknown", "observedGeneration": 2, "attempts": 1, "startTime": "2027-01-15T07:58:30Z",
            "userSub": "sub", "recordRef": record_ref,
        })
    );
    assert_eq!(
        fields(&end),
        json!({
            "outcome": "Succeeded", "password": "Invalidated", "observedGeneration": 2, "attempts": 1,
            "startTime": "2027-01-15T07:58:30Z", "performedTime": "2027-01-15T08:00:01Z", "completionTime": "2027-01-15T08:00:02Z", "awsRequestID": "aws", "userSub": "sub", "recordRef": record_ref,
        })
    );
}

#[test]
fn user_shown_for_an_approval_stays_while_it_is_pending() {
    let named = |sub: &str| {
        let (username, sub) = (Some(format!("user-{sub}")), Some(sub.to_owned()));
        UserNames { username, sub, ..UserNames::default() }
    };
    let shown = |status: &PasswordResetRequestStatus| (status.user_name.clone(), status.user_sub.clone());
    let some = |name: &str, sub: &str| (Some(name.to_owned()), Some(sub.to_owned()));
    let waits = waiting(WaitReason::AwaitingApproval);
    let of_record = |mut record: PasswordResetRecord, sub: Option<&str>| {
        record.spec.user_sub = sub.map(str::to_owned);
        record
    };
    let attempt_by = |uid: &str| Attempt { origin: Origin::new("operator-1", uid), ..attempt("a") };
    let pending = |before: &PasswordResetRequest, record: Option<&PasswordResetRecord>, user: Option<&UserNames>| {
        showing(user, status(before, record, &waits, NOW))
    };
    let first = pending(&request(), None, Some(&named("1")));
    assert_eq!(shown(&first), some("user-1", "1"));
    let before = PasswordResetRequest { status: Some(first), ..request() };
    let earlier = of_record(record(Some(Effect::NotPerformed), attempt_by("another")), Some("3"));
    let own = of_record(record(Some(Effect::NotPerformed), attempt_by("uid")), Some("2"));
    for (what, record, user) in [
        ("another user was read", None, Some(named("2"))),
        ("nobody was read", None, None),
        ("an attempt for an earlier request", Some(&earlier), None),
        ("an attempt", Some(&own), Some(named("2"))),
    ] {
        assert_eq!(shown(&pending(&before, record, user.as_ref())), some("user-1", "1"), "{what}");
    }
    // Whom an earlier request was for is not shown to an approver of this one.
    assert_eq!(shown(&pending(&request(), Some(&earlier), None)), (None, None));
    assert_eq!(shown(&pending(&request(), Some(&earlier), Some(&named("2")))), some("user-2", "2"));
    assert_eq!(shown(&pending(&request(), Some(&own), None)), (None, Some("2".to_owned())));

    let end = |record: &PasswordResetRecord, user: Option<&UserNames>| {
        shown(&showing(user, status(&before, Some(record), &ended(Some(record), Some("uid")), NOW)))
    };
    let changed = of_record(closed_as(None, CloseCause::UserChanged, None), Some("2"));
    let update = ended(Some(&changed), Some("uid"));
    assert_eq!(gist(&update), (Outcome::Failed, "UserChanged", Truth::False));
    assert!(update.message.contains("create a new request"), "{}", update.message);
    assert_eq!(end(&changed, Some(&named("2"))), some("user-2", "2"));
    assert_eq!(end(&changed, None), (None, Some("2".to_owned())), "the name of the user who was shown is not theirs");
    assert_eq!(end(&own, Some(&named("3"))), (None, Some("2".to_owned())), "the record knows whom it was for");
    assert_eq!(end(&of_record(own.clone(), None), None), (None, None), "the user was not read before the attempt");
    let expired = closed_as(None, CloseCause::Expired, None);
    assert_eq!(end(&expired, None), some("user-1", "1"));
}

#[test]
fn a_status_that_is_written_again_changes_nothing() {
    let closed = closed_as(None, CloseCause::Expired, None);
    let settled = |effect, evidence, code| {
        let record = record(Some(effect), ended_as(Some(evidence), code));
        (ended(Some(&record), Some("uid")), Some(record))
    };
    let cases = [
        (waiting(WaitReason::Suspended), None),
        (waiting(WaitReason::AwaitingPriorAttempt), Some(record(None, attempt("a")))),
        (ended(Some(&closed), Some("uid")), Some(closed)),
        settled(Effect::Performed, Evidence::CognitoResponse, None),
        settled(Effect::NotPerformed, Evidence::CognitoResponse, Some("UserNotFoundException")),
        settled(Effect::Unknown, Evidence::Inconclusive, None),
    ];
    for (update, record) in cases {
        let mut request = request();
        let first = status(&request, record.as_ref(), &update, NOW);
        request.status = Some(first.clone());
        assert_eq!(status(&request, record.as_ref(), &update, at(60)), first, "{update:?}");
        let ended = update.outcome != Outcome::Pending;
        assert_eq!(first.completion_time, ended.then_some(Time(NOW)), "{update:?}");
    }
}

#[test]
fn the_times_of_a_status_stay_while_the_record_goes_on() {
    let mut request = request();
    let claim = |id: &str, seconds| Attempt { claimed_at: Time(at(seconds)), ..attempt(id) };
    let not_performed = |attempt: Attempt, code: &str| Attempt {
        evidence: Some(Evidence::CognitoResponse),
        cause: None,
        exception_code: Some(code.into()),
        aws_request_id: Some("aws".into()),
        ..attempt
    };
    let identity = Identity::of_request(&request);
    let throttled = record(Some(Effect::NotPerformed), not_performed(claim("a", 0), "TooManyRequestsException"));
    request.status = Some(status(&request, Some(&throttled), &waiting(WaitReason::Throttled), at(1)));
    let mut record = claimed(Some(&throttled), &identity, claim("b", 10));
    for number in 0..20 {
        record = claimed(Some(&record), &identity, not_performed(claim("c", 20 + number), "AccessDeniedException"));
    }
    let record = claimed(Some(&record), &identity, claim("d", 90));
    let now = status(&request, Some(&record), &waiting(WaitReason::AwaitingPriorAttempt), at(100));
    assert_eq!((now.start_time, now.attempts), (Some(Time(at(0))), Some(23)));
    assert_eq!(now.aws_request_id, None, "an earlier attempt's id would be looked up for this one");
    let ready = now.conditions.iter().find(|condition| condition.type_ == Type::Ready.as_str()).unwrap();
    assert_eq!((&ready.last_transition_time, ready.reason.as_str()), (&Time(at(1)), "AwaitingPriorAttempt"));
}
