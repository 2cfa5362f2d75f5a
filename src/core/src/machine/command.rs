//! The commands of the machine to the world.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use cognito_reset_api::{PasswordResetRecord, PasswordResetRequest, UserStateSource, conditions::WaitReason};
use jiff::Timestamp;
use thiserror::Error;

use crate::{
    action::{port::Access, user_names::KnownUser},
    dispatch::{closings::ClosingQueue, turns::GrantLimits},
    ledger::attribution::UserRecords,
    machine::{Object, describe, event::ApiFailure, state::RecordWrite},
    refusal::Refuser,
};

/// The next thing to do. Each command but [`Self::Finish`] leads to one [`Event`](super::Event).
///
/// `S` is a loaded AWS session. The machine only passes it on.
#[derive(Clone, Debug, PartialEq, Hash)]
pub enum Command<S> {
    /// Read the request and its record from the API server, in any order: `Event::Objects`.
    Read,
    /// Read the request alone: `Event::Request`.
    ReadRequest,
    /// Read the record alone, within this time if any: `Event::Record`.
    ReadRecord {
        /// The time that is left.
        within: Option<Duration>,
    },
    /// Ask the grants and holds whether they allow this request of this user, and whether they are
    /// confirmed: `Event::Grants`. Before a claim or a call, also ask the dispatcher whether the
    /// turn is still valid: `Event::TurnLost` if not.
    CheckGrants {
        /// The request.
        request: Object<PasswordResetRequest>,
        /// The user, as far as it is known.
        user: KnownUser,
        /// The purpose.
        purpose: Purpose,
    },
    /// Ask for what this process remembers of the record, and for how long it has observed this
    /// attempt: `Event::Recalled`.
    Recall(Option<Observed>),
    /// Count a refused write of the record, and ask for the pause before its next try:
    /// `Event::Refusal`.
    CountRefusal {
        /// The refused write.
        write: RecordWrite,
        /// The refuser.
        by: Refuser,
        /// A random id that spreads the pause.
        jitter: String,
    },
    /// Take the next slot among the closings of the namespace: `Event::Slot`.
    TakeClosingSlot {
        /// The queue of the namespace.
        queue: ClosingQueue,
        /// The uid of the request, which keeps its place in the queue.
        uid: String,
    },
    /// Load credentials: `Event::Credentials`.
    LoadCredentials(Access),
    /// Call AdminGetUser: `Event::User`. Before a claim, lock the user by the `sub` as soon as it
    /// is read; after an attempt, lock the user by the spelling before the call, unless this
    /// reconcile has the lock. `Event::UserBusy` if another reconcile of this process has it.
    GetUser {
        /// The session that the call is made with.
        session: S,
        /// The attempt after whose call the user is read; `None` before a claim.
        after: Option<String>,
    },
    /// Find the user by ListUsers before a claim, and lock the user by the `sub` as soon as it is
    /// known: `Event::User`. `Event::UserBusy` if another reconcile of this process has the lock.
    ListUser {
        /// The session that the calls are made with.
        session: S,
    },
    /// List the other records that may be of this user, with a consistent read:
    /// `Event::UserRecords`.
    ListUserRecords(UserRecords),
    /// Create the record, or replace it where it has a resourceVersion, within this time if any:
    /// `Event::RecordWritten`.
    WriteRecord {
        /// The record.
        record: Object<PasswordResetRecord>,
        /// The time that is left.
        within: Option<Duration>,
    },
    /// Call AdminResetUserPassword, with one HTTP attempt: `Event::Response`.
    Call(Call<S>),
    /// Replace the status of the request, guarded by its uid and resourceVersion:
    /// `Event::StatusWritten`.
    WriteStatus(Object<PasswordResetRequest>),
    /// Let this time pass: `Event::Slept`.
    Sleep(Duration),
    /// End the reconcile. There is no event.
    Finish(Result<Next, ReconcileError>),
}

/// The purpose of a check of grants and holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To decide about the request that was just read.
    Read,
    /// To write a claim.
    Claim,
    /// To send the call of a claim.
    Send,
}

/// The one call of an attempt.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Call<S> {
    /// The id of the attempt that the record claims.
    pub attempt_id: String,
    /// The session that the call is made with.
    pub session: S,
    /// The creation of the request, by the API server's clock.
    pub created: Option<Timestamp>,
    /// `clientMetadata` of the request.
    pub client_metadata: Option<BTreeMap<String, String>>,
}

/// An attempt that a request waits for: its call may be in flight, or the next attempt is not due.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Observed {
    /// The attempt's id.
    pub attempt_id: String,
    /// True if it is settled.
    pub settled: bool,
}

/// The end of a reconcile.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Next {
    /// Nothing more is to be done.
    Done,
    /// The request lacks nothing but a turn.
    NeedsTurn {
        /// True if it has no record.
        is_unclaimed: bool,
        /// The account of the role by which the call would be made; `None` without a role.
        account: Option<String>,
        /// The call by which the user would be read.
        source: UserStateSource,
        /// The limits that its turns count for.
        limits: Option<Arc<GrantLimits>>,
    },
    /// Look again after this time, or when something changes.
    Wait {
        /// The reason of the wait.
        reason: WaitReason,
        /// The longest time until the next look.
        after: Duration,
    },
}

/// The error that ended a reconcile early. The reconcile is retried later.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Error)]
pub enum ReconcileError {
    /// A call to the API server failed.
    #[error(transparent)]
    Api(ApiFailure),
    /// Each write conflicted with a change since the last read.
    #[error("the request or its record has changed {0} times while it was worked on")]
    Contended(u32),
    /// The code that carried out a command panicked, or returned the event of another command.
    #[error("a panic ended the reconcile; the log has its place in the code")]
    Panicked,
}

impl<S> Command<S> {
    /// Returns the id of the attempt that the command is about, if it is about one. For a write of
    /// the record this is its last attempt; the closing of a record is about none.
    #[must_use]
    pub fn attempt_id(&self) -> Option<&str> {
        match self {
            Self::GetUser { after, .. } => after.as_deref(),
            Self::WriteRecord { record, .. } if record.spec.closed.is_some() => None,
            Self::WriteRecord { record, .. } => record.spec.attempts.last().map(|it| it.id.as_str()),
            Self::Call(call) => Some(&call.attempt_id),
            Self::Read
            | Self::ReadRequest
            | Self::ReadRecord { .. }
            | Self::CheckGrants { .. }
            | Self::Recall(_)
            | Self::CountRefusal { .. }
            | Self::TakeClosingSlot { .. }
            | Self::LoadCredentials(_)
            | Self::ListUser { .. }
            | Self::ListUserRecords(_)
            | Self::WriteStatus(_)
            | Self::Sleep(_)
            | Self::Finish(_) => None,
        }
    }

    /// The name, for logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Read => "Read",
            Self::ReadRequest => "ReadRequest",
            Self::ReadRecord { .. } => "ReadRecord",
            Self::CheckGrants { .. } => "CheckGrants",
            Self::Recall(_) => "Recall",
            Self::CountRefusal { .. } => "CountRefusal",
            Self::TakeClosingSlot { .. } => "TakeClosingSlot",
            Self::LoadCredentials(_) => "LoadCredentials",
            Self::GetUser { .. } => "GetUser",
            Self::ListUser { .. } => "ListUser",
            Self::ListUserRecords(_) => "ListUserRecords",
            Self::WriteRecord { .. } => "WriteRecord",
            Self::Call(_) => "Call",
            Self::WriteStatus(_) => "WriteStatus",
            Self::Sleep(_) => "Sleep",
            Self::Finish(_) => "Finish",
        }
    }
}

/// Describes the command for the log, without user names and texts that people wrote.
impl<S> fmt::Display for Command<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Read | Self::ReadRequest | Self::ListUser { .. } | Self::ListUserRecords(_) => Ok(()),
            Self::CheckGrants { purpose, .. } => write!(f, "({purpose:?})"),
            Self::GetUser { after, .. } => write!(f, "({after:?})"),
            Self::ReadRecord { within } => write!(f, "({within:?})"),
            Self::Recall(observed) => write!(f, "({observed:?})"),
            Self::CountRefusal { write, by, .. } => write!(f, "({write:?}, {by})"),
            Self::TakeClosingSlot { queue, .. } => write!(f, "({queue:?})"),
            Self::LoadCredentials(access) => write!(f, "({}, {:?})", access.region, access.role),
            Self::WriteRecord { record, within } => write!(f, "({}, {within:?})", describe::record(record)),
            Self::Call(call) => write!(f, "({})", call.attempt_id),
            Self::WriteStatus(request) => write!(f, "({})", describe::request(request)),
            Self::Sleep(time) => write!(f, "({time:?})"),
            Self::Finish(next) => write!(f, "({next:?})"),
        }
    }
}
