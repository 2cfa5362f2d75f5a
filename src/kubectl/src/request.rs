//! A request as the plugin reads it. A field that cannot be parsed does not hide the others, and
//! nothing is computed that the status does not say.

use std::{borrow::Cow, fmt};

use cognito_reset_api::{
    ApprovedBy, Outcome, Password, PasswordResetRequest, RequestedBy,
    conditions::{ConditionType, UNSEEN},
};
use jiff::Timestamp;
use k8s_openapi::{
    NamespaceResourceScope,
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time},
};
use kube::{Resource, ResourceExt};
use serde::{Deserialize, Serialize};

/// The reason of a success by an earlier request of the same name.
const PERFORMED_BEFORE: &str = "AlreadyPerformed";
/// The reason of a success because the user already had to reset the password.
const RESET_REQUIRED_BEFORE: &str = "AlreadyResetRequired";

/// A `PasswordResetRequest`, without its managed fields.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Request {
    /// The metadata.
    pub metadata: ObjectMeta,
    /// The spec.
    #[serde(default)]
    pub spec: Spec,
    /// The status; empty before there is one.
    #[serde(default)]
    pub status: Status,
}

/// The spec of a request.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// The user pool.
    #[serde(rename = "userPoolID")]
    pub user_pool_id: String,
    /// The user as the request names it.
    pub username: String,
    /// The ticket, a claim of the requester.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// The reason, a claim of the requester.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The person or system that asked for the reset, a claim of the requester.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// The requester.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<RequestedBy>,
    /// `Resend` or `Skip`; `Resend` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub if_reset_required: Option<String>,
    /// The moment after which the reset is never performed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
    /// The time, in seconds, for which a request is kept after its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_seconds_after_finished: Option<i64>,
    /// True if the request is held back.
    #[serde(skip_serializing_if = "is_false")]
    pub suspend: bool,
    /// True if it is approved.
    #[serde(skip_serializing_if = "is_false")]
    pub approved: bool,
    /// The approver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<ApprovedBy>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde expects")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// The status of a request.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// The outcome.
    pub outcome: Outcome,
    /// The time of the first claim.
    pub start_time: Option<Time>,
    /// The time when the outcome became known.
    pub completion_time: Option<Time>,
    /// The time when Cognito performed the reset.
    pub performed_time: Option<Time>,
    /// The known state of the password.
    pub password: Password,
    /// The number of attempts.
    pub attempts: Option<i64>,
    /// The request id of Cognito.
    #[serde(rename = "awsRequestID")]
    pub aws_request_id: Option<String>,
    /// The name of the user as Cognito stores it, shown for an approval.
    pub user_name: Option<String>,
    /// The `sub` of the user.
    pub user_sub: Option<String>,
    /// The conditions.
    pub conditions: Vec<Condition>,
}

impl Request {
    /// Returns the outcome.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        self.status.outcome
    }

    /// Returns the condition of a type.
    #[must_use]
    pub fn condition(&self, type_: ConditionType) -> Option<&Condition> {
        self.status.conditions.iter().find(|condition| condition.type_ == type_.as_str())
    }

    /// Returns the reason in one word; empty before there is one.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.condition(ConditionType::Ready).map_or("", |condition| &condition.reason)
    }

    /// Returns true once the operator has written a status. The API server sets one at creation,
    /// which is not of any operator.
    #[must_use]
    pub fn is_seen(&self) -> bool {
        self.status.conditions.iter().any(|condition| condition.observed_generation != Some(UNSEEN))
    }

    /// Returns the message of the status.
    #[must_use]
    pub fn message(&self) -> &str {
        self.condition(ConditionType::Ready).map_or("", |condition| &condition.message)
    }

    /// Returns true if the request succeeded without a reset, by what was there before.
    #[must_use]
    pub fn needed_no_reset(&self) -> bool {
        self.outcome() == Outcome::Succeeded && [PERFORMED_BEFORE, RESET_REQUIRED_BEFORE].contains(&self.reason())
    }

    /// Returns true if it needed no reset, and no attempt under its name could have been its own.
    #[must_use]
    pub fn nothing_was_sent(&self) -> bool {
        let no_attempts = self.status.attempts.unwrap_or_default() == 0;
        // If an earlier request of the name succeeded, the attempts are those of that one.
        self.needed_no_reset() && (no_attempts || self.reason() == PERFORMED_BEFORE)
    }

    /// Returns the time at which it ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<Timestamp> {
        self.status.completion_time.as_ref().map(|time| time.0)
    }

    /// Returns the time at which Cognito performed the reset or, if that is not known, at which the
    /// request ended.
    #[must_use]
    pub fn performed(&self) -> Option<Timestamp> {
        self.status.performed_time.as_ref().map(|time| time.0).or_else(|| self.ended())
    }

    /// Returns namespace and name.
    #[must_use]
    pub fn id(&self) -> Id {
        Id { namespace: self.namespace().unwrap_or_default(), name: self.name_any() }
    }
}

/// Namespace and name of a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Resource for Request {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        PasswordResetRequest::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        PasswordResetRequest::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        PasswordResetRequest::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        PasswordResetRequest::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
