//! Compares a row with the observation of its call. The class of the response is the operator's own
//! ([`Class`]).

use std::time::Duration;

use cognito_reset_api::UserStatus;
use cognito_reset_core::action::response::{Class, Code, ResetResponse};

use crate::rows::{Row, Wanted};

/// The result of a read: the user's status, or the operator's word for the failure.
pub(crate) type Seen = Result<UserStatus, String>;

/// The reads of a user after a call, by one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    /// The last read.
    pub(crate) last: Seen,
    /// The time from the end of the call to the first read that found RESET_REQUIRED.
    pub(crate) reset_required_after: Option<Duration>,
}

/// One call and the reads around it.
#[derive(Clone, Debug)]
pub(crate) struct Observation {
    /// The response, as the operator classifies it.
    pub(crate) response: ResetResponse,
    /// The duration of the call.
    pub(crate) took: Duration,
    /// AdminGetUser before the call.
    pub(crate) before: Seen,
    /// AdminGetUser after the call.
    pub(crate) get: Trace,
    /// ListUsers after the call.
    pub(crate) list: Trace,
}

/// The effect of a call, by the reads around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happened {
    /// The user has to reset the password, and did not before.
    Yes,
    /// The user does not have to, or does not exist.
    No,
    /// The reads do not show it.
    NotVisible,
}

impl Happened {
    pub(crate) const fn in_words(self) -> &'static str {
        match self {
            Self::Yes => "the password was reset",
            Self::No => "nothing",
            Self::NotVisible => "not visible",
        }
    }
}

impl Observation {
    /// Returns the effect.
    pub(crate) fn happened(&self) -> Happened {
        match (&self.before, &self.get.last) {
            (Ok(UserStatus::ResetRequired), _) => Happened::NotVisible,
            (Ok(_), Ok(UserStatus::ResetRequired)) => Happened::Yes,
            (Ok(_), Ok(_)) => Happened::No,
            (Err(before), Err(after)) if before == after && is_absent(before) => Happened::No,
            (Ok(_) | Err(_), Err(_)) | (Err(_), Ok(_)) => Happened::NotVisible,
        }
    }
}

/// Returns true for the exceptions by which a read shows that there is no such user.
fn is_absent(word: &str) -> bool {
    matches!(word, "UserNotFoundException" | "ResourceNotFoundException")
}

/// The result of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As documented.
    Agrees,
    /// Another response than documented. What the operator concludes from it is right.
    Differs,
    /// The operator concludes from the response what did not happen.
    Contradicts,
}

impl Verdict {
    pub(crate) const fn in_words(self) -> &'static str {
        match self {
            Self::Agrees => "agrees",
            Self::Differs => "differs: another response than documented",
            Self::Contradicts => "contradicts: the operator would be wrong about what happened",
        }
    }
}

/// Compares a row with an observation.
pub(crate) fn compare(row: &Row, observation: &Observation) -> Verdict {
    let wrong = match (observation.response.class(), observation.happened()) {
        (None, Happened::No) => true,
        (Some(Class::Refused | Class::Throttled | Class::Blocked), Happened::Yes) => true,
        (None, Happened::Yes | Happened::NotVisible)
        | (Some(Class::Refused | Class::Throttled | Class::Blocked), Happened::No | Happened::NotVisible)
        | (Some(Class::Ambiguous | Class::AmbiguousFailure), _) => false,
    };
    if wrong {
        Verdict::Contradicts
    } else if is_wanted(row.wanted, &observation.response) {
        Verdict::Agrees
    } else {
        Verdict::Differs
    }
}

fn is_wanted(wanted: Wanted, response: &ResetResponse) -> bool {
    match (wanted, response) {
        (Wanted::Accepted, ResetResponse::Accepted)
        | (Wanted::NotSent, ResetResponse::NotSent(_))
        | (Wanted::NoResponse, ResetResponse::NoResponse) => true,
        (Wanted::Exception(any), ResetResponse::Exception(Code::Known(exception))) => any.contains(exception),
        (Wanted::Accepted | Wanted::NotSent | Wanted::NoResponse | Wanted::Exception(_), _) => false,
    }
}

#[cfg(test)]
mod tests {
    use cognito_reset_api::{Exception, FailureCause};

    use super::*;
    use crate::rows::ROWS;

    const CONFIRMED: Seen = Ok(UserStatus::Confirmed);
    const RESET: Seen = Ok(UserStatus::ResetRequired);

    fn failed(word: &str) -> Seen {
        Err(word.to_owned())
    }

    fn observed(response: ResetResponse, before: Seen, after: Seen) -> Observation {
        let trace = Trace { last: after, reset_required_after: None };
        Observation { response, took: Duration::ZERO, before, get: trace.clone(), list: trace }
    }

    fn row(id: &str) -> &'static Row {
        ROWS.iter().find(|row| row.id == id).unwrap()
    }

    fn known(exception: Exception) -> ResetResponse {
        ResetResponse::Exception(Code::Known(exception))
    }

    #[test]
    fn effect_follows_from_the_reads_before_and_after() {
        for (before, after, wanted) in [
            (CONFIRMED, RESET, Happened::Yes),
            (CONFIRMED, CONFIRMED, Happened::No),
            (RESET, RESET, Happened::NotVisible),
            (RESET, CONFIRMED, Happened::NotVisible),
            (failed("UserNotFoundException"), failed("UserNotFoundException"), Happened::No),
            (failed("UserNotFoundException"), failed("ResourceNotFoundException"), Happened::NotVisible),
            (failed("no readable response"), failed("no readable response"), Happened::NotVisible),
            (failed("UserNotFoundException"), RESET, Happened::NotVisible),
            (CONFIRMED, failed("AccessDeniedException"), Happened::NotVisible),
        ] {
            let found = observed(ResetResponse::Accepted, before.clone(), after.clone()).happened();
            assert_eq!(found, wanted, "{before:?} {after:?}");
        }
    }

    #[test]
    fn verdict_is_about_the_conclusion_first() {
        use Verdict::{Agrees, Contradicts, Differs};
        let code = |code: &str| ResetResponse::Exception(Code::parse(code).unwrap());
        for (id, response, after, wanted) in [
            ("accepted", ResetResponse::Accepted, RESET, Agrees),
            ("accepted", ResetResponse::Accepted, CONFIRMED, Contradicts),
            ("accepted", known(Exception::NotAuthorized), CONFIRMED, Differs),
            ("accepted", known(Exception::NotAuthorized), RESET, Contradicts),
            ("accepted", known(Exception::InternalError), RESET, Differs),
            ("disabled", known(Exception::NotAuthorized), CONFIRMED, Agrees),
            ("disabled", known(Exception::NotAuthorized), RESET, Contradicts),
            ("disabled", known(Exception::InvalidParameter), CONFIRMED, Differs),
            ("disabled", ResetResponse::Accepted, RESET, Differs),
            ("trigger-throws", known(Exception::UserLambdaValidation), RESET, Agrees),
            ("trigger-throws", known(Exception::UserLambdaValidation), CONFIRMED, Agrees),
            ("trigger-throws", code("BrandNewException"), RESET, Differs),
            ("trigger-late", known(Exception::InvalidLambdaResponse), CONFIRMED, Agrees),
            ("no-response", ResetResponse::NoResponse, RESET, Agrees),
            ("no-response", ResetResponse::NoResponse, CONFIRMED, Agrees),
            ("no-response", ResetResponse::Accepted, RESET, Differs),
            ("no-connection", ResetResponse::NotSent(FailureCause::Refused), CONFIRMED, Agrees),
            ("no-connection", ResetResponse::NotSent(FailureCause::Refused), RESET, Contradicts),
            ("no-permission", known(Exception::AccessDenied), RESET, Contradicts),
        ] {
            let found = compare(row(id), &observed(response.clone(), CONFIRMED, after.clone()));
            assert_eq!(found, wanted, "{id} {response:?} {after:?}");
        }
    }
}
