//! `PasswordResetRecord`: one entry of the ledger. Creating it is the claim; its effect is the
//! known result.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    grant::{SessionTags, UserStateSource},
    request::{ApprovedBy, RequestedBy},
};

/// The newest record schema that this operator writes. It does not touch records with a higher one.
pub const SCHEMA: i64 = 1;

/// The number of attempts that a record keeps. Older ones, all proven to have had no effect, are counted in
/// `omittedAttempts`.
pub const MAX_ATTEMPTS: usize = 16;

/// The ledger entry of one request, identified by namespace, name, pool and user. It outlives the request.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "cognito-reset.dev",
    version = "v1alpha1",
    kind = "PasswordResetRecord",
    shortname = "prrec",
    category = "cognito",
    no_spec,
    derive = "PartialEq",
    doc = "The ledger entry of one PasswordResetRequest. Only the operator writes it. It outlives the request, so applying the request again cannot reset twice. If a record is deleted, the operator no longer knows of its reset and can repeat it.",
    selectable = ".effect",
    selectable = ".userPoolID",
    selectable = ".username",
    selectable = ".closed.ungranted",
    selectable = ".userSub",
    printcolumn(name = "Namespace", type_ = "string", json_path = ".request.namespace", description = "the request's namespace"),
    printcolumn(name = "Request", type_ = "string", json_path = ".request.name", description = "the request's name"),
    printcolumn(name = "Action", type_ = "string", json_path = ".action", description = "the action", priority = 1),
    printcolumn(name = "User", type_ = "string", json_path = ".username", description = "the user"),
    printcolumn(name = "Pool", type_ = "string", json_path = ".userPoolID", description = "the user pool"),
    printcolumn(name = "Effect", type_ = "string", json_path = ".effect", description = "the known effect; empty while a claim is open"),
    printcolumn(name = "Closed", type_ = "string", json_path = ".closed.cause", description = "the cause, if the record was closed without a call", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "time since the first claim"),
    validation = Rule::new("self.action == oldSelf.action && self.request == oldSelf.request && self.userPoolID == oldSelf.userPoolID && self.username == oldSelf.username").message("a record is of one request: action, request, userPoolID and username are immutable"),
    validation = Rule::new("self.schema >= oldSelf.schema").message("schema may only grow").field_path(".schema"),
    validation = Rule::new("!has(oldSelf.effect) || oldSelf.effect != 'Performed' || (has(self.effect) && self.effect == 'Performed')").message("effect Performed is final").field_path(".effect"),
    validation = Rule::new("!has(oldSelf.effect) || oldSelf.effect != 'Unknown' || (has(self.effect) && self.effect in ['Unknown', 'Performed'])").message("effect Unknown may only become Performed").field_path(".effect"),
    validation = Rule::new("!has(oldSelf.effect) || oldSelf.effect != 'NotPerformed' || !has(self.effect) || self.effect == 'NotPerformed'").message("effect NotPerformed may only be claimed again").field_path(".effect"),
    validation = Rule::new("has(self.attempts) || has(self.closed)").message("a record has an attempt or is closed").field_path(".attempts"),
    validation = Rule::new("!has(oldSelf.attempts) || has(self.attempts)").message("attempts are never removed").field_path(".attempts"),
    validation = Rule::new("!has(self.closed) || (has(self.effect) && self.effect == 'NotPerformed')").message("a closed record has the effect NotPerformed").field_path(".closed"),
    validation = Rule::new("!has(oldSelf.closed) || (has(self.closed) && self.closed == oldSelf.closed)").message("closed is final").field_path(".closed"),
    validation = Rule::new("!has(oldSelf.closed) || (has(self.attempts) ? has(oldSelf.attempts) && self.attempts == oldSelf.attempts : !has(oldSelf.attempts))").message("a closed record is never claimed again").field_path(".attempts"),
    validation = Rule::new("!has(self.closed) || !self.closed.ungranted || (!has(self.attempts) && !has(self.closed.grants))").message("only a record without an attempt and without a grant can be closed as ungranted").field_path(".closed"),
    validation = Rule::new("has(oldSelf.effect) || !has(self.closed)").message("an open claim is settled, never closed").field_path(".closed"),
    validation = Rule::new("!has(oldSelf.notAfter) || (has(self.notAfter) && self.notAfter >= oldSelf.notAfter)").message("notAfter may only grow").field_path(".notAfter"),
    validation = Rule::new("has(oldSelf.effect) || (has(oldSelf.attempts) && has(self.attempts) && self.attempts[size(self.attempts) - 1].id == oldSelf.attempts[size(oldSelf.attempts) - 1].id)").message("an open claim is settled, never taken over").field_path(".attempts"),
    validation = Rule::new("!has(oldSelf.attempts) || !has(self.attempts) || self.attempts[size(self.attempts) - 1].id != oldSelf.attempts[size(oldSelf.attempts) - 1].id || (has(self.attempts[size(self.attempts) - 1].stateReadAfter) == has(oldSelf.attempts[size(oldSelf.attempts) - 1].stateReadAfter) && (!has(self.attempts[size(self.attempts) - 1].stateReadAfter) || self.attempts[size(self.attempts) - 1].stateReadAfter == oldSelf.attempts[size(oldSelf.attempts) - 1].stateReadAfter))").message("stateReadAfter is written with the claim and never changes").field_path(".attempts"),
    validation = Rule::new("!has(self.attempts) || self.attempts.all(attempt, !has(attempt.stateReadAfter) || has(attempt.userStatusBefore))").message("stateReadAfter requires userStatusBefore").field_path(".attempts")
)]
#[serde(rename_all = "camelCase")]
pub struct RecordFields {
    /// The schema of this record. An operator does not touch records with a higher schema than it knows.
    #[schemars(range(min = 1))]
    pub schema: i64,

    /// The action that the request asks for. Another action on the same user has its own record.
    pub action: Action,

    /// The request, by name. A request of the same name that is created again has the same record.
    pub request: RequestRef,

    /// The user pool.
    #[serde(rename = "userPoolID")]
    #[schemars(length(min = 1, max = 55))]
    pub user_pool_id: String,

    /// The user name as requested.
    #[schemars(length(min = 1, max = 128))]
    pub username: String,

    /// The user's immutable `sub`, as read before the last attempt. Absent if the user could not be read then, or if ListUsers found the user by an e-mail address, which can become another user's. The closing of the record changes it only if the user was read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub user_sub: Option<String>,

    /// The latest `notAfter` among the requests that used this record. The record is kept until then, because without it such a request could be applied again and would be performed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,

    /// The known effect; absent while a claim is open. It is never replaced by a weaker one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,

    /// The attempts, oldest first. Only the last one can be open or have had an effect. Absent if the record was closed before the first one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    pub attempts: Vec<Attempt>,

    /// The end of a request without a call. A closed record has the effect `NotPerformed` and is never claimed again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Closed")]
    pub closed: Option<Closed>,

    /// The number of earlier attempts, all without effect, that are no longer listed.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub omitted_attempts: i64,
}

impl PasswordResetRecord {
    /// Returns a placeholder for a record that cannot be parsed. A newer operator must have written it, so this one
    /// does not touch it, as with any record of a higher schema.
    #[must_use]
    pub fn not_understood(metadata: ObjectMeta) -> Self {
        let nobody = RequestRef { namespace: String::new(), name: String::new() };
        let spec = RecordFields {
            schema: i64::MAX,
            action: Action::PasswordReset,
            request: nobody,
            user_pool_id: String::new(),
            username: String::new(),
            user_sub: None,
            not_after: None,
            effect: None,
            attempts: Vec::new(),
            closed: None,
            omitted_attempts: 0,
        };
        Self { metadata, spec }
    }

    /// Returns true if only a newer operator can read and write this record.
    #[must_use]
    pub const fn is_of_newer_schema(&self) -> bool {
        self.spec.schema > SCHEMA
    }
}

/// An action in Amazon Cognito.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Action {
    /// AdminResetUserPassword.
    PasswordReset,
}

impl Action {
    /// Returns the name as it is written in a record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PasswordReset => "PasswordReset",
        }
    }
}

/// A reference to the request of a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub struct RequestRef {
    /// The request's namespace.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// The request's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// The known effect of a record in Cognito.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Effect {
    /// Nothing happened: Cognito's response proves it, or the call was never sent.
    NotPerformed,
    /// The effect cannot be determined. Nothing more will be sent.
    Unknown,
    /// The password was invalidated.
    Performed,
}

impl Effect {
    /// Returns the name as it is written in a record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotPerformed => "NotPerformed",
            Self::Unknown => "Unknown",
            Self::Performed => "Performed",
        }
    }
}

/// The evidence for an attempt's effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Evidence {
    /// Cognito's own response to the call.
    CognitoResponse,
    /// The user's state before and after the call, read by AdminGetUser.
    UserStatusCheck,
    /// The call was never sent.
    NeverSent,
    /// The request could not be built, or no connection to Cognito was made, so nothing was sent.
    Unreachable,
    /// No conclusive response was received.
    Inconclusive,
}

/// The cause of closing a record without a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum CloseCause {
    /// `notAfter` passed.
    Expired,
    /// `deadlineSeconds` passed.
    DeadlineExceeded,
    /// The user already had to reset the password, and the request asked to skip in that case.
    AlreadyResetRequired,
    /// The user's state had to be read first, and Cognito responded to AdminGetUser with the exception in `exceptionCode`, for example because the user does not exist.
    UserReadRefused,
    /// The user name means another user than the one whom the request's status showed for the approval.
    UserChanged,
}

/// The reason why nothing could be sent to AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema)]
pub enum FailureCause {
    /// The request could not be built: endpoint, headers, signature or body.
    Request,
    /// The name of the server could not be resolved.
    Dns,
    /// The server refused the connection.
    Refused,
    /// No connection was made in time.
    TimedOut,
    /// The TLS handshake failed; an untrusted certificate authority is a common cause.
    Tls,
    /// The proxy did not open a tunnel.
    Proxy,
    /// The connection failed in another way.
    Network,
}

impl FailureCause {
    /// All causes.
    pub const ALL: [Self; 7] =
        [Self::Request, Self::Dns, Self::Refused, Self::TimedOut, Self::Tls, Self::Proxy, Self::Network];

    /// Returns the name, for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "Request",
            Self::Dns => "Dns",
            Self::Refused => "Refused",
            Self::TimedOut => "TimedOut",
            Self::Tls => "Tls",
            Self::Proxy => "Proxy",
            Self::Network => "Network",
        }
    }

    /// Returns the cause in words, for messages and logs.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Request => "the request could not be built",
            Self::Dns => "DNS does not resolve the server's name",
            Self::Refused => "connection refused",
            Self::TimedOut => "timed out",
            Self::Tls => "TLS handshake failed",
            Self::Proxy => "the proxy opened no tunnel",
            Self::Network => "network error",
        }
    }
}

/// A user's state in Cognito (`UserStatusType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum UserStatus {
    /// The user has signed up, but is not confirmed.
    Unconfirmed,
    /// The user is confirmed and can sign in.
    Confirmed,
    /// The user is no longer active.
    Archived,
    /// The user is disabled because of a potential security threat.
    Compromised,
    /// Cognito does not know the state, or named one that this operator does not know.
    Unknown,
    /// The user has to reset the password before the next sign-in.
    ResetRequired,
    /// The user has a temporary password and has to change it.
    ForceChangePassword,
    /// The user signs in through an external provider.
    ExternalProvider,
}

/// The operator process and the request object behind an attempt or a closing, and the grants that allowed the request.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// The operator process that wrote the claim or closed the record.
    #[schemars(length(max = 253))]
    pub operator_instance: String,

    /// The uid of the request object.
    #[serde(rename = "requestUID")]
    #[schemars(length(max = 128))]
    pub request_uid: String,

    /// The stamped user who created that request object.
    pub requested_by: RequestedBy,

    /// The stamped user who approved that request object; absent if nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<ApprovedBy>,

    /// The `reason` of that request object, which may be gone. A claim that is not verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,

    /// The `ticket` of that request object. A claim that is not verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub ticket: Option<String>,

    /// The `onBehalfOf` of that request object. A claim that is not verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub on_behalf_of: Option<String>,

    /// The grants that allowed that request object at that time; absent if none did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 253)))]
    pub grants: Vec<String>,

    /// The role of these grants, which the operator assumes for its calls; absent if it uses its own credentials.
    #[serde(default, rename = "roleARN", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub role_arn: Option<String>,

    /// The external id of the role. It is not a secret.
    #[serde(default, rename = "externalID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1224))]
    pub external_id: Option<String>,

    /// The session tags of the role; absent for `Full` and without a role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_tags: Option<SessionTags>,

    /// The source of the user's state by these grants, which also decides whether a probe may read the user. Absent for `AdminGetUser`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_state_source: Option<UserStateSource>,
}

impl Origin {
    /// Returns the origin with this process and request object, of an unverified requester and without a grant.
    #[must_use]
    pub fn new(operator_instance: &str, request_uid: &str) -> Self {
        Self { operator_instance: operator_instance.to_owned(), request_uid: request_uid.to_owned(), ..Self::default() }
    }
}

/// One attempt: a claim and its result.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// A random id that only the task that claimed knows, so that no other task can send for this claim.
    #[schemars(length(min = 1, max = 64))]
    pub id: String,

    /// The process, the request object and the grants of the claim.
    #[serde(flatten)]
    pub origin: Origin,

    /// The time of the claim, by the clock of that process.
    pub claimed_at: Time,

    /// The time when the call was sent, by the clock of that process. Absent if nothing was sent, or if that process ended before it could write the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Time>,

    /// The user's state just before the claim, if AdminGetUser could read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_status_before: Option<UserStatus>,

    /// A time of the API server, in whole seconds, after which the user's state was read: the Date of its response with the request, which was read just before. Absent if the state could not be read, or the response had no Date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_read_after: Option<Time>,

    /// The time when the effect was written, by the clock of the process that wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<Time>,

    /// The evidence for the effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,

    /// The reason why nothing could be sent, with the evidence `Unreachable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<FailureCause>,

    /// The exact code of the exception in Cognito's response. Absent for success, and if no response was read. Unrecognized codes are cleaned and truncated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub exception_code: Option<String>,

    /// The request id of Cognito, which CloudTrail shows as well.
    #[serde(default, rename = "awsRequestID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub aws_request_id: Option<String>,

    /// The user's state that a probe last read after the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_status_after: Option<UserStatus>,
}

impl Attempt {
    /// Returns an attempt that is claimed, and of which nothing more is known.
    #[must_use]
    pub const fn new(id: String, origin: Origin, claimed_at: Time) -> Self {
        Self {
            id,
            origin,
            claimed_at,
            sent_at: None,
            user_status_before: None,
            state_read_after: None,
            settled_at: None,
            evidence: None,
            cause: None,
            exception_code: None,
            aws_request_id: None,
            user_status_after: None,
        }
    }
}

/// The end of a request without a call.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Closed {
    /// The cause.
    pub cause: CloseCause,

    /// The exact code of the exception in Cognito's response to AdminGetUser, with the cause `UserReadRefused`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub exception_code: Option<String>,

    /// The user's state, if it was read before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_status: Option<UserStatus>,

    /// The time when the record was closed, by the clock of the process that closed it.
    pub closed_at: Time,

    /// True if the request was not granted when it ended (no grant matched, an approval was missing, a hold held it), and nothing was ever claimed for it. Such a record contains neither `reason`, `ticket`, `onBehalfOf` and `approvedBy` nor `requestedBy.extra`. It is kept for 15 minutes after its last write, or until `notAfter` if that is later, but for a day at most. After that the name of the request counts as new.
    #[serde(default)]
    pub ungranted: bool,

    /// The process that closed the record, the request object that ended, and its grants.
    #[serde(flatten)]
    pub origin: Origin,
}
