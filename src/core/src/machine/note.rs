//! The notes of a machine for the rest of the process: for metrics, logs and Events, and for the
//! memory across reconciles.

use cognito_reset_api::{
    Effect, Evidence, PasswordResetRequest,
    conditions::{Reason, WaitReason},
};

use crate::{
    action::{
        port::{ReadError, SessionFailure},
        response::ResetResponse,
    },
    ledger::attribution::Attribution,
    machine::{Object, event::ApiFailure, state::RecordWrite, status::StatusUpdate},
    refusal::Refuser,
    retention::gitops::Tracker,
};

/// A fact for others. No note changes the next command of the machine.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// Credentials could not be loaded.
    NoCredentials {
        /// The failed step.
        step: AwsStep,
        /// The failure.
        failure: SessionFailure,
    },
    /// The user could not be read.
    UserUnreadable(ReadError),
    /// A call of AdminResetUserPassword has ended.
    Called {
        /// The attempt's id.
        attempt_id: String,
        /// The end of the call.
        response: ResetResponse,
    },
    /// AWS responded as requests like this one need it.
    Available(Awaited),
    /// AWS does not respond as requests like this one need it, for a reason that only people can
    /// fix.
    Unavailable(Unavailable),
    /// The record was claimed.
    Claimed,
    /// Another process claimed the record while this one wrote its claim.
    ClaimLost {
        /// The identity of that process.
        operator_instance: String,
    },
    /// The API server refuses a write of the record, and the request waits for it.
    WriteRefused {
        /// The write.
        write: RecordWrite,
        /// The refuser.
        by: Refuser,
        /// A description of the response for the log.
        detail: String,
    },
    /// A read or write failed and is retried.
    Retried {
        /// The read or write.
        what: Retry,
        /// The failure.
        failure: ApiFailure,
    },
    /// The API server refuses an effect, which is retried until it is stored.
    EffectRefused {
        /// The refuser.
        by: Refuser,
        /// A description of the response for the log.
        detail: String,
        /// True if this refuser has not refused it before.
        is_new: bool,
    },
    /// An effect has not been stored for a while.
    HeldUp {
        /// The refuser, if it is refused.
        by: Option<Refuser>,
    },
    /// The user's other records were listed after a probe: who may have caused the state that it
    /// read.
    Attributed(Attribution),
    /// An attempt is settled, by this reconcile or another one.
    Settled(Settled),
    /// The API server refuses a status.
    StatusRefused {
        /// The refuser.
        by: Refuser,
    },
    /// The status of a request contains news for an Event.
    Announced(Announcement),
    /// A status could not be written, so an Event has to replace it, once for each refuser.
    NotShown {
        /// The Event.
        announcement: Announcement,
        /// The message of the status.
        message: String,
        /// The refuser, if it is refused.
        by: Option<Refuser>,
    },
    /// The request has an outcome, and its status shows it.
    Finished {
        /// The request.
        request: Object<PasswordResetRequest>,
        /// The status.
        update: StatusUpdate,
        /// The tool that tracks the request, so that it is not deleted after its time to live.
        exempt: Option<Tracker>,
    },
    /// Nothing is left to do for the request.
    Ended {
        /// The uid of the request, if it exists.
        uid: Option<String>,
    },
}

/// A need of a request that AWS does not meet.
#[derive(Clone, Debug, PartialEq)]
pub struct Unavailable {
    /// The need.
    pub awaited: Awaited,
    /// The reason of the wait.
    pub reason: WaitReason,
    /// The request.
    pub request: Object<PasswordResetRequest>,
    /// The status meanwhile.
    pub update: StatusUpdate,
}

/// A settled attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The attempt's id.
    pub attempt_id: String,
    /// The effect in the record.
    pub effect: Option<Effect>,
    /// The evidence of this reconcile.
    pub evidence: Evidence,
    /// True if the effect in the record is that of this reconcile.
    pub is_new: bool,
}

/// A read or write that is retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The write of the claim.
    WriteClaim,
    /// The read of the record after a conflict of the claim.
    ReadClaim,
    /// The write of an effect.
    WriteEffect,
    /// The read of the record before the next write of an effect.
    ReadEffect,
    /// The list of the user's other records.
    ListUserRecords,
    /// The report in the status that an effect is not stored.
    ShowEffect,
}

/// A warning about a request, to be published as an Event.
#[derive(Clone, Debug, PartialEq)]
pub struct Announcement {
    /// The request.
    pub request: Object<PasswordResetRequest>,
    /// The reason of the Event.
    pub reason: Reason,
    /// The note of the Event.
    pub note: String,
    /// The write that the Event is about.
    pub action: &'static str,
}

/// The step with AWS that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwsStep {
    /// Finding an endpoint for the pool's Region.
    Endpoint,
    /// Loading the operator's own credentials.
    Credentials,
    /// Assuming a grant's role.
    Role,
    /// Reading a user with AdminGetUser.
    Read,
    /// Sending a reset.
    Reset,
}

impl AwsStep {
    /// The name, for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::Credentials => "credentials",
            Self::Role => "role",
            Self::Read => "read",
            Self::Reset => "reset",
        }
    }
}

/// The need that requests of a namespace share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Awaited {
    /// The namespace.
    pub namespace: String,
    /// The role, or the Region if no role is assumed.
    pub scope: String,
}
