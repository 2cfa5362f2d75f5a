//! The operations of Amazon Cognito that a reset needs.

use std::{collections::BTreeMap, fmt, future::Future, time::Duration};

use cognito_reset_api::{FailureCause, SessionTags, UserStatus, conditions::WaitReason};
use thiserror::Error;

use crate::action::{
    response::{Code, ResetResponse},
    user_names::UserNames,
};

/// Amazon Cognito, as a reset uses it.
///
/// Implementations make one HTTP attempt for each call of [`Self::reset`], with a timeout.
pub trait Cognito: Send + Sync + 'static {
    /// Loaded credentials that are valid for the time of one attempt.
    type Session: Send + Sync;

    /// Loads credentials, and assumes the role if there is one. A claim is written only after this
    /// succeeded.
    fn session(&self, access: &Access) -> impl Future<Output = Result<Self::Session, SessionError>> + Send;

    /// Calls AdminGetUser.
    fn user(&self, session: &Self::Session, user: UserRef<'_>) -> impl Future<Output = Result<User, ReadError>> + Send;

    /// Finds the user by ListUsers, with at most [`LIST_CALLS`](crate::dispatch::lane::LIST_CALLS)
    /// calls. The user and the state may be older ones.
    fn listed_user(
        &self,
        session: &Self::Session,
        user: UserRef<'_>,
    ) -> impl Future<Output = Result<User, ReadError>> + Send;

    /// Calls AdminResetUserPassword. There is no error type: every end of the call is a classified
    /// result.
    fn reset(
        &self,
        session: &Self::Session,
        user: UserRef<'_>,
        client_metadata: Option<&BTreeMap<String, String>>,
    ) -> impl Future<Output = Reply> + Send;

    /// Returns the account of the operator's own credentials, if it is known.
    fn own_account(&self) -> Option<String>;
}

/// The credentials to load: the Region, the role and the purpose.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    /// The Region of the pool.
    pub region: String,
    /// The role to assume; without one, the operator's own credentials.
    pub role: Option<Role>,
    /// The purpose. The session is named and tagged after it, for CloudTrail.
    pub purpose: Purpose,
}

/// The purpose of credentials.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// The reset of a request.
    Reset {
        /// The request's namespace.
        namespace: String,
        /// The request's name.
        name: String,
        /// The request's uid.
        uid: String,
    },
    /// A check that a grant's role can be assumed. No call is made with the credentials.
    RoleCheck {
        /// The grant's name.
        grant: String,
        /// The grant's uid.
        uid: String,
    },
}

/// A role to assume.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Role {
    /// The role's ARN.
    pub arn: String,
    /// The external id that its trust policy requires.
    pub external_id: Option<String>,
    /// The session tags that it is assumed with.
    pub session_tags: SessionTags,
}

/// Leaves out the external id, which is between two accounts, because debug logs contain roles.
impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { arn, external_id, session_tags } = self;
        let mut role = f.debug_struct("Role");
        role.field("arn", arn).field("has_external_id", &external_id.is_some()).field("session_tags", session_tags);
        role.finish()
    }
}

impl Role {
    /// Returns the account of the role: the fifth field of its ARN.
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

/// Returns the Region of a pool: the part of its id before the last underscore.
#[must_use]
pub fn region(pool: &str) -> &str {
    pool.rsplit_once('_').map_or(pool, |(region, _)| region)
}

/// A user, as AdminGetUser or ListUsers returned it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct User {
    /// The state.
    pub status: UserStatus,
    /// The names.
    pub names: UserNames,
}

/// The result of one call of AdminResetUserPassword.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reply {
    /// The classified response.
    pub response: ResetResponse,
    /// The request id of Cognito, if it could be read.
    pub request_id: Option<String>,
    /// The pause that the response demands before the next call.
    pub retry_after: Option<Duration>,
}

impl Reply {
    /// Returns a response without a request id.
    #[must_use]
    pub const fn of(response: ResetResponse) -> Self {
        Self { response, request_id: None, retry_after: None }
    }
}

/// An error about credentials: the failure, and the text of the provider, which only the log
/// contains.
#[derive(Clone, Debug, Error)]
#[error("unable to load AWS credentials: {failure}: {detail}")]
pub struct SessionError {
    /// The kind of failure.
    pub failure: SessionFailure,
    /// The text of the provider.
    pub detail: String,
}

/// A reason to wait for credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CredentialsReason {
    /// They could not be loaded, or the role could not be assumed.
    Unavailable,
    /// The configured endpoint is of another Region than the pool.
    RegionNotServed,
}

impl From<CredentialsReason> for WaitReason {
    fn from(reason: CredentialsReason) -> Self {
        match reason {
            CredentialsReason::Unavailable => Self::AwsCredentialsUnavailable,
            CredentialsReason::RegionNotServed => Self::RegionNotServed,
        }
    }
}

/// The kind of failure to load credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SessionFailure {
    /// No provider of the default chain has credentials.
    NoCredentials,
    /// There are credentials, but no request could carry them.
    Malformed,
    /// STS, or another issuer of credentials, could not be reached.
    Connection(FailureCause),
    /// No response was received in time.
    NoResponse,
    /// STS does not accept the operator's own credentials.
    CredentialsRefused,
    /// STS does not let the operator assume the role.
    AccessDenied,
    /// STS finds the session tags too large.
    TagsTooLarge,
    /// The issuer of credentials responded with another error.
    Rejected,
    /// Something else, such as a file that cannot be read.
    Other,
    /// The endpoint configured for Cognito belongs to another Region than the pool.
    RegionNotServed,
}

impl SessionFailure {
    /// Returns all failures to load credentials or to assume a role.
    pub fn all() -> impl Iterator<Item = Self> {
        let others = [
            Self::NoCredentials,
            Self::Malformed,
            Self::NoResponse,
            Self::CredentialsRefused,
            Self::AccessDenied,
            Self::TagsTooLarge,
            Self::Rejected,
            Self::Other,
        ];
        others.into_iter().chain(FailureCause::ALL.map(Self::Connection))
    }

    /// Returns the name, for metrics.
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

    /// Returns the failure in words, for messages and logs.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::NoCredentials => {
                "no credentials are configured: give the operator's service account an IAM role, by IRSA or EKS Pod Identity"
            }
            Self::Malformed => {
                "the credentials contain a character that no request can carry; a line break at the end is a common cause"
            }
            Self::Connection(cause) => cause.in_words(),
            Self::NoResponse => "no response in time",
            Self::CredentialsRefused => "STS refuses the operator's own credentials",
            Self::AccessDenied => "STS denies the operator access to the role",
            Self::TagsTooLarge => {
                "STS refuses the session tags as too large; set sessionTags: UID or None in the grant"
            }
            Self::Rejected => "the issuer of credentials returned an error",
            Self::Other => "the credentials could not be loaded",
            Self::RegionNotServed => "the configured endpoint of Cognito is of another Region",
        }
    }

    /// Returns the reason that a waiting request shows.
    #[must_use]
    pub const fn reason(self) -> CredentialsReason {
        match self {
            Self::RegionNotServed => CredentialsReason::RegionNotServed,
            Self::NoCredentials
            | Self::Malformed
            | Self::Connection(_)
            | Self::NoResponse
            | Self::CredentialsRefused
            | Self::AccessDenied
            | Self::TagsTooLarge
            | Self::Rejected
            | Self::Other => CredentialsReason::Unavailable,
        }
    }
}

impl fmt::Display for SessionFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.in_words())
    }
}

/// An error of AdminGetUser or ListUsers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Error)]
pub enum ReadError {
    /// Cognito responded to the read with this exception.
    #[error("unable to read the user: {}", .0.as_str())]
    Exception(Code),
    /// Cognito failed with this code and a status of 5xx.
    #[error("unable to read the user: {}", .0.as_str())]
    ServerError(Code),
    /// Nothing was sent, because the request could not be built, or no connection was made.
    #[error("unable to read the user: {}", .0.in_words())]
    NotSent(FailureCause),
    /// The connection ended before a response.
    #[error("unable to read the user: {}", .0.in_words())]
    Connection(FailureCause),
    /// No genuine response of Cognito was received, or none in time.
    #[error("unable to read the user: no readable response")]
    NoResponse,
    /// ListUsers returned no user of this name. That proves nothing, because a list may be an older
    /// one.
    #[error("unable to read the user: {NOT_LISTED}")]
    NotListed,
    /// ListUsers returned several users, and which one a reset would be for is not known.
    #[error("unable to read the user: {SEVERAL_LISTED}")]
    SeveralListed,
}

const NOT_LISTED: &str = "ListUsers returned no user of this name";
const SEVERAL_LISTED: &str = "ListUsers returned several users";

impl ReadError {
    /// Returns the failure in one word: a code or a cause.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Self::Exception(code) | Self::ServerError(code) => code.as_str(),
            Self::NotSent(cause) | Self::Connection(cause) => cause.in_words(),
            Self::NoResponse => "no readable response",
            Self::NotListed => NOT_LISTED,
            Self::SeveralListed => SEVERAL_LISTED,
        }
    }

    /// Returns true if Cognito refuses the credentials, so that other credentials may be accepted.
    #[must_use]
    pub const fn refuses_credentials(&self) -> bool {
        match self {
            Self::Exception(Code::Known(exception)) => exception.refuses_credentials(),
            Self::Exception(Code::Unrecognized(_))
            | Self::ServerError(_)
            | Self::NotSent(_)
            | Self::Connection(_)
            | Self::NoResponse
            | Self::NotListed
            | Self::SeveralListed => false,
        }
    }

    /// Returns the name, for metrics, from a closed list.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Exception(Code::Known(exception)) | Self::ServerError(Code::Known(exception)) => exception.code(),
            Self::Exception(Code::Unrecognized(_)) | Self::ServerError(Code::Unrecognized(_)) => "UnrecognizedError",
            Self::NotSent(cause) | Self::Connection(cause) => cause.as_str(),
            Self::NoResponse => "NoResponse",
            Self::NotListed => "NotListed",
            Self::SeveralListed => "SeveralListed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_text_of_a_role_leaves_out_its_external_id() {
        let role = |external_id: Option<&str>| {
            let arn = "arn:aws:iam::123456789012:role/reset".to_owned();
            Role { arn, external_id: external_id.map(str::to_owned), session_tags: SessionTags::Full }
        };
        let wanted =
            r#"Role { arn: "arn:aws:iam::123456789012:role/reset", has_external_id: true, session_tags: Full }"#;
        assert_eq!(format!("{:?}", role(Some("between-two"))), wanted);
        assert!(format!("{:?}", role(None)).contains("has_external_id: false"));
    }
}
