//! The requests to AWS around the call, and the meaning of its end.

use cognito_reset_api::{Exception, FailureCause};

use super::*;
use crate::{
    action::{
        port::{ReadError, SessionFailure},
        response::Code,
    },
    machine::note::AwsStep,
};

fn responded(response: ResetResponse) -> Event<&'static str> {
    Event::Response(Reply::of(response))
}

fn exception(exception: Exception) -> ResetResponse {
    ResetResponse::Exception(Code::Known(exception))
}

fn unreadable(exception: Exception) -> Event<&'static str> {
    Event::User(Err(ReadError::Exception(Code::Known(exception))))
}

#[test]
fn an_end_without_proof_is_probed_and_a_proven_one_is_not() {
    for (response, follows) in [
        (ResetResponse::Accepted, "WriteRecord"),
        (exception(Exception::UserNotFound), "WriteRecord"),
        (exception(Exception::TooManyRequests), "WriteRecord"),
        (ResetResponse::NotSent(FailureCause::Refused), "WriteRecord"),
        (exception(Exception::InternalError), "GetUser"),
        (exception(Exception::CodeDeliveryFailure), "GetUser"),
        (ResetResponse::NoResponse, "GetUser"),
    ] {
        let mut run = Run::new().until("Call");
        assert_eq!(run.on(responded(response.clone())).name(), follows, "{response:?}");
    }
}

#[test]
fn no_attempt_is_called_for_twice() {
    for event in [
        responded(ResetResponse::NoResponse),
        responded(exception(Exception::TooManyRequests)),
        responded(ResetResponse::NotSent(FailureCause::Refused)),
        Event::Panicked,
        Event::Slept,
    ] {
        let mut run = Run::new().until("Call");
        let Command::Call(call) = run.command.clone() else { panic!("{}", run.command) };
        run.on(event);
        while run.command.name() != "Finish" {
            let event = reply(&run.command);
            if let Command::Call(again) = run.on(event) {
                assert_ne!(again.attempt_id, call.attempt_id);
            }
        }
    }
}

#[test]
fn response_shows_whether_aws_is_available_again() {
    for (response, wanted) in [
        (ResetResponse::Accepted, true),
        (exception(Exception::UserNotFound), true),
        (exception(Exception::TooManyRequests), true),
        (exception(Exception::AccessDenied), false),
        (exception(Exception::CodeDeliveryFailure), true),
        (exception(Exception::InternalError), false),
        (ResetResponse::NotSent(FailureCause::Refused), false),
        (ResetResponse::NoResponse, false),
    ] {
        let mut run = Run::new().until("Call");
        run.notes.clear();
        run.on(responded(response.clone()));
        let is_available = run.notes.iter().any(|note| matches!(note, Note::Available(_)));
        assert_eq!(is_available, wanted, "{response:?}");
    }
}

#[test]
fn credentials_that_cognito_refuses_are_reloaded_once() {
    let mut run = Run::new().until("GetUser");
    run.expect([
        (unreadable(Exception::ExpiredToken), "LoadCredentials"),
        (Event::Credentials(Ok("another")), "GetUser"),
        // The request does not need the user's state, so that it goes on without.
        (unreadable(Exception::ExpiredToken), "CheckGrants"),
    ]);
    let mut run = Run::new().until("GetUser");
    run.expect([(unreadable(Exception::AccessDenied), "CheckGrants")]);
}

#[test]
fn a_request_waits_where_the_read_of_its_user_got_no_response() {
    for (error, reported) in [
        (ReadError::NoResponse, true),
        (ReadError::NotSent(FailureCause::TimedOut), true),
        (ReadError::Connection(FailureCause::Network), true),
        (ReadError::ServerError(Code::Unrecognized("BrandNew".into())), true),
        (ReadError::Exception(Code::Known(Exception::InternalError)), true),
        (ReadError::Exception(Code::Known(Exception::TooManyRequests)), false),
    ] {
        let mut run = Run::new().until("GetUser");
        run.expect([(Event::User(Err(error.clone())), "WriteStatus")]);
        let Command::WriteStatus(request) = &run.command else { panic!("{}", run.command) };
        let conditions = &request.status.as_ref().unwrap().conditions;
        let says = if reported { error.word() } else { "throttles" };
        assert!(conditions.iter().all(|condition| condition.message.contains(says)), "{conditions:?}");
        let is_reported =
            |note: &Note| matches!(note, Note::Unavailable(it) if it.reason == WaitReason::CognitoUnreachable);
        assert_eq!(run.notes.iter().any(is_reported), reported, "{error}");
        run.expect([(reply(&run.command), "Finish")]);
    }
}

#[test]
fn a_request_without_credentials_waits_with_a_note() {
    for (failure, step) in
        [(SessionFailure::AccessDenied, AwsStep::Role), (SessionFailure::RegionNotServed, AwsStep::Endpoint)]
    {
        let mut run = Run::new().until("LoadCredentials");
        run.expect([(Event::Credentials(Err(failure)), "WriteStatus")]);
        assert_eq!(run.notes.first(), Some(&Note::NoCredentials { step, failure }));
        assert!(
            matches!(run.notes.last(), Some(Note::Unavailable(it)) if it.reason == failure.reason().into()),
            "{failure:?}"
        );
    }
}

#[test]
fn a_request_that_needs_the_users_state_names_why_it_waits() {
    for (event, cause) in [
        (
            Event::User(Ok(User { status: UserStatus::Unknown, names: UserNames::default() })),
            "Cognito returned no known state",
        ),
        (unreadable(Exception::AccessDenied), "AccessDeniedException"),
    ] {
        let mut skipping = request();
        skipping.spec.if_reset_required = cognito_reset_api::IfResetRequired::Skip;
        let mut run = Run::new();
        run.expect([(read(skipping, None), "CheckGrants")]);
        let mut run = run.until("GetUser");
        run.expect([(event, "WriteStatus")]);
        let Command::WriteStatus(request) = &run.command else { panic!("{}", run.command) };
        let conditions = &request.status.as_ref().unwrap().conditions;
        assert!(conditions.iter().all(|condition| condition.message.contains(cause)), "{conditions:?}");
    }
}

#[test]
fn probes_are_made_with_growing_pauses_until_none_is_left() {
    let mut run = Run::new().until("Call");
    let confirmed = || reply(&Command::GetUser { session: "session", after: None });
    run.expect([(responded(ResetResponse::NoResponse), "GetUser")]);
    let Command::GetUser { after, .. } = run.command.clone() else { panic!("{}", run.command) };
    assert_eq!(after.as_deref(), Some("id-6"));
    for seconds in [1, 2] {
        assert_eq!(run.on(confirmed()), &Command::Sleep(Duration::from_secs(seconds)));
        run.expect([(Event::Slept, "GetUser")]);
    }
    run.expect([(confirmed(), "WriteRecord")]);
    assert_eq!(run.written().spec.effect, Some(Effect::Unknown));
}

#[test]
fn an_orphaned_claim_is_probed_with_the_role_of_its_attempt() {
    let mut run = Run::new();
    run.expect([(read(request(), Some(record(|_| ()))), "CheckGrants")]);
    run = run.until("LoadCredentials");
    let Command::LoadCredentials(access) = &run.command else { panic!("{}", run.command) };
    assert_eq!(access.role, Some(role("theirs")));
    run.expect([
        (Event::Credentials(Err(SessionFailure::NoResponse)), "Sleep"),
        (Event::Slept, "LoadCredentials"),
        (Event::Credentials(Ok("theirs")), "GetUser"),
        // With refused credentials it is not tried again.
        (unreadable(Exception::ExpiredToken), "Sleep"),
        (Event::Slept, "LoadCredentials"),
    ]);
    let mut proven = Run::new();
    proven.expect([(read(request(), Some(record(|_| ()))), "CheckGrants")]);
    proven = proven.until("GetUser");
    proven.expect([(user(UserStatus::ResetRequired), "ListUserRecords"), (listed(vec![]), "WriteRecord")]);
    assert_eq!(proven.written().spec.effect, Some(Effect::Performed));
}

#[test]
fn a_claim_that_may_be_in_flight_is_waited_for() {
    let mut run = Run::new();
    run.expect([(read(request(), Some(record(|_| ()))), "CheckGrants")]);
    run = run.until("Recall");
    let Command::Recall(Some(observed)) = &run.command else { panic!("{}", run.command) };
    assert_eq!((observed.attempt_id.as_str(), observed.settled), ("theirs", false));
    let observed_for = Duration::from_secs(40);
    run.expect([(Event::Recalled(Recalled { observed_for, refused: None, held_up: None }), "WriteStatus")]);
    run.expect([(reply(&run.command), "Finish")]);
    assert_eq!(run.end(), waits(WaitReason::AwaitingPriorAttempt, Duration::from_secs(5)));
}
