//! The waits of a request, their status, and ends without a call.

use super::*;
use crate::machine::{MAX_METADATA, state::RecordWrite};

#[test]
fn a_wait_is_shown_unless_it_is_over_in_a_moment() {
    for (milliseconds, shown) in [(0, false), (1999, false), (2000, true), (100_000_000, true)] {
        let mut run = Run::looking(PaceReason::Throttled, SignedDuration::from_millis(milliseconds)).until("Recall");
        let follows = if shown { "WriteStatus" } else { "Finish" };
        run.expect([(recalled(None, None), follows)]);
        let run = run.until("Finish");
        assert_eq!(run.end(), needs_turn(true), "{milliseconds} ms");
    }
}

#[test]
fn a_wait_that_is_shown_already_is_not_written_again() {
    let looking = || Run::looking(PaceReason::RateLimited, SignedDuration::from_secs(60));
    let mut waits = looking().until("WriteStatus");
    let Command::WriteStatus(shown) = waits.command.clone() else { panic!("{}", waits.command) };
    let mut run = looking();
    run.expect([(read(PasswordResetRequest::clone(&shown), None), "CheckGrants")]);
    run = run.until("Recall");
    run.expect([(recalled(None, None), "Finish")]);
    waits.expect([(Event::StatusWritten(Ok(StatusWrite::Conflict)), "Read")]);
}

#[test]
fn a_remembered_refusal_is_shown_however_short_its_pause() {
    let by = || Some(Refuser::ValidatingPolicy("frozen".into()));
    let pause = Duration::from_millis(1);
    let refused = RefusedWrite { write: RecordWrite::Claim, refuser: by(), pause };
    for event in [recalled(Some(refused), None), recalled(None, Some(HeldUp { by: by() }))] {
        let mut run = Run::new().until("Recall");
        run.expect([(event, "WriteStatus")]);
        let (reason, message) = run.status();
        assert!(reason == WaitReason::WriteRefused && message.contains("frozen"), "{message}");
    }
}

#[test]
fn a_request_without_room_for_a_status_is_not_claimed() {
    let mut full = request();
    full.metadata.annotations = Some([("a/b".to_owned(), "a".repeat(MAX_METADATA))].into());
    let mut run = Run::new();
    run.expect([(read(full, None), "CheckGrants"), (Event::Grants(granted("reset")), "Recall")]);
    run.expect([(recalled(None, None), "WriteStatus")]);
    run.expect([(Event::StatusWritten(Err(no_response())), "Finish")]);
    let announced = run.notes.iter().find_map(|note| match note {
        Note::NotShown { announcement, .. } => Some((announcement.reason, announcement.note.clone())),
        _ => None,
    });
    assert!(announced.is_some_and(|(reason, note)| reason == WaitReason::ObjectTooLarge && note.contains("1 MiB")));
}

#[test]
fn an_event_replaces_a_refused_status_but_not_a_failed_one() {
    for (failure, reported) in [(refused_by("frozen"), true), (no_response(), false)] {
        let mut run = Run::new().until("WriteStatus");
        run.expect([(Event::StatusWritten(Err(failure)), "Finish")]);
        assert_eq!(run.notes.iter().any(|note| matches!(note, Note::NotShown { .. })), reported);
        assert_eq!(run.notes.iter().any(|note| matches!(note, Note::StatusRefused { .. })), reported);
    }
}

#[test]
fn a_request_past_its_deadline_is_closed_before_its_status() {
    let over = || {
        let mut run = Run::new();
        run.now.wall = NOW + SignedDuration::from_hours(25);
        let server_time = Some(run.now.wall);
        run.on(Event::Objects(Ok(Objects { request: Some(request().into()), record: None, server_time })));
        run.until("WriteRecord")
    };
    let mut run = over();
    let closed = run.written().spec.closed.as_ref().unwrap();
    assert_eq!((closed.cause, closed.origin.operator_instance.as_str()), (CloseCause::DeadlineExceeded, "operator-1"));
    let mut tried = settled(Effect::NotPerformed, Evidence::NeverSent);
    tried.spec.closed = Some(closed.clone());
    let close = Command::<()>::WriteRecord { record: tried.into(), within: None };
    assert_eq!(close.attempt_id(), None, "it is not about the last attempt");
    run.expect([(stored(&run.written().clone()), "Recall"), (recalled(None, None), "WriteStatus")]);
    for (event, follows) in [
        (Event::RecordWritten(Written::Conflict), "Read"),
        (Event::RecordWritten(Written::NotFound), "Read"),
        (Event::RecordWritten(Written::Failed(no_response())), "Finish"),
        (Event::RecordWritten(Written::Failed(refused_by("frozen"))), "CountRefusal"),
    ] {
        let mut run = over();
        let what = event.to_string();
        assert_eq!(run.on(event).name(), follows, "{what}");
    }
}

#[test]
fn a_clock_that_is_ahead_closes_nothing() {
    let mut run = Run::new();
    run.now.wall = NOW + SignedDuration::from_hours(25);
    let mut run = run.until("WriteStatus");
    assert_eq!(run.status().0, Reason::Wait(WaitReason::ClockSkew));
    run.expect([(Event::StatusWritten(Ok(StatusWrite::Applied)), "Finish")]);
    assert_eq!(run.end(), waits(WaitReason::ClockSkew, Duration::from_secs(300)));
    assert!(!run.notes.contains(&Note::Claimed));
}

#[test]
fn slow_check_of_grants_refreshes_a_read_once() {
    let slow = Duration::from_secs(2);
    let mut run = Run::new();
    run.now.wall = NOW + SignedDuration::from_hours(25);
    for follows in ["Read", "WriteStatus"] {
        run = run.until("CheckGrants");
        run.pass(slow);
        run.expect([(Event::Grants(granted("reset")), "Recall")]);
        run.expect([(recalled(None, None), follows)]);
    }
    assert_eq!(run.status().0, Reason::Wait(WaitReason::ClockSkew));
}

#[test]
fn a_deadline_that_passes_before_the_claim_is_read_again() {
    let mut run = Run::new().until("GetUser");
    run.now.wall = NOW + SignedDuration::from_hours(25);
    run.expect([(reply(&run.command), "Read")]);
    let run = run.until("WriteStatus");
    assert_eq!(run.status().0, Reason::Wait(WaitReason::ClockSkew));
}

#[test]
fn a_later_expiry_is_remembered_before_the_status() {
    let mut expiring = request();
    expiring.spec.not_after = Some(Time(NOW + SignedDuration::from_hours(1)));
    let mut run = Run::new();
    run.expect([(read(expiring, Some(settled(Effect::Performed, Evidence::CognitoResponse))), "CheckGrants")]);
    let run = run.until("WriteRecord");
    assert_eq!(ledger::remembered(run.written()), Some(NOW + SignedDuration::from_hours(1)));
    let run = run.until("Finish");
    assert_eq!(run.end(), Ok(Next::Done));
}

#[test]
fn a_request_that_is_gone_or_finished_is_left_and_forgotten() {
    for request in [None, Some(PasswordResetRequest { status: finished(), ..request() })] {
        let uid = request.as_ref().and_then(|request| request.metadata.uid.clone());
        let mut run = Run::new();
        let record = Some(settled(Effect::Performed, Evidence::CognitoResponse).into());
        run.on(Event::Objects(Ok(Objects { request: request.map(Object::from), record, server_time: None })));
        let run = run.until("Finish");
        assert_eq!(run.end(), Ok(Next::Done));
        assert_eq!(run.notes, [Note::Ended { uid }]);
    }
}

fn finished() -> Option<cognito_reset_api::PasswordResetRequestStatus> {
    Some(cognito_reset_api::PasswordResetRequestStatus {
        outcome: cognito_reset_api::Outcome::Failed,
        ..Default::default()
    })
}

#[test]
fn request_waits_while_another_reconcile_works_on_its_record() {
    let run = Run::of(identity(), turn(ACCOUNT), true).until("Finish");
    assert_eq!(run.end(), waits(WaitReason::AwaitingPriorAttempt, Duration::from_secs(2)));
}
