//! Measures the time from the creation of a request to its call and to its outcome, and the time
//! that Cognito takes to respond.

use std::time::Duration;

use cognito_reset_api::Outcome;
use cognito_reset_core::action::{
    port::{ReadError, User},
    response::{Class, ResetResponse},
};
use jiff::Timestamp;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

/// The upper bounds of the buckets for requests, in seconds: from 50 ms to a day, because a request
/// may wait for people.
const REQUEST: [f64; 15] =
    [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0];
/// The upper bounds of the buckets for Cognito's responses, in seconds.
const RESPONSE: [f64; 11] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOutcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOperation {
    operation: &'static str,
    class: &'static str,
}

/// The durations, in seconds.
///
/// Those of requests begin with `creationTimestamp`. The API server cuts it to whole seconds and
/// reads its own clock, so they are up to 1 s too long, and wrong by the difference of the clocks.
/// A negative duration counts as 0.
#[derive(Clone, Debug)]
pub(crate) struct Durations {
    to_call: Histogram,
    to_outcome: Family<OfOutcome, Histogram>,
    cognito: Family<OfOperation, Histogram>,
}

impl Default for Durations {
    fn default() -> Self {
        Self {
            to_call: Histogram::new(REQUEST),
            to_outcome: Family::new_with_constructor(|| Histogram::new(REQUEST)),
            cognito: Family::new_with_constructor(|| Histogram::new(RESPONSE)),
        }
    }
}

impl Durations {
    /// Registers the histograms.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "Time from the creation of a request to the sending of its call, once for each call";
        registry.register_with_unit("request_creation_to_call", help, Unit::Seconds, self.to_call.clone());
        let help = "Time from the creation of a request until its outcome is in its status, by outcome";
        registry.register_with_unit("request_creation_to_outcome", help, Unit::Seconds, self.to_outcome.clone());
        let help = "Duration of each AdminResetUserPassword and AdminGetUser, and of each search of a user by ListUsers, which may take two calls; class is success, not-sent, no-response, or the class of the exception in docs/reasons.md";
        registry.register_with_unit("cognito_request_duration", help, Unit::Seconds, self.cognito.clone());
    }

    /// Measures a call that is about to be sent, for a request that was created at this time.
    pub(crate) fn calling(&self, created: Option<Timestamp>, now: Timestamp) {
        if let Some(created) = created {
            self.to_call.observe(seconds(created, now));
        }
    }

    /// Measures a request whose outcome was written.
    pub(crate) fn finished(&self, outcome: Outcome, created: Option<Timestamp>, now: Timestamp) {
        if let Some(created) = created {
            let of_outcome = OfOutcome { outcome: outcome.as_str() };
            self.to_outcome.get_or_create(&of_outcome).observe(seconds(created, now));
        }
    }

    /// Measures a call of AdminResetUserPassword.
    pub(crate) fn called(&self, response: &ResetResponse, duration: Duration) {
        let class = match response {
            ResetResponse::Accepted => SUCCESS,
            ResetResponse::Exception(code) => name(code.class()),
            ResetResponse::NotSent(_) => NOT_SENT,
            ResetResponse::NoResponse => NO_RESPONSE,
        };
        self.responded("AdminResetUserPassword", class, duration);
    }

    /// Measures a call of AdminGetUser.
    pub(crate) fn user_read(&self, read: &Result<User, ReadError>, duration: Duration) {
        self.responded("AdminGetUser", class_of(read), duration);
    }

    /// Measures the search of a user by ListUsers, which may take two calls.
    pub(crate) fn user_listed(&self, listed: &Result<User, ReadError>, duration: Duration) {
        self.responded("ListUsers", class_of(listed), duration);
    }

    fn responded(&self, operation: &'static str, class: &'static str, duration: Duration) {
        self.cognito.get_or_create(&OfOperation { operation, class }).observe(duration.as_secs_f64());
    }
}

/// Returns the class of a read of a user. A list without the user is a success of the call.
const fn class_of(read: &Result<User, ReadError>) -> &'static str {
    match read {
        Ok(_) | Err(ReadError::NotListed | ReadError::SeveralListed) => SUCCESS,
        Err(ReadError::Exception(code) | ReadError::ServerError(code)) => name(code.class()),
        Err(ReadError::NotSent(_)) => NOT_SENT,
        Err(ReadError::Connection(_) | ReadError::NoResponse) => NO_RESPONSE,
    }
}

const SUCCESS: &str = "success";
const NOT_SENT: &str = "not-sent";
const NO_RESPONSE: &str = "no-response";

const fn name(class: Class) -> &'static str {
    match class {
        Class::Refused => "refused",
        Class::Throttled => "throttled",
        Class::Blocked => "blocked",
        Class::Ambiguous => "ambiguous",
        Class::AmbiguousFailure => "ambiguous-failure",
    }
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}

#[cfg(test)]
mod tests {
    use cognito_reset_api::{FailureCause, UserStatus};
    use cognito_reset_core::action::{response::Code, user_names::UserNames};
    use jiff::SignedDuration;
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn durations_are_counted_by_outcome_and_class_in_seconds() {
        let (durations, mut registry) = (Durations::default(), Registry::default());
        durations.register(&mut registry);
        let created = Timestamp::constant(1_800_000_000, 0);
        let after = |milliseconds| created + SignedDuration::from_millis(milliseconds);
        durations.calling(Some(created), after(1_500));
        durations.calling(Some(created), after(-2_000));
        durations.calling(None, created);
        durations.finished(Outcome::Succeeded, Some(created), after(90_000_000));
        durations.finished(Outcome::Failed, None, created);
        let code = |code: &str| Code::parse(code).unwrap();
        let throttled = || ReadError::Exception(code("TooManyRequestsException"));
        for response in [
            ResetResponse::Accepted,
            ResetResponse::Exception(code("UserNotFoundException")),
            ResetResponse::Exception(code("TooManyRequestsException")),
            ResetResponse::NotSent(FailureCause::Dns),
            ResetResponse::NoResponse,
        ] {
            durations.called(&response, Duration::from_millis(200));
        }
        for read in [
            Ok(User { status: UserStatus::Confirmed, names: UserNames::default() }),
            Err(ReadError::Exception(code("AccessDeniedException"))),
            Err(ReadError::Exception(code("InternalErrorException"))),
            Err(ReadError::Exception(code("BrandNewException"))),
            Err(ReadError::NotSent(FailureCause::Dns)),
            Err(ReadError::NoResponse),
        ] {
            durations.user_read(&read, Duration::from_millis(200));
        }
        for listed in [Err(ReadError::NotListed), Err(ReadError::SeveralListed), Err(throttled())] {
            durations.user_listed(&listed, Duration::from_millis(100));
        }
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let of = |operation: &str, class: &str| format!("{{operation=\"{operation}\",class=\"{class}\"}} 1\n");
        let mut wanted = vec![
            "# UNIT request_creation_to_call_seconds seconds".to_owned(),
            "request_creation_to_call_seconds_sum 1.5\n".into(),
            "request_creation_to_call_seconds_bucket{le=\"0.05\"} 1\n".into(),
            "request_creation_to_call_seconds_bucket{le=\"2.5\"} 2\n".into(),
            "request_creation_to_outcome_seconds_bucket{le=\"86400.0\",outcome=\"Succeeded\"} 0\n".into(),
            "request_creation_to_outcome_seconds_count{outcome=\"Succeeded\"} 1\n".into(),
        ];
        for class in ["success", "refused", "throttled", "not-sent", "no-response"] {
            wanted.push(of("AdminResetUserPassword", class));
        }
        for class in ["success", "blocked", "ambiguous", "ambiguous-failure", "not-sent", "no-response"] {
            wanted.push(of("AdminGetUser", class));
        }
        wanted.push("{operation=\"ListUsers\",class=\"success\"} 2\n".to_owned());
        wanted.push(of("ListUsers", "throttled"));
        for series in wanted {
            assert!(text.contains(&series), "{series}: {text}");
        }
        assert!(!text.contains("Failed"), "{text}");
    }
}
