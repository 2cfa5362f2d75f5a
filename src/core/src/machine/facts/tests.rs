//! Tables of facts and the changes to them.

use cognito_reset_api::{
    ApprovedBy, Evidence, Exception, FailureCause, PasswordResetRequestStatus, RequestedBy, UserExtra, UserStateSource,
    UserStatus,
};
use jiff::SignedDuration;
use serde_json::json;

use super::*;
use crate::{
    action::{port::Role, user_names::UserNames},
    machine::{
        state::Probes,
        tests::{ACCOUNT, evaluation, turn},
    },
};

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
    let source = UserStateSource::AdminGetUser;
    Authorization { role: Some(role), source, grants: vec!["support".into()], limits: None }
}

/// The names of a user of whom only the `sub` is known.
fn named(sub: &str) -> UserNames {
    UserNames { sub: Some(sub.into()), ..UserNames::default() }
}

fn nothing() -> Facts {
    Facts::new(Identity::of_request(&request()), PROBES, turn(ACCOUNT), None)
}

fn gathered(request: Option<PasswordResetRequest>, record: Option<PasswordResetRecord>) -> Facts {
    let mut known = nothing();
    let request = request.filter(|request| known.matches(request));
    known.read_request(request.map(|request| (request.into(), evaluation(Ok(allowed())))), NOW);
    known.read_record(record.map(Object::from), &WAITS, SignedDuration::ZERO, NOW);
    known
}

fn claimed() -> Facts {
    let mut known = gathered(Some(request()), None);
    known.snapshot(Ok(User { status: UserStatus::Confirmed, names: named("sub-1") }), NOW);
    let mut stored = known.claim("attempt-1".into(), "operator-1".into(), NOW).unwrap();
    stored.metadata.resource_version = Some("8".into());
    known.claimed(stored.into(), false);
    known
}

fn desired(known: &Facts) -> Desired {
    match known.state.request {
        Request::Pending(desired) => desired,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn a_namesake_or_a_deleted_request_is_not_taken_in() {
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
        assert_eq!((&known.request, &known.state.request), (&None, &Request::Gone), "{what}");
        assert_eq!(known.claim("a".into(), "operator-1".into(), NOW), None, "{what}");
    }
    assert_eq!(gathered(Some(request()), None).request, Some(request().into()));
}

#[test]
fn a_request_asks_for_what_its_spec_says() {
    let plain = Desired {
        suspended: false,
        expires: None,
        deadline: NOW + SignedDuration::from_hours(24),
        skip_if_reset_required: false,
        user_required: false,
    };
    assert_eq!(desired(&gathered(Some(request()), None)), plain);
    let mut full = request();
    full.spec.suspend = true;
    full.spec.not_after = Some(Time(NOW));
    full.spec.deadline_seconds = Some(60);
    full.spec.if_reset_required = IfResetRequired::Skip;
    let wanted = Desired {
        suspended: true,
        expires: Some(NOW),
        deadline: NOW + SignedDuration::from_mins(1),
        skip_if_reset_required: true,
        user_required: false,
    };
    assert_eq!(desired(&gathered(Some(full), None)), wanted);
}

#[test]
fn the_deadline_is_later_where_a_grant_requires_approval() {
    let given = |seconds: i64| {
        let mut request = request();
        request.spec.deadline_seconds = Some(seconds);
        request
    };
    for (what, approval_required, request, after) in [
        ("no approval", false, request(), SignedDuration::from_hours(24)),
        ("an approval", true, request(), SignedDuration::from_hours(72)),
        ("no approval, and seconds that are given", false, given(60), SignedDuration::from_mins(1)),
        ("an approval, and seconds that are given", true, given(60), SignedDuration::from_mins(1)),
        ("seconds beyond the end of time", true, given(i64::MAX), SignedDuration::MAX),
    ] {
        for authorization in [Ok(allowed()), Err(WaitReason::GrantSuspended), Err(WaitReason::AwaitingApproval)] {
            let mut known = nothing();
            let evaluation = Evaluation { approval_required, ..evaluation(authorization) };
            known.read_request(Some((request.clone().into(), evaluation)), NOW);
            assert_eq!(desired(&known).deadline, NOW.saturating_add(after).unwrap_or(Timestamp::MAX), "{what}");
        }
    }
}

#[test]
fn a_request_with_an_outcome_has_finished() {
    for (outcome, finished) in [(Outcome::Pending, false), (Outcome::Failed, true), (Outcome::Unknown, true)] {
        let mut request = request();
        request.status = Some(cognito_reset_api::PasswordResetRequestStatus { outcome, ..Default::default() });
        let known = gathered(Some(request), None);
        assert_eq!(known.state.request == Request::Finished, finished, "{outcome:?}");
    }
}

#[test]
fn without_a_grant_a_record_is_closed_but_not_claimed() {
    let mut asked = request();
    asked.spec.reason = Some("text".repeat(256));
    asked.spec.ticket = Some("text".repeat(64));
    asked.spec.on_behalf_of = Some("text".repeat(64));
    let mut known = gathered(Some(asked.clone()), None);
    known.read_request(Some((asked.into(), evaluation(Err(WaitReason::NoMatchingGrant)))), NOW);
    assert_eq!(known.state.permission, Permission::Denied(WaitReason::NoMatchingGrant));
    assert_eq!(known.claim("a".into(), "operator-1".into(), NOW), None);
    let record = known.close(CloseCause::Expired, "operator-1".into(), NOW).unwrap();
    let closed = Closed {
        cause: CloseCause::Expired,
        exception_code: None,
        user_status: None,
        closed_at: Time(NOW),
        ungranted: true,
        origin: Origin::new("operator-1", "uid"),
    };
    assert_eq!((record.spec.attempts, record.spec.closed), (vec![], Some(closed)));
}

#[test]
fn size_of_a_request_does_not_hide_that_no_grant_matches() {
    let mut large = request();
    large.metadata.annotations = Some([("note".to_owned(), "a".repeat(1 << 20))].into());
    let mut known = gathered(Some(request()), None);
    known.read_request(Some((large.into(), evaluation(Err(WaitReason::NoMatchingGrant)))), NOW);
    assert_eq!(known.state.permission, Permission::Denied(WaitReason::ObjectTooLarge));
    let record = known.close(CloseCause::DeadlineExceeded, "operator-1".into(), NOW).unwrap();
    assert!(record.spec.closed.unwrap().ungranted);
}

#[test]
fn a_wait_names_the_account_and_the_field_to_change() {
    const RUNNER: &str = "system:serviceaccount:support:runner";
    let user = |username: &str| RequestedBy { username: username.into(), uid: None, extra: None };
    let approver = |username: &str| Some(ApprovedBy { username: username.into(), uid: None, extra: None });
    let mut asked = request();
    asked.metadata.namespace = Some("support".into());
    asked.spec.requested_by = user(RUNNER);
    let mut approved = request();
    approved.metadata.namespace = Some("support".into());
    approved.spec.approved_by = approver(RUNNER);
    let named = format!("\"{RUNNER}\" to approvalServiceAccounts");
    for (reason, request) in
        [(WaitReason::RequesterNotIndependent, asked), (WaitReason::ApproverNotIndependent, approved)]
    {
        let mut known = gathered(Some(request.clone()), None);
        let message = known.waiting(reason).message;
        assert!(message.contains(&named), "{message}");
        assert!(message.len() <= 1024, "{message}");
        assert!(!known.waiting(WaitReason::AwaitingApproval).message.contains(RUNNER));
        // A name that no service account of this namespace can have is not repeated.
        for other in ["alice".to_owned(), "system:serviceaccount:web:runner".to_owned(), format!("{RUNNER}{:400}", "x")]
        {
            let mut request = request.clone();
            request.spec.requested_by = user(&other);
            request.spec.approved_by = approver(&other);
            known = gathered(Some(request), None);
            let message = known.waiting(reason).message;
            assert!(!message.contains(&other) && message.contains("service account"), "{message}");
        }
    }
}

#[test]
fn claim_and_closing_name_process_people_and_grants() {
    let mut request = request();
    let extra = UserExtra { session_name: Some("bob@example.com".into()), ..UserExtra::default() };
    let bob = ApprovedBy { username: "bob".into(), uid: None, extra: Some(extra) };
    request.spec.approved_by = Some(bob.clone());
    request.spec.reason = Some("phishing".into());
    request.spec.ticket = Some("INC-1".into());
    request.spec.on_behalf_of = Some("carol".into());
    let mut known = gathered(Some(request), None);
    known.state.server_time = Some(NOW - SignedDuration::from_secs(1));
    known.snapshot(Ok(User { status: UserStatus::Confirmed, names: named("sub-1") }), NOW);
    let claim = known.claim("attempt-1".into(), "operator-1".into(), NOW).unwrap();
    assert_eq!(claim.spec.user_sub.as_deref(), Some("sub-1"));
    let origin = Origin {
        operator_instance: "operator-1".into(),
        request_uid: "uid".into(),
        requested_by: RequestedBy::default(),
        approved_by: Some(bob),
        reason: Some("phishing".into()),
        ticket: Some("INC-1".into()),
        on_behalf_of: Some("carol".into()),
        grants: vec!["support".into()],
        role_arn: Some("arn:aws:iam::123456789012:role/reset".into()),
        external_id: Some("ours".into()),
        session_tags: Some(SessionTags::Uid),
        user_state_source: None,
    };
    let wanted = Attempt {
        id: "attempt-1".into(),
        origin: origin.clone(),
        claimed_at: Time(NOW),
        sent_at: None,
        user_status_before: Some(UserStatus::Confirmed),
        state_read_after: Some(Time(NOW - SignedDuration::from_secs(1))),
        settled_at: None,
        evidence: None,
        cause: None,
        exception_code: None,
        aws_request_id: None,
        user_status_after: None,
    };
    assert_eq!(claim.spec.attempts, [wanted]);
    let closed = known.close(CloseCause::DeadlineExceeded, "operator-1".into(), NOW).unwrap().spec.closed.unwrap();
    assert_eq!((closed.user_status, closed.origin), (Some(UserStatus::Confirmed), origin));
}

#[test]
fn preparations_are_bound_to_one_role_and_one_object() {
    let ready = || {
        let mut known = gathered(Some(request()), None);
        known.state.credentials = Credentials::Loaded;
        known.snapshot(Ok(User { status: UserStatus::Confirmed, names: UserNames::default() }), NOW);
        known
    };
    let prepared = (Pace::Now, Credentials::Loaded, Snapshot::Read(UserStatus::Confirmed));
    let unprepared = |pace| (pace, Credentials::NotLoaded, Snapshot::NotRead);
    let other_lane = Pace::Later { until: NOW, reason: PaceReason::RateLimited };
    let another = |change: fn(&mut PasswordResetRequest)| {
        let mut request = request();
        change(&mut request);
        request
    };
    let with = |role: Option<Role>, grants: &[&str]| Authorization {
        role,
        source: UserStateSource::AdminGetUser,
        grants: grants.iter().copied().map(Into::into).collect(),
        limits: None,
    };
    let ours = allowed().role.unwrap();
    let slow = Authorization { limits: crate::machine::tests::limits("slow"), ..allowed() };
    let other_role = Role { arn: "arn:aws:iam::123456789012:role/other".into(), ..ours.clone() };
    let other_account = Role { arn: "arn:aws:iam::444455556666:role/reset".into(), ..ours.clone() };
    let other_id = Role { external_id: Some("theirs".into()), ..ours.clone() };
    for (what, request, allowed, wanted) in [
        ("nothing", request(), Ok(allowed()), prepared),
        ("a label", another(|it| it.metadata.resource_version = Some("8".into())), Ok(allowed()), prepared),
        ("another grant of the same role", request(), Ok(with(Some(ours), &["other"])), prepared),
        ("the role", request(), Ok(with(Some(other_role), &["support"])), unprepared(Pace::Now)),
        ("the account", request(), Ok(with(Some(other_account), &["support"])), unprepared(other_lane)),
        ("the limits of the grant", request(), Ok(slow), (other_lane, Credentials::Loaded, prepared.2)),
        ("the external id", request(), Ok(with(Some(other_id), &["support"])), unprepared(Pace::Now)),
        ("no role any more", request(), Ok(with(None, &["support"])), unprepared(other_lane)),
        ("no grant any more", request(), Err(WaitReason::NoMatchingGrant), unprepared(other_lane)),
        ("the object", another(|it| it.metadata.uid = Some("uid-2".into())), Ok(allowed()), unprepared(Pace::Now)),
    ] {
        let mut known = ready();
        known.state.read_at = NOW;
        known.read_request(Some((request.into(), evaluation(allowed))), NOW);
        let State { pace, credentials, before, .. } = known.state;
        assert_eq!((pace, credentials, before), wanted, "{what} has changed");
    }
}

#[test]
fn an_unsent_call_has_a_cause_and_no_time() {
    let mut known = claimed();
    known.sent_at = Some(NOW);
    known.responded(Reply::of(ResetResponse::NotSent(FailureCause::Tls)));
    let settlement = Settlement { effect: cognito_reset_api::Effect::NotPerformed, evidence: Evidence::Unreachable };
    let (record, finding) = known.finding(settlement).unwrap();
    let ledger::Settling::Write(written) = ledger::settled(&record, &finding, NOW) else { panic!("it is unchanged") };
    let attempt = ledger::last(&written).unwrap();
    assert_eq!((&attempt.sent_at, attempt.cause, &attempt.exception_code), (&None, Some(FailureCause::Tls), &None));
}

#[test]
fn a_state_that_cognito_does_not_know_has_not_been_read() {
    let mut known = gathered(Some(request()), None);
    known.snapshot(Ok(User { status: UserStatus::Unknown, names: named("sub-1") }), NOW);
    assert_eq!(known.state.before, Snapshot::Unreadable { until: NOW });
    let claim = known.claim("attempt-1".into(), "operator-1".into(), NOW).unwrap();
    assert_eq!((claim.spec.user_sub.as_deref(), claim.spec.attempts[0].user_status_before), (Some("sub-1"), None));
}

#[test]
fn state_of_another_user_of_the_name_is_no_probe() {
    let user = |sub: Option<&str>| User {
        status: UserStatus::ResetRequired,
        names: UserNames { sub: sub.map(str::to_owned), ..UserNames::default() },
    };
    let mut known = claimed();
    let mut record = PasswordResetRecord::clone(known.record.as_deref().unwrap());
    for (expected, read, wanted) in [
        (Some("sub-1"), Some("sub-1"), true),
        (Some("sub-1"), Some("sub-2"), false),
        (Some("sub-1"), None, true),
        (None, Some("sub-2"), true),
    ] {
        record.spec.user_sub = expected.map(str::to_owned);
        known.record = Some(record.clone().into());
        assert_eq!(known.may_be_of_the_record(&user(read)), wanted, "{expected:?} {read:?}");
    }
}

#[test]
fn user_is_compared_with_the_one_shown_for_the_approval() {
    let showing = |sub: Option<&str>, approval_required: bool| {
        let mut request = request();
        let status = PasswordResetRequestStatus { user_sub: sub.map(str::to_owned), ..Default::default() };
        request.status = Some(status);
        (request.into(), Evaluation { approval_required, ..evaluation(Ok(allowed())) })
    };
    let read = |sub: Option<&str>, status| User {
        status,
        names: UserNames { sub: sub.map(str::to_owned), ..UserNames::default() },
    };
    let confirmed = Snapshot::Read(UserStatus::Confirmed);
    let unreadable = Snapshot::Unreadable { until: NOW };
    for (what, shown, user, wanted) in [
        ("the same", (Some("1"), true), Some("1"), (false, confirmed, true)),
        ("another", (Some("1"), true), Some("2"), (true, confirmed, true)),
        ("a user without a sub", (Some("1"), true), None, (false, unreadable, true)),
        ("a user, and none was shown", (None, true), Some("2"), (false, confirmed, false)),
        ("a user, and no approval is required", (Some("1"), false), Some("2"), (false, confirmed, false)),
    ] {
        let mut known = nothing();
        known.read_request(Some(showing(shown.0, shown.1)), NOW);
        known.snapshot(Ok(read(user, UserStatus::Confirmed)), NOW);
        let facts = |known: &Facts| (known.state.user_changed, known.state.before, desired(known).user_required);
        assert_eq!(facts(&known), wanted, "{what} was read");
        // The request may be read again after the user.
        let mut known = gathered(Some(request()), None);
        known.snapshot(Ok(read(user.or(shown.0), UserStatus::Confirmed)), NOW);
        known.read_request(Some(showing(shown.0, shown.1)), NOW);
        assert_eq!(facts(&known), (wanted.0, confirmed, wanted.2), "{what} was read before");
    }
    let mut known = nothing();
    known.read_request(Some(showing(Some("1"), true)), NOW);
    known.snapshot(Ok(read(Some("2"), UserStatus::Unknown)), NOW);
    assert!(known.state.user_changed, "its state does not matter");
    known.snapshot(Err(&ReadError::NoResponse), NOW);
    assert!(!known.state.user_changed, "nobody was read");
}

#[test]
fn a_read_without_a_response_is_no_refusal_to_read() {
    let snapshot = |error: &ReadError| {
        let mut known = gathered(Some(request()), None);
        known.snapshot(Err(error), NOW);
        known.state.before
    };
    let failed = |reason| Snapshot::NoResponse { until: NOW, reason };
    let unreachable = failed(ReadReason::Unreachable);
    for exception in Exception::ALL {
        let wanted = match Class::of(*exception) {
            Class::Refused => Snapshot::Refused(*exception),
            Class::Blocked => Snapshot::Unreadable { until: NOW },
            Class::Throttled => failed(ReadReason::Throttled),
            Class::Ambiguous | Class::AmbiguousFailure => unreachable,
        };
        assert_eq!(snapshot(&ReadError::Exception(Code::Known(*exception))), wanted, "{exception:?}");
        assert_eq!(snapshot(&ReadError::ServerError(Code::Known(*exception))), unreachable, "{exception:?} and 5xx");
    }
    let unknown = || Code::Unrecognized("BrandNew".into());
    for (error, wanted) in [
        (ReadError::Exception(unknown()), unreachable),
        (ReadError::ServerError(unknown()), unreachable),
        (ReadError::NotSent(FailureCause::Tls), unreachable),
        (ReadError::Connection(FailureCause::Network), unreachable),
        (ReadError::NoResponse, unreachable),
    ] {
        assert_eq!(snapshot(&error), wanted, "{error}");
    }
}

#[test]
fn a_record_closed_by_a_failed_read_has_its_exception() {
    let mut known = gathered(Some(request()), None);
    known.snapshot(Err(&ReadError::Exception(Code::Known(Exception::UserNotFound))), NOW);
    let code = |cause| {
        let record = known.close(cause, "operator-1".into(), NOW).unwrap();
        record.spec.closed.unwrap().exception_code
    };
    assert_eq!(code(CloseCause::UserReadRefused).as_deref(), Some("UserNotFoundException"));
    assert_eq!(code(CloseCause::DeadlineExceeded), None, "it ended for another reason");
}

#[test]
fn sub_is_that_of_the_last_attempt() {
    let of = |record: Option<PasswordResetRecord>| record.unwrap().spec.user_sub;
    let some = |sub: &str| Some(sub.to_owned());
    let refused = || Err(&ReadError::Exception(Code::Known(Exception::AccessDenied)));
    let user = |sub: &str| User { status: UserStatus::Confirmed, names: named(sub) };
    let cases = [
        ("the user is another one now", Ok(user("sub-2")), some("sub-2"), some("sub-2")),
        // A closing is no attempt, and says nothing about the last one.
        ("the user cannot be read any more", refused(), None, some("sub-1")),
    ];
    for (what, read, again, closed) in cases {
        let mut known = claimed();
        known.snapshot(read, NOW);
        assert_eq!(of(known.claim("attempt-2".into(), "operator-1".into(), NOW)), again, "{what}: an attempt");
        assert_eq!(of(known.close(CloseCause::Expired, "operator-1".into(), NOW)), closed, "{what}: a closing");
    }
}

#[test]
fn a_record_remembers_the_latest_expiry_of_its_requests() {
    let settled = || {
        let mut known = claimed();
        known.responded(Reply::of(ResetResponse::Accepted));
        known.record.map(|record| PasswordResetRecord::clone(&record))
    };
    let expiring = |after: i64| {
        let mut request = request();
        request.spec.not_after = Some(Time(NOW + SignedDuration::from_secs(after)));
        request
    };
    let remembered = |known: &Facts| known.extend_expiry().as_ref().and_then(ledger::remembered);
    let mut known = gathered(Some(expiring(60)), settled());
    assert_eq!(remembered(&known), Some(NOW + SignedDuration::from_mins(1)));
    let record = known.extend_expiry();
    for (after, latest) in [(30, 60), (90, 90)] {
        known = gathered(Some(expiring(after)), record.clone());
        assert_eq!(remembered(&known), Some(NOW + SignedDuration::from_secs(latest)), "{after}");
    }
    assert_eq!(gathered(None, record).extend_expiry(), None, "without a request");
    assert_eq!(gathered(Some(expiring(60)), None).extend_expiry(), None, "without a record");
}

#[test]
fn a_claim_is_used_up_before_its_call() {
    let mut known = claimed();
    assert_eq!(known.attempt_id.as_deref(), Some("attempt-1"));
    assert_eq!(known.state.attempt, OwnAttempt::Claimed { too_late: false, confirmed: false });
    known.calling(NOW);
    assert_eq!((&known.state.attempt, known.sent_at), (&OwnAttempt::Called(ResetResponse::NoResponse), Some(NOW)));
    let mut late = claimed();
    late.too_late();
    assert_eq!(late.state.attempt, OwnAttempt::Claimed { too_late: true, confirmed: false });
}

#[test]
fn a_mebibyte_of_metadata_leaves_no_room_for_a_status() {
    let attached = |length: usize| {
        let mut request = request();
        request.metadata.annotations = Some([("a/b".to_owned(), "a".repeat(length))].into());
        request
    };
    assert!(has_room(&attached(MAX_METADATA - 1024)) && !has_room(&attached(MAX_METADATA)));
}

#[test]
fn a_finding_has_what_cognito_responded() {
    let mut known = claimed();
    known.calling(NOW);
    let exception = Exception::CodeDeliveryFailure;
    let response = ResetResponse::Exception(crate::action::response::Code::Known(exception));
    known.responded(Reply { request_id: Some("aws-1".into()), ..Reply::of(response) });
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
    assert_eq!((Some(record), finding), (known.record, wanted));
}

#[test]
fn a_probe_that_could_not_read_forgets_nothing() {
    let mut known = nothing();
    known.probed(Some(UserStatus::Confirmed));
    known.probed(None);
    assert_eq!(known.state.probes, Probes { left: 1, last: Some(UserStatus::Confirmed) });
    known.probed(None);
    known.probed(None);
    assert_eq!(known.state.probes.left, 0);
}

#[test]
fn a_settled_attempt_leaves_only_the_request_valid() {
    let mut known = claimed();
    (known.state.user_busy, known.state.server_time) = (Some(NOW), Some(NOW));
    known.responded(Reply { request_id: Some("aws-1".into()), ..Reply::of(ResetResponse::NoResponse) });
    let before = known.state.clone();
    known.settled(PROBES);
    let wanted = State {
        request: before.request,
        server_time: Some(NOW),
        permission: before.permission,
        user_busy: before.user_busy,
        ..State::unknown(PROBES)
    };
    assert_eq!(known.state, wanted);
    assert_eq!((known.attempt_id, known.aws_request_id), (None, None));
}

#[test]
fn a_status_is_guarded_by_what_was_read_and_not_written_again() {
    let update = status::waiting(WaitReason::Suspended);
    let written = with_status(&request(), None, None, &update, NOW).unwrap();
    assert_eq!((written.uid(), written.resource_version()), (request().uid(), request().resource_version()));
    assert_eq!(with_status(&written, None, None, &update, NOW + SignedDuration::from_secs(1)), None);
}

#[test]
fn a_refused_write_is_forgotten_after_an_attempt_is_settled() {
    let mut known = gathered(Some(request()), None);
    let general = status::waiting(WaitReason::WriteRefused);
    assert_eq!(known.waiting(WaitReason::WriteRefused), general);
    known.refused(RecordWrite::Claim, Some(Refuser::Permission), NOW);
    assert_eq!(known.state.refused, Some(Refused { write: RecordWrite::Claim, until: NOW }));
    let shown = known.waiting(WaitReason::WriteRefused);
    assert_eq!(shown, status::refused(RecordWrite::Claim, Some(&Refuser::Permission), &known.ended()));
    assert_ne!(shown, general);
    assert_eq!(known.waiting(WaitReason::Suspended), status::waiting(WaitReason::Suspended));
    known.settled(PROBES);
    assert_eq!(known.state.refused, None);
}
