//! What the reset needs of Amazon Cognito, and nothing else.

use std::{collections::BTreeMap, future::Future};

use thiserror::Error;

use super::outcome::Answer;
use crate::api::UserStatus;

/// Amazon Cognito, as the reset sees it.
///
/// Implementations make one HTTP attempt for each call of [`Self::reset`], within a time limit.
pub trait Cognito: Send + Sync + 'static {
    /// Loaded credentials, good for the time of one attempt.
    type Session: Send + Sync;

    /// Loads credentials, assuming the role where there is one. Nothing may be claimed before.
    fn session(&self, access: &Access) -> impl Future<Output = Result<Self::Session, CredentialsError>> + Send;

    /// AdminGetUser.
    fn user(&self, session: &Self::Session, user: UserRef<'_>)
    -> impl Future<Output = Result<User, Unreadable>> + Send;

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
    Trial {
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

/// No credentials. The text is the provider's and goes to the log alone.
#[derive(Debug, Error)]
#[error("unable to load AWS credentials: {0}")]
pub struct CredentialsError(pub String);

/// The user could not be read.
#[derive(Debug, Error)]
#[error("unable to read the user: {0}")]
pub struct Unreadable(pub String);
