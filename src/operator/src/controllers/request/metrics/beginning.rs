//! Lists the labels with which the counters of requests begin.

use cognito_reset_api::{Exception, Outcome, conditions::EndReason};
use cognito_reset_core::action::response::Class;

/// Returns each way in which a request can end.
pub(super) fn ends() -> impl Iterator<Item = (Outcome, EndReason)> {
    let succeeded = [
        EndReason::ResetAccepted,
        EndReason::ConfirmedByProbe,
        EndReason::AlreadyPerformed,
        EndReason::AlreadyResetRequired,
    ];
    let failed =
        [EndReason::UnrecognizedError, EndReason::Expired, EndReason::DeadlineExceeded, EndReason::UserChanged];
    let unknown = [EndReason::UnrecognizedError, EndReason::OutcomeUnknown];
    // An effect that stays unknown has the exception of its last response as the reason, if there
    // was one. An exception of the other classes ends no request as Failed.
    let exceptions = Exception::ALL.iter().flat_map(|exception| {
        let fails = matches!(Class::of(*exception), Class::Refused | Class::AmbiguousFailure);
        let outcomes = fails.then_some(Outcome::Failed).into_iter().chain([Outcome::Unknown]);
        outcomes.map(|outcome| (outcome, EndReason::Cognito(*exception)))
    });
    let of = |outcome: Outcome| move |reason| (outcome, reason);
    let succeeded = succeeded.into_iter().map(of(Outcome::Succeeded));
    let failed = failed.into_iter().map(of(Outcome::Failed));
    succeeded.chain(failed).chain(unknown.into_iter().map(of(Outcome::Unknown))).chain(exceptions)
}

/// Returns each end of a call.
pub(super) fn responses() -> impl Iterator<Item = &'static str> {
    let exceptions = Exception::ALL.iter().map(|exception| exception.code());
    exceptions.chain(["Accepted", "UnrecognizedError", "NotSent", "NoResponse"])
}
