//! What the reset needs of Amazon Cognito, and nothing else.

use std::{collections::BTreeMap, fmt, future::Future};

use cognito_reset_api::{FailureCause, SessionTags, UserStatus, conditions::Reason};
use thiserror::Error;

use crate::action::response::{Answer, Code};

/// Amazon Cognito, as the reset sees it.
///
/// Implementations make one HTTP attempt for each call of [`Self::reset`], within a time limit.
pub trait Cognito: Send + Sync + 'static {
    /// Loaded credentials, good for the time of one attempt.
    type Session: Send + Sync;

    /// Loads credentials, assuming the role where there is one. Nothing may be claimed before.
    fn session(&self, access: &Access) -> impl Future<Output = Result<Self::Session, SessionError>> + Send;

    /// AdminGetUser.
    fn user(&self, session: &Self::Session, user: UserRef<'_>) -> impl Future<Output = Result<User, ReadError>> + Send;

    /// AdminResetUserPassword. There is no error: every end of the call is an answer.
    fn reset(
        &self,
        session: &Self::Session,
        user: UserRef<'_>,
        client_metadata: Option<&BTreeMap<String, String>>,
    ) -> impl Future<Output = Reply> + Send;
}

/// With which rights, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The Region of the pool.
    pub region: String,
    /// The role to assume; without one, the operator's own credentials.
    pub role: Option<Role>,
    /// What for: the session is named and tagged after it, for CloudTrail.
    pub purpose: Purpose,
}

/// What credentials are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The reset that a request asks for.
    Reset {
        /// The request's namespace.
        namespace: String,
        /// The request's name.
        name: String,
        /// The request's uid.
        uid: String,
    },
    /// To see whether a grant's role can be assumed; nothing is called with them.
    RoleCheck {
        /// The grant's name.
        grant: String,
        /// The grant's uid.
        uid: String,
    },
}

/// A role to assume.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Role {
    /// The role's ARN.
    pub arn: String,
    /// The external id that its trust policy asks for.
    pub external_id: Option<String>,
    /// Which session tags it is assumed with.
    pub session_tags: SessionTags,
}

impl Role {
    /// The account of the role: the fifth field of its ARN.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        self.arn.split(':').nth(4)
    }
}

/// One user of one pool.
#[derive(Clone, Copy, Debug)]
pub struct UserRef<'a> {
    /// The pool's id.
    pub pool: &'a str,
    /// The user's name or alias.
    pub username: &'a str,
}

/// The Region of a pool: what stands before the last underscore of its id.
#[must_use]
pub fn region(pool: &str) -> &str {
    pool.rsplit_once('_').map_or(pool, |(region, _)| region)
}

/// What AdminGetUser tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The state.
    pub status: UserStatus,
    /// The immutable `sub` attribute.
    pub sub: Option<String>,
}

/// What came of one call of AdminResetUserPassword.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The answer.
    pub answer: Answer,
    /// Cognito's request id, where it could be read.
    pub request_id: Option<String>,
}

/// No session: what is missing, and what the provider says, which goes to the log alone.
#[derive(Clone, Debug, Error)]
#[error("unable to load AWS credentials: {failure}: {detail}")]
pub struct SessionError {
    /// What went wrong.
    pub failure: SessionFailure,
    /// The provider's words.
    pub detail: String,
}

/// Why there is no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SessionFailure {
    /// No provider of the default chain has credentials.
    NoCredentials,
    /// There are credentials, but no request could carry them.
    Malformed,
    /// STS, or whatever else issues credentials, could not be reached.
    Connection(FailureCause),
    /// No answer in time.
    NoResponse,
    /// STS does not accept the operator's own credentials.
    CredentialsRefused,
    /// STS does not let the operator assume the role.
    AccessDenied,
    /// STS finds the session tags too large.
    TagsTooLarge,
    /// The issuer of credentials answered with another error.
    Rejected,
    /// Something else, such as a file that cannot be read.
    Other,
    /// The endpoint that is configured for Cognito is of another Region than the pool.
    RegionNotServed,
}

impl SessionFailure {
    /// The name, for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoCredentials => "NoCredentials",
            Self::Malformed => "Malformed",
            Self::Connection(cause) => cause.as_str(),
            Self::NoResponse => "NoResponse",
            Self::CredentialsRefused => "CredentialsRefused",
            Self::AccessDenied => "AccessDenied",
            Self::TagsTooLarge => "TagsTooLarge",
            Self::Rejected => "Rejected",
            Self::Other => "Other",
            Self::RegionNotServed => "RegionNotServed",
        }
    }

    /// What went wrong, for messages and logs.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::NoCredentials => "no credentials are configured",
            Self::Malformed => {
                "the credentials hold a character that no request can carry, often a line break at the end"
            }
            Self::Connection(cause) => cause.in_words(),
            Self::NoResponse => "no response in time",
            Self::CredentialsRefused => "STS refuses the operator's own credentials",
            Self::AccessDenied => "STS denies the operator access to the role",
            Self::TagsTooLarge => {
                "STS refuses the session tags as too large; set sessionTags: UID or None in the grant"
            }
            Self::Rejected => "the issuer of credentials answered with an error",
            Self::Other => "the credentials could not be loaded",
            Self::RegionNotServed => "the configured endpoint of Cognito is of another Region",
        }
    }

    /// The reason that a waiting request shows.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::RegionNotServed => Reason::RegionNotServed,
            Self::NoCredentials
            | Self::Malformed
            | Self::Connection(_)
            | Self::NoResponse
            | Self::CredentialsRefused
            | Self::AccessDenied
            | Self::TagsTooLarge
            | Self::Rejected
            | Self::Other => Reason::AwsCredentialsUnavailable,
        }
    }
}

impl fmt::Display for SessionFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.in_words())
    }
}

/// The user could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// Cognito answered AdminGetUser with this exception.
    #[error("unable to read the user: {}", .0.as_str())]
    Exception(Code),
    /// No connection was made, or it ended before an answer.
    #[error("unable to read the user: {}", .0.in_words())]
    Connection(FailureCause),
    /// Nothing that is a response of Cognito came back, or not in time.
    #[error("unable to read the user: no readable response")]
    NoResponse,
}

impl ReadError {
    /// What went wrong, in a word: a code or a cause.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Self::Exception(code) => code.as_str(),
            Self::Connection(cause) => cause.in_words(),
            Self::NoResponse => "no readable response",
        }
    }

    /// Whether Cognito refuses the credentials, so that others may be accepted.
    #[must_use]
    pub const fn refuses_credentials(&self) -> bool {
        match self {
            Self::Exception(Code::Known(exception)) => exception.refuses_credentials(),
            Self::Exception(Code::Unrecognized(_)) | Self::Connection(_) | Self::NoResponse => false,
        }
    }

    /// The name, for metrics: a closed list.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Exception(Code::Known(exception)) => exception.code(),
            Self::Exception(Code::Unrecognized(_)) => "UnrecognizedError",
            Self::Connection(cause) => cause.as_str(),
            Self::NoResponse => "NoResponse",
        }
    }
}
