//! The state of one request at one moment: the input of [`decide`](super::decide::decide).

use cognito_reset_api::{CloseCause, Exception, UserStateSource, UserStatus, conditions::WaitReason};
use jiff::Timestamp;

use crate::{
    action::{port::CredentialsReason, response::ResetResponse},
    dispatch::turns::GrantLimit,
    ledger::{Baseline, Ledger},
};

/// The state of one request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The time at which request and record were read.
    pub read_at: Timestamp,
    /// The API server's clock in the response with the request; `None` if the response had no Date.
    pub server_time: Option<Timestamp>,
    /// True if request and record were read again because the read before was too old. If the last
    /// one is too old again, the request waits.
    pub refreshed: bool,
    /// The request, read afresh.
    pub request: Request,
    /// Its record, read afresh.
    pub ledger: Ledger,
    /// True if the record was not read, and its absence is only assumed.
    pub assumed: bool,
    /// The permission by the grants, from the watch's cache.
    pub permission: Permission,
    /// Another task of this process is at work on the same user; when to look again.
    pub user_busy: Option<Timestamp>,
    /// The pace of the account and Region.
    pub pace: Pace,
    /// The turn among the closings of the namespace.
    pub closing: Turn,
    /// True if the record is that of an ungranted request, which retention deletes early.
    pub ungranted: bool,
    /// The AWS credentials for this request.
    pub credentials: Credentials,
    /// The call by which the user is read before the claim.
    pub source: UserStateSource,
    /// True if ListUsers was called in this turn. A turn is spaced for one such read. One whose
    /// credentials Cognito refused is repeated once, and does not count here.
    pub listed: bool,
    /// The user's state before the claim.
    pub before: Snapshot,
    /// True if grants and holds were evaluated with the user of that read.
    pub user_evaluated: bool,
    /// True if the user who was read is not the one whom the status shows for the approval.
    pub user_changed: bool,
    /// The attempt that this task itself holds.
    pub attempt: OwnAttempt,
    /// The probes after an ambiguous call.
    pub probes: Probes,
    /// The request that is credited with the state that the last probe read.
    pub attribution: Attribution,
    /// The latest expiry of a request that the record remembers.
    pub remembered: Option<Timestamp>,
    /// A refused write of the record.
    pub refused: Option<Refused>,
}

impl State {
    /// Nothing is known yet, and up to `probes` probes may be made.
    #[must_use]
    pub const fn unknown(probes: u32) -> Self {
        Self {
            read_at: Timestamp::UNIX_EPOCH,
            server_time: None,
            refreshed: false,
            request: Request::Unread,
            ledger: Ledger::Unread,
            assumed: false,
            permission: Permission::Denied(WaitReason::NoMatchingGrant),
            user_busy: None,
            pace: Pace::Later { until: Timestamp::UNIX_EPOCH, reason: PaceReason::RateLimited },
            closing: Turn::NotAsked,
            ungranted: false,
            credentials: Credentials::NotLoaded,
            source: UserStateSource::AdminGetUser,
            listed: false,
            before: Snapshot::NotRead,
            user_evaluated: false,
            user_changed: false,
            attempt: OwnAttempt::None,
            probes: Probes { left: probes, last: None },
            attribution: Attribution::NotListed,
            remembered: None,
            refused: None,
        }
    }

    /// Returns the knowledge about the user before the attempt that this task itself holds. The
    /// claim writes it, so that the record says the same of an open attempt.
    #[must_use]
    pub fn baseline(&self) -> Baseline {
        Baseline::new(self.source, self.before.status_before())
    }
}

/// The request object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Not read afresh yet.
    Unread,
    /// Deleted, being deleted, or replaced by another object of the same name.
    Gone,
    /// Its status already has an outcome.
    Finished,
    /// Its outcome is Pending.
    Pending(Desired),
}

/// The desired state of a pending request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Desired {
    /// Held back by its author.
    pub suspended: bool,
    /// Never to be performed from this moment on.
    pub expires: Option<Timestamp>,
    /// Fails from this moment on.
    pub deadline: Timestamp,
    /// Send nothing where the user already has to reset.
    pub skip_if_reset_required: bool,
    /// Send nothing while the user cannot be read: only grants with a pattern allow the request, or
    /// it was to be approved for the user whom the status shows.
    pub user_required: bool,
}

impl Desired {
    /// Returns true if nothing is sent while the user cannot be read.
    #[must_use]
    pub const fn needs_user(&self) -> bool {
        self.skip_if_reset_required || self.user_required
    }
}

/// The permission by grants and holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Allowed, with one role.
    Granted,
    /// Not allowed, for this reason.
    Denied(WaitReason),
    /// Held back, because a hold names users and the user cannot be read.
    Unreadable {
        /// The time to read the user again.
        until: Timestamp,
    },
    /// Not allowed before an approval, and the user is read first, so that an approver sees who it
    /// is.
    AwaitsApproval,
    /// Unknown, because grants and holds were not confirmed recently enough.
    NotConfirmed {
        /// The time of the next try, unless they are confirmed before.
        until: Timestamp,
    },
}

/// The pace of the account and Region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pace {
    /// The reconcile has a turn: a call may be made now.
    Now,
    /// The reconcile has no turn, or none for this account and Region.
    Later {
        /// The time to look again.
        until: Timestamp,
        /// The reason.
        reason: PaceReason,
    },
}

/// A reason to wait for a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PaceReason {
    /// The call rate is used up.
    RateLimited,
    /// The grant is at this limit of its own.
    GrantLimited(GrantLimit),
    /// Cognito throttles.
    Throttled,
    /// Deliveries of codes of the pool fail.
    DeliveryFailing,
    /// Cognito does not respond, or fails.
    CognitoUnreachable,
    /// Another request of the same user has a turn.
    UserBusy,
}

impl From<PaceReason> for WaitReason {
    fn from(reason: PaceReason) -> Self {
        match reason {
            PaceReason::RateLimited | PaceReason::GrantLimited(_) => Self::RateLimited,
            PaceReason::Throttled => Self::Throttled,
            PaceReason::DeliveryFailing => Self::DeliveryFailing,
            PaceReason::CognitoUnreachable => Self::CognitoUnreachable,
            PaceReason::UserBusy => Self::AwaitingPriorAttempt,
        }
    }
}

/// The turn of a record among those that are closed in its namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Turn {
    /// Not asked yet.
    NotAsked,
    /// The record may be written now.
    Now,
    /// Not before this moment.
    Later {
        /// The time of the next request for a slot.
        until: Timestamp,
        /// `RateLimited`, or the reason for which the request waited before.
        reason: WaitReason,
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
        /// The time of the next try.
        until: Timestamp,
        /// The reason.
        reason: CredentialsReason,
    },
}

/// The user's state before the claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Snapshot {
    /// Not read yet.
    NotRead,
    /// Cognito refuses to read the user now, or does not know the state.
    Unreadable {
        /// The time of the next try of a request that needs the state.
        until: Timestamp,
    },
    /// Cognito did not respond to the read, or failed or throttled. Nothing is sent into such a
    /// failure.
    NoResponse {
        /// The time of the next try.
        until: Timestamp,
        /// The reason.
        reason: ReadReason,
    },
    /// Cognito returned this exception and would return it again, for example because the user does
    /// not exist.
    Refused(Exception),
    /// Read by AdminGetUser, and known to Cognito: never `Unknown`. This is the state before the
    /// claim.
    Read(UserStatus),
    /// Found by ListUsers, and known to Cognito: never `Unknown`. The state may be an older one, so
    /// it is never the one before the claim.
    Listed(UserStatus),
}

/// A reason to wait for another try of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReadReason {
    /// Cognito did not respond, or failed.
    Unreachable,
    /// Cognito throttles.
    Throttled,
}

impl From<ReadReason> for WaitReason {
    fn from(reason: ReadReason) -> Self {
        match reason {
            ReadReason::Unreachable => Self::CognitoUnreachable,
            ReadReason::Throttled => Self::Throttled,
        }
    }
}

impl Snapshot {
    /// Returns true if Cognito did not respond to the read.
    #[must_use]
    pub const fn is_missing(self) -> bool {
        matches!(self, Self::NoResponse { .. })
    }

    /// Returns the state as it was read or listed.
    #[must_use]
    pub const fn status(self) -> Option<UserStatus> {
        match self {
            Self::Read(status) | Self::Listed(status) => Some(status),
            Self::NotRead | Self::Unreadable { .. } | Self::NoResponse { .. } | Self::Refused(_) => None,
        }
    }

    /// Returns the state with which a probe after the claim can be compared.
    #[must_use]
    pub const fn status_before(self) -> Option<UserStatus> {
        match self {
            Self::Read(status) => Some(status),
            Self::NotRead | Self::Unreadable { .. } | Self::NoResponse { .. } | Self::Refused(_) | Self::Listed(_) => {
                None
            }
        }
    }
}

/// The attempt that this task itself holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OwnAttempt {
    /// None.
    None,
    /// Claimed and stored, and the call was not sent.
    Claimed {
        /// True if the time for the call has passed, or grants and holds do not allow it any more.
        too_late: bool,
        /// True if grants and holds allow the call, as asked after the claim was stored.
        confirmed: bool,
    },
    /// The call was sent, or tried: the attempt is consumed.
    Called(ResetResponse),
}

/// The probes after an ambiguous call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Probes {
    /// The number of probes that are left.
    pub left: u32,
    /// The state that the last readable one saw.
    pub last: Option<UserStatus>,
}

/// The request that is credited with the state that a probe read, by the records of the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Attribution {
    /// The user's other records have not been listed since the probe.
    NotListed,
    /// The call of another claim may be in flight.
    AwaitsOther {
        /// The time from which it cannot be in flight any more.
        until: Timestamp,
    },
    /// Only the attempt that is resolved.
    Own,
    /// Maybe another record, or what a probe has to be compared with is missing.
    Unclear,
}

/// A write that the API server refused, so that nothing was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Refused {
    /// The write.
    pub write: RecordWrite,
    /// The time of the next try.
    pub until: Timestamp,
}

/// The writes without which a request cannot go on. That of its own effect is none of them: it is
/// tried until it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordWrite {
    /// The claim, before a call.
    Claim,
    /// The effects of other requests: so many are not stored that no further call is made before
    /// some of them are.
    EarlierEffects,
    /// The end without a call, and why.
    Close(CloseCause),
    /// The expiry of a request whose status is to show the outcome of a settled record.
    ExtendExpiry,
}
