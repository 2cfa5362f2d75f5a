//! The write of an effect until it is stored.

use super::*;

fn failed(failure: ApiFailure) -> Event<&'static str> {
    Event::RecordWritten(Written::Failed(failure))
}

/// A run that has an effect of its own to write.
fn own() -> Run {
    let mut run = Run::new().until("Call");
    run.expect([(reply(&run.command), "WriteRecord")]);
    run
}

/// A run that has found out what came of another one's claim.
fn of_another() -> Run {
    let mut run = Run::new();
    run.expect([(read(request(), Some(record(|_| ()))), "CheckGrants")]);
    let mut run = run.until("GetUser");
    run.expect([(user(UserStatus::ResetRequired), "ListUserRecords"), (listed(vec![]), "WriteRecord")]);
    run
}

#[test]
fn an_effect_is_tried_for_as_long_as_it_takes() {
    let mut run = own();
    let mut pauses = Vec::new();
    for _ in 0..100 {
        run.on(failed(no_response()));
        let Command::Sleep(pause) = run.command else { panic!("{}", run.command) };
        pauses.push(pause.as_millis());
        let stored = Event::Record(Err(no_response()));
        run.expect([(Event::Slept, "ReadRecord"), (stored, "WriteRecord")]);
    }
    assert_eq!(pauses[..9], [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    assert!(!run.notes.iter().any(|note| matches!(note, Note::HeldUp { .. })), "an outage is not reported");
    let last = stored(run.written());
    run.expect([(last, "Recall")]);
}

#[test]
fn the_stored_record_is_settled_or_says_as_much() {
    let ours = || Run::new().until("Call").machine_record();
    let mut settled = ours();
    settled.spec.effect = Some(Effect::Performed);
    let mut of_newer = ours();
    of_newer.spec.schema += 1;
    for (what, stored, follows) in [
        ("our open claim", Some(ours()), "WriteRecord"),
        ("it is settled", Some(settled), "Recall"),
        ("another attempt", Some(record(|_| ())), "Recall"),
        ("a newer operator's", Some(of_newer), "Recall"),
        ("nothing", None, "WriteRecord"),
    ] {
        let mut run = own();
        run.expect([(Event::RecordWritten(Written::Conflict), "Sleep"), (Event::Slept, "ReadRecord")]);
        let gone = stored.is_none();
        assert_eq!(run.on(Event::Record(Ok(stored.map(Object::from)))).name(), follows, "{what}");
        if gone {
            assert_eq!(run.written().metadata.resource_version, None, "it is created, so that no claim can win");
            assert_eq!(run.written().spec.effect, Some(Effect::Performed));
        }
    }
}

#[test]
fn a_refused_effect_is_reported_at_once_and_retried() {
    let mut run = own();
    run.notes.clear();
    run.expect([(failed(refused_by("frozen")), "ReadRequest"), (read_alone(request()), "WriteStatus")]);
    let (reason, message) = run.status();
    assert!(
        reason == WaitReason::WriteRefused && message.contains("frozen") && message.contains("accepted"),
        "{message}"
    );
    run.expect([
        (reply(&run.command), "Sleep"),
        (Event::Slept, "ReadRecord"),
        (Event::Record(Err(no_response())), "WriteRecord"),
    ]);
    let held_up = Note::HeldUp { by: Some(Refuser::ValidatingPolicy("frozen".into())) };
    assert!(run.notes.contains(&held_up), "{:?}", run.notes);
    // Once for each who refuses.
    run.expect([
        (failed(refused_by("frozen")), "Sleep"),
        (Event::Slept, "ReadRecord"),
        (Event::Record(Err(no_response())), "WriteRecord"),
        (failed(refused_by("another")), "ReadRequest"),
        // A failed report is retried with the next write.
        (Event::Request(Err(no_response())), "Sleep"),
        (Event::Slept, "ReadRecord"),
        (Event::Record(Err(no_response())), "WriteRecord"),
        (failed(no_response()), "ReadRequest"),
        (Event::Request(Ok(RequestRead { request: None, server_time: None })), "Sleep"),
        (Event::Slept, "ReadRecord"),
        (Event::Record(Err(no_response())), "WriteRecord"),
        (failed(no_response()), "Sleep"),
    ]);
}

#[test]
fn a_refused_effect_of_an_orphaned_claim_is_given_up() {
    let mut run = of_another();
    run.expect([
        (failed(no_response()), "Sleep"),
        (Event::Slept, "ReadRecord"),
        (Event::Record(Err(no_response())), "WriteRecord"),
    ]);
    run.expect([
        (failed(refused_by("frozen")), "ReadRequest"),
        (read_alone(request()), "WriteStatus"),
        (Event::StatusWritten(Ok(StatusWrite::Applied)), "Finish"),
    ]);
    assert_eq!(run.end(), Err(ReconcileError::Api(refused_by("frozen"))));
}

#[test]
fn a_settled_effect_is_followed_by_the_status() {
    let run = own().until("WriteStatus");
    assert_eq!(run.status().0, EndReason::ResetAccepted);
    let settled = run.notes.iter().find_map(|note| match note {
        Note::Settled(settled) => Some(settled),
        _ => None,
    });
    let settled = settled.unwrap();
    assert_eq!(
        (settled.effect, settled.evidence, settled.is_new),
        (Some(Effect::Performed), Evidence::CognitoResponse, true)
    );
    let mut run = own().until("WriteStatus");
    run.expect([(Event::StatusWritten(Ok(StatusWrite::Conflict)), "Read")]);
    let mut run = own().until("WriteStatus");
    run.expect([(Event::StatusWritten(Err(no_response())), "Finish")]);
    assert_eq!(run.end(), Err(ReconcileError::Api(no_response())));
}

impl Run {
    /// The record that a machine which is about to call has claimed.
    fn machine_record(self) -> PasswordResetRecord {
        let run = Run::new().until("WriteRecord");
        let mut claimed = PasswordResetRecord::clone(run.written());
        claimed.metadata.resource_version = Some("2".into());
        claimed
    }
}
