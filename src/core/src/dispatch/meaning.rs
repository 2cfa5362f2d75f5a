//! The meaning of a response for the calls after it.

use cognito_reset_api::{Exception, FailureCause};

use crate::{
    action::{
        port::ReadError,
        response::{Class, Code, ResetResponse},
    },
    dispatch::lane::QuotaCategory,
};

/// The meaning of a response for the pace of its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Load {
    /// Cognito counted the call against the quota and carried it out or refused it.
    Accepted,
    /// Cognito throttled.
    Throttled,
    /// The response shows nothing about the load.
    Unclear,
}

/// The meaning of a response for the delivery of codes in its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// Cognito accepted a code for sending.
    Works,
    /// The password may be invalidated without a code. The next user would be locked out as well.
    Fails,
    /// Cognito got as far as to no delivery.
    Untried,
    /// The delivery may have been tried, with an unknown result.
    Unclear,
    /// The call was a read, before the one that would deliver.
    NotAsked,
}

/// The meaning of a response for the service in its account and Region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// Cognito responded by itself.
    Alive,
    /// Cognito did not respond, or failed.
    Lost,
    /// The call did not leave the operator, for a reason of its own.
    Untried,
    /// The call was a read that Cognito responded to. Whether resets have responses is open.
    NotAsked,
}

/// The meaning of a response for the calls after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Meaning {
    /// For the pace of the lane.
    pub load: Load,
    /// For the delivery of codes in the pool.
    pub delivery: Delivery,
    /// For the service in the account and Region.
    pub service: Service,
}

const ACCEPTED: Meaning = Meaning { load: Load::Accepted, delivery: Delivery::Works, service: Service::Alive };
/// The user or the pool is not in a state for a reset; nothing happened.
const REFUSED: Meaning = Meaning { load: Load::Accepted, delivery: Delivery::Untried, service: Service::Alive };
const THROTTLED: Meaning = Meaning { load: Load::Throttled, delivery: Delivery::Untried, service: Service::Alive };
/// The caller is refused, possibly before the call counts against the quota.
const BLOCKED: Meaning = Meaning { load: Load::Unclear, delivery: Delivery::Untried, service: Service::Alive };
const NOT_DELIVERED: Meaning = Meaning { load: Load::Accepted, delivery: Delivery::Fails, service: Service::Alive };
/// The service failed, or the response is lost.
const LOST: Meaning = Meaning { load: Load::Unclear, delivery: Delivery::Unclear, service: Service::Lost };
const NOT_CONNECTED: Meaning = Meaning { load: Load::Unclear, delivery: Delivery::Untried, service: Service::Lost };
const NOT_BUILT: Meaning = Meaning { load: Load::Unclear, delivery: Delivery::Untried, service: Service::Untried };

impl Meaning {
    /// Returns the meaning of the response to a reset.
    ///
    /// An unrecognized code counts as a failed delivery. It may come from a step of the delivery
    /// that was added since, and then each further call would lock out a user.
    #[must_use]
    pub const fn of(response: &ResetResponse) -> Self {
        match response {
            ResetResponse::Accepted => ACCEPTED,
            ResetResponse::Exception(Code::Known(exception)) => Self::of_exception(*exception),
            ResetResponse::Exception(Code::Unrecognized(_)) => NOT_DELIVERED,
            ResetResponse::NotSent(cause) => Self::of_cause(*cause),
            ResetResponse::NoResponse => LOST,
        }
    }

    /// Returns the meaning of an exception.
    #[must_use]
    pub const fn of_exception(exception: Exception) -> Self {
        match Class::of(exception) {
            Class::Refused => REFUSED,
            Class::Throttled => THROTTLED,
            Class::Blocked => BLOCKED,
            Class::Ambiguous => LOST,
            // The step that sends the code, or a Lambda trigger around it, failed.
            Class::AmbiguousFailure => NOT_DELIVERED,
        }
    }

    /// Returns the meaning of the response to a read of the user, in a lane of this category.
    /// `None` means that the user was read.
    ///
    /// A throttled read slows its lane down regardless of the category, because each turn of a
    /// reset begins with a read. An accepted one shows nothing about the quota of another category,
    /// and a response shows nothing about the responses to resets: else the read of each turn would
    /// cover up that all resets are lost.
    #[must_use]
    pub const fn of_read(error: Option<&ReadError>, category: QuotaCategory) -> Self {
        let Self { load, delivery: _, service } = match error {
            None | Some(ReadError::NotListed | ReadError::SeveralListed) => ACCEPTED,
            Some(ReadError::Exception(Code::Known(exception))) => Self::of_exception(*exception),
            Some(ReadError::Exception(Code::Unrecognized(_))) => BLOCKED,
            Some(ReadError::ServerError(_) | ReadError::Connection(_) | ReadError::NoResponse) => LOST,
            Some(ReadError::NotSent(cause)) => Self::of_cause(*cause),
        };
        let load = match (load, category) {
            (Load::Accepted, QuotaCategory::UserRead) => Load::Accepted,
            (Load::Throttled, _) => Load::Throttled,
            (Load::Accepted | Load::Unclear, _) => Load::Unclear,
        };
        let service = match service {
            Service::Alive => Service::NotAsked,
            Service::Lost | Service::Untried | Service::NotAsked => service,
        };
        Self { load, delivery: Delivery::NotAsked, service }
    }

    const fn of_cause(cause: FailureCause) -> Self {
        match cause {
            FailureCause::Request => NOT_BUILT,
            FailureCause::Dns
            | FailureCause::Refused
            | FailureCause::TimedOut
            | FailureCause::Tls
            | FailureCause::Proxy
            | FailureCause::Network => NOT_CONNECTED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meaning_agrees_with_the_class_of_each_response() {
        let known = Exception::ALL.iter().map(|exception| ResetResponse::Exception(Code::Known(*exception)));
        let causes = FailureCause::ALL.into_iter().map(ResetResponse::NotSent);
        let unrecognized = ResetResponse::Exception(Code::Unrecognized("BrandNew".into()));
        let others = [ResetResponse::Accepted, ResetResponse::NoResponse, unrecognized];
        for response in known.chain(causes).chain(others) {
            let wanted = match response.class() {
                None => (Load::Accepted, Delivery::Works, Service::Alive),
                Some(Class::Refused) => (Load::Accepted, Delivery::Untried, Service::Alive),
                Some(Class::Throttled) => (Load::Throttled, Delivery::Untried, Service::Alive),
                Some(Class::AmbiguousFailure) => (Load::Accepted, Delivery::Fails, Service::Alive),
                Some(Class::Ambiguous) => (Load::Unclear, Delivery::Unclear, Service::Lost),
                Some(Class::Blocked) => match response.cause() {
                    None => (Load::Unclear, Delivery::Untried, Service::Alive),
                    Some(FailureCause::Request) => (Load::Unclear, Delivery::Untried, Service::Untried),
                    Some(_) => (Load::Unclear, Delivery::Untried, Service::Lost),
                },
            };
            let Meaning { load, delivery, service } = Meaning::of(&response);
            assert_eq!((load, delivery, service), wanted, "{response:?}");
        }
    }

    #[test]
    fn each_delivery_error_stops_its_pool() {
        let stopping: Vec<_> = Exception::ALL
            .iter()
            .filter(|exception| Meaning::of_exception(**exception).delivery == Delivery::Fails)
            .map(|exception| exception.code())
            .collect();
        let wanted = [
            "InvalidEmailRoleAccessPolicyException",
            "InvalidLambdaResponseException",
            "InvalidSmsRoleAccessPolicyException",
            "InvalidSmsRoleTrustRelationshipException",
            "LimitExceededException",
            "UnexpectedLambdaException",
            "UserLambdaValidationException",
            "CodeDeliveryFailureException",
        ];
        assert_eq!(stopping, wanted);
    }
    #[test]
    fn read_shows_failures_and_nothing_of_delivery_or_other_quotas() {
        let exception = |code| ReadError::Exception(Code::parse(code).unwrap());
        let code = Code::Known(Exception::TooManyRequests);
        for (error, load, service) in [
            (None, Load::Accepted, Service::NotAsked),
            (Some(ReadError::NotListed), Load::Accepted, Service::NotAsked),
            (Some(ReadError::SeveralListed), Load::Accepted, Service::NotAsked),
            (Some(exception("UserNotFoundException")), Load::Accepted, Service::NotAsked),
            (Some(exception("TooManyRequestsException")), Load::Throttled, Service::NotAsked),
            (Some(exception("AccessDeniedException")), Load::Unclear, Service::NotAsked),
            (Some(exception("BrandNewException")), Load::Unclear, Service::NotAsked),
            (Some(exception("InternalErrorException")), Load::Unclear, Service::Lost),
            (Some(ReadError::ServerError(code)), Load::Unclear, Service::Lost),
            (Some(ReadError::NoResponse), Load::Unclear, Service::Lost),
            (Some(ReadError::Connection(FailureCause::Network)), Load::Unclear, Service::Lost),
            (Some(ReadError::NotSent(FailureCause::Dns)), Load::Unclear, Service::Lost),
            (Some(ReadError::NotSent(FailureCause::Request)), Load::Unclear, Service::Untried),
        ] {
            for category in QuotaCategory::ALL {
                let is_shown = load == Load::Throttled || category == QuotaCategory::UserRead;
                let load = if is_shown { load } else { Load::Unclear };
                let wanted = Meaning { load, delivery: Delivery::NotAsked, service };
                assert_eq!(Meaning::of_read(error.as_ref(), category), wanted, "{error:?}, {category:?}");
            }
        }
    }
}
