//! Tables of states and the steps that follow them.

use cognito_reset_api::{Exception, FailureCause};

use super::*;
use crate::{
    action::{port::CredentialsReason, response::Code},
    ledger::RetryReason,
    machine::state::{PaceReason, ReadReason},
};

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

fn later(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW.as_second() + seconds).unwrap()
}

fn desired() -> Desired {
    Desired {
        suspended: false,
        expires: None,
        deadline: later(3600),
        skip_if_reset_required: false,
        user_required: false,
    }
}

/// A request that nothing holds back, at the point where its claim may be written.
fn free() -> State {
    State {
        read_at: NOW,
        server_time: Some(NOW),
        request: Request::Pending(desired()),
        ledger: Ledger::Absent,
        permission: Permission::Granted,
        pace: Pace::Now,
        closing: Turn::Now,
        credentials: Credentials::Loaded,
        before: Snapshot::Read(UserStatus::Confirmed),
        user_evaluated: true,
        ..State::unknown(3)
    }
}

fn assumed(state: State) -> State {
    State { assumed: true, ..state }
}

fn asking(desired: Desired) -> State {
    State { request: Request::Pending(desired), ..free() }
}

fn claimed(confirmed: bool) -> OwnAttempt {
    OwnAttempt::Claimed { too_late: false, confirmed }
}

fn called(response: ResetResponse) -> State {
    State { attempt: OwnAttempt::Called(response), ..free() }
}

fn open(in_flight_until: Option<Timestamp>) -> Ledger {
    Ledger::Open { in_flight_until, baseline: Baseline::Known(UserStatus::Confirmed) }
}

fn retryable(not_before: Timestamp) -> Ledger {
    Ledger::Retryable { not_before, reason: RetryReason::Throttled, not_reset_before: true }
}

fn seen(status: UserStatus) -> Probes {
    Probes { left: 2, last: Some(status) }
}

fn wait(reason: WaitReason, until: Timestamp) -> Step {
    Step::Wait { reason, until }
}

fn ends(cause: CloseCause) -> Step {
    Step::Close(cause)
}

fn check(cases: Vec<(&str, State, Step)>) {
    for (name, state, step) in cases {
        assert_eq!(decide(&state, NOW), step, "{name}");
    }
}

#[test]
fn a_free_request_takes_its_steps_in_this_order() {
    let nothing = State::unknown(3);
    let gathered = State {
        request: Request::Pending(desired()),
        ledger: Ledger::Absent,
        permission: Permission::Granted,
        ..nothing.clone()
    };
    let paced = State { pace: Pace::Now, ..gathered.clone() };
    let with_credentials = State { credentials: Credentials::Loaded, ..paced.clone() };
    check(vec![
        ("nothing is known", nothing, Step::Gather),
        ("gathered", gathered, Step::AwaitTurn { reason: WaitReason::RateLimited, until: Timestamp::UNIX_EPOCH }),
        ("its turn", paced, Step::LoadCredentials),
        ("with credentials", with_credentials, Step::TakeSnapshot),
        ("the user was read", free(), Step::Claim),
        (
            "Cognito refuses to read the user now",
            State { before: Snapshot::Unreadable { until: later(9) }, ..free() },
            Step::Claim,
        ),
        (
            "Cognito refuses to read the user, and the call will show",
            State { before: Snapshot::Refused(Exception::UserNotFound), ..free() },
            Step::Claim,
        ),
        (
            "the user already has to reset",
            State { before: Snapshot::Read(UserStatus::ResetRequired), ..free() },
            Step::Claim,
        ),
        ("read a second ago", State { read_at: later(-1), ..free() }, Step::Claim),
        ("read longer ago", State { read_at: later(-2), ..free() }, Step::Gather),
        ("read before the clock went back", State { read_at: later(2), ..free() }, Step::Gather),
        ("claimed", State { attempt: claimed(false), ..free() }, Step::Confirm),
        ("claimed, and confirmed", State { attempt: claimed(true), ..free() }, Step::Send),
    ]);
}

#[test]
fn the_record_comes_before_every_gate() {
    let hopeless = Desired { suspended: true, expires: Some(later(-9)), deadline: later(-9), ..desired() };
    let denied = Permission::Denied(WaitReason::NoMatchingGrant);
    let held = State { permission: denied, ..asking(hopeless) };
    for effect in [Effect::NotPerformed, Effect::Unknown, Effect::Performed] {
        let settled = State { ledger: Ledger::Settled(effect), ..held.clone() };
        assert_eq!(decide(&settled, NOW), Step::WriteStatus, "{effect:?}");
    }
    check(vec![
        ("an open claim is resolved", State { ledger: open(None), ..held.clone() }, Step::Probe),
        (
            "an open claim may be in flight",
            State { ledger: open(Some(later(5))), ..held.clone() },
            wait(WaitReason::AwaitingPriorAttempt, later(5)),
        ),
        ("an open claim may not be in flight any more", State { ledger: open(Some(NOW)), ..held }, Step::Probe),
    ]);
}

#[test]
fn an_expiry_is_remembered_before_the_status_is_written() {
    let ended = |expires, remembered, step| {
        let asked = asking(Desired { expires, ..desired() });
        ("", State { ledger: Ledger::Settled(Effect::Performed), remembered, ..asked }, step)
    };
    check(vec![
        ended(None, None, Step::WriteStatus),
        ended(None, Some(later(60)), Step::WriteStatus),
        ended(Some(later(60)), None, Step::ExtendExpiry(later(60))),
        ended(Some(later(60)), Some(later(59)), Step::ExtendExpiry(later(60))),
        ended(Some(later(60)), Some(later(60)), Step::WriteStatus),
        ended(Some(later(60)), Some(later(61)), Step::WriteStatus),
        // It would not be performed any more.
        ended(Some(NOW), None, Step::WriteStatus),
        ended(Some(later(-60)), None, Step::WriteStatus),
    ]);
}

#[test]
fn ungranted_record_is_extended_in_turn_up_to_the_expiry() {
    let ended = |ungranted, closing| State {
        ledger: Ledger::Settled(Effect::NotPerformed),
        ungranted,
        closing,
        ..asking(Desired { expires: Some(later(60)), ..desired() })
    };
    let queued = |seconds| Turn::Later { until: later(seconds), reason: WaitReason::RateLimited };
    check(vec![
        ("no turn yet", ended(true, Turn::NotAsked), Step::TakeClosingSlot),
        ("its turn", ended(true, Turn::Now), Step::ExtendExpiry(later(60))),
        ("a turn later", ended(true, queued(9)), wait(WaitReason::RateLimited, later(9))),
        ("a turn after the expiry", ended(true, queued(61)), wait(WaitReason::RateLimited, later(60))),
        ("another record", ended(false, Turn::NotAsked), Step::ExtendExpiry(later(60))),
    ]);
}

#[test]
fn nothing_is_sent_or_closed_while_the_clocks_disagree() {
    let skew = |seconds| wait(WaitReason::ClockSkew, later(seconds));
    let by = |server_time, desired| State { server_time, ..asking(desired) };
    let over = Desired { deadline: NOW, ..desired() };
    let expired = Desired { expires: Some(later(-60)), ..desired() };
    let ahead = Desired { deadline: later(5), ..desired() };
    let claimed = |state| State { attempt: OwnAttempt::Claimed { too_late: false, confirmed: true }, ..state };
    let never_sent = || settle(Effect::NotPerformed, Evidence::NeverSent);
    check(vec![
        ("both have passed the deadline", by(Some(NOW), over), ends(CloseCause::DeadlineExceeded)),
        ("both have passed the expiry", by(Some(later(-60)), expired), ends(CloseCause::Expired)),
        ("the server is 5 s before the deadline", by(Some(later(-5)), over), skew(5)),
        ("the server is a day before it", by(Some(later(-86_400)), over), skew(300)),
        ("the server is 2 minutes before it", by(Some(later(-120)), over), skew(120)),
        ("its Date has no fractions of a second", by(Some(later(-1)), over), skew(1)),
        ("no Date", by(None, over), skew(10)),
        ("the server is before the expiry", by(Some(later(-63)), expired), skew(3)),
        ("the server has passed the deadline alone", by(Some(later(9)), ahead), skew(5)),
        ("neither has passed it", by(Some(later(-9)), desired()), Step::Claim),
        ("neither, without a Date", by(None, desired()), Step::Claim),
        ("no Date, and a minute later", by(None, expired), skew(60)),
        ("no Date, and an hour later", by(None, Desired { deadline: later(-3600), ..over }), skew(300)),
        ("suspended", by(None, Desired { suspended: true, ..over }), skew(10)),
        ("the Date is too old", State { read_at: later(-2), ..by(Some(later(-2)), over) }, Step::Gather),
        ("it is too old again", State { read_at: later(-2), refreshed: true, ..by(Some(later(-2)), over) }, skew(2)),
        ("claimed, and the deadline may have passed", claimed(by(None, over)), never_sent()),
        ("claimed, and the server has passed the deadline", claimed(by(Some(later(9)), ahead)), never_sent()),
    ]);
    let refused = Some(Refused { write: RecordWrite::ExtendExpiry, until: later(9) });
    let settled = |state| State { ledger: Ledger::Settled(Effect::Performed), ..state };
    check(vec![
        ("an expiry that both have passed", settled(by(Some(NOW), expired)), Step::WriteStatus),
        ("one that the server has not passed", settled(by(Some(later(-61)), expired)), Step::ExtendExpiry(later(-60))),
        (
            "its write is refused",
            State { refused, ..settled(by(None, expired)) },
            wait(WaitReason::WriteRefused, later(9)),
        ),
    ]);
}

#[test]
fn gates_hold_a_reset_back_in_this_order() {
    let retry = retryable(later(30));
    let mut held = State {
        ledger: retry,
        permission: Permission::Denied(WaitReason::ConflictingGrants),
        user_busy: Some(later(1)),
        pace: Pace::Later { until: later(2), reason: PaceReason::RateLimited },
        credentials: Credentials::Unavailable { until: later(3), reason: CredentialsReason::RegionNotServed },
        ..asking(Desired { suspended: true, expires: Some(later(-1)), deadline: later(-1), ..desired() })
    };
    assert_eq!(decide(&held, NOW), ends(CloseCause::Expired));
    let not_confirmed = State { permission: Permission::NotConfirmed { until: later(4) }, ..held.clone() };
    assert_eq!(decide(&not_confirmed, NOW), wait(WaitReason::GrantsNotConfirmed, later(4)));
    held.request = Request::Pending(Desired { suspended: true, deadline: NOW, ..desired() });
    assert_eq!(decide(&held, NOW), ends(CloseCause::DeadlineExceeded));
    held.request = Request::Pending(Desired { suspended: true, ..desired() });
    assert_eq!(decide(&held, NOW), wait(WaitReason::Suspended, later(3600)));
    let unreadable = Permission::Unreadable { until: later(4) };
    let unread = State { permission: unreadable, request: Request::Pending(desired()), ..held.clone() };
    assert_eq!(decide(&unread, NOW), wait(WaitReason::UserPoolHeld, later(4)));
    let not_confirmed = Permission::NotConfirmed { until: later(4) };
    let unread = State { permission: not_confirmed, request: Request::Pending(desired()), ..held.clone() };
    assert_eq!(decide(&unread, NOW), wait(WaitReason::GrantsNotConfirmed, later(4)));
    held.request = Request::Pending(Desired { expires: Some(later(600)), ..desired() });
    assert_eq!(decide(&held, NOW), wait(WaitReason::ConflictingGrants, later(600)));
    held.permission = Permission::Granted;
    assert_eq!(decide(&held, NOW), wait(WaitReason::Throttled, later(30)));
    held.ledger = retryable(NOW);
    assert_eq!(decide(&held, NOW), wait(WaitReason::AwaitingPriorAttempt, later(1)));
    held.user_busy = None;
    assert_eq!(decide(&held, NOW), Step::AwaitTurn { reason: WaitReason::RateLimited, until: later(2) });
    held.pace = Pace::Now;
    assert_eq!(decide(&held, NOW), wait(WaitReason::RegionNotServed, later(3)));
    held.credentials = Credentials::Loaded;
    assert_eq!(decide(&held, NOW), Step::Claim);
}

#[test]
fn record_that_is_assumed_absent_is_read_before_other_steps() {
    let free = || assumed(free());
    let pending = |desired| State { request: Request::Pending(desired), ..free() };
    let later_turn = Pace::Later { until: later(2), reason: PaceReason::RateLimited };
    let unavailable = Credentials::Unavailable { until: later(3), reason: CredentialsReason::RegionNotServed };
    check(vec![
        ("nothing is known", assumed(State::unknown(3)), Step::Gather),
        ("no credentials yet", State { credentials: Credentials::NotLoaded, ..free() }, Step::LoadCredentials),
        ("the user is not read", State { before: Snapshot::NotRead, ..free() }, Step::TakeSnapshot),
        ("the user was read", free(), Step::Claim),
        ("a claim of its own", State { attempt: claimed(true), assumed: false, ..free() }, Step::Send),
        ("no turn", State { pace: later_turn, ..free() }, Step::Gather),
        ("no credentials", State { credentials: unavailable, ..free() }, Step::Gather),
        ("suspended", pending(Desired { suspended: true, ..desired() }), Step::Gather),
        ("past the deadline", pending(Desired { deadline: NOW, ..desired() }), Step::Gather),
        ("not granted", State { permission: Permission::Denied(WaitReason::NoMatchingGrant), ..free() }, Step::Gather),
        ("the user is busy", State { user_busy: Some(later(1)), ..free() }, Step::Gather),
        ("another user", State { user_changed: true, ..free() }, Step::Gather),
        ("finished", State { request: Request::Finished, ..free() }, Step::Gather),
        ("gone", State { request: Request::Gone, ..free() }, Step::Gather),
    ]);
}

#[test]
fn user_is_read_in_its_turn_before_an_approval() {
    let awaiting = |change: fn(&mut State)| {
        let mut state = State { permission: Permission::AwaitsApproval, ..free() };
        change(&mut state);
        state
    };
    let waits = |until| wait(WaitReason::AwaitingApproval, later(until));
    check(vec![
        ("another request of the user", awaiting(|it| it.user_busy = Some(later(1))), waits(1)),
        (
            "no turn",
            awaiting(|it| it.pace = Pace::Later { until: later(2), reason: PaceReason::RateLimited }),
            Step::AwaitTurn { reason: WaitReason::AwaitingApproval, until: later(2) },
        ),
        ("no credentials yet", awaiting(|it| it.credentials = Credentials::NotLoaded), Step::LoadCredentials),
        (
            "no credentials",
            awaiting(|it| {
                it.credentials =
                    Credentials::Unavailable { until: later(3), reason: CredentialsReason::RegionNotServed };
            }),
            waits(3),
        ),
        ("not read", awaiting(|it| it.before = Snapshot::NotRead), Step::TakeSnapshot),
        ("not readable", awaiting(|it| it.before = Snapshot::Unreadable { until: later(4) }), waits(4)),
        (
            "no response",
            awaiting(|it| it.before = Snapshot::NoResponse { until: later(5), reason: ReadReason::Throttled }),
            waits(5),
        ),
        ("no such user", awaiting(|it| it.before = Snapshot::Refused(Exception::UserNotFound)), waits(3600)),
        ("read", awaiting(|it| it.before = Snapshot::Read(UserStatus::ResetRequired)), Step::Gather),
    ]);
}

#[test]
fn nothing_is_sent_while_a_required_user_cannot_be_read() {
    let required = |before| State { before, ..asking(Desired { user_required: true, ..desired() }) };
    let nobody = Snapshot::Refused(Exception::UserNotFound);
    check(vec![
        (
            "it cannot be read now",
            required(Snapshot::Unreadable { until: later(9) }),
            wait(WaitReason::UserStateUnreadable, later(9)),
        ),
        ("there is no such user", required(nobody), ends(CloseCause::UserReadRefused)),
        ("it was read", required(Snapshot::Read(UserStatus::Confirmed)), Step::Claim),
        ("it has to reset already", required(Snapshot::Read(UserStatus::ResetRequired)), Step::Claim),
    ]);
}

#[test]
fn nothing_is_sent_for_another_user_than_the_one_shown() {
    let changed = |before| State { user_changed: true, before, ..free() };
    let wanted = ends(CloseCause::UserChanged);
    let read = changed(Snapshot::Read(UserStatus::Confirmed));
    let skip = Request::Pending(Desired { skip_if_reset_required: true, ..desired() });
    let has_to_reset = changed(Snapshot::Read(UserStatus::ResetRequired));
    let no_response = Snapshot::NoResponse { until: later(9), reason: ReadReason::Unreachable };
    check(vec![
        ("another user", read.clone(), wanted.clone()),
        ("another user, and its state is not known", changed(Snapshot::Unreadable { until: later(9) }), wanted.clone()),
        ("another user, who has to reset", State { request: skip, ..has_to_reset }, wanted.clone()),
        ("another user before a retry", State { ledger: retryable(later(-1)), ..read.clone() }, wanted),
        ("the read is to be repeated", changed(Snapshot::NotRead), Step::TakeSnapshot),
        ("no response to the read", changed(no_response), wait(WaitReason::CognitoUnreachable, later(9))),
    ]);
}

#[test]
fn closing_after_a_read_of_the_user_waits_for_no_further_turn() {
    let skip = Request::Pending(Desired { skip_if_reset_required: true, ..desired() });
    let closing = |before| State { request: skip.clone(), before, closing: Turn::NotAsked, ..free() };
    let changed = State { user_changed: true, ..closing(Snapshot::Read(UserStatus::Confirmed)) };
    let over = Request::Pending(Desired { deadline: NOW, ..desired() });
    check(vec![
        ("skipped", closing(Snapshot::Read(UserStatus::ResetRequired)), ends(CloseCause::AlreadyResetRequired)),
        ("refused", closing(Snapshot::Refused(Exception::UserNotFound)), ends(CloseCause::UserReadRefused)),
        ("another user", changed.clone(), ends(CloseCause::UserChanged)),
        ("past the deadline", State { request: over, ..changed }, Step::TakeClosingSlot),
    ]);
}

#[test]
fn a_refused_write_is_retried_after_its_pause_until_it_is_over() {
    let refused =
        |write, until, desired| State { refused: Some(Refused { write, until: later(until) }), ..asking(desired) };
    let (claim, remember) = (RecordWrite::Claim, RecordWrite::ExtendExpiry);
    let close = RecordWrite::Close(CloseCause::DeadlineExceeded);
    let held = |until| wait(WaitReason::WriteRefused, later(until));
    let over = Desired { deadline: NOW, ..desired() };
    let expired = Desired { expires: Some(NOW), ..desired() };
    let expiring = Desired { expires: Some(later(60)), ..desired() };
    let skip = Desired { skip_if_reset_required: true, ..desired() };
    let has_to_reset = Snapshot::Read(UserStatus::ResetRequired);
    let nothing_asked = |state| State { credentials: Credentials::NotLoaded, before: Snapshot::NotRead, ..state };
    let settled = |state| State { ledger: Ledger::Settled(Effect::Performed), ..state };
    check(vec![
        ("a claim", refused(claim, 9, desired()), held(9)),
        ("a claim, to be prepared again", nothing_asked(refused(claim, 9, desired())), held(9)),
        ("what happened to others", refused(RecordWrite::EarlierEffects, 9, desired()), held(9)),
        (
            "what happened to others does not end it",
            refused(RecordWrite::EarlierEffects, 9, over),
            ends(CloseCause::DeadlineExceeded),
        ),
        ("a claim, long enough ago", refused(claim, 0, desired()), Step::Claim),
        ("a claim, up to the deadline", refused(claim, 9000, desired()), held(3600)),
        ("a claim, up to the expiry", refused(claim, 9000, expiring), held(60)),
        ("a claim, the deadline having passed", refused(claim, 9, over), ends(CloseCause::DeadlineExceeded)),
        ("a claim, expired since", refused(claim, 9, expired), ends(CloseCause::Expired)),
        (
            "a claim, suspended since",
            refused(claim, 9, Desired { suspended: true, ..desired() }),
            wait(WaitReason::Suspended, later(3600)),
        ),
        ("a closing by the deadline", refused(close, 9, over), held(9)),
        ("a closing by the expiry", refused(RecordWrite::Close(CloseCause::Expired), 9, expired), held(9)),
        (
            "a closing of what is to be skipped",
            State { before: has_to_reset, ..refused(RecordWrite::Close(CloseCause::AlreadyResetRequired), 9, skip) },
            held(9),
        ),
        ("a closing, long enough ago", refused(close, 0, over), ends(CloseCause::DeadlineExceeded)),
        ("a closing says nothing of a claim", refused(close, 9, desired()), Step::Claim),
        ("an expiry to be remembered", settled(refused(remember, 9, expiring)), held(9)),
        ("an expiry, up to that", settled(refused(remember, 9000, expiring)), held(60)),
        ("an expiry, long enough ago", settled(refused(remember, 0, expiring)), Step::ExtendExpiry(later(60))),
        ("an expiry that has passed", settled(refused(remember, 9, expired)), Step::WriteStatus),
        ("a claim says nothing of an expiry", settled(refused(claim, 9, expiring)), Step::ExtendExpiry(later(60))),
        ("settled since", settled(refused(claim, 9, over)), Step::WriteStatus),
        (
            "claimed by somebody else since",
            State { ledger: open(Some(later(5))), ..refused(claim, 9, desired()) },
            wait(WaitReason::AwaitingPriorAttempt, later(5)),
        ),
    ]);
}

#[test]
fn nothing_is_sent_where_a_read_got_no_response() {
    let skip = Desired { skip_if_reset_required: true, ..desired() };
    let soon = Desired { deadline: later(5), ..desired() };
    for read in [ReadReason::Unreachable, ReadReason::Throttled] {
        let before = Snapshot::NoResponse { until: later(9), reason: read };
        let (reason, unread) = (read.into(), |desired| State { before, ..asking(desired) });
        check(vec![
            ("any request", unread(desired()), wait(reason, later(9))),
            ("one that needs the state", unread(skip), wait(reason, later(9))),
            ("no longer than until the deadline", unread(soon), wait(reason, later(5))),
        ]);
    }
}

#[test]
fn skip_needs_the_users_state_and_sends_no_second_reset() {
    let skip = |before| State { before, ..asking(Desired { skip_if_reset_required: true, ..desired() }) };
    let has_to_reset = Snapshot::Read(UserStatus::ResetRequired);
    check(vec![
        ("unreadable", skip(Snapshot::Unreadable { until: later(9) }), wait(WaitReason::UserStateUnreadable, later(9))),
        ("has to reset", skip(has_to_reset), ends(CloseCause::AlreadyResetRequired)),
        ("may not be the granted user", State { user_evaluated: false, ..skip(has_to_reset) }, Step::Gather),
        ("there is no such user", skip(Snapshot::Refused(Exception::UserNotFound)), ends(CloseCause::UserReadRefused)),
        (
            "there is no such pool",
            skip(Snapshot::Refused(Exception::ResourceNotFound)),
            ends(CloseCause::UserReadRefused),
        ),
        // What only suggests that a reset will be refused is left to the call.
        ("confirmed", skip(Snapshot::Read(UserStatus::Confirmed)), Step::Claim),
        ("has a temporary password", skip(Snapshot::Read(UserStatus::ForceChangePassword)), Step::Claim),
        ("signs in elsewhere", skip(Snapshot::Read(UserStatus::ExternalProvider)), Step::Claim),
    ]);
}

#[test]
fn a_claim_is_not_sent_too_late_or_after_its_request() {
    let never = settle(Effect::NotPerformed, Evidence::NeverSent);
    let claimed = |too_late, desired| {
        let attempt = OwnAttempt::Claimed { too_late, confirmed: true };
        State { attempt, ..asking(desired) }
    };
    check(vec![
        ("too late", claimed(true, desired()), never.clone()),
        ("expired since", claimed(false, Desired { expires: Some(NOW), ..desired() }), never.clone()),
        ("deadline since", claimed(false, Desired { deadline: NOW, ..desired() }), never),
    ]);
}

#[test]
fn a_response_that_proves_something_is_recorded_at_once() {
    check(vec![
        ("accepted", called(ResetResponse::Accepted), settle(Effect::Performed, Evidence::CognitoResponse)),
        (
            "not sent",
            called(ResetResponse::NotSent(FailureCause::Dns)),
            settle(Effect::NotPerformed, Evidence::Unreachable),
        ),
    ]);
    for exception in Exception::ALL {
        let step = decide(&called(ResetResponse::Exception(Code::Known(*exception))), NOW);
        let wanted = match Class::of(*exception) {
            Class::Refused | Class::Throttled | Class::Blocked => {
                settle(Effect::NotPerformed, Evidence::CognitoResponse)
            }
            Class::Ambiguous | Class::AmbiguousFailure => Step::Probe,
        };
        assert_eq!(step, wanted, "{exception:?}");
    }
    let unrecognized = ResetResponse::Exception(Code::Unrecognized("BrandNew".into()));
    check(vec![
        ("lost", called(ResetResponse::NoResponse), Step::Probe),
        ("unrecognized", called(unrecognized), Step::Probe),
    ]);
}

#[test]
fn only_having_to_reset_now_and_not_before_proves_a_reset() {
    let unknown = settle(Effect::Unknown, Evidence::Inconclusive);
    let performed = settle(Effect::Performed, Evidence::UserStatusCheck);
    let lost = |before, probes| State { before, probes, ..called(ResetResponse::NoResponse) };
    let confirmed = Snapshot::Read(UserStatus::Confirmed);
    let attributed = |attribution| State { attribution, ..lost(confirmed, seen(UserStatus::ResetRequired)) };
    check(vec![
        ("reset required since", lost(confirmed, seen(UserStatus::ResetRequired)), Step::ListUserRecords),
        ("reset by this request", attributed(Attribution::Own), performed),
        ("maybe reset by another one", attributed(Attribution::Unclear), unknown.clone()),
        ("maybe in flight", attributed(Attribution::AwaitsOther { until: later(1) }), Step::ListUserRecords),
        ("not in flight any more", attributed(Attribution::AwaitsOther { until: NOW }), Step::ListUserRecords),
        (
            "reset required before, by this request",
            State { before: Snapshot::Read(UserStatus::ResetRequired), ..attributed(Attribution::Own) },
            unknown.clone(),
        ),
        (
            "reset required before",
            lost(Snapshot::Read(UserStatus::ResetRequired), seen(UserStatus::ResetRequired)),
            unknown.clone(),
        ),
        (
            "not read before",
            lost(Snapshot::Unreadable { until: NOW }, seen(UserStatus::ResetRequired)),
            unknown.clone(),
        ),
        // Such a record can only be an older operator's.
        (
            "not known before",
            lost(Snapshot::Read(UserStatus::Unknown), seen(UserStatus::ResetRequired)),
            unknown.clone(),
        ),
        ("not yet", lost(confirmed, seen(UserStatus::Confirmed)), Step::Probe),
        ("never", lost(confirmed, Probes { left: 0, last: Some(UserStatus::Confirmed) }), unknown.clone()),
        ("unreadable", lost(confirmed, Probes { left: 0, last: None }), unknown),
    ]);
}

#[test]
fn user_is_read_by_the_source_of_the_grants() {
    let unread = |source| State { source, before: Snapshot::NotRead, ..free() };
    let skip = Desired { skip_if_reset_required: true, ..desired() };
    let required = Desired { user_required: true, ..desired() };
    let of = |source, desired, before| State { source, before, ..asking(desired) };
    let nobody = UserStateSource::None;
    let list = UserStateSource::ListUsers;
    let not_read = wait(WaitReason::UserStateNotRead, later(3600));
    let no_turn = Pace::Later { until: later(5), reason: PaceReason::RateLimited };
    check(vec![
        ("by AdminGetUser", unread(UserStateSource::AdminGetUser), Step::TakeSnapshot),
        ("by ListUsers", unread(list), Step::ListUser),
        (
            "a turn is spaced for one list",
            State { listed: true, ..unread(list) },
            Step::AwaitTurn { reason: WaitReason::RateLimited, until: NOW },
        ),
        (
            "an earlier list does not matter",
            State { listed: true, ..unread(UserStateSource::AdminGetUser) },
            Step::TakeSnapshot,
        ),
        ("not at all", unread(nobody), Step::Claim),
        ("not at all, by an old read", State { read_at: later(-2), ..unread(nobody) }, Step::Gather),
        ("an assumed record", State { assumed: true, ..unread(list) }, Step::ListUser),
        ("Skip without a read", of(nobody, skip, Snapshot::NotRead), not_read.clone()),
        ("a required user without a read", of(nobody, required, Snapshot::NotRead), not_read.clone()),
        (
            "Skip without a read and without a turn",
            State { pace: no_turn, ..of(nobody, skip, Snapshot::NotRead) },
            not_read,
        ),
        ("Skip of a listed user", of(list, skip, Snapshot::Listed(UserStatus::Confirmed)), Step::Claim),
        (
            "Skip of a listed user who has to reset",
            of(list, skip, Snapshot::Listed(UserStatus::ResetRequired)),
            ends(CloseCause::AlreadyResetRequired),
        ),
        (
            "Skip of a user who is not listed",
            of(list, skip, Snapshot::Unreadable { until: later(9) }),
            wait(WaitReason::UserStateUnreadable, later(9)),
        ),
        (
            "a listed user who is another one",
            State { user_changed: true, ..of(list, desired(), Snapshot::Listed(UserStatus::Confirmed)) },
            ends(CloseCause::UserChanged),
        ),
    ]);
}

#[test]
fn listed_state_and_no_state_prove_nothing_after_a_lost_call() {
    let unknown = settle(Effect::Unknown, Evidence::Inconclusive);
    let list = UserStateSource::ListUsers;
    let nobody = UserStateSource::None;
    let required = seen(UserStatus::ResetRequired);
    let unprobed = Probes { left: 3, last: None };
    let listed = Snapshot::Listed(UserStatus::Confirmed);
    let lost = |source, before, probes| State { source, before, probes, ..called(ResetResponse::NoResponse) };
    let of_another = |baseline, probes| State {
        ledger: Ledger::Open { in_flight_until: None, baseline },
        before: Snapshot::NotRead,
        probes,
        ..free()
    };
    check(vec![
        ("a listed state is probed", lost(list, listed, unprobed), Step::Probe),
        ("a reset after a listed state", lost(list, listed, required), unknown.clone()),
        (
            "a reset after a listed state, by this request",
            State { attribution: Attribution::Own, ..lost(list, listed, required) },
            unknown.clone(),
        ),
        ("no reset after a listed state", lost(list, listed, seen(UserStatus::Confirmed)), Step::Probe),
        ("never read", lost(nobody, Snapshot::NotRead, unprobed), unknown.clone()),
        (
            "an exception, never read",
            State {
                attempt: OwnAttempt::Called(ResetResponse::Exception(Code::Known(Exception::InternalError))),
                ..lost(nobody, Snapshot::NotRead, unprobed)
            },
            unknown.clone(),
        ),
        ("another process's, never read", of_another(Baseline::NotRead, unprobed), unknown.clone()),
        ("another process's, not known", of_another(Baseline::Unknown, unprobed), Step::Probe),
        ("another process's, reset since", of_another(Baseline::Unknown, required), unknown),
    ]);
}

#[test]
fn somebody_elses_open_claim_is_resolved_and_never_sent() {
    let open_claim = |request, probes| State { request, ledger: open(None), probes, ..free() };
    let pending = || Request::Pending(desired());
    let none_left = Probes { left: 0, last: None };
    for request in [pending(), Request::Gone] {
        let state = |probes| open_claim(request.clone(), probes);
        let attributed = |attribution| State { attribution, ..state(seen(UserStatus::ResetRequired)) };
        check(vec![
            ("no probe yet", state(Probes { left: 3, last: None }), Step::Probe),
            ("not attributed yet", state(seen(UserStatus::ResetRequired)), Step::ListUserRecords),
            ("proven", attributed(Attribution::Own), settle(Effect::Performed, Evidence::UserStatusCheck)),
            ("unclear", attributed(Attribution::Unclear), settle(Effect::Unknown, Evidence::Inconclusive)),
            (
                "another one may be in flight",
                attributed(Attribution::AwaitsOther { until: later(7) }),
                wait(WaitReason::AwaitingPriorAttempt, later(7)),
            ),
            ("not proven", state(none_left), settle(Effect::Unknown, Evidence::Inconclusive)),
        ]);
    }
    let busy = State { user_busy: Some(later(1)), ..open_claim(pending(), none_left) };
    assert_eq!(decide(&busy, NOW), wait(WaitReason::AwaitingPriorAttempt, later(1)));
}

#[test]
fn a_retry_that_the_users_state_contradicts_is_not_sent() {
    let unknown = settle(Effect::Unknown, Evidence::Inconclusive);
    let has_to_reset = Snapshot::Read(UserStatus::ResetRequired);
    let skip = Desired { skip_if_reset_required: true, ..desired() };
    let retry = |desired, before| State { ledger: retryable(NOW), before, ..asking(desired) };
    let claimed = |state| State { attempt: OwnAttempt::Claimed { too_late: false, confirmed: true }, ..state };
    let probed = |last, left| State { probes: Probes { left, last }, ..claimed(retry(desired(), has_to_reset)) };
    let as_before = Ledger::Retryable { not_before: NOW, reason: RetryReason::Throttled, not_reset_before: false };
    check(vec![
        ("it is claimed", retry(desired(), has_to_reset), Step::Claim),
        ("also where it asks to skip", retry(skip, has_to_reset), Step::Claim),
        ("but not sent", claimed(retry(desired(), has_to_reset)), Step::Probe),
        ("the user still has to reset", probed(Some(UserStatus::ResetRequired), 2), unknown.clone()),
        ("the user has reset", probed(Some(UserStatus::Confirmed), 0), unknown.clone()),
        ("the deadline has passed", claimed(retry(Desired { deadline: NOW, ..desired() }, has_to_reset)), Step::Probe),
        (
            "the claim may not be stored",
            State {
                attempt: OwnAttempt::Claimed { too_late: true, confirmed: false },
                ..retry(desired(), has_to_reset)
            },
            settle(Effect::NotPerformed, Evidence::NeverSent),
        ),
        ("not contradicted", claimed(retry(desired(), Snapshot::Read(UserStatus::Confirmed))), Step::Send),
        ("not read", claimed(retry(desired(), Snapshot::Unreadable { until: NOW })), Step::Send),
        (
            "it had to reset before",
            claimed(State { ledger: as_before.clone(), ..retry(desired(), has_to_reset) }),
            Step::Send,
        ),
        (
            "to be skipped",
            State { ledger: as_before, ..retry(skip, has_to_reset) },
            ends(CloseCause::AlreadyResetRequired),
        ),
    ]);
}

#[test]
fn a_request_that_is_gone_or_has_ended_is_left_alone() {
    let retryable = retryable(NOW);
    for request in [Request::Gone, Request::Finished] {
        for ledger in [Ledger::Absent, retryable.clone(), Ledger::NotUsable, Ledger::Settled(Effect::Performed)] {
            let state = State { request: request.clone(), ledger, ..free() };
            assert_eq!(decide(&state, NOW), Step::Done, "{state:?}");
        }
    }
}

#[test]
fn a_record_that_cannot_be_used_is_never_a_call() {
    let state = State { ledger: Ledger::NotUsable, ..free() };
    assert_eq!(decide(&state, NOW), wait(WaitReason::RecordNotUsable, Timestamp::MAX));
}
