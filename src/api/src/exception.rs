//! The exceptions of AdminResetUserPassword that are known by name.
//!
//! From its API reference (API version 2016-04-18) and the common errors of AWS.

/// What the names of most exceptions end with.
const SUFFIX: &str = "Exception";

macro_rules! exceptions {
    ($($(#[$doc:meta])* $variant:ident = $code:literal,)*) => {
        /// Every exception that this operator knows, by its exact code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Exception { $($(#[$doc])* $variant,)* }

        impl Exception {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The exact code, as Cognito sends it and as it stands in a condition's reason.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }
        }
    };
}

exceptions! {
    /// Cognito met an internal error.
    InternalError = "InternalErrorException",
    /// Cognito may not use the configured e-mail identity.
    InvalidEmailRoleAccessPolicy = "InvalidEmailRoleAccessPolicyException",
    /// A Lambda trigger answered something invalid.
    InvalidLambdaResponse = "InvalidLambdaResponseException",
    /// A parameter is invalid, or the user has no verified address.
    InvalidParameter = "InvalidParameterException",
    /// The pool's SMS role may not publish by SNS.
    InvalidSmsRoleAccessPolicy = "InvalidSmsRoleAccessPolicyException",
    /// The pool's SMS role does not trust Cognito, or the external id differs.
    InvalidSmsRoleTrustRelationship = "InvalidSmsRoleTrustRelationshipException",
    /// A limit was exceeded, such as the daily number of e-mails.
    LimitExceeded = "LimitExceededException",
    /// Not authorized, or the user is disabled or not in a state that can be reset.
    NotAuthorized = "NotAuthorizedException",
    /// There is no such pool.
    ResourceNotFound = "ResourceNotFoundException",
    /// Too many requests.
    TooManyRequests = "TooManyRequestsException",
    /// The Lambda service failed.
    UnexpectedLambda = "UnexpectedLambdaException",
    /// A Lambda trigger refused.
    UserLambdaValidation = "UserLambdaValidationException",
    /// There is no such user.
    UserNotFound = "UserNotFoundException",
    /// Self-service recovery is off in the pool.
    OperationNotEnabled = "OperationNotEnabledException",
    /// The code could not be sent to the user.
    CodeDeliveryFailure = "CodeDeliveryFailureException",
    /// The request was throttled.
    Throttling = "ThrottlingException",
    /// The account's request limit was exceeded.
    RequestLimitExceeded = "RequestLimitExceeded",
    /// The service is unavailable for now.
    ServiceUnavailable = "ServiceUnavailable",
    /// The caller's policies do not allow the call.
    AccessDenied = "AccessDeniedException",
    /// The caller's session token has expired.
    ExpiredToken = "ExpiredToken",
    /// The caller's session token has expired.
    ExpiredTokenException = "ExpiredTokenException",
    /// The caller's credentials are not known.
    UnrecognizedClient = "UnrecognizedClientException",
    /// The signature does not fit; often a wrong clock.
    InvalidSignature = "InvalidSignatureException",
    /// The signature is incomplete.
    IncompleteSignature = "IncompleteSignature",
    /// The request was not signed.
    MissingAuthenticationToken = "MissingAuthenticationToken",
    /// The account has not subscribed to the service.
    OptInRequired = "OptInRequired",
    /// The request's date is too old; often a wrong clock.
    RequestExpired = "RequestExpired",
}

/// What an exception is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// A common error of AWS: the credentials of the call.
    Credentials,
    /// A common error of AWS: who calls, when and how often.
    Caller,
    /// One of Cognito's own.
    Reset,
}

impl Exception {
    /// The exception with this code. The common errors of AWS have two names, `ExpiredToken` in the query protocol and
    /// `ExpiredTokenException` in the JSON protocol, that mean the same.
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

    /// Whether it is one of the errors that every service of AWS has, rather than one of Cognito's own.
    const fn is_common(self) -> bool {
        match self.about() {
            About::Credentials | About::Caller => true,
            About::Reset => false,
        }
    }

    /// Whether it refuses the credentials of the call, so that others may be accepted.
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
            // What the credentials may do, the clock, and the load are no fault of theirs.
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
