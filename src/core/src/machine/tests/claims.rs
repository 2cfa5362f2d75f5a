//! The write of a claim, and the time in which its call may be sent.

use cognito_reset_api::{Exception, Outcome, PasswordResetRequestStatus};

use super::*;
use crate::{
    action::{port::ReadError, response::Code, user_names::KnownUser},
    grants::{HeldBy, HoldCause, ReadAccess},
};

/// The evaluation of a request that a hold holds for this cause.
fn held(cause: HoldCause) -> Evaluation {
    let held_by = Some(HeldBy { hold: "stop".into(), cause, others: 0 });
    Evaluation { held_by, ..evaluation(Err(WaitReason::UserPoolHeld)) }
}

/// The evaluation of a request that grants allow which were not confirmed.
fn not_confirmed() -> Evaluation {
    Evaluation { confirmed: false, ..granted("reset") }
}

#[test]
fn the_grants_are_asked_again_right_before_the_claim() {
    for (what, grants, follows) in [
        ("the same", granted("reset"), "WriteRecord"),
        ("another role", granted("other"), "Read"),
        ("a hold", held(HoldCause::Matches("incident".into())), "Read"),
        ("no grant any more", evaluation(Err(WaitReason::NoMatchingGrant)), "Read"),
        ("another deadline", Evaluation { approval_required: true, ..granted("reset") }, "Read"),
        ("not confirmed", not_confirmed(), "Read"),
    ] {
        let mut run = Run::new().until("GetUser");
        run.expect([(reply(&Command::GetUser { session: "session", after: None }), "CheckGrants")]);
        assert_eq!(run.on(Event::Grants(grants)).name(), follows, "{what}");
    }
    // The user is known by now, and maybe other grants of the same role match.
    let mut run = Run::new().until("GetUser");
    run.expect([(reply(&Command::GetUser { session: "session", after: None }), "CheckGrants")]);
    let others = Authorization { grants: vec!["others".into()], ..authorized("reset") };
    run.expect([(Event::Grants(evaluation(Ok(others.clone()))), "WriteRecord")]);
    assert_eq!(last(run.written()).origin.grants, ["others"]);
    run.expect([(stored(run.written()), "CheckGrants"), (Event::Grants(evaluation(Ok(others))), "Call")]);
}

#[test]
fn request_waits_for_another_one_of_the_same_user() {
    let mut other_spelling = Run::new().until("GetUser");
    other_spelling.expect([(Event::UserBusy, "WriteStatus")]);
    let same_spelling = Run::of(identity(), turn(ACCOUNT), true).until("WriteStatus");
    for run in [other_spelling, same_spelling] {
        assert_eq!(run.status().0, WaitReason::AwaitingPriorAttempt);
        let wanted = waits(WaitReason::AwaitingPriorAttempt, Duration::from_secs(2));
        assert_eq!(run.until("Finish").end(), wanted);
    }
}

#[test]
fn grants_are_asked_once_more_right_before_the_call() {
    for (what, said) in [
        ("another role", granted("other")),
        ("a hold", held(HoldCause::Matches("incident".into()))),
        ("no grant any more", evaluation(Err(WaitReason::NoMatchingGrant))),
        ("not confirmed", not_confirmed()),
    ] {
        let mut run = Run::new().until("WriteRecord");
        run.expect([(stored(run.written()), "CheckGrants"), (Event::Grants(said), "WriteRecord")]);
        assert_eq!(last(run.written()).evidence, Some(Evidence::NeverSent), "{what}");
    }
    let mut run = Run::new().until("WriteRecord");
    run.expect([(stored(run.written()), "CheckGrants"), (Event::Grants(granted("reset")), "Call")]);
    // Asking takes time, too.
    let mut run = Run::new().until("WriteRecord");
    run.expect([(stored(run.written()), "CheckGrants")]);
    run.pass(CLAIM_TIMEOUT);
    run.expect([(Event::Grants(granted("reset")), "WriteRecord")]);
    assert_eq!(last(run.written()).evidence, Some(Evidence::NeverSent));
}

#[test]
fn request_is_read_again_once_if_the_check_takes_long() {
    let slow = Duration::from_secs(2);
    let mut run = Run::new().until("GetUser");
    run.expect([(reply(&run.command), "CheckGrants")]);
    run.pass(slow);
    run.expect([(Event::Grants(granted("reset")), "Read")]);
    // The turn, the credentials and the user are still valid.
    run.expect([(read(request(), None), "CheckGrants"), (Event::Grants(granted("reset")), "Recall")]);
    let mut again = run.clone();
    run.expect([(reply(&run.command), "CheckGrants"), (Event::Grants(granted("reset")), "WriteRecord")]);
    again.expect([(reply(&again.command), "CheckGrants")]);
    again.pass(slow);
    again.expect([(Event::Grants(granted("reset")), "WriteStatus")]);
    let Command::WriteStatus(shown) = &again.command else { panic!("{}", again.command) };
    assert_eq!(shown.status.as_ref().unwrap().conditions[1].reason, "GrantsNotConfirmed");
    again.expect([(reply(&again.command), "Finish")]);
    assert_eq!(again.end(), waits(WaitReason::GrantsNotConfirmed, Duration::from_secs(2)));
    // A conflict begins from the start, so that a slow read of the user is no reason to wait.
    let mut run = Run::new().until("GetUser");
    run.pass(slow);
    run.expect([(reply(&run.command), "Read")]);
    run = run.until("WriteRecord");
    run.expect([(Event::RecordWritten(Written::NotFound), "ReadRecord"), (Event::Record(Ok(None)), "Read")]);
    run = run.until("GetUser");
    run.pass(slow);
    run.expect([(reply(&run.command), "Read")]);
}

#[test]
fn request_waits_until_its_grants_are_confirmed() {
    let mut run = Run::new().until("CheckGrants");
    run.expect([(Event::Grants(not_confirmed()), "Recall")]);
    let Command::WriteStatus(shown) = run.until("WriteStatus").command else { panic!("no status") };
    let ready = &shown.status.as_ref().unwrap().conditions[1];
    assert_eq!(ready.reason, "GrantsNotConfirmed");
    // So does one that grants or holds deny, but not one that itself has no room for a status.
    let mut full = request();
    full.metadata.annotations = Some([("a/b".to_owned(), "a".repeat(crate::machine::MAX_METADATA))].into());
    for (request, denied, shown) in [
        (request(), evaluation(Err(WaitReason::NoMatchingGrant)), WaitReason::GrantsNotConfirmed),
        (request(), held(HoldCause::Matches("incident".into())), WaitReason::GrantsNotConfirmed),
        (full, granted("reset"), WaitReason::ObjectTooLarge),
    ] {
        let mut run = Run::new();
        run.expect([(read(request, None), "CheckGrants")]);
        let unconfirmed = Evaluation { confirmed: false, ..denied };
        run.expect([(Event::Grants(unconfirmed), "Recall"), (reply(&Command::Recall(None)), "WriteStatus")]);
        let Command::WriteStatus(written) = &run.command else { panic!("{}", run.command) };
        assert_eq!(written.status.as_ref().unwrap().conditions[1].reason, shown.as_str());
    }
}

#[test]
fn a_claim_without_a_reply_is_written_again_as_it_was() {
    let mut run = Run::new().until("WriteRecord");
    let wanted = run.written().clone();
    for pause in [50, 100, 200, 400, 800, 1600, 3200] {
        let failed = Event::RecordWritten(Written::Failed(no_response()));
        assert_eq!(run.on(failed), &Command::Sleep(Duration::from_millis(pause)));
        run.pass(Duration::from_millis(pause));
        run.expect([(Event::Slept, "WriteRecord")]);
        assert_eq!(run.written(), &wanted, "after {pause} ms");
    }
    let rest = CLAIM_TIMEOUT - Duration::from_millis(6350);
    assert_eq!(
        run.on(Event::RecordWritten(Written::Failed(no_response()))),
        &Command::Sleep(rest),
        "no longer than it may"
    );
    run.pass(rest);
    run.expect([(Event::Slept, "WriteRecord")]);
    assert_eq!(last(run.written()).evidence, Some(Evidence::NeverSent));
}

#[test]
fn a_conflict_is_with_our_own_claim_or_with_another_write() {
    let conflict = || Event::RecordWritten(Written::Conflict);
    for (what, stored, follows) in [
        ("our own", None, "CheckGrants"),
        ("another claim", Some(record(|_| ())), "Read"),
        ("our own, settled meanwhile", Some(settled(Effect::NotPerformed, Evidence::NeverSent)), "Read"),
    ] {
        let mut run = Run::new().until("WriteRecord");
        let ours = run.written().clone();
        let stored = stored.map_or(ours, Object::from);
        run.expect([
            (conflict(), "ReadRecord"),
            (Event::Record(Err(no_response())), "Sleep"),
            (Event::Slept, "WriteRecord"),
        ]);
        run.expect([(conflict(), "ReadRecord")]);
        assert_eq!(run.on(Event::Record(Ok(Some(stored)))).name(), follows, "{what}");
    }
    let mut gone = Run::new().until("WriteRecord");
    gone.expect([(Event::RecordWritten(Written::NotFound), "ReadRecord"), (Event::Record(Ok(None)), "Read")]);
}

#[test]
fn a_claim_of_another_operator_at_the_same_time_is_noted() {
    let at = |seconds| {
        record(move |record| record.spec.attempts[0].claimed_at = Time(NOW - SignedDuration::from_secs(seconds)))
    };
    let own = record(|record| record.spec.attempts[0].origin.operator_instance = "operator-1".into());
    let lost = Note::ClaimLost { operator_instance: "operator-2".into() };
    for (what, stored, is_noted) in [
        ("at the same time", at(0), true),
        ("before, by a clock that lags", at(4), true),
        ("before this one led", at(15), false),
        ("under the same identity", own, false),
    ] {
        let mut run = Run::new().until("WriteRecord");
        run.expect([(Event::RecordWritten(Written::Conflict), "ReadRecord")]);
        run.expect([(Event::Record(Ok(Some(Object::from(stored)))), "Read")]);
        assert_eq!(run.notes.contains(&lost), is_noted, "{what}: {:?}", run.notes);
    }
}

#[test]
fn a_claim_that_is_refused_is_not_sent_and_waited_for() {
    let refused = || Event::RecordWritten(Written::Failed(refused_by("frozen")));
    let mut run = Run::new().until("WriteRecord");
    run.expect([(refused(), "CountRefusal")]);
    run.expect([(reply(&run.command), "WriteStatus")]);
    let (reason, message) = run.status();
    assert!(reason == WaitReason::WriteRefused && message.contains("frozen"), "{message}");
    run.expect([(reply(&run.command), "Finish")]);
    assert_eq!(run.end(), waits(WaitReason::WriteRefused, Duration::from_secs(10)));
    assert!(matches!(run.notes.last(), Some(Note::Announced(_))), "{:?}", run.notes);

    // After a lost reply it proves nothing.
    let mut run = Run::new().until("WriteRecord");
    run.expect([
        (Event::RecordWritten(Written::Failed(no_response())), "Sleep"),
        (Event::Slept, "WriteRecord"),
        (refused(), "Sleep"),
    ]);
}

#[test]
fn a_claim_that_took_too_long_is_settled_as_never_sent() {
    let late = || {
        let mut run = Run::new().until("WriteRecord");
        run.pass(CLAIM_TIMEOUT);
        run
    };
    let ours = Run::new().until("WriteRecord").written().clone();
    for (what, event) in [
        ("stored", stored(&ours)),
        ("no reply", Event::RecordWritten(Written::Failed(no_response()))),
        ("an error", Event::RecordWritten(Written::Failed(ApiFailure::Responded { detail: String::new() }))),
        ("a panic", Event::Panicked),
    ] {
        let mut run = late();
        run.expect([(event, "WriteRecord")]);
        let (effect, evidence) = (run.written().spec.effect, last(run.written()).evidence);
        assert_eq!((effect, evidence), (Some(Effect::NotPerformed), Some(Evidence::NeverSent)), "{what}");
        assert_eq!(last(run.written()).id, last(&ours).id, "{what}");
    }
    for stored in [Ok(Some(ours)), Err(no_response())] {
        let mut run = Run::new().until("WriteRecord");
        run.expect([(Event::RecordWritten(Written::Conflict), "ReadRecord")]);
        run.pass(CLAIM_TIMEOUT);
        run.expect([(Event::Record(stored), "WriteRecord")]);
        assert_eq!(last(run.written()).evidence, Some(Evidence::NeverSent));
    }
}

#[test]
fn a_claim_whose_request_is_over_by_then_is_not_sent() {
    let mut run = Run::new().until("WriteRecord");
    let claimed = stored(run.written());
    run.now.wall = NOW + SignedDuration::from_hours(24);
    run.expect([(claimed, "WriteRecord")]);
    assert_eq!(last(run.written()).evidence, Some(Evidence::NeverSent));
}

#[test]
fn a_reconcile_that_is_overtaken_again_and_again_gives_up() {
    let mut run = Run::new();
    for _ in 1..settings().most_reads {
        run = run.until("WriteRecord");
        run.expect([(Event::RecordWritten(Written::Conflict), "ReadRecord"), (Event::Record(Ok(None)), "Read")]);
    }
    run = run.until("WriteRecord");
    run.expect([(Event::RecordWritten(Written::Conflict), "ReadRecord"), (Event::Record(Ok(None)), "Finish")]);
    assert_eq!(run.end(), Err(ReconcileError::Contended(settings().most_reads)));
}

#[test]
fn a_call_is_made_with_the_session_and_the_id_of_its_claim() {
    let run = Run::new().until("WriteRecord");
    let attempt_id = last(run.written()).id.clone();
    let run = run.until("Call");
    let Command::Call(call) = &run.command else { panic!("{}", run.command) };
    assert_eq!((call.session, &call.attempt_id), ("session", &attempt_id));
}

#[test]
fn status_shows_the_user_before_an_approval() {
    let names = UserNames { username: Some("al\u{202e}ice".into()), sub: Some("1".into()), ..UserNames::default() };
    let awaiting = |access: bool| Evaluation {
        approval_required: true,
        read_before_approval: access.then(|| ReadAccess {
            role: Some(role("reset")),
            source: UserStateSource::AdminGetUser,
            limits: None,
        }),
        ..evaluation(Err(WaitReason::AwaitingApproval))
    };
    let begun = || {
        let mut run = Run::new().until("CheckGrants");
        run.expect([(Event::Grants(awaiting(true)), "Recall")]);
        run.until("GetUser")
    };
    let shown = |run: Run| {
        let Command::WriteStatus(shown) = run.until("WriteStatus").command else { panic!("no status") };
        PasswordResetRequest::clone(&shown)
    };
    let mut run = begun();
    let read_user = Event::User(Ok(User { status: UserStatus::Confirmed, names: names.clone() }));
    run.expect([(read_user, "Read"), (read(request(), None), "CheckGrants")]);
    assert_eq!(asked_about(&run.command), KnownUser::Read(names));
    run.expect([(Event::Grants(awaiting(false)), "Recall")]);
    let first = shown(run);
    let status = first.status.clone().unwrap();
    assert_eq!((status.user_name.as_deref(), status.user_sub.as_deref()), (Some("al\\u202eice"), Some("1")));
    assert_eq!(status.conditions[1].reason, "AwaitingApproval");
    // Another process knows no user, and does not read this one again.
    let mut run = Run::new().until("Read");
    run.expect([
        (read(first, None), "CheckGrants"),
        (Event::Grants(awaiting(true)), "Recall"),
        (reply(&Command::Recall(None)), "Finish"),
    ]);
    let mut run = begun();
    run.on(Event::User(Err(ReadError::Exception(Code::Known(Exception::AccessDenied)))));
    let unread = shown(run).status.unwrap();
    assert_eq!((unread.user_name, unread.user_sub), (None, None));
    assert!(unread.conditions[1].message.contains("AdminGetUser failed (AccessDenied"), "{:?}", unread.conditions[1]);
}

#[test]
fn approval_does_not_count_for_another_user_than_the_one_shown() {
    let mut shown = request();
    shown.status = Some(PasswordResetRequestStatus { user_sub: Some("sub-1".into()), ..Default::default() });
    let approved = || Event::Grants(Evaluation { approval_required: true, ..granted("reset") });
    let read_user = |sub: &str| {
        let names = UserNames { sub: Some(sub.into()), ..UserNames::default() };
        Event::User(Ok(User { status: UserStatus::Confirmed, names }))
    };
    let begun = || {
        let mut run = Run::new().until("Read");
        run.expect([(read(shown.clone(), None), "CheckGrants"), (approved(), "Recall")]);
        run.until("GetUser")
    };
    let mut same = begun();
    same.expect([(read_user("sub-1"), "CheckGrants"), (approved(), "WriteRecord")]);
    assert_eq!(last(same.written()).user_status_before, Some(UserStatus::Confirmed));
    let mut other = begun();
    other.expect([(read_user("sub-2"), "WriteRecord")]);
    let record = other.written().clone();
    assert_eq!(record.spec.closed.as_ref().unwrap().cause, CloseCause::UserChanged);
    assert_eq!((record.spec.user_sub.as_deref(), record.spec.attempts.len()), (Some("sub-2"), 0));
    other.on(stored(&record));
    let Command::WriteStatus(ended) = other.until("WriteStatus").command else { panic!("no status") };
    let status = ended.status.as_ref().unwrap();
    assert_eq!((status.user_sub.as_deref(), status.outcome), (Some("sub-2"), Outcome::Failed));
    // Without the user there is nobody to compare.
    let mut unread = begun();
    unread.expect([(Event::User(Err(ReadError::Exception(Code::Known(Exception::AccessDenied)))), "WriteStatus")]);
    let Command::WriteStatus(waits) = &unread.command else { panic!("{}", unread.command) };
    assert_eq!(waits.status.as_ref().unwrap().conditions[1].reason, "UserStateUnreadable");
}

/// The user that the grants are asked about.
fn asked_about(command: &Command<&'static str>) -> KnownUser {
    let Command::CheckGrants { user, .. } = command else { panic!("{command}") };
    user.clone()
}

#[test]
fn grants_are_asked_about_the_user_once_it_was_read() {
    let names = UserNames { username: Some("alice".into()), sub: Some("1".into()), ..UserNames::default() };
    let user = User { status: UserStatus::Confirmed, names: names.clone() };
    for (result, user, cause, says) in [
        (Ok(user), KnownUser::Read(names), HoldCause::Matches("incident".into()), "its reason: incident"),
        (
            Err(ReadError::Exception(Code::Known(Exception::AccessDenied))),
            KnownUser::Unreadable,
            HoldCause::UserUnreadable,
            "this user cannot be read to compare",
        ),
    ] {
        let mut run = Run::new().until("CheckGrants");
        assert_eq!(asked_about(&run.command), KnownUser::NotRead);
        run = run.until("GetUser");
        run.expect([(Event::User(result), "CheckGrants")]);
        assert_eq!(asked_about(&run.command), user);
        // Nothing is claimed, and the request waits with what is known of the user.
        run.expect([(Event::Grants(held(cause.clone())), "Read"), (read(request(), None), "CheckGrants")]);
        assert_eq!(asked_about(&run.command), user);
        run.expect([(Event::Grants(held(cause.clone())), "Recall")]);
        let Command::WriteStatus(shown) = run.until("WriteStatus").command else { panic!("{says}") };
        let ready = &shown.status.as_ref().unwrap().conditions[1];
        assert_eq!((ready.reason.as_str(), ready.message.contains("UserPoolHold stop")), ("UserPoolHeld", true));
        assert!(ready.message.contains(says), "{}", ready.message);
    }
}
