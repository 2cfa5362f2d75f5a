//! The exceptions of AdminResetUserPassword that are known by name.
//!
//! The list is from its API reference (API version 2016-04-18) and the common errors of AWS.
//! <https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AdminResetUserPassword.html#API_AdminResetUserPassword_Errors>
//! CONTRIBUTING.md lists what a further exception needs.

/// The ending of most exception names.
const SUFFIX: &str = "Exception";

macro_rules! exceptions {
    ($($(#[$doc:meta])* $variant:ident = $code:literal,)*) => {
        /// Every exception that this operator knows, by its exact code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Exception { $($(#[$doc])* $variant,)* }

        impl Exception {
            /// All exceptions.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns the exact code, as Cognito sends it and as it is written in a condition's
            /// reason.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }
        }
    };
}

exceptions! {
    /// Cognito had an internal error.
    InternalError = "InternalErrorException",
    /// Cognito may not use the configured e-mail identity.
    InvalidEmailRoleAccessPolicy = "InvalidEmailRoleAccessPolicyException",
    /// A Lambda trigger returned an invalid response.
    InvalidLambdaResponse = "InvalidLambdaResponseException",
    /// A parameter is invalid, or the user has no verified address.
    InvalidParameter = "InvalidParameterException",
    /// The pool's SMS role may not publish through SNS.
    InvalidSmsRoleAccessPolicy = "InvalidSmsRoleAccessPolicyException",
    /// The pool's SMS role does not trust Cognito, or the external id differs.
    InvalidSmsRoleTrustRelationship = "InvalidSmsRoleTrustRelationshipException",
    /// A limit was exceeded, such as the daily number of e-mails.
    LimitExceeded = "LimitExceededException",
    /// The user is disabled or not in a state that can be reset, or the call is not authorized.
    NotAuthorized = "NotAuthorizedException",
    /// The pool does not exist.
    ResourceNotFound = "ResourceNotFoundException",
    /// Too many requests were sent.
    TooManyRequests = "TooManyRequestsException",
    /// The Lambda service failed.
    UnexpectedLambda = "UnexpectedLambdaException",
    /// A Lambda trigger refused the reset.
    UserLambdaValidation = "UserLambdaValidationException",
    /// The user does not exist.
    UserNotFound = "UserNotFoundException",
    /// Self-service recovery is turned off in the pool.
    OperationNotEnabled = "OperationNotEnabledException",
    /// The code could not be sent to the user.
    CodeDeliveryFailure = "CodeDeliveryFailureException",
    /// The request was throttled.
    Throttling = "ThrottlingException",
    /// The account's request limit was exceeded.
    RequestLimitExceeded = "RequestLimitExceeded",
    /// The service is unavailable for now.
    ServiceUnavailable = "ServiceUnavailable",
    /// The operator's IAM policies do not allow the call.
    AccessDenied = "AccessDeniedException",
    /// The session token has expired.
    ExpiredToken = "ExpiredToken",
    /// The session token has expired.
    ExpiredTokenException = "ExpiredTokenException",
    /// AWS does not know the credentials.
    UnrecognizedClient = "UnrecognizedClientException",
    /// The signature does not match; a wrong clock is a common cause.
    InvalidSignature = "InvalidSignatureException",
    /// The signature is incomplete.
    IncompleteSignature = "IncompleteSignature",
    /// The request was not signed.
    MissingAuthenticationToken = "MissingAuthenticationToken",
    /// The account has not subscribed to the service.
    OptInRequired = "OptInRequired",
    /// The request's date is too old; a wrong clock is a common cause.
    RequestExpired = "RequestExpired",
}

/// The subject of an exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// A common error of AWS about the credentials of the call.
    Credentials,
    /// A common error of AWS about the caller, the time or the rate of the call.
    Caller,
    /// An exception of Cognito itself.
    Reset,
}

impl Exception {
    /// Returns the exception with this code. The common errors of AWS have two names with the same
    /// meaning: `ExpiredToken` in the query protocol and `ExpiredTokenException` in the JSON
    /// protocol.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        let named = |name: &str| Self::ALL.iter().copied().find(|exception| exception.code() == name);
        named(code).or_else(|| {
            let other = match code.strip_suffix(SUFFIX) {
                Some(short) if !short.ends_with(SUFFIX) => short.to_owned(),
                Some(_) => return None,
                None => format!("{code}{SUFFIX}"),
            };
            named(&other).filter(|exception| exception.is_common())
        })
    }

    /// Returns true for an error that every service of AWS has, and false for one of Cognito
    /// itself.
    const fn is_common(self) -> bool {
        match self.about() {
            About::Credentials | About::Caller => true,
            About::Reset => false,
        }
    }

    /// Returns true if the exception refuses the credentials of the call, so that other credentials
    /// may be accepted.
    #[must_use]
    pub const fn refuses_credentials(self) -> bool {
        match self.about() {
            About::Credentials => true,
            About::Caller | About::Reset => false,
        }
    }

    const fn about(self) -> About {
        match self {
            Self::ExpiredToken
            | Self::ExpiredTokenException
            | Self::UnrecognizedClient
            | Self::InvalidSignature
            | Self::IncompleteSignature
            | Self::MissingAuthenticationToken => About::Credentials,
            // Missing permissions, a wrong clock and high load are not faults of the credentials.
            Self::AccessDenied
            | Self::OptInRequired
            | Self::RequestExpired
            | Self::Throttling
            | Self::RequestLimitExceeded
            | Self::ServiceUnavailable => About::Caller,
            Self::InternalError
            | Self::InvalidEmailRoleAccessPolicy
            | Self::InvalidLambdaResponse
            | Self::InvalidParameter
            | Self::InvalidSmsRoleAccessPolicy
            | Self::InvalidSmsRoleTrustRelationship
            | Self::LimitExceeded
            | Self::NotAuthorized
            | Self::ResourceNotFound
            | Self::TooManyRequests
            | Self::UnexpectedLambda
            | Self::UserLambdaValidation
            | Self::UserNotFound
            | Self::OperationNotEnabled
            | Self::CodeDeliveryFailure => About::Reset,
        }
    }
}
