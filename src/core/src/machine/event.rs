//! The events that the commands of a machine lead to.

use std::{
    fmt,
    time::{Duration, Instant},
};

use cognito_reset_api::{PasswordResetRecord, PasswordResetRequest};
use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

use crate::{
    action::port::{ReadError, Reply, SessionFailure, User},
    dispatch::closings,
    grants::Evaluation,
    ledger::attribution::OtherRecord,
    machine::{
        Object, describe, signed,
        state::{PaceReason, RecordWrite},
    },
    refusal::Refuser,
};

/// The result of one [`Command`](super::Command).
#[derive(Clone, Debug, PartialEq)]
pub enum Event<S> {
    /// The request and the record that were read, or an error.
    Objects(Result<Objects, ApiFailure>),
    /// The request that was read, or an error.
    Request(Result<RequestRead, ApiFailure>),
    /// The record that was read, or an error.
    Record(Result<Option<Object<PasswordResetRecord>>, ApiFailure>),
    /// The evaluation of the grants and holds for the request.
    Grants(Evaluation),
    /// The memory of the process.
    Recalled(Recalled),
    /// The pause before the next try of the refused write.
    Refusal(RefusedWrite),
    /// The turn is not valid any more, so neither a claim nor a call may follow.
    TurnLost(PaceReason),
    /// The slot of the closing.
    Slot(Slot),
    /// The loaded session, or an error.
    Credentials(Result<S, SessionFailure>),
    /// The user, or an error.
    User(Result<User, ReadError>),
    /// The user was read before a claim, and another reconcile of this process works on the same
    /// user by another spelling.
    UserBusy,
    /// The other records of the user, or an error.
    UserRecords(Result<Vec<OtherRecord>, ApiFailure>),
    /// The result of writing the record.
    RecordWritten(Written),
    /// The end of the call.
    Response(Reply),
    /// The result of writing the status.
    StatusWritten(Result<StatusWrite, ApiFailure>),
    /// The time has passed.
    Slept,
    /// A panic ended the command, which may or may not have had an effect.
    Panicked,
}

/// A request and its record.
#[derive(Clone, Debug, PartialEq)]
pub struct Objects {
    /// The request of the name, if it exists.
    pub request: Option<Object<PasswordResetRequest>>,
    /// The record, if it exists.
    pub record: Option<Object<PasswordResetRecord>>,
    /// The API server's clock in the response with the request, if that had a Date.
    pub server_time: Option<Timestamp>,
}

/// A request that was read alone.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestRead {
    /// The request of the name, if it exists.
    pub request: Option<Object<PasswordResetRequest>>,
    /// The API server's clock in the response, if that had a Date.
    pub server_time: Option<Timestamp>,
}

impl From<RequestRead> for Objects {
    /// Assumes that there is no record.
    fn from(RequestRead { request, server_time }: RequestRead) -> Self {
        Self { request, record: None, server_time }
    }
}

/// The memory of earlier reconciles of a record in this process.
#[derive(Clone, Debug, PartialEq)]
pub struct Recalled {
    /// The time for which the attempt has been observed without a change, by the monotonic clock of
    /// the process.
    pub observed_for: Duration,
    /// A refused write whose pause is not over.
    pub refused: Option<RefusedWrite>,
    /// Present if the effects of too many other requests cannot be stored. Then no request is
    /// claimed.
    pub held_up: Option<HeldUp>,
}

/// Too many effects cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldUp {
    /// A refuser of one of them, if it is refused.
    pub by: Option<Refuser>,
}

/// A refused write of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedWrite {
    /// The write.
    pub write: RecordWrite,
    /// The refuser. If several refuse in turn, the newest of them.
    pub refuser: Option<Refuser>,
    /// The time until the next try.
    pub pause: Duration,
}

/// A slot in the sequence of closings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The record may be closed now.
    Now,
    /// The closing has to wait.
    Later {
        /// The time until the next request for a slot.
        after: SignedDuration,
    },
}

impl Slot {
    /// Converts the slot of a closing, as it is at this moment.
    #[must_use]
    pub fn at(now: Instant, slot: closings::Slot) -> Self {
        match slot {
            closings::Slot::Now => Self::Now,
            closings::Slot::Later { at } => Self::Later { after: signed(at.saturating_duration_since(now)) },
        }
    }
}

/// The result of writing a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Written {
    /// The record is stored in this version.
    Stored(Object<PasswordResetRecord>),
    /// Another write came first.
    Conflict,
    /// The record to replace does not exist.
    NotFound,
    /// The API server refused, or the result is unknown.
    Failed(ApiFailure),
}

/// The result of writing a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusWrite {
    /// The status is written.
    Applied,
    /// The request has changed since it was read.
    Conflict,
    /// The request does not exist.
    NotFound,
}

/// A failed call to the API server. The details contain no user name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Error)]
pub enum ApiFailure {
    /// The API server refused. Nothing was written, and the same write will be refused again.
    #[error("{detail}")]
    Refused {
        /// The refuser.
        by: Refuser,
        /// A description of the response for the log.
        detail: String,
    },
    /// Another response. A write may or may not have been applied.
    #[error("{detail}")]
    Responded {
        /// A description of the response for the log.
        detail: String,
    },
    /// No response. A write may or may not have been applied.
    #[error("{detail}")]
    NoResponse {
        /// A description of the failure for the log.
        detail: String,
    },
}

impl ApiFailure {
    /// Returns the refuser, if nothing was written and the same write will be refused again.
    #[must_use]
    pub const fn refuser(&self) -> Option<&Refuser> {
        match self {
            Self::Refused { by, .. } => Some(by),
            Self::Responded { .. } | Self::NoResponse { .. } => None,
        }
    }

    /// Returns true if the API server responded, or a proxy did.
    #[must_use]
    pub const fn is_response(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::Responded { .. } => true,
            Self::NoResponse { .. } => false,
        }
    }
}

/// Describes the event for the log, without user names and texts that people wrote.
impl<S> fmt::Display for Event<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Objects(Ok(Objects { request, record, server_time })) => {
                let (request, record) = (describe::request_or_none(request), describe::record_or_none(record));
                write!(f, "Objects({request}, {record}, {server_time:?})")
            }
            Self::Objects(Err(failure)) => write!(f, "Objects({failure})"),
            Self::Request(Ok(RequestRead { request, server_time })) => {
                write!(f, "Request({}, {server_time:?})", describe::request_or_none(request))
            }
            Self::Request(Err(failure)) => write!(f, "Request({failure})"),
            Self::Record(Ok(record)) => write!(f, "Record({})", describe::record_or_none(record)),
            Self::Record(Err(failure)) => write!(f, "Record({failure})"),
            Self::Grants(grants) => write!(f, "Grants({grants})"),
            Self::Recalled(recalled) => write!(f, "{recalled:?}"),
            Self::Refusal(refused) => write!(f, "Refusal({refused:?})"),
            Self::TurnLost(reason) => write!(f, "TurnLost({reason:?})"),
            Self::Slot(slot) => write!(f, "Slot({slot:?})"),
            Self::Credentials(Ok(_)) => f.write_str("Credentials"),
            Self::Credentials(Err(failure)) => write!(f, "Credentials({failure:?})"),
            Self::User(Ok(user)) => write!(f, "User({:?})", user.status),
            Self::User(Err(error)) => write!(f, "User({error})"),
            Self::UserBusy => f.write_str("UserBusy"),
            Self::UserRecords(Ok(others)) => write!(f, "UserRecords({})", others.len()),
            Self::UserRecords(Err(failure)) => write!(f, "UserRecords({failure})"),
            Self::RecordWritten(Written::Stored(record)) => {
                write!(f, "RecordWritten({})", describe::record(record))
            }
            Self::RecordWritten(Written::Failed(failure)) => write!(f, "RecordWritten({failure})"),
            Self::RecordWritten(Written::Conflict) => f.write_str("RecordWritten(Conflict)"),
            Self::RecordWritten(Written::NotFound) => f.write_str("RecordWritten(NotFound)"),
            Self::Response(reply) => write!(f, "Response({})", reply.response.name()),
            Self::StatusWritten(Ok(written)) => write!(f, "StatusWritten({written:?})"),
            Self::StatusWritten(Err(failure)) => write!(f, "StatusWritten({failure})"),
            Self::Slept => f.write_str("Slept"),
            Self::Panicked => f.write_str("Panicked"),
        }
    }
}
