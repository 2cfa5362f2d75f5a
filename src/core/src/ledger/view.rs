//! The record as decisions see it, and the content that they write into it.

use cognito_reset_api::{Effect, Evidence, Exception, UserStatus, conditions::WaitReason};
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
        /// The user's state before that claim.
        before: Option<UserStatus>,
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
