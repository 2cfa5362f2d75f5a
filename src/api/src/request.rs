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

/// What an unstamped request shows as its requester.
pub const UNPROVEN: &str = "unproven";

/// One password reset of one Amazon Cognito user. Immutable but for `suspend` and `approved`; to reset again, create another one under a new name.
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
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", description = "why, in one word"),
    printcolumn(name = "Requester", type_ = "string", json_path = ".spec.requestedBy.username", description = "who created it, if an admission policy proved it"),
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = ".status.conditions[?(@.type==\"Ready\")].message", description = "why, in one sentence"),
    printcolumn(name = "Attempts", type_ = "integer", priority = 1, json_path = ".status.attempts", description = "attempts made, throttled ones not counted"),
    printcolumn(name = "AWS request", type_ = "string", priority = 1, json_path = ".status.awsRequestID", description = "Cognito's request id, as in CloudTrail"),
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
    validation = Rule::new(schema::same_moment("expirationTime")).message("expirationTime is immutable: create a new request under a new name").field_path(".expirationTime"),
    validation = Rule::new("self.deadlineSeconds == oldSelf.deadlineSeconds").message("deadlineSeconds is immutable: create a new request under a new name").field_path(".deadlineSeconds"),
    validation = Rule::new("has(self.ttlSecondsAfterFinished) == has(oldSelf.ttlSecondsAfterFinished) && (!has(self.ttlSecondsAfterFinished) || self.ttlSecondsAfterFinished == oldSelf.ttlSecondsAfterFinished)").message("ttlSecondsAfterFinished is immutable: create a new request under a new name").field_path(".ttlSecondsAfterFinished"),
    validation = Rule::new("oldSelf.hasValue() || (!self.approved && !has(self.approvedBy))").optional_old_self(true).message("a request is never approved on creation: leave approved and approvedBy out, and have somebody else approve it once it stands").field_path(".approved"),
    validation = Rule::new("self.approved || !oldSelf.approved").message("an approval cannot be withdrawn: set suspend to hold the request back, or delete it").field_path(".approved"),
    validation = Rule::new("(has(self.approvedBy) == has(oldSelf.approvedBy) && (!has(self.approvedBy) || self.approvedBy == oldSelf.approvedBy)) || (self.approved && !oldSelf.approved)").message("approvedBy is written once, with the approval").field_path(".approvedBy")
)]
#[serde(rename_all = "camelCase")]
pub struct PasswordResetRequestSpec {
    /// The id of the user pool, such as `eu-west-1_Example01`; the part before the last underscore is its Region.
    #[serde(rename = "userPoolID")]
    #[schemars(length(min = 1, max = 55), regex(pattern = r"^[\w-]+_[0-9a-zA-Z]+$"))]
    pub user_pool_id: String,

    /// The user name, or an alias that the pool accepts for sign-in. 1 to 128 letters, marks, symbols, numbers and punctuation; no spaces.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[\p{L}\p{M}\p{S}\p{N}\p{P}]+$"))]
    pub username: String,

    /// Handed to the pool's Lambda triggers as it is. Cognito neither encrypts nor validates it: put no secrets here. At most 20 entries; keys up to 128, values up to 2048 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::client_metadata")]
    pub client_metadata: Option<BTreeMap<String, String>>,

    /// Why the reset is asked for, for the audit, in one line of visible characters. Claimed by the requester, not proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new(schema::ONE_LINE).message(schema::NOT_ONE_LINE))]
    pub reason: Option<String>,

    /// The ticket or incident behind it, for the audit, in one line of visible characters. Claimed by the requester, not proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    #[x_kube(validation = Rule::new(schema::ONE_LINE).message(schema::NOT_ONE_LINE))]
    pub ticket: Option<String>,

    /// The person or system for whom the reset is asked, for the audit, in one line of visible characters. Claimed by the requester, not proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    #[x_kube(validation = Rule::new(schema::ONE_LINE).message(schema::NOT_ONE_LINE))]
    pub on_behalf_of: Option<String>,

    /// Who created the request. To be stamped by an admission policy, never by people; without one it reads `unproven`, and anything else was merely written by the creator.
    #[serde(default)]
    #[x_kube(
        validation = Rule::new(schema::ONE_LINE.replace("self", "self.username")).message(schema::NOT_ONE_LINE).field_path(".username"),
        validation = Rule::new(format!("!has(self.uid) || {}", schema::ONE_LINE.replace("self", "self.uid"))).message(schema::NOT_ONE_LINE).field_path(".uid")
    )]
    pub requested_by: RequestedBy,

    /// What to do when the user already has to reset the password. `Resend`, the default, calls Cognito all the same, as its API does, and the user gets another code. `Skip` sends nothing; it has to read the user first, and waits as `UserStateUnreadable` while it cannot.
    #[serde(default)]
    pub if_reset_required: IfResetRequired,

    /// Never performed after this moment, written as `2036-01-01T00:00:00Z` or `2036-01-01T02:00:00+02:00` (RFC 3339; years 1970 to 9998, at most nine digits of a fraction); absent: no such limit. The guard for requests that Git may apply again in a rebuilt cluster.
    #[serde(default, deserialize_with = "expiration_time", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::moment")]
    pub expiration_time: Option<Time>,

    /// Seconds from creation after which a request that was not performed fails, also while suspended or waiting, and whatever expirationTime says. 1 to 2592000 (30 days); default: 86400 (a day).
    #[serde(default = "default_deadline_seconds")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub deadline_seconds: i64,

    /// Seconds after the end, whatever the outcome, from which the operator deletes the request. Absent: never. 0 to 31536000 (a year). Its record stays, so that applying it again resets nothing. The label `cognito-reset.dev/keep`, whatever its value, keeps the request for as long as it is there. Not applied to what Argo CD or Flux tracks: they would create it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 31_536_000))]
    pub ttl_seconds_after_finished: Option<i64>,

    /// Holds the reset back while true. Beside `approved` the only field that may change, and only while the outcome is Pending; heeded up to the last read before the claim, at most a second earlier.
    #[serde(default)]
    pub suspend: bool,

    /// The approval that a grant with `requireApproval` waits for. False on creation; set to true once, while the outcome is Pending, by somebody with the verb `approve` who is not the requester; never taken back. Leave it out of files.
    #[serde(default)]
    pub approved: bool,

    /// Who approved. Stamped by an admission policy with the approval, never by people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new(schema::ONE_LINE.replace("self", "self.username")).message(schema::NOT_ONE_LINE).field_path(".username"),
        validation = Rule::new(format!("!has(self.uid) || {}", schema::ONE_LINE.replace("self", "self.uid"))).message(schema::NOT_ONE_LINE).field_path(".uid")
    )]
    pub approved_by: Option<ApprovedBy>,
}

fn default_deadline_seconds() -> i64 {
    86_400
}

/// A time, or an error that names the field: a parser of times says nothing of where one stood.
fn expiration_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Time>, D::Error> {
    let expected = "a time such as 2036-01-01T00:00:00Z as expirationTime";
    Option::deserialize(deserializer).map_err(|_| D::Error::invalid_value(Unexpected::Other("text"), &expected))
}

/// What to do when the user already has to reset the password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum IfResetRequired {
    /// Call Cognito all the same; the user gets another code.
    #[default]
    Resend,
    /// Send nothing and finish as `AlreadyResetRequired`.
    Skip,
}

/// Who created a request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct RequestedBy {
    /// The authenticated user name, such as `system:serviceaccount:argocd:argocd-application-controller`; `unproven` where nothing stamps it.
    #[schemars(length(min = 1, max = 1024))]
    pub username: String,
    /// The authenticated user's uid, where the authenticator gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub uid: Option<String>,
}

/// Who approved a request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct ApprovedBy {
    /// The authenticated user name.
    #[schemars(length(min = 1, max = 1024))]
    pub username: String,
    /// The authenticated user's uid, where the authenticator gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub uid: Option<String>,
}

impl PasswordResetRequest {
    /// What its status says of it; Pending where there is none.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.status.as_ref().map(|status| status.outcome).unwrap_or_default()
    }
}

impl ApprovedBy {
    /// Whether it is somebody else than the requester: by name, and by uid where both have one.
    #[must_use]
    pub fn differs_from(&self, requester: &RequestedBy) -> bool {
        let same_uid = self.uid.is_some() && self.uid == requester.uid;
        self.username != requester.username && !same_uid
    }
}

impl RequestedBy {
    /// Whether an admission policy vouches for it.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.username != UNPROVEN
    }
}

impl Default for RequestedBy {
    fn default() -> Self {
        Self { username: UNPROVEN.into(), uid: None }
    }
}

/// What is known of the reset. Written by the operator alone.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasswordResetRequestStatus {
    /// Pending until the reset has ended; then Succeeded, Failed, or Unknown where nobody can tell whether it happened.
    #[serde(default)]
    pub outcome: Outcome,

    /// The generation of the spec that this status speaks of; -1 before the operator has seen the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// When the first attempt was claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,

    /// When the outcome became known; set with every outcome but Pending, so that scripts can wait for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,

    /// Attempts made for this request; throttled ones are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub attempts: Option<i64>,

    /// Cognito's request id of the last attempt, where Cognito answered it; to be found in CloudTrail.
    #[serde(default, rename = "awsRequestID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub aws_request_id: Option<String>,

    /// The user's immutable `sub`, which CloudTrail shows in place of the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub user_sub: Option<String>,

    /// The PasswordResetRecord in which the attempts are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_ref: Option<RecordRef>,

    /// Succeeded, Ready, Reconciling, Stalled and PasswordInvalidated; a condition that does not apply is absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// How a request stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Outcome {
    /// Not finished: waiting, in flight or backing off.
    #[default]
    Pending,
    /// Cognito accepted the reset, or a probe confirmed it.
    Succeeded,
    /// The reset did not happen, or Cognito reported an exception after it.
    Failed,
    /// Nobody can tell whether the reset happened; nothing more will be sent.
    Unknown,
}

impl Outcome {
    /// The name as it stands in a status.
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

/// Names the record of a request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct RecordRef {
    /// The name of the cluster-scoped PasswordResetRecord.
    #[schemars(length(max = 253))]
    pub name: String,
}
