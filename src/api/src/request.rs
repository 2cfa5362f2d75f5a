//! `PasswordResetRequest`: one reset of one user, written by people, GitOps and runbooks.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, Unexpected},
};

use crate::schema;

/// The requester that an unstamped request shows.
pub const UNVERIFIED: &str = "unverified";

/// One password reset of one Amazon Cognito user. Only `suspend` and `approved` can be changed; to reset again, create another request under a new name.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "cognito-reset.dev",
    version = "v1alpha1",
    kind = "PasswordResetRequest",
    namespaced,
    shortname = "prr",
    category = "cognito",
    status = "PasswordResetRequestStatus",
    derive = "PartialEq",
    doc = "One password reset of one Amazon Cognito user, performed at most once. Wait for status.completionTime, then read status.outcome.",
    selectable = ".status.outcome",
    selectable = ".spec.userPoolID",
    selectable = ".spec.username",
    selectable = ".spec.ttlSecondsAfterFinished",
    printcolumn(name = "User", type_ = "string", json_path = ".spec.username", description = "the user whose password is reset"),
    printcolumn(name = "Pool", type_ = "string", json_path = ".spec.userPoolID", description = "the user pool"),
    printcolumn(name = "Outcome", type_ = "string", json_path = ".status.outcome", description = "Pending, Succeeded, Failed or Unknown"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", description = "the reason, in one word"),
    printcolumn(name = "Password", type_ = "string", json_path = ".status.password", description = "Invalidated, Unchanged or Unknown"),
    printcolumn(name = "Requester", type_ = "string", json_path = ".spec.requestedBy.username", description = "the user who created it, if an admission policy authenticated the user"),
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = ".status.conditions[?(@.type==\"Ready\")].message", description = "the reason, in one sentence"),
    printcolumn(name = "User name", type_ = "string", priority = 1, json_path = ".status.userName", description = "the name of the user, if an approval is required"),
    printcolumn(name = "Sub", type_ = "string", priority = 1, json_path = ".status.userSub", description = "the sub of the user, if it is known"),
    printcolumn(name = "Attempts", type_ = "integer", priority = 1, json_path = ".status.attempts", description = "number of attempts"),
    printcolumn(name = "AWS request", type_ = "string", priority = 1, json_path = ".status.awsRequestID", description = "request id of Cognito, as in CloudTrail"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "time since creation"),
    validation = Rule::new("self.spec.suspend == oldSelf.spec.suspend || self.status.outcome == 'Pending'")
        .message("suspend may change only while the outcome is Pending: this request is finished")
        .field_path(".spec.suspend"),
    validation = Rule::new("self.spec.approved == oldSelf.spec.approved || self.status.outcome == 'Pending'")
        .message("a request can be approved only while the outcome is Pending: this request is finished")
        .field_path(".spec.approved")
)]
#[x_kube(
    validation = Rule::new("self.userPoolID == oldSelf.userPoolID").message("userPoolID is immutable: create a new request under a new name").field_path(".userPoolID"),
    validation = Rule::new("self.username == oldSelf.username").message("username is immutable: create a new request under a new name").field_path(".username"),
    validation = Rule::new("has(self.clientMetadata) == has(oldSelf.clientMetadata) && (!has(self.clientMetadata) || self.clientMetadata == oldSelf.clientMetadata)").message("clientMetadata is immutable: create a new request under a new name").field_path(".clientMetadata"),
    validation = Rule::new("has(self.reason) == has(oldSelf.reason) && (!has(self.reason) || self.reason == oldSelf.reason)").message("reason is immutable: create a new request under a new name").field_path(".reason"),
    validation = Rule::new("has(self.ticket) == has(oldSelf.ticket) && (!has(self.ticket) || self.ticket == oldSelf.ticket)").message("ticket is immutable: create a new request under a new name").field_path(".ticket"),
    validation = Rule::new("has(self.onBehalfOf) == has(oldSelf.onBehalfOf) && (!has(self.onBehalfOf) || self.onBehalfOf == oldSelf.onBehalfOf)").message("onBehalfOf is immutable: create a new request under a new name").field_path(".onBehalfOf"),
    validation = Rule::new("self.requestedBy == oldSelf.requestedBy").message("requestedBy is immutable: create a new request under a new name").field_path(".requestedBy"),
    validation = Rule::new("self.ifResetRequired == oldSelf.ifResetRequired").message("ifResetRequired is immutable: create a new request under a new name").field_path(".ifResetRequired"),
    validation = Rule::new(schema::same_moment("notAfter")).message("notAfter is immutable: create a new request under a new name").field_path(".notAfter"),
    validation = Rule::new("has(self.deadlineSeconds) == has(oldSelf.deadlineSeconds) && (!has(self.deadlineSeconds) || self.deadlineSeconds == oldSelf.deadlineSeconds)").message("deadlineSeconds is immutable: create a new request under a new name").field_path(".deadlineSeconds"),
    validation = Rule::new("has(self.ttlSecondsAfterFinished) == has(oldSelf.ttlSecondsAfterFinished) && (!has(self.ttlSecondsAfterFinished) || self.ttlSecondsAfterFinished == oldSelf.ttlSecondsAfterFinished)").message("ttlSecondsAfterFinished is immutable: create a new request under a new name").field_path(".ttlSecondsAfterFinished"),
    validation = Rule::new("oldSelf.hasValue() || (!self.approved && !has(self.approvedBy))").optional_old_self(true).message("a request is never approved on creation: leave approved and approvedBy out, and have another user approve it once it exists").field_path(".approved"),
    validation = Rule::new("self.approved || !oldSelf.approved").message("an approval cannot be withdrawn: set suspend to hold the request back, or delete it").field_path(".approved"),
    validation = Rule::new("(has(self.approvedBy) == has(oldSelf.approvedBy) && (!has(self.approvedBy) || self.approvedBy == oldSelf.approvedBy)) || (self.approved && !oldSelf.approved)").message("approvedBy is written once, with the approval").field_path(".approvedBy")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PasswordResetRequestSpec {
    /// The id of the user pool, such as `eu-west-1_Example01`. The part before the last underscore is its Region.
    #[serde(rename = "userPoolID")]
    #[schemars(length(min = 1, max = 55), regex(pattern = r"^[\w-]+_[0-9a-zA-Z]+$"))]
    pub user_pool_id: String,

    /// The user name, or an alias that the pool accepts for sign-in. 1 to 128 letters, marks, symbols, numbers and punctuation characters, without spaces.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[\p{L}\p{M}\p{S}\p{N}\p{P}]+$"))]
    pub username: String,

    /// Data that is passed unchanged to the pool's Lambda triggers. Cognito neither encrypts nor validates it: do not put secrets here. At most 20 entries, with keys of up to 128 and values of up to 2048 characters, and together at most 8192 bytes of UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::client_metadata")]
    pub client_metadata: Option<BTreeMap<String, String>>,

    /// The reason for the reset, for the audit, in one line of visible characters. A claim of the requester that is not verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new(schema::ONE_LINE).message(schema::NOT_ONE_LINE))]
    pub reason: Option<String>,

    /// The ticket or incident for the reset, for the audit, in one line of visible characters. A claim of the requester that is not verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    #[x_kube(validation = Rule::new(schema::ONE_LINE).message(schema::NOT_ONE_LINE))]
    pub ticket: Option<String>,

    /// The person or system that asked for the reset, for the audit, in one line of visible characters. A claim of the requester that is not verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    #[x_kube(validation = Rule::new(schema::ONE_LINE).message(schema::NOT_ONE_LINE))]
    pub on_behalf_of: Option<String>,

    /// The user who created the request. An admission policy stamps this field; leave it out of manifests. Without that policy it reads `unverified`, or a name that the creator wrote.
    #[serde(default)]
    #[x_kube(
        validation = Rule::new(schema::ONE_LINE.replace("self", "self.username")).message(schema::NOT_ONE_LINE).field_path(".username"),
        validation = Rule::new(format!("!has(self.uid) || {}", schema::ONE_LINE.replace("self", "self.uid"))).message(schema::NOT_ONE_LINE).field_path(".uid")
    )]
    pub requested_by: RequestedBy,

    /// The action if the user already has to reset the password. `Resend`, the default, calls Cognito, which sends another code to the user. `Skip` sends nothing. It has to read the user first, and waits as `UserStateUnreadable` while the user cannot be read.
    #[serde(default)]
    pub if_reset_required: IfResetRequired,

    /// The moment after which the reset is never performed, written as `2036-01-01T00:00:00Z` or `2036-01-01T02:00:00+02:00` (RFC 3339; years 1970 to 9998, at most nine fractional digits). If absent, there is no such limit. Use it for requests that Git may apply again in a rebuilt cluster.
    #[serde(default, deserialize_with = "not_after", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::moment")]
    pub not_after: Option<Time>,

    /// The number of seconds after its creation at which a request that was not performed fails. It also applies while the request is suspended or waits, and regardless of `notAfter`. 1 to 2592000 (30 days). If absent, it is 86400 (a day), or 259200 (three days) while a grant that matches the request requires an approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub deadline_seconds: Option<i64>,

    /// The number of seconds after the end of the request, with any outcome, at which the operator deletes it. 0 to 31536000 (a year). If absent, the request is never deleted. Its record stays, so applying the request again resets nothing. A label `cognito-reset.dev/keep` with any value prevents the deletion. The operator does not delete requests that Argo CD or Flux tracks, because they would be created again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 31_536_000))]
    pub ttl_seconds_after_finished: Option<i64>,

    /// Holds the reset back while true. It can be changed only while the outcome is Pending. The operator last reads it at most 1 s before the claim; a later change does not affect that claim.
    #[serde(default)]
    pub suspend: bool,

    /// The approval that a grant with `requireApproval` requires. It is false on creation. A user with the verb `approve`, other than the requester, sets it to true, once and while the outcome is Pending. It cannot be withdrawn. Leave it out of manifests.
    #[serde(default)]
    pub approved: bool,

    /// The user who approved the request. An admission policy stamps this field with the approval; leave it out of manifests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new(schema::ONE_LINE.replace("self", "self.username")).message(schema::NOT_ONE_LINE).field_path(".username"),
        validation = Rule::new(format!("!has(self.uid) || {}", schema::ONE_LINE.replace("self", "self.uid"))).message(schema::NOT_ONE_LINE).field_path(".uid")
    )]
    pub approved_by: Option<ApprovedBy>,
}

/// Parses a time, with an error that names the field: the error of a time parser does not.
fn not_after<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Time>, D::Error> {
    let expected = "a time such as 2036-01-01T00:00:00Z as notAfter";
    Option::deserialize(deserializer).map_err(|_| D::Error::invalid_value(Unexpected::Other("text"), &expected))
}

/// The action if the user already has to reset the password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum IfResetRequired {
    /// Calls Cognito, which sends another code to the user.
    #[default]
    Resend,
    /// Sends nothing and ends the request as `AlreadyResetRequired`.
    Skip,
}

/// The user who created a request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct RequestedBy {
    /// The authenticated user name, such as `system:serviceaccount:argocd:argocd-application-controller`, or `unverified` if no policy stamps it.
    #[schemars(length(min = 1, max = 1024))]
    pub username: String,
    /// The uid of the authenticated user, if the authenticator provides one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub uid: Option<String>,
    /// The AWS identity behind the user, if the authenticator provides one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<UserExtra>,
}

/// The user who approved a request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct ApprovedBy {
    /// The authenticated user name.
    #[schemars(length(min = 1, max = 1024))]
    pub username: String,
    /// The uid of the authenticated user, if the authenticator provides one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub uid: Option<String>,
    /// The AWS identity behind the user, if the authenticator provides one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<UserExtra>,
}

/// The part of a user's `userInfo.extra` that identifies a person on Amazon EKS.
///
/// The names are those of aws-iam-authenticator. No other entry is kept. The bounds are above what AWS allows, and an
/// entry that exceeds them is left out, so that it never makes a user look like another one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserExtra {
    /// The ARN of the IAM user, or of the session of a role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 640), regex(pattern = r"^[!-~]+$"))]
    pub arn: Option<String>,
    /// The unique id of the IAM user or the role, such as `AROAEXAMPLE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[!-~]+$"))]
    pub principal_id: Option<String>,
    /// The name of the session of a role. IAM Identity Center sets it to the name of the person. Anyone else who may assume the role chooses it freely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[!-~]+$"))]
    pub session_name: Option<String>,
}

impl PasswordResetRequest {
    /// Returns the outcome in its status, or Pending without a status.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.status.as_ref().map(|status| status.outcome).unwrap_or_default()
    }
}

impl RequestedBy {
    /// Returns true if an admission policy has authenticated the requester.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.username != UNVERIFIED
    }
}

impl Default for RequestedBy {
    fn default() -> Self {
        Self { username: UNVERIFIED.into(), uid: None, extra: None }
    }
}

/// The known state of the reset. Only the operator writes it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasswordResetRequestStatus {
    /// The outcome: Pending until the request has ended, then Succeeded, Failed, or Unknown if it cannot be determined whether the reset happened.
    #[serde(default)]
    pub outcome: Outcome,

    /// The generation of the spec that this status describes; -1 before the operator has seen the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The time when the first attempt was claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,

    /// The time when the outcome became known. It is set with every outcome except Pending, so scripts can wait for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,

    /// The time when Cognito performed the reset: when its response or the user's state proved it. If the outcome is `AlreadyPerformed`, this is earlier than the request itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub performed_time: Option<Time>,

    /// The known state of the user's password: whether a reset invalidated it.
    #[serde(default)]
    pub password: Password,

    /// The number of attempts made for this request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub attempts: Option<i64>,

    /// The request id of the last attempt, if Cognito responded. CloudTrail shows it as well.
    #[serde(default, rename = "awsRequestID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub aws_request_id: Option<String>,

    /// The name of the user, as AdminGetUser returned it: the user name that Cognito stores or, if that is the `sub`, the e-mail address, else the phone number. The operator shows it only if a matching grant requires an approval, so that an approver sees whose password is reset regardless of the spelling in the request. Hidden characters are escaped, and a name of more than 256 characters is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub user_name: Option<String>,

    /// The user's immutable `sub`, which CloudTrail shows instead of the name. While the request is Pending, a `sub` that was shown does not change, because an approval counts only for this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub user_sub: Option<String>,

    /// The PasswordResetRecord that contains the attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_ref: Option<RecordRef>,

    /// The conditions Succeeded, Ready, Reconciling, Stalled and PasswordInvalidated. A condition that does not apply is absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// The known state of the user's password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Password {
    /// It cannot be determined yet, or at all, whether the password was invalidated.
    #[default]
    Unknown,
    /// The user has to set a new password before the next sign-in.
    Invalidated,
    /// This request did not and will not change it.
    Unchanged,
}

/// The outcome of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Outcome {
    /// The request has not ended: it waits, its call is in flight, or it backs off.
    #[default]
    Pending,
    /// Cognito accepted the reset, or a probe confirmed it.
    Succeeded,
    /// The reset did not happen, or Cognito reported an exception although it did.
    Failed,
    /// It cannot be determined whether the reset happened. Nothing more will be sent.
    Unknown,
}

impl Outcome {
    /// Returns the name as it is written in a status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Unknown => "Unknown",
        }
    }
}

/// A reference to the record of a request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct RecordRef {
    /// The name of the cluster-scoped PasswordResetRecord.
    #[schemars(length(max = 253))]
    pub name: String,
}
