//! The turn that a reconcile begins with, or the reason why it has none.

use cognito_reset_api::Exception;

use super::*;
use crate::{action::response::Code, dispatch::turns::GrantLimit};

#[test]
fn turn_that_is_lost_before_the_claim_leaves_nothing() {
    for lost in
        [PaceReason::RateLimited, PaceReason::Throttled, PaceReason::DeliveryFailing, PaceReason::CognitoUnreachable]
    {
        let mut run = Run::new().until("GetUser");
        run.expect([(reply(&run.command), "CheckGrants"), (Event::TurnLost(lost), "Finish")]);
        assert_eq!(run.end(), needs_turn(true), "it may have the next turn at once");
        assert!(!run.notes.contains(&Note::Claimed));
    }
}

#[test]
fn turn_that_is_lost_after_the_claim_is_not_used() {
    let mut run = Run::new().until("WriteRecord");
    run.expect([(stored(run.written()), "CheckGrants"), (Event::TurnLost(PaceReason::DeliveryFailing), "WriteRecord")]);
    assert_eq!(last(run.written()).evidence, Some(Evidence::NeverSent));
    // The pause before another attempt is over, so that nothing but a turn is lacking.
    let mut settled = PasswordResetRecord::clone(run.written());
    settled.metadata.resource_version = Some("3".into());
    run.expect([(Event::RecordWritten(Written::Stored(settled.into())), "Recall")]);
    run.pass(Duration::from_secs(3600));
    run.expect([(recalled(None, None), "Finish")]);
    assert_eq!(run.end(), needs_turn(false));
}

#[test]
fn turn_is_asked_about_right_before_claim_and_call_only() {
    let mut run = Run::new();
    let mut purposes = Vec::new();
    while run.command.name() != "Finish" {
        if let Command::CheckGrants { purpose, .. } = &run.command {
            purposes.push(*purpose);
        }
        let event = reply(&run.command);
        run.on(event);
    }
    assert_eq!(purposes, [Purpose::Read, Purpose::Claim, Purpose::Send]);
    let mut run = Run::new().until("CheckGrants");
    run.expect([(Event::TurnLost(PaceReason::Throttled), "Finish")]);
    assert_eq!(run.end(), Err(ReconcileError::Panicked));
}

#[test]
fn turn_is_good_for_one_claim_of_its_lane() {
    let mut of_another_account = Run::of(identity(), turn("444455556666"), false).until("Recall");
    of_another_account.expect([(recalled(None, None), "Finish")]);
    assert_eq!(of_another_account.end(), needs_turn(true));
    let mut throttled = Run::new().until("Call");
    let response = ResetResponse::Exception(Code::Known(Exception::TooManyRequests));
    throttled.expect([(Event::Response(Reply::of(response)), "WriteRecord")]);
    throttled.expect([(stored(&throttled.written().clone()), "Recall")]);
    throttled.pass(Duration::from_secs(3600));
    throttled.expect([(recalled(None, None), "Finish")]);
    assert_eq!(throttled.end(), needs_turn(false));
}

/// The evaluation of a request that counts for the limits of this grant.
fn limited(grant: &str) -> Evaluation {
    evaluation(Ok(Authorization { limits: limits(grant), ..authorized("reset") }))
}

#[test]
fn turn_by_the_limits_of_a_grant_is_good_for_no_other() {
    let turn_of = |grant: Option<&str>| match turn(ACCOUNT) {
        Start::Turn { lane, own_account, source, assume_unclaimed, .. } => {
            Start::Turn { lane, grant: grant.map(Into::into), own_account, source, assume_unclaimed }
        }
        look @ Start::Look { .. } => look,
    };
    let source = UserStateSource::AdminGetUser;
    let wanted = |limits| Ok(Next::NeedsTurn { is_unclaimed: true, account: Some(ACCOUNT.into()), source, limits });
    for (turn, said, ends) in [
        (Some("slow"), limited("slow"), None),
        (Some("slow"), limited("other"), Some(limits("other"))),
        (Some("slow"), granted("reset"), Some(None)),
        (None, limited("slow"), Some(limits("slow"))),
    ] {
        let mut run = Run::of(identity(), turn_of(turn), false).until("CheckGrants");
        run.expect([(Event::Grants(said.clone()), "Recall")]);
        let next = run.on(recalled(None, None)).name();
        assert_eq!(next == "LoadCredentials", ends.is_none(), "{turn:?}, {said}: {next}");
        if let Some(limits) = ends {
            assert_eq!(run.end(), wanted(limits), "{turn:?}, {said}");
        }
    }
    // Once the user is known, another grant allows the request.
    let mut run = Run::of(identity(), turn_of(Some("slow")), false).until("CheckGrants");
    run.expect([(Event::Grants(limited("slow")), "Recall")]);
    let mut run = run.until("GetUser");
    run.expect([(reply(&Command::GetUser { session: "session", after: None }), "CheckGrants")]);
    run.expect([(Event::Grants(limited("other")), "Read")]);
    run.expect([(read(request(), None), "CheckGrants"), (Event::Grants(limited("other")), "Recall")]);
    run.expect([(recalled(None, None), "Finish")]);
    assert_eq!(run.end(), wanted(limits("other")));
}

#[test]
fn look_at_a_request_names_the_limit_that_it_waits_for() {
    for (limit, says) in [
        (GrantLimit::Rate, "UserPoolGrant slow limits its resets per minute to 30 (maxResetsPerMinute)"),
        (
            GrantLimit::Share,
            "UserPoolGrant slow takes 5 % of the resets of the AWS account and Region (maxSharePercent)",
        ),
    ] {
        let looking = || Run::looking(PaceReason::GrantLimited(limit), SignedDuration::from_secs(60));
        let mut run = looking().until("CheckGrants");
        run.expect([(Event::Grants(limited("slow")), "Recall"), (recalled(None, None), "WriteStatus")]);
        let (reason, message) = run.status();
        assert!(reason == WaitReason::RateLimited && message.contains(says), "{reason}: {message}");
        let (reason, message) = looking().until("WriteStatus").status();
        assert!(reason == WaitReason::RateLimited && message.contains("--rate"), "no limit any more: {message}");
    }
}

#[test]
fn look_reports_what_is_known_and_claims_nothing() {
    let minute = SignedDuration::from_secs(60);
    let looking = || Run::looking(PaceReason::DeliveryFailing, minute);
    let run = looking().until("WriteStatus");
    assert_eq!(run.status().0, WaitReason::DeliveryFailing);
    assert_eq!(run.until("Finish").end(), needs_turn(true));
    // An open claim is resolved, and a settled record is reported.
    let mut open = looking();
    open.expect([(read(request(), Some(record(|_| ()))), "CheckGrants")]);
    assert_eq!(open.until("WriteRecord").written().spec.effect, Some(Effect::Unknown));
    let mut known = looking();
    known.expect([(read(request(), Some(settled(Effect::Performed, Evidence::CognitoResponse))), "CheckGrants")]);
    let known = known.until("WriteStatus");
    assert_eq!(known.status().0, Reason::End(EndReason::ResetAccepted));
    let mut busy = Run::of(identity(), turn(ACCOUNT), true);
    busy.expect([(read(request(), Some(settled(Effect::Performed, Evidence::CognitoResponse))), "CheckGrants")]);
    assert_eq!(busy.until("Finish").end(), Ok(Next::Done));
}
