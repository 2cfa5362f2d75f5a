//! Reads of the user by ListUsers, and requests whose user nobody reads.

use super::*;
use crate::{
    action::{port::ReadError, user_names::KnownUser},
    ledger::Baseline,
};

fn by(source: UserStateSource) -> Event<&'static str> {
    Event::Grants(evaluation(Ok(Authorization { source, ..authorized("reset") })))
}

/// A user as ListUsers returned it, with this user name and e-mail address.
fn found(status: UserStatus, username: &str, email: &str) -> Event<&'static str> {
    let names = UserNames {
        username: Some(username.into()),
        sub: Some("sub-1".into()),
        email: Some(email.into()),
        ..UserNames::default()
    };
    Event::User(Ok(User { status, names }))
}

/// A run by this source, up to the claim, with this event of the read if there is one.
fn claimed(source: UserStateSource, read: Option<Event<&'static str>>) -> Run {
    let mut run = Run::new();
    for _ in 0..20 {
        let event = match &run.command {
            Command::WriteRecord { .. } => return run,
            Command::CheckGrants { .. } => by(source),
            Command::GetUser { .. } | Command::ListUser { .. } => read.clone().unwrap(),
            other => reply(other),
        };
        run.on(event);
    }
    panic!("no claim: {}", run.command);
}

/// The command after the call of this run was lost.
fn after_a_lost_call(run: Run, source: UserStateSource) -> Run {
    let mut run = run;
    run.expect([(stored(run.written()), "CheckGrants"), (by(source), "Call")]);
    run.on(Event::Response(Reply::of(ResetResponse::NoResponse)));
    run
}

fn effect(run: &Run) -> (Option<Effect>, Option<Evidence>, Option<UserStatus>) {
    let last = last(run.written());
    (run.written().spec.effect, last.evidence, last.user_status_after)
}

#[test]
fn claim_by_a_list_stores_no_state_before() {
    for status in [UserStatus::Confirmed, UserStatus::ResetRequired] {
        let run = claimed(UserStateSource::ListUsers, Some(found(status, USER, "a@example.com")));
        let attempt = last(run.written());
        assert_eq!((attempt.user_status_before, &attempt.state_read_after), (None, &None));
        assert_eq!(attempt.origin.user_state_source, Some(UserStateSource::ListUsers));
    }
    let strong = claimed(UserStateSource::AdminGetUser, Some(user(UserStatus::Confirmed)));
    let attempt = last(strong.written());
    assert_eq!(attempt.user_status_before, Some(UserStatus::Confirmed));
    assert_eq!(attempt.origin.user_state_source, None, "as in records from before there was a choice");
}

#[test]
fn sub_of_a_list_is_stored_only_for_a_name_that_the_user_keeps() {
    let sub = |source, username: &str, email: &str| {
        let run = claimed(source, Some(found(UserStatus::Confirmed, username, email)));
        run.written().spec.user_sub.clone()
    };
    let known = Some("sub-1".to_owned());
    assert_eq!(sub(UserStateSource::ListUsers, USER, "a@example.com"), known);
    assert_eq!(sub(UserStateSource::ListUsers, "other", USER), None, "the address may be another user's by now");
    assert_eq!(sub(UserStateSource::AdminGetUser, "other", USER), known);
    let nobody = claimed(UserStateSource::None, None);
    assert_eq!(nobody.written().spec.user_sub, None);
}

#[test]
fn request_is_sent_if_grants_say_less_of_an_unlisted_user() {
    // A grant with a pattern and an approval matches a user who is not read yet, and no user who
    // cannot be read.
    let before = Event::Grants(Evaluation {
        approval_required: true,
        ..evaluation(Ok(Authorization { source: UserStateSource::ListUsers, ..authorized("reset") }))
    });
    let mut run = Run::new();
    run.expect([
        (read(request(), None), "CheckGrants"),
        (before, "Recall"),
        (recalled(None, None), "LoadCredentials"),
        (Event::Credentials(Ok("session")), "ListUser"),
        (Event::User(Err(ReadError::NotListed)), "CheckGrants"),
        (by(UserStateSource::ListUsers), "Read"),
        (read(request(), None), "CheckGrants"),
        (by(UserStateSource::ListUsers), "Recall"),
        (recalled(None, None), "CheckGrants"),
        (by(UserStateSource::ListUsers), "WriteRecord"),
    ]);
}

#[test]
fn lost_call_after_a_list_ends_as_unknown_after_a_probe() {
    for (seen, probes) in [(UserStatus::ResetRequired, 1), (UserStatus::Confirmed, 3)] {
        let run = claimed(UserStateSource::ListUsers, Some(found(UserStatus::Confirmed, USER, "")));
        let mut run = after_a_lost_call(run, UserStateSource::ListUsers);
        for probe in 0..probes {
            run = if probe > 0 { run.until("GetUser") } else { run };
            assert_eq!(run.command.name(), "GetUser");
            run.on(user(seen));
        }
        assert_eq!(effect(&run), (Some(Effect::Unknown), Some(Evidence::Inconclusive), Some(seen)));
    }
}

#[test]
fn nothing_is_read_where_the_grants_let_nobody_read() {
    let run = claimed(UserStateSource::None, None);
    let attempt = last(run.written());
    assert_eq!(attempt.origin.user_state_source, Some(UserStateSource::None));
    let run = after_a_lost_call(run, UserStateSource::None);
    assert_eq!(effect(&run), (Some(Effect::Unknown), Some(Evidence::Inconclusive), None), "without a probe");
}

#[test]
fn another_process_keeps_to_the_source_of_the_record() {
    for (source, next) in [
        (Some(UserStateSource::None), "WriteRecord"),
        (Some(UserStateSource::ListUsers), "LoadCredentials"),
        (None, "LoadCredentials"),
    ] {
        let open = record(|record| {
            let last = &mut record.spec.attempts[0];
            last.origin.user_state_source = source;
            if source.is_some() {
                (last.user_status_before, last.state_read_after) = (None, None);
            }
        });
        let mut run = Run::new();
        run.expect([
            (read(request(), Some(open)), "CheckGrants"),
            // The grants may say something else by now.
            (by(UserStateSource::AdminGetUser), "Recall"),
            (recalled(None, None), next),
        ]);
        if source == Some(UserStateSource::None) {
            assert_eq!(effect(&run).0, Some(Effect::Unknown));
        }
    }
}

#[test]
fn own_attempt_and_its_record_agree_on_what_was_known() {
    for (source, read) in [
        (UserStateSource::AdminGetUser, Some(user(UserStatus::Confirmed))),
        (UserStateSource::AdminGetUser, Some(user(UserStatus::Unknown))),
        (UserStateSource::ListUsers, Some(found(UserStatus::Confirmed, USER, ""))),
        (UserStateSource::ListUsers, Some(Event::User(Err(ReadError::NotListed)))),
        (UserStateSource::None, None),
    ] {
        let run = claimed(source, read);
        assert_eq!(Baseline::of(last(run.written())), run.machine.facts.state.baseline(), "{source:?}");
    }
}

#[test]
fn user_who_is_not_listed_is_unreadable_and_never_missing() {
    for error in [
        ReadError::NotListed,
        ReadError::SeveralListed,
        ReadError::Exception(crate::action::response::Code::parse("UserNotFoundException").unwrap()),
    ] {
        let run = claimed(UserStateSource::ListUsers, Some(Event::User(Err(error.clone()))));
        assert_eq!(run.written().spec.closed, None, "{error}");
        assert_eq!(run.machine.facts.user, KnownUser::Unreadable, "{error}");
        let mut skips = request();
        skips.spec.if_reset_required = cognito_reset_api::IfResetRequired::Skip;
        let mut run = Run::new();
        run.expect([
            (read(skips, None), "CheckGrants"),
            (by(UserStateSource::ListUsers), "Recall"),
            (recalled(None, None), "LoadCredentials"),
            (Event::Credentials(Ok("session")), "ListUser"),
            (Event::User(Err(error.clone())), "WriteStatus"),
        ]);
        let Command::WriteStatus(request) = &run.command else { panic!("{}", run.command) };
        let ready = &request.status.as_ref().unwrap().conditions[1];
        assert_eq!(ready.reason, "UserStateUnreadable", "{error}");
        assert!(ready.message.contains(error.word()), "{}", ready.message);
    }
}

#[test]
fn turn_of_another_source_is_none_for_a_list() {
    for (source, list, next) in [
        (UserStateSource::AdminGetUser, UserStateSource::ListUsers, "Finish"),
        (UserStateSource::None, UserStateSource::ListUsers, "Finish"),
        (UserStateSource::ListUsers, UserStateSource::ListUsers, "LoadCredentials"),
        (UserStateSource::ListUsers, UserStateSource::AdminGetUser, "LoadCredentials"),
        (UserStateSource::None, UserStateSource::AdminGetUser, "LoadCredentials"),
    ] {
        let Start::Turn { lane, grant, own_account, assume_unclaimed, .. } = turn(ACCOUNT) else { panic!("no turn") };
        let mut run = Run::of(identity(), Start::Turn { lane, grant, own_account, source, assume_unclaimed }, false);
        run.expect([(read(request(), None), "CheckGrants"), (by(list), "Recall"), (recalled(None, None), next)]);
        if next == "Finish" {
            let Ok(Next::NeedsTurn { source, .. }) = run.end() else { panic!("{:?}", run.end()) };
            assert_eq!(source, list);
        }
    }
}

#[test]
fn turn_is_used_up_by_one_list() {
    // A grant of another role comes meanwhile, so the user has to be read again.
    let by_another_role =
        || Event::Grants(evaluation(Ok(Authorization { source: UserStateSource::ListUsers, ..authorized("other") })));
    let mut run = Run::new();
    run.expect([
        (read(request(), None), "CheckGrants"),
        (by(UserStateSource::ListUsers), "Recall"),
        (recalled(None, None), "LoadCredentials"),
        (Event::Credentials(Ok("session")), "ListUser"),
        (found(UserStatus::Confirmed, USER, ""), "CheckGrants"),
        (by_another_role(), "Read"),
        (read(request(), None), "CheckGrants"),
        (by_another_role(), "Recall"),
        (recalled(None, None), "LoadCredentials"),
        (Event::Credentials(Ok("session")), "Finish"),
    ]);
    assert!(matches!(run.end(), Ok(Next::NeedsTurn { source: UserStateSource::ListUsers, .. })), "{:?}", run.end());
}

#[test]
fn source_that_changes_after_the_read_is_read_again() {
    let mut run = Run::new().until("GetUser");
    run.expect([
        (user(UserStatus::Confirmed), "CheckGrants"),
        (by(UserStateSource::None), "Read"),
        (read(request(), None), "CheckGrants"),
        (by(UserStateSource::None), "Recall"),
        (recalled(None, None), "LoadCredentials"),
        (Event::Credentials(Ok("session")), "CheckGrants"),
        (by(UserStateSource::None), "WriteRecord"),
    ]);
    assert_eq!(last(run.written()).user_status_before, None, "the state was read by another source");
    assert_eq!(run.written().spec.user_sub, None);
}
