//! A request that is assumed to have no record.

use cognito_reset_api::{Exception, IfResetRequired};

use super::*;
use crate::{
    action::{
        port::{ReadError, SessionFailure},
        response::Code,
        user_names::KnownUser,
    },
    machine::{FIRST_PAUSE, state},
};

#[test]
fn request_without_a_record_is_read_once_and_claimed() {
    let mut run = Run::assuming();
    let mut steps = vec![run.command.name()];
    while run.command.name() != "Finish" {
        let event = reply(&run.command);
        steps.push(run.on(event).name());
        if let Command::WriteRecord { record, .. } = &run.command
            && record.spec.effect.is_none()
        {
            assert_eq!(record.metadata.resource_version, None, "only a creation proves that there was no record");
            assert_eq!(last(record).state_read_after, Some(Time(NOW)));
        }
    }
    let wanted = [
        "ReadRequest",
        "CheckGrants",
        "Recall",
        "LoadCredentials",
        "GetUser",
        "CheckGrants",
        "WriteRecord",
        "CheckGrants",
        "Call",
        "WriteRecord",
        "Recall",
        "WriteStatus",
        "Finish",
    ];
    assert_eq!(steps, wanted);
    assert_eq!(run.end(), Ok(Next::Done));
}

#[test]
fn record_that_is_found_by_a_conflict_is_read_and_followed() {
    let conflict = || Event::RecordWritten(Written::Conflict);
    let theirs = || Some(settled(Effect::Performed, Evidence::CognitoResponse));
    let mut run = Run::assuming().until("WriteRecord");
    run.expect([(conflict(), "ReadRecord"), (Event::Record(Ok(theirs().map(Object::from))), "Read")]);
    run.expect([(read(request(), theirs()), "CheckGrants")]);
    let run = run.until("WriteStatus");
    assert_eq!(run.status().0, Reason::End(EndReason::ResetAccepted));
    // A lost response to the creation may be that of the machine's own claim.
    let mut own = Run::assuming().until("WriteRecord");
    let ours = own.written().clone();
    own.expect([(Event::RecordWritten(Written::Failed(no_response())), "Sleep")]);
    own.pass(FIRST_PAUSE);
    own.expect([(Event::Slept, "WriteRecord"), (conflict(), "ReadRecord")]);
    own.expect([(Event::Record(Ok(Some(ours))), "CheckGrants")]);
}

#[test]
fn record_is_read_before_anything_but_a_claim() {
    let suspended = || {
        let mut request = request();
        request.spec.suspend = true;
        request
    };
    let over = || {
        let mut over = request();
        over.spec.not_after = Some(Time(NOW));
        over
    };
    let denied = || Event::Grants(evaluation(Err(WaitReason::NoMatchingGrant)));
    for (what, request, grants) in [
        ("suspended", suspended(), Event::Grants(granted("reset"))),
        ("expired", over(), Event::Grants(granted("reset"))),
        ("not granted", request(), denied()),
        ("a turn of another account", request(), Event::Grants(granted_elsewhere())),
    ] {
        let mut run = Run::assuming();
        run.expect([(read_alone(request), "CheckGrants"), (grants, "Recall"), (recalled(None, None), "Read")]);
        assert!(run.notes.is_empty(), "{what}");
    }
    let gone = || Event::Request(Ok(RequestRead { request: None, server_time: None }));
    Run::assuming().expect([(gone(), "Recall"), (recalled(None, None), "Read")]);
    let refused = RefusedWrite { write: state::RecordWrite::Claim, refuser: None, pause: Duration::from_secs(9) };
    let mut run = Run::assuming().until("Recall");
    run.expect([(recalled(Some(refused), None), "Read")]);
    let mut run = Run::assuming().until("LoadCredentials");
    run.expect([(Event::Credentials(Err(SessionFailure::NoResponse)), "Read")]);
    let mut run = Run::assuming().until("GetUser");
    run.expect([(Event::UserBusy, "Read")]);
    let mut run = Run::assuming().until("GetUser");
    run.expect([(reply(&run.command), "CheckGrants"), (Event::TurnLost(PaceReason::Throttled), "Read")]);
    let mut run = Run::assuming().until("WriteRecord");
    let refused = Event::RecordWritten(Written::Failed(refused_by("frozen")));
    run.expect([(refused, "CountRefusal")]);
    run.expect([(reply(&run.command), "Read")]);
    let mut run = Run::assuming();
    run.expect([(Event::Request(Err(no_response())), "Finish")]);
    assert!(run.end().is_err());
    let busy = Run::of(identity(), turn_of(ACCOUNT, true), true).until("Recall");
    assert_eq!(busy.until("Read").until("WriteStatus").status().0, WaitReason::AwaitingPriorAttempt);
}

/// An evaluation by grants with a role of another account than that of the turn.
fn granted_elsewhere() -> Evaluation {
    let role = Role { arn: "arn:aws:iam::444455556666:role/reset".into(), ..role("reset") };
    evaluation(Ok(Authorization { role: Some(role), grants: vec!["support".into()], limits: None }))
}

#[test]
fn record_that_is_read_late_is_followed_like_any_other() {
    let mut run = Run::assuming().until("GetUser");
    run.expect([(Event::UserBusy, "Read")]);
    run.expect([(read(request(), Some(settled(Effect::Performed, Evidence::CognitoResponse))), "CheckGrants")]);
    let run = run.until("WriteStatus");
    assert_eq!(run.status().0, Reason::End(EndReason::ResetAccepted));
}

#[test]
fn first_read_of_the_record_is_no_refresh() {
    let slow = Duration::from_secs(2);
    let mut run = Run::assuming().until("GetUser");
    run.pass(slow);
    run.expect([(reply(&run.command), "Read"), (read(request(), None), "CheckGrants")]);
    run = run.until("Recall");
    run.expect([(recalled(None, None), "CheckGrants")]);
    // It may be refreshed once, as after any first read.
    for follows in ["Read", "WriteStatus"] {
        run = run.until("CheckGrants");
        run.pass(slow);
        run.expect([(Event::Grants(granted("reset")), follows)]);
        if follows == "Read" {
            run = run.until("Recall");
            run.expect([(recalled(None, None), "CheckGrants")]);
        }
    }
    assert_eq!(run.status().0, WaitReason::GrantsNotConfirmed);
}

#[test]
fn unreadable_user_is_waited_for_as_without_an_assumption() {
    let unreadable = || Event::User(Err(ReadError::Exception(Code::Known(Exception::AccessDenied))));
    let needs_user = || {
        let mut request = request();
        request.spec.if_reset_required = IfResetRequired::Skip;
        request
    };
    for assuming in [false, true] {
        let mut run = if assuming { Run::assuming() } else { Run::new() };
        if assuming {
            run.expect([(read_alone(needs_user()), "CheckGrants")]);
        } else {
            run.expect([(read(needs_user(), None), "CheckGrants")]);
        }
        let mut run = run.until("GetUser");
        if assuming {
            run.expect([(unreadable(), "Read"), (read(needs_user(), None), "CheckGrants")]);
            assert!(matches!(&run.command, Command::CheckGrants { user: KnownUser::NotRead, .. }), "{}", run.command);
        } else {
            run.on(unreadable());
        }
        let run = run.until("Finish");
        assert!(matches!(run.end(), Ok(Next::Wait { reason: WaitReason::UserStateUnreadable, .. })), "{:?}", run.end());
    }
}
