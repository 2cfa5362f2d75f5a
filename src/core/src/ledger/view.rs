//! The record as decisions see it, and the content that they write into it.

use cognito_reset_api::{Attempt, Effect, Evidence, Exception, UserStateSource, UserStatus, conditions::WaitReason};
use jiff::Timestamp;

/// The record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ledger {
    /// Not read afresh yet.
    Unread,
    /// There is none: nothing was ever claimed.
    Absent,
    /// Claimed and not settled, by another task than this one.
    Open {
        /// The time until which the call of the claim may be in flight; `None` if it cannot be any
        /// more.
        in_flight_until: Option<Timestamp>,
        /// The knowledge about the user before that claim.
        baseline: Baseline,
    },
    /// Nothing happened in the last attempt, and another one may be made.
    Retryable {
        /// Not before this moment.
        not_before: Timestamp,
        /// The reason for which the last attempt had no effect.
        reason: RetryReason,
        /// True if Cognito responded to an earlier attempt that nothing happened, and the user did
        /// not have to reset before that attempt. If the user has to reset now, the response and
        /// the state contradict each other.
        not_reset_before: bool,
    },
    /// The end: what the record says is the outcome.
    Settled(Effect),
    /// Written by a newer operator, or of another request: never touched, never a call.
    NotUsable,
}

/// The knowledge about the user before an attempt, with which a probe after it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Baseline {
    /// The user had this state, as AdminGetUser returned it.
    Known(UserStatus),
    /// The state is not known: it could not be read, or ListUsers returned it, which may return an
    /// older one. A probe can only show whether the user has to reset now.
    Unknown,
    /// The grants let nobody read the user, so no probe is made either.
    NotRead,
}

impl Baseline {
    /// Returns the knowledge of an attempt with this source and this state before, if it is known.
    #[must_use]
    pub fn new(source: UserStateSource, before: Option<UserStatus>) -> Self {
        match source {
            UserStateSource::None => Self::NotRead,
            UserStateSource::AdminGetUser | UserStateSource::ListUsers => before.map_or(Self::Unknown, Self::Known),
        }
    }

    /// Reads an attempt. One without a source is of AdminGetUser.
    #[must_use]
    pub fn of(attempt: &Attempt) -> Self {
        Self::new(attempt.origin.user_state_source.unwrap_or_default(), attempt.user_status_before)
    }
}

/// The reason for which an attempt without effect may be followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RetryReason {
    /// The claim was written too late, or grants, holds or a response to another call no longer
    /// allowed the call.
    ClaimTimedOut,
    /// No connection to Cognito was made.
    CognitoUnreachable,
    /// Cognito throttled the call.
    Throttled,
    /// Cognito returned this exception, which blocks.
    Cognito(Exception),
}

impl From<RetryReason> for WaitReason {
    fn from(reason: RetryReason) -> Self {
        match reason {
            RetryReason::ClaimTimedOut => Self::ClaimTimedOut,
            RetryReason::CognitoUnreachable => Self::CognitoUnreachable,
            RetryReason::Throttled => Self::Throttled,
            RetryReason::Cognito(exception) => Self::Cognito(exception),
        }
    }
}

/// The content of the record after an attempt is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Settlement {
    /// The known effect.
    pub effect: Effect,
    /// The evidence of the effect.
    pub evidence: Evidence,
}
