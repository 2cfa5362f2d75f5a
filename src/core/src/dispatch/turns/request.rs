//! The parts of a request that decide when its turn is.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cognito_reset_api::{UserStateSource, conditions::WaitReason};
use jiff::Timestamp;

use crate::dispatch::{
    brake::TurnId,
    key::{Key, UserKey},
    lane::Lane,
    meaning::Meaning,
};

/// A request that has not ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The key.
    pub key: Key,
    /// The namespace.
    pub namespace: Arc<str>,
    /// The creation, which decides the order in a pool.
    pub created: Timestamp,
    /// The moment at which a request that waits is looked at in any case, to end it.
    pub deadline: Option<Instant>,
    /// The user. In lanes of Cognito one request of a user has a turn at a time.
    pub user: Option<UserKey>,
}

/// The class of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// A request of its own.
    Single,
    /// A part of a campaign. It has a turn when no single request of the lane can have it.
    Bulk,
}

/// The limits that a grant sets in each lane.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GrantLimits {
    /// The identity of the grant.
    pub grant: Arc<str>,
    /// The turns per minute of all requests by this grant.
    pub per_minute: Option<u32>,
    /// The percentage of the lane's turns that requests by this grant take at most while others
    /// wait, from 1 to 100.
    pub share_percent: Option<u32>,
}

/// A limit of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GrantLimit {
    /// The turns per minute.
    Rate,
    /// The share while others wait.
    Share,
}

/// The place where a request waits for its turn.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The lane.
    pub lane: Lane,
    /// The pool.
    pub pool: Arc<str>,
    /// The call by which a turn reads the user.
    pub source: UserStateSource,
    /// The limits of the grant, if it sets any.
    pub grant: Option<Arc<GrantLimits>>,
    /// The class.
    pub class: Class,
}

/// A turn: the permission to work on one request. It ends with `Dispatcher::finished`.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Turn {
    pub(super) id: TurnId,
    /// The request.
    pub key: Key,
    /// The lane.
    pub lane: Lane,
    /// The pool.
    pub pool: Arc<str>,
    /// The call by which it reads the user; `None` for a look.
    pub source: UserStateSource,
    /// The grant by whose limits the turn counts, if it has any.
    pub grant: Option<Arc<str>>,
    /// The reason why the request has waited for its turn, if this look is to show it.
    pub shows: Option<WaitsFor>,
    /// The user whom the turn makes busy.
    pub(super) user: Option<UserKey>,
}

/// The response to the call of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// The time at which the call began.
    pub begun: Instant,
    /// The meaning of the response.
    pub meaning: Meaning,
    /// The pause that the response demands.
    pub retry_after: Option<Duration>,
}

/// The end of a turn.
#[derive(Clone, Debug, PartialEq)]
pub enum Finish {
    /// The request has ended.
    Done,
    /// The request waits, until this moment or a change.
    Wait {
        /// The reason.
        reason: WaitReason,
        /// The moment.
        until: Option<Instant>,
    },
    /// The request is looked at at this moment or after a change: it has ended, which the watch
    /// should show before, or an error ended the turn.
    Look {
        /// The moment.
        until: Instant,
    },
    /// The request waits for another turn, in the place of its last `put`.
    Again,
}

/// The kind of a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitKind {
    Turn,
    Grant(GrantLimit),
    Throttled,
    Delivery,
    Service,
    User,
    Own,
}

impl WaitsFor {
    pub(super) const fn kind(self) -> WaitKind {
        match self {
            Self::Turn => WaitKind::Turn,
            Self::Grant(limit) => WaitKind::Grant(limit),
            Self::Throttled => WaitKind::Throttled,
            Self::Delivery { .. } => WaitKind::Delivery,
            Self::Service { .. } => WaitKind::Service,
            Self::User => WaitKind::User,
            Self::Reason(_) | Self::Look => WaitKind::Own,
        }
    }
}

/// The reason why a request has no turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WaitsFor {
    /// Others are first, or the rate of the lane is used up.
    Turn,
    /// The grant is at this limit.
    Grant(GrantLimit),
    /// Cognito throttles the lane.
    Throttled,
    /// Codes of the pool are not delivered. One request is tried at this moment; `None` while it
    /// is.
    Delivery {
        /// The moment.
        until: Option<Instant>,
    },
    /// Cognito does not respond. One request of the lane is tried at this moment; `None` while it
    /// is.
    Service {
        /// The moment.
        until: Option<Instant>,
    },
    /// Another request of the same user has a turn.
    User,
    /// A reason of its own.
    Reason(WaitReason),
    /// It has ended, or an error ended its last turn.
    Look,
}
