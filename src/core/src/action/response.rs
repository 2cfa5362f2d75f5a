//! Classifies responses of AdminResetUserPassword by what they prove about the reset.
//!
//! Exceptions and their status codes are from the API reference of AdminResetUserPassword (API
//! version 2016-04-18) and its common errors. Only codes are used, never message texts.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AdminResetUserPassword.html#API_AdminResetUserPassword_Errors>

use cognito_reset_api::{Exception, FailureCause};

/// The maximum length of an unrecognized exception code that is kept, in characters.
pub const MAX_CODE: usize = 64;

/// The class of an exception: what it proves about the reset, and what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Nothing happened, and the same call would be refused again. The request ends.
    Refused,
    /// Nothing happened. The operator retries, and slows down the account and Region.
    Throttled,
    /// Nothing happened, but the configuration has to be changed. The operator retries with
    /// growing pauses.
    Blocked,
    /// It is not known whether the reset happened. If a probe confirms it, the request succeeded.
    Ambiguous,
    /// It is not known whether the reset happened. Regardless of a probe, the exception is the
    /// result.
    AmbiguousFailure,
}

impl Class {
    /// Returns the class of the exception.
    #[must_use]
    pub const fn of(exception: Exception) -> Self {
        match exception {
            Exception::InvalidParameter
            | Exception::NotAuthorized
            | Exception::ResourceNotFound
            | Exception::UserNotFound
            | Exception::OperationNotEnabled => Self::Refused,
            Exception::TooManyRequests | Exception::Throttling | Exception::RequestLimitExceeded => Self::Throttled,
            Exception::AccessDenied
            | Exception::ExpiredToken
            | Exception::ExpiredTokenException
            | Exception::UnrecognizedClient
            | Exception::InvalidSignature
            | Exception::IncompleteSignature
            | Exception::MissingAuthenticationToken
            | Exception::OptInRequired
            | Exception::RequestExpired => Self::Blocked,
            Exception::InternalError | Exception::ServiceUnavailable => Self::Ambiguous,
            Exception::InvalidEmailRoleAccessPolicy
            | Exception::InvalidLambdaResponse
            | Exception::InvalidSmsRoleAccessPolicy
            | Exception::InvalidSmsRoleTrustRelationship
            | Exception::LimitExceeded
            | Exception::UnexpectedLambda
            | Exception::UserLambdaValidation
            | Exception::CodeDeliveryFailure => Self::AmbiguousFailure,
        }
    }
}

/// An exception's code, known or not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// A known exception.
    Known(Exception),
    /// Another code, cleaned and truncated.
    Unrecognized(String),
}

impl Code {
    /// Parses a code from a response or a record. Returns `None` if no usable character is left.
    ///
    /// An unrecognized code is reduced to at most [`MAX_CODE`] ASCII letters and digits, so that a
    /// status can contain it. Cleaning never turns it into a known code.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        if let Some(exception) = Exception::from_code(code) {
            return Some(Self::Known(exception));
        }
        let cleaned: String = code.chars().filter(char::is_ascii_alphanumeric).take(MAX_CODE).collect();
        let usable = !cleaned.is_empty() && Exception::from_code(&cleaned).is_none();
        usable.then_some(Self::Unrecognized(cleaned))
    }

    /// Returns the code as it is written in a record.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(exception) => exception.code(),
            Self::Unrecognized(code) => code,
        }
    }

    /// Returns the class of the code. An unrecognized code proves nothing.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::Known(exception) => Class::of(*exception),
            Self::Unrecognized(_) => Class::AmbiguousFailure,
        }
    }
}

/// The response to one call of AdminResetUserPassword.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ResetResponse {
    /// Cognito accepted the reset (HTTP 200). This does not mean that a code was delivered.
    Accepted,
    /// Cognito responded with an exception.
    Exception(Code),
    /// Nothing was sent: the request was never handed to the transport, or no connection was made.
    NotSent(FailureCause),
    /// No readable response was received, and the request may have been sent.
    NoResponse,
}

impl ResetResponse {
    /// Classifies an error with this HTTP status and code.
    ///
    /// A refusal has a 4xx status, and throttling has a 4xx or 5xx status (API reference, common
    /// errors). With any other status the response contradicts itself: it may come from an
    /// intermediary, and proves nothing.
    #[must_use]
    pub fn exception(status: u16, code: &str) -> Self {
        let Some(code) = Code::parse(code) else { return Self::NoResponse };
        let fits = match code.class() {
            Class::Refused | Class::Blocked => (400..500).contains(&status),
            Class::Throttled => (400..600).contains(&status),
            Class::Ambiguous | Class::AmbiguousFailure => true,
        };
        if fits { Self::Exception(code) } else { Self::NoResponse }
    }

    /// Returns the class of the response; `None` for success.
    #[must_use]
    pub const fn class(&self) -> Option<Class> {
        match self {
            Self::Accepted => None,
            Self::Exception(code) => Some(code.class()),
            Self::NotSent(_) => Some(Class::Blocked),
            Self::NoResponse => Some(Class::Ambiguous),
        }
    }

    /// Returns one word for logs and metrics, from a closed list.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::Exception(Code::Known(exception)) => exception.code(),
            Self::Exception(Code::Unrecognized(_)) => "UnrecognizedError",
            Self::NotSent(_) => "NotSent",
            Self::NoResponse => "NoResponse",
        }
    }

    /// Returns the cause why nothing was sent, if that is the result.
    #[must_use]
    pub const fn cause(&self) -> Option<FailureCause> {
        match self {
            Self::NotSent(cause) => Some(*cause),
            Self::Accepted | Self::Exception(_) | Self::NoResponse => None,
        }
    }

    /// Returns the code of the exception, if there is one.
    #[must_use]
    pub const fn code(&self) -> Option<&Code> {
        match self {
            Self::Exception(code) => Some(code),
            Self::Accepted | Self::NotSent(_) | Self::NoResponse => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_read_back() {
        for exception in Exception::ALL {
            assert_eq!(Code::parse(exception.code()), Some(Code::Known(*exception)));
        }
        let mut codes: Vec<_> = Exception::ALL.iter().map(|exception| exception.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Exception::ALL.len());
    }

    #[test]
    fn a_common_error_is_the_same_by_its_name_in_either_protocol() {
        for (code, same) in [
            ("IncompleteSignatureException", Exception::IncompleteSignature),
            ("MissingAuthenticationTokenException", Exception::MissingAuthenticationToken),
            ("AccessDenied", Exception::AccessDenied),
            ("InvalidSignature", Exception::InvalidSignature),
            ("OptInRequiredException", Exception::OptInRequired),
            ("RequestExpiredException", Exception::RequestExpired),
            ("RequestLimitExceededException", Exception::RequestLimitExceeded),
            ("ServiceUnavailableException", Exception::ServiceUnavailable),
            ("Throttling", Exception::Throttling),
            ("UnrecognizedClient", Exception::UnrecognizedClient),
            ("ExpiredToken", Exception::ExpiredToken),
            ("ExpiredTokenException", Exception::ExpiredTokenException),
        ] {
            assert_eq!(Code::parse(code), Some(Code::Known(same)), "{code}");
        }
        // A code that proves something only has that meaning under its full name.
        for code in ["UserNotFound", "NotAuthorized", "TooManyRequests", "ThrottlingExceptionException", "Exception"] {
            assert_eq!(Code::parse(code), Some(Code::Unrecognized(code.into())), "{code}");
        }
    }

    #[test]
    fn an_unrecognized_code_is_cleaned_and_cut() {
        let cases = [
            ("BrandNewException", Some("BrandNewException")),
            ("Brand\u{202e}New\n<b>Ex", Some("BrandNewbEx")),
            ("userNotFoundException", Some("userNotFoundException")),
            ("\u{7}\u{1b}[31m", Some("31m")),
            ("UserNotFound-Exception", None),
            ("", None),
            ("---", None),
        ];
        for (raw, kept) in cases {
            assert_eq!(Code::parse(raw), kept.map(|code| Code::Unrecognized(code.into())), "{raw:?}");
        }
        assert_eq!(Code::parse(&"x".repeat(4096)).map(|code| code.as_str().len()), Some(MAX_CODE));
    }

    #[test]
    fn an_unrecognized_code_proves_nothing() {
        assert_eq!(Code::Unrecognized("BrandNew".into()).class(), Class::AmbiguousFailure);
    }

    #[test]
    fn a_proof_that_contradicts_its_status_proves_nothing() {
        let statuses = [302, 399, 400, 403, 429, 499, 500, 503, 599, 600];
        let client: &[u16] = &[400, 403, 429, 499];
        let any_error: &[u16] = &[400, 403, 429, 499, 500, 503, 599];
        for (code, accepted_with) in [
            ("UserNotFoundException", client),
            ("AccessDeniedException", client),
            ("TooManyRequestsException", any_error),
            ("InternalErrorException", &statuses),
            ("BrandNewException", &statuses),
        ] {
            let exception = ResetResponse::Exception(Code::parse(code).unwrap());
            for status in statuses {
                let wanted =
                    if accepted_with.contains(&status) { exception.clone() } else { ResetResponse::NoResponse };
                assert_eq!(ResetResponse::exception(status, code), wanted, "{code} {status}");
            }
        }
        assert_eq!(ResetResponse::exception(400, "---"), ResetResponse::NoResponse);
    }

    #[test]
    fn each_response_has_a_class_and_a_name_for_logs() {
        let exception = |code| ResetResponse::Exception(Code::parse(code).unwrap());
        for (response, class, name) in [
            (ResetResponse::Accepted, None, "Accepted"),
            (ResetResponse::NotSent(FailureCause::Tls), Some(Class::Blocked), "NotSent"),
            (ResetResponse::NoResponse, Some(Class::Ambiguous), "NoResponse"),
            (exception("TooManyRequestsException"), Some(Class::Throttled), "TooManyRequestsException"),
            (exception("UserNotFoundException"), Some(Class::Refused), "UserNotFoundException"),
            (exception("BrandNewException"), Some(Class::AmbiguousFailure), "UnrecognizedError"),
        ] {
            assert_eq!((response.class(), response.name()), (class, name), "{response:?}");
        }
    }
}
