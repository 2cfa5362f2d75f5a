//! The closed lists of condition types and reasons, and how a condition is set.

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::Exception;

/// The condition types of the resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionType {
    /// Whether Cognito performed the reset without reporting an exception.
    Succeeded,
    /// The same, for generic health checks: Unknown, never False, while the operator works.
    Ready,
    /// Present and True while the operator works on the request or waits.
    Reconciling,
    /// Present and True once the request has ended without success.
    Stalled,
    /// Whether the user's password was invalidated.
    PasswordInvalidated,
    /// Of grants: whether the role could be assumed at the last try; absent without a role.
    RoleAssumable,
}

impl ConditionType {
    /// The name as it stands in a status.
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

/// Why a condition is as it is: the exact exception of Cognito, or one of ours. Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    // The end, with success.
    /// Cognito accepted the reset; it says nothing of the delivery of a code.
    ResetAccepted,
    /// No clear answer of Cognito is known, but the user now has to reset and did not just before the call.
    ConfirmedByProbe,
    /// An earlier request object of this name performed the reset; nothing was sent for this one.
    AlreadyPerformed,
    /// The user already had to reset, and the request asked to skip in that case; nothing was sent.
    AlreadyResetRequired,
    // The end, without.
    /// Cognito answered with this exception.
    Cognito(Exception),
    /// Cognito answered with an exception that this operator does not know; the message names its code.
    UnrecognizedError,
    /// `expirationTime` passed before the reset was performed.
    Expired,
    /// `deadlineSeconds` passed before the reset was performed.
    DeadlineExceeded,
    /// Nobody can tell whether the reset happened; nothing more will be sent.
    OutcomeUnknown,
    // While waiting.
    /// `suspend` is true.
    Suspended,
    /// No UserPoolGrant allows this namespace to reset this user of this pool.
    UserPoolNotGranted,
    /// The matching grants differ in role, external id or session tags.
    AmbiguousGrant,
    /// A matching grant is suspended: the kill switch.
    GrantSuspended,
    /// The matching grants ask for an `expirationTime`, and the request has none.
    ExpirationRequired,
    /// The matching grants ask for an approval, and nobody has given it yet.
    AwaitingApproval,
    /// The matching grants ask for an approval, and who asked or who approved is not proven, or they are one.
    ApprovalNotProven,
    /// The matching grants let only so many pending requests of one namespace go on, and earlier ones have not ended.
    PendingLimitReached,
    /// The budget of the account and Region is used up for now.
    RateLimited,
    /// Cognito throttles; everything for the account and Region goes slower.
    Throttled,
    /// No AWS credentials could be loaded or no role assumed.
    AwsCredentialsUnavailable,
    /// The endpoint that is configured for Cognito is of another Region than the pool; nothing was sent.
    RegionNotServed,
    /// `ifResetRequired: Skip` needs the user's state, and it cannot be read.
    UserStateUnreadable,
    /// An earlier attempt or another request for the same user has to end first.
    AwaitingPriorAttempt,
    /// The operator cannot connect to Cognito; nothing was sent.
    CognitoUnreachable,
    /// The claim could not be written in time; nothing was sent.
    ClaimTimedOut,
    /// The record was written by a newer operator or is of another request; it is left alone.
    RecordNotUsable,
    /// Labels, annotations, managed fields and the like take more than 1 MiB, which leaves no room for a status; nothing is sent.
    ObjectTooLarge,
    /// The API server refuses what the operator has to write, or does not store it; the message says what, by whom, and what did happen.
    WriteRefused,
    /// The object holds what this operator cannot read; it is left alone.
    InvalidObject,
    // Of grants.
    /// The grant is valid.
    Valid,
    /// The grant's `usernamePattern` cannot be used, so that it never matches.
    InvalidUsernamePattern,
    /// The grant's `namespaceSelector` cannot be used, so that it never matches.
    InvalidNamespaceSelector,
    /// No namespace of the cluster is selected at present.
    NoNamespaceMatches,
    /// The grant's role could be assumed at the last try.
    RoleAssumed,
    /// The grant's role could not be assumed at the last try.
    RoleNotAssumable,
}

impl Reason {
    /// The name as it stands in a status; CamelCase.
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
            Self::OutcomeUnknown => "OutcomeUnknown",
            Self::Suspended => "Suspended",
            Self::UserPoolNotGranted => "UserPoolNotGranted",
            Self::AmbiguousGrant => "AmbiguousGrant",
            Self::GrantSuspended => "GrantSuspended",
            Self::ExpirationRequired => "ExpirationRequired",
            Self::AwaitingApproval => "AwaitingApproval",
            Self::ApprovalNotProven => "ApprovalNotProven",
            Self::PendingLimitReached => "PendingLimitReached",
            Self::RateLimited => "RateLimited",
            Self::Throttled => "Throttled",
            Self::AwsCredentialsUnavailable => "AwsCredentialsUnavailable",
            Self::RegionNotServed => "RegionNotServed",
            Self::UserStateUnreadable => "UserStateUnreadable",
            Self::AwaitingPriorAttempt => "AwaitingPriorAttempt",
            Self::CognitoUnreachable => "CognitoUnreachable",
            Self::ClaimTimedOut => "ClaimTimedOut",
            Self::RecordNotUsable => "RecordNotUsable",
            Self::ObjectTooLarge => "ObjectTooLarge",
            Self::WriteRefused => "WriteRefused",
            Self::InvalidObject => "InvalidObject",
            Self::Valid => "Valid",
            Self::InvalidUsernamePattern => "InvalidUsernamePattern",
            Self::InvalidNamespaceSelector => "InvalidNamespaceSelector",
            Self::NoNamespaceMatches => "NoNamespaceMatches",
            Self::RoleAssumed => "RoleAssumed",
            Self::RoleNotAssumable => "RoleNotAssumable",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A condition's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It is not known.
    Unknown,
}

impl Truth {
    /// The name as it stands in a status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// `observedGeneration` of the condition that the definition itself gives to what no operator has seen; its time means
/// nothing.
pub const UNSEEN: i64 = -1;

/// The conditions that should stand, made from those that did: a condition keeps its
/// `lastTransitionTime` while its status stays, and what is not wanted is absent.
#[must_use]
pub fn conditions(
    previous: &[Condition],
    wanted: &[(ConditionType, Truth)],
    reason: Reason,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
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
        let first = conditions(&[], &wanted, Reason::Suspended, "held back", Some(1), at(10));
        let second = conditions(&first, &wanted, Reason::RateLimited, "soon", Some(2), at(20));
        assert_eq!(second[0].last_transition_time, Time(at(10)));
        assert_eq!((second[0].reason.as_str(), second[0].observed_generation), ("RateLimited", Some(2)));
        let third =
            conditions(&second, &[(ConditionType::Ready, Truth::True)], Reason::ResetAccepted, "", Some(2), at(30));
        assert_eq!(third[0].last_transition_time, Time(at(30)));
    }

    #[test]
    fn the_time_that_the_definition_gives_is_not_kept() {
        let wanted = [(ConditionType::Ready, Truth::Unknown)];
        let default = conditions(&[], &wanted, Reason::Suspended, "not seen", Some(UNSEEN), at(0));
        let first = conditions(&default, &wanted, Reason::Suspended, "held back", Some(1), at(10));
        assert_eq!(first[0].last_transition_time, Time(at(10)));
    }

    #[test]
    fn a_condition_that_is_not_wanted_is_absent() {
        let old = conditions(&[], &[(ConditionType::Reconciling, Truth::True)], Reason::Suspended, "", None, at(1));
        assert!(conditions(&old, &[], Reason::ResetAccepted, "", None, at(2)).is_empty());
    }
}
