//! What is known of one request at one moment: all that [`decide`](super::decide::decide) looks at.

use cognito_reset_api::{Effect, Evidence, Exception, UserStatus, conditions::Reason};
use jiff::Timestamp;

use crate::action::response::Answer;

/// All that is known of one request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Situation {
    /// When request and record had been read afresh.
    pub read_at: Timestamp,
    /// The request, read afresh.
    pub request: Request,
    /// Its record, read afresh.
    pub ledger: Ledger,
    /// What the grants say, from the watch's cache.
    pub permission: Permission,
    /// Another task of this process is at work on the same user; when to look again.
    pub user_busy: Option<Timestamp>,
    /// The budget of the account and Region.
    pub budget: Budget,
    /// The AWS credentials for this request.
    pub credentials: Credentials,
    /// The user's state before the claim.
    pub before: Snapshot,
    /// The attempt that this task itself holds.
    pub attempt: Attempt,
    /// What probes after an ambiguous call have shown.
    pub probes: Probes,
    /// The latest expiry of a request that the record remembers.
    pub remembered: Option<Timestamp>,
    /// What was refused, as this pass has met it.
    pub refused: Option<Refused>,
}

impl Situation {
    /// Nothing is known yet, and up to `probes` probes may be made.
    #[must_use]
    pub const fn unknown(probes: u32) -> Self {
        Self {
            read_at: Timestamp::UNIX_EPOCH,
            request: Request::Unread,
            ledger: Ledger::Unread,
            permission: Permission::Denied(Reason::NoMatchingGrant),
            user_busy: None,
            budget: Budget::NotAsked,
            credentials: Credentials::NotLoaded,
            before: Snapshot::NotRead,
            attempt: Attempt::None,
            probes: Probes { left: probes, last: None },
            remembered: None,
            refused: None,
        }
    }
}

/// The request object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Not read afresh yet.
    Unread,
    /// Deleted, being deleted, or replaced by another object of the same name.
    Gone,
    /// Its status already tells an outcome.
    Finished,
    /// Its outcome is Pending.
    Pending(Wishes),
}

/// What a pending request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wishes {
    /// Held back by its author.
    pub suspended: bool,
    /// Never to be performed from this moment on.
    pub expires: Option<Timestamp>,
    /// Fails from this moment on.
    pub deadline: Timestamp,
    /// Send nothing where the user already has to reset.
    pub skip_if_reset_required: bool,
}

/// The record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ledger {
    /// Not read afresh yet.
    Unread,
    /// There is none: nothing was ever claimed.
    Absent,
    /// Claimed and not settled, by another task than this one.
    Open {
        /// Whether the holder's call may still be in flight; `Some` tells when it no longer may.
        in_flight_until: Option<Timestamp>,
        /// The user's state before that claim.
        before: Option<UserStatus>,
    },
    /// Nothing happened in the last attempt, and another one may be made.
    Retryable {
        /// Not before this moment.
        not_before: Timestamp,
        /// Why the last attempt had no effect.
        reason: Reason,
    },
    /// The end: what the record says is the outcome.
    Settled(Effect),
    /// Written by a newer operator, or of another request: never touched, never a call.
    NotUsable,
}

/// What the grants say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Allowed, with one role.
    Granted,
    /// Not allowed, for this reason.
    Denied(Reason),
}

/// The budget of the account and Region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Budget {
    /// Not asked yet.
    NotAsked,
    /// A call may be made now.
    Granted,
    /// Not before this moment, for this reason.
    Exhausted {
        /// When to ask again.
        until: Timestamp,
        /// `RateLimited` or `Throttled`.
        reason: Reason,
    },
}

/// The AWS credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Credentials {
    /// Not loaded yet.
    NotLoaded,
    /// Loaded, and good for the time of a call.
    Loaded,
    /// Could not be loaded; to be tried again at this moment.
    Unavailable {
        /// When to try again.
        until: Timestamp,
        /// `AwsCredentialsUnavailable` or `RegionNotServed`.
        reason: Reason,
    },
}

/// The user's state before the claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Snapshot {
    /// Not read yet.
    NotRead,
    /// Could not be read now, or Cognito does not know it.
    Unreadable {
        /// When a request that cannot go on without it tries again.
        until: Timestamp,
    },
    /// Cognito answered with this exception, and would again: there is no such user or pool, for one.
    Refused(Exception),
    /// Read, and known to Cognito: never `Unknown`.
    Read(UserStatus),
}

impl Snapshot {
    /// The state, where it was read.
    #[must_use]
    pub const fn status(self) -> Option<UserStatus> {
        match self {
            Self::Read(status) => Some(status),
            Self::NotRead | Self::Unreadable { .. } | Self::Refused(_) => None,
        }
    }
}

/// The attempt that this task itself holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Attempt {
    /// None.
    None,
    /// Claimed and stored, and the call was not sent.
    Claimed {
        /// Whether the claim's time budget has passed.
        too_late: bool,
    },
    /// The call was sent, or tried: the attempt is consumed.
    Answered(Answer),
}

/// What probes after an ambiguous call have shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Probes {
    /// How many more may be made.
    pub left: u32,
    /// The state that the last readable one saw.
    pub last: Option<UserStatus>,
}

/// A write that the API server refused, so that nothing was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Refused {
    /// Which one.
    pub write: RecordWrite,
    /// When to try it again.
    pub until: Timestamp,
}

/// The writes without which a request cannot go on. That of its own effect is none of them: it is tried until it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordWrite {
    /// The claim, before a call.
    Claim,
    /// What happened to so many other requests that another call is not made before some of that is stored.
    EarlierEffects,
    /// The end without a call, and why.
    Close(Evidence),
    /// The expiry of a request that is to be told of a settled record.
    Remember,
}
