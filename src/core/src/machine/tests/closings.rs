//! The turns in which records are closed, and the records of ungranted requests.

use cognito_reset_api::{ApprovedBy, IfResetRequired, UserExtra};

use super::*;
use crate::{
    dispatch::closings::ClosingQueue,
    grants::{HeldBy, HoldCause},
    retention::policy,
};

/// Returns a request that is past its deadline, with this expiry.
fn over(expires: Option<SignedDuration>) -> PasswordResetRequest {
    let mut over = request();
    over.spec.deadline_seconds = Some(1);
    over.spec.not_after = expires.map(|after| Time(NOW + after));
    over.metadata.creation_timestamp = Some(Time(NOW - SignedDuration::from_secs(2)));
    over
}

/// Runs to the command after the grants.
fn gathered(request: PasswordResetRequest, record: Option<PasswordResetRecord>, grants: Evaluation) -> Run {
    let mut run = Run::new();
    run.expect([(read(request, record), "CheckGrants"), (Event::Grants(grants), "Recall")]);
    run.on(recalled(None, None));
    run
}

fn denied() -> Evaluation {
    evaluation(Err(WaitReason::NoMatchingGrant))
}

fn held() -> Evaluation {
    let held_by = HeldBy { hold: "incident".into(), others: 0, cause: HoldCause::Matches("incident 1042".into()) };
    Evaluation { held_by: Some(held_by), ..evaluation(Err(WaitReason::UserPoolHeld)) }
}

fn not_confirmed() -> Evaluation {
    Evaluation { confirmed: false, ..granted("reset") }
}

fn queue(run: &Run) -> ClosingQueue {
    match &run.command {
        Command::TakeClosingSlot { queue, .. } => *queue,
        other => panic!("{other}"),
    }
}

/// Returns the record that closing an ungranted request writes.
fn closed_ungranted() -> PasswordResetRecord {
    let mut run = gathered(over(None), None, denied());
    run.expect([(Event::Slot(Slot::Now), "WriteRecord")]);
    let mut record = PasswordResetRecord::clone(run.written());
    record.metadata.resource_version = Some("2".into());
    record
}

#[test]
fn closing_waits_for_its_turn_in_the_namespace() {
    let minute = || later(SignedDuration::from_secs(60));
    for (reason, grants) in [(WaitReason::NoMatchingGrant, denied()), (WaitReason::UserPoolHeld, held())] {
        let mut waits = gathered(over(None), None, grants);
        assert_eq!(queue(&waits), ClosingQueue::Short);
        waits.expect([(minute(), "WriteStatus")]);
        assert_eq!(waits.status().0, reason, "the reason stays, so that a queue costs no writes");
    }
    let mut allowed = gathered(over(None), None, granted("reset"));
    allowed.expect([(minute(), "WriteStatus")]);
    let (reason, message) = allowed.status();
    assert!(reason == WaitReason::RateLimited && message.contains("its record is closed"), "{message}");
    assert_eq!(allowed.until("Finish").end(), waits(WaitReason::RateLimited, Duration::from_secs(60)));
}

#[test]
fn nothing_is_closed_by_grants_that_are_not_confirmed() {
    let mut run = gathered(over(None), None, not_confirmed());
    assert_eq!(run.status().0, WaitReason::GrantsNotConfirmed);
    run = run.until("Finish");
    assert!(matches!(run.end(), Ok(Next::Wait { reason: WaitReason::GrantsNotConfirmed, .. })));
}

#[test]
fn user_to_be_skipped_is_evaluated_by_grants_and_holds_first() {
    let mut skip = request();
    skip.spec.if_reset_required = IfResetRequired::Skip;
    for (what, grants, follows) in [("granted", granted("reset"), "WriteRecord"), ("held", held(), "WriteStatus")] {
        let mut run = gathered(skip.clone(), None, granted("reset")).until("GetUser");
        run.expect([(user(UserStatus::ResetRequired), "Read"), (read(skip.clone(), None), "CheckGrants")]);
        run.expect([(Event::Grants(grants), "Recall"), (recalled(None, None), follows)]);
        assert!(what == "granted" || run.status().0 == WaitReason::UserPoolHeld, "{what}");
    }
}

#[test]
fn turn_is_good_for_one_write() {
    let mut run = gathered(over(None), None, denied());
    run.expect([(Event::Slot(Slot::Now), "WriteRecord"), (Event::RecordWritten(Written::Conflict), "Read")]);
    run.expect([(read(over(None), None), "CheckGrants"), (Event::Grants(denied()), "Recall")]);
    run.expect([(recalled(None, None), "TakeClosingSlot")]);
}

#[test]
fn only_ungranted_records_kept_longer_take_the_long_queue() {
    let (soon, far) = (Some(SignedDuration::from_mins(15)), Some(SignedDuration::from_hours(24 * 365)));
    for (what, expires, grants, wanted) in [
        ("no expiry", None, denied(), ClosingQueue::Short),
        ("an expiry soon", soon, denied(), ClosingQueue::Short),
        ("a far expiry", far, denied(), ClosingQueue::Long),
        ("granted", far, granted("reset"), ClosingQueue::Short),
        ("held", far, held(), ClosingQueue::Long),
    ] {
        assert_eq!(queue(&gathered(over(expires), None, grants)), wanted, "{what}");
    }
}

#[test]
fn expiry_of_an_ungranted_record_is_extended_in_turn() {
    let far = Some(SignedDuration::from_hours(24 * 365));
    let mut run = gathered(over(far), Some(closed_ungranted()), denied());
    assert_eq!(queue(&run), ClosingQueue::Long);
    run.expect([(Event::Slot(Slot::Now), "WriteRecord")]);
    assert_eq!(ledger::remembered(run.written()), far.map(|after| NOW + after));
    let mut waits = gathered(over(far), Some(closed_ungranted()), denied());
    waits.expect([(later(SignedDuration::from_mins(5)), "WriteStatus")]);
    let (reason, message) = waits.status();
    assert!(reason == WaitReason::RateLimited && message.contains("its record is closed"), "{message}");
    let claimed = settled(Effect::Performed, Evidence::CognitoResponse);
    assert_eq!(gathered(over(far), Some(claimed), denied()).command.name(), "WriteRecord", "a claimed one is not");
}

#[test]
fn what_was_not_granted_and_never_claimed_is_ungranted() {
    for (what, record, grants, ungranted) in [
        ("no grant", None, denied(), true),
        ("a grant that lacks an approval", None, evaluation(Err(WaitReason::AwaitingApproval)), true),
        ("a suspended grant", None, evaluation(Err(WaitReason::GrantSuspended)), true),
        ("a grant, and a hold", None, held(), true),
        ("a grant", None, granted("reset"), false),
        ("claimed before", Some(settled(Effect::NotPerformed, Evidence::NeverSent)), denied(), false),
    ] {
        let mut run = gathered(over(None), record, grants);
        run.expect([(Event::Slot(Slot::Now), "WriteRecord")]);
        let written = run.written().clone();
        let closed = written.spec.closed.as_ref().unwrap();
        assert_eq!((closed.ungranted, closed.origin.reason.is_none()), (ungranted, ungranted), "{what}");
        assert_eq!(ledger::is_ungranted(&written), ungranted, "{what}");
    }
}

#[test]
fn ungranted_record_of_the_largest_request_is_small() {
    let text = |length: usize| "\u{1F511}".repeat(length);
    let extra = UserExtra {
        arn: Some("a".repeat(640)),
        principal_id: Some("a".repeat(128)),
        session_name: Some("a".repeat(64)),
    };
    let mut large = over(Some(SignedDuration::from_hours(1)));
    large.metadata.namespace = Some("n".repeat(63));
    large.metadata.name = Some("n".repeat(253));
    large.spec.user_pool_id = "p".repeat(55);
    large.spec.username = text(128);
    large.spec.reason = Some(text(1024));
    large.spec.ticket = Some(text(256));
    large.spec.on_behalf_of = Some(text(256));
    large.spec.requested_by.username = text(1024);
    large.spec.requested_by.uid = Some(text(256));
    large.spec.requested_by.extra = Some(extra.clone());
    large.spec.approved_by = Some(ApprovedBy { username: text(1024), uid: Some(text(256)), extra: Some(extra) });
    let mut run = Run::of(Identity::of_request(&large), turn(ACCOUNT), false);
    run.expect([(read(large, None), "CheckGrants"), (Event::Grants(denied()), "Recall")]);
    run.expect([(recalled(None, None), "TakeClosingSlot"), (Event::Slot(Slot::Now), "WriteRecord")]);
    let closed = run.written().spec.closed.clone().unwrap();
    assert_eq!((closed.origin.requested_by.extra, closed.origin.approved_by), (None, None));
    let bytes = serde_json::to_vec(&**run.written()).unwrap().len();
    println!("{bytes} bytes");
    assert!(bytes < policy::MOST_UNGRANTED_BYTES, "{bytes} bytes, without what the API server adds");
}
