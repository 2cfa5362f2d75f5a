//! The closed lists of condition types and reasons, and how a condition is set.

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::Exception;

/// The condition types of the resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionType {
    /// True if Cognito performed the reset without reporting an exception.
    Succeeded,
    /// The same as Succeeded, for generic health checks: Unknown, never False, while the operator
    /// works.
    Ready,
    /// Present and True while the operator works on the request or waits.
    Reconciling,
    /// Present and True once the request has ended without success.
    Stalled,
    /// True if the user's password was invalidated.
    PasswordInvalidated,
    /// For grants: True if the role could be assumed at the last check; absent without a role.
    RoleAssumable,
}

impl ConditionType {
    /// Returns the name as it is written in a status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "Succeeded",
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::PasswordInvalidated => "PasswordInvalidated",
            Self::RoleAssumable => "RoleAssumable",
        }
    }
}

/// The reason for which a request waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WaitReason {
    /// `suspend` is true.
    Suspended,
    /// The operator could not confirm recently that it knows the current grants, holds and labels;
    /// nothing is sent.
    GrantsNotConfirmed,
    /// No UserPoolGrant allows this namespace to reset this user of this pool.
    NoMatchingGrant,
    /// The matching grants differ in role, external id or session tags.
    ConflictingGrants,
    /// A UserPoolHold holds the request back: the kill switch.
    UserPoolHeld,
    /// The grants that match are suspended.
    GrantSuspended,
    /// The matching grants require a `notAfter`, and the request has none.
    NotAfterRequired,
    /// The matching grants require an approval, and nobody has approved the request yet.
    AwaitingApproval,
    /// The matching grants require an approval, and the requester is not authenticated.
    RequesterUnverified,
    /// The matching grants require an approval, and the approver is not authenticated.
    ApproverUnverified,
    /// The matching grants require an approval, and the requester is a service account of the
    /// request's namespace that no grant names.
    RequesterNotIndependent,
    /// The matching grants require an approval, and the approver is a service account of the
    /// request's namespace that no grant names.
    ApproverNotIndependent,
    /// The matching grants require an approval, and requester and approver are not shown to be two
    /// people.
    SelfApproval,
    /// The matching grants limit how many pending requests of a namespace proceed at a time, and
    /// earlier requests have not ended.
    PendingLimitReached,
    /// The call rate of the account and Region is used up for now, or that of the records that are
    /// closed in the namespace.
    RateLimited,
    /// Cognito throttles; the operator slows down all calls for the account and Region.
    Throttled,
    /// Deliveries of codes of this pool fail; one request at a time is tried after 1, 5, 15, then
    /// every 60 minutes.
    DeliveryFailing,
    /// No AWS credentials could be loaded, or the role could not be assumed.
    AwsCredentialsUnavailable,
    /// The endpoint configured for Cognito belongs to another Region than the pool; nothing was
    /// sent.
    RegionNotServed,
    /// `ifResetRequired: Skip`, the `usernamePattern` of the grants, or the approval for the user whom
    /// the status shows, needs the user, who cannot be read.
    UserStateUnreadable,
    /// `ifResetRequired: Skip`, or the approval for the user whom the status shows, needs the user, and
    /// the grants let nobody read users (`userStateSource: None`).
    UserStateNotRead,
    /// An earlier attempt, or another request for the same user, has to end first.
    AwaitingPriorAttempt,
    /// The operator cannot connect to Cognito; nothing was sent.
    CognitoUnreachable,
    /// The claim could not be written in time, or grants, holds or a response to another call no
    /// longer allowed the call; nothing was sent.
    ClaimTimedOut,
    /// One of the clocks of the operator and the API server has passed `notAfter` or the deadline, and
    /// the other has not or is unknown; nothing is sent.
    ClockSkew,
    /// Cognito responded with this exception, which blocks: nothing happened, and somebody has to change
    /// the configuration or the credentials.
    Cognito(Exception),
    /// The record was written by a newer operator, cannot be parsed, or belongs to another request.
    /// The operator does not touch it.
    RecordNotUsable,
    /// Labels, annotations, managed fields and other metadata exceed 1 MiB, which leaves no room
    /// for a status; nothing is sent.
    ObjectTooLarge,
    /// The API server rejects or does not store a write that the operator has to make. The message
    /// names the write, who rejects it, and what has happened so far.
    WriteRefused,
    /// The operator cannot parse the object and does not touch it.
    InvalidObject,
}

/// The reason for which a request has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// Cognito accepted the reset. It does not report whether a code reached the user.
    ResetAccepted,
    /// No clear response from Cognito is known, but the user has to reset the password now and did
    /// not just before the call.
    ConfirmedByProbe,
    /// An earlier request object of this name performed the reset; nothing was sent for this one.
    AlreadyPerformed,
    /// The user already had to reset the password, and the request asked to skip in that case;
    /// nothing was sent.
    AlreadyResetRequired,
    /// Cognito responded with this exception.
    Cognito(Exception),
    /// Cognito responded with an exception that this operator does not know; the message names its
    /// code.
    UnrecognizedError,
    /// `notAfter` passed before the reset was performed.
    Expired,
    /// `deadlineSeconds` passed before the reset was performed.
    DeadlineExceeded,
    /// The user name means another user than the one whom the status showed for the approval; nothing
    /// was sent for that user.
    UserChanged,
    /// It cannot be determined whether the reset happened; nothing more will be sent.
    OutcomeUnknown,
}

/// The reason of a condition of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GrantReason {
    /// The grant is valid.
    Valid,
    /// The grant is suspended: it allows nothing.
    GrantSuspended,
    /// Other grants that match the same requests differ in role, external id or session tags.
    ConflictingGrants,
    /// The grant's `usernamePattern` cannot be used, so the grant never matches.
    InvalidUsernamePattern,
    /// The grant has a `usernamePattern`, and lets nobody read users (`--user-state-source=None`), so
    /// the grant never matches.
    UserStateNotRead,
    /// The grant's `namespaceSelector` cannot be used, so the grant never matches.
    InvalidNamespaceSelector,
    /// No namespace of the cluster is selected at present.
    NoNamespaceMatches,
    /// The grant's role could be assumed at the last check.
    RoleAssumed,
    /// The grant's role could not be assumed at the last check.
    RoleNotAssumable,
    /// The operator cannot parse the object and does not touch it.
    InvalidObject,
}

/// The reason of a condition of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HoldReason {
    /// The hold is in force.
    InForce,
    /// None of the namespaces that the hold names exists at present.
    NoNamespaceMatches,
    /// The operator cannot parse the object. It holds what it may match.
    InvalidObject,
}

impl WaitReason {
    /// Returns the name as it is written in a status, in CamelCase.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Suspended => "Suspended",
            Self::GrantsNotConfirmed => "GrantsNotConfirmed",
            Self::NoMatchingGrant => "NoMatchingGrant",
            Self::ConflictingGrants => "ConflictingGrants",
            Self::UserPoolHeld => "UserPoolHeld",
            Self::GrantSuspended => "GrantSuspended",
            Self::NotAfterRequired => "NotAfterRequired",
            Self::AwaitingApproval => "AwaitingApproval",
            Self::RequesterUnverified => "RequesterUnverified",
            Self::ApproverUnverified => "ApproverUnverified",
            Self::RequesterNotIndependent => "RequesterNotIndependent",
            Self::ApproverNotIndependent => "ApproverNotIndependent",
            Self::SelfApproval => "SelfApproval",
            Self::PendingLimitReached => "PendingLimitReached",
            Self::RateLimited => "RateLimited",
            Self::Throttled => "Throttled",
            Self::DeliveryFailing => "DeliveryFailing",
            Self::AwsCredentialsUnavailable => "AwsCredentialsUnavailable",
            Self::RegionNotServed => "RegionNotServed",
            Self::UserStateUnreadable => "UserStateUnreadable",
            Self::UserStateNotRead => "UserStateNotRead",
            Self::AwaitingPriorAttempt => "AwaitingPriorAttempt",
            Self::CognitoUnreachable => "CognitoUnreachable",
            Self::ClaimTimedOut => "ClaimTimedOut",
            Self::ClockSkew => "ClockSkew",
            Self::Cognito(exception) => exception.code(),
            Self::RecordNotUsable => "RecordNotUsable",
            Self::ObjectTooLarge => "ObjectTooLarge",
            Self::WriteRefused => "WriteRefused",
            Self::InvalidObject => "InvalidObject",
        }
    }
}

impl EndReason {
    /// Returns the name as it is written in a status, in CamelCase.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ResetAccepted => "ResetAccepted",
            Self::ConfirmedByProbe => "ConfirmedByProbe",
            Self::AlreadyPerformed => "AlreadyPerformed",
            Self::AlreadyResetRequired => "AlreadyResetRequired",
            Self::Cognito(exception) => exception.code(),
            Self::UnrecognizedError => "UnrecognizedError",
            Self::Expired => "Expired",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::UserChanged => "UserChanged",
            Self::OutcomeUnknown => "OutcomeUnknown",
        }
    }
}

impl GrantReason {
    /// Returns the name as it is written in a status, in CamelCase.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "Valid",
            Self::GrantSuspended => "GrantSuspended",
            Self::ConflictingGrants => "ConflictingGrants",
            Self::InvalidUsernamePattern => "InvalidUsernamePattern",
            Self::UserStateNotRead => "UserStateNotRead",
            Self::InvalidNamespaceSelector => "InvalidNamespaceSelector",
            Self::NoNamespaceMatches => "NoNamespaceMatches",
            Self::RoleAssumed => "RoleAssumed",
            Self::RoleNotAssumable => "RoleNotAssumable",
            Self::InvalidObject => "InvalidObject",
        }
    }
}

impl HoldReason {
    /// Returns the name as it is written in a status, in CamelCase.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InForce => "InForce",
            Self::NoNamespaceMatches => "NoNamespaceMatches",
            Self::InvalidObject => "InvalidObject",
        }
    }
}

/// The reason of a condition. The list is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A request waits.
    Wait(WaitReason),
    /// A request has ended.
    End(EndReason),
    /// The state of a grant.
    Grant(GrantReason),
    /// The state of a hold.
    Hold(HoldReason),
}

impl Reason {
    /// Returns the name as it is written in a status, in CamelCase.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wait(reason) => reason.as_str(),
            Self::End(reason) => reason.as_str(),
            Self::Grant(reason) => reason.as_str(),
            Self::Hold(reason) => reason.as_str(),
        }
    }
}

impl From<WaitReason> for Reason {
    fn from(reason: WaitReason) -> Self {
        Self::Wait(reason)
    }
}

impl From<EndReason> for Reason {
    fn from(reason: EndReason) -> Self {
        Self::End(reason)
    }
}

impl From<GrantReason> for Reason {
    fn from(reason: GrantReason) -> Self {
        Self::Grant(reason)
    }
}

impl From<HoldReason> for Reason {
    fn from(reason: HoldReason) -> Self {
        Self::Hold(reason)
    }
}

impl PartialEq<WaitReason> for Reason {
    fn eq(&self, other: &WaitReason) -> bool {
        *self == Self::Wait(*other)
    }
}

impl PartialEq<EndReason> for Reason {
    fn eq(&self, other: &EndReason) -> bool {
        *self == Self::End(*other)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A condition's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It is not known.
    Unknown,
}

impl Truth {
    /// Returns the name as it is written in a status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// The `observedGeneration` of the condition that the CRD sets by default, before an operator has
/// seen the object. The time of that condition has no meaning.
pub const UNSEEN: i64 = -1;

/// Returns the wanted conditions, based on the previous ones. A condition keeps its
/// `lastTransitionTime` while its status does not change, and a condition that is not wanted is
/// absent.
#[must_use]
pub fn conditions(
    previous: &[Condition],
    wanted: &[(ConditionType, Truth)],
    reason: impl Into<Reason>,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let reason = reason.into();
    wanted
        .iter()
        .map(|&(type_, truth)| {
            let kept = previous.iter().find(|old| {
                old.type_ == type_.as_str() && old.status == truth.as_str() && old.observed_generation != Some(UNSEEN)
            });
            Condition {
                type_: type_.as_str().into(),
                status: truth.as_str().into(),
                reason: reason.as_str().into(),
                message: message.into(),
                observed_generation: generation,
                last_transition_time: kept.map_or(Time(now), |old| old.last_transition_time.clone()),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_condition_keeps_its_transition_time_while_its_status_stays() {
        let wanted = [(ConditionType::Ready, Truth::Unknown)];
        let first = conditions(&[], &wanted, WaitReason::Suspended, "held back", Some(1), at(10));
        let second = conditions(&first, &wanted, WaitReason::RateLimited, "soon", Some(2), at(20));
        assert_eq!(second[0].last_transition_time, Time(at(10)));
        assert_eq!((second[0].reason.as_str(), second[0].observed_generation), ("RateLimited", Some(2)));
        let third =
            conditions(&second, &[(ConditionType::Ready, Truth::True)], EndReason::ResetAccepted, "", Some(2), at(30));
        assert_eq!(third[0].last_transition_time, Time(at(30)));
    }

    #[test]
    fn the_time_that_the_definition_gives_is_not_kept() {
        let wanted = [(ConditionType::Ready, Truth::Unknown)];
        let default = conditions(&[], &wanted, WaitReason::Suspended, "not seen", Some(UNSEEN), at(0));
        let first = conditions(&default, &wanted, WaitReason::Suspended, "held back", Some(1), at(10));
        assert_eq!(first[0].last_transition_time, Time(at(10)));
    }

    #[test]
    fn a_condition_that_is_not_wanted_is_absent() {
        let old = conditions(&[], &[(ConditionType::Reconciling, Truth::True)], WaitReason::Suspended, "", None, at(1));
        assert!(conditions(&old, &[], EndReason::ResetAccepted, "", None, at(2)).is_empty());
    }
}
