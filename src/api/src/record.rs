//! `PasswordResetRecord`: the ledger. Creating one is the claim; its effect is what is known.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    grant::SessionTags,
    request::{ApprovedBy, RequestedBy},
};

/// The newest record schema that this operator writes; records with a higher one are left alone.
pub const SCHEMA: i64 = 1;

/// How many attempts a record keeps; older ones, all proven to have had no effect, are counted in `omittedAttempts`.
pub const MAX_ATTEMPTS: usize = 16;

/// The ledger entry of one request, by namespace, name, pool and user. Outlives the request.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "cognito-reset.dev",
    version = "v1alpha1",
    kind = "PasswordResetRecord",
    shortname = "prrec",
    category = "cognito",
    no_spec,
    derive = "PartialEq",
    doc = "The ledger entry of one PasswordResetRequest, written by the operator alone. It outlives the request, so that applying it again cannot reset twice. Deleting a record forgets that a reset was made.",
    selectable = ".effect",
    selectable = ".userPoolID",
    selectable = ".username",
    printcolumn(name = "Namespace", type_ = "string", json_path = ".request.namespace", description = "the request's namespace"),
    printcolumn(name = "Request", type_ = "string", json_path = ".request.name", description = "the request's name"),
    printcolumn(name = "Action", type_ = "string", json_path = ".action", description = "the action", priority = 1),
    printcolumn(name = "User", type_ = "string", json_path = ".username", description = "the user"),
    printcolumn(name = "Pool", type_ = "string", json_path = ".userPoolID", description = "the user pool"),
    printcolumn(name = "Effect", type_ = "string", json_path = ".effect", description = "what is known to have happened; empty while a claim is open"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "time since the first claim"),
    validation = Rule::new("self.action == oldSelf.action && self.request == oldSelf.request && self.userPoolID == oldSelf.userPoolID && self.username == oldSelf.username").message("a record is of one request: action, request, userPoolID and username are immutable"),
    validation = Rule::new("self.schema >= oldSelf.schema").message("schema may only grow").field_path(".schema"),
    validation = Rule::new("!has(oldSelf.effect) || oldSelf.effect != 'Performed' || (has(self.effect) && self.effect == 'Performed')").message("effect Performed is final").field_path(".effect"),
    validation = Rule::new("!has(oldSelf.effect) || oldSelf.effect != 'Unknown' || (has(self.effect) && self.effect in ['Unknown', 'Performed'])").message("effect Unknown may only become Performed").field_path(".effect"),
    validation = Rule::new("!has(oldSelf.effect) || oldSelf.effect != 'NotPerformed' || !has(self.effect) || self.effect == 'NotPerformed'").message("effect NotPerformed may only be claimed again").field_path(".effect"),
    validation = Rule::new("!(has(oldSelf.attempts[size(oldSelf.attempts) - 1].evidence) && oldSelf.attempts[size(oldSelf.attempts) - 1].evidence in ['Expired', 'DeadlineExceeded', 'AlreadyResetRequired', 'ReadAnswer']) || self.attempts[size(self.attempts) - 1].id == oldSelf.attempts[size(oldSelf.attempts) - 1].id").message("a closed record is never claimed again").field_path(".attempts"),
    validation = Rule::new("!has(oldSelf.expirationTime) || (has(self.expirationTime) && self.expirationTime >= oldSelf.expirationTime)").message("expirationTime may only grow").field_path(".expirationTime"),
    validation = Rule::new("has(oldSelf.effect) || self.attempts[size(self.attempts) - 1].id == oldSelf.attempts[size(oldSelf.attempts) - 1].id").message("an open claim is settled, never taken over").field_path(".attempts")
)]
#[serde(rename_all = "camelCase")]
pub struct RecordFields {
    /// The schema of this record. An operator leaves records with a higher schema than it knows alone.
    #[schemars(range(min = 1))]
    pub schema: i64,

    /// The action that the request asks for. Another action on the same user has a record of its own.
    pub action: Action,

    /// The request, by name: a request of the same name that is created again has the same record.
    pub request: RequestRef,

    /// The user pool.
    #[serde(rename = "userPoolID")]
    #[schemars(length(min = 1, max = 55))]
    pub user_pool_id: String,

    /// The user name as requested.
    #[schemars(length(min = 1, max = 128))]
    pub username: String,

    /// The user's immutable `sub`, where it could be read before the reset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub sub: Option<String>,

    /// The latest `expirationTime` of a request that this record was told to or claimed for. Until then such a request could be applied again and would be performed, had the record been forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Time>,

    /// What is known to have happened; absent while a claim is open. Knowledge only grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,

    /// The attempts, oldest first; only the last one can be open or have had an effect. A request that ends without a call closes with an entry of its own, which is no attempt.
    #[schemars(length(min = 1, max = 16))]
    pub attempts: Vec<Attempt>,

    /// How many earlier attempts, all without effect, are no longer listed.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub omitted_attempts: i64,
}

impl PasswordResetRecord {
    /// Stands for a record that cannot be parsed. It must be of a newer operator, and so it is left alone like any
    /// other one with a higher schema than is known.
    #[must_use]
    pub fn not_understood(metadata: ObjectMeta) -> Self {
        let nobody = RequestRef { namespace: String::new(), name: String::new() };
        let spec = RecordFields {
            schema: i64::MAX,
            action: Action::PasswordReset,
            request: nobody,
            user_pool_id: String::new(),
            username: String::new(),
            sub: None,
            expiration_time: None,
            effect: None,
            attempts: Vec::new(),
            omitted_attempts: 0,
        };
        Self { metadata, spec }
    }

    /// Whether only a newer operator knows what it says, and may write it.
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
    /// The name as it stands in a record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PasswordReset => "PasswordReset",
        }
    }
}

/// Names the request of a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub struct RequestRef {
    /// The request's namespace.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// The request's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// What is known to have happened in Cognito.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Effect {
    /// Nothing: proven by Cognito's answer, or the call was never sent.
    NotPerformed,
    /// Nobody can tell; nothing more will be sent.
    Unknown,
    /// The password was invalidated.
    Performed,
}

impl Effect {
    /// The name as it stands in a record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotPerformed => "NotPerformed",
            Self::Unknown => "Unknown",
            Self::Performed => "Performed",
        }
    }
}

/// What an attempt's effect is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum Evidence {
    /// Cognito's own answer to the call.
    Answer,
    /// The user's state before and after, read by AdminGetUser.
    Probe,
    /// The operator never sent the call.
    NeverSent,
    /// The request was not built or no connection to Cognito was made, so nothing was sent.
    Unreachable,
    /// Nothing conclusive came back.
    Inconclusive,
    /// Closed without a call, for good: `expirationTime` passed.
    Expired,
    /// Closed without a call, for good: `deadlineSeconds` passed.
    DeadlineExceeded,
    /// Closed without a call, for good: the user already had to reset, and the request asked to skip then.
    AlreadyResetRequired,
    /// Closed without a call, for good: the user's state had to be read first, and Cognito answered AdminGetUser with the exception in `code`, such as that there is no such user.
    ReadAnswer,
}

/// Why nothing could be sent to AWS.
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
    /// No TLS session was agreed on; often the certificate authority is not trusted.
    Tls,
    /// The proxy did not open a tunnel.
    Proxy,
    /// The connection failed in another way.
    Network,
}

impl FailureCause {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Request, Self::Dns, Self::Refused, Self::TimedOut, Self::Tls, Self::Proxy, Self::Network];

    /// The name, for metrics.
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

    /// What went wrong, for messages and logs.
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
    /// Signed up, not confirmed.
    Unconfirmed,
    /// Confirmed: can sign in.
    Confirmed,
    /// No longer active.
    Archived,
    /// Disabled for a potential security threat.
    Compromised,
    /// Cognito does not know, or named a state that this operator does not know.
    Unknown,
    /// The password has to be reset before the next sign-in.
    ResetRequired,
    /// Has a temporary password that has to be changed.
    ForceChangePassword,
    /// Signs in through an external provider.
    ExternalProvider,
}

/// One attempt: a claim, and what became of it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Random; known only to the task that claimed, so that nobody else can send for it.
    #[schemars(length(min = 1, max = 64))]
    pub id: String,

    /// The operator process that claimed.
    #[schemars(length(max = 253))]
    pub holder: String,

    /// The uid of the request object for which the claim was made.
    #[serde(rename = "requestUID")]
    #[schemars(length(max = 128))]
    pub request_uid: String,

    /// Who created that request object, as stamped.
    pub requested_by: RequestedBy,

    /// Who approved that request object, as stamped; absent where nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<ApprovedBy>,

    /// `reason` of that request object, which may be gone: claimed, not proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,

    /// `ticket` of that request object: claimed, not proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub ticket: Option<String>,

    /// `onBehalfOf` of that request object: claimed, not proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub on_behalf_of: Option<String>,

    /// The grants that allowed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 253)))]
    pub grants: Vec<String>,

    /// The role assumed for it; absent where the operator's own credentials were used.
    #[serde(default, rename = "roleARN", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub role_arn: Option<String>,

    /// The external id that the role was assumed with; no secret.
    #[serde(default, rename = "externalID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1224))]
    pub external_id: Option<String>,

    /// Which session tags the role was assumed with; absent for `Full` and without a role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_tags: Option<SessionTags>,

    /// When it was claimed, by the holder's clock.
    pub claimed_at: Time,

    /// When its call was sent, by the holder's clock; absent where nothing was sent, or the holder was gone before it could write this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Time>,

    /// The user's state just before the claim, where it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_status_before: Option<UserStatus>,

    /// When its effect was recorded, by the recorder's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<Time>,

    /// What the effect is known from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,

    /// Of evidence `Unreachable`: why nothing could be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<FailureCause>,

    /// The exact code of the exception that Cognito answered; absent for success and where no answer was read. Unrecognized codes are cleaned and cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub code: Option<String>,

    /// Cognito's request id, to be found in CloudTrail.
    #[serde(default, rename = "awsRequestID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub aws_request_id: Option<String>,

    /// The user's state last seen by a probe after the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_status_after: Option<UserStatus>,
}
