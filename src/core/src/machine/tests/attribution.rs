//! From a probe that shows that the user has to reset, to whom that is credited.

use super::*;
use crate::ledger::attribution::{Attribution, OtherEffect, UserRecords};

fn other(effect: OtherEffect) -> OtherRecord {
    OtherRecord { effect, written_at: Some(NOW) }
}

fn in_flight(observed_for: i64) -> OtherRecord {
    other(OtherEffect::Open { observed_for: SignedDuration::from_secs(observed_for) })
}

fn not_listed(failure: ApiFailure) -> Event<&'static str> {
    Event::UserRecords(Err(failure))
}

/// A run whose own call has got no response, and whose probe shows that the user has to reset.
fn own() -> Run {
    let mut run = Run::new().until("Call");
    let lost = Event::Response(Reply::of(ResetResponse::NoResponse));
    run.expect([(lost, "GetUser"), (user(UserStatus::ResetRequired), "ListUserRecords")]);
    run
}

/// The same for the open claim of another process.
fn of_another() -> Run {
    let mut run = Run::new();
    run.expect([(read(request(), Some(record(|_| ()))), "CheckGrants")]);
    let mut run = run.until("GetUser");
    run.expect([(user(UserStatus::ResetRequired), "ListUserRecords")]);
    run
}

fn effect(run: &Run) -> (Option<Effect>, Option<Evidence>) {
    (run.written().spec.effect, last(run.written()).evidence)
}

#[test]
fn a_claim_has_the_time_and_the_sub_of_its_snapshot() {
    let mut run = Run::new().until("GetUser");
    run.pass(Duration::from_secs(5));
    run.expect([(user(UserStatus::Confirmed), "Read")]);
    // The read that refreshes the request comes after the snapshot, and does not change its time.
    let later = Objects {
        request: Some(request().into()),
        record: None,
        server_time: Some(NOW + SignedDuration::from_secs(60)),
    };
    run.expect([(Event::Objects(Ok(later)), "CheckGrants")]);
    let run = run.until("WriteRecord");
    assert_eq!(last(run.written()).state_read_after, Some(Time(NOW)));
    assert_eq!(run.written().spec.user_sub.as_deref(), Some("sub-1"));
}

#[test]
fn a_state_that_was_not_read_has_no_time() {
    let run = Run::new().until("GetUser");
    let no_names = |status| Event::User(Ok(User { status, names: UserNames::default() }));
    for event in [
        no_names(UserStatus::Unknown),
        Event::User(Err(crate::action::port::ReadError::Exception(crate::action::response::Code::Known(
            cognito_reset_api::Exception::UserNotFound,
        )))),
    ] {
        let mut run = Run { machine: run.machine.clone(), command: run.command.clone(), notes: vec![], ..run };
        run.on(event);
        let run = run.until("WriteRecord");
        assert_eq!(last(run.written()).state_read_after, None);
    }
}

#[test]
fn the_records_of_the_user_decide_whom_a_probe_credits() {
    let performed = (Some(Effect::Performed), Some(Evidence::UserStatusCheck));
    let unknown = (Some(Effect::Unknown), Some(Evidence::Inconclusive));
    for begin in [own, of_another] {
        for (others, wanted) in [
            (vec![], performed),
            (vec![other(OtherEffect::NotPerformed)], performed),
            (vec![other(OtherEffect::Performed)], unknown),
            (vec![in_flight(45)], unknown),
        ] {
            let mut run = begin();
            let Command::ListUserRecords(query) = &run.command else { panic!("{}", run.command) };
            let wanted_query = UserRecords {
                except: identity().record_name(),
                user_pool_id: "eu-west-1_Example01".into(),
                sub: "sub-1".into(),
            };
            assert_eq!(*query, wanted_query);
            run.expect([(listed(others.clone()), "WriteRecord")]);
            assert_eq!(effect(&run), wanted, "{others:?}");
            assert_eq!(last(run.written()).user_status_after, Some(UserStatus::ResetRequired));
        }
    }
}

#[test]
fn nothing_is_listed_where_the_record_cannot_be_compared() {
    let mut run = Run::new();
    run.expect([(read(request(), Some(record(|record| record.spec.user_sub = None))), "CheckGrants")]);
    let mut run = run.until("GetUser");
    run.expect([(user(UserStatus::ResetRequired), "WriteRecord")]);
    assert_eq!(run.written().spec.effect, Some(Effect::Unknown));
}

#[test]
fn a_call_of_another_claim_in_flight_is_waited_for() {
    let mut run = own();
    let pauses = [50, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000].map(Duration::from_millis);
    for (observed_for, pause) in [0, 1, 10, 20, 30, 40, 44, 44, 44].into_iter().zip(pauses) {
        run.expect([(listed(vec![in_flight(observed_for)]), "Sleep")]);
        assert_eq!(run.command, Command::Sleep(pause), "the API server is asked ever more rarely");
        run.expect([(Event::Slept, "ListUserRecords")]);
    }
    // A single failure after a long wait does not hold up the effect.
    run.expect([(not_listed(no_response()), "Sleep"), (Event::Slept, "ListUserRecords")]);
    run.expect([(listed(vec![in_flight(45)]), "WriteRecord")]);
    assert_eq!(run.written().spec.effect, Some(Effect::Unknown), "neither blocks the other for ever");
    let attributed = run.notes.iter().filter(|note| matches!(note, Note::Attributed(Attribution::AwaitsOther(_))));
    assert_eq!(attributed.count(), 9);
    assert!(!run.notes.iter().any(|note| matches!(note, Note::HeldUp { .. })), "{:?}", run.notes);

    let mut run = own();
    run.expect([
        (listed(vec![in_flight(0)]), "Sleep"),
        (Event::Slept, "ListUserRecords"),
        (listed(vec![other(OtherEffect::NotPerformed)]), "WriteRecord"),
    ]);
    assert_eq!(run.written().spec.effect, Some(Effect::Performed));

    // The request of another process's claim waits, and its reconcile ends.
    let mut run = of_another();
    run.expect([(listed(vec![in_flight(5)]), "WriteStatus")]);
    let Command::WriteStatus(request) = &run.command else { panic!("{}", run.command) };
    assert_eq!(request.status.as_ref().unwrap().conditions[0].reason, "AwaitingPriorAttempt");
    run.on(Event::StatusWritten(Ok(StatusWrite::Applied)));
    assert_eq!(run.end(), waits(WaitReason::AwaitingPriorAttempt, Duration::from_secs(40)));
}

#[test]
fn a_failed_list_is_never_taken_for_an_empty_one() {
    // No other process knows the response to the machine's own call, so it lists again, for as long
    // as it takes.
    let mut run = own();
    for _ in 0..50 {
        run.expect([(not_listed(no_response()), "Sleep"), (Event::Slept, "ListUserRecords")]);
    }
    run.expect([(Event::Panicked, "Sleep"), (Event::Panicked, "Sleep"), (Event::Slept, "ListUserRecords")]);
    let held_up = run.notes.iter().filter(|note| matches!(note, Note::HeldUp { by: None })).count();
    assert!((40..50).contains(&held_up), "{held_up}");
    run.expect([(listed(vec![other(OtherEffect::Performed)]), "WriteRecord")]);
    assert_eq!(run.written().spec.effect, Some(Effect::Unknown));

    let mut run = own();
    run.expect([(not_listed(refused_by("frozen")), "Sleep")]);
    assert!(matches!(&run.notes[..], [.., Note::HeldUp { by: Some(_) }, Note::Retried { .. }]), "{:?}", run.notes);

    // The claim of another process is resolved again later.
    let mut run = of_another();
    run.expect([(not_listed(no_response()), "Finish")]);
    assert_eq!(run.end(), Err(ReconcileError::Api(no_response())));
    let mut run = of_another();
    run.expect([(Event::Panicked, "Finish")]);
    assert_eq!(run.end(), Err(ReconcileError::Panicked));
}

#[test]
fn records_are_listed_only_after_a_probe_shows_a_reset() {
    let lost = || Event::Response(Reply::of(ResetResponse::NoResponse));
    for (reply, probe) in
        [(lost(), UserStatus::Confirmed), (super::reply(&Run::new().until("Call").command), UserStatus::ResetRequired)]
    {
        let mut run = Run::new().until("Call");
        run.on(reply);
        while run.command.name() != "Finish" {
            assert_ne!(run.command.name(), "ListUserRecords");
            let event = if run.command.name() == "GetUser" { user(probe) } else { super::reply(&run.command) };
            run.on(event);
        }
    }
}
