//! Given what a pass knows and this reply, it then knows that.

use cognito_reset_api::{ApprovedBy, Exception, FailureCause, RequestedBy, UserStatus};
use jiff::SignedDuration;
use serde_json::json;

use super::*;
use crate::{action::port::Role, machine::state::Probes};

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
const WAITS: Waits = Waits {
    backoff: ledger::Backoff { initial: SignedDuration::from_secs(10), max: SignedDuration::from_secs(600) },
    in_flight: SignedDuration::ZERO,
};
const PROBES: u32 = 3;

fn request() -> PasswordResetRequest {
    let spec = json!({ "userPoolID": "eu-west-1_Example01", "username": "alice" });
    let mut request = PasswordResetRequest::new("reset-alice", serde_json::from_value(spec).unwrap());
    request.metadata.namespace = Some("support".into());
    request.metadata.uid = Some("uid".into());
    request.metadata.resource_version = Some("7".into());
    request.metadata.creation_timestamp = Some(Time(NOW));
    request
}

fn allowed() -> Authorization {
    let role = Role {
        arn: "arn:aws:iam::123456789012:role/reset".into(),
        external_id: Some("ours".into()),
        session_tags: SessionTags::Uid,
    };
    Authorization { role: Some(role), grants: vec!["support".into()] }
}

fn nothing() -> Knowledge {
    Knowledge::none(Identity::of_request(&request()), PROBES, None)
}

fn gathered(request: Option<PasswordResetRequest>, record: Option<PasswordResetRecord>) -> Knowledge {
    let mut known = nothing();
    known.read_request(request, |_| Ok(allowed()));
    known.read_record(record, &WAITS, |_| SignedDuration::ZERO, NOW);
    known
}

fn claimed() -> Knowledge {
    let mut known = gathered(Some(request()), None);
    known.snapshot(Ok(User { status: UserStatus::Confirmed, sub: Some("sub-1".into()) }), NOW);
    let mut stored = known.claim("attempt-1".into(), "operator-1".into(), NOW).unwrap();
    stored.metadata.resource_version = Some("8".into());
    known.claimed(stored.clone(), Claimed::Ours(Box::new(stored)), true);
    known
}

fn wishes(known: &Knowledge) -> Wishes {
    match known.situation.request {
        Request::Pending(wishes) => wishes,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn a_namesake_or_one_that_is_being_deleted_is_not_the_request_of_this_pass() {
    let of = |change: fn(&mut PasswordResetRequest)| {
        let mut request = request();
        change(&mut request);
        gathered(Some(request), None)
    };
    for (what, known) in [
        ("of another user", of(|request| request.spec.username = "bob".into())),
        ("of another pool", of(|request| request.spec.user_pool_id = "eu-west-1_Example02".into())),
        ("being deleted", of(|request| request.metadata.deletion_timestamp = Some(Time(NOW)))),
        ("gone", gathered(None, None)),
    ] {
        assert_eq!((&known.request, &known.situation.request), (&None, &Request::Gone), "{what}");
        assert_eq!(known.claim("a".into(), "operator-1".into(), NOW), None, "{what}");
        assert_eq!(known.told(&status::waiting(Reason::Suspended), NOW), None, "{what}");
    }
    assert_eq!(gathered(Some(request()), None).request, Some(request()));
}

#[test]
fn a_request_asks_for_what_its_spec_says() {
    let plain = Wishes {
        suspended: false,
        expires: None,
        deadline: NOW + SignedDuration::from_hours(24),
        skip_if_reset_required: false,
    };
    assert_eq!(wishes(&gathered(Some(request()), None)), plain);
    let mut full = request();
    full.spec.suspend = true;
    full.spec.not_after = Some(Time(NOW));
    full.spec.deadline_seconds = 60;
    full.spec.if_reset_required = IfResetRequired::Skip;
    let wanted = Wishes {
        suspended: true,
        expires: Some(NOW),
        deadline: NOW + SignedDuration::from_mins(1),
        skip_if_reset_required: true,
    };
    assert_eq!(wishes(&gathered(Some(full), None)), wanted);
}

#[test]
fn a_request_whose_outcome_is_told_has_finished() {
    for (outcome, finished) in [(Outcome::Pending, false), (Outcome::Failed, true), (Outcome::Unknown, true)] {
        let mut request = request();
        request.status = Some(cognito_reset_api::PasswordResetRequestStatus { outcome, ..Default::default() });
        let known = gathered(Some(request), None);
        assert_eq!(known.situation.request == Request::Finished, finished, "{outcome:?}");
    }
}

#[test]
fn without_a_grant_nothing_is_claimed_but_a_record_can_be_closed() {
    let mut known = gathered(Some(request()), None);
    known.read_request(Some(request()), |_| Err(Reason::NoMatchingGrant));
    assert_eq!(known.situation.permission, Permission::Denied(Reason::NoMatchingGrant));
    assert_eq!(known.claim("a".into(), "operator-1".into(), NOW), None);
    let closed = known.close(Evidence::Expired, "a".into(), "operator-1".into(), NOW).unwrap();
    let last = ledger::last(&closed).unwrap();
    assert_eq!((last.settled_at.clone(), last.evidence), (Some(Time(NOW)), Some(Evidence::Expired)));
    assert_eq!((last.grants.len(), &last.role_arn), (0, &None));
}

#[test]
fn a_request_whose_metadata_leaves_no_room_for_a_status_is_not_claimed() {
    let attached = |length: usize| {
        let mut request = request();
        request.metadata.annotations = Some([("a/b".to_owned(), "a".repeat(length))].into());
        request
    };
    let fits = gathered(Some(attached(MAX_METADATA - 1024)), None);
    assert_eq!(fits.situation.permission, Permission::Granted);
    let full = gathered(Some(attached(MAX_METADATA)), None);
    assert_eq!(full.situation.permission, Permission::Denied(Reason::ObjectTooLarge));
    assert_eq!(full.claim("id".into(), "me".into(), NOW), None);
}

#[test]
fn a_claim_says_who_what_and_by_which_right() {
    let mut request = request();
    request.spec.approved_by = Some(ApprovedBy { username: "bob".into(), uid: None });
    request.spec.reason = Some("phishing".into());
    request.spec.ticket = Some("INC-1".into());
    request.spec.on_behalf_of = Some("carol".into());
    let mut known = gathered(Some(request), None);
    known.snapshot(Ok(User { status: UserStatus::Confirmed, sub: Some("sub-1".into()) }), NOW);
    let claim = known.claim("attempt-1".into(), "operator-1".into(), NOW).unwrap();
    assert_eq!(claim.spec.user_sub.as_deref(), Some("sub-1"));
    let wanted = Attempt {
        id: "attempt-1".into(),
        operator_instance: "operator-1".into(),
        request_uid: "uid".into(),
        requested_by: RequestedBy::default(),
        approved_by: Some(ApprovedBy { username: "bob".into(), uid: None }),
        reason: Some("phishing".into()),
        ticket: Some("INC-1".into()),
        on_behalf_of: Some("carol".into()),
        grants: vec!["support".into()],
        role_arn: Some("arn:aws:iam::123456789012:role/reset".into()),
        external_id: Some("ours".into()),
        session_tags: Some(SessionTags::Uid),
        claimed_at: Time(NOW),
        sent_at: None,
        user_status_before: Some(UserStatus::Confirmed),
        settled_at: None,
        evidence: None,
        cause: None,
        exception_code: None,
        aws_request_id: None,
        user_status_after: None,
    };
    assert_eq!(claim.spec.attempts, [wanted]);
}

#[test]
fn what_was_prepared_with_one_role_or_for_one_object_is_not_made_use_of_with_another() {
    let ready = || {
        let mut known = gathered(Some(request()), None);
        known.situation.budget = Budget::Granted;
        known.situation.credentials = Credentials::Loaded;
        known.snapshot(Ok(User { status: UserStatus::Confirmed, sub: None }), NOW);
        known
    };
    let prepared = (Budget::Granted, Credentials::Loaded, Snapshot::Read(UserStatus::Confirmed));
    let unprepared = (Budget::NotAsked, Credentials::NotLoaded, Snapshot::NotRead);
    let another = |change: fn(&mut PasswordResetRequest)| {
        let mut request = request();
        change(&mut request);
        request
    };
    let with = |role: Option<Role>, grants: &[&str]| Authorization {
        role,
        grants: grants.iter().copied().map(Into::into).collect(),
    };
    let ours = allowed().role.unwrap();
    let other_role = Role { arn: "arn:aws:iam::123456789012:role/other".into(), ..ours.clone() };
    let other_id = Role { external_id: Some("theirs".into()), ..ours.clone() };
    for (what, request, allowed, wanted) in [
        ("nothing", request(), Ok(allowed()), prepared),
        ("a label", another(|it| it.metadata.resource_version = Some("8".into())), Ok(allowed()), prepared),
        ("another grant of the same role", request(), Ok(with(Some(ours), &["other"])), prepared),
        ("the role", request(), Ok(with(Some(other_role), &["support"])), unprepared),
        ("the external id", request(), Ok(with(Some(other_id), &["support"])), unprepared),
        ("no role any more", request(), Ok(with(None, &["support"])), unprepared),
        ("no grant any more", request(), Err(Reason::NoMatchingGrant), unprepared),
        ("the object", another(|it| it.metadata.uid = Some("uid-2".into())), Ok(allowed()), unprepared),
    ] {
        let mut known = ready();
        known.read_request(Some(request), |_| allowed);
        let Situation { budget, credentials, before, .. } = known.situation;
        assert_eq!((budget, credentials, before), wanted, "{what} has changed");
    }
}

#[test]
fn a_claim_is_given_back_once_and_only_before_its_call() {
    let mut known = claimed();
    assert!(known.give_back());
    assert_eq!(known.situation.attempt, Held::Claimed { too_late: true });
    assert!(!known.give_back(), "it is given back already");
    let mut sent = claimed();
    assert!(sent.consume(true).is_some());
    assert!(!sent.give_back(), "its call may have been made");
    assert!(!gathered(Some(request()), None).give_back(), "nothing was claimed");
}

#[test]
fn a_call_that_was_not_sent_has_no_time_at_which_it_was_and_says_why() {
    let mut known = claimed();
    known.sent_at = Some(NOW);
    known.answered(Reply { answer: Answer::NotSent(FailureCause::Tls), request_id: None });
    let settlement = Settlement { effect: cognito_reset_api::Effect::NotPerformed, evidence: Evidence::Unreachable };
    let (_, finding) = known.finding(settlement).unwrap();
    assert_eq!((finding.sent_at, finding.cause, finding.code), (None, Some(FailureCause::Tls), None));
}

#[test]
fn a_state_that_cognito_does_not_know_has_not_been_read() {
    let mut known = gathered(Some(request()), None);
    known.snapshot(Ok(User { status: UserStatus::Unknown, sub: Some("sub-1".into()) }), NOW);
    assert_eq!(known.situation.before, Snapshot::Unreadable { until: NOW });
    let claim = known.claim("attempt-1".into(), "operator-1".into(), NOW).unwrap();
    assert_eq!((claim.spec.user_sub.as_deref(), claim.spec.attempts[0].user_status_before), (Some("sub-1"), None));
}

#[test]
fn only_what_cognito_itself_refuses_for_good_is_more_than_a_user_who_cannot_be_read_now() {
    for exception in Exception::ALL {
        let mut known = gathered(Some(request()), None);
        known.snapshot(Err(&ReadError::Exception(Code::Known(*exception))), NOW);
        let wanted = match Class::of(*exception) {
            Class::Refused => Snapshot::Refused(*exception),
            Class::Throttled | Class::Blocked | Class::Ambiguous | Class::AmbiguousFailure => {
                Snapshot::Unreadable { until: NOW }
            }
        };
        assert_eq!(known.situation.before, wanted, "{exception:?}");
    }
    for error in [
        ReadError::Exception(Code::Unrecognized("BrandNew".into())),
        ReadError::Connection(FailureCause::Tls),
        ReadError::NoResponse,
    ] {
        let mut known = gathered(Some(request()), None);
        known.snapshot(Err(&error), NOW);
        assert_eq!(known.situation.before, Snapshot::Unreadable { until: NOW }, "{error}");
    }
}

#[test]
fn a_record_that_is_closed_by_the_answer_to_a_read_keeps_that_answer() {
    let mut known = gathered(Some(request()), None);
    known.snapshot(Err(&ReadError::Exception(Code::Known(Exception::UserNotFound))), NOW);
    let closed = |evidence| known.close(evidence, "closing".into(), "operator-1".into(), NOW).unwrap();
    let code = |record: PasswordResetRecord| record.spec.attempts[0].exception_code.clone();
    assert_eq!(code(closed(Evidence::UserReadResponse)).as_deref(), Some("UserNotFoundException"));
    assert_eq!(code(closed(Evidence::DeadlineExceeded)), None, "it ended for another reason");
}

#[test]
fn a_sub_that_was_once_read_is_kept_where_it_cannot_be_read_again() {
    let mut known = claimed();
    known.sub = None;
    let again = known.claim("attempt-2".into(), "operator-1".into(), NOW).unwrap();
    let closed = known.close(Evidence::Expired, "attempt-2".into(), "operator-1".into(), NOW).unwrap();
    assert_eq!((again.spec.user_sub.as_deref(), closed.spec.user_sub.as_deref()), (Some("sub-1"), Some("sub-1")));
}

#[test]
fn a_record_remembers_the_latest_expiry_of_the_requests_that_are_told_of_it() {
    let settled = || {
        let mut known = claimed();
        known.answered(Reply { answer: Answer::Accepted, request_id: None });
        known.record
    };
    let expiring = |after: i64| {
        let mut request = request();
        request.spec.not_after = Some(Time(NOW + SignedDuration::from_secs(after)));
        request
    };
    let remembered = |known: &Knowledge| known.remember().as_ref().and_then(ledger::remembered);
    let mut known = gathered(Some(expiring(60)), settled());
    assert_eq!(remembered(&known), Some(NOW + SignedDuration::from_mins(1)));
    let record = known.remember();
    for (after, latest) in [(30, 60), (90, 90)] {
        known = gathered(Some(expiring(after)), record.clone());
        assert_eq!(remembered(&known), Some(NOW + SignedDuration::from_secs(latest)), "{after}");
    }
    assert_eq!(gathered(None, record).remember(), None, "without a request");
    assert_eq!(gathered(Some(expiring(60)), None).remember(), None, "without a record");
}

#[test]
fn a_claim_is_consumed_once_and_in_time_only() {
    let mut known = claimed();
    assert_eq!(known.consume(true).as_deref(), Some("attempt-1"));
    assert_eq!(known.consume(true), None, "a second time");
    assert_eq!(known.situation.attempt, Held::Claimed { too_late: true });
    let mut late = claimed();
    assert_eq!(late.consume(false), None);
    assert_eq!(late.situation.attempt, Held::Claimed { too_late: true });
    assert_eq!(late.consume(true), None, "after it was too late");
}

#[test]
fn what_came_of_a_claim_decides_whether_it_may_be_sent() {
    let known = gathered(Some(request()), None);
    let wanted = known.claim("attempt-1".into(), "operator-1".into(), NOW).unwrap();
    let ours = || Claimed::Ours(Box::new(wanted.clone()));
    for (claimed, in_time, held) in [
        (ours(), true, Held::Claimed { too_late: false }),
        (ours(), false, Held::Claimed { too_late: true }),
        (Claimed::TooLate, true, Held::Claimed { too_late: true }),
        (Claimed::Theirs, true, Held::None),
    ] {
        let mut after = known.clone();
        after.claimed(wanted.clone(), claimed.clone(), in_time);
        assert_eq!(after.situation.attempt, held, "{claimed:?}");
        assert_eq!(after.situation.ledger == Ledger::Unread, claimed == Claimed::Theirs, "{claimed:?}");
        assert_eq!(after.attempt.is_some(), claimed != Claimed::Theirs, "{claimed:?}");
    }
}

#[test]
fn what_is_to_be_written_of_an_attempt_is_what_cognito_said_of_it() {
    let mut known = claimed();
    known.consume(true);
    known.sent_at = Some(NOW);
    let exception = Exception::CodeDeliveryFailure;
    let answer = Answer::Exception(crate::action::response::Code::Known(exception));
    known.answered(Reply { answer, request_id: Some("aws-1".into()) });
    known.probed(Some(UserStatus::ResetRequired));
    let settlement = Settlement { effect: cognito_reset_api::Effect::Performed, evidence: Evidence::UserStatusCheck };
    let (record, finding) = known.finding(settlement).unwrap();
    let wanted = ledger::Finding {
        attempt_id: "attempt-1".into(),
        settlement,
        cause: None,
        code: Some(exception.code().into()),
        sent_at: Some(NOW),
        aws_request_id: Some("aws-1".into()),
        user_status_after: Some(UserStatus::ResetRequired),
    };
    assert_eq!((record, finding), (known.record.as_ref().unwrap(), wanted));
}

#[test]
fn a_probe_that_could_not_read_forgets_nothing() {
    let mut known = nothing();
    known.probed(Some(UserStatus::Confirmed));
    known.probed(None);
    assert_eq!(known.situation.probes, Probes { left: 1, last: Some(UserStatus::Confirmed) });
    known.probed(None);
    known.probed(None);
    assert_eq!(known.situation.probes.left, 0);
}

#[test]
fn after_an_attempt_is_settled_only_what_was_read_of_the_request_is_still_good() {
    let mut known = claimed();
    known.situation.user_busy = Some(NOW);
    known.answered(Reply { answer: Answer::Lost, request_id: Some("aws-1".into()) });
    let before = known.situation.clone();
    known.settled(PROBES);
    let wanted = Situation {
        request: before.request,
        permission: before.permission,
        user_busy: before.user_busy,
        ..Situation::unknown(PROBES)
    };
    assert_eq!(known.situation, wanted);
    assert_eq!((known.attempt, known.aws_request_id), (None, None));
}

#[test]
fn a_status_is_guarded_by_what_was_read_and_not_written_again() {
    let mut known = gathered(Some(request()), None);
    let telling = status::waiting(Reason::Suspended);
    let told = known.told(&telling, NOW).unwrap();
    assert_eq!((told.uid(), told.resource_version()), (request().uid(), request().resource_version()));
    known.request = Some(told);
    assert_eq!(known.told(&telling, NOW + SignedDuration::from_secs(1)), None);
}

#[test]
fn a_refused_write_is_what_a_request_waits_for_and_forgotten_when_an_attempt_is_settled() {
    let mut known = gathered(Some(request()), None);
    let general = status::waiting(Reason::WriteRefused);
    assert_eq!(known.waiting(Reason::WriteRefused), general);
    known.refused(RecordWrite::Claim, Some(Refuser::Permission), NOW);
    assert_eq!(known.situation.refused, Some(Refused { write: RecordWrite::Claim, until: NOW }));
    let told = known.waiting(Reason::WriteRefused);
    assert_eq!(told, status::refused(RecordWrite::Claim, Some(&Refuser::Permission), &known.ended()));
    assert_ne!(told, general);
    assert_eq!(known.waiting(Reason::Suspended), status::waiting(Reason::Suspended));
    known.settled(PROBES);
    assert_eq!(known.situation.refused, None);
}
